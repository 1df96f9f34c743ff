//! What the Go kube-ipam 0.2.0 got wrong: each defect is a test, here or where it belongs anyway.
//!
//! | # | the defect | the test |
//! |---|---|---|
//! | 1 | a fixed address is never reserved, checked or released | protocol: `a_requested_address_that_is_held_is_refused`, `a_requested_address_outside_every_subnet_is_refused_and_nothing_is_held`; interfaces: `a_rebuilt_pod_has_its_fixed_address_again` |
//! | 2 | an odd netmask panics | here, as far as a request has a prefix length |
//! | 3 | IPv4 only; a bad address becomes none | protocol: `dual_stack_gives_one_address_of_each_family`, `a_requested_address_that_is_none_is_refused` |
//! | 4 | errors of the API end in a random address | annotations: `a_pod_that_can_t_be_looked_up_is_refused_and_never_gets_a_random_address`; kubernetes: an outage of the API server |
//! | 5 | one annotation for all interfaces of a pod | kubernetes: one annotation serves one interface; the tables of `ipam::request` |
//! | 6 | reserving is get, then put | protocol: `of_simultaneous_requests_for_one_address_one_is_met`; here, in etcd |
//! | 7 | errors of the lock are ignored, and anyone's lease is revoked | here: there is no lock |
//! | 8 | one request per candidate, under a lock | here |
//! | 9 | the DEL of net2 frees net1 | protocol: `a_del_of_one_interface_does_not_free_another_s` |
//! | 10 | a repeated ADD leaks a second address | protocol: `a_repeated_add_gets_the_same_addresses` |
//! | 11 | panics when etcd fails, in DEL too | outage: `an_add_with_every_member_down_names_them_all_within_its_deadline`; record: `a_del_whose_store_is_down_is_deferred_to_a_later_call` |
//! | 12 | no deadlines | outage: `an_add_with_every_member_silent_names_them_all_within_its_deadline` |
//! | 13 | the config's key is written anew by every call | here |
//! | 14 | CHECK checks nothing | protocol: `a_check_fails_after_the_del`, `a_check_fails_for_an_address_that_is_another_container_s` |
//! | 15 | DEL fails on a bad config | record: `a_del_needs_nothing_of_its_config_but_the_name` |
//! | 16 | `IP=a/24` or `a,b` breaks ADD and DEL | here |
//! | 17 | host bits are not checked | protocol: `mistakes_in_the_ranges_are_an_invalid_config` |
//! | 18 | fixedStart, fixedEnd, and kubeConfig in etcdConfig are in the README only | protocol: `addresses_of_the_fixed_window_are_given_on_request_only`; here |
//! | 19 | the log is overwritten, goes to stdout, and holds environments | protocol: `the_log_has_a_line_of_every_call_and_nothing_of_the_environment`, `a_log_that_can_t_be_written_changes_no_reply` |
//! | 20 | any pod's author can take any address, the gateway's too | the tables of `ipam::request`; kubernetes: mistakes in annotations |
//! | 21 | CNI up to 0.4.0 only | protocol: `a_result_in_1_0_0_leaves_the_family_out`, `a_result_in_1_1_0_is_as_in_1_0_0` |
//! | 22 | `-outputconf` prints invalid JSON | here |
#![allow(clippy::unwrap_used, reason = "a test's verdict is a panic")]

use std::collections::BTreeMap;
use std::process::Command;

use kube_ipam_e2e::binary::kube_ipam;
use kube_ipam_e2e::cni::{Reply, at_once};
use kube_ipam_e2e::etcd::{self, Cluster};
use kube_ipam_e2e::node::{Node, Plugin};
use serde_json::{Value, json};

/// One etcd and a machine on it; `None` where there is none.
fn on_etcd(test: &str) -> Option<(Cluster, Node)> {
    etcd::installed_or_skip(test).then(|| {
        let cluster = Cluster::plain(1).unwrap();
        let node = Node::on_etcd(&cluster.config());
        (cluster, node)
    })
}

/// The keys in etcd with their versions: how often each was written.
fn versions(cluster: &Cluster) -> BTreeMap<String, u64> {
    let printed = cluster.etcdctl(&["get", "", "--from-key", "-w", "json"]).unwrap();
    let printed: Value = serde_json::from_str(&printed).unwrap();
    let pair = |entry: &Value| (text_of(entry["key"].as_str().unwrap()), entry["version"].as_u64().unwrap());
    printed["kvs"].as_array().into_iter().flatten().map(pair).collect()
}

/// Base64 (RFC 4648, section 4) of a text of ASCII.
fn text_of(base64: &str) -> String {
    const ALPHABET: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digits: Vec<usize> = base64.chars().filter_map(|digit| ALPHABET.find(digit)).collect();
    let bits = |from: usize| (0..8).fold(0, |byte, i| byte << 1 | digits[(from + i) / 6] >> (5 - (from + i) % 6) & 1);
    (0..digits.len() * 6 / 8).map(|i| char::from(u8::try_from(bits(i * 8)).unwrap())).collect()
}

#[test]
fn defect_2_an_odd_prefix_length_of_a_request_is_an_error_and_no_panic() {
    let node = Node::new(Plugin::kube_ipam());
    let network = node.network(json!({ "subnet": "10.1.0.0/24" }));
    for odd in ["10.1.0.7/", "10.1.0.7/99", "10.1.0.7/-1", "/24", "10.1.0.7/255.255.255.0", "10.1.0.7/24/24"] {
        let reply = network.with(json!({ "runtimeConfig": { "ips": [odd] } })).add("c1").refused();
        assert!(!reply.text().contains("panic") && reply.stderr.is_empty(), "{odd}: {} {}", reply.stdout, reply.stderr);
    }
}

#[test]
fn defect_6_of_simultaneous_requests_for_one_address_in_etcd_one_is_met() {
    let test = "defect_6_of_simultaneous_requests_for_one_address_in_etcd_one_is_met";
    let Some((_cluster, node)) = on_etcd(test) else { return };
    let network = node.network(json!({ "subnet": "10.1.0.0/24" }));
    let replies = at_once((0..20).map(|n| network.call("ADD", &format!("c{n}")).args("IP=10.1.0.77")));
    let (met, others): (Vec<Reply>, Vec<Reply>) = replies.into_iter().partition(|reply| reply.status.success());
    assert_eq!((met.len(), node.held().len()), (1, 1));
    for reply in others {
        reply.refused();
    }
}

#[test]
fn defects_7_and_13_a_call_leaves_no_lock_no_lease_and_no_key_written_anew() {
    let test = "defects_7_and_13_a_call_leaves_no_lock_no_lease_and_no_key_written_anew";
    let Some((cluster, node)) = on_etcd(test) else { return };
    let network = node.network(json!({ "subnet": "10.1.0.0/24", "cooldown": "0s" }));
    let first = network.add("c1").ok();
    let kinds = |versions: &BTreeMap<String, u64>| -> Vec<String> {
        let kind = |key: &String| key.strip_prefix(etcd::PREFIX).unwrap().split('/').next().unwrap().to_owned();
        versions.keys().map(kind).collect()
    };
    let after_the_first = versions(&cluster);
    assert_eq!(kinds(&after_the_first), ["at", "ip", "net"]);
    network.add("c2").ok();
    network.check("c1", &first).ok();
    network.del("c2").ok();
    assert_eq!(versions(&cluster), after_the_first);
    let leases = cluster.etcdctl(&["lease", "list"]).unwrap();
    assert!(leases.contains("found 0 leases"), "{leases}");
}

#[test]
fn defect_8_the_requests_of_an_add_don_t_grow_with_what_is_held() {
    let Some((cluster, node)) = on_etcd("defect_8_the_requests_of_an_add_don_t_grow_with_what_is_held") else { return };
    let network = node.network(json!({ "subnet": "10.1.0.0/26" }));
    let requests = |container: &str| {
        let before = cluster.metric(0, "grpc_server_handled_total").unwrap();
        network.add(container).ok();
        cluster.metric(0, "grpc_server_handled_total").unwrap() - before
    };
    let of_the_first = requests("first");
    assert!(of_the_first <= 2.0, "{of_the_first}");
    for reply in at_once((0..59).map(|n| network.call("ADD", &format!("c{n}")))) {
        reply.ok();
    }
    let of_the_last = requests("last");
    assert!(of_the_last <= 6.0, "{of_the_last}");
    network.add("one-too-many").refused();
}

#[test]
fn defect_16_a_prefix_length_or_a_list_in_args_breaks_neither_add_nor_del() {
    let node = Node::new(Plugin::kube_ipam());
    let network = node.network(json!({ "subnet": "10.1.0.0/24" }));
    for (args, given) in
        [("IP=10.1.0.77/24", vec!["10.1.0.77/24"]), ("IP=10.1.0.77,10.1.0.78", vec!["10.1.0.77/24", "10.1.0.78/24"])]
    {
        assert_eq!(network.call("ADD", "c1").args(args).run().ok().addresses(), given);
        network.call("DEL", "c1").args(args).run().ok();
        assert_eq!(node.held(), []);
    }
    network.add("c1").ok();
    network.call("DEL", "c1").args("IP=10.1.0.77/99,nowhere;K8S_POD_NAME").run().ok();
    assert_eq!(node.held(), []);
}

#[test]
fn defect_18_a_kubeconfig_may_stand_in_etcd_config() {
    let Some((cluster, node)) = on_etcd("defect_18_a_kubeconfig_may_stand_in_etcd_config") else { return };
    node.set_defaults(&json!({ "blocksMaySet": ["store", "kubeConfig"] }));
    let etcd = json!({ "etcdURL": cluster.urls().join(","), "kubeConfig": "/etc/kubernetes/pki/kubectl.kubeconfig" });
    node.network(json!({ "subnet": "10.1.0.0/24", "etcdConfig": etcd })).add("c1").ok();
    assert!(!node.log().contains("kubeConfig"), "{}", node.log());
}

#[test]
fn defect_22_every_example_config_is_json() {
    for kind in ["macvlan", "ipvlan", "bridge", "calico", "kube-router", "multus"] {
        for args in [vec!["-outputconf", kind], vec!["config", kind, "-o", "json"]] {
            let output = Command::new(kube_ipam()).env_clear().args(&args).output().unwrap();
            assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
            let config: Value = serde_json::from_slice(&output.stdout).unwrap();
            assert!(config["type"].is_string(), "{config}");
        }
    }
}
