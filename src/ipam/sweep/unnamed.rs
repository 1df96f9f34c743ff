//! Holders that name no cluster, though their pods are seen to run in this one.
//!
//! A UID of the API server's is that of one pod in the world. So a holder of such a UID that is on this cluster's list is
//! of this cluster, whatever it says. A static pod's hash may be on the lists of two.

use std::net::IpAddr;

use super::{Observation, Seen};
use crate::ipam::lease::{Holder, Lease};
use crate::ipam::name::{AttachmentId, Name};
use crate::ipam::takeover::{is_complete, is_static};
use crate::store::Revision;

/// A held address, and those of its holders into which the cluster may be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unnamed {
    /// Its routing domain.
    pub vrf: Name,
    /// The address.
    pub ip: IpAddr,
    /// The revision of its lease.
    pub revision: Revision,
    /// The holders.
    pub holders: Vec<AttachmentId>,
}

/// All such holders of an observation; none without a list of pods.
pub fn unnamed(seen: &Observation) -> Vec<Unnamed> {
    let Some(pods) = &seen.pods else { return Vec::new() };
    let runs_here = |holder: &&Holder| {
        let is_unique = !is_static(holder.pod.uid.as_deref().unwrap_or_default());
        holder.cluster.is_none() && is_complete(&holder.pod) && is_unique && pods.has(&holder.pod)
    };
    let unnamed_in = |((vrf, ip), lease): (&(Name, IpAddr), &Seen<Lease>)| {
        let held = lease.value.as_known().filter(|known| known.is_held())?;
        let holders: Vec<AttachmentId> =
            held.holders.iter().filter(runs_here).map(|holder| holder.id.clone()).collect();
        let found = Unnamed { vrf: vrf.clone(), ip: *ip, revision: lease.revision, holders };
        (!found.holders.is_empty()).then_some(found)
    };
    seen.leases.iter().filter(|(_, seen)| !seen.is_context).filter_map(unnamed_in).collect()
}
