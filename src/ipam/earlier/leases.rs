//! The holdings that a lease and its earlier revisions show.
//!
//! The changes are replayed from the oldest. A holding begins when its holder appears, and ends when the lease goes into
//! cooldown or is reserved, when it gets another time of assignment, or when it is deleted. What still holds the address
//! in the end is its present holder, and no earlier one.

use jiff::Timestamp;

use super::{FormerHolder, Gap, Holding, HoldingEnd, Source};
use crate::ipam::lease::{Foreign, Holder, Lease, LeaseState, Stored};
use crate::store::Change;

/// What the changes of a lease show.
#[derive(Debug, Default)]
pub(super) struct Replay {
    /// What has ended, the earliest end first.
    pub(super) ended: Vec<Holding>,
    /// What has not.
    pub(super) present: Vec<Holding>,
    pub(super) gaps: Vec<Gap>,
    before: Before,
}

/// The state before a change.
#[derive(Debug, Default)]
enum Before {
    #[default]
    Unknown,
    Free,
    Lease(Box<Lease>),
}

impl Replay {
    /// Replays these changes, the latest first.
    pub(super) fn of(changes: &[Change]) -> Self {
        let mut replay = Self::default();
        for (index, change) in changes.iter().enumerate().rev() {
            let source = if index == 0 { Source::Lease } else { Source::Revision(change.at) };
            match change.value.as_deref().map(Stored::<Lease>::read) {
                None => {
                    replay.end_all(None, Some(HoldingEnd::Released));
                    replay.before = Before::Free;
                }
                Some(Stored::Known(lease)) => {
                    replay.apply(&lease, &source);
                    replay.before = Before::Lease(Box::new(lease));
                }
                Some(Stored::Unreadable(why)) => {
                    replay.gaps.push(Gap::Unreadable { at: change.at, why });
                    replay.end_all(None, None);
                    replay.before = Before::Unknown;
                }
            }
        }
        replay.add_former_pods();
        replay
    }

    fn apply(&mut self, lease: &Lease, source: &Source) {
        match lease.state() {
            LeaseState::Held => self.held(lease, source),
            LeaseState::Resting => self.unheld(lease, lease.rest.as_ref().map(|rest| rest.released), source),
            LeaseState::Reserved => self.unheld(lease, lease.unused, source),
            LeaseState::Foreign => {
                if let Some(foreign) = lease.foreign() {
                    self.answered(foreign, lease.since, source);
                }
            }
        }
    }

    /// The holders of the lease have the address.
    fn held(&mut self, lease: &Lease, source: &Source) {
        let is_new = match &self.before {
            Before::Lease(before) => !before.is_held() || before.since != lease.since,
            Before::Free => true,
            // Holders that joined or left may have been before.
            Before::Unknown => is_of_one(lease),
        };
        let stays = |holding: &Holding| lease.holders.iter().any(|holder| holding.is_of(holder));
        let (stayed, left): (Vec<_>, Vec<_>) = std::mem::take(&mut self.present).into_iter().partition(stays);
        for holding in left {
            let (until, end) = match is_new {
                true => (Some(lease.since), HoldingEnd::TakenOver),
                false => (None, HoldingEnd::LeftToOther),
            };
            self.ended.push(holding.ended(until, Some(end)));
        }
        if is_new {
            let open_ends = self.ended.iter_mut().rev().take_while(|holding| holding.until.is_none());
            for holding in open_ends.filter(|holding| holding.over_by.is_none()) {
                holding.over_by = Some(lease.since);
            }
        }
        self.present = stayed;
        for holding in &mut self.present {
            holding.sources = vec![source.clone()];
        }
        for holder in &lease.holders {
            if !self.present.iter().any(|holding| holding.is_of(holder)) {
                self.present.push(Holding::new(holder, lease, is_new, source));
            }
        }
    }

    /// Its last holders had it until then.
    fn unheld(&mut self, lease: &Lease, until: Option<Timestamp>, source: &Source) {
        let is_known = matches!(&self.before, Before::Lease(before) if !before.is_held() && before.foreign().is_none());
        for mut holding in std::mem::take(&mut self.present) {
            let is_last = lease.holders.iter().any(|holder| holding.is_of(holder));
            if is_last {
                holding.sources = vec![source.clone()];
            }
            let (until, end) = if is_last { (until, HoldingEnd::Released) } else { (None, HoldingEnd::LeftToOther) };
            self.ended.push(holding.ended(until, Some(end)));
        }
        if is_known {
            return;
        }
        for holder in &lease.holders {
            let is_replayed = |holding: &&Holding| holding.is_of(holder) && holding.until == until;
            if !self.ended.iter().rev().take(lease.holders.len()).any(|holding| is_replayed(&holding)) {
                let holding = Holding::new(holder, lease, is_of_one(lease), source);
                self.ended.push(holding.ended(until, Some(HoldingEnd::Released)));
            }
        }
    }

    /// A host without a lease answered.
    fn answered(&mut self, foreign: &Foreign, since: Timestamp, source: &Source) {
        let holder = FormerHolder::Host { mac: foreign.mac, network: foreign.network.clone() };
        self.present.retain(|holding| holding.holder != holder || holding.from != Some(since));
        self.end_all(None, None);
        let (until, end) = (Some(foreign.answered), Some(HoldingEnd::LastAnswer));
        let sources = vec![source.clone()];
        self.present.push(Holding {
            holder,
            from: Some(since),
            until,
            over_by: None,
            kind: None,
            selected: None,
            end,
            sources,
        });
    }

    fn end_all(&mut self, until: Option<Timestamp>, end: Option<HoldingEnd>) {
        self.ended.extend(std::mem::take(&mut self.present).into_iter().map(|holding| holding.ended(until, end)));
    }

    /// Adds pods of the present holders' virtual machine that no other entry names.
    fn add_former_pods(&mut self) {
        let Before::Lease(lease) = &self.before else { return };
        let is_named = |uid: &String| {
            let uids = self.ended.iter().filter_map(|holding| match &holding.holder {
                FormerHolder::Attachment(_, pod) => pod.uid.as_ref(),
                FormerHolder::Pod { .. } | FormerHolder::Host { .. } => None,
            });
            uids.into_iter().any(|named| named == uid)
        };
        let unnamed: Vec<&String> = lease.former_pods.iter().filter(|uid| !is_named(uid)).collect();
        let holdings: Vec<Holding> = unnamed
            .into_iter()
            .map(|uid| Holding {
                holder: FormerHolder::Pod { uid: uid.clone() },
                from: None,
                until: None,
                over_by: None,
                kind: Some(lease.kind),
                selected: None,
                end: Some(HoldingEnd::LeftToOther),
                sources: vec![Source::Lease],
            })
            .collect();
        self.ended.extend(holdings);
    }
}

/// Whether the lease was assigned to its only holder. Otherwise its time of assignment may be another holder's.
fn is_of_one(lease: &Lease) -> bool {
    lease.holders.len() == 1 && lease.former_pods.is_empty()
}

impl Holding {
    fn new(holder: &Holder, lease: &Lease, is_new: bool, source: &Source) -> Self {
        Self {
            holder: FormerHolder::Attachment(holder.id.clone(), holder.pod.clone()),
            from: is_new.then_some(lease.since),
            until: None,
            over_by: None,
            kind: Some(lease.kind),
            selected: None,
            end: None,
            sources: vec![source.clone()],
        }
    }

    fn is_of(&self, holder: &Holder) -> bool {
        matches!(&self.holder, FormerHolder::Attachment(id, _) if *id == holder.id)
    }

    fn ended(self, until: Option<Timestamp>, end: Option<HoldingEnd>) -> Self {
        match self.holder {
            // Its last answer is all that is known.
            FormerHolder::Host { .. } => self,
            FormerHolder::Attachment(..) | FormerHolder::Pod { .. } => Self { until, end, ..self },
        }
    }
}
