//! What a call brings along: `config` makes the ranges of its network, `cni` the addresses that the runtime asks for, `ops`
//! the rest.

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

/// The ranges of a network, and who may draw from them.
#[derive(Clone, Copy, Debug)]
pub struct NetworkRanges<'a> {
    /// The network's name.
    pub name: &'a Name,
    /// The node that draws from it.
    pub node: &'a LocalNode,
    /// One address comes from each set. Only the ranges that this node draws from.
    pub sets: &'a [RangeSet],
    /// Its ranges from which only other nodes draw, for what is to be said of an address in them.
    pub other_nodes: &'a [Range],
    /// Its sets from which only other nodes draw.
    pub unplaced: &'a [UnplacedSet],
    /// Its named pools.
    pub pools: &'a [Arc<Pool>],
    /// Globs of the namespaces that may draw from any of them; empty: all.
    pub namespaces: &'a [String],
}

impl NetworkRanges<'_> {
    /// Refuses a node that has no range in one of these sets.
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

    /// Why the node draws nothing from ranges for these nodes.
    pub(super) fn mismatch(&self, selectors: Vec<NodeSelector>) -> Box<NodeMismatch> {
        Box::new(NodeMismatch { node: self.node.clone(), selectors })
    }
}

/// A range set of which no range is for this node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnplacedSet {
    /// Where it is written: `ipam.ranges[0]`.
    pub at: String,
    /// The family of its ranges.
    pub family: Family,
    /// The nodes of each range.
    pub nodes: Vec<NodeSelector>,
}

/// Where the runtime put the addresses that it asks for. The places are tried in this order and never merged, since
/// Multus writes one list into two of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestSource {
    /// `runtimeConfig.ips`, the capability `ips`.
    RuntimeConfig,
    /// `args.cni.ips`.
    ArgsCni,
    /// `IP=` in CNI_ARGS.
    CniArgs,
}

/// The addresses that the runtime asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestedAddresses {
    /// Where they were found.
    pub source: RequestSource,
    /// At least one, each as it was written: an address, or an address with a prefix length.
    pub ips: Vec<String>,
}

/// What a call brings that says what its interface is to have.
#[derive(Clone, Copy, Debug)]
pub struct Inputs<'a> {
    /// The addresses that the runtime asks for.
    pub requested: Option<&'a RequestedAddresses>,
    /// What the pod's annotations say; `None` where they are not read.
    pub annotations: Option<&'a Annotations>,
    /// The claim that the pod names for the interface.
    pub claim: Option<&'a Claim>,
    /// The pod's place in its StatefulSet, if it is of one and takes its address from a pool.
    pub ordinal: Option<Ordinal>,
    /// The pod's namespace, if the call is for a pod.
    pub namespace: Option<&'a str>,
    /// The version of the result, if a result of that version has room for one address of each family and no more.
    pub one_per_family: Option<&'static str>,
}
