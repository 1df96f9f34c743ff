//! Tests of the node's labels in its defaults.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use insta::assert_snapshot;
use serde_json::{Value, json};

use super::{AskNobody, Cluster, Machine, names};
use crate::cluster::ClusterError;
use crate::install::labels::{LabelPrefixes, PASSES_PER_LOOKUP};
use crate::install::{ClusterLookup, InstallError, InstallReport, Installer};
use crate::ipam::label::MAX_LABELS;
use crate::ipam::name::Name;

const ZONE: &str = "topology.kubernetes.io/zone";

/// A cluster that returns the labels of a node, or an error.
#[derive(Default)]
struct Labelled {
    labels: RefCell<BTreeMap<String, String>>,
    is_away: Cell<bool>,
    asked: RefCell<Vec<String>>,
}

impl Labelled {
    fn label(&self, labels: &[(&str, &str)]) {
        *self.labels.borrow_mut() = labels.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect();
    }
}

impl ClusterLookup for Labelled {
    fn identity(&self, kubeconfig: &Path) -> Result<Name, InstallError> {
        Cluster.identity(kubeconfig)
    }

    fn node_labels(&self, _: &Path, node: &Name) -> Result<BTreeMap<String, String>, ClusterError> {
        self.asked.borrow_mut().push(node.to_string());
        match self.is_away.get() {
            true => Err(ClusterError::TooManyRequests { url: "https://api".into(), message: "slow down".into() }),
            false => Ok(self.labels.borrow().clone()),
        }
    }
}

/// An installer that keeps labels with these prefixes.
fn installer(machine: &Machine, prefixes: &str) -> Installer {
    let mut sources = machine.installer().sources.clone();
    sources.labels = prefixes.parse::<LabelPrefixes>().unwrap();
    Installer::new(sources, machine.installer().targets.clone())
}

fn topology(machine: &Machine) -> Installer {
    installer(machine, "topology.kubernetes.io/")
}

/// Runs passes until the labels are looked up once. Returns what they have written.
#[track_caller]
fn until_next_lookup(installer: &mut Installer, cluster: &Labelled) -> Vec<String> {
    let mut report = InstallReport::default();
    for _ in 0..PASSES_PER_LOOKUP {
        installer.reconcile(cluster, &mut report).unwrap();
    }
    names(&report)
}

#[test]
fn the_defaults_have_the_labels_that_begin_with_a_prefix_and_follow_them() {
    let machine = Machine::new();
    let cluster = Labelled::default();
    cluster.label(&[(ZONE, "a"), ("topology.kubernetes.io/region", "r1"), ("kubernetes.io/hostname", "worker-1")]);
    let mut installer = topology(&machine);
    assert!(until_next_lookup(&mut installer, &cluster).contains(&"kube-ipam.json".to_owned()));
    let labels = || machine.installed_defaults()["nodeLabels"].clone();
    assert_eq!(labels(), json!({ ZONE: "a", "topology.kubernetes.io/region": "r1" }));
    cluster.label(&[(ZONE, "b")]);
    assert_eq!(until_next_lookup(&mut installer, &cluster), ["kube-ipam.json"]);
    assert_eq!(labels(), json!({ ZONE: "b" }));
    // The empty set of labels is written too.
    cluster.label(&[]);
    assert_eq!(until_next_lookup(&mut installer, &cluster), ["kube-ipam.json"]);
    assert_eq!(labels(), json!({}));
    assert_eq!(cluster.asked.take(), ["worker-1"; 3]);
}

#[test]
fn another_label_rewrites_nothing() {
    let machine = Machine::new();
    let cluster = Labelled::default();
    cluster.label(&[(ZONE, "a"), ("beat", "1")]);
    let mut installer = topology(&machine);
    until_next_lookup(&mut installer, &cluster);
    let stamp = || {
        let found = fs::metadata(machine.path("config/kube-ipam.json")).unwrap();
        (found.ino(), found.ctime(), found.ctime_nsec())
    };
    let before = stamp();
    for beat in ["2", "3"] {
        cluster.label(&[(ZONE, "a"), ("beat", beat), ("node.kubernetes.io/exclude-from-external-load-balancers", "")]);
        assert_eq!(until_next_lookup(&mut installer, &cluster), [""; 0]);
    }
    assert_eq!(stamp(), before);
}

#[test]
fn several_prefixes_can_be_named_and_a_whole_key_is_one() {
    for (prefixes, expected) in [
        ("topology.kubernetes.io/,rack", json!({ ZONE: "a", "rack": "7", "rack.example.com/row": "" })),
        (" topology.kubernetes.io/zone , ", json!({ ZONE: "a" })),
        ("example", json!({})),
    ] {
        let machine = Machine::new();
        let cluster = Labelled::default();
        cluster.label(&[(ZONE, "a"), ("rack", "7"), ("rack.example.com/row", "")]);
        until_next_lookup(&mut installer(&machine, prefixes), &cluster);
        assert_eq!(machine.installed_defaults()["nodeLabels"], expected, "{prefixes}");
    }
}

#[test]
fn without_a_prefix_or_with_labels_by_hand_nobody_is_asked() {
    let machine = Machine::new();
    let by_hand = json!({ "store": "embedded", "cluster": "c", "NodeLabels": { "rack": "7" } });
    machine.defaults(&by_hand.to_string());
    let mut report = InstallReport::default();
    topology(&machine).reconcile(&AskNobody, &mut report).unwrap();
    assert_eq!(machine.installed_defaults()["NodeLabels"], by_hand["NodeLabels"]);
    assert_eq!(machine.installed_defaults()["nodeLabels"], Value::Null);
    machine.defaults(&json!({ "store": "embedded", "cluster": "c" }).to_string());
    installer(&machine, "").reconcile(&AskNobody, &mut report).unwrap();
    assert_eq!(machine.installed_defaults()["nodeLabels"], Value::Null);
}

#[test]
fn while_the_labels_cannot_be_read_those_on_the_node_stay_and_all_else_is_written() {
    let machine = Machine::new();
    let cluster = Labelled::default();
    cluster.label(&[(ZONE, "a")]);
    until_next_lookup(&mut topology(&machine), &cluster);
    cluster.is_away.set(true);
    fs::remove_file(machine.path("bin/kube-ipam")).unwrap();
    machine.defaults(&json!({ "store": "embedded" }).to_string());
    // A process that has never read them writes them, too.
    let mut restarted = topology(&machine);
    let mut report = InstallReport::default();
    let error = restarted.reconcile(&cluster, &mut report).unwrap_err();
    assert_snapshot!(machine.text(&error), @"nodeLabels of node worker-1 stay as they are: the API server https://api is too busy for this request: slow down");
    assert_eq!(names(&report), ["kube-ipam.json", "kube-ipam"]);
    let installed = machine.installed_defaults();
    assert_eq!((&installed["store"], &installed["nodeLabels"]), (&json!("embedded"), &json!({ ZONE: "a" })));
    assert_eq!(restarted.differences().unwrap(), Vec::<std::path::PathBuf>::new());
    // Until the labels can be read, each pass reports the error, but only a few send a request.
    cluster.asked.take();
    for _ in 1..PASSES_PER_LOOKUP {
        let again = restarted.reconcile(&cluster, &mut InstallReport::default()).unwrap_err();
        assert_eq!(machine.text(&again), machine.text(&error));
    }
    assert_eq!(cluster.asked.take(), [""; 0]);
    cluster.is_away.set(false);
    cluster.label(&[(ZONE, "b")]);
    assert_eq!(until_next_lookup(&mut restarted, &cluster), ["kube-ipam.json"]);
    assert_eq!(machine.installed_defaults()["nodeLabels"], json!({ ZONE: "b" }));
}

#[test]
fn a_new_node_is_installed_without_labels_if_they_cannot_be_read() {
    let machine = Machine::new();
    let cluster = Labelled::default();
    cluster.is_away.set(true);
    let mut report = InstallReport::default();
    topology(&machine).reconcile(&cluster, &mut report).unwrap_err();
    assert_eq!(names(&report), ["kubeconfig", "kube-ipam.json", "kube-ipam"]);
    assert_eq!(machine.installed_defaults()["nodeLabels"], Value::Null);
}

#[test]
fn labels_that_no_defaults_can_have_change_nothing() {
    let machine = Machine::new();
    let cluster = Labelled::default();
    cluster.label(&[(ZONE, "a")]);
    until_next_lookup(&mut topology(&machine), &cluster);
    let too_many = (0..=MAX_LABELS).map(|i| (format!("topology.kubernetes.io/l{i}"), String::new()));
    for (labels, text) in [
        (
            too_many.collect(),
            "nodeLabels of node worker-1 stay as they are: --node-labels selects 257 of its labels, and at most 256 are possible",
        ),
        (
            BTreeMap::from([(ZONE.to_owned(), "a b".to_owned())]),
            "nodeLabels of node worker-1 stay as they are: \"a b\" is not the value of a label",
        ),
    ] {
        *cluster.labels.borrow_mut() = labels;
        let error = topology(&machine).reconcile(&cluster, &mut InstallReport::default()).unwrap_err();
        assert!(machine.text(&error).starts_with(text), "{}", machine.text(&error));
        assert_eq!(machine.installed_defaults()["nodeLabels"], json!({ ZONE: "a" }));
    }
}

#[test]
fn labels_that_somebody_spoilt_on_the_node_are_none() {
    let machine = Machine::new();
    let cluster = Labelled::default();
    cluster.label(&[(ZONE, "a")]);
    until_next_lookup(&mut topology(&machine), &cluster);
    cluster.is_away.set(true);
    for spoilt in [json!({ "nodeLabels": { ZONE: 7 } }), json!({ "nodeLabels": "a" }), json!([])] {
        fs::write(machine.path("config/kube-ipam.json"), spoilt.to_string()).unwrap();
        topology(&machine).reconcile(&cluster, &mut InstallReport::default()).unwrap_err();
        assert_eq!(machine.installed_defaults()["nodeLabels"], Value::Null, "{spoilt}");
    }
}
