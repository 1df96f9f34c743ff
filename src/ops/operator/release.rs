//! Frees one address after the operator has confirmed that its holder is gone.

use std::net::IpAddr;

use super::STORE_TIMEOUT;
use crate::deadline::Deadline;
use crate::error::Error;
use crate::ipam::decide::{Evict, Evicted};
use crate::ipam::keys;
use crate::ipam::lease::{Holder, Lease, Stored};
use crate::ipam::name::Name;
use crate::ops::Session;
use crate::ops::log::{ReleaseReason, ReleasedFields};
use crate::store::StoreConfig;

/// The address to free.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReleaseOptions {
    /// The routing domain of the address.
    pub vrf: Name,
    /// The address.
    pub ip: IpAddr,
    /// Whether the operator has confirmed the holder. Otherwise nothing is freed.
    pub confirmed: bool,
}

/// The result for the address.
#[derive(Clone, Debug, PartialEq)]
pub struct ReleaseReport {
    /// The address.
    pub ip: IpAddr,
    /// The lease that was found; `None` if the address was free already.
    pub lease: Option<Stored<Lease>>,
    /// The result of the eviction; `None` if the operator has not confirmed it, or the address was free.
    pub evicted: Option<Evicted>,
}

/// Looks up an address. If the operator has confirmed it, frees it at the revision that was read.
pub fn release(store: &StoreConfig, options: &ReleaseOptions) -> Result<ReleaseReport, Error> {
    let session = Session::open(store.clone(), None)?;
    let (ip, deadline) = (options.ip.to_canonical(), Deadline::after(STORE_TIMEOUT));
    let Some(entry) = session.get(keys::lease(&options.vrf, ip), deadline)? else {
        return Ok(ReleaseReport { ip, lease: None, evicted: None });
    };
    let lease = Some(Stored::read(&entry.value));
    let evicted = match options.confirmed {
        true => Some(session.decide(&mut Evict::new(options.vrf.clone(), ip, entry.revision), deadline)?),
        false => None,
    };
    if let Some(Evicted::Freed(freed)) = &evicted
        && freed.is_held()
    {
        for Holder { id, pod, .. } in &freed.holders {
            ReleasedFields::new(&options.vrf, id, pod, &[ip]).log(ReleaseReason::Operator);
        }
    }
    Ok(ReleaseReport { ip, lease, evicted })
}
