//! Rights of a node and of an operator to the store.

use kube_ipam::store::KubernetesConfig;
use kube_ipam_e2e::api_server::ApiServer;
use kube_ipam_e2e::diagnosis::Diagnosis;
use kube_ipam_e2e::node::Node;
use serde_json::{Value, json};

use super::{CHECKS, assert_only_fault, faults, store_rule};

#[test]
fn a_node_with_the_rights_of_the_pages_passes_every_check() {
    let Some(tenant) = ApiServer::with_store("a_node_with_the_rights_of_the_pages_passes_every_check") else { return };
    let user = tenant.user("node", &[store_rule()], &[]).unwrap();
    let node = Node::on_kubernetes(&tenant).with_kubeconfig(&user.kubeconfig);
    node.network(json!({ "subnet": "10.1.0.0/24" })).add("c1").ok();
    let diagnosis = Diagnosis::of(&node, &[]);
    assert_eq!(faults(&node), [""; 0]);
    for check in CHECKS {
        let line = diagnosis.line(check);
        assert!(line.starts_with(&format!("{check} ok: ")), "{line}");
    }
    // It may not read its namespace, and has an object in it.
    assert!(diagnosis.line("kubernetes-namespace").contains("it exists, and has "), "{:#?}", diagnosis.lines());
}

#[test]
fn rights_that_lack_or_are_too_many_are_named_and_fail_what_is_said() {
    let Some(tenant) = ApiServer::with_store("rights_that_lack_or_are_too_many_are_named_and_fail_what_is_said") else {
        return;
    };
    let namespace = tenant.namespace();
    let (group, resources, verbs) = KubernetesConfig::rule();
    let without = |name: &str, (verb, resource): (&str, &str)| {
        let rules: Vec<Value> = resources
            .iter()
            .map(|of| {
                let verbs: Vec<&str> = verbs.into_iter().filter(|other| (*other, *of) != (verb, resource)).collect();
                json!({ "apiGroups": [group], "resources": [of], "verbs": verbs })
            })
            .collect();
        let user = tenant.user(name, &rules, &[]).unwrap();
        let node = Node::on_kubernetes(&tenant).with_kubeconfig(&user.kubeconfig);
        node.set_defaults(&json!({ "nodeName": name, "timeout": "5s" }));
        node
    };
    let may_not = |status: &str, right: &str| {
        format!("kubernetes-rights {status}: namespace {namespace}: the node's account may not {right}; without it, ")
    };
    let network = |node: &Node, subnet: &str| node.network(json!({ "subnet": subnet })).add("c1");

    let node = without("creator", ("create", "ipleases"));
    assert_only_fault(&node, &may_not("error", "create ipleases"));
    network(&node, "10.1.0.0/24").refused();

    let node = without("definer", ("create", "ipnetworks"));
    assert_only_fault(&node, &may_not("error", "create ipnetworks"));
    network(&node, "10.9.0.0/24").refused();

    let node = without("deleter", ("delete", "ipleases"));
    assert_only_fault(&node, &may_not("warning", "delete ipleases"));
    network(&node, "10.1.0.0/24").ok();
    node.network(json!({ "subnet": "10.1.0.0/24", "cooldown": "0s" })).del("c1").ok();
    assert!(Diagnosis::of(&node, &[]).line("deferred-releases").contains(" ok: "));

    let nobody = tenant.user("nobody", &[], &[]).unwrap();
    let node = Node::on_kubernetes(&tenant).with_kubeconfig(&nobody.kubeconfig);
    let found = faults(&node);
    assert_eq!(found.len(), 1, "{found:#?}");
    assert!(found[0].contains("the node's account may do nothing with the store's resources"), "{found:#?}");
    let next = Diagnosis::of(&node, &[]).next("kubernetes-rights");
    let rule = r#"with the rule apiGroups ["kube-ipam.cloudnativer.io"], resources ["*"], verbs ["get", "list", "create", "update", "delete"]"#;
    assert!(next.contains(rule), "{next}");
    let commands = Diagnosis::of(&node, &[]).commands("kubernetes-rights");
    assert_eq!(commands[0], format!("kubectl apply -n {namespace} -f examples/install/store.yaml"));

    let secrets = json!({ "apiGroups": [""], "resources": ["secrets"], "verbs": ["get"] });
    let wide = tenant.user("wide", &[store_rule(), secrets], &[]).unwrap();
    let node = Node::on_kubernetes(&tenant).with_kubeconfig(&wide.kubeconfig);
    assert_only_fault(
        &node,
        &format!(
            "kubernetes-rights warning: namespace {namespace}: the node's account may do more in it than kube-ipam needs: get secrets"
        ),
    );

    let everywhere = tenant.user("everywhere", &[], &[store_rule()]).unwrap();
    let node = Node::on_kubernetes(&tenant).with_kubeconfig(&everywhere.kubeconfig);
    assert_only_fault(
        &node,
        &format!(
            "kubernetes-rights warning: namespace {namespace}: the node's account has its rights to such resources in every other namespace"
        ),
    );

    // Who looks at a store with another kubeconfig need not change it.
    let reader = json!({ "apiGroups": [group], "resources": resources, "verbs": ["get", "list"] });
    let reader = tenant.user("reader", &[reader], &[]).unwrap();
    let options = ["--kubeconfig", reader.kubeconfig.to_str().unwrap()];
    let line = Diagnosis::of(&node, &options).line("kubernetes-rights");
    assert!(line.starts_with("kubernetes-rights ok: ") && line.contains("create/update/delete ipleases"), "{line}");
}
