//! Takes an address from a pod that is gone, for a request that accepts any address of a full range.
//!
//! ```text
//!  held for longer than `sweep.minAge` ─► a few are drawn, others in each attempt ─► pod checked ─┬─ alive: skipped
//!                                                                                                 └─ gone
//!        ┌────────────────────────────────────────────────────────────────────────────────────────┘
//!        ├─ for the first time ──────────► recorded in the lease; the ADD is refused, and says when to try again
//!        ├─ seen gone a short while ago ─► the same, but nothing is written
//!        └─ seen gone long enough ago ───► link probed ─► taken over like a requested address
//! ```
//!
//! A request for a specific address needs that very one. Here any address would do, so the holder must certainly be
//! gone, and one check does not show that: a pod that was deleted by force may still run, and so may one that an API
//! server does not know after it was restored from a backup. So it takes two checks with time between them, as in a
//! sweep, and no reply on the link.

use std::collections::VecDeque;
use std::net::IpAddr;

use jiff::Timestamp;

use super::AllocationPolicy;
use super::amend::Amendment;
use super::candidate::Candidate;
use super::lease_survey::FoundLease;
use super::reads::{Answers, Reads};
use super::specific_address::{AddressReads, DecisionContext, HolderCheck, SpecificAddress, Takeover};
use crate::cause::chain;
use crate::ipam::lease::{Holder, Lease, SeenGone, is_ahead};
use crate::ipam::name::Name;
use crate::ipam::refusal::Refusal;
use crate::ipam::seed::SplitMix64;
use crate::ipam::takeover::{self, GoneReason, HolderChecks};

/// The most holders that are checked in one attempt. Each check costs a request to the API server.
pub(super) const MAX_HOLDER_CHECKS: usize = 3;

/// The shortest time between the two checks, in seconds.
const MIN_BETWEEN_CHECKS: u64 = 30;

/// How long an address stays with a holder whose pod is gone, in seconds.
#[derive(Clone, Copy, Debug)]
struct TakeoverDelays {
    /// From its assignment.
    min_age: u64,
    /// From the first check that found the pod gone.
    between_checks: u64,
}

#[derive(Clone, Debug)]
pub(super) struct Reclaim {
    vrf: Name,
    addresses: VecDeque<SpecificAddress>,
    delays: TakeoverDelays,
    amendments: Vec<Amendment>,
    /// The address that can be taken over soonest, if its holder does not change.
    delayed: Option<Delayed>,
    /// Addresses for which a host answered the probe, as examples for the refusal.
    conflicts: Vec<String>,
}

#[derive(Clone, Debug)]
struct Delayed {
    ip: IpAddr,
    holder: Holder,
    reason: GoneReason,
    until: Timestamp,
}

impl Reclaim {
    /// Draws the holders to check.
    pub(super) fn new(held: Vec<FoundLease>, context: &DecisionContext<'_>, mut random: SplitMix64) -> Self {
        let AllocationPolicy { ref vrf, min_age, cooldown, .. } = *context.policy;
        let between_checks = cooldown.max(MIN_BETWEEN_CHECKS);
        let delays = TakeoverDelays { min_age: min_age.unwrap_or(u64::MAX), between_checks };
        let held = if min_age.is_some() { held } else { Vec::new() };
        let (mut own, mut seen_before, mut others) = (Vec::new(), Vec::new(), Vec::new());
        // A sticky address stays reserved for its owner, and one that is reserved by hand for whom the operator said,
        // even if its pod is gone.
        let is_kept = |lease: &Lease| lease.owner.is_some() || lease.manual(context.now).is_some();
        for found in held.into_iter().filter(|found| !is_kept(&found.lease)) {
            let may_check = delays.may_check(&found.lease, context.now);
            let was_seen_before = found.lease.seen_gone.is_some();
            let address = SpecificAddress::from_lease(found, context);
            // Its pod may already have been checked for another address.
            let is_of_a_pod =
                address.holder_check().is_some_and(|check| matches!(check.pending, takeover::PendingCheck::Pod(_)))
                    || address.takeover().is_some_and(|takeover| takeover.victim.pod.full_name().is_some());
            let is_eligible = may_check && is_of_a_pod;
            if address.is_from_an_earlier_sandbox() {
                own.push(address);
            } else if is_eligible && was_seen_before {
                seen_before.push(address);
            } else if is_eligible {
                others.push(address);
            }
        }
        random.shuffle(&mut seen_before);
        random.shuffle(&mut others);
        // An address whose pod was seen gone before is nearly available. But if a host answers for it, it never becomes
        // so, and must not take the turn of the others.
        let new_ones = others.len().min(MAX_HOLDER_CHECKS.saturating_sub(seen_before.len()).max(1));
        seen_before.truncate(MAX_HOLDER_CHECKS - new_ones);
        let addresses = own.into_iter().chain(seen_before).chain(others).take(MAX_HOLDER_CHECKS).collect();
        Self { vrf: vrf.clone(), addresses, delays, amendments: Vec::new(), delayed: None, conflicts: Vec::new() }
    }

    pub(super) fn candidate(&self) -> Option<&Candidate> {
        self.addresses.front()?.candidate()
    }

    pub(super) fn holder_check(&self) -> Option<&HolderCheck> {
        self.addresses.front()?.holder_check()
    }

    pub(super) fn is_exhausted(&self) -> bool {
        self.addresses.is_empty()
    }

    pub(super) fn reads(&mut self, reads: &mut Reads) -> Option<AddressReads> {
        let vrf = &self.vrf;
        self.addresses.front_mut().map(|address| address.reads(vrf, reads))
    }

    pub(super) fn on_response(&mut self, read: AddressReads, answers: Answers<'_>, context: &DecisionContext<'_>) {
        if let Some(address) = self.addresses.front_mut() {
            address.on_response(read, answers, context);
        }
        self.addresses.retain(SpecificAddress::may_be_assigned);
    }

    pub(super) fn recheck(&mut self, own: &Holder, checks: &HolderChecks) {
        self.addresses.iter_mut().for_each(|address| address.recheck(own, checks));
        self.addresses.retain(SpecificAddress::may_be_assigned);
    }

    /// Drops an address for which a host answered, and continues with the others.
    pub(super) fn refuse(&mut self, ip: IpAddr, refusal: &Refusal) {
        self.addresses.retain(|address| address.ip() != ip);
        self.conflicts.push(chain(refusal).to_string());
    }

    /// Drops addresses that can't be taken over yet, and records that their pods were seen gone.
    pub(super) fn drop_delayed(&mut self, now: Timestamp) {
        let Self { vrf, addresses, delays, amendments, delayed, .. } = self;
        addresses.retain(|address| {
            let Some(takeover) = address.takeover() else { return true };
            let Some((until, observed)) = delays.delay(takeover, now) else { return true };
            let ip = address.ip();
            amendments
                .extend(observed.map(|observed| Amendment::for_lease(vrf.clone(), ip, takeover.revision, observed)));
            if delayed.as_ref().is_none_or(|other| until < other.until) {
                let Takeover { victim, reason, .. } = takeover.clone();
                *delayed = Some(Delayed { ip, holder: victim, reason, until });
            }
            false
        });
    }

    pub(super) fn take_amendments(&mut self) -> Vec<Amendment> {
        std::mem::take(&mut self.amendments)
    }

    /// The refusal after all holders were checked. If an address can be taken over later, it says when, and not only
    /// that the range is exhausted.
    pub(super) fn refusal(&self, exhausted: Refusal) -> Refusal {
        match (exhausted, &self.delayed) {
            (Refusal::Exhausted { set, .. }, Some(Delayed { ip, holder, reason, until })) => Refusal::NotYet {
                set,
                ip: *ip,
                holder: Box::new(holder.clone()),
                reason: reason.clone(),
                until: *until,
            },
            (Refusal::Exhausted { set, counts, mut examples }, None) => {
                examples.splice(0..0, self.conflicts.iter().cloned());
                Refusal::Exhausted { set, counts, examples }
            }
            (other, _) => other,
        }
    }
}

impl TakeoverDelays {
    /// Also true for a lease with a time in the future, which would never age otherwise: the check records when it was
    /// seen.
    fn may_check(self, lease: &Lease, now: Timestamp) -> bool {
        is_ahead(lease.since, now) || after(lease.since, self.min_age) <= now
    }

    /// When the address can be taken over, and its lease with the new observations, if there are any. `None` if it can
    /// be taken over now.
    fn delay(self, takeover: &Takeover, now: Timestamp) -> Option<(Timestamp, Option<Lease>)> {
        if takeover.reason == GoneReason::EarlierSandbox {
            return None;
        }
        let uid = takeover.victim.pod.uid.clone().unwrap_or_default();
        let mut lease = takeover.lease.as_ref().clone();
        let seen = lease.seen_gone(&uid).unwrap_or(now);
        lease.seen_gone = Some(SeenGone { uid, at: seen });
        let lease = lease.sighted(now).unwrap_or(lease);
        let [since, seen] = [lease.since, seen].map(|time| lease.counts_from(time, now));
        let until = after(since, self.min_age).max(after(seen, self.between_checks));
        let says_more = lease != *takeover.lease;
        (says_more || until > now).then(|| (until, says_more.then_some(lease)))
    }
}

fn after(time: Timestamp, seconds: u64) -> Timestamp {
    let seconds = i64::try_from(seconds).unwrap_or(i64::MAX);
    Timestamp::from_second(time.as_second().saturating_add(seconds)).unwrap_or(Timestamp::MAX)
}
