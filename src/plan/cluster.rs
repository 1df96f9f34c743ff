//! The cluster of a plan: one without any address in use, or one in use (`plan --live`).

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fmt;
use std::net::IpAddr;

use jiff::Timestamp;

use super::source::Source;
use crate::config::Network;
use crate::ipam::address::Span;
use crate::ipam::cluster::ClusterIdentity;
use crate::ipam::decide::{Add, Allocation, AllocationPolicy, Decide, Step};
use crate::ipam::lease::{Holder, Lease, Stored};
use crate::ipam::name::Name;
use crate::ipam::refusal::Refusal;
use crate::ipam::request::AddressRequest;
use crate::ipam::reservation::OwnerKind;
use crate::ipam::takeover::Probe;
use crate::store::{MemoryMap, StoreConfig};

/// The name of clusters, boots and nodes, which a plan doesn't know.
pub(super) const PLAN: &str = "plan";

/// An ADD of a planned pod.
#[derive(Debug)]
pub struct ClusterAdd<'a> {
    /// The network, as a node reads it.
    pub network: &'a Network,
    /// The routing domain of its addresses.
    pub vrf: &'a Name,
    /// The planned pod. It names no real cluster, so that no API server is asked whether it exists.
    pub holder: Holder,
    /// What it requests.
    pub requests: Vec<AddressRequest>,
    /// The object for which its addresses are kept.
    pub keeper: Option<Keeper<'a>>,
}

/// An object for which addresses are kept: a claim, or with `sticky` a StatefulSet or a virtual machine.
#[derive(Clone, Copy, Debug)]
pub struct Keeper<'a> {
    /// Its kind.
    pub kind: OwnerKind,
    /// Its namespace.
    pub namespace: &'a str,
    /// Its name.
    pub name: &'a str,
    /// The pod of a StatefulSet.
    pub pod: Option<&'a str>,
}

/// An object that manifests name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NamedObject {
    /// Its kind.
    pub kind: NamedKind,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

/// The kinds of objects that a plan looks up if no file contains them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NamedKind {
    /// A NetworkAttachmentDefinition that a pod selects.
    NetworkDefinition,
    /// An IPAMClaim that a pod names.
    IpamClaim,
}

impl fmt::Display for NamedObject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            NamedKind::NetworkDefinition => "NetworkAttachmentDefinition",
            NamedKind::IpamClaim => "IPAMClaim",
        };
        write!(f, "{kind} {}/{}", self.namespace, self.name)
    }
}

/// Why a lookup has no object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LookupError {
    /// The cluster does not have it.
    NotFound,
    /// It may not be read, or the cluster does not have its kind. The text says why, and what to do about it.
    Unreadable(String),
    /// No API server is known.
    NotAsked,
}

impl LookupError {
    /// Where else it was looked for, after "is not among these files".
    pub(super) fn looked_for(&self) -> &'static str {
        match self {
            Self::NotAsked => "",
            Self::NotFound => " or in the cluster",
            Self::Unreadable(_) => ", and it could not be read from the cluster",
        }
    }

    /// What to do about it, if that is not the usual.
    pub(super) fn help(&self) -> Option<&str> {
        match self {
            Self::Unreadable(why) => Some(why),
            Self::NotAsked | Self::NotFound => None,
        }
    }
}

/// Where a plan runs the ADDs of its pods. Whatever they write is gone with the plan.
pub trait Cluster {
    /// Why it can't be used.
    type Error;

    /// Looks up an object that no file contains. Returns it as a manifest.
    fn look_up(&mut self, object: &NamedObject) -> Result<Result<Source, LookupError>, Self::Error>;

    /// Runs an ADD. Later ones see what it has written.
    fn add(&mut self, add: ClusterAdd<'_>) -> Result<Result<Allocation, Refusal>, Self::Error>;

    /// Passes on the lease of each address of a span that has one before the plan.
    fn each_lease(
        &mut self,
        vrf: &Name,
        span: &Span,
        each: &mut dyn FnMut(IpAddr, &Stored<Lease>),
    ) -> Result<(), Self::Error>;
}

/// A cluster without any address in use.
#[derive(Debug, Default)]
pub struct EmptyCluster {
    map: MemoryMap,
}

impl Cluster for EmptyCluster {
    type Error = Infallible;

    fn look_up(&mut self, _: &NamedObject) -> Result<Result<Source, LookupError>, Infallible> {
        Ok(Err(LookupError::NotAsked))
    }

    fn add(&mut self, add: ClusterAdd<'_>) -> Result<Result<Allocation, Refusal>, Infallible> {
        let ClusterAdd { vrf, holder, requests, .. } = add;
        Ok(Add::new(holder, policy(vrf), requests).and_then(|machine| self.run(machine)))
    }

    fn each_lease(&mut self, _: &Name, _: &Span, _: &mut dyn FnMut(IpAddr, &Stored<Lease>)) -> Result<(), Infallible> {
        Ok(())
    }
}

impl EmptyCluster {
    fn run(&mut self, mut machine: Add) -> Result<Allocation, Refusal> {
        let mut step = machine.start(Timestamp::UNIX_EPOCH);
        loop {
            step = match step {
                Step::Commit(txn) => machine.next(&self.map.commit(&txn), Timestamp::UNIX_EPOCH),
                Step::Done(allocation) => return Ok(allocation),
                Step::Refused(refusal) => return Err(refusal),
            };
        }
    }
}

fn policy(vrf: &Name) -> AllocationPolicy {
    AllocationPolicy {
        vrf: vrf.clone(),
        cluster: ClusterIdentity::known(PLAN),
        cooldown: 0,
        strict: false,
        probe: Probe::Never,
        probe_new: false,
        sticky: None,
        host_local: BTreeMap::new(),
        min_age: None,
        lookahead: StoreConfig::EMBEDDED_LOOKAHEAD,
    }
}
