//! What is wrong with the annotations of a pod.

use std::net::IpAddr;

use super::annotations::{FIELDS, Key};
use super::interfaces;
use crate::ipam::address::Family;
use crate::ipam::name::{IfName, Name};
use crate::ipam::pool::PoolName;
use crate::ipam::refusal::list;

/// An annotation that can't be followed, or several that can't be followed together.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AnnotationError {
    /// A field of this interface that does not exist.
    #[error("annotation {key} is unknown; {}", meant.as_ref().map_or_else(known_fields, |meant| format!("did you mean {meant}?")))]
    Unknown {
        /// The key.
        key: String,
        /// The key that was probably meant.
        meant: Option<String>,
    },
    /// A field that exists for one interface at a time only.
    #[error("annotation {key} does not say for which interface it is; for this one, write {instead}")]
    NeedsInterface {
        /// The key.
        key: String,
        /// The key for the interface of this call.
        instead: String,
    },
    /// An annotation whose value is empty.
    #[error("annotation {0} is empty; give it a value or remove it")]
    Empty(Key),
    /// A value that is not what the field takes.
    #[error("annotation {key}: {value:?} is not {wanted}")]
    Value {
        /// The key.
        key: Key,
        /// What is written.
        value: String,
        /// What would be right.
        wanted: &'static str,
    },
    /// More than any list of addresses is.
    #[error("annotation {key} has {found} {of}; at most {most} are possible")]
    TooLarge {
        /// The key.
        key: Key,
        /// How many there are.
        found: usize,
        /// Of what: bytes, or entries.
        of: &'static str,
        /// The most.
        most: usize,
    },
    /// A list as Calico's annotations have it.
    #[error("annotation {key} is written as a JSON list; write the addresses with commas between them: {instead}")]
    JsonList {
        /// The key.
        key: Key,
        /// The same, as it is to be written.
        instead: String,
    },
    /// Nothing before a comma.
    #[error("annotation {0} has an empty entry; write what is meant, or remove its comma")]
    EmptyEntry(Key),
    /// An interface that nobody has, while this one would get any address.
    #[error(
        "annotation {key} is for an interface that this pod does not have, and {ifname} would get a random address instead; \
         the pod's interfaces are {interfaces}"
    )]
    NoSuchInterface {
        /// The key.
        key: String,
        /// The interface of this call.
        ifname: IfName,
        /// The interfaces of the pod.
        interfaces: String,
    },
    /// An address and a pool for one interface.
    #[error("annotations {0} and {1} exclude each other; keep one of them")]
    IpAndPool(Key, Key),
    /// Two explicit requests to one range set that are not the same.
    #[error(
        "of {set}, {first} asks for {first_ips}, but {second} for {second_ips}; remove one of them or make both equal"
    )]
    Disagree {
        /// The range set.
        set: String,
        /// One source.
        first: String,
        /// What it asks for.
        first_ips: String,
        /// The other source.
        second: String,
        /// What that asks for.
        second_ips: String,
    },
    /// An interface of one family, and an address of the other.
    #[error("annotation {key} limits this interface to {family}, but {from} requests {ip}; remove one of them")]
    OtherFamily {
        /// The key.
        key: Key,
        /// The family that it names.
        family: Family,
        /// The address.
        ip: IpAddr,
        /// Where the request was found.
        from: String,
    },
    /// An interface of a family of which its network has no range set.
    #[error("annotation {key} limits this interface to {family}, but network {network} has no {family} range set")]
    NoRangeSet {
        /// The key.
        key: Key,
        /// The family that it names.
        family: Family,
        /// The network.
        network: Name,
    },
    /// A pool with fewer addresses than the StatefulSet has pods.
    #[error(
        "{pool} has {has} addresses in {set}, too few for pod number {pod} (counted from {first}); add one for every replica"
    )]
    PoolTooShort {
        /// The annotation with the list, or the pool of the network.
        pool: String,
        /// The range set.
        set: String,
        /// How many addresses of the set it has.
        has: u128,
        /// The pod's ordinal.
        pod: u32,
        /// That of the first pod.
        first: u32,
    },
    /// The name of a pool that the network does not have.
    #[error("annotation {key}: network {network} has no pool {pool}; {}", pools_text(pools))]
    UnknownPool {
        /// The key.
        key: Key,
        /// The network.
        network: Name,
        /// The name.
        pool: String,
        /// The pools that it has.
        pools: Vec<PoolName>,
    },
    /// A network selection element that names no claim, but tries to.
    #[error(
        "annotation {}: ipam-claim-reference {value} of interface {ifname} is not the name of an IPAMClaim; write the name of \
         one in the pod's namespace",
        interfaces::KEY
    )]
    Claim {
        /// The interface.
        ifname: IfName,
        /// What is written, as JSON.
        value: String,
    },
    /// A netmask or a gateway that does not fit the address.
    #[error("annotation {key}: {value} does not fit {address}: {why}")]
    Unfit {
        /// The key.
        key: Key,
        /// The netmask or the gateway.
        value: String,
        /// What it is to fit.
        address: String,
        /// Why it does not.
        why: String,
    },
}

fn pools_text(pools: &[PoolName]) -> String {
    /// More than a network is known to have; the text is in an event.
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
