//! `kube-ipam explain` by the real binary, on both stores: why an address, a pod or a claim is as it is, and what to do. The
//! API server is one that plays scenarios.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test's verdict is a panic")]

mod definitions;
mod next;
mod nodes;
mod programs;
mod terminal;

use std::net::IpAddr;
use std::process::{Command, Stdio};
use std::time::Duration;

use kube_ipam::deadline::Deadline;
use kube_ipam::ipam::keys;
use kube_ipam::ipam::name::Name;
use kube_ipam::ops::Session;
use kube_ipam::store::{Key, Op, Txn};
use kube_ipam_e2e::api::{self, Api, NAMESPACE};
use kube_ipam_e2e::binary;
use kube_ipam_e2e::cni::Reply;
use kube_ipam_e2e::machines::{Machines, on_each_store, on_stores_without_api_server};
use kube_ipam_e2e::node::{Network, Node};
use kube_ipam_e2e::operator::{inhabited, printed, run};
use serde_json::{Value, json};

/// A network with a window for fixed addresses, one random address and a hole.
fn network(node: &Node) -> Network<'_> {
    node.network(json!({
        "subnet": "10.1.0.0/24", "fixedStart": "10.1.0.10", "fixedEnd": "10.1.0.20",
        "rangeStart": "10.1.0.100", "rangeEnd": "10.1.0.101", "exclude": ["10.1.0.101"], "cooldown": "1h",
    }))
}

/// A page without its earlier holders, of which each store knows another part.
fn without_past(page: &str) -> String {
    let mut is_past = false;
    let lines = page.lines().filter(|line| {
        is_past = *line == "Before:" || (is_past && line.starts_with("- "));
        !is_past
    });
    lines.map(|line| format!("{line}\n")).collect()
}

/// The page about a subject, on a machine without a runtime's networks.
fn explained(node: &Node, subject: &str) -> String {
    printed(node, &["explain", subject, "--cni-dir", node.path("cni").to_str().unwrap()])
}

fn document(node: &Node, subject: &str) -> Value {
    let folder = node.path("cni");
    let args = ["explain", subject, "-o", "json", "--cni-dir", folder.to_str().unwrap()];
    serde_json::from_str(&printed(node, &args)).unwrap()
}

/// Settings for snapshots, without the times and folders that differ from run to run.
fn without_times() -> insta::Settings {
    let mut settings = insta::Settings::clone_current();
    settings.add_filter(r"\d+ (second|minute|hour|day)s?", "<time>");
    settings.add_filter(r"\d{4}-\d\d-\d\dT[0-9:]+Z", "<moment>");
    settings.add_filter(r"/[^ ]*/kube-ipam-node-[^/]*", "<node>");
    settings
}

fn write(node: &Node, key: Key, value: &Value) {
    let session = Session::open(node.store(), None).unwrap();
    let txn = Txn::new(Vec::new(), vec![Op::Put(key, value.to_string().into_bytes())], Vec::new()).unwrap();
    session.commit(&txn, Deadline::after(Duration::from_secs(30))).unwrap();
}

fn lease_key(ip: &str) -> Key {
    keys::lease(&Name::new("default").unwrap(), ip.parse::<IpAddr>().unwrap())
}

/// Runs each command that a page shows, in a shell that finds this kube-ipam.
fn paste(node: &Node, page: &str) {
    let folder = binary::kube_ipam().parent().unwrap().display().to_string();
    for line in page.lines().filter_map(|line| line.strip_prefix("    ")) {
        let mut shell = Command::new("/bin/sh");
        shell.args(["-c", line]).env_clear().env("PATH", &folder).env("KUBE_IPAM_CONFIG", node.path("kube-ipam.json"));
        let output = shell.stdin(Stdio::null()).output().unwrap();
        assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

#[test]
fn an_address_is_explained_from_the_store_alone() {
    on_stores_without_api_server("an_address_is_explained_from_the_store_alone", |node| {
        inhabited(network(node));
        let pages: Vec<String> = ["10.1.0.18", "10.1.0.100", "10.1.0.12", "10.1.0.101", "10.1.0.1", "10.9.0.1"]
            .into_iter()
            .map(|ip| explained(node, ip))
            .collect();
        without_times().bind(|| insta::assert_snapshot!("from_the_store", without_past(&pages.join("\n"))));
    });
}

#[test]
fn a_network_s_configuration_says_more_than_the_store() {
    let node = Machines::embedded().node();
    let network = inhabited(network(&node));
    let config = node.path("network.json");
    std::fs::write(&config, network.config.to_string()).unwrap();
    let named = printed(&node, &["explain", "10.1.0.101", "--config", config.to_str().unwrap()]);
    insta::assert_snapshot!(without_past(&named.replace(config.to_str().unwrap(), "network.json")), @r"
    10.1.0.101 has no lease, and no pod gets it: it is excluded by 10.1.0.101.

    random   network blue does not assign it at random: it is excluded by 10.1.0.101 [network.json]
    request  network blue does not assign it on request: it is excluded by 10.1.0.101 [network.json]
    ");
    // The runtime's folder has the network as a list.
    let folder = node.path("cni");
    std::fs::create_dir(&folder).unwrap();
    let list = json!({ "cniVersion": "1.0.0", "name": "blue", "plugins": [{ "type": "tuning" }, network.config] });
    std::fs::write(folder.join("10-blue.conflist"), list.to_string()).unwrap();
    std::fs::write(folder.join("20-broken.conf"), "{").unwrap();
    let found = explained(&node, "10.1.0.101");
    let expected = named.replace(config.to_str().unwrap(), folder.join("10-blue.conflist").to_str().unwrap());
    assert_eq!(without_past(&found), without_past(&expected));
}

#[test]
fn programs_get_exact_times_and_the_lease() {
    let node = Machines::embedded().node();
    inhabited(network(&node));
    let found = document(&node, "10.1.0.18");
    let [found] = found.as_array().unwrap().as_slice() else { panic!("{found}") };
    assert_eq!(
        (&found["state"], &found["vrf"], &found["address"]),
        (&json!("held"), &json!("default"), &json!("10.1.0.18"))
    );
    let since = found["lease"]["since"].as_str().unwrap().split('.').next().unwrap();
    let headline = found["headline"].as_str().unwrap();
    assert!(headline.contains(&format!("held by pod db/db-0 since {}", &since[..16])), "{headline} {since}");
}

#[test]
fn what_to_do_works_when_pasted() {
    let node = Machines::embedded().node();
    inhabited(network(&node));
    let foreign = json!({
        "v": 1, "kind": "dynamic", "holders": [], "since": "2026-11-01T10:00:00Z", "onRelease": "forget",
        "foreign": { "mac": "02:00:00:00:00:07", "network": "blue", "node": "node-1", "answered": "2099-11-01T10:00:00Z" },
    });
    write(&node, lease_key("10.1.0.50"), &foreign);
    for ip in ["10.1.0.50", "10.1.0.100"] {
        let page = explained(&node, ip);
        assert!(page.contains("What to do:\n"), "{page}");
        paste(&node, &page);
        assert_eq!(document(&node, ip)[0]["state"], "free", "{page}");
    }
}

#[test]
fn hostile_values_never_reach_the_terminal_raw() {
    let node = Machines::embedded().node();
    inhabited(network(&node));
    let hostile = "\u{1b}]0;owned\u{7}\u{1b}[2J\r\n\u{9b}31m\u{202e}";
    let holder = json!({
        "node": "node-1", "containerID": "c", "ifname": "net1", "network": "blue", "workload": hostile,
        "pod": { "namespace": hostile, "name": hostile, "uid": hostile }, "began": { "boot": hostile, "boottime": 1 },
    });
    let lease = json!({
        "v": 1, "kind": "fixed", "holders": [holder], "since": "2026-11-01T10:00:00Z", "onRelease": "forget",
        hostile: hostile,
    });
    write(&node, lease_key("10.1.0.19"), &lease);
    write(&node, lease_key("10.1.0.20"), &json!({ "v": 1, "kind": hostile }));
    for ip in ["10.1.0.19", "10.1.0.20"] {
        for args in [vec!["explain", ip], vec!["explain", ip, "-o", "json"], vec!["list"], vec!["list", "-o", "json"]] {
            let page = printed(&node, &args);
            let raw: Vec<char> = page.chars().filter(|c| (c.is_control() && *c != '\n') || *c == '\u{202e}').collect();
            assert_eq!(raw, [], "{args:?}: {page:?}");
        }
    }
    assert!(explained(&node, "10.1.0.19").contains("pod ␛]0;owned"));
}

#[test]
fn it_reads_only() {
    let node = Machines::embedded().node();
    let output = run(&node, &["explain", "10.1.0.18"]);
    assert_eq!((output.status.code(), node.path("addresses").exists()), (Some(1), false));
    inhabited(network(&node));
    let before = printed(&node, &["list", "-o", "json"]);
    let records = node.records();
    explained(&node, "10.1.0.18");
    assert_eq!((printed(&node, &["list", "-o", "json"]), node.records()), (before, records));
}

#[test]
fn an_argument_that_names_nothing_is_a_usage_error() {
    let node = Machines::embedded().node();
    let output = run(&node, &["explain", "10.1.0.0/33"]);
    assert_eq!(output.status.code(), Some(2));
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(
        text.contains("expected an address, a subnet, [NAMESPACE/]POD, claim/[NAMESPACE/]NAME or mac/MAC"),
        "{text}"
    );
}

#[test]
fn the_store_is_named_by_its_folder_or_by_the_members_of_its_etcd() {
    let node = Machines::embedded().node();
    inhabited(network(&node));
    let folder = node.path("addresses").display().to_string();
    node.set_defaults(&json!({ "dataDir": node.path("elsewhere") }));
    let page = printed(&node, &["explain", "10.1.0.100", "--store", &folder]);
    assert!(page.contains(&format!("kube-ipam release 10.1.0.100 --yes --store {folder}")), "{page}");
    let refused = run(&node, &["explain", "10.1.0.100", "--store", "https://u:p@192.0.2.1:2379"]);
    let text = String::from_utf8(refused.stderr).unwrap();
    assert!(text.contains("--store: a URL must not hold a user or password"), "{text}");
    let Some(machines) = Machines::etcd("the_store_is_named_by_its_folder_or_by_the_members_of_its_etcd") else {
        return;
    };
    let node = machines.node();
    inhabited(network(&node));
    let kube_ipam::store::StoreConfig::Etcd(etcd) = node.store() else { panic!("{:?}", node.store()) };
    // One member that does not exist would fail; the prefix comes from the node defaults.
    let page = printed(&node, &["explain", "10.1.0.18", "--store", &etcd.urls.join(",")]);
    assert!(page.starts_with("10.1.0.18 has been held by pod db/db-0 "), "{page}");
}

fn uid(pod: &str) -> String {
    format!("uid-of-{pod}")
}

/// A node whose pods are those of an API server.
struct Host<'node> {
    node: &'node Node,
    api: Api,
}

impl<'node> Host<'node> {
    fn new(node: &'node Node) -> Self {
        let api = Api::start().unwrap();
        let kubeconfig = api.kubeconfig_of(node).unwrap();
        node.set_defaults(&json!({ "annotations": true, "kubeConfig": kubeconfig, "sweep": { "minAge": "0s" } }));
        Self { node, api }
    }

    fn runs(&self, pod: &str, annotations: &Value) {
        self.api.has(pod, &uid(pod), "Running", annotations);
    }

    /// A pod with these annotations runs, and its sandbox asks for addresses.
    fn add(&self, pod: &str, annotations: &Value) -> Reply {
        self.runs(pod, annotations);
        self.call("ADD", pod)
    }

    fn call(&self, verb: &str, pod: &str) -> Reply {
        let args = format!("IgnoreUnknown=1;K8S_POD_NAMESPACE={NAMESPACE};K8S_POD_NAME={pod};K8S_POD_UID={}", uid(pod));
        network(self.node).call(verb, &format!("c-{pod}")).args(&args).run()
    }
}

fn on_each_host(test: &str, case: impl Fn(&Host<'_>)) {
    on_each_store(test, |node| case(&Host::new(node)));
}

#[test]
fn the_api_server_agrees_or_the_page_says_what_to_do() {
    on_each_host("the_api_server_agrees_or_the_page_says_what_to_do", |host| {
        let asks = |ip: &str| json!({ "kube-ipam.eth0.ip": ip });
        host.add("alive", &asks("10.1.0.11")).ok();
        host.add("changed", &asks("10.1.0.12")).ok();
        host.runs("changed", &asks("10.1.0.13"));
        host.add("lost", &asks("10.1.0.14")).ok();
        host.api.lost("lost");
        host.add("silent", &asks("10.1.0.15")).ok();
        host.api.fails("silent", 500);
        let pages: Vec<String> =
            ["10.1.0.11", "10.1.0.12", "10.1.0.14"].into_iter().map(|ip| explained(host.node, ip)).collect();
        without_times().bind(|| insta::assert_snapshot!("with_the_api_server", without_past(&pages.join("\n"))));
        let verdict = |ip: &str| document(host.node, ip)[0]["agreement"]["verdict"].clone();
        assert_eq!(
            ["10.1.0.11", "10.1.0.12", "10.1.0.14", "10.1.0.15"].map(verdict),
            ["agree", "disagree", "disagree", "unknown"]
        );
        // The page about the lost pod's address leads to the sweep that frees it.
        paste(host.node, &pages[2]);
        assert!(run(host.node, &["sweep", "--interval", "10ms"]).status.success());
        assert_eq!(document(host.node, "10.1.0.14")[0]["state"], "resting");
    });
}

#[test]
fn a_pod_has_addresses_or_waits_for_one() {
    on_each_host("a_pod_has_addresses_or_waits_for_one", |host| {
        host.add("db-0", &json!({ "kube-ipam.eth0.ip": "10.1.0.11" })).ok();
        host.add("db-1", &json!({ "kube-ipam.eth0.ip": "10.1.0.11" })).refused();
        host.runs("idle", &json!({}));
        for (subject, state) in [
            ("db/db-0", "held"),
            ("db-0", "held"),
            ("db/db-1", "waiting"),
            ("db/idle", "without"),
            ("db/nobody", "absent"),
        ] {
            assert_eq!(document(host.node, subject)[0]["state"], state, "{subject}");
        }
        let pages: Vec<String> =
            ["db/db-0", "db/db-1", "db/idle", "db/nobody"].into_iter().map(|pod| explained(host.node, pod)).collect();
        without_times().bind(|| insta::assert_snapshot!("pods", without_past(&pages.join("\n"))));
        let held = explained(host.node, "10.1.0.11");
        assert!(held.contains("pod db/db-1 was refused it once, last "), "{held}");
        // The pod gets the address once the other one is gone.
        host.api.lost("db-0");
        host.call("ADD", "db-1").ok();
        let settled = document(host.node, "db/db-1");
        assert_eq!(
            (&settled[0]["parts"][0]["address"], settled[0]["parts"].as_array().unwrap().len()),
            (&json!("10.1.0.11"), 1),
            "{settled}"
        );
        assert_eq!(document(host.node, "db/db-0")[0]["state"], "absent");
    });
}

#[test]
fn only_the_interface_that_is_asked_about_is_explained() {
    let node = Machines::embedded().node();
    let network = network(&node);
    let args = "K8S_POD_NAMESPACE=db;K8S_POD_NAME=db-0;K8S_POD_UID=u-1";
    network.call("ADD", "c1").args(args).ifname("net1").run().ok();
    network.call("ADD", "c1").args(&format!("{args};IP=10.1.0.12")).ifname("net2").run().ok();
    let parts = |args: &[&str]| {
        let args: Vec<&str> = ["explain", "db/db-0"].iter().chain(args).chain(&["-o", "json"]).copied().collect();
        let found: Value = serde_json::from_str(&printed(&node, &args)).unwrap();
        let parts: Vec<Value> =
            found[0]["parts"].as_array().unwrap().iter().map(|part| part["address"].clone()).collect();
        parts
    };
    assert_eq!(parts(&[]), ["10.1.0.12", "10.1.0.100"]);
    assert_eq!(parts(&["net2"]), ["10.1.0.12"]);
    let output = run(&node, &["explain", "10.1.0.12", "net2"]);
    assert!(String::from_utf8_lossy(&output.stderr).contains("only a pod has interfaces; leave INTERFACE out"));
}

#[test]
fn what_the_api_server_does_not_allow_is_not_known() {
    let node = Machines::embedded().node();
    let host = Host::new(&node);
    host.add("db-0", &json!({})).ok();
    host.api.refuses_event_lists(403, &api::forbidden("events", ""));
    host.api.answers("db-0", 403, &api::forbidden("pods", "db-0"));
    let page = explained(&node, "db/db-0");
    for text in [
        "Whether the store and the API server agree is not known: the API server",
        "does not allow user u to get the events of pod db/db-0",
        "verbs [\"list\"]",
        "whether pod db/db-0 exists is not known",
    ] {
        assert!(page.contains(text), "{text}: {page}");
    }
}

#[test]
fn events_of_others_never_reach_the_terminal_raw() {
    let node = Machines::embedded().node();
    let host = Host::new(&node);
    host.add("other", &json!({})).ok();
    host.runs("db-0", &json!({}));
    host.api.publishes(&json!({
        "involvedObject": { "name": "db-0", "uid": uid("db-0") }, "reason": "FailedCreatePodSandBox", "type": "Warning",
        "message": "plugin kube-ipam failed: \u{1b}[31m10.1.0.5\u{1b}[0m is held\r", "source": { "component": "kubelet" },
        "count": 40, "firstTimestamp": "2026-11-01T10:00:00Z", "lastTimestamp": "2026-11-01T10:30:00Z",
    }));
    let page = explained(&node, "db/db-0");
    assert!(page.starts_with("Pod db/db-0 has waited for an address for "), "{page}");
    assert!(
        page.contains(r"FailedCreatePodSandBox, 40 times, first ") && page.contains("failed: ␛[31m10.1.0.5"),
        "{page}"
    );
    assert_eq!(page.chars().find(|c| c.is_control() && *c != '\n'), None, "{page:?}");
}

#[test]
fn a_subnet_is_summed_up_and_its_odd_addresses_are_explained() {
    let node = Machines::embedded().node();
    let host = Host::new(&node);
    for (pod, ip) in [("alive", "10.1.0.11"), ("lost", "10.1.0.12")] {
        host.add(pod, &json!({ "kube-ipam.eth0.ip": ip })).ok();
    }
    host.add("random", &json!({})).ok();
    host.api.lost("lost");
    write(&node, lease_key("10.1.0.13"), &json!({ "v": 7 }));
    without_times().bind(|| insta::assert_snapshot!("subnet", explained(&node, "10.1.0.0/24")));
    assert!(explained(&node, "10.9.0.0/24").starts_with("No address of 10.9.0.0/24 has a lease.\n"));
    // Without a list of pods, nothing is said to be gone.
    host.api.lists(500, &json!({}));
    let found = document(&node, "10.1.0.0/24");
    assert_eq!(found[0]["parts"].as_array().unwrap().len(), 1, "{found}");
}

#[test]
fn a_host_without_a_lease_is_found_by_its_mac_address() {
    let node = Machines::embedded().node();
    inhabited(network(&node));
    let foreign = json!({
        "v": 1, "kind": "dynamic", "holders": [], "since": "2026-11-01T10:00:00Z", "onRelease": "forget",
        "foreign": { "mac": "02:00:00:00:00:0a", "network": "blue", "node": "node-1", "answered": "2026-11-01T10:00:00Z" },
    });
    write(&node, lease_key("10.1.0.50"), &foreign);
    let found = document(&node, "mac/02:00:00:00:00:0A");
    assert_eq!((&found[0]["state"], &found[0]["parts"][0]["address"]), (&json!("foreign"), &json!("10.1.0.50")));
    let page = explained(&node, "mac/02:00:00:00:00:0b");
    assert!(page.starts_with("02:00:00:00:00:0b has answered for no address of this store.\n"), "{page}");
}

#[test]
fn a_claim_is_compared_with_what_the_store_keeps_for_it() {
    on_each_host("a_claim_is_compared_with_what_the_store_keeps_for_it", |host| {
        let found = |state: &str, verdict: &Value| {
            let found = document(host.node, "claim/db/vm-a");
            assert_eq!((&found[0]["state"], &found[0]["agreement"]["verdict"]), (&json!(state), verdict), "{found}");
        };
        host.add("other", &json!({ "kube-ipam.eth0.ip": "10.1.0.15" })).ok();
        found("absent", &Value::Null);
        host.api.has_claim(&api::claim("vm-a", "uid-of-claim", "blue", ""));
        found("without", &json!("agree"));
        let selection = json!([{ "name": "blue", "interface": "eth0", "ipam-claim-reference": "vm-a" }]).to_string();
        host.add("vm-pod", &json!({ "k8s.v1.cni.cncf.io/networks": selection })).ok();
        found("held", &json!("agree"));
        without_times().bind(|| insta::assert_snapshot!("claim", explained(host.node, "claim/vm-a")));
        host.api.set_claim_status("vm-a", &json!({ "ips": ["10.1.0.12/24"] }));
        found("held", &json!("disagree"));
        host.call("DEL", "vm-pod").ok();
        host.api.lost_claim("vm-a");
        found("reserved", &json!("disagree"));
    });
}

#[test]
fn an_address_has_a_past() {
    on_each_store("an_address_has_a_past", |node| {
        let network = network(node);
        let args = |pod: &str| format!("K8S_POD_NAMESPACE=db;K8S_POD_NAME={pod};K8S_POD_UID=uid-{pod};IP=10.1.0.12");
        for pod in ["first", "second"] {
            network.call("ADD", pod).args(&args(pod)).run().ok();
            network.call("DEL", pod).args(&args(pod)).run().ok();
        }
        network.call("ADD", "third").args(&args("third")).run().ok();
        let page = explained(node, "10.1.0.12");
        let before = page.split("Before:\n").nth(1).unwrap();
        let of =
            |pod: &str| before.lines().position(|line| line.starts_with(&format!("- pod db/{pod}, interface eth0")));
        assert!(of("second").zip(of("first")).is_some_and(|(second, first)| second < first), "{page}");
        let found = document(node, "10.1.0.12");
        let held = &found[0]["before"]["holders"][0];
        assert!(held["from"].is_string() && held["until"].is_string() && held["sources"][0].is_string(), "{found}");
    });
}
