//! `kubernetes-rights`: whether RBAC allows the user of the kubeconfig what the store in the Kubernetes API needs, and,
//! if it is that of a node, no more.

use crate::cluster::{AccessRule, AccessRules, ApiServer, ClusterError};
use crate::explain::{Command, Commands, Tool};
use crate::ops::operator::doctor::cluster::forbidden::unread;
use crate::ops::operator::doctor::cluster::rights::{self, Right, first_rights, needed_of_node, right, surplus};
use crate::ops::operator::doctor::subject::{Subject, commands};
use crate::ops::operator::doctor::{Context, Outcome, Remedy, Status};
use crate::store::KubernetesConfig;

/// The role of the service accounts.
const ROLE: &str = "examples/install/store.yaml";

/// The verbs of a right to look at the store.
const READS: [&str; 2] = ["get", "list"];

/// Verbs by resource.
type Rights<'a> = Vec<(&'a str, Vec<&'a str>)>;

/// What fails on a node without some rights, and how bad that is.
type Effect = (&'static str, Status);

const NO_ADD: Effect = ("without it, ADDs fail with code 11 and DELs defer their releases", Status::Error);
const NO_COOLDOWN: Effect = ("without it, DELs of networks with a cooldown defer their releases", Status::Error);
const NO_STICKY: Effect = ("without it, ADDs of pods that keep their addresses fail", Status::Error);
const NO_NETWORK: Effect = ("without it, ADDs on a network that is new or has changed fail", Status::Error);
const NO_RECOVERY: Effect = ("without it, a lost or restored store can't be recovered", Status::Warning);
const NO_LIST: Effect =
    ("without it, sweeps and reports fail, and so do ADDs that search in a full range", Status::Warning);
const NO_USAGE: Effect = ("without it, the usage of networks over time is not known", Status::Warning);
const NO_DELETE: Effect =
    ("without it, what was released stays as an object without a value, which does no harm", Status::Warning);

/// What fails on a node without a right.
fn effect(resource: &str, verb: &str) -> Effect {
    match (resource, verb) {
        (_, "delete") => NO_DELETE,
        ("ipusages", _) => NO_USAGE,
        (_, "list") => NO_LIST,
        ("iprecoveries", "get") | ("ipnetworks", "get") | ("ipleases" | "ipattachments", _) => NO_ADD,
        ("iprecoveries", _) => NO_RECOVERY,
        ("ipnetworks", _) => NO_NETWORK,
        ("iprests", _) => NO_COOLDOWN,
        _ => NO_STICKY,
    }
}

/// The rights that the store needs in its namespace. Another resource of its group would be its own as well.
pub(in crate::ops::operator::doctor) fn needed() -> Vec<Right> {
    let (group, resources, verbs) = KubernetesConfig::rule();
    let resources = resources.into_iter().chain(["*"]);
    resources.flat_map(|resource| verbs.map(|verb| right(group, resource, verb))).collect()
}

/// The verbs that these rules do not allow, by resource.
pub(in crate::ops::operator::doctor) fn lacking(rules: &[AccessRule]) -> Rights<'static> {
    let (group, resources, verbs) = KubernetesConfig::rule();
    let lacks = |resource: &str, verb: &str| !rules.iter().any(|rule| rule.allows(group, resource, verb, None));
    let of = |resource| (resource, verbs.into_iter().filter(|verb| lacks(resource, verb)).collect::<Vec<_>>());
    resources.into_iter().map(of).filter(|(_, verbs)| !verbs.is_empty()).collect()
}

/// Rights by their verbs: `get/create ipleases, ipattachments; update iprests`.
pub(in crate::ops::operator::doctor) fn text(rights: &[(&str, Vec<&str>)]) -> String {
    let mut by_verbs: Vec<(&[&str], Vec<&str>)> = Vec::new();
    for (resource, verbs) in rights {
        match by_verbs.iter_mut().find(|(same, _)| same == verbs) {
            Some((_, resources)) => resources.push(resource),
            None => by_verbs.push((verbs, vec![resource])),
        }
    }
    let texts = by_verbs.iter().map(|(verbs, resources)| format!("{} {}", verbs.join("/"), resources.join(", ")));
    texts.collect::<Vec<_>>().join("; ")
}

/// Judges the user of this run.
pub(super) fn check(namespace: &str, context: &mut Context<'_>, report: &mut dyn FnMut(Outcome)) {
    let subject = Subject::new(format!("namespace {namespace}"));
    let next = &context.options.commands;
    let is_of_node = context.is_node && context.options.is_own_kubeconfig;
    let Ok(Some(api)) = context.api() else {
        return report(subject.skipped("the rights in it are not known, since the kubeconfig can't be used"));
    };
    let rules = match api.access_rules(namespace).and_then(|rules| completed(api, namespace, rules)) {
        Ok(rules) => rules,
        Err(error) => return report(unread(&subject, &error, next)),
    };
    if !is_of_node {
        return report(operator(&subject, &rules, namespace, next));
    }
    // What the account may do in every namespace is judged once, by the check of its rights.
    match api.access_rules(rights::NAMESPACE) {
        Ok(elsewhere) => node(&subject, &rules, &elsewhere, namespace, next).into_iter().for_each(report),
        Err(error) => report(unread(&subject, &error, next)),
    }
}

/// Adds the rights that the server could not list, such as those that a webhook grants: it says of each alone whether it
/// is granted.
fn completed(api: &ApiServer, namespace: &str, rules: AccessRules) -> Result<AccessRules, ClusterError> {
    let AccessRules { mut rules, incomplete } = rules;
    if incomplete.is_some() {
        let group = KubernetesConfig::rule().0;
        for (resource, verbs) in lacking(&rules) {
            for verb in verbs {
                if api.may(namespace, group, resource, verb)? {
                    rules.push(AccessRule {
                        api_groups: vec![group.to_owned()],
                        resources: vec![resource.to_owned()],
                        resource_names: Vec::new(),
                        verbs: vec![verb.to_owned()],
                    });
                }
            }
        }
    }
    Ok(AccessRules { rules, incomplete })
}

fn node(
    subject: &Subject,
    rules: &AccessRules,
    elsewhere: &AccessRules,
    namespace: &str,
    next: &Commands,
) -> Vec<Outcome> {
    let lacking = lacking(&rules.rules);
    let mut outcomes = Vec::new();
    if lacking.iter().map(|(_, verbs)| verbs.len()).sum::<usize>() == count() {
        let (why, status) = NO_ADD;
        let message = format!("the node's account may do nothing with the store's resources; {why}");
        outcomes.push(subject.fault(status, message, grant(namespace, next)));
    } else {
        outcomes.extend(by_effect(&lacking).into_iter().map(|((why, status), rights)| {
            let message = format!("the node's account may not {}; {why}", text(&rights));
            subject.fault(status, message, grant(namespace, next))
        }));
    }
    let is_of_store = |rule: &AccessRule| rule.api_groups.iter().any(|group| group == KubernetesConfig::rule().0);
    if namespace != rights::NAMESPACE && elsewhere.rules.iter().any(is_of_store) {
        outcomes.push(subject.warning(
            "the node's account has its rights to such resources in every other namespace, too",
            commands(
                format!("bind it by a RoleBinding in namespace {namespace}, and not by a ClusterRoleBinding"),
                [next.kubectl(&["get", "clusterrolebindings", "-o", "wide"]).piped_to(&Tool::Grep.run(&["kube-ipam"]))],
            ),
        ));
    }
    let needed: Vec<Right> = needed_of_node().chain(self::needed()).collect();
    let known: Vec<String> = elsewhere.rules.iter().flat_map(|rule| surplus(rule, &needed)).collect();
    let surplus: Vec<String> = rules.rules.iter().flat_map(|rule| surplus(rule, &needed)).collect();
    let surplus: Vec<String> = surplus.into_iter().filter(|right| !known.contains(right)).collect();
    if !surplus.is_empty() {
        let bindings = next.kubectl(&["get", "rolebindings", "-n", namespace, "-o", "wide"]);
        outcomes.push(subject.warning(
            format!("the node's account may do more in it than kube-ipam needs: {}", first_rights(&surplus)),
            commands(
                "take away what no other program needs: every root user of every node can read this kubeconfig",
                [bindings.piped_to(&Tool::Grep.run(&["kube-ipam"]))],
            ),
        ));
    }
    if outcomes.is_empty() {
        outcomes.push(match &rules.incomplete {
            None => subject.ok("the node's account may do what the store needs, and no more"),
            Some(cause) => subject.ok(format!(
                "the node's account may do what the store needs; whether it may do more is not known: {cause}"
            )),
        });
    }
    outcomes
}

/// The number of rights that the store needs.
fn count() -> usize {
    let (_, resources, verbs) = KubernetesConfig::rule();
    resources.len() * verbs.len()
}

/// Rights by what fails without them, the worst first.
fn by_effect<'a>(lacking: &[(&'a str, Vec<&'a str>)]) -> Vec<(Effect, Rights<'a>)> {
    let all = [NO_ADD, NO_COOLDOWN, NO_STICKY, NO_NETWORK, NO_RECOVERY, NO_LIST, NO_USAGE, NO_DELETE];
    let of = |found: Effect| {
        let has = |(resource, verbs): &(&'a str, Vec<&'a str>)| {
            let verbs: Vec<&str> = verbs.iter().copied().filter(|verb| effect(resource, verb) == found).collect();
            (!verbs.is_empty()).then_some((*resource, verbs))
        };
        (found, lacking.iter().filter_map(has).collect::<Vec<_>>())
    };
    all.map(of).into_iter().filter(|(_, rights)| !rights.is_empty()).collect()
}

/// Judges a kubeconfig that is not a node's: whoever looks at a store need not be able to change it.
fn operator(subject: &Subject, rules: &AccessRules, namespace: &str, next: &Commands) -> Outcome {
    let lacking = lacking(&rules.rules);
    if lacking.is_empty() {
        return subject.ok("this kubeconfig may read and change the store");
    }
    let reads = |verbs: &[&'static str]| -> Vec<&'static str> {
        verbs.iter().copied().filter(|verb| READS.contains(verb)).collect()
    };
    let unread: Rights<'_> = lacking.iter().map(|(resource, verbs)| (*resource, reads(verbs))).collect();
    let unread: Rights<'_> = unread.into_iter().filter(|(_, verbs)| !verbs.is_empty()).collect();
    if unread.is_empty() {
        let rights = text(&lacking);
        return subject.ok(format!(
            "this kubeconfig may read the store, but may not change it as sweep, reserve and release do: {rights}"
        ));
    }
    subject.warning(
        format!("this kubeconfig may not {}; without it, the store can't be read as a whole", text(&unread)),
        commands(
            format!("bind its user to a role in namespace {namespace} with {}", rule()),
            [list_rights(namespace, next)],
        ),
    )
}

/// How the service accounts of the examples get these rights.
pub(in crate::ops::operator::doctor) fn grant(namespace: &str, next: &Commands) -> Remedy {
    commands(
        format!("apply {ROLE} in namespace {namespace}, or bind the account to a role there with {}", rule()),
        [next.kubectl(&["apply", "-n", namespace, "-f", ROLE]), list_rights(namespace, next)],
    )
}

/// The rule of a role with these rights.
fn rule() -> String {
    let (group, _, verbs) = KubernetesConfig::rule();
    format!("the rule apiGroups [{group:?}], resources [\"*\"], verbs {verbs:?}")
}

fn list_rights(namespace: &str, next: &Commands) -> Command {
    next.kubectl(&["auth", "can-i", "--list", "-n", namespace])
}

#[cfg(test)]
mod tests {
    use super::*;

    const STORE: &str = "kube-ipam.cloudnativer.io";

    fn rule(group: &str, resources: &[&str], verbs: &[&str]) -> AccessRule {
        let list = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        AccessRule {
            api_groups: list(&[group]),
            resources: list(resources),
            resource_names: list(&[]),
            verbs: list(verbs),
        }
    }

    /// The rule of the pages.
    fn whole() -> AccessRule {
        rule(STORE, &["*"], &["get", "list", "create", "update", "delete"])
    }

    fn rules(rules: &[AccessRule]) -> AccessRules {
        AccessRules { rules: rules.to_vec(), incomplete: None }
    }

    fn of_node(in_namespace: &[AccessRule], elsewhere: &[AccessRule]) -> Vec<(Status, String)> {
        let (subject, next) = (Subject::new("namespace pods"), Commands::default());
        let found = node(&subject, &rules(in_namespace), &rules(elsewhere), "pods", &next);
        found.into_iter().map(|outcome| (outcome.status, outcome.message)).collect()
    }

    fn of_operator(in_namespace: &[AccessRule]) -> (Status, String) {
        let found = operator(&Subject::new("namespace pods"), &rules(in_namespace), "pods", &Commands::default());
        (found.status, found.message)
    }

    #[test]
    fn the_rule_of_the_pages_is_enough_and_nothing_lacks_without_being_named() {
        let fine = "namespace pods: the node's account may do what the store needs, and no more";
        assert_eq!(of_node(&[whole()], &[]), [(Status::Ok, fine.to_owned())]);
        let (group, resources, verbs) = KubernetesConfig::rule();
        for resource in &resources {
            for verb in verbs {
                let other = |all: &[&'static str], one: &str| -> Vec<&'static str> {
                    all.iter().copied().filter(|it| *it != one).collect()
                };
                let rules =
                    [rule(group, &resources, &other(&verbs, verb)), rule(group, &other(&resources, resource), &[verb])];
                let found = of_node(&rules, &[]);
                let named = format!("namespace pods: the node's account may not {verb} {resource}; without it, ");
                assert!(found.len() == 1 && found[0].1.starts_with(&named), "{found:?}");
                assert_eq!(found[0].0, effect(resource, verb).1);
            }
        }
    }

    #[test]
    fn rights_with_one_effect_are_one_result() {
        let found = of_node(&[rule(STORE, &["*"], &["get", "list", "create", "delete"])], &[]);
        let texts: Vec<&str> = found.iter().map(|(_, text)| text.as_str()).collect();
        assert_eq!(texts.len(), 6, "{texts:#?}");
        assert!(texts[0].contains("may not update ipleases, ipattachments; without it, ADDs fail"), "{texts:#?}");
        let nothing = of_node(&[], &[]);
        assert_eq!(nothing.len(), 1, "{nothing:?}");
        assert!(
            nothing[0].1.contains("may do nothing with the store's resources; without it, ADDs fail"),
            "{nothing:?}"
        );
    }

    #[test]
    fn more_than_needed_is_named_where_it_holds() {
        let secrets = rule("", &["secrets"], &["get"]);
        let found = of_node(&[whole(), secrets.clone()], &[]);
        assert!(found[0].1.ends_with("may do more in it than kube-ipam needs: get secrets"), "{found:?}");
        // The check of its rights names what it may do in every namespace.
        assert_eq!(of_node(&[whole(), secrets.clone()], &[secrets])[0].0, Status::Ok);
        let everywhere = of_node(&[whole()], &[whole()]);
        assert!(everywhere.len() == 1 && everywhere[0].1.contains("in every other namespace"), "{everywhere:?}");
        assert!(
            of_node(&[whole(), rule(STORE, &["ipleases"], &["watch"])], &[])[0]
                .1
                .ends_with("watch ipleases.kube-ipam.cloudnativer.io")
        );
    }

    #[test]
    fn whoever_looks_at_a_store_need_not_change_it() {
        assert_eq!(of_operator(&[whole()]).0, Status::Ok);
        let (status, text) = of_operator(&[rule(STORE, &["*"], &["get", "list"])]);
        assert!(
            status == Status::Ok
                && text.contains("may not change it as sweep, reserve and release do: create/update/delete ipleases, "),
            "{text}"
        );
        let (status, text) = of_operator(&[rule(STORE, &["*"], &["get"])]);
        assert!(status == Status::Warning && text.contains("may not list ipleases, "), "{text}");
    }

    #[test]
    fn what_rules_that_the_server_cannot_list_allow_beside_is_not_known() {
        let known = AccessRules { rules: vec![whole()], incomplete: Some("webhook authorizer".to_owned()) };
        let (subject, next) = (Subject::new("namespace pods"), Commands::default());
        let found = node(&subject, &known, &AccessRules::default(), "pods", &next);
        let expected = "what the store needs; whether it may do more is not known: webhook authorizer";
        assert!(found.len() == 1 && found[0].message.ends_with(expected), "{found:?}");
        assert_eq!(operator(&subject, &known, "pods", &next).status, Status::Ok);
    }
}
