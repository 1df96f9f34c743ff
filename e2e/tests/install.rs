//! `kube-ipam install` by the real binary: a pod's mounts as the kubelet changes them, an API server that plays its part,
//! signals, and kills.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test's verdict is a panic")]

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::thread;

use kube_ipam_e2e::cni::Call;
use kube_ipam_e2e::{binary, skip, wait_until};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;

/// A node, and what is mounted into the installer's pod there.
struct Machine {
    dir: TempDir,
    server: String,
}

impl Machine {
    fn new(server: &ApiServer) -> Self {
        let dir = tempfile::Builder::new().prefix("kube-ipam-").tempdir().unwrap();
        let machine = Self { dir, server: server.url.clone() };
        let authority = rcgen::generate_simple_self_signed(["api".to_owned()]).unwrap().cert.pem();
        machine.mount("account", &[("token", "first"), ("ca.crt", &authority)]);
        machine.mount("etcd", &[("tls.crt", "1"), ("tls.key", "1")]);
        machine.defaults(&json!({ "etcdConfig": { "etcdURL": "https://192.0.2.50:2379" } }).to_string());
        machine
    }

    fn path(&self, path: &str) -> PathBuf {
        self.dir.path().join(path)
    }

    fn read(&self, path: &str) -> String {
        fs::read_to_string(self.path(path)).unwrap_or_default()
    }

    fn defaults(&self, text: &str) {
        self.mount("defaults", &[("kube-ipam.json", text)]);
    }

    /// Mounts a volume, or changes it, as the kubelet does: all files change by the rename of one link.
    fn mount(&self, volume: &str, files: &[(&str, &str)]) {
        let folder = self.path(volume);
        let generation = tempfile::Builder::new().prefix("..").tempdir_in({
            fs::create_dir_all(&folder).unwrap();
            &folder
        });
        let generation = generation.unwrap().keep();
        for (name, content) in files {
            fs::write(generation.join(name), content).unwrap();
            if fs::symlink_metadata(folder.join(name)).is_err() {
                symlink(Path::new("..data").join(name), folder.join(name)).unwrap();
            }
        }
        symlink(generation.file_name().unwrap(), folder.join("..data_tmp")).unwrap();
        fs::rename(folder.join("..data_tmp"), folder.join("..data")).unwrap();
    }

    fn renew_token(&self, token: &str) {
        let authority = self.read("account/ca.crt");
        self.mount("account", &[("token", token), ("ca.crt", &authority)]);
    }

    /// The installer's command line, behind another program's.
    fn command(&self, before: &[&str], more: &[&str]) -> Command {
        let program = binary::kube_ipam().to_str().unwrap();
        let words = [before, &[program, "install"]].concat();
        let mut command = Command::new(words[0]);
        let option = |name: &str, path: &str| format!("--{name}={}", self.path(path).display());
        command
            .args(&words[1..])
            .args([option("bin-dir", "bin"), option("config-dir", "config"), option("service-account", "account")])
            .args([option("defaults", "defaults/kube-ipam.json"), option("etcd-secret", "etcd")])
            .arg(format!("--server={}", self.server))
            .args(more)
            .env("NODE_NAME", "worker-1")
            .env_remove("CNI_COMMAND")
            .stdin(Stdio::null());
        command
    }

    fn run(&self, more: &[&str]) -> Output {
        self.command(&[], more).output().unwrap()
    }

    fn token(&self) -> String {
        let kubeconfig: Value = serde_json::from_str(&self.read("config/kubeconfig")).unwrap_or_default();
        kubeconfig["users"][0]["user"]["token"].as_str().unwrap_or_default().to_owned()
    }

    fn installed_defaults(&self) -> Value {
        serde_json::from_str(&self.read("config/kube-ipam.json")).unwrap()
    }

    fn said(&self, output: &Output) -> String {
        let text = String::from_utf8_lossy(&[output.stdout.as_slice(), &output.stderr].concat()).into_owned();
        text.replace(self.dir.path().to_str().unwrap(), "").replace(&self.server, "<server>")
    }
}

/// The answers of an API server by path: a status and a body; without one, it hangs up.
type Answers = Arc<Mutex<BTreeMap<&'static str, (u16, Value)>>>;

const KUBE_SYSTEM: &str = "/api/v1/namespaces/kube-system";
const NODE: &str = "/api/v1/nodes/worker-1";

/// An API server that records what it was asked.
struct ApiServer {
    url: String,
    asked: Receiver<String>,
    answers: Answers,
}

impl ApiServer {
    fn new(answers: impl IntoIterator<Item = (&'static str, (u16, Value))>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (tell, asked) = channel();
        let answers: Answers = Arc::new(Mutex::new(answers.into_iter().collect()));
        let given = Arc::clone(&answers);
        thread::spawn(move || {
            for connection in listener.incoming() {
                let mut connection = connection.unwrap();
                let lines = BufReader::new(&connection).lines().map_while(Result::ok);
                let head: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
                let _ = tell.send(head.join("\n"));
                let path = head.first().and_then(|line| line.split(' ').nth(1)).unwrap_or_default();
                let Some((status, body)) = given.lock().unwrap().get(path).cloned() else { continue };
                let body = body.to_string();
                let length = body.len();
                let head =
                    format!("HTTP/1.1 {status} Said\r\ncontent-type: application/json\r\ncontent-length: {length}");
                let _ = connection.write_all(format!("{head}\r\nconnection: close\r\n\r\n{body}").as_bytes());
            }
        });
        Self { url, asked, answers }
    }

    /// Knows the namespace kube-system and the node, which has no labels.
    fn of_a_cluster() -> Self {
        Self::new([(KUBE_SYSTEM, kube_system()), (NODE, node(&json!({}), 1))])
    }

    fn answers(&self, path: &'static str, answer: (u16, Value)) {
        self.answers.lock().unwrap().insert(path, answer);
    }

    fn hangs_up_on(&self, path: &str) {
        self.answers.lock().unwrap().remove(path);
    }

    /// How often the node was asked for since the last time.
    fn asked_for_node(&self) -> usize {
        self.asked.try_iter().filter(|head| head.starts_with(&format!("GET {NODE} "))).count()
    }
}

fn metadata(metadata: Value) -> (u16, Value) {
    (200, json!({ "apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata", "metadata": metadata }))
}

fn kube_system() -> (u16, Value) {
    metadata(json!({ "name": "kube-system", "uid": "5b1b0f0e-cluster" }))
}

/// The node with these labels, after so many heartbeats.
fn node(labels: &Value, heartbeats: u32) -> (u16, Value) {
    metadata(json!({ "name": "worker-1", "uid": "n-1", "labels": labels, "resourceVersion": heartbeats.to_string() }))
}

fn forbidden(object: &str) -> (u16, Value) {
    let message = format!("{object} is forbidden: User \"system:serviceaccount:kube-ipam:kube-ipam\" cannot get");
    (403, json!({ "kind": "Status", "apiVersion": "v1", "reason": "Forbidden", "code": 403, "message": message }))
}

/// A running installer; it is killed when this is dropped.
struct Watching(Child);

impl Watching {
    /// What it says on standard error ends in this file.
    fn start(mut command: Command, said: &Path) -> Self {
        Self(command.stdout(Stdio::null()).stderr(File::create(said).unwrap()).spawn().unwrap())
    }

    fn terminate(&mut self, process: Pid) -> Option<i32> {
        kill_process(process, Signal::TERM).unwrap();
        self.0.wait().unwrap().code()
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_pass_puts_everything_there_and_asks_the_api_server_for_one_namespace_and_its_node() {
    let server = ApiServer::of_a_cluster();
    let machine = Machine::new(&server);
    let output = machine.run(&[]);
    insta::assert_snapshot!(machine.said(&output), @r"
    wrote /config/kubeconfig
    wrote /config/etcd
    wrote /config/kube-ipam.json
    wrote /bin/kube-ipam
    ");
    assert_eq!(output.status.code(), Some(0));
    let asked = server.asked.recv().unwrap().to_ascii_lowercase();
    assert!(asked.starts_with("get /api/v1/namespaces/kube-system "), "{asked}");
    assert!(asked.contains("authorization: bearer first"), "{asked}");
    let asked = server.asked.recv().unwrap().to_ascii_lowercase();
    assert!(asked.starts_with("get /api/v1/nodes/worker-1 "), "{asked}");
    assert!(asked.contains("as=partialobjectmetadata"), "{asked}");
    assert!(server.asked.try_recv().is_err());
    assert_eq!(machine.installed_defaults()["cluster"], "5b1b0f0e-cluster");
    assert_eq!(machine.installed_defaults()["nodeName"], "worker-1");
    assert_eq!(machine.installed_defaults()["nodeLabels"], json!({}));
    assert!(fs::read(machine.path("bin/kube-ipam")).unwrap() == fs::read(binary::kube_ipam()).unwrap());
    assert_eq!(machine.run(&["--check"]).status.code(), Some(0));
    assert_eq!(machine.said(&machine.run(&[])), "");
}

#[test]
fn a_pass_reads_the_program_anew_from_the_disk_and_a_probe_does_not() {
    if !kube_ipam_e2e::trace::works_or_skip("a_pass_reads_the_program_anew_from_the_disk_and_a_probe_does_not") {
        return;
    }
    let machine = Machine::new(&ApiServer::of_a_cluster());
    assert_eq!(machine.run(&[]).status.code(), Some(0));
    let list = machine.path("strace");
    let dropped = |more: &[&str]| {
        let strace = ["strace", "-f", "--trace=fadvise64", "-o", list.to_str().unwrap()];
        assert_eq!(machine.command(&strace, more).output().unwrap().status.code(), Some(0));
        fs::read_to_string(&list).unwrap().matches("POSIX_FADV_DONTNEED").count()
    };
    assert_eq!((dropped(&[]), dropped(&["--check"])), (1, 0));
}

#[test]
fn what_an_api_server_refuses_is_reported_and_no_program_comes_before_its_defaults() {
    let machine = Machine::new(&ApiServer::new([(KUBE_SYSTEM, forbidden("namespaces \"kube-system\""))]));
    let output = machine.run(&[]);
    insta::assert_snapshot!(machine.said(&output), @r"
    wrote /config/kubeconfig
    kube-ipam: can't tell which cluster this is: the API server <server> does not allow user system:serviceaccount:kube-ipam:kube-ipam to get namespace kube-system
    ");
    assert_eq!(output.status.code(), Some(1));
    assert!(!machine.path("bin").exists() && !machine.path("config/kube-ipam.json").exists());
    let output = machine.run(&["--check"]);
    insta::assert_snapshot!(machine.said(&output), @"kube-ipam: not on the node as it should be: /config/etcd, /config/kube-ipam.json, /bin/kube-ipam");
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn a_watch_follows_every_mount_and_ends_at_once_on_sigterm() {
    let machine = Machine::new(&ApiServer::of_a_cluster());
    let mut watching = Watching::start(machine.command(&[], &["--watch", "--interval=100ms"]), &machine.path("said"));
    wait_until("the program is there", || machine.path("bin/kube-ipam").exists());
    machine.renew_token("second");
    wait_until("the kubeconfig has the new token", || machine.token() == "second");
    machine.mount("etcd", &[("tls.crt", "2"), ("tls.key", "2")]);
    wait_until("the new key is there", || machine.read("config/etcd/tls.key") == "2");
    // A broken file keeps nothing else back, and does not end the watch.
    machine.defaults("{");
    wait_until("the mistake is said", || machine.read("said").contains("is not a JSON object"));
    machine.renew_token("third");
    wait_until("the kubeconfig has the third token", || machine.token() == "third");
    assert_eq!(machine.installed_defaults()["cluster"], "5b1b0f0e-cluster");
    machine.defaults(r#"{ "store": "embedded" }"#);
    wait_until("the defaults are the new ones", || machine.installed_defaults()["store"] == "embedded");
    let process = Pid::from_child(&watching.0);
    assert_eq!(watching.terminate(process), Some(0));
    assert_eq!(machine.read("said").matches("is not a JSON object").count(), 1, "{}", machine.read("said"));
}

/// Follows the labels of the node, and says what it wrote.
fn follow_labels(machine: &Machine) -> Watching {
    Watching::start(machine.command(&[], &["--watch", "--interval=100ms"]), &machine.path("said"))
}

#[test]
fn a_watch_follows_the_labels_of_its_node_and_a_heartbeat_rewrites_nothing() {
    let server = ApiServer::of_a_cluster();
    let machine = Machine::new(&server);
    let zone = |zone: &str| json!({ "topology.kubernetes.io/zone": zone, "kubernetes.io/hostname": "worker-1" });
    let labels = |machine: &Machine| machine.installed_defaults()["nodeLabels"].clone();
    server.answers(NODE, node(&zone("a"), 1));
    let _watching = follow_labels(&machine);
    wait_until("the program is there", || machine.path("bin/kube-ipam").exists());
    assert_eq!(labels(&machine), json!({ "topology.kubernetes.io/zone": "a" }));
    let stamp = || {
        let found = fs::metadata(machine.path("config/kube-ipam.json")).unwrap();
        (found.ino(), found.ctime(), found.ctime_nsec(), machine.read("config/kube-ipam.json"))
    };
    let before = stamp();
    for heartbeat in 2..5 {
        let mut beating = zone("a");
        beating["test/heartbeat"] = json!(heartbeat.to_string());
        server.answers(NODE, node(&beating, heartbeat));
        server.asked_for_node();
        wait_until("the heartbeat was seen", || server.asked_for_node() > 0);
    }
    // The pass that has seen the last one is over once the next one asks.
    wait_until("the next pass asks", || server.asked_for_node() > 0);
    assert_eq!(stamp(), before);
    server.answers(NODE, node(&zone("b"), 5));
    wait_until("the defaults have the new label", || labels(&machine) == json!({ "topology.kubernetes.io/zone": "b" }));
    assert_eq!(machine.read("said"), "");
}

#[test]
fn while_the_node_cannot_be_read_its_labels_stay_and_the_reason_is_reported_once() {
    let server = ApiServer::of_a_cluster();
    let machine = Machine::new(&server);
    server.answers(NODE, node(&json!({ "topology.kubernetes.io/zone": "a" }), 1));
    assert_eq!(machine.run(&[]).status.code(), Some(0));
    let installed = machine.read("config/kube-ipam.json");
    server.hangs_up_on(NODE);
    let _watching = follow_labels(&machine);
    wait_until("the reason is said", || !machine.read("said").is_empty());
    machine.renew_token("second");
    wait_until("the kubeconfig has the new token", || machine.token() == "second");
    server.asked_for_node();
    wait_until("it has asked twice more", {
        let mut asked = 0;
        move || {
            asked += server.asked_for_node();
            asked > 1
        }
    });
    assert_eq!(machine.read("config/kube-ipam.json"), installed);
    let said = machine.read("said");
    assert!(said.starts_with("kube-ipam: nodeLabels of node worker-1 stay as they are: "), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
    assert_eq!(machine.run(&["--check"]).status.code(), Some(0));
}

#[test]
fn an_installer_that_may_not_read_its_node_names_the_right_and_installs_all_else() {
    let server = ApiServer::of_a_cluster();
    let machine = Machine::new(&server);
    server.answers(NODE, forbidden("nodes \"worker-1\""));
    let output = machine.run(&[]);
    insta::assert_snapshot!(machine.said(&output), @r#"
    wrote /config/kubeconfig
    wrote /config/etcd
    wrote /config/kube-ipam.json
    wrote /bin/kube-ipam
    kube-ipam: nodeLabels of node worker-1 stay as they are (grant apiGroups [""], resources ["nodes"], verbs ["get"]; if no range has a nodeSelector, install with --node-labels= instead): the API server <server> does not allow user system:serviceaccount:kube-ipam:kube-ipam to get node worker-1
    "#);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(machine.installed_defaults()["nodeLabels"], Value::Null);
    assert_eq!(machine.run(&["--check"]).status.code(), Some(0));
    server.asked_for_node();
    let output = machine.run(&["--node-labels="]);
    assert_eq!((machine.said(&output).as_str(), output.status.code(), server.asked_for_node()), ("", Some(0), 0));
}

#[test]
fn of_two_pods_on_a_node_the_later_one_writes_until_it_is_killed() {
    let machine = Machine::new(&ApiServer::of_a_cluster());
    let watch = |pod: &str| {
        let mut command = machine.command(&[], &["--watch", "--interval=100ms"]);
        command.env("POD_UID", pod);
        Watching::start(command, &machine.path(pod))
    };
    let _old = watch("old");
    wait_until("the program is there", || machine.path("bin/kube-ipam").exists());
    // Both pods have mounts of their own; here they are one and the same, and what the old one wrote is spoiled instead.
    let mut new = watch("new");
    wait_until("the old one says why it stops", || machine.read("old").contains("came to this node after this one"));
    for _ in 0..3 {
        fs::remove_file(machine.path("config/kubeconfig")).unwrap();
        wait_until("the kubeconfig is there again", || machine.path("config/kubeconfig").exists());
    }
    new.0.kill().unwrap();
    new.0.wait().unwrap();
    fs::remove_file(machine.path("config/kubeconfig")).unwrap();
    wait_until("the old one has written the kubeconfig", || machine.path("config/kubeconfig").exists());
    assert_eq!(machine.read("new"), "");
    assert_eq!(machine.read("old").lines().count(), 1, "{}", machine.read("old"));
}

/// So that the first process of a namespace of processes, as that of a container, gets SIGTERM.
#[test]
fn the_first_process_of_a_container_ends_on_sigterm() {
    let unshare = ["unshare", "--pid", "--fork", "--kill-child"];
    if !Command::new(unshare[0]).args(&unshare[1..]).arg("true").status().is_ok_and(|status| status.success()) {
        return skip("the_first_process_of_a_container_ends_on_sigterm", "no namespace of processes here");
    }
    let machine = Machine::new(&ApiServer::of_a_cluster());
    let mut watching = Watching::start(machine.command(&unshare, &["--watch"]), &machine.path("said"));
    wait_until("the program is there", || machine.path("bin/kube-ipam").exists());
    let parent = watching.0.id();
    let children = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).unwrap();
    let first = Pid::from_raw(children.trim().parse().unwrap()).unwrap();
    assert_eq!(watching.terminate(first), Some(0));
}

#[test]
fn a_folder_that_can_only_be_read_is_named() {
    let read_only = "mount -t tmpfs -o ro kube-ipam \"$0\" && exec \"$@\"";
    let machine = Machine::new(&ApiServer::of_a_cluster());
    fs::create_dir(machine.path("bin")).unwrap();
    let folder = machine.path("bin").display().to_string();
    let mount = ["unshare", "--mount", "sh", "-c", read_only, &folder];
    if !Command::new(mount[0]).args(&mount[1..]).arg("true").status().is_ok_and(|status| status.success()) {
        return skip("a_folder_that_can_only_be_read_is_named", "no mounts here");
    }
    let output = machine.command(&mount, &[]).output().unwrap();
    insta::assert_snapshot!(machine.said(&output), @r"
    wrote /config/kubeconfig
    wrote /config/etcd
    wrote /config/kube-ipam.json
    kube-ipam: can't write /bin/kube-ipam (the node's folder must be mounted there, and writable): Read-only file system (os error 30)
    ");
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn a_store_does_not_change_under_a_pod_unless_told_so() {
    let machine = Machine::new(&ApiServer::of_a_cluster());
    let state = machine.path("state");
    let defaults = |store: &str| json!({ "store": store, "dataDir": machine.path("data"), "stateDir": state });
    machine.defaults(&defaults("embedded").to_string());
    assert_eq!(machine.run(&[]).status.code(), Some(0));
    let call = |verb: &str| {
        let config = json!({
            "cniVersion": "1.0.0", "name": "net", "type": "macvlan",
            "ipam": { "type": "kube-ipam", "subnet": "10.1.0.0/24" },
        });
        let call = Call::new(&machine.path("bin/kube-ipam"), verb).container("c-1").ifname("net1").netns("/netns");
        call.env("CNI_PATH", machine.path("bin"))
            .env("KUBE_IPAM_CONFIG", machine.path("config/kube-ipam.json"))
            .config(&config)
            .run()
    };
    call("ADD").ok();

    machine.defaults(&defaults("kubernetes").to_string());
    let refused = machine.run(&[]);
    insta::assert_snapshot!(machine.said(&refused), @"kube-ipam: the new defaults name another store, which would assign the addresses of running pods again (interfaces on this node: 1, such as that of container c-1); keep the store, drain the node first, or add --change-store if the new one has these addresses; present store: SQLite in /data; new store: the Kubernetes API, namespace kube-ipam; /config/kube-ipam.json stays as it is");
    assert_eq!((refused.status.code(), machine.run(&["--check"]).status.code()), (Some(1), Some(1)));
    assert_eq!(machine.installed_defaults()["store"], "embedded");
    // Once its addresses are released, or by decision of an operator, it may.
    assert_eq!(machine.run(&["--change-store"]).status.code(), Some(0));
    machine.defaults(&defaults("embedded").to_string());
    assert_eq!(machine.run(&[]).status.code(), Some(0), "the pod's addresses are there");
    call("DEL").ok();
    machine.defaults(&defaults("kubernetes").to_string());
    assert_eq!(machine.run(&[]).status.code(), Some(0));
    assert_eq!(machine.installed_defaults()["store"], "kubernetes");
}

/// The calls that change what a reader of a folder finds, or what a power cut leaves.
const STEPS: [&str; 5] = ["fsync", "symlink", "rename", "unlink", "copy_file_range"];

#[test]
fn a_killed_installer_leaves_the_old_or_the_new_and_the_next_one_finishes() {
    if !kube_ipam_e2e::trace::works_or_skip("a_killed_installer_leaves_the_old_or_the_new_and_the_next_one_finishes") {
        return;
    }
    let server = ApiServer::of_a_cluster();
    let program = fs::metadata(binary::kube_ipam()).unwrap().len();
    let mut killed = 0;
    for step in STEPS {
        for nth in 1.. {
            let machine = Machine::new(&server);
            assert_eq!(machine.run(&[]).status.code(), Some(0));
            fs::remove_file(machine.path("bin/kube-ipam")).unwrap();
            fs::write(machine.path("bin/kube-ipam"), "old").unwrap();
            let old = machine.installed_defaults();
            machine.renew_token("second");
            machine.mount("etcd", &[("ca.crt", "2"), ("tls.crt", "2"), ("tls.key", "2")]);

            let inject = format!("--inject={step}:signal=KILL:when={nth}");
            let trace = format!("--trace={step}");
            let strace = ["strace", "-f", "--signal=none", "-o", "/dev/null", &trace, &inject];
            let status = machine.command(&strace, &[]).stderr(Stdio::null()).stdout(Stdio::null()).status();
            let finished = status.unwrap().code().is_some();

            let at = format!("{step} {nth}");
            assert!(["first", "second"].contains(&machine.token().as_str()), "{at}");
            let [certificate, key] = ["crt", "key"].map(|name| machine.read(&format!("config/etcd/tls.{name}")));
            assert!(certificate == key && ["1", "2"].contains(&key.as_str()), "{at}: {certificate} {key}");
            let defaults = machine.installed_defaults();
            assert!(defaults == old || defaults["etcdConfig"].get("etcdTrustedCAFile").is_some(), "{at}: {defaults}");
            let length = fs::metadata(machine.path("bin/kube-ipam")).unwrap().len();
            assert!([3, program].contains(&length), "{at}: {length} bytes");
            if finished {
                break;
            }
            killed += 1;
            let output = machine.run(&[]);
            assert_eq!(output.status.code(), Some(0), "{at}: {}", machine.said(&output));
            assert_eq!(
                (machine.token(), machine.read("config/etcd/ca.crt")),
                ("second".to_owned(), "2".to_owned()),
                "{at}"
            );
            let unfinished = ["bin", "config"].map(|folder| fs::read_dir(machine.path(folder)).unwrap());
            let mut names = unfinished.into_iter().flatten().map(|entry| entry.unwrap().file_name());
            assert!(!names.any(|name| name.to_string_lossy().ends_with(".new")), "{at}");
        }
    }
    assert!(killed >= 10, "only {killed} kills");
}
