//! What the Kubernetes store makes of the answers of a real API server: each error says what to correct, and nothing was
//! changed. `src/store/kubernetes/answer/tests.rs` has the bodies of these answers.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test's verdict is a panic")]

use std::fs;
use std::path::Path;
use std::time::Duration;

use kube_ipam::apiserver::Access;
use kube_ipam::deadline::Deadline;
use kube_ipam::store::{Key, KubernetesConfig, KubernetesStore, Op, Store, StoreError, Txn};
use kube_ipam_e2e::api_server::{ApiServer, Patch, Tenant};
use kube_ipam_e2e::node::Node;
use kube_ipam_e2e::wait_until;
use serde_json::{Value, json};

/// The resources of the store.
const GROUP: &str = "kube-ipam.cloudnativer.io";

/// Webhooks and policies.
const ADMISSION: &str = "admissionregistration.k8s.io/v1";

fn config(kubeconfig: &Path, namespace: &str) -> KubernetesConfig {
    KubernetesConfig { access: vec![Access::Kubeconfig(kubeconfig.into())], namespace: namespace.to_owned() }
}

/// Creates a key. Returns why that did not happen; `None` if it did.
fn refusal(config: &KubernetesConfig) -> Option<String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let txn = Txn::new(vec![], vec![Op::Put(Key::new("net/x"), b"{}".to_vec())], vec![]).unwrap();
    let store = KubernetesStore::new(config.clone());
    match runtime.block_on(store.commit(&txn, Deadline::after(Duration::from_secs(20)))) {
        Ok(_) => None,
        Err(StoreError::Denied(cause)) => Some(cause.to_string()),
        Err(error) => panic!("not a refusal: {error:?}"),
    }
}

/// Waits until the server refuses to create a key, and checks the text.
fn is_refused(config: &KubernetesConfig, texts: &[&str]) {
    let mut last = None;
    wait_until("the server refuses a write", || {
        last = refusal(config);
        last.is_some()
    });
    let text = last.unwrap();
    texts.iter().for_each(|part| assert!(text.contains(part), "{part:?} is not in: {text}"));
}

/// A policy that denies everything in a tenant's namespace, as long as it exists.
fn deny(tenant: &Tenant<'_>) {
    let name = tenant.namespace();
    tenant
        .apply(&json!({
            "apiVersion": ADMISSION, "kind": "ValidatingAdmissionPolicy", "metadata": { "name": name },
            "spec": {
                "matchConstraints": {
                    "namespaceSelector": { "matchLabels": { "kubernetes.io/metadata.name": name } },
                    "resourceRules": [{
                        "apiGroups": [GROUP], "apiVersions": ["*"], "operations": ["*"], "resources": ["*"],
                    }],
                },
                "validations": [{ "expression": "false", "message": "not today" }],
            },
        }))
        .unwrap();
    tenant
        .apply(&json!({
            "apiVersion": ADMISSION, "kind": "ValidatingAdmissionPolicyBinding", "metadata": { "name": name },
            "spec": { "policyName": name, "validationActions": ["Deny"] },
        }))
        .unwrap();
}

fn delete_net_x(tenant: &Tenant<'_>) {
    let path = format!("/apis/{GROUP}/v1alpha1/namespaces/{}/ipnetworks", tenant.namespace());
    for item in tenant.server().admin().get(&path).unwrap()["items"].as_array().unwrap() {
        let name = item["metadata"]["name"].as_str().unwrap();
        tenant.server().admin().delete(&format!("{path}/{name}")).unwrap();
    }
}

#[test]
fn a_refusal_says_what_to_correct() {
    let Some(tenant) = ApiServer::with_store("a_refusal_says_what_to_correct") else { return };
    let (owner, namespace) = (&tenant.owner().kubeconfig, tenant.namespace());
    assert_eq!(refusal(&config(owner, namespace)), None);
    is_refused(&config(owner, "nowhere"), &["there is no namespace nowhere", "create it"]);

    let nobody = tenant.user("nobody", &[], &[]).unwrap();
    let rule = ["does not allow kube-ipam to ", "grant it the rule", "User \"system:serviceaccount:"];
    is_refused(&config(&nobody.kubeconfig, namespace), &rule);

    let mut stranger: Value = serde_json::from_str(&fs::read_to_string(owner).unwrap()).unwrap();
    stranger["users"][0]["user"]["token"] = json!("unknown");
    let file = tenant.server().folder().join(format!("{namespace}-stranger.kubeconfig"));
    fs::write(&file, stranger.to_string()).unwrap();
    is_refused(&config(&file, namespace), &["does not accept the credentials of", "renew them"]);
}

#[test]
fn an_admission_check_is_named() {
    let Some(tenant) = ApiServer::with_store("an_admission_check_is_named") else { return };
    let config = tenant.store();
    deny(&tenant);
    is_refused(&config, &["an admission check of the cluster refuses to ", "not today", "pass"]);
}

#[test]
fn a_quota_is_named() {
    let Some(tenant) = ApiServer::with_store("a_quota_is_named") else { return };
    let count = format!("count/ipnetworks.{GROUP}");
    tenant
        .apply(&json!({
            "apiVersion": "v1", "kind": "ResourceQuota", "metadata": { "name": "none" },
            "spec": { "hard": { &count: "0" } },
        }))
        .unwrap();
    // Without controllers, nobody counts.
    let status = json!({ "status": { "hard": { &count: "0" }, "used": { &count: "0" } } });
    let path = format!("/api/v1/namespaces/{}/resourcequotas/none/status", tenant.namespace());
    tenant.server().admin().patch(&path, Patch::Merge, &status).unwrap();
    let mut last = String::new();
    wait_until("the quota is known", || {
        delete_net_x(&tenant);
        last = refusal(&tenant.store()).unwrap_or_default();
        last.contains("exceeded quota: none")
    });
    assert!(last.contains("an admission check of the cluster refuses to create ipnetworks"), "{last}");
}

#[test]
fn a_namespace_that_is_being_deleted_is_named() {
    let Some(tenant) = ApiServer::with_store("a_namespace_that_is_being_deleted_is_named") else { return };
    let namespace = tenant.namespace();
    // Without controllers, it stays in this state.
    tenant.server().admin().delete(&format!("/api/v1/namespaces/{namespace}")).unwrap();
    is_refused(&tenant.store(), &[&format!("namespace {namespace} is being deleted")]);
}

#[test]
fn an_add_says_what_is_missing() {
    let Some(mut server) = ApiServer::start("an_add_says_what_is_missing") else { return };
    let (node, owner) = {
        let tenant = server.tenant().unwrap();
        (Node::on_kubernetes(&tenant), tenant.owner().kubeconfig.clone())
    };
    node.set_defaults(&json!({ "timeout": "3s" }));
    let network = node.network(json!({ "subnet": "10.1.0.0/24" }));
    let mut number = 0;
    let mut says = |parts: &[&str]| {
        number += 1;
        let reply = network.add(&format!("c{number}")).refused();
        assert_eq!(reply.code(), 11, "{}", reply.stdout);
        parts.iter().for_each(|part| assert!(reply.text().contains(part), "{part:?} is not in: {}", reply.text()));
    };
    says(&["has no resource ip", "install kube-ipam's CustomResourceDefinitions"]);
    server.stop().unwrap();
    says(&["can't be reached", "Connection refused"]);
    fs::remove_file(owner).unwrap();
    says(&["kubeconfig", "there is no such file"]);
}
