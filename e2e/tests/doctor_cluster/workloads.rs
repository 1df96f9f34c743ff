//! Ranges and pools that are too small for the workloads of the cluster, whose judgement is that of `plan`.

use kube_ipam_e2e::api::NAMESPACE;
use kube_ipam_e2e::diagnosis::{Diagnosis, paste};
use serde_json::{Value, json};

use crate::{Cluster, config, on_each_store};

/// A network with 6 random addresses and a pool of 2.
fn small(cluster: &Cluster<'_>) {
    let pools = json!({ "few": { "addresses": ["10.2.0.7", "10.2.0.10"] } });
    let ipam = json!({ "type": "kube-ipam", "subnet": "10.2.0.0/28", "rangeStart": "10.2.0.1", "rangeEnd": "10.2.0.7", "pools": pools });
    cluster.api.has_definition(NAMESPACE, "small", &config("small", &ipam));
}

fn workload(kind: &str, name: &str, annotations: &Value, spec: &Value) -> Value {
    let mut selected = json!({ "k8s.v1.cni.cncf.io/networks": "small" });
    selected.as_object_mut().unwrap().extend(annotations.as_object().unwrap().clone());
    let template = json!({ "template": { "metadata": { "annotations": selected }, "spec": { "containers": [] } } });
    let mut workload = json!({
        "kind": kind, "metadata": { "namespace": NAMESPACE, "name": name }, "spec": template,
    });
    workload["spec"].as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
    workload
}

#[test]
fn workloads_that_a_range_or_a_pool_is_too_small_for_are_named_with_the_numbers() {
    on_each_store("workloads_that_a_range_or_a_pool_is_too_small_for_are_named_with_the_numbers", |cluster| {
        small(cluster);
        let none = json!({});
        let cases = [
            (
                workload("Deployment", "web", &none, &json!({ "replicas": 9, "strategy": { "type": "Recreate" } })),
                "no address is left in 10.2.0.1-10.2.0.7 of 10.2.0.0/28 for pod 6 of 9 of Deployment db/web; of its 5 random addresses, the workloads hold 5",
            ),
            (
                workload(
                    "Deployment",
                    "web",
                    &none,
                    &json!({ "replicas": 5, "strategy": { "rollingUpdate": { "maxSurge": 2, "maxUnavailable": 0 } } }),
                ),
                "no address is left in 10.2.0.1-10.2.0.7 of 10.2.0.0/28 for the 2 more pods of an update of Deployment db/web",
            ),
            (
                workload("Job", "load", &none, &json!({ "parallelism": 7 })),
                "no address is left in 10.2.0.1-10.2.0.7 of 10.2.0.0/28 for pod 6 of ",
            ),
            (
                workload("StatefulSet", "db", &json!({ "kube-ipam.net1.pool": "few" }), &json!({ "replicas": 3 })),
                "pool",
            ),
            (
                workload(
                    "ReplicaSet",
                    "old",
                    &json!({ "kube-ipam.net1.pool": "10.2.0.2-10.2.0.4" }),
                    &json!({ "replicas": 4 }),
                ),
                "ReplicaSet db/old has 4 pods, and its pool has 3 addresses",
            ),
        ];
        for (workload, expected) in cases {
            cluster.api.loses_workloads();
            cluster.api.has_workload(&workload);
            let faults = cluster.faults();
            let named =
                format!("{} db/{}", workload["kind"].as_str().unwrap(), workload["metadata"]["name"].as_str().unwrap());
            assert!(
                faults.len() == 1
                    && faults[0].starts_with("workloads error: network db/small: ")
                    && faults[0].contains(expected)
                    && (faults[0].contains(&named) || named.starts_with("Job")),
                "{expected}: {faults:#?}"
            );
            let commands = cluster.diagnosis().commands("workloads");
            assert_eq!(commands[0], "kubectl -n db edit network-attachment-definitions small");
            assert!(commands[1].starts_with("kubectl -n db edit "), "{commands:?}");
        }
    });
}

#[test]
fn workloads_that_fit_with_their_surge_are_ok_and_the_pods_of_others_count() {
    on_each_store("workloads_that_fit_with_their_surge_are_ok_and_the_pods_of_others_count", |cluster| {
        small(cluster);
        let strategy = json!({ "rollingUpdate": { "maxSurge": 1, "maxUnavailable": 0 } });
        let web = workload("Deployment", "web", &json!({}), &json!({ "replicas": 4, "strategy": strategy }));
        cluster.api.has_workload(&web);
        // Deployment and CronJob stand for the pods of these.
        for (kind, owner) in [("ReplicaSet", ("apps/v1", "Deployment")), ("Job", ("batch/v1", "CronJob"))] {
            let mut part = workload(kind, "part", &json!({}), &json!({ "replicas": 4, "parallelism": 4 }));
            part["metadata"]["ownerReferences"] =
                json!([{ "apiVersion": owner.0, "kind": owner.1, "name": "web", "uid": "u", "controller": true }]);
            cluster.api.has_workload(&part);
        }
        let mut on_host = workload("Deployment", "agent", &json!({}), &json!({ "replicas": 50 }));
        on_host["spec"]["template"]["spec"]["hostNetwork"] = json!(true);
        cluster.api.has_workload(&on_host);
        assert_eq!(cluster.faults(), [""; 0]);
        let line = cluster.diagnosis().line("workloads");
        assert!(
            line.ends_with("every pod has an address at full scale, updates included (1 interface of workloads)"),
            "{line}"
        );
        // A pod without a workload has an address, too.
        cluster.api.has("alone", "uid-of-alone", "Running", &json!({ "k8s.v1.cni.cncf.io/networks": "small" }));
        cluster.fault("workloads error: network db/small: no address is left in 10.2.0.1-10.2.0.7 of 10.2.0.0/28 for the 1 more pods of an update of Deployment db/web");
    });
}

#[test]
fn a_daemon_set_needs_an_address_on_each_node() {
    on_each_store("a_daemon_set_needs_an_address_on_each_node", |cluster| {
        small(cluster);
        cluster.api.has_workload(&workload("DaemonSet", "agent", &json!({}), &json!({})));
        assert_eq!(cluster.faults(), [""; 0]);
        cluster.api.has_nodes(&["node-1", "node-2", "node-3", "node-4", "node-5", "node-6", "node-7"]);
        cluster.fault("workloads error: network db/small: no address is left in 10.2.0.1-10.2.0.7 of 10.2.0.0/28 for pod 6 of 7 of DaemonSet db/agent");
    });
}

#[test]
fn a_list_that_may_not_be_read_is_named_with_its_rule_and_the_others_count() {
    on_each_store("a_list_that_may_not_be_read_is_named_with_its_rule_and_the_others_count", |cluster| {
        small(cluster);
        cluster.api.hides(&["deployments"]);
        let diagnosis = cluster.diagnosis();
        let line = diagnosis.line("workloads");
        assert!(line.starts_with("workloads skipped: ") && line.contains("to get the list of Deployments"), "{line}");
        let next = diagnosis.next("workloads");
        let rule = r#"grant it the rule apiGroups ["apps"], resources ["deployments"], verbs ["list"]"#;
        assert!(next.contains(rule), "{next}");
        cluster.api.has_workload(&workload("StatefulSet", "db", &json!({}), &json!({ "replicas": 9 })));
        cluster.fault("workloads error: network db/small: no address is left in ");
    });
}

#[test]
fn workloads_that_are_refused_for_another_reason_are_not_counted_which_is_said() {
    on_each_store("workloads_that_are_refused_for_another_reason_are_not_counted_which_is_said", |cluster| {
        small(cluster);
        let wrong = json!({ "kube-ipam.net1.pool": "none" });
        cluster.api.has_workload(&workload("Deployment", "web", &wrong, &json!({ "replicas": 2 })));
        assert_eq!(cluster.faults(), [""; 0]);
        let diagnosis: Diagnosis = cluster.diagnosis();
        let line = diagnosis.line("workloads");
        assert!(
            line.starts_with("workloads skipped: the pods of 1 workload are not counted, since they would be refused")
                && line.contains("none"),
            "{line}"
        );
        let command = diagnosis.commands("workloads").remove(0);
        let (get, plan) = command.split_once(" | ").unwrap();
        assert_eq!(get, "kubectl get deployments,statefulsets,daemonsets,network-attachment-definitions -A -o yaml");
        assert!(plan.starts_with("kube-ipam plan -f - --config "), "{plan}");
        let program = cluster.node.plugin().path.display().to_string();
        let said = paste(&format!("echo 'kind: Namespace' | {} ; true", plan.replacen("kube-ipam", &program, 1)));
        assert!(!said.contains("unexpected"), "{said}");
    });
}
