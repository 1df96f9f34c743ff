//! The documents that users write, key by key. Reading, near misses, the overlay on the node defaults and the JSON
//! schemas in docs/ all come from this one list of keys.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::{Map, Value};

use super::diagnostics::Diagnostics;
use super::keys;
use super::pools::Pools;
use super::read::{Destination, Field, List, Read, Share, ShortOrLong, Size, Subnet, bounded_list, text, unexpected};
use super::{Level, LogFormat};
use crate::ipam::address::Span;
use crate::ipam::label::Labels;
use crate::ipam::name::Name;
use crate::ipam::takeover::Probe;

/// An object with known keys.
pub(super) trait Document: Sized {
    /// Its keys.
    const KEYS: &'static [&'static str];

    /// Reads its keys from an object, and ignores all others.
    fn fields(object: &Map<String, Value>, at: &str, diagnostics: &mut Diagnostics) -> Self;

    /// This document, with the other's value for each absent key.
    fn or(self, other: Self) -> Self;
}

macro_rules! document {
    ($(#[$about:meta])* $type:ident { $($(#[$doc:meta])* $key:literal $field:ident: $value:ty,)* }) => {
        $(#[$about])*
        #[derive(Clone, Debug, Default, JsonSchema)]
        #[schemars(default)]
        pub(super) struct $type {
            /// Where it is.
            #[schemars(skip)]
            pub(super) at: String,
            $($(#[$doc])* #[schemars(rename = $key)] pub(super) $field: Field<$value>,)*
        }

        impl Document for $type {
            const KEYS: &'static [&'static str] = &[$($key),*];

            fn fields(object: &Map<String, Value>, at: &str, diagnostics: &mut Diagnostics) -> Self {
                Self { at: at.to_owned(), $($field: Field::read(object, $key, at, diagnostics)),* }
            }

            fn or(self, other: Self) -> Self {
                Self { at: self.at, $($field: self.$field.or(other.$field)),* }
            }
        }

        impl Read for $type {
            fn read(value: &Value, at: &str, diagnostics: &mut Diagnostics) -> Option<Self> {
                let Some(object) = value.as_object() else {
                    diagnostics.mistake(at, unexpected("an object in braces", value));
                    return None;
                };
                keys::check(object, at, Self::KEYS, diagnostics);
                Some(Self::fields(object, at, diagnostics))
            }

            fn schema(generator: &mut SchemaGenerator) -> Schema {
                generator.subschema_for::<Self>()
            }
        }
    };
}

document! {
    /// The object `ipam` of a CNI configuration with `ipam.type` `kube-ipam`, in a .conflist or in the `spec.config` of
    /// a NetworkAttachmentDefinition.
    IpamBlock {
        /// The IPAM plugin's name: `kube-ipam`.
        "type" kind: String,
        /// Accepted for configurations of kube-ipam 0.2.0, but not used. The network's name is the `name` of the whole
        /// configuration.
        "name" name: String,
        /// The subnet of one range, in CIDR notation without host bits: `10.188.0.0/16`.
        "subnet" subnet: Subnet,
        /// The first random address. Default: the first usable address of the subnet.
        "rangeStart" range_start: IpAddr,
        /// The last random address. Default: the last usable address of the subnet.
        "rangeEnd" range_end: IpAddr,
        /// The gateway in the result. It is never assigned. Default: the first usable address of the subnet.
        "gateway" gateway: IpAddr,
        /// The first address of the window for fixed addresses. No random address comes from the window.
        "fixedStart" fixed_start: IpAddr,
        /// The last address of the window for fixed addresses.
        "fixedEnd" fixed_end: IpAddr,
        /// Range sets: an interface gets one address from each inner list, whose ranges are tried in order.
        "ranges" ranges: List<List<RangeBlock>>,
        /// Names of the nodes that use the range of `subnet`; `*` matches any characters and `?` matches one. Default:
        /// all nodes.
        "nodes" nodes: List<String>,
        /// Labels of the nodes that use the range of `subnet`, as `nodeLabels` of the node defaults has them; with `nodes`,
        /// both must fit. Default: whatever the labels.
        "nodeSelector" node_selector: Labels,
        /// Addresses, networks and spans (`10.188.4.1-10.188.4.9`) that are never assigned, in all ranges.
        "exclude" exclude: List<Span>,
        /// Named pools: addresses that only pods with the annotation `kube-ipam.<ifname>.pool: <name>` get, and that are
        /// never random.
        "pools" pools: Pools,
        /// Routes for the result.
        "routes" routes: List<RouteBlock>,
        /// A file in the form of resolv.conf with the DNS settings for the result.
        "resolvConf" resolv_conf: PathBuf,
        /// The DNS settings for the result; they take precedence over `resolvConf`.
        "dns" dns: DnsBlock,
        /// The routing domain in which an address is unique. Default: `default`.
        "vrf" vrf: Name,
        /// Stores addresses in etcd, shared by the cluster.
        "etcdConfig" etcd: EtcdBlock,
        /// Stores addresses in custom resources of the Kubernetes API, shared by the cluster. Setting it selects that
        /// store.
        "kubernetesConfig" kubernetes: KubernetesBlock,
        /// The kubeconfig for reading pods.
        "kubeConfig" kube_config: PathBuf,
        /// `false`: this network does not read its pods' annotations. Default: `true`.
        "annotations" annotations: bool,
        /// `kubernetes`: stores addresses in custom resources of the Kubernetes API, shared by the cluster. `embedded`:
        /// stores them on this node only, in SQLite below `dataDir`.
        "store" store: StoreName,
        /// The folder of the embedded store; setting it also selects that store. Also the folder in which host-local
        /// kept its addresses. Default: /var/lib/kube-ipam/store, and /var/lib/cni/networks for host-local.
        "dataDir" data_dir: PathBuf,
        /// How long a released address is in cooldown before it is drawn at random again. Default: `30s`.
        "cooldown" cooldown: ShortOrLong<Duration, CooldownBlock>,
        /// `true`: a workload with a stable identity keeps its random address.
        "sticky" sticky: ShortOrLong<bool, StickyBlock>,
        /// What is checked before an address moves from one pod to another: `api` (default), the API server; `probe`,
        /// also the link, if it can be probed; `probe-required`, the same, but no address moves if the link can't be
        /// probed.
        "takeover" takeover: Probe,
        /// `always`: the link is probed before any new address is used, and hosts that kube-ipam does not know keep theirs.
        /// Default: no new address is probed.
        "probe" probe: ProbeNew,
        /// Names of the namespaces that may use this network; `*` matches any characters and `?` matches one. Default:
        /// all namespaces.
        "namespaces" namespaces: List<String>,
        /// `strict`: STATUS also fails while the store can't be reached.
        "status" status: Status,
        /// The deadline of one CNI call, from `100ms` to `5m`. Default: `10s`.
        "timeout" timeout: Duration,
        /// The log's file, or an object. Default: /var/log/kube-ipam.log.
        "log" log: ShortOrLong<PathBuf, LogBlock>,
    }
}

document! {
    /// One range: a subnet, and which of its addresses are assigned.
    RangeBlock {
        /// The subnet, in CIDR notation without host bits: `10.188.0.0/16`. Required.
        "subnet" subnet: Subnet,
        /// The first random address. Default: the first usable address of the subnet.
        "rangeStart" range_start: IpAddr,
        /// The last random address. Default: the last usable address of the subnet.
        "rangeEnd" range_end: IpAddr,
        /// The gateway in the result. Default: the first usable address of the subnet.
        "gateway" gateway: IpAddr,
        /// The first address of the window for fixed addresses.
        "fixedStart" fixed_start: IpAddr,
        /// The last address of the window for fixed addresses.
        "fixedEnd" fixed_end: IpAddr,
        /// Names of the nodes that use this range; `*` matches any characters and `?` matches one. Default: all nodes.
        "nodes" nodes: List<String>,
        /// Labels of the nodes that use this range, as `nodeLabels` of the node defaults has them; with `nodes`, both must
        /// fit. Default: whatever the labels.
        "nodeSelector" node_selector: Labels,
        /// Names of the namespaces that may use this range. Default: all namespaces.
        "namespaces" namespaces: List<String>,
        /// Addresses, networks and spans of this range that are never assigned.
        "exclude" exclude: List<Span>,
    }
}

document! {
    /// A named pool.
    PoolBlock {
        /// Its addresses: addresses, networks and spans in the network's subnets. Required.
        "addresses" addresses: List<Span>,
        /// Names of the namespaces whose pods may have these addresses; `*` matches any characters and `?` matches one.
        /// Default: all namespaces.
        "namespaces" namespaces: List<String>,
    }
}

document! {
    /// One route of the result.
    RouteBlock {
        /// The destination, in CIDR notation. Required.
        "dst" dst: Destination,
        /// The next hop. Default: the gateway of the first address of its family, as the main plugin decides.
        "gw" gw: IpAddr,
        /// The MTU along the path.
        "mtu" mtu: u32,
        /// The maximum segment size to advertise.
        "advmss" advmss: u32,
        /// The priority; lower wins.
        "priority" priority: u32,
        /// The routing table.
        "table" table: u32,
        /// The scope, as the kernel numbers it.
        "scope" scope: u32,
    }
}

document! {
    /// The DNS settings for the result.
    DnsBlock {
        /// The addresses of the name servers, in order.
        "nameservers" nameservers: List<IpAddr>,
        /// The local domain.
        "domain" domain: String,
        /// The search list.
        "search" search: List<String>,
        /// The resolver's options.
        "options" options: List<String>,
    }
}

document! {
    /// The connection to etcd.
    EtcdBlock {
        /// The members' URLs, in a list or separated by commas. Required.
        "etcdURL" url: Urls,
        /// The client's certificate, in PEM.
        "etcdCertFile" cert: PathBuf,
        /// The key of the client's certificate, in PEM.
        "etcdKeyFile" key: PathBuf,
        /// The CA that signed the members' certificates, in PEM.
        "etcdTrustedCAFile" ca: PathBuf,
        /// The same, in the spelling of kube-ipam 0.2.0.
        "etcdTrustedCAFileFile" ca_of_0_2: PathBuf,
        /// The user of etcd.
        "username" username: String,
        /// The file with the user's password.
        "passwordFile" password_file: PathBuf,
        /// The prefix of all keys. Default: `/kube-ipam/v1/`.
        "prefix" prefix: String,
        /// The kubeconfig for reading pods; the same as `kubeConfig` of the ipam block.
        "kubeConfig" kube_config: PathBuf,
    }
}

document! {
    /// The custom resources of the Kubernetes API. They are reached by the `kubeConfig` of the node defaults.
    KubernetesBlock {
        /// The namespace that they are in. Default: `kube-ipam`.
        "namespace" namespace: String,
    }
}

document! {
    /// The cooldown of a released address.
    CooldownBlock {
        /// The duration of the cooldown. Default: `30s`.
        "time" time: Duration,
        /// `true`: an ADD fails instead of assigning an address in cooldown. Default: `false`.
        "strict" strict: bool,
    }
}

document! {
    /// How an address is reserved for a stable identity.
    StickyBlock {
        /// The time to live of an unused reservation. Default: as long as its owner exists.
        "ttl" ttl: Duration,
    }
}

document! {
    /// The log settings.
    LogBlock {
        /// The file. Default: /var/log/kube-ipam.log.
        "file" file: PathBuf,
        /// The minimum level. Default: `info`.
        "level" level: Level,
        /// The format of a line. Default: `text`.
        "format" format: LogFormat,
        /// The size at which the file is rotated, at least 64 KiB. Default: `10MiB`.
        "rotate" rotate: Size,
    }
}

document! {
    /// The keys that only the node defaults can have.
    NodeOnly {
        /// This node's name. Default: the host name in lower case, as the kubelet registers it.
        "nodeName" node_name: Name,
        /// This node's labels, which `nodeSelector` of a range is compared with. `kube-ipam install` keeps them as the
        /// API server has them.
        "nodeLabels" node_labels: Labels,
        /// This node's earlier names. Records below `stateDir` and entries in the store under these names belong to
        /// this node. `kube-ipam install` adds a name when it changes `nodeName`.
        "formerNodeNames" former_node_names: List<Name>,
        /// The identity of the cluster, which every holder contains. Default: the UID of the namespace kube-system.
        "cluster" cluster: Name,
        /// This cluster's earlier names; `""` stands for holders that name no cluster.
        "formerClusters" former_clusters: FormerClusters,
        /// The folder of the node's own records. Default: /var/lib/kube-ipam/node.
        "stateDir" state_dir: PathBuf,
        /// The limits of a sweep.
        "sweep" sweep: SweepBlock,
        /// Keys that no ipam block on this node may set, each with its unit: `["vrf"]`. The units are `vrf`,
        /// `namespaces` (in the block, its ranges and its pools), and three that are locked without being listed: `store`
        /// (store, dataDir, etcdConfig), `kubeConfig` (also inside etcdConfig) and `log` (log, resolvConf). Any other
        /// key is locked alone.
        "locked" locked: List<String>,
        /// Units that ipam blocks on this node may set all the same: `store`, `kubeConfig`, `log`. Default: none.
        "blocksMaySet" blocks_may_set: List<String>,
    }
}

document! {
    /// The limits of a sweep.
    SweepBlock {
        /// How long an address must have been held before a sweep frees it. Default: `5m`.
        "minAge" min_age: Duration,
        /// The share of the held addresses, from 0 to 1. A sweep frees nothing if it would free more than this share,
        /// and more than 20 addresses. Default: `0.2`.
        "maxShare" max_share: Share,
    }
}

/// The node defaults, /etc/cni/net.d/kube-ipam.d/kube-ipam.json: any key of an ipam block, which a block overrides, and
/// additional keys that only this file can have.
#[derive(Clone, Debug, Default, JsonSchema)]
pub(super) struct NodeDefaults {
    #[schemars(flatten)]
    pub(super) block: IpamBlock,
    #[schemars(flatten)]
    pub(super) node: NodeOnly,
}

impl NodeDefaults {
    /// Reads the object of a defaults file.
    pub(super) fn read(object: &Map<String, Value>, at: &str, diagnostics: &mut Diagnostics) -> Self {
        keys::check(object, at, &[IpamBlock::KEYS, NodeOnly::KEYS].concat(), diagnostics);
        Self { block: IpamBlock::fields(object, at, diagnostics), node: NodeOnly::fields(object, at, diagnostics) }
    }
}

/// The URLs of etcd's members, as written.
#[derive(Clone, Debug)]
pub(super) struct Urls(pub(super) Vec<String>);

impl Read for Urls {
    fn read(value: &Value, at: &str, diagnostics: &mut Diagnostics) -> Option<Self> {
        let texts: Vec<String> = match value {
            Value::Array(_) => List::<String>::read(value, at, diagnostics)?.valid().cloned().collect(),
            _ => vec![text("URLs separated by commas", value, at, diagnostics)?.to_owned()],
        };
        let urls = texts.iter().flat_map(|text| text.split(',')).map(str::trim).filter(|url| !url.is_empty());
        Some(Self(urls.map(str::to_owned).collect()))
    }

    fn schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "anyOf": [{ "type": "string" }, { "type": "array", "items": { "type": "string" } }] })
    }
}

/// The earlier names of a cluster. An empty one stands for holders without a cluster.
#[derive(Clone, Debug)]
pub(super) struct FormerClusters(pub(super) Vec<String>);

/// The most earlier names of a cluster. An ADD with a sticky address looks for a reservation under each.
const MAX_FORMER: usize = 8;

impl Read for FormerClusters {
    fn read(value: &Value, at: &str, diagnostics: &mut Diagnostics) -> Option<Self> {
        let elements = bounded_list(value, MAX_FORMER, at, diagnostics)?;
        let name = |(i, value): (usize, &Value)| match value.as_str() {
            Some("") => Some(String::new()),
            _ => Name::read(value, &format!("{at}[{i}]"), diagnostics).map(|name| name.to_string()),
        };
        Some(Self(elements.iter().enumerate().filter_map(name).collect()))
    }

    fn schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "array", "items": { "type": "string" }, "maxItems": MAX_FORMER })
    }
}

/// A leaf with a fixed set of words, in any case.
macro_rules! words {
    ($type:ident, $expected:literal, $($word:literal => $variant:ident),*) => {
        impl Read for $type {
            fn read(value: &Value, at: &str, diagnostics: &mut Diagnostics) -> Option<Self> {
                let word = text($expected, value, at, diagnostics)?;
                $(if word.eq_ignore_ascii_case($word) { return Some(Self::$variant); })*
                diagnostics.mistake(at, unexpected($expected, value));
                None
            }

            fn schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "enum": [$($word),*] })
            }
        }
    };
}

/// The stores that `store` can name; etcd is chosen by `etcdConfig`.
#[derive(Clone, Copy, Debug)]
pub(super) enum StoreName {
    Embedded,
    Kubernetes,
}

/// What STATUS checks.
#[derive(Clone, Copy, Debug)]
pub(super) enum Status {
    Strict,
}

/// Which new addresses are probed.
#[derive(Clone, Copy, Debug)]
pub(super) enum ProbeNew {
    Always,
}

words!(
    StoreName, "\"kubernetes\" or \"embedded\" (etcd is chosen by etcdConfig)",
    "kubernetes" => Kubernetes, "embedded" => Embedded
);
words!(Status, "\"strict\"", "strict" => Strict);
words!(ProbeNew, "\"always\"", "always" => Always);
words!(
    Probe, "\"api\", \"probe\" or \"probe-required\"",
    "api" => Never, "probe" => IfPossible, "probe-required" => Required
);
words!(
    Level, "\"error\", \"warn\", \"info\" or \"debug\"",
    "error" => Error, "warn" => Warn, "info" => Info, "debug" => Debug
);
words!(LogFormat, "\"text\" or \"json\"", "text" => Text, "json" => Json);
