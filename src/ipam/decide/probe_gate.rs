//! What is taken over from others, and what a probe of the link says of it: the last thing that an ADD is to know
//! before it commits.

use std::net::IpAddr;

use super::slot::Slot;
use super::specific_address::Takeover;
use crate::cause::Cause;
use crate::ipam::refusal::Refusal;
use crate::ipam::takeover::{GoneReason, Probe, ProbeResult};
use crate::store::Revision;

/// The leases whose addresses may be taken over as far as the link is concerned. One that is written anew is probed
/// anew: it is somebody else's by then.
#[derive(Clone, Debug)]
pub(super) struct ProbeGate {
    probe: Probe,
    cleared: Vec<(IpAddr, Revision)>,
}

impl ProbeGate {
    pub(super) fn new(probe: Probe) -> Self {
        Self { probe, cleared: Vec::new() }
    }

    /// What is about to be taken over, and was not probed. Of an address that others go on holding the wire tells
    /// nothing: they answer for it, and may. Who may have any address takes none from a pod that is gone without
    /// asking.
    pub(super) fn to_probe<'a>(&self, slots: &'a [Slot]) -> Vec<(IpAddr, &'a Takeover)> {
        let takeover = slots.iter().filter_map(|slot| {
            let candidate = slot.candidate(0)?;
            let takeover = candidate.takeover()?;
            let is_reclaimed = slot.is_random() && takeover.reason != GoneReason::EarlierSandbox;
            (self.probe != Probe::Never || is_reclaimed).then_some((candidate.ip, takeover))
        });
        let alone = takeover.filter(|(_, takeover)| takeover.others.is_none());
        alone.filter(|(ip, takeover)| !self.cleared.contains(&(*ip, takeover.revision))).collect()
    }

    /// Records the result of a probe: why the address is not taken over, if that keeps it.
    pub(super) fn record(&mut self, ip: IpAddr, takeover: &Takeover, result: ProbeResult) -> Option<Refusal> {
        match result {
            ProbeResult::Conflict { mac, ifname } => {
                let (holder, reason) = (Box::new(takeover.victim.clone()), takeover.reason.clone());
                Some(Refusal::InUse { ip, holder, reason, mac, ifname })
            }
            ProbeResult::NotProbed(cause) if self.probe == Probe::Required => Some(unprobed(ip, takeover, cause)),
            ProbeResult::NoReply | ProbeResult::NotProbed(_) => {
                self.cleared.push((ip, takeover.revision));
                None
            }
        }
    }
}

/// The refusal as long as nothing was probed.
pub(super) fn unprobed(ip: IpAddr, takeover: &Takeover, cause: Cause) -> Refusal {
    Refusal::Unprobed { ip, holder: Box::new(takeover.victim.clone()), reason: takeover.reason.clone(), cause }
}
