//! The values in the store: leases of addresses, attachments, rests, and the definitions of networks seen.
//!
//! All are JSON with a version `v`. Fields that this version doesn't know are kept when a value is written again, and a
//! value of a newer version is never touched: it counts as held (contract, sections 3 and 7). [`Stored`] says which.

mod aging;
mod attachment;
mod definition;
mod foreign;
mod holder;
mod stored;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

pub use self::aging::{Sighting, is_ahead};
use self::aging::{counts_from, has_lasted, with_sight};
pub use self::attachment::{Assigned, Attachment, Written};
pub use self::definition::{DefinedRange, Definition};
pub use self::foreign::{Foreign, LAST_HOLDER_ANSWERS};
pub use self::holder::{Began, Holder, PodRef};
pub use self::stored::{Stored, UnreadableValue};
use super::cluster::ClusterIdentity;
use super::name::AttachmentId;
use super::reservation::Owner;

/// The version of the values that this program writes, and the newest that it understands.
pub const VERSION: u32 = 1;

/// Fields of a stored value that this version doesn't know.
pub type Unknown = Map<String, Value>;

/// The stored form of a value of this module.
pub fn write<T: Serialize>(value: &T) -> Vec<u8> {
    // Serialising these types can't fail: their maps have text keys, and no Serialize of theirs returns an error.
    serde_json::to_vec(value).unwrap_or_default()
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// How an address was chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AllocationKind {
    /// Any free one of the range set.
    Dynamic,
    /// Asked for by name.
    Fixed,
    /// Kept for its owner.
    Sticky,
}

/// What becomes of an address when its last holder lets go of it. It is decided by the ADD, because a DEL may come with
/// a config that no longer says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum OnRelease {
    /// Nothing remembers it: no range gives it at random, or no cooldown is set.
    Forget,
    /// It rests this many seconds before it is given at random again.
    Rest(u64),
    /// It is given at random only when nothing else is free: an address that was fixed, inside a dynamic range.
    Last,
    /// It stays its owner's: as long as that exists, or for so many seconds.
    Keep(Option<u64>),
}

/// The rest of a released address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rest {
    /// When it was released.
    pub released: Timestamp,
    /// How long it rests, in seconds.
    pub seconds: u64,
    /// Given at random only when nothing else is free, however long it rested.
    #[serde(default, skip_serializing_if = "is_default")]
    pub last: bool,
}

impl Rest {
    /// Whether the address was released so short a while ago that its last holder may still answer for it.
    pub fn is_recent(&self, now: Timestamp) -> bool {
        !has_lasted(self.released, LAST_HOLDER_ANSWERS, now)
    }

    /// Whether the rest is over. A release in the future (a wrong clock) counts as released now.
    pub fn is_over(&self, now: Timestamp) -> bool {
        has_lasted(self.released, self.seconds, now)
    }
}

/// The entry of a resting address among the rests, stored under `rest/…`: written and removed together with its lease,
/// and so of the same revision.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RestEntry {
    /// [`VERSION`].
    pub v: u32,
    /// The rest, as in the lease.
    #[serde(flatten)]
    pub rest: Rest,
}

/// The lease of one address, stored under `ip/…`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Lease {
    /// [`VERSION`].
    pub v: u32,
    /// How the address was chosen.
    pub kind: AllocationKind,
    /// Who holds it; of a resting address, who held it last.
    pub holders: Vec<Holder>,
    /// When it was given.
    pub since: Timestamp,
    /// What becomes of it on release.
    pub on_release: OnRelease,
    /// Set while nobody holds it and it rests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rest: Option<Rest>,
    /// The stable identity of its holders: of a kept address always, else where they are of one virtual machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<Owner>,
    /// The stable identity whose pods hold it because they asked for it by name: while they do, it has no other
    /// address. Nothing is kept for it beyond that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held_for: Option<Owner>,
    /// Since when nobody holds it and it is reserved for its owner.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unused: Option<Timestamp>,
    /// When the pod of its holder was first seen gone by an ADD that found no free address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seen_gone: Option<SeenGone>,
    /// Times of it that lay ahead when they were first seen, and when that was.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sighted: Vec<Sighting>,
    /// The UIDs of a virtual machine's pods that have held it beside others and have given it back, the latest last.
    /// KubeVirt may go on listing them when they have finished.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub former_pods: Vec<String>,
    /// The host that uses the address, while nobody holds it whom the store knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub foreign: Option<Foreign>,
    /// What a newer version of the same format has added.
    #[serde(flatten)]
    pub unknown: Unknown,
}

/// The first of two looks that show the pod of a holder gone. It names that pod, so that it says nothing of a holder
/// who came later: an older version keeps the field without knowing what it means.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeenGone {
    /// The UID of the pod.
    pub uid: String,
    /// When that was seen.
    pub at: Timestamp,
}

/// How an address stands that has a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LeaseState {
    /// Somebody holds it.
    Held,
    /// Nobody does, and it is kept for its owner.
    Reserved,
    /// It was released, and nobody has got it since.
    Resting,
    /// A host uses it that the store does not know.
    Foreign,
}

impl LeaseState {
    /// A word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Held => "held",
            Self::Reserved => "reserved",
            Self::Resting => "resting",
            Self::Foreign => "foreign",
        }
    }
}

/// The most former pods that a lease names: one for each migration since the machine was started.
const MAX_FORMER_PODS: usize = 64;

impl Lease {
    /// How the address stands.
    pub fn state(&self) -> LeaseState {
        match (&self.rest, self.unused) {
            (Some(_), _) => LeaseState::Resting,
            (None, Some(_)) => LeaseState::Reserved,
            (None, None) if self.foreign().is_some() => LeaseState::Foreign,
            (None, None) => LeaseState::Held,
        }
    }

    /// Whether somebody holds the address: it neither rests nor is it only reserved, or foreign.
    pub fn is_held(&self) -> bool {
        self.state() == LeaseState::Held
    }

    /// Whether pods of this owner hold it because they asked for it.
    pub fn is_held_for(&self, owner: &Owner, cluster: &ClusterIdentity) -> bool {
        self.is_held() && self.held_for.as_ref().is_some_and(|held_for| cluster.renamed(held_for).is(owner))
    }

    /// Whether this attachment holds the address.
    pub fn is_held_by(&self, id: &AttachmentId) -> bool {
        self.is_held() && self.holders.iter().any(|holder| holder.id == *id)
    }

    /// The same lease without one of its holders; `None` if there is no other.
    pub fn without(mut self, id: &AttachmentId) -> Option<Self> {
        let (gone, others): (Vec<Holder>, Vec<Holder>) = self.holders.into_iter().partition(|holder| holder.id == *id);
        let of_others = |uid: &String| others.iter().any(|holder| holder.pod.uid.as_ref() == Some(uid));
        for uid in gone.into_iter().filter_map(|holder| holder.pod.uid).filter(|uid| !of_others(uid)) {
            self.former_pods.retain(|former| *former != uid);
            self.former_pods.push(uid);
        }
        let surplus = self.former_pods.len().saturating_sub(MAX_FORMER_PODS);
        self.former_pods.drain(..surplus);
        (!others.is_empty()).then_some(Self { holders: others, ..self })
    }

    /// The same lease with another holder.
    pub fn joined_by(mut self, holder: Holder) -> Self {
        self.former_pods.retain(|former| Some(former) != holder.pod.uid.as_ref());
        self.holders.push(holder);
        self
    }

    /// Takes the holders that name no cluster for those of this owner's, if the lease is kept for that very object: the
    /// pods of an object are in its cluster.
    pub fn name_cluster_of_pods(&mut self, owner: &Owner) {
        if self.owner.as_ref().is_some_and(|kept| kept.uid == owner.uid) {
            let unnamed = self.holders.iter_mut().filter(|holder| holder.cluster.is_none());
            unnamed.for_each(|holder| holder.cluster.clone_from(&owner.cluster));
        }
    }

    /// Whether it is reserved, and has been unused for longer than that is to last. An end of its use in the future (a
    /// wrong clock) counts as now. Whether its owner still exists is for the API server to say.
    pub fn is_over(&self, now: Timestamp) -> bool {
        let (Some(unused), OnRelease::Keep(Some(seconds))) = (self.unused, self.on_release) else { return false };
        has_lasted(self.counts_from(unused, now), seconds, now)
    }

    /// The same lease, no longer kept: unused, it rests so many seconds from the end of its use; held, it will rest as
    /// long. `None` if nothing is to remember it.
    pub fn given_up(self, cooldown: u64) -> Option<Self> {
        let on_release = if cooldown == 0 { OnRelease::Forget } else { OnRelease::Rest(cooldown) };
        let unused = self.unused;
        let former_pods = Vec::new();
        let plain = Self {
            kind: AllocationKind::Dynamic,
            on_release,
            owner: None,
            held_for: None,
            unused: None,
            former_pods,
            ..self
        };
        match unused {
            Some(since) => plain.released(since),
            None => Some(plain),
        }
    }

    /// Whether what is reserved is over for an owner who asks: by its time to live, or since that owner is a claim that
    /// was made anew under the name of the one it was reserved for.
    pub fn is_over_for(&self, owner: Option<&Owner>, now: Timestamp) -> bool {
        let is_replaced = self.owner.as_ref().zip(owner).is_some_and(|(former, owner)| owner.replaces(former));
        self.is_over(now) || self.unused.is_some() && is_replaced
    }

    /// From when on one of its times counts for an age.
    pub fn counts_from(&self, time: Timestamp, now: Timestamp) -> Timestamp {
        counts_from(time, &self.sighted, now)
    }

    /// The same lease with the sight of each of its times that is [ahead](is_ahead), so that they age; `None` if all
    /// are known.
    pub fn sighted(&self, now: Timestamp) -> Option<Self> {
        let released = self.rest.as_ref().map(|rest| rest.released);
        let seen_gone = self.seen_gone.as_ref().map(|seen| seen.at);
        let answered = self.foreign.as_ref().map(|foreign| foreign.answered);
        let times = [Some(self.since), released, self.unused, seen_gone, answered];
        let times = BTreeSet::from_iter(times.into_iter().flatten());
        let sighted: Vec<Sighting> = times.into_iter().flat_map(|time| with_sight(time, &self.sighted, now)).collect();
        let is_known = sighted.iter().all(|sighting| self.sighted.contains(sighting));
        (!is_known).then(|| Self { sighted, ..self.clone() })
    }

    /// When the pod of this UID was first seen gone, if it was.
    pub fn seen_gone(&self, uid: &str) -> Option<Timestamp> {
        self.seen_gone.as_ref().filter(|seen| seen.uid == uid).map(|seen| seen.at)
    }

    /// Whether its rest is over, if it rests.
    pub fn has_rested(&self, now: Timestamp) -> bool {
        self.rest.as_ref().is_some_and(|rest| has_lasted(self.counts_from(rest.released, now), rest.seconds, now))
    }

    /// The same lease after its release: `None` if nothing is to remember it. A machine that starts again has other
    /// pods.
    pub fn released(mut self, now: Timestamp) -> Option<Self> {
        self.former_pods.clear();
        self.held_for = None;
        let rest = match self.on_release {
            OnRelease::Keep(_) => return Some(Self { unused: Some(now), seen_gone: None, ..self }),
            OnRelease::Forget | OnRelease::Rest(0) => return None,
            OnRelease::Rest(seconds) => Rest { released: now, seconds, last: false },
            OnRelease::Last => Rest { released: now, seconds: 0, last: true },
        };
        Some(Self { rest: Some(rest), seen_gone: None, ..self })
    }
}
