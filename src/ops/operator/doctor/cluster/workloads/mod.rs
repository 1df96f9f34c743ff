//! `workloads`: whether ranges and pools have an address for each pod of the cluster's workloads at full scale, and for
//! those that start beside them in an update.
//!
//! ```text
//! API server ─► WorkloadSources ─┐
//! definitions, node defaults ────┴─► plan ─► the findings with a Shortage
//! ```
//!
//! The judgement and the numbers are those of `plan`, for an empty store: whether a cluster fits is the same question
//! before and after its pods were started. What is in use now, reserved or foreign is judged by `ranges`.

mod sources;

use std::collections::BTreeSet;
use std::net::IpAddr;

use self::sources::WorkloadSources;
use super::definitions::{Definitions, read, with_defaults};
use super::forbidden::unread;
use crate::cause::chain;
use crate::cluster::{ApiServer, ClusterError};
use crate::explain::{Command, Commands};
use crate::ipam::address::Span;
use crate::ipam::decide::Allocation;
use crate::ipam::lease::{Lease, Stored};
use crate::ipam::name::Name;
use crate::ipam::refusal::Refusal;
use crate::ops::operator::doctor::node::networks;
use crate::ops::operator::doctor::subject::{Subject, commands};
use crate::ops::operator::doctor::text::counted;
use crate::ops::operator::doctor::{Context, Outcome, Remedy, Status};
use crate::ops::operator::plan::manifest;
use crate::plan::{
    Cluster, ClusterAdd, EmptyCluster, Finding, LookupError, NamedKind, NamedObject, NetworkReport, Options,
    Outcome as InterfaceOutcome, Report, Severity, Shortage, Source, plan_for,
};

/// How many shortages are named; the others are counted.
const SHOWN: usize = 20;

pub(in crate::ops::operator::doctor) fn check(context: &mut Context<'_>, report: &mut dyn FnMut(Outcome)) {
    let subject = Subject::whole("workloads");
    let definitions = read(context);
    let (first, serves_first) = match context.is_node {
        true => (networks::sources(context), networks::first_network(context).is_some()),
        false => (Vec::new(), false),
    };
    let (mut sources, options, count) = match &*definitions {
        Definitions::Judged(judged) => {
            let (sources, options) = judged.sources();
            (sources, options, judged.count())
        }
        // The check of the networks says why.
        Definitions::Unread(_) => {
            return report(subject.skipped("without the definitions of networks, it is not known what they need"));
        }
        Definitions::NoCluster => return,
        Definitions::NoSuchKind => {
            let (sources, options) = with_defaults(&context.options.defaults);
            (sources, options, 0)
        }
    };
    if count == 0 && !serves_first {
        return report(subject.skipped("no network that is known here has addresses of kube-ipam"));
    }
    sources.extend(first);
    let (next, progress) = (context.options.commands.clone(), context.progress());
    let defaults = context.options.defaults.display().to_string();
    let Ok(Some(api)) = context.api() else { return };
    let planned =
        WorkloadSources::read(api, serves_first, &progress).and_then(|read| Planned::new(api, sources, &options, read));
    match planned {
        Ok(planned) => planned.outcomes(&subject, &Next { commands: next, defaults }).into_iter().for_each(report),
        Err(error) => report(subject.skipped(format!("they could not be read: {}", chain(&error)))),
    }
}

/// Builds the commands of the remedies.
struct Next {
    commands: Commands,
    /// The file of the node defaults.
    defaults: String,
}

/// The plan of all workloads.
struct Planned {
    report: Report,
    /// The kind, namespace and name of each workload, by the source of the plan.
    names: Vec<String>,
    /// The number of sources before those of the workloads.
    first: usize,
    forbidden: Vec<ClusterError>,
    is_cut: bool,
}

impl Planned {
    /// `sources` are those of the networks and the node defaults.
    fn new(
        api: &ApiServer,
        mut sources: Vec<Source>,
        options: &Options,
        read: WorkloadSources,
    ) -> Result<Self, ClusterError> {
        let WorkloadSources { sources: workloads, forbidden, is_cut, .. } = read;
        let first = sources.len();
        let names = workloads.iter().map(|source| source.name.clone()).collect();
        sources.extend(workloads);
        let mut cluster = DeclaredCluster { api, addresses: EmptyCluster::default() };
        let report = plan_for(&mut sources, options, &mut cluster)?;
        Ok(Self { report, names, first, forbidden, is_cut })
    }

    fn outcomes(&self, subject: &Subject, next: &Next) -> Vec<Outcome> {
        let short = self.report.findings.iter().filter_map(|finding| Some((finding, finding.shortage.as_ref()?)));
        let mut outcomes: Vec<Outcome> =
            short.clone().take(SHOWN).map(|(finding, shortage)| self.shortage(finding, shortage, next)).collect();
        if let Some(more) = short.clone().count().checked_sub(SHOWN).filter(|more| *more > 0) {
            let message = format!("{more} more of them do not fit");
            outcomes.push(subject.error(message, next.plan("let plan name all of them")));
        }
        outcomes.extend(self.uncounted(subject, next));
        outcomes.extend(self.forbidden.iter().map(|error| unlisted(subject, error, next)));
        if self.is_cut {
            outcomes.push(subject.skipped_until(
                "there are too many for this check, and the rest was not counted",
                next.plan("plan them namespace by namespace: replace -A by -n and the namespace"),
            ));
        }
        if outcomes.is_empty() {
            outcomes.push(subject.ok(format!(
                "every pod has an address at full scale, updates included ({} of workloads)",
                counted(self.fitting(), "interface", "interfaces")
            )));
        }
        outcomes
    }

    /// The number of interfaces of workloads that get addresses of kube-ipam.
    fn fitting(&self) -> usize {
        let outcomes = self.report.interfaces.iter().map(|interface| &interface.outcome);
        outcomes.filter(|outcome| matches!(outcome, InterfaceOutcome::Addresses { .. })).count()
    }

    fn shortage(&self, finding: &Finding, shortage: &Shortage, next: &Next) -> Outcome {
        let Shortage { network, workload, sets } = shortage;
        let numbers: String = sets.iter().filter_map(|set| self.network(network, set)).map(usage).collect();
        let status = match finding.severity {
            Severity::Error => Status::Error,
            Severity::Warning => Status::Warning,
        };
        let help = finding.help.clone().unwrap_or_else(|| "give it more addresses, or run fewer pods".to_owned());
        let message = match finding.message.contains(workload) {
            true => finding.message.clone(),
            false => format!("{workload}: {}", finding.message),
        };
        Subject::new(format!("network {network}")).fault(
            status,
            message + &numbers,
            commands(help, next.edit(network, workload)),
        )
    }

    fn network(&self, network: &str, ranges: &[String]) -> Option<&NetworkReport> {
        self.report.networks.iter().find(|report| report.network == network && report.ranges == ranges)
    }

    /// Says how many workloads are refused for another reason, so that their pods are not counted.
    fn uncounted(&self, subject: &Subject, next: &Next) -> Option<Outcome> {
        let short: BTreeSet<&str> = self
            .report
            .findings
            .iter()
            .filter_map(|finding| Some(finding.shortage.as_ref()?.workload.as_str()))
            .collect();
        let refused = self.report.interfaces.iter().filter(|interface| {
            matches!(interface.outcome, InterfaceOutcome::Refused | InterfaceOutcome::Unknown)
                && !short.contains(&*interface.workload)
        });
        let refused: BTreeSet<&str> = refused.map(|interface| interface.workload.as_str()).collect();
        let first = refused.first()?;
        let why = self.report.findings.iter().find(|finding| {
            let source = finding.primary.place.source.checked_sub(self.first);
            finding.severity == Severity::Error
                && source.and_then(|source| self.names.get(source)).is_some_and(|name| name == first)
        });
        let why = why.map_or_else(
            || format!("{first} is refused because of its network"),
            |finding| format!("{first}: {}", finding.message),
        );
        let message = format!(
            "{} not counted, since they would be refused for another reason: {why}",
            match refused.len() {
                1 => "the pods of 1 workload are".to_owned(),
                many => format!("the pods of {many} workloads are"),
            }
        );
        Some(subject.skipped_until(message, next.plan("let plan name the mistakes")))
    }
}

/// How many addresses a range set has, and what the workloads need of them.
fn usage(report: &NetworkReport) -> String {
    let NetworkReport { random, random_taken, surge, .. } = report;
    let surge = if *surge > 0 { format!(", and {surge} more during updates") } else { String::new() };
    format!("; of its {random} random addresses, the workloads hold {random_taken}{surge}")
}

impl Next {
    /// How to change the network and the workload.
    fn edit(&self, network: &str, workload: &str) -> Vec<Command> {
        let network = network.split_once('/').map(|(namespace, name)| {
            self.commands.kubectl(&["-n", namespace, "edit", "network-attachment-definitions", name])
        });
        let workload = workload.split_once(' ').and_then(|(kind, name)| {
            let (namespace, name) = name.split_once('/')?;
            Some(self.commands.kubectl(&["-n", namespace, "edit", &kind.to_lowercase(), name]))
        });
        network.into_iter().chain(workload).collect()
    }

    /// How to see the whole plan.
    fn plan(&self, text: &str) -> Remedy {
        let kinds = "deployments,statefulsets,daemonsets,network-attachment-definitions";
        let get = self.commands.kubectl(&["get", kinds, "-A", "-o", "yaml"]);
        let defaults = Some(self.defaults.as_str()).filter(|file| std::path::Path::new(file).exists());
        commands(text, [get.piped_to(&self.commands.plan("-", defaults))])
    }
}

/// A list that may not be read, with the rule that allows it.
fn unlisted(subject: &Subject, error: &ClusterError, next: &Next) -> Outcome {
    let outcome = unread(subject, error, &next.commands);
    let remedy =
        outcome.remedy.map(|remedy| Remedy { text: format!("{}, or {}", remedy.text, error.details()), ..remedy });
    Outcome { remedy, ..outcome }
}

/// The cluster as its manifests declare it, without what is in use.
struct DeclaredCluster<'a> {
    api: &'a ApiServer,
    addresses: EmptyCluster,
}

impl Cluster for DeclaredCluster<'_> {
    type Error = ClusterError;

    fn look_up(&mut self, object: &NamedObject) -> Result<Result<Source, LookupError>, ClusterError> {
        match object.kind {
            // All of them are among the sources.
            NamedKind::NetworkDefinition => Ok(Err(LookupError::NotFound)),
            NamedKind::IpamClaim => manifest::look_up(self.api, object),
        }
    }

    fn add(&mut self, add: ClusterAdd<'_>) -> Result<Result<Allocation, Refusal>, ClusterError> {
        let Ok(result) = self.addresses.add(add);
        Ok(result)
    }

    fn each_lease(
        &mut self,
        _: &Name,
        _: &Span,
        _: &mut dyn FnMut(IpAddr, &Stored<Lease>),
    ) -> Result<(), ClusterError> {
        Ok(())
    }
}
