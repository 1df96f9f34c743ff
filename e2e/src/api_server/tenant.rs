//! A test's own namespace in a shared API server, and its users.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::audit::Request;
use super::{ApiServer, Client, EVERY, Patch, READY, setup};
use crate::Result;
use crate::kubernetes::{eventually, pod_spec};

/// The paths of access rules, and of their reviews.
const RBAC: &str = "/apis/rbac.authorization.k8s.io/v1";
const REVIEWS: &str = "/apis/authorization.k8s.io/v1/subjectaccessreviews";

/// A namespace with its users. It ends with the server.
pub struct Tenant<'server> {
    server: &'server ApiServer,
    namespace: String,
    owner: User,
}

/// A user: a service account of the namespace, with a token.
pub struct User {
    /// The name under which the server knows it.
    name: String,
    /// A kubeconfig with its token.
    pub kubeconfig: PathBuf,
    /// Sends requests as this user.
    pub client: Client,
}

impl<'server> Tenant<'server> {
    pub(super) fn create(server: &'server ApiServer, namespace: &str) -> Result<Self> {
        server.admin.create("/api/v1/namespaces", &json!({ "metadata": { "name": namespace } }))?;
        let owner = create_user(server, namespace, "owner")?;
        bind(server, namespace, "owner", None, "cluster-admin")?;
        wait_allowed(
            server,
            namespace,
            &owner,
            &[json!({ "apiGroups": [""], "resources": ["nodes"], "verbs": ["delete"] })],
        )?;
        Ok(Self { server, namespace: namespace.to_owned(), owner })
    }

    /// Its server.
    pub fn server(&self) -> &'server ApiServer {
        self.server
    }

    /// The namespace.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// The user who may do everything in the cluster. Tests that share the server have different ones.
    pub fn owner(&self) -> &User {
        &self.owner
    }

    /// Creates a user with only these permissions: rules as in RBAC manifests, which hold in this namespace or in the
    /// cluster. Returns it once the server grants them.
    ///
    /// # Errors
    /// If the server refuses it.
    pub fn user(&self, name: &str, in_namespace: &[Value], in_cluster: &[Value]) -> Result<User> {
        let (server, namespace) = (self.server, &self.namespace);
        let user = create_user(server, namespace, name)?;
        let role = format!("{namespace}-{name}");
        for (scope, rules) in [(Some(namespace.as_str()), in_namespace), (None, in_cluster)] {
            if rules.is_empty() {
                continue;
            }
            let role = scope.map_or_else(|| role.clone(), |_| format!("{role}-namespaced"));
            let object = json!({ "metadata": { "name": role }, "rules": rules });
            server.admin.create(&format!("{RBAC}/clusterroles"), &object)?;
            bind(server, namespace, name, scope, &role)?;
            wait_allowed(server, scope.unwrap_or_default(), &user, rules)?;
        }
        Ok(user)
    }

    /// Creates or changes an object, in this namespace unless it names another (server-side apply). Returns it as the
    /// server has it. After that of a CustomResourceDefinition, its objects can be created.
    ///
    /// # Errors
    /// If the server refuses it.
    pub fn apply(&self, object: &Value) -> Result<Value> {
        self.server.apply_in(&self.namespace, object)
    }

    /// The same with each document of a YAML file.
    ///
    /// # Errors
    /// If the file can't be read, or the server refuses a document.
    pub fn apply_file(&self, file: &Path) -> Result<Vec<Value>> {
        self.server.apply_file_in(&self.namespace, file)
    }

    /// Creates a pod with these annotations on a node, which need not exist. It stays Pending. Returns it as the server
    /// has it.
    ///
    /// # Errors
    /// If the server refuses it.
    pub fn pod(&self, name: &str, annotations: &Value, node: &str) -> Result<Value> {
        let mut spec = pod_spec();
        spec["nodeName"] = json!(node);
        let pod = json!({ "metadata": { "name": name, "annotations": annotations }, "spec": spec });
        self.server.admin.create(&self.pods(""), &pod)
    }

    /// Sets the phase of a pod, as its kubelet would.
    ///
    /// # Errors
    /// If the server refuses it.
    pub fn set_phase(&self, pod: &str, phase: &str) -> Result<()> {
        let status = json!({ "status": { "phase": phase } });
        self.server.admin.patch(&self.pods(&format!("/{pod}/status")), Patch::Merge, &status).map(drop)
    }

    /// Deletes a pod at once.
    ///
    /// # Errors
    /// If the server refuses it.
    pub fn delete_pod(&self, name: &str) -> Result<()> {
        self.server.admin.delete(&self.pods(&format!("/{name}"))).map(drop)
    }

    /// What a user has requested so far, oldest first.
    ///
    /// # Errors
    /// If the audit log can't be read.
    pub fn requests(&self, user: &User) -> Result<Vec<Request>> {
        self.server.requests_of(&user.name)
    }

    fn pods(&self, rest: &str) -> String {
        format!("/api/v1/namespaces/{}/pods{rest}", self.namespace)
    }
}

/// Creates a service account, and a token for it.
fn create_user(server: &ApiServer, namespace: &str, name: &str) -> Result<User> {
    let accounts = format!("/api/v1/namespaces/{namespace}/serviceaccounts");
    server.admin.create(&accounts, &json!({ "metadata": { "name": name } }))?;
    let request = json!({ "spec": { "expirationSeconds": 24 * 3600 } });
    let answer = server.admin.create(&format!("{accounts}/{name}/token"), &request)?;
    let token = answer["status"]["token"].as_str().ok_or("the API server created no token")?;
    let kubeconfig = server.folder().join(format!("{namespace}-{name}.kubeconfig"));
    fs::write(&kubeconfig, setup::kubeconfig(&server.url(), &server.authority, token).to_string())?;
    Ok(User {
        name: format!("system:serviceaccount:{namespace}:{name}"),
        kubeconfig,
        client: server.admin.with_token(token),
    })
}

/// Binds a service account to a cluster role, in a namespace or in the cluster.
fn bind(server: &ApiServer, namespace: &str, account: &str, scope: Option<&str>, role: &str) -> Result<()> {
    let binding = json!({
        "metadata": { "name": format!("{namespace}-{account}") },
        "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role },
        "subjects": [{ "kind": "ServiceAccount", "namespace": namespace, "name": account }],
    });
    let path = match scope {
        Some(namespace) => format!("{RBAC}/namespaces/{namespace}/rolebindings"),
        None => format!("{RBAC}/clusterrolebindings"),
    };
    server.admin.create(&path, &binding).map(drop)
}

/// Waits until the server grants these rules. It learns of roles and bindings by a watch.
fn wait_allowed(server: &ApiServer, namespace: &str, user: &User, rules: &[Value]) -> Result<()> {
    let texts = |rule: &Value, key: &str| -> Vec<String> {
        rule[key].as_array().into_iter().flatten().filter_map(|text| text.as_str().map(str::to_owned)).collect()
    };
    for rule in rules {
        let name = texts(rule, "resourceNames").first().cloned().unwrap_or_default();
        // The rules of one role take effect together, so one permission of each will do.
        let [group, resource, verb] =
            ["apiGroups", "resources", "verbs"].map(|key| texts(rule, key).first().cloned().unwrap_or_default());
        let (resource, subresource) = resource.split_once('/').unwrap_or((&resource, ""));
        let review = json!({ "spec": { "user": user.name, "resourceAttributes": {
            "namespace": namespace, "verb": verb, "group": group, "resource": resource, "subresource": subresource,
            "name": name,
        } } });
        eventually(&format!("{} may {verb} {resource}", user.name), READY, EVERY, || {
            Ok((server.admin.create(REVIEWS, &review)?["status"]["allowed"] == true).then_some(()))
        })?;
    }
    Ok(())
}
