//! `api-rights`: whether RBAC allows the node's kubeconfig what kube-ipam needs, and no more.

use serde_json::{Map, Value};

use super::forbidden::unread;
use crate::cluster::{AccessRule, AccessRules};
use crate::config::read_defaults;
use crate::explain::{Commands, Tool};
use crate::ops::operator::doctor::store::custom_resources_rights;
use crate::ops::operator::doctor::subject::{Subject, commands};
use crate::ops::operator::doctor::{Context, Outcome, Remedy, Status};
use crate::store::StoreConfig;

/// The namespace whose rules are read. Rules for all namespaces apply there, too, and a right to its secrets is the
/// worst that an account of a node can have.
pub(in crate::ops::operator::doctor) const NAMESPACE: &str = "kube-system";

/// The account of the nodes in examples/install/rbac.yaml.
const ACCOUNT: &str = "system:serviceaccount:kube-ipam:kube-ipam";

/// How many rights are named; the others are counted.
const SHOWN: usize = 5;

/// A right, as in a rule of a role.
#[derive(Clone, Copy, Debug)]
pub(in crate::ops::operator::doctor) struct Right {
    pub(super) group: &'static str,
    pub(super) resource: &'static str,
    pub(super) verb: &'static str,
    /// The only object that is needed.
    pub(super) name: Option<&'static str>,
}

pub(in crate::ops::operator::doctor) const fn right(
    group: &'static str,
    resource: &'static str,
    verb: &'static str,
) -> Right {
    Right { group, resource, verb, name: None }
}

const PODS: Right = right("", "pods", "get");
const STATEFUL_SETS: Right = right("apps", "statefulsets", "get");
const NODES: Right = right("", "nodes", "list");
const CLUSTER: Right = Right { name: Some(NAMESPACE), ..right("", "namespaces", "get") };
const EVENTS: Right = right("", "events", "create");

/// All rights of examples/install/rbac.yaml. More than these are too many.
const ALL: [Right; 11] = [
    PODS,
    STATEFUL_SETS,
    right("kubevirt.io", "virtualmachineinstances", "get"),
    right("kubevirt.io", "virtualmachineinstancemigrations", "get"),
    right("k8s.cni.cncf.io", "ipamclaims", "get"),
    right("k8s.cni.cncf.io", "ipamclaims/status", "patch"),
    right("", "nodes", "get"),
    NODES,
    CLUSTER,
    EVENTS,
    right("events.k8s.io", "events", "create"),
];

/// On OpenShift, what lets pods use folders and the network of their node, in their own namespace.
pub(super) const HOST_ACCESS: Right =
    Right { name: Some("privileged"), ..right("security.openshift.io", "securitycontextconstraints", "use") };

/// All rights that a node may need, whatever its store is.
pub(in crate::ops::operator::doctor) fn needed_of_node() -> impl Iterator<Item = Right> {
    ALL.into_iter().chain([HOST_ACCESS])
}

/// The API groups in which every user may ask about itself (the ClusterRole system:basic-user).
const OF_EVERYBODY: [&str; 2] = ["authorization.k8s.io", "authentication.k8s.io"];

/// What of kube-ipam is in use on this node.
#[derive(Clone, Copy, Debug)]
struct Features {
    /// Pods are read (`annotations`).
    annotations: bool,
    /// Random addresses are kept (`sticky`).
    sticky: bool,
    /// The node defaults name the cluster.
    cluster_is_named: bool,
    /// All nodes share the store.
    shared_store: bool,
    /// The store is in the API server.
    store_in_api: bool,
}

impl Features {
    fn new(context: &Context<'_>) -> Self {
        // Mistakes in the defaults are found by their own check.
        let defaults = read_defaults(&context.options.defaults).ok().flatten().unwrap_or_default();
        let settings = context.node.settings;
        Self {
            annotations: defaults.get("annotations") != Some(&Value::Bool(false)),
            sticky: is_on(&defaults, "sticky"),
            cluster_is_named: settings.cluster.is_some(),
            shared_store: matches!(settings.store, Ok(StoreConfig::Etcd(_) | StoreConfig::Kubernetes(_))),
            store_in_api: matches!(settings.store, Ok(StoreConfig::Kubernetes(_))),
        }
    }

    /// The rights that these features need, what they are for, and how bad it is without.
    fn needs(self) -> Vec<(Right, &'static str, Status)> {
        let sticky = if self.sticky { Status::Error } else { Status::Warning };
        let needs = [
            (self.annotations, PODS, "without it, no ADD of a pod is served", Status::Error),
            (
                self.annotations,
                STATEFUL_SETS,
                "without it, a StatefulSet's pods get no address of a pool, and none is kept for them",
                sticky,
            ),
            (
                !self.cluster_is_named,
                CLUSTER,
                "without it, no holder can be shown gone, and no address taken over",
                Status::Warning,
            ),
            (self.shared_store, NODES, "without it, a recovery of the store can't end by itself", Status::Warning),
            (
                self.annotations,
                EVENTS,
                "without it, a pod's author finds the reason of a refusal in the node's log alone",
                Status::Warning,
            ),
        ];
        needs.into_iter().filter(|(is_used, ..)| *is_used).map(|(_, right, why, status)| (right, why, status)).collect()
    }
}

fn is_on(defaults: &Map<String, Value>, key: &str) -> bool {
    defaults.get(key).is_some_and(|value| !matches!(value, Value::Bool(false) | Value::Null))
}

pub(in crate::ops::operator::doctor) fn check(context: &mut Context<'_>, report: &mut dyn FnMut(Outcome)) {
    let subject = Subject::whole("rights");
    let next = &context.options.commands;
    if !context.options.is_own_kubeconfig {
        // A file that names the store is on this machine alone.
        let doctor = match context.is_node {
            true => next.doctor_as_node(),
            false => next.on_other_node(&["doctor"]),
        };
        return report(subject.skipped_until(
            "RBAC is judged for the kubeconfig of a node, and --kubeconfig names another",
            commands(
                "run it on a node without --kubeconfig, or list what the account of the nodes may do",
                [doctor, next.kubectl(&["auth", "can-i", "--list", "--as", ACCOUNT])],
            ),
        ));
    }
    let is_node = context.is_node;
    if !is_node && matches!(context.api(), Ok(Some(_))) {
        return report(subject.skipped("RBAC is judged for the kubeconfig of a node, and this machine is no node"));
    }
    let features = Features::new(context);
    match context.api() {
        Ok(None) => {}
        // The check of the API server reports it.
        Err(_) => report(subject.skipped("the kubeconfig can't be used")),
        Ok(Some(api)) => match api.access_rules(NAMESPACE) {
            Ok(rules) => judge(&subject, features, &rules, next).into_iter().for_each(report),
            Err(error) => report(unread(&subject, &error, next)),
        },
    }
}

fn judge(subject: &Subject, features: Features, rules: &AccessRules, next: &Commands) -> Vec<Outcome> {
    let mut outcomes: Vec<Outcome> = Vec::new();
    let allows =
        |right: &Right| rules.rules.iter().any(|rule| rule.allows(right.group, right.resource, right.verb, right.name));
    for (right, why, status) in features.needs().into_iter().filter(|(right, ..)| !allows(right)) {
        let message =
            format!("the node's account may not {} {}; {why}", right.verb, resource(right.group, right.resource));
        outcomes.push(match &rules.incomplete {
            Some(cause) => subject.skipped(format!(
                "whether the node's account may {} {} is not known: {cause}",
                right.verb,
                resource(right.group, right.resource)
            )),
            None => subject.fault(status, message, grant(&right, next)),
        });
    }
    // Those of the store have a check of their own.
    let of_store = features.store_in_api.then(custom_resources_rights::needed).into_iter().flatten();
    let needed: Vec<Right> = ALL.into_iter().chain(of_store).collect();
    let surplus: Vec<String> = rules.rules.iter().flat_map(|rule| surplus(rule, &needed)).collect();
    if !surplus.is_empty() {
        outcomes.push(subject.warning(
            format!("the node's account may do more than kube-ipam needs: {}", first_rights(&surplus)),
            commands(
                "bind its account to the role of examples/install/rbac.yaml alone: every root user of every node can read this \
                 kubeconfig",
                [next.kubectl(&["get", "clusterrolebindings,rolebindings", "-A", "-o", "wide"]).piped_to(&Tool::Grep.run(&["kube-ipam"]))],
            ),
        ));
    }
    if outcomes.is_empty() {
        outcomes.push(subject.ok("RBAC allows what is needed, and no more"));
    }
    outcomes
}

fn grant(right: &Right, next: &Commands) -> Remedy {
    let text = format!("add the rule {} to its role", rule(right));
    commands(text, [next.kubectl(&["edit", "clusterrole", "kube-ipam"])])
}

/// A right as the rule of a role that grants it.
pub(super) fn rule(right: &Right) -> String {
    let names = right.name.map_or(String::new(), |name| format!(", resourceNames [{name:?}]"));
    format!("apiGroups [{:?}], resources [{:?}]{names}, verbs [{:?}]", right.group, right.resource, right.verb)
}

/// The first of these rights, and how many more there are.
pub(in crate::ops::operator::doctor) fn first_rights(rights: &[String]) -> String {
    let shown = rights.iter().take(SHOWN).cloned().collect::<Vec<_>>().join(", ");
    match rights.len().saturating_sub(SHOWN) {
        0 => shown,
        more => format!("{shown}, and {more} more"),
    }
}

/// `pods`, `statefulsets.apps`.
pub(super) fn resource(group: &str, resource: &str) -> String {
    if group.is_empty() { resource.to_owned() } else { format!("{resource}.{group}") }
}

/// What a rule allows beyond these rights: `list secrets`.
pub(in crate::ops::operator::doctor) fn surplus(rule: &AccessRule, needed: &[Right]) -> Vec<String> {
    let mut found = Vec::new();
    for group in rule.api_groups.iter().filter(|group| !OF_EVERYBODY.contains(&group.as_str())) {
        for kind in &rule.resources {
            for verb in rule.verbs.iter().filter(|verb| !is_needed(needed, rule, group, kind, verb)) {
                found.push(format!("{verb} {}", resource(group, kind)));
            }
        }
    }
    found
}

fn is_needed(needed: &[Right], rule: &AccessRule, group: &str, resource: &str, verb: &str) -> bool {
    needed.iter().any(|right| {
        let is_named = right.name.is_none_or(|name| rule.resource_names.iter().all(|entry| entry == name))
            && (right.name.is_none() || !rule.resource_names.is_empty());
        (right.group, right.resource, right.verb) == (group, resource, verb) && is_named
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const FEATURES: Features =
        Features { annotations: true, sticky: false, cluster_is_named: false, shared_store: true, store_in_api: false };

    fn rule(group: &str, resource: &str, verbs: &[&str], names: &[&str]) -> AccessRule {
        let list = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        AccessRule {
            api_groups: list(&[group]),
            resources: list(&[resource]),
            resource_names: list(names),
            verbs: list(verbs),
        }
    }

    /// Those of examples/install/rbac.yaml, and what every user has.
    fn installed() -> Vec<AccessRule> {
        let named = ALL.iter().map(|right| rule(right.group, right.resource, &[right.verb], right.name.as_slice()));
        named.chain([rule("authorization.k8s.io", "selfsubjectrulesreviews", &["create"], &[])]).collect()
    }

    fn judged(features: Features, rules: Vec<AccessRule>) -> Vec<(Status, String)> {
        let rules = AccessRules { rules, incomplete: None };
        judge(&Subject::whole("rights"), features, &rules, &Commands::default())
            .into_iter()
            .map(|outcome| (outcome.status, outcome.message))
            .collect()
    }

    #[test]
    fn the_rights_of_the_installer_are_right() {
        assert_eq!(judged(FEATURES, installed()), [(Status::Ok, "RBAC allows what is needed, and no more".to_owned())]);
    }

    #[test]
    fn each_right_that_lacks_is_named_if_its_feature_is_in_use() {
        let without = |resource: &str, verb: &str| {
            installed()
                .into_iter()
                .filter(|rule| !(rule.resources[0] == resource && rule.verbs[0] == verb))
                .collect::<Vec<_>>()
        };
        let found = judged(FEATURES, without("pods", "get"));
        assert_eq!(
            found,
            [(Status::Error, "the node's account may not get pods; without it, no ADD of a pod is served".to_owned())]
        );
        assert_eq!(judged(Features { annotations: false, ..FEATURES }, without("pods", "get"))[0].0, Status::Ok);
        assert_eq!(judged(FEATURES, without("statefulsets", "get"))[0].0, Status::Warning);
        assert_eq!(judged(Features { sticky: true, ..FEATURES }, without("statefulsets", "get"))[0].0, Status::Error);
        assert_eq!(judged(FEATURES, without("namespaces", "get"))[0].0, Status::Warning);
        assert_eq!(
            judged(Features { cluster_is_named: true, ..FEATURES }, without("namespaces", "get"))[0].0,
            Status::Ok
        );
        assert_eq!(judged(FEATURES, without("nodes", "list"))[0].0, Status::Warning);
        assert_eq!(judged(Features { shared_store: false, ..FEATURES }, without("nodes", "list"))[0].0, Status::Ok);
    }

    #[test]
    fn more_than_needed_is_a_warning_that_names_it() {
        let with = |rule: AccessRule| judged(FEATURES, installed().into_iter().chain([rule]).collect());
        assert_eq!(
            with(rule("", "secrets", &["get", "list"], &[])),
            [(
                Status::Warning,
                "the node's account may do more than kube-ipam needs: get secrets, list secrets".to_owned()
            )]
        );
        assert_eq!(
            with(rule("*", "*", &["*"], &[]))[0].1,
            "the node's account may do more than kube-ipam needs: * *.*"
        );
        assert_eq!(
            with(rule("", "namespaces", &["get"], &[]))[0].1,
            "the node's account may do more than kube-ipam needs: get namespaces"
        );
        let of_store = rule("kube-ipam.cloudnativer.io", "*", &["update"], &[]);
        assert!(with(of_store.clone())[0].1.ends_with("needs: update *.kube-ipam.cloudnativer.io"));
        let in_api = Features { store_in_api: true, ..FEATURES };
        assert_eq!(judged(in_api, installed().into_iter().chain([of_store]).collect())[0].0, Status::Ok);
        let many = rule("", "pods", &["create", "delete", "list", "patch", "update", "watch"], &[]);
        assert!(with(many)[0].1.ends_with("update pods, and 1 more"));
    }

    #[test]
    fn rules_that_the_server_cannot_list_are_not_said_to_lack() {
        let rules = AccessRules { rules: Vec::new(), incomplete: Some("webhook authorizer".to_owned()) };
        let outcomes = judge(&Subject::whole("rights"), FEATURES, &rules, &Commands::default());
        assert!(outcomes.iter().all(|outcome| outcome.status == Status::Skipped), "{outcomes:?}");
    }
}
