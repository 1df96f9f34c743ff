//! Sweeping without end: one pass at a time, over the whole store or over what some nodes hold.

use std::collections::BTreeSet;
use std::time::Duration;

use super::scan::{identify, response_deadline};
use super::{Scope, SweepOptions, SweepOutcome, SweepReport, SweepRun, has_new};
use crate::cluster::ApiServer;
use crate::config::CallSettings;
use crate::error::Error;
use crate::ipam::keys;
use crate::ipam::name::Name;
use crate::ipam::recovery::Progress;
use crate::ipam::sweep::{LeakReason, LeakReport, Plan, Target, Verdict};
use crate::ipam::usage::Usage;
use crate::ops::Session;
use crate::ops::recovery::progress;
use crate::store::{Revision, StoreConfig};

/// What is kept between the passes: what the last ones showed. It is as large as what may have leaked, not as the store.
#[derive(Debug, Default)]
pub struct ContinuousSweep {
    last: LeakReport,
    /// How many addresses the last pass over the whole store has counted, of which a pass over some nodes frees a share.
    held: Option<usize>,
}

/// What a pass is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PassScope {
    /// The whole store, and all pods.
    Store,
    /// What the attachments of these nodes hold, and their pods.
    Nodes(BTreeSet<Name>),
}

/// One pass, and what came of it.
#[derive(Debug)]
pub struct SweepPass {
    /// What it was over. Without an API server, or before the first pass over all of it, that is the whole store.
    pub scope: PassScope,
    /// What was freed, and why the rest was not.
    pub report: SweepReport,
    /// What may have leaked by this pass and those before it, and is not freed: it was not seen twice, or was not freed in
    /// the end.
    pub candidates: BTreeSet<(Target, Revision)>,
    /// Whether the next pass over the same may free something because of this one.
    pub to_confirm: bool,
    /// What is in use, by the same reading of the whole store.
    pub usage: Option<Usage>,
    /// How a recovery of the store stands.
    pub recovery: Progress,
}

impl ContinuousSweep {
    /// Passes once, and frees what an earlier pass has shown as well. No release begins when `may_continue` says no.
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
            None => run.pass_store(api).map(|(plan, usage)| (plan, Some(usage))),
        };
        self.last = std::mem::take(&mut run.last);
        let (plan, usage) = passed?;
        if nodes.is_none() {
            self.held = Some(plan.tally.held);
        }
        let to_confirm = has_new(&plan);
        let released = run.release(plan, api);
        let report = SweepReport { asked: api.is_some(), named: run.adopt_unnamed(), ..released };
        let scope = nodes.map_or(PassScope::Store, |(nodes, ..)| PassScope::Nodes(nodes));
        Ok(SweepPass { scope, candidates: self.candidates(&report), report, to_confirm, usage, recovery })
    }

    /// What may have leaked, and was not freed by this pass.
    fn candidates(&self, report: &SweepReport) -> BTreeSet<(Target, Revision)> {
        let freed = report.entries.iter().filter(|entry| entry.outcome == SweepOutcome::Freed);
        let freed: BTreeSet<&Target> = freed.map(|entry| &entry.target).collect();
        // What is reserved is in order as long as its owner exists, and is freed as soon as it is seen not to.
        let may_leak = |verdict: &Verdict| matches!(verdict, Verdict::Leaked(why) if *why != LeakReason::Reserved);
        let candidates = self.last.candidates.values().filter(|candidate| may_leak(&candidate.verdict));
        candidates
            .filter(|candidate| !freed.contains(&candidate.target))
            .map(|candidate| (candidate.target.clone(), candidate.revision))
            .collect()
    }
}

impl SweepRun<'_> {
    fn pass_store(&mut self, api: Option<&ApiServer>) -> Result<(Plan, Usage), Error> {
        let mut usage = Usage::default();
        self.each(&keys::all_definitions(), |entry| usage.note(entry))?;
        let plan = self.plan(|run| run.scan_all(api, |vrf, ip, lease| usage.note_lease(vrf, ip, lease)))?;
        Ok((plan, usage))
    }

    fn pass_nodes(&mut self, api: &ApiServer, nodes: &BTreeSet<Name>, held: usize) -> Result<Plan, Error> {
        let mut found = self.look_at_nodes(api, nodes)?;
        found.tally.held = held;
        let plan = self.last.confirm(found.clone(), self.max_share);
        self.notes = std::mem::take(&mut found.notes);
        self.last.update(nodes, found);
        Ok(plan)
    }
}

/// Whether a sweep would find a store and an API server that answer, the server of the right cluster.
pub fn reach(settings: &CallSettings, store: &StoreConfig, api: Option<&ApiServer>) -> Result<(), Error> {
    Session::open(store.clone(), None)?.ping(response_deadline())?;
    api.map_or(Ok(()), |api| identify(api, settings).map(drop))
}
