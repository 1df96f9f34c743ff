//! Installs kube-ipam on a node, and keeps its files in sync with the mounts of the installer's pod.
//!
//! ```text
//!  service account (token, ca.crt) ───────────► <config-dir>/kubeconfig
//!  Secret (ca.crt, tls.crt, tls.key, …) ──────► <config-dir>/etcd/            switched as a whole
//!  ConfigMap ──► completed ──► checked ───────► <config-dir>/kube-ipam.json
//!  labels of the node ─┘
//!  this very program ─────────────────────────► <bin-dir>/kube-ipam
//! ```
//!
//! The order is as shown, up to the first failure. On a new node, the program comes last, when everything that it needs
//! is there. A newer program is never installed before defaults that it can read. Each [`Installer::reconcile`]
//! compares the node with the mounts and writes what differs. It depends on no state, so a first installation, a
//! rotated token and a removed file are all the same to it, and a killed installer needs no cleanup. Only the node's
//! labels block nothing: if they can't be read, the node keeps its old ones, and everything else is written.
//!
//! Both folders must be mounted at the same paths as on the node, because the files refer to each other by path.

mod comparison;
mod defaults;
mod error;
mod etcd;
mod generation;
mod kubeconfig;
mod labels;
mod managed_file;
mod store_change;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

pub use self::comparison::{Difference, DifferingKey, differing_keys};
use self::defaults::{DefaultsBuilder, NodeNames};
pub use self::error::InstallError;
use self::etcd::EtcdSecret;
use self::generation::InstallerGeneration;
pub use self::kubeconfig::server;
use self::labels::NodeLabels;
pub use self::labels::{LabelPrefixes, NodeLabelsError};
pub use self::managed_file::have_same_content;
use self::managed_file::{ManagedFile, Program, unfinished_of};
use crate::cluster::ClusterError;
use crate::config::ConfigWarning;
use crate::ipam::name::Name;

/// The program's name in the folder of the CNI plugins.
pub const PROGRAM: &str = "kube-ipam";

/// The names of the files in the config folder.
const KUBECONFIG: &str = "kubeconfig";
const DEFAULTS: &str = "kube-ipam.json";
const ETCD: &str = "etcd";
const LOCK: &str = "install.lock";

/// The sources: the mounts of the installer's pod.
#[derive(Clone, Debug)]
pub struct Sources {
    /// The program itself.
    pub program: PathBuf,
    /// The folder of the service account: `token`, `ca.crt`, `namespace`.
    pub account: PathBuf,
    /// The API server's URL, as reachable from the node.
    pub server: String,
    /// The node defaults to complete. Without them, somebody else maintains the node's file.
    pub defaults: Option<PathBuf>,
    /// The folder with the client credentials for etcd.
    pub etcd: Option<PathBuf>,
    /// The node's name in Kubernetes.
    pub node: Option<Name>,
    /// The host name. It is the node's name if the defaults have none.
    pub host: Option<Name>,
    /// Which of the node's labels are added to its defaults.
    pub labels: LabelPrefixes,
    /// Whether the defaults may name another store than that of running pods.
    pub may_change_store: bool,
}

/// What the installer reads from the API server, with the kubeconfig that it has written.
pub trait ClusterLookup {
    /// The identity of the cluster.
    fn identity(&self, kubeconfig: &Path) -> Result<Name, InstallError>;

    /// The labels of a node.
    fn node_labels(&self, kubeconfig: &Path, node: &Name) -> Result<BTreeMap<String, String>, ClusterError>;
}

/// The targets: folders of the node.
#[derive(Clone, Debug)]
pub struct Targets {
    /// The folder of the CNI plugins.
    pub programs: PathBuf,
    /// The folder of the node defaults.
    pub config: PathBuf,
}

/// What a pass did, even if it failed in the end.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct InstallReport {
    /// The files and folders that were written, in order.
    pub written: Vec<PathBuf>,
    /// Settings that work, but perhaps not as intended.
    pub warnings: Vec<ConfigWarning>,
}

/// The unfinished files of killed installers in these folders. An installer may be about to finish one.
pub fn unfinished(config: &Path, programs: &Path) -> Vec<PathBuf> {
    let files = [KUBECONFIG, DEFAULTS, ETCD].map(|name| config.join(name)).into_iter().chain([programs.join(PROGRAM)]);
    files.filter_map(|path| unfinished_of(&path)).collect()
}

/// Installs the sources at the targets.
#[derive(Debug)]
pub struct Installer {
    sources: Sources,
    targets: Targets,
    program: Program,
    /// The identity of the cluster, after it was read.
    cluster: Option<Name>,
    labels: NodeLabels,
    /// Set if the process keeps running.
    generation: Option<InstallerGeneration>,
}

impl Installer {
    /// Does no I/O.
    pub fn new(sources: Sources, targets: Targets) -> Self {
        let program = Program::new(&sources.program, targets.programs.join(PROGRAM));
        let labels = NodeLabels::new(sources.labels.clone());
        Self { sources, targets, program, cluster: None, labels, generation: None }
    }

    /// For a process that keeps running in this pod. Of several on a node, only the latest one writes.
    pub fn with_generation(self, pod: Option<Name>) -> Self {
        let generation = InstallerGeneration::new(&self.targets.config, pod);
        Self { generation: Some(generation), ..self }
    }

    /// Writes what differs from the mounts. Looks up the cluster's identity once, and only if the defaults don't name
    /// the cluster. Looks up the node's labels repeatedly, unless the defaults contain labels.
    pub fn reconcile(&mut self, lookup: &impl ClusterLookup, report: &mut InstallReport) -> Result<(), InstallError> {
        self.install_file(&self.kubeconfig()?, report)?;
        let mut outdated = None;
        if let Some(mut defaults) = self.defaults()? {
            if !defaults.names_cluster() {
                let cluster = match self.cluster.take() {
                    Some(cluster) => cluster,
                    None => lookup.identity(&self.targets.config.join(KUBECONFIG))?,
                };
                defaults.cluster(self.cluster.insert(cluster));
            }
            outdated = self.complete_labels(&mut defaults, lookup);
            let (files, warnings) = self.checked(defaults)?;
            report.warnings = warnings;
            for file in &files {
                self.install_file(file, report)?;
            }
        }
        let _lock = self.lock()?;
        self.program.forget_pages();
        if !self.program.is_in_place()? {
            self.program.install()?;
            report.written.push(self.program.path().to_owned());
        }
        outdated.map_or(Ok(()), |error| Err(error.into()))
    }

    /// Adds the node's labels to the defaults: the current ones, or else those in the node's file, and the reason.
    fn complete_labels(
        &mut self,
        defaults: &mut DefaultsBuilder,
        lookup: &impl ClusterLookup,
    ) -> Option<NodeLabelsError> {
        let node = self.sources.node.as_ref()?;
        if !self.labels.are_wanted() || defaults.has_labels() {
            return None;
        }
        self.labels.refresh(node, || lookup.node_labels(&self.targets.config.join(KUBECONFIG), node));
        match self.labels.labels() {
            Some(labels) => defaults.labels(labels),
            None => defaults.keep_labels(&self.targets.config.join(DEFAULTS)),
        }
        self.labels.error().cloned()
    }

    /// The paths that differ from the mounts. Writes nothing. Uses the cluster's identity and the labels in the node's
    /// file.
    pub fn differences(&mut self) -> Result<Vec<PathBuf>, InstallError> {
        let mut files = vec![self.kubeconfig()?];
        if let Some(mut defaults) = self.defaults()? {
            match defaults::cluster_in(&self.targets.config.join(DEFAULTS)) {
                Some(cluster) if !defaults.names_cluster() => defaults.cluster(&cluster),
                _ => {}
            }
            if !defaults.has_labels() {
                defaults.keep_labels(&self.targets.config.join(DEFAULTS));
            }
            files.extend(self.checked(defaults)?.0);
        }
        let mut differing = Vec::new();
        for file in files {
            if !file.is_in_place()? {
                differing.push(file.path().to_owned());
            }
        }
        if !self.program.is_in_place()? {
            differing.push(self.program.path().to_owned());
        }
        Ok(differing)
    }

    fn kubeconfig(&self) -> Result<ManagedFile, InstallError> {
        let content = kubeconfig::write(&self.sources.account, &self.sources.server)?;
        Ok(ManagedFile::file(self.targets.config.join(KUBECONFIG), content))
    }

    /// The defaults, complete except for the cluster's identity.
    fn defaults(&self) -> Result<Option<DefaultsBuilder>, InstallError> {
        let Some(source) = &self.sources.defaults else { return Ok(None) };
        let mut defaults = DefaultsBuilder::read(source)?;
        if let Some(node) = &self.sources.node {
            let earlier = NodeNames::in_file(&self.targets.config.join(DEFAULTS), self.sources.host.as_ref());
            defaults.node(node, &earlier);
        }
        defaults.kubeconfig(&self.targets.config.join(KUBECONFIG));
        if let Some(folder) = &self.sources.etcd {
            defaults.etcd(EtcdSecret::read(folder)?, &self.targets.config.join(ETCD));
        }
        Ok(Some(defaults))
    }

    /// Checks the defaults. Returns their files in the order of installation.
    fn checked(&self, defaults: DefaultsBuilder) -> Result<([ManagedFile; 2], Vec<ConfigWarning>), InstallError> {
        let target = self.targets.config.join(DEFAULTS);
        let warnings = defaults.check(&target)?;
        if !self.sources.may_change_store {
            store_change::refuse_under_pods(defaults.object(), &target)?;
        }
        let content = defaults.content();
        let folder = ManagedFile::folder(self.targets.config.join(ETCD), defaults.into_secret().files());
        Ok(([folder, ManagedFile::file(target, content)], warnings))
    }

    fn install_file(&mut self, file: &ManagedFile, report: &mut InstallReport) -> Result<(), InstallError> {
        let _lock = self.lock()?;
        if file.is_in_place()? {
            return file.remove_previous();
        }
        file.install()?;
        report.written.push(file.path().to_owned());
        Ok(())
    }

    /// Locks the node's folder until the file is dropped. In a rolling update with surge, two installers run on a node
    /// at the same time.
    fn lock(&mut self) -> Result<File, InstallError> {
        let path = self.targets.config.join(LOCK);
        let locked = fs::create_dir_all(&self.targets.config).and_then(|()| {
            let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path)?;
            file.lock().map(|()| file)
        });
        let file = locked.map_err(InstallError::write(&path))?;
        let is_latest = self.generation.as_mut().map_or(Ok(true), InstallerGeneration::is_latest);
        match is_latest.map_err(InstallError::write(&self.targets.config))? {
            true => Ok(file),
            false => Err(InstallError::Superseded),
        }
    }
}
