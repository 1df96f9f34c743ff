//! The contents of kube-ipam's store, as `kube-ipam list` on a node shows them.

use std::net::IpAddr;

use ipnet::IpNet;
use kube_ipam::ipam::keys;
use kube_ipam::ipam::name::{AttachmentId, IfName, Name};
use serde::Deserialize;
use serde_json::{Value, json};

use super::machine::output;
use super::{Cluster, IPAM_ETCD};
use crate::Result;

/// The default prefix of kube-ipam's keys in etcd.
const PREFIX: &str = "/kube-ipam/v1/";

/// An address in kube-ipam's store.
#[derive(Clone, Debug, Deserialize)]
pub struct Lease {
    /// The address.
    pub address: IpAddr,
    /// `held`, `resting` or `unreadable`.
    pub state: String,
    /// The current or last holder.
    #[serde(default)]
    pub holders: Vec<Holder>,
}

/// An attachment that holds an address.
#[derive(Clone, Debug, Deserialize)]
pub struct Holder {
    /// The sandbox.
    #[serde(rename = "containerID")]
    pub container: String,
    /// The node.
    pub node: String,
    /// The interface.
    pub ifname: String,
    /// The network.
    pub network: String,
    /// The pod.
    pub pod: Option<PodName>,
    /// The identity of its cluster, if its node's defaults have one.
    pub cluster: Option<String>,
}

/// A pod's name. podman passes a container's name without a namespace.
#[derive(Clone, Debug, Deserialize)]
pub struct PodName {
    /// Its namespace.
    #[serde(default)]
    pub namespace: String,
    /// Its name.
    #[serde(default)]
    pub name: String,
}

impl Cluster {
    /// The addresses that a sandbox holds, with or without a pod, according to `kube-ipam list`.
    pub fn held_by(&self, container: &str) -> Result<Vec<IpAddr>> {
        let held = self.leases()?.into_iter().filter(|lease| lease.state != "resting");
        let own = held.filter(|lease| lease.holders.iter().any(|holder| holder.container == container));
        Ok(own.map(|lease| lease.address).collect())
    }

    /// All leases according to `kube-ipam list`.
    pub fn leases(&self) -> Result<Vec<Lease>> {
        let node = self.nodes().first().ok_or("no node")?;
        let list = node.machine().run("/opt/cni/bin/kube-ipam list --output json")?;
        Ok(serde_json::from_str(&list)?)
    }

    /// The leases that pods of a namespace hold, according to `kube-ipam list`; only of this cluster if its defaults
    /// name it.
    pub fn held(&self, namespace: &str) -> Result<Vec<Lease>> {
        let leases = self.leases()?;
        let own = self.identity.as_deref();
        let is_own = |holder: &Holder| own.is_none() || holder.cluster.as_deref() == own;
        let in_namespace = |holder: &Holder| holder.pod.as_ref().is_some_and(|pod| pod.namespace == namespace);
        let counts = |holder: &Holder| is_own(holder) && in_namespace(holder);
        Ok(leases.into_iter().filter(|l| l.state != "resting" && l.holders.iter().any(counts)).collect())
    }

    /// Counts only what this cluster's pods hold, not those of another cluster on the same store. Returns the identity
    /// that its nodes look up: the UID of its namespace kube-system.
    pub fn tells_its_own_apart(&mut self) -> Result<String> {
        let uid = self.get("namespace kube-system")?["metadata"]["uid"].as_str().ok_or("no UID")?.to_owned();
        Ok(self.identity.insert(uid).clone())
    }

    /// Counts all pods again.
    pub fn counts_all(&mut self) {
        self.identity = None;
    }

    /// The lease of an address, as stored in etcd.
    pub fn stored(&self, ip: IpAddr) -> Result<Value> {
        let value = self.etcdctl(&["get", "--print-value-only", &key(ip)?])?;
        if value.is_empty() {
            return Err(format!("nothing is stored of {ip}").into());
        }
        Ok(serde_json::from_str(&value)?)
    }

    /// Writes a lease directly to etcd, as another version of kube-ipam might.
    pub fn store(&self, ip: IpAddr, lease: &Value) -> Result<()> {
        self.etcdctl(&["put", &key(ip)?, &lease.to_string()]).map(drop)
    }

    /// Writes the attachment of this holder, with this address, directly to etcd.
    pub fn store_attachment(&self, ip: IpAddr, holder: &Value) -> Result<()> {
        let part = |name: &str| holder[name].as_str().ok_or_else(|| format!("a holder without {name}"));
        let id = AttachmentId {
            node: Name::new(part("node")?)?,
            container: Name::new(part("containerID")?)?,
            ifname: IfName::new(part("ifname")?)?,
            network: Name::new(part("network")?)?,
        };
        let address = IpNet::from(ip).to_string();
        let attachment = json!({ "v": 1, "vrf": "default", "addresses": [{ "address": address }], "holder": holder });
        self.etcdctl(&["put", &format!("{PREFIX}{}", keys::attachment(&id)), &attachment.to_string()]).map(drop)
    }

    /// Removes a lease from etcd.
    pub fn unstore(&self, ip: IpAddr) -> Result<()> {
        self.etcdctl(&["del", &key(ip)?]).map(drop)
    }

    /// Runs etcdctl on kube-ipam's etcd, as its operator.
    pub fn etcdctl(&self, args: &[&str]) -> Result<String> {
        let mut command = self.testbed.machine.command("etcdctl");
        output(command.env("ETCDCTL_API", "3").arg(format!("--endpoints={IPAM_ETCD}")).args(args))
    }
}

/// The key of an address's lease in etcd.
fn key(ip: IpAddr) -> Result<String> {
    Ok(format!("{PREFIX}{}", keys::lease(&Name::new("default")?, ip)))
}
