//! What a pod's author finds on the pod: that an address was refused or taken over, once, and at nobody's expense. The
//! API server is one that plays scenarios.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test's verdict is a panic")]

use kube_ipam_e2e::api::{self, Api, NAMESPACE};
use kube_ipam_e2e::cni::{Call, Reply};
use kube_ipam_e2e::machines::{self, Machines};
use kube_ipam_e2e::node::Node;
use serde_json::{Value, json};

const OLD: &str = "0b4f6a52-3c1d-4b8e-9a53-0f6d8c1f1a11";
const NEW: &str = "7d8a2f90-52f5-4f53-a1f4-3f5f8f5a2b22";

/// A node with an API server on which pod db-0 has the address that others request.
struct Host {
    node: Node,
    api: Api,
}

impl Host {
    fn new() -> Self {
        Self::on(Machines::embedded().node())
    }

    fn on(node: Node) -> Self {
        let host = Self { node, api: Api::start().unwrap() };
        let kubeconfig = host.api.kubeconfig_of(&host.node).unwrap();
        let log = json!({ "file": host.node.path("kube-ipam.log"), "level": "debug" });
        host.node.set_defaults(&json!({ "annotations": true, "kubeConfig": kubeconfig, "log": log }));
        host.asks("db-0", OLD);
        host.add("old", "db-0", OLD).ok();
        assert_eq!(host.api.events(), [Value::Null; 0]);
        host
    }

    /// A pod that requests the address runs.
    fn asks(&self, name: &str, uid: &str) {
        self.api.has(name, uid, "Running", &json!({ "kube-ipam.eth0.ip": "10.1.0.5" }));
    }

    fn call(&self, verb: &str, container: &str, pod: &str, uid: &str) -> Call {
        let call = self.node.network(json!({ "subnet": "10.1.0.0/24" })).call(verb, container);
        call.args(&format!("IgnoreUnknown=1;K8S_POD_NAMESPACE={NAMESPACE};K8S_POD_NAME={pod};K8S_POD_UID={uid}"))
    }

    fn add(&self, container: &str, pod: &str, uid: &str) -> Reply {
        self.call("ADD", container, pod, uid).run()
    }

    /// Another pod requests the address in vain.
    fn refused(&self, container: &str, pod: &str) {
        self.asks(pod, NEW);
        assert_eq!(self.add(container, pod, NEW).refused().code(), 11);
    }
}

/// Runs a case on each store. One in the API server shares the connection of the event.
fn on_each_store(test: &str, case: impl Fn(&Host)) {
    machines::each(test).for_each(|machines| case(&Host::on(machines.node())));
}

#[test]
fn a_refused_pod_has_an_event_with_the_text_of_the_error() {
    on_each_store("a_refused_pod_has_an_event_with_the_text_of_the_error", is_refused_with_an_event);
}

fn is_refused_with_an_event(host: &Host) {
    host.asks("db-1", NEW);
    let refused = host.add("new", "db-1", NEW).refused();
    let events = host.api.events();
    let [event] = events.as_slice() else { panic!("{events:?}") };
    let involved = &event["involvedObject"];
    assert_eq!((&involved["kind"], &involved["uid"]), (&json!("Pod"), &json!(NEW)));
    assert_eq!((&involved["namespace"], &involved["name"]), (&json!(NAMESPACE), &json!("db-1")));
    assert_eq!(event["metadata"]["namespace"], NAMESPACE);
    let name = event["metadata"]["name"].as_str().unwrap();
    assert!(name.starts_with("db-1.") && name.len() <= 253, "{name}");
    assert_eq!((&event["reason"], &event["type"]), (&json!("AddressRefused"), &json!("Warning")));
    assert_eq!(event["source"], json!({ "component": "kube-ipam", "host": "node-1" }));
    assert_eq!((&event["reportingComponent"], &event["count"]), (&json!("kube-ipam"), &json!(1)));
    let message = event["message"].as_str().unwrap();
    assert!(refused.text().contains(message), "{}\n{message}", refused.text());
    assert!(message.contains("10.1.0.5 is held by pod db/db-0"), "{message}");
}

#[test]
fn the_runtimes_further_attempts_publish_no_event() {
    let host = Host::new();
    for attempt in 0..4 {
        host.refused(&format!("new{attempt}"), "db-1");
    }
    assert_eq!(host.api.events().len(), 1);
    // Another text, and another pod.
    host.api.has("db-0", OLD, "Pending", &json!({}));
    host.refused("new5", "db-1");
    host.refused("new6", "db-2");
    assert_eq!(host.api.events().len(), 2);
}

#[test]
fn a_node_publishes_at_most_twenty_events_at_once() {
    let host = Host::new();
    for pod in 1..=25 {
        host.refused("new", &format!("db-{pod}"));
    }
    assert_eq!(host.api.events().len(), 20);
}

#[test]
fn a_take_over_is_an_event_that_names_the_former_holder() {
    on_each_store("a_take_over_is_an_event_that_names_the_former_holder", takes_over_with_an_event);
}

fn takes_over_with_an_event(host: &Host) {
    // A new sandbox of the same pod is no event.
    host.add("rebuilt", "db-0", OLD).ok();
    assert_eq!(host.api.events(), [Value::Null; 0]);
    host.api.lost("db-0");
    host.asks("db-1", NEW);
    for _ in 0..2 {
        host.add("new", "db-1", NEW).ok();
    }
    let events = host.api.events();
    let [event] = events.as_slice() else { panic!("{events:?}") };
    assert_eq!((&event["reason"], &event["type"]), (&json!("AddressTakenOver"), &json!("Normal")));
    let expected = "10.1.0.5 was taken over from pod db/db-0, interface eth0, node node-1, network blue, which is gone";
    assert_eq!(event["message"], expected);
}

#[test]
fn a_pod_that_gets_its_reserved_address_again_has_one_event() {
    let host = Host::new();
    let mut pod = api::pod("pg-0", OLD, "Running", &json!({}));
    let set = json!({ "apiVersion": "apps/v1", "kind": "StatefulSet", "name": "pg", "uid": "o-1", "controller": true });
    pod["metadata"]["ownerReferences"] = json!([set]);
    host.api.has("pg", "o-1", "Running", &json!({}));
    let add = |container: &str, pod: &Value| {
        host.api.shows("pg-0", pod);
        let uid = pod["metadata"]["uid"].as_str().unwrap();
        let args = format!("K8S_POD_NAMESPACE={NAMESPACE};K8S_POD_NAME=pg-0;K8S_POD_UID={uid}");
        let network = host.node.network(json!({ "subnet": "10.1.0.0/24", "sticky": true }));
        let address = network.call("ADD", container).args(&args).run().address();
        (address.trim_end_matches("/24").to_owned(), network)
    };
    // A random address, and a repeated ADD: no event.
    let (address, network) = add("first", &pod);
    add("first", &pod);
    network.del("first").ok();
    assert_eq!(host.api.events(), [Value::Null; 0]);
    pod["metadata"]["uid"] = json!(NEW);
    for _ in 0..2 {
        assert_eq!(add("second", &pod).0, address);
    }
    let events = host.api.events();
    let [event] = events.as_slice() else { panic!("{events:?}") };
    assert_eq!((&event["reason"], &event["type"]), (&json!("StickyAddressUsed"), &json!("Normal")));
    assert_eq!(event["involvedObject"]["uid"], NEW);
    assert_eq!(event["message"], format!("{address} was reserved for StatefulSet pod db/pg-0, and is used again"));
    // Within ten minutes it is not published again for this pod.
    network.del("second").ok();
    add("third", &pod);
    assert_eq!(host.api.events(), [Value::Null; 0]);
}

#[test]
fn without_the_right_no_event_is_published_for_a_while_and_the_log_says_so_once() {
    let host = Host::new();
    let message = "events is forbidden: User \"system:node\" cannot create resource \"events\" in API group \"\" in the \
                   namespace \"db\"";
    let forbidden = json!({ "kind": "Status", "reason": "Forbidden", "code": 403, "message": message });
    host.api.refuses_events(403, &forbidden);
    for pod in ["db-1", "db-2", "db-3"] {
        host.refused("new", pod);
    }
    assert_eq!(host.api.events().len(), 1);
    let log = host.node.log();
    assert_eq!(log.matches("this node publishes no events for an hour").count(), 1, "{log}");
    assert!(log.contains("does not allow user system:node to create events in namespace db"), "{log}");
}

#[test]
fn a_namespace_that_is_being_deleted_silences_no_other() {
    let host = Host::new();
    let message = "events \"db-1.5\" is forbidden: unable to create new content in namespace db because it is being \
                   terminated";
    host.api.refuses_events(403, &json!({ "kind": "Status", "reason": "Forbidden", "code": 403, "message": message }));
    host.refused("new", "db-1");
    host.refused("new", "db-2");
    assert_eq!(host.api.events().len(), 2);
}

#[test]
fn the_reply_is_the_same_whatever_becomes_of_the_event() {
    let host = Host::new();
    host.api.hangs_up_on_events();
    host.refused("new", "db-1");
    host.api.refuses_events(500, &Value::Null);
    host.refused("new", "db-2");
    assert_eq!(host.api.events().len(), 2);
    let log = host.node.log();
    assert_eq!(log.matches("an event could not be published").count(), 2, "{log}");
    assert!(!log.contains("publishes no events"), "{log}");
    host.api.lost("db-0");
    host.asks("db-3", NEW);
    host.add("new", "db-3", NEW).ok();
}

#[test]
fn a_call_that_did_not_need_the_api_server_publishes_no_event() {
    let host = Host::new();
    // The gateway, requested by the runtime on a network that reads no pods.
    let network = host.node.network(json!({ "subnet": "10.1.0.0/24", "annotations": false }));
    let args = format!("K8S_POD_NAMESPACE={NAMESPACE};K8S_POD_NAME=db-9;K8S_POD_UID={NEW};IP=10.1.0.1");
    host.api.asked();
    assert_eq!(network.call("ADD", "new").args(&args).run().refused().code(), 7);
    assert_eq!((host.api.asked(), host.api.events()), (Vec::<String>::new(), Vec::<Value>::new()));
}
