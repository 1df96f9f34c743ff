//! Frees one address on the operator's word that its holder is gone.

use std::net::IpAddr;

use super::STORE_TIMEOUT;
use crate::deadline::Deadline;
use crate::error::Error;
use crate::ipam::decide::{Evict, Evicted};
use crate::ipam::keys;
use crate::ipam::lease::{Lease, Stored};
use crate::ipam::name::Name;
use crate::ops::Session;
use crate::store::StoreConfig;

/// What is to be freed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReleaseOptions {
    /// The routing domain of the address.
    pub vrf: Name,
    /// The address.
    pub ip: IpAddr,
    /// Whether the operator has seen who holds it. Otherwise nothing is freed.
    pub confirmed: bool,
}

/// What became of the address.
#[derive(Clone, Debug, PartialEq)]
pub struct ReleaseReport {
    /// The address.
    pub ip: IpAddr,
    /// What the store had of it; `None` if it was free already.
    pub lease: Option<Stored<Lease>>,
    /// What was done about it; `None` where the operator has not confirmed it, or there was nothing to do.
    pub evicted: Option<Evicted>,
}

/// Looks an address up, and frees it under the revision that was seen if that is confirmed.
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
    Ok(ReleaseReport { ip, lease, evicted })
}
