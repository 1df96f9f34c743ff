//! `pod-addresses`: addresses in the status of running pods that the store does not have for them.
//!
//! The list of pods is not as fresh as the store, so a pod that seems to use a foreign address is looked up again.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::Deserialize;

use super::definitions::{Definitions, read};
use super::forbidden::unread;
use super::pod_networks::PodNetworks;
use crate::cluster::{ApiServer, ClusterError};
use crate::error::Error;
use crate::explain::Commands;
use crate::ipam::keys;
use crate::ipam::lease::{Holder, Lease, PodRef, Stored};
use crate::ipam::name::Name;
use crate::ipam::pod::Pod;
use crate::ipam::request::FIRST_INTERFACE;
use crate::ipam::takeover::{Phase, PodLookup};
use crate::ops::Session;
use crate::ops::operator::STORE_TIMEOUT;
use crate::ops::operator::doctor::subject::{Subject, commands};
use crate::ops::operator::doctor::text::counted;
use crate::ops::operator::doctor::{Context, Outcome};
use crate::store::MAX_OPERATIONS;

/// The annotation in which Multus writes what each interface got (multi-network specification 1.3, section 4.1.2.3).
const STATUS: &str = "k8s.v1.cni.cncf.io/network-status";

/// The most suspects that are looked up and named.
const MAX_SUSPECTS: usize = 50;

/// An address that a pod has, according to its status.
#[derive(Clone, Debug, PartialEq, Eq)]
struct PodAddress {
    pod: PodRef,
    interface: String,
    network: String,
    vrf: Name,
    ip: IpAddr,
}

/// Why an address is not the pod's in the store.
#[derive(Clone, Debug, PartialEq)]
enum Mismatch {
    /// It has no lease, or one without a holder.
    Free,
    /// Another pod holds it.
    Other(Box<Holder>),
}

/// An entry of the annotation.
#[derive(Deserialize)]
struct NetworkStatus {
    name: String,
    #[serde(default)]
    interface: String,
    #[serde(default)]
    ips: Vec<String>,
}

pub(in crate::ops::operator::doctor) fn check(context: &mut Context<'_>, report: &mut dyn FnMut(Outcome)) {
    let subject = Subject::whole("pods");
    let definitions = read(context);
    let mut networks = PodNetworks::on_node(context);
    match &*definitions {
        Definitions::Judged(judged) => {
            networks.vrfs.extend(judged.vrfs().into_iter().map(|(name, vrf)| (name.to_owned(), vrf)));
        }
        // The check of the networks says why.
        Definitions::Unread(_) => {
            return report(
                subject
                    .skipped("without the definitions of networks, it is not known which addresses are of kube-ipam"),
            );
        }
        Definitions::NoCluster => return,
        Definitions::NoSuchKind => {}
    }
    if !context.is_node {
        let next = &context.options.commands;
        report(subject.skipped_until(
            "addresses of networks that only the nodes' CNI folders have are not compared, since this machine is no node",
            commands("run it on a node as well", [next.on_other_node(&["doctor"])]),
        ));
    }
    if networks.vrfs.is_empty() {
        return;
    }
    let Some(store) = context.readable_store().or_skip(report) else { return };
    let (progress, next) = (context.progress(), &context.options.commands);
    let session = match Session::open(store.clone(), None) {
        Ok(session) => session,
        Err(error) => return report(subject.skipped(error.message().to_string())),
    };
    let Ok(Some(api)) = context.api() else { return };
    let mut comparison = Comparison {
        session: &session,
        networks: &networks,
        waiting: Vec::new(),
        compared: 0,
        suspects: Vec::new(),
        more: 0,
        failure: None,
    };
    let mut add = |pod: &Pod, first: &[IpAddr]| {
        comparison.add(pod, first);
        progress(comparison.compared as u64);
    };
    // Only whole pods have the addresses of a network that no annotation names.
    let listed = match networks.first {
        Some(_) => api.pods_with_addresses(|pod, first| add(&pod, &first)),
        None => api.list_unfinished_pods(|pod| add(&pod, &[])),
    };
    comparison.compare();
    match (listed, &comparison.failure) {
        (Err(error), _) => report(unread(&subject, &error, next)),
        (Ok(()), Some(error)) => report(subject.skipped(format!("the store could not be read: {}", error.message()))),
        (Ok(()), None) => comparison.confirm(api, &subject, next).into_iter().for_each(report),
    }
}

/// Compares the pods of a list with the store, a batch of addresses at a time.
struct Comparison<'a> {
    session: &'a Session,
    networks: &'a PodNetworks,
    waiting: Vec<PodAddress>,
    compared: usize,
    suspects: Vec<PodAddress>,
    /// Suspects that are not kept.
    more: usize,
    failure: Option<Error>,
}

impl Comparison<'_> {
    /// Adds a pod with the addresses of its first interface, if they are known.
    fn add(&mut self, pod: &Pod, first: &[IpAddr]) {
        self.waiting.extend(addresses(pod, first, self.networks));
        if self.waiting.len() >= MAX_OPERATIONS {
            self.compare();
        }
    }

    fn compare(&mut self) {
        let waiting = std::mem::take(&mut self.waiting);
        if waiting.is_empty() || self.failure.is_some() {
            return;
        }
        self.compared += waiting.len();
        match leases(self.session, &waiting) {
            Err(error) => self.failure = Some(error),
            Ok(leases) => {
                let suspects = waiting
                    .into_iter()
                    .filter(|address| mismatch(address, leases.get(&(address.vrf.clone(), address.ip))).is_some());
                for suspect in suspects {
                    match self.suspects.len() < MAX_SUSPECTS {
                        true => self.suspects.push(suspect),
                        false => self.more += 1,
                    }
                }
            }
        }
    }

    /// Looks each suspect up again: its pod may have ended, and the list may be older than the store.
    fn confirm(self, api: &ApiServer, subject: &Subject, next: &Commands) -> Vec<Outcome> {
        let mut outcomes = Vec::new();
        for suspect in &self.suspects {
            match still_runs(api, &suspect.pod) {
                Ok(true) => {}
                Ok(false) => continue,
                Err(error) => {
                    outcomes.push(unread(subject, &error, next));
                    continue;
                }
            }
            match leases(self.session, std::slice::from_ref(suspect)) {
                Ok(leases) => {
                    let found = mismatch(suspect, leases.get(&(suspect.vrf.clone(), suspect.ip)));
                    outcomes.extend(found.map(|mismatch| outcome(suspect, &mismatch, next)));
                }
                Err(error) => outcomes.push(subject.skipped(error.message().to_string())),
            }
        }
        if self.more > 0 {
            let message = format!("{} more addresses of pods are not theirs in the store", self.more);
            outcomes.push(
                subject.error(
                    message,
                    commands("mend the first ones; a recovery mends all at once", [next.recovery(&[])]),
                ),
            );
        }
        if outcomes.is_empty() {
            outcomes.push(
                subject.ok(format!(
                    "the store has all {} of running pods",
                    counted(self.compared, "address", "addresses")
                )),
            );
        }
        outcomes
    }
}

/// The addresses of a pod on networks of kube-ipam.
fn addresses(pod: &Pod, first: &[IpAddr], networks: &PodNetworks) -> Vec<PodAddress> {
    let reference =
        PodRef { namespace: Some(pod.namespace.clone()), name: Some(pod.name.clone()), uid: Some(pod.uid.clone()) };
    let address = |interface: &str, network: &str, vrf: &Name, ip: IpAddr| PodAddress {
        pod: reference.clone(),
        interface: interface.to_owned(),
        network: network.to_owned(),
        vrf: vrf.clone(),
        ip: ip.to_canonical(),
    };
    let Some(text) = pod.annotations.get(STATUS) else {
        let of_first = networks.first.iter().flat_map(|(network, vrf)| first.iter().map(move |ip| (network, vrf, *ip)));
        return of_first.map(|(network, vrf, ip)| address(FIRST_INTERFACE, network, vrf, ip)).collect();
    };
    // Anyone who may edit the pod may write it. What can't be read says nothing.
    let Ok(statuses) = serde_json::from_str::<Vec<NetworkStatus>>(text) else { return Vec::new() };
    let mut found = Vec::new();
    for NetworkStatus { name, interface, ips } in statuses {
        let Some(vrf) = networks.vrfs.get(&name) else { continue };
        let ips = ips.iter().filter_map(|ip| ip.parse::<IpAddr>().ok());
        found.extend(ips.map(|ip| address(&interface, &name, vrf, ip)));
    }
    found
}

type Leases = BTreeMap<(Name, IpAddr), Stored<Lease>>;

/// The leases of these addresses, as far as they exist.
fn leases(session: &Session, addresses: &[PodAddress]) -> Result<Leases, Error> {
    let mut leases = Leases::new();
    let keys: Vec<_> = addresses.iter().map(|address| keys::lease(&address.vrf, address.ip)).collect();
    session.each_of(keys, STORE_TIMEOUT, |entry| {
        if let Some(key) = keys::read_lease(&entry.key) {
            leases.insert(key, Stored::read(&entry.value));
        }
        Ok::<_, Error>(())
    })?;
    Ok(leases)
}

/// Why an address is not its pod's; `None` if it is, or if its lease can't be read.
fn mismatch(address: &PodAddress, lease: Option<&Stored<Lease>>) -> Option<Mismatch> {
    let lease = match lease {
        None => return Some(Mismatch::Free),
        Some(Stored::Unreadable(_)) => return None,
        Some(Stored::Known(lease)) => lease,
    };
    if !lease.is_held() {
        return Some(Mismatch::Free);
    }
    let of_pod =
        |holder: &Holder| (&holder.pod.namespace, &holder.pod.name) == (&address.pod.namespace, &address.pod.name);
    match lease.holders.iter().any(of_pod) {
        true => None,
        false => lease.holders.first().map(|holder| Mismatch::Other(Box::new(holder.clone()))),
    }
}

/// Whether the pod still runs, and nobody has deleted it: its DEL releases the address before the pod is gone.
fn still_runs(api: &ApiServer, pod: &PodRef) -> Result<bool, ClusterError> {
    Ok(match api.lookup_pod(pod)? {
        PodLookup::NotFound => false,
        PodLookup::Found(state) => {
            let is_same = pod.uid.as_deref().is_some_and(|uid| state.pod.has_sandbox_of(uid));
            is_same && state.deleted.is_none() && matches!(state.phase, Phase::Other(_))
        }
    })
}

fn outcome(address: &PodAddress, mismatch: &Mismatch, next: &Commands) -> Outcome {
    let PodAddress { pod, interface, network, vrf, ip } = address;
    let label = pod.label().unwrap_or_default();
    let subject = Subject::new(format!("pod {label}"));
    let list = next.kube_ipam(&["list", "--ip", &ip.to_string()], Some(vrf));
    let (namespace, name) = (pod.namespace.as_deref().unwrap_or_default(), pod.name.as_deref().unwrap_or_default());
    let delete = next.kubectl(&["-n", namespace, "delete", "pod", name]);
    match mismatch {
        Mismatch::Free => subject.error(
            format!("its {interface} uses {ip} of network {network}, which nobody holds in the store, so another pod may get it"),
            commands(
                "if the store lost it, the node of this pod writes it back with the first command, run there; else delete the pod, \
                 so that it gets an address of its own",
                [next.on_other_node(&["sweep", "--node"]), list, delete],
            ),
        ),
        Mismatch::Other(holder) => subject.error(
            format!("its {interface} uses {ip} of network {network}, which {holder} holds in the store: two pods may have one address"),
            commands("delete the pod that should not have it", [list, delete]),
        ),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test's verdict is a panic")]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn pod(status: &Value) -> Pod {
        let annotations =
            BTreeMap::from([(STATUS.to_owned(), status.as_str().map_or_else(|| status.to_string(), str::to_owned))]);
        Pod {
            namespace: "db".to_owned(),
            name: "web-0".to_owned(),
            uid: "u-1".to_owned(),
            annotations,
            ..Pod::default()
        }
    }

    fn networks() -> PodNetworks {
        let blue = Name::new("blue").unwrap();
        let vrfs = [("db/db-net", &blue), ("k8s-pod-network", &blue)].map(|(name, vrf)| (name.to_owned(), vrf.clone()));
        PodNetworks { vrfs: vrfs.into(), first: Some(("k8s-pod-network".to_owned(), blue)) }
    }

    fn found(status: &Value) -> Vec<String> {
        addresses(&pod(status), &[], &networks())
            .iter()
            .map(|address| format!("{} {} {}", address.interface, address.vrf, address.ip))
            .collect()
    }

    #[test]
    fn addresses_of_own_networks_are_read_from_the_status() {
        let status = json!([
            { "name": "cbr0", "interface": "eth0", "ips": ["10.244.0.5"], "default": true },
            { "name": "db/db-net", "interface": "net1", "ips": ["10.1.0.5", "fd00::5", "no address"], "mac": "02:00:00:00:00:01" },
            { "name": "db/other", "interface": "net2", "ips": ["10.2.0.5"] },
        ]);
        assert_eq!(found(&status), ["net1 blue 10.1.0.5", "net1 blue fd00::5"]);
        for hostile in
            [json!("no JSON"), json!({}), json!([{ "name": 5 }]), json!([{ "name": "db/db-net", "ips": "10.1.0.5" }])]
        {
            assert_eq!(found(&hostile), [""; 0], "{hostile}");
        }
    }

    #[test]
    fn without_a_status_the_addresses_are_those_of_the_first_interface() {
        let ips = ["10.5.0.9".parse().unwrap(), "fd00::9".parse().unwrap()];
        let plain = Pod { annotations: BTreeMap::new(), ..pod(&json!([])) };
        let of_first = addresses(&plain, &ips, &networks());
        let of_first: Vec<String> = of_first
            .iter()
            .map(|address| format!("{} {} {}", address.interface, address.network, address.ip))
            .collect();
        assert_eq!(of_first, ["eth0 k8s-pod-network 10.5.0.9", "eth0 k8s-pod-network fd00::9"]);
        assert_eq!(addresses(&plain, &ips, &PodNetworks::default()), []);
        // With a status, only that says which network an address is of.
        let status = json!([{ "name": "k8s-pod-network", "interface": "eth0", "ips": ["10.5.0.9"], "default": true }]);
        assert_eq!(addresses(&pod(&status), &ips, &networks()).len(), 1);
    }

    fn lease(pod: &str, more: &Value) -> Stored<Lease> {
        let holder = json!({
            "node": "n", "containerID": "c", "ifname": "net1", "network": "db-net",
            "pod": { "namespace": "db", "name": pod, "uid": "u" }, "began": { "boot": "b", "boottime": 1 },
        });
        let mut lease = json!({ "v": 1, "kind": "dynamic", "holders": [holder], "since": "2026-11-01T10:00:00Z", "onRelease": { "rest": 30 } });
        lease.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        Stored::read(lease.to_string().as_bytes())
    }

    #[test]
    fn a_pod_is_to_hold_what_it_uses() {
        let status = json!([{ "name": "db/db-net", "interface": "net1", "ips": ["10.1.0.5"] }]);
        let address = addresses(&pod(&status), &[], &networks()).remove(0);
        assert_eq!(mismatch(&address, Some(&lease("web-0", &json!({})))), None);
        assert_eq!(mismatch(&address, Some(&Stored::read(b"?"))), None);
        assert_eq!(mismatch(&address, None), Some(Mismatch::Free));
        let resting = json!({ "rest": { "released": "2026-11-01T10:00:00Z", "seconds": 30 } });
        assert_eq!(mismatch(&address, Some(&lease("web-0", &resting))), Some(Mismatch::Free));
        let other = mismatch(&address, Some(&lease("web-1", &json!({})))).unwrap();
        assert!(
            outcome(&address, &other, &Commands::default())
                .message
                .contains("which pod db/web-1, interface net1, node n, network db-net holds in the store")
        );
    }
}
