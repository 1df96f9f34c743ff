//! `controller-rights`: whether RBAC allows the controller's service account what it needs, and no more.

use super::controller;
use super::forbidden::unread;
use super::rights::{HOST_ACCESS, Right, first_rights, resource, right, rule, surplus};
use crate::cluster::{AccessRules, AccountRef, ClusterError, LeaderLease};
use crate::explain::{Command, Commands, Tool};
use crate::ops::operator::doctor::store::custom_resources_rights;
use crate::ops::operator::doctor::subject::{Subject, commands};
use crate::ops::operator::doctor::{Context, Outcome, Remedy, Status};
use crate::store::{KubernetesMirror, StoreConfig};

/// The account of examples/install/controller.
const ACCOUNT: AccountRef<'_> = AccountRef { namespace: controller::NAMESPACE, name: controller::NAME };

const NO_SCAN: &str = "without it, the controller frees nothing";
const NO_LEADER: &str = "without it, no controller leads, and none frees anything";
const NO_OWNERS: &str = "without it, what is kept for a StatefulSet stays kept after it is deleted";
const NO_COUNTS: &str = "without it, its metrics do not count the events of the nodes";
const NO_IDENTITY: &str = "without it, no holder is known to be of this cluster, and the controller frees nothing";

const fn lease(verb: &'static str) -> Right {
    Right { name: Some(controller::NAME), ..right("coordination.k8s.io", "leases", verb) }
}

/// Only the controller writes how full networks are: into the store in the Kubernetes API, or into mirrors of another one.
const STATUS: Right = right("kube-ipam.cloudnativer.io", "ipnetworks/status", "patch");
const NO_STATUS: &str = "without it, kubectl does not show how full networks are";

/// The rights to mirrors of another store (`--network-objects`).
fn mirror_rights() -> impl Iterator<Item = Right> {
    KubernetesMirror::VERBS.into_iter().map(|verb| right(STATUS.group, "ipnetworks", verb)).chain([STATUS])
}

const CLUSTER: Right = Right { name: Some("kube-system"), ..right("", "namespaces", "get") };

/// The rights that every controller needs, what they are for, and how bad it is without.
const NEEDS: [(Right, &str, Status); 12] = [
    (right("", "pods", "get"), NO_SCAN, Status::Error),
    (right("", "pods", "list"), NO_SCAN, Status::Error),
    (
        right("", "pods", "watch"),
        "without it, the controller notices deletions only in its regular scans",
        Status::Warning,
    ),
    (right("coordination.k8s.io", "leases", "create"), NO_LEADER, Status::Error),
    (lease("get"), NO_LEADER, Status::Error),
    (lease("update"), NO_LEADER, Status::Error),
    (right("apps", "statefulsets", "get"), NO_OWNERS, Status::Warning),
    (right("apps", "statefulsets", "list"), NO_OWNERS, Status::Warning),
    (right("apps", "statefulsets", "watch"), NO_OWNERS, Status::Warning),
    (right("", "events", "list"), NO_COUNTS, Status::Warning),
    (right("", "events", "watch"), NO_COUNTS, Status::Warning),
    (CLUSTER, NO_IDENTITY, Status::Error),
];

/// The other rights of examples/install/controller/rbac.yaml. Only clusters with these kinds need them.
const OF_OTHER_KINDS: [Right; 9] = [
    right("kubevirt.io", "virtualmachines", "get"),
    right("kubevirt.io", "virtualmachines", "list"),
    right("kubevirt.io", "virtualmachines", "watch"),
    right("kubevirt.io", "virtualmachineinstances", "get"),
    right("kubevirt.io", "virtualmachineinstances", "list"),
    right("kubevirt.io", "virtualmachineinstances", "watch"),
    right("k8s.cni.cncf.io", "ipamclaims", "get"),
    right("k8s.cni.cncf.io", "ipamclaims", "list"),
    right("k8s.cni.cncf.io", "ipamclaims", "watch"),
];

pub(in crate::ops::operator::doctor) fn check(context: &mut Context<'_>, report: &mut dyn FnMut(Outcome)) {
    let subject = Subject::new(format!("ServiceAccount {}/{}", ACCOUNT.namespace, ACCOUNT.name));
    let (next, is_cluster_named) = (&context.options.commands, context.node.settings.cluster.is_some());
    let store = match context.store() {
        Some(StoreConfig::Kubernetes(config)) => Some(config.namespace.as_str()),
        _ => None,
    };
    let Ok(Some(api)) = context.api() else { return };
    let lease = LeaderLease::new(controller::NAMESPACE, controller::NAME).and_then(|lease| api.leader_record(&lease));
    // The rights of an account that does not exist are those of everybody.
    if matches!(lease, Ok(None)) {
        return report(subject.skipped("no controller has run, so its rights are not judged"));
    }
    let rules = api.access_rules_of(&ACCOUNT, ACCOUNT.namespace).and_then(|rules| {
        let of_store = store.map(|namespace| api.access_rules_of(&ACCOUNT, namespace)).transpose()?;
        Ok((rules, of_store))
    });
    match rules {
        Ok((rules, of_store)) => {
            let store = store.zip(of_store.as_ref());
            judge(&subject, &rules, store, is_cluster_named, next).into_iter().for_each(report);
        }
        Err(ClusterError::Forbidden { user, message, .. }) => report(subject.skipped_until(
            format!("its rights are not known, since {user} may not impersonate it: {message}"),
            commands("run this as somebody who may", [list_rights(next)]),
        )),
        Err(error) => report(unread(&subject, &error, next)),
    }
}

/// The command that lists what the account may do.
fn list_rights(next: &Commands) -> Command {
    let user = format!("--as={}", ACCOUNT.user());
    next.kubectl(&["auth", "can-i", "--list", &user, "-n", ACCOUNT.namespace])
}

/// Judges the account by its rules, and those in the namespace of a store in the API server.
fn judge(
    subject: &Subject,
    rules: &AccessRules,
    store: Option<(&str, &AccessRules)>,
    is_cluster_named: bool,
    next: &Commands,
) -> Vec<Outcome> {
    let lacking = NEEDS.iter().filter(|(right, ..)| !allows(rules, right));
    // A controller whose defaults name the cluster does not ask for it.
    let lacking = lacking.filter(|(right, ..)| !(is_cluster_named && right.resource == CLUSTER.resource));
    let mut outcomes: Vec<Outcome> = lacking
        .map(|(right, why, status)| {
            let what = format!("{} {}", right.verb, resource(right.group, right.resource));
            match &rules.incomplete {
                Some(cause) => subject.skipped(format!("whether it may {what} is not known: {cause}")),
                None => subject.fault(*status, format!("it may not {what}; {why}"), grant(right, next)),
            }
        })
        .collect();
    outcomes.extend(store.and_then(|(namespace, rules)| lacks_store(subject, namespace, rules, next)));
    outcomes.extend(match store {
        Some((namespace, rules)) => lacks_status(subject, namespace, rules, next),
        None => lacks_mirrors(subject, rules, next),
    });
    let of_store = store.map(|_| custom_resources_rights::needed()).into_iter().flatten();
    let needed: Vec<Right> = NEEDS
        .iter()
        .map(|(right, ..)| *right)
        .chain(OF_OTHER_KINDS)
        .chain([HOST_ACCESS])
        .chain(mirror_rights())
        .chain(of_store)
        .collect();
    let surplus: Vec<String> = rules.rules.iter().flat_map(|rule| surplus(rule, &needed)).collect();
    if !surplus.is_empty() {
        let bindings = next.kubectl(&["get", "clusterrolebindings,rolebindings", "-A", "-o", "wide"]);
        outcomes.push(subject.warning(
            format!("it may do more than a controller needs: {}", first_rights(&surplus)),
            commands(
                "bind it to the roles of examples/install/controller/rbac.yaml alone",
                [bindings.piped_to(&Tool::Grep.run(&[ACCOUNT.name])), list_rights(next)],
            ),
        ));
    }
    if outcomes.is_empty() {
        outcomes.push(subject.ok("RBAC allows what the controller needs, and no more"));
    }
    outcomes
}

/// What the account may not do with the resources of the store.
fn lacks_store(subject: &Subject, namespace: &str, rules: &AccessRules, next: &Commands) -> Option<Outcome> {
    let lacking = custom_resources_rights::lacking(&rules.rules);
    if lacking.is_empty() {
        return None;
    }
    let rights = custom_resources_rights::text(&lacking);
    Some(match &rules.incomplete {
        Some(cause) => {
            subject.skipped(format!("whether it may {rights} in namespace {namespace} is not known: {cause}"))
        }
        None => subject.error(
            format!("it may not {rights} in namespace {namespace}, where the store is; {NO_SCAN}"),
            custom_resources_rights::grant(namespace, next),
        ),
    })
}

/// That the account may not write the status of networks.
fn lacks_status(subject: &Subject, namespace: &str, rules: &AccessRules, next: &Commands) -> Option<Outcome> {
    if allows(rules, &STATUS) {
        return None;
    }
    let what = format!("{} {} in namespace {namespace}", STATUS.verb, resource(STATUS.group, STATUS.resource));
    Some(match &rules.incomplete {
        Some(cause) => subject.skipped(format!("whether it may {what} is not known: {cause}")),
        None => subject.warning(
            format!("it may not {what}; {NO_STATUS}"),
            commands(
                format!("apply examples/install/store.yaml, or add the rule {} to its role", rule(&STATUS)),
                [next.kubectl(&["-n", namespace, "edit", "role", "kube-ipam-network-status"])],
            ),
        ),
    })
}

/// That the account may make mirrors, but lacks another right to them. If it may not make any, nobody has asked for them.
fn lacks_mirrors(subject: &Subject, rules: &AccessRules, next: &Commands) -> Option<Outcome> {
    let lacking: Vec<Right> = mirror_rights().filter(|right| !allows(rules, right)).collect();
    let makes_none = lacking.iter().any(|right| right.verb == "create");
    if lacking.is_empty() || makes_none || rules.incomplete.is_some() {
        return None;
    }
    let words = |right: &Right| format!("{} {}", right.verb, resource(right.group, right.resource));
    let what: Vec<String> = lacking.iter().map(words).collect();
    Some(subject.warning(
        format!("it may not {} in namespace {}; {NO_STATUS}", what.join(", "), ACCOUNT.namespace),
        commands(
            "apply examples/install-etcd/network-objects, or add the rules of its role to the account's",
            [next.kubectl(&["-n", ACCOUNT.namespace, "edit", "role", "kube-ipam-network-objects"])],
        ),
    ))
}

/// Whether rules allow a right.
fn allows(rules: &AccessRules, right: &Right) -> bool {
    rules.rules.iter().any(|rule| rule.allows(right.group, right.resource, right.verb, right.name))
}

fn grant(right: &Right, next: &Commands) -> Remedy {
    let edit: &[&str] = match right.group {
        "coordination.k8s.io" => &["-n", ACCOUNT.namespace, "edit", "role", ACCOUNT.name],
        _ => &["edit", "clusterrole", ACCOUNT.name],
    };
    commands(
        format!("apply examples/install/controller/rbac.yaml, or add the rule {} to its role", rule(right)),
        [next.kubectl(edit)],
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::AccessRule;

    fn granted(right: &Right) -> AccessRule {
        let list = |text: &str| vec![text.to_owned()];
        AccessRule {
            api_groups: list(right.group),
            resources: list(right.resource),
            resource_names: right.name.into_iter().map(str::to_owned).collect(),
            verbs: list(right.verb),
        }
    }

    fn judged(rules: Vec<AccessRule>, is_cluster_named: bool) -> Vec<Outcome> {
        let rules = AccessRules { rules, incomplete: None };
        judge(&Subject::new("account"), &rules, None, is_cluster_named, &Commands::default())
    }

    fn all() -> Vec<AccessRule> {
        NEEDS.iter().map(|(right, ..)| granted(right)).chain(OF_OTHER_KINDS.iter().map(granted)).collect()
    }

    #[test]
    fn each_right_that_lacks_is_named_with_its_rule() {
        assert_eq!(judged(all(), false)[0].message, "account: RBAC allows what the controller needs, and no more");
        for (right, why, status) in &NEEDS {
            let rules = all().into_iter().filter(|rule| *rule != granted(right)).collect();
            let found = judged(rules, false);
            assert_eq!(found.len(), 1, "{right:?}: {found:?}");
            assert_eq!(found[0].status, *status, "{right:?}");
            assert!(found[0].message.ends_with(why), "{found:?}");
            assert!(found[0].remedy.as_ref().is_some_and(|remedy| remedy.text.contains(&rule(right))), "{found:?}");
        }
        let rules = all().into_iter().filter(|rule| *rule != granted(&CLUSTER)).collect();
        assert_eq!(judged(rules, true)[0].status, Status::Ok);
        // Not every cluster has virtual machines and claims.
        assert_eq!(judged(NEEDS.iter().map(|(right, ..)| granted(right)).collect(), false)[0].status, Status::Ok);
    }

    #[test]
    fn more_than_needed_is_named() {
        let rules = all().into_iter().chain([granted(&right("", "secrets", "list"))]).collect();
        assert_eq!(judged(rules, false)[0].message, "account: it may do more than a controller needs: list secrets");
        let rules = all().into_iter().chain([granted(&right("coordination.k8s.io", "leases", "update"))]).collect();
        assert_eq!(
            judged(rules, false)[0].message,
            "account: it may do more than a controller needs: update leases.coordination.k8s.io"
        );
    }

    #[test]
    fn a_store_in_the_api_server_needs_rights_of_its_own() {
        let (group, resources, verbs) = crate::store::KubernetesConfig::rule();
        let list = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        let of_store = |verbs: &[&str]| AccessRule {
            api_groups: list(&[group]),
            resources: list(&resources),
            resource_names: Vec::new(),
            verbs: list(verbs),
        };
        let judged_with = |rules: Vec<AccessRule>| {
            // The store is in the namespace of the account, as in the examples.
            let rules = AccessRules { rules: all().into_iter().chain(rules).collect(), incomplete: None };
            judge(&Subject::new("account"), &rules, Some(("kube-ipam", &rules)), false, &Commands::default())
        };
        let judged = |rule: AccessRule| judged_with(vec![rule, granted(&STATUS)]);
        assert_eq!(judged(of_store(&verbs))[0].status, Status::Ok);
        let without_status = judged_with(vec![of_store(&verbs)]);
        assert_eq!(without_status.len(), 1, "{without_status:?}");
        assert_eq!(without_status[0].status, Status::Warning);
        assert_eq!(
            without_status[0].message,
            "account: it may not patch ipnetworks/status.kube-ipam.cloudnativer.io in namespace kube-ipam; without it, \
             kubectl does not show how full networks are"
        );
        let lacking = judged(of_store(&verbs[..4]));
        assert_eq!(lacking.len(), 1, "{lacking:?}");
        assert!(lacking[0].message.starts_with("account: it may not delete ipleases, "), "{lacking:?}");
        assert!(
            lacking[0]
                .message
                .ends_with("in namespace kube-ipam, where the store is; without it, the controller frees nothing")
        );
    }

    #[test]
    fn whoever_may_make_mirrors_needs_all_rights_to_them() {
        let mirrors: Vec<AccessRule> = mirror_rights().map(|right| granted(&right)).collect();
        let judged_with =
            |rules: &[AccessRule]| judged(all().into_iter().chain(rules.iter().cloned()).collect(), false).remove(0);
        assert_eq!(judged_with(&[]).status, Status::Ok);
        assert_eq!(judged_with(&mirrors).status, Status::Ok);
        // Those of a store in the API server, which is another one here.
        assert_eq!(judged_with(&[granted(&STATUS)]).status, Status::Ok);
        let found = judged_with(&mirrors[..3]);
        assert_eq!(
            (found.status, found.message.as_str()),
            (
                Status::Warning,
                "account: it may not delete ipnetworks.kube-ipam.cloudnativer.io, patch \
                 ipnetworks/status.kube-ipam.cloudnativer.io in namespace kube-ipam; without it, kubectl does not show how \
                 full networks are"
            )
        );
    }

    #[test]
    fn rules_that_the_server_cannot_list_are_not_said_to_lack() {
        let rules = AccessRules { rules: Vec::new(), incomplete: Some("webhook authorizer".to_owned()) };
        let outcomes = judge(&Subject::new("account"), &rules, None, false, &Commands::default());
        assert!(outcomes.iter().all(|outcome| outcome.status == Status::Skipped), "{outcomes:?}");
    }
}
