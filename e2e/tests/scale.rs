//! What reads a whole store is bounded, by resident memory and by requests, with 50,000 addresses in it. Times are in
//! docs/performance.md: a test that compares them fails on a busy machine.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test's verdict is a panic")]

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};

use kube_ipam::store::StoreConfig;
use kube_ipam_e2e::api::{Api, NAMESPACE};
use kube_ipam_e2e::diagnosis::doctor;
use kube_ipam_e2e::etcd::{self, Cluster};
use kube_ipam_e2e::node::Node;
use kube_ipam_e2e::{crowd, wait_until};
use serde_json::{Value, json};

const COUNT: u32 = 50_000;

/// Entries that a verb reads at once.
const PAGE: u64 = 5_000;

/// The requests that a member has answered, of whatever kind.
const HANDLED: &str = "grpc_server_handled_total";

/// What any verb may have resident: the program of a debug build, its threads, and a few pages.
const STREAMING_MIB: u64 = 48;

/// What a scan may have besides: 300 bytes of each address.
const SCAN_MIB: u64 = STREAMING_MIB + (COUNT as u64 * 300).div_ceil(1 << 20);

/// What `explain` may have besides for a list of 100,000 pods.
const EXPLAIN_MIB: u64 = 16;

/// A machine on an etcd with all of them, whose pods an API server lists.
struct Host {
    cluster: Cluster,
    node: Node,
    api: Api,
}

impl Host {
    fn new(test: &str) -> Option<Self> {
        Self::with(test, COUNT)
    }

    fn with(test: &str, count: u32) -> Option<Self> {
        if !etcd::installed_or_skip(test) {
            return None;
        }
        let cluster = Cluster::plain(1).unwrap();
        crowd::store(&StoreConfig::Etcd(cluster.config()), count).unwrap();
        let (node, api) = (Node::on_etcd(&cluster.config()), Api::start().unwrap());
        api.has_crowd(count);
        let kubeconfig = api.kubeconfig(&node.path("")).unwrap();
        node.set_defaults(&json!({ "kubeConfig": kubeconfig, "sweep": { "minAge": "0s" } }));
        Some(Self { cluster, node, api })
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.node.plugin().path);
        command.env_clear().env("KUBE_IPAM_CONFIG", self.node.path("kube-ipam.json")).args(args);
        command
    }

    fn requests(&self) -> u64 {
        self.cluster.metric(0, HANDLED).unwrap() as u64
    }

    /// Runs `doctor`, which has something to say of an etcd without TLS: what it printed, and how much it had resident at
    /// most.
    fn diagnose(&self) -> (String, u64) {
        let printed = self.node.path("printed");
        let mut process = doctor(&self.node).stdout(File::create(&printed).unwrap()).spawn().unwrap();
        let mut peak = 0;
        wait_until("it ends", || {
            peak = peak.max(resident_mib(&process));
            process.try_wait().unwrap().is_some()
        });
        (fs::read_to_string(printed).unwrap(), peak)
    }

    /// Runs a verb to its end: what it printed, how much it had resident at most, and how many requests it made.
    fn run(&self, args: &[&str]) -> (String, u64, u64) {
        let printed = self.node.path("printed");
        let before = self.requests();
        let mut command = self.command(args);
        let mut process = command.stdout(File::create(&printed).unwrap()).spawn().unwrap();
        let mut peak = 0;
        wait_until("the verb ends", || {
            peak = peak.max(resident_mib(&process));
            process.try_wait().unwrap().is_some()
        });
        assert!(process.wait().unwrap().success(), "{args:?}");
        (fs::read_to_string(printed).unwrap(), peak, self.requests() - before)
    }
}

/// The most that a process had resident until now, in MiB; 0 if it has ended.
fn resident_mib(process: &Child) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", process.id())).unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    peak.and_then(|peak| peak.trim().trim_end_matches(" kB").parse::<u64>().ok()).unwrap_or(0) / 1024
}

#[test]
fn list_usage_and_sweep_need_little_memory_and_read_each_page_once() {
    let Some(host) = Host::new("list_usage_and_sweep_need_little_memory_and_read_each_page_once") else { return };
    let pages = u64::from(COUNT).div_ceil(PAGE);
    let (table, peak, requests) = host.run(&["list"]);
    assert_eq!(table.lines().count(), COUNT as usize + 1);
    assert!(peak < STREAMING_MIB && requests <= pages + 1, "list: {peak} MiB, {requests} requests");
    let (document, peak, requests) = host.run(&["list", "-o", "json"]);
    assert_eq!(serde_json::from_str::<Value>(&document).unwrap().as_array().unwrap().len(), COUNT as usize);
    assert!(peak < STREAMING_MIB && requests <= pages + 1, "list -o json: {peak} MiB, {requests} requests");
    let (usage, peak, requests) = host.run(&["usage"]);
    assert!(usage.contains(&COUNT.to_string()), "{usage}");
    assert!(peak < STREAMING_MIB && requests <= pages + 2, "usage: {peak} MiB, {requests} requests");
    let config = host.node.path("network.json");
    let ipam = json!({ "type": "kube-ipam", "subnet": "10.64.0.0/10" });
    fs::write(&config, json!({ "cniVersion": "1.0.0", "name": "db-net", "type": "bridge", "ipam": ipam }).to_string())
        .unwrap();
    let config = config.to_str().unwrap();
    let (map, peak, requests) = host.run(&["usage", "--map", "10.64.0.0/10", "--config", config]);
    assert!(map.contains(&format!("\n{COUNT} held, ")), "{map}");
    assert!(peak < STREAMING_MIB && requests <= pages + 4, "usage --map: {peak} MiB, {requests} requests");
    let (free, peak, requests) = host.run(&["list", "--free", "10.64.0.0/10", "--config", config]);
    let left = (1_u32 << 22) - 3 - (COUNT - 2);
    assert!(free.contains(&format!("{left} addresses are free")), "{free}");
    assert!(peak < STREAMING_MIB && requests <= pages + 4, "list --free: {peak} MiB, {requests} requests");
    host.api.asked();
    let (summary, peak, requests) = host.run(&["sweep", "--dry-run"]);
    assert!(summary.contains(&format!("Of {COUNT} held addresses: 0 would be freed")), "{summary}");
    assert!(peak < SCAN_MIB && requests <= 2 * pages + 4, "sweep: {peak} MiB, {requests} requests");
    assert!(host.api.asked().iter().all(|name| name == "pods"), "no pod is asked about by itself");
}

#[test]
fn doctor_needs_little_memory_with_a_hundred_thousand_leases() {
    let test = "doctor_needs_little_memory_with_a_hundred_thousand_leases";
    let Some(host) = Host::with(test, 2 * COUNT) else { return };
    let (printed, peak) = host.diagnose();
    assert!(printed.contains("all its entries can be read, 100000 leases among them"), "{printed}");
    assert!(printed.contains("none of 100000 held addresses has leaked"), "{printed}");
    // The scan of leaks keeps a part of each address; everything else keeps nothing.
    let bound = STREAMING_MIB + 2 * (SCAN_MIB - STREAMING_MIB);
    assert!(peak < bound, "{peak} MiB of {bound}");
}

#[test]
fn explain_sums_up_a_hundred_thousand_leases_in_little_memory() {
    let test = "explain_sums_up_a_hundred_thousand_leases_in_little_memory";
    let count = 2 * COUNT;
    let Some(host) = Host::with(test, count) else { return };
    (0..30).for_each(|number| host.api.crowd_loses(number * 1_000));
    let (page, peak, requests) = host.run(&["explain", "10.64.0.0/15"]);
    assert!(page.starts_with(&format!("{count} addresses of 10.64.0.0/15 have a lease.")), "{page}");
    assert!(page.contains("30 held by pods that are not on the API server's list"), "{page}");
    assert!(page.contains("10 more need attention, and are not shown"), "{page}");
    // The UIDs of the pods are kept; of leases, nothing.
    assert!(peak < STREAMING_MIB + EXPLAIN_MIB, "{peak} MiB");
    let pages = u64::from(count).div_ceil(PAGE);
    // The pages once, and a few requests for each address that is shown.
    assert!(requests <= pages + 8 + 20 * 6, "{requests} requests");
    let pod = format!("{NAMESPACE}/{}", crowd::pod_name(99_999));
    let (page, peak, requests) = host.run(&["explain", &pod]);
    assert!(page.contains(&crowd::ip(99_999).to_string()), "{page}");
    assert!(peak < STREAMING_MIB, "{pod}: {peak} MiB");
    assert!(requests <= pages + 16, "{pod}: {requests} requests");
}

#[test]
fn list_reads_only_the_address_or_node_that_it_is_asked_for() {
    let Some(host) = Host::new("list_reads_only_the_address_or_node_that_it_is_asked_for") else { return };
    let (table, _, requests) = host.run(&["list", "--ip", &crowd::ip(31_234).to_string()]);
    assert_eq!((table.lines().count(), requests), (2, 3), "{table}");
    let (table, _, requests) = host.run(&["list", "--node", &crowd::node_name(31_234)]);
    assert_eq!(table.lines().count(), crowd::PODS_PER_NODE as usize + 1);
    assert!(requests <= 2, "{requests} requests");
    let pod = format!("{NAMESPACE}/{}", crowd::pod_name(31_234));
    let (table, _, requests) = host.run(&["list", "--node", &crowd::node_name(31_234), "--pod", &pod]);
    assert_eq!(table.lines().count(), 2, "{table}");
    assert!(requests <= 2, "{requests} requests");
}

#[test]
fn a_controller_stays_small_and_reads_one_node_after_a_deletion() {
    let Some(host) = Host::new("a_controller_stays_small_and_reads_one_node_after_a_deletion") else { return };
    let args = ["controller", "--listen", "127.0.0.1:0", "--interval", "1h", "--settle", "20ms"];
    let log = File::create(host.node.path("controller.log")).unwrap();
    let mut process = host.command(&args).stdout(Stdio::piped()).stderr(log).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let address = line.trim().strip_prefix("listening on ").unwrap().to_owned();
    let get = |path: &str| {
        let mut stream = TcpStream::connect(&address).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nhost: here\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    };
    // Who does not lead yet is ready before its first scan as the leader.
    wait_until("the first scan is over", || get("/metrics").contains("kube_ipam_sweeps_total{result=\"ok\"} 1"));
    wait_until("pods are watched", || host.api.watchers("pods") == 1);
    let peak = resident_mib(&process);
    assert!(peak < SCAN_MIB, "{peak} MiB");
    let before = host.requests();
    host.api.asked();
    host.api.crowd_loses(31_234);
    wait_until("its address is free", || {
        get("/metrics").contains("kube_ipam_swept_addresses_total{leak=\"pod_gone\"} 1")
    });
    let requests = host.requests() - before;
    let asked = host.api.asked();
    process.kill().unwrap();
    process.wait().unwrap();
    // Two scans, each of which reads how a recovery stands, a node, and what that holds; and a release.
    assert!(requests <= 12, "{requests} requests");
    let list = format!("pods of {}", crowd::node_name(31_234));
    assert_eq!(asked, [list.clone(), list, crowd::pod_name(31_234)]);
}
