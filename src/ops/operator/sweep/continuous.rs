//! Sweeping without end: one pass at a time.

use std::collections::BTreeSet;
use std::time::Duration;

use super::look::{identify, patience};
use super::{Scope, SweepOptions, SweepOutcome, SweepReport, SweepRun, has_new};
use crate::cluster::ApiServer;
use crate::config::CallSettings;
use crate::error::Error;
use crate::ipam::keys;
use crate::ipam::recovery::Progress;
use crate::ipam::sweep::{LeakReason, LeakReport, Target, Verdict};
use crate::ipam::usage::Usage;
use crate::ops::Session;
use crate::ops::recovery::progress;
use crate::store::{Cursor, Revision, StoreConfig};

/// What is kept between the looks of a sweep that goes on: what the last one showed. It is as large as what may have
/// leaked, not as the store.
#[derive(Debug, Default)]
pub struct ContinuousSweep {
    last: LeakReport,
}

/// One look, and what came of it.
#[derive(Debug, Default)]
pub struct SweepPass {
    /// What went, and why the rest stays.
    pub report: SweepReport,
    /// What may have leaked, and is not freed: it was not seen before, or was not to go in the end.
    pub candidates: BTreeSet<(Target, Revision)>,
    /// Whether the next look may free something because of this one.
    pub to_confirm: bool,
    /// What is in use, by the same reading of the store.
    pub usage: Usage,
    /// How a recovery of the store stands.
    pub recovery: Progress,
}

impl ContinuousSweep {
    /// Looks once, and frees what the look before has shown as well. No release begins when `may_continue` says no.
    pub fn next(
        &mut self,
        settings: &CallSettings,
        store: &StoreConfig,
        api: Option<&ApiServer>,
        max_share: Option<f64>,
        may_continue: &dyn Fn() -> bool,
    ) -> Result<SweepPass, Error> {
        let options = SweepOptions { dry_run: false, scope: Scope::Cluster, max_share, interval: Duration::ZERO };
        let mut run = SweepRun::new(settings, store, options, may_continue)?;
        if let Some(api) = api {
            run.rules.cluster = identify(api, settings)?;
        }
        let mut usage = Usage::default();
        run.each(&keys::all_definitions(), |entry| usage.note(entry))?;
        let recovery = progress(run.session()?, patience())?;
        run.last = std::mem::take(&mut self.last);
        let plan = run.plan(|run| run.scan_all(api, |vrf, ip, lease| usage.note_lease(vrf, ip, lease)));
        self.last = std::mem::take(&mut run.last);
        let plan = plan?;
        let to_confirm = has_new(&plan);
        let released = run.release(plan, api);
        let report = SweepReport { asked: api.is_some(), named: run.adopt_unnamed(), ..released };
        let freed: BTreeSet<&Target> = report
            .entries
            .iter()
            .filter(|entry| entry.outcome == SweepOutcome::Freed)
            .map(|entry| &entry.target)
            .collect();
        // What is reserved is in order as long as its owner is there, and goes as soon as that is seen not to be so.
        let is_suspect = |verdict: &Verdict| matches!(verdict, Verdict::Leaked(why) if *why != LeakReason::Reserved);
        let may_go = self.last.candidates.values().filter(|candidate| is_suspect(&candidate.verdict));
        let candidates = may_go
            .filter(|candidate| !freed.contains(&candidate.target))
            .map(|candidate| (candidate.target.clone(), candidate.revision))
            .collect();
        Ok(SweepPass { report, candidates, to_confirm, usage, recovery })
    }
}

/// Whether a sweep would find a store and an API server that answer, the server of the right cluster.
pub fn reach(settings: &CallSettings, store: &StoreConfig, api: Option<&ApiServer>) -> Result<(), Error> {
    Session::open(store.clone(), None)?.page(&keys::all_leases(), &Cursor::default(), 1, patience())?;
    api.map_or(Ok(()), |api| identify(api, settings).map(drop))
}
