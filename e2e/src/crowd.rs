//! Generates any number of pods with one address each: for a store, and for the list of an API server.
//!
//! ```text
//!  number ─┬─► store   lease and attachment, as an ADD writes them; PODS_PER_NODE on each node
//!          └─► pod     metadata and node, for api::Api
//! ```

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use ipnet::IpNet;
use jiff::Timestamp;
use kube_ipam::deadline::Deadline;
use kube_ipam::ipam::keys;
use kube_ipam::ipam::lease::{
    self, AllocationKind, Assigned, Attachment, Began, Holder, Lease, OnRelease, PodRef, Unknown,
};
use kube_ipam::ipam::name::{AttachmentId, IfName, Name};
use kube_ipam::ops::Session;
use kube_ipam::store::{Op, StoreConfig, Txn};
use serde_json::{Value, json};

use crate::Result;
use crate::api::{CLUSTER, NAMESPACE};

/// The default limit of a kubelet.
pub const PODS_PER_NODE: u32 = 110;

/// How many pods one transaction writes. Each takes two keys.
const AT_ONCE: usize = 60;

/// The address of a pod, outside those that tests request.
#[must_use]
pub fn ip(number: u32) -> IpAddr {
    Ipv4Addr::from_bits(0x0a40_0000 + number).into()
}

/// The name of a pod.
#[must_use]
pub fn pod_name(number: u32) -> String {
    format!("crowd-{number}")
}

/// The name of a pod's node.
#[must_use]
pub fn node_name(number: u32) -> String {
    format!("crowd-node-{}", number / PODS_PER_NODE)
}

fn uid(number: u32) -> String {
    format!("00000000-0000-4000-8000-{number:012x}")
}

/// A pod as in a server's list.
#[must_use]
pub fn pod(number: u32) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": { "namespace": NAMESPACE, "name": pod_name(number), "uid": uid(number) },
        "spec": { "nodeName": node_name(number) },
        "status": { "phase": "Running", "startTime": "2026-11-01T10:00:01Z" },
    })
}

/// Writes the leases and attachments of this many pods into a store.
///
/// # Errors
/// If the store fails.
pub fn store(config: &StoreConfig, count: u32) -> Result<()> {
    let session = Session::open(config.clone(), None)?;
    let numbers: Vec<u32> = (0..count).collect();
    for some in numbers.chunks(AT_ONCE) {
        let puts: Result<Vec<[Op; 2]>> = some.iter().map(|number| entries(*number)).collect();
        let txn = Txn::new(Vec::new(), puts?.into_iter().flatten().collect(), Vec::new())?;
        session.commit(&txn, Deadline::after(Duration::from_secs(60)))?;
    }
    Ok(())
}

fn entries(number: u32) -> Result<[Op; 2]> {
    let (vrf, ip) = (Name::new("default")?, ip(number));
    let id = AttachmentId {
        node: Name::new(node_name(number))?,
        container: Name::new(format!("{number:064x}"))?,
        ifname: IfName::new("net1")?,
        network: Name::new("db-net")?,
    };
    let pod = PodRef { namespace: Some(NAMESPACE.to_owned()), name: Some(pod_name(number)), uid: Some(uid(number)) };
    let holder = Holder {
        id: id.clone(),
        pod,
        workload: Some("Deployment crowd".to_owned()),
        controller: None,
        cluster: Some(CLUSTER.to_owned()),
        began: Began { boot: "0bca6a5e-0e3e-4a2f-9c39-6f8f5f2f4c0e".to_owned(), boottime: u64::from(number) },
        unknown: Unknown::new(),
    };
    let lease = Lease::new(
        AllocationKind::Dynamic,
        vec![holder.clone()],
        Timestamp::from_second(1_790_000_000)?,
        OnRelease::Rest(30),
    );
    let attachment = Attachment {
        v: lease::VERSION,
        vrf: vrf.clone(),
        addresses: vec![Assigned { address: IpNet::new(ip, 10)?, gateway: Some(Ipv4Addr::new(10, 64, 0, 1).into()) }],
        lost: Vec::new(),
        lost_since: None,
        holder: Some(holder),
        closed: None,
        sighted: Vec::new(),
        unknown: Unknown::new(),
    };
    Ok([
        Op::Put(keys::lease(&vrf, ip), lease::write(&lease)),
        Op::Put(keys::attachment(&id), lease::write(&attachment)),
    ])
}
