//! The identity of the cluster, as this node's API server told it.
//!
//! It is as old as the cluster and never changes, so that a node asks once. It belongs to one server: with it stands the
//! fingerprint of the server's URL and authority, and what another server said counts as nothing. A failed question is noted
//! too, so that a server which can't be reached does not hold up each ADD.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::lock::LockedFile;
use super::{Action, RecordError, Records, file};
use crate::ipam::lease;
use crate::ipam::name::Name;

/// The file's name in the node's folder.
const FILE: &str = "cluster";

/// What the API server told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ToldIdentity {
    /// The cluster is this one.
    Uid(Name),
    /// It did not tell.
    Failed {
        /// When it was asked.
        at: Timestamp,
        /// Why it did not.
        why: String,
    },
}

/// What is remembered.
#[derive(Debug, Serialize, Deserialize)]
struct Kept {
    /// The version of the format, [`lease::VERSION`].
    v: u32,
    /// The fingerprint of the server.
    server: String,
    #[serde(flatten)]
    told: ToldIdentity,
}

impl Records {
    /// What the API server of this fingerprint told last; nothing where it was never asked. What can't be read is nothing
    /// too, and at worst it is asked again.
    pub fn cluster(&self, server: &str) -> Option<ToldIdentity> {
        let content = file::read(&self.folder().join(FILE)).ok()??;
        let kept: Kept = serde_json::from_slice(file::last_line(&content)).ok()?;
        (kept.v == lease::VERSION && kept.server == server).then_some(kept.told)
    }

    /// Keeps what the API server of this fingerprint told. While another call does the same, that one's word will do.
    pub fn keep_cluster(&self, server: &str, told: &ToldIdentity) -> Result<(), RecordError> {
        let path = self.folder().join(FILE);
        let Some(locked) = LockedFile::try_take(&path).map_err(RecordError::io(Action::Lock, &path))? else {
            return Ok(());
        };
        let kept = Kept { v: lease::VERSION, server: server.to_owned(), told: told.clone() };
        file::append(locked.file(), &path, lease::write(&kept)).map_err(RecordError::io(Action::Write, &path))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::fs;

    use super::*;

    fn uid(text: &str) -> ToldIdentity {
        ToldIdentity::Uid(Name::new(text).unwrap())
    }

    #[test]
    fn what_one_server_told_is_kept_and_nothing_of_another() {
        let folder = tempfile::Builder::new().prefix("kube-ipam-").tempdir().unwrap();
        let records = Records::new(folder.path(), &Name::new("node-1").unwrap());
        assert_eq!(records.cluster("a"), None);
        records.keep_cluster("a", &uid("one")).unwrap();
        assert_eq!((records.cluster("a"), records.cluster("b")), (Some(uid("one")), None));
        let failed = ToldIdentity::Failed { at: Timestamp::from_second(1_800_000_000).unwrap(), why: "no".to_owned() };
        records.keep_cluster("b", &failed).unwrap();
        assert_eq!((records.cluster("a"), records.cluster("b")), (None, Some(failed)));
        // It is no record.
        assert_eq!(records.all().unwrap(), []);
        records.tidy(usize::MAX).unwrap();
        assert!(records.cluster("b").is_some());
    }

    #[test]
    fn a_torn_or_newer_identity_is_none() {
        let folder = tempfile::Builder::new().prefix("kube-ipam-").tempdir().unwrap();
        let records = Records::new(folder.path(), &Name::new("node-1").unwrap());
        records.keep_cluster("a", &uid("one")).unwrap();
        let path = records.folder().join(FILE);
        for content in ["", "{\"v\":1,\"server\":\"a\"", "{\"v\":2,\"server\":\"a\",\"uid\":\"one\"}\n", "[]\n"] {
            fs::write(&path, content).unwrap();
            assert_eq!(records.cluster("a"), None, "{content}");
        }
        // A name that is none would be a part of a key.
        fs::write(&path, "{\"v\":1,\"server\":\"a\",\"uid\":\"one/two\"}\n").unwrap();
        assert_eq!(records.cluster("a"), None);
    }
}
