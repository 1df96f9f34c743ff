//! How full each network is, in the status of its object in a real API server: who writes it, when, and what it leaves
//! alone.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test's verdict is a panic")]

mod host;
mod mirrors;

use kube_ipam::store::{KeySpan, KubernetesConfig, Op, Txn};
use kube_ipam_e2e::api_server::ApiServer;
use kube_ipam_e2e::operator::printed;
use kube_ipam_e2e::wait_until;
use serde_json::{Value, json};

use self::host::{BLUE, ELSEWHERE, Host, held, soon};

/// The cells of a table that kubectl prints. Columns are two spaces apart.
fn cells(table: &str) -> Vec<Vec<&str>> {
    let cells = |line| str::split(line, "  ").map(str::trim).filter(|cell| !cell.is_empty()).collect();
    table.lines().map(cells).collect()
}

#[test]
fn a_network_shows_the_counts_of_usage_after_each_change() {
    let Some(tenant) = ApiServer::with_store("a_network_shows_the_counts_of_usage_after_each_change") else { return };
    let host = Host::new(&tenant);
    host.add("web", BLUE);
    assert_eq!(host.status("10.1.0.0/28"), Value::Null, "only a controller writes it");
    let _controller = host.control("first", tenant.owner());
    host.shows_each_change();

    let usage: Vec<Value> = serde_json::from_str(&printed(&host.node, &["usage", "-o", "json"])).unwrap();
    let fields = ["subnet", "range", "size", "held", "reserved", "resting", "foreign", "free"];
    let numbers = |range: &Value| fields.map(|field| range[field].clone());
    let status = host.status("10.1.0.0/28");
    let shown: Vec<_> = status["ranges"].as_array().unwrap().iter().map(numbers).collect();
    assert_eq!(shown, usage.iter().map(numbers).collect::<Vec<_>>());
    assert_eq!(shown.len(), 2, "{shown:?}");

    // The other definition of the network counts what is its own.
    host.add("far", ELSEWHERE);
    host.shows("10.2.0.0/28", [1, 0, 0, 12]);
    host.shows("10.1.0.0/28", [1, 1, 1, 10]);
    let table = tenant.kubectl(&["get", "ipnetworks", "--sort-by", ".spec.summary.subnets"]).unwrap();
    let [heads, first, second] = cells(&table).try_into().unwrap();
    assert_eq!(heads, ["NAME", "NETWORK", "VRF", "SUBNETS", "SIZE", "HELD", "FREE", "USED", "OBSERVED"]);
    assert_eq!(first[1..8], ["blue", "default", "10.1.0.0/28", "13", "1", "10", "23%"]);
    assert_eq!(second[1..8], ["blue", "default", "10.2.0.0/28", "13", "1", "12", "7%"]);
    assert!(first[8].ends_with('s') || first[8].ends_with('m'), "{table}");
    let wide = tenant.kubectl(&["get", "ipn", "--output", "wide"]).unwrap();
    assert_eq!(cells(&wide)[0][9..], ["RESERVED", "RESTING", "FOREIGN", "AGE", "KEY"]);
    let described = tenant.kubectl(&["describe", "ipnetwork", first[0]]).unwrap();
    assert!(described.contains("Range:     pool db") && described.contains("Range:     dynamic"), "{described}");
}

#[test]
fn a_status_leaves_the_value_alone_and_a_write_of_the_value_the_status() {
    let test = "a_status_leaves_the_value_alone_and_a_write_of_the_value_the_status";
    let Some(tenant) = ApiServer::with_store(test) else { return };
    let host = Host::new(&tenant);
    host.add("web", BLUE);
    let before = host.object("10.1.0.0/28").unwrap();
    let controller = host.control("first", tenant.owner());
    host.shows("10.1.0.0/28", [1, 0, 0, 12]);
    drop(controller);
    let shown = host.object("10.1.0.0/28").unwrap();
    assert_eq!((&shown["spec"], &shown["metadata"]["uid"]), (&before["spec"], &before["metadata"]["uid"]));

    // The store writes the value again.
    let session = host.session();
    let [read] = session.statuses(&KeySpan::prefix("net/"), soon()).unwrap().try_into().unwrap();
    let entry = session.get(read.key.clone(), soon()).unwrap().unwrap();
    session.commit(&Txn::new(vec![], vec![Op::Put(entry.key, entry.value)], vec![]).unwrap(), soon()).unwrap();
    let written = host.object("10.1.0.0/28").unwrap();
    assert_ne!(written["spec"]["revision"], shown["spec"]["revision"]);
    assert_eq!(written["status"], shown["status"]);

    // What was read before is not overwritten, and neither is an object that is gone or another one.
    assert!(!session.set_status(&read, &json!({ "held": 7 }), soon()).unwrap());
    let [read] = session.statuses(&KeySpan::prefix("net/"), soon()).unwrap().try_into().unwrap();
    let name = written["metadata"]["name"].as_str().unwrap();
    tenant.server().admin().delete(&host.path(&format!("/{name}"))).unwrap();
    assert!(!session.set_status(&read, &json!({ "held": 7 }), soon()).unwrap());
    host.add("api", BLUE);
    assert!(!session.set_status(&read, &json!({ "held": 7 }), soon()).unwrap());
    assert_eq!(host.status("10.1.0.0/28"), Value::Null);
    let controller = host.control("second", tenant.owner());
    host.shows("10.1.0.0/28", [2, 0, 0, 11]);
    assert!(!controller.log().contains("WARN"), "{}", controller.log());
}

#[test]
fn an_unchanged_status_is_not_written_again() {
    let Some(tenant) = ApiServer::with_store("an_unchanged_status_is_not_written_again") else { return };
    let host = Host::new(&tenant);
    host.add("web", BLUE);
    let _controller = host.control("first", tenant.owner());
    host.shows("10.1.0.0/28", [1, 0, 0, 12]);
    let shown = host.object("10.1.0.0/28").unwrap();
    // A scan later than this one has seen the other definition.
    host.add("far", ELSEWHERE);
    host.shows("10.2.0.0/28", [1, 0, 0, 12]);
    assert_eq!(host.object("10.1.0.0/28").unwrap(), shown);
}

#[test]
fn without_the_right_the_log_says_once_what_to_grant_and_sweeps_go_on() {
    let test = "without_the_right_the_log_says_once_what_to_grant_and_sweeps_go_on";
    let Some(tenant) = ApiServer::with_store(test) else { return };
    let host = Host::new(&tenant);
    for pod in ["alive", "gone", "lost"] {
        host.add(pod, BLUE);
    }
    let (group, resources, verbs) = KubernetesConfig::rule();
    let rule = |group: &str, resources: &[&str], verbs: &[&str]| json!({ "apiGroups": [group], "resources": resources, "verbs": verbs });
    let in_namespace =
        [rule(group, &resources, &verbs), rule("coordination.k8s.io", &["leases"], &["get", "create", "update"])];
    let in_cluster = [rule("", &["pods"], &["get", "list", "watch"]), rule("", &["namespaces"], &["get"])];
    let user = tenant.user("controller", &in_namespace, &in_cluster).unwrap();
    let controller = host.control("first", &user);
    let grant = r#"grant the controller's account the rule apiGroups"#;
    wait_until("the log says what to grant", || controller.log().contains(grant));
    for (pod, left) in [("gone", 2), ("lost", 1)] {
        tenant.delete_pod(pod).unwrap();
        wait_until("the address is free", || held(&host) == left);
    }
    let log = controller.log();
    assert!(log.contains(r#"resources [\"ipnetworks/status\"], verbs [\"patch\"]"#), "{log}");
    assert_eq!(log.matches(grant).count(), 1, "{log}");
    assert_eq!(host.status("10.1.0.0/28"), Value::Null);
}

#[test]
fn definitions_of_an_earlier_version_are_named() {
    let Some(tenant) = ApiServer::with_store("definitions_of_an_earlier_version_are_named") else { return };
    let host = Host::new(&tenant);
    let session = host.session();
    let key = kube_ipam::store::Key::new("conformance/a");
    session.commit(&Txn::new(vec![], vec![Op::Put(key, b"{}".to_vec())], vec![]).unwrap(), soon()).unwrap();
    let [read] = session.statuses(&KeySpan::prefix("conformance/"), soon()).unwrap().try_into().unwrap();
    let error = session.set_status(&read, &json!({ "held": 7 }), soon()).unwrap_err().full().to_string();
    let expected = "has no status; apply kube-ipam's CustomResourceDefinitions of this version";
    assert!(error.contains("conformanceentries") && error.contains(expected), "{error}");
}
