//! A sweep: scans the store and the pods, and frees what two scans show to have leaked.
//!
//! ```text
//!  once:         scan ─► wait ─► scan ─► Plan ─► for each confirmed candidate: check its pod once more, then release it
//!                                        ▲       at the revision that was seen
//!  continuously: scan ─► … ─► scan ──────┘       what the last scans reported is kept for the next ([`ContinuousSweep`])
//! ```
//!
//! What has leaked, and why, is decided in [`crate::ipam::sweep`]. A sweep that is killed has freed some and left the rest for
//! the next one, because each release is one commit. Two sweeps at once are harmless, too: of two releases at one revision, one
//! succeeds.

mod continuous;
mod free;
mod node;
mod scan;
mod unnamed;

use std::thread;
use std::time::Duration;

use jiff::Timestamp;

pub use self::continuous::{ContinuousSweep, PassScope, SweepPass, reach};
use self::scan::{identify, response_deadline};
use crate::cluster::{Access, ApiServer};
use crate::config::CallSettings;
use crate::deadline::Deadline;
use crate::error::Error;
use crate::ipam::decide::Amendment;
use crate::ipam::lease::Holder;
use crate::ipam::sweep::{
    LeakCandidate, LeakReport, Plan, Rules, SkipReason, Stopped, Tally, Target, Unnamed, Verdict,
};
use crate::ops::recovery::{RecoveryShare, look_for_signs, take_part};
use crate::ops::{Node, Session};
use crate::store::StoreConfig;

/// How long one answer of the store or of the API server is waited for.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(30);

/// What is asked of a sweep.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SweepOptions {
    /// Change nothing.
    pub dry_run: bool,
    /// What is looked at.
    pub scope: Scope,
    /// In place of the share of the node defaults.
    pub max_share: Option<f64>,
    /// How long to wait between the two looks.
    pub interval: Duration,
}

/// What a sweep looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// The whole store, and the pods of the cluster.
    Cluster,
    /// Only what this node knows by itself: its marks, and its own attachments. Nobody is asked about pods.
    Node,
    /// Only this node's marks. They are released by their records' keys, whatever boot id is seen: a container may see
    /// another one than its node.
    Marks,
}

/// What a sweep did.
#[derive(Debug, Default)]
pub struct SweepReport {
    /// What it came upon, what goes first.
    pub entries: Vec<SweepEntry>,
    /// How much it looked at.
    pub tally: Tally,
    /// Why nothing was freed of what would go.
    pub stopped: Option<Stopped>,
    /// Whether there is a kubeconfig; without one nobody was asked about pods.
    pub asked: bool,
    /// What this node did about a recovery of the store; `None` if there is none.
    pub recovery: Option<RecoveryShare>,
    /// How many addresses have holders that named no cluster, and name this one now; of a dry run, would.
    pub named: usize,
}

/// What became of one candidate.
#[derive(Debug)]
pub struct SweepEntry {
    /// What it is.
    pub target: Target,
    /// Who holds it, as far as that is known.
    pub holder: Option<Holder>,
    /// Since when, where that is stored.
    pub since: Option<Timestamp>,
    /// What became of it.
    pub outcome: SweepOutcome,
    /// LeakReason.
    pub why: String,
    /// The kind of leak, in a word for metrics.
    pub leak: Option<&'static str>,
}

/// What became of a candidate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SweepOutcome {
    /// It is free, or its entry gone.
    Freed,
    /// It would be, if this were no dry run, or the sweep had not been stopped.
    WouldBeFreed,
    /// It stays.
    Skipped,
    /// It was to go, and whether it did is not known, or nobody answered.
    Failed,
}

impl SweepReport {
    /// How many candidates came to this.
    pub fn count(&self, outcome: SweepOutcome) -> usize {
        self.entries.iter().filter(|entry| entry.outcome == outcome).count()
    }

    /// What makes the sweep a failure, if anything does.
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

/// Sweeps a store, once, by what the node defaults say.
pub fn sweep(settings: &CallSettings, store: &StoreConfig, options: SweepOptions) -> Result<SweepReport, Error> {
    SweepRun::new(settings, store, options, &|| true)?.once()
}

struct SweepRun<'a> {
    node: Node<'a>,
    store: &'a StoreConfig,
    rules: Rules,
    max_share: f64,
    options: SweepOptions,
    /// What the scan before reported.
    last: LeakReport,
    /// Holders of this cluster that don't name it, by the last scan.
    unnamed: Vec<Unnamed>,
    /// First sights that the last scan stores.
    notes: Vec<Amendment>,
    /// Whether another release may begin.
    may_continue: &'a dyn Fn() -> bool,
    /// Whether it did not answer once while something was freed; then it is not waited for again.
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
        if options.scope == Scope::Marks {
            // Of no boot that is known: in a container it may be another one than the node's.
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
            Scope::Marks => {
                let entries = self.replay_marks()?;
                let recovery = self.recover()?;
                Ok(SweepReport { entries, recovery, ..SweepReport::default() })
            }
            Scope::Node => {
                let mut entries = self.replay_marks()?;
                self.refresh_identity();
                let recovery = self.recover()?;
                let plan = self.twice(Self::look_at_own)?;
                let report = self.release(plan, None);
                entries.extend(report.entries);
                Ok(SweepReport { entries, recovery, ..report })
            }
            Scope::Cluster => self.of_cluster(),
        }
    }

    /// Looks for signs that the store has lost what runs on this node, and takes part in a recovery.
    fn recover(&mut self) -> Result<Option<RecoveryShare>, Error> {
        if self.options.dry_run {
            return Ok(None);
        }
        look_for_signs(&mut self.node, self.store, response_deadline())?;
        take_part(&mut self.node, self.store, response_deadline())
    }

    fn of_cluster(&mut self) -> Result<SweepReport, Error> {
        let api = match self.node.settings.kubeconfigs.iter().find(|path| path.exists()) {
            Some(path) => Some(ApiServer::open_with_timeout(&Access::Kubeconfig(path.clone()), RESPONSE_TIMEOUT)?),
            None => None,
        };
        if let Some(api) = &api {
            self.rules.cluster = identify(api, self.node.settings)?;
        }
        let plan = self.twice(|run| run.scan_all(api.as_ref(), |_, _, _| {}))?;
        let report = self.release(plan, api.as_ref());
        Ok(SweepReport { asked: api.is_some(), named: self.adopt_unnamed(), ..report })
    }

    /// Scans, and scans again after a while if that may confirm something.
    fn twice(&mut self, mut look: impl FnMut(&mut Self) -> Result<LeakReport, Error>) -> Result<Plan, Error> {
        let plan = self.plan(&mut look)?;
        if !has_new(&plan) {
            return Ok(plan);
        }
        thread::sleep(self.options.interval);
        self.plan(look)
    }

    /// Scans, and confirms what the scan before reported as well.
    fn plan(&mut self, look: impl FnOnce(&mut Self) -> Result<LeakReport, Error>) -> Result<Plan, Error> {
        let mut seen = look(self)?;
        self.notes = std::mem::take(&mut seen.notes);
        let plan = self.last.confirm(seen.clone(), self.max_share);
        self.last = seen;
        Ok(plan)
    }

    fn session(&mut self) -> Result<&Session, Error> {
        self.node.open(self.store)
    }
}

/// Whether another scan may confirm something.
fn has_new(plan: &Plan) -> bool {
    plan.skipped.iter().any(|candidate| candidate.verdict == Verdict::Skipped(SkipReason::New))
}
