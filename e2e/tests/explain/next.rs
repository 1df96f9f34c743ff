//! The next ADD that is announced is what that ADD then answers.

use kube_ipam_e2e::api::{self, NAMESPACE};
use kube_ipam_e2e::cni::Reply;
use kube_ipam_e2e::machines::Machines;
use kube_ipam_e2e::node::Node;
use serde_json::{Value, json};

use crate::{Host, lease_key, network, on_each_host, printed, uid, write};

/// A network's configuration in a file, and what explain says about a subject with it.
fn explained_with(node: &Node, config: &Value, subject: &str) -> Value {
    let file = node.path("network.json");
    std::fs::write(&file, config.to_string()).unwrap();
    let args = ["explain", subject, "-o", "json", "--config", file.to_str().unwrap()];
    let found: Value = serde_json::from_str(&printed(node, &args)).unwrap();
    found[0].clone()
}

/// The addresses or the text of a reply.
pub(crate) fn outcome(reply: &Reply) -> Value {
    match reply.document.get("msg") {
        Some(text) => json!({ "refused": text }),
        None => {
            let ips = reply.document["ips"].as_array().unwrap().iter();
            let address = |ip: &Value| ip["address"].as_str().unwrap().split('/').next().unwrap().to_owned();
            json!({ "addresses": ips.map(address).collect::<Vec<_>>() })
        }
    }
}

/// The same of an explanation. The text of a refusal ends with what to do, which a reply has in its details.
pub(crate) fn announced(next: &Value, reply: &Reply) -> Value {
    match next["outcome"].as_str().unwrap() {
        "refused" => {
            let msg = reply.document["msg"].as_str().unwrap_or_default();
            let why = next["why"].as_str().unwrap();
            json!({ "refused": if why.starts_with(msg) { msg } else { why } })
        }
        _ => json!({ "addresses": next["addresses"] }),
    }
}

#[test]
fn the_next_add_is_what_that_add_then_answers() {
    on_each_host("the_next_add_is_what_that_add_then_answers", |host| {
        let ip = |ip: &str| json!({ "kube-ipam.eth0.ip": ip });
        host.add("random", &json!({})).ok();
        host.add("fixed", &ip("10.1.0.11")).ok();
        host.add("changed", &ip("10.1.0.12")).ok();
        host.runs("changed", &ip("10.1.0.13"));
        host.add("lost", &ip("10.1.0.14")).ok();
        host.api.lost("lost");
        // Pods without a sandbox: one wants what another has, one what a lost one had, and one finds nothing left.
        host.runs("conflict", &ip("10.1.0.11"));
        host.runs("heir", &ip("10.1.0.14"));
        host.runs("late", &json!({}));
        host.runs("gateway", &ip("10.1.0.1"));
        host.runs("fresh", &ip("10.1.0.15"));
        let config = network(host.node).config;
        for (subject, pod, expected) in [
            ("10.1.0.100", "random", "repeats"),
            ("10.1.0.11", "fixed", "repeats"),
            ("10.1.0.12", "changed", "refused"),
            ("db/conflict", "conflict", "refused"),
            ("db/heir", "heir", "assigns"),
            ("db/late", "late", "refused"),
            ("db/gateway", "gateway", "refused"),
            ("db/fresh", "fresh", "assigns"),
        ] {
            let held = host.node.held();
            let next = explained_with(host.node, &config, subject)["next"].clone();
            assert_eq!(host.node.held(), held, "{subject}: explain reads only");
            assert_eq!(next["outcome"], expected, "{subject}: {next}");
            let reply = host.call("ADD", pod);
            assert_eq!(announced(&next, &reply), outcome(&reply), "{subject}: {next}");
        }
    });
}

#[test]
fn a_pod_of_a_set_and_a_foreign_address_are_foretold_as_well() {
    let node = Machines::embedded().node();
    let host = Host::new(&node);
    let network = node.network(json!({ "subnet": "10.1.0.0/24", "sticky": true, "cooldown": "0s", "probe": "always" }));
    let of_set = |uid: &str| {
        let mut pod = api::pod("pg-0", uid, "Running", &json!({}));
        let owner =
            json!({ "apiVersion": "apps/v1", "kind": "StatefulSet", "name": "pg", "uid": "o-1", "controller": true });
        pod["metadata"]["ownerReferences"] = json!([owner]);
        host.api.shows("pg-0", &pod);
    };
    let call = |verb: &str, container: &str, pod: &str, uid: &str| {
        let args = format!("IgnoreUnknown=1;K8S_POD_NAMESPACE={NAMESPACE};K8S_POD_NAME={pod};K8S_POD_UID={uid}");
        network.call(verb, container).args(&args).run()
    };
    host.api.has("pg", "o-1", "Running", &json!({}));
    of_set("u-1");
    let first = call("ADD", "c-1", "pg-0", "u-1");
    let had = outcome(&first);
    call("DEL", "c-1", "pg-0", "u-1").ok();
    of_set("u-2");
    let next = explained_with(&node, &network.config, "db/pg-0")["next"].clone();
    assert_eq!(json!({ "addresses": next["addresses"] }), had, "{next}");
    assert_eq!(outcome(&call("ADD", "c-2", "pg-0", "u-2")), had);

    let foreign = json!({
        "v": 1, "kind": "dynamic", "holders": [], "since": "2026-11-01T10:00:00Z", "onRelease": "forget",
        "foreign": { "mac": "02:00:00:00:00:07", "network": "blue", "node": "node-1", "answered": "2099-11-01T10:00:00Z" },
    });
    write(&node, lease_key("10.1.0.50"), &foreign);
    host.runs("wants", &json!({ "kube-ipam.eth0.ip": "10.1.0.50" }));
    let next = explained_with(&node, &network.config, "db/wants")["next"].clone();
    let reply = call("ADD", "c-3", "wants", &uid("wants"));
    assert_eq!(announced(&next, &reply), outcome(&reply), "{next}");
}
