//! What kube-ipam holds, as `kube-ipam list` on a node shows it.

use std::net::IpAddr;

use serde::Deserialize;

use super::Cluster;
use crate::Result;

/// What kube-ipam's store says of an address.
#[derive(Clone, Debug, Deserialize)]
pub struct Lease {
    /// The address.
    pub address: IpAddr,
    /// `held`, `resting` or `unreadable`.
    pub state: String,
    /// Who holds it, or held it last.
    #[serde(default)]
    pub holders: Vec<Holder>,
}

/// An attachment that holds an address.
#[derive(Clone, Debug, Deserialize)]
pub struct Holder {
    /// The node.
    pub node: String,
    /// The interface.
    pub ifname: String,
    /// The network.
    pub network: String,
    /// The pod.
    pub pod: Option<PodName>,
}

/// A pod's name.
#[derive(Clone, Debug, Deserialize)]
pub struct PodName {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl Cluster {
    /// What `kube-ipam list` shows as held by pods of a namespace.
    pub fn held(&self, namespace: &str) -> Result<Vec<Lease>> {
        let node = self.nodes().first().ok_or("no node")?;
        let list = node.machine().run("/opt/cni/bin/kube-ipam list --output json")?;
        let leases: Vec<Lease> = serde_json::from_str(&list)?;
        let of_namespace = |holder: &Holder| holder.pod.as_ref().is_some_and(|pod| pod.namespace == namespace);
        Ok(leases.into_iter().filter(|l| l.state != "resting" && l.holders.iter().any(of_namespace)).collect())
    }
}
