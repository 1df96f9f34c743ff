//! `kube-ipam controller`: continuous sweeps with leader election.

use std::hash::{BuildHasher, RandomState};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;

use super::CliError;
use super::output::Output;
use super::store::{Resolved, StoreArgs};
use super::sweep::share;
use crate::cluster::{Access, LeaderLease};
use crate::config::{self, CallSettings};
use crate::controller::{Controller, ControllerError, ElectionTiming, LeaderElectionConfig};
use crate::error::{Error, paths};
use crate::install::server;
use crate::store::StoreConfig;
use crate::telemetry;

/// The namespace of the Lease if no service account names one.
const NAMESPACE: &str = "kube-ipam";

/// The error in a pod whose environment was cleared.
const NO_SERVER: &str = "can't tell where the API server is: KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT are \
                         not set; name a kubeconfig with --kubeconfig";

/// The shortest interval between two scans of the store.
const MIN_INTERVAL: Duration = Duration::from_millis(100);

/// Run sweeps continuously, with leader election.
///
/// Run several replicas: one holds a Kubernetes Lease and sweeps, and another takes over when it ends. The leader scans the
/// whole store at each interval, and what a node holds soon after a pod of that node was deleted. It frees what two scans show
/// to have leaked. It serves /healthz, /readyz and /metrics. examples/install/controller has the manifests.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  kube-ipam controller
  kube-ipam controller --kubeconfig ~/.kube/config --listen 127.0.0.1:9478
  kube-ipam controller --embedded --interval 1m
  kube-ipam controller --network-objects kube-ipam")]
pub(super) struct ControllerArgs {
    /// How often to scan the whole store
    #[arg(long, value_name = "DURATION", default_value = "5m", value_parser = config::duration)]
    interval: Duration,
    /// How long to wait after a pod was deleted, or after a scan that found something
    ///
    /// After a pod was deleted, its node is scanned; after a scan that found something, a second one has to confirm it.
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = config::duration)]
    settle: Duration,
    /// Free nothing if more than this share (0 to 1) of the held addresses would go; overrides the node defaults
    #[arg(long, value_name = "SHARE", value_parser = share)]
    max_share: Option<f64>,
    /// Where to serve /healthz, /readyz and /metrics
    ///
    /// On an IPv6 cluster, use `[::]:9478`.
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "0.0.0.0:9478")]
    listen: String,
    /// The kubeconfig for listing and checking pods; defaults to the node defaults, then to the service account
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// The folder of the pod's service account
    ///
    /// It has the files `token`, `ca.crt` and `namespace`.
    #[arg(long, value_name = "DIR", default_value = "/var/run/secrets/kubernetes.io/serviceaccount")]
    service_account: PathBuf,
    /// The namespace of the Lease; defaults to that of the service account, then to `kube-ipam`
    #[arg(long, value_name = "NAME")]
    lease_namespace: Option<String>,
    /// The name of the Lease
    #[arg(long, value_name = "NAME", default_value = "kube-ipam-controller")]
    lease_name: String,
    /// How long a silent leader keeps the Lease before another replica takes over; whole seconds, at least 1s
    #[arg(long, value_name = "DURATION", default_value = "15s", value_parser = config::duration)]
    lease_duration: Duration,
    /// Sweep the embedded store of this node, without leader election
    #[arg(long)]
    embedded: bool,
    /// Show how full each network is in IPNetwork objects of this namespace, if the store is etcd or embedded
    ///
    /// `kubectl get ipnetworks` then shows them. A store in the Kubernetes API has such objects without this option.
    #[arg(long, value_name = "NAMESPACE")]
    network_objects: Option<String>,
    #[command(flatten)]
    store: StoreArgs,
}

impl ControllerArgs {
    /// Runs the verb, until SIGTERM.
    pub(super) fn run(self, output: &mut Output) -> Result<(), CliError> {
        let Resolved { settings, mut store } = self.store.resolve(self.kubeconfig.as_deref())?;
        self.check(&store)?;
        // A mistake in `sweep` must fail now: the controller reads the node defaults only once.
        settings.sweep.clone().map_err(Error::Config)?;
        let access = self.access(&settings)?;
        if let Some(access) = &access {
            store.reach_by(access.clone());
        }
        let election = match self.embedded {
            true => None,
            false => Some(self.election()?),
        };
        let network_objects = self.network_objects(&store, access.as_ref())?;
        telemetry::init_on_stderr(&settings.log);
        if self.network_objects.is_some() && network_objects.is_none() {
            tracing::warn!(%store, "--network-objects has no effect, because the store has such objects itself; remove it");
        }
        let listener = TcpListener::bind(&self.listen)
            .map_err(|error| ControllerError::Listen { address: self.listen.clone(), error })?;
        output.line(&format!("listening on {}", listener.local_addr()?))?;
        let Self { interval, settle, max_share, .. } = self;
        let interval = interval.max(MIN_INTERVAL);
        let controller = Controller { settings, store, access, election, interval, settle, max_share, network_objects };
        Ok(controller.run(listener)?)
    }

    /// The namespace of the objects that show networks; `None` if there are none, or if they are the store's own.
    fn network_objects(&self, store: &StoreConfig, access: Option<&Access>) -> Result<Option<String>, CliError> {
        let Some(namespace) = &self.network_objects else { return Ok(None) };
        let place = config::kubernetes_in(namespace, &[]);
        let place = place.map_err(|problem| CliError::unusable("--network-objects", problem))?;
        match (store, access) {
            (StoreConfig::Kubernetes(_), _) => Ok(None),
            (_, Some(_)) => Ok(Some(place.namespace)),
            (_, None) => Err(CliError::Refused(
                "--network-objects needs an API server: name a kubeconfig with --kubeconfig, or in the node defaults"
                    .to_owned(),
            )),
        }
    }

    fn check(&self, store: &StoreConfig) -> Result<(), CliError> {
        match (store, self.embedded) {
            (StoreConfig::Embedded { .. }, false) => Err(CliError::Refused(format!(
                "{store} has the addresses of this node alone, and a controller is for those of a cluster: run \
                 `kube-ipam sweep` here by a timer, or say --embedded where this node is all there is"
            ))),
            (StoreConfig::Etcd(_) | StoreConfig::Kubernetes(_), true) => {
                Err(CliError::Refused(format!("--embedded is for the embedded store, and the store is {store}")))
            }
            _ => Ok(()),
        }
    }

    /// How to reach the API server; `None` only with `--embedded`, on a node without a cluster.
    fn access(&self, settings: &CallSettings) -> Result<Option<Access>, CliError> {
        if let Some(found) = settings.kubeconfigs.iter().find(|path| path.exists()) {
            return Ok(Some(Access::Kubeconfig(found.clone())));
        }
        let folder = &self.service_account;
        if folder.join("token").exists() {
            let env = |variable: &str| std::env::var(variable).ok();
            let server = server(None, &env).map_err(|_| CliError::Refused(NO_SERVER.to_owned()))?;
            return Ok(Some(Access::ServiceAccount { folder: folder.clone(), server }));
        }
        if self.embedded {
            return Ok(None);
        }
        Err(CliError::Refused(format!(
            "there is no kubeconfig at {}, and no service account in {}; --kubeconfig names another file",
            paths(&settings.kubeconfigs),
            folder.display()
        )))
    }

    fn election(&self) -> Result<LeaderElectionConfig, CliError> {
        let namespace = match &self.lease_namespace {
            Some(named) => named.clone(),
            None => namespace_of(&self.service_account).unwrap_or_else(|| NAMESPACE.to_owned()),
        };
        let lease = LeaderLease::new(&namespace, &self.lease_name).map_err(Error::Cluster)?;
        Ok(LeaderElectionConfig { lease, identity: process_name(), timing: ElectionTiming::new(self.lease_duration) })
    }
}

fn namespace_of(account: &Path) -> Option<String> {
    let namespace = std::fs::read_to_string(account.join("namespace")).ok()?.trim().to_owned();
    Some(namespace).filter(|namespace| !namespace.is_empty())
}

/// A name that no other process has, not even the next one in this pod: the host's, which people know, and a random
/// part.
fn process_name() -> String {
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    format!("{host}_{:016x}", RandomState::new().hash_one(std::process::id()))
}
