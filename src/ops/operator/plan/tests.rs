//! What a plan for a cluster in use says is what ADD then gives.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use jiff::Timestamp;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::live::LiveCluster;
use crate::cause::chain;
use crate::deadline::Deadline;
use crate::error::Error;
use crate::ipam::cluster::ClusterIdentity;
use crate::ipam::decide::{Add, Allocation, Release, StickyPolicy};
use crate::ipam::keys;
use crate::ipam::lease::{self, Began, Foreign, Holder, Lease, PodRef, Unknown};
use crate::ipam::name::Name;
use crate::ipam::refusal::Refusal;
use crate::ipam::request::{self, AddressRequest, Annotations, Inputs, Ordinal, Selection};
use crate::ipam::reservation::{Owner, OwnerKind};
use crate::ipam::takeover::Mac;
use crate::ops::recovery::Witnesses;
use crate::ops::rehearsal::tests::{Bed, content, target};
use crate::ops::takeover::{self, CallChecks, Requester};
use crate::ops::{Session, prepared};
use crate::plan::{Finding, InterfaceReport, Options, Outcome, Report, Severity, Source, plan_for};
use crate::store::{Op, Txn};

const NETWORK: &str = r#"apiVersion: k8s.cni.cncf.io/v1
kind: NetworkAttachmentDefinition
metadata: {name: db-net, namespace: app}
spec:
  config: |
    {"name": "db-net", "type": "macvlan", "ipam": {"type": "kube-ipam", "subnet": "10.1.0.0/28",
     "fixedStart": "10.1.0.8", "fixedEnd": "10.1.0.14", "rangeStart": "10.1.0.2", "rangeEnd": "10.1.0.7"}}
---
"#;

fn bed() -> Bed {
    Bed::new(json!({
        "subnet": "10.1.0.0/28", "fixedStart": "10.1.0.8", "fixedEnd": "10.1.0.14", "rangeStart": "10.1.0.2",
        "rangeEnd": "10.1.0.7",
    }))
}

/// A workload of a manifest, and the pods of it.
#[derive(Clone, Debug)]
enum Workload {
    /// A pod that requests this address, or any.
    Pod(Option<u8>),
    /// A StatefulSet with a pool, from this address on, with an address for each pod.
    StatefulSet { first: u8, pods: u8 },
    /// A virtual machine that keeps its random address. It may have one from an earlier run.
    Machine { has_run: bool },
}

impl Workload {
    fn name(&self, i: usize) -> String {
        format!("w{i}")
    }

    fn ifname(&self) -> &'static str {
        match self {
            Self::Pod(_) | Self::StatefulSet { .. } => "net1",
            // KubeVirt's name for the network red.
            Self::Machine { .. } => "podb1f51a511f1",
        }
    }

    /// The machine as the owner of its addresses.
    fn owner(&self, i: usize) -> Option<Owner> {
        let name = |text: &str| Name::new(text).unwrap();
        let owner = Owner {
            kind: OwnerKind::VirtualMachine,
            cluster: None,
            namespace: name("app"),
            name: name(&self.name(i)),
            uid: format!("uid-of-w{i}"),
            pod: None,
        };
        matches!(self, Self::Machine { .. }).then_some(owner)
    }

    fn annotations(&self) -> BTreeMap<String, String> {
        let (key, value) = match self {
            Self::Pod(None) => return BTreeMap::new(),
            Self::Machine { .. } => ("kube-ipam.podb1f51a511f1.sticky", "true".to_owned()),
            Self::Pod(Some(ip)) => ("kube-ipam.net1.ip", format!("10.1.0.{ip}")),
            Self::StatefulSet { first, pods } => {
                ("kube-ipam.net1.pool", format!("10.1.0.{first}-10.1.0.{}", first + pods - 1))
            }
        };
        BTreeMap::from([(key.to_owned(), value)])
    }

    fn manifest(&self, i: usize) -> String {
        let name = self.name(i);
        let mut annotations = self.annotations();
        annotations.insert("k8s.v1.cni.cncf.io/networks".to_owned(), "db-net".to_owned());
        let template = json!({ "metadata": { "annotations": annotations } });
        let object = match self {
            Self::Pod(_) => json!({
                "apiVersion": "v1", "kind": "Pod",
                "metadata": { "name": name, "annotations": annotations },
            }),
            Self::StatefulSet { pods, .. } => json!({
                "apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": { "name": name },
                "spec": { "replicas": pods, "template": template },
            }),
            Self::Machine { .. } => machine(&name, &self.annotations()),
        };
        format!("{object}\n---\n")
    }

    /// The name and the ordinal of each pod.
    fn pods(&self, i: usize) -> Vec<(String, Option<Ordinal>)> {
        let name = self.name(i);
        match self {
            Self::Pod(_) => vec![(name, None)],
            Self::Machine { .. } => vec![(format!("virt-launcher-{name}-abcde"), None)],
            Self::StatefulSet { pods, .. } => {
                (0..u32::from(*pods)).map(|pod| (format!("{name}-{pod}"), Some(Ordinal { pod, first: 0 }))).collect()
            }
        }
    }
}

fn machine(name: &str, annotations: &BTreeMap<String, String>) -> Value {
    json!({
        "apiVersion": "kubevirt.io/v1", "kind": "VirtualMachine", "metadata": { "name": name },
        "spec": { "runStrategy": "Always", "template": {
            "metadata": { "annotations": annotations },
            "spec": {
                "domain": { "devices": { "interfaces": [{ "name": "red", "bridge": {} }] } },
                "networks": [{ "name": "red", "multus": { "networkName": "db-net" } }],
            },
        }},
    })
}

fn planned(bed: &Bed, manifests: &str) -> Report {
    let mut sources = vec![Source { name: "all.yaml".to_owned(), text: manifests.to_owned() }];
    let store = bed.settings.store.clone().unwrap();
    let mut cluster = LiveCluster::open(&bed.settings, &store).unwrap();
    plan_for(&mut sources, &Options { namespace: "app".to_owned(), defaults: None }, &mut cluster).unwrap()
}

fn requests(bed: &Bed, workload: &Workload, ordinal: Option<Ordinal>) -> Result<Vec<AddressRequest>, Refusal> {
    let ifname = crate::ipam::name::IfName::new(workload.ifname()).unwrap();
    let annotations = Annotations::read(&workload.annotations(), &ifname)?;
    let inputs = Inputs {
        requested: None,
        annotations: Some(&annotations),
        claim: None,
        ordinal,
        namespace: Some("app"),
        one_per_family: None,
    };
    request::resolve(bed.network.ranges(), &inputs).map(|(requests, _)| requests)
}

/// The real ADD of a pod of a workload, from its resolved requests on.
fn add(
    bed: &Bed,
    (i, workload): (usize, &Workload),
    pod: &str,
    requests: Vec<AddressRequest>,
) -> Result<Allocation, Error> {
    let store = bed.settings.store.clone().unwrap();
    let target = target(
        pod,
        workload.ifname(),
        PodRef { namespace: Some("app".to_owned()), name: Some(pod.to_owned()), uid: Some(format!("uid-of-{pod}")) },
    );
    let mut call = bed.call();
    let holder = Holder {
        id: call.attachment(&target),
        pod: target.pod.clone(),
        workload: None,
        controller: None,
        cluster: None,
        began: Began { boot: "boot".to_owned(), boottime: 1 },
        unknown: Unknown::new(),
    };
    let identity = ClusterIdentity::unknown("no API server".to_owned());
    let sticky = workload.owner(i).map(|owner| StickyPolicy { owner, ttl: None });
    let policy = prepared::policy(&bed.settings, &bed.network, &store, identity, sticky);
    let mut machine = Add::new(holder, policy, requests)?;
    let requester = Requester { pod: &target.pod, migration: None, reads_pods: true };
    let mut checks = CallChecks::new(&mut call, &bed.network, &target, &store, Witnesses::default());
    takeover::decide(&mut checks, requester, &mut machine)
}

/// The machines that have run get their addresses, and are stopped.
fn run_and_stop(bed: &Bed, workloads: &[Workload]) {
    for (i, workload) in workloads.iter().enumerate() {
        if !matches!(workload, Workload::Machine { has_run: true }) {
            continue;
        }
        let requests = requests(bed, workload, None).unwrap();
        // The range may be full of other pods.
        let Ok(allocation) = add(bed, (i, workload), "earlier", requests) else { continue };
        let id = allocation.attachment.holder.unwrap().id;
        let session = Session::open(bed.settings.store.clone().unwrap(), None).unwrap();
        session.decide(&mut Release::new(id, bed.settings.vrf.clone(), None, false), deadline()).unwrap();
    }
}

fn deadline() -> Deadline {
    Deadline::after(Duration::from_secs(10))
}

/// What real ADDs give to the pods of each workload, up to the first that is refused. Pods that request addresses come
/// first, as in a plan.
fn added(bed: &Bed, workloads: &[Workload]) -> BTreeMap<usize, Result<Vec<Vec<IpAddr>>, Error>> {
    let mut results = BTreeMap::new();
    let asks = |workload: &Workload| !matches!(workload, Workload::Pod(None) | Workload::Machine { .. });
    let indices = || 0..workloads.len();
    let order = indices().filter(|i| asks(&workloads[*i])).chain(indices().filter(|i| !asks(&workloads[*i])));
    for i in order {
        let pods = workloads[i].pods(i).into_iter().map(|(pod, ordinal)| {
            let requests = requests(bed, &workloads[i], ordinal)?;
            let allocation = add(bed, (i, &workloads[i]), &pod, requests)?;
            Ok(allocation.leases.into_iter().map(|(ip, _)| ip).collect())
        });
        results.insert(i, pods.collect());
    }
    results
}

/// Whether a finding has the kind of a real refusal.
fn is_of_kind(finding: &Finding, refusal: &Refusal) -> bool {
    let code = finding.code.to_string();
    match refusal {
        Refusal::Held { holder, .. } if holder.id.container.as_str().starts_with("old-") => code == "KI0314",
        // Another pod of the plan holds it.
        Refusal::Held { .. } => ["KI0301", "KI0302", "KI0307"].contains(&&*code),
        // A range, or a pool.
        Refusal::Exhausted { .. } => ["KI0307", "KI0308", "KI0314"].contains(&&*code),
        Refusal::Reserved { .. } => code == "KI0316",
        other => finding.message == chain(other).to_string(),
    }
}

fn workload() -> impl Strategy<Value = Workload> {
    prop_oneof![
        2 => prop::option::of(6..16_u8).prop_map(Workload::Pod),
        1 => (8..13_u8, 1..3_u8).prop_map(|(first, pods)| Workload::StatefulSet { first, pods }),
        1 => any::<bool>().prop_map(|has_run| Workload::Machine { has_run }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn what_a_plan_says_a_pod_gets_is_what_add_then_gives(
        earlier in prop::collection::vec(prop::option::of(8..15_u8), 0..8),
        workloads in prop::collection::vec(workload(), 1..7),
    ) {
        let bed = bed();
        for (i, ip) in earlier.iter().enumerate() {
            let ip = ip.map(|ip| format!("10.1.0.{ip}"));
            // Some of them find their address in use.
            let _ = bed.add(&target(&format!("old-{i}"), "net1", PodRef::default()), ip.as_deref());
        }
        run_and_stop(&bed, &workloads);
        let manifests = workloads.iter().enumerate().map(|(i, workload)| workload.manifest(i));
        let manifests = NETWORK.to_owned() + &manifests.collect::<String>();
        let before = content(bed.folder.path());
        let report = planned(&bed, &manifests);
        prop_assert_eq!(content(bed.folder.path()), before, "a plan has written");

        for (i, real) in added(&bed, &workloads) {
            let label = format!("app/w{i}");
            let is_it = |interface: &&crate::plan::InterfaceReport| {
                interface.workload.ends_with(&label) && interface.interface == workloads[i].ifname()
            };
            let says = report.interfaces.iter().find(is_it).unwrap();
            match (&says.outcome, &real) {
                (Outcome::Refused, Err(Error::Refused(refusal))) => {
                    // The manifest of each workload is a line, with one of dashes behind it.
                    let line = NETWORK.lines().count() + 2 * i + 1;
                    let sources = [Source { name: String::new(), text: manifests.clone() }];
                    let own = |finding: &&Finding| finding.primary.place.line_and_column(&sources).0 == line;
                    let mut own = report.findings.iter().filter(own);
                    prop_assert!(
                        own.any(|finding| is_of_kind(finding, refusal)), "{}: {}, and {:?}", label, refusal, report.findings
                    );
                }
                (Outcome::Addresses { certain, random, .. }, Ok(real)) if random.is_empty() => {
                    let certain: Vec<Vec<IpAddr>> = certain.iter().map(|pod| pod.addresses.clone()).collect();
                    prop_assert_eq!(&certain, real);
                }
                (Outcome::Addresses { certain, .. }, Ok(real)) => {
                    prop_assert!(certain.is_empty());
                    let requests = requests(&bed, &workloads[i], None).unwrap();
                    prop_assert_eq!(&requests[0].selection, &Selection::Auto);
                    prop_assert!(real.iter().flatten().all(|ip| requests[0].set.range_of(*ip).is_some()));
                }
                (says, real) => prop_assert!(false, "{} plans {:?}, and ADD answers {:?}", label, says, real),
            }
        }
    }
}

#[test]
fn a_pod_that_exists_already_has_its_own_addresses() {
    let bed = bed();
    let workloads = [Workload::Pod(Some(9)), Workload::Pod(None), Workload::StatefulSet { first: 10, pods: 2 }];
    let real = added(&bed, &workloads);
    let manifests: String = workloads.iter().enumerate().map(|(i, workload)| workload.manifest(i)).collect();
    let report = planned(&bed, &(NETWORK.to_owned() + &manifests));
    assert!(report.findings.is_empty(), "{:?}", report.findings);
    let network = &report.networks[0];
    assert_eq!((network.random_taken, network.random_of_others, network.fixed_taken), (1, 0, 3));
    let Outcome::Addresses { certain, .. } = &report.interfaces[5].outcome else { panic!("{report:?}") };
    let certain: Vec<_> = certain.iter().map(|pod| pod.addresses.clone()).collect();
    assert_eq!(&certain, real[&2].as_ref().unwrap());
}

#[test]
fn a_machine_that_was_stopped_gets_the_address_that_is_reserved_for_it() {
    let bed = bed();
    let workloads = [Workload::Pod(None), Workload::Machine { has_run: true }, Workload::Machine { has_run: false }];
    run_and_stop(&bed, &workloads);
    let manifests: String = workloads.iter().enumerate().map(|(i, workload)| workload.manifest(i)).collect();
    let report = planned(&bed, &(NETWORK.to_owned() + &manifests));
    assert!(report.findings.is_empty(), "{:?}", report.findings);
    let of = |name: &str| {
        let is_it = |of: &&InterfaceReport| of.workload.ends_with(name) && of.interface != "eth0";
        match &report.interfaces.iter().find(is_it).unwrap().outcome {
            Outcome::Addresses { certain, random, .. } => {
                (certain.iter().map(|pod| pod.addresses.clone()).collect::<Vec<_>>(), random.len())
            }
            other => panic!("{other:?}"),
        }
    };
    let real = added(&bed, &workloads);
    assert_eq!(of("app/w1"), (real[&1].as_ref().unwrap().clone(), 0));
    assert_eq!(of("app/w2"), (vec![], 1));
}

#[test]
fn an_address_of_a_foreign_host_is_a_mistake_that_names_the_host() {
    let bed = bed();
    let name = |text: &str| Name::new(text).unwrap();
    let now = Timestamp::now();
    let foreign =
        Foreign { mac: Mac([2, 0, 0, 0, 0, 9]), network: name("db-net"), node: name("node-7"), answered: now };
    let key = keys::lease(&bed.settings.vrf, "10.1.0.9".parse().unwrap());
    let put = Op::Put(key, lease::write(&Lease::of_foreign(foreign, now)));
    let session = Session::open(bed.settings.store.clone().unwrap(), None).unwrap();
    session.commit(&Txn::new(vec![], vec![put], vec![]).unwrap(), deadline()).unwrap();
    let report = planned(&bed, &(NETWORK.to_owned() + &Workload::Pod(Some(9)).manifest(0)));
    let [finding] = report.findings.as_slice() else { panic!("{:?}", report.findings) };
    assert_eq!((finding.code.to_string().as_str(), finding.severity), ("KI0315", Severity::Error));
    assert!(finding.message.contains("10.1.0.9") && finding.message.contains("02:00:00:00:00:09"), "{finding:?}");
}

#[test]
fn a_finding_names_the_pod_that_holds_a_requested_address() {
    let bed = bed();
    let holder = PodRef {
        namespace: Some("database".to_owned()),
        name: Some("db-0".to_owned()),
        uid: Some("uid-of-db-0".to_owned()),
    };
    bed.add(&target("c-1", "net1", holder), Some("10.1.0.9")).unwrap();
    bed.add(&target("c-2", "net1", PodRef::default()), None).unwrap();
    let report = planned(&bed, &(NETWORK.to_owned() + &Workload::Pod(Some(9)).manifest(0)));
    let [finding] = report.findings.as_slice() else { panic!("{:?}", report.findings) };
    assert_eq!(finding.code.to_string(), "KI0314");
    let starts = "10.1.0.9 is held by pod database/db-0, interface net1, node node-1, network db-net, since ";
    assert!(finding.message.starts_with(starts), "{}", finding.message);
    let network = &report.networks[0];
    assert_eq!((network.random_taken, network.random_of_others, network.left()), (1, 1, 5));
}
