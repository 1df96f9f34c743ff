//! `kube-ipam doctor` on a store in a real API server: each planted fault is named with its next step, and what is fixed as
//! recommended is no longer named.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test's verdict is a panic")]

mod rights;

use kube_ipam::store::KubernetesConfig;
use kube_ipam_e2e::api_server::{ApiServer, Fault, FaultyNetwork, Patch, Tenant, store};
use kube_ipam_e2e::diagnosis::{Diagnosis, paste};
use kube_ipam_e2e::node::Node;
use kube_ipam_e2e::operator::printed;
use kube_ipam_e2e::wait_until;
use serde_json::{Value, json};

/// The checks of this store.
const CHECKS: [&str; 6] = [
    "kubernetes-resources",
    "kubernetes-namespace",
    "kubernetes-rights",
    "kubernetes-latency",
    "kubernetes-objects",
    "kubernetes-transactions",
];

/// The rights of a node to the store, in its namespace.
fn store_rule() -> Value {
    let (group, resources, verbs) = KubernetesConfig::rule();
    json!({ "apiGroups": [group], "resources": resources, "verbs": verbs })
}

/// A machine with an address, and the path of its lease in the API.
fn inhabited<'a>(tenant: &'a Tenant<'a>) -> (Node, Lease<'a>) {
    let node = Node::on_kubernetes(tenant);
    let reply = node.network(json!({ "subnet": "10.1.0.0/24" })).call("ADD", "c1").args("IP=10.1.0.18").run();
    assert_eq!(reply.ok().addresses(), ["10.1.0.18/24"]);
    (node, Lease { tenant, name: "default-f4-f010-e001-e000-e018".to_owned() })
}

/// An object of the resource `ipleases`.
struct Lease<'a> {
    tenant: &'a Tenant<'a>,
    name: String,
}

impl Lease<'_> {
    fn leases(&self) -> String {
        format!("/apis/{}/v1alpha1/namespaces/{}/ipleases", KubernetesConfig::rule().0, self.tenant.namespace())
    }

    fn path(&self) -> String {
        format!("{}/{}", self.leases(), self.name)
    }

    fn read(&self) -> Value {
        self.tenant.server().admin().get(&self.path()).unwrap()
    }

    fn patch(&self, patch: &Value) {
        self.tenant.server().admin().patch(&self.path(), Patch::Merge, patch).unwrap();
    }

    fn delete(&self) {
        self.tenant.server().admin().delete(&self.path()).unwrap();
    }

    /// Creates another object with the same content.
    fn copy(&self, name: &str) {
        let Value::Object(mut object) = self.read() else { panic!("no object") };
        object["metadata"] = json!({ "name": name, "labels": object["metadata"]["labels"] });
        self.tenant.server().admin().create(&self.leases(), &Value::Object(object)).unwrap();
    }

    /// Makes it one that was last written some time ago. No request can do that: the server sets these times.
    fn age(&self, hours: i64) {
        let etcd = self.tenant.server().etcd();
        let (group, namespace) = (KubernetesConfig::rule().0, self.tenant.namespace());
        let key = format!("/registry/{group}/ipleases/{namespace}/{}", self.name);
        let stored = etcd.etcdctl(&["get", "--print-value-only", &key]).unwrap();
        let mut object: Value = serde_json::from_str(stored.trim()).unwrap();
        let written =
            json!((jiff::Timestamp::now() - jiff::SignedDuration::from_hours(hours)).strftime("%FT%TZ").to_string());
        object["metadata"]["creationTimestamp"] = written.clone();
        for entry in object["metadata"]["managedFields"].as_array_mut().into_iter().flatten() {
            entry["time"] = written.clone();
        }
        etcd.etcdctl(&["put", &key, &object.to_string()]).unwrap();
    }
}

/// The object as doctor names it.
fn named(lease: &Lease<'_>, name: &str) -> String {
    format!("ipleases.kube-ipam.cloudnativer.io/{name} in namespace {}", lease.tenant.namespace())
}

/// The faults that the checks of this store find.
fn faults(node: &Node) -> Vec<String> {
    let mut faults = Diagnosis::of(node, &[]).faults();
    faults.retain(|fault| CHECKS.iter().any(|check| fault.starts_with(check)));
    faults
}

#[track_caller]
fn assert_only_fault(node: &Node, expected: &str) {
    let faults = faults(node);
    assert!(faults.len() == 1 && faults[0].starts_with(expected), "{expected}: {faults:#?}");
}

/// Runs a command of kubectl as it was printed, as somebody who may do everything.
fn paste_as_admin(command: &str, tenant: &Tenant<'_>) {
    let kubeconfig = tenant.owner().kubeconfig.display();
    paste(&format!("export KUBECONFIG={kubeconfig}\n{command}"));
}

#[test]
fn a_namespace_that_is_missing_or_being_deleted_is_named() {
    let Some(tenant) = ApiServer::with_store("a_namespace_that_is_missing_or_being_deleted_is_named") else { return };
    let node = Node::on_kubernetes(&tenant).with_store_in("nowhere");
    let diagnosis = Diagnosis::of(&node, &[]);
    assert_eq!(
        diagnosis.line("kubernetes-namespace"),
        "kubernetes-namespace error: namespace nowhere: it does not exist, so no address can be stored: ADDs fail with code 11"
    );
    assert!(diagnosis.commands("kubernetes-namespace")[0].starts_with("kubectl create namespace nowhere"));
    // Who may not read it, and finds nothing in it, does not know.
    let user = tenant.user("node", &[store_rule()], &[]).unwrap();
    let node = Node::on_kubernetes(&tenant).with_kubeconfig(&user.kubeconfig);
    let line = Diagnosis::of(&node, &[]).line("kubernetes-namespace");
    assert!(
        line.starts_with(&format!(
            "kubernetes-namespace skipped: namespace {}: whether it exists is not known: ",
            tenant.namespace()
        )),
        "{line}"
    );
    // Without controllers, it stays in this state.
    tenant.server().admin().delete(&format!("/api/v1/namespaces/{}", tenant.namespace())).unwrap();
    let node = Node::on_kubernetes(&tenant);
    assert_only_fault(
        &node,
        &format!(
            "kubernetes-namespace error: namespace {}: it is being deleted, and every lease in it",
            tenant.namespace()
        ),
    );
}

#[test]
fn a_resource_that_is_not_served_is_named() {
    let Some(server) = ApiServer::start("a_resource_that_is_not_served_is_named") else { return };
    let tenant = server.tenant().unwrap();
    let node = Node::on_kubernetes(&tenant);
    let line = Diagnosis::of(&node, &[]).line("kubernetes-resources");
    assert!(
        line.starts_with(
            "kubernetes-resources error: the API server does not serve ipleases.kube-ipam.cloudnativer.io, iprests."
        ),
        "{line}"
    );
    store::install(&tenant).unwrap();
    assert_eq!(faults(&node), [""; 0]);

    let definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
    server.admin().delete(&format!("{definitions}/iprests.kube-ipam.cloudnativer.io")).unwrap();
    let expected =
        "kubernetes-resources error: the API server does not serve iprests.kube-ipam.cloudnativer.io; until it does";
    wait_until("the server no longer serves it", || faults(&node).iter().any(|fault| fault.starts_with(expected)));
    let commands = Diagnosis::of(&node, &[]).commands("kubernetes-resources");
    assert_eq!(commands[0], "kubectl apply -f examples/install/resources.yaml");
    assert!(commands[1].starts_with("kube-ipam recovery --begin --store kubernetes://"), "{commands:?}");
}

#[test]
fn an_object_that_cannot_be_read_is_named() {
    let Some(tenant) = ApiServer::with_store("an_object_that_cannot_be_read_is_named") else { return };
    let (node, lease) = inhabited(&tenant);
    assert_eq!(faults(&node), [""; 0]);
    lease.patch(&json!({ "spec": { "revision": "x" } }));
    assert_only_fault(
        &node,
        &format!(
            "kubernetes-objects error: {}: it can't be read, so what it is named after counts as in use until it is mended or gone: ",
            named(&lease, &lease.name)
        ),
    );
    let commands = Diagnosis::of(&node, &[]).commands("kubernetes-objects");
    assert!(
        commands[0].starts_with(&format!(
            "kubectl get ipleases.kube-ipam.cloudnativer.io/{} -n {}",
            lease.name,
            tenant.namespace()
        )),
        "{commands:?}"
    );
    paste_as_admin(&commands[0], &tenant);
    assert!(printed(&node, &["list"]).contains("unreadable"));

    let revision = json!("7");
    lease.patch(&json!({ "spec": { "revision": revision, "lock": { "v": 9 } } }));
    assert_only_fault(
        &node,
        &format!("kubernetes-objects warning: namespace {}: a newer kube-ipam has locked 1 object", tenant.namespace()),
    );
    lease.patch(&json!({ "spec": { "lock": null } }));
    assert_eq!(faults(&node), [""; 0]);
}

#[test]
fn an_object_that_was_copied_or_renamed_is_named_and_the_commands_mend_it_as_pasted() {
    let test = "an_object_that_was_copied_or_renamed_is_named_and_the_commands_mend_it_as_pasted";
    let Some(tenant) = ApiServer::with_store(test) else { return };
    let (node, lease) = inhabited(&tenant);
    lease.copy("copy");
    let fault = format!(
        "kubernetes-objects error: {}: it is a copy of ipleases.kube-ipam.cloudnativer.io/{}",
        named(&lease, "copy"),
        lease.name
    );
    assert_only_fault(&node, &fault);
    let commands = Diagnosis::of(&node, &[]).commands("kubernetes-objects");
    commands.iter().for_each(|command| paste_as_admin(command, &tenant));
    assert_eq!(faults(&node), [""; 0]);

    lease.copy("renamed");
    lease.delete();
    let fault = format!(
        "kubernetes-objects error: {}: it has key ip/default/4/010.001.000.018, which belongs into ",
        named(&lease, "renamed")
    );
    assert_only_fault(&node, &fault);
    let commands = Diagnosis::of(&node, &[]).commands("kubernetes-objects");
    commands.iter().for_each(|command| paste_as_admin(command, &tenant));
    assert_eq!(faults(&node), [""; 0]);
    assert!(Diagnosis::of(&node, &[]).line("records-in-store").contains(" ok: "));
    assert_eq!(node.held().len(), 1);

    lease.patch(&json!({ "metadata": { "labels": { "kube-ipam.cloudnativer.io/stem": "other", "kube-ipam.cloudnativer.io/open": "true" } } }));
    assert_only_fault(
        &node,
        &format!("kubernetes-objects warning: {}: its labels are not those of its key", named(&lease, &lease.name)),
    );
    let commands = Diagnosis::of(&node, &[]).commands("kubernetes-objects");
    commands.iter().for_each(|command| paste_as_admin(command, &tenant));
    assert_eq!(faults(&node), [""; 0]);
}

#[test]
fn a_transaction_that_was_left_open_is_named_until_a_sweep() {
    let Some(tenant) = ApiServer::with_store("a_transaction_that_was_left_open_is_named_until_a_sweep") else { return };
    let (node, lease) = inhabited(&tenant);
    let lock = json!({ "v": 1, "txn": "5", "primary": "at/node-9/c9/eth0/blue", "then": "delete" });
    let labels = json!({ "kube-ipam.cloudnativer.io/open": "true" });
    lease.patch(&json!({ "metadata": { "labels": labels }, "spec": { "lock": lock } }));
    // It may be of a transaction that is under way.
    assert_eq!(faults(&node), [""; 0]);
    lease.age(1);
    let name = format!("ipleases.kube-ipam.cloudnativer.io/{}", lease.name);
    assert_only_fault(
        &node,
        &format!(
            "kubernetes-transactions warning: namespace {}: 1 object has been left open for longer than a minute by calls that died, 1 of them locked: {name}; no address is lost by that",
            tenant.namespace()
        ),
    );
    let commands = Diagnosis::of(&node, &[]).commands("kubernetes-transactions");
    assert!(commands[1].starts_with("kube-ipam sweep --store kubernetes://"), "{commands:?}");
    // A sweep frees nothing if the API server has no pods.
    tenant.pod("web-0", &json!({}), "node-1").unwrap();
    printed(&node, &["sweep", "--interval", "10ms"]);
    assert_eq!(faults(&node), [""; 0]);
    assert_eq!(node.held().len(), 1);
}

#[test]
fn an_object_that_was_deleted_by_hand_while_its_pod_runs_is_found() {
    let test = "an_object_that_was_deleted_by_hand_while_its_pod_runs_is_found";
    let Some(tenant) = ApiServer::with_store(test) else { return };
    let (node, lease) = inhabited(&tenant);
    lease.delete();
    let diagnosis = Diagnosis::of(&node, &[]);
    let expected = "attachments error: 10.1.0.18: container c1, interface eth0, node node-1, network blue has it, and it has no lease: another pod may get it";
    assert!(diagnosis.line("attachments").starts_with(expected), "{:#?}", diagnosis.lines());
    assert_eq!(diagnosis.commands("attachments")[0], "kube-ipam sweep --node");
    printed(&node, &["sweep", "--node"]);
    let mended = Diagnosis::of(&node, &[]);
    assert!(mended.line("attachments").starts_with("attachments ok: "), "{:#?}", mended.lines());

    let fresh = tenant.server().tenant().unwrap();
    let (node, lease) = inhabited(&fresh);
    let attachments = lease.leases().replace("ipleases", "ipattachments");
    for item in fresh.server().admin().get(&attachments).unwrap()["items"].as_array().unwrap() {
        let name = item["metadata"]["name"].as_str().unwrap();
        fresh.server().admin().delete(&format!("{attachments}/{name}")).unwrap();
    }
    let found = Diagnosis::of(&node, &[]).line("records-in-store");
    assert!(found.starts_with("records-in-store error: node node-1: the store has lost writes: "), "{found}");
}

#[test]
fn an_api_server_that_refuses_reads_because_it_is_busy_is_named() {
    let test = "an_api_server_that_refuses_reads_because_it_is_busy_is_named";
    let Some(tenant) = ApiServer::with_store(test) else { return };
    let network = FaultyNetwork::start(tenant.owner(), 1).unwrap();
    network.plant("/iprecoveries/", Fault::Busy);
    let node = Node::on_kubernetes(&tenant).with_kubeconfig(&network.kubeconfig());
    let line = Diagnosis::of(&node, &[]).line("kubernetes-latency");
    assert!(line.starts_with("kubernetes-latency error: https://127.0.0.1:"), "{line}");
    assert!(line.ends_with(": it has refused 5 of 5 reads because it is too busy (429)"), "{line}");
}
