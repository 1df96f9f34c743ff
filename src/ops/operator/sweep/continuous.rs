//! Continuous sweeps: one pass at a time, over the whole store or over some nodes.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;

use super::scan::{identify, response_deadline};
use super::{Scope, SweepOptions, SweepOutcome, SweepReport, SweepRun, has_new};
use crate::cluster::ApiServer;
use crate::config::CallSettings;
use crate::error::Error;
use crate::ipam::keys;
use crate::ipam::name::Name;
use crate::ipam::recovery::Progress;
use crate::ipam::summary::summarize;
use crate::ipam::sweep::{LeakReason, LeakReport, Plan, Target, Verdict};
use crate::ipam::usage::Usage;
use crate::ops::Session;
use crate::ops::operator::{network_status, usage_samples};
use crate::ops::recovery::progress;
use crate::store::{Key, Revision, StoreConfig, Summary};

/// The reports of the last passes. They are as large as the number of leak candidates, not the store.
#[derive(Debug, Default)]
pub struct ContinuousSweep {
    last: LeakReport,
    /// How many addresses the last pass over the whole store counted. The share of a pass over some nodes is relative
    /// to it.
    held: Option<usize>,
    /// Why the status of networks was not written after the last such pass. The same reason is logged once.
    status_problem: Option<String>,
    /// The namespace of the objects that show the networks of a store without objects, if there are to be any.
    network_objects: Option<String>,
}

/// What a pass over the whole store read besides leaks.
#[derive(Debug, Default)]
struct StoreContent {
    usage: Usage,
    /// The summary of each definition of a network.
    definitions: BTreeMap<Key, Summary>,
}

/// The scope of a pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PassScope {
    /// The whole store and all pods.
    Store,
    /// The attachments of these nodes, their leases, and their pods.
    Nodes(BTreeSet<Name>),
}

/// The result of one pass.
#[derive(Debug)]
pub struct SweepPass {
    /// The scope that was scanned: the whole store if there is no API server or was no full pass before.
    pub scope: PassScope,
    /// What was freed, and what was not and why.
    pub report: SweepReport,
    /// Leak candidates of this pass and those before it that were not freed: not confirmed yet, or not released in the
    /// end.
    pub candidates: BTreeMap<Target, Revision>,
    /// Whether the next pass over the same scope may confirm a candidate of this one.
    pub to_confirm: bool,
    /// The usage, if the whole store was read.
    pub usage: Option<Usage>,
    /// The progress of a recovery of the store.
    pub recovery: Progress,
}

impl ContinuousSweep {
    /// Shows the networks of a store outside of the Kubernetes API in objects of this namespace.
    #[must_use]
    pub fn showing_networks_in(self, namespace: Option<String>) -> Self {
        Self { network_objects: namespace, ..self }
    }

    /// Runs one pass, and frees what an earlier one reported as well. `may_continue` is checked before each release.
    pub fn next(
        &mut self,
        settings: &CallSettings,
        store: &StoreConfig,
        api: Option<&ApiServer>,
        (scope, max_share): (PassScope, Option<f64>),
        may_continue: &dyn Fn() -> bool,
    ) -> Result<SweepPass, Error> {
        let options = SweepOptions { dry_run: false, scope: Scope::Cluster, max_share, interval: Duration::ZERO };
        let mut run = SweepRun::new(settings, store, options, may_continue)?;
        if let Some(api) = api {
            run.rules.cluster = identify(api, settings)?;
        }
        let recovery = progress(run.session()?, response_deadline())?;
        let nodes = match (scope, api, self.held) {
            (PassScope::Nodes(nodes), Some(api), Some(held)) => Some((nodes, api, held)),
            _ => None,
        };
        run.last = std::mem::take(&mut self.last);
        let passed = match &nodes {
            Some((nodes, api, held)) => run.pass_nodes(api, nodes, *held).map(|plan| (plan, None)),
            None => run.pass_store(api).map(|(plan, content)| (plan, Some(content))),
        };
        self.last = std::mem::take(&mut run.last);
        let (plan, content) = passed?;
        if let Some(content) = &content {
            if let Err(error) = usage_samples::write(run.session()?, &content.usage, Timestamp::now()) {
                tracing::warn!(error = %error.full(), "today's sample of the usage was not stored");
            }
            self.show(run.session()?, api, content, may_continue);
        }
        if nodes.is_none() {
            self.held = Some(plan.tally.held);
        }
        let to_confirm = has_new(&plan);
        let released = run.release(plan, api);
        let report = SweepReport { asked: api.is_some(), named: run.adopt_unnamed(), ..released };
        let scope = nodes.map_or(PassScope::Store, |(nodes, ..)| PassScope::Nodes(nodes));
        let (candidates, usage) = (self.candidates(&report), content.map(|content| content.usage));
        Ok(SweepPass { scope, candidates, report, to_confirm, usage, recovery })
    }

    /// Shows how full networks are. Nothing depends on it, so a failure is only logged.
    fn show(
        &mut self,
        session: &Session,
        api: Option<&ApiServer>,
        StoreContent { usage, definitions }: &StoreContent,
        may_continue: &dyn Fn() -> bool,
    ) {
        let now = Timestamp::now();
        let written = match api.zip(self.network_objects.as_deref()) {
            Some(place) => network_status::write_mirrors(place, definitions, usage, now, may_continue),
            None => network_status::write(session, usage, now, may_continue),
        };
        let problem = match written {
            Ok(written) => {
                tracing::debug!(written, "the status of networks is current");
                None
            }
            Err(error) => Some(error.full().to_string()),
        };
        if let Some(error) = problem.as_ref().filter(|_| problem != self.status_problem) {
            tracing::warn!(error, "the status of networks was not written, and is tried again after the next scan");
        }
        self.status_problem = problem;
    }

    /// The leak candidates that this pass did not free.
    fn candidates(&self, report: &SweepReport) -> BTreeMap<Target, Revision> {
        let freed = report.entries.iter().filter(|entry| entry.outcome == SweepOutcome::Freed);
        let freed: BTreeSet<&Target> = freed.map(|entry| &entry.target).collect();
        // A reserved address is no leak while its owner exists, and is freed as soon as that is gone.
        let may_leak = |verdict: &Verdict| matches!(verdict, Verdict::Leaked(why) if *why != LeakReason::Reserved);
        let candidates = self.last.candidates.values().filter(|candidate| may_leak(&candidate.verdict));
        candidates
            .filter(|candidate| !freed.contains(&candidate.target))
            .map(|candidate| (candidate.target.clone(), candidate.revision))
            .collect()
    }
}

impl SweepRun<'_> {
    fn pass_store(&mut self, api: Option<&ApiServer>) -> Result<(Plan, StoreContent), Error> {
        let StoreContent { mut usage, mut definitions } = StoreContent::default();
        self.each(&keys::all_definitions(), |entry| {
            usage.note(entry);
            definitions.insert(entry.key.clone(), summarize(&entry.key, &entry.value));
        })?;
        self.collect_remains();
        self.clear_cooldowns();
        let plan = self.plan(|run| run.scan_all(api, |vrf, ip, lease| usage.note_lease(vrf, ip, lease)))?;
        Ok((plan, StoreContent { usage, definitions }))
    }

    fn pass_nodes(&mut self, api: &ApiServer, nodes: &BTreeSet<Name>, held: usize) -> Result<Plan, Error> {
        let mut found = self.scan_nodes(api, nodes)?;
        found.tally.held = held;
        let plan = self.last.confirm(found.clone(), self.max_share);
        self.notes = std::mem::take(&mut found.notes);
        self.last.update(nodes, found);
        Ok(plan)
    }
}

/// Checks that the store and the API server answer, and that the server is the right cluster's.
pub fn reach(settings: &CallSettings, store: &StoreConfig, api: Option<&ApiServer>) -> Result<(), Error> {
    Session::open(store.clone(), None)?.ping(response_deadline())?;
    api.map_or(Ok(()), |api| identify(api, settings).map(drop))
}
