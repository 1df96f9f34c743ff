//! Plans the addresses of pods before their manifests are applied, and finds mistakes in the manifests.
//!
//! ```text
//! files ─► objects ─┬─► networks    each definition, read as a node reads it ──┐
//!                   ├─► workloads ─► interfaces   each with its network ───────┼─► requests ─► allocation
//!                   └─► claims ───────┘                                        │               the real ADDs, in a
//!                            Report: networks, interfaces, findings ◄──────────┴────────────── Cluster
//! ```
//!
//! Objects that pods name and no file contains come from the Cluster as well (`elsewhere`).
//!
//! A plan runs the same code as an ADD for configuration, requests and decisions, so that it can't promise an address
//! that a node would refuse. Every mistake has a position in a file and a number ([`Code`]). Whoever plans for a cluster in
//! use provides it ([`Cluster`]); otherwise no address is in use. Limit: a pod may run on any node that its template
//! allows.

mod allocation;
mod checks;
mod claims;
mod cluster;
mod code;
mod elsewhere;
mod finding;
mod interfaces;
mod keeper;
mod key_path;
mod networks;
mod objects;
mod report;
mod source;
#[cfg(test)]
mod tests;

pub use self::cluster::{Cluster, ClusterAdd, EmptyCluster, Keeper, LookupError, NamedKind, NamedObject};
pub use self::code::Code;
use self::elsewhere::Elsewhere;
pub use self::finding::{Finding, Mark, Severity, Shortage};
pub use self::interfaces::reads_annotation;
use self::objects::Defaults;
pub use self::report::{InterfaceReport, NetworkReport, NodesReport, Outcome, PodAddresses, Report};
pub use self::source::{Place, Source};

/// The options of a plan.
#[derive(Clone, Debug)]
pub struct Options {
    /// The namespace of objects without one.
    pub namespace: String,
    /// The index of the source with the node defaults. With `None`, a ConfigMap among the files may have them.
    pub defaults: Option<usize>,
}

/// The most findings of a plan: as many as GitHub shows of a SARIF file. More of them have one cause, such as a file that
/// is no manifest.
const MAX_FINDINGS: usize = 5000;

/// Replaces the findings beyond the limit by one that says so.
fn limit(findings: &mut Vec<Finding>) {
    let more = findings.split_off(findings.len().min(MAX_FINDINGS));
    if let (Some(first), Some(severity)) = (more.first(), more.iter().map(|finding| finding.severity).max()) {
        let message = format!("{} more findings from here on are left out", more.len());
        findings.push(
            Finding::new(code::TOO_MANY_FINDINGS, severity, first.primary.place.clone(), message)
                .help("correct the others first"),
        );
    }
}

/// Plans the addresses of all pods in these files, for a cluster without any address in use.
pub fn plan(sources: &mut Vec<Source>, options: &Options) -> Report {
    let Ok(report) = plan_for::<EmptyCluster>(sources, options, &mut EmptyCluster::default());
    report
}

/// Plans the addresses of all pods in these files, for this cluster. Adds the objects of the cluster that the files name
/// to the sources.
pub fn plan_for<C: Cluster>(sources: &mut Vec<Source>, options: &Options, cluster: &mut C) -> Result<Report, C::Error> {
    let files = sources.len();
    let mut findings = Vec::new();
    let mut elsewhere = Elsewhere::default();
    let mut objects = objects::Objects::read(sources, &options.namespace, &mut findings);
    elsewhere.add_definitions(&mut objects, sources, &mut findings, cluster)?;
    let of_file = options.defaults.and_then(|source| Defaults::of_file(sources, source, &mut findings));
    let nodes = objects.nodes();
    let networks =
        networks::read(&objects.definitions, of_file.as_ref().or(objects.defaults.as_ref()), &nodes, &mut findings);
    checks::networks(&networks, &mut findings);
    let mut interfaces = interfaces::of_workloads(
        &objects.workloads,
        &networks,
        &objects.definitions,
        &elsewhere,
        sources,
        &mut findings,
    );
    let references = claims::references(&interfaces, &networks);
    elsewhere.add_claims(&references, &mut objects.claims, sources, &mut findings, cluster)?;
    claims::find(&mut interfaces, &networks, &references, &objects.claims, &elsewhere, sources, &mut findings);
    let allocations = allocation::allocate(&interfaces, &networks, sources, &mut findings, cluster)?;
    checks::workloads(&interfaces, &networks, &allocations, sources, &mut findings);
    // Several interfaces may find the same mistake of a network or a template. It is reported once.
    findings.sort_by_key(|finding| (finding.primary.place.clone(), finding.code));
    findings.dedup_by_key(|finding| (finding.primary.place.clone(), finding.code));
    limit(&mut findings);
    elsewhere::label(&mut findings, files);
    Ok(report::report(&networks, &interfaces, &allocations, sources, findings))
}
