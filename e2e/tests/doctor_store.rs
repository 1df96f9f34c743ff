//! `kube-ipam doctor` on real stores: healthy ones pass every check, and each planted fault is named with its next step.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test's verdict is a panic")]

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use kube_ipam::deadline::Deadline;
use kube_ipam::ipam::keys;
use kube_ipam::ipam::lease::{self, Lease, Stored};
use kube_ipam::ipam::name::Name;
use kube_ipam::ops::Session;
use kube_ipam::store::{EtcdConfig, Key, Op, Txn};
use kube_ipam_e2e::diagnosis::{Diagnosis, paste};
use kube_ipam_e2e::etcd::{self, Cluster};
use kube_ipam_e2e::machines::{Machines, on_each_store, on_stores_without_api_server};
use kube_ipam_e2e::node::{Node, Plugin};
use kube_ipam_e2e::operator::printed;
use kube_ipam_e2e::wait_until;
use serde_json::json;

const PATIENCE: Duration = Duration::from_secs(60);

fn embedded() -> Node {
    Node::new(Plugin::kube_ipam())
}

fn add(node: &Node, container: &str) -> String {
    let reply = node.network(json!({ "subnet": "10.1.0.0/29", "cooldown": "0s" })).add(container).ok();
    let address = reply.document["ips"][0]["address"].as_str().unwrap();
    address.split('/').next().unwrap().to_owned()
}

fn write(node: &Node, ops: Vec<Op>) {
    let session = Session::open(node.store(), None).unwrap();
    session.commit(&Txn::new(Vec::new(), ops, Vec::new()).unwrap(), Deadline::after(PATIENCE)).unwrap();
}

fn key_of(ip: &str) -> Key {
    keys::lease(&Name::new("default").unwrap(), ip.parse().unwrap())
}

/// Changes the lease of an address.
fn change(node: &Node, ip: &str, change: impl FnOnce(&mut Lease)) {
    let session = Session::open(node.store(), None).unwrap();
    let entry = session.get(key_of(ip), Deadline::after(PATIENCE)).unwrap().unwrap();
    let mut lease = Stored::<Lease>::read(&entry.value).known().unwrap();
    change(&mut lease);
    write(node, vec![Op::Put(key_of(ip), lease::write(&lease))]);
}

/// The faults, without those that every etcd without TLS and users has, and without that of a kubeconfig that may do
/// everything.
fn faults(node: &Node) -> Vec<String> {
    let mut faults = Diagnosis::of(node, &[]).faults();
    faults.retain(|fault| !fault.starts_with("etcd-tls ") && !fault.starts_with("etcd-rights "));
    faults.retain(|fault| !fault.starts_with("api-rights "));
    faults
}

#[track_caller]
fn assert_fault(node: &Node, expected: &str) {
    let faults = faults(node);
    assert!(faults.iter().any(|fault| fault.starts_with(expected)), "{expected}: {faults:#?}");
}

#[test]
fn a_healthy_etcd_with_tls_and_a_user_passes_every_check() {
    if !etcd::installed_or_skip("a_healthy_etcd_with_tls_and_a_user_passes_every_check") {
        return;
    }
    let cluster = Cluster::secure(3).unwrap();
    let node = Node::on_etcd(&cluster.config());
    add(&node, "c1");
    let diagnosis = Diagnosis::of(&node, &[]);
    assert_eq!(diagnosis.faults(), [""; 0]);
    let lines = diagnosis.lines();
    let of = |check: &str| lines.iter().filter(|line| line.starts_with(&format!("{check} ok: "))).count();
    assert_eq!((of("etcd-members"), of("etcd-space"), of("etcd-latency"), of("etcd-certificates")), (3, 3, 3, 3));
    for check in [
        "etcd-alarms",
        "etcd-versions",
        "etcd-compaction",
        "etcd-tls",
        "store-entries",
        "store-times",
        "ranges",
        "recovery",
        "records-in-store",
    ] {
        assert_eq!(of(check), 1, "{check}: {lines:#?}");
    }
    assert_eq!(diagnosis.line("etcd-rights"), "etcd-rights ok: user kube-ipam can read and write /kube-ipam/v1/ alone");
    assert!(
        lines.iter().any(|line| line.ends_with(", leader")) && lines.iter().any(|line| line.ends_with(", follower"))
    );
}

#[test]
fn a_healthy_embedded_store_passes_every_check() {
    let node = embedded();
    add(&node, "c1");
    let diagnosis = Diagnosis::of(&node, &[]);
    assert_eq!(diagnosis.faults(), [""; 0]);
    for check in
        ["sqlite-file", "sqlite-integrity", "sqlite-journal", "sqlite-place", "store-entries", "records-in-store"]
    {
        assert!(diagnosis.line(check).starts_with(&format!("{check} ok: ")), "{:#?}", diagnosis.lines());
    }
}

#[test]
fn a_node_without_a_store_yet_creates_none() {
    let node = embedded();
    assert_eq!(Diagnosis::of(&node, &[]).faults(), [""; 0]);
    assert!(!node.path("addresses").exists() && !node.path("records").exists());
}

#[test]
fn an_etcd_without_tls_and_users_is_a_warning_of_each() {
    let Some(machines) = Machines::etcd("an_etcd_without_tls_and_users_is_a_warning_of_each") else { return };
    let diagnosis = Diagnosis::of(&machines.node(), &[]);
    let of_tls = diagnosis.all_lines().into_iter().filter(|line| line.contains("without TLS"));
    assert_eq!(of_tls.count(), 1, "one fact, one finding: {:#?}", diagnosis.all_lines());
    assert!(diagnosis.line("etcd-tls").starts_with("etcd-tls warning: without TLS, anyone on the network path"));
    assert!(diagnosis.line("etcd-rights").starts_with("etcd-rights warning: etcd has no users"));
}

#[test]
fn a_full_etcd_is_named_and_the_commands_make_room_as_pasted() {
    if !etcd::installed_or_skip("a_full_etcd_is_named_and_the_commands_make_room_as_pasted") {
        return;
    }
    let cluster = Cluster::plain_with(1, &["--quota-backend-bytes", "200000"]).unwrap();
    let node = Node::on_etcd(&cluster.config());
    let value = "x".repeat(20_000);
    assert!((0..100).any(|_| cluster.etcdctl(&["put", "somebody-else", &value]).is_err()));
    let diagnosis = Diagnosis::of(&node, &[]);
    assert!(diagnosis.line("etcd-alarms").starts_with("etcd-alarms error: alarm NOSPACE"));
    let commands = diagnosis.commands("etcd-alarms");
    assert_eq!(commands.len(), 3, "{commands:?}");
    commands.iter().for_each(|command| drop(paste(command)));
    assert!(Diagnosis::of(&node, &[]).line("etcd-alarms").starts_with("etcd-alarms ok: "));
    add(&node, "c1");
}

#[test]
fn members_that_are_down_or_silent_are_named_one_by_one() {
    if !etcd::installed_or_skip("members_that_are_down_or_silent_are_named_one_by_one") {
        return;
    }
    let mut cluster = Cluster::plain(3).unwrap();
    let (node, urls) = (Node::on_etcd(&cluster.config()), cluster.urls());
    add(&node, "c1");
    cluster.kill(1).unwrap();
    // If it was the leader, the others elect one first.
    let mut down = Vec::new();
    wait_until("the others have a leader", || {
        down = faults(&node);
        down.len() == 1
    });
    assert!(down[0].starts_with(&format!("etcd-members error: {}: it can't be used: ", urls[1])), "{down:#?}");
    assert!(down[0].ends_with("calls use the other members (2 of 3 answer)"), "{down:#?}");
    // Without most of the members, the last one answers but can't serve.
    cluster.stop(2).unwrap();
    let silent = faults(&node);
    assert!(
        silent
            .iter()
            .any(|fault| fault
                .starts_with(&format!("etcd-members error: {}: it can't be used: no answer in time", urls[2]))),
        "{silent:#?}"
    );
    assert!(silent.iter().any(|fault| fault.starts_with(&format!("etcd-members error: {}: ", urls[0]))), "{silent:#?}");
}

#[test]
fn a_learner_and_a_member_of_another_cluster_are_told_apart() {
    if !etcd::installed_or_skip("a_learner_and_a_member_of_another_cluster_are_told_apart") {
        return;
    }
    let mut cluster = Cluster::plain(1).unwrap();
    cluster.add_learner().unwrap();
    let learner = Node::on_etcd(&cluster.config());
    assert_fault(&learner, &format!("etcd-members warning: {}: etcd 3.", cluster.urls()[1]));
    assert!(faults(&learner)[0].ends_with("it is a learner, which serves no transaction"));
    let stranger = Cluster::plain(1).unwrap();
    let urls = vec![cluster.urls()[0].clone(), stranger.urls()[0].clone()];
    let mixed = Node::on_etcd(&EtcdConfig { urls, ..cluster.config() });
    let found = format!("etcd-members error: {}: it belongs to another etcd cluster", stranger.urls()[0]);
    assert_fault(&mixed, &found);
}

#[test]
fn rights_that_are_too_wide_or_too_narrow_are_named() {
    if !etcd::installed_or_skip("rights_that_are_too_wide_or_too_narrow_are_named") {
        return;
    }
    let cluster = Cluster::secure(1).unwrap();
    let node = Node::on_etcd(&cluster.config());
    cluster.etcdctl(&["role", "grant-permission", "ipam", "read", "/registry/", "/registry0"]).unwrap();
    let wide = Diagnosis::of(&node, &[]);
    assert_eq!(
        wide.faults(),
        [
            "etcd-rights warning: role ipam of user kube-ipam permits more than the prefix /kube-ipam/v1/: keys from /registry/ to /registry0"
        ]
    );
    // The command asks for root's password, which a shell without a terminal can't answer.
    let revoke = wide.commands("etcd-rights").remove(0);
    paste(&revoke.replace("--user=root", "--user=root:root"));
    assert_eq!(Diagnosis::of(&node, &[]).faults(), [""; 0]);

    cluster.etcdctl(&["role", "revoke-permission", "ipam", etcd::PREFIX, "/kube-ipam/v10"]).unwrap();
    cluster.etcdctl(&["role", "grant-permission", "ipam", "read", etcd::PREFIX, "/kube-ipam/v10"]).unwrap();
    let narrow = Diagnosis::of(&node, &[]);
    assert_eq!(narrow.faults(), ["etcd-rights error: user kube-ipam can't write all keys below /kube-ipam/v1/"]);
    paste(&narrow.commands("etcd-rights")[0].replace("--user=root", "--user=root:root"));
    assert_eq!(Diagnosis::of(&node, &[]).faults(), [""; 0]);

    fs::write(cluster.password_file(), "root\n").unwrap();
    let root = Node::on_etcd(&EtcdConfig { username: Some("root".to_owned()), ..cluster.config() });
    let line = Diagnosis::of(&root, &[]).line("etcd-rights");
    assert!(line.starts_with("etcd-rights warning: user root has the role root"), "{line}");
}

#[test]
fn a_certificate_that_expires_soon_is_named_with_its_member() {
    if !etcd::installed_or_skip("a_certificate_that_expires_soon_is_named_with_its_member") {
        return;
    }
    let cluster = Cluster::encrypted_for(1, 10).unwrap();
    let node = Node::on_etcd(&cluster.config());
    let diagnosis = Diagnosis::of(&node, &[]);
    let line = diagnosis.line("etcd-certificates");
    let expected = format!("etcd-certificates warning: {}: its certificate expires in 9d", cluster.urls()[0]);
    assert!(line.starts_with(&expected), "{line}");
    assert!(paste(&diagnosis.commands("etcd-certificates")[0]).contains("notAfter="));
}

#[test]
fn entries_that_cannot_be_read_are_named_with_their_keys() {
    on_each_store("entries_that_cannot_be_read_are_named_with_their_keys", |node| {
        let ip = add(node, "c1");
        write(node, vec![Op::Put(Key::new("at/node-9/c9/eth0/blue"), br#"{"v":99}"#.to_vec())]);
        assert_fault(node, "store-entries warning: ");
        assert!(faults(node)[0].contains("at/node-9/c9/eth0/blue (version 99)"));
        write(node, vec![Op::Put(key_of(&ip), b"\x1b[2J".to_vec())]);
        let diagnosis = Diagnosis::of(node, &[]);
        let line = diagnosis.line("store-entries");
        assert!(line.starts_with("store-entries error: ") && line.contains(key_of(&ip).as_str()), "{line}");
        assert!(!line.contains('\u{1b}'), "{line:?}");
    });
}

#[test]
fn times_ahead_of_the_clock_are_a_warning() {
    on_each_store("times_ahead_of_the_clock_are_a_warning", |node| {
        let ip = add(node, "c1");
        change(node, &ip, |lease| lease.since = Timestamp::now() + SignedDuration::from_hours(2));
        assert_fault(node, "store-times warning: ");
        assert!(faults(node)[0].contains("the latest by 1h 59m, of a holder on node node-1"), "{:#?}", faults(node));
    });
}

#[test]
fn a_range_is_named_when_it_is_full() {
    on_each_store("a_range_is_named_when_it_is_full", |node| {
        (0..4).for_each(|n| drop(add(node, &format!("c{n}"))));
        assert_eq!(faults(node), [""; 0]);
        add(node, "c4");
        assert_fault(node, "ranges error: blue 10.1.0.0/29 dynamic: 0 of 5 addresses are free: 5 held or reserved");
        let commands = Diagnosis::of(node, &[]).commands("ranges");
        assert!(commands[0].starts_with("kube-ipam usage --network blue --store "), "{commands:?}");
        assert!(commands[1].starts_with("kube-ipam sweep --dry-run --store "), "{commands:?}");
    });
}

#[test]
fn a_recovery_in_progress_is_named_with_the_nodes_that_are_missing() {
    on_each_store("a_recovery_in_progress_is_named_with_the_nodes_that_are_missing", |node| {
        add(node, "c1");
        printed(node, &["recovery", "--begin"]);
        assert_fault(node, "recovery warning: ");
        assert!(faults(node)[0].contains("the operator: the operator has restored a backup"), "{:#?}", faults(node));
        printed(node, &["recovery", "--end"]);
        assert_eq!(faults(node), [""; 0]);
    });
}

#[test]
fn an_attachment_that_the_store_has_lost_is_an_error_and_nothing_is_repaired() {
    on_each_store("an_attachment_that_the_store_has_lost_is_an_error_and_nothing_is_repaired", |node| {
        let ip = add(node, "c1");
        let attachment = Key::new("at/node-1/c1/eth0/blue");
        write(node, vec![Op::Delete(key_of(&ip)), Op::Delete(attachment)]);
        let before = node.records();
        assert_fault(node, "records-in-store error: node node-1: the store has lost writes: ");
        assert_eq!((node.held(), node.records()), (vec![], before));
        // No recovery was begun.
        assert!(Diagnosis::of(node, &[]).line("recovery").starts_with("recovery ok: "));
    });
}

#[test]
fn an_attachment_whose_lease_was_deleted_is_named_and_its_address_can_be_kept_from_others() {
    let test = "an_attachment_whose_lease_was_deleted_is_named_and_its_address_can_be_kept_from_others";
    on_stores_without_api_server(test, |node| {
        let ip = add(node, "c1");
        write(node, vec![Op::Delete(key_of(&ip))]);
        let whose = "container c1, interface eth0, node node-1, network blue";
        assert_fault(
            node,
            &format!("attachments error: {ip}: {whose} has it, and it has no lease: another pod may get it"),
        );
        let commands = Diagnosis::of(node, &[]).commands("attachments");
        assert!(
            commands[0].starts_with(&format!("kube-ipam reserve {ip} --reason 'its lease was lost' --")),
            "{commands:?}"
        );
        printed(node, &["reserve", &ip, "--reason", "its lease was lost", "--yes"]);
        assert_fault(node, &format!("attachments error: {ip}: {whose} has it, and it is not in use by its lease"));
        node.network(json!({ "subnet": "10.1.0.0/29", "cooldown": "0s" })).del("c1").ok();
        printed(node, &["release", &ip, "--yes"]);
        assert_eq!(faults(node), [""; 0]);
    });
}

#[test]
fn a_damaged_database_is_an_error() {
    let node = embedded();
    (0..5).for_each(|n| drop(add(&node, &format!("c{n}"))));
    let database = node.path("addresses/kube-ipam.sqlite3");
    let file = OpenOptions::new().write(true).open(&database).unwrap();
    // The first page of the table, behind that of the schema.
    file.write_all_at(&[0xff; 4096], 4096).unwrap();
    assert_fault(&node, "sqlite-integrity error: ");
    fs::write(&database, "no database").unwrap();
    assert_fault(&node, "sqlite-file error: ");
}
