//! Ranges for labelled nodes: `nodeSelector` of a range, and `nodeLabels` of the node defaults.

use insta::assert_snapshot;
use serde_json::{Value, json};

use super::defaults::Defaults;
use super::{config, elsewhere, load_for, mistakes, network, shown, table, with_subnet};
use crate::config::Purpose;
use crate::ipam::label::MAX_LABELS;

const ZONE: &str = "topology.kubernetes.io/zone";

/// Node defaults of a node with these labels.
fn labelled(labels: Value) -> Defaults {
    Defaults::with(&json!({ "nodeName": "rack2-node7", "nodeLabels": labels }))
}

/// One set with a range for each of two zones.
fn zones() -> Value {
    json!({ "ranges": [[
        { "subnet": "10.1.0.0/24", "nodeSelector": { ZONE: "a" } },
        { "subnet": "10.1.0.0/24", "nodeSelector": { ZONE: "b" } },
    ]] })
}

#[test]
fn a_node_draws_from_the_ranges_whose_labels_it_has() {
    let here = labelled(json!({ ZONE: "b", "rack": "7" })).load(zones()).network.unwrap();
    assert_snapshot!(shown(&here), @"10.1.0.0/24: 10.1.0.2-10.1.0.254, gateway 10.1.0.1");
    assert_eq!(here.sets[0].ranges()[0].nodes.labels.to_string(), "topology.kubernetes.io/zone=b");
    assert_eq!(here.other_nodes.len(), 1);
    assert!(here.unplaced.is_empty());
}

#[test]
fn labels_and_names_must_both_fit() {
    let range = |nodes: &str, zone: &str| with_subnet(json!({ "nodes": [nodes], "nodeSelector": { ZONE: zone } }));
    let defaults = labelled(json!({ ZONE: "a" }));
    let fits = |nodes, zone| defaults.load(range(nodes, zone)).network.unwrap().unplaced.is_empty();
    assert_eq!(
        [("rack2-*", "a"), ("rack2-*", "b"), ("rack1-*", "a"), ("rack1-*", "b")].map(|(nodes, zone)| fits(nodes, zone)),
        [true, false, false, false]
    );
    let other = defaults.load(range("rack1-*", "a")).network.unwrap();
    assert_snapshot!(elsewhere(&other), @"no range of ipam.subnet is for node rack2-node7 (nodeLabels: topology.kubernetes.io/zone=a); their nodes are rack1-* labelled topology.kubernetes.io/zone=a");
}

#[test]
fn a_set_for_other_nodes_is_named_with_the_labels_of_this_one() {
    let told = |defaults: &Defaults| elsewhere(&defaults.load(zones()).network.unwrap());
    assert_snapshot!(told(&labelled(json!({ ZONE: "c", "rack": "7" }))), @"no range of ipam.ranges[0] is for node rack2-node7 (nodeLabels: rack=7,topology.kubernetes.io/zone=c); their nodes are labelled topology.kubernetes.io/zone=a or labelled topology.kubernetes.io/zone=b");
    assert_snapshot!(told(&labelled(json!({}))), @"no range of ipam.ranges[0] is for node rack2-node7 (nodeLabels: none); their nodes are labelled topology.kubernetes.io/zone=a or labelled topology.kubernetes.io/zone=b");
    let unknown = Defaults::with(&json!({ "nodeName": "rack2-node7" }));
    assert_snapshot!(told(&unknown), @"no range of ipam.ranges[0] is for node rack2-node7 (nodeLabels: missing in the node defaults); their nodes are labelled topology.kubernetes.io/zone=a or labelled topology.kubernetes.io/zone=b");
    // Both sets are named. A third set with a range for this node does not help.
    let two = json!({
        "subnet": "10.3.0.0/24", "ranges": [zones()["ranges"][0], [{ "subnet": "fd00::/64", "nodes": ["rack1-*"] }]],
    });
    assert_snapshot!(elsewhere(&unknown.load(two).network.unwrap()), @"no range of ipam.ranges[0], ipam.ranges[1] is for node rack2-node7 (nodeLabels: missing in the node defaults); their nodes are labelled topology.kubernetes.io/zone=a or labelled topology.kubernetes.io/zone=b or rack1-*");
}

#[test]
fn a_selector_that_no_label_can_meet_yet_is_a_warning() {
    let with_another = json!({ "ranges": [[
        { "subnet": "10.1.0.0/24" },
        { "subnet": "10.2.0.0/24", "nodeSelector": { ZONE: "a" } },
        { "subnet": "10.3.0.0/24", "nodeSelector": { ZONE: "b" } },
    ]] });
    let warned = |defaults: &Defaults| {
        let loaded = defaults.load(with_another.clone());
        assert!(loaded.network.is_ok());
        loaded.warnings.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    };
    assert_snapshot!(warned(&Defaults::with(&json!({}))), @"ipam.ranges[0][1].nodeSelector: selects no range here, because the node defaults have no nodeLabels");
    assert_eq!(warned(&labelled(json!({}))), "");
}

#[test]
fn the_case_of_a_label_and_its_empty_value_count() {
    let worker = "node-role.kubernetes.io/worker";
    let fits = |has: Value, wanted: Value| {
        let block = with_subnet(json!({ "NODESELECTOR": wanted }));
        labelled(has).load(block).network.unwrap().unplaced.is_empty()
    };
    assert!(fits(json!({ worker: "" }), json!({ worker: "" })));
    assert!(!fits(json!({}), json!({ worker: "" })));
    assert!(!fits(json!({ worker: "true" }), json!({ worker: "" })));
    assert!(!fits(json!({ "rack": "a" }), json!({ "Rack": "a" })));
    assert!(!fits(json!({ "rack": "a" }), json!({ "rack": "A" })));
}

#[test]
fn what_is_wrong_with_a_selector_is_said_with_its_label() {
    let many: serde_json::Map<String, Value> = (0..=MAX_LABELS).map(|i| (format!("l{i}"), json!(""))).collect();
    let selector = |labels: Value| with_subnet(json!({ "nodeSelector": labels }));
    assert_snapshot!(table([
        selector(json!("rack=7")),
        selector(json!(["rack=7"])),
        selector(json!({ "rack": 7 })),
        selector(json!({ "rack": null })),
        selector(json!({ "a b": "7" })),
        selector(json!({ ZONE: "a/b" })),
        selector(json!({ "rack": ["7", "8"] })),
        selector(json!({ "Topology.kubernetes.io/zone": "x y" })),
        selector(Value::Object(many)),
        with_subnet(json!({ "nodeSelectors": {} })),
        with_subnet(json!({ "node_selector": {} })),
    ]), @r#"
    ipam.nodeSelector: expected an object of labels, such as {"rack": "7"}, found "rack=7"
    ipam.nodeSelector: expected an object of labels, such as {"rack": "7"}, found a list
    ipam.nodeSelector.rack: expected the value of a label, in quotes, found 7
    ipam.nodeSelector.rack: expected the value of a label, in quotes, found null
    ipam.nodeSelector.a b: "a b" is not the key of a label: it needs a name of 1 to 63 letters, digits, '-', '_' and '.', with a letter or digit at both ends; a DNS name in lower case and '/' may come before it
    ipam.nodeSelector.topology.kubernetes.io/zone: "a/b" is not the value of a label: at most 63 letters, digits, '-', '_' and '.' are possible, with a letter or digit at both ends
    ipam.nodeSelector.rack: expected the value of a label, in quotes, found a list
    ipam.nodeSelector.Topology.kubernetes.io/zone: "Topology.kubernetes.io/zone" is not the key of a label: it needs a name of 1 to 63 letters, digits, '-', '_' and '.', with a letter or digit at both ends; a DNS name in lower case and '/' may come before it
    ipam.nodeSelector: 257 entries are too many; at most 256 are possible
    ipam.nodeSelectors: unknown key; did you mean nodeSelector?
    ipam.node_selector: unknown key; did you mean nodeSelector?
    "#);
}

#[test]
fn labels_of_the_node_stand_in_its_defaults_alone() {
    let block = with_subnet(json!({ "nodelabels": { "rack": "7" } }));
    let defaults = labelled(json!({ "rack": "8" }));
    assert_snapshot!(defaults.mistakes(block.clone()), @"ipam.nodelabels: can be set only in the node defaults, <defaults>");
    // A verb other than ADD serves a block with this key, as if it did not have it.
    let purpose = Purpose { add: false, pod: false };
    let reduced = load_for(purpose, &config(block), defaults.path()).network.unwrap();
    assert_eq!(reduced.node.labels.unwrap().to_string(), "rack=8");
    assert!(mistakes(with_subnet(json!({ "nodeLabels": {} }))).to_string().contains("only in the node defaults"));
    assert_snapshot!(labelled(json!({ "rack": 7, "a b": "" })).mistakes(with_subnet(json!({}))), @r#"2 mistakes: (1) <defaults>: nodeLabels.rack: expected the value of a label, in quotes, found 7; (2) <defaults>: nodeLabels.a b: "a b" is not the key of a label: it needs a name of 1 to 63 letters, digits, '-', '_' and '.', with a letter or digit at both ends; a DNS name in lower case and '/' may come before it"#);
    assert_snapshot!(Defaults::with(&json!({ "nodeLable": {} })).mistakes(with_subnet(json!({}))), @"<defaults>: nodeLable: unknown key; did you mean nodeLabels?");
    assert!(network(with_subnet(json!({}))).node.labels.is_none());
}

#[test]
fn a_selector_of_the_runtimes_ranges_counts_as_any_other() {
    let mut config = config(json!({}));
    config["runtimeConfig"] = json!({ "ipRanges": zones()["ranges"] });
    let purpose = Purpose { add: true, pod: false };
    let network = load_for(purpose, &config, labelled(json!({ ZONE: "a" })).path()).network.unwrap();
    assert_eq!(network.sets[0].ranges()[0].nodes.labels.to_string(), "topology.kubernetes.io/zone=a");
}
