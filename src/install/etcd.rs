//! The client credentials for etcd, as mounted from a Secret.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use super::error::InstallError;

/// The entries of a Secret, and the key of `etcdConfig` for the path of each. The names are from Kubernetes' own types
/// of Secrets, `kubernetes.io/tls` and `kubernetes.io/basic-auth`.
const ENTRIES: [(&str, &str); 4] = [
    ("ca.crt", "etcdTrustedCAFile"),
    ("tls.crt", "etcdCertFile"),
    ("tls.key", "etcdKeyFile"),
    ("password", "passwordFile"),
];

/// The entry whose value becomes a part of the defaults.
const USERNAME: &str = "username";

#[derive(Debug, Default)]
pub(super) struct EtcdSecret {
    files: Vec<(&'static str, Vec<u8>)>,
    username: Option<String>,
}

impl EtcdSecret {
    /// Reads the mounted Secret. If it is optional and does not exist, the mount is an empty folder.
    pub(super) fn read(folder: &Path) -> Result<Self, InstallError> {
        let entry = |name: &str| {
            let path = folder.join(name);
            match fs::read(&path) {
                Ok(content) => Ok(Some(content)),
                Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
                Err(error) => Err(InstallError::read(&path)(error)),
            }
        };
        let mut files = Vec::new();
        for (name, _) in ENTRIES {
            files.extend(entry(name)?.map(|content| (name, content)));
        }
        let username = entry(USERNAME)?.map(|name| String::from_utf8_lossy(&name).trim().to_owned());
        Ok(Self { files, username })
    }

    /// All keys of `etcdConfig` that a Secret may set.
    pub(super) fn all_keys() -> impl Iterator<Item = &'static str> {
        ENTRIES.into_iter().map(|(_, key)| key).chain([USERNAME])
    }

    /// The files for the node, by name.
    pub(super) fn files(self) -> Vec<(&'static str, Vec<u8>)> {
        self.files
    }

    /// The keys for `etcdConfig`, with paths in this folder.
    pub(super) fn keys(&self, folder: &Path) -> Vec<(&'static str, String)> {
        let is_there = |name: &str| self.files.iter().any(|(there, _)| *there == name);
        let files = ENTRIES.into_iter().filter(|(name, _)| is_there(name));
        let files = files.map(|(name, key)| (key, folder.join(name).display().to_string()));
        files.chain(self.username.clone().map(|name| (USERNAME, name))).collect()
    }
}
