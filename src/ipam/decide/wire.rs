//! What passes from others, and what the wire says of it: the last thing that an ADD is to know before it commits.

use std::net::IpAddr;

use super::aim::Passing;
use super::place::Place;
use crate::ipam::refusal::Refusal;
use crate::ipam::takeover::{Heard, Probe, Shown};
use crate::store::Revision;

/// The leases whose addresses may pass as far as the wire is concerned. One that is written anew is asked about anew: it is
/// somebody else's by then.
#[derive(Clone, Debug)]
pub(super) struct Wire {
    probe: Probe,
    cleared: Vec<(IpAddr, Revision)>,
}

impl Wire {
    pub(super) fn new(probe: Probe) -> Self {
        Self { probe, cleared: Vec::new() }
    }

    /// What is about to pass, and was not asked about. Of an address that others go on holding the wire tells nothing: they
    /// answer for it, and may. Who may have any address takes none from a pod that is gone without asking.
    pub(super) fn unheard<'a>(&self, places: &'a [Place]) -> Vec<(IpAddr, &'a Passing)> {
        let passing = places.iter().filter_map(|place| {
            let candidate = place.candidate(0)?;
            let passing = candidate.passing()?;
            let is_reclaimed = place.is_random() && passing.shown != Shown::EarlierSandbox;
            (self.probe != Probe::Never || is_reclaimed).then_some((candidate.ip, passing))
        });
        let alone = passing.filter(|(_, passing)| passing.others.is_none());
        alone.filter(|(ip, passing)| !self.cleared.contains(&(*ip, passing.revision))).collect()
    }

    /// Takes in what was heard of an address: why it does not pass, if that keeps it.
    pub(super) fn learn(&mut self, ip: IpAddr, passing: &Passing, heard: Heard) -> Option<Refusal> {
        match heard {
            Heard::Answer { mac, ifname } => {
                let (holder, shown) = (Box::new(passing.holder.clone()), passing.shown.clone());
                Some(Refusal::InUse { ip, holder, shown, mac, ifname })
            }
            Heard::NotAsked(why) if self.probe == Probe::Required => Some(unprobed(ip, passing, why)),
            Heard::Silence | Heard::NotAsked(_) => {
                self.cleared.push((ip, passing.revision));
                None
            }
        }
    }
}

/// The refusal as long as nobody was asked.
pub(super) fn unprobed(ip: IpAddr, passing: &Passing, why: String) -> Refusal {
    Refusal::Unprobed { ip, holder: Box::new(passing.holder.clone()), shown: passing.shown.clone(), why }
}
