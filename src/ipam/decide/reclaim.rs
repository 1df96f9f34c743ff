//! Addresses of a full range whose holders' pods are gone: the last that is tried for who may have any address.
//!
//! ```text
//!  held, for longer than `sweep.minAge` ─► a few are drawn, others in each try ─► asked about ─┬─ alive: left alone
//!                                                                                               └─ gone
//!        ┌───────────────────────────────────────────────────────────────────────────────────────┘
//!        ├─ never seen gone before ──────► noted in the lease; the ADD is refused, and says when to try again
//!        ├─ seen gone a short while ago ─► the same, without a note
//!        └─ seen gone long enough ago ───► the wire is asked ─► passes, as what is asked for by name does
//! ```
//!
//! Who asks for an address by name has a use for that very one. Who may have any takes one from somebody only if that
//! one is gone for certain, and one look does not show it: a pod that was deleted by force still runs, and so does one
//! that an API server which was restored from a backup does not know. So it takes two looks with time between them, as
//! in a sweep, and silence on the wire.

use std::collections::VecDeque;
use std::net::IpAddr;

use jiff::Timestamp;

use super::AllocationPolicy;
use super::amend::Amendment;
use super::candidate::Candidate;
use super::lease_survey::FoundLease;
use super::reads::{Answers, Reads};
use super::specific_address::{AddressReads, DecisionContext, HolderCheck, SpecificAddress, Takeover};
use crate::ipam::lease::{Holder, Lease, SeenGone, is_ahead};
use crate::ipam::name::Name;
use crate::ipam::refusal::Refusal;
use crate::ipam::seed::SplitMix64;
use crate::ipam::takeover::{self, GoneReason, HolderChecks};

/// The most holders that are checked: each costs a request to the API server.
pub(super) const ASKED: usize = 3;

/// The least time between the two looks, in seconds.
const BETWEEN_LOOKS: u64 = 30;

/// How long an address stays with a holder whose pod is gone, in seconds.
#[derive(Clone, Copy, Debug)]
struct Patience {
    /// Since it was given.
    min_age: u64,
    /// Since its pod was first seen gone.
    between_looks: u64,
}

/// Holders of a full range, and what was learnt of them.
#[derive(Clone, Debug)]
pub(super) struct Reclaim {
    vrf: Name,
    addresses: VecDeque<SpecificAddress>,
    patience: Patience,
    notes: Vec<Amendment>,
    /// The first that will pass, if it is the same then.
    waiting: Option<Waiting>,
    /// Addresses for which somebody answers, as examples for a refusal.
    answered: Vec<String>,
}

/// An address that does not pass before this time.
#[derive(Clone, Debug)]
struct Waiting {
    ip: IpAddr,
    holder: Holder,
    reason: GoneReason,
    until: Timestamp,
}

impl Reclaim {
    /// SplitMix64 from what is held.
    pub(super) fn of(held: Vec<FoundLease>, context: &DecisionContext<'_>, mut chance: SplitMix64) -> Self {
        let AllocationPolicy { ref vrf, min_age, cooldown, .. } = *context.policy;
        let between_looks = cooldown.max(BETWEEN_LOOKS);
        let patience = Patience { min_age: min_age.unwrap_or(u64::MAX), between_looks };
        let held = if min_age.is_some() { held } else { Vec::new() };
        let (mut own, mut noted, mut others) = (Vec::new(), Vec::new(), Vec::new());
        // What is kept for an owner stays so, whatever became of its pod.
        for met in held.into_iter().filter(|met| met.lease.owner.is_none()) {
            let is_askable = patience.is_askable(&met.lease, context.now);
            let is_noted = met.lease.seen_gone.is_some();
            let address = SpecificAddress::from_lease(met, context);
            // Its pod may have been asked about for another address.
            let is_of_a_pod =
                address.holder_check().is_some_and(|check| matches!(check.pending, takeover::PendingCheck::Pod(_)))
                    || address.takeover().is_some_and(|takeover| takeover.victim.pod.full_name().is_some());
            let may_go = is_askable && is_of_a_pod;
            if address.is_from_an_earlier_sandbox() {
                own.push(address);
            } else if may_go && is_noted {
                noted.push(address);
            } else if may_go {
                others.push(address);
            }
        }
        chance.shuffle(&mut noted);
        chance.shuffle(&mut others);
        // A note shortens the way to an address. One that never comes to its end, since somebody answers on the wire,
        // must not keep the others from their turn.
        let new_ones = others.len().min(ASKED.saturating_sub(noted.len()).max(1));
        noted.truncate(ASKED - new_ones);
        let addresses = own.into_iter().chain(noted).chain(others).take(ASKED).collect();
        Self { vrf: vrf.clone(), addresses, patience, notes: Vec::new(), waiting: None, answered: Vec::new() }
    }

    pub(super) fn candidate(&self) -> Option<&Candidate> {
        self.addresses.front()?.candidate()
    }

    pub(super) fn holder_check(&self) -> Option<&HolderCheck> {
        self.addresses.front()?.holder_check()
    }

    pub(super) fn is_over(&self) -> bool {
        self.addresses.is_empty()
    }

    /// What is to be read, if there is anybody left.
    pub(super) fn reads(&mut self, reads: &mut Reads) -> Option<AddressReads> {
        let vrf = &self.vrf;
        self.addresses.front_mut().map(|address| address.reads(vrf, reads))
    }

    pub(super) fn on_response(&mut self, read: AddressReads, answers: Answers<'_>, context: &DecisionContext<'_>) {
        if let Some(address) = self.addresses.front_mut() {
            address.on_response(read, answers, context);
        }
        self.addresses.retain(SpecificAddress::may_pass);
    }

    /// Decides again about its holders, after a check.
    pub(super) fn recheck(&mut self, own: &Holder, checks: &HolderChecks) {
        self.addresses.iter_mut().for_each(|address| address.recheck(own, checks));
        self.addresses.retain(SpecificAddress::may_pass);
    }

    /// Gives up an address since somebody answers for it, and goes on with others.
    pub(super) fn refuse(&mut self, ip: IpAddr, refusal: &Refusal) {
        self.addresses.retain(|address| address.ip() != ip);
        self.answered.push(refusal.to_string());
    }

    /// Parts with what does not pass yet, and notes what was seen of it.
    pub(super) fn defer_waiting(&mut self, now: Timestamp) {
        let Self { vrf, addresses, patience, notes, waiting, .. } = self;
        addresses.retain(|address| {
            let Some(takeover) = address.takeover() else { return true };
            let Some((until, note)) = patience.wait(takeover, now) else { return true };
            let ip = address.ip();
            notes.extend(note.map(|note| Amendment::of_lease(vrf.clone(), ip, takeover.revision, note)));
            if waiting.as_ref().is_none_or(|other| until < other.until) {
                let Takeover { victim, reason, .. } = takeover.clone();
                *waiting = Some(Waiting { ip, holder: victim, reason, until });
            }
            false
        });
    }

    pub(super) fn take_notes(&mut self) -> Vec<Amendment> {
        std::mem::take(&mut self.notes)
    }

    /// The refusal once all of them were looked at, in place of that of a range in which nobody is gone.
    pub(super) fn refusal(&self, exhausted: Refusal) -> Refusal {
        match (exhausted, &self.waiting) {
            (Refusal::Exhausted { set, .. }, Some(Waiting { ip, holder, reason, until })) => Refusal::NotYet {
                set,
                ip: *ip,
                holder: Box::new(holder.clone()),
                reason: reason.clone(),
                until: *until,
            },
            (Refusal::Exhausted { set, counts, mut examples }, None) => {
                examples.splice(0..0, self.answered.iter().cloned());
                Refusal::Exhausted { set, counts, examples }
            }
            (other, _) => other,
        }
    }
}

impl Patience {
    /// Whether its holder may be asked about. That of one whose times lie ahead is, so that they age.
    fn is_askable(self, lease: &Lease, now: Timestamp) -> bool {
        is_ahead(lease.since, now) || after(lease.since, self.min_age) <= now
    }

    /// Until when an address does not pass, and its lease with what was seen of it now, if that says more than before.
    /// `None` if it passes.
    fn wait(self, takeover: &Takeover, now: Timestamp) -> Option<(Timestamp, Option<Lease>)> {
        if takeover.reason == GoneReason::EarlierSandbox {
            return None;
        }
        let uid = takeover.victim.pod.uid.clone().unwrap_or_default();
        let mut lease = takeover.lease.as_ref().clone();
        let seen = lease.seen_gone(&uid).unwrap_or(now);
        lease.seen_gone = Some(SeenGone { uid, at: seen });
        let lease = lease.sighted(now).unwrap_or(lease);
        let [since, seen] = [lease.since, seen].map(|time| lease.counts_from(time, now));
        let until = after(since, self.min_age).max(after(seen, self.between_looks));
        let says_more = lease != *takeover.lease;
        (says_more || until > now).then(|| (until, says_more.then_some(lease)))
    }
}

/// So many seconds after a time, or the end of all times.
fn after(time: Timestamp, seconds: u64) -> Timestamp {
    let seconds = i64::try_from(seconds).unwrap_or(i64::MAX);
    Timestamp::from_second(time.as_second().saturating_add(seconds)).unwrap_or(Timestamp::MAX)
}
