//! The pods of a DaemonSet, one on each node that its template admits.

use super::{NETWORK, deployment, planned, workload};
use crate::plan::{NodesReport, Outcome};

/// A node with these labels and this spec.
fn node(name: &str, labels: &str, spec: &str) -> String {
    format!("apiVersion: v1\nkind: Node\nmetadata: {{name: {name}, labels: {{{labels}}}}}\nspec: {spec}\n---\n")
}

/// Three workers in two racks and a node of the control plane.
fn nodes() -> String {
    [
        node("w1", "rack: '1', disk: ssd", "{}"),
        node(
            "w2",
            "rack: '1'",
            "{unschedulable: true, taints: [{key: node.kubernetes.io/unschedulable, effect: NoSchedule}]}",
        ),
        node("w3", "rack: '2'", "{taints: [{key: rack, value: '2', effect: PreferNoSchedule}]}"),
        node("c1", "rack: '2'", "{taints: [{key: node-role.kubernetes.io/control-plane, effect: NoSchedule}]}"),
    ]
    .concat()
}

/// A DaemonSet whose pods have this spec.
fn daemon_set(spec: &str) -> String {
    let text = workload("apps/v1", "DaemonSet", "note: none", "note: none");
    text.replace("---\n", &format!("    spec: {spec}\n---\n"))
}

#[test]
fn a_daemon_set_has_a_pod_on_each_node_that_its_template_admits() {
    struct Case {
        name: &'static str,
        spec: &'static str,
        pods: u32,
    }
    let cases = [
        Case { name: "the control plane has a taint", spec: "{}", pods: 3 },
        Case { name: "every taint is tolerated", spec: "{tolerations: [{operator: Exists}]}", pods: 4 },
        Case {
            name: "a taint is tolerated by its key",
            spec: "{tolerations: [{key: node-role.kubernetes.io/control-plane, operator: Exists, effect: NoSchedule}]}",
            pods: 4,
        },
        Case {
            name: "another effect of the taint is tolerated",
            spec: "{tolerations: [{key: node-role.kubernetes.io/control-plane, operator: Exists, effect: NoExecute}]}",
            pods: 3,
        },
        Case {
            name: "another value of the taint is tolerated",
            spec: "{tolerations: [{key: node-role.kubernetes.io/control-plane, value: 'yes'}]}",
            pods: 3,
        },
        Case { name: "a selector", spec: "{nodeSelector: {rack: '1'}}", pods: 2 },
        Case { name: "a label that each kubelet sets", spec: "{nodeSelector: {kubernetes.io/os: linux}}", pods: 3 },
        Case { name: "the node by its name", spec: "{nodeName: w3}", pods: 1 },
        Case { name: "labels that no node has", spec: "{nodeSelector: {rack: '3'}}", pods: 0 },
        Case {
            name: "In",
            spec: "AFFINITY[{matchExpressions: [{key: rack, operator: In, values: ['1', '3']}]}]",
            pods: 2,
        },
        Case {
            name: "NotIn",
            spec: "AFFINITY[{matchExpressions: [{key: rack, operator: NotIn, values: ['1']}]}]",
            pods: 1,
        },
        Case { name: "Exists", spec: "AFFINITY[{matchExpressions: [{key: disk, operator: Exists}]}]", pods: 1 },
        Case {
            name: "DoesNotExist",
            spec: "AFFINITY[{matchExpressions: [{key: disk, operator: DoesNotExist}]}]",
            pods: 2,
        },
        Case { name: "Gt", spec: "AFFINITY[{matchExpressions: [{key: rack, operator: Gt, values: ['1']}]}]", pods: 1 },
        Case { name: "Lt", spec: "AFFINITY[{matchExpressions: [{key: rack, operator: Lt, values: ['2']}]}]", pods: 2 },
        Case {
            name: "a field",
            spec: "AFFINITY[{matchFields: [{key: metadata.name, operator: In, values: [w1]}]}]",
            pods: 1,
        },
        Case {
            name: "one of two terms",
            spec: "AFFINITY[{matchFields: [{key: metadata.name, operator: In, values: [w3]}]}, \
                   {matchExpressions: [{key: disk, operator: Exists}]}]",
            pods: 2,
        },
        Case {
            name: "all expressions of a term",
            spec: "AFFINITY[{matchExpressions: [{key: rack, operator: Exists}, {key: disk, operator: Exists}]}]",
            pods: 1,
        },
        Case { name: "an empty term matches nothing", spec: "AFFINITY[{}]", pods: 0 },
    ];
    for Case { name, spec, pods } in cases {
        let spec = match spec.strip_prefix("AFFINITY") {
            Some(terms) => format!(
                "{{affinity: {{nodeAffinity: {{requiredDuringSchedulingIgnoredDuringExecution: {{nodeSelectorTerms: {terms}}}}}}}}}"
            ),
            None => spec.to_owned(),
        };
        let (_, report) = planned(&[NETWORK, &nodes(), &daemon_set(&spec)].concat());
        assert_eq!(report.findings, [], "{name}");
        let net1 = &report.interfaces[1];
        let expected = NodesReport { possible: pods as usize, known: 4 };
        assert_eq!((net1.pods, net1.nodes.as_ref()), (pods, Some(&expected)), "{name}");
        assert_eq!(report.networks[0].random_taken, u128::from(pods), "{name}");
    }
}

#[test]
fn without_nodes_one_pod_stands_for_all() {
    let (_, report) = planned(&[NETWORK, &daemon_set("{}")].concat());
    assert_eq!((report.interfaces[1].pods, report.interfaces[1].nodes.as_ref()), (1, None));
}

#[test]
fn an_update_of_a_daemon_set_surges_by_a_share_of_its_nodes() {
    let text = daemon_set("{}")
        .replace("note: none\n  template", "updateStrategy: {rollingUpdate: {maxSurge: 50%}}\n  template");
    let network = NETWORK.replace("10.1.0.103", "10.1.0.109");
    let (_, report) = planned(&[network, nodes(), text].concat());
    assert_eq!(report.findings, []);
    assert_eq!((report.networks[0].random_taken, report.networks[0].surge), (3, 2));
}

/// A network with a range for each of two racks.
fn racks(first: &str, second: &str) -> String {
    let window = NETWORK.find("        \"subnet\"").unwrap()..NETWORK.find("      }\n    }\n").unwrap();
    let mut network = NETWORK.to_owned();
    network.replace_range(
        window,
        &format!(
            "        \"ranges\": [[{{\"subnet\": \"10.1.0.0/29\", \"nodeSelector\": {first}}}, \
             {{\"subnet\": \"10.2.0.0/29\", \"nodeSelector\": {second}}}]]\n"
        ),
    );
    network
}

#[test]
fn each_pod_of_a_daemon_set_draws_from_the_range_of_its_node() {
    let network = racks("{\"rack\": \"1\"}", "{\"rack\": \"2\"}");
    let (_, report) = planned(&[&network, "\n", &nodes(), &daemon_set("{}")].concat());
    assert_eq!(report.findings, []);
    let taken: Vec<_> = report.networks.iter().map(|network| (network.ranges.concat(), network.random_taken)).collect();
    let taken: Vec<_> = taken.iter().map(|(range, taken)| (range.split('-').next().unwrap(), *taken)).collect();
    assert_eq!(taken, [("10.1.0.1", 2), ("10.2.0.1", 1)]);
}

#[test]
fn a_pod_on_a_node_without_a_range_is_refused() {
    let network = racks("{\"rack\": \"1\"}", "{\"rack\": \"3\"}");
    let (_, report) = planned(&[&network, "\n", &nodes(), &daemon_set("{}")].concat());
    let codes: Vec<_> = report.findings.iter().map(|finding| finding.code.to_string()).collect();
    assert_eq!(codes, ["KI0410"], "{:#?}", report.findings);
    assert_eq!(report.interfaces[1].outcome, Outcome::Refused);
    // The pods of a Deployment go to the other nodes, unless its template rules those out.
    let text = deployment("replicas: 1", "note: none");
    let (_, report) = planned(&[&network, "\n", &nodes(), &text].concat());
    assert_eq!(report.findings, []);
    let text = text.replace("---\n", "    spec: {nodeSelector: {rack: '2'}, tolerations: [{operator: Exists}]}\n---\n");
    let (_, report) = planned(&[&network, "\n", &nodes(), &text].concat());
    let codes: Vec<_> = report.findings.iter().map(|finding| finding.code.to_string()).collect();
    assert_eq!(codes, ["KI0410"], "{:#?}", report.findings);
}

#[test]
fn an_address_that_the_pods_of_several_nodes_ask_for_is_a_mistake() {
    let ip = |spec: &str| {
        let text = daemon_set(spec).replace("        note: none\n", "        kube-ipam.net1.ip: 10.1.0.10\n");
        let (_, report) = planned(&[NETWORK, &nodes(), &text].concat());
        report.findings.iter().map(|finding| (finding.code.to_string(), finding.message.clone())).collect::<Vec<_>>()
    };
    let message = "DaemonSet app/web has 3 pods, and all of them ask for 10.1.0.10";
    assert_eq!(ip("{}"), [("KI0302".to_owned(), message.to_owned())]);
    assert_eq!(ip("{nodeName: w1}"), []);
}
