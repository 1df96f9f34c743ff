//! What `--fix` corrects, and that it changes nothing that was not confirmed.

use std::fs;

use serde_json::json;

use crate::machine::Machine;

/// A machine with a wrong mode and leftovers of killed processes.
fn untidy() -> Machine {
    let machine = Machine::healthy();
    machine.set_mode("kube-ipam.json", 0o666);
    machine.write(&machine.record("c2"), "");
    machine.set_age(&machine.record("c2"), 5);
    machine.write("bin/.kube-ipam.new", "half a prog");
    machine.set_age("bin/.kube-ipam.new", 5);
    machine
}

#[test]
fn without_a_terminal_nothing_is_changed_unless_yes_confirms_it() {
    let machine = untidy();
    let seen = machine.seen(&["--node", "--fix"]);
    let text = "nothing was changed; to set the mode of /node/kube-ipam.json to 0644, run this again with --yes";
    assert!(seen.contains(text) && seen.ends_with("exit 1"), "{seen}");
    assert_eq!(machine.mode("kube-ipam.json"), 0o666);
    assert!(machine.path("bin/.kube-ipam.new").exists() && machine.path(&machine.record("c2")).exists());
}

#[test]
fn what_was_confirmed_is_corrected_and_counts_no_more() {
    let machine = untidy();
    assert_eq!(machine.faults().iter().filter(|fault| !fault.fix.is_empty()).count(), 3);
    let seen = machine.seen(&["--node", "--fix", "--yes", "--deny", "warnings"]);
    assert!(seen.contains("/node/kube-ipam.json has mode 0644 now") && seen.ends_with("exit 0"), "{seen}");
    assert_eq!(machine.mode("kube-ipam.json"), 0o644);
    assert!(!machine.path("bin/.kube-ipam.new").exists() && !machine.path(&machine.record("c2")).exists());
    assert!(machine.faults().is_empty(), "{:#?}", machine.faults());
}

#[test]
fn deferred_releases_are_performed_and_running_containers_keep_their_addresses() {
    let machine = Machine::healthy();
    machine.network().add("c2").ok();
    fs::rename(machine.path("addresses"), machine.path("away")).unwrap();
    machine.write("addresses", "not a folder");
    machine.network().del("c2").ok();
    // The store is still away: the release stays deferred, and its error is shown.
    let seen = machine.seen(&["--node", "--fix", "--yes", "--deny", "warnings"]);
    assert!(seen.contains("SQLite in /node/addresses") && seen.ends_with("exit 1"), "{seen}");
    fs::remove_file(machine.path("addresses")).unwrap();
    fs::rename(machine.path("away"), machine.path("addresses")).unwrap();
    let seen = machine.seen(&["--node", "--fix", "--yes", "--deny", "warnings"]);
    assert!(seen.contains("this node's deferred releases are done") && seen.ends_with("exit 0"), "{seen}");
    let held: Vec<String> = machine.node.held().into_iter().map(|(_, holder)| holder).collect();
    assert_eq!(held, ["c1/eth0"]);
}

#[test]
fn a_link_is_not_followed_to_set_a_mode() {
    let machine = Machine::healthy();
    let secret = json!({ "current-context": "c" }).to_string();
    machine.write("elsewhere/kubeconfig", &secret);
    machine.set_mode("elsewhere/kubeconfig", 0o644);
    std::os::unix::fs::symlink(machine.path("elsewhere/kubeconfig"), machine.path("kubeconfig")).unwrap();
    let faults = machine.faults();
    let fixes: Vec<&str> =
        faults.iter().filter(|fault| !fault.fix.is_empty()).map(|fault| fault.fix.as_str()).collect();
    assert_eq!(fixes, ["set the mode of /node/elsewhere/kubeconfig to 0600"], "the file that has the mode is shown");
}
