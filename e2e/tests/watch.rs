//! `kube-ipam watch` with real calls: what people and programs read, and how it starts, waits and ends.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test's verdict is a panic")]

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Duration;

use jiff::Timestamp;
use kube_ipam::deadline::Deadline;
use kube_ipam::ipam::keys;
use kube_ipam::ipam::lease::{AllocationKind, Began, Holder, Lease, OnRelease, PodRef, Unknown, write};
use kube_ipam::ipam::name::{AttachmentId, IfName, Name};
use kube_ipam::store::{EtcdConfig, Op, SqliteStore, Store, StoreConfig, Txn};
use kube_ipam_e2e::etcd::{self, Cluster};
use kube_ipam_e2e::gate::Gate;
use kube_ipam_e2e::machines::on_each_store;
use kube_ipam_e2e::node::{Network, Node, Plugin};
use kube_ipam_e2e::operator::{self, printed};
use kube_ipam_e2e::{checkout, pty, wait_until};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

const LONG: Duration = Duration::from_secs(60);

fn command(node: &Node, args: &[&str]) -> Command {
    let mut command = operator::command(node, &[&["watch"], args].concat());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// A watch that runs, and the lines that it prints.
struct Running {
    child: Child,
    lines: Receiver<String>,
    notices: Receiver<String>,
}

impl Running {
    /// Starts a watch, and waits until it sees changes.
    fn start(node: &Node, args: &[&str]) -> Self {
        let mut child = command(node, args).spawn().unwrap();
        let (lines, notices) = (reader(child.stdout.take().unwrap()), reader(child.stderr.take().unwrap()));
        let running = Self { child, lines, notices };
        let started = running.notice();
        assert!(started.starts_with("kube-ipam: watching "), "{started}");
        running
    }

    #[track_caller]
    fn line(&self) -> String {
        self.lines.recv_timeout(LONG).unwrap_or_else(|error| panic!("no line: {error}"))
    }

    #[track_caller]
    fn json(&self) -> Value {
        serde_json::from_str(&self.line()).unwrap()
    }

    #[track_caller]
    fn notice(&self) -> String {
        self.notices.recv_timeout(LONG).unwrap_or_else(|error| panic!("no notice: {error}"))
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Waits for its end. Returns what it printed since the last line.
    fn end(mut self) -> (ExitStatus, Vec<String>) {
        let status = ended(&mut self.child);
        (status, self.lines.iter().collect())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn ended(child: &mut Child) -> ExitStatus {
    let mut status = None;
    wait_until("the watch ends", || {
        status = child.try_wait().unwrap();
        status.is_some()
    });
    status.unwrap()
}

fn reader(pipe: impl Read + Send + 'static) -> Receiver<String> {
    let (lines, received) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(pipe).lines().map_while(Result::ok) {
            if lines.send(line).is_err() {
                break;
            }
        }
    });
    received
}

fn network(node: &Node) -> Network<'_> {
    node.network(json!({ "subnet": "10.1.0.0/24", "rangeStart": "10.1.0.100", "rangeEnd": "10.1.0.150" }))
}

fn add(network: &Network<'_>, container: &str, pod: &str, ip: &str) {
    let args = format!("K8S_POD_NAMESPACE=db;K8S_POD_NAME={pod};K8S_POD_UID=u-{pod};IP={ip}");
    network.call("ADD", container).args(&args).run().ok();
}

fn on_each(test: &str, check: impl Fn(&Node)) {
    on_each_store(test, |node| {
        // An embedded store begins with the first call.
        network(node).add("c0").ok();
        check(node);
    });
}

/// A line without its time, which has this form.
#[track_caller]
fn told(line: &str) -> &str {
    let (time, rest) = line.split_once(' ').unwrap();
    assert!(time.len() == "00:00:00Z".len() && time.ends_with('Z'), "{line}");
    rest
}

#[test]
fn several_watches_show_what_happens_to_an_address() {
    on_each("several_watches_show_what_happens_to_an_address", |node| {
        let network = network(node);
        let all = Running::start(node, &[]);
        let one = Running::start(node, &["--ip", "10.1.0.18"]);
        let other = Running::start(node, &["--pod", "db/pg-9", "-n", "1"]);
        let json = Running::start(node, &["-o", "json", "--range", "10.1.0.0/27", "--network", "blue"]);
        let mut lines = Vec::new();
        // Each step waits for its lines: the embedded store shows several changes between two looks as one.
        add(&network, "c1", "pg-0", "10.1.0.18");
        for watch in [&all, &one] {
            let assigned = "10.1.0.18       assigned to pod db/pg-0 on node-1 as eth0, fixed, network blue";
            assert_eq!(told(&watch.line()), assigned);
        }
        lines.push(json.json());
        add(&network, "c2", "pg-9", "10.1.0.40");
        let for_nine = "10.1.0.40       assigned to pod db/pg-9 on node-1 as eth0, fixed, network blue";
        assert_eq!(told(&all.line()), for_nine);
        let (status, printed) = other.end();
        assert!(status.success());
        assert_eq!(printed.iter().map(|line| told(line)).collect::<Vec<_>>(), [for_nine]);
        network.del("c1").ok();
        for watch in [&all, &one] {
            let released = watch.line();
            let text = "10.1.0.18       released by pod db/pg-0 on node-1 as eth0; ";
            assert!(told(&released).starts_with(text), "{released}");
        }
        lines.push(json.json());
        add(&network, "c3", "pg-1", "10.1.0.18");
        for watch in [&all, &one] {
            let assigned = "10.1.0.18       assigned to pod db/pg-1 on node-1 as eth0, fixed, network blue";
            assert_eq!(told(&watch.line()), assigned);
        }
        lines.push(json.json());
        let words: Vec<&str> = lines.iter().map(|line| line["event"].as_str().unwrap()).collect();
        assert_eq!(words, ["assigned", "released", "assigned"]);
        assert_eq!(lines[0]["holders"][0]["container"], "c1");
        assert_eq!(lines[2]["holders"][0]["pod"], "pg-1");
        fits_the_schema(&lines);
    });
}

/// Checks lines for programs against docs/watch.schema.json.
#[track_caller]
fn fits_the_schema(lines: &[Value]) {
    let schema = fs::read_to_string(checkout::root().join("docs/watch.schema.json")).unwrap();
    let validator = jsonschema::validator_for(&serde_json::from_str(&schema).unwrap()).unwrap();
    for line in lines {
        let errors: Vec<String> = validator.iter_errors(line).map(|error| error.to_string()).collect();
        assert_eq!(errors, Vec::<String>::new(), "{line:#}");
    }
    // The schema would find a mistake.
    let mut wrong = lines[0].clone();
    wrong["event"] = "lost".into();
    assert!(!validator.is_valid(&wrong));
}

#[test]
fn a_reservation_by_hand_is_shown_with_its_reason() {
    on_each("a_reservation_by_hand_is_shown_with_its_reason", |node| {
        let (watch, json) = (Running::start(node, &[]), Running::start(node, &["-o", "json"]));
        printed(node, &["reserve", "10.1.0.50", "--reason", "printer in room 12", "--yes"]);
        assert_eq!(told(&watch.line()), "10.1.0.50       reserved by hand: printer in room 12");
        let reserved = json.json();
        printed(node, &["release", "10.1.0.50", "--yes"]);
        assert_eq!(told(&watch.line()), "10.1.0.50       no longer reserved by hand: printer in room 12; free");
        let lines = [reserved, json.json()];
        assert_eq!(lines[0]["reserved"], "reserved by hand: printer in room 12");
        fits_the_schema(&lines);
    });
}

#[test]
fn a_signal_or_the_end_of_its_reader_ends_a_watch_with_success() {
    let node = Node::new(Plugin::kube_ipam());
    network(&node).add("c1").ok();
    for signal in [Signal::TERM, Signal::INT] {
        let watch = Running::start(&node, &[]);
        watch.signal(signal);
        let (status, lines) = watch.end();
        assert!(status.success() && lines.is_empty(), "{signal:?}: {status} {lines:?}");
    }
    // An idle watch notices as well that nobody reads it.
    let mut child = command(&node, &[]).spawn().unwrap();
    let notices = reader(child.stderr.take().unwrap());
    notices.recv_timeout(LONG).unwrap();
    drop(child.stdout.take());
    assert!(ended(&mut child).success());
    assert_eq!(notices.iter().count(), 0);
}

fn holder(pod: &str) -> Holder {
    let name = |text: &str| Name::new(text).unwrap();
    let ifname = IfName::new("net1").unwrap();
    Holder {
        id: AttachmentId { node: name("n1"), container: name("c1"), ifname, network: name("lan") },
        pod: PodRef { namespace: Some("db".into()), name: Some(pod.into()), uid: Some("u".into()) },
        workload: None,
        controller: None,
        cluster: None,
        began: Began { boot: "b".into(), boottime: 1 },
        unknown: Unknown::new(),
    }
}

/// Writes leases, each in a transaction of its own, without a call.
fn write_leases(node: &Node, leases: impl IntoIterator<Item = (u8, u8, Holder)>) {
    let StoreConfig::Embedded { data_dir } = node.store() else { panic!("{:?}", node.store()) };
    let store = SqliteStore::new(data_dir);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    for (third, last, holder) in leases {
        let lease = Lease::new(AllocationKind::Fixed, vec![holder], Timestamp::now(), OnRelease::Forget);
        let key = keys::lease(&Name::new("default").unwrap(), [10, 1, third, last].into());
        let txn = Txn::new(vec![], vec![Op::Put(key, write(&lease))], vec![]).unwrap();
        runtime.block_on(store.commit(&txn, Deadline::after(LONG))).unwrap();
    }
}

#[test]
fn control_characters_of_stored_names_never_reach_a_terminal() {
    let node = Node::new(Plugin::kube_ipam());
    network(&node).add("c1").ok();
    let (text, json) = (Running::start(&node, &[]), Running::start(&node, &["-o", "json"]));
    write_leases(&node, [(0, 7, holder("\u{1b}]0;pwned\u{7}\n\u{202e}pod"))]);
    let (text, json) = (text.line(), json.line());
    for line in [&text, &json] {
        assert!(!line.chars().any(|c| c.is_control() || c == '\u{202e}'), "{line:?}");
    }
    assert!(text.contains("assigned to pod db/␛]0;pwned␇␊"), "{text}");
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["holders"][0]["pod"], "\u{1b}]0;pwned\u{7}\n\u{202e}pod");
}

#[test]
fn a_slow_reader_misses_nothing_and_a_signal_ends_a_watch_that_nobody_reads() {
    let node = Node::new(Plugin::kube_ipam());
    network(&node).add("c1").ok();
    // More than a pipe takes.
    let addresses: Vec<(u8, u8)> = (1..=3).flat_map(|third| (1..=250).map(move |last| (third, last))).collect();
    let slow = |args: &[&str]| {
        let mut child = command(&node, args).spawn().unwrap();
        let notices = reader(child.stderr.take().unwrap());
        notices.recv_timeout(LONG).unwrap();
        child
    };
    let (mut read, mut unread) = (slow(&["-o", "json", "-n", "750"]), slow(&["-o", "json"]));
    write_leases(&node, addresses.iter().map(|(third, last)| (*third, *last, holder("pg-0"))));
    let lines = BufReader::new(read.stdout.take().unwrap()).lines().map(|line| {
        let line: Value = serde_json::from_str(&line.unwrap()).unwrap();
        line["address"].as_str().unwrap().to_owned()
    });
    let expected: Vec<String> = addresses.iter().map(|(third, last)| format!("10.1.{third}.{last}")).collect();
    assert_eq!(lines.collect::<Vec<_>>(), expected);
    assert!(ended(&mut read).success());
    kill_process(Pid::from_child(&unread), Signal::TERM).unwrap();
    assert!(ended(&mut unread).success());
}

#[test]
fn an_outage_is_said_once_and_nothing_of_it_is_missed() {
    if !etcd::installed_or_skip("an_outage_is_said_once_and_nothing_of_it_is_missed") {
        return;
    }
    let mut cluster = Cluster::plain(1).unwrap();
    let node = Node::on_etcd(&cluster.config());
    let network = network(&node);
    let watch = Running::start(&node, &[]);
    add(&network, "c1", "pg-0", "10.1.0.18");
    watch.line();
    cluster.kill(0).unwrap();
    let lost = watch.notice();
    assert!(lost.contains("no member of etcd served the request") && lost.contains("the watch waits"), "{lost}");
    cluster.restart(0).unwrap();
    assert_eq!(watch.notice(), "kube-ipam: the store responds again, and the watch continues");
    network.del("c1").ok();
    let released = watch.line();
    assert!(released.contains("released by pod db/pg-0"), "{released}");
    // A watch does not begin without its store.
    cluster.kill(0).unwrap();
    let output = command(&node, &[]).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("no member of etcd served the request"), "{said}");
}

#[test]
fn what_a_compaction_discarded_is_told_from_the_difference() {
    if !etcd::installed_or_skip("what_a_compaction_discarded_is_told_from_the_difference") {
        return;
    }
    let cluster = Cluster::plain(1).unwrap();
    let node = Node::on_etcd(&cluster.config());
    let network = network(&node);
    add(&network, "c1", "pg-1", "10.1.0.11");
    add(&network, "c2", "pg-2", "10.1.0.12");
    let gate = Gate::to(cluster.port(0)).unwrap();
    let watching = Node::on_etcd(&EtcdConfig { urls: vec![gate.url()], ..cluster.config() });
    let watch = Running::start(&watching, &[]);
    gate.close();
    network.del("c1").ok();
    add(&network, "c3", "pg-3", "10.1.0.13");
    let revision = cluster.etcdctl(&["get", "none", "-w", "json"]).unwrap();
    let revision: Value = serde_json::from_str(&revision).unwrap();
    cluster.etcdctl(&["compact", &revision["header"]["revision"].to_string()]).unwrap();
    gate.open();
    while !watch.notice().contains("discarded changes that were not seen; what is different now follows") {}
    let lines = [watch.line(), watch.line()];
    assert!(told(&lines[0]).starts_with("10.1.0.11       released by pod db/pg-1"), "{lines:?}");
    assert!(told(&lines[1]).starts_with("10.1.0.13       assigned to pod db/pg-3"), "{lines:?}");
}

#[test]
fn a_watch_continues_at_a_position_where_the_store_has_a_history() {
    if !etcd::installed_or_skip("a_watch_continues_at_a_position_where_the_store_has_a_history") {
        return;
    }
    let cluster = Cluster::plain(1).unwrap();
    let node = Node::on_etcd(&cluster.config());
    let network = network(&node);
    let watch = Running::start(&node, &["-o", "json", "-n", "1"]);
    add(&network, "c1", "pg-0", "10.1.0.18");
    let position = watch.json()["position"].as_str().unwrap().to_owned();
    add(&network, "c2", "pg-1", "10.1.0.19");
    network.del("c1").ok();
    let again = Running::start(&node, &["--since", &position, "-n", "2"]);
    let lines = [again.line(), again.line()];
    assert!(told(&lines[0]).starts_with("10.1.0.19       assigned to pod db/pg-1"), "{lines:?}");
    assert!(told(&lines[1]).starts_with("10.1.0.18       released by pod db/pg-0"), "{lines:?}");
    assert!(again.end().0.success());
    // On a terminal, a line has at most its width.
    for columns in [120, 80, 64, 40] {
        let printed = pty::run(&mut command(&node, &["--since", &position, "-n", "2"]), columns).unwrap();
        assert!(printed.status.success(), "{}", printed.text);
        let lines: Vec<&str> = printed.text.lines().filter(|line| line.contains("10.1.0.1")).collect();
        assert_eq!(lines.len(), 2, "{}", printed.text);
        assert!(lines.iter().all(|line| line.chars().count() <= usize::from(columns)), "{columns}: {lines:?}");
    }
    cluster.etcdctl(&["compact", &(position.parse::<u64>().unwrap() + 2).to_string()]).unwrap();
    let embedded = Node::new(Plugin::kube_ipam());
    for container in ["c1", "c2", "c3"] {
        self::network(&embedded).add(container).ok();
    }
    for node in [&node, &embedded] {
        let output = command(node, &["--since", &position]).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains("does not have all changes since"), "{said}");
    }
}
