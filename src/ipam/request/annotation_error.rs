//! Mistakes in the annotations of a pod.

use std::net::IpAddr;

use super::annotations::{FIELDS, Key};
use super::{Source, interfaces};
use crate::ipam::address::Family;
use crate::ipam::name::{IfName, Name};
use crate::ipam::pool::PoolName;
use crate::ipam::refusal::list;

/// An annotation that is invalid, or several that contradict each other.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AnnotationError {
    /// A key of this interface with an unknown field.
    #[error("annotation {key} is unknown; {}", meant.as_ref().map_or_else(known_fields, |meant| format!("did you mean {meant}?")))]
    Unknown {
        /// The key.
        key: Key,
        /// The key that was probably meant.
        meant: Option<Key>,
    },
    /// An unscoped key with a field that needs an interface.
    #[error("annotation {key} does not say for which interface it is; for this one, write {instead}")]
    NeedsInterface {
        /// The key.
        key: Key,
        /// The key for the interface of this call.
        instead: Key,
    },
    /// An annotation whose value is empty.
    #[error("annotation {0} is empty; give it a value or remove it")]
    Empty(Key),
    /// An invalid value.
    #[error("annotation {key}: {value:?} is not {wanted}")]
    Value {
        /// The key.
        key: Key,
        /// The value as written, shortened.
        value: String,
        /// What the field accepts, with an example.
        wanted: &'static str,
    },
    /// A value beyond the limits for a list of addresses.
    #[error("annotation {key} has {found} {of}; at most {most} are possible")]
    TooLarge {
        /// The key.
        key: Key,
        /// The number in the value.
        found: usize,
        /// The unit: bytes or entries.
        of: &'static str,
        /// The limit.
        most: usize,
    },
    /// A JSON list, as in Calico's annotations.
    #[error("annotation {key} is written as a JSON list; write the addresses with commas between them: {instead}")]
    JsonList {
        /// The key.
        key: Key,
        /// The same list with commas, shortened.
        instead: String,
    },
    /// A list with nothing before a comma.
    #[error("annotation {0} has an empty entry; write what is meant, or remove its comma")]
    EmptyEntry(Key),
    /// A key for an interface that the pod does not have, while this one would get a random address.
    #[error(
        "annotation {key} is for an interface that this pod does not have, and {ifname} would get a random address instead; \
         the pod's interfaces are {interfaces}"
    )]
    NoSuchInterface {
        /// The key.
        key: Key,
        /// The interface of this call.
        ifname: IfName,
        /// The interfaces of the pod.
        interfaces: String,
    },
    /// An address and a pool for one interface.
    #[error("annotations {0} and {1} exclude each other; keep one of them")]
    IpAndPool(Key, Key),
    /// Two explicit requests for different addresses of one range set.
    #[error(
        "of {set}, {first} asks for {first_ips}, but {second} for {second_ips}; remove one of them or make both equal"
    )]
    Disagree {
        /// The range set.
        set: String,
        /// The source of the first request.
        first: Box<Source>,
        /// The addresses of the first request.
        first_ips: String,
        /// The source of the second request.
        second: Box<Source>,
        /// The addresses of the second request.
        second_ips: String,
    },
    /// A requested address of the family that `families` excludes.
    #[error("annotation {key} limits this interface to {family}, but {from} requests {ip}; remove one of them")]
    OtherFamily {
        /// The key.
        key: Key,
        /// The family that it names.
        family: Family,
        /// The address.
        ip: IpAddr,
        /// The source of the request.
        from: Source,
    },
    /// `families` names a family for which the network has no range set.
    #[error("annotation {key} limits this interface to {family}, but network {network} has no {family} range set")]
    NoRangeSet {
        /// The key.
        key: Key,
        /// The family that it names.
        family: Family,
        /// The network.
        network: Name,
    },
    /// A pool with fewer addresses than the StatefulSet has replicas.
    #[error(
        "{} has {has} addresses in {set}, too few for pod number {pod} (counted from {first}); add one for every replica",
        pool.as_ref().map_or_else(|| format!("annotation {key}"), |pool| format!("pool {pool}"))
    )]
    PoolTooShort {
        /// The key.
        key: Key,
        /// The pool of the network that it names; `None` if it lists the addresses.
        pool: Option<PoolName>,
        /// The range set.
        set: String,
        /// The number of its addresses in the set.
        has: u128,
        /// The pod's ordinal.
        pod: u32,
        /// The ordinal of the first pod.
        first: u32,
    },
    /// A pool name that the network does not define.
    #[error("annotation {key}: network {network} has no pool {pool}; {}", pools_text(pools))]
    UnknownPool {
        /// The key.
        key: Key,
        /// The network.
        network: Name,
        /// The requested name.
        pool: String,
        /// The pools of the network.
        pools: Vec<PoolName>,
    },
    /// A network selection element with an invalid name of a claim.
    #[error(
        "annotation {}: ipam-claim-reference {value} of interface {ifname} is not the name of an IPAMClaim; write the name of \
         one in the pod's namespace",
        interfaces::KEY
    )]
    Claim {
        /// The interface.
        ifname: IfName,
        /// The value as JSON.
        value: String,
    },
    /// A netmask or a gateway that does not fit the address.
    #[error("annotation {key}: {value} does not fit {address}: {why}")]
    Unfit {
        /// The key.
        key: Key,
        /// The netmask or the gateway.
        value: String,
        /// The address or network that it must fit.
        address: String,
        /// The reason.
        why: String,
    },
}

fn pools_text(pools: &[PoolName]) -> String {
    /// How many names are shown: more than any known network has. The limit bounds the text of the event.
    const SHOWN: usize = 16;
    let (shown, more) = pools.split_at(pools.len().min(SHOWN));
    match (shown, more.len()) {
        ([], _) => "it has no pools".to_owned(),
        (shown, 0) => format!("its pools are {}", list(shown)),
        (shown, more) => format!("its pools are {} and {more} more", list(shown)),
    }
}

fn known_fields() -> String {
    format!("the fields of an interface are {}", FIELDS.join(", "))
}
