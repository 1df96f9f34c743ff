//! The location of the API server, and the credentials for it.

use std::path::{Path, PathBuf};

use kube::Config;
use serde::{Deserialize, Serialize};

use super::{ConnectionError, kubeconfig};

/// Where the API server's URL and our credentials come from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Access {
    /// A kubeconfig file.
    Kubeconfig(PathBuf),
    /// The service account of this pod.
    ServiceAccount {
        /// The folder with `token` and `ca.crt`. The kubelet replaces both as they rotate.
        folder: PathBuf,
        /// The URL of the API server.
        server: String,
    },
}

impl Access {
    /// The file or folder, for error texts.
    pub fn path(&self) -> &Path {
        match self {
            Self::Kubeconfig(path) | Self::ServiceAccount { folder: path, .. } => path,
        }
    }

    /// Reads the current files.
    pub fn read(&self) -> Result<Config, ConnectionError> {
        let config = match self {
            Self::Kubeconfig(path) => kubeconfig::read(path),
            Self::ServiceAccount { folder, server } => kubeconfig::from_service_account(folder, server),
        };
        config.map_err(|problem| self.unusable(problem))
    }

    pub(super) fn unusable(&self, problem: kubeconfig::KubeconfigProblem) -> ConnectionError {
        match self {
            Self::Kubeconfig(path) => ConnectionError::Kubeconfig { path: path.clone(), problem },
            Self::ServiceAccount { folder, .. } => ConnectionError::ServiceAccount { folder: folder.clone(), problem },
        }
    }
}
