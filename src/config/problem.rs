//! What can be wrong with a config, and where a reading collects it.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;

use super::foreign::ForeignKey;
use super::locks;
use super::quantity::QuantityError;
use crate::cause::{Cause, chain};
use crate::ipam::address::{AddressError, Family, Span, SpanError};
use crate::ipam::label::LabelError;
use crate::ipam::name::NameError;

/// One mistake in a config.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key}")]
pub struct ConfigError {
    /// Where it is: `ipam.ranges[0][1].subnet` from the config's top, `/etc/…/kube-ipam.json: timeout` in the node defaults.
    pub key: String,
    /// What is wrong, with the value, and what would be right.
    #[source]
    pub problem: Problem,
}

/// What is wrong with a key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// The config has no ipam object.
    #[error("missing; the configuration of kube-ipam is the object \"ipam\" of the network's config")]
    NoIpam,
    /// A value of another kind.
    #[error("expected {expected}, found {found}")]
    Unexpected {
        /// What would be right.
        expected: &'static str,
        /// The value, shortened.
        found: String,
    },
    /// A text that nothing legitimate needs.
    #[error("a text of {0} bytes is too long")]
    TooLong(usize),
    /// A list that nothing legitimate needs.
    #[error("{found} entries are too many; at most {max} are possible")]
    TooMany {
        /// How many there are.
        found: usize,
        /// The most that is possible.
        max: usize,
    },
    /// A key that is nearly a known one.
    #[error("unknown key; did you mean {0}?")]
    NearMiss(&'static str),
    /// A key by which another plugin chooses the address.
    #[error("a key of {}, unknown here; write instead: {}", .0.plugin, .0.instead)]
    Foreign(&'static ForeignKey),
    /// An element of a list with nothing in it, as a template leaves it that had no value.
    #[error("an empty entry; write what is meant, or remove it")]
    EmptyEntry,
    /// A key of the node defaults in a block.
    #[error("can be set only in the node defaults, {}", .0.display())]
    OnlyInDefaults(PathBuf),
    /// A key that the node's administrator reserved.
    #[error("locked by the node defaults, {}; remove it from the ipam block", .0.display())]
    Locked(PathBuf),
    /// A key of a unit that is locked where node defaults exist.
    #[error(
        "locked, because the node has node defaults; move it into {}, or allow it there by \"blocksMaySet\": [\"{unit}\"]",
        .file.display()
    )]
    LockedByDefault {
        /// The file of the node defaults.
        file: PathBuf,
        /// The unit of the key.
        unit: &'static str,
    },
    /// An entry of `blocksMaySet` that opens nothing.
    #[error("{0:?} opens nothing; possible are \"store\", \"kubeConfig\" and \"log\"")]
    OpensNothing(String),
    /// A unit that `locked` and `blocksMaySet` both name.
    #[error("\"{0}\" is also in locked; keep one of the two")]
    LockedAndOpen(&'static str),
    /// An entry of `locked` that locks nothing.
    #[error("{0:?} is not a key of the ipam block, so it would lock nothing")]
    LocksNothing(String),
    /// No address.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// No span or network.
    #[error(transparent)]
    Span(#[from] SpanError),
    /// No name.
    #[error(transparent)]
    Name(#[from] NameError),
    /// No label.
    #[error(transparent)]
    Label(#[from] LabelError),
    /// No duration or size.
    #[error(transparent)]
    Quantity(#[from] QuantityError),
    /// A path that depends on the folder in which the runtime happens to be.
    #[error("{0:?} is not an absolute path; start it with '/'")]
    RelativePath(String),
    /// A duration beyond its bounds.
    #[error("{found:?} is out of bounds; from {min:?} to {max:?} is possible")]
    DurationBounds {
        /// What was written.
        found: Duration,
        /// The least that is possible.
        min: Duration,
        /// The most that is possible.
        max: Duration,
    },
    /// A size below its bound.
    #[error("{found} bytes are too few; the least is {min}")]
    TooSmall {
        /// What was written.
        found: u64,
        /// The least that is possible.
        min: u64,
    },
    /// A file that a key names, or the node defaults.
    #[error("can't read {}", .path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        cause: Cause,
    },
    /// A file with broken JSON in it.
    #[error("not valid JSON")]
    NotJson(#[source] Cause),

    /// Nothing to give addresses from.
    #[error("no ranges; set \"subnet\", or \"ranges\"")]
    NoRanges,
    /// `[]` in `ranges`.
    #[error("an empty range set; each set needs a range, such as [{{\"subnet\": \"10.1.0.0/16\"}}]")]
    EmptySet,
    /// A range without its subnet.
    #[error("missing; a range needs its subnet in CIDR notation, such as \"10.1.0.0/16\"")]
    NoSubnet,
    /// A part of a range that stands alone.
    #[error("needs \"subnet\" beside it")]
    NeedsSubnet,
    /// IPv4 and IPv6 in one set.
    #[error("{subnet} is {}, but the set began with {first}; one set gives one address, so put each family in a set of its own", Family::of(.subnet.addr()))]
    MixedFamilies {
        /// The first subnet of the set.
        first: IpNet,
        /// The one that doesn't fit.
        subnet: IpNet,
    },
    /// A subnet of which no interface can have an address.
    #[error("{subnet} is {what}; no interface can have such an address")]
    SpecialSubnet {
        /// The subnet.
        subnet: IpNet,
        /// What is special about it.
        what: &'static str,
    },
    /// `rangeStart` and the like outside their subnet.
    #[error("{ip} is not in the subnet {subnet}")]
    OutsideSubnet {
        /// The address.
        ip: IpAddr,
        /// The subnet of its range.
        subnet: IpNet,
    },
    /// A gateway of the other family.
    #[error("{gateway} is {}, but the subnet is {subnet}", Family::of(*.gateway))]
    GatewayFamily {
        /// The gateway.
        gateway: IpAddr,
        /// The subnet.
        subnet: IpNet,
    },
    /// A gateway that no host can be.
    #[error("{gateway} is {what}; no gateway can have it")]
    GatewayIsNoHost {
        /// The gateway.
        gateway: IpAddr,
        /// What it is instead.
        what: String,
    },
    /// The last address of a range or window before its first.
    #[error("the span from {start} to {end} runs backwards")]
    Backwards {
        /// The first address.
        start: IpAddr,
        /// The last address.
        end: IpAddr,
    },
    /// A window with one edge.
    #[error("needs {0} beside it; a window for fixed addresses has both edges")]
    HalfWindow(&'static str),
    /// Two ranges of a set with common addresses.
    #[error("overlaps {other} in {common}; ranges of one set must be disjoint")]
    RangesOverlap {
        /// Where the other range stands.
        other: String,
        /// What both hold.
        common: Span,
    },
    /// Two sets with common addresses.
    #[error("overlaps {other} in {common}; an interface gets one address of each set, so sets must be disjoint")]
    SetsOverlap {
        /// Where the other set stands.
        other: String,
        /// What both hold.
        common: Span,
    },
    /// A range in which gateway and excludes leave nothing.
    #[error("nothing of {0} is left to give: gateway and exclude take all of it")]
    NothingLeft(IpNet),
    /// `nodes` or `nodeSelector` of the block without a range that it could apply to.
    #[error("applies to the range beside it, and there is no \"subnet\"; write it into the entries of \"ranges\"")]
    NodesWithoutSubnet,
    /// `nodes` or `namespaces` without an entry.
    #[error("an empty list; leave it out if all are meant")]
    NoGlobs,
    /// More ranges than any interface needs.
    #[error("this node draws from {found} ranges; at most {max} are possible")]
    TooManyRanges {
        /// How many there are.
        found: usize,
        /// The most that is possible.
        max: usize,
    },
    /// A route without destination.
    #[error("missing; a route needs its destination in CIDR notation, such as \"0.0.0.0/0\"")]
    NoDestination,

    /// A destination with bits beyond its prefix, which the kernel refuses.
    #[error("{found} has host bits set; the destination is {network}")]
    HostBits {
        /// What was written.
        found: IpNet,
        /// The network.
        network: IpNet,
    },
    /// A next hop of the other family.
    #[error("{gw} is {}, but the destination is {dst}", Family::of(*.gw))]
    RouteFamily {
        /// The next hop.
        gw: IpAddr,
        /// The destination.
        dst: IpNet,
    },

    /// A call for a pod with no word about the store.
    #[error(
        "no store is set for this pod's address; set \"etcdConfig\" (addresses shared by the cluster) or \
         \"store\": \"embedded\" (addresses of this node alone) in the node defaults, {}", .0.display()
    )]
    NoStore(PathBuf),
    /// Both stores in one document.
    #[error("\"embedded\" contradicts etcdConfig beside it; keep one of the two")]
    TwoStores,
    /// etcdConfig without a URL.
    #[error("missing; name etcd's members, such as \"https://192.0.2.50:2379,https://192.0.2.58:2379\"")]
    NoUrl,
    /// No URL of an etcd member.
    #[error("{0:?} is not the URL of an etcd member; it must look like \"https://192.0.2.50:2379\"")]
    NotAUrl(String),
    /// Credentials in a URL, which end in logs.
    #[error("a URL must not hold a user or password; use username and passwordFile")]
    SecretInUrl,
    /// One of a pair of keys.
    #[error("needs {0} beside it")]
    Needs(&'static str),
    /// Two spellings of one key with two values.
    #[error("differs from {0}, which means the same; keep one of the two")]
    Differs(&'static str),
    /// A prefix that makes keys hard to read.
    #[error("{0:?} can't come before keys; use letters, digits, '/', '-', '_' and '.', at most 128 characters")]
    BadPrefix(String),
}

impl Problem {
    /// Whether it is about a key that has no effect. An ADD is refused, since its author meant something by it; the other
    /// verbs need nothing of it.
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

/// All mistakes of a config together; never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigErrors(pub Vec<ConfigError>);

/// How many mistakes are shown; the rest are counted. The text ends up in a Kubernetes event of at most 1 KiB.
const MAX_SHOWN: usize = 8;

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let [only] = self.0.as_slice() {
            return chain(only).fmt(f);
        }
        write!(f, "{} mistakes: ", self.0.len())?;
        for (i, mistake) in self.0.iter().take(MAX_SHOWN).enumerate() {
            let separator = if i > 0 { "; " } else { "" };
            write!(f, "{separator}({}) {}", i + 1, chain(mistake))?;
        }
        match self.0.len().saturating_sub(MAX_SHOWN) {
            0 => Ok(()),
            more => write!(f, "; and {more} more"),
        }
    }
}

impl std::error::Error for ConfigErrors {}

impl ConfigErrors {
    /// Those of a store that the block may not choose.
    pub fn about_locked_store(self) -> Option<Self> {
        let is_one = |mistake: &ConfigError| {
            matches!(mistake.problem, Problem::Locked(_) | Problem::LockedByDefault { .. })
                && locks::is_of_the_store(&mistake.key)
        };
        let locked: Vec<_> = self.0.into_iter().filter(is_one).collect();
        (!locked.is_empty()).then_some(Self(locked))
    }

    /// The mistakes at a path and below it.
    pub(super) fn below(&self, path: &str) -> Vec<ConfigError> {
        below(&self.0, path)
    }
}

fn below(mistakes: &[ConfigError], path: &str) -> Vec<ConfigError> {
    // The path of a file ends with ':', which is no part of the key of a mistake about the whole file.
    let path = path.trim_end_matches(':');
    let is_below = |mistake: &&ConfigError| {
        mistake.key.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', ':', '[']))
    };
    mistakes.iter().filter(is_below).cloned().collect()
}

/// A part of a config that works, but perhaps not as its author meant. `plan` and `doctor` treat it as a mistake.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigWarning {
    /// A key that means nothing here, and resembles no known one.
    #[error("{0}: unknown key; it has no effect")]
    UnknownKey(String),
    /// A key of another plugin that decides nothing about the address.
    #[error("{key}: a key of {}, without effect here; instead: {}", .foreign.plugin, .foreign.instead)]
    Foreign {
        /// Where it is.
        key: String,
        /// Which one.
        foreign: &'static ForeignKey,
    },
    /// A locked key with the value that it has anyway.
    #[error("{0}: locked by the node defaults, which say the same; remove it from the ipam block")]
    LockedAndSame(String),
    /// A part of the flat range without its subnet, beside `ranges`; host-local overlooks it too.
    #[error("{0}: has no effect without \"subnet\" beside it")]
    WithoutSubnet(String),
    /// A selector on a node whose defaults have no labels.
    #[error("{0}: selects no range here, because the node defaults have no nodeLabels")]
    SelectorWithoutLabels(String),
    /// Without TLS, anyone on the network path can read and change requests to etcd.
    #[error("{key}: {url} is reached without TLS; anyone on the network path can read and change addresses")]
    PlainHttp {
        /// Where it is.
        key: String,
        /// The member.
        url: String,
    },
}

/// Collects the mistakes and warnings of a reading.
#[derive(Debug, Default)]
pub(super) struct Diagnostics {
    pub(super) mistakes: Vec<ConfigError>,
    pub(super) warnings: Vec<ConfigWarning>,
}

impl Diagnostics {
    /// Adds a mistake.
    pub(super) fn mistake(&mut self, key: impl Into<String>, problem: impl Into<Problem>) {
        self.mistakes.push(ConfigError { key: key.into(), problem: problem.into() });
    }

    /// Adds the error as a mistake, or returns the value.
    pub(super) fn ok_or_note<T, E: Into<Problem>>(&mut self, key: &str, result: Result<T, E>) -> Option<T> {
        result.map_err(|problem| self.mistake(key, problem)).ok()
    }

    /// The mistakes at a path and below it.
    pub(super) fn below(&self, path: &str) -> Vec<ConfigError> {
        below(&self.mistakes, path)
    }
}
