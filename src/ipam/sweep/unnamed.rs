//! Holders without a cluster whose pods run in this one.
//!
//! An API server's UID belongs to one pod in the world. So if such a UID is on this cluster's list, the holder belongs
//! to this cluster. A static pod's hash may be on the lists of two clusters.

use std::net::IpAddr;

use super::{Observation, Seen};
use crate::ipam::lease::{Holder, Lease};
use crate::ipam::name::{AttachmentId, Name};
use crate::ipam::takeover::{is_complete, is_static};
use crate::store::Revision;

/// A held address, and the holders to which the cluster can be added.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unnamed {
    /// The vrf of the address.
    pub vrf: Name,
    /// The held address.
    pub ip: IpAddr,
    /// The revision of its lease.
    pub revision: Revision,
    /// The holders without a cluster.
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
