//! `kube-ipam config`: the configuration of a network, for a CNI folder or as a NetworkAttachmentDefinition.

mod ranges;
mod store;
#[cfg(test)]
mod tests;

use clap::{Args, ValueEnum};

use self::ranges::RangeArgs;
pub(super) use self::ranges::RangeArgsError;
use self::store::ConfigStoreArgs;
use super::CliError;
use super::output::Output;
use super::render::config as render;
use crate::ipam::name::{IfName, Name, is_object_name};
use crate::ops::operator::config::{ConfigOptions, MainPlugin, PoolOptions, RangesOptions, config};

/// Print the configuration of a network, as a CNI file or as a NetworkAttachmentDefinition.
///
/// Without options, it is an example to start from. What is printed has been checked as an ADD and `kube-ipam plan` check
/// it; what they would refuse is not printed.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  kube-ipam config macvlan
  kube-ipam config multus --name db-net --subnet 10.188.0.0/16 --master eth1 > db-net.yaml
  kube-ipam config bridge -o yaml --subnet 10.20.0.0/16 --subnet fd00:20::/64
  kube-ipam config macvlan -o yaml --subnet 10.188.0.0/24 --range 10.188.0.100-10.188.0.250 --pool db=10.188.0.20-10.188.0.29
  kube-ipam config ipvlan --subnet 10.188.0.0/24 --store etcd --endpoints https://192.0.2.50:2379
  kube-ipam config kube-router --subnet 10.244.1.0/24 --store embedded")]
pub(super) struct ConfigArgs {
    /// The main plugin, which makes the interfaces
    #[arg(value_enum)]
    kind: Kind,
    /// The network's name
    ///
    /// Without this option, it is an example's.
    #[arg(long, value_name = "NAME")]
    name: Option<Name>,
    /// The namespace of the NetworkAttachmentDefinition
    #[arg(long, value_name = "NAME")]
    namespace: Option<String>,
    /// Output format; json, and yaml for multus, if it is not given
    #[arg(short, long, value_enum, value_name = "FORMAT")]
    output: Option<Format>,
    /// The host's interface on the network, for macvlan, ipvlan and multus
    ///
    /// Without this option, it is `eth1`.
    #[arg(long, value_name = "INTERFACE")]
    master: Option<IfName>,
    /// The mode of macvlan (bridge, private, vepa, passthru) or ipvlan (l2, l3, l3s)
    ///
    /// Without this option, it is `bridge` or `l2`.
    #[arg(long, value_name = "MODE")]
    mode: Option<String>,
    /// The bridge, for bridge and kube-router
    ///
    /// Without this option, it is `br-web` or `kube-bridge`.
    #[arg(long, value_name = "INTERFACE")]
    bridge: Option<IfName>,
    #[command(flatten)]
    ranges: RangeArgs,
    /// A named pool; may be repeated
    ///
    /// ADDRESSES is a comma list of addresses, networks and FROM-TO. After an @ follow the namespaces whose pods may have
    /// them, all if there are none: `db=10.188.0.20-10.188.0.29,10.188.4.0/28@database`.
    #[arg(long = "pool", value_name = "NAME=ADDRESSES[@NAMESPACES]", value_parser = pool)]
    pools: Vec<PoolOptions>,
    #[command(flatten)]
    store: ConfigStoreArgs,
}

/// What makes the interfaces of a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Kind {
    /// Interfaces with MAC addresses of their own on a network of the host
    Macvlan,
    /// Interfaces that share the MAC address of a host's interface
    Ipvlan,
    /// Interfaces on a bridge of the host
    Bridge,
    /// A link between each pod and its host
    Ptp,
    /// Calico as the primary network, with addresses from kube-ipam
    Calico,
    /// kube-router's bridge as the primary network
    KubeRouter,
    /// Multus, with a macvlan network beside the primary one
    Multus,
}

/// How the configuration is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// A CNI configuration file; for multus, that of Multus itself
    Json,
    /// A NetworkAttachmentDefinition, with comments
    Yaml,
}

impl ConfigArgs {
    /// Runs the verb.
    pub(super) fn run(self, output: &mut Output) -> Result<(), CliError> {
        let format = self.output.unwrap_or(if self.kind == Kind::Multus { Format::Yaml } else { Format::Json });
        let namespace = self.namespace.clone();
        let report = config(&self.options(format)?)?;
        report.warnings.iter().for_each(|warning| output.warn(warning));
        match format {
            Format::Json => output.json(&report.document),
            Format::Yaml => output.lines(&render::definition(&report, namespace.as_deref())),
        }
    }

    fn options(self, format: Format) -> Result<ConfigOptions, CliError> {
        let plugin = self.plugin()?;
        let name = self.name.unwrap_or_else(|| Name::closest(self.kind.example_name()));
        let in_multus_file = self.kind == Kind::Multus && format == Format::Json;
        if format == Format::Yaml {
            [Some(name.as_str()), self.namespace.as_deref()].into_iter().flatten().try_for_each(object_name)?;
        } else if self.namespace.is_some() {
            return Err(CliError::Refused("--namespace is for -o yaml".to_owned()));
        }
        Ok(ConfigOptions {
            accepts_ips: format == Format::Yaml && self.kind.is_secondary(),
            plugin,
            name,
            ranges: self.ranges.resolve(self.kind.example_ranges())?,
            pools: self.pools,
            store: self.store.resolve(format)?,
            in_multus_file,
        })
    }

    fn plugin(&self) -> Result<MainPlugin, CliError> {
        let given =
            [("--master", self.master.is_some()), ("--mode", self.mode.is_some()), ("--bridge", self.bridge.is_some())];
        let is_unused = |(option, is_given): &&(&str, bool)| *is_given && !self.kind.options().contains(option);
        if let Some((option, _)) = given.iter().find(is_unused) {
            return Err(CliError::Refused(format!("{option} is not for {}", self.kind.word())));
        }
        let interface =
            |named: &Option<IfName>, default: &str| named.as_ref().map_or(default.to_owned(), ToString::to_string);
        let mode = |default: &str| self.mode.clone().unwrap_or_else(|| default.to_owned());
        let master = interface(&self.master, "eth1");
        Ok(match self.kind {
            Kind::Macvlan | Kind::Multus => MainPlugin::Macvlan { master, mode: mode("bridge") },
            Kind::Ipvlan => MainPlugin::Ipvlan { master, mode: mode("l2") },
            Kind::Bridge => MainPlugin::Bridge { bridge: interface(&self.bridge, "br-web") },
            Kind::Ptp => MainPlugin::Ptp,
            Kind::Calico => MainPlugin::Calico,
            Kind::KubeRouter => MainPlugin::KubeRouter { bridge: interface(&self.bridge, "kube-bridge") },
        })
    }
}

impl Kind {
    /// As it is written on the command line.
    fn word(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }

    /// Its options about interfaces.
    fn options(self) -> &'static [&'static str] {
        match self {
            Self::Macvlan | Self::Ipvlan | Self::Multus => &["--master", "--mode"],
            Self::Bridge | Self::KubeRouter => &["--bridge"],
            Self::Ptp | Self::Calico => &[],
        }
    }

    /// Whether its networks are beside the primary one of a pod.
    fn is_secondary(self) -> bool {
        !matches!(self, Self::Calico | Self::KubeRouter)
    }

    fn example_name(self) -> &'static str {
        match self {
            Self::Macvlan | Self::Ipvlan | Self::Multus => "db-net",
            Self::Bridge => "web-net",
            Self::Ptp => "link-net",
            Self::Calico => "k8s-pod-network",
            Self::KubeRouter => "mynet",
        }
    }

    fn example_ranges(self) -> RangesOptions {
        match self {
            Self::Bridge => RangesOptions::example_in([10, 168, 0]),
            _ => RangesOptions::example(),
        }
    }
}

/// Refuses names that the API server would.
fn object_name(name: &str) -> Result<(), CliError> {
    match is_object_name(name) {
        true => Ok(()),
        false => Err(CliError::Refused(format!(
            "the API server takes no object with the name {name}: it must have lower case letters, digits, '-' and '.'"
        ))),
    }
}

/// Reads `NAME=ADDRESSES[@NAMESPACES]`. Whether the addresses are some is checked with the whole configuration.
fn pool(text: &str) -> Result<PoolOptions, String> {
    let list = |text: &str| text.split(',').map(str::to_owned).collect::<Vec<String>>();
    let Some((name, rest)) = text.split_once('=') else {
        return Err("a name and addresses are expected, such as db=10.188.0.20-10.188.0.29".to_owned());
    };
    let (addresses, namespaces) = match rest.split_once('@') {
        Some((addresses, namespaces)) => (addresses, list(namespaces)),
        None => (rest, Vec::new()),
    };
    Ok(PoolOptions { name: name.to_owned(), addresses: list(addresses), namespaces })
}
