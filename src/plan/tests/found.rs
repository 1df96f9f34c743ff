//! Findings and their positions.

use super::{NETWORK, deployment, planned, pod, with_pool, workload};
use crate::plan::Severity;

struct Case {
    name: &'static str,
    text: String,
    code: &'static str,
    /// The marked part of the text.
    marked: &'static str,
    /// A part of the message.
    message: &'static str,
}

/// The network with one part of its configuration replaced.
fn with(part: &str, instead: &str) -> String {
    assert!(NETWORK.contains(part), "{part}");
    NETWORK.replace(part, instead)
}

fn network_cases() -> Vec<Case> {
    vec![
        Case {
            name: "a list that is not closed",
            text: "a: [1\n".to_owned(),
            code: "KI0001",
            marked: "",
            message: "neither YAML nor JSON",
        },
        Case {
            name: "a template",
            text: "a: {{ .Values.x }}\n".to_owned(),
            code: "KI0001",
            marked: "{",
            message: "neither YAML nor JSON",
        },
        Case {
            name: "a key twice",
            text: with("\"type\": \"macvlan\",", "\"type\": \"macvlan\",").replace("metadata: {", "kind: X\nmetadata: {"),
            code: "KI0002",
            marked: "kind",
            message: "the key kind stands twice",
        },
        Case {
            name: "an object as configuration",
            text: "apiVersion: k8s.cni.cncf.io/v1\nkind: NetworkAttachmentDefinition\nmetadata: {name: a}\nspec:\n  config: {a: 1}\n"
                .to_owned(),
            code: "KI0003",
            marked: "{a: 1}",
            message: "has to be a text",
        },
        Case {
            name: "a trailing comma",
            text: with("\"10.1.0.103\"", "\"10.1.0.103\","),
            code: "KI0004",
            marked: "",
            message: "the configuration of db-net is not JSON",
        },
        Case {
            name: "a near miss",
            text: with("\"subnet\"", "\"exclud\": [\"10.1.0.101\"], \"subnet\""),
            code: "KI0204",
            marked: "\"exclud\"",
            message: "did you mean exclude",
        },
        Case {
            name: "a window that runs backwards",
            text: with("10.1.0.19", "10.1.0.9"),
            code: "KI0220",
            marked: "\"10.1.0.9\"",
            message: "runs backwards",
        },
        Case {
            name: "a range outside of its subnet",
            text: with("10.1.0.103", "10.1.1.103"),
            code: "KI0218",
            marked: "\"10.1.1.103\"",
            message: "is not in the subnet",
        },
        Case {
            name: "an unknown key",
            text: with("\"subnet\"", "\"colour\": \"blue\", \"subnet\""),
            code: "KI0251",
            marked: "\"colour\"",
            message: "unknown key",
        },
        Case {
            name: "a gateway elsewhere",
            text: with("\"subnet\"", "\"gateway\": \"10.9.0.1\", \"subnet\""),
            code: "KI0109",
            marked: "\"10.9.0.1\"",
            message: "is not in the subnet",
        },
        Case {
            name: "two definitions of one name",
            text: [NETWORK, NETWORK].concat(),
            code: "KI0104",
            marked: "db-net",
            message: "network app/db-net is defined twice",
        },
        Case {
            name: "two networks with common addresses",
            text: [NETWORK.to_owned(), NETWORK.replace("db-net", "web-net")].concat(),
            code: "KI0107",
            marked: "\"10.1.0.0/24\"",
            message: "both give out 10.1.0.100-10.1.0.103",
        },
        Case {
            name: "a default route on net1",
            text: with("\"subnet\"", "\"routes\": [{\"dst\": \"0.0.0.0/0\"}], \"subnet\"") + &pod("a", "note: none"),
            code: "KI0108",
            marked: "\"0.0.0.0/0\"",
            message: "a default route for net1",
        },
    ]
}

fn pod_cases() -> Vec<Case> {
    let on_network = |text: String| [NETWORK, &text].concat();
    vec![
        Case {
            name: "an annotation that is a boolean",
            text: on_network(pod("a", "kube-ipam.net1.sticky: true")),
            code: "KI0005",
            marked: "true",
            message: "is not a text",
        },
        Case {
            name: "a network that nobody defines",
            text: pod("a", "note: none"),
            code: "KI0102",
            marked: "db-net",
            message: "there is no NetworkAttachmentDefinition app/db-net",
        },
        Case {
            name: "a network of another namespace",
            text: NETWORK.replace("namespace: app", "namespace: db") + &pod("a", "note: none"),
            code: "KI0103",
            marked: "db-net",
            message: "there is no NetworkAttachmentDefinition app/db-net",
        },
        Case {
            name: "a selection that is half JSON",
            text: on_network(pod("a", "note: none").replace("networks: db-net", "networks: '[{\"name\": db-net}]'")),
            code: "KI0105",
            marked: "'[{\"name\": db-net}]'",
            message: "neither a list of names nor a JSON list",
        },
        Case {
            name: "two interfaces of one name",
            text: on_network(pod("a", "note: none").replace("networks: db-net", "networks: db-net@x, app/db-net@x")),
            code: "KI0106",
            marked: "db-net",
            message: "has two interfaces x",
        },
        Case {
            name: "ips without the capability",
            text: on_network(
                pod("a", "note: none")
                    .replace("networks: db-net", "networks: '[{\"name\": \"db-net\", \"ips\": [\"10.1.0.10\"]}]'"),
            ),
            code: "KI0110",
            marked: "db-net",
            message: "without the capability",
        },
        Case {
            name: "an address outside of the window",
            text: on_network(pod("a", "kube-ipam.net1.ip: 10.1.0.20")),
            code: "KI0404",
            marked: "10.1.0.20",
            message: "outside the window for fixed addresses",
        },
        Case {
            name: "one address of a list in no subnet",
            text: on_network(pod("a", "kube-ipam.net1.ip: '10.1.0.10, 10.2.0.1'")),
            code: "KI0402",
            marked: "10.2.0.1",
            message: "is in no subnet of this network",
        },
        Case {
            name: "a field with a typing error",
            text: on_network(pod("a", "kube-ipam.net1.pol: 10.1.0.10")),
            code: "KI0421",
            marked: "10.1.0.10",
            message: "did you mean kube-ipam.net1.pool",
        },
        Case {
            name: "an interface that the pod does not have",
            text: on_network(pod("a", "kube-ipam.net2.ip: 10.1.0.10")),
            code: "KI0305",
            marked: "kube-ipam.net2.ip",
            message: "for an interface that this pod does not have",
        },
        Case {
            name: "another address manager's annotation",
            text: on_network(pod("a", "cni.projectcalico.org/ipAddrs: '[\"10.1.0.10\"]'")),
            code: "KI0306",
            marked: "cni.projectcalico.org/ipAddrs",
            message: "is for Calico",
        },
        Case {
            name: "an unscoped address of no network",
            text: on_network(pod("a", "kube-ipam.ip: 10.2.0.10")),
            code: "KI0309",
            marked: "10.2.0.10",
            message: "in no subnet of this pod's networks",
        },
        Case {
            name: "two pods that ask for one address",
            text: on_network(pod("a", "kube-ipam.net1.ip: 10.1.0.10") + &pod("b", "kube-ipam.net1.ip: 10.1.0.10")),
            code: "KI0301",
            marked: "10.1.0.10",
            message: "by Pod app/a and by Pod app/b",
        },
    ]
}

fn workload_cases() -> Vec<Case> {
    let on_network = |text: String| [NETWORK, &text].concat();
    let ip = "kube-ipam.net1.ip: 10.1.0.10";
    vec![
        Case {
            name: "replicas that share an address",
            text: on_network(deployment("replicas: 2", ip)),
            code: "KI0302",
            marked: "10.1.0.10",
            message: "Deployment app/web has 2 pods, and all of them ask for 10.1.0.10",
        },
        Case {
            name: "a pod on each node that asks for an address",
            text: on_network(workload("apps/v1", "DaemonSet", "note: none", ip)),
            code: "KI0302",
            marked: "10.1.0.10",
            message: "has a pod on each node",
        },
        Case {
            name: "a Job whose pods share an address",
            text: on_network(workload("batch/v1", "Job", "parallelism: 3", ip)),
            code: "KI0302",
            marked: "10.1.0.10",
            message: "Job app/web has 3 pods",
        },
        Case {
            name: "an update that waits for itself",
            text: on_network(deployment("replicas: 1", ip)),
            code: "KI0303",
            marked: "10.1.0.10",
            message: "can never be updated",
        },
        Case {
            name: "an annotation beside the template",
            text: on_network(
                deployment("replicas: 1", "note: none")
                    .replace("{name: web}", "{name: web, annotations: {kube-ipam.net1.ip: 10.1.0.10}}"),
            ),
            code: "KI0304",
            marked: "kube-ipam.net1.ip",
            message: "is on the Deployment web, and not on its pods",
        },
        Case {
            name: "a pool with fewer addresses than a StatefulSet has pods",
            text: on_network(workload(
                "apps/v1",
                "StatefulSet",
                "replicas: 3",
                "kube-ipam.net1.pool: 10.1.0.10-10.1.0.11",
            )),
            code: "KI0307",
            marked: "10.1.0.10-10.1.0.11",
            message: "has 2 addresses",
        },
        Case {
            name: "a pool with fewer addresses than a Deployment has pods",
            text: on_network(deployment("replicas: 3", "kube-ipam.net1.pool: 10.1.0.10-10.1.0.11")),
            code: "KI0307",
            marked: "10.1.0.10-10.1.0.11",
            message: "has 3 pods, and its pool has 2 addresses",
        },
        Case {
            name: "a pool without room for an update",
            text: on_network(deployment("replicas: 2", "kube-ipam.net1.pool: 10.1.0.10-10.1.0.11")),
            code: "KI0307",
            marked: "10.1.0.10-10.1.0.11",
            message: "has 3 pods during an update",
        },
        Case {
            name: "a named pool with fewer addresses than a Deployment has pods",
            text: with_pool() + &deployment("replicas: 4\n  strategy: {type: Recreate}", "kube-ipam.net1.pool: db"),
            code: "KI0307",
            marked: "db",
            message: "has 4 pods, and its pool has 3 addresses",
        },
        Case {
            name: "a pool that the network does not have",
            text: with_pool() + &pod("a", "kube-ipam.net1.pool: pg"),
            code: "KI0434",
            marked: "pg",
            message: "pg",
        },
        Case {
            name: "two pools with common addresses",
            text: with_pool().replace("]}}, \"subnet\"", "]}, \"pg\": {\"addresses\": [\"10.1.0.32\"]}}, \"subnet\""),
            code: "KI0235",
            marked: "\"10.1.0.32\"",
            message: "overlaps",
        },
        Case {
            name: "more pods than addresses",
            text: on_network(deployment("replicas: 5", "note: none")),
            code: "KI0308",
            marked: "5",
            message: "for pod 5 of 5 of Deployment app/web",
        },
    ]
}

#[test]
fn a_mistake_is_found_at_its_place_and_nothing_else_is() {
    let cases = [network_cases(), pod_cases(), workload_cases()].into_iter().flatten();
    let wrong: Vec<_> = cases.filter_map(|case| wrong(&case)).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

/// The findings, unless they are exactly the mistake of a case.
fn wrong(Case { name, text, code, marked, message }: &Case) -> Option<String> {
    let (_, report) = planned(text);
    let found: Vec<_> = report
        .findings
        .iter()
        .map(|finding| (finding.code.to_string(), &text[finding.primary.place.span()], finding.message.as_str()))
        .collect();
    let is_right =
        matches!(&*found, [(found, part, text)] if found == code && part == marked && text.contains(message));
    (!is_right).then(|| format!("{name}: expected {code} at {marked:?} ({message:?}), found {found:#?}"))
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
