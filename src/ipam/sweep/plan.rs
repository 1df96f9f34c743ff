//! Two judgements of two times: what goes, and whether anything does.

use super::judge::{Judgement, Tally};
use super::{Finding, Spared, Suspect, Target};

/// So many addresses must be held before their share means anything: of three, one is a third.
pub const LEAST_HELD: usize = 20;

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
    /// addresses goes, where more than [`LEAST_HELD`] are held.
    ///
    /// What only the node's own records and the store show ([`super::Why::EarlierBoot`], fences) is not counted: no list
    /// can be wrong about it.
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
        let held = plan.tally.held;
        let going = plan.going.iter().filter(|suspect| matches!(suspect.target, Target::Address { .. })).count();
        // Numbers of addresses that were read one by one are far below 2^52.
        #[allow(clippy::cast_precision_loss, reason = "a share needs no more")]
        if held > LEAST_HELD && going as f64 > max_share * held as f64 {
            plan.stopped = Some(Stopped { going, held, share: max_share });
        }
        plan
    }

    /// Whether the same goes by this judgement as well, and on the same grounds.
    fn shows(&self, target: &Target, later: &Suspect) -> bool {
        let earlier = self.suspects.get(target);
        earlier.is_some_and(|suspect| suspect.revision == later.revision && suspect.finding == later.finding)
    }
}
