//! What a record's file says: how far an attachment has come, and what it holds of which store.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{Action, Netns, RecordError, file};
use crate::cause::Cause;
use crate::ipam::lease::{self, Began, PodRef, Stored, Unknown, UnreadableValue, Written};
use crate::ipam::name::{AttachmentId, Name};
use crate::store::StoreConfig;

/// How far an attachment has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RecordState {
    /// An ADD has asked the store, or was about to; the result is not known.
    Asked,
    /// An ADD has got its addresses.
    Held,
    /// A DEL could not release it; a later call has to.
    Releasing,
}

/// What a node knows of one of its attachments.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// The version of the format, [`lease::VERSION`].
    pub v: u32,
    /// How far it has come.
    pub state: RecordState,
    /// The attachment.
    #[serde(flatten)]
    pub id: AttachmentId,
    /// The routing domain of its addresses.
    pub vrf: Name,
    /// Where its addresses are kept.
    pub store: StoreConfig,
    /// The pod, where the runtime named one.
    #[serde(default, skip_serializing_if = "PodRef::is_unnamed")]
    pub pod: PodRef,
    /// The network namespace that the runtime named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub netns: Option<Netns>,
    /// When the ADD began, which tells one attempt from another.
    pub began: Began,
    /// What the store holds for it, once that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held: Option<Written>,
    /// Whether a DEL has begun that leaves no trace in the store: should it die, the absence of the attachment shows nothing.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub deleting: bool,
    /// What a newer version of the same format has added.
    #[serde(flatten)]
    pub unknown: Unknown,
}

impl Record {
    /// The record of an ADD that is about to ask its store.
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

    /// Whether the attachment has addresses from this store and is not being released.
    pub fn runs_on(&self, store: &StoreConfig) -> bool {
        self.state == RecordState::Held && !self.deleting && self.store.place() == store.place()
    }

    /// The same record after the store has allocated the addresses.
    #[must_use]
    pub fn holding(self, held: Written) -> Self {
        Self { state: RecordState::Held, held: Some(held), ..self }
    }
}

/// What the records say about an attachment.
#[derive(Clone, Debug, PartialEq)]
pub enum ReadResult {
    /// There is no record.
    Missing,
    /// A record.
    Record(Box<Record>),
    /// A record that this version can't read; the attachment's key in the store says what is held.
    Unreadable {
        /// Its file.
        path: PathBuf,
        /// What is wrong with it.
        why: UnreadableRecord,
    },
}

/// What is wrong with a record's file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnreadableRecord {
    /// Cut off, or not a record at all: what a power cut leaves of a file that was not synced.
    #[error("it is torn")]
    Torn(#[source] Cause),
    /// A deferred release without content. (An empty record counts as missing.)
    #[error("it is empty")]
    Empty,
    /// Written by a newer version of kube-ipam.
    #[error("it has format {0}; this kube-ipam reads {known}", known = lease::VERSION)]
    Newer(u32),
    /// It is about another attachment than the one that its file name says.
    #[error("it is about {0}")]
    Foreign(Box<AttachmentId>),
}

/// Reads the record in a file, which must be that of the expected attachment.
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
