//! Frees addresses after the operator has seen and confirmed whose they are.

mod span;

use std::net::IpAddr;

pub use self::span::{LeasedAddress, SpanOptions, SpanSurvey, survey_span};
use super::STORE_TIMEOUT;
use crate::cause::chain;
use crate::deadline::Deadline;
use crate::error::Error;
use crate::ipam::decide::{Evict, Evicted};
use crate::ipam::keys;
use crate::ipam::lease::{Holder, Lease, Stored};
use crate::ipam::name::Name;
use crate::ops::Session;
use crate::ops::log::{ReleaseReason, ReleasedFields};
use crate::store::{Revision, StoreConfig};

/// The address to free.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReleaseOptions {
    /// The routing domain of the address.
    pub vrf: Name,
    /// The address.
    pub ip: IpAddr,
}

/// An address with its lease, to be shown before it is freed.
pub struct ReleaseSurvey {
    session: Session,
    options: ReleaseOptions,
    revision: Revision,
    lease: Stored<Lease>,
}

/// Looks up an address. Nothing is written. `None` if the address is free already.
pub fn look_up(store: &StoreConfig, options: ReleaseOptions) -> Result<Option<ReleaseSurvey>, Error> {
    let session = Session::open(store.clone(), None)?;
    let options = ReleaseOptions { ip: options.ip.to_canonical(), ..options };
    let found = session.get(keys::lease(&options.vrf, options.ip), Deadline::after(STORE_TIMEOUT))?;
    Ok(found.map(|entry| ReleaseSurvey {
        session,
        options,
        revision: entry.revision,
        lease: Stored::read(&entry.value),
    }))
}

impl ReleaseSurvey {
    /// The lease that was found.
    pub fn lease(&self) -> &Stored<Lease> {
        &self.lease
    }

    /// Frees the address, if its lease is still the one that was found.
    pub fn release(self) -> Result<Evicted, Error> {
        let Self { session, options: ReleaseOptions { vrf, ip }, revision, .. } = self;
        let mut evict = Evict::new(vrf.clone(), ip, revision).deleting_damaged();
        let evicted = session.decide(&mut evict, Deadline::after(STORE_TIMEOUT))?;
        match &evicted {
            Evicted::Freed(freed) => log_freed(&vrf, ip, freed),
            Evicted::Deleted(why) => {
                let why = chain(why).to_string();
                tracing::warn!(%ip, vrf = vrf.as_str(), why, "a lease that can't be read was deleted");
            }
            Evicted::NotHeld | Evicted::Changed => {}
        }
        Ok(evicted)
    }
}

/// Logs who has lost the address.
fn log_freed(vrf: &Name, ip: IpAddr, lease: &Lease) {
    for Holder { id, pod, .. } in lease.holders.iter().filter(|_| lease.is_held()) {
        ReleasedFields::new(vrf, id, pod, &[ip]).log(ReleaseReason::Operator);
    }
}
