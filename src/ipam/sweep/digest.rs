//! Digests that replace texts during a scan: 16 bytes for a pod, an interface, or the bond between a lease and an
//! attachment.
//!
//! They never leave the process. Two texts with the same digest would hide a leak, but free nothing: what is freed was
//! read again and compared in full.

use std::hash::{DefaultHasher, Hasher};
use std::net::IpAddr;

use crate::ipam::address;
use crate::ipam::lease::{Holder, PodRef};
use crate::ipam::name::Name;

/// A 128-bit hash of a list of texts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Digest(u128);

impl Digest {
    /// The digest of nothing.
    pub(super) const NONE: Self = Self(0);

    fn of<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let (mut high, mut low) = (DefaultHasher::new(), DefaultHasher::new());
        high.write_u8(1);
        for part in parts {
            for hasher in [&mut high, &mut low] {
                hasher.write_usize(part.len());
                hasher.write(part);
            }
        }
        Self(u128::from(high.finish()) << 64 | u128::from(low.finish()))
    }

    /// The name of a pod, of any UID.
    pub(super) fn of_name(namespace: &str, name: &str) -> Self {
        Self::of([namespace.as_bytes(), name.as_bytes()])
    }

    pub(super) fn of_pod(namespace: &str, name: &str, uid: &str) -> Self {
        Self::of([namespace.as_bytes(), name.as_bytes(), uid.as_bytes()])
    }

    /// The pod of a holder, if the runtime passed its full name.
    pub(super) fn of_pod_ref(pod: &PodRef) -> Option<Self> {
        let (namespace, name, uid) = pod.full_name()?;
        Some(Self::of_pod(namespace, name, uid))
    }

    /// One interface of a pod on a network, in any sandbox.
    pub(super) fn of_interface(holder: &Holder) -> Option<Self> {
        let (namespace, name, uid) = holder.pod.full_name()?;
        let (ifname, network) = (holder.id.ifname.as_str(), holder.id.network.as_str());
        Some(Self::of([namespace, name, uid, ifname, network].map(str::as_bytes)))
    }

    /// The bond between this address and this holder. It is the same from the lease and from the attachment, if they
    /// agree.
    pub(super) fn of_bond(vrf: &Name, ip: IpAddr, holder: &Holder) -> Self {
        let Holder { id, pod, cluster, began, .. } = holder;
        let (ip, boottime) = (address::sortable(ip), began.boottime.to_be_bytes());
        let text = |text: &'_ Option<String>| text.as_ref().map_or([].as_slice(), |text| text.as_bytes()).to_vec();
        let [namespace, name, uid, cluster] = [&pod.namespace, &pod.name, &pod.uid, cluster].map(text);
        let names = [vrf, &id.node, &id.container, &id.network].map(|name| name.as_str().as_bytes());
        let rest: [&[u8]; 8] = [
            ip.as_bytes(),
            id.ifname.as_str().as_bytes(),
            &namespace,
            &name,
            &uid,
            &cluster,
            began.boot.as_bytes(),
            &boottime,
        ];
        Self::of(names.into_iter().chain(rest))
    }
}
