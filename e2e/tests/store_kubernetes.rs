//! The store in custom resources of a real API server: the rules of all stores, and what only an API server can do.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::collections::BTreeSet;
use std::fs;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use kube_ipam::deadline::Deadline;
use kube_ipam::store::conformance::{self, actors};
use kube_ipam::store::{Cursor, Key, KeySpan, KubernetesStore, Op, Store, Txn};
use kube_ipam_e2e::api_server::{ApiServer, Tenant};
use kube_ipam_e2e::cni::Reply;
use kube_ipam_e2e::node::Node;
use kube_ipam_e2e::operator::{self, printed, printed_by};
use kube_ipam_e2e::wait_until;
use serde_json::{Value, json};

fn soon() -> Deadline {
    Deadline::after(Duration::from_secs(60))
}

#[tokio::test]
async fn it_follows_the_rules_of_all_stores() {
    let Some(tenant) = ApiServer::with_store("it_follows_the_rules_of_all_stores") else { return };
    conformance::check_any_revisions(&KubernetesStore::new(tenant.store())).await.unwrap();
}

/// Their objects' names end in a hash, and so have another order than the keys.
#[tokio::test]
async fn pages_have_all_keys_that_are_too_long_for_a_name() {
    let Some(tenant) = ApiServer::with_store("pages_have_all_keys_that_are_too_long_for_a_name") else { return };
    let store = KubernetesStore::new(tenant.store());
    let keys: BTreeSet<Key> = (0..8).map(|n| Key::new(format!("conformance/long/{}/{n}", "a".repeat(250)))).collect();
    let puts = keys.iter().map(|key| Op::Put(key.clone(), b"{}".to_vec())).collect();
    store.commit(&Txn::new(vec![], puts, vec![]).unwrap(), soon()).await.unwrap();
    for size in [1, 3, 8] {
        let (mut read, mut next) = (Vec::new(), Some(Cursor::default()));
        while let Some(cursor) = next {
            let page = store.page(&KeySpan::prefix("conformance/long/"), &cursor, size, soon()).await.unwrap();
            read.extend(page.entries.into_iter().map(|entry| entry.key));
            next = page.next;
        }
        assert_eq!(read.len(), keys.len(), "in pages of {size}");
        assert_eq!(read.into_iter().collect::<BTreeSet<_>>(), keys, "in pages of {size}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_at_once_lose_no_update_and_claim_no_key_twice() {
    let Some(tenant) = ApiServer::with_store("clients_at_once_lose_no_update_and_claim_no_key_twice") else { return };
    let started: Vec<_> = (0..8)
        .map(|i| {
            let store = KubernetesStore::new(tenant.store());
            tokio::spawn(async move {
                actors::count_up(&store, 3).await?;
                actors::claim(&store, &i.to_string(), 4).await
            })
        })
        .collect();
    for actor in started {
        actor.await.unwrap().unwrap();
    }
    let store = KubernetesStore::new(tenant.store());
    actors::counted(&store, 8, 3).await.unwrap();
    actors::claimed(&store, 8, 4).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tasks_share_one_store() {
    let Some(tenant) = ApiServer::with_store("tasks_share_one_store") else { return };
    let shared = Arc::new(KubernetesStore::new(tenant.store()));
    let started: Vec<_> = (0..4)
        .map(|_| {
            let store = Arc::clone(&shared);
            tokio::spawn(async move { actors::count_up(&*store, 4).await })
        })
        .collect();
    for actor in started {
        actor.await.unwrap().unwrap();
    }
    actors::counted(&*shared, 4, 4).await.unwrap();
}

/// A process that ends with its test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// An ADD of a pod of the tenant.
fn add(node: &Node, tenant: &Tenant<'_>, pod: &Value) -> Reply {
    let [name, uid] = ["name", "uid"].map(|key| pod["metadata"][key].as_str().unwrap());
    let namespace = tenant.namespace();
    let args = format!("IgnoreUnknown=1;K8S_POD_NAMESPACE={namespace};K8S_POD_NAME={name};K8S_POD_UID={uid}");
    let network = node.network(json!({ "subnet": "10.1.0.0/24", "cooldown": "0s" }));
    network.call("ADD", &format!("c-{name}")).args(&args).run()
}

#[test]
fn a_controller_in_a_pod_reaches_the_store_by_its_service_account() {
    let test = "a_controller_in_a_pod_reaches_the_store_by_its_service_account";
    let Some(tenant) = ApiServer::with_store(test) else { return };
    let node = Node::on_kubernetes(&tenant);
    node.set_defaults(&json!({ "annotations": true, "sweep": { "minAge": "0s" } }));
    let pods = ["alive", "gone"].map(|name| tenant.pod(name, &json!({}), "node-1").unwrap());
    pods.iter().for_each(|pod| drop(add(&node, &tenant, pod).ok()));
    tenant.delete_pod("gone").unwrap();

    // What the kubelet mounts into a pod.
    let kubeconfig: Value = serde_json::from_slice(&fs::read(&tenant.owner().kubeconfig).unwrap()).unwrap();
    let account = node.path("account");
    fs::create_dir(&account).unwrap();
    let authority = &kubeconfig["clusters"][0]["cluster"]["certificate-authority"];
    fs::copy(authority.as_str().unwrap(), account.join("ca.crt")).unwrap();
    fs::write(account.join("token"), kubeconfig["users"][0]["user"]["token"].as_str().unwrap()).unwrap();
    fs::write(account.join("namespace"), tenant.namespace()).unwrap();
    // Its node defaults are those of a ConfigMap, whose kubeconfig is on nodes only.
    node.set_defaults(&json!({ "kubeConfig": node.path("nowhere"), "sweep": { "minAge": "0s" } }));

    let url = tenant.server().url();
    let port = url.rsplit(':').next().unwrap();
    let options = ["--listen", "127.0.0.1:0", "--interval", "100ms", "--settle", "20ms", "--service-account"];
    let mut command = operator::command(&node, &[&["controller"], &options[..]].concat());
    command.arg(&account).env("KUBERNETES_SERVICE_HOST", "127.0.0.1").env("KUBERNETES_SERVICE_PORT", port);
    let log = fs::File::create(node.path("controller.log")).unwrap();
    let controller = Running(command.stdout(Stdio::null()).stderr(log).spawn().unwrap());
    let kubeconfig = tenant.owner().kubeconfig.to_str().unwrap();
    let holders = || {
        let listed = printed(&node, &["list", "-o", "json", "--kubeconfig", kubeconfig]);
        let listed: Vec<Value> = serde_json::from_str(&listed).unwrap();
        let pod = |address: &Value| address["holders"][0]["pod"]["name"].as_str().map(str::to_owned);
        listed.iter().filter_map(pod).collect::<Vec<_>>()
    };
    wait_until("only the address of the pod that is gone is free", || holders() == ["alive"]);
    drop(controller);
}

#[test]
fn from_a_workstation_each_verb_reaches_the_store_by_the_kubeconfig_of_its_option() {
    let test = "from_a_workstation_each_verb_reaches_the_store_by_the_kubeconfig_of_its_option";
    let Some(tenant) = ApiServer::with_store(test) else { return };
    let node = Node::on_kubernetes(&tenant);
    node.set_defaults(&json!({ "annotations": true }));
    let pod = tenant.pod("web", &json!({}), "node-1").unwrap();
    let address = add(&node, &tenant, &pod).ok().address();
    let address = address.split('/').next().unwrap();
    let store = format!("kubernetes://{}", tenant.namespace());
    let of_store = ["--store", &store, "--kubeconfig", tenant.owner().kubeconfig.to_str().unwrap()];
    let run = |verb: &[&str]| {
        let mut command = Command::new(&node.plugin().path);
        command.args(verb).args(of_store).env_clear().env("KUBE_IPAM_CONFIG", node.path("no-defaults.json"));
        printed_by(&mut command)
    };
    assert!(run(&["list"]).contains(address));
    assert!(run(&["usage"]).contains("10.1.0.0/24"));
    assert!(run(&["recovery"]).contains("No recovery"));
    // What it proposes runs where it was printed.
    tenant.delete_pod("web").unwrap();
    let explained = run(&["explain", address]);
    let proposed: Vec<&str> = explained.lines().filter_map(|line| line.trim().strip_prefix("kube-ipam ")).collect();
    let has_options = |line: &&str| of_store.chunks(2).all(|option| line.contains(&option.join(" ")));
    assert!(!proposed.is_empty() && proposed.iter().all(has_options), "{explained}");
    run(&["reserve", "10.1.0.77", "--reason", "printer", "--yes"]);
    run(&["release", "10.1.0.77", "--yes"]);
    run(&["release", address, "--yes"]);
    assert_eq!(serde_json::from_str::<Value>(&run(&["list", "-o", "json"])).unwrap(), json!([]));
}

/// The cells of a table that kubectl prints. Columns are two spaces apart.
fn cells(table: &str) -> Vec<Vec<&str>> {
    let mut rows = Vec::new();
    for line in table.lines() {
        rows.push(line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect());
    }
    rows
}

#[test]
fn kubectl_shows_whose_an_address_is_and_selects_by_it() {
    let Some(tenant) = ApiServer::with_store("kubectl_shows_whose_an_address_is_and_selects_by_it") else { return };
    let node = Node::on_kubernetes(&tenant);
    node.set_defaults(&json!({ "annotations": true, "nodeName": "worker-1" }));
    let pods = ["web-0", "web-1"].map(|name| tenant.pod(name, &json!({}), "worker-1").unwrap());
    let addresses = pods.map(|pod| add(&node, &tenant, &pod).ok().address());
    let addresses = addresses.each_ref().map(|address| address.split('/').next().unwrap());
    printed(&node, &["reserve", "10.1.0.77", "--reason", "printer", "--yes"]);

    let get = |args: &[&str]| tenant.kubectl(&[&["get"], args].concat()).unwrap();
    let leases = get(&["ipleases", "--selector", "kube-ipam.cloudnativer.io/pod=web-1"]);
    let [heads, lease] = cells(&leases).try_into().unwrap();
    assert_eq!(heads, ["NAME", "ADDRESS", "STATE", "NETWORK", "NAMESPACE", "POD", "NODE", "AGE"]);
    assert_eq!(lease[1..7], [addresses[1], "held", "blue", tenant.namespace(), "web-1", "worker-1"]);
    let by_namespace = format!("namespace={}", tenant.namespace());
    for (label, found) in
        [("network=blue", 2), ("node=worker-1", 2), (&by_namespace, 2), ("state=held", 2), ("state=reserved", 1)]
    {
        let leases = get(&["ipl", "--no-headers", "--selector", &format!("kube-ipam.cloudnativer.io/{label}")]);
        assert_eq!(leases.lines().count(), found, "{label}: {leases}");
    }
    let reserved = get(&["ipl", "--output", "wide", "--selector", "kube-ipam.cloudnativer.io/state=reserved"]);
    assert!(cells(&reserved)[1].contains(&"printer"), "{reserved}");

    let attachments = get(&["ipattachments", "--selector", "kube-ipam.cloudnativer.io/pod=web-0"]);
    let [heads, attachment] = cells(&attachments).try_into().unwrap();
    assert_eq!(heads, ["NAME", "ADDRESSES", "STATE", "NETWORK", "NAMESPACE", "POD", "INTERFACE", "NODE", "AGE"]);
    assert_eq!(attachment[1..4], [addresses[0], "complete", "blue"]);
    let networks = get(&["ipnetworks"]);
    assert_eq!(cells(&networks)[1][1..4], ["blue", "default", "10.1.0.0/24"]);
    // All of them by their category, and one for reading.
    let all = get(&["kube-ipam", "--output", "name"]);
    let kinds: BTreeSet<&str> = all.lines().map(|line| line.split('.').next().unwrap()).collect();
    assert_eq!(kinds, BTreeSet::from(["iplease", "ipattachment", "ipnetwork"]), "{all}");
    let whole = get(&["iplease", lease[0], "--output", "json", "--show-managed-fields"]);
    assert!(!whole.contains("managedFields"), "more bytes in each list: {whole}");
    let described = tenant.kubectl(&["describe", "iplease", lease[0]]).unwrap();
    assert!(
        described.contains("Summary:") && described.contains(&format!("Address:    {}", addresses[1])),
        "{described}"
    );

    // An address that is not held by anybody any more is no longer selected by its pod.
    printed(&node, &["release", addresses[1], "--yes"]);
    let held = get(&["ipl", "--no-headers", "--selector", "kube-ipam.cloudnativer.io/state=held"]);
    assert_eq!(held.lines().count(), 1, "{held}");
}
