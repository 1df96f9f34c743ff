//! `kube-ipam install`: installs the program, a kubeconfig and the node defaults on a node.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;

use super::CliError;
use super::output::Output;
use super::shutdown::BlockingShutdownSignal;
use crate::cause::chain;
use crate::cluster::{ApiServer, ClusterError};
use crate::config;
use crate::deadline::Deadline;
use crate::install::{ClusterLookup, InstallError, InstallReport, Installer, LabelPrefixes, Sources, Targets, server};
use crate::ipam::name::Name;

/// The shortest pause between two reconciliations.
const MIN_INTERVAL: Duration = Duration::from_millis(100);

/// How long to wait for a response of the API server.
const API_TIMEOUT: Duration = Duration::from_secs(10);

/// This program's own file, wherever it is.
const SELF: &str = "/proc/self/exe";

/// Install the program, a kubeconfig and the node defaults on a node.
///
/// It runs in a pod on each node, with the node's two folders mounted at the paths that they have on the node. It replaces
/// each file in one step, and leaves files that are already right alone. examples/install/ has the manifests.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  kube-ipam install --defaults /etc/kube-ipam/kube-ipam.json --etcd-secret /etc/kube-ipam/etcd --watch
  kube-ipam install --defaults /etc/kube-ipam/kube-ipam.json --etcd-secret /etc/kube-ipam/etcd --check
  kube-ipam install --server https://192.0.2.10:6443")]
pub(super) struct Install {
    /// The node's folder of CNI plugins
    ///
    /// It must be mounted at the path that it has on the node.
    #[arg(long, value_name = "DIR", default_value = "/opt/cni/bin")]
    bin_dir: PathBuf,
    /// The node's folder for the kubeconfig and the node defaults
    ///
    /// It must be mounted at the path that it has on the node, because the files refer to each other by path.
    #[arg(long, value_name = "DIR", default_value = "/etc/cni/net.d/kube-ipam.d")]
    config_dir: PathBuf,
    /// The folder of the pod's service account
    ///
    /// It has the files `token` and `ca.crt`.
    #[arg(long, value_name = "DIR", default_value = "/var/run/secrets/kubernetes.io/serviceaccount")]
    service_account: PathBuf,
    /// The API server's URL, if the node can't reach the service `kubernetes`
    ///
    /// Without this option, KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT have it.
    #[arg(long, value_name = "URL")]
    server: Option<String>,
    /// The node defaults to complete and install, usually mounted from a ConfigMap
    ///
    /// Without this option, the node's file is left alone.
    #[arg(long, value_name = "FILE")]
    defaults: Option<PathBuf>,
    /// The folder of the etcd credentials, usually mounted from a Secret
    ///
    /// It has any of `ca.crt`, `tls.crt`, `tls.key`, `username` and `password`.
    #[arg(long, value_name = "DIR", requires = "defaults")]
    etcd_secret: Option<PathBuf>,
    /// The node's name in Kubernetes; defaults to the variable NODE_NAME
    #[arg(long, value_name = "NAME", requires = "defaults")]
    node_name: Option<Name>,
    /// The prefixes of the node's labels to keep in nodeLabels of the node defaults, separated by commas
    ///
    /// A whole key is a prefix too. If the text is empty, no labels are kept, and the node is not read.
    #[arg(long, value_name = "PREFIXES", default_value = "topology.kubernetes.io/")]
    node_labels: LabelPrefixes,
    /// Install the defaults even if they name another store than the one in which pods of this node have addresses
    ///
    /// The new store must have these addresses, or it assigns them again.
    #[arg(long, requires = "defaults")]
    change_store: bool,
    /// Keep running and apply every change, until SIGTERM
    ///
    /// Of several running installers, the latest one writes. The variable POD_UID identifies its pod, so that a restarted one
    /// keeps its turn.
    #[arg(long)]
    watch: bool,
    /// How often to look for changes; at least 100ms
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = config::duration, requires = "watch")]
    interval: Duration,
    /// Write nothing; fail if anything on the node differs
    ///
    /// This is for a readiness probe.
    #[arg(long, conflicts_with = "watch")]
    check: bool,
}

impl Install {
    /// Runs the verb.
    pub(super) fn run(&self, output: &mut Output) -> Result<(), CliError> {
        let mut installer = self.installer()?;
        if self.check {
            return check(&mut installer);
        }
        if self.watch {
            let mut installer = installer.with_generation(of_environment("POD_UID")?);
            return watch(&mut installer, self.interval.max(MIN_INTERVAL), output);
        }
        let mut report = InstallReport::default();
        let result = installer.reconcile(&ByApiServer, &mut report);
        print_written(&report, output)?;
        report.warnings.iter().for_each(|warning| output.warn(warning));
        Ok(result?)
    }

    fn installer(&self) -> Result<Installer, CliError> {
        let env = |variable: &str| std::env::var(variable).ok();
        let node = match &self.node_name {
            Some(node) => Some(node.clone()),
            None => of_environment("NODE_NAME")?,
        };
        let sources = Sources {
            program: SELF.into(),
            account: self.service_account.clone(),
            server: server(self.server.as_deref(), &env)?,
            defaults: self.defaults.clone(),
            etcd: self.etcd_secret.clone(),
            node,
            host: Some(config::default_node_name()),
            labels: self.node_labels.clone(),
            may_change_store: self.change_store,
        };
        // The installed files refer to each other by these paths, so they must be absolute.
        let absolute =
            |folder: &Path| std::path::absolute(folder).map_err(|error| CliError::unusable(folder.display(), error));
        let targets = Targets { programs: absolute(&self.bin_dir)?, config: absolute(&self.config_dir)? };
        Ok(Installer::new(sources, targets))
    }
}

/// A name from the pod's environment.
fn of_environment(variable: &str) -> Result<Option<Name>, CliError> {
    let name = std::env::var(variable).ok().filter(|name| !name.is_empty());
    name.map(|name| Name::new(name).map_err(|error| CliError::unusable(variable, error))).transpose()
}

fn check(installer: &mut Installer) -> Result<(), CliError> {
    let differing = installer.differences()?;
    if differing.is_empty() {
        return Ok(());
    }
    let differing: Vec<String> = differing.iter().map(|path| path.display().to_string()).collect();
    Err(CliError::Refused(format!("not on the node as it should be: {}", differing.join(", "))))
}

/// Reconciles at each interval until SIGTERM. Reports each problem once.
fn watch(installer: &mut Installer, interval: Duration, output: &mut Output) -> Result<(), CliError> {
    let mut shutdown = BlockingShutdownSignal::listen()?;
    let mut reported = Vec::new();
    loop {
        let mut report = InstallReport::default();
        let result = installer.reconcile(&ByApiServer, &mut report);
        print_written(&report, output)?;
        let warnings = report.warnings.iter().map(ToString::to_string);
        let problems: Vec<String> = warnings.chain(result.err().map(|error| chain(&error).to_string())).collect();
        problems.iter().filter(|problem| !reported.contains(*problem)).for_each(|problem| output.warn(problem));
        reported = problems;
        if shutdown.recv_timeout(interval) {
            return Ok(());
        }
    }
}

fn print_written(report: &InstallReport, output: &mut Output) -> Result<(), CliError> {
    report.written.iter().try_for_each(|path| output.line(&format!("wrote {}", path.display())))
}

/// Queries the API server, with a new connection for each request.
struct ByApiServer;

impl ClusterLookup for ByApiServer {
    /// The UID of the namespace kube-system, which exists for as long as the cluster.
    fn identity(&self, kubeconfig: &Path) -> Result<Name, InstallError> {
        let server = ApiServer::open(kubeconfig, Deadline::after(API_TIMEOUT)).map_err(InstallError::Cluster)?;
        let uid = server.namespace_uid("kube-system").map_err(InstallError::Cluster)?;
        Name::new(uid).map_err(InstallError::Uid)
    }

    fn node_labels(&self, kubeconfig: &Path, node: &Name) -> Result<BTreeMap<String, String>, ClusterError> {
        ApiServer::open(kubeconfig, Deadline::after(API_TIMEOUT))?.node_labels(node)
    }
}
