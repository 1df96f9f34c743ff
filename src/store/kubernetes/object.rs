//! An object of the API as the protocol sees it: a key's value, and what an unfinished transaction has left on it.
//!
//! `spec` in the API:
//!
//! ```text
//! key       the whole key; the object's name may be a hash of it
//! revision  of the value, as text: JSON numbers of 63 bits don't survive every client
//! value     the value (value.rs); none if the key is locked before it exists, or deleted while its commit stands
//! lock      v, txn, primary, then        ┐ at most one of them
//! commit    v, txn, locks: [key, uid]    ┘
//! summary   what people see of the value, which nothing reads (manifest.rs)
//! ```
//!
//! Somebody may have changed it by hand. What can't be read then still counts as in use: [`Object::damaged`].

use std::num::NonZeroU64;

use ring::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};

use super::value::EncodedValue;
use crate::cause::Cause;
use crate::store::{Key, Revision, StandIn, Value};

/// The version of locks and commits. A program that finds another one must not touch the object: it does not know
/// which rules its writer follows.
const VERSION: u32 = 1;

/// One attempt of a transaction: 63 random bits. They are also the revision of all that the attempt writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct TxnId(NonZeroU64);

impl TxnId {
    /// From random bits, of which the highest is dropped: JSON numbers and etcd's revisions are signed.
    pub(super) fn from_random(bits: u64) -> Self {
        Self(NonZeroU64::new(bits >> 1).unwrap_or(NonZeroU64::MIN))
    }

    /// From a text: the same for everybody who has it.
    pub(super) fn from_text(text: &str) -> Self {
        let hash = digest(&SHA256, text.as_bytes());
        Self::from_random(hash.as_ref().iter().take(8).fold(0, |bits, byte| (bits << 8) | u64::from(*byte)))
    }

    pub(super) fn revision(self) -> Revision {
        Revision(self.0)
    }
}

/// The identity of an object, from its creation to its deletion (`metadata.uid`).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Uid(String);

impl Uid {
    #[cfg(test)]
    pub(super) fn new(text: &str) -> Self {
        Self(text.to_owned())
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

/// The version of an object that was read or answered. The API server compares both parts, for equality alone.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Version {
    pub(super) uid: Uid,
    pub(super) resource_version: String,
}

/// A value with the revision of its write.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Versioned {
    pub(super) value: Value,
    pub(super) revision: Revision,
}

/// What becomes of a locked key if its transaction commits.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Then {
    /// The transaction depends on the key, and leaves it as it is. So does a primary, which is written at the commit.
    Keep,
    Put(Value),
    Delete,
}

/// An unfinished transaction has this key.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Lock {
    pub(super) txn: TxnId,
    /// The key whose object decides whether the transaction has committed.
    pub(super) primary: Key,
    pub(super) then: Then,
}

/// On a primary: the transaction has committed, and these locks may be left.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Commit {
    pub(super) txn: TxnId,
    /// The locked objects. A copy of a lock on another object of the same key is not the transaction's.
    pub(super) locks: Vec<(Key, Uid)>,
}

/// What transactions have left on an object.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Mark {
    Lock(Lock),
    Commit(Commit),
    /// There is one, and it can't be read. So nobody knows what the object stands for, and nobody writes it.
    Unreadable(Cause),
}

/// An object of the API.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Object {
    pub(super) key: Key,
    pub(super) value: Option<Versioned>,
    pub(super) mark: Option<Mark>,
}

/// Why an object's `spec` can't be understood.
#[derive(Debug, thiserror::Error)]
pub(super) enum ObjectError {
    /// It is not what kube-ipam writes.
    #[error("the object's spec is invalid")]
    Spec(#[source] serde_json::Error),
    /// Its value is not.
    #[error("the object's value is not valid base64")]
    Base64(#[source] base64::DecodeError),
    /// It is about another key, which has the same hash or was renamed by hand.
    #[error("the object of key {expected} has key {found} in its spec")]
    OtherKey { expected: Key, found: Key },
    /// The same, of an object that was listed.
    #[error("the object {name} has key {found} in its spec, which belongs into an object of another name")]
    OtherName { name: String, found: Key },
    /// A newer program has written it.
    #[error(
        "the object of key {key} has a lock or commit of version {version}, and this program knows {VERSION}: upgrade it"
    )]
    UnknownVersion { key: Key, version: u32 },
    /// A value needs a revision, and a revision a value.
    #[error("the object of key {0} has a value without a revision, or a revision without a value")]
    Halved(Key),
    /// A lock shows that its object has no commit, and the other way around.
    #[error("the object of key {0} has both a lock and a commit")]
    LockedAndCommitted(Key),
    /// Nobody knows what it stands for.
    #[error("the lock or commit of the object can't be read")]
    UnreadableMark(#[source] Cause),
}

#[derive(Serialize, Deserialize)]
struct Spec {
    key: Key,
    #[serde(skip_serializing_if = "Option::is_none")]
    revision: Option<Number>,
    #[serde(flatten)]
    value: Option<EncodedValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    lock: Option<LockSpec>,
    #[serde(skip_serializing_if = "Option::is_none")]
    commit: Option<CommitSpec>,
}

/// The marks alone, beside anything.
#[derive(Deserialize)]
struct Marks {
    lock: Option<LockSpec>,
    commit: Option<CommitSpec>,
}

/// What was found in a `spec` that can't be read, with another mark.
#[derive(Serialize)]
struct Found {
    #[serde(flatten)]
    found: Map<String, Json>,
    #[serde(skip_serializing_if = "Option::is_none")]
    lock: Option<LockSpec>,
    #[serde(skip_serializing_if = "Option::is_none")]
    commit: Option<CommitSpec>,
}

/// Only the version, of a lock or commit that may have anything else.
#[derive(Deserialize)]
struct AnyVersion {
    v: u32,
}

#[derive(Deserialize)]
struct Versions {
    key: Key,
    lock: Option<AnyVersion>,
    commit: Option<AnyVersion>,
}

#[derive(Serialize, Deserialize)]
struct LockSpec {
    v: u32,
    txn: Number,
    primary: Key,
    then: ThenSpec,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
enum ThenSpec {
    Keep,
    Put(EncodedValue),
    Delete,
}

#[derive(Serialize, Deserialize)]
struct CommitSpec {
    v: u32,
    txn: Number,
    locks: Vec<LockedSpec>,
}

#[derive(Serialize, Deserialize)]
struct LockedSpec {
    key: Key,
    uid: Uid,
}

/// A number as text.
struct Number(NonZeroU64);

impl Serialize for Number {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map(Self).map_err(|_| serde::de::Error::custom("not a number of 64 bits, above 0, as text"))
    }
}

impl Object {
    pub(super) fn lock(&self) -> Option<&Lock> {
        match &self.mark {
            Some(Mark::Lock(lock)) => Some(lock),
            Some(Mark::Commit(_) | Mark::Unreadable(_)) | None => None,
        }
    }

    pub(super) fn commit(&self) -> Option<&Commit> {
        match &self.mark {
            Some(Mark::Commit(commit)) => Some(commit),
            Some(Mark::Lock(_) | Mark::Unreadable(_)) | None => None,
        }
    }

    /// Why its mark can't be read.
    pub(super) fn unreadable_mark(&self) -> Option<&Cause> {
        match &self.mark {
            Some(Mark::Unreadable(why)) => Some(why),
            Some(Mark::Lock(_) | Mark::Commit(_)) | None => None,
        }
    }

    /// Whether its value is a stand-in for one that can't be read.
    pub(super) fn is_damaged(&self) -> bool {
        self.value.as_ref().is_some_and(|value| StandIn::of(&value.value).is_some())
    }

    /// Whether a list of metadata can't tell if its key exists (the label `open`).
    pub(super) fn is_open(&self) -> bool {
        self.value.is_none() || self.lock().is_some()
    }

    /// Without its lock: the value as its transaction leaves it if it commits, or as it was. `None` if nothing is left.
    pub(super) fn unlocked(&self, committed: bool) -> Option<Self> {
        let value = match self.lock() {
            Some(Lock { txn, then: Then::Put(value), .. }) if committed => {
                Some(Versioned { value: value.clone(), revision: txn.revision() })
            }
            Some(Lock { then: Then::Delete, .. }) if committed => None,
            _ => self.value.clone(),
        };
        let mark = self.commit().cloned().map(Mark::Commit);
        Self { key: self.key.clone(), value, mark }.or_nothing()
    }

    /// Without its commit. `None` if nothing is left.
    pub(super) fn without_commit(&self) -> Option<Self> {
        let mark = self.lock().cloned().map(Mark::Lock);
        Self { mark, ..self.clone() }.or_nothing()
    }

    fn or_nothing(self) -> Option<Self> {
        (self.value.is_some() || self.mark.is_some()).then_some(self)
    }

    /// Its `spec`. Of a damaged object, all stays as it was found, but for the mark.
    pub(super) fn to_spec(&self) -> Result<Json, ObjectError> {
        if let Some(why) = self.unreadable_mark() {
            return Err(ObjectError::UnreadableMark(why.clone()));
        }
        let lock = self.lock().map(LockSpec::from);
        let commit = self.commit().map(CommitSpec::from);
        let found = self.value.as_ref().and_then(|value| StandIn::of(&value.value)).map(StandIn::into_found);
        let spec = match found {
            Some(found) => serde_json::to_value(Found { found, lock, commit }),
            None => {
                let revision = self.value.as_ref().map(|value| Number(value.revision.0));
                let value = self.value.as_ref().map(|value| EncodedValue::encode(&value.value));
                serde_json::to_value(Spec { key: self.key.clone(), revision, value, lock, commit })
            }
        };
        spec.map_err(ObjectError::Spec)
    }

    /// From the `spec` of the object of this key.
    pub(super) fn from_spec(expected: &Key, spec: &Json) -> Result<Self, ObjectError> {
        // The versions first: the rest of another version may look different.
        let Versions { key, lock, commit } = Versions::deserialize(spec).map_err(ObjectError::Spec)?;
        if key != *expected {
            return Err(ObjectError::OtherKey { expected: expected.clone(), found: key });
        }
        if let Some(AnyVersion { v: version }) = lock.into_iter().chain(commit).find(|mark| mark.v != VERSION) {
            return Err(ObjectError::UnknownVersion { key, version });
        }
        let Spec { key, revision, value, lock, commit } = Spec::deserialize(spec).map_err(ObjectError::Spec)?;
        let value = match (value, revision) {
            (Some(value), Some(Number(revision))) => {
                Some(Versioned { value: value.decode()?, revision: Revision(revision) })
            }
            (None, None) => None,
            (Some(_), None) | (None, Some(_)) => return Err(ObjectError::Halved(key)),
        };
        let mark = Marks { lock, commit }.decode(&key)?;
        Ok(Self { key, value, mark })
    }

    /// The object of this key, whose `spec` can't be read for this reason. The key has a stand-in for its value, and so
    /// counts as in use. A mark that can be read is kept, so that its transaction still ends.
    ///
    /// What a newer program has marked is an error: its transaction is under way, and another try will find it ended.
    pub(super) fn damaged(key: &Key, spec: &Json, why: ObjectError) -> Result<Self, ObjectError> {
        if matches!(why, ObjectError::UnknownVersion { .. }) {
            return Err(why);
        }
        let why = Cause::new(why);
        let mark = Marks::deserialize(spec).map_err(ObjectError::Spec).and_then(|marks| marks.decode(key));
        let mut found = spec.as_object().cloned().unwrap_or_default();
        // Whoever ends the transaction leaves the rest as it is, and so the same stand-in.
        let (lock, commit) = (found.remove("lock"), found.remove("commit"));
        found.remove("summary");
        let is_marked = lock.into_iter().chain(commit).any(|mark| !mark.is_null());
        let mark = mark.unwrap_or_else(|_| is_marked.then(|| Mark::Unreadable(why.clone())));
        let written = found.get("revision").and_then(|revision| Number::deserialize(revision).ok());
        let revision = match written {
            Some(Number(revision)) => Revision(revision),
            None => TxnId::from_text(&Json::Object(found.clone()).to_string()).revision(),
        };
        let value = StandIn::new(&why, found).to_value().map_err(ObjectError::Spec)?;
        Ok(Self { key: key.clone(), value: Some(Versioned { value, revision }), mark })
    }
}

impl Marks {
    fn decode(self, key: &Key) -> Result<Option<Mark>, ObjectError> {
        match (self.lock, self.commit) {
            (Some(_), Some(_)) => Err(ObjectError::LockedAndCommitted(key.clone())),
            (Some(lock), None) => Ok(Some(Mark::Lock(lock.decode()?))),
            (None, Some(commit)) => Ok(Some(Mark::Commit(commit.into()))),
            (None, None) => Ok(None),
        }
    }
}

impl From<&Lock> for LockSpec {
    fn from(Lock { txn, primary, then }: &Lock) -> Self {
        let then = match then {
            Then::Keep => ThenSpec::Keep,
            Then::Put(value) => ThenSpec::Put(EncodedValue::encode(value)),
            Then::Delete => ThenSpec::Delete,
        };
        Self { v: VERSION, txn: Number(txn.0), primary: primary.clone(), then }
    }
}

impl LockSpec {
    fn decode(self) -> Result<Lock, ObjectError> {
        let then = match self.then {
            ThenSpec::Keep => Then::Keep,
            ThenSpec::Put(value) => Then::Put(value.decode()?),
            ThenSpec::Delete => Then::Delete,
        };
        Ok(Lock { txn: TxnId(self.txn.0), primary: self.primary, then })
    }
}

impl From<&Commit> for CommitSpec {
    fn from(Commit { txn, locks }: &Commit) -> Self {
        let locks = locks.iter().cloned().map(|(key, uid)| LockedSpec { key, uid }).collect();
        Self { v: VERSION, txn: Number(txn.0), locks }
    }
}

impl From<CommitSpec> for Commit {
    fn from(CommitSpec { txn, locks, .. }: CommitSpec) -> Self {
        Self { txn: TxnId(txn.0), locks: locks.into_iter().map(|LockedSpec { key, uid }| (key, uid)).collect() }
    }
}

#[cfg(test)]
mod tests;
