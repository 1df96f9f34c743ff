//! One address of a list.
//!
//! ```text
//!  Free ─► any free one; when there is none,
//!  TakingOver: one whose holder is an earlier sandbox, or is shown gone, of those that the search has met in the end
//! ```

use std::collections::VecDeque;
use std::net::IpAddr;

use super::aim::{Aim, Known, Question};
use super::amend::Amendment;
use super::last_look::Met;
use super::place::PlaceReads;
use super::reads::{Answers, Reads};
use super::reclaim::ASKED;
use super::seek::{Candidate, Seek};
use crate::ipam::address::Spans;
use crate::ipam::lease::Holder;
use crate::ipam::name::Name;
use crate::ipam::refusal::Refusal;
use crate::ipam::reservation::Owner;
use crate::ipam::seed::Draws;
use crate::ipam::takeover::HolderChecks;

#[derive(Clone, Debug)]
enum Stage {
    Free,
    TakingOver(VecDeque<Aim>),
}

/// The search in a list of addresses.
#[derive(Clone, Debug)]
pub(super) struct Pool {
    /// What it is called in a refusal.
    what: String,
    spans: Spans,
    seek: Seek,
    /// What is drawn anew in each try: whose holders are asked about.
    chance: Draws,
    stage: Stage,
    /// Why the last address that was about to pass did not.
    kept: Option<Refusal>,
    /// What is to be written before it is refused.
    ahead: Vec<Amendment>,
}

impl Pool {
    /// The search in `spans`, of which `seek` finds the free ones.
    pub(super) fn new(what: String, spans: Spans, seek: Seek, chance: Draws) -> Self {
        Self { what, spans, seek, chance, stage: Stage::Free, kept: None, ahead: Vec::new() }
    }

    /// Whether it may end at this address.
    pub(super) fn may_give(&self, ip: IpAddr) -> bool {
        self.spans.contains(ip)
    }

    pub(super) fn candidate(&self, nth: usize) -> Option<&Candidate> {
        match &self.stage {
            Stage::Free => self.seek.candidates()[nth],
            Stage::TakingOver(aims) => aims.front()?.candidate().filter(|_| nth == 0),
        }
    }

    pub(super) fn question(&self) -> Option<&Question> {
        match &self.stage {
            Stage::TakingOver(aims) => aims.front()?.question(),
            _ => None,
        }
    }

    /// The owner of which the pod has to be, to have the address that is tried now.
    pub(super) fn owner_to_check(&self) -> Option<&Owner> {
        match &self.stage {
            Stage::TakingOver(aims) => aims.front()?.owner_to_check(),
            _ => None,
        }
    }

    pub(super) fn exhausted(&self) -> Option<Refusal> {
        let exhausted = matches!(&self.stage, Stage::TakingOver(aims) if aims.is_empty());
        exhausted.then(|| self.kept.clone().unwrap_or_else(|| self.seek.exhausted(self.what.clone())))
    }

    pub(super) fn reads(&mut self, vrf: &Name, reads: &mut Reads) -> PlaceReads {
        match &mut self.stage {
            Stage::Free => PlaceReads::Search(self.seek.reads(reads)),
            Stage::TakingOver(aims) => aims.front_mut().map(|aim| aim.reads(vrf, reads)).into(),
        }
    }

    pub(super) fn learn(&mut self, read: PlaceReads, answers: Answers<'_>, known: &Known<'_>) {
        match &mut self.stage {
            Stage::Free => {
                if let PlaceReads::Search(read) = read {
                    self.seek.learn(read, answers, known.now);
                }
                if self.seek.is_exhausted() {
                    let (aims, ahead) = takeovers(self.seek.take_held(), known, &mut self.chance);
                    (self.stage, self.ahead) = (Stage::TakingOver(aims), ahead);
                }
            }
            Stage::TakingOver(aims) => {
                if let (Some(aim), PlaceReads::Address(read)) = (aims.front_mut(), read) {
                    aim.learn(read, answers, known);
                }
                aims.retain(|aim| aim.refusal().is_none());
            }
        }
    }

    /// Gives up an address that was about to pass, and goes on with others.
    pub(super) fn refuse(&mut self, ip: IpAddr, refusal: &Refusal) {
        match &mut self.stage {
            Stage::TakingOver(aims) => aims.retain(|aim| aim.ip() != ip),
            Stage::Free => return,
        }
        self.kept = Some(refusal.clone());
    }

    /// What is to be written before it is refused.
    pub(super) fn take_amendments(&mut self) -> Vec<Amendment> {
        std::mem::take(&mut self.ahead)
    }

    /// Looks at its questions again, after a check.
    pub(super) fn judge(&mut self, own: &Holder, checks: &HolderChecks) {
        if let Stage::TakingOver(aims) = &mut self.stage {
            aims.iter_mut().for_each(|aim| aim.judge(own, checks));
            aims.retain(|aim| aim.refusal().is_none());
        }
    }
}

/// The addresses that may pass: first what can be had without a question, such as those of the pod's own earlier sandboxes;
/// then some that are drawn, others in each try, so that all holders of a long list come in turn. With them, what is to be
/// written of the others.
fn takeovers(met: Vec<Met>, known: &Known<'_>, chance: &mut Draws) -> (VecDeque<Aim>, Vec<Amendment>) {
    let mut aims: Vec<Aim> = met.into_iter().map(|met| Aim::of(met, known)).collect();
    let ahead = aims.iter_mut().filter_map(Aim::take_ahead).collect();
    aims.retain(|aim| aim.refusal().is_none());
    chance.shuffle(&mut aims);
    aims.sort_by_key(|aim| (!aim.is_from_an_earlier_sandbox(), aim.question().is_some()));
    aims.truncate(ASKED);
    (aims.into(), ahead)
}
