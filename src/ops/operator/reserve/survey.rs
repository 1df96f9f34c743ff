//! Finds out which addresses can be reserved by hand, and why others can't.

use std::collections::BTreeMap;
use std::net::IpAddr;

use jiff::Timestamp;

use crate::error::Error;
use crate::ipam::address::{Span, address, number};
use crate::ipam::keys;
use crate::ipam::lease::{Definition, Lease, LeaseState, ManualReservation, Stored};
use crate::ipam::name::Name;
use crate::ipam::range::{NotAssignable, Range};
use crate::ops::Session;
use crate::ops::operator::STORE_TIMEOUT;
use crate::store::{Entry, Revision};

/// The most addresses of one reservation. More are a matter of the configuration (`exclude`).
pub const MAX_ADDRESSES: u128 = 4096;

/// An address, and what was found of it.
#[derive(Clone, Debug, PartialEq)]
pub struct SurveyedAddress {
    /// The address.
    pub ip: IpAddr,
    /// What was found.
    pub finding: AddressFinding,
    /// Whether a known network has it in a subnet.
    pub is_in_network: bool,
    /// Its lease, if it has one that can be read.
    pub lease: Option<(Revision, Lease)>,
}

/// Whether an address can be reserved.
#[derive(Clone, Debug, PartialEq)]
pub enum AddressFinding {
    /// It has no lease.
    Free,
    /// It is in cooldown, which ends.
    Resting,
    /// It was reserved for a time that is over, or a host used it that has not answered for an hour.
    Over,
    /// It is reserved by hand already, with the same words.
    Already,
    /// Its lease is somebody's, or can't be read.
    Taken(Box<Stored<Lease>>),
    /// No pod can have it.
    NotAssignable(NotAssignable),
}

impl AddressFinding {
    /// Whether it can be reserved.
    pub fn is_available(&self) -> bool {
        matches!(self, Self::Free | Self::Resting | Self::Over)
    }

    /// Whether it prevents the reservation.
    pub fn is_obstacle(&self) -> bool {
        matches!(self, Self::Taken(_) | Self::NotAssignable(_))
    }
}

/// The subnets and gateways of the networks of one vrf, as their ADDs have stored them.
pub(in crate::ops::operator) struct Networks(Vec<Range>);

impl Networks {
    /// Reads the networks of a vrf.
    pub(in crate::ops::operator) fn read(session: &Session, vrf: &Name) -> Result<Self, Error> {
        let mut ranges: Vec<Range> = Vec::new();
        session.each(&keys::all_definitions(), STORE_TIMEOUT, |entry| {
            let is_of_vrf = keys::read_definition(&entry.key).is_some_and(|(of, _)| of == *vrf);
            let definition = Stored::<Definition>::read(&entry.value).known().filter(|_| is_of_vrf);
            let defined = definition.into_iter().flat_map(|definition| definition.sets.into_iter().flatten());
            ranges.extend(defined.map(|range| Range { gateway: range.gateway, ..Range::of_subnet(range.subnet) }));
            Ok::<_, Error>(())
        })?;
        Ok(Self(ranges))
    }

    /// Whether a network has the address in a subnet, and why no pod can have it, if all of them agree on that.
    fn judge(&self, ip: IpAddr) -> (bool, Option<NotAssignable>) {
        let around: Vec<&Range> = self.0.iter().filter(|range| range.subnet.contains(&ip)).collect();
        let mut judged = around.iter().map(|range| range.assignable(ip).err());
        let why = judged.next().flatten().filter(|_| judged.all(|other| other.is_some()));
        (!around.is_empty(), why)
    }
}

/// Looks at each address of a span.
pub(in crate::ops::operator) fn survey_span(
    session: &Session,
    vrf: &Name,
    span: &Span,
    manual: &ManualReservation,
) -> Result<Vec<SurveyedAddress>, Error> {
    let networks = Networks::read(session, vrf)?;
    let mut leases: BTreeMap<u128, Entry> = BTreeMap::new();
    session.each(&keys::leases(vrf, span), STORE_TIMEOUT, |entry| {
        if let Some((_, ip)) = keys::read_lease(&entry.key) {
            leases.insert(number(ip), entry.clone());
        }
        Ok::<_, Error>(())
    })?;
    let (first, last) = span.numbers();
    let survey = |position| {
        let ip = address(span.family(), position);
        survey_address(ip, leases.get(&position), &networks, Some(manual))
    };
    Ok((first..=last).map(survey).collect())
}

/// Looks at one address. With `manual`, a reservation in the same words is no obstacle.
pub(in crate::ops::operator) fn survey_address(
    ip: IpAddr,
    entry: Option<&Entry>,
    networks: &Networks,
    manual: Option<&ManualReservation>,
) -> SurveyedAddress {
    let (is_in_network, not_assignable) = networks.judge(ip);
    let stored = entry.map(|entry| (entry.revision, Stored::<Lease>::read(&entry.value)));
    let now = Timestamp::now();
    let finding = match (&stored, not_assignable) {
        (Some((_, Stored::Known(lease))), _) if is_already(lease, manual, now) => AddressFinding::Already,
        (_, Some(why)) => AddressFinding::NotAssignable(why),
        (None, None) => AddressFinding::Free,
        (Some((_, lease)), None) => match lease.as_known() {
            Some(lease) if lease.state() == LeaseState::Resting => AddressFinding::Resting,
            Some(lease) if is_over(lease, now) => AddressFinding::Over,
            _ => AddressFinding::Taken(Box::new(lease.clone())),
        },
    };
    let lease = stored.and_then(|(revision, lease)| Some((revision, lease.known()?)));
    SurveyedAddress { ip, finding, is_in_network, lease }
}

fn is_already(lease: &Lease, manual: Option<&ManualReservation>, now: Timestamp) -> bool {
    lease.manual(now).zip(manual).is_some_and(|(stored, manual)| stored.agrees_with(manual))
}

fn is_over(lease: &Lease, now: Timestamp) -> bool {
    lease.is_over(now) || lease.foreign().is_some() && !lease.is_foreign_now(now)
}
