//! The control plane: etcd, API server, controller manager, scheduler; and a second etcd, for kube-ipam.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};

use super::machine::{Daemon, Machine, output};
use super::tools::Tools;
use super::{Options, Store, eventually};
use crate::Result;
use crate::api_server::setup::{self, SIGNING_KEY, flags};

/// The URL of the API server in the cluster. Its self-signed certificate contains this address.
const SERVER: &str = "https://192.168.250.1";

/// The URL of kube-ipam's etcd for the nodes.
pub(super) const IPAM_ETCD: &str = "http://192.168.250.1:2379";

/// The URL of the cluster's etcd. Only the control plane can reach it.
pub(super) const CLUSTER_ETCD: &str = "http://127.0.0.1:2379";

/// Users with all permissions.
const ADMINS: [&str; 3] = ["admin", "controller-manager", "scheduler"];

/// kube-ipam's user on each node, with the permissions in [`super::network::role`].
pub(super) const KUBE_IPAM: &str = "kube-ipam";

/// The user of a sweep, with the permissions that docs/operations.md lists.
pub(super) const SWEEPER: &str = "kube-ipam-sweep";

/// How long a part may take to become ready.
const READY: Duration = Duration::from_secs(60);

pub(super) struct ControlPlane {
    folder: PathBuf,
    kubectl: PathBuf,
    etcd: Daemon,
    ipam_etcd: Daemon,
    api_server: Daemon,
    /// The controller manager and the scheduler.
    controllers: Vec<Daemon>,
}

impl ControlPlane {
    /// Starts the control plane and waits until the API server is ready.
    pub(super) fn start(testbed: &Machine, folder: &Path, tools: &Tools, options: &Options) -> Result<Self> {
        let at = folder.join("control-plane");
        fs::create_dir_all(testbed.path(&at))?;
        let log = |name: &str| at.join(format!("{name}.log"));

        let etcd = etcd(testbed, &at, Store::KubernetesApi, 2380)?;
        let ipam_etcd = self::etcd(testbed, &at, Store::Etcd, 2390)?;

        setup::write_files(&testbed.path(&at), &tokens(options))?;
        for user in ADMINS.into_iter().chain([KUBE_IPAM, SWEEPER]).chain(options.nodes.iter().map(String::as_str)) {
            fs::write(testbed.path(kubeconfig_file(folder, user)), kubeconfig(folder, user).to_string())?;
        }

        let mut api = flags(&[
            ("advertise-address", "192.168.250.1"),
            ("cert-dir", &at.join("certificates").display().to_string()),
            ("enable-admission-plugins", "NodeRestriction"),
            ("etcd-servers", CLUSTER_ETCD),
            ("kubelet-preferred-address-types", "InternalIP"),
            ("secure-port", "443"),
        ]);
        api.extend(setup::common_flags(&at));
        let api_server = part(testbed, &log("kube-apiserver"), &tools.built("kube-apiserver"), &api)?;
        let mut this = Self {
            folder: folder.to_path_buf(),
            kubectl: tools.built("kubectl"),
            etcd,
            ipam_etcd,
            api_server,
            controllers: Vec::new(),
        };
        this.wait_until_ready(testbed)?;

        let certificates = at.join("certificates/apiserver.crt").display().to_string();
        let controllers = flags(&[
            ("kubeconfig", &this.kubeconfig("controller-manager").display().to_string()),
            ("kube-api-burst", "400"),
            ("kube-api-qps", "200"),
            ("leader-elect", "false"),
            ("node-monitor-grace-period", &options.node_grace),
            ("node-monitor-period", "1s"),
            ("profiling", "false"),
            ("root-ca-file", &certificates),
            ("service-account-private-key-file", &at.join(SIGNING_KEY).display().to_string()),
        ]);
        let scheduler = json!({
            "apiVersion": "kubescheduler.config.k8s.io/v1", "kind": "KubeSchedulerConfiguration",
            "leaderElection": { "leaderElect": false },
            "clientConnection": { "kubeconfig": this.kubeconfig("scheduler"), "qps": 200, "burst": 400 },
        });
        fs::write(testbed.path(at.join("scheduler.json")), scheduler.to_string())?;
        let scheduler = flags(&[("config", &at.join("scheduler.json").display().to_string())]);
        for (name, args) in [("kube-controller-manager", controllers), ("kube-scheduler", scheduler)] {
            this.controllers.push(part(testbed, &log(name), &tools.built(name), &args)?);
        }
        Ok(this)
    }

    /// A user's kubeconfig: `admin`, or the name of a node.
    pub(super) fn kubeconfig(&self, user: &str) -> PathBuf {
        kubeconfig_file(&self.folder, user)
    }

    /// Waits until the API server is ready.
    pub(super) fn wait_until_ready(&mut self, testbed: &Machine) -> Result<()> {
        let ready = || {
            let answer = output(testbed.command(&self.kubectl).args([
                "--kubeconfig",
                &self.kubeconfig("admin").display().to_string(),
                "--request-timeout=2s",
                "get",
                "--raw=/readyz",
            ]));
            if answer.is_ok() {
                return Ok(Some(()));
            }
            match self.api_server.ended()? {
                None => Ok(None),
                Some(how) => {
                    Err(format!("the API server ended: {how}: {}", tail(&self.api_server.log(testbed))).into())
                }
            }
        };
        eventually("the API server is ready", READY, Duration::from_millis(50), ready)
    }

    pub(super) fn stop_api(&mut self, testbed: &Machine) -> Result<()> {
        self.api_server.stop(testbed, "KILL")
    }

    pub(super) fn start_api(&mut self, testbed: &Machine) -> Result<()> {
        self.api_server.start(testbed)?;
        self.wait_until_ready(testbed)
    }

    /// Restarts the controllers: what they have read from the API server may no longer be true.
    pub(super) fn restart_controllers(&mut self, testbed: &Machine) -> Result<()> {
        self.controllers.iter_mut().try_for_each(|controller| {
            controller.stop(testbed, "KILL")?;
            controller.start(testbed)
        })
    }

    /// Kills the etcd with this store.
    pub(super) fn stop_etcd(&mut self, testbed: &Machine, of: Store) -> Result<()> {
        self.etcd(of).stop(testbed, "KILL")
    }

    /// Starts that etcd again, with these additional flags. Does not wait until it is ready.
    pub(super) fn start_etcd(&mut self, testbed: &Machine, of: Store, more: &[(&str, &str)]) -> Result<()> {
        self.etcd(of).start_with(testbed, &flags(more))
    }

    /// The folder with that etcd's data.
    pub(super) fn etcd_data(&self, of: Store) -> PathBuf {
        self.folder.join("control-plane").join(etcd_name(of))
    }

    fn etcd(&mut self, of: Store) -> &mut Daemon {
        match of {
            Store::Etcd => &mut self.ipam_etcd,
            Store::KubernetesApi => &mut self.etcd,
        }
    }
}

/// The name of the etcd with this store.
fn etcd_name(of: Store) -> &'static str {
    match of {
        Store::Etcd => "ipam-etcd",
        Store::KubernetesApi => "etcd",
    }
}

/// The etcd with this store. It has one member.
fn etcd(testbed: &Machine, at: &Path, of: Store, peer: u16) -> Result<Daemon> {
    let (name, client) = (etcd_name(of), of.etcd());
    let peer = format!("http://127.0.0.1:{peer}");
    let args = flags(&[
        ("advertise-client-urls", client),
        ("data-dir", &at.join(name).display().to_string()),
        ("initial-advertise-peer-urls", &peer),
        ("initial-cluster", &format!("{name}={peer}")),
        ("listen-client-urls", client),
        ("listen-peer-urls", &peer),
        ("logger", "zap"),
        ("name", name),
    ]);
    part(testbed, &at.join(format!("{name}.log")), Path::new("etcd"), &args)
}

/// Starts a part with a higher priority than the nodes. Otherwise a hundred pods that start at once would starve the
/// API server, which in production has a machine of its own.
fn part(testbed: &Machine, log: &Path, program: &Path, args: &[String]) -> Result<Daemon> {
    let before = ["--adjustment=-10".to_owned(), program.display().to_string()];
    testbed.daemon(log, Path::new("/usr/bin/nice"), &[&before, args].concat())
}

/// A user's token for the API server. Only the cluster can reach it.
fn token(user: &str) -> String {
    format!("token-of-{user}")
}

/// The API server's file of users and tokens.
fn tokens(options: &Options) -> String {
    let admins = ADMINS.map(|user| (user.to_owned(), user, "system:masters"));
    let nodes = options.nodes.iter().map(|node| (format!("system:node:{node}"), node.as_str(), "system:nodes"));
    let line = |(name, user, group): (String, &str, &str)| setup::token_line(&token(user), &name, group);
    let of_kube_ipam = [KUBE_IPAM, SWEEPER].map(|user| (user.to_owned(), user, KUBE_IPAM));
    admins.into_iter().chain(of_kube_ipam).chain(nodes).map(line).collect()
}

/// The path of a user's kubeconfig.
pub(super) fn kubeconfig_file(folder: &Path, user: &str) -> PathBuf {
    folder.join(format!("control-plane/{user}.kubeconfig"))
}

/// A user's kubeconfig, with the cluster's folder at this path.
pub(super) fn kubeconfig(folder: &Path, user: &str) -> Value {
    let certificate = folder.join("control-plane/certificates/apiserver.crt");
    setup::kubeconfig(SERVER, &certificate, &token(user))
}

/// The last lines of a log.
pub(crate) fn tail(log: &str) -> String {
    let lines: Vec<&str> = log.lines().rev().take(15).collect();
    lines.into_iter().rev().collect::<Vec<_>>().join("\n")
}
