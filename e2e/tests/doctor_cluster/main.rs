//! `kube-ipam doctor` with an API server that plays scenarios, on each store: a healthy cluster passes every check, and
//! each planted fault is named with its next step.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test's verdict is a panic")]

mod cluster_network;
mod controller_rights;
mod installed_defaults;
mod workloads;

use jiff::{SignedDuration, Timestamp};
use kube_ipam::store::{KubernetesConfig, StoreConfig};
use kube_ipam_e2e::api::{Api, NAMESPACE, controller_rules, installed_rules, rule};
use kube_ipam_e2e::diagnosis::Diagnosis;
use kube_ipam_e2e::machines::Machines;
use kube_ipam_e2e::node::Node;
use kube_ipam_e2e::operator::printed;
use serde_json::{Value, json};

/// A machine whose pods are those of an API server, with everything in order.
struct Cluster<'node> {
    node: &'node Node,
    api: Api,
}

fn own_image() -> String {
    format!("kube-ipam:{}", env!("CARGO_PKG_VERSION"))
}

fn uid(pod: &str) -> String {
    format!("uid-of-{pod}")
}

fn config(network: &str, ipam: &Value) -> Value {
    json!({ "cniVersion": "1.0.0", "name": network, "type": "macvlan", "ipam": ipam })
}

impl<'node> Cluster<'node> {
    fn healthy(node: &'node Node) -> Self {
        let cluster = Self { node, api: Api::start().unwrap() };
        cluster.set_defaults(&json!({}));
        cluster.api.allows(&installed_rules());
        if let StoreConfig::Kubernetes(config) = node.store() {
            let (group, _, verbs) = KubernetesConfig::rule();
            cluster.api.allows_in(&config.namespace, &[rule(group, "*", &verbs, &[])]);
        }
        cluster.api.has_nodes(&["node-1", "node-2"]);
        cluster.api.has_definition(
            NAMESPACE,
            "blue",
            &config("blue", &json!({ "type": "kube-ipam", "subnet": "10.1.0.0/24", "cooldown": "0s" })),
        );
        cluster.api.has_installer(&own_image(), &[("node-1", true), ("node-2", true)]);
        cluster.api.has_leader("controller-1_x", &Timestamp::now().to_string());
        cluster.api.allows_controller(Some(&controller_rules()));
        cluster.api.has_installed_defaults(Some(&cluster.defaults()));
        cluster.add("web-0");
        cluster
    }

    fn set_defaults(&self, more: &Value) {
        let kubeconfig = self.api.kubeconfig_of(self.node).unwrap();
        let mut defaults = json!({ "annotations": true, "kubeConfig": kubeconfig, "sweep": { "minAge": "0s" } });
        defaults.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        self.node.set_defaults(&defaults);
    }

    /// The content of the node's defaults.
    fn defaults(&self) -> String {
        std::fs::read_to_string(self.node.path("kube-ipam.json")).unwrap()
    }

    /// Runs a pod with an address, which its status has, too. Returns the address.
    fn add(&self, pod: &str) -> String {
        self.api.has(pod, &uid(pod), "Running", &json!({}));
        let args = format!("IgnoreUnknown=1;K8S_POD_NAMESPACE={NAMESPACE};K8S_POD_NAME={pod};K8S_POD_UID={}", uid(pod));
        let network = self.node.network(json!({ "subnet": "10.1.0.0/24", "cooldown": "0s" }));
        let reply = network.call("ADD", &format!("c-{pod}")).args(&args).run().ok();
        let address = reply.document["ips"][0]["address"].as_str().unwrap().split('/').next().unwrap().to_owned();
        self.uses(pod, &address);
        address
    }

    /// A running pod whose status has this address.
    fn uses(&self, pod: &str, address: &str) {
        let status = json!([
            { "name": "cbr0", "interface": "eth0", "ips": ["10.244.0.5"], "default": true },
            { "name": format!("{NAMESPACE}/blue"), "interface": "eth0", "ips": [address] },
        ]);
        let annotations = json!({ "k8s.v1.cni.cncf.io/network-status": status.to_string() });
        self.api.has(pod, &uid(pod), "Running", &annotations);
    }

    fn diagnosis(&self) -> Diagnosis {
        Diagnosis::of(self.node, &[])
    }

    /// The faults, without those that every etcd without TLS and users has.
    fn faults(&self) -> Vec<String> {
        let mut faults = self.diagnosis().faults();
        faults.retain(|fault| !fault.starts_with("etcd-tls ") && !fault.starts_with("etcd-rights "));
        faults
    }

    /// The only fault.
    #[track_caller]
    fn fault(&self, expected: &str) {
        let faults = self.faults();
        assert!(faults.len() == 1 && faults[0].starts_with(expected), "{expected}: {faults:#?}");
    }
}

fn on_each_store(test: &str, case: impl Fn(&Cluster<'_>)) {
    case(&Cluster::healthy(&Machines::embedded().node()));
    for machines in [Machines::etcd(test), Machines::kubernetes(test)].into_iter().flatten() {
        case(&Cluster::healthy(&machines.node()));
    }
}

#[test]
fn a_healthy_cluster_passes_every_check() {
    on_each_store("a_healthy_cluster_passes_every_check", |cluster| {
        assert_eq!(cluster.faults(), [""; 0]);
        let diagnosis = cluster.diagnosis();
        let checks = [
            "installed-defaults",
            "api-server",
            "api-clock",
            "api-rights",
            "networks",
            "workloads",
            "leaks",
            "pod-addresses",
            "installer",
            "controller",
            "controller-rights",
        ];
        for check in checks {
            let line = diagnosis.line(check);
            assert!(line.starts_with(&format!("{check} ok: ")), "{line}");
        }
        assert!(diagnosis.line("api-server").contains("(v1.33.1) answers"));
        assert!(diagnosis.line("pod-addresses").ends_with("the store has all 1 address of running pods"));
    });
}

#[test]
fn rights_that_lack_or_are_too_many_are_named() {
    on_each_store("rights_that_lack_or_are_too_many_are_named", |cluster| {
        let lacking: Vec<Value> = installed_rules().into_iter().filter(|rule| rule["resources"][0] != "pods").collect();
        cluster.api.allows(&lacking);
        cluster.fault("api-rights error: the node's account may not get pods; without it, no ADD of a pod is served");
        let wide = installed_rules().into_iter().chain([rule("", "secrets", &["get"], &[])]).collect::<Vec<_>>();
        cluster.api.allows(&wide);
        cluster.fault("api-rights warning: the node's account may do more than kube-ipam needs: get secrets");
        // Those of an operator's kubeconfig are not judged.
        let kubeconfig = cluster.api.kubeconfig_of(cluster.node).unwrap();
        let given = Diagnosis::of(cluster.node, &["--kubeconfig", kubeconfig.to_str().unwrap()]);
        assert!(given.line("api-rights").starts_with("api-rights skipped: "), "{:#?}", given.lines());
    });
}

#[test]
fn rights_to_the_store_that_no_rule_lists_are_asked_for_one_by_one() {
    let Some(machines) = Machines::kubernetes("rights_to_the_store_that_no_rule_lists_are_asked_for_one_by_one") else {
        return;
    };
    let node = machines.node();
    let cluster = Cluster::healthy(&node);
    cluster.api.authorizes_by_webhook();
    let line = cluster.diagnosis().line("kubernetes-rights");
    assert!(line.starts_with("kubernetes-rights ok: "), "{line}");
    assert!(
        line.contains("may do what the store needs; whether it may do more is not known: webhook authorizer"),
        "{line}"
    );
    let StoreConfig::Kubernetes(config) = node.store() else { panic!("another store") };
    let (group, _, verbs) = KubernetesConfig::rule();
    cluster.api.allows_in(&config.namespace, &[rule(group, "*", &verbs[..4], &[])]);
    let line = cluster.diagnosis().line("kubernetes-rights");
    assert!(line.contains("the node's account may not delete ipleases, iprests, "), "{line}");
}

#[test]
fn an_address_of_a_pod_that_is_gone_has_leaked_and_a_sweep_frees_it() {
    on_each_store("an_address_of_a_pod_that_is_gone_has_leaked_and_a_sweep_frees_it", |cluster| {
        let address = cluster.add("gone");
        cluster.api.lost("gone");
        cluster
            .fault(&format!("leaks warning: {address}: it has leaked: its pod is gone (pod db/gone, interface eth0"));
        assert_eq!(cluster.node.held().len(), 2);
        let commands = cluster.diagnosis().commands("leaks");
        assert!(commands[0].starts_with("kube-ipam sweep --dry-run --store "), "{commands:?}");
        assert!(commands[1].starts_with("kube-ipam sweep --store "), "{commands:?}");
        printed(cluster.node, &["sweep", "--interval", "10ms"]);
        assert_eq!(cluster.faults(), [""; 0]);
    });
}

#[test]
fn a_pod_with_an_address_that_is_not_its_own_in_the_store_is_an_error() {
    on_each_store("a_pod_with_an_address_that_is_not_its_own_in_the_store_is_an_error", |cluster| {
        cluster.uses("stray", "10.1.0.77");
        cluster.fault("pod-addresses error: pod db/stray: its eth0 uses 10.1.0.77 of network db/blue, which nobody holds in the store");
        let address = cluster.add("web-1");
        cluster.uses("stray", &address);
        cluster.fault(&format!(
            "pod-addresses error: pod db/stray: its eth0 uses {address} of network db/blue, which pod db/web-1"
        ));
        // A pod that is being deleted has released its address already.
        cluster.api.shows("stray", &{
            let mut pod = kube_ipam_e2e::api::pod("stray", &uid("stray"), "Running", &json!({}));
            pod["metadata"]["deletionTimestamp"] = json!("2026-11-01T10:00:30Z");
            pod["metadata"]["annotations"]["k8s.v1.cni.cncf.io/network-status"] =
                json!(json!([{ "name": "db/blue", "interface": "eth0", "ips": ["10.1.0.78"] }]).to_string());
            pod
        });
        assert_eq!(cluster.faults(), [""; 0]);
    });
}

#[test]
fn each_command_names_the_store_and_the_kubeconfig_of_the_run() {
    on_each_store("each_command_names_the_store_and_the_kubeconfig_of_the_run", |cluster| {
        cluster.add("gone");
        cluster.api.lost("gone");
        cluster.uses("stray", "10.1.0.77");
        cluster.api.has_installer("registry.example/kube-ipam:0.1.0", &[("node-1", true), ("node-2", false)]);
        cluster.api.has_leader("", &Timestamp::now().to_string());
        let bad = json!({ "type": "kube-ipam", "subnet": "10.9.0.0/24", "rangeStart": "10.8.0.1" });
        cluster.api.has_definition("web", "bad", &config("bad", &bad));
        printed(cluster.node, &["recovery", "--begin"]);
        let kubeconfig = cluster.node.path("kubeconfig").display().to_string();
        // It reviews each command that is printed.
        let seen = Diagnosis::of(cluster.node, &["--kubeconfig", &kubeconfig]);
        for check in ["recovery", "api-rights", "networks", "leaks", "pod-addresses", "installer", "controller"] {
            assert!(!seen.commands(check).is_empty(), "{check}: {:#?}", seen.lines());
        }
        cluster.api.hides(&["pods", "network-attachment-definitions", "daemonsets"]);
        let unread = Diagnosis::of(cluster.node, &["--kubeconfig", &kubeconfig]);
        for check in ["networks", "leaks", "installer"] {
            assert!(!unread.commands(check).is_empty(), "{check}: {:#?}", unread.lines());
        }
    });
}

#[test]
fn a_definition_that_an_add_would_refuse_and_two_that_overlap_are_named() {
    on_each_store("a_definition_that_an_add_would_refuse_and_two_that_overlap_are_named", |cluster| {
        cluster.api.has_definition(
            "web",
            "green",
            &config("green", &json!({ "type": "kube-ipam", "subnet": "10.1.0.0/25" })),
        );
        cluster.fault("networks warning: network web/green: network db/blue and network web/green both give out ");
        cluster.api.has_definition(
            "web",
            "bad",
            &config("bad", &json!({ "type": "kube-ipam", "subnet": "10.9.0.0/24", "rangeStart": "10.8.0.1" })),
        );
        let faults = cluster.faults();
        assert!(
            faults
                .iter()
                .any(|fault| fault.starts_with("networks error: network web/bad: ") && fault.contains("10.8.0.1")),
            "{faults:#?}"
        );
    });
}

#[test]
fn an_installer_of_another_version_or_not_ready_on_a_node_is_named() {
    on_each_store("an_installer_of_another_version_or_not_ready_on_a_node_is_named", |cluster| {
        cluster.api.has_installer("registry.example/kube-ipam:0.1.0", &[("node-1", true)]);
        cluster.fault("installer warning: DaemonSet kube-ipam/kube-ipam: it installs registry.example/kube-ipam:0.1.0");
        cluster.api.has_installer(&own_image(), &[("node-1", true), ("node-2", false)]);
        let faults = cluster.faults();
        assert_eq!(faults.len(), 2, "{faults:#?}");
        assert!(faults[0].contains("it is ready on 1 of 2 nodes"), "{faults:#?}");
        assert_eq!(
            faults[1],
            "installer error: node node-2: the installer's pod kube-ipam/kube-ipam-node-2 is not ready: container install: CrashLoopBackOff"
        );
    });
}

#[test]
fn a_controller_that_has_stopped_renewing_its_lease_is_a_warning() {
    on_each_store("a_controller_that_has_stopped_renewing_its_lease_is_a_warning", |cluster| {
        cluster.api.has_leader("controller-1_x", &(Timestamp::now() - SignedDuration::from_mins(10)).to_string());
        cluster.fault("controller warning: controller-1_x led, and has not renewed its Lease for ");
        cluster.api.has_leader("", &Timestamp::now().to_string());
        cluster.fault("controller warning: no controller leads");
    });
}

#[test]
fn a_clock_that_differs_from_the_api_servers_is_an_error() {
    on_each_store("a_clock_that_differs_from_the_api_servers_is_an_error", |cluster| {
        cluster.api.is_ahead(7200);
        let faults = cluster.faults();
        let found = faults.iter().find(|fault| fault.starts_with("api-clock ")).cloned().unwrap_or_default();
        assert!(
            found.starts_with("api-clock error: the clock of this machine is ")
                && found.ends_with("behind the API server's"),
            "{faults:#?}"
        );
    });
}

#[test]
fn what_a_nodes_kubeconfig_may_not_list_is_skipped_with_what_makes_it_possible() {
    on_each_store("what_a_nodes_kubeconfig_may_not_list_is_skipped_with_what_makes_it_possible", |cluster| {
        cluster.api.hides(&["pods", "network-attachment-definitions", "daemonsets"]);
        assert_eq!(cluster.faults(), [""; 0]);
        let diagnosis = cluster.diagnosis();
        for check in ["networks", "leaks", "pod-addresses", "installer"] {
            let line = diagnosis.line(check);
            assert!(line.starts_with(&format!("{check} skipped: ")), "{line}");
        }
        let commands = diagnosis.commands("installer");
        assert!(commands[0].starts_with("kube-ipam doctor --kubeconfig ~/.kube/config --cni-dir "), "{commands:?}");
    });
}

#[test]
fn an_api_server_that_does_not_answer_is_one_error_and_the_store_is_checked_all_the_same() {
    on_each_store("an_api_server_that_does_not_answer_is_one_error_and_the_store_is_checked_all_the_same", |cluster| {
        // That server would have the store, too.
        if matches!(cluster.node.store(), StoreConfig::Kubernetes(_)) {
            return;
        }
        let nowhere = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let path = cluster.node.path("kubeconfig");
        let kubeconfig = std::fs::read_to_string(&path).unwrap();
        let server = kubeconfig.split("http://").nth(1).unwrap().split('"').next().unwrap().to_owned();
        std::fs::write(&path, kubeconfig.replace(&server, &nowhere.to_string())).unwrap();
        cluster.fault("api-server error: the API server http://127.0.0.1:");
        assert!(cluster.diagnosis().line("store-entries").starts_with("store-entries ok: "));
    });
}
