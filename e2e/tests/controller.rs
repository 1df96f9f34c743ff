//! `kube-ipam controller` with real processes: it frees what leaks, one of several works, and whatever breaks frees
//! nothing that lives. The API server is one that plays scenarios.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test's verdict is a panic")]

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use kube_ipam::deadline::Deadline;
use kube_ipam::ops::Session;
use kube_ipam::store::{Key, StoreConfig};
use kube_ipam_e2e::api::{self, Api, NAMESPACE};
use kube_ipam_e2e::cni::Reply;
use kube_ipam_e2e::etcd::{self, Cluster};
use kube_ipam_e2e::machines::{self, Machines};
use kube_ipam_e2e::node::Node;
use kube_ipam_e2e::wait_until;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

/// Looks that follow each other closely, so that no test waits for long.
const OFTEN: [&str; 4] = ["--interval", "100ms", "--settle", "20ms"];

/// Only the first scan starts without a reason.
const RARELY: [&str; 4] = ["--interval", "1h", "--settle", "20ms"];

/// After so long a connection that says nothing is closed. A kubelet waits a second for the answer to a probe.
const SILENCE: Duration = Duration::from_secs(4);

/// A machine whose pods are those of an API server.
struct Host<'node> {
    node: &'node Node,
    api: Api,
    embedded: bool,
}

fn uid(pod: &str) -> String {
    format!("uid-of-{pod}")
}

impl<'node> Host<'node> {
    fn new(node: &'node Node, embedded: bool) -> Self {
        let host = Self { node, api: Api::start().unwrap(), embedded };
        let kubeconfig = host.api.kubeconfig_of(node).unwrap();
        let sweep = json!({ "minAge": "0s" });
        node.set_defaults(&json!({ "annotations": true, "kubeConfig": kubeconfig, "sweep": sweep }));
        // No list is empty, and an embedded store is made by the first ADD.
        host.add("c-alive", "alive");
        host
    }

    /// A sandbox of a pod that runs.
    fn add(&self, container: &str, pod: &str) {
        self.api.has(pod, &uid(pod), "Running", &json!({}));
        self.call(container, pod).ok();
    }

    /// An ADD.
    fn call(&self, container: &str, pod: &str) -> Reply {
        let uid = uid(pod);
        let args = format!("IgnoreUnknown=1;K8S_POD_NAMESPACE={NAMESPACE};K8S_POD_NAME={pod};K8S_POD_UID={uid}");
        let network = self.node.network(json!({ "subnet": "10.1.0.0/24", "cooldown": "0s" }));
        network.call("ADD", container).args(&args).run()
    }

    /// A sandbox whose DEL never came, of a pod that is gone.
    fn leak(&self, name: &str) {
        self.add(&format!("c-{name}"), name);
        self.api.lost(name);
    }

    /// The containers that hold something.
    fn holders(&self) -> Vec<String> {
        let of_each = self.node.held().into_iter();
        let mut holders: Vec<String> = of_each.map(|(_, holder)| holder.trim_end_matches("/eth0").to_owned()).collect();
        holders.sort();
        holders
    }

    fn command(&self, options: &[&str]) -> Command {
        let mut command = Command::new(&self.node.plugin().path);
        command.env_clear().env("KUBE_IPAM_CONFIG", self.node.path("kube-ipam.json")).arg("controller");
        command.args(["--listen", "127.0.0.1:0"]).args(options);
        if self.embedded {
            command.arg("--embedded");
        }
        command
    }

    fn start(&self, name: &str, options: &[&str]) -> Controller {
        Controller::start(self.command(options), self.node.path(name))
    }
}

/// A controller's process, which does not outlive its test.
struct Controller {
    process: Child,
    address: String,
    log: PathBuf,
}

impl Controller {
    fn start(mut command: Command, log: PathBuf) -> Self {
        command.stdout(Stdio::piped()).stderr(File::create(&log).unwrap());
        let mut process = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let Some(address) = line.trim().strip_prefix("listening on ") else {
            panic!("{line:?}, {}", fs::read_to_string(&log).unwrap())
        };
        Self { address: address.to_owned(), process, log }
    }

    /// Status and body.
    fn get(&self, path: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nhost: here\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
    }

    fn is_ready(&self) -> bool {
        self.get("/readyz").0 == 200
    }

    /// The value of a metric, by its name with its labels.
    fn metric(&self, name: &str) -> Option<f64> {
        let (_, metrics) = self.get("/metrics");
        let value = |line: &str| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok();
        metrics.lines().find_map(value)
    }

    fn leads(&self) -> bool {
        self.metric("kube_ipam_controller_leader") == Some(1.0)
    }

    fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.process), signal).unwrap();
    }

    fn ended(&mut self) -> ExitStatus {
        self.process.wait().unwrap()
    }
}

impl Drop for Controller {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn on_each_store(test: &str, case: impl Fn(&Host<'_>)) {
    machines::on_each_store(test, |node| case(&Host::new(node, matches!(node.store(), StoreConfig::Embedded { .. }))));
}

#[test]
fn what_leaks_is_freed_after_two_scans_and_counted() {
    on_each_store("what_leaks_is_freed_after_two_scans_and_counted", |host| {
        host.leak("gone");
        host.api.asked();
        let controller = host.start("controller.log", &OFTEN);
        wait_until("the address is free", || host.holders() == ["c-alive"]);
        // The server lists in two pages.
        let asked = host.api.asked();
        let before = asked.iter().position(|name| name == "gone").unwrap();
        assert_eq!(asked[..before].iter().filter(|name| *name == "pods").count(), 4, "{asked:?}");
        wait_until("the look is reported", || {
            controller.metric("kube_ipam_swept_addresses_total{leak=\"pod_gone\"}") == Some(1.0)
        });
        wait_until("another look has found nothing", || controller.metric("kube_ipam_suspects") == Some(0.0));
        assert!(controller.leads() && controller.metric("kube_ipam_sweeps_total{result=\"ok\"}").unwrap() >= 2.0);
        assert_eq!(controller.metric("kube_ipam_oldest_suspect_age_seconds"), Some(0.0));
        assert!(controller.metric("kube_ipam_sweep_last_success_timestamp_seconds").unwrap() > 1e9);
        let (_, metrics) = controller.get("/metrics");
        assert!(metrics.contains("kube_ipam_addresses{") && metrics.ends_with("# EOF\n"), "{metrics}");
        assert_eq!((controller.get("/healthz").0, controller.get("/readyz").0), (200, 200));
        assert_eq!(controller.get("/elsewhere").0, 404);
        assert!(controller.log().contains("freed by a sweep"), "{}", controller.log());
    });
}

#[test]
fn a_scan_stores_the_usage_of_its_day_once() {
    on_each_store("a_scan_stores_the_usage_of_its_day_once", |host| {
        let session = Session::open(host.node.store(), None).unwrap();
        let stored = || session.get(Key::new("use/default/blue"), Deadline::after(Duration::from_secs(30))).unwrap();
        assert_eq!(stored(), None);
        let controller = host.start("controller.log", &OFTEN);
        let scans = || controller.metric("kube_ipam_sweeps_total{result=\"ok\"}");
        wait_until("there was a scan", || scans() >= Some(1.0));
        let first = stored().unwrap();
        let history: Value = serde_json::from_slice(&first.value).unwrap();
        assert_eq!(history["samples"][0]["used"], json!({ "10.1.0.0/24 dynamic": 1 }), "{history}");
        let before = scans().unwrap();
        wait_until("there was another", || scans() > Some(before));
        // The day may end in the meantime.
        let samples = serde_json::from_slice::<Value>(&stored().unwrap().value).unwrap()["samples"].clone();
        assert!(stored() == Some(first) || samples.as_array().unwrap().len() == 2, "{samples}");
    });
}

#[test]
fn a_deletion_starts_a_scan_long_before_the_interval_and_so_does_one_that_may_have_been_missed() {
    let test = "a_deletion_starts_a_scan_long_before_the_interval_and_so_does_one_that_may_have_been_missed";
    on_each_store(test, |host| {
        let controller = host.start("controller.log", &RARELY);
        wait_until("the first look is over", || controller.is_ready());
        wait_until("pods are watched", || host.api.watchers("pods") == 1);
        host.leak("first");
        wait_until("the address is free", || host.holders() == ["c-alive"]);
        // A watch that has ended is restarted.
        host.api.ends_watches();
        wait_until("pods are watched again", || host.api.watchers("pods") == 1);
        host.leak("second");
        wait_until("the address is free", || host.holders() == ["c-alive"]);
        // While nobody watches, one leaks.
        host.api.ends_watches();
        host.leak("unseen");
        wait_until("pods are watched again", || host.api.watchers("pods") == 1);
        host.api.forgets();
        wait_until("the address is free", || host.holders() == ["c-alive"]);
    });
}

#[test]
fn after_a_deletion_only_the_pods_of_that_node_are_listed() {
    on_each_store("after_a_deletion_only_the_pods_of_that_node_are_listed", |host| {
        let controller = host.start("controller.log", &RARELY);
        // A standby is ready before its first scan as the leader.
        let looks = "kube_ipam_sweeps_total{result=\"ok\"}";
        wait_until("the first look is over", || controller.metric(looks) == Some(1.0));
        wait_until("pods are watched", || host.api.watchers("pods") == 1);
        host.api.asked();
        host.leak("gone");
        wait_until("the address is free", || host.holders() == ["c-alive"]);
        let asked = host.api.asked();
        let lists: Vec<&String> = asked.iter().filter(|name| name.starts_with("pods")).collect();
        // Two scans, of two pages each.
        assert_eq!(lists, ["pods of node-1"; 4], "{asked:?}");
        wait_until("the looks are reported", || {
            controller.metric("kube_ipam_swept_addresses_total{leak=\"pod_gone\"}") == Some(1.0)
        });
        assert_eq!(controller.metric("kube_ipam_suspects"), Some(0.0));
    });
}

#[test]
fn what_nodes_refuse_and_what_passes_to_another_pod_is_counted() {
    on_each_store("what_nodes_refuse_and_what_passes_to_another_pod_is_counted", |host| {
        let controller = host.start("controller.log", &RARELY);
        wait_until("events are watched", || host.api.watchers("events") == 1);
        assert_eq!(controller.metric("kube_ipam_takeovers_total"), Some(0.0));
        let (ask, running) = (json!({ "kube-ipam.eth0.ip": "10.1.0.5" }), "Running");
        host.api.has("db-0", &uid("db-0"), running, &ask);
        host.call("c0", "db-0").ok();
        host.api.has("db-1", &uid("db-1"), running, &ask);
        host.call("c1", "db-1").refused();
        wait_until("the refusal is counted", || {
            controller.metric("kube_ipam_refusals_total{error=\"held\"}") == Some(1.0)
        });
        host.api.has("db-0", &uid("db-0"), "Succeeded", &ask);
        host.call("c1", "db-1").ok();
        wait_until("the take-over is counted", || controller.metric("kube_ipam_takeovers_total") == Some(1.0));
    });
}

#[test]
fn a_list_that_is_empty_partial_or_forbidden_frees_nothing_and_the_probes_say_why() {
    let test = "a_list_that_is_empty_partial_or_forbidden_frees_nothing_and_the_probes_say_why";
    on_each_store(test, |host| {
        host.leak("gone");
        host.api.lists(200, &api::list_of(&[], ""));
        let controller = host.start("controller.log", &OFTEN);
        type Fault = (&'static str, &'static str, fn(&Api));
        let faults: [Fault; 4] = [
            ("the API server lists no pods", "sweep_no_pods", |_| {}),
            ("the list of pods is gone", "api_gone", |api| api.list_breaks_off(410)),
            ("failed with status 500", "api_failing", |api| api.list_breaks_off(500)),
            ("verbs [\"list\"]", "api_forbidden", |api| {
                api.lists(403, &json!({ "kind": "Status", "reason": "Forbidden" }));
            }),
        ];
        for (why, label, fault) in faults {
            fault(&host.api);
            let sweeps = format!("kube_ipam_sweeps_total{{result=\"{label}\"}}");
            wait_until("two looks have failed", || controller.metric(&sweeps).is_some_and(|count| count >= 2.0));
            let (status, said) = controller.get("/readyz");
            assert!(status == 503 && said.contains(why), "{said}");
            assert_eq!(controller.get("/healthz").0, 200);
            assert_eq!(host.holders(), ["c-alive", "c-gone"]);
        }
        host.api.lists_all();
        wait_until("the address is free", || host.holders() == ["c-alive"]);
        wait_until("it is ready", || controller.is_ready());
    });
}

#[test]
fn of_two_one_leads_and_when_it_is_killed_the_other_goes_on() {
    let Some(machines) = Machines::etcd("of_two_one_leads_and_when_it_is_killed_the_other_goes_on") else { return };
    let node = machines.node();
    let host = Host::new(&node, false);
    let options = [&OFTEN[..], &["--lease-duration", "2s"]].concat();
    let first = host.start("first.log", &options);
    wait_until("the first one leads", || first.leads());
    let second = host.start("second.log", &options);
    wait_until("the second one is ready", || second.is_ready());
    assert!(first.leads() && !second.leads());
    // What is in use is counted by the one that leads.
    assert!(!second.get("/metrics").1.contains("kube_ipam_addresses{"));
    host.leak("before");
    wait_until("the address is free", || host.holders() == ["c-alive"]);
    assert_eq!(second.metric("kube_ipam_swept_addresses_total{leak=\"pod_gone\"}"), None);

    let leader = host.api.leader();
    first.signal(Signal::KILL);
    host.leak("after");
    wait_until("the second one leads", || second.leads());
    assert_ne!(host.api.leader(), leader);
    wait_until("the address is free", || host.holders() == ["c-alive"]);
    wait_until("what is in use is counted", || second.get("/metrics").1.contains("kube_ipam_addresses{"));
}

#[test]
fn a_controller_that_shuts_down_releases_its_lease_at_once() {
    let Some(machines) = Machines::etcd("a_controller_that_shuts_down_releases_its_lease_at_once") else { return };
    let node = machines.node();
    let host = Host::new(&node, false);
    // Nobody waits for so long, and the standby tries once in six seconds.
    let options = [&OFTEN[..], &["--lease-duration", "30s"]].concat();
    let mut first = host.start("first.log", &options);
    wait_until("the first one leads", || first.leads());
    let second = host.start("second.log", &options);
    wait_until("the second one is ready", || second.is_ready());
    let leader = host.api.leader();
    first.signal(Signal::TERM);
    assert!(first.ended().success(), "{}", first.log());
    assert_ne!(host.api.leader(), leader, "{}", first.log());
    wait_until("the second one leads", || second.leads());
}

#[test]
fn connections_that_say_nothing_keep_no_probe_from_its_answer() {
    let machines = Machines::embedded();
    let node = machines.node();
    let host = Host::new(&node, true);
    let controller = host.start("controller.log", &RARELY);
    // More than are served at a time, again and again.
    let mut idle: Vec<TcpStream> = Vec::new();
    for _ in 0..3 {
        idle.extend((0..40).map(|_| TcpStream::connect(&controller.address).unwrap()));
        let began = Instant::now();
        assert_eq!(controller.get("/healthz").0, 200);
        assert!(began.elapsed() < SILENCE, "{:?}", began.elapsed());
    }
}

#[test]
fn a_controller_that_shuts_down_does_not_wait_for_a_silent_store() {
    if !etcd::installed_or_skip("a_controller_that_shuts_down_does_not_wait_for_a_silent_store") {
        return;
    }
    let mut store = Cluster::plain(1).unwrap();
    let node = Node::on_etcd(&store.config());
    let host = Host::new(&node, false);
    let (kubeconfig, cluster) = (node.path("kubeconfig"), "2971e5e0-8d34-4178-b2d3-3e2cbf240adf");
    host.api.is_of_cluster(cluster);
    node.set_defaults(&json!({ "annotations": true, "kubeConfig": kubeconfig, "cluster": cluster }));
    let mut controller = host.start("controller.log", &RARELY);
    wait_until("it has looked", || controller.metric("kube_ipam_sweeps_total{result=\"ok\"}") == Some(1.0));
    wait_until("pods are watched", || host.api.watchers("pods") == 1);
    let leader = host.api.leader();
    store.stop(0).unwrap();
    host.api.identity_asked();
    host.api.lost("alive");
    // It asks which cluster this is; then it is the store's turn.
    wait_until("a look has begun", || host.api.identity_asked() > 0);
    controller.signal(Signal::TERM);
    assert!(controller.ended().success(), "{}", controller.log());
    assert!(controller.log().contains("does not answer; the lease is left to expire"), "{}", controller.log());
    assert_eq!(host.api.leader(), leader);
    store.go_on(0).unwrap();
}

#[test]
fn who_may_not_touch_the_lease_never_leads_and_names_the_rule() {
    let Some(machines) = Machines::etcd("who_may_not_touch_the_lease_never_leads_and_names_the_rule") else { return };
    let node = machines.node();
    let host = Host::new(&node, false);
    host.api.refuses_leases(true);
    host.leak("gone");
    let controller = host.start("controller.log", &[&OFTEN[..], &["--lease-duration", "1s"]].concat());
    wait_until("the probe names the rule", || controller.get("/readyz").1.contains("resources [\"leases\"]"));
    assert!(!controller.leads());
    assert_eq!(host.holders(), ["c-alive", "c-gone"]);
    host.api.refuses_leases(false);
    wait_until("it leads", || controller.leads());
    wait_until("the address is free", || host.holders() == ["c-alive"]);
    // And a leader to whom it is forbidden stops.
    host.api.refuses_leases(true);
    wait_until("it leads no more", || !controller.leads());
    host.leak("late");
    host.api.identity_asked();
    wait_until("it looks as one who follows", || host.api.identity_asked() > 0);
    assert_eq!(host.holders(), ["c-alive", "c-late"]);
}

#[test]
fn a_store_that_is_away_ends_nothing_and_is_swept_when_it_is_back() {
    if !etcd::installed_or_skip("a_store_that_is_away_ends_nothing_and_is_swept_when_it_is_back") {
        return;
    }
    let mut store = Cluster::plain(1).unwrap();
    let node = Node::on_etcd(&store.config());
    let host = Host::new(&node, false);
    host.leak("gone");
    store.kill(0).unwrap();
    let controller = host.start("controller.log", &OFTEN);
    wait_until("it leads", || controller.leads());
    wait_until("the probe names the store", || controller.get("/readyz").1.contains("etcd at http"));
    assert_eq!(controller.get("/healthz").0, 200);
    store.restart(0).unwrap();
    wait_until("it is ready", || controller.is_ready());
    wait_until("the address is free", || host.holders() == ["c-alive"]);
}

#[test]
fn a_node_s_own_store_is_collected_only_where_it_is_all_there_is() {
    let machines = Machines::embedded();
    let node = machines.node();
    let host = Host::new(&node, false);
    let output = host.command(&[]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        output.status.code() == Some(1) && said.contains("--embedded") && said.contains("kube-ipam sweep"),
        "{said}"
    );
}

#[test]
fn a_pod_s_service_account_serves_where_there_is_no_kubeconfig() {
    let Some(machines) = Machines::etcd("a_pod_s_service_account_serves_where_there_is_no_kubeconfig") else { return };
    let node = machines.node();
    let host = Host::new(&node, false);
    node.set_defaults(&json!({ "kubeConfig": node.path("nowhere") }));
    let without = host.command(&[]).args(["--service-account", "/nonexistent"]).output().unwrap();
    let said = String::from_utf8_lossy(&without.stderr).into_owned();
    assert!(said.contains("no service account in /nonexistent"), "{said}");

    let account = node.path("account");
    fs::create_dir(&account).unwrap();
    fs::write(account.join("token"), "t").unwrap();
    let options = ["--service-account", account.to_str().unwrap()];
    let mut command = host.command(&[&OFTEN[..], &options].concat());
    command.env("KUBERNETES_SERVICE_HOST", "127.0.0.1").env("KUBERNETES_SERVICE_PORT", "1");
    let controller = Controller::start(command, node.path("controller.log"));
    // A file that the kubelet has not written yet ends nothing.
    wait_until("the probe names the file", || controller.get("/readyz").1.contains("ca.crt"));
}
