//! The networks of the cluster's NetworkAttachmentDefinitions: nobody names a file.

use kube_ipam_e2e::api::NAMESPACE;
use kube_ipam_e2e::cni::Reply;
use kube_ipam_e2e::machines::Machines;
use kube_ipam_e2e::node::{Network, Node};
use serde_json::{Value, json};

use crate::next::{announced, outcome};
use crate::{Host, document, explained, network, on_each_host, printed, uid, write};

/// The annotations of a pod that selects a definition for net1, and wants an address there.
fn selecting(definition: &str, ip: Option<&str>) -> Value {
    let mut annotations = json!({ "k8s.v1.cni.cncf.io/networks": format!("{definition}@net1") });
    if let Some(ip) = ip {
        annotations["kube-ipam.net1.ip"] = json!(ip);
    }
    annotations
}

/// The call of a pod's sandbox for net1.
fn call(network: &Network<'_>, verb: &str, pod: &str) -> Reply {
    let args = format!("IgnoreUnknown=1;K8S_POD_NAMESPACE={NAMESPACE};K8S_POD_NAME={pod};K8S_POD_UID={}", uid(pod));
    network.call(verb, &format!("c-{pod}")).args(&args).ifname("net1").run()
}

/// A machine whose store has an address of another pod.
fn inhabited(node: &Node) -> Host<'_> {
    let host = Host::new(node);
    host.add("tenant", &json!({})).ok();
    host
}

/// A network of the same name elsewhere.
fn other(node: &Node) -> Network<'_> {
    node.network(json!({ "subnet": "10.2.0.0/24", "fixedStart": "10.2.0.10", "fixedEnd": "10.2.0.20" }))
}

#[test]
fn the_rules_of_an_address_are_those_of_the_definitions_that_have_it() {
    let node = Machines::embedded().node();
    let host = inhabited(&node);
    let config = network(&node).config;
    // A copy in another namespace says nothing new; another network of the same name has no such address.
    for namespace in ["db", "web"] {
        host.api.has_definition(namespace, "blue", &config);
    }
    host.api.has_definition("other", "blue", &other(&node).config);
    let page = explained(&node, "10.1.0.101");
    insta::assert_snapshot!(crate::without_past(&page), @r"
    10.1.0.101 has no lease, and no pod gets it: it is excluded by 10.1.0.101.

    random   network blue does not assign it at random: it is excluded by 10.1.0.101 [NetworkAttachmentDefinition db/blue]
    request  network blue does not assign it on request: it is excluded by 10.1.0.101 [NetworkAttachmentDefinition db/blue]
    ");
    let page = explained(&node, "10.2.0.15");
    assert!(page.contains("[NetworkAttachmentDefinition other/blue]"), "{page}");
}

#[test]
fn a_pod_s_interface_has_the_network_that_it_selects() {
    on_each_host("a_pod_s_interface_has_the_network_that_it_selects", |host| {
        host.add("tenant", &json!({})).ok();
        let (blue, other) = (network(host.node), other(host.node));
        host.api.has_definition("db", "blue", &blue.config);
        host.api.has_definition("web", "blue", &other.config);
        host.runs("near", &selecting("blue", Some("10.1.0.11")));
        host.runs("far", &selecting("web/blue", Some("10.2.0.11")));
        for (pod, network) in [("near", &blue), ("far", &other)] {
            let next = document(host.node, &format!("db/{pod}"))[0]["next"].clone();
            let reply = call(network, "ADD", pod);
            assert_eq!((&next["outcome"], announced(&next, &reply)), (&json!("assigns"), outcome(&reply)), "{next}");
            // The container that has it now gets it again.
            let args = ["explain", &format!("db/{pod}"), "net1", "-o", "json"];
            let found: Value = serde_json::from_str(&printed(host.node, &args)).unwrap();
            let part = &found[0]["parts"][0];
            assert_eq!((&part["state"], &part["next"]["outcome"]), (&json!("held"), &json!("repeats")), "{found}");
            assert_eq!(json!({ "addresses": part["next"]["addresses"] }), outcome(&reply), "{found}");
            assert_eq!(outcome(&call(network, "ADD", pod)), outcome(&reply));
        }
        // Once the pod is gone, what it selected is not known: the definition in its namespace is rehearsed.
        host.api.lost("near");
        let next = document(host.node, "10.1.0.11")[0]["next"].clone();
        assert!(next["why"].as_str().unwrap().contains("knows no pod db/near"), "{next}");
    });
}

#[test]
fn a_waiting_pod_s_refusal_is_that_of_its_definition() {
    on_each_host("a_waiting_pod_s_refusal_is_that_of_its_definition", |host| {
        let blue = network(host.node);
        host.api.has_definition("db", "blue", &blue.config);
        host.runs("first", &selecting("blue", Some("10.1.0.11")));
        call(&blue, "ADD", "first").ok();
        host.runs("second", &selecting("blue", Some("10.1.0.11")));
        call(&blue, "ADD", "second").refused();
        let found = document(host.node, "db/second");
        let next = &found[0]["next"];
        assert_eq!((&found[0]["state"], &next["outcome"]), (&json!("waiting"), &json!("refused")), "{found}");
        let reply = call(&blue, "ADD", "second");
        assert_eq!(announced(next, &reply), outcome(&reply), "{next}");
        let page = explained(host.node, "db/second");
        for text in [
            "Pod db/second has waited for an address for ",
            "The next ADD is refused: 10.1.0.11 is held by pod db/first, interface net1",
            "the pod asks for net1, without an address in this store [API server]",
            "10.1.0.11 has been held by pod db/first for ",
            "The next ADD of this container gets 10.1.0.11 again.",
        ] {
            assert!(page.contains(text), "{text}: {page}");
        }
    });
}

#[test]
fn what_needs_attention_in_a_subnet_has_the_rules_of_its_definition() {
    let node = Machines::embedded().node();
    let host = inhabited(&node);
    let blue = network(&node);
    host.api.has_definition("db", "blue", &blue.config);
    for pod in ["alive", "lost"] {
        host.runs(pod, &selecting("blue", Some(if pod == "alive" { "10.1.0.11" } else { "10.1.0.12" })));
        call(&blue, "ADD", pod).ok();
    }
    host.api.lost("lost");
    let foreign = json!({
        "v": 1, "kind": "dynamic", "holders": [], "since": "2026-11-01T10:00:00Z", "onRelease": "forget",
        "foreign": { "mac": "02:00:00:00:00:07", "network": "blue", "node": "node-1", "answered": "2026-11-01T10:00:00Z" },
    });
    write(&node, crate::lease_key("10.1.0.50"), &foreign);
    let found = document(&node, "10.1.0.0/24");
    let parts = found[0]["parts"].as_array().unwrap();
    let seen: Vec<(&str, &str)> = parts
        .iter()
        .map(|part| {
            let rule = part["facts"].as_array().unwrap().iter().find(|fact| fact["topic"] == "request");
            (part["address"].as_str().unwrap(), rule.map_or("", |rule| rule["source"].as_str().unwrap()))
        })
        .collect();
    assert_eq!(seen, [("10.1.0.12", ""), ("10.1.0.50", "NetworkAttachmentDefinition db/blue")], "{found}");
    let why = parts[0]["next"]["why"].as_str().unwrap();
    assert!(why.contains("knows no pod db/lost"), "{why}");
}

#[test]
fn a_definition_that_can_t_be_used_or_read_is_said_to_be_missing() {
    let node = Machines::embedded().node();
    let host = inhabited(&node);
    let mut broken = network(&node).config;
    broken["ipam"]["rangeStart"] = json!("10.9.0.1");
    host.api.has_definition("db", "blue", &broken);
    host.runs("db-0", &selecting("blue", None));
    let why = |subject: &str| document(&node, subject)[0]["next"]["why"].as_str().unwrap().to_owned();
    let text = why("db/db-0");
    assert!(text.starts_with("NetworkAttachmentDefinition db/blue can't be used: "), "{text}");
    assert!(text.contains("rangeStart"), "{text}");

    host.api.hides(&["network-attachment-definitions"]);
    let text = why("db/db-0");
    assert!(text.contains("because the cluster's definitions are not known: "), "{text}");
    assert!(text.contains(r#"resources ["network-attachment-definitions"], verbs ["list"]"#), "{text}");
    let page = explained(&node, "10.1.0.18");
    assert!(page.contains("the cluster's NetworkAttachmentDefinitions are not known: "), "{page}");
}

#[test]
fn a_named_file_stands_for_the_definition_of_its_network() {
    let node = Machines::embedded().node();
    let host = inhabited(&node);
    let mut strict = network(&node).config;
    strict["ipam"]["exclude"] = json!(["10.1.0.11"]);
    host.api.has_definition("db", "blue", &strict);
    host.runs("db-0", &selecting("blue", Some("10.1.0.11")));
    assert_eq!(document(&node, "db/db-0")[0]["next"]["outcome"], "refused");
    let file = node.path("network.json");
    std::fs::write(&file, network(&node).config.to_string()).unwrap();
    let args = ["explain", "db/db-0", "-o", "json", "--config", file.to_str().unwrap()];
    let found: Value = serde_json::from_str(&printed(&node, &args)).unwrap();
    assert_eq!(found[0]["next"]["addresses"], json!(["10.1.0.11"]), "{found}");
}

#[test]
fn a_definition_without_a_configuration_has_that_of_the_node_s_file() {
    let node = Machines::embedded().node();
    let host = inhabited(&node);
    host.api.has_empty_definition("db", "blue");
    host.runs("db-0", &selecting("blue", Some("10.1.0.11")));
    let folder = node.path("cni");
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("10-blue.conf"), network(&node).config.to_string()).unwrap();
    // A second network, so that this one is not the only one.
    let other = other(&node).with(json!({ "name": "red" }));
    std::fs::write(folder.join("20-red.conf"), other.config.to_string()).unwrap();
    let next = document(&node, "db/db-0")[0]["next"].clone();
    assert_eq!((&next["outcome"], &next["addresses"]), (&json!("assigns"), &json!(["10.1.0.11"])), "{next}");
}
