//! A sweep: scans the store and the pods, and frees what two scans found to have leaked.
//!
//! ```text
//!  once:         scan ─► wait ─► scan ─► Plan ─► for each confirmed candidate: check its pod again, then release it
//!                                        ▲       at the revision that was seen
//!  continuously: scan ─► … ─► scan ──────┘       the last report is kept for the next scan ([`ContinuousSweep`])
//! ```
//!
//! [`crate::ipam::sweep`] decides what has leaked, and why. Each release is one commit, so a sweep that is killed has
//! freed some candidates and leaves the others to the next one. Two sweeps at once are harmless, too: of two releases
//! at one revision, one succeeds.

mod continuous;
mod free;
mod node;
mod scan;
mod unnamed;

use std::thread;
use std::time::Duration;

use jiff::Timestamp;

pub use self::continuous::{ContinuousSweep, PassScope, SweepPass, reach};
pub(in crate::ops) use self::scan::identify;
use self::scan::response_deadline;
use crate::cluster::{Access, ApiServer};
use crate::config::CallSettings;
use crate::deadline::Deadline;
use crate::error::Error;
use crate::ipam::decide::{Amendment, clear_rest};
use crate::ipam::keys;
use crate::ipam::lease::Holder;
use crate::ipam::refusal::Refusal;
use crate::ipam::sweep::{
    LeakCandidate, LeakReport, Plan, Rules, SkipReason, Stopped, Tally, Target, Unnamed, Verdict,
};
use crate::ops::recovery::{RecoveryShare, look_for_signs, take_part};
use crate::ops::{Node, Session};
use crate::store::StoreConfig;

/// How long to wait for one response of the store or the API server.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(30);

/// The most expired cooldowns that one sweep removes.
const MAX_CLEARED: usize = 2_000;

/// The options of a sweep.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SweepOptions {
    /// Whether to free nothing.
    pub dry_run: bool,
    /// The scope of the sweep.
    pub scope: Scope,
    /// The share of held addresses that may be freed; overrides the node defaults.
    pub max_share: Option<f64>,
    /// The time between the two scans.
    pub interval: Duration,
}

/// The scope of a sweep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// The whole store, and the pods of the cluster.
    Cluster,
    /// What this node can decide without an API server: its deferred releases and its own attachments.
    Node,
    /// Only this node's deferred releases. They need no boot ID, which a container may read differently from its node.
    DeferredReleases,
}

/// The report of a sweep.
#[derive(Debug, Default)]
pub struct SweepReport {
    /// The candidates, those to free first.
    pub entries: Vec<SweepEntry>,
    /// The number of addresses that were read.
    pub tally: Tally,
    /// Why no confirmed candidate was freed.
    pub stopped: Option<Stopped>,
    /// Whether pods were checked. Without a kubeconfig, they are not.
    pub asked: bool,
    /// This node's part in a recovery of the store, if there is one.
    pub recovery: Option<RecoveryShare>,
    /// How many addresses had holders without a cluster, to which it was added (in a dry run, would be).
    pub named: usize,
}

/// The outcome for one candidate.
#[derive(Debug)]
pub struct SweepEntry {
    /// The candidate.
    pub target: Target,
    /// Its holder, if known.
    pub holder: Option<Holder>,
    /// When it was assigned, if that is stored.
    pub since: Option<Timestamp>,
    /// What happened to it.
    pub outcome: SweepOutcome,
    /// The reason for the outcome.
    pub why: String,
    /// The kind of leak, as a label for metrics.
    pub leak: Option<&'static str>,
}

/// What happened to a candidate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SweepOutcome {
    /// It was released or removed.
    Freed,
    /// It would be freed, but this is a dry run or the sweep stopped.
    WouldBeFreed,
    /// It stays.
    Skipped,
    /// Its release failed, or its outcome is unknown.
    Failed,
}

impl SweepReport {
    /// The number of candidates with this outcome.
    pub fn count(&self, outcome: SweepOutcome) -> usize {
        self.entries.iter().filter(|entry| entry.outcome == outcome).count()
    }

    /// The error of a sweep that stopped or could not release everything.
    pub fn failure(&self) -> Option<Error> {
        match (self.stopped, self.count(SweepOutcome::Failed)) {
            (Some(stopped), _) => Some(stopped.into()),
            (None, 0) => None,
            (None, failed) => Some(Error::SweepIncomplete { going: failed + self.count(SweepOutcome::Freed), failed }),
        }
    }
}

impl SweepEntry {
    fn new(candidate: &LeakCandidate, outcome: SweepOutcome, why: String) -> Self {
        let LeakCandidate { target, holder, since, .. } = candidate.clone();
        let leak = match &candidate.verdict {
            Verdict::Leaked(why) => Some(why.label()),
            Verdict::Skipped(_) => None,
        };
        Self { target, holder, since, outcome, why, leak }
    }
}

/// Sweeps a store once.
pub fn sweep(settings: &CallSettings, store: &StoreConfig, options: SweepOptions) -> Result<SweepReport, Error> {
    SweepRun::new(settings, store, options, &|| true)?.once()
}

struct SweepRun<'a> {
    node: Node<'a>,
    store: &'a StoreConfig,
    rules: Rules,
    max_share: f64,
    options: SweepOptions,
    /// The report of the previous scan.
    last: LeakReport,
    /// Holders of this cluster that don't name it, from the last scan.
    unnamed: Vec<Unnamed>,
    /// Amendments of the last scan.
    notes: Vec<Amendment>,
    /// Whether another release may begin.
    may_continue: &'a dyn Fn() -> bool,
    /// Set when the store did not answer. The sweep does not wait for it again.
    store_is_silent: bool,
}

impl<'a> SweepRun<'a> {
    fn new(
        settings: &'a CallSettings,
        store: &'a StoreConfig,
        options: SweepOptions,
        may_continue: &'a dyn Fn() -> bool,
    ) -> Result<Self, Error> {
        let config = settings.sweep.clone().map_err(Error::Config)?;
        let mut node = Node::new(settings, Deadline::after(RESPONSE_TIMEOUT));
        if options.scope == Scope::DeferredReleases {
            // A container may read another boot ID than its node, so none is used.
            node.began.boot.clear();
        }
        Ok(Self {
            node,
            store,
            rules: Rules { cluster: scan::named(settings), min_age: config.min_age },
            max_share: options.max_share.unwrap_or(config.max_share),
            options,
            last: LeakReport::default(),
            unnamed: Vec::new(),
            notes: Vec::new(),
            may_continue,
            store_is_silent: false,
        })
    }

    fn once(&mut self) -> Result<SweepReport, Error> {
        match self.options.scope {
            Scope::DeferredReleases => {
                let entries = self.replay_deferred_releases()?;
                let recovery = self.recover()?;
                Ok(SweepReport { entries, recovery, ..SweepReport::default() })
            }
            Scope::Node => {
                let mut entries = self.replay_deferred_releases()?;
                self.refresh_identity();
                let recovery = self.recover()?;
                let plan = self.twice(Self::scan_own)?;
                let report = self.release(plan, None);
                entries.extend(report.entries);
                Ok(SweepReport { entries, recovery, ..report })
            }
            Scope::Cluster => self.sweep_cluster(),
        }
    }

    /// Looks for signs that the store lost writes, and takes part in a recovery.
    fn recover(&mut self) -> Result<Option<RecoveryShare>, Error> {
        if self.options.dry_run {
            return Ok(None);
        }
        look_for_signs(&mut self.node, self.store, response_deadline())?;
        take_part(&mut self.node, self.store, response_deadline())
    }

    fn sweep_cluster(&mut self) -> Result<SweepReport, Error> {
        let api = match self.node.settings.kubeconfigs.iter().find(|path| path.exists()) {
            Some(path) => Some(ApiServer::open_with_timeout(&Access::Kubeconfig(path.clone()), RESPONSE_TIMEOUT)?),
            None => None,
        };
        if let Some(api) = &api {
            self.rules.cluster = identify(api, self.node.settings)?;
        }
        self.collect_remains();
        self.clear_cooldowns();
        let plan = self.twice(|run| run.scan_all(api.as_ref(), |_, _, _| {}))?;
        let report = self.release(plan, api.as_ref());
        Ok(SweepReport { asked: api.is_some(), named: self.adopt_unnamed(), ..report })
    }

    /// Removes what transactions of dead processes have left. That does no harm, so a failure ends no sweep.
    fn collect_remains(&mut self) {
        if self.options.dry_run {
            return;
        }
        match self.session().and_then(|session| session.collect_remains(response_deadline())) {
            Ok(0) => {}
            Ok(count) => tracing::info!(count, "removed what transactions of dead processes had left in the store"),
            Err(error) => {
                tracing::warn!(error = %error.full(), "could not remove what dead processes left in the store")
            }
        }
    }

    /// Removes expired cooldowns, where releases don't. A failure leaves them to the next sweep.
    fn clear_cooldowns(&mut self) {
        if self.options.dry_run || self.store.clears_cooldowns_on_release() {
            return;
        }
        let now = Timestamp::now();
        let mut expired = Vec::new();
        let read = self.session().and_then(|session| {
            session.each(&keys::all_rests(), RESPONSE_TIMEOUT, |entry| {
                if expired.len() < MAX_CLEARED {
                    expired.extend(clear_rest(entry, now).map_err(|error| Error::from(Refusal::from(error)))?);
                }
                Ok::<_, Error>(())
            })
        });
        let cleared = read.and_then(|()| {
            let session = self.session()?;
            expired.iter().try_for_each(|clear| session.commit(clear, response_deadline()))
        });
        if let Err(error) = cleared {
            tracing::warn!(error = %error.full(), "some expired cooldowns were left for the next sweep");
        }
    }

    /// Scans, and scans again after the interval if that may confirm something.
    fn twice(&mut self, mut scan: impl FnMut(&mut Self) -> Result<LeakReport, Error>) -> Result<Plan, Error> {
        let plan = self.plan(&mut scan)?;
        if !has_new(&plan) {
            return Ok(plan);
        }
        thread::sleep(self.options.interval);
        self.plan(scan)
    }

    /// Scans, and confirms what the previous scan reported as well.
    fn plan(&mut self, scan: impl FnOnce(&mut Self) -> Result<LeakReport, Error>) -> Result<Plan, Error> {
        let mut seen = scan(self)?;
        self.notes = std::mem::take(&mut seen.notes);
        let plan = self.last.confirm(seen.clone(), self.max_share);
        self.last = seen;
        Ok(plan)
    }

    fn session(&mut self) -> Result<&Session, Error> {
        self.node.open(self.store)
    }
}

fn has_new(plan: &Plan) -> bool {
    plan.skipped.iter().any(|candidate| candidate.verdict == Verdict::Skipped(SkipReason::New))
}
