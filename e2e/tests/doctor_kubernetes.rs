//! `kube-ipam doctor` on a store in a real API server: each planted fault is named with its next step, and what is fixed as
//! recommended is no longer named.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test's verdict is a panic")]

use kube_ipam::store::KubernetesConfig;
use kube_ipam_e2e::api_server::{ApiServer, Patch, Tenant, store};
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
fn a_node_with_the_rights_of_the_pages_passes_every_check() {
    let Some(tenant) = ApiServer::with_store("a_node_with_the_rights_of_the_pages_passes_every_check") else { return };
    let user = tenant.user("node", &[store_rule()], &[]).unwrap();
    let node = Node::on_kubernetes(&tenant).with_kubeconfig(&user.kubeconfig);
    node.network(json!({ "subnet": "10.1.0.0/24" })).add("c1").ok();
    let diagnosis = Diagnosis::of(&node, &[]);
    assert_eq!(faults(&node), [""; 0]);
    for check in CHECKS {
        let line = diagnosis.line(check);
        assert!(line.starts_with(&format!("{check} ok: ")), "{line}");
    }
    // It may not read its namespace, and has an object in it.
    assert!(diagnosis.line("kubernetes-namespace").contains("it exists, and has "), "{:#?}", diagnosis.lines());
}

#[test]
fn rights_that_lack_or_are_too_many_are_named_and_fail_what_is_said() {
    let Some(tenant) = ApiServer::with_store("rights_that_lack_or_are_too_many_are_named_and_fail_what_is_said") else {
        return;
    };
    let namespace = tenant.namespace();
    let (group, resources, verbs) = KubernetesConfig::rule();
    let without = |name: &str, (verb, resource): (&str, &str)| {
        let rules: Vec<Value> = resources
            .iter()
            .map(|of| {
                let verbs: Vec<&str> = verbs.into_iter().filter(|other| (*other, *of) != (verb, resource)).collect();
                json!({ "apiGroups": [group], "resources": [of], "verbs": verbs })
            })
            .collect();
        let user = tenant.user(name, &rules, &[]).unwrap();
        let node = Node::on_kubernetes(&tenant).with_kubeconfig(&user.kubeconfig);
        node.set_defaults(&json!({ "nodeName": name, "timeout": "5s" }));
        node
    };
    let may_not = |status: &str, right: &str| {
        format!("kubernetes-rights {status}: namespace {namespace}: the node's account may not {right}; without it, ")
    };
    let network = |node: &Node, subnet: &str| node.network(json!({ "subnet": subnet })).add("c1");

    let node = without("creator", ("create", "ipleases"));
    assert_only_fault(&node, &may_not("error", "create ipleases"));
    network(&node, "10.1.0.0/24").refused();

    let node = without("definer", ("create", "ipnetworks"));
    assert_only_fault(&node, &may_not("error", "create ipnetworks"));
    network(&node, "10.9.0.0/24").refused();

    let node = without("deleter", ("delete", "ipleases"));
    assert_only_fault(&node, &may_not("warning", "delete ipleases"));
    network(&node, "10.1.0.0/24").ok();
    node.network(json!({ "subnet": "10.1.0.0/24", "cooldown": "0s" })).del("c1").ok();
    assert!(Diagnosis::of(&node, &[]).line("deferred-releases").contains(" ok: "));

    let nobody = tenant.user("nobody", &[], &[]).unwrap();
    let node = Node::on_kubernetes(&tenant).with_kubeconfig(&nobody.kubeconfig);
    let found = faults(&node);
    assert_eq!(found.len(), 1, "{found:#?}");
    assert!(found[0].contains("the node's account may do nothing with the store's resources"), "{found:#?}");
    let next = Diagnosis::of(&node, &[]).next("kubernetes-rights");
    let rule = r#"with the rule apiGroups ["kube-ipam.cloudnativer.io"], resources ["*"], verbs ["get", "list", "create", "update", "delete"]"#;
    assert!(next.contains(rule), "{next}");
    let commands = Diagnosis::of(&node, &[]).commands("kubernetes-rights");
    assert_eq!(commands[0], format!("kubectl apply -n {namespace} -f examples/install/store.yaml"));

    let secrets = json!({ "apiGroups": [""], "resources": ["secrets"], "verbs": ["get"] });
    let wide = tenant.user("wide", &[store_rule(), secrets], &[]).unwrap();
    let node = Node::on_kubernetes(&tenant).with_kubeconfig(&wide.kubeconfig);
    assert_only_fault(
        &node,
        &format!(
            "kubernetes-rights warning: namespace {namespace}: the node's account may do more in it than kube-ipam needs: get secrets"
        ),
    );

    let everywhere = tenant.user("everywhere", &[], &[store_rule()]).unwrap();
    let node = Node::on_kubernetes(&tenant).with_kubeconfig(&everywhere.kubeconfig);
    assert_only_fault(
        &node,
        &format!(
            "kubernetes-rights warning: namespace {namespace}: the node's account has its rights to such resources in every other namespace"
        ),
    );

    // Who looks at a store with another kubeconfig need not change it.
    let reader = json!({ "apiGroups": [group], "resources": resources, "verbs": ["get", "list"] });
    let reader = tenant.user("reader", &[reader], &[]).unwrap();
    let options = ["--kubeconfig", reader.kubeconfig.to_str().unwrap()];
    let line = Diagnosis::of(&node, &options).line("kubernetes-rights");
    assert!(line.starts_with("kubernetes-rights ok: ") && line.contains("create/update/delete ipleases"), "{line}");
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
            "kubernetes-objects error: {}: it can't be read, and no list of its resource until then: ",
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
    kube_ipam_e2e::operator::refused(&node, &["list"]);

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
            "kubernetes-transactions warning: 1 object has been left open for longer than a minute by calls that died, 1 of them locked: {name}; no address is lost by that"
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
fn an_attachment_that_was_deleted_by_hand_is_found_by_the_records() {
    let Some(tenant) = ApiServer::with_store("an_attachment_that_was_deleted_by_hand_is_found_by_the_records") else {
        return;
    };
    let (node, lease) = inhabited(&tenant);
    let attachments = lease.leases().replace("ipleases", "ipattachments");
    for item in tenant.server().admin().get(&attachments).unwrap()["items"].as_array().unwrap() {
        let name = item["metadata"]["name"].as_str().unwrap();
        tenant.server().admin().delete(&format!("{attachments}/{name}")).unwrap();
    }
    let found = Diagnosis::of(&node, &[]).line("records-in-store");
    assert!(found.starts_with("records-in-store error: node node-1: the store has lost writes: "), "{found}");
}

#[test]
fn an_api_server_that_refuses_reads_because_it_is_busy_is_named() {
    let Some(tenant) = ApiServer::with_store("an_api_server_that_refuses_reads_because_it_is_busy_is_named") else {
        return;
    };
    let (node, _) = inhabited(&tenant);
    let (name, group) = (tenant.namespace(), KubernetesConfig::rule().0);
    let flow_control = "flowcontrol.apiserver.k8s.io/v1";
    // This level has no seat at all.
    tenant
        .apply(&json!({
            "apiVersion": flow_control, "kind": "PriorityLevelConfiguration", "metadata": { "name": name },
            "spec": { "type": "Limited", "limited": {
                "nominalConcurrencyShares": 0, "lendablePercent": 0, "borrowingLimitPercent": 0,
                "limitResponse": { "type": "Reject" },
            } },
        }))
        .unwrap();
    tenant
        .apply(&json!({
            "apiVersion": flow_control, "kind": "FlowSchema", "metadata": { "name": name },
            "spec": {
                "priorityLevelConfiguration": { "name": name }, "matchingPrecedence": 10,
                "rules": [{
                    "subjects": [{ "kind": "ServiceAccount", "serviceAccount": { "namespace": name, "name": "owner" } }],
                    "resourceRules": [{
                        "verbs": ["get"], "apiGroups": [group], "resources": ["iprecoveries"], "namespaces": [name],
                    }],
                }],
            },
        }))
        .unwrap();
    let expected = format!(
        "kubernetes-latency error: {}: it has refused 5 of 5 reads because it is too busy (429)",
        tenant.server().url()
    );
    wait_until("the server refuses reads", || faults(&node).contains(&expected));
}
