//! `doctor`: checks this node, its store and its cluster one after the other, and says what to do about what is wrong.
//!
//! ```text
//!  DoctorOptions ─► Context ─► each Check ─► Outcome ─► CheckResult ─► each(…), as soon as it is known
//!                                               │
//!                                               └ Fix ─► DoctorReport ─► shown and confirmed ─► apply
//! ```
//!
//! A check only reads, and never fails: what it can't find out is an [`Outcome`] as well. A mistake in the
//! configuration is no error of this verb but its finding, so the settings may have been read leniently. A check
//! reports one outcome for each object, or one for all that are as they should be, so that a report stays short on a
//! node with a thousand records.

mod cached;
mod check;
mod cluster;
mod context;
mod fix;
mod node;
mod store;
mod subject;
mod text;
mod units;

use std::path::PathBuf;

pub use self::check::{Area, CheckResult, Outcome, Remedy, Status};
use self::context::Context;
pub use self::fix::{Fix, FixError, apply};
use super::Work;
use crate::config::CallSettings;
use crate::explain::Commands;
use crate::store::StoreConfig;

/// The options of a run.
#[derive(Clone, Debug)]
pub struct DoctorOptions {
    /// What every verb needs. A key that can't be read has its default.
    pub settings: CallSettings,
    /// What is checked.
    pub scope: Scope,
    /// Whether the kubeconfig is that of the node defaults, and not of whoever runs this.
    pub is_own_kubeconfig: bool,
    /// The file of the node defaults, whether or not it exists.
    pub defaults: PathBuf,
    /// A network configuration that is checked in addition to those in the folder.
    pub config: Option<PathBuf>,
    /// The node's folder of CNI configurations.
    pub config_folder: PathBuf,
    /// The node's folder of CNI plugins.
    pub program_folder: PathBuf,
    /// Builds the commands of remedies that are about the whole cluster.
    pub commands: Commands,
}

/// What is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// What this node's own files tell, an embedded store among them.
    Node,
    /// Everything that can be reached from here, and this machine if it is a node.
    Cluster,
}

/// The number of results by status, and what can be fixed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DoctorReport {
    counts: [usize; Status::ALL.len()],
    /// What `--fix` can do, in the order of the results.
    pub fixes: Vec<ProposedFix>,
}

/// A fix, and the status of the result that it is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProposedFix {
    /// What can be done.
    pub fix: Fix,
    /// The status that this would end.
    pub status: Status,
}

impl DoctorReport {
    /// The number of results with this status.
    pub fn count(&self, status: Status) -> usize {
        self.counts[status as usize]
    }

    /// Counts a result that was fixed as ok.
    pub fn note_fixed(&mut self, status: Status) {
        self.counts[status as usize] = self.count(status).saturating_sub(1);
        self.counts[Status::Ok as usize] += 1;
    }

    fn note(&mut self, outcome: &Outcome) {
        self.counts[outcome.status as usize] += 1;
        if let Some(fix) = &outcome.fix {
            self.fixes.push(ProposedFix { fix: fix.clone(), status: outcome.status });
        }
    }
}

/// A check: its name, what it looks at, and the function that reports what it finds.
#[derive(Clone, Copy)]
pub struct Check {
    /// The name, in kebab case. docs/reference-cli.md lists it, and it never changes.
    pub name: &'static str,
    /// What it looks at.
    pub area: Area,
    /// Whether `--node` runs it as well if the store is embedded: that is a file of this node.
    is_of_own_store: bool,
    run: Run,
}

/// Runs a check. It passes on each outcome as soon as it is known.
type Run = fn(&mut Context<'_>, &mut dyn FnMut(Outcome));

const fn node(name: &'static str, run: Run) -> Check {
    Check { name, area: Area::Node, is_of_own_store: false, run }
}

const fn store(name: &'static str, run: Run) -> Check {
    Check { name, area: Area::Store, is_of_own_store: false, run }
}

const fn own_store(name: &'static str, run: Run) -> Check {
    Check { is_of_own_store: true, ..store(name, run) }
}

const fn cluster(name: &'static str, run: Run) -> Check {
    Check { name, area: Area::Cluster, is_of_own_store: false, run }
}

/// All checks, in the order in which they run: what the others depend on comes first.
pub const CHECKS: &[Check] = &[
    node("node-defaults", node::defaults::check),
    node("file-modes", node::modes::check),
    node("program", node::program::check),
    node("kubeconfig", node::credentials::check_kubeconfig),
    node("cluster-identity", node::state::check_identity),
    node("store-credentials", node::credentials::check_store),
    node("network-configs", node::networks::check),
    node("host-local", node::host_local::check),
    node("records", node::records::check_files),
    node("record-containers", node::records::check_containers),
    node("record-stores", node::records::check_stores),
    node("deferred-releases", node::releases::check_deferred),
    node("leftovers", node::releases::check_leftovers),
    node("event-limit", node::state::check_events),
    node("log", node::disk::check_log),
    node("disk-space", node::disk::check_space),
    node("clock", node::clock::check),
    node("installed-defaults", cluster::installed_defaults::check),
    store("store-response", store::response::check),
    store("etcd-members", store::etcd::members),
    store("etcd-alarms", store::etcd::alarms),
    store("etcd-space", store::etcd::space),
    store("etcd-latency", store::etcd::latency),
    store("etcd-versions", store::etcd::versions),
    store("etcd-compaction", store::etcd::compaction),
    store("etcd-rights", store::etcd::rights),
    store("etcd-tls", store::etcd::transport),
    store("etcd-certificates", store::etcd::certificates),
    store("kubernetes-resources", store::kubernetes::resources),
    store("kubernetes-namespace", store::kubernetes::namespace),
    store("kubernetes-rights", store::kubernetes::rights),
    store("kubernetes-latency", store::kubernetes::latency),
    store("kubernetes-objects", store::kubernetes::objects),
    store("kubernetes-transactions", store::kubernetes::remains),
    store("sqlite-file", store::embedded::file),
    store("sqlite-integrity", store::embedded::integrity),
    store("sqlite-journal", store::embedded::journal),
    store("sqlite-place", store::embedded::place),
    store("store-entries", store::content::entries),
    store("attachments", store::content::attachments),
    store("store-times", store::content::times),
    store("ranges", store::content::ranges),
    own_store("recovery", store::history::recovery),
    own_store("records-in-store", store::history::records),
    cluster("api-server", cluster::api_server::check),
    cluster("api-clock", cluster::api_server::clock),
    cluster("api-rights", cluster::rights::check),
    cluster("networks", cluster::networks::check),
    cluster("workloads", cluster::workloads::check),
    cluster("leaks", cluster::leaks::check),
    cluster("pod-addresses", cluster::pods::check),
    cluster("installer", cluster::installer::check),
    cluster("controller", cluster::controller::check),
    cluster("controller-rights", cluster::controller_rights::check),
];

/// Runs the checks of a scope. Passes on each result as soon as it is known, and how far the running check is.
pub fn doctor(options: &DoctorOptions, at_work: &dyn Fn(Work), mut each: impl FnMut(&CheckResult)) -> DoctorReport {
    let mut context = Context::new(options, at_work);
    let mut report = DoctorReport::default();
    let is_node = options.scope == Scope::Node || context.is_node;
    let has_own_store = is_node && matches!(options.settings.store, Ok(StoreConfig::Embedded { .. }));
    if !is_node {
        skip_node(&context, &mut report, &mut each);
    }
    for check in CHECKS {
        let is_wanted = match check.area {
            Area::Node => is_node,
            Area::Store | Area::Cluster => options.scope == Scope::Cluster || (check.is_of_own_store && has_own_store),
        };
        if !is_wanted {
            continue;
        }
        context.check = check.name;
        context.at_work(0, None);
        (check.run)(&mut context, &mut |outcome| {
            report.note(&outcome);
            each(&CheckResult { check: check.name, area: check.area, outcome });
        });
    }
    report
}

/// Says once that the checks of a node were left out.
fn skip_node(context: &Context<'_>, report: &mut DoctorReport, each: &mut impl FnMut(&CheckResult)) {
    let Some(first) = CHECKS.iter().find(|check| check.area == Area::Node) else { return };
    let message = format!(
        "this machine is no node of kube-ipam: it has no node defaults at {}, no program and no records",
        context.options.defaults.display()
    );
    let outcome = Outcome::skipped("node", message);
    report.note(&outcome);
    each(&CheckResult { check: first.name, area: first.area, outcome });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_check_has_a_name_of_its_own_in_kebab_case() {
        let mut names: Vec<&str> = CHECKS.iter().map(|check| check.name).collect();
        let is_kebab = |name: &&str| name.chars().all(|c| c.is_ascii_lowercase() || c == '-');
        assert!(names.iter().all(is_kebab), "{names:?}");
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), CHECKS.len());
    }

    #[test]
    fn a_fixed_result_counts_as_ok() {
        let mut report = DoctorReport::default();
        report.note(&Outcome::warning("a", "is odd", Remedy::new("do it")));
        report.note_fixed(Status::Warning);
        assert_eq!(Status::ALL.map(|status| report.count(status)), [1, 0, 0, 0]);
    }
}
