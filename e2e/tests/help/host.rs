//! A machine on which the examples run as they stand in the help: with its own files at their usual places, a cluster's
//! API server, an etcd, manifests, and what other programs of the examples would do.
//!
//! ```text
//!  planted/  etc, var, root, work ──copied before each example──► root/  ◄─chroot─ bash -c '<example>'
//!                                                                  usr, bin, …: the machine's, read-only
//! ```

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use kube_ipam_e2e::api::Api;
use kube_ipam_e2e::cni::Call;
use kube_ipam_e2e::etcd::Cluster;
use kube_ipam_e2e::world::World;
use kube_ipam_e2e::{binary, etcd, skip};
use serde_json::{Value, json};
use tempfile::TempDir;

/// Makes the root: the machine's programs, read-only, below the files that are copied there. The paths are arguments.
const ROOT: &str = r#"
    set -e
    cd "$1"
    for folder in usr bin sbin lib lib64; do
      if [ -L "/$folder" ]; then cp -P "/$folder" .; elif [ -d "/$folder" ]; then
        mkdir "$folder"; mount --rbind "/$folder" "$folder"; mount -o remount,bind,ro "$folder"
      fi
    done
    mount -t tmpfs kube-ipam usr/local
    mkdir -p usr/local/share/man/man1 usr/local/share/zsh/site-functions
    mkdir proc dev program
    mount --rbind /proc proc
    mount --rbind /dev dev
    touch program/kube-ipam
    mount --bind "$2" program/kube-ipam
"#;

/// The folders that the examples find and may change.
const PLANTED: [&str; 6] = ["etc", "var", "root", "work", "opt", "tmp"];

/// The folder of the node defaults.
const DEFAULTS: &str = "etc/cni/net.d/kube-ipam.d";

/// The folder of the pod's service account.
const ACCOUNT: &str = "var/run/secrets/kubernetes.io/serviceaccount";

/// The machine.
pub(crate) struct Host {
    world: World,
    folder: TempDir,
    api: Api,
    etcd: Option<Cluster>,
}

impl Host {
    /// `None`, and reported, where this machine can't have one.
    pub(crate) fn for_test(test: &str) -> Option<Self> {
        let world = World::for_test(test, &[])?;
        let has_etcd = etcd::installed_or_skip(test);
        let started = world.within(|| (Api::start().unwrap(), has_etcd.then(|| Cluster::plain(1).unwrap())));
        let (api, etcd) = match started {
            Ok(started) => started,
            Err(error) => {
                skip(test, &format!("a thread can't enter a network namespace: {error}"));
                return None;
            }
        };
        // A cluster without any pod is one that a sweep does not trust.
        api.has("other", "uid-of-other", "Running", &json!({}));
        let folder = tempfile::Builder::new().prefix("kube-ipam-help-").tempdir().unwrap();
        let host = Self { world, folder, api, etcd };
        host.make_root();
        host.plant_files();
        host.reset();
        host.plant_addresses();
        Some(host)
    }

    /// Whether it has an etcd.
    pub(crate) fn has_etcd(&self) -> bool {
        self.etcd.is_some()
    }

    /// A command line of a shell on this machine, as its administrator types it.
    pub(crate) fn shell(&self, line: &str) -> Command {
        let mut words = self.world.enter();
        words.extend(["chroot".into(), self.path("root").into(), "bash".into(), "-o".into(), "pipefail".into()]);
        words.extend(["-c".into(), format!("cd /work && {line}").into()]);
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).env_clear().stdin(Stdio::null());
        command.env("PATH", "/program:/opt/shims:/usr/sbin:/usr/bin:/sbin:/bin").env("HOME", "/root");
        command.env("KUBERNETES_SERVICE_HOST", "192.0.2.10").env("KUBERNETES_SERVICE_PORT", "443");
        command.env("NODE_NAME", "worker-3").env("MANPAGER", "cat").env("TERM", "dumb");
        command
    }

    /// Undoes what examples have changed.
    pub(crate) fn reset(&self) {
        for folder in PLANTED {
            let root = self.path("root").join(folder);
            if root.exists() {
                fs::remove_dir_all(&root).unwrap();
            }
            let copied = Command::new("cp").arg("-a").arg(self.path("planted").join(folder)).arg(&root).status();
            assert!(copied.unwrap().success());
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn make_root(&self) {
        fs::create_dir(self.path("root")).unwrap();
        let enter = self.world.enter();
        let mut command = Command::new(&enter[0]);
        command.args(&enter[1..]).args(["sh", "-c", ROOT, "sh"]).arg(self.path("root")).arg(binary::kube_ipam());
        let output = command.stdin(Stdio::null()).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    fn plant(&self, path: &str, content: impl AsRef<[u8]>) {
        let path = self.path("planted").join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
    }

    fn plant_files(&self) {
        for folder in PLANTED.iter().copied().chain([
            "etc/bash_completion.d",
            "etc/fish/completions",
            "var/lib/node_exporter",
            "var/log",
            "opt/cni/bin",
            "opt/shims",
            "root/.kube",
            DEFAULTS,
        ]) {
            fs::create_dir_all(self.path("planted").join(folder)).unwrap();
        }
        for file in ["etc/passwd", "etc/group", "etc/nsswitch.conf", "etc/ld.so.cache", "etc/manpath.config"] {
            if let Ok(content) = fs::read(PathBuf::from("/").join(file)) {
                self.plant(file, content);
            }
        }
        self.plant_defaults();
        self.plant_manifests();
        let authority = rcgen::generate_simple_self_signed(["api".to_owned()]).unwrap().cert.pem();
        for (name, content) in [("token", "t"), ("ca.crt", &authority), ("namespace", "kube-ipam")] {
            self.plant(&format!("{ACCOUNT}/{name}"), content);
        }
        for name in ["ca.crt", "tls.crt", "tls.key"] {
            self.plant(&format!("etc/kube-ipam/etcd/{name}"), &authority);
        }
    }

    fn plant_defaults(&self) {
        let of_node = |store: Value| {
            let mut defaults = json!({ "nodeName": "worker-3", "cluster": kube_ipam_e2e::api::CLUSTER });
            defaults.as_object_mut().unwrap().extend(store.as_object().unwrap().clone());
            defaults.to_string()
        };
        self.plant(&format!("{DEFAULTS}/kube-ipam.json"), of_node(json!({ "store": "embedded" })));
        if let Some(etcd) = &self.etcd {
            let store = json!({ "etcdConfig": { "etcdURL": etcd.config().urls.join(",") } });
            self.plant(&format!("{DEFAULTS}/on-etcd.json"), of_node(store));
        }
        // Another store would be refused: pods have addresses in this one.
        let installed = json!({ "nodeLabels": {}, "cluster": kube_ipam_e2e::api::CLUSTER, "store": "embedded" });
        self.plant("etc/kube-ipam/kube-ipam.json", installed.to_string());
        self.api.kubeconfig(&self.path("planted").join(DEFAULTS)).unwrap();
        let kubeconfig = self.api.kubeconfig(&self.path("planted/root/.kube")).unwrap();
        fs::rename(&kubeconfig, kubeconfig.with_file_name("config")).unwrap();
    }

    /// Manifests, and programs that print them as their templates would.
    fn plant_manifests(&self) {
        let config = self.network().to_string();
        let network = json!({
            "apiVersion": "k8s.cni.cncf.io/v1", "kind": "NetworkAttachmentDefinition",
            "metadata": { "name": "db-net", "namespace": "web" }, "spec": { "config": config },
        });
        let deployment = json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "web", "namespace": "web" },
            "spec": { "replicas": 2, "template": {
                "metadata": { "annotations": { "k8s.v1.cni.cncf.io/networks": "db-net" } },
                "spec": { "containers": [{ "name": "web", "image": "web" }] },
            } },
        });
        let both = format!("{network}\n---\n{deployment}\n");
        self.plant("work/manifests/web.yaml", &both);
        self.plant("work/networks.yaml", network.to_string());
        self.plant("work/web.yaml", deployment.to_string());
        for program in ["kustomize", "helm"] {
            let shim = format!("opt/shims/{program}");
            self.plant(&shim, "#!/bin/sh\nexec cat /work/manifests/web.yaml\n");
            fs::set_permissions(self.path("planted").join(shim), fs::Permissions::from_mode(0o755)).unwrap();
        }
    }

    /// The network of the examples.
    fn network(&self) -> Value {
        json!({
            "cniVersion": "1.0.0", "name": "db-net", "type": "macvlan", "master": "eth1",
            "ipam": { "type": "kube-ipam", "subnet": "10.188.0.0/16", "pools": {
                "primaries": { "addresses": ["10.188.0.20-10.188.0.29"] },
            } },
        })
    }

    /// Addresses of pods, in the store that the examples find.
    fn plant_addresses(&self) {
        let mut network = self.network();
        // The pods are none that the API server has to know.
        network["ipam"]["annotations"] = json!(false);
        for (container, args) in [
            ("c77e10f9b3d2", "K8S_POD_NAMESPACE=database;K8S_POD_NAME=db-0;IP=10.188.0.218"),
            ("9b04c2d1e7aa", "K8S_POD_NAMESPACE=web;K8S_POD_NAME=web-1"),
        ] {
            let mut words = self.world.enter();
            words.extend(["chroot".into(), self.path("root").into()]);
            let call = Call::new("/program/kube-ipam".as_ref(), "ADD").through(words).container(container);
            let call =
                call.ifname("net1").netns("/proc/self/ns/net").args(args).env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
            call.config(&network).run().ok();
        }
        let mut keep = Command::new("cp");
        keep.arg("-a").arg(self.path("root/var/lib/kube-ipam")).arg(self.path("planted/var/lib/"));
        assert!(keep.status().unwrap().success());
    }
}
