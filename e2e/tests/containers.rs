//! Containers without Kubernetes, as podman starts them: their node alone knows when they are gone (invariant 4).
#![allow(clippy::unwrap_used, reason = "a test's verdict is a panic")]

use std::fs::{self, File};
use std::path::PathBuf;

use kube_ipam_e2e::cni::{Call, Reply};
use kube_ipam_e2e::machines;
use kube_ipam_e2e::node::{Network, Node};
use serde_json::json;

/// What podman says of a container, and of `--ip`.
const RANDOM: &str = "IgnoreUnknown=1;K8S_POD_NAME=x";
const FIXED: &str = "IgnoreUnknown=1;K8S_POD_NAME=x;IP=10.1.0.5";

fn on_each_store(test: &str, case: impl Fn(&Host<'_>)) {
    machines::on_each_store(test, |node| case(&Host(node)));
}

/// A node with podman.
struct Host<'node>(&'node Node);

impl Host<'_> {
    /// A network of three addresses.
    fn network(&self) -> Network<'_> {
        self.0.network(json!({ "subnet": "10.1.0.0/24", "rangeStart": "10.1.0.5", "rangeEnd": "10.1.0.7" }))
    }

    fn netns(&self, container: &str) -> PathBuf {
        self.0.path("netns").join(container)
    }

    /// A call for a container with a namespace of its own, in the boot with this id.
    fn call(&self, verb: &str, container: &str, boot: &str) -> Call {
        let netns = self.netns(container);
        fs::create_dir_all(self.0.path("netns")).unwrap();
        if verb == "ADD" {
            File::create(&netns).unwrap();
        }
        let boot_id = self.0.path(boot);
        fs::write(&boot_id, format!("{boot}\n")).unwrap();
        self.network().call(verb, container).netns(&netns).env("KUBE_IPAM_BOOT_ID_FILE", boot_id)
    }

    fn add(&self, container: &str, args: &str, boot: &str) -> Reply {
        self.call("ADD", container, boot).args(args).run()
    }

    /// A container whose namespace went with it, and of which no DEL came.
    fn dies(&self, container: &str) {
        fs::remove_file(self.netns(container)).unwrap();
    }

    fn holders(&self) -> Vec<String> {
        let mut holders: Vec<String> = self.0.held().into_iter().map(|(_, holder)| holder).collect();
        holders.sort();
        holders.iter().map(|holder| holder.trim_end_matches("/eth0").to_owned()).collect()
    }
}

#[test]
fn a_fixed_address_passes_from_a_container_that_died_with_its_host() {
    // Edge case 43.
    on_each_store("a_fixed_address_passes_from_a_container_that_died_with_its_host", |host| {
        host.add("old", FIXED, "boot-1").ok();
        assert_eq!(host.add("new", FIXED, "boot-2").address(), "10.1.0.5/24");
        assert_eq!(host.holders(), ["new"]);
        assert!(host.0.log().contains("this node has rebooted"), "{}", host.0.log());
        // It is started again after all: its own address is gone, and its DEL frees nothing of the other one.
        let refused = host.add("old", FIXED, "boot-2").refused();
        assert_eq!(refused.code(), 11);
        host.call("DEL", "old", "boot-2").run().ok();
        assert_eq!(host.holders(), ["new"]);
        host.call("DEL", "new", "boot-2").run().ok();
        assert_eq!((host.0.held(), host.0.records()), (vec![], vec![]));
    });
}

#[test]
fn a_fixed_address_passes_from_a_container_whose_namespace_is_gone_and_from_no_other() {
    let test = "a_fixed_address_passes_from_a_container_whose_namespace_is_gone_and_from_no_other";
    on_each_store(test, |host| {
        host.add("old", FIXED, "boot").ok();
        let refused = host.add("new", FIXED, "boot").refused();
        assert!(refused.code() == 11 && refused.text().contains("may still exist on this node"), "{}", refused.text());
        host.dies("old");
        assert_eq!(host.add("new", FIXED, "boot").address(), "10.1.0.5/24");
        assert_eq!(host.holders(), ["new"]);
    });
}

#[test]
fn a_container_that_was_started_again_after_a_boot_keeps_its_address() {
    on_each_store("a_container_that_was_started_again_after_a_boot_keeps_its_address", |host| {
        host.add("old", FIXED, "boot-1").ok();
        // The store has not changed: only the record knows of the new boot.
        host.add("old", FIXED, "boot-2").ok();
        assert_eq!(host.add("new", FIXED, "boot-2").refused().code(), 11);
        for container in ["r1", "r2"] {
            host.add(container, RANDOM, "boot-1").ok();
            host.add(container, RANDOM, "boot-2").ok();
        }
        assert_eq!(host.add("r3", RANDOM, "boot-2").refused().code(), 11);
        assert_eq!(host.holders(), ["old", "r1", "r2"]);
    });
}

#[test]
fn another_node_s_container_and_one_without_a_record_keep_what_they_have() {
    on_each_store("another_node_s_container_and_one_without_a_record_keep_what_they_have", |host| {
        host.0.set_defaults(&json!({ "nodeName": "node-2" }));
        host.add("old", FIXED, "boot-1").ok();
        host.dies("old");
        host.0.set_defaults(&json!({}));
        host.add("new", FIXED, "boot-2").refused();
        // The same by the name that the node had.
        host.0.set_defaults(&json!({ "formerNodeNames": ["node-2"] }));
        fs::rename(host.0.path("records/node-2"), host.0.path("records/aside")).unwrap();
        let refused = host.add("new", FIXED, "boot-2").refused();
        assert!(refused.text().contains("no record"), "{}", refused.text());
        fs::rename(host.0.path("records/aside"), host.0.path("records/node-2")).unwrap();
        host.add("new", FIXED, "boot-2").ok();
        assert_eq!(host.holders(), ["new"]);
    });
}

#[test]
fn a_full_range_assigns_random_addresses_of_dead_containers_of_its_node() {
    on_each_store("a_full_range_assigns_random_addresses_of_dead_containers_of_its_node", |host| {
        host.add("fixed", FIXED, "boot-1").ok();
        host.add("dead", RANDOM, "boot-1").ok();
        host.add("alive", RANDOM, "boot-2").ok();
        host.add("new", RANDOM, "boot-2").ok();
        assert_eq!(host.holders(), ["alive", "fixed", "new"]);
        // What was requested stays for who comes back, and what lives stays anyway.
        assert_eq!(host.add("newer", RANDOM, "boot-2").refused().code(), 11);
        host.dies("new");
        host.add("newer", RANDOM, "boot-2").ok();
        assert_eq!(host.holders(), ["alive", "fixed", "newer"]);
    });
}

#[test]
fn a_pod_keeps_its_random_address_in_a_full_range_though_its_namespace_is_gone() {
    // Its sandbox is recreated, or the API server reports it gone.
    let pod = "K8S_POD_NAMESPACE=web;K8S_POD_NAME=web-1;K8S_POD_UID=0b4f6a52-3c1d-4b8e-9a53-0f6d8c1f1a11";
    on_each_store("a_pod_keeps_its_random_address_in_a_full_range_though_its_namespace_is_gone", |host| {
        for container in ["c1", "c2", "c3"] {
            host.add(container, &pod.replace("web-1", container), "boot").ok();
            host.dies(container);
        }
        host.add("new", RANDOM, "boot").refused();
        assert_eq!(host.holders(), ["c1", "c2", "c3"]);
    });
}
