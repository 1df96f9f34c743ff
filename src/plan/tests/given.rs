//! The planned addresses of pods.

use super::{NETWORK, deployment, planned, pod, workload};
use crate::plan::{InterfaceReport, Outcome};

/// The addresses of an interface by request, as text, and the number of range sets that assign a random one.
pub(super) fn given(report: &InterfaceReport) -> (Vec<String>, usize) {
    let Outcome::Addresses { certain, random, .. } = &report.outcome else { panic!("{report:?}") };
    let texts = certain.iter().flat_map(|pod| &pod.addresses).map(ToString::to_string).collect();
    (texts, random.len())
}

/// The outcome for net1 of the only workload in a text.
fn net1(text: &str) -> (Vec<String>, usize) {
    let (_, report) = planned(&[NETWORK, text].concat());
    assert_eq!(report.findings, [], "{text}");
    given(report.interfaces.iter().find(|interface| interface.interface == "net1").unwrap())
}

#[test]
fn a_pod_gets_what_it_asks_for_and_else_any_address() {
    assert_eq!(net1(&pod("a", "note: none")), (vec![], 1));
    assert_eq!(net1(&pod("a", "kube-ipam.net1.ip: 10.1.0.12")), (vec!["10.1.0.12".to_owned()], 0));
    assert_eq!(net1(&pod("a", "kube-ipam.ip: 10.1.0.12")), (vec!["10.1.0.12".to_owned()], 0));
    // Written as IPv6, it is the same address (RFC 4291 section 2.5.5.2).
    assert_eq!(net1(&pod("a", "kube-ipam.ip: '::ffff:10.1.0.12'")), (vec!["10.1.0.12".to_owned()], 0));
}

#[test]
fn the_pods_of_a_statefulset_get_the_addresses_of_their_numbers() {
    let pool = "kube-ipam.net1.pool: 10.1.0.12-10.1.0.14";
    let (addresses, _) = net1(&workload("apps/v1", "StatefulSet", "replicas: 3", pool));
    assert_eq!(addresses, ["10.1.0.12", "10.1.0.13", "10.1.0.14"]);
    let (addresses, _) = net1(&workload("apps/v1", "StatefulSet", "replicas: 2\n  ordinals: {start: 5}", pool));
    assert_eq!(addresses, ["10.1.0.12", "10.1.0.13"]);
}

#[test]
fn the_pods_of_a_deployment_share_its_pool() {
    let strategy = "replicas: 2\n  strategy: {type: Recreate}";
    let (mut addresses, _) = net1(&deployment(strategy, "kube-ipam.net1.pool: 10.1.0.12,10.1.0.14"));
    addresses.sort();
    assert_eq!(addresses, ["10.1.0.12", "10.1.0.14"]);
}

#[test]
fn a_network_has_what_is_left_also_during_an_update() {
    let (_, report) = planned(&[NETWORK, &deployment("replicas: 2", "note: none")].concat());
    let [network] = report.networks.as_slice() else { panic!("{report:?}") };
    assert_eq!((network.random, network.random_taken, network.surge, network.left()), (4, 2, 1, 1));
}

#[test]
fn addresses_that_are_asked_for_are_given_to_nobody_at_random() {
    // The pods need all four addresses of the range. One pod requests its address, so the random pods get the other
    // three.
    let network = NETWORK.replace("\"fixedStart\": \"10.1.0.10\",\n        \"fixedEnd\": \"10.1.0.19\",\n", "");
    let many = deployment("replicas: 3\n  strategy: {type: Recreate}", "note: none");
    let (_, report) = planned(&[network, many, pod("late", "kube-ipam.net1.ip: 10.1.0.101")].concat());
    assert_eq!(report.findings, []);
    assert_eq!(report.networks[0].left(), 0);
}

#[test]
fn a_selection_in_json_names_its_interface() {
    let text = pod("a", "kube-ipam.db.ip: 10.1.0.12")
        .replace("networks: db-net", "networks: '[{\"name\": \"db-net\", \"interface\": \"db\"}]'");
    let (_, report) = planned(&[NETWORK, &text].concat());
    assert_eq!(report.findings, []);
    let interfaces: Vec<_> = report.interfaces.iter().map(|interface| interface.interface.as_str()).collect();
    assert_eq!(interfaces, ["eth0", "db"]);
}

#[test]
fn another_programs_annotations_are_its_own_affair() {
    let text = deployment("replicas: 1", "note: none")
        .replace("{name: web}", "{name: web, annotations: {kube-ipam.example/ip: 10.1.0.10}}");
    let (_, report) = planned(&[NETWORK, &text].concat());
    assert_eq!(report.findings, []);
}

#[test]
fn pods_in_the_network_of_their_node_get_nothing() {
    let text = "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec: {hostNetwork: true}\n";
    let (_, report) = planned(text);
    assert_eq!((report.interfaces, report.findings), (vec![], vec![]));
}

#[test]
fn a_pod_may_be_on_any_node_that_its_template_does_not_rule_out() {
    let network = NETWORK
        .replace("\"subnet\": \"10.1.0.0/24\",", "\"ranges\": [[RACKS]]")
        .lines()
        .filter(|line| !["fixedStart", "fixedEnd", "rangeStart", "rangeEnd"].iter().any(|key| line.contains(key)))
        .collect::<Vec<_>>()
        .join("\n")
        .replace(
            "RACKS",
            r#"{"subnet": "10.1.0.0/29", "nodes": ["rack1-*"]}, {"subnet": "10.2.0.0/29", "nodeSelector": {"rack": "2"}}"#,
        );
    let with = |rest: &str| {
        let (_, report) = planned(&[&network, "\n", rest].concat());
        assert_eq!(report.findings, [], "{rest}");
        report
    };
    // Each rack has five addresses, so eight pods need both racks.
    let report = with(&deployment("replicas: 8", "note: none"));
    assert_eq!(report.networks.len(), 2);
    assert_eq!(report.networks.iter().map(|network| network.random_taken).sum::<u128>(), 8);
    // A pod may request an address of either rack.
    for ip in ["10.1.0.3", "10.2.0.3"] {
        let report = with(&pod("a", &format!("kube-ipam.net1.ip: {ip}")));
        let net1 = report.interfaces.iter().find(|interface| interface.interface == "net1").unwrap();
        assert_eq!(given(net1).0, [ip]);
    }
    // If the nodes are known, only their ranges count.
    let node = "apiVersion: v1\nkind: Node\nmetadata: {name: a, labels: {rack: '2'}}\n---\n";
    assert_eq!(with(&[node, &deployment("replicas: 3", "note: none")].concat()).networks.len(), 1);
}

#[test]
fn a_named_pool_serves_the_pods_that_ask_for_it() {
    let network = super::with_pool();
    let given_to = |text: &str| {
        let (_, report) = planned(&[&network, text].concat());
        assert_eq!(report.findings, [], "{text}");
        let (mut addresses, random) = given(report.interfaces.last().unwrap());
        addresses.sort();
        (addresses, random)
    };
    let by_name = "kube-ipam.net1.pool: db";
    let set = given_to(&workload("apps/v1", "StatefulSet", "replicas: 2", by_name));
    assert_eq!(set, (vec!["10.1.0.30".to_owned(), "10.1.0.31".to_owned()], 0));
    let deployment = given_to(&deployment("replicas: 3\n  strategy: {type: Recreate}", by_name));
    assert_eq!(deployment.0, ["10.1.0.30", "10.1.0.31", "10.1.0.32"]);
}
