//! What the interfaces of pods would get, before anything is applied: manifests in, addresses and mistakes out.
//!
//! ```text
//! files ─► objects ─┬─► networks    each definition, read as a node reads it ──┐
//!                   └─► workloads ─► interfaces   which network each one is of ─┴─► requests ─► allocation
//!                                                                                  │           the real ADDs, on a map
//!                            Report: networks, interfaces, findings ◄──────────────┴────────── in memory
//! ```
//!
//! Configuration, requests and decisions are those of an ADD, so that a plan can't promise what a node would refuse. Every
//! mistake has a place in a file and a number ([`code`]). Limits: what is in use in a cluster is not known here; a pod may be
//! on any node that its template does not rule out.

mod allocation;
mod checks;
mod code;
mod finding;
mod interfaces;
mod key_path;
mod networks;
mod objects;
mod report;
mod source;
#[cfg(test)]
mod tests;

pub use self::code::Code;
pub use self::finding::{Finding, Mark, Severity};
use self::objects::Defaults;
pub use self::report::{InterfaceReport, NetworkReport, Outcome, PodAddresses, Report};
pub use self::source::{Place, Source};

/// What a plan goes by, besides its files.
#[derive(Clone, Debug)]
pub struct Options {
    /// The namespace of objects that name none.
    pub namespace: String,
    /// The source that has the node defaults, by its index; `None`: a ConfigMap among the files, or nobody knows them.
    pub defaults: Option<usize>,
}

/// Plans what the interfaces of all pods would get.
pub fn plan(sources: &[Source], options: &Options) -> Report {
    let mut findings = Vec::new();
    let objects = objects::Objects::read(sources, &options.namespace, &mut findings);
    let of_file = options.defaults.and_then(|source| Defaults::of_file(sources, source, &mut findings));
    let networks =
        networks::read(&objects.definitions, of_file.or(objects.defaults).as_ref(), &objects.nodes, &mut findings);
    checks::networks(&networks, &mut findings);
    let interfaces =
        interfaces::of_workloads(&objects.workloads, &networks, &objects.definitions, sources, &mut findings);
    let allocations = allocation::allocate(&interfaces, &networks, sources, &mut findings);
    checks::workloads(&interfaces, &networks, &allocations, sources, &mut findings);
    // A mistake of a network or a template is one mistake, however many interfaces meet it.
    findings.sort_by_key(|finding| (finding.primary.place.clone(), finding.code));
    findings.dedup_by_key(|finding| (finding.primary.place.clone(), finding.code));
    report::report(&networks, &interfaces, &allocations, sources, findings)
}
