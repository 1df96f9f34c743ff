//! The contents of kube-ipam's store, as `kube-ipam list` on a node shows them.

use std::fs;
use std::net::IpAddr;
use std::thread;
use std::time::Duration;

use ipnet::IpNet;
use kube_ipam::apiserver::Access;
use kube_ipam::deadline::Deadline;
use kube_ipam::ipam::keys;
use kube_ipam::ipam::name::{AttachmentId, IfName, Name};
use kube_ipam::ops::Session;
use kube_ipam::store::{Key, KubernetesConfig, Op, StoreConfig, Txn};
use serde::Deserialize;
use serde_json::{Value, json};

use super::Cluster;
use super::control_plane::{self, CLUSTER_ETCD, IPAM_ETCD};
use super::machine::output;
use crate::Result;

/// The default prefix of kube-ipam's keys in etcd.
const PREFIX: &str = "/kube-ipam/v1/";

/// The namespace of the resources in `examples/install`.
pub(super) const NAMESPACE: &str = "kube-ipam";

/// How long the store in the API may take for a request.
const ANSWERS: Duration = Duration::from_secs(30);

/// Where kube-ipam's store is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Store {
    /// In an etcd of its own.
    Etcd,
    /// In the cluster's API.
    KubernetesApi,
}

impl Store {
    /// The store, for `--store` on a workstation.
    pub fn url(self) -> &'static str {
        match self {
            Self::Etcd => IPAM_ETCD,
            Self::KubernetesApi => "kubernetes://kube-ipam",
        }
    }

    /// The URL of the etcd with the store, on the control plane.
    pub(super) fn etcd(self) -> &'static str {
        match self {
            Self::Etcd => IPAM_ETCD,
            Self::KubernetesApi => CLUSTER_ETCD,
        }
    }
}

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

    /// The lease of an address, as stored.
    pub fn stored(&self, ip: IpAddr) -> Result<Value> {
        let key = lease_key(ip)?;
        let value = match self.options.store {
            Store::Etcd => self.etcdctl(&["get", "--print-value-only", &in_etcd(&key)])?.into_bytes(),
            Store::KubernetesApi => self.in_the_api(|session| {
                let entry = session.get(key, Deadline::after(ANSWERS))?;
                Ok(entry.map(|entry| entry.value).unwrap_or_default())
            })?,
        };
        if value.is_empty() {
            return Err(format!("nothing is stored of {ip}").into());
        }
        Ok(serde_json::from_slice(&value)?)
    }

    /// Writes a lease directly to the store, as another version of kube-ipam might.
    pub fn store(&self, ip: IpAddr, lease: &Value) -> Result<()> {
        self.put(lease_key(ip)?, lease)
    }

    /// Writes the attachment of this holder, with this address, directly to the store.
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
        self.put(keys::attachment(&id), &attachment)
    }

    /// Removes a lease from the store.
    pub fn unstore(&self, ip: IpAddr) -> Result<()> {
        let key = lease_key(ip)?;
        match self.options.store {
            Store::Etcd => self.etcdctl(&["del", &in_etcd(&key)]).map(drop),
            Store::KubernetesApi => self.write_in_the_api(Op::Delete(key)),
        }
    }

    fn put(&self, key: Key, value: &Value) -> Result<()> {
        let value = value.to_string();
        match self.options.store {
            Store::Etcd => self.etcdctl(&["put", &in_etcd(&key), &value]).map(drop),
            Store::KubernetesApi => self.write_in_the_api(Op::Put(key, value.into_bytes())),
        }
    }

    fn write_in_the_api(&self, op: Op) -> Result<()> {
        let txn = Txn::new(Vec::new(), vec![op], Vec::new())?;
        self.in_the_api(move |session| Ok(session.commit(&txn, Deadline::after(ANSWERS))?))
    }

    /// Does something with the store in the API, as an administrator in the network of the control plane.
    fn in_the_api<T: Send>(&self, work: impl FnOnce(&Session) -> Result<T> + Send) -> Result<T> {
        let testbed = &self.testbed.machine;
        let folder = testbed.path(&self.folder);
        let file = folder.join("outside.kubeconfig");
        fs::write(&file, control_plane::kubeconfig(&folder, "admin").to_string())?;
        let config = KubernetesConfig { access: vec![Access::Kubeconfig(file)], namespace: NAMESPACE.to_owned() };
        let network = testbed.network()?;
        let done = thread::scope(|scope| {
            let in_network = move || {
                network.enter()?;
                work(&Session::open(StoreConfig::Kubernetes(config), None)?)
            };
            scope.spawn(in_network).join()
        });
        done.unwrap_or_else(|_| Err("a thread panicked".into()))
    }

    /// Runs etcdctl on the etcd with kube-ipam's store, as its operator.
    pub fn etcdctl(&self, args: &[&str]) -> Result<String> {
        let mut command = self.testbed.machine.command("etcdctl");
        let endpoint = format!("--endpoints={}", self.options.store.etcd());
        output(command.env("ETCDCTL_API", "3").arg(endpoint).args(args))
    }
}

/// The key of an address's lease.
fn lease_key(ip: IpAddr) -> Result<Key> {
    Ok(keys::lease(&Name::new("default")?, ip))
}

/// A key as etcd has it.
fn in_etcd(key: &Key) -> String {
    format!("{PREFIX}{key}")
}
