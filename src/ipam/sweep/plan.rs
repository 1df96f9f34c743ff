//! Two judgements of two times: what goes, and whether anything does.

use std::collections::BTreeMap;

use super::judge::{Judgement, Tally};
use super::{Existence, Finding, Object, Spared, Suspect, Target, Why};
use crate::ipam::reservation::Owner;

/// As many addresses go whatever their share is: of three that are held, one is a third.
pub const ALWAYS_FREED: usize = 20;

/// What a sweep does.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// What goes, each with the reason ([`Finding::Goes`]); nothing of it if the sweep is [`stopped`](Self::stopped).
    pub going: Vec<Suspect>,
    /// What stays, each with the reason ([`Finding::Stays`]).
    pub staying: Vec<Suspect>,
    /// How much was looked at.
    pub tally: Tally,
    /// Why nothing goes.
    pub stopped: Option<Stopped>,
}

/// Too much would go.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[error(
    "nothing is freed: {going} of {held} held addresses would go, which is more than the share of {share} \
     (sweep.maxShare, --max-share); see that the API server is that of these pods, and look at --dry-run"
)]
pub struct Stopped {
    /// The addresses that would go, also on no more than the word of a list.
    pub going: usize,
    /// All that are held.
    pub held: usize,
    /// The share that may go at once.
    pub share: f64,
}

impl Judgement {
    /// What goes by this first judgement and a second one of a later time, if no more than this share of the held
    /// addresses goes, or no more than [`ALWAYS_FREED`].
    ///
    /// What only the node's own records and the store show ([`super::Why::EarlierBoot`], fences) is not counted: no list
    /// can be wrong about it. What is reserved is counted once its owners were asked about ([`Plan::keep`]).
    pub fn confirm(&self, second: Self, max_share: f64) -> Plan {
        let mut plan = Plan { tally: second.tally, ..Plan::default() };
        for (target, mut suspect) in second.suspects {
            match &suspect.finding {
                Finding::Goes(_) if self.shows(&target, &suspect) => plan.going.push(suspect),
                Finding::Goes(_) => {
                    suspect.finding = Finding::Stays(Spared::New);
                    plan.staying.push(suspect);
                }
                Finding::Stays(_) => plan.staying.push(suspect),
            }
        }
        plan.stopped = plan.beyond(max_share, |why| *why != Why::Reserved);
        plan
    }

    /// Whether the same goes by this judgement as well, and on the same grounds.
    fn shows(&self, target: &Target, later: &Suspect) -> bool {
        let earlier = self.suspects.get(target);
        earlier.is_some_and(|suspect| suspect.revision == later.revision && suspect.finding == later.finding)
    }
}

impl Plan {
    /// Takes in what is told of the objects for which addresses are reserved, each of which is asked about once: what is
    /// reserved for one that is there stays, and is nothing to speak of.
    pub fn keep(&mut self, max_share: f64, mut ask: impl FnMut(&Owner) -> Existence) {
        let mut told: BTreeMap<Object, Existence> = BTreeMap::new();
        for mut suspect in std::mem::take(&mut self.going) {
            let owner = suspect.owner.clone().filter(|_| suspect.finding == Finding::Goes(Why::Reserved));
            let Some(owner) = owner else {
                self.going.push(suspect);
                continue;
            };
            match told.entry(Object::of(&owner)).or_insert_with(|| ask(&owner)).clone() {
                Existence::There => {}
                Existence::Gone => self.going.push(suspect),
                Existence::Untold(why) => {
                    suspect.finding = Finding::Stays(Spared::OwnerUntold { owner: Box::new(owner), why });
                    self.staying.push(suspect);
                }
            }
        }
        self.stopped = self.beyond(max_share, |_| true);
    }

    /// Whether too large a share of what is held would go, of what goes for such reasons.
    fn beyond(&self, max_share: f64, counts: impl Fn(&Why) -> bool) -> Option<Stopped> {
        let counts = |suspect: &&Suspect| match (&suspect.target, &suspect.finding) {
            (Target::Address { .. } | Target::Share { .. }, Finding::Goes(why)) => counts(why),
            _ => false,
        };
        let (held, going) = (self.tally.held, self.going.iter().filter(counts).count());
        // Numbers of addresses that were read one by one are far below 2^52.
        #[allow(clippy::cast_precision_loss, reason = "a share needs no more")]
        let too_many = going > ALWAYS_FREED && going as f64 > max_share * held as f64;
        too_many.then_some(Stopped { going, held, share: max_share })
    }
}
