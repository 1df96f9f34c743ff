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
    workloads: Vec<Value>,
    /// The namespace of a store in custom resources, and the rules that everybody has in it alone.
    of_store: Option<(String, Vec<Value>)>,
    /// Whether rules can't be listed, as those of a webhook. Each right alone can be asked for.
    has_webhook: bool,
    /// The node defaults in the ConfigMap of the installer.
    installed_defaults: Option<String>,
    /// The rules of the controller's account; `None` if nobody may impersonate it.
    controller_rules: Option<Vec<Value>>,
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

/// The rules of examples/install/controller/rbac.yaml, and its own of examples/install/store.yaml.
#[must_use]
pub fn controller_rules() -> Vec<Value> {
    let read = ["get", "list", "watch"];
    vec![
        rule("", "pods", &read, &[]),
        rule("", "namespaces", &["get"], &["kube-system"]),
        rule("apps", "statefulsets", &read, &[]),
        rule("kubevirt.io", "virtualmachines", &read, &[]),
        rule("kubevirt.io", "virtualmachineinstances", &read, &[]),
        rule("k8s.cni.cncf.io", "ipamclaims", &read, &[]),
        rule("", "events", &["list", "watch"], &[]),
        rule("coordination.k8s.io", "leases", &["create"], &[]),
        rule("coordination.k8s.io", "leases", &["get", "update"], &["kube-ipam-controller"]),
        rule("kube-ipam.cloudnativer.io", "ipnetworks/status", &["patch"], &[]),
        rule("authorization.k8s.io", "selfsubjectrulesreviews", &["create"], &[]),
    ]
}

impl Api {
    /// Sets the rules that the controller's account has; `None` if the user may not impersonate it.
    pub fn allows_controller(&self, rules: Option<&[Value]>) {
        self.pods().inventory.controller_rules = rules.map(<[Value]>::to_vec);
    }

    /// Sets the node defaults in the ConfigMap of the installer.
    pub fn has_installed_defaults(&self, text: Option<&str>) {
        self.pods().inventory.installed_defaults = text.map(str::to_owned);
    }

    /// Sets the rules that the user has.
    pub fn allows(&self, rules: &[Value]) {
        self.pods().inventory.rules = rules.to_vec();
    }

    /// Sets the rules that everybody has in the namespace of the store, which exists then.
    pub fn allows_in(&self, namespace: &str, rules: &[Value]) {
        self.pods().inventory.of_store = Some((namespace.to_owned(), rules.to_vec()));
    }

    /// Lists no rule from now on, because a webhook decides. Only the rights to the store can be asked for one by one.
    pub fn authorizes_by_webhook(&self) {
        self.pods().inventory.has_webhook = true;
    }

    /// Adds a NetworkAttachmentDefinition with this configuration.
    pub fn has_definition(&self, namespace: &str, name: &str, config: &Value) {
        self.adds_definition(namespace, name, &json!({ "config": config.to_string() }));
    }

    /// Adds a NetworkAttachmentDefinition without a configuration.
    pub fn has_empty_definition(&self, namespace: &str, name: &str) {
        self.adds_definition(namespace, name, &json!({}));
    }

    fn adds_definition(&self, namespace: &str, name: &str, spec: &Value) {
        let definition = json!({
            "apiVersion": "k8s.cni.cncf.io/v1", "kind": "NetworkAttachmentDefinition",
            "metadata": { "namespace": namespace, "name": name, "uid": format!("uid-of-{name}") },
            "spec": spec,
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

    /// Adds a workload: a Deployment, StatefulSet, Job and so on.
    pub fn has_workload(&self, workload: &Value) {
        self.pods().inventory.workloads.push(workload.clone());
    }

    /// Removes all workloads.
    pub fn loses_workloads(&self) {
        self.pods().inventory.workloads.clear();
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
    pub(super) fn answer(&self, verb: &str, path: &str, user: Option<&str>, sent: &[u8]) -> Option<Scenario> {
        if let Some((namespace, _)) = &self.of_store
            && path == format!("/api/v1/namespaces/{namespace}")
        {
            return Some(Scenario::Answers(200, json!({ "kind": "Namespace", "status": { "phase": "Active" } })));
        }
        let (resource, query) = path.split_once('?').unwrap_or((path, ""));
        let resource = resource.rsplit('/').next().unwrap_or_default();
        if verb == "GET" && query.contains("limit=") && self.hidden.iter().any(|hidden| hidden == resource) {
            return Some(Scenario::Answers(403, forbidden(resource, "")));
        }
        if path.starts_with("/api/v1/namespaces/kube-ipam/configmaps/kube-ipam") {
            if self.hidden.iter().any(|hidden| hidden == "configmaps") {
                return Some(Scenario::Answers(403, forbidden("configmaps", "kube-ipam")));
            }
            return self.installed_defaults.as_ref().map(|text| Scenario::Answers(200, config_map(text)));
        }
        if let Some(definition) = self.definition(path).filter(|_| verb == "GET") {
            return Some(Scenario::Answers(200, definition.clone()));
        }
        let list = |items: &[Value]| Scenario::Answers(200, json!({ "kind": "List", "metadata": {}, "items": items }));
        match (verb, resource) {
            ("GET", "version") => {
                Some(Scenario::Answers(200, json!({ "major": "1", "minor": "33", "gitVersion": "v1.33.1" })))
            }
            ("POST", "selfsubjectrulesreviews") if self.has_webhook => {
                let why = "webhook authorizer does not support user rule resolution";
                let status = json!({ "resourceRules": [], "incomplete": true, "evaluationError": why });
                Some(Scenario::Answers(201, json!({ "kind": "SelfSubjectRulesReview", "spec": {}, "status": status })))
            }
            ("POST", "selfsubjectaccessreviews") => {
                let review: Value = serde_json::from_slice(sent).ok()?;
                let asked = &review["spec"]["resourceAttributes"];
                let has = |rule: &Value, list: &str, field: &str| {
                    rule[list].as_array().is_some_and(|all| all.contains(&json!("*")) || all.contains(&asked[field]))
                };
                let is_allowed = |rule: &Value| {
                    has(rule, "apiGroups", "group") && has(rule, "resources", "resource") && has(rule, "verbs", "verb")
                };
                let (namespace, rules) = self.of_store.as_ref()?;
                let allowed = asked["namespace"] == **namespace && rules.iter().any(is_allowed);
                let status = json!({ "allowed": allowed });
                Some(Scenario::Answers(201, json!({ "kind": "SelfSubjectAccessReview", "spec": {}, "status": status })))
            }
            ("POST", "selfsubjectrulesreviews") => {
                let rules = match user {
                    None => &self.rules,
                    Some("system:serviceaccount:kube-ipam:kube-ipam-controller") if self.controller_rules.is_some() => {
                        self.controller_rules.as_ref()?
                    }
                    Some(user) => return Some(Scenario::Answers(403, forbidden("serviceaccounts", user))),
                };
                let review: Value = serde_json::from_slice(sent).ok()?;
                let of_store = self.of_store.iter().filter(|(namespace, _)| review["spec"]["namespace"] == **namespace);
                let rules: Vec<&Value> = rules.iter().chain(of_store.flat_map(|(_, rules)| rules)).collect();
                let status = json!({ "resourceRules": rules, "nonResourceRules": [], "incomplete": false });
                Some(Scenario::Answers(201, json!({ "kind": "SelfSubjectRulesReview", "spec": {}, "status": status })))
            }
            ("GET", "network-attachment-definitions") => Some(list(&self.definitions)),
            ("GET", "daemonsets") if query.contains("labelSelector=") => Some(list(&self.daemon_sets)),
            ("GET", "deployments" | "replicasets" | "statefulsets" | "daemonsets" | "jobs" | "cronjobs") => {
                let is_listed = |workload: &&Value| {
                    workload["kind"].as_str().is_some_and(|kind| format!("{}s", kind.to_lowercase()) == resource)
                };
                Some(list(&self.workloads.iter().filter(is_listed).cloned().collect::<Vec<_>>()))
            }
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

fn config_map(text: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "ConfigMap", "data": { "kube-ipam.json": text },
        "metadata": { "namespace": "kube-ipam", "name": "kube-ipam", "uid": "uid-of-config-map" },
    })
}
