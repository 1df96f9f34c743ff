//! Resolves what an interface requests: one request for each range set, and its source.
//!
//! ```text
//! the interface's annotations ─┐
//! the runtime's addresses ─────┤  explicit requests, which must agree
//! the claim that it names ─────┤
//! the pod's unscoped ones ─────┤
//!                              ├─►  one AddressRequest for each range set: Selection, source, overrides  ─►  decide
//! the network's sets ──────────┘
//! ```
//!
//! A set without a request assigns any free address. A request is checked against the set's rules here, before the
//! first request to the store. It is met exactly or refused, and never becomes a random address.

mod annotation_error;
mod annotation_part;
mod annotations;
mod claim;
mod explicit;
mod families;
mod input;
mod interfaces;
mod named_pool;
mod overrides;
mod pool;
mod value;

use std::fmt;
use std::net::IpAddr;

pub use self::annotation_error::AnnotationError;
pub use self::annotation_part::{AnnotationPart, ValuePart};
pub use self::annotations::{Annotations, Key, Note, parse_key};
use self::families::OnlyFamily;
pub use self::input::{Inputs, NetworkRanges, RequestSource, RequestedAddresses, UnplacedSet};
pub use self::interfaces::{Element, FIRST as FIRST_INTERFACE, KEY as NETWORKS, selected};
pub use self::overrides::AddressOverrides;
pub use self::pool::Ordinal;
use super::address::{Family, Spans};
use super::claim::ClaimError;
use super::pool::PoolName;
use super::range::{Range, RangeSet, globs_admit};
use super::refusal::{Refusal, list};

/// The source of a request, for errors and refusals.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// Nothing was requested.
    Nothing,
    /// The runtime.
    Runtime(RequestSource),
    /// An annotation of the pod.
    Annotation(Key),
    /// A list of addresses in the annotation of a pool.
    PoolList(Key),
    /// A pool of the network that this annotation names.
    NamedPool {
        /// The annotation.
        key: Key,
        /// The pool.
        pool: PoolName,
    },
    /// The status of this IPAMClaim.
    Claim(String),
}

impl Source {
    /// The annotation, if it is one.
    pub fn key(&self) -> Option<&Key> {
        match self {
            Self::Annotation(key) | Self::PoolList(key) | Self::NamedPool { key, .. } => Some(key),
            Self::Nothing | Self::Runtime(_) | Self::Claim(_) => None,
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Nothing => "nobody",
            Self::Runtime(RequestSource::RuntimeConfig) => "runtimeConfig.ips",
            Self::Runtime(RequestSource::ArgsCni) => "args.cni.ips",
            Self::Runtime(RequestSource::CniArgs) => "IP in CNI_ARGS",
            Self::Annotation(key) => return write!(f, "annotation {key}"),
            Self::PoolList(key) => return write!(f, "{key}"),
            Self::NamedPool { key, pool } => return write!(f, "annotation {key} (pool {pool})"),
            Self::Claim(claim) => return write!(f, "the status of {claim}"),
        })
    }
}

/// Which addresses of a range set are acceptable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selection {
    /// Any free one.
    Auto,
    /// Exactly these, all of them.
    Exact(Vec<IpAddr>),
    /// Any free one of these.
    OneOf(AddressPool),
}

/// The addresses of one set from which a request selects one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddressPool {
    /// All of them in ranges that this node may use.
    pub addresses: Spans,
    /// The name of the network's pool; `None` if the annotation lists the addresses.
    pub name: Option<PoolName>,
}

impl fmt::Display for AddressPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(name) => write!(f, "pool {name}"),
            None => write!(f, "{}", self.addresses),
        }
    }
}

impl fmt::Display for Selection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("any address"),
            Self::Exact(ips) => f.write_str(&list(ips)),
            Self::OneOf(pool) => write!(f, "one of {pool}"),
        }
    }
}

/// The request for one range set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddressRequest {
    /// The set.
    pub set: RangeSet,
    /// Which of its addresses are acceptable.
    pub selection: Selection,
    /// The source of the selection.
    pub source: Source,
    /// The prefix length and gateway that override those of the subnet.
    pub overrides: AddressOverrides,
    /// Whether the request names no interface (`kube-ipam.ip`). If another interface of the same sandbox has the
    /// address, any address is assigned to this one.
    pub fallback_to_any: bool,
    /// Whether the owner already had the address, possibly by random selection. It is assigned again while it belongs
    /// to the owner, even if it is not assignable on request.
    pub previously_assigned: bool,
}

impl AddressRequest {
    /// A request for any address of a set.
    fn any(set: RangeSet) -> Self {
        Self {
            set,
            selection: Selection::Auto,
            source: Source::Nothing,
            overrides: AddressOverrides::default(),
            fallback_to_any: false,
            previously_assigned: false,
        }
    }
}

/// Resolves the inputs of a call to one request for each range set, and notes for the pod's author.
pub fn resolve(network: NetworkRanges<'_>, inputs: &Inputs<'_>) -> Result<(Vec<AddressRequest>, Vec<Note>), Refusal> {
    let namespace = inputs.namespace;
    let allowed = |globs: &[String]| globs_admit(globs, namespace);
    if !allowed(network.namespaces) {
        return Err(refuse_namespace(namespace, format!("network {}", network.name), network.namespaces.to_vec()));
    }
    let any = |set: &RangeSet| match set.filter(|range| allowed(&range.namespaces)) {
        Some(set) => Ok(AddressRequest::any(set)),
        None => {
            let globs = set.ranges().iter().flat_map(|range| range.namespaces.clone()).collect();
            Err(refuse_namespace(namespace, set.to_string(), globs))
        }
    };
    let sets = match only_family(inputs) {
        Some(only) => only.sets_of(network)?,
        None => network.sets.iter().collect(),
    };
    let mut requests = sets.into_iter().map(any).collect::<Result<Vec<AddressRequest>, Refusal>>()?;
    let notes =
        explicit::apply(&mut requests, network, inputs).map_err(|refusal| explained(network, inputs, refusal))?;
    let is_wanted = |set: &&UnplacedSet| only_family(inputs).is_none_or(|only| only.is(set.family));
    network.check_node(network.unplaced.iter().filter(is_wanted))?;
    if let Some(version) = inputs.one_per_family {
        one_per_family(&requests, version)?;
    }
    Ok((requests, notes))
}

fn only_family<'a>(inputs: &Inputs<'a>) -> Option<&'a OnlyFamily> {
    inputs.annotations.and_then(|annotations| annotations.only_family.as_ref())
}

fn refuse_namespace(namespace: Option<&str>, what: String, allowed: Vec<String>) -> Refusal {
    Refusal::Namespace { namespace: namespace.map(str::to_owned), what, allowed, key: None }
}

/// The ranges of a network whose subnet has an address, for any node; those of this node first.
fn ranges_with(network: NetworkRanges<'_>, ip: IpAddr) -> impl Iterator<Item = &Range> {
    let elsewhere = network.other_nodes.iter().filter(move |range| range.subnet.contains(&ip));
    own_ranges_with(network, ip).chain(elsewhere)
}

/// The same, only for this node.
fn own_ranges_with(network: NetworkRanges<'_>, ip: IpAddr) -> impl Iterator<Item = &Range> {
    network.sets.iter().flat_map(RangeSet::ranges).filter(move |range| range.subnet.contains(&ip))
}

/// Replaces the refusal of an address outside all subnets by one with the likely reason: the interface is limited to
/// the other family, or the range is not for this namespace or node.
fn explained(network: NetworkRanges<'_>, inputs: &Inputs<'_>, refusal: Refusal) -> Refusal {
    match refusal {
        Refusal::OutsideSubnets { ip, from, subnets } => {
            if let Some(error) = only_family(inputs).and_then(|only| only.refuses(ip, &from)) {
                return error.into();
            }
            if let Some(range) = own_ranges_with(network, ip).next() {
                return refuse_namespace(inputs.namespace, range.to_string(), range.namespaces.clone());
            }
            let elsewhere: Vec<&Range> = ranges_with(network, ip).collect();
            let Some(range) = elsewhere.first().map(|range| range.subnet) else {
                return Refusal::OutsideSubnets { ip, from, subnets };
            };
            let mismatch = network.mismatch(elsewhere.into_iter().map(|range| range.nodes.clone()).collect());
            Refusal::OtherNodes { ip, from, range, mismatch }
        }
        Refusal::Claim(error) => match *error {
            ClaimError::Status { claim, refusal } => {
                ClaimError::Status { claim, refusal: Box::new(explained(network, inputs, *refusal)) }.into()
            }
            other => other.into(),
        },
        other => other,
    }
}

/// Results before 0.3.0 have room for one address of each family. Any other address would be held but never configured.
fn one_per_family(requests: &[AddressRequest], version: &str) -> Result<(), Refusal> {
    let addresses = |request: &AddressRequest| match &request.selection {
        Selection::Auto | Selection::OneOf(_) => 1,
        Selection::Exact(ips) => ips.len(),
    };
    for family in [Family::V4, Family::V6] {
        let count = requests.iter().filter(|request| request.set.family() == family).map(addresses).sum();
        if count > 1 {
            return Err(Refusal::OneAddressPerFamily { version: version.to_owned(), family, count });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
