//! What a diagnosis reads of a cluster besides pods: the server's version, rights, definitions of networks, and the
//! installer's DaemonSet with its pods.

use serde_json::{Value, json};

use super::{Api, Scenario, forbidden};

/// The objects, and what is wrong with them.
#[derive(Default)]
pub(super) struct Inventory {
    /// The rules that a review of the own rights returns.
    rules: Vec<Value>,
    definitions: Vec<Value>,
    daemon_sets: Vec<Value>,
    daemon_pods: Vec<Value>,
    /// How far the server's clock is ahead, in seconds.
    pub(super) ahead: i64,
    /// The resources that may not be listed.
    hidden: Vec<String>,
}

/// A rule of a role.
#[must_use]
pub fn rule(group: &str, resource: &str, verbs: &[&str], names: &[&str]) -> Value {
    json!({ "apiGroups": [group], "resources": [resource], "verbs": verbs, "resourceNames": names })
}

/// The rules of examples/install/rbac.yaml.
#[must_use]
pub fn installed_rules() -> Vec<Value> {
    vec![
        rule("", "pods", &["get"], &[]),
        rule("apps", "statefulsets", &["get"], &[]),
        rule("kubevirt.io", "virtualmachineinstances", &["get"], &[]),
        rule("k8s.cni.cncf.io", "ipamclaims", &["get"], &[]),
        rule("k8s.cni.cncf.io", "ipamclaims/status", &["patch"], &[]),
        rule("", "nodes", &["get", "list"], &[]),
        rule("", "namespaces", &["get"], &["kube-system"]),
        rule("", "events", &["create"], &[]),
        rule("authorization.k8s.io", "selfsubjectrulesreviews", &["create"], &[]),
    ]
}

impl Api {
    /// Sets the rules that the user has.
    pub fn allows(&self, rules: &[Value]) {
        self.pods().inventory.rules = rules.to_vec();
    }

    /// Adds a NetworkAttachmentDefinition with this configuration.
    pub fn has_definition(&self, namespace: &str, name: &str, config: &Value) {
        let definition = json!({
            "apiVersion": "k8s.cni.cncf.io/v1", "kind": "NetworkAttachmentDefinition",
            "metadata": { "namespace": namespace, "name": name, "uid": format!("uid-of-{name}") },
            "spec": { "config": config.to_string() },
        });
        self.pods().inventory.definitions.push(definition);
    }

    /// Sets the installer's DaemonSet: its image, on how many nodes it should run, and the nodes on which it is ready or
    /// not.
    pub fn has_installer(&self, image: &str, nodes: &[(&str, bool)]) {
        let inventory = &mut self.pods().inventory;
        let ready = nodes.iter().filter(|(_, ready)| *ready).count();
        let meta = |name: &str| json!({ "namespace": "kube-ipam", "name": name, "uid": format!("uid-of-{name}") });
        inventory.daemon_sets = vec![json!({
            "metadata": meta("kube-ipam"),
            "spec": { "template": { "spec": { "containers": [{ "name": "install", "image": image }] } } },
            "status": {
                "desiredNumberScheduled": nodes.len(), "numberReady": ready, "updatedNumberScheduled": nodes.len(),
            },
        })];
        let pod = |(node, ready): &(&str, bool)| {
            let state =
                if *ready { json!({ "running": {} }) } else { json!({ "waiting": { "reason": "CrashLoopBackOff" } }) };
            json!({
                "metadata": meta(&format!("kube-ipam-{node}")),
                "spec": { "nodeName": node },
                "status": {
                    "phase": "Running",
                    "conditions": [{ "type": "Ready", "status": if *ready { "True" } else { "False" } }],
                    "containerStatuses": [{ "name": "install", "state": state }],
                },
            })
        };
        inventory.daemon_pods = nodes.iter().map(pod).collect();
    }

    /// Sets the Lease of the controller: who holds it, and when it was renewed.
    pub fn has_leader(&self, holder: &str, renewed: &str) {
        self.pods().lease = Some(json!({
            "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
            "metadata": { "namespace": "kube-ipam", "name": "kube-ipam-controller", "resourceVersion": "1" },
            "spec": { "holderIdentity": holder, "leaseDurationSeconds": 15, "renewTime": renewed },
        }));
    }

    /// Sets how far the server's clock is ahead, in seconds.
    pub fn is_ahead(&self, seconds: i64) {
        self.pods().inventory.ahead = seconds;
    }

    /// Refuses lists of these resources.
    pub fn hides(&self, resources: &[&str]) {
        self.pods().inventory.hidden = resources.iter().map(|resource| (*resource).to_owned()).collect();
    }
}

impl Inventory {
    /// The response to a request, if it is about one of these objects.
    pub(super) fn answer(&self, verb: &str, path: &str) -> Option<Scenario> {
        let (resource, query) = path.split_once('?').unwrap_or((path, ""));
        let resource = resource.rsplit('/').next().unwrap_or_default();
        if verb == "GET" && query.contains("limit=") && self.hidden.iter().any(|hidden| hidden == resource) {
            return Some(Scenario::Answers(403, forbidden(resource, "")));
        }
        if let Some(definition) = self.definition(path).filter(|_| verb == "GET") {
            return Some(Scenario::Answers(200, definition.clone()));
        }
        let list = |items: &[Value]| Scenario::Answers(200, json!({ "kind": "List", "metadata": {}, "items": items }));
        match (verb, resource) {
            ("GET", "version") => {
                Some(Scenario::Answers(200, json!({ "major": "1", "minor": "33", "gitVersion": "v1.33.1" })))
            }
            ("POST", "selfsubjectrulesreviews") => {
                let status = json!({ "resourceRules": self.rules, "nonResourceRules": [], "incomplete": false });
                Some(Scenario::Answers(201, json!({ "kind": "SelfSubjectRulesReview", "spec": {}, "status": status })))
            }
            ("GET", "network-attachment-definitions") => Some(list(&self.definitions)),
            ("GET", "daemonsets") => Some(list(&self.daemon_sets)),
            ("GET", "pods") if query.contains("labelSelector=") => Some(list(&self.daemon_pods)),
            _ => None,
        }
    }

    /// The definition of a request path.
    fn definition(&self, path: &str) -> Option<&Value> {
        let named = path.strip_prefix("/apis/k8s.cni.cncf.io/v1/namespaces/")?;
        let (namespace, name) = named.split('?').next()?.split_once("/network-attachment-definitions/")?;
        let is_it = |definition: &&Value| {
            let metadata = &definition["metadata"];
            metadata["namespace"] == namespace && metadata["name"] == name
        };
        self.definitions.iter().find(is_it)
    }
}
