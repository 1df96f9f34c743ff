//! Decides which candidates are probed on the link, and evaluates the results. It is the last step before the commit.
//!
//! | candidate | probed | if a host answers |
//! |---|---|---|
//! | a take-over | with `takeover: probe`; always if any address would do | it is not taken over |
//! | a new address, with `probe: always` | always, all candidates at once | it is [foreign](super::foreign) |
//!
//! An address is new if neither the pod nor its owner holds it. An address that keeps other holders is not probed,
//! because they would rightly answer.

use std::net::IpAddr;

use super::candidate::{Availability, Candidate};
use super::slot::Slot;
use super::specific_address::Takeover;
use crate::cause::Cause;
use crate::ipam::refusal::Refusal;
use crate::ipam::takeover::{GoneReason, Probe, ProbeResult};
use crate::store::Revision;

/// How many answers for new addresses an ADD accepts per slot before it gives up. It records these hosts, so that the
/// next attempt tries other addresses.
const MAX_ANSWERED: usize = 16;

/// Keeps each result with the revision of the lease, or with its absence. Otherwise, a missing reply would apply to a
/// later holder of the address.
#[derive(Clone, Debug)]
pub(super) struct ProbeGate {
    takeovers: Probe,
    new_addresses: bool,
    /// Addresses without a reply.
    cleared: Vec<(IpAddr, Option<Revision>)>,
    /// The number of answered probes for new addresses.
    answered: usize,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum ToProbe<'a> {
    Takeover(IpAddr, &'a Takeover),
    New(&'a Candidate),
}

impl ToProbe<'_> {
    pub(super) fn ip(&self) -> IpAddr {
        match self {
            Self::Takeover(ip, _) => *ip,
            Self::New(candidate) => candidate.ip,
        }
    }

    /// The refusal while there is no result.
    pub(super) fn unprobed(&self, cause: Cause) -> Refusal {
        match self {
            Self::Takeover(ip, takeover) => unprobed(*ip, takeover, cause),
            Self::New(candidate) => Refusal::NewUnprobed { ip: candidate.ip, cause },
        }
    }
}

impl ProbeGate {
    pub(super) fn new(takeovers: Probe, new_addresses: bool) -> Self {
        Self { takeovers, new_addresses, cleared: Vec::new(), answered: 0 }
    }

    /// Whether candidates must be read before they are probed. The meaning of an answer depends on the lease.
    pub(super) fn needs_reads(&self, slots: &[Slot]) -> bool {
        self.new_addresses && slots.iter().flat_map(Slot::candidates).any(Candidate::is_unread)
    }

    /// Candidates that still need a probe. If any address would do, an address of a gone pod is always probed first,
    /// whatever the network's setting.
    pub(super) fn to_probe<'a>(&self, slots: &'a [Slot]) -> Vec<ToProbe<'a>> {
        let of_slot = |slot: &'a Slot| {
            slot.candidates().filter_map(move |candidate| match candidate.takeover() {
                Some(takeover) => {
                    let is_reclaimed = slot.is_random() && takeover.reason != GoneReason::EarlierSandbox;
                    let is_probed =
                        self.takeovers != Probe::Never || is_reclaimed || self.new_addresses && takeover.is_new;
                    let is_alone = takeover.others.is_none();
                    (is_probed && is_alone).then_some(ToProbe::Takeover(candidate.ip, takeover))
                }
                None => (self.new_addresses && candidate.is_new()).then_some(ToProbe::New(candidate)),
            })
        };
        let is_cleared = |to_probe: &ToProbe<'_>| {
            let revision = match to_probe {
                ToProbe::Takeover(_, takeover) => Some(takeover.revision),
                ToProbe::New(candidate) => candidate.revision(),
            };
            self.cleared.contains(&(to_probe.ip(), revision))
        };
        slots.iter().flat_map(of_slot).filter(|to_probe| !is_cleared(to_probe)).collect()
    }

    /// Whether enough probes were answered for the ADD to give up.
    pub(super) fn is_spent(&self, slots: &[Slot]) -> bool {
        self.answered >= MAX_ANSWERED * slots.len()
    }

    /// The refusal, if the result forbids the take-over.
    pub(super) fn record_takeover(&mut self, ip: IpAddr, takeover: &Takeover, result: ProbeResult) -> Option<Refusal> {
        match result {
            ProbeResult::Conflict { mac, ifname } => {
                let (holder, reason) = (Box::new(takeover.victim.clone()), takeover.reason.clone());
                Some(Refusal::InUse { ip, holder, reason, mac, ifname })
            }
            ProbeResult::Contended { mac, ifname } => Some(Refusal::ProbedByOther { ip, mac, ifname }),
            ProbeResult::NotProbed(cause) if self.takeovers == Probe::Required => Some(unprobed(ip, takeover, cause)),
            ProbeResult::NoReply | ProbeResult::NotProbed(_) => {
                self.cleared.push((ip, Some(takeover.revision)));
                None
            }
        }
    }

    pub(super) fn clear(&mut self, candidate: &Candidate) {
        self.cleared.push((candidate.ip, candidate.revision()));
    }

    pub(super) fn count_answer(&mut self) {
        self.answered += 1;
    }
}

fn unprobed(ip: IpAddr, takeover: &Takeover, cause: Cause) -> Refusal {
    Refusal::Unprobed { ip, holder: Box::new(takeover.victim.clone()), reason: takeover.reason.clone(), cause }
}

impl Candidate {
    /// Whether its lease was read, and neither the pod nor its owner holds it. A reserved address is new, because the
    /// owner's pods have released it.
    fn is_new(&self) -> bool {
        match &self.availability {
            Availability::Free
            | Availability::Resting { .. }
            | Availability::Reserved { .. }
            | Availability::Foreign { .. } => true,
            Availability::Unread | Availability::Takeover(_) | Availability::Joining { .. } => false,
        }
    }
}
