//! `kube-ipam doctor` by the real binary: a healthy machine, and planted faults, each with its next step.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test's verdict is a panic")]

mod document;
mod faults;
mod fixes;
mod machine;
mod plants;
mod terminal;

use std::collections::BTreeSet;
use std::fs;

use kube_ipam::ops::operator::doctor::{Area, CHECKS};
use kube_ipam_e2e::checkout::root;
use serde_json::{Value, json};

use self::machine::Machine;

#[test]
fn a_healthy_machine_is_all_ok() {
    let machine = Machine::healthy();
    let output = machine.run(&["--node", "--deny", "warnings"]);
    let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    assert!(output.status.success(), "{text}");
    let filters = vec![(r"\d+(\.\d)? [KMGT]iB|\d+ bytes", "<size>"), (r"it is \S+,", "it is <time>,")];
    insta::with_settings!({filters => filters}, {
        insta::assert_snapshot!(machine.shortened(&text), @r#"
        ok       node-defaults: /node/kube-ipam.json is valid; blocks may not set dataDir, etcdConfig, kubeConfig, kubernetesConfig, log, resolvConf, store
        ok       file-modes: nobody but root can change 6 files and folders, or read their secrets
        ok       program: /node/bin/kube-ipam is this program, 0.3.0
        skipped  kubeconfig: there is no kubeconfig at /node/kubeconfig or /etc/kubernetes/pki/kubectl.kubeconfig, and no network of this node reads pods
        skipped  cluster-identity: there is no kubeconfig, so no pod of a cluster is expected
        skipped  store-credentials: the embedded store needs no credentials
        ok       network-configs: an ADD to network "blue" in /node/net.d/10-blue.conflist is served from 10.1.0.0/24
        ok       host-local: its folders have no address of 1 network
        ok       records: 1 record in /node/records/node-1 can be read
        ok       record-containers: 1 record is of containers that may run
        ok       record-stores: all records have their addresses in SQLite in /node/addresses
        ok       deferred-releases: no release of this node is deferred
        ok       leftovers: no killed process has left a file behind
        ok       event-limit: 20 more events on pods may be published now
        ok       log: the log /node/kube-ipam.log has <size> and can be written
        ok       disk-space: the disk of /node/records/node-1, /node/addresses, /node has <size> left
        ok       clock: it is <time>, and no record is from the future
        skipped  installed-defaults: ConfigMap kube-ipam/kube-ipam: there is no kubeconfig, so no API server can be asked for it
        ok       recovery: SQLite in /node/addresses: none is in progress
        ok       records-in-store: node node-1: the store has what 1 record of this node say

        20 results: 16 ok, 4 skipped.
        "#);
    });
}

#[test]
fn a_person_reads_what_is_wrong_and_the_next_step_below_it() {
    let machine = Machine::healthy();
    machine.set_mode("kube-ipam.json", 0o666);
    machine.configure(&json!({ "rangestat": "10.1.0.9" }));
    let seen = machine.seen(&["--node"]);
    let wrong: Vec<&str> =
        seen.lines().filter(|line| !line.starts_with("ok") && !line.starts_with("skipped")).collect();
    insta::assert_snapshot!(wrong.join("\n"), @r#"
    error    file-modes: /node/kube-ipam.json has mode 0666, so others than root can change what kube-ipam does as root
             next: take these rights away
                   chmod 0644 /node/kube-ipam.json
    error    network-configs: an ADD to network "blue" in /node/net.d/10-blue.conflist fails: ipam.rangestat: unknown key; did you mean rangeStart?
             next: correct the key that the text names; plan marks it in the file
                   kube-ipam plan -f /node/net.d/10-blue.conflist --config /node/kube-ipam.json

    21 results: 15 ok, 4 skipped, 2 errors. Some of it can be corrected with --fix.
    kube-ipam: 2 errors
    exit 1
    "#);
}

#[test]
fn the_exit_status_is_that_of_the_worst_result() {
    let machine = Machine::healthy();
    let status = |args: &[&str]| machine.run(args).status.code();
    assert_eq!((status(&["--node"]), status(&["--node", "--deny", "warnings"])), (Some(0), Some(0)));
    machine.set_mode("records/node-1", 0o755);
    assert_eq!((status(&["--node"]), status(&["--node", "--deny", "warnings"])), (Some(0), Some(1)));
    machine.set_mode("kube-ipam.json", 0o666);
    assert_eq!(status(&["--node"]), Some(1));
    assert_eq!(status(&["--yes"]), Some(2), "--yes confirms what --fix proposes");
}

#[test]
fn every_check_with_an_object_reports_something() {
    let machine = Machine::healthy();
    let names = |results: &[Value]| -> BTreeSet<String> {
        results.iter().map(|result| result["check"].as_str().unwrap().to_owned()).collect()
    };
    let of = |areas: &[Area]| -> BTreeSet<String> {
        CHECKS.iter().filter(|check| areas.contains(&check.area)).map(|check| check.name.to_owned()).collect()
    };
    // An embedded store is a file of the node, so what it says of a recovery is known there.
    let mut of_node = of(&[Area::Node]);
    of_node.extend(["recovery", "records-in-store"].map(str::to_owned));
    assert_eq!(names(&machine.results(&["--node"])), of_node);
    // This machine has an embedded store, and no kubeconfig.
    let mut expected = of(&[Area::Node, Area::Store]);
    expected.retain(|name| !["etcd-", "kubernetes-"].iter().any(|other| name.starts_with(other)));
    expected.insert("api-server".to_owned());
    assert_eq!(names(&machine.results(&[])), expected);
}

#[test]
fn on_a_machine_that_is_no_node_only_the_store_and_the_cluster_are_checked() {
    let machine = Machine::healthy();
    let store = machine.path("addresses").display().to_string();
    fs::remove_file(machine.path("kube-ipam.json")).unwrap();
    fs::remove_dir_all(machine.path("bin")).unwrap();
    let results = machine.results(&["--data-dir", &store]);
    let of_node: Vec<&Value> = results.iter().filter(|result| result["area"] == "node").collect();
    let [skipped] = of_node.as_slice() else { panic!("{results:#?}") };
    assert_eq!(skipped["status"], "skipped");
    let message = machine.shortened(skipped["message"].as_str().unwrap());
    assert!(message.starts_with("this machine is no node of kube-ipam: it has no node defaults at"), "{message}");
    assert!(
        results.iter().any(|result| result["check"] == "store-response" && result["status"] == "ok"),
        "{results:#?}"
    );
    let of_records = results.iter().find(|result| result["check"] == "records-in-store").unwrap();
    assert_eq!(of_records["status"], "skipped", "{of_records}");
    let nowhere = machine.path("nowhere").display().to_string();
    let without = machine.results(&["--data-dir", &nowhere]);
    let store = without.iter().find(|result| result["check"] == "store-response").unwrap();
    assert_eq!(store["status"], "skipped", "{store}");
    assert!(store["remedy"]["text"].as_str().unwrap().contains("--store"), "{store}");
}

#[test]
fn what_is_wrong_always_has_a_next_step() {
    let machine = Machine::healthy();
    fs::write(machine.path("kube-ipam.json"), "{").unwrap();
    fs::remove_dir_all(machine.path("bin")).unwrap();
    fs::remove_dir_all(machine.path("net.d")).unwrap();
    for fault in machine.faults() {
        assert!(!fault.message.is_empty() && !fault.next.is_empty(), "{fault:?}");
    }
}

#[test]
fn the_reference_lists_all_checks_in_their_order() {
    let page = fs::read_to_string(root().join("docs/reference-cli.md")).unwrap();
    let section = page.split("\n## doctor\n").nth(1).unwrap().split("\n## ").next().unwrap();
    let rows = section.split("\n| check | area |").nth(1).unwrap().lines().skip(2);
    let rows = rows.take_while(|line| line.starts_with('|'));
    let listed: Vec<(String, String)> = rows
        .map(|row| {
            let mut cells = row.split('|').map(|cell| cell.trim().trim_matches('`').to_owned()).skip(1);
            (cells.next().unwrap(), cells.next().unwrap())
        })
        .collect();
    let checks = CHECKS.iter().map(|check| (check.name.to_owned(), check.area.word().to_owned()));
    assert_eq!(listed, checks.collect::<Vec<_>>(), "the table in docs/reference-cli.md and CHECKS are to say the same");
}
