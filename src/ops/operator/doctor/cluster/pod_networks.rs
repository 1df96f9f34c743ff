//! The networks by which the addresses in a pod's status are those of kube-ipam.

use std::collections::BTreeMap;

use crate::ipam::name::Name;
use crate::ops::operator::doctor::Context;
use crate::ops::operator::doctor::node::networks::{LocalNetwork, first_network, local_networks};

/// The networks whose addresses kube-ipam gives.
#[derive(Default)]
pub(super) struct PodNetworks {
    /// The vrf of each by its name in a pod's network status: that of a definition has its namespace.
    pub(super) vrfs: BTreeMap<String, Name>,
    /// The network of each pod's first interface, if Multus does not write its addresses into a status.
    pub(super) first: Option<(String, Name)>,
}

impl PodNetworks {
    /// Those of this node's CNI folder.
    pub(super) fn on_node(context: &Context<'_>) -> Self {
        if !context.is_node {
            return Self::default();
        }
        let with_vrf = |network: LocalNetwork| Some((network.name, network.loaded.ok()?.settings.vrf));
        Self {
            vrfs: local_networks(context).into_iter().filter_map(with_vrf).collect(),
            first: first_network(context).and_then(with_vrf),
        }
    }
}
