//! Objects that somebody has changed so that nobody can read them: the addresses count as held and are never assigned,
//! the objects stay as they are, and everything else goes on.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test's verdict is a panic")]

use std::collections::BTreeSet;

use kube_ipam::store::KubernetesConfig;
use kube_ipam_e2e::api_server::{ApiServer, Patch, Tenant};
use kube_ipam_e2e::node::{Network, Node};
use kube_ipam_e2e::operator::{printed, refused};
use serde_json::{Value, json};

/// An object of the store.
struct Object<'a> {
    tenant: &'a Tenant<'a>,
    path: String,
}

impl<'a> Object<'a> {
    fn lease(tenant: &'a Tenant<'a>, name: &str) -> Self {
        Self { tenant, path: format!("{}/ipleases/{name}", objects(tenant)) }
    }

    /// The only attachment.
    fn attachment(tenant: &'a Tenant<'a>) -> Self {
        let path = format!("{}/ipattachments", objects(tenant));
        let list = tenant.server().admin().get(&path).unwrap();
        let [object] = list["items"].as_array().unwrap().as_slice() else { panic!("{list}") };
        Self { tenant, path: format!("{path}/{}", object["metadata"]["name"].as_str().unwrap()) }
    }

    fn damage(&self, spec: &Value) {
        self.tenant.server().admin().patch(&self.path, Patch::Merge, &json!({ "spec": spec })).unwrap();
    }

    fn spec(&self) -> Value {
        let mut spec = self.tenant.server().admin().get(&self.path).unwrap()["spec"].take();
        // People see it, and nothing reads it.
        spec.as_object_mut().unwrap().remove("summary");
        spec
    }
}

fn objects(tenant: &Tenant<'_>) -> String {
    format!("/apis/{}/v1alpha1/namespaces/{}", KubernetesConfig::rule().0, tenant.namespace())
}

/// A network of four addresses, from .11 to .14.
fn four(node: &Node) -> Network<'_> {
    node.network(
        json!({ "subnet": "10.1.0.0/24", "rangeStart": "10.1.0.11", "rangeEnd": "10.1.0.14", "cooldown": "0s" }),
    )
}

fn lease<'a>(tenant: &'a Tenant<'a>, last: u8) -> Object<'a> {
    Object::lease(tenant, &format!("default-f4-f010-e001-e000-e01{last}"))
}

fn states(node: &Node) -> Vec<String> {
    let listed: Vec<Value> = serde_json::from_str(&printed(node, &["list", "-o", "json"])).unwrap();
    let text = |entry: &Value| format!("{} {}", entry["address"].as_str().unwrap(), entry["state"].as_str().unwrap());
    listed.iter().map(text).collect()
}

/// A sweep trusts an API server with at least one pod.
fn sweep(node: &Node, tenant: &Tenant<'_>) {
    tenant.pod("alive", &json!({}), "node-1").unwrap();
    printed(node, &["sweep", "--max-share", "1"]);
}

#[test]
fn a_lease_that_can_not_be_read_is_never_assigned_and_stays_as_it_is() {
    let test = "a_lease_that_can_not_be_read_is_never_assigned_and_stays_as_it_is";
    let Some(tenant) = ApiServer::with_store(test) else { return };
    let node = Node::on_kubernetes(&tenant);
    let network = four(&node);
    let damages = [
        json!({ "revision": "x" }),
        json!({ "revision": null }),
        json!({ "revision": "x", "key": "ip/default/4/010.001.000.009" }),
    ];
    let mut before = Vec::new();
    for (n, damage) in (1u8..).zip(&damages) {
        network.call("ADD", &format!("c{n}")).args(&format!("IP=10.1.0.1{n}")).run().ok();
        lease(&tenant, n).damage(damage);
        before.push(lease(&tenant, n).spec());
    }
    let refusal = network.call("ADD", "other").args("IP=10.1.0.11").run().refused();
    assert!(
        refusal.stdout.contains("10.1.0.11 counts as held, because its lease can't be read: it is damaged: "),
        "{}",
        refusal.stdout
    );
    // All others are still assigned, at random and up to the last one.
    assert_eq!(network.add("random").ok().addresses(), ["10.1.0.14/24"]);
    let refusal = network.add("too-many").refused();
    assert!(refusal.stdout.contains("no address is free in "), "{}", refusal.stdout);
    let expected = ["10.1.0.11 unreadable", "10.1.0.12 unreadable", "10.1.0.13 unreadable", "10.1.0.14 held"];
    assert_eq!(states(&node), expected);
    assert!(
        printed(&node, &["explain", "10.1.0.12"]).contains("a value without a revision, or a revision without a value")
    );

    // Its holder goes, and nobody knows what it held.
    (1..=3).for_each(|n| drop(network.del(&format!("c{n}")).ok()));
    sweep(&node, &tenant);
    assert_eq!(states(&node), expected);
    let after: Vec<Value> = (1..=3).map(|n| lease(&tenant, n).spec()).collect();
    assert_eq!(after, before);

    // Who knows better frees it.
    for n in 1..=3 {
        printed(&node, &["release", &format!("10.1.0.1{n}"), "--yes"]);
    }
    let again: BTreeSet<String> = (1..=3).map(|n| network.add(&format!("again{n}")).ok().address()).collect();
    assert_eq!(again.len(), 3);
}

/// A revision is of one write alone. If it is the one that the attachment knows, nobody else has had the address since.
#[test]
fn a_lease_without_its_value_goes_with_its_holder() {
    let Some(tenant) = ApiServer::with_store("a_lease_without_its_value_goes_with_its_holder") else { return };
    let node = Node::on_kubernetes(&tenant);
    let network = four(&node);
    network.call("ADD", "c1").args("IP=10.1.0.11").run().ok();
    lease(&tenant, 1).damage(&json!({ "value": null }));
    assert_eq!(states(&node), ["10.1.0.11 unreadable"]);
    network.call("ADD", "c2").args("IP=10.1.0.11").run().refused();
    network.del("c1").ok();
    assert_eq!(network.call("ADD", "c2").args("IP=10.1.0.11").run().ok().addresses(), ["10.1.0.11/24"]);
}

#[test]
fn a_lease_whose_lock_can_not_be_read_is_left_alone_by_everybody() {
    let Some(tenant) = ApiServer::with_store("a_lease_whose_lock_can_not_be_read_is_left_alone_by_everybody") else {
        return;
    };
    let node = Node::on_kubernetes(&tenant);
    let network = four(&node);
    network.call("ADD", "c1").args("IP=10.1.0.11").run().ok();
    let object = lease(&tenant, 1);
    object.damage(&json!({ "lock": { "v": 1, "txn": "x" } }));
    let before = object.spec();
    assert_eq!((0..3).map(|n| network.add(&format!("r{n}")).ok().address()).collect::<BTreeSet<_>>().len(), 3);
    network.add("too-many").refused();
    assert_eq!(states(&node)[0], "10.1.0.11 unreadable");
    // Nobody knows what the transaction wanted, so not even an operator frees it before the object was corrected.
    let (_, error) = refused(&node, &["release", "10.1.0.11", "--yes"]);
    assert!(error.contains("the object's spec is invalid"), "{error}");
    assert_eq!(object.spec(), before);
    object.damage(&json!({ "lock": null }));
    assert_eq!(states(&node)[0], "10.1.0.11 held");
    network.del("c1").ok();
    assert_eq!(network.add("c2").ok().addresses(), ["10.1.0.11/24"]);
}

#[test]
fn an_attachment_that_can_not_be_read_frees_nothing() {
    let Some(tenant) = ApiServer::with_store("an_attachment_that_can_not_be_read_frees_nothing") else { return };
    let node = Node::on_kubernetes(&tenant);
    let network = four(&node);
    network.call("ADD", "c1").args("IP=10.1.0.11").run().ok();
    let object = Object::attachment(&tenant);
    let revision = object.spec()["revision"].clone();
    object.damage(&json!({ "revision": "x" }));
    let before = object.spec();
    network.add("c2").ok();
    let refusal = network.add("c1").refused();
    assert!(refusal.stdout.contains("can't be read: it is damaged"), "{}", refusal.stdout);
    network.del("c1");
    sweep(&node, &tenant);
    assert_eq!(object.spec(), before);
    assert!(states(&node).contains(&"10.1.0.11 held".to_owned()));
    // Corrected by hand, it is as before.
    object.damage(&json!({ "revision": revision }));
    network.del("c1").ok();
    assert!(!states(&node).contains(&"10.1.0.11 held".to_owned()));
}

#[test]
fn an_object_under_a_name_that_no_key_has_is_nobody_s() {
    let Some(tenant) = ApiServer::with_store("an_object_under_a_name_that_no_key_has_is_nobody_s") else { return };
    let node = Node::on_kubernetes(&tenant);
    let network = four(&node);
    network.call("ADD", "c1").args("IP=10.1.0.11").run().ok();
    let original = tenant.server().admin().get(&lease(&tenant, 1).path).unwrap();
    let copy = json!({
        "apiVersion": original["apiVersion"], "kind": original["kind"], "spec": original["spec"],
        "metadata": { "name": "copy.of-it", "labels": original["metadata"]["labels"] },
    });
    tenant.server().admin().create(&format!("{}/ipleases", objects(&tenant)), &copy).unwrap();
    assert_eq!(states(&node), ["10.1.0.11 held"]);
    (0..3).for_each(|n| drop(network.add(&format!("r{n}")).ok()));
    network.del("c1").ok();
    assert_eq!(network.add("last").ok().addresses(), ["10.1.0.11/24"]);
}
