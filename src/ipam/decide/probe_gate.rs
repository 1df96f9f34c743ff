//! Decides which take-overs need a probe of the link, and what its result means. It comes last: the ADD commits next.

use std::net::IpAddr;

use super::slot::Slot;
use super::specific_address::Takeover;
use crate::cause::Cause;
use crate::ipam::refusal::Refusal;
use crate::ipam::takeover::{GoneReason, Probe, ProbeResult};
use crate::store::Revision;

/// Keeps results per lease revision: a missing reply must not apply to a later holder of the address.
#[derive(Clone, Debug)]
pub(super) struct ProbeGate {
    probe: Probe,
    cleared: Vec<(IpAddr, Revision)>,
}

impl ProbeGate {
    pub(super) fn new(probe: Probe) -> Self {
        Self { probe, cleared: Vec::new() }
    }

    /// Take-overs that were not probed yet. An address that other holders keep is not probed, because they would answer
    /// rightly. If any address would do, none is taken from a pod that is gone without a probe, whatever the network's
    /// setting.
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

    /// The refusal, if the result forbids the take-over.
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

pub(super) fn unprobed(ip: IpAddr, takeover: &Takeover, cause: Cause) -> Refusal {
    Refusal::Unprobed { ip, holder: Box::new(takeover.victim.clone()), reason: takeover.reason.clone(), cause }
}
