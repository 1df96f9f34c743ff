//! Invariant 5 with real processes: an address passes from its holder when that is shown gone, and in no other case. The
//! API server is one that plays scenarios.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test's verdict is a panic")]

use kube_ipam::store::EtcdConfig;
use kube_ipam_e2e::api::{self, Api, NAMESPACE};
use kube_ipam_e2e::cni::{Call, Reply};
use kube_ipam_e2e::etcd::{self, Cluster};
use kube_ipam_e2e::faketime::Faketime;
use kube_ipam_e2e::machines;
use kube_ipam_e2e::node::{Network, Node};
use serde_json::{Value, json};

const OLD: &str = "0b4f6a52-3c1d-4b8e-9a53-0f6d8c1f1a11";
const NEW: &str = "7d8a2f90-52f5-4f53-a1f4-3f5f8f5a2b22";

/// A node whose pods are those of an API server.
struct Host<'node> {
    node: &'node Node,
    api: Api,
}

impl<'node> Host<'node> {
    fn new(node: &'node Node) -> Self {
        let host = Self { node, api: Api::start().unwrap() };
        host.set_defaults(json!({}));
        host
    }

    fn set_defaults(&self, more: Value) {
        set_defaults(self.node, &self.api, more);
    }

    fn network(&self) -> Network<'node> {
        self.node.network(json!({ "subnet": "10.1.0.0/24" }))
    }

    /// A pod that requests the address runs.
    fn runs(&self, name: &str, uid: &str) {
        self.api.has(name, uid, "Running", &json!({ "kube-ipam.eth0.ip": "10.1.0.5" }));
    }

    fn add(&self, container: &str, pod: &str, uid: &str) -> Reply {
        of_pod(self.network().call("ADD", container), pod, uid).run()
    }

    /// The container that has the address.
    fn holder(&self) -> String {
        let held = self.node.held();
        let [(ip, holder)] = held.as_slice() else { panic!("{held:?}") };
        assert_eq!(ip, "10.1.0.5");
        holder.trim_end_matches("/eth0").to_owned()
    }
}

fn set_defaults(node: &Node, api: &Api, more: Value) {
    let kubeconfig = api.kubeconfig_of(node).unwrap();
    let mut defaults = json!({ "annotations": true, "kubeConfig": kubeconfig });
    defaults.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    node.set_defaults(&defaults);
}

fn of_pod(call: Call, pod: &str, uid: &str) -> Call {
    call.args(&format!("IgnoreUnknown=1;K8S_POD_NAMESPACE={NAMESPACE};K8S_POD_NAME={pod};K8S_POD_UID={uid}"))
}

fn on_each_store(test: &str, case: impl Fn(&Host<'_>)) {
    machines::on_each_store(test, |node| case(&Host::new(node)));
}

#[test]
fn an_address_passes_from_a_pod_that_is_gone_replaced_or_finished() {
    let test = "an_address_passes_from_a_pod_that_is_gone_replaced_or_finished";
    type Ending = (&'static str, fn(&Api));
    let endings: [Ending; 4] = [
        ("gone", |api| api.lost("db-0")),
        ("replaced", |api| api.has("db-0", NEW, "Pending", &json!({}))),
        ("finished (Succeeded)", |api| api.has("db-0", OLD, "Succeeded", &json!({}))),
        ("finished (Failed)", |api| api.has("db-0", OLD, "Failed", &json!({}))),
    ];
    for (shown, end) in endings {
        on_each_store(test, |host| {
            host.runs("db-0", OLD);
            host.add("old", "db-0", OLD).ok();
            end(&host.api);
            host.runs("db-1", NEW);
            host.api.asked();
            assert_eq!(host.add("new", "db-1", NEW).ok().address(), "10.1.0.5/24");
            assert_eq!(host.api.asked(), ["db-1", "db-0"]);
            assert_eq!(host.holder(), "new");
            let log = host.node.log();
            let taken = format!("taken over from pod db/db-0, interface eth0, node node-1, network blue, {shown}");
            assert!(log.contains(&taken), "{log}");
            // What the old one does now changes nothing: its DEL, and its DEL without a record.
            for _ in 0..2 {
                host.network().del("old").ok();
                assert_eq!(host.holder(), "new");
            }
            assert_eq!(host.add("new", "db-1", NEW).ok().address(), "10.1.0.5/24");
            host.network().del("new").ok();
            assert_eq!(host.node.held(), []);
            assert_eq!(host.node.records(), [""; 0]);
        });
    }
}

#[test]
fn of_a_full_pool_the_one_holder_who_is_gone_is_found_however_young_it_is() {
    let test = "of_a_full_pool_the_one_holder_who_is_gone_is_found_however_young_it_is";
    on_each_store(test, |host| {
        let asks = json!({ "kube-ipam.eth0.pool": "10.1.0.20-10.1.0.49" });
        let add = |container: &str, pod: &str| {
            host.api.has(pod, &uid_of(pod), "Running", &asks);
            host.add(container, pod, &uid_of(pod))
        };
        let given: Vec<String> = (0..30).map(|n| add(&format!("c{n}"), &format!("web-{n}")).ok().address()).collect();
        host.api.lost("web-29");
        // Each try asks about three of the thirty: all miss the one in about one of 10^9 runs.
        let mut tries = (0..200).map(|n| add(&format!("try-{n}"), "next"));
        let found = tries.find(|reply| reply.status.success());
        assert_eq!(found.unwrap().address(), given[29]);
    });
}

#[test]
fn a_full_range_assigns_the_address_of_a_pod_that_was_seen_gone_twice() {
    let test = "a_full_range_assigns_the_address_of_a_pod_that_was_seen_gone_twice";
    let Some(faketime) = Faketime::or_skip(test) else { return };
    on_each_store(test, |host| {
        let add = |clock: &str, container: &str, pod: &str| {
            host.api.has(pod, &uid_of(pod), "Running", &json!({}));
            let network = host.node.network(json!({ "subnet": "10.1.0.0/30" }));
            let call = of_pod(network.call("ADD", container), pod, &uid_of(pod));
            faketime.variables(clock).into_iter().fold(call, |call, (name, value)| call.env(name, value)).run()
        };
        let given = add("+0", "old", "db-0").ok().address();
        // As long as it lives, and a short while after it was given, nothing passes.
        assert!(add("+600s", "new-0", "db-1").refused().text().contains("1 held"));
        host.api.lost("db-0");
        host.api.asked();
        assert!(add("+10s", "new-1", "db-1").refused().text().contains("1 held"));
        assert_eq!(host.api.asked(), ["db-1"]);
        // The first check, and others before it is time.
        for (n, clock) in ["+600s", "+610s"].into_iter().enumerate() {
            let refused = add(clock, &format!("new-2{n}"), "db-1").refused();
            let text = refused.text();
            assert_eq!(refused.code(), 11);
            assert!(text.contains("whose pod is gone, and can go to another pod from"), "{text}");
        }
        // It is back, as after a backup of the API server was put right.
        host.api.has("db-0", &uid_of("db-0"), "Running", &json!({}));
        assert!(add("+700s", "new-3", "db-1").refused().text().contains("1 held"));
        host.api.lost("db-0");
        assert_eq!(add("+700s", "new-4", "db-1").ok().address(), given);
        let log = host.node.log();
        assert!(log.contains("taken over from pod db/db-0, interface eth0, node node-1, network blue, gone"), "{log}");
        // The late DEL of the one that had it frees nothing.
        host.network().del("old").ok();
        assert_eq!(host.node.held().len(), 1);
    });
}

fn uid_of(pod: &str) -> String {
    format!("0b4f6a52-{pod}")
}

#[test]
fn it_stays_with_a_pod_that_lives_and_the_refusal_says_how() {
    on_each_store("it_stays_with_a_pod_that_lives_and_the_refusal_says_how", |host| {
        host.runs("db-0", OLD);
        host.add("old", "db-0", OLD).ok();
        host.runs("db-1", NEW);
        let mut terminating = api::pod("db-0", OLD, "Running", &json!({}));
        terminating["metadata"]["deletionTimestamp"] = json!("2026-11-02T10:00:30Z");
        terminating["metadata"]["deletionGracePeriodSeconds"] = json!(30);
        for (pod, expected) in [
            (api::pod("db-0", OLD, "Running", &json!({})), "that pod as Running since 2026-11-01T10:00:01Z"),
            (api::pod("db-0", OLD, "Pending", &json!({})), "that pod as Pending since 2026-11-01T10:00:01Z"),
            (api::pod("db-0", OLD, "Unknown", &json!({})), "that pod as Unknown since 2026-11-01T10:00:01Z"),
            (terminating, "that pod as Terminating since 2026-11-02T10:00:00Z"),
        ] {
            host.api.shows("db-0", &pod);
            let refused = host.add("new", "db-1", NEW).refused();
            assert_eq!(refused.code(), 11);
            let text = refused.text();
            assert!(
                text.contains("held by pod db/db-0, interface eth0, node node-1") && text.contains(expected),
                "{text}"
            );
            assert!(text.contains("kube-ipam release 10.1.0.5 --yes"), "{text}");
            assert_eq!(host.holder(), "old");
        }
        assert_eq!(host.node.records().len(), 1);
    });
}

#[test]
fn it_stays_when_the_server_does_not_answer() {
    on_each_store("it_stays_when_the_server_does_not_answer", |host| {
        host.runs("db-0", OLD);
        host.add("old", "db-0", OLD).ok();
        host.runs("db-1", NEW);
        type Silence = (&'static str, fn(&Api));
        let silences: [Silence; 6] = [
            ("does not allow", |api| api.fails("db-0", 403)),
            ("is too busy", |api| api.fails("db-0", 429)),
            ("failed with status 503", |api| api.fails("db-0", 503)),
            // Not the server's own words.
            ("can't be used", |api| api.fails("db-0", 404)),
            ("can't be used", |api| api.shows("db-0", &json!({ "kind": "Pod" }))),
            ("can't be reached", |api| api.hangs_up("db-0")),
        ];
        for (why, fall_silent) in silences {
            fall_silent(&host.api);
            let refused = host.add("new", "db-1", NEW).refused();
            assert_eq!(refused.code(), 11);
            let text = refused.text();
            assert!(text.contains("held by pod db/db-0") && text.contains(why), "{text}");
            assert_eq!(host.holder(), "old");
        }
    });
}

#[test]
fn a_new_sandbox_of_the_same_pod_takes_over_and_no_server_is_asked() {
    on_each_store("a_new_sandbox_of_the_same_pod_takes_over_and_no_server_is_asked", |host| {
        host.set_defaults(json!({ "annotations": false }));
        let add = |container: &str| {
            let args = format!("IP=10.1.0.5;K8S_POD_NAMESPACE={NAMESPACE};K8S_POD_NAME=db-0;K8S_POD_UID={OLD}");
            host.network().call("ADD", container).args(&args).run()
        };
        for (earlier, later) in [("c1", "c2"), ("c2", "c3")] {
            add(earlier).ok();
            assert_eq!(add(later).ok().address(), "10.1.0.5/24");
            assert_eq!(host.holder(), later);
            // The runtime's late calls for the earlier one.
            assert_eq!(add(earlier).refused().code(), 11);
            assert_eq!(host.holder(), later);
            host.network().del(earlier).ok();
            assert_eq!(host.holder(), later);
        }
        assert!(host.node.log().contains("its earlier sandbox"), "{}", host.node.log());
        // Another pod: of this network none is read.
        let other = format!("IP=10.1.0.5;K8S_POD_NAMESPACE={NAMESPACE};K8S_POD_NAME=db-1;K8S_POD_UID={NEW}");
        let text = host.network().call("ADD", "c4").args(&other).run().refused().text();
        assert!(text.contains("does not read pods"), "{text}");
        assert_eq!(host.api.asked(), [""; 0]);
    });
}

#[test]
fn a_holder_of_another_cluster_or_without_a_pod_is_never_checked() {
    on_each_store("a_holder_of_another_cluster_or_without_a_pod_is_never_checked", |host| {
        let network = host.network();
        network.call("ADD", "plain").args("IP=10.1.0.5").run().ok();
        host.runs("db-1", NEW);
        assert!(host.add("new", "db-1", NEW).refused().text().contains("may still exist on this node"));
        network.del("plain").ok();
        host.runs("db-0", OLD);
        host.add("old", "db-0", OLD).ok();
        host.api.lost("db-0");
        host.set_defaults(json!({ "cluster": "another" }));
        host.api.asked();
        assert!(host.add("new", "db-1", NEW).refused().text().contains("is in another cluster"));
        assert_eq!(host.api.asked(), ["db-1"]);
        assert_eq!(host.holder(), "old");
    });
}

#[test]
fn of_a_full_pool_the_address_of_a_pod_that_is_gone_is_given() {
    on_each_store("of_a_full_pool_the_address_of_a_pod_that_is_gone_is_given", |host| {
        let pool = json!({ "kube-ipam.eth0.pool": "10.1.0.5" });
        host.api.has("web-1", OLD, "Running", &pool);
        host.api.has("web-2", NEW, "Running", &pool);
        host.add("old", "web-1", OLD).ok();
        assert_eq!(host.add("new", "web-2", NEW).refused().code(), 11);
        // Its next sandbox has it again, and asks nobody but for its own annotations.
        host.api.asked();
        host.add("old-2", "web-1", OLD).ok();
        assert_eq!((host.holder().as_str(), host.api.asked()), ("old-2", vec!["web-1".to_owned()]));
        host.api.lost("web-1");
        host.add("new", "web-2", NEW).ok();
        assert_eq!(host.holder(), "new");
    });
}

#[test]
fn the_address_of_a_lost_node_s_pod_passes_after_a_forced_delete_and_its_late_del_frees_nothing() {
    let test = "the_address_of_a_lost_node_s_pod_passes_after_a_forced_delete_and_its_late_del_frees_nothing";
    if !etcd::installed_or_skip(test) {
        return;
    }
    let cluster = Cluster::plain(1).unwrap();
    let config = EtcdConfig { prefix: etcd::PREFIX.to_owned(), ..cluster.config() };
    let (lost, other) = (Node::on_etcd(&config), Node::on_etcd(&config));
    let host = Host::new(&lost);
    set_defaults(&other, &host.api, json!({ "nodeName": "node-2" }));
    let add_elsewhere = |pod: &str| {
        let network = other.network(json!({ "subnet": "10.1.0.0/24" }));
        of_pod(network.call("ADD", "new"), pod, NEW).run()
    };
    host.runs("db-0", OLD);
    host.add("old", "db-0", OLD).ok();
    // Its node is lost, and nobody says that it has ended; a copy of it, made by hand, waits.
    let mut terminating = api::pod("db-0", OLD, "Running", &json!({}));
    terminating["metadata"]["deletionTimestamp"] = json!("2026-11-02T10:00:30Z");
    host.api.shows("db-0", &terminating);
    host.runs("db-copy", NEW);
    assert!(add_elsewhere("db-copy").refused().text().contains("Terminating"));
    // Deleted by force: only now the StatefulSet makes its next pod.
    host.runs("db-0", NEW);
    add_elsewhere("db-0").ok();
    assert_eq!(host.holder(), "new");
    // The lost node comes back.
    host.network().del("old").ok();
    assert_eq!(host.holder(), "new");
    assert_eq!(add_elsewhere("db-0").ok().address(), "10.1.0.5/24");
}
