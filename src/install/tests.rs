#![allow(clippy::unwrap_used, clippy::panic, reason = "a test's verdict is a panic")]

mod labels;
mod store_change;

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use insta::assert_snapshot;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{ClusterLookup, InstallError, InstallReport, Installer, LabelPrefixes, Sources, Targets, server};
use crate::cause::chain;
use crate::cluster::ClusterError;
use crate::ipam::name::Name;

/// The mounts of a pod and the folders of a node.
struct Machine {
    dir: TempDir,
}

impl Machine {
    /// With a service account, and defaults that use etcd.
    fn new() -> Self {
        let machine = Self { dir: tempfile::Builder::new().prefix("kube-ipam-").tempdir().unwrap() };
        machine.mount("account", &[("token", "first"), ("ca.crt", "authority"), ("namespace", "kube-ipam")]);
        machine.mount("etcd", &[]);
        machine.defaults(&json!({ "etcdConfig": { "etcdURL": "https://192.0.2.50:2379" } }).to_string());
        fs::write(machine.path("program"), "the program").unwrap();
        machine
    }

    fn path(&self, path: &str) -> PathBuf {
        self.dir.path().join(path)
    }

    fn defaults(&self, text: &str) {
        self.mount("defaults", &[("kube-ipam.json", text)]);
    }

    /// Mounts or changes a volume as the kubelet does: the rename of one link changes all files at once.
    fn mount(&self, volume: &str, files: &[(&str, &str)]) {
        let folder = self.path(volume);
        fs::create_dir_all(&folder).unwrap();
        let old = fs::read_link(folder.join("..data")).ok();
        let new = if old.as_deref() == Some(Path::new("..1")) { "..2" } else { "..1" };
        fs::create_dir(folder.join(new)).unwrap();
        for (name, content) in files {
            fs::write(folder.join(new).join(name), content).unwrap();
        }
        symlink(new, folder.join("..data_tmp")).unwrap();
        fs::rename(folder.join("..data_tmp"), folder.join("..data")).unwrap();
        for (name, _) in files.iter().filter(|(name, _)| fs::symlink_metadata(folder.join(name)).is_err()) {
            symlink(Path::new("..data").join(name), folder.join(name)).unwrap();
        }
        if let Some(old) = old {
            fs::remove_dir_all(folder.join(old)).unwrap();
        }
    }

    fn installer(&self) -> Installer {
        let sources = Sources {
            program: self.path("program"),
            account: self.path("account"),
            server: "https://192.0.2.10:6443".to_owned(),
            defaults: Some(self.path("defaults/kube-ipam.json")),
            etcd: Some(self.path("etcd")),
            node: Some(Name::new("worker-1").unwrap()),
            host: None,
            labels: LabelPrefixes::default(),
            may_change_store: false,
        };
        Installer::new(sources, Targets { programs: self.path("bin"), config: self.path("config") })
    }

    /// An installer that keeps running in the pod with this UID.
    fn with_generation(&self, pod: &str) -> Installer {
        self.installer().with_generation(Some(Name::new(pod).unwrap()))
    }

    /// The node's files with their modes, and the targets of its links.
    fn node(&self) -> String {
        let mut lines = Vec::new();
        let mut folders = vec![self.path("bin"), self.path("config")];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).into_iter().flatten() {
                let path = entry.unwrap().path();
                let found = fs::symlink_metadata(&path).unwrap();
                let name = path.strip_prefix(self.dir.path()).unwrap().display().to_string();
                if found.is_symlink() {
                    lines.push(format!("{name} -> {}", fs::read_link(&path).unwrap().display()));
                } else {
                    lines.push(format!("{name} {:o}", found.mode() & 0o777));
                }
                if found.is_dir() {
                    folders.push(path);
                }
            }
        }
        lines.sort();
        lines.join("\n")
    }

    fn read(&self, path: &str) -> String {
        fs::read_to_string(self.path(path)).unwrap()
    }

    fn installed_defaults(&self) -> Value {
        serde_json::from_str(&self.read("config/kube-ipam.json").replace(self.dir.path().to_str().unwrap(), ""))
            .unwrap()
    }

    fn token(&self) -> String {
        let kubeconfig: Value = serde_json::from_str(&self.read("config/kubeconfig")).unwrap();
        kubeconfig["users"][0]["user"]["token"].as_str().unwrap().to_owned()
    }

    /// The text of an error, with short paths.
    fn text(&self, error: &InstallError) -> String {
        chain(error).to_string().replace(self.dir.path().to_str().unwrap(), "")
    }
}

/// A cluster whose nodes have no labels.
struct Cluster;

impl ClusterLookup for Cluster {
    fn identity(&self, _: &Path) -> Result<Name, InstallError> {
        Ok(Name::new("0c2f9a44-kube-system").unwrap())
    }

    fn node_labels(&self, _: &Path, _: &Name) -> Result<BTreeMap<String, String>, ClusterError> {
        Ok(BTreeMap::new())
    }
}

/// Fails the test if the API server is used.
struct AskNobody;

impl ClusterLookup for AskNobody {
    fn identity(&self, _: &Path) -> Result<Name, InstallError> {
        panic!("the cluster has its name")
    }

    fn node_labels(&self, _: &Path, _: &Name) -> Result<BTreeMap<String, String>, ClusterError> {
        panic!("no labels are wanted")
    }
}

/// An API server that does not return the cluster's identity.
struct Unknown;

impl ClusterLookup for Unknown {
    fn identity(&self, _: &Path) -> Result<Name, InstallError> {
        Err(InstallError::NoServer)
    }

    fn node_labels(&self, _: &Path, _: &Name) -> Result<BTreeMap<String, String>, ClusterError> {
        Ok(BTreeMap::new())
    }
}

/// The names of what a successful pass has written.
#[track_caller]
fn written(installer: &mut Installer) -> Vec<String> {
    let mut report = InstallReport::default();
    installer.reconcile(&Cluster, &mut report).unwrap();
    names(&report)
}

fn names(report: &InstallReport) -> Vec<String> {
    report.written.iter().map(|path| path.file_name().unwrap().to_str().unwrap().to_owned()).collect()
}

#[test]
fn a_new_node_gets_all_of_it_and_the_program_last() {
    let machine = Machine::new();
    machine.mount("etcd", &[("ca.crt", "ca"), ("tls.crt", "certificate"), ("tls.key", "key")]);
    let mut installer = machine.installer();
    assert_eq!(written(&mut installer), ["kubeconfig", "etcd", "kube-ipam.json", "kube-ipam"]);
    assert_snapshot!(machine.node(), @r"
    bin/kube-ipam 755
    config/.etcd.a 700
    config/.etcd.a/ca.crt 600
    config/.etcd.a/tls.crt 600
    config/.etcd.a/tls.key 600
    config/etcd -> .etcd.a
    config/install.lock 600
    config/kube-ipam.json 600
    config/kubeconfig 600
    ");
    assert_eq!(machine.read("bin/kube-ipam"), "the program");
    assert_eq!(written(&mut installer), [""; 0], "what is right is not touched");
    assert_eq!(written(&mut machine.installer()), [""; 0], "nor by another process");
}

#[test]
fn the_kubeconfig_holds_the_token_and_the_authority_of_the_service_account() {
    let machine = Machine::new();
    written(&mut machine.installer());
    let kubeconfig: Value = serde_json::from_str(&machine.read("config/kubeconfig")).unwrap();
    assert_snapshot!(format!("{kubeconfig:#}"), @r#"
    {
      "apiVersion": "v1",
      "kind": "Config",
      "clusters": [
        {
          "name": "cluster",
          "cluster": {
            "server": "https://192.0.2.10:6443",
            "certificate-authority-data": "YXV0aG9yaXR5"
          }
        }
      ],
      "users": [
        {
          "name": "kube-ipam",
          "user": {
            "token": "first"
          }
        }
      ],
      "contexts": [
        {
          "name": "kube-ipam",
          "context": {
            "cluster": "cluster",
            "user": "kube-ipam"
          }
        }
      ],
      "current-context": "kube-ipam"
    }
    "#);
}

#[test]
fn a_rotated_token_is_in_the_kubeconfig_after_the_next_look() {
    let machine = Machine::new();
    let mut installer = machine.installer();
    written(&mut installer);
    machine.mount("account", &[("token", "second\n"), ("ca.crt", "authority"), ("namespace", "kube-ipam")]);
    assert_eq!(written(&mut installer), ["kubeconfig"]);
    assert_eq!(machine.token(), "second");
}

#[test]
fn the_defaults_are_completed_with_what_differs_from_node_to_node() {
    let machine = Machine::new();
    machine.mount(
        "etcd",
        &[("ca.crt", "ca"), ("tls.crt", "c"), ("tls.key", "k"), ("username", "kube-ipam\n"), ("password", "p")],
    );
    written(&mut machine.installer());
    assert_snapshot!(format!("{:#}", machine.installed_defaults()), @r#"
    {
      "etcdConfig": {
        "etcdURL": "https://192.0.2.50:2379",
        "etcdTrustedCAFile": "/config/etcd/ca.crt",
        "etcdCertFile": "/config/etcd/tls.crt",
        "etcdKeyFile": "/config/etcd/tls.key",
        "passwordFile": "/config/etcd/password",
        "username": "kube-ipam"
      },
      "nodeName": "worker-1",
      "kubeConfig": "/config/kubeconfig",
      "cluster": "0c2f9a44-kube-system"
    }
    "#);
    assert_eq!(machine.read("config/etcd/password"), "p");
}

#[test]
fn a_key_that_the_defaults_author_has_set_stays() {
    let machine = Machine::new();
    machine.mount("etcd", &[("ca.crt", "ca")]);
    machine.defaults(
        &json!({
            "NODENAME": "mine", "cluster": "blue", "kubeConfig": "",
            "EtcdConfig": { "etcdURL": "https://etcd:2379", "etcdTrustedCAFileFile": "/pki/ca.crt", "kubeConfig": "/k" },
        })
        .to_string(),
    );
    let mut report = InstallReport::default();
    machine.installer().reconcile(&AskNobody, &mut report).unwrap();
    let expected = json!({
        "NODENAME": "mine", "cluster": "blue", "kubeConfig": "",
        "EtcdConfig": { "etcdURL": "https://etcd:2379", "etcdTrustedCAFileFile": "/pki/ca.crt", "kubeConfig": "/k" },
    });
    assert_eq!(machine.installed_defaults(), expected);
}

#[test]
fn defaults_without_etcd_take_nothing_of_the_secret() {
    let machine = Machine::new();
    machine.mount("etcd", &[("tls.key", "key")]);
    machine.defaults(r#"{ "store": "embedded" }"#);
    assert_eq!(written(&mut machine.installer()), ["kubeconfig", "kube-ipam.json", "kube-ipam"]);
    assert!(!machine.path("config/etcd").exists());
}

#[test]
fn broken_defaults_leave_the_old_ones_and_the_old_program() {
    let machine = Machine::new();
    written(&mut machine.installer());
    let before = machine.read("config/kube-ipam.json");
    fs::write(machine.path("program"), "a newer program").unwrap();
    let mut said = String::new();
    for text in [
        "{",
        "[]",
        r#"{ "etcdConfig": {} }"#,
        r#"{ "etcdConfg": {} }"#,
        r#"{ "store": "embedded", "locked": ["logs"] }"#,
        r#"{ "store": "embedded", "subnet": "10.1.0.0/24", "rangeStart": "10.2.0.1" }"#,
        r#"{ "etcdConfig": { "etcdURL": "https://etcd:2379", "etcdCertFile": "/c" } }"#,
    ] {
        machine.defaults(text);
        let error = machine.installer().reconcile(&Cluster, &mut InstallReport::default()).unwrap_err();
        said += &(machine.text(&error) + "\n");
        assert_eq!(machine.read("config/kube-ipam.json"), before);
        assert_eq!(machine.read("bin/kube-ipam"), "the program");
    }
    assert_snapshot!(said, @r#"
    /defaults/kube-ipam.json is not a JSON object, so the node's file stays as it is: EOF while parsing an object at line 1 column 1
    /defaults/kube-ipam.json is not a JSON object, so the node's file stays as it is: invalid type: sequence, expected a map at line 1 column 0
    /defaults/kube-ipam.json: etcdConfig.etcdURL: missing; name etcd's members, such as "https://192.0.2.50:2379,https://192.0.2.58:2379"; /config/kube-ipam.json stays as it is
    /defaults/kube-ipam.json: etcdConfg: unknown key; did you mean etcdConfig?; /config/kube-ipam.json stays as it is
    /defaults/kube-ipam.json: locked: "logs" is not a key of the ipam block, so it would lock nothing; /config/kube-ipam.json stays as it is
    /defaults/kube-ipam.json: rangeStart: 10.2.0.1 is not in the subnet 10.1.0.0/24; /config/kube-ipam.json stays as it is
    /defaults/kube-ipam.json: etcdConfig.etcdCertFile: needs etcdKeyFile beside it; /config/kube-ipam.json stays as it is
    "#);
}

#[test]
fn broken_defaults_keep_no_token_from_its_renewal() {
    let machine = Machine::new();
    let mut installer = machine.installer();
    written(&mut installer);
    machine.defaults("{");
    machine.mount("account", &[("token", "second"), ("ca.crt", "authority")]);
    let mut report = InstallReport::default();
    installer.reconcile(&Cluster, &mut report).unwrap_err();
    assert_eq!((names(&report), machine.token()), (vec!["kubeconfig".to_owned()], "second".to_owned()));
    machine.defaults(r#"{ "store": "embedded" }"#);
    assert_eq!(written(&mut installer), ["kube-ipam.json"]);
}

#[test]
fn an_unknown_key_is_a_warning_that_names_the_source() {
    let machine = Machine::new();
    machine.defaults(r#"{ "etcdConfig": { "etcdURL": "http://etcd:2379" }, "colour": "blue" }"#);
    let mut report = InstallReport::default();
    machine.installer().reconcile(&Cluster, &mut report).unwrap();
    let warnings: Vec<String> = report.warnings.iter().map(ToString::to_string).collect();
    assert_snapshot!(warnings.join("\n").replace(machine.dir.path().to_str().unwrap(), ""), @r"
    /defaults/kube-ipam.json: colour: unknown key; it has no effect
    /defaults/kube-ipam.json: etcdConfig.etcdURL: http://etcd:2379 is reached without TLS; anyone on the network path can read and change addresses
    ");
}

#[test]
fn without_the_clusters_identity_a_new_node_gets_the_kubeconfig_alone() {
    let machine = Machine::new();
    let mut installer = machine.installer();
    let mut report = InstallReport::default();
    installer.reconcile(&Unknown, &mut report).unwrap_err();
    assert_eq!(names(&report), ["kubeconfig"]);
    assert_eq!(written(&mut installer), ["kube-ipam.json", "kube-ipam"]);
    installer.reconcile(&AskNobody, &mut InstallReport::default()).unwrap();
}

#[test]
fn a_certificate_and_its_key_change_together_and_the_old_key_goes() {
    let machine = Machine::new();
    let mut installer = machine.installer();
    for generation in ["1", "2", "3"] {
        machine.mount("etcd", &[("tls.crt", generation), ("tls.key", generation)]);
        written(&mut installer);
        assert_eq!(machine.read("config/etcd/tls.crt") + &machine.read("config/etcd/tls.key"), generation.repeat(2));
    }
    assert_eq!(written(&mut installer), [""; 0]);
    assert_eq!(machine.node().matches("tls.key").count(), 1);
    machine.mount("etcd", &[]);
    assert_eq!(written(&mut installer), ["etcd", "kube-ipam.json"]);
    assert!(!machine.node().contains("etcd"), "{}", machine.node());
    assert!(machine.installed_defaults()["etcdConfig"].get("etcdKeyFile").is_none());
}

#[test]
fn a_folder_that_somebody_else_filled_is_left_alone() {
    let machine = Machine::new();
    fs::create_dir_all(machine.path("config/etcd")).unwrap();
    fs::write(machine.path("config/etcd/own.pem"), "own").unwrap();
    written(&mut machine.installer());
    assert_eq!(machine.read("config/etcd/own.pem"), "own");
    machine.mount("etcd", &[("ca.crt", "ca")]);
    let error = machine.installer().reconcile(&Cluster, &mut InstallReport::default()).unwrap_err();
    assert_snapshot!(machine.text(&error), @"can't write /config/etcd (the node's folder must be mounted there, and writable): Is a directory (os error 21)");
    assert_eq!(machine.read("config/etcd/own.pem"), "own");
}

#[test]
fn a_reader_finds_all_of_the_old_or_all_of_the_new() {
    let machine = Machine::new();
    let generations = ["a".repeat(1 << 16), "b".repeat(1 << 16)];
    let put = |generation: &str| {
        machine.mount("account", &[("token", generation), ("ca.crt", "authority")]);
        machine.mount("etcd", &[("tls.crt", generation), ("tls.key", "key")]);
        fs::write(machine.path("program"), generation).unwrap();
        written(&mut machine.installer());
    };
    put(&generations[0]);
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                for whole in [machine.token(), machine.read("config/etcd/tls.crt"), machine.read("bin/kube-ipam")] {
                    assert!(generations.contains(&whole), "{} bytes", whole.len());
                }
            }
        });
        for round in 1..=20 {
            put(&generations[round % 2]);
        }
        done.store(true, Ordering::Relaxed);
    });
}

#[test]
fn installers_side_by_side_do_not_disturb_each_other() {
    let machine = Machine::new();
    machine.mount("etcd", &[("tls.crt", "c"), ("tls.key", "k")]);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| (0..10).for_each(|_| drop(written(&mut machine.installer()))));
        }
    });
    assert_eq!(machine.installer().differences().unwrap(), Vec::<PathBuf>::new());
}

#[test]
fn a_check_names_what_is_not_as_it_should_be_and_changes_nothing() {
    let machine = Machine::new();
    let differing = |machine: &Machine| {
        let paths = machine.installer().differences().unwrap();
        paths
            .iter()
            .map(|path| path.strip_prefix(machine.dir.path()).unwrap().display().to_string())
            .collect::<Vec<_>>()
    };
    assert_eq!(differing(&machine), ["config/kubeconfig", "config/kube-ipam.json", "bin/kube-ipam"]);
    assert_eq!(machine.node(), "");
    written(&mut machine.installer());
    assert_eq!(differing(&machine), [""; 0]);
    fs::set_permissions(machine.path("config/kubeconfig"), Permissions::from_mode(0o644)).unwrap();
    fs::set_permissions(machine.path("bin/kube-ipam"), Permissions::from_mode(0o644)).unwrap();
    machine.mount("etcd", &[("ca.crt", "ca")]);
    assert_eq!(differing(&machine), ["config/kubeconfig", "config/etcd", "config/kube-ipam.json", "bin/kube-ipam"]);
    written(&mut machine.installer());
    assert_eq!(differing(&machine), [""; 0]);
}

#[test]
fn what_somebody_removed_or_changed_comes_back() {
    let machine = Machine::new();
    let mut installer = machine.installer();
    written(&mut installer);
    fs::remove_file(machine.path("config/kubeconfig")).unwrap();
    fs::write(machine.path("bin/kube-ipam"), "half").unwrap();
    assert_eq!(written(&mut installer), ["kubeconfig", "kube-ipam"]);
}

#[test]
fn a_service_account_without_a_token_is_named() {
    let machine = Machine::new();
    machine.mount("account", &[("token", "\n"), ("ca.crt", "authority")]);
    let error = machine.installer().reconcile(&Cluster, &mut InstallReport::default()).unwrap_err();
    assert_snapshot!(machine.text(&error), @"/account/token is empty; the pod needs the token of its service account");
    fs::remove_dir_all(machine.path("account")).unwrap();
    let error = machine.installer().reconcile(&Cluster, &mut InstallReport::default()).unwrap_err();
    assert_snapshot!(machine.text(&error), @"can't read /account/token: No such file or directory (os error 2)");
}

#[test]
fn a_folder_that_can_not_be_written_is_named() {
    let machine = Machine::new();
    fs::write(machine.path("bin"), "").unwrap();
    let error = machine.installer().reconcile(&Cluster, &mut InstallReport::default()).unwrap_err();
    assert_snapshot!(machine.text(&error), @"can't read /bin/kube-ipam: Not a directory (os error 20)");
    fs::write(machine.path("config2"), "").unwrap();
    let mut installer = machine.installer();
    installer.targets.config = machine.path("config2");
    let error = installer.reconcile(&Cluster, &mut InstallReport::default()).unwrap_err();
    assert_snapshot!(machine.text(&error), @"can't write /config2/install.lock (the node's folder must be mounted there, and writable): File exists (os error 17)");
}

#[test]
fn the_server_is_the_named_one_else_that_of_the_pods_environment() {
    let of = |host: &str, port: &str| {
        let (host, port) = (host.to_owned(), port.to_owned());
        server(None, &move |variable| match variable {
            "KUBERNETES_SERVICE_HOST" => Some(host.clone()),
            "KUBERNETES_SERVICE_PORT" => Some(port.clone()),
            _ => None,
        })
    };
    assert_eq!(of("10.96.0.1", "443").unwrap(), "https://10.96.0.1:443");
    assert_eq!(of("fd00::1", "6443").unwrap(), "https://[fd00::1]:6443");
    assert!(matches!(of("", "443"), Err(InstallError::NoServer)));
    let named = |url| server(Some(url), &|_| None);
    assert_eq!(named("https://192.0.2.10:6443").unwrap(), "https://192.0.2.10:6443");
    for wrong in ["192.0.2.10:6443", "ftp://api", "https://", "https://user:secret@api"] {
        assert!(matches!(named(wrong), Err(InstallError::NotAServer(_))), "{wrong}");
    }
}

#[test]
fn of_two_that_go_on_the_later_one_writes_until_it_ends() {
    let machine = Machine::new();
    let mut old = machine.with_generation("old");
    assert_eq!(written(&mut old), ["kubeconfig", "kube-ipam.json", "kube-ipam"]);
    let mut new = machine.with_generation("new");
    fs::write(machine.path("next"), "the next program").unwrap();
    new.program = super::Program::new(&machine.path("next"), machine.path("bin/kube-ipam"));
    assert_eq!(written(&mut new), ["kube-ipam"]);
    let error = old.reconcile(&Cluster, &mut InstallReport::default()).unwrap_err();
    assert_snapshot!(machine.text(&error), @"the installer of another pod came to this node after this one, and writes what that pod's mounts say; this one goes on when that one ends");
    assert_eq!(written(&mut new), [""; 0], "nobody has undone it");
    drop(new);
    assert_eq!(written(&mut old), ["kube-ipam"]);
}

#[test]
fn one_that_is_started_again_comes_back_to_its_place() {
    let machine = Machine::new();
    let mut old = machine.with_generation("old");
    written(&mut old);
    let mut new = machine.with_generation("new");
    written(&mut new);
    drop(old);
    let mut old = machine.with_generation("old");
    assert!(matches!(old.reconcile(&Cluster, &mut InstallReport::default()), Err(InstallError::Superseded)));
    // The node reboots: no installer runs, and the old one starts first.
    drop((old, new));
    let mut old = machine.with_generation("old");
    written(&mut old);
    written(&mut machine.with_generation("new"));
    let mut nameless = machine.installer().with_generation(None);
    written(&mut nameless);
    assert!(matches!(
        machine.with_generation("new").reconcile(&Cluster, &mut InstallReport::default()),
        Err(InstallError::Superseded)
    ));
    drop(nameless);
    written(&mut old);
}

#[test]
fn one_whose_turn_somebody_removed_takes_another() {
    let machine = Machine::new();
    let mut installer = machine.with_generation("old");
    written(&mut installer);
    fs::remove_dir_all(machine.path("config")).unwrap();
    assert_eq!(written(&mut installer), ["kubeconfig", "kube-ipam.json"]);
    written(&mut machine.with_generation("new"));
    written(&mut installer);
    let mut new = machine.with_generation("new");
    written(&mut new);
    assert!(matches!(installer.reconcile(&Cluster, &mut InstallReport::default()), Err(InstallError::Superseded)));
}

#[test]
fn of_those_that_have_ended_a_few_are_remembered() {
    let machine = Machine::new();
    for pod in 0..20 {
        written(&mut machine.with_generation(&format!("pod-{pod}")));
    }
    let turns = machine.node().lines().filter(|line| line.contains("install.turn.")).count();
    assert!((2..=5).contains(&turns), "{}", machine.node());
}

#[test]
fn a_node_that_gets_another_name_keeps_its_former_ones() {
    struct Case {
        what: &'static str,
        /// The node's file before the pass.
        file: Option<Value>,
        host: &'static str,
        /// `formerNodeNames` in the source.
        given: Option<Value>,
        former: Value,
    }
    let case = |what, file, former| Case { what, file, host: "worker-1", given: None, former };
    for Case { what, file, host, given, former } in [
        case("the same name", Some(json!({ "nodeName": "worker-1" })), json!(null)),
        case("another name", Some(json!({ "nodeName": "old" })), json!(["old"])),
        case("in another case of the key", Some(json!({ "NODENAME": "old" })), json!(["old"])),
        case(
            "a name before that",
            Some(json!({ "nodeName": "old", "formerNodeNames": ["older"] })),
            json!(["older", "old"]),
        ),
        case(
            "its first name again",
            Some(json!({ "nodeName": "old", "formerNodeNames": ["worker-1"] })),
            json!(["old"]),
        ),
        case(
            "nothing but former names",
            Some(json!({ "nodeName": "worker-1", "formerNodeNames": ["old"] })),
            json!(["old"]),
        ),
        case("a file that is none", Some(json!("torn")), json!(null)),
        Case {
            host: "worker-1.example",
            ..case("a file without a name", Some(json!({})), json!(["worker-1.example"]))
        },
        Case { host: "worker-1.example", ..case("no file", None, json!(["worker-1.example"])) },
        Case {
            given: Some(json!(["given", "old"])),
            ..case("names of the source", Some(json!({ "nodeName": "old" })), json!(["given", "old"]))
        },
    ] {
        let machine = Machine::new();
        let mut defaults = json!({ "etcdConfig": { "etcdURL": "https://192.0.2.50:2379" } });
        given.into_iter().for_each(|given| defaults["formerNodeNames"] = given);
        machine.defaults(&defaults.to_string());
        if let Some(file) = file {
            fs::create_dir_all(machine.path("config")).unwrap();
            fs::write(machine.path("config/kube-ipam.json"), file.to_string()).unwrap();
        }
        let mut installer = machine.installer();
        installer.sources.host = Some(Name::new(host).unwrap());
        written(&mut installer);
        let installed = machine.installed_defaults();
        assert_eq!((&installed["nodeName"], &installed["formerNodeNames"]), (&json!("worker-1"), &former), "{what}");
        assert!(installer.differences().unwrap().is_empty(), "{what}: the next pass finds it right");
        assert_eq!(written(&mut installer), [""; 0], "{what}");
    }
}
