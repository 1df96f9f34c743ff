//! Moves a reservation by hand to another address, or gives it to somebody else, in one commit.

use std::net::IpAddr;

use jiff::Timestamp;

use super::STORE_TIMEOUT;
use super::reserve::{Existence, Networks, SurveyedAddress, check, survey_address};
use crate::config::CallSettings;
use crate::deadline::Deadline;
use crate::error::Error;
use crate::ipam::decide::{EditLeases, Edited, LeaseEdit};
use crate::ipam::keys;
use crate::ipam::lease::{Beneficiary, Lease, ManualReservation, Stored};
use crate::ipam::name::Name;
use crate::ops::Session;
use crate::store::{Revision, StoreConfig};

/// What to move.
#[derive(Clone, Debug, PartialEq)]
pub struct MoveOptions {
    /// The routing domain of the addresses.
    pub vrf: Name,
    /// The address that is reserved by hand.
    pub ip: IpAddr,
    /// What changes.
    pub destination: Destination,
}

/// Where a reservation goes.
#[derive(Clone, Debug, PartialEq)]
pub enum Destination {
    /// To another address.
    Address(IpAddr),
    /// To somebody else.
    Beneficiary(Box<Beneficiary>),
}

/// What was found of the reservation, and what is to be done.
pub struct MoveSurvey {
    session: Session,
    vrf: Name,
    /// The address that is reserved by hand.
    pub ip: IpAddr,
    /// The reservation as it is.
    pub before: ManualReservation,
    /// The reservation as it will be.
    pub after: ManualReservation,
    /// The address to which it goes; `None` if it stays.
    pub to: Option<SurveyedAddress>,
    /// Whether the object exists to which it goes; `None` if it stays with its own.
    pub existence: Option<Existence>,
    lease: (Revision, Lease),
}

/// Why a reservation can't be moved.
#[derive(Debug)]
pub enum MoveObstacle {
    /// The address is not reserved by hand. This is its lease, if it has one.
    NotReserved(Option<Box<Stored<Lease>>>),
    /// A pod holds it, so that it can't go to another address.
    Held(Box<Lease>),
    /// The other address can't be reserved.
    Destination(Box<SurveyedAddress>),
}

/// Looks at the reservation and at where it goes. Nothing is written.
pub fn survey_move(
    settings: &CallSettings,
    store: &StoreConfig,
    options: MoveOptions,
) -> Result<Result<MoveSurvey, MoveObstacle>, Error> {
    let MoveOptions { vrf, ip, destination } = options;
    let session = Session::open(store.clone(), None)?;
    let read = |ip| session.get(keys::lease(&vrf, ip), Deadline::after(STORE_TIMEOUT));
    let Some(entry) = read(ip)? else { return Ok(Err(MoveObstacle::NotReserved(None))) };
    let stored = Stored::<Lease>::read(&entry.value);
    let manual = stored.as_known().and_then(|lease| lease.manual(Timestamp::now()).cloned());
    let (before, lease) = match (manual, stored) {
        (Some(before), Stored::Known(lease)) => (before, lease),
        (_, stored) => return Ok(Err(MoveObstacle::NotReserved(Some(Box::new(stored))))),
    };
    let mut after = before.clone();
    let (to, existence) = match destination {
        Destination::Address(_) if lease.is_held() => return Ok(Err(MoveObstacle::Held(Box::new(lease)))),
        Destination::Address(to) => {
            let found = survey_address(to, read(to)?.as_ref(), &Networks::read(&session, &vrf)?, None);
            if !found.finding.is_available() {
                return Ok(Err(MoveObstacle::Destination(Box::new(found))));
            }
            (Some(found), None)
        }
        Destination::Beneficiary(mut beneficiary) => {
            let existence = check(settings, &mut beneficiary);
            after.beneficiary = Some(*beneficiary);
            (None, Some(existence))
        }
    };
    Ok(Ok(MoveSurvey { session, vrf, ip, before, after, to, existence, lease: (entry.revision, lease) }))
}

impl MoveSurvey {
    /// The holder that keeps the address until it releases it.
    pub fn holder(&self) -> Option<String> {
        let (_, lease) = &self.lease;
        lease.holders.first().filter(|_| lease.is_held()).map(ToString::to_string)
    }

    /// Moves the reservation as it was shown.
    pub fn apply(self) -> Result<Edited, Error> {
        let Self { session, vrf, ip, after, to, lease: (revision, lease), .. } = self;
        let (from, goes_to) = (ip.to_string(), to.as_ref().map(|to| to.ip.to_string()));
        let object = after.beneficiary.as_ref().map(ToString::to_string);
        let edits = match to {
            Some(SurveyedAddress { ip: to, lease: seen, .. }) => {
                let seen = seen.as_ref().map(|(revision, lease)| (*revision, lease));
                vec![LeaseEdit::end(ip, revision), LeaseEdit::reserve(&vrf, to, seen, after)]
            }
            None => vec![LeaseEdit::restate(ip, (revision, lease), after)],
        };
        let edited = session.decide(&mut EditLeases::new(vrf.clone(), edits), Deadline::after(STORE_TIMEOUT))?;
        if edited == Edited::Written {
            tracing::info!(vrf = vrf.as_str(), from, to = goes_to, object, "a reservation by hand was moved");
        }
        Ok(edited)
    }
}
