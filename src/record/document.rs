//! The content of a record: the state of an attachment, and what it holds in which store.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{Action, Netns, RecordError, file};
use crate::cause::Cause;
use crate::ipam::lease::{self, Began, PodRef, Stored, Unknown, UnreadableValue, Written};
use crate::ipam::name::{AttachmentId, Name};
use crate::store::StoreConfig;

/// The state of an attachment, as its node knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RecordState {
    /// An ADD has sent a transaction, or was about to. The outcome is unknown.
    Asked,
    /// An ADD has assigned its addresses.
    Held,
    /// A DEL could not release it. A later call has to.
    Releasing,
}

/// What a node has recorded of one of its attachments.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// The version of the format, [`lease::VERSION`].
    pub v: u32,
    /// Its state.
    pub state: RecordState,
    /// The attachment.
    #[serde(flatten)]
    pub id: AttachmentId,
    /// The routing domain of its addresses.
    pub vrf: Name,
    /// The store that has its addresses.
    pub store: StoreConfig,
    /// The pod, if the runtime named one.
    #[serde(default, skip_serializing_if = "PodRef::is_unnamed")]
    pub pod: PodRef,
    /// The network namespace, if the runtime named one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub netns: Option<Netns>,
    /// When its ADD began. Distinguishes attempts.
    pub began: Began,
    /// What the store holds for it, if that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held: Option<Written>,
    /// Whether a DEL has begun that leaves no trace in the store. If that DEL is killed, the attachment's absence
    /// proves nothing.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub deleting: bool,
    /// The fields that newer versions have added to this format.
    #[serde(flatten)]
    pub unknown: Unknown,
}

impl Record {
    /// The record of an ADD before its first transaction.
    pub fn asked(id: AttachmentId, vrf: Name, store: StoreConfig, began: Began) -> Self {
        Self {
            v: lease::VERSION,
            state: RecordState::Asked,
            id,
            vrf,
            store,
            pod: PodRef::default(),
            netns: None,
            began,
            held: None,
            deleting: false,
            unknown: Unknown::new(),
        }
    }

    /// Whether the attachment has addresses in this store and is not being released.
    pub fn runs_on(&self, store: &StoreConfig) -> bool {
        self.state == RecordState::Held && !self.deleting && self.store.place() == store.place()
    }

    /// The addresses that the attachment has.
    pub fn held_addresses(&self) -> Vec<IpAddr> {
        let held = self.held.iter().filter(|_| self.state == RecordState::Held);
        held.flat_map(|held| &held.attachment.addresses).map(|assigned| assigned.address.addr()).collect()
    }

    /// The record after the store has assigned the addresses.
    #[must_use]
    pub fn holding(self, held: Written) -> Self {
        Self { state: RecordState::Held, held: Some(held), ..self }
    }
}

/// The result of reading an attachment's record.
#[derive(Clone, Debug, PartialEq)]
pub enum ReadResult {
    /// There is no record.
    Missing,
    /// A record.
    Record(Box<Record>),
    /// A record that this version can't read. The attachment's key in the store shows what it holds.
    Unreadable {
        /// Its path.
        path: PathBuf,
        /// What is wrong with it.
        why: UnreadableRecord,
    },
}

/// What is wrong with a record's file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnreadableRecord {
    /// It is incomplete or not a record. A power failure may leave a file like this, because records are not synced.
    #[error("it is torn")]
    Torn(#[source] Cause),
    /// It is a deferred release without content. (An empty record counts as missing.)
    #[error("it is empty")]
    Empty,
    /// A newer version of kube-ipam wrote it.
    #[error("it has format {0}; this kube-ipam reads {known}", known = lease::VERSION)]
    Newer(u32),
    /// It is about another attachment than its file name.
    #[error("it is about {0}")]
    Foreign(Box<AttachmentId>),
}

/// Reads a record. With `expected`, it must be that attachment's.
pub(super) fn read(path: &Path, expected: Option<&AttachmentId>) -> Result<ReadResult, RecordError> {
    let Some(content) = file::read(path).map_err(RecordError::io(Action::Read, path))? else {
        return Ok(ReadResult::Missing);
    };
    let why = match Stored::<Record>::read(file::last_line(&content)) {
        Stored::Known(record) if expected.is_none_or(|id| *id == record.id) => {
            return Ok(ReadResult::Record(Box::new(record)));
        }
        Stored::Known(record) => UnreadableRecord::Foreign(Box::new(record.id)),
        Stored::Unreadable(UnreadableValue::Newer(version)) => UnreadableRecord::Newer(version),
        Stored::Unreadable(UnreadableValue::Corrupt(_)) if content.is_empty() => UnreadableRecord::Empty,
        Stored::Unreadable(UnreadableValue::Corrupt(cause)) => UnreadableRecord::Torn(cause),
    };
    Ok(ReadResult::Unreadable { path: path.to_owned(), why })
}
