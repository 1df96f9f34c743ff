//! Why the installation failed.

use std::io;
use std::path::{Path, PathBuf};

use super::labels::NodeLabelsError;
use crate::cluster::ClusterError;
use crate::config::ConfigErrors;
use crate::ipam::name::NameError;
use crate::record::RecordError;

/// Why the installation failed. The node keeps what it had before.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "its text says what a variant is and what its fields hold")]
pub enum InstallError {
    /// A mount or a file of the node can't be read.
    #[error("can't read {}", .path.display())]
    Read {
        path: PathBuf,
        #[source]
        error: io::Error,
    },
    /// A folder of the node can't be written.
    #[error("can't write {} (the node's folder must be mounted there, and writable)", .path.display())]
    Write {
        path: PathBuf,
        #[source]
        error: io::Error,
    },
    /// A later installer runs on the node and writes instead.
    #[error(
        "the installer of another pod came to this node after this one, and writes what that pod's mounts say; this \
         one goes on when that one ends"
    )]
    Superseded,
    #[error("{} is empty; the pod needs the token of its service account", .0.display())]
    NoToken(PathBuf),
    #[error(
        "can't tell where the API server is: KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT are not set; name \
         it with --server"
    )]
    NoServer,
    #[error("{0:?} is not the URL of an API server; it must look like \"https://192.0.2.10:6443\"")]
    NotAServer(String),
    #[error("{} is not a JSON object, so the node's file stays as it is", .path.display())]
    NotJson {
        path: PathBuf,
        #[source]
        error: serde_json::Error,
    },
    /// Every ADD would reject these defaults.
    #[error("{mistakes}; {} stays as it is", .target.display())]
    Defaults { mistakes: ConfigErrors, target: PathBuf },
    /// The defaults name a store that does not know the addresses of running pods.
    #[error(
        "the new defaults name another store, which would assign the addresses of running pods again (interfaces on \
         this node: {count}, such as that of {example}); keep the store, drain the node first, or add --change-store if \
         the new one has these addresses; present store: {present}; new store: {next}; {} stays as it is", .file.display()
    )]
    OtherStore { file: PathBuf, count: usize, example: String, present: String, next: String },
    /// Whether running pods have addresses in another store is unknown.
    #[error("can't tell whether pods on this node have addresses in another store")]
    Records(#[from] RecordError),
    /// The cluster's identity can't be read.
    #[error("can't tell which cluster this is")]
    Cluster(#[source] ClusterError),
    /// The labels can't be read. Everything else was installed.
    #[error(transparent)]
    NodeLabels(#[from] NodeLabelsError),
    /// The UID of the namespace is not valid as a name.
    #[error("the UID of namespace kube-system can't name this cluster")]
    Uid(#[source] NameError),
}

impl InstallError {
    pub(super) fn read(path: &Path) -> impl FnOnce(io::Error) -> Self + '_ {
        |error| Self::Read { path: path.to_owned(), error }
    }

    pub(super) fn write(path: &Path) -> impl FnOnce(io::Error) -> Self + '_ {
        |error| Self::Write { path: path.to_owned(), error }
    }
}
