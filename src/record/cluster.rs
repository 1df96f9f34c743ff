//! Caches the identity of this node's cluster, as its API server has returned it.
//!
//! The identity never changes, so one request per node is enough. The cache includes the fingerprint of the server's
//! URL and CA certificates, and is valid only for that server. It also keeps a failure, so that an unreachable server
//! does not delay every ADD.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::lock::LockedFile;
use super::{Action, RecordError, Records, file};
use crate::ipam::lease;
use crate::ipam::name::Name;

/// The file's name in the node's folder.
const FILE: &str = "cluster";

/// The result of the last request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum CachedIdentity {
    /// The cluster's identity.
    Uid(Name),
    /// The request failed.
    Failed {
        /// When it was sent.
        at: Timestamp,
        /// Why it failed.
        why: String,
    },
}

/// The content of the file.
#[derive(Debug, Serialize, Deserialize)]
struct CacheEntry {
    /// The version of the format, [`lease::VERSION`].
    v: u32,
    /// The fingerprint of the server.
    server: String,
    #[serde(flatten)]
    identity: CachedIdentity,
}

impl Records {
    /// The cached result for the API server with this fingerprint. An unreadable file counts as missing. At worst, the
    /// request is repeated.
    pub fn cached_cluster(&self, server: &str) -> Option<CachedIdentity> {
        let content = file::read(&self.folder().join(FILE)).ok()??;
        let entry: CacheEntry = serde_json::from_slice(file::last_line(&content)).ok()?;
        (entry.v == lease::VERSION && entry.server == server).then_some(entry.identity)
    }

    /// Caches the result for the API server with this fingerprint, unless another call is writing.
    pub fn cache_cluster(&self, server: &str, identity: &CachedIdentity) -> Result<(), RecordError> {
        let path = self.folder().join(FILE);
        let Some(locked) = LockedFile::try_acquire(&path).map_err(RecordError::io(Action::Lock, &path))? else {
            return Ok(());
        };
        let entry = CacheEntry { v: lease::VERSION, server: server.to_owned(), identity: identity.clone() };
        file::append(locked.file(), &path, lease::write(&entry)).map_err(RecordError::io(Action::Write, &path))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::fs;

    use super::*;

    fn uid(text: &str) -> CachedIdentity {
        CachedIdentity::Uid(Name::new(text).unwrap())
    }

    #[test]
    fn the_identity_of_one_server_is_cached_and_does_not_count_for_another() {
        let folder = tempfile::Builder::new().prefix("kube-ipam-").tempdir().unwrap();
        let records = Records::new(folder.path(), &Name::new("node-1").unwrap());
        assert_eq!(records.cached_cluster("a"), None);
        records.cache_cluster("a", &uid("one")).unwrap();
        assert_eq!((records.cached_cluster("a"), records.cached_cluster("b")), (Some(uid("one")), None));
        let failed =
            CachedIdentity::Failed { at: Timestamp::from_second(1_800_000_000).unwrap(), why: "no".to_owned() };
        records.cache_cluster("b", &failed).unwrap();
        assert_eq!((records.cached_cluster("a"), records.cached_cluster("b")), (None, Some(failed)));
        // The file is not a record.
        assert_eq!(records.all().unwrap(), []);
        records.remove_leftovers(usize::MAX).unwrap();
        assert!(records.cached_cluster("b").is_some());
    }

    #[test]
    fn a_torn_or_newer_identity_counts_as_missing() {
        let folder = tempfile::Builder::new().prefix("kube-ipam-").tempdir().unwrap();
        let records = Records::new(folder.path(), &Name::new("node-1").unwrap());
        records.cache_cluster("a", &uid("one")).unwrap();
        let path = records.folder().join(FILE);
        for content in ["", "{\"v\":1,\"server\":\"a\"", "{\"v\":2,\"server\":\"a\",\"uid\":\"one\"}\n", "[]\n"] {
            fs::write(&path, content).unwrap();
            assert_eq!(records.cached_cluster("a"), None, "{content}");
        }
        // An invalid name must not become a part of a key.
        fs::write(&path, "{\"v\":1,\"server\":\"a\",\"uid\":\"one/two\"}\n").unwrap();
        assert_eq!(records.cached_cluster("a"), None);
    }
}
