//! The fixture of a real API server: tenants, definitions, pods, counted requests, outages, and its end.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::{env, fs, thread};

use kube_ipam_e2e::api::rule;
use kube_ipam_e2e::api_server::{ApiServer, Patch, counts};
use kube_ipam_e2e::wait_until;
use serde_json::{Value, json};

/// Set in a process that starts a server, and is killed.
const HOLDER: &str = "KUBE_IPAM_TEST_HOLDS_API_SERVER";

fn widgets(group: &str) -> Value {
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": { "name": format!("widgets.{group}") },
        "spec": {
            "group": group, "scope": "Namespaced",
            "names": { "plural": "widgets", "singular": "widget", "kind": "Widget", "listKind": "WidgetList" },
            "versions": [{
                "name": "v1", "served": true, "storage": true,
                "schema": { "openAPIV3Schema": { "type": "object", "x-kubernetes-preserve-unknown-fields": true } },
            }],
        },
    })
}

fn config_map(name: &str, text: &str) -> Value {
    json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": name }, "data": { "text": text } })
}

/// The processes whose command line contains this path.
fn processes_of(folder: &str) -> usize {
    let lines =
        fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| fs::read(entry.path().join("cmdline")).ok());
    lines.filter(|line| String::from_utf8_lossy(line).contains(folder)).count()
}

#[test]
fn a_tenants_user_sees_only_its_own_namespace() {
    let Some(server) = ApiServer::shared("a_tenants_user_sees_only_its_own_namespace") else { return };
    let [one, other] = [(); 2].map(|()| server.tenant().unwrap());
    assert_ne!(one.namespace(), other.namespace());
    one.apply(&config_map("here", "one")).unwrap();

    let user = one.user("reader", &[rule("", "configmaps", &["get"], &[])], &[]).unwrap();
    let at = |namespace: &str| format!("/api/v1/namespaces/{namespace}/configmaps/here");
    assert_eq!(user.client.get(&at(one.namespace())).unwrap()["data"]["text"], "one");
    let denied = user.client.get(&at(other.namespace())).unwrap_err().to_string();
    assert!(denied.contains("status 403"), "{denied}");
    let denied = user.client.get("/api/v1/nodes").unwrap_err().to_string();
    assert!(denied.contains("status 403"), "{denied}");
    assert_eq!(other.owner().client.find(&at(other.namespace())).unwrap(), None);
}

#[test]
fn rules_in_the_cluster_hold_in_each_namespace() {
    let Some(server) = ApiServer::shared("rules_in_the_cluster_hold_in_each_namespace") else { return };
    let tenant = server.tenant().unwrap();
    let rules = [rule("", "namespaces", &["get"], &["kube-system"]), rule("", "pods", &["get"], &[])];
    let user = tenant.user("plugin", &[], &rules).unwrap();
    assert!(user.client.get("/api/v1/namespaces/kube-system").unwrap()["metadata"]["uid"].is_string());
    assert_eq!(user.client.find("/api/v1/namespaces/default/pods/none").unwrap(), None);
    assert!(user.client.get("/api/v1/namespaces/default").unwrap_err().to_string().contains("status 403"));
}

#[test]
fn objects_of_an_applied_definition_come_back() {
    let Some(server) = ApiServer::shared("objects_of_an_applied_definition_come_back") else { return };
    let tenant = server.tenant().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("widgets.yaml");
    let widget = |size: u8| json!({ "apiVersion": "come-back.example.com/v1", "kind": "Widget", "metadata": { "name": "w" }, "size": size });
    fs::write(&file, format!("{}\n---\n{}\n", widgets("come-back.example.com"), widget(1))).unwrap();
    assert_eq!(tenant.apply_file(&file).unwrap().len(), 2);
    assert_eq!(tenant.apply(&widget(2)).unwrap()["size"], 2);

    let path = format!("/apis/come-back.example.com/v1/namespaces/{}/widgets/w", tenant.namespace());
    let client = &tenant.owner().client;
    let found = client.get(&path).unwrap();
    assert_eq!(found["size"], 2);
    client
        .replace(&path, &{
            let mut changed = found.clone();
            changed["size"] = json!(3);
            changed
        })
        .unwrap();
    let outdated = client.replace(&path, &found).unwrap_err().to_string();
    assert!(outdated.contains("status 409"), "{outdated}");
    client.patch(&path, Patch::Merge, &json!({ "size": null })).unwrap();
    assert_eq!(client.get(&path).unwrap().get("size"), None);
    client.delete(&path).unwrap();
    assert_eq!(client.find(&path).unwrap(), None);
}

#[test]
fn a_pod_needs_no_node() {
    let Some(server) = ApiServer::shared("a_pod_needs_no_node") else { return };
    let tenant = server.tenant().unwrap();
    let created = tenant.pod("db-0", &json!({ "example.com/ip": "10.1.2.3" }), "node-1").unwrap();
    let path = format!("/api/v1/namespaces/{}/pods/db-0", tenant.namespace());
    let pod = |phase: &str| {
        let pod = tenant.owner().client.get(&path).unwrap();
        assert_eq!(pod["metadata"]["uid"], created["metadata"]["uid"]);
        assert_eq!(pod["metadata"]["annotations"]["example.com/ip"], "10.1.2.3");
        assert_eq!(pod["spec"]["nodeName"], "node-1");
        assert_eq!(pod["status"]["phase"], phase);
    };
    pod("Pending");
    tenant.set_phase("db-0", "Succeeded").unwrap();
    pod("Succeeded");
    tenant.delete_pod("db-0").unwrap();
    assert_eq!(tenant.owner().client.find(&path).unwrap(), None);
}

#[test]
fn a_users_requests_are_counted_and_no_others() {
    let Some(server) = ApiServer::shared("a_users_requests_are_counted_and_no_others") else { return };
    let tenant = server.tenant().unwrap();
    let maps = format!("/api/v1/namespaces/{}/configmaps", tenant.namespace());
    let user = tenant.user("counted", &[rule("", "configmaps", &["get", "list"], &[])], &[]).unwrap();
    assert_eq!(tenant.requests(&user).unwrap(), []);
    tenant.owner().client.get(&maps).unwrap();
    for _ in 0..2 {
        assert_eq!(user.client.find(&format!("{maps}/none")).unwrap(), None);
    }
    user.client.get(&maps).unwrap();
    // A request without permission counts too.
    user.client.create(&maps, &config_map("denied", "")).unwrap_err();

    let requests = tenant.requests(&user).unwrap();
    assert_eq!((requests[0].namespace.as_str(), requests[0].name.as_str()), (tenant.namespace(), "none"));
    let counts: Vec<(String, usize)> = counts(&requests).into_iter().collect();
    let expected = [("create configmaps", 1), ("get configmaps", 2), ("list configmaps", 1)];
    assert_eq!(counts, expected.map(|(what, count)| (what.to_owned(), count)));
}

#[test]
fn an_outage_loses_nothing_and_a_restore_returns_to_its_snapshot() {
    let test = "an_outage_loses_nothing_and_a_restore_returns_to_its_snapshot";
    let Some(mut server) = ApiServer::start(test) else { return };
    let url = server.url();
    let tenant = server.tenant().unwrap();
    let at = |name: &str| format!("/api/v1/namespaces/{}/configmaps/{name}", tenant.namespace());
    let [early, late] = ["early", "late"].map(at);
    tenant.apply(&config_map("early", "1")).unwrap();
    let client = tenant.owner().client.clone();
    let snapshot = server.folder().join("snapshot.db");
    server.save(&snapshot).unwrap();
    tenant.apply(&config_map("late", "1")).unwrap();

    server.stop().unwrap();
    client.get(&early).unwrap_err();
    server.start_again().unwrap();
    assert_eq!(server.url(), url);
    let [uid, _] = [&early, &late].map(|path| client.get(path).unwrap()["metadata"]["uid"].clone());

    server.pause().unwrap();
    let waiting = thread::spawn({
        let (client, early) = (client.clone(), early.clone());
        move || client.get(&early).map(drop).map_err(|error| error.to_string())
    });
    assert!(!waiting.is_finished());
    server.resume().unwrap();
    waiting.join().unwrap().unwrap();

    server.restore(&snapshot).unwrap();
    assert_eq!(client.get(&early).unwrap()["metadata"]["uid"], uid);
    assert_eq!(client.find(&late).unwrap(), None);

    let folder = server.folder().to_str().unwrap().to_owned();
    assert_ne!(processes_of(&folder), 0);
    drop(server);
    assert_eq!(processes_of(&folder), 0);
    assert!(!Path::new(&folder).exists());
}

/// Does something only in the process that the test below starts.
#[test]
fn holds_a_server_until_it_is_killed() {
    if env::var_os(HOLDER).is_none() {
        return;
    }
    let server = ApiServer::shared("holds_a_server_until_it_is_killed").unwrap();
    writeln!(std::io::stdout(), "FOLDER {}", server.folder().display()).unwrap();
    // It also ends if the test below fails.
    std::io::stdin().read_line(&mut String::new()).unwrap();
}

#[test]
fn nothing_is_left_of_a_server_whose_test_was_killed() {
    if !kube_ipam_e2e::api_server::installed_or_skip("nothing_is_left_of_a_server_whose_test_was_killed") {
        return;
    }
    let mut holder = Command::new(env::current_exe().unwrap())
        .args(["--exact", "--nocapture", "holds_a_server_until_it_is_killed"])
        .env(HOLDER, "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(holder.stdout.take().unwrap()).lines().map_while(Result::ok);
    // libtest writes the name of the test before it on the same line.
    let folder = lines.filter_map(|line| line.split_once("FOLDER ").map(|(_, folder)| folder.to_owned())).next();
    let folder = folder.expect("a server was started");
    assert_ne!(processes_of(&folder), 0);
    holder.kill().unwrap();
    holder.wait().unwrap();
    wait_until("its server has ended", || processes_of(&folder) == 0 && !Path::new(&folder).exists());
}
