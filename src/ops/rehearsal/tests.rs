//! A rehearsal says what the real ADD then does, and changes no file.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use proptest::prelude::*;
use proptest::test_runner::TestCaseError;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{Rehearsal, RehearsedAdd};
use crate::cni::{CniVersion, Target};
use crate::config::{self, CallSettings, LoadedConfig, Network, Purpose};
use crate::deadline::Deadline;
use crate::error::Error;
use crate::ipam::decide::Allocation;
use crate::ipam::lease::PodRef;
use crate::ipam::name::{IfName, Name};
use crate::ipam::recovery::UpdateRecovery;
use crate::ipam::refusal::Refusal;
use crate::ipam::request::{RequestSource, RequestedAddresses};
use crate::ipam::seed::fnv1a_128;
use crate::ops::recovery::{self, RecoveryShare};
use crate::ops::{Call, Node, Session, add, del};
use crate::store::{KubernetesConfig, MemoryStore, StoreConfig};
use crate::telemetry::CallTimer;

/// A node with SQLite, or a store in memory, and without an API server.
pub(in crate::ops) struct Bed {
    pub(in crate::ops) folder: TempDir,
    pub(in crate::ops) settings: CallSettings,
    pub(in crate::ops) network: Network,
    /// The store, if its revisions have no order.
    pub(in crate::ops) memory: Option<MemoryStore>,
}

impl Bed {
    pub(in crate::ops) fn new(mut ipam: Value) -> Self {
        let folder = tempfile::Builder::new().prefix("kube-ipam-rehearsal-").tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let defaults = path("kube-ipam.json");
        let keys = json!({
            "nodeName": "node-1", "stateDir": path("records"), "dataDir": path("store"), "annotations": false,
            "log": path("log"),
        });
        fs::write(&defaults, keys.to_string()).unwrap();
        ipam["type"] = "kube-ipam".into();
        let config = json!({ "name": "db-net", "ipam": ipam });
        let env = |name: &str| (name == "KUBE_IPAM_CONFIG").then(|| defaults.to_str().unwrap().to_owned());
        let purpose = Purpose { add: true, pod: false };
        let LoadedConfig { settings, network, .. } =
            config::load(config.as_object().unwrap(), &Name::new("db-net").unwrap(), &env, purpose);
        fs::create_dir(path("store")).unwrap();
        // The first request of any kind creates an embedded store.
        let session = Session::open(settings.store.clone().unwrap(), None).unwrap();
        session.ping(Deadline::after(Duration::from_secs(10))).unwrap();
        Self { network: network.unwrap(), settings, folder, memory: None }
    }

    /// A node whose store counts as one without an order of revisions.
    pub(in crate::ops) fn without_order(ipam: Value) -> Self {
        let mut bed = Self::new(ipam);
        let config = KubernetesConfig { access: Vec::new(), namespace: "kube-ipam".to_owned() };
        bed.settings.store = Ok(StoreConfig::Kubernetes(config));
        bed.memory = Some(MemoryStore::new());
        bed
    }

    pub(in crate::ops) fn store(&self) -> StoreConfig {
        self.settings.store.clone().unwrap()
    }

    fn session(&self) -> Session {
        match &self.memory {
            Some(memory) => Session::in_memory(self.store(), memory.clone()),
            None => Session::open(self.store(), None).unwrap(),
        }
    }

    fn rehearsal(&self) -> Rehearsal<'_> {
        let mut rehearsal = Rehearsal::new(&self.settings, &self.store(), Duration::from_secs(10)).unwrap();
        rehearsal.session = self.session().into_overlay();
        rehearsal.node.session = Some(self.session());
        rehearsal
    }

    pub(in crate::ops) fn call(&self) -> Call<'_> {
        let mut node = Node::new(&self.settings, Deadline::after(Duration::from_secs(10)));
        node.session = Some(self.session());
        Call {
            node,
            network: &self.network.name,
            version: CniVersion::NEWEST,
            claim: None,
            timer: CallTimer::start("ADD"),
        }
    }

    /// Does an ADD.
    pub(in crate::ops) fn add(&self, target: &Target, ip: Option<&str>) -> Result<Allocation, Error> {
        let requested = ip.map(requested);
        let output = add::add(&mut self.call(), &self.network, target, requested.as_ref(), None)?;
        Ok(output.allocation)
    }

    /// Rehearses an ADD, and then does it. Returns what both answered.
    fn rehearse_and_add(&self, target: &Target, ip: Option<&str>) -> [Result<Allocation, Error>; 2] {
        let requested = ip.map(requested);
        let mut call = self.call();
        let add = RehearsedAdd {
            id: call.attachment(target),
            pod: target.pod.clone(),
            began: call.node.began.clone(),
            version: call.version,
            requested: requested.clone(),
        };
        let before = (content(self.folder.path()), self.memory.as_ref().map(MemoryStore::back_up));
        let rehearsed = self.rehearsal().add(&self.network, &add);
        let after = (content(self.folder.path()), self.memory.as_ref().map(MemoryStore::back_up));
        assert_eq!(after, before, "a rehearsal has written");
        let done = add::add(&mut call, &self.network, target, requested.as_ref(), None);
        [rehearsed.map(|rehearsed| rehearsed.allocation), done.map(|output| output.allocation)]
    }

    /// What the node does in a recovery, if there is one. The operator ends it, since no API server lists the nodes.
    pub(in crate::ops) fn take_part(&self) -> Option<RecoveryShare> {
        let (store, mut node, deadline) = (self.store(), self.call().node, Deadline::after(Duration::from_secs(10)));
        let share = recovery::take_part(&mut node, &store, deadline).unwrap()?;
        let progress = recovery::progress(&self.session(), deadline).unwrap();
        self.session().decide(&mut UpdateRecovery::end_by_operator(&progress).unwrap(), deadline).unwrap();
        Some(share)
    }
}

/// The digest of every file below a folder.
pub(in crate::ops) fn content(folder: &Path) -> BTreeMap<PathBuf, u128> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        match entry.file_type().unwrap() {
            kind if kind.is_dir() => files.extend(content(&entry.path())),
            kind if kind.is_symlink() => {
                let link = fs::read_link(entry.path()).unwrap();
                files.insert(entry.path(), fnv1a_128(link.as_os_str().as_encoded_bytes()));
            }
            _ => {
                files.insert(entry.path(), fnv1a_128(&fs::read(entry.path()).unwrap()));
            }
        }
    }
    files
}

pub(in crate::ops) fn target(container: &str, ifname: &str, pod: PodRef) -> Target {
    Target { container: Name::new(container).unwrap(), ifname: IfName::new(ifname).unwrap(), netns: None, pod }
}

fn requested(ip: &str) -> RequestedAddresses {
    RequestedAddresses { source: RequestSource::CniArgs, ips: vec![ip.to_owned()] }
}

fn pod(name: &str) -> PodRef {
    let text = |text: String| Some(text);
    PodRef { namespace: text("default".into()), name: text(name.into()), uid: text(format!("{name}-uid")) }
}

/// What an answer says: the addresses, or the refusal, without the time at which it was.
fn answer(result: &Result<Allocation, Error>) -> Result<(Vec<IpAddr>, bool), String> {
    match result {
        Err(Error::Refused(Refusal::Recovering { sign, .. })) => Err(sign.clone()),
        Ok(allocation) => Ok((allocation.leases.iter().map(|(ip, _)| *ip).collect(), allocation.repeated)),
        Err(error) => Err(error.full().to_string()),
    }
}

#[test]
fn another_sandbox_of_a_pod_is_rehearsed_with_the_address_of_the_earlier_one() {
    let bed = Bed::new(json!({ "subnet": "10.1.0.0/24" }));
    let [rehearsed, first] = bed.rehearse_and_add(&target("c-1", "eth0", pod("db-0")), None);
    assert_eq!(answer(&rehearsed), answer(&first));
    let [rehearsed, second] = bed.rehearse_and_add(&target("c-2", "eth0", pod("db-0")), None);
    assert_eq!(answer(&rehearsed), answer(&second));
    assert_eq!(answer(&first), answer(&second), "the pod keeps its address");
}

#[test]
fn addresses_that_would_be_probed_are_reported_and_not_probed() {
    let bed = Bed::new(json!({ "subnet": "10.1.0.0/24", "probe": "always" }));
    let mut rehearsal = bed.rehearsal();
    let call = bed.call();
    let target = target("c-1", "eth0", pod("db-0"));
    let add = RehearsedAdd {
        id: call.attachment(&target),
        pod: target.pod.clone(),
        began: call.node.began.clone(),
        version: call.version,
        requested: None,
    };
    let rehearsed = rehearsal.add(&bed.network, &add).unwrap();
    let ips: Vec<IpAddr> = rehearsed.allocation.leases.iter().map(|(ip, _)| *ip).collect();
    assert!(rehearsed.would_be_probed.contains(&ips[0]), "{:?}", rehearsed.would_be_probed);
    // The overlay remembers it, like a store.
    let repeated = rehearsal.add(&bed.network, &add).unwrap();
    assert!(repeated.allocation.repeated);
    assert!(repeated.would_be_probed.is_empty());
}

#[test]
fn an_attachment_of_another_node_is_rehearsed_without_this_node_s_records() {
    let bed = Bed::new(json!({ "subnet": "10.1.0.0/29" }));
    let [_, first] = bed.rehearse_and_add(&target("c-1", "eth0", pod("db-0")), Some("10.1.0.3"));
    let holder = first.unwrap().attachment.holder.unwrap();
    let mut rehearsal = bed.rehearsal();
    let mut add = RehearsedAdd {
        id: holder.id.clone(),
        pod: holder.pod.clone(),
        began: holder.began.clone(),
        version: CniVersion::NEWEST,
        requested: None,
    };
    add.id.node = Name::new("node-2").unwrap();
    let rehearsed = rehearsal.add(&bed.network, &add).unwrap();
    assert!(!rehearsed.allocation.repeated, "the attachment of node-1 is another one");
    assert_ne!(rehearsed.allocation.leases[0].0, "10.1.0.3".parse::<IpAddr>().unwrap());
}

#[test]
fn a_rehearsal_on_a_store_that_was_put_back_is_refused_and_begins_nothing() {
    let bed = Bed::without_order(json!({ "subnet": "10.1.0.0/24" }));
    let memory = bed.memory.as_ref().unwrap();
    let backup = memory.back_up();
    bed.add(&target("c-1", "eth0", pod("db-0")), None).unwrap();
    memory.restore(&backup);
    let [rehearsed, done] = bed.rehearse_and_add(&target("c-2", "eth0", pod("db-1")), None);
    assert_eq!(answer(&rehearsed), answer(&done));
    assert!(answer(&rehearsed).unwrap_err().contains("has no entry in the store"), "{rehearsed:?}");
}

#[derive(Clone, Debug)]
enum Step {
    Add { container: u8, pod: u8, ip: Option<u8> },
    Del { container: u8 },
    BackUp,
    Restore,
}

fn step() -> impl Strategy<Value = Step> {
    let add = (0..5_u8, 0..3_u8, prop::option::of(1..8_u8));
    prop_oneof![
        3 => add.prop_map(|(container, pod, ip)| Step::Add { container, pod, ip }),
        1 => (0..5_u8).prop_map(|container| Step::Del { container }),
    ]
}

/// The same, and backups that are put back.
fn step_or_restore() -> impl Strategy<Value = Step> {
    prop_oneof![8 => step(), 1 => Just(Step::BackUp), 1 => Just(Step::Restore)]
}

/// Does the steps. Each ADD is rehearsed first, and after each step, the node does its part in a recovery.
fn answers_agree(bed: &Bed, steps: &[Step]) -> Result<(), TestCaseError> {
    let memory = bed.memory.clone().unwrap_or_default();
    let mut backup = memory.back_up();
    for step in steps {
        match step {
            Step::Add { container, pod: number, ip } => {
                let target = target(&format!("c-{container}"), "eth0", pod(&format!("db-{number}")));
                let ip = ip.map(|ip| format!("10.1.0.{ip}"));
                let [rehearsed, done] = bed.rehearse_and_add(&target, ip.as_deref());
                prop_assert_eq!(answer(&rehearsed), answer(&done));
            }
            Step::Del { container } => {
                let target = target(&format!("c-{container}"), "eth0", PodRef::default());
                del::del(&mut bed.call(), &target).unwrap();
            }
            Step::BackUp => backup = memory.back_up(),
            Step::Restore => memory.restore(&backup),
        }
        bed.take_part();
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn a_rehearsal_answers_what_the_next_add_answers(
        steps in prop::collection::vec(step(), 1..12),
        cooldown in prop::sample::select(vec!["0s", "1h"]),
    ) {
        // Six addresses, two of which are for requests only.
        let bed = Bed::new(json!({
            "subnet": "10.1.0.0/29", "cooldown": cooldown, "fixedStart": "10.1.0.5", "fixedEnd": "10.1.0.6",
        }));
        answers_agree(&bed, &steps)?;
    }

    #[test]
    fn it_does_so_where_backups_are_put_back(steps in prop::collection::vec(step_or_restore(), 1..16)) {
        let bed = Bed::without_order(json!({ "subnet": "10.1.0.0/28", "cooldown": "0s" }));
        answers_agree(&bed, &steps)?;
    }
}
