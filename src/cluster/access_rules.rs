//! What the user of a kubeconfig may do (SelfSubjectRulesReview and SelfSubjectAccessReview, authorization.k8s.io/v1).

use kube::core::Request;
use kube::core::params::PostParams;
use serde::Deserialize;
use serde_json::{Value, json};

use super::object::{ObjectRef, ResourceKind};
use super::response::cut;
use super::{ApiServer, ClusterError};

/// What a user may do in a namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AccessRules {
    /// The rules. A right that several roles grant appears once for each.
    pub rules: Vec<AccessRule>,
    /// Why there may be more rules: some authorizers, such as webhooks, can't list them.
    pub incomplete: Option<String>,
}

/// A service account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AccountRef<'a> {
    /// Its namespace.
    pub namespace: &'a str,
    /// Its name.
    pub name: &'a str,
}

impl AccountRef<'_> {
    /// The name of its user, as in `kubectl --as`.
    pub fn user(&self) -> String {
        format!("system:serviceaccount:{}:{}", self.namespace, self.name)
    }
}

/// A rule, as in a Role.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct AccessRule {
    /// API groups; `*` for all.
    pub api_groups: Vec<String>,
    /// Resources; `*` for all.
    pub resources: Vec<String>,
    /// Names of objects; empty for all.
    pub resource_names: Vec<String>,
    /// Verbs; `*` for all.
    pub verbs: Vec<String>,
}

impl AccessRule {
    /// Whether it allows a verb on all objects of a resource, or on the one with this name.
    pub fn allows(&self, group: &str, resource: &str, verb: &str, name: Option<&str>) -> bool {
        let has = |list: &[String], text: &str| list.iter().any(|entry| entry == "*" || entry == text);
        let is_named = self.resource_names.is_empty()
            || name.is_some_and(|name| self.resource_names.iter().any(|entry| entry == name));
        // `*/status` stands for the subresource of every resource.
        let subresource = resource.split_once('/').map(|(_, sub)| format!("*/{sub}"));
        let has_resource =
            has(&self.resources, resource) || subresource.is_some_and(|sub| self.resources.contains(&sub));
        has(&self.api_groups, group) && has_resource && has(&self.verbs, verb) && is_named
    }
}

#[derive(Deserialize)]
struct Review<T> {
    status: T,
}

#[derive(Deserialize)]
struct AccessStatus {
    allowed: bool,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct ReviewStatus {
    resource_rules: Vec<AccessRule>,
    incomplete: bool,
    evaluation_error: Option<String>,
}

impl ApiServer {
    /// Asks what the user may do in a namespace, including what it may do in all. Creates nothing: the server answers
    /// the review and forgets it.
    pub fn access_rules(&self, namespace: &str) -> Result<AccessRules, ClusterError> {
        self.review(namespace, None)
    }

    /// Asks the same about a service account, by impersonation (`kubectl --as`), so that the answer is the server's own.
    /// The user needs the right to impersonate the account.
    pub fn access_rules_of(&self, account: &AccountRef<'_>, namespace: &str) -> Result<AccessRules, ClusterError> {
        self.review(namespace, Some(&account.user()))
    }

    /// Asks whether the user may do this with all objects of a resource in a namespace. Unlike the rules, the answer
    /// includes what webhooks decide.
    pub fn may(&self, namespace: &str, group: &str, resource: &str, verb: &str) -> Result<bool, ClusterError> {
        let review = json!({
            "apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview",
            "spec": { "resourceAttributes": {
                "namespace": namespace, "group": group, "resource": resource, "verb": verb,
            } },
        });
        let AccessStatus { allowed } = self.create_review(ResourceKind::AccessReview, &review, None)?;
        Ok(allowed)
    }

    fn review(&self, namespace: &str, user: Option<&str>) -> Result<AccessRules, ClusterError> {
        let review = json!({
            "apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectRulesReview", "spec": { "namespace": namespace },
        });
        let status = self.create_review(ResourceKind::RulesReview, &review, user)?;
        let ReviewStatus { resource_rules, incomplete, evaluation_error } = status;
        let why = || evaluation_error.as_deref().map_or("the server gives no reason".to_owned(), cut);
        Ok(AccessRules { rules: resource_rules, incomplete: incomplete.then(why) })
    }

    /// The status of a review, for this user or another one.
    fn create_review<T: for<'de> Deserialize<'de>>(
        &self,
        kind: ResourceKind,
        review: &Value,
        user: Option<&str>,
    ) -> Result<T, ClusterError> {
        let object = ObjectRef::all(kind);
        let body = review.to_string().into_bytes();
        let request = Request::new(object.path()).create(&PostParams::default(), body);
        let mut request = request.map_err(|_| object.invalid_name())?;
        if let Some(user) = user {
            let value = user.parse().map_err(|_| ClusterError::Name { what: "user", text: user.to_owned() })?;
            request.headers_mut().insert("impersonate-user", value);
        }
        let response = self.request(request, &object, self.deadline())?;
        if !matches!(response.status, 200 | 201) {
            return Err(response.failure(&object));
        }
        let review = serde_json::from_slice(&response.body).map_err(|error| response.unexpected(&object, error));
        let Review { status } = review?;
        Ok(status)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(groups: &[&str], resources: &[&str], names: &[&str], verbs: &[&str]) -> AccessRule {
        let list = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        AccessRule {
            api_groups: list(groups),
            resources: list(resources),
            resource_names: list(names),
            verbs: list(verbs),
        }
    }

    #[test]
    fn a_rule_allows_what_its_lists_name_together() {
        let pods = rule(&[""], &["pods"], &[], &["get"]);
        assert!(pods.allows("", "pods", "get", None));
        assert!(!pods.allows("", "pods", "list", None));
        assert!(!pods.allows("apps", "pods", "get", None));
        assert!(!pods.allows("", "pods/status", "get", None));
        let all = rule(&["*"], &["*"], &[], &["*"]);
        assert!(all.allows("k8s.cni.cncf.io", "ipamclaims/status", "patch", None));
        let statuses = rule(&["k8s.cni.cncf.io"], &["*/status"], &[], &["patch"]);
        assert!(statuses.allows("k8s.cni.cncf.io", "ipamclaims/status", "patch", None));
        assert!(!statuses.allows("k8s.cni.cncf.io", "ipamclaims", "patch", None));
        let named = rule(&[""], &["namespaces"], &["kube-system"], &["get"]);
        assert!(named.allows("", "namespaces", "get", Some("kube-system")));
        assert!(!named.allows("", "namespaces", "get", Some("default")));
        assert!(!named.allows("", "namespaces", "get", None));
    }
}
