//! Which addresses `list` and `watch` are about.

use std::net::IpAddr;

use clap::Args;

use crate::ipam::address::Span;
use crate::ipam::name::Name;
use crate::ops::operator::selection::Selection;

/// The options for it, of which all have to match.
#[derive(Clone, Debug, Args)]
pub(super) struct SelectionArgs {
    /// Only these routing domains
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub(super) vrf: Vec<Name>,
    /// Only these networks
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub(super) network: Vec<Name>,
    /// Only the addresses of named pools of these names, whoever has them
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pool: Vec<String>,
    /// Only the addresses in these ranges
    #[arg(long, value_name = "CIDR|FROM-TO", value_delimiter = ',')]
    range: Vec<Span>,
    /// Only these addresses
    #[arg(long, value_name = "IP", value_delimiter = ',')]
    ip: Vec<IpAddr>,
    /// Only what pods or owners in these namespaces have
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    namespace: Vec<String>,
    /// Only these pods
    #[arg(long, value_name = "[NAMESPACE/]NAME", value_delimiter = ',')]
    pod: Vec<String>,
    /// Only what is held on these nodes
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    node: Vec<Name>,
}

impl SelectionArgs {
    /// The addresses that match one value of each option.
    pub(super) fn selection(self) -> Selection {
        let Self { vrf, network, pool, range, ip, namespace, pod, node } = self;
        let addresses = ip.into_iter().map(|ip| Span::single(ip.to_canonical()));
        Selection {
            vrfs: vrf.into_iter().collect(),
            networks: network.into_iter().collect(),
            pools: pool.into_iter().collect(),
            ranges: range.into_iter().chain(addresses).collect(),
            namespaces: namespace.into_iter().collect(),
            pods: pod.into_iter().collect(),
            nodes: node.into_iter().collect(),
        }
    }
}
