//! What a call brings along: `config` makes the ranges of its network, `cni` the addresses that the runtime asks for, `ops`
//! the rest.

use super::annotations::Annotations;
use super::pool::Ordinal;
use crate::ipam::claim::Claim;
use crate::ipam::name::Name;
use crate::ipam::range::{Range, RangeSet};

/// The ranges of a network, and who may draw from them.
#[derive(Clone, Copy, Debug)]
pub struct NetworkRanges<'a> {
    /// The network's name.
    pub name: &'a Name,
    /// One address comes from each set. Only the ranges that this node draws from.
    pub sets: &'a [RangeSet],
    /// Its ranges from which only other nodes draw, for what is to be said of an address in them.
    pub other_nodes: &'a [Range],
    /// Globs of the namespaces that may draw from any of them; empty: all.
    pub namespaces: &'a [String],
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
    /// The node on which it runs.
    pub node: &'a Name,
    /// The version of the result, if a result of that version has room for one address of each family and no more.
    pub one_per_family: Option<&'static str>,
}
