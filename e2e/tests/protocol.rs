//! The conformance suite for CNI behaviour: what a runtime sees of an IPAM plugin, by processes alone.
//!
//! Every case runs against kube-ipam and against host-local ([`conforms`]). A reply is judged by the CNI specification;
//! addresses are requested so that both plugins have to assign the same ones, or by what must hold of any.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test's verdict is a panic")]

use std::collections::BTreeSet;
use std::fs::File;
use std::io::pipe;
use std::path::Path;

use kube_ipam_e2e::cni::{Call, Reply, at_once};
use kube_ipam_e2e::conformance::Reference::{self, Agrees, Differs, Lacks};
use kube_ipam_e2e::conformance::conforms;
use kube_ipam_e2e::node::{Network, Node};
use serde_json::{Value, json};

/// A subnet with six addresses, of which the first is the gateway's: five can be given.
fn small(node: &Node) -> Network<'_> {
    node.network(json!({ "subnet": "10.1.0.0/29" }))
}

/// A range of one address, 10.1.0.5: who has it and who has not is seen by asking.
fn single(node: &Node) -> Network<'_> {
    node.network(json!({ "subnet": "10.1.0.0/24", "rangeStart": "10.1.0.5", "rangeEnd": "10.1.0.5" }))
}

fn dual(node: &Node) -> Network<'_> {
    node.network(json!({ "ranges": [[{ "subnet": "10.1.0.0/24" }], [{ "subnet": "fd00:1::/64" }]] }))
}

// ---- Results ----

/// The result of 10.1.0.5 with a default route, in one version.
fn result_in(version: &str) -> impl Fn(&Node) -> Value {
    move |node| {
        let routed = json!({
            "subnet": "10.1.0.0/24", "rangeStart": "10.1.0.5", "rangeEnd": "10.1.0.5",
            "routes": [{ "dst": "0.0.0.0/0", "gw": "10.1.0.1" }],
        });
        node.network(routed).with(json!({ "cniVersion": version })).add("c1").ok().document
    }
}

#[test]
fn a_result_up_to_0_2_0_has_one_address_per_family() {
    for version in ["0.1.0", "0.2.0"] {
        conforms(Agrees, |node| {
            let ip4 = json!({
                "ip": "10.1.0.5/24", "gateway": "10.1.0.1", "routes": [{ "dst": "0.0.0.0/0", "gw": "10.1.0.1" }],
            });
            assert_eq!(result_in(version)(node), json!({ "cniVersion": version, "ip4": ip4, "dns": {} }));
        });
    }
}

#[test]
fn a_result_from_0_3_0_to_0_4_0_says_each_address_s_family() {
    for version in ["0.3.0", "0.3.1", "0.4.0"] {
        conforms(Agrees, |node| {
            let ips = json!([{ "version": "4", "address": "10.1.0.5/24", "gateway": "10.1.0.1" }]);
            let routes = json!([{ "dst": "0.0.0.0/0", "gw": "10.1.0.1" }]);
            let result = json!({ "cniVersion": version, "ips": ips, "routes": routes, "dns": {} });
            assert_eq!(result_in(version)(node), result);
        });
    }
}

/// An empty `dns` may be there or not.
fn modern_result(version: &str, node: &Node) {
    let ips = json!([{ "address": "10.1.0.5/24", "gateway": "10.1.0.1" }]);
    let mut result = result_in(version)(node);
    assert_eq!(result.as_object_mut().unwrap().remove("dns").unwrap_or(json!({})), json!({}));
    let routes = json!([{ "dst": "0.0.0.0/0", "gw": "10.1.0.1" }]);
    assert_eq!(result, json!({ "cniVersion": version, "ips": ips, "routes": routes }));
}

#[test]
fn a_result_in_1_0_0_leaves_the_family_out() {
    conforms(Agrees, |node| modern_result("1.0.0", node));
}

#[test]
fn a_result_in_1_1_0_is_as_in_1_0_0() {
    let reference = Differs { how: "before plugins 1.6 does not speak 1.1.0", shows: "incompatible CNI versions" };
    conforms(reference, |node| modern_result("1.1.0", node));
}

#[test]
fn a_config_without_a_version_is_0_1_0() {
    conforms(Agrees, |node| {
        let mut network = single(node);
        network.config.as_object_mut().unwrap().remove("cniVersion");
        let result = network.add("c1").ok().document;
        assert_eq!(result["ip4"]["ip"], "10.1.0.5/24");
    });
}

#[test]
fn routes_and_name_servers_are_returned_as_configured() {
    conforms(Agrees, |node| {
        std::fs::write(node.path("resolv.conf"), "nameserver 192.0.2.53\nsearch example.test\n").unwrap();
        let routes = json!([{ "dst": "192.168.0.0/16" }, { "dst": "0.0.0.0/0", "gw": "10.1.0.3" }]);
        node.set_defaults(&json!({ "blocksMaySet": ["log"] }));
        let block = json!({ "subnet": "10.1.0.0/24", "routes": routes, "resolvConf": node.path("resolv.conf") });
        let result = node.network(block).add("c1").ok().document;
        assert_eq!(result["routes"], routes);
        assert_eq!(result["dns"]["nameservers"], json!(["192.0.2.53"]));
        assert_eq!(result["dns"]["search"], json!(["example.test"]));
    });
}

#[test]
fn dual_stack_gives_one_address_of_each_family() {
    conforms(Agrees, |node| {
        let mut given = dual(node).add("c1").ok().addresses();
        given.sort();
        assert!(matches!(given.as_slice(), [four, six] if four.ends_with("/24") && six.ends_with("/64")), "{given:?}");
    });
}

#[test]
fn a_gateway_left_out_is_the_first_address_and_is_never_given() {
    conforms(Agrees, |node| {
        let network = small(node);
        let given: BTreeSet<_> = (1..=5).map(|n| network.add(&format!("c{n}")).address()).collect();
        let expected: BTreeSet<_> = (2..=6).map(|n| format!("10.1.0.{n}/29")).collect();
        assert_eq!(given, expected);
    });
}

// ---- ADD, DEL, CHECK over an attachment's life ----

#[test]
fn a_repeated_add_gets_the_same_addresses() {
    let reference = Differs { how: "refuses it", shows: "duplicate allocation is not allowed" };
    conforms(reference, |node| {
        let network = dual(node);
        assert_eq!(network.add("c1").ok().addresses(), network.add("c1").ok().addresses());
    });
}

#[test]
fn a_released_address_can_be_given_again() {
    conforms(Agrees, |node| {
        let network = single(node);
        assert_eq!(network.add("c1").address(), "10.1.0.5/24");
        network.del("c1").ok();
        assert_eq!(network.add("c2").address(), "10.1.0.5/24");
    });
}

#[test]
fn a_del_says_nothing_and_succeeds_as_often_as_it_is_called() {
    conforms(Agrees, |node| {
        let network = single(node);
        network.add("c1").ok();
        for _ in 0..3 {
            assert_eq!(network.del("c1").ok().stdout, "");
        }
    });
}

#[test]
fn a_del_without_an_add_succeeds() {
    conforms(Agrees, |node| {
        assert_eq!(single(node).del("never").ok().stdout, "");
    });
}

#[test]
fn a_del_releases_when_the_namespace_is_gone() {
    conforms(Agrees, |node| {
        let network = single(node);
        for del in [
            network.call("DEL", "c1").netns(""),
            network.call("DEL", "c1").without("CNI_NETNS"),
            network.call("DEL", "c1").netns("/run/netns/long-gone"),
        ] {
            network.add("c1").ok();
            del.run().ok();
            network.add("c2").ok();
            network.del("c2").ok();
        }
    });
}

#[test]
fn a_second_del_does_not_free_what_another_container_got_since() {
    conforms(Agrees, |node| {
        let network = single(node);
        network.add("c1").ok();
        network.del("c1").ok();
        network.add("c2").ok();
        network.del("c1").ok();
        network.add("c3").refused();
    });
}

#[test]
fn a_del_of_one_interface_does_not_free_another_s() {
    conforms(Agrees, |node| {
        let network = single(node);
        network.call("ADD", "c1").ifname("net1").run().ok();
        network.call("DEL", "c1").ifname("net2").run().ok();
        network.add("c2").refused();
        network.call("DEL", "c1").ifname("net1").run().ok();
        network.add("c2").ok();
    });
}

#[test]
fn two_interfaces_of_a_container_on_one_network_have_two_addresses() {
    conforms(Agrees, |node| {
        let network = small(node);
        let first = network.call("ADD", "c1").ifname("net1").run().address();
        assert_ne!(first, network.call("ADD", "c1").ifname("net2").run().address());
    });
}

#[test]
fn a_del_works_whose_block_was_reduced_to_its_type() {
    let reference =
        Differs { how: "fails for ever, and the pod hangs in Terminating", shows: "no IP ranges specified" };
    conforms(reference, |node| {
        let network = single(node);
        network.add("c1").ok();
        network.with(json!({ "ipam": { "type": node.plugin().name } })).del("c1").ok();
        network.add("c2").ok();
    });
}

#[test]
fn a_del_works_whose_block_is_broken() {
    let reference = Differs { how: "fails as on ADD", shows: "the call failed" };
    conforms(reference, |node| {
        let network = single(node);
        network.add("c1").ok();
        let broken = json!({ "type": node.plugin().name, "subnet": "10.1.0.5/24", "rangeStart": "no address" });
        network.with(json!({ "ipam": broken })).del("c1").ok();
        network.add("c2").ok();
    });
}

#[test]
fn a_check_succeeds_silently_while_the_addresses_are_held() {
    conforms(Agrees, |node| {
        let network = dual(node);
        let given = network.add("c1").ok();
        assert_eq!(network.check("c1", &given).ok().stdout, "");
    });
}

#[test]
fn a_check_fails_after_the_del() {
    conforms(Agrees, |node| {
        let network = dual(node);
        let given = network.add("c1").ok();
        network.del("c1").ok();
        network.check("c1", &given).refused();
    });
}

#[test]
fn a_check_fails_for_an_address_that_is_another_container_s() {
    let reference = Differs { how: "looks only whether the container holds anything", shows: "the call succeeded" };
    conforms(reference, |node| {
        let network = small(node);
        let given = network.add("c1").ok();
        network.add("c2").ok();
        network.check("c2", &given).refused();
    });
}

#[test]
fn a_check_without_the_previous_result_is_an_invalid_config() {
    let reference = Differs { how: "does not read it", shows: "the call succeeded" };
    conforms(reference, |node| {
        let network = single(node);
        network.add("c1").ok();
        assert_eq!(network.call("CHECK", "c1").run().refused().code(), 7);
    });
}

// ---- VERSION, STATUS, GC ----

#[test]
fn version_lists_what_is_spoken_and_needs_no_config() {
    for stdin in ["", r#"{"cniVersion":"1.0.0"}"#] {
        conforms(Agrees, |node| {
            let reply = node.call("VERSION").stdin(stdin).run().ok();
            let spoken = reply.document["supportedVersions"].as_array().unwrap();
            for version in ["0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0"] {
                assert!(spoken.contains(&json!(version)), "{}", reply.stdout);
            }
            assert!(reply.document["cniVersion"].is_string());
        });
    }
}

#[test]
fn version_speaks_1_1_0_and_echoes_the_version_that_it_was_asked_in() {
    let reference = Differs { how: "before plugins 1.6 does not, and answers in its newest", shows: "left: " };
    conforms(reference, |node| {
        let reply = node.call("VERSION").stdin(r#"{"cniVersion":"0.4.0"}"#).run().ok().document;
        assert_eq!(reply["cniVersion"], "0.4.0");
        assert_eq!(reply["supportedVersions"].as_array().unwrap().last().unwrap(), "1.1.0");
    });
}

#[test]
fn status_succeeds_silently_with_a_valid_config() {
    let reference = Differs { how: "before plugins 1.6 does not know STATUS", shows: "the call failed" };
    conforms(reference, |node| {
        let config = single(node).with(json!({ "cniVersion": "1.1.0" })).config;
        let call = node.call("STATUS").container("").ifname("").netns("").config(&config);
        assert_eq!(call.run().ok().stdout, "");
    });
}

#[test]
fn status_fails_with_an_invalid_config() {
    conforms(Agrees, |node| {
        let network = node.network(json!({ "subnet": "10.1.0.5/24" })).with(json!({ "cniVersion": "1.1.0" }));
        node.call("STATUS").config(&network.config).run().refused();
    });
}

/// An ADD for a pod of a cluster: an address of such a one is GC's alone to free. That of a container of no pod, whose
/// namespace is gone, would go to the next ADD that finds the range full.
fn add_for_pod(node: &Node, container: &str, netns: &Path) -> Reply {
    let args = format!("IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME={container};K8S_POD_UID=u-{container}");
    let network = node.network(json!({
        "subnet": "10.1.0.0/24", "rangeStart": "10.1.0.5", "rangeEnd": "10.1.0.5", "annotations": false,
    }));
    network.call("ADD", container).args(&args).netns(netns).run()
}

/// A GC call as libcni makes it, with the attachments that are still valid.
fn gc(node: &Node, network: &Network<'_>, valid: Value) -> Reply {
    let keys = json!({ "cniVersion": "1.1.0", "cni.dev/valid-attachments": valid });
    node.call("GC").container("").ifname("").netns("").config(&network.with(keys).config).run()
}

#[test]
fn gc_collects_attachments_that_nobody_knows_and_whose_namespace_is_gone() {
    conforms(Lacks("GC that frees addresses"), |node| {
        let network = single(node);
        let netns = node.path("netns");
        File::create(&netns).unwrap();
        add_for_pod(node, "c1", &netns).ok();
        gc(node, &network, json!([])).ok();
        network.add("c2").refused();
        std::fs::remove_file(&netns).unwrap();
        gc(node, &network, json!([{ "containerID": "c1", "ifname": "eth0" }])).ok();
        network.add("c2").refused();
        gc(node, &network, json!([])).ok();
        network.add("c2").ok();
    });
}

#[test]
fn gc_without_a_list_collects_nothing() {
    conforms(Lacks("GC that frees addresses"), |node| {
        let network = single(node).with(json!({ "cniVersion": "1.1.0" }));
        let netns = node.path("netns");
        File::create(&netns).unwrap();
        add_for_pod(node, "c1", &netns).ok();
        std::fs::remove_file(&netns).unwrap();
        node.call("GC").config(&network.config).run().ok();
        network.add("c2").refused();
    });
}

// ---- Errors ----

#[test]
fn an_unknown_command_is_code_4() {
    conforms(Agrees, |node| {
        let reply = single(node).call("FROBNICATE", "c1").run().refused();
        assert_eq!(reply.code(), 4);
        assert!(reply.text().contains("unknown CNI_COMMAND: FROBNICATE"), "{}", reply.text());
    });
}

#[test]
fn missing_variables_are_code_4_and_named_together() {
    conforms(Agrees, |node| {
        let reply = node.call("ADD").config(&single(node).config).run().refused();
        assert_eq!(reply.code(), 4);
        assert!(reply.text().contains("required env variables [CNI_CONTAINERID,CNI_NETNS,CNI_IFNAME] missing"));
    });
}

#[test]
fn a_bad_container_id_or_interface_name_is_code_4() {
    for (container, ifname) in [("../../etc", "eth0"), ("c1", "a/b"), ("c1", ".."), ("c1", "sixteen-bytes-xx")] {
        conforms(Agrees, |node| {
            let reply = single(node).call("ADD", container).ifname(ifname).run().refused();
            assert_eq!(reply.code(), 4, "{container:?} {ifname:?}: {}", reply.stdout);
        });
    }
}

#[test]
fn a_version_that_is_not_spoken_is_code_1() {
    conforms(Agrees, |node| {
        let reply = single(node).with(json!({ "cniVersion": "9.9.9" })).add("c1").refused();
        assert_eq!((reply.code(), reply.document["msg"].as_str()), (1, Some("incompatible CNI versions")));
        assert!(reply.text().contains("9.9.9") && reply.text().contains("1.0.0"), "{}", reply.text());
    });
}

#[test]
fn a_config_that_is_not_json_is_code_6() {
    for garbage in ["garbage", "{", "", "\u{0}", r#"{"cniVersion":"1.0.0","name":"#] {
        conforms(Agrees, |node| {
            assert_eq!(single(node).call("ADD", "c1").stdin(garbage).run().refused().code(), 6, "{garbage:?}");
        });
    }
}

#[test]
fn ten_megabytes_of_garbage_are_code_6() {
    conforms(Agrees, |node| {
        for garbage in [vec![b'{'; 10 << 20], vec![b'['; 10 << 20], vec![0xff; 10 << 20]] {
            assert_eq!(single(node).call("ADD", "c1").stdin(garbage).run().refused().code(), 6);
        }
    });
}

#[test]
fn a_bad_network_name_is_code_7() {
    for name in [json!(""), json!("../blue"), json!("blue net")] {
        conforms(Agrees, |node| {
            assert_eq!(single(node).with(json!({ "name": name })).add("c1").refused().code(), 7);
        });
    }
}

#[test]
fn mistakes_in_the_ranges_are_an_invalid_config() {
    let blocks = [
        json!({}),
        json!({ "subnet": "10.1.0.5/24" }),
        json!({ "subnet": "10.1.0.0/33" }),
        json!({ "subnet": "10.1.0.0/24", "rangeStart": "10.2.0.1" }),
        json!({ "subnet": "10.1.0.0/24", "rangeStart": "10.1.0.9", "rangeEnd": "10.1.0.8" }),
        json!({ "subnet": "10.1.0.0/24", "gateway": "nowhere" }),
        json!({ "ranges": [[]] }),
        json!({ "ranges": [[{ "subnet": "10.1.0.0/24" }, { "subnet": "fd00::/64" }]] }),
        json!({ "ranges": [[{ "subnet": "10.1.0.0/24" }], [{ "subnet": "10.1.0.0/16" }]] }),
    ];
    for block in blocks {
        conforms(Agrees, |node| {
            let reply = node.network(block.clone()).add("c1").refused();
            assert!(node.plugin().name == "host-local" || reply.code() == 7, "{block}: {}", reply.stdout);
        });
    }
}

#[test]
fn no_way_to_write_ranges_is_a_success_without_an_address() {
    for ranges in [json!([]), json!([null]), json!([[null]]), json!([[{}]]), json!([[], []])] {
        conforms(Lacks("refusal of every network without addresses"), |node| {
            let reply = node.network(json!({ "ranges": ranges })).add("c1").refused();
            assert_eq!(reply.code(), 7, "{ranges}: {}", reply.stdout);
        });
    }
}

#[test]
fn an_empty_entry_among_requested_addresses_never_becomes_any_address() {
    conforms(Agrees, |node| {
        let network =
            node.network(json!({ "subnet": "10.1.0.0/24" })).with(json!({ "runtimeConfig": { "ips": [""] } }));
        let reply = network.add("c1").refused();
        assert!(node.plugin().name == "host-local" || reply.code() == 7, "{}", reply.stdout);
        network.with(json!({ "runtimeConfig": { "ips": [] } })).add("c1").ok();
    });
}

#[test]
fn of_two_sets_that_share_a_subnet_each_gives_what_its_range_holds() {
    conforms(Lacks("sets that share a subnet"), |node| {
        let part = |first: u8, last: u8| {
            let edge = |n: u8| format!("10.1.0.{n}");
            json!([{ "subnet": "10.1.0.0/24", "rangeStart": edge(first), "rangeEnd": edge(last) }])
        };
        let network = node.network(json!({ "ranges": [part(10, 12), part(30, 33)] }));
        for n in 30..33 {
            let container = format!("c{n}");
            let mut given = network.call("ADD", &container).args(&format!("IP=10.1.0.{n}")).run().ok().addresses();
            given.sort();
            assert!(given[0].starts_with("10.1.0.1") && given[1] == format!("10.1.0.{n}/24"), "{given:?}");
            network.del(&container).ok();
        }
    });
}

#[test]
fn several_addresses_of_a_family_below_0_3_0_are_refused() {
    conforms(Agrees, |node| {
        let block = json!({ "ranges": [[{ "subnet": "10.1.0.0/24" }], [{ "subnet": "10.2.0.0/24" }]] });
        node.network(block.clone()).with(json!({ "cniVersion": "0.2.0" })).add("c1").refused();
        assert_eq!(node.network(block).add("c1").ok().addresses().len(), 2);
    });
}

#[test]
fn an_exhausted_range_is_refused_and_one_release_helps() {
    conforms(Agrees, |node| {
        let network = small(node);
        for n in 1..=5 {
            network.add(&format!("c{n}")).ok();
        }
        network.add("c6").refused();
        network.del("c3").ok();
        network.add("c6").ok();
    });
}

#[test]
fn dual_stack_holds_nothing_when_one_family_is_exhausted() {
    conforms(Agrees, |node| {
        let narrow = json!([{ "subnet": "fd00:1::/64", "rangeStart": "fd00:1::5", "rangeEnd": "fd00:1::5" }]);
        let wide = json!([{ "subnet": "10.1.0.0/24", "rangeStart": "10.1.0.5", "rangeEnd": "10.1.0.6" }]);
        let network = node.network(json!({ "ranges": [wide, narrow] }));
        network.add("c1").ok();
        network.add("c2").refused();
        network.add("c3").refused();
        let alone = node.network(json!({ "ranges": [wide] }));
        alone.add("c4").ok();
    });
}

#[test]
fn a_reply_that_can_t_be_written_leaves_nothing_held() {
    let reference = Differs { how: "has lost the address", shows: "the call failed" };
    conforms(reference, |node| {
        let network = single(node);
        let (reader, writer) = pipe().unwrap();
        drop(reader);
        let closed = network.call("ADD", "c1").spawn_into(writer).wait();
        assert!(!closed.status.success());
        let full = network.call("ADD", "c2").spawn_into(File::create("/dev/full").unwrap()).wait();
        assert!(!full.status.success());
        network.add("c3").ok();
    });
}

#[test]
fn a_log_that_can_t_be_written_changes_no_reply() {
    conforms(Lacks("log"), |node| {
        node.set_defaults(&json!({ "log": { "file": "/proc/no/such/folder/kube-ipam.log" } }));
        let network = single(node);
        assert_eq!(network.add("c1").address(), "10.1.0.5/24");
        assert_eq!(network.del("c1").ok().stdout, "");
    });
}

// ---- Requested addresses ----

/// The three ways in which a runtime requests addresses.
fn requests<'node>(network: &Network<'node>, addresses: &[&str]) -> [(Network<'node>, Option<String>); 3] {
    [
        (network.with(json!({ "runtimeConfig": { "ips": addresses } })), None),
        (network.with(json!({ "args": { "cni": { "ips": addresses } } })), None),
        (network.clone(), Some(format!("IgnoreUnknown=1;IP={}", addresses.join(",")))),
    ]
}

fn ask((network, args): &(Network<'_>, Option<String>), container: &str) -> Call {
    let call = network.call("ADD", container);
    match args {
        Some(args) => call.args(args),
        None => call,
    }
}

/// Runs a case once for each way of asking for these addresses.
fn however_asked(reference: Reference, addresses: &[&str], case: impl Fn(&Node, &dyn Fn(&Network<'_>, &str) -> Reply)) {
    const ONE: Reference = Differs { how: "takes one address only in CNI_ARGS", shows: "error parsing value of pair" };
    for way in 0..3 {
        let reference = if way == 2 && addresses.len() > 1 { ONE } else { reference };
        conforms(reference, |node| {
            case(node, &|network, container| ask(&requests(network, addresses)[way], container).run());
        });
    }
}

#[test]
fn a_requested_address_is_given() {
    however_asked(Agrees, &["10.1.0.77"], |node, request| {
        let network = node.network(json!({ "subnet": "10.1.0.0/24" }));
        assert_eq!(request(&network, "c1").address(), "10.1.0.77/24");
    });
}

#[test]
fn a_requested_address_may_carry_the_subnet_s_prefix_length() {
    however_asked(Agrees, &["10.1.0.77/24"], |node, request| {
        let network = node.network(json!({ "subnet": "10.1.0.0/24" }));
        assert_eq!(request(&network, "c1").address(), "10.1.0.77/24");
    });
}

#[test]
fn a_requested_address_that_is_held_is_refused() {
    however_asked(Agrees, &["10.1.0.77"], |node, request| {
        let network = node.network(json!({ "subnet": "10.1.0.0/24" }));
        request(&network, "c1").ok();
        request(&network, "c2").refused();
    });
}

#[test]
fn the_refusal_of_a_held_address_names_it_and_its_holder() {
    let reference = Differs { how: "names no holder", shows: "has no c1" };
    however_asked(reference, &["10.1.0.77"], |node, request| {
        let network = node.network(json!({ "subnet": "10.1.0.0/24" }));
        request(&network, "c1").ok();
        let text = request(&network, "c2").refused().text();
        for part in ["10.1.0.77", "c1"] {
            assert!(text.contains(part), "the refusal has no {part}: {text}");
        }
    });
}

#[test]
fn a_requested_gateway_is_refused() {
    however_asked(Agrees, &["10.1.0.1"], |node, request| {
        let network = node.network(json!({ "subnet": "10.1.0.0/24" }));
        let text = request(&network, "c1").refused().text();
        assert!(text.contains("10.1.0.1") && text.contains("gateway"), "{text}");
    });
}

#[test]
fn a_requested_network_or_broadcast_address_is_refused() {
    for edge in ["10.1.0.0", "10.1.0.255"] {
        however_asked(Agrees, &[edge], |node, request| {
            let network = node.network(json!({ "subnet": "10.1.0.0/24" }));
            request(&network, "c1").refused();
        });
    }
}

#[test]
fn a_requested_address_outside_every_subnet_is_refused_and_nothing_is_held() {
    however_asked(Agrees, &["10.9.0.5"], |node, request| {
        let network = single(node);
        request(&network, "c1").refused();
        network.add("c2").ok();
    });
}

#[test]
fn a_requested_address_that_is_none_is_refused() {
    for text in ["no-address", "10.1.0.256", "10.1.0.5/99"] {
        however_asked(Agrees, &[text], |node, request| {
            let network = node.network(json!({ "subnet": "10.1.0.0/24" }));
            request(&network, "c1").refused();
        });
    }
}

#[test]
fn requested_addresses_of_both_families_are_given_together_or_not_at_all() {
    however_asked(Agrees, &["10.1.0.77", "fd00:1::77"], |node, request| {
        let network = dual(node);
        let mut given = request(&network, "c1").ok().addresses();
        given.sort();
        assert_eq!(given, ["10.1.0.77/24", "fd00:1::77/64"]);
        network.del("c1").ok();
        network.with(json!({ "runtimeConfig": { "ips": ["fd00:1::77"] } })).add("c2").ok();
        request(&network, "c3").refused();
        network.with(json!({ "runtimeConfig": { "ips": ["10.1.0.77"] } })).add("c4").ok();
    });
}

#[test]
fn a_family_that_no_request_names_gets_any_address() {
    however_asked(Agrees, &["fd00:1::77"], |node, request| {
        let given = request(&dual(node), "c1").ok().addresses();
        assert!(given.contains(&"fd00:1::77/64".to_owned()) && given.len() == 2, "{given:?}");
    });
}

#[test]
fn of_two_requested_addresses_of_one_range_set_both_are_given_or_neither() {
    let reference = Differs { how: "gives one address of a set", shows: "failed to allocate all requested IPs" };
    however_asked(reference, &["10.1.0.77", "10.1.0.78"], |node, request| {
        let network = node.network(json!({ "subnet": "10.1.0.0/24" }));
        let just = |ip: &str| network.with(json!({ "runtimeConfig": { "ips": [ip] } }));
        assert_eq!(request(&network, "c1").ok().addresses(), ["10.1.0.77/24", "10.1.0.78/24"]);
        network.del("c1").ok();
        just("10.1.0.78").add("c2").ok();
        request(&network, "c3").refused();
        just("10.1.0.77").add("c4").ok();
    });
}

#[test]
fn requests_from_several_places_are_not_merged() {
    let reference = Differs { how: "merges them, and then has one address too many", shows: "the call failed" };
    conforms(reference, |node| {
        let network = node.network(json!({ "subnet": "10.1.0.0/24" }));
        let both = network.with(json!({
            "runtimeConfig": { "ips": ["10.1.0.77"] }, "args": { "cni": { "ips": ["10.1.0.78"] } },
        }));
        assert_eq!(both.call("ADD", "c1").args("IP=10.1.0.79").run().address(), "10.1.0.77/24");
    });
}

#[test]
fn args_of_a_runtime_with_unknown_and_repeated_keys_are_read() {
    conforms(Agrees, |node| {
        let network = node.network(json!({ "subnet": "10.1.0.0/24" }));
        let args = "IgnoreUnknown=1;K8S_POD_NAMESPACE=web;K8S_POD_NAME=web-1;K8S_POD_INFRA_CONTAINER_ID=c1;\
                    K8S_POD_UID=5d1c;IP=10.1.0.76;K8S_POD_NAME=web-1;IP=10.1.0.77";
        assert_eq!(network.call("ADD", "c1").args(args).run().address(), "10.1.0.77/24");
    });
}

#[test]
fn args_with_unknown_keys_need_no_leave() {
    let reference = Differs { how: "wants IgnoreUnknown=1 beside them", shows: "ARGS: " };
    conforms(reference, |node| {
        let network = node.network(json!({ "subnet": "10.1.0.0/24" }));
        assert_eq!(network.call("ADD", "c1").args("COLOUR=blue;;IP=10.1.0.77").run().address(), "10.1.0.77/24");
    });
}

#[test]
fn ranges_of_the_runtime_go_before_those_of_the_config() {
    conforms(Agrees, |node| {
        let network = node.network(json!({ "subnet": "10.1.0.0/24" }));
        let ranges = json!({ "runtimeConfig": { "ipRanges": [[{ "subnet": "10.5.0.0/24" }]] } });
        let given = network.with(ranges).add("c1").ok().addresses();
        assert!(
            matches!(given.as_slice(), [first, second] if first.starts_with("10.5.") && second.starts_with("10.1."))
        );
    });
}

// ---- Many at once ----

#[test]
fn five_hundred_simultaneous_adds_get_five_hundred_addresses() {
    conforms(Agrees, |node| {
        // That none fails is shown here, not how fast a machine with a handful of processors and other tests is.
        node.set_defaults(&json!({ "timeout": "1m" }));
        let network = node.network(json!({ "subnet": "10.1.0.0/16" }));
        let all = |verb| at_once((0..500).map(|n| network.call(verb, &format!("c{n}"))));
        let given: BTreeSet<_> = all("ADD").into_iter().map(Reply::address).collect();
        assert_eq!(given.len(), 500);
        for reply in all("DEL") {
            reply.ok();
        }
    });
}

#[test]
fn of_simultaneous_requests_for_one_address_one_is_met() {
    conforms(Agrees, |node| {
        let network = node.network(json!({ "subnet": "10.1.0.0/24" }));
        let replies = at_once((0..20).map(|n| network.call("ADD", &format!("c{n}")).args("IP=10.1.0.77")));
        let (met, others): (Vec<_>, Vec<_>) = replies.into_iter().partition(|reply| reply.status.success());
        assert_eq!(met.len(), 1);
        for reply in others {
            reply.refused();
        }
    });
}

#[test]
fn of_simultaneous_adds_for_one_attachment_all_get_the_same_address() {
    let reference = Differs { how: "gives the first an address and refuses the others", shows: "the call failed" };
    conforms(reference, |node| {
        let network = small(node);
        let given: BTreeSet<_> =
            at_once((0..20).map(|_| network.call("ADD", "c1"))).into_iter().map(Reply::address).collect();
        assert_eq!(given.len(), 1);
        network.del("c1").ok();
        assert_eq!(
            at_once((1..=5).map(|n| network.call("ADD", &format!("d{n}")))).into_iter().map(Reply::ok).count(),
            5
        );
    });
}

// ---- What host-local does not have ----

#[test]
fn excluded_addresses_are_never_given() {
    conforms(Lacks("exclude"), |node| {
        let network = node.network(json!({ "subnet": "10.1.0.0/29", "exclude": ["10.1.0.2-10.1.0.4", "10.1.0.6"] }));
        assert_eq!(network.add("c1").address(), "10.1.0.5/29");
        network.add("c2").refused();
        network.with(json!({ "runtimeConfig": { "ips": ["10.1.0.3"] } })).add("c3").refused();
    });
}

#[test]
fn addresses_of_the_fixed_window_are_given_on_request_only() {
    conforms(Lacks("fixed window"), |node| {
        let network = node.network(json!({
            "subnet": "10.1.0.0/28", "fixedStart": "10.1.0.2", "fixedEnd": "10.1.0.13",
        }));
        assert_eq!(network.add("c1").address(), "10.1.0.14/28");
        network.add("c2").refused();
        let fixed = |ip: &str| network.with(json!({ "runtimeConfig": { "ips": [ip] } }));
        assert_eq!(fixed("10.1.0.7").add("c2").address(), "10.1.0.7/28");
        network.del("c1").ok();
        fixed("10.1.0.14").add("c3").refused();
    });
}

#[test]
fn networks_of_one_routing_domain_share_their_addresses_and_those_of_two_do_not() {
    conforms(Lacks("routing domains"), |node| {
        let network = single(node);
        network.add("c1").ok();
        network.with(json!({ "name": "green" })).add("c2").refused();
        let mut apart = network.with(json!({ "name": "red" }));
        apart.config["ipam"]["vrf"] = json!("red");
        assert_eq!(apart.add("c3").address(), "10.1.0.5/24");
    });
}

#[test]
fn a_block_chooses_neither_store_nor_routing_domain_where_these_are_locked() {
    conforms(Lacks("node defaults"), |node| {
        node.set_defaults(&json!({ "locked": ["vrf"] }));
        let network = single(node);
        network.add("c1").ok();
        let choices = [
            json!({ "Store": "embedded", "dataDir": node.path("addresses-of-a-tenant") }),
            json!({ "DATADIR": node.path("addresses-of-a-tenant") }),
            json!({ "etcdConfig": { "etcdURL": "http://127.0.0.1:1" } }),
            json!({ "vrf": "mine" }),
            json!({ "kubeConfig": node.path("kubeconfig-of-a-tenant") }),
            json!({ "log": node.path("log-of-a-tenant") }),
            json!({ "resolvConf": node.path("records") }),
        ];
        for choice in choices {
            let mut block = network.config["ipam"].clone();
            block.as_object_mut().unwrap().extend(choice.as_object().unwrap().clone());
            let chosen = network.with(json!({ "ipam": block, "cniVersion": "1.1.0" }));
            let reply = chosen.add("c2").refused();
            assert!(reply.code() == 7 && reply.text().contains("locked"), "{choice}: {}", reply.stdout);
            // It delays nobody else: the same block is served by what the defaults say.
            node.call("STATUS").container("").ifname("").netns("").config(&chosen.config).run().ok();
            chosen.del("c1").ok();
            assert_eq!(node.held(), [], "{choice}");
            network.add("c1").ok();
        }
        assert!(!node.path("addresses-of-a-tenant").exists() && !node.path("log-of-a-tenant").exists());
    });
}

#[test]
fn the_log_has_a_line_of_every_call_and_nothing_of_the_environment() {
    conforms(Lacks("log"), |node| {
        let network = single(node);
        network.call("ADD", "c1").env("PASSWORD", "not-for-the-log").run().ok();
        network.add("c2").refused();
        network.del("c1").ok();
        let log = std::fs::read_to_string(node.path("kube-ipam.log")).unwrap();
        let lines = |part: &str| log.lines().filter(|line| line.contains(part)).count();
        assert_eq!((lines("ADD"), lines("DEL")), (2, 1), "{log}");
        assert!(lines("10.1.0.5") >= 2 && lines("not-for-the-log") == 0, "{log}");
    });
}
