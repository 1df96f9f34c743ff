//! Objects that show the networks of a store in etcd, or of an embedded one: whom they follow, what they leave alone, and
//! what becomes of them if the store changes.

use std::fs;
use std::time::Duration;

use kube_ipam::ipam::keys;
use kube_ipam::store::{Key, KubernetesInspector, KubernetesMirror, Op, StoreConfig, Txn};
use kube_ipam_e2e::api_server::{ApiServer, store};
use kube_ipam_e2e::checkout::root;
use kube_ipam_e2e::diagnosis::Diagnosis;
use kube_ipam_e2e::node::{Node, Plugin};
use kube_ipam_e2e::operator::refused;
use kube_ipam_e2e::wait_until;
use serde_json::{Value, json};

use super::cells;
use super::host::{BLUE, Controller, ELSEWHERE, Host, held, soon};

const MIRROR: &str = "kube-ipam.cloudnativer.io/mirror";

/// Runs a test on each store that has no objects of its own.
fn on_each_store(test: &str, check: impl Fn(&Host<'_>)) {
    let Some(tenant) = ApiServer::with_store(test) else { return };
    check(&Host::on_etcd(&tenant));
    let tenant = ApiServer::with_store(test).unwrap();
    check(&Host::embedded(&tenant));
}

#[test]
fn an_object_of_each_definition_follows_the_store() {
    on_each_store("an_object_of_each_definition_follows_the_store", |host| {
        host.add("web", BLUE);
        let controller = host.control("first", host.tenant.owner());
        host.shows_each_change();
        host.add("far", ELSEWHERE);
        host.shows("10.2.0.0/28", [1, 0, 0, 12]);
        let table = host.tenant.kubectl(&["get", "ipnetworks", "--sort-by", ".spec.summary.subnets"]).unwrap();
        let [_, first, second] = cells(&table).try_into().unwrap();
        assert_eq!(first[1..8], ["blue", "default", "10.1.0.0/28", "13", "1", "10", "23%"]);
        assert_eq!(second[1..8], ["blue", "default", "10.2.0.0/28", "13", "1", "12", "7%"]);

        // The object is named as a store would name it, and has no value.
        let object = host.object("10.2.0.0/28").unwrap();
        let key = Key::new(object["spec"]["key"].as_str().unwrap());
        assert!(keys::read_definition(&key).is_some(), "{key}");
        assert!(host.session().get(key.clone(), soon()).unwrap().is_some());
        assert_eq!(object["metadata"]["name"], host.tenant.store().place_of(&key).unwrap().1);
        assert_eq!(object["spec"].as_object().unwrap().keys().collect::<Vec<_>>(), ["key", "summary"]);
        let labels = &object["metadata"]["labels"];
        assert_eq!((&labels["kube-ipam.cloudnativer.io/network"], &labels[MIRROR]), (&json!("blue"), &json!("true")));

        // Deleted by hand, it comes back.
        host.tenant
            .server()
            .admin()
            .delete(&host.path(&format!("/{}", object["metadata"]["name"].as_str().unwrap())))
            .unwrap();
        host.shows("10.2.0.0/28", [1, 0, 0, 12]);
        // Without its definition, it goes.
        let delete = Txn::new(vec![], vec![Op::Delete(key)], vec![]).unwrap();
        host.session().commit(&delete, soon()).unwrap();
        wait_until("the object of the definition is gone", || host.object("10.2.0.0/28").is_none());
        host.shows("10.1.0.0/28", [1, 1, 1, 10]);
        assert!(!controller.log().contains("WARN"), "{}", controller.log());
    });
}

#[test]
fn nothing_is_shown_without_the_option_and_nothing_is_written_twice() {
    let test = "nothing_is_shown_without_the_option_and_nothing_is_written_twice";
    let Some(tenant) = ApiServer::with_store(test) else { return };
    let host = Host::on_etcd(&tenant).showing_nothing();
    for pod in ["web", "gone", "lost"] {
        host.add(pod, ELSEWHERE);
    }
    let controller = host.control("first", tenant.owner());
    host.is_freed("gone");
    assert_eq!(host.objects(), [Value::Null; 0]);
    drop(controller);

    let host = host.showing_in(tenant.namespace());
    let _controller = host.control("second", tenant.owner());
    host.shows("10.2.0.0/28", [2, 0, 0, 11]);
    host.is_freed("lost");
    host.shows("10.2.0.0/28", [1, 0, 0, 12]);
    let shown = host.objects();
    // A scan later than this one has seen the other definition.
    host.add("near", BLUE);
    host.shows("10.1.0.0/28", [1, 0, 0, 12]);
    assert_eq!(host.object("10.2.0.0/28").as_ref(), shown.first());
}

/// Waits until a controller's log has a text. It has it once, also after further scans, which free what a pod had.
#[track_caller]
fn says_once(host: &Host<'_>, controller: &Controller, pod: &str, text: &str) {
    wait_until(text, || controller.log().contains(text));
    host.add(pod, ELSEWHERE);
    host.is_freed(pod);
    assert_eq!(controller.log().matches(text).count(), 1, "{}", controller.log());
}

#[test]
fn what_is_not_a_mirror_stays_as_it_is() {
    let Some(tenant) = ApiServer::with_store("what_is_not_a_mirror_stays_as_it_is") else { return };
    // A store in the same namespace has the same definition.
    Host::new(&tenant).add("elsewhere", BLUE);
    let host = Host::on_etcd(&tenant);
    let lock = json!({ "v": 1, "txn": "7", "primary": "ip/default/4/010.001.000.002", "then": "keep" });
    let others = [("0a", json!("true"), json!({ "lock": lock })), ("0b", Value::Null, json!({}))];
    for (digest, label, spec) in others {
        let mut object = json!({
            "apiVersion": "kube-ipam.cloudnativer.io/v1alpha1", "kind": "IPNetwork",
            "metadata": { "name": format!("default-fgreen-f{digest}") }, "spec": spec,
        });
        object["spec"]["key"] = json!(format!("net/default/green/{digest}"));
        if label != Value::Null {
            object["metadata"]["labels"] = json!({ MIRROR: label });
        }
        tenant.server().admin().create(&host.path(""), &object).unwrap();
    }
    let before = host.objects();
    assert_eq!(before.len(), 3);
    host.add("web", BLUE);
    host.add("far", ELSEWHERE);
    let controller = host.control("first", tenant.owner());
    host.shows("10.2.0.0/28", [1, 0, 0, 12]);
    says_once(
        &host,
        &controller,
        "gone",
        "1 of 2 networks are not shown, because objects of a store in the Kubernetes API",
    );
    let mut after = host.objects();
    after.retain(|object| object["spec"]["summary"]["subnets"] != "10.2.0.0/28");
    assert_eq!(after, before);
}

#[test]
fn the_role_of_the_examples_is_enough_and_without_it_the_log_says_what_to_grant() {
    let test = "the_role_of_the_examples_is_enough_and_without_it_the_log_says_what_to_grant";
    let Some(tenant) = ApiServer::with_store(test) else { return };
    let host = Host::on_etcd(&tenant);
    host.add("web", BLUE);
    let rule = |group: &str, resource: &str, verbs: &[&str]| json!({ "apiGroups": [group], "resources": [resource], "verbs": verbs });
    let in_namespace = [rule("coordination.k8s.io", "leases", &["get", "create", "update"])];
    let in_cluster = [rule("", "pods", &["get", "list", "watch"]), rule("", "namespaces", &["get"])];
    let user = tenant.user("kube-ipam-controller", &in_namespace, &in_cluster).unwrap();
    let controller = host.control("first", &user);
    says_once(&host, &controller, "gone", "to list ipnetworks.kube-ipam.cloudnativer.io in namespace");
    assert!(controller.log().contains(r#"verbs [\"get\", \"list\", \"create\", \"delete\"]"#), "{}", controller.log());

    // What lacks still is named once the rest is granted.
    let rbac = fs::read_to_string(root().join("examples/install-etcd/network-objects/rbac.yaml")).unwrap();
    let [role, mut binding]: [Value; 2] = serde_saphyr::from_multiple(&rbac).unwrap().try_into().unwrap();
    assert_eq!(role["rules"][0]["verbs"], json!(KubernetesMirror::VERBS));
    let mut half = role.clone();
    half["rules"].as_array_mut().unwrap().truncate(1);
    binding["subjects"][0]["namespace"] = json!(tenant.namespace());
    tenant.apply(&half).unwrap();
    tenant.apply(&binding).unwrap();
    wait_until("the log says what to grant", || {
        controller.log().contains(r#"resources [\"ipnetworks/status\"], verbs [\"patch\"]"#)
    });
    assert_eq!(host.status("10.1.0.0/28"), Value::Null);
    tenant.apply(&role).unwrap();
    host.shows("10.1.0.0/28", [1, 0, 0, 12]);
}

#[test]
fn without_the_resource_or_its_namespace_sweeps_go_on() {
    let test = "without_the_resource_or_its_namespace_sweeps_go_on";
    let Some(server) = ApiServer::start(test) else { return };
    let tenant = server.tenant().unwrap();
    let host = Host::on_etcd(&tenant);
    host.add("web", BLUE);
    let controller = host.control("first", tenant.owner());
    says_once(&host, &controller, "gone", "install kube-ipam's CustomResourceDefinitions");
    drop(controller);
    store::install(&tenant).unwrap();
    let controller = host.control("second", tenant.owner());
    host.shows("10.1.0.0/28", [1, 0, 0, 12]);
    drop(controller);

    let host = host.showing_in("nowhere");
    let controller = host.control("third", tenant.owner());
    says_once(&host, &controller, "lost", "there is no namespace nowhere in the cluster of");
}

#[test]
fn a_change_of_the_store_to_the_kubernetes_api_takes_the_objects_over() {
    let test = "a_change_of_the_store_to_the_kubernetes_api_takes_the_objects_over";
    let Some(tenant) = ApiServer::with_store(test) else { return };
    let earlier = Host::on_etcd(&tenant);
    earlier.add("web", BLUE);
    earlier.add("far", ELSEWHERE);
    let controller = earlier.control("earlier", tenant.owner());
    earlier.shows("10.1.0.0/28", [1, 0, 0, 12]);
    earlier.shows("10.2.0.0/28", [1, 0, 0, 12]);
    drop(controller);

    let host = Host::new(&tenant);
    let faults = || {
        let mut faults = Diagnosis::of(&host.node, &[]).faults();
        faults.retain(|fault| fault.starts_with("kubernetes-"));
        faults
    };
    assert_eq!((held(&host), faults()), (0, vec![]), "to the store, the objects' keys are absent");
    let inspector = KubernetesInspector::new(&tenant.store()).unwrap();
    for resource in KubernetesInspector::resources() {
        let report = inspector.inspect(resource, Duration::from_secs(60), &|_| {}).unwrap();
        assert_eq!((report.open, report.faulty.len()), (vec![], 0), "no call that died has left them");
    }
    let uid = |subnet| host.object(subnet).map(|object| object["metadata"]["uid"].clone());
    let before = uid("10.1.0.0/28");
    host.add("next", BLUE);
    let object = host.object("10.1.0.0/28").unwrap();
    assert!(object["spec"]["value"].is_object() && object["metadata"]["labels"][MIRROR].is_null(), "{object}");
    assert_eq!(before.as_ref(), Some(&object["metadata"]["uid"]), "it is the same object");
    assert_eq!(faults(), [""; 0]);
    ApiServer::sweep_leaves_nothing_open(StoreConfig::Kubernetes(tenant.store()));
    assert_eq!(uid("10.2.0.0/28"), None, "no definition of this store");

    // A controller that was left running shows its own networks again, and leaves the store's alone.
    let before = host.object("10.1.0.0/28");
    let _controller = earlier.control("earlier", tenant.owner());
    earlier.shows("10.2.0.0/28", [1, 0, 0, 12]);
    assert_eq!((host.object("10.1.0.0/28"), faults()), (before, vec![]));
    assert_eq!(held(&host), 1);
}

#[test]
fn the_option_needs_an_api_server_and_a_namespace_and_is_not_for_a_store_with_objects() {
    let test = "the_option_needs_an_api_server_and_a_namespace_and_is_not_for_a_store_with_objects";
    let alone = Node::new(Plugin::kube_ipam());
    alone.network(json!({ "subnet": "10.1.0.0/24" })).add("c-1").ok();
    let refusal = |option: &str| refused(&alone, &["controller", "--embedded", option]).1;
    let text = refusal("--network-objects=kube-ipam");
    assert!(text.contains("--network-objects needs an API server: name a kubeconfig with --kubeconfig"), "{text}");
    let text = refusal("--network-objects=Kube_IPAM");
    assert!(text.contains("--network-objects: ") && text.contains("Kube_IPAM"), "{text}");

    let Some(tenant) = ApiServer::with_store(test) else { return };
    let host = Host::new(&tenant).showing_in("elsewhere");
    host.add("web", BLUE);
    let controller = host.control("first", tenant.owner());
    host.shows("10.1.0.0/28", [1, 0, 0, 12]);
    assert_eq!(controller.log().matches("--network-objects has no effect").count(), 1, "{}", controller.log());
}
