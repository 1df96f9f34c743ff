//! The node's own record (contract, section 5): what a DEL can do with it, and what is left to later calls.
//!
//! That DEL and ADD survive being killed at each of their steps is shown in kill_points.rs.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test's verdict is a panic")]

use std::cell::RefCell;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use kube_ipam_e2e::cni::{Call, Reply};
use kube_ipam_e2e::etcd::{self, Cluster};
use kube_ipam_e2e::machines::on_each_store;
use kube_ipam_e2e::node::{Network, Node, Plugin};
use kube_ipam_e2e::{skip, wait_until};
use rustix::fs::{OFlags, fcntl_setfl};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

/// A DEL gives its store 2 s; the rest is for a busy machine. Without that limit it would take the call's 10 s.
const SOON: Duration = Duration::from_secs(6);

/// A range of one address: who has it and who has not is seen by asking.
fn single(node: &Node) -> Network<'_> {
    node.network(json!({ "subnet": "10.1.0.0/24", "rangeStart": "10.1.0.5", "rangeEnd": "10.1.0.5" }))
}

fn embedded() -> Node {
    Node::new(Plugin::kube_ipam())
}

fn holder_of_the_address(node: &Node) -> Option<String> {
    node.held().pop().map(|(_, holder)| holder)
}

fn record_of(node: &Node, container: &str) -> PathBuf {
    node.path(&format!("records/node-1/{container}:eth0:blue.json"))
}

// ---- DEL without its config ----

#[test]
fn a_del_needs_nothing_of_its_config_but_the_name() {
    on_each_store("a_del_needs_nothing_of_its_config_but_the_name", |node| {
        let network = single(node);
        let reduced = json!({ "type": "kube-ipam" });
        let broken = json!({ "type": "kube-ipam", "subnet": "10.1.0.5/24", "rangeStart": 7, "etcdConfig": "nowhere" });
        for ipam in [reduced, broken, json!({}), json!(null), json!("kube-ipam")] {
            network.add("c1").ok();
            assert_eq!(network.with(json!({ "ipam": ipam })).del("c1").ok().stdout, "", "{ipam}");
            assert_eq!(holder_of_the_address(node), None, "{ipam}");
        }
        network.add("c1").ok();
        let mut without = network.clone();
        without.config.as_object_mut().unwrap().remove("ipam");
        without.del("c1").ok();
        assert_eq!(holder_of_the_address(node), None);
    });
}

/// Runs a call with /var/lib and /var/log of its own, where it looks without node defaults.
fn without_defaults(node: &Node, call: Call) -> Call {
    let var = node.path("var");
    for folder in ["lib", "log"] {
        fs::create_dir_all(var.join(folder)).unwrap();
    }
    let mounts = r#"mount --bind "$0/lib" /var/lib && mount --bind "$0/log" /var/log && exec "$@""#;
    mounted(call, mounts, &var).env("KUBE_IPAM_CONFIG", node.path("no-such.json"))
}

/// Runs a call after a shell script in a mount namespace of its own, which has the path as `$0`.
fn mounted(call: Call, script: &str, path: &Path) -> Call {
    let user: &[&str] = if rustix::process::geteuid().is_root() { &[] } else { &["--user", "--map-root-user"] };
    let start = ["unshare", "--mount"].into_iter().chain(user.iter().copied()).chain(["sh", "-c", script]);
    call.through(start.map(Into::into).chain([path.into()]))
}

/// Whether mounts are possible here; if not, says that the test is skipped.
fn mounts_or_skip(test: &str) -> bool {
    let folder = tempfile::Builder::new().prefix("kube-ipam-").tempdir().unwrap();
    let user: &[&str] = if rustix::process::geteuid().is_root() { &[] } else { &["--user", "--map-root-user"] };
    let mut command = Command::new("unshare");
    command.arg("--mount").args(user).args(["sh", "-c", r#"mount --bind "$0" "$0""#]).arg(folder.path());
    let works = command.output().is_ok_and(|output| output.status.success());
    if !works {
        skip(test, "no mount namespaces here (unshare --mount)");
    }
    works
}

#[test]
fn a_del_works_when_the_node_defaults_are_gone() {
    if !mounts_or_skip("a_del_works_when_the_node_defaults_are_gone") {
        return;
    }
    let node = embedded();
    let one = json!({ "subnet": "10.1.0.0/24", "rangeStart": "10.1.0.5", "rangeEnd": "10.1.0.5" });
    let network = node.network_with_store(one);
    without_defaults(&node, network.call("ADD", "c1")).run().ok();
    assert_eq!(holder_of_the_address(&node).as_deref(), Some("c1/eth0"));
    let reduced = network.with(json!({ "ipam": { "type": "kube-ipam" } }));
    without_defaults(&node, reduced.call("DEL", "c1")).run().ok();
    assert_eq!(holder_of_the_address(&node), None);
}

#[test]
fn a_del_without_record_block_or_defaults_succeeds_and_says_so_in_the_log() {
    if !mounts_or_skip("a_del_without_record_block_or_defaults_succeeds_and_says_so_in_the_log") {
        return;
    }
    let node = embedded();
    let bare = single(&node).with(json!({ "ipam": { "type": "kube-ipam" } }));
    let pod = "K8S_POD_NAMESPACE=web;K8S_POD_NAME=web-1";
    without_defaults(&node, bare.call("DEL", "c1").args(pod)).run().ok();
    let log = fs::read_to_string(node.path("var/log/kube-ipam.log")).unwrap();
    assert!(log.contains("nothing is recorded of this attachment"), "{log}");
}

// ---- The store is down ----

/// A store that can be taken away and given back.
enum Fault<'a> {
    /// The embedded store's folder is another file's place.
    Folder(&'a Node),
    /// etcd accepts connections and says nothing.
    Silence(&'a RefCell<Cluster>),
}

impl Fault<'_> {
    fn begin(&self) {
        match self {
            Self::Folder(node) => {
                fs::rename(node.path("addresses"), node.path("addresses.away")).unwrap();
                fs::write(node.path("addresses"), "not a folder").unwrap();
            }
            Self::Silence(cluster) => cluster.borrow().stop(0).unwrap(),
        }
    }

    fn end(&self) {
        match self {
            Self::Folder(node) => {
                fs::remove_file(node.path("addresses")).unwrap();
                fs::rename(node.path("addresses.away"), node.path("addresses")).unwrap();
            }
            Self::Silence(cluster) => cluster.borrow_mut().go_on(0).unwrap(),
        }
    }
}

/// Runs a case with each store and its fault.
fn with_each_fault(test: &str, case: impl Fn(&Node, &Fault<'_>)) {
    let node = embedded();
    case(&node, &Fault::Folder(&node));
    if etcd::installed_or_skip(test) {
        let cluster = Cluster::plain(1).unwrap();
        let node = Node::on_etcd(&cluster.config());
        case(&node, &Fault::Silence(&RefCell::new(cluster)));
    }
}

/// DEL while the store is down: it succeeds soon, and defers the release.
fn marked_del(node: &Node, network: &Network<'_>, container: &str) {
    let began = Instant::now();
    assert_eq!(network.del(container).ok().stdout, "");
    assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
    assert!(node.records().contains(&format!("marked/{container}:eth0:blue.json")), "{:?}", node.records());
}

#[test]
fn a_del_whose_store_is_down_is_deferred_to_a_later_call() {
    with_each_fault("a_del_whose_store_is_down_is_deferred_to_a_later_call", |node, fault| {
        let network = node.network(json!({ "subnet": "10.1.0.0/24" }));
        for container in ["c1", "c2"] {
            network.add(container).ok();
        }
        fault.begin();
        marked_del(node, &network, "c1");
        marked_del(node, &network.with(json!({ "ipam": { "type": "kube-ipam" } })), "c2");
        fault.end();
        // A replay gives itself 200 ms; a busy machine takes a few calls.
        wait_until("the marks are replayed", || {
            network.add("c3").ok();
            node.records() == ["c3:eth0:blue.json"]
        });
        let holders: Vec<String> = node.held().into_iter().map(|(_, holder)| holder).collect();
        assert_eq!(holders, ["c3/eth0"]);
    });
}

#[test]
fn a_repeated_sweep_performs_all_deferred_releases_once_the_store_is_back() {
    let test = "a_repeated_sweep_performs_all_deferred_releases_once_the_store_is_back";
    with_each_fault(test, |node, fault| {
        let network = node.network(json!({ "subnet": "10.1.0.0/24" }));
        let [one, two, _] = ["c1", "c2", "c3"].map(|container| network.add(container).address());
        fault.begin();
        marked_del(node, &network, "c1");
        marked_del(node, &network, "c2");
        let mut sweeping = Command::new(&node.plugin().path);
        sweeping.args(["sweep", "--marked", "--every", "100ms"]).env_clear();
        // In a container it may see another boot id than its node. What lives keeps its address all the same.
        fs::write(node.path("boot-of-container"), "another\n").unwrap();
        sweeping.env("KUBE_IPAM_BOOT_ID_FILE", node.path("boot-of-container"));
        sweeping.env("KUBE_IPAM_CONFIG", node.path("kube-ipam.json")).stdout(File::create(node.path("freed")).unwrap());
        let mut sweeping = sweeping.spawn().unwrap();
        fault.end();
        wait_until("the marks are done", || node.records() == ["c3:eth0:blue.json"]);
        kill_process(Pid::from_child(&sweeping), Signal::TERM).unwrap();
        assert!(sweeping.wait().unwrap().success());
        let freed = fs::read_to_string(node.path("freed")).unwrap();
        for (container, address) in [("c1", one), ("c2", two)] {
            let (ip, _) = address.split_once('/').unwrap();
            let line = freed.lines().find(|line| line.contains(container)).unwrap();
            let what = line.split_whitespace().next().unwrap();
            // What a silent etcd was asked for it does once it goes on, and then there is nothing left to free.
            let was_done = matches!(fault, Fault::Silence(_)) && what == "attachment";
            assert!(what == ip || was_done, "{ip} in {freed}");
            assert!(line.ends_with("its DEL could not reach the store and deferred the release"), "{line}");
        }
        assert_eq!(freed.lines().filter(|line| line.contains(" freed ")).count(), 2, "{freed}");
        let holders: Vec<String> = node.held().into_iter().map(|(_, holder)| holder).collect();
        assert_eq!(holders, ["c3/eth0"]);
    });
}

#[test]
fn a_second_del_makes_the_deferred_release_of_the_first() {
    with_each_fault("a_second_del_makes_the_deferred_release_of_the_first", |node, fault| {
        let network = single(node);
        network.add("c1").ok();
        fault.begin();
        marked_del(node, &network, "c1");
        fault.end();
        network.del("c1").ok();
        assert_eq!((node.records(), node.held()), (vec![], vec![]));
    });
}

#[test]
fn an_add_first_makes_the_deferred_release_of_its_attachment() {
    with_each_fault("an_add_first_makes_the_deferred_release_of_its_attachment", |node, fault| {
        let network = single(node);
        network.add("c1").ok();
        fault.begin();
        marked_del(node, &network, "c1");
        node.set_defaults(&json!({ "timeout": "500ms" }));
        assert_eq!(network.add("c1").refused().code(), 11);
        assert_eq!(node.records(), ["marked/c1:eth0:blue.json"]);
        fault.end();
        node.set_defaults(&json!({}));
        assert_eq!(network.add("c1").address(), "10.1.0.5/24");
        assert_eq!(node.records(), ["c1:eth0:blue.json"]);
        // The deferred release of the earlier attachment does not free what the later one has.
        network.add("c2").refused();
        assert_eq!(holder_of_the_address(node).as_deref(), Some("c1/eth0"));
    });
}

#[test]
fn a_del_of_a_store_that_hangs_is_deferred() {
    let node = embedded();
    let network = single(&node);
    network.add("c1").ok();
    let lock = File::open(node.path("addresses/kube-ipam.lock")).unwrap();
    lock.lock().unwrap();
    marked_del(&node, &network, "c1");
    lock.unlock().unwrap();
    network.del("c1").ok();
    assert_eq!((node.records(), node.held()), (vec![], vec![]));
}

#[test]
fn deferred_releases_of_a_store_that_stays_away_hinder_no_other_call() {
    let node = embedded();
    node.set_defaults(&json!({ "blocksMaySet": ["store"] }));
    let away = json!({ "dataDir": node.path("elsewhere") });
    let lost = node.network(json!({ "subnet": "10.2.0.0/24" })).with(json!({ "name": "green" }));
    let mut lost = lost.clone();
    lost.config["ipam"]["dataDir"] = away["dataDir"].clone();
    for n in 0..10 {
        lost.add(&format!("g{n}")).ok();
    }
    fs::rename(node.path("elsewhere"), node.path("elsewhere.away")).unwrap();
    fs::write(node.path("elsewhere"), "not a folder").unwrap();
    for n in 0..10 {
        lost.del(&format!("g{n}")).ok();
    }
    let network = single(&node);
    let began = Instant::now();
    network.add("c1").ok();
    network.del("c1").ok();
    assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
    assert_eq!(node.records().len(), 10);
}

// ---- The record can't be written, or read ----

#[test]
fn an_add_whose_record_can_t_be_written_is_code_5_and_holds_nothing() {
    on_each_store("an_add_whose_record_can_t_be_written_is_code_5_and_holds_nothing", |node| {
        let network = single(node);
        fs::write(node.path("a-file"), "").unwrap();
        for state in [PathBuf::from("/proc/kube-ipam"), node.path("a-file")] {
            node.set_defaults(&json!({ "stateDir": state }));
            let reply = network.add("c1").refused();
            assert_eq!(reply.code(), 5, "{}", reply.stdout);
            assert!(reply.text().contains(&state.display().to_string()), "{}", reply.text());
        }
        node.set_defaults(&json!({}));
        network.add("c2").ok();
    });
}

#[test]
fn a_del_that_can_t_use_its_record_asks_the_store() {
    on_each_store("a_del_that_can_t_use_its_record_asks_the_store", |node| {
        let network = single(node);
        fs::write(node.path("a-file"), "").unwrap();
        for state in [PathBuf::from("/proc/kube-ipam"), node.path("a-file")] {
            network.add("c1").ok();
            node.set_defaults(&json!({ "stateDir": state }));
            network.del("c1").ok();
            assert_eq!(holder_of_the_address(node), None, "{}", state.display());
            node.set_defaults(&json!({}));
        }
    });
}

#[test]
fn a_del_that_reaches_neither_its_store_nor_its_record_is_code_11() {
    with_each_fault("a_del_that_reaches_neither_its_store_nor_its_record_is_code_11", |node, fault| {
        let network = single(node);
        network.add("c1").ok();
        fs::write(node.path("a-file"), "").unwrap();
        fault.begin();
        for state in [PathBuf::from("/proc/kube-ipam"), node.path("a-file")] {
            node.set_defaults(&json!({ "stateDir": state }));
            let reply = network.del("c1").refused();
            assert_eq!(reply.code(), 11, "{}", reply.stdout);
            assert!(reply.text().contains(&state.display().to_string()), "{}", reply.text());
        }
        fault.end();
        node.set_defaults(&json!({}));
        network.del("c1").ok();
        assert_eq!(holder_of_the_address(node), None);
    });
}

#[test]
fn on_a_read_only_disk_a_del_still_goes_by_its_record() {
    if !mounts_or_skip("on_a_read_only_disk_a_del_still_goes_by_its_record") {
        return;
    }
    let node = embedded();
    let network = single(&node);
    network.add("c1").ok();
    let reduced = network.with(json!({ "ipam": { "type": "kube-ipam" } }));
    let read_only = r#"mount --bind "$0" "$0" && mount -o remount,bind,ro "$0" && exec "$@""#;
    assert_eq!(mounted(network.call("ADD", "c2"), read_only, &node.path("records")).run().refused().code(), 5);
    mounted(reduced.call("DEL", "c1"), read_only, &node.path("records")).run().ok();
    assert_eq!(holder_of_the_address(&node), None);
    // What could not be removed releases nothing a second time.
    network.add("c2").ok();
    reduced.del("c1").ok();
    assert_eq!(holder_of_the_address(&node).as_deref(), Some("c2/eth0"));
}

/// What may be found in the place of c1's record, with a word for it.
fn odd_records(node: &Node) -> Vec<(&'static str, Vec<u8>)> {
    let whole = fs::read(record_of(node, "c1")).unwrap();
    let text = String::from_utf8(whole.clone()).unwrap();
    vec![
        ("empty", Vec::new()),
        ("cut off in its last line", whole[..whole.len() - 9].to_vec()),
        ("cut off in its first line", whole[..40].to_vec()),
        ("of zeros", vec![0; 512]),
        ("no text", vec![0xff; 512]),
        ("of another attachment", text.replace("\"containerID\":\"c1\"", "\"containerID\":\"c9\"").into_bytes()),
        ("newer", b"{\"v\":99,\"state\":\"dreaming\"}\n".to_vec()),
        ("hostile", format!("{{\"v\":1,\"a\":{}1{}}}\n", "[".repeat(9999), "]".repeat(9999)).into_bytes()),
    ]
}

#[test]
fn an_odd_record_hinders_neither_the_del_nor_the_next_add() {
    on_each_store("an_odd_record_hinders_neither_the_del_nor_the_next_add", |node| {
        let network = single(node);
        network.add("c1").ok();
        for (kind, content) in odd_records(node) {
            fs::write(record_of(node, "c1"), &content).unwrap();
            assert_eq!(network.add("c1").address(), "10.1.0.5/24", "{kind}");
            fs::write(record_of(node, "c1"), &content).unwrap();
            network.del("c1").ok();
            assert_eq!((node.held(), node.records()), (vec![], vec![]), "{kind}");
            network.add("c1").ok();
        }
    });
}

#[test]
fn an_odd_deferred_release_hinders_neither_the_del_nor_the_next_add() {
    let node = embedded();
    let network = single(&node);
    network.add("c1").ok();
    let mark = node.path("records/node-1/marked/c1:eth0:blue.json");
    fs::create_dir_all(mark.parent().unwrap()).unwrap();
    for (kind, content) in odd_records(&node) {
        network.add("c1").ok();
        fs::write(&mark, &content).unwrap();
        assert_eq!(network.add("c1").address(), "10.1.0.5/24", "{kind}");
        fs::write(&mark, &content).unwrap();
        network.del("c1").ok();
        assert_eq!((node.held(), node.records()), (vec![], vec![]), "{kind}");
    }
}

// ---- Reboots, and nodes that share a file system ----

/// A call in the boot with this id.
fn in_boot(node: &Node, boot: &str, call: Call) -> Call {
    let file = node.path(boot);
    fs::write(&file, format!("{boot}\n")).unwrap();
    call.env("KUBE_IPAM_BOOT_ID_FILE", file)
}

#[test]
fn a_del_after_a_reboot_frees_what_was_added_before() {
    on_each_store("a_del_after_a_reboot_frees_what_was_added_before", |node| {
        let network = single(node);
        in_boot(node, "boot-1", network.call("ADD", "c1")).run().ok();
        in_boot(node, "boot-2", network.call("DEL", "c1")).run().ok();
        assert_eq!((node.held(), node.records()), (vec![], vec![]));
    });
}

#[test]
fn a_container_added_again_after_a_reboot_has_one_address() {
    on_each_store("a_container_added_again_after_a_reboot_has_one_address", |node| {
        // Podman starts its containers with their old ids, and sends no DEL before.
        let network = node.network(json!({ "subnet": "10.1.0.0/24", "cooldown": "0s" }));
        let first = in_boot(node, "boot-1", network.call("ADD", "c1")).run().address();
        assert_eq!(in_boot(node, "boot-2", network.call("ADD", "c1")).run().address(), first);
        assert_eq!(node.held().len(), 1);
        in_boot(node, "boot-2", network.call("DEL", "c1")).run().ok();
        assert_eq!(node.held(), []);
    });
}

#[test]
fn nodes_that_share_a_file_system_do_not_mix_up_one_container_id() {
    on_each_store("nodes_that_share_a_file_system_do_not_mix_up_one_container_id", |node| {
        let network = node.network(json!({ "subnet": "10.1.0.0/24" })).with(json!({ "cniVersion": "1.1.0" }));
        let on = |name: &str| node.set_defaults(&json!({ "nodeName": name }));
        let netns = node.path("netns");
        File::create(&netns).unwrap();
        // Two machines have two boots.
        let call = |verb: &str, boot: &str| in_boot(node, boot, network.call(verb, "c1").netns(&netns));
        on("node-1");
        let first = call("ADD", "boot-1").run().ok();
        on("node-2");
        let second = call("ADD", "boot-2").run().ok();
        assert_ne!(first.addresses(), second.addresses());
        fs::remove_file(&netns).unwrap();
        gc(node, &network, &json!([])).ok();
        assert_eq!(node.held().len(), 1);
        call("DEL", "boot-2").run().ok();
        assert_eq!(node.held().len(), 1);
        on("node-1");
        network.check("c1", &first).ok();
        call("DEL", "boot-1").run().ok();
        assert_eq!(node.held(), []);
    });
}

// ---- A reply that can't be written ----

#[test]
fn an_add_whose_reply_can_t_be_written_leaves_alone_what_a_later_add_has_confirmed() {
    let test = "an_add_whose_reply_can_t_be_written_leaves_alone_what_a_later_add_has_confirmed";
    on_each_store(test, |node| {
        let network = single(node);
        // Nobody reads, and the pipe is full: the first ADD has its address, and waits with its reply.
        let (reader, mut writer) = std::io::pipe().unwrap();
        fcntl_setfl(&writer, OFlags::NONBLOCK).unwrap();
        while writer.write(&[b' '; 512]).is_ok() {}
        fcntl_setfl(&writer, OFlags::empty()).unwrap();
        let first = network.call("ADD", "c1").spawn_into(writer);
        let is_held =
            || fs::read_to_string(record_of(node, "c1")).is_ok_and(|record| record.contains("\"state\":\"held\""));
        wait_until("the first ADD has its address", is_held);
        let second = network.add("c1").ok();
        drop(reader);
        assert!(!first.wait().status.success());
        assert_eq!(holder_of_the_address(node).as_deref(), Some("c1/eth0"));
        network.check("c1", &second).ok();
        network.del("c1").ok();
        assert_eq!((node.held(), node.records()), (vec![], vec![]));
    });
}

// ---- A node that gets another name ----

#[test]
fn a_renamed_node_finds_what_it_gave_under_its_old_name() {
    // Edge case 44.
    on_each_store("a_renamed_node_finds_what_it_gave_under_its_old_name", |node| {
        let network = node.network(json!({ "subnet": "10.1.0.0/24" }));
        let on = |name: &str| node.set_defaults(&json!({ "nodeName": name }));
        on("node-1.example");
        let first = network.add("c1").ok();
        network.add("c2").ok();
        on("node-1");
        network.check("c1", &first).ok();
        // The attachment keeps the name of its ADD, and its address.
        assert_eq!(network.add("c1").ok().addresses(), first.addresses());
        assert_eq!(node.held().len(), 2);
        network.del("c1").ok();
        network.del("c2").ok();
        assert_eq!(node.held(), []);
        let files = fs::read_dir(node.path("records/node-1.example")).unwrap().flatten();
        let left: Vec<_> =
            files.map(|file| file.file_name()).filter(|name| name.to_string_lossy().contains(".json")).collect();
        assert_eq!((left, node.records()), (vec![], vec![]));
    });
}

#[test]
fn a_renamed_node_judges_what_is_gone_only_under_a_name_that_was_its_own() {
    on_each_store("a_renamed_node_judges_what_is_gone_only_under_a_name_that_was_its_own", |node| {
        node.set_defaults(&json!({ "nodeName": "old" }));
        let network = abandoned(node);
        for (former, left) in [(json!(["another"]), 1), (json!(["another", "old"]), 0)] {
            node.set_defaults(&json!({ "nodeName": "node-1", "formerNodeNames": former }));
            gc(node, &network, &json!([])).ok();
            assert_eq!(node.held().len(), left, "{former}");
        }
    });
}

#[test]
fn a_deferred_release_under_a_former_name_is_performed_by_a_later_call() {
    let node = embedded();
    let network = single(&node);
    node.set_defaults(&json!({ "nodeName": "old" }));
    network.add("c1").ok();
    let folder = node.path("records/old");
    let record = fs::read_to_string(folder.join("c1:eth0:blue.json")).unwrap();
    let mut mark: Value = serde_json::from_str(record.lines().last().unwrap()).unwrap();
    mark["state"] = json!("releasing");
    fs::create_dir(folder.join("marked")).unwrap();
    fs::write(folder.join("marked/c1:eth0:blue.json"), format!("{mark}\n")).unwrap();
    fs::remove_file(folder.join("c1:eth0:blue.json")).unwrap();
    node.set_defaults(&json!({ "nodeName": "node-1", "formerNodeNames": ["old"] }));
    network.del("another").ok();
    assert_eq!(node.held(), []);
}

// ---- Sandboxes of a pod ----

/// What Kubernetes says of a pod.
const POD: &str = "K8S_POD_NAMESPACE=web;K8S_POD_NAME=web-1;K8S_POD_UID=0b4f6a52-3c1d-4b8e-9a53-0f6d8c1f1a11";

#[test]
fn a_pod_whose_sandbox_is_made_anew_keeps_its_random_address_in_a_range_of_one() {
    // Edge case 5.
    on_each_store("a_pod_whose_sandbox_is_made_anew_keeps_its_random_address_in_a_range_of_one", |node| {
        let network = single(node);
        for n in 0..20 {
            let added = network.call("ADD", &format!("c{n}")).args(POD).run();
            assert_eq!(added.address(), "10.1.0.5/24");
            assert_eq!(node.held(), [("10.1.0.5".to_owned(), format!("c{n}/eth0"))]);
        }
        assert_eq!(node.sandboxes(), ["../c19:eth0:blue.json"]);
        // Another pod gets none, and an orphan frees nothing.
        network.call("ADD", "other").args(&POD.replace("web-1", "web-2")).run().refused();
        for n in 0..19 {
            network.del(&format!("c{n}")).ok();
        }
        assert_eq!(node.held(), [("10.1.0.5".to_owned(), "c19/eth0".to_owned())]);
        network.del("c19").ok();
        assert_eq!((node.held(), node.records(), node.sandboxes()), (vec![], vec![], vec![]));
    });
}

#[test]
fn a_renamed_node_s_pod_keeps_its_random_address_in_its_next_sandbox() {
    on_each_store("a_renamed_node_s_pod_keeps_its_random_address_in_its_next_sandbox", |node| {
        let network = single(node);
        let add = |container: &str| network.call("ADD", container).args(POD).run();
        node.set_defaults(&json!({ "nodeName": "old" }));
        add("c1").ok();
        node.set_defaults(&json!({ "nodeName": "node-1" }));
        assert_eq!(add("c2").address(), "10.1.0.5/24");
        network.del("c1").ok();
        assert_eq!(holder_of_the_address(node).as_deref(), Some("c2/eth0"));
        network.del("c2").ok();
        assert_eq!(node.held(), []);
    });
}

#[test]
fn a_container_of_no_pod_leaves_no_link_and_gc_removes_one_that_leads_nowhere() {
    let node = embedded();
    let network = node.network(json!({ "subnet": "10.1.0.0/24" })).with(json!({ "cniVersion": "1.1.0" }));
    network.call("ADD", "podman").args("K8S_POD_NAME=x").run().ok();
    assert!(!node.path("records/node-1/sandboxes").exists());
    network.call("ADD", "c1").args(POD).run().ok();
    // As 0.3.0 leaves it, which knows of no links.
    fs::remove_file(record_of(&node, "c1")).unwrap();
    gc(&node, &network, &json!([])).ok();
    assert_eq!(node.sandboxes(), [""; 0]);
}

#[test]
fn without_room_for_a_link_a_pod_gets_its_address_all_the_same() {
    let node = embedded();
    let network = node.network(json!({ "subnet": "10.1.0.0/24" }));
    fs::create_dir_all(node.path("records/node-1")).unwrap();
    fs::write(node.path("records/node-1/sandboxes"), "a file").unwrap();
    network.call("ADD", "c1").args(POD).run().ok();
    assert!(node.log().contains("a later sandbox of this pod will not find"), "{}", node.log());
    network.del("c1").ok();
    assert_eq!((node.held(), node.records()), (vec![], vec![]));
}

// ---- GC ----

/// A GC call with this list of valid attachments.
fn gc(node: &Node, network: &Network<'_>, valid: &Value) -> Reply {
    let keys = json!({ "cniVersion": "1.1.0", "cni.dev/valid-attachments": valid });
    node.call("GC").config(&network.with(keys).config).run()
}

/// A machine where c1 has the only address, in a namespace that is gone.
fn abandoned(node: &Node) -> Network<'_> {
    let network = single(node);
    let netns = node.path("netns");
    File::create(&netns).unwrap();
    network.call("ADD", "c1").netns(&netns).run().ok();
    fs::remove_file(&netns).unwrap();
    network
}

#[test]
fn gc_collects_on_three_grounds_together() {
    on_each_store("gc_collects_on_three_grounds_together", |node| {
        // To libcni an empty list and null are the same.
        for nobody in [json!([]), json!(null)] {
            let network = abandoned(node);
            gc(node, &network, &nobody).ok();
            assert_eq!((node.held(), node.records()), (vec![], vec![]));
        }
    });
}

#[test]
fn gc_keeps_a_container_that_is_listed_with_another_interface() {
    let node = embedded();
    let network = abandoned(&node);
    gc(&node, &network, &json!([{ "containerID": "c1", "ifname": "net7" }])).ok();
    assert_eq!(holder_of_the_address(&node).as_deref(), Some("c1/eth0"));
}

#[test]
fn gc_keeps_everything_when_there_is_no_list() {
    let node = embedded();
    let network = abandoned(&node).with(json!({ "cniVersion": "1.1.0" }));
    node.call("GC").config(&network.config).run().ok();
    assert_eq!(holder_of_the_address(&node).as_deref(), Some("c1/eth0"));
}

#[test]
fn gc_keeps_what_this_node_has_no_record_of() {
    let node = embedded();
    let network = abandoned(&node);
    fs::remove_file(record_of(&node, "c1")).unwrap();
    gc(&node, &network, &json!([])).ok();
    assert_eq!(holder_of_the_address(&node).as_deref(), Some("c1/eth0"));
}

#[test]
fn gc_keeps_another_network_s() {
    let node = embedded();
    let network = abandoned(&node);
    gc(&node, &network.with(json!({ "name": "green" })), &json!([])).ok();
    assert_eq!(holder_of_the_address(&node).as_deref(), Some("c1/eth0"));
}

#[test]
fn gc_keeps_a_namespace_that_is_there_until_the_node_has_booted_anew() {
    on_each_store("gc_keeps_a_namespace_that_is_there_until_the_node_has_booted_anew", |node| {
        let network = single(node);
        let netns = node.path("netns");
        File::create(&netns).unwrap();
        in_boot(node, "boot-1", network.call("ADD", "c1").netns(&netns)).run().ok();
        let config = network.with(json!({ "cniVersion": "1.1.0", "cni.dev/valid-attachments": [] })).config;
        let gc = |boot| in_boot(node, boot, node.call("GC").config(&config)).run().ok();
        gc("boot-1");
        assert_eq!(holder_of_the_address(node).as_deref(), Some("c1/eth0"));
        gc("boot-2");
        assert_eq!((node.held(), node.records()), (vec![], vec![]));
    });
}

#[test]
fn gc_collects_when_another_namespace_has_taken_the_path() {
    let node = embedded();
    let network = single(&node);
    let (netns, other) = (node.path("netns"), node.path("other"));
    for file in [&netns, &other] {
        File::create(file).unwrap();
    }
    network.call("ADD", "c1").netns(&netns).run().ok();
    fs::rename(other, netns).unwrap();
    gc(&node, &network, &json!([])).ok();
    assert_eq!(node.held(), []);
}

#[test]
fn gc_names_what_it_could_not_collect() {
    with_each_fault("gc_names_what_it_could_not_collect", |node, fault| {
        node.set_defaults(&json!({ "timeout": "1s" }));
        let network = abandoned(node);
        fault.begin();
        let reply = gc(node, &network, &json!([])).refused();
        fault.end();
        assert_eq!(reply.code(), 11, "{}", reply.stdout);
        assert!(reply.text().contains("c1"), "{}", reply.text());
        node.set_defaults(&json!({}));
        gc(node, &network, &json!([])).ok();
        assert_eq!(node.held(), []);
    });
}

// ---- One call at a time for an attachment ----

/// The lock of the embedded store's writers, held until it is dropped.
fn hold_up_the_store(node: &Node) -> File {
    let lock = File::open(node.path("addresses/kube-ipam.lock")).unwrap();
    lock.lock().unwrap();
    lock
}

#[test]
fn a_call_that_is_killed_while_it_has_the_lock_blocks_no_other() {
    let node = embedded();
    let network = single(&node);
    network.add("c9").ok();
    network.del("c9").ok();
    let store = hold_up_the_store(&node);
    let mut killed = network.call("ADD", "c1").spawn();
    wait_until("the ADD has its lock and waits for the store", || {
        fs::read_to_string(record_of(&node, "c1")).is_ok_and(|record| record.ends_with('\n'))
    });
    killed.kill();
    killed.wait();
    store.unlock().unwrap();
    let began = Instant::now();
    assert_eq!(network.add("c1").address(), "10.1.0.5/24");
    network.del("c1").ok();
    assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
    assert_eq!((node.held(), node.records()), (vec![], vec![]));
}

#[test]
fn a_del_waits_for_the_add_of_its_attachment() {
    let node = embedded();
    let network = single(&node);
    network.add("c9").ok();
    network.del("c9").ok();
    let store = hold_up_the_store(&node);
    let add = network.call("ADD", "c1").spawn();
    wait_until("the ADD has its lock and waits for the store", || {
        fs::read_to_string(record_of(&node, "c1")).is_ok_and(|record| record.ends_with('\n'))
    });
    let del = network.call("DEL", "c1").spawn();
    store.unlock().unwrap();
    assert_eq!(add.wait().address(), "10.1.0.5/24");
    del.wait().ok();
    assert_eq!((node.held(), node.records()), (vec![], vec![]));
}
