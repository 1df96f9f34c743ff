//! The inputs of a call: `config` creates the ranges of its network, `cni` the addresses that the runtime requests,
//! `ops` the rest.

use std::sync::Arc;

use super::annotations::Annotations;
use super::pool::Ordinal;
use crate::ipam::address::Family;
use crate::ipam::claim::Claim;
use crate::ipam::name::Name;
use crate::ipam::node_selector::{LocalNode, NodeMismatch, NodeSelector};
use crate::ipam::pool::Pool;
use crate::ipam::range::{Range, RangeSet};
use crate::ipam::refusal::Refusal;

/// The ranges of a network, and the nodes and namespaces that may use them.
#[derive(Clone, Copy, Debug)]
pub struct NetworkRanges<'a> {
    /// The network's name.
    pub name: &'a Name,
    /// The node of the call.
    pub node: &'a LocalNode,
    /// One address is assigned from each set. It has only the ranges that this node may use.
    pub sets: &'a [RangeSet],
    /// Its ranges for other nodes only, for refusals of their addresses.
    pub other_nodes: &'a [Range],
    /// Its sets without a range for this node.
    pub unplaced: &'a [UnplacedSet],
    /// Its named pools, with their addresses on all nodes.
    pub pools: &'a [Arc<Pool>],
    /// Globs of the namespaces that may use any of them. Empty means all.
    pub namespaces: &'a [String],
}

impl NetworkRanges<'_> {
    /// Refuses the node if there is any of these sets.
    pub fn check_node<'a>(&self, sets: impl IntoIterator<Item = &'a UnplacedSet>) -> Result<(), Refusal> {
        let (mut places, mut selectors) = (Vec::new(), Vec::new());
        for set in sets {
            places.push(set.at.clone());
            selectors.extend(set.nodes.iter().cloned());
        }
        match places.is_empty() {
            true => Ok(()),
            false => Err(Refusal::NotOnNode { sets: places, mismatch: self.mismatch(selectors) }),
        }
    }

    /// Why this node may not use ranges with these selectors.
    pub(super) fn mismatch(&self, selectors: Vec<NodeSelector>) -> Box<NodeMismatch> {
        Box::new(NodeMismatch { node: self.node.clone(), selectors })
    }
}

/// A range set without a range for this node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnplacedSet {
    /// Its key in the config: `ipam.ranges[0]`.
    pub at: String,
    /// The family of its ranges.
    pub family: Family,
    /// The selector of each range.
    pub nodes: Vec<NodeSelector>,
}

/// The place of the runtime's requests. The places are tried in this order and never merged, because Multus writes one
/// list to two of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestSource {
    /// `runtimeConfig.ips`, the capability `ips`.
    RuntimeConfig,
    /// `args.cni.ips`.
    ArgsCni,
    /// `IP=` in CNI_ARGS.
    CniArgs,
}

/// The addresses that the runtime requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestedAddresses {
    /// Their place.
    pub source: RequestSource,
    /// The addresses as written, at least one, with or without a prefix length.
    pub ips: Vec<String>,
}

/// The inputs that determine the addresses of a call's interface.
#[derive(Clone, Copy, Debug)]
pub struct Inputs<'a> {
    /// The addresses that the runtime requests.
    pub requested: Option<&'a RequestedAddresses>,
    /// The pod's annotations; `None` if they were not read.
    pub annotations: Option<&'a Annotations>,
    /// The claim that the pod names for the interface.
    pub claim: Option<&'a Claim>,
    /// The pod's position in its StatefulSet, if it has one and requests a pool.
    pub ordinal: Option<Ordinal>,
    /// The pod's namespace, if the call is for a pod.
    pub namespace: Option<&'a str>,
    /// The version of the result, if it has room for only one address of each family.
    pub one_per_family: Option<&'static str>,
}
