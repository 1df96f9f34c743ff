//! Findings and their positions.

mod configs;
mod networks;
mod pods;
mod requests;
mod shapes;
mod workloads;

use std::collections::BTreeSet;

use self::shapes::{Shape, shapes};
use super::{NETWORK, claims, deployment, machines, misplaced, other_plugins, planned, pod, sticky};
use crate::plan::{Code, Severity};

/// A manifest with one mistake, which stands between « and ».
#[derive(Clone)]
pub(super) struct Case {
    pub(super) name: &'static str,
    pub(super) code: &'static str,
    /// A part of the message.
    pub(super) message: &'static str,
    pub(super) text: String,
}

/// The network with one part of its configuration replaced.
fn with(part: &str, instead: &str) -> String {
    assert!(NETWORK.contains(part), "{part}");
    NETWORK.replace(part, instead)
}

/// The definition of a network with this configuration.
fn conf(config: &str) -> String {
    format!(
        "apiVersion: k8s.cni.cncf.io/v1\nkind: NetworkAttachmentDefinition\nmetadata: {{name: db-net, namespace: app}}\nspec:\n  \
         config: |\n    {config}\n---\n"
    )
}

fn cases() -> Vec<Case> {
    let of_files = [configs::cases(), networks::cases(), pods::cases(), requests::cases(), workloads::cases()];
    let of_objects = [claims::cases(), machines::cases(), misplaced::cases(), other_plugins::cases(), sticky::cases()];
    [of_files.concat(), of_objects.concat()].concat()
}

#[test]
fn a_mistake_is_found_at_its_place_and_nothing_else_is() {
    let cases = cases();
    let mistakes: BTreeSet<(&str, &str)> = cases.iter().map(|case| (case.code, case.text.as_str())).collect();
    assert!(mistakes.len() >= 100, "only {} cases differ", mistakes.len());
    let wrong: Vec<_> = cases.iter().filter_map(wrong).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

/// The findings, unless they are exactly the mistake of a case.
fn wrong(Case { name, code, message, text }: &Case) -> Option<String> {
    let (before, marked) = text.split_once('«').unwrap_or_else(|| panic!("{name} has no mark"));
    let (marked, after) = marked.split_once('»').unwrap_or_else(|| panic!("the mark of {name} has no end"));
    let text = [before, marked, after].concat();
    let (_, report) = planned(&text);
    let place = before.len()..before.len() + marked.len();
    let is_right = matches!(
        &*report.findings,
        [finding]
            if finding.code.to_string() == *code
                && finding.primary.place.span() == place
                && finding.message.contains(message)
    );
    let found: Vec<_> = report
        .findings
        .iter()
        .map(|finding| (finding.code.to_string(), &text[finding.primary.place.span()], finding.message.as_str()))
        .collect();
    (!is_right).then(|| format!("{name}: expected {code} at {marked:?} ({message:?}), found {found:#?}"))
}

#[test]
fn a_mistake_has_the_line_and_column_that_an_editor_shows() {
    for Shape { name, text, code } in shapes() {
        let (before, after) = text.split_once('«').unwrap();
        let lines: Vec<&str> = before.split('\n').collect();
        let at = (lines.len(), lines[lines.len() - 1].chars().count() + 1);
        let (sources, report) = planned(&[before, after].concat());
        let found: Vec<_> = report
            .findings
            .iter()
            .map(|finding| (finding.code.to_string(), finding.primary.place.line_and_column(&sources)))
            .collect();
        assert_eq!(found, [(code.to_owned(), at)], "{name}: {:#?}", report.findings);
    }
}

/// The codes that a plan of files can't show, and why.
const WITHOUT_CASE: [(&str, &str); 10] = [
    ("KI0006", "it needs thousands of mistakes: more_findings_than_a_plan_shows_are_one"),
    ("KI0201", "a configuration without an ipam block is not one of kube-ipam"),
    ("KI0214", "files that a configuration names are on the nodes, and are not read"),
    ("KI0256", "which labels the nodes have is known there"),
    ("KI0314", "it needs a cluster in use: a_finding_names_the_pod_that_holds_a_requested_address"),
    ("KI0315", "it needs a cluster in use"),
    ("KI0316", "it needs a cluster in use"),
    ("KI0406", "the version of the result is that of a call"),
    ("KI0408", "no pod of the other cases has so many range sets: an_interface_with_too_many_addresses_is_refused"),
    ("KI0442", "an unscoped address of another network of the pod is no mistake"),
];

#[test]
fn every_code_has_a_case_or_a_reason_why_not() {
    let with_case: BTreeSet<String> = cases().iter().map(|case| case.code.to_owned()).collect();
    // The number for refusals without a number of their own.
    let without: BTreeSet<String> =
        WITHOUT_CASE.iter().map(|(code, _)| (*code).to_owned()).chain(["KI0499".to_owned()]).collect();
    let all: BTreeSet<String> = Code::all().map(|code| code.to_string()).collect();
    assert_eq!(with_case.intersection(&without).collect::<Vec<_>>(), Vec::<&String>::new());
    assert_eq!(with_case.union(&without).cloned().collect::<BTreeSet<_>>(), all);
}

#[test]
fn more_findings_than_a_plan_shows_are_one() {
    let text = "a: 1\n".repeat(6001);
    let (_, report) = planned(&text);
    assert_eq!(report.findings.len(), 5001);
    assert_eq!(report.findings[5000].message, "1000 more findings from here on are left out");
}

#[test]
fn an_interface_with_too_many_addresses_is_refused() {
    let sets = (0..100).map(|i| format!("[{{\"subnet\": \"10.{i}.0.0/24\"}}]")).collect::<Vec<_>>().join(", ");
    let text = configs::network(&format!("\"ranges\": [{sets}]")) + &pod("a", "note: none");
    let (_, report) = planned(&text);
    let found: Vec<_> = report.findings.iter().map(|finding| finding.code.to_string()).collect();
    assert_eq!(found, ["KI0408"], "{:?}", report.findings);
}

#[test]
fn both_places_of_an_address_that_is_asked_for_twice_are_shown() {
    let text = [NETWORK, &pod("a", "kube-ipam.net1.ip: 10.1.0.10"), &pod("b", "kube-ipam.net1.ip: 10.1.0.10")].concat();
    let (sources, report) = planned(&text);
    let finding = &report.findings[0];
    let lines = [&finding.primary, &finding.related[0]].map(|mark| mark.place.line_and_column(&sources).0);
    assert_eq!(lines, [33, 25]);
}

#[test]
fn an_update_that_ends_the_old_pod_first_needs_no_more_addresses() {
    let ip = "kube-ipam.net1.ip: 10.1.0.10";
    for spec in [
        "strategy: {type: Recreate}",
        "strategy: {rollingUpdate: {maxSurge: 0, maxUnavailable: 1}}",
        "strategy: {rollingUpdate: {maxSurge: 1, maxUnavailable: 100%}}",
    ] {
        let (_, report) = planned(&[NETWORK, &deployment(spec, ip)].concat());
        assert_eq!(report.findings, [], "{spec}");
    }
}

#[test]
fn mistakes_of_the_node_defaults_are_found_once_and_at_their_place() {
    let map = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: d}\ndata:\n  kube-ipam.json: |\n    {\"timeout\": \"1h\",\n     \
               \"store\": \"embedded\"}\n---\n";
    let text = [map, NETWORK, &NETWORK.replace("db-net", "web-net").replace("10.1.", "10.2.")].concat();
    let (_, report) = planned(&text);
    let found: Vec<_> =
        report.findings.iter().map(|finding| (finding.severity, &text[finding.primary.place.span()])).collect();
    assert_eq!(found, [(Severity::Error, "\"1h\"")]);
}
