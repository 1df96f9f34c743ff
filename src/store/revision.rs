//! Revisions, and what their numbers mean.

use std::num::NonZeroU64;

use serde::{Deserialize, Serialize};

/// The revision of a key's last write, or of the whole map. Two are equal or not. Whether one is older than another is
/// up to the store ([`RevisionOrder`]), so they have no order of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Revision(pub NonZeroU64);

impl Revision {
    /// The next one of a map that counts its revisions.
    pub(super) fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

/// What the numbers of a store's revisions mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RevisionOrder {
    /// Each write has a higher number than all writes before it.
    Counted,
    /// The numbers are random. Nothing follows from one being lower than another.
    Unordered,
}

impl RevisionOrder {
    /// Whether a revision is certainly older than another one of the same store.
    pub fn is_older(self, one: Revision, other: Revision) -> bool {
        match self {
            Self::Counted => one.0 < other.0,
            Self::Unordered => false,
        }
    }
}
