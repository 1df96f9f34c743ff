//! Puts kube-ipam onto a node, and keeps it there as the mounts of the installer's pod say.
//!
//! ```text
//!  service account (token, ca.crt) ───────────► <config-dir>/kubeconfig
//!  Secret (ca.crt, tls.crt, tls.key, …) ──────► <config-dir>/etcd/            switched as a whole
//!  ConfigMap ──► completed ──► checked ───────► <config-dir>/kube-ipam.json
//!  this very program ─────────────────────────► <bin-dir>/kube-ipam
//! ```
//!
//! In this order, and no further than the first failure: on a new node the program comes last, when all that it needs is
//! there, and a newer one never comes before defaults that it can't read. Each [`Installer::pass`] compares what is there
//! with what the mounts say, writes what differs, and remembers nothing that matters; so it serves a first installation,
//! a rotated token and a file that somebody removed alike, and a killed one leaves nothing to clean up.
//!
//! Both folders must be mounted at the paths that they have on the node, since the files name each other by them.

mod defaults;
mod error;
mod etcd;
mod kubeconfig;
mod piece;
#[cfg(test)]
mod tests;
mod turn;

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use self::defaults::{Completion, NodeNames};
pub use self::error::InstallError;
use self::etcd::Material;
pub use self::kubeconfig::server;
use self::piece::{Piece, Program};
use self::turn::Turn;
use crate::config::ConfigWarning;
use crate::ipam::name::Name;

/// The program's name in the folder of the CNI plugins.
const PROGRAM: &str = "kube-ipam";

/// The names of the files in the config folder.
const KUBECONFIG: &str = "kubeconfig";
const DEFAULTS: &str = "kube-ipam.json";
const ETCD: &str = "etcd";
const LOCK: &str = "install.lock";

/// Where things come from: the mounts of the installer's pod.
#[derive(Clone, Debug)]
pub struct Sources {
    /// The program itself.
    pub program: PathBuf,
    /// The folder of the service account: `token`, `ca.crt`, `namespace`.
    pub account: PathBuf,
    /// The URL of the API server, as the node reaches it.
    pub server: String,
    /// The node defaults to complete; without them the node's file is somebody else's.
    pub defaults: Option<PathBuf>,
    /// The folder with what etcd wants of its clients.
    pub etcd: Option<PathBuf>,
    /// The node's name in Kubernetes.
    pub node: Option<Name>,
    /// The host name, the name of a node whose defaults give it none.
    pub host: Option<Name>,
}

/// Where things go: folders of the node.
#[derive(Clone, Debug)]
pub struct Targets {
    /// The folder of the CNI plugins.
    pub programs: PathBuf,
    /// The folder of the node defaults.
    pub config: PathBuf,
}

/// What a pass did, also if it failed in the end.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// The files and folders that were written, in this order.
    pub written: Vec<PathBuf>,
    /// What works, but perhaps not as the defaults' author meant.
    pub warnings: Vec<ConfigWarning>,
}

/// Puts things from one place to the other.
#[derive(Debug)]
pub struct Installer {
    sources: Sources,
    targets: Targets,
    program: Program,
    /// The identity of the cluster, once it was read.
    cluster: Option<Name>,
    /// Of one that goes on.
    turn: Option<Turn>,
}

impl Installer {
    /// Reads and writes nothing yet.
    pub fn new(sources: Sources, targets: Targets) -> Self {
        let program = Program::new(&sources.program, targets.programs.join(PROGRAM));
        Self { sources, targets, program, cluster: None, turn: None }
    }

    /// One that goes on, in this pod: of several on a node, that which came last writes.
    pub fn in_turn(self, pod: Option<Name>) -> Self {
        let turn = Turn::new(&self.targets.config, pod);
        Self { turn: Some(turn), ..self }
    }

    /// Writes what is not on the node as the mounts say. `identity` reads the cluster's identity by a kubeconfig; it is
    /// asked once, and only where the defaults don't name it.
    pub fn pass(
        &mut self,
        identity: impl FnOnce(&Path) -> Result<Name, InstallError>,
        report: &mut Report,
    ) -> Result<(), InstallError> {
        self.put(&self.kubeconfig()?, report)?;
        if let Some(mut defaults) = self.defaults()? {
            if !defaults.names_cluster() {
                let cluster = match self.cluster.take() {
                    Some(cluster) => cluster,
                    None => identity(&self.targets.config.join(KUBECONFIG))?,
                };
                defaults.cluster(self.cluster.insert(cluster));
            }
            let (pieces, warnings) = self.checked(defaults)?;
            report.warnings = warnings;
            for piece in &pieces {
                self.put(piece, report)?;
            }
        }
        let _alone = self.alone()?;
        self.program.forget_pages();
        if !self.program.is_in_place()? {
            self.program.put()?;
            report.written.push(self.program.path().to_owned());
        }
        Ok(())
    }

    /// What is not on the node as the mounts say. Writes nothing, and takes the cluster's identity from the node's file.
    pub fn differences(&mut self) -> Result<Vec<PathBuf>, InstallError> {
        let mut pieces = vec![self.kubeconfig()?];
        if let Some(mut defaults) = self.defaults()? {
            match defaults::cluster_in(&self.targets.config.join(DEFAULTS)) {
                Some(cluster) if !defaults.names_cluster() => defaults.cluster(&cluster),
                _ => {}
            }
            pieces.extend(self.checked(defaults)?.0);
        }
        let mut differing = Vec::new();
        for piece in pieces {
            if !piece.is_in_place()? {
                differing.push(piece.path().to_owned());
            }
        }
        if !self.program.is_in_place()? {
            differing.push(self.program.path().to_owned());
        }
        Ok(differing)
    }

    fn kubeconfig(&self) -> Result<Piece, InstallError> {
        let content = kubeconfig::write(&self.sources.account, &self.sources.server)?;
        Ok(Piece::file(self.targets.config.join(KUBECONFIG), content))
    }

    /// The defaults, completed with all but the cluster's identity.
    fn defaults(&self) -> Result<Option<Completion>, InstallError> {
        let Some(source) = &self.sources.defaults else { return Ok(None) };
        let mut defaults = Completion::read(source)?;
        if let Some(node) = &self.sources.node {
            let earlier = NodeNames::in_file(&self.targets.config.join(DEFAULTS), self.sources.host.as_ref());
            defaults.node(node, &earlier);
        }
        defaults.kubeconfig(&self.targets.config.join(KUBECONFIG));
        if let Some(folder) = &self.sources.etcd {
            defaults.etcd(Material::read(folder)?, &self.targets.config.join(ETCD));
        }
        Ok(Some(defaults))
    }

    /// The pieces of defaults that were found right, in the order in which they are to be put.
    fn checked(&self, defaults: Completion) -> Result<([Piece; 2], Vec<ConfigWarning>), InstallError> {
        let target = self.targets.config.join(DEFAULTS);
        let warnings = defaults.check(&target)?;
        let content = defaults.content();
        let folder = Piece::folder(self.targets.config.join(ETCD), defaults.into_material().files());
        Ok(([folder, Piece::file(target, content)], warnings))
    }

    fn put(&mut self, piece: &Piece, report: &mut Report) -> Result<(), InstallError> {
        let _alone = self.alone()?;
        if piece.is_in_place()? {
            return piece.tidy();
        }
        piece.put()?;
        report.written.push(piece.path().to_owned());
        Ok(())
    }

    /// The right to write, as long as the file lives. In a rolling update with surge two installers are on one node for a
    /// while.
    fn alone(&mut self) -> Result<File, InstallError> {
        let path = self.targets.config.join(LOCK);
        let locked = fs::create_dir_all(&self.targets.config).and_then(|()| {
            let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path)?;
            file.lock().map(|()| file)
        });
        let file = locked.map_err(InstallError::write(&path))?;
        let has_come = self.turn.as_mut().map_or(Ok(true), Turn::has_come);
        match has_come.map_err(InstallError::write(&self.targets.config))? {
            true => Ok(file),
            false => Err(InstallError::Superseded),
        }
    }
}
