//! Sweeping that goes on: one look at a time.

use std::collections::BTreeSet;
use std::time::Duration;

use super::look::{identify, patience};
use super::{Fate, Scope, Sweep, Sweeping, Swept, has_new};
use crate::cluster::ApiServer;
use crate::config::Site;
use crate::error::Error;
use crate::ipam::keys;
use crate::ipam::recovery::Progress;
use crate::ipam::sweep::{Finding, Judgement, Target, Why};
use crate::ipam::usage::Usage;
use crate::ops::Session;
use crate::ops::recovery::progress;
use crate::store::{Cursor, Revision, StoreConfig};

/// What is kept between the looks of a sweep that goes on: what the last one showed. It is as large as what may have
/// leaked, not as the store.
#[derive(Debug, Default)]
pub struct Rounds {
    last: Judgement,
}

/// One look, and what came of it.
#[derive(Debug, Default)]
pub struct Round {
    /// What went, and why the rest stays.
    pub swept: Swept,
    /// What may have leaked, and is not freed: it was not seen before, or was not to go in the end.
    pub suspects: BTreeSet<(Target, Revision)>,
    /// Whether the next look may free something because of this one.
    pub to_confirm: bool,
    /// What is in use, by the same reading of the store.
    pub usage: Usage,
    /// How a recovery of the store stands.
    pub recovery: Progress,
}

impl Rounds {
    /// Looks once, and frees what the look before has shown as well. No release begins when `goes_on` says no.
    pub fn next(
        &mut self,
        site: &Site,
        store: &StoreConfig,
        api: Option<&ApiServer>,
        max_share: Option<f64>,
        goes_on: &dyn Fn() -> bool,
    ) -> Result<Round, Error> {
        let asked = Sweep { dry_run: false, scope: Scope::Cluster, max_share, interval: Duration::ZERO };
        let mut sweeping = Sweeping::new(site, store, asked, goes_on)?;
        if let Some(api) = api {
            sweeping.rules.cluster = identify(api, site)?;
        }
        let mut usage = Usage::default();
        sweeping.each(&keys::all_definitions(), |entry| usage.note(entry))?;
        let recovery = progress(sweeping.session()?, patience())?;
        sweeping.last = std::mem::take(&mut self.last);
        let plan = sweeping.plan(|sweeping| sweeping.look_at_all(api, |entry| usage.note(entry)));
        self.last = std::mem::take(&mut sweeping.last);
        let plan = plan?;
        let to_confirm = has_new(&plan);
        let released = sweeping.release(plan, api);
        let swept = Swept { asked: api.is_some(), named: sweeping.adopt_unnamed(), ..released };
        let freed: BTreeSet<&Target> =
            swept.lines.iter().filter(|line| line.fate == Fate::Freed).map(|line| &line.target).collect();
        // What is reserved is in order as long as its owner is there, and goes as soon as that is seen not to be so.
        let is_suspect = |finding: &Finding| matches!(finding, Finding::Goes(why) if *why != Why::Reserved);
        let may_go = self.last.suspects.values().filter(|suspect| is_suspect(&suspect.finding));
        let suspects = may_go
            .filter(|suspect| !freed.contains(&suspect.target))
            .map(|suspect| (suspect.target.clone(), suspect.revision))
            .collect();
        Ok(Round { swept, suspects, to_confirm, usage, recovery })
    }
}

/// Whether a sweep would find a store and an API server that answer, the server of the right cluster.
pub fn reach(site: &Site, store: &StoreConfig, api: Option<&ApiServer>) -> Result<(), Error> {
    Session::open(store.clone(), None)?.page(&keys::all_leases(), &Cursor::default(), 1, patience())?;
    api.map_or(Ok(()), |api| identify(api, site).map(drop))
}
