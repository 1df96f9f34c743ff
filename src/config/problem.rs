//! The mistakes that a key of a config can have.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;

use super::foreign::ForeignKey;
use super::quantity::QuantityError;
use crate::cause::Cause;
use crate::ipam::address::{AddressError, Family, Span, SpanError};
use crate::ipam::label::LabelError;
use crate::ipam::name::NameError;
use crate::ipam::pool::PoolNameError;
use crate::ipam::refusal::list;

/// One mistake in a config.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key}")]
pub struct ConfigError {
    /// Its path: `ipam.ranges[0][1].subnet` in a config, `/etc/…/kube-ipam.json: timeout` in the node defaults.
    pub key: String,
    /// The problem, with the value and what would be valid.
    #[source]
    pub problem: Problem,
}

/// The problem of a key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "its text says what a variant is and what its fields hold")]
pub enum Problem {
    #[error("missing; the configuration of kube-ipam is the object \"ipam\" of the network's config")]
    NoIpam,
    #[error("expected {expected}, found {found}")]
    Unexpected {
        expected: &'static str,
        /// The value, shortened.
        found: String,
    },
    /// A text that is longer than any legitimate one.
    #[error("a text of {0} bytes is too long")]
    TooLong(usize),
    /// A list that is longer than any legitimate one.
    #[error("{found} entries are too many; at most {max} are possible")]
    TooMany { found: usize, max: usize },
    #[error("unknown key; did you mean {0}?")]
    NearMiss(&'static str),
    /// A key by which another plugin chooses the address.
    #[error("a key of {}, unknown here; write instead: {}", .0.plugin, .0.instead)]
    Foreign(&'static ForeignKey),
    /// An empty element of a list, as a template leaves it without a value.
    #[error("an empty entry; write what is meant, or remove it")]
    EmptyEntry,
    /// A key of the node defaults in a block.
    #[error("can be set only in the node defaults, {}", .0.display())]
    OnlyInDefaults(PathBuf),
    /// A key that the node's administrator has locked.
    #[error("locked by the node defaults, {}; remove it from the ipam block", .0.display())]
    Locked(PathBuf),
    /// A key of a unit that is locked if node defaults exist.
    #[error(
        "locked, because the node has node defaults; move it into {}, or allow it there by \"blocksMaySet\": [\"{unit}\"]",
        .file.display()
    )]
    LockedByDefault { file: PathBuf, unit: &'static str },
    /// An entry of `blocksMaySet` that opens nothing.
    #[error("{0:?} opens nothing; possible are \"store\", \"kubeConfig\" and \"log\"")]
    OpensNothing(String),
    /// A unit in both `locked` and `blocksMaySet`.
    #[error("\"{0}\" is also in locked; keep one of the two")]
    LockedAndOpen(&'static str),
    /// An entry of `locked` that locks nothing.
    #[error("{0:?} is not a key of the ipam block, so it would lock nothing")]
    LocksNothing(String),
    #[error(transparent)]
    Address(#[from] AddressError),
    #[error(transparent)]
    Span(#[from] SpanError),
    #[error(transparent)]
    Name(#[from] NameError),
    #[error(transparent)]
    Label(#[from] LabelError),
    #[error(transparent)]
    Quantity(#[from] QuantityError),
    /// A relative path, which would depend on the runtime's working directory.
    #[error("{0:?} is not an absolute path; start it with '/'")]
    RelativePath(String),
    #[error("{found:?} is out of bounds; from {min:?} to {max:?} is possible")]
    DurationBounds { found: Duration, min: Duration, max: Duration },
    #[error("{found} bytes are too few; the least is {min}")]
    TooSmall { found: u64, min: u64 },
    /// A file of a key, or the node defaults.
    #[error("can't read {}", .path.display())]
    Unreadable {
        path: PathBuf,
        #[source]
        cause: Cause,
    },
    /// A file with invalid JSON.
    #[error("not valid JSON")]
    NotJson(#[source] Cause),

    #[error("no ranges; set \"subnet\", or \"ranges\"")]
    NoRanges,
    /// `[]` in `ranges`.
    #[error("an empty range set; each set needs a range, such as [{{\"subnet\": \"10.1.0.0/16\"}}]")]
    EmptySet,
    #[error("missing; a range needs its subnet in CIDR notation, such as \"10.1.0.0/16\"")]
    NoSubnet,
    #[error("needs \"subnet\" beside it")]
    NeedsSubnet,
    #[error("{subnet} is {}, but the set began with {first}; one set gives one address, so put each family in a set of its own", Family::of(.subnet.addr()))]
    MixedFamilies {
        first: IpNet,
        /// The one of another family.
        subnet: IpNet,
    },
    /// A subnet whose addresses no interface can have.
    #[error("{subnet} is {what}; no interface can have such an address")]
    SpecialSubnet { subnet: IpNet, what: &'static str },
    #[error("{ip} is not in the subnet {subnet}")]
    OutsideSubnet { ip: IpAddr, subnet: IpNet },
    #[error("{gateway} is {}, but the subnet is {subnet}", Family::of(*.gateway))]
    GatewayFamily { gateway: IpAddr, subnet: IpNet },
    /// A gateway that can't be a host.
    #[error("{gateway} is {what}; no gateway can have it")]
    GatewayIsNoHost { gateway: IpAddr, what: String },
    /// A range or window whose last address is before its first.
    #[error("the span from {start} to {end} runs backwards")]
    Backwards { start: IpAddr, end: IpAddr },
    #[error("needs {0} beside it; a window for fixed addresses has both edges")]
    HalfWindow(&'static str),
    #[error("overlaps {other} in {common}; ranges of one set must be disjoint")]
    RangesOverlap {
        /// The path of the other range.
        other: String,
        common: Span,
    },
    #[error("overlaps {other} in {common}; an interface gets one address of each set, so sets must be disjoint")]
    SetsOverlap {
        /// The path of the other set.
        other: String,
        common: Span,
    },
    /// A range whose gateway and excludes leave no address.
    #[error("nothing of {0} is left to give: gateway and exclude take all of it")]
    NothingLeft(IpNet),
    /// `nodes` or `nodeSelector` of a block without a flat range.
    #[error("applies to the range beside it, and there is no \"subnet\"; write it into the entries of \"ranges\"")]
    NodesWithoutSubnet,
    /// `nodes` or `namespaces` without an entry.
    #[error("an empty list; leave it out if all are meant")]
    NoGlobs,
    /// More ranges than any interface needs.
    #[error("this node draws from {found} ranges; at most {max} are possible")]
    TooManyRanges { found: usize, max: usize },
    #[error(transparent)]
    PoolName(#[from] PoolNameError),
    #[error("missing; a pool needs its addresses, such as [\"10.1.0.20-10.1.0.29\"]")]
    NoPoolAddresses,
    #[error("the pools have {found} entries together; at most {max} are possible")]
    TooManyPoolEntries { found: usize, max: usize },
    /// Two entries of pools with common addresses; `other` is the path of the other one.
    #[error("overlaps {other} in {common}; an address belongs to one pool, and stands there once")]
    PoolsOverlap { other: String, common: Span },
    /// An address of a pool outside all subnets of the network, on any node.
    #[error("{outside} is in no subnet of this network; subnet and ranges have {}", subnets_text(subnets))]
    PoolOutsideSubnets { outside: Span, subnets: Vec<IpNet> },
    #[error("nothing of it is left to give: exclude, gateways, network and broadcast addresses take all of it")]
    PoolNothingLeft,
    #[error("missing; a route needs its destination in CIDR notation, such as \"0.0.0.0/0\"")]
    NoDestination,

    /// A destination with host bits, which the kernel refuses.
    #[error("{found} has host bits set; the destination is {network}")]
    HostBits { found: IpNet, network: IpNet },
    #[error("{gw} is {}, but the destination is {dst}", Family::of(*.gw))]
    RouteFamily { gw: IpAddr, dst: IpNet },

    /// A call for a pod, without a store in its config.
    #[error(
        "no store is set for this pod's address; set \"store\": \"kubernetes\" or \"etcdConfig\" (addresses shared by \
         the cluster), or \"store\": \"embedded\" (addresses of this node alone) in the node defaults, {}", .0.display()
    )]
    NoStore(PathBuf),
    /// Two stores in one document.
    #[error("contradicts {0} beside it; keep one of the two")]
    TwoStores(&'static str),
    /// A name that no namespace can have.
    #[error("{0:?} can't be the name of a namespace; use lower-case letters, digits and '-', at most 63 characters")]
    NotANamespace(String),
    #[error("missing; name etcd's members, such as \"https://192.0.2.50:2379,https://192.0.2.58:2379\"")]
    NoUrl,
    #[error("{0:?} is not the URL of an etcd member; it must look like \"https://192.0.2.50:2379\"")]
    NotAUrl(String),
    /// Credentials in a URL, which would end up in logs.
    #[error("a URL must not hold a user or password; use username and passwordFile")]
    SecretInUrl,
    #[error("needs {0} beside it")]
    Needs(&'static str),
    /// Two spellings of one key with different values.
    #[error("differs from {0}, which means the same; keep one of the two")]
    Differs(&'static str),
    /// A prefix that makes keys hard to read.
    #[error("{0:?} can't come before keys; use letters, digits, '/', '-', '_' and '.', at most 128 characters")]
    BadPrefix(String),
}

fn subnets_text(subnets: &[IpNet]) -> String {
    const SHOWN: usize = 8;
    match subnets.split_at(subnets.len().min(SHOWN)) {
        (shown, []) => list(shown),
        (shown, more) => format!("{} and {} more", list(shown), more.len()),
    }
}

impl Problem {
    /// Whether the key has no effect. An ADD is refused, because the author meant something by it. The other verbs
    /// don't need it.
    pub(super) fn is_overlooked_key(&self) -> bool {
        matches!(
            self,
            Self::NearMiss(_)
                | Self::Foreign(_)
                | Self::OnlyInDefaults(_)
                | Self::Locked(_)
                | Self::LockedByDefault { .. }
        )
    }
}
