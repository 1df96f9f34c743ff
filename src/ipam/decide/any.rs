//! Any address of a range set: a free one, or, where there is none, one whose holder is gone.

use std::net::IpAddr;

use jiff::Timestamp;

use super::aim::{Known, Question};
use super::amend::Amendment;
use super::place::PlaceReads;
use super::reads::{Answers, Reads};
use super::reclaim::Reclaim;
use super::seek::{Candidate, Seek};
use crate::ipam::lease::Holder;
use crate::ipam::refusal::Refusal;
use crate::ipam::seed::Draws;
use crate::ipam::takeover::HolderChecks;

/// The search for any address.
#[derive(Clone, Debug)]
pub(super) struct Any {
    seek: Seek,
    /// What is drawn anew in each try: whose holders are asked about.
    chance: Draws,
    /// Once nothing is free.
    reclaim: Option<Reclaim>,
}

impl Any {
    pub(super) fn new(seek: Seek, chance: Draws) -> Self {
        Self { seek, chance, reclaim: None }
    }

    /// Whether it may end at this address.
    pub(super) fn may_give(&self, ip: IpAddr) -> bool {
        self.seek.may_give(ip)
    }

    /// Whether nothing is free.
    pub(super) fn lacks_room(&self) -> bool {
        self.reclaim.is_some()
    }

    /// Begins again, since something was released.
    pub(super) fn begin_again(&mut self) {
        self.seek.begin_again();
        self.reclaim = None;
    }

    pub(super) fn candidate(&self, nth: usize) -> Option<&Candidate> {
        match &self.reclaim {
            None => self.seek.candidates()[nth],
            Some(reclaim) => reclaim.candidate().filter(|_| nth == 0),
        }
    }

    pub(super) fn question(&self) -> Option<&Question> {
        self.reclaim.as_ref()?.question()
    }

    /// Why there is nothing to be tried any more, by what it was looked for in.
    pub(super) fn refusal(&self, set: String) -> Option<Refusal> {
        self.reclaim.as_ref().filter(|reclaim| reclaim.is_over()).map(|_| self.unanswered(set))
    }

    /// The refusal as long as its question has no answer.
    pub(super) fn unanswered(&self, set: String) -> Refusal {
        let exhausted = self.seek.exhausted(set);
        match &self.reclaim {
            Some(reclaim) => reclaim.refusal(exhausted),
            None => exhausted,
        }
    }

    pub(super) fn reads(&mut self, reads: &mut Reads) -> PlaceReads {
        match &mut self.reclaim {
            None => PlaceReads::Search(self.seek.reads(reads)),
            Some(reclaim) => reclaim.reads(reads).into(),
        }
    }

    pub(super) fn learn(&mut self, read: PlaceReads, answers: Answers<'_>, known: &Known<'_>) {
        match (&mut self.reclaim, read) {
            (Some(reclaim), PlaceReads::Address(read)) => reclaim.learn(read, answers, known),
            (Some(_), PlaceReads::Search(_) | PlaceReads::Nothing) => {}
            (None, read) => {
                if let PlaceReads::Search(read) = read {
                    self.seek.learn(read, answers, known.now);
                }
                if self.seek.is_exhausted() {
                    self.reclaim = Some(Reclaim::of(self.seek.take_held(), known, self.chance.clone()));
                }
            }
        }
    }

    /// Looks at its questions again, after a check.
    pub(super) fn judge(&mut self, own: &Holder, checks: &HolderChecks) {
        self.reclaim.iter_mut().for_each(|reclaim| reclaim.judge(own, checks));
    }

    /// Gives up an address that was about to pass.
    pub(super) fn refuse(&mut self, ip: IpAddr, refusal: &Refusal) {
        self.reclaim.iter_mut().for_each(|reclaim| reclaim.refuse(ip, refusal));
    }

    /// Parts with what does not pass yet.
    pub(super) fn settle(&mut self, now: Timestamp) {
        self.reclaim.iter_mut().for_each(|reclaim| reclaim.settle(now));
    }

    /// What is to be written before it is refused.
    pub(super) fn take_amendments(&mut self) -> Vec<Amendment> {
        let notes = self.reclaim.iter_mut().flat_map(Reclaim::take_notes);
        notes.chain(self.seek.take_ahead()).collect()
    }
}
