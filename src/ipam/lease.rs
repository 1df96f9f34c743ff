//! The values in the store: leases, attachments, cooldown entries, and definitions of networks.
//!
//! All are JSON with a version `v`. A rewritten value keeps the fields that this version doesn't know. A value of a
//! newer version is never changed and counts as held. [`Stored`] distinguishes these cases.

mod aging;
mod attachment;
mod definition;
mod foreign;
mod holder;
mod manual;
mod open_to;
mod stored;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

pub use self::aging::{Sighting, is_ahead};
use self::aging::{after, counts_from, has_lasted, with_sight};
pub use self::attachment::{Assigned, Attachment, Written};
pub use self::definition::{DefinedRange, Definition};
pub use self::foreign::{Foreign, LAST_HOLDER_ANSWERS};
pub use self::holder::{Began, Holder, PodRef, describe};
pub use self::manual::{
    Beneficiary, BeneficiaryError, BeneficiaryKind, MAX_REMARK, ManualReservation, Remark, RemarkError,
};
pub use self::open_to::OpenTo;
pub use self::stored::{Stored, UnreadableValue};
use super::cluster::ClusterIdentity;
use super::name::AttachmentId;
use super::reservation::Owner;

/// The version of the values that this program writes, and the newest that it understands.
pub const VERSION: u32 = 1;

/// Fields of a stored value that this version doesn't know.
pub type Unknown = Map<String, Value>;

/// Serializes a value of this module as it is stored.
pub fn write<T: Serialize>(value: &T) -> Vec<u8> {
    // Serialising these types can't fail: their maps have text keys, and none of their Serialize implementations
    // returns an error.
    serde_json::to_vec(value).unwrap_or_default()
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// How an address was selected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum AllocationKind {
    /// At random.
    Dynamic,
    /// It was requested.
    Fixed,
    /// It is reserved for its owner.
    Sticky,
}

impl AllocationKind {
    /// The kind as a word, for tables.
    pub fn word(self) -> &'static str {
        match self {
            Self::Dynamic => "random",
            Self::Fixed => "fixed",
            Self::Sticky => "sticky",
        }
    }
}

/// What happens to an address when its last holder releases it. The ADD decides it, because a DEL may come with a
/// config that no longer says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum OnRelease {
    /// Its lease is deleted: the address is never selected at random, or there is no cooldown.
    Forget,
    /// It is in cooldown for this many seconds.
    Rest(u64),
    /// It is selected at random only when nothing else is free: a fixed address inside a dynamic range.
    Last,
    /// It stays reserved while its owner exists, or for this many seconds.
    Keep(Option<u64>),
}

/// The cooldown of a released address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Rest {
    /// When it was released.
    #[schemars(with = "String")]
    pub released: Timestamp,
    /// The length of the cooldown, in seconds.
    pub seconds: u64,
    /// Whether it is selected at random only when nothing else is free, however long ago it was released.
    #[serde(default, skip_serializing_if = "is_default")]
    pub last: bool,
}

impl Rest {
    /// Whether the address was released so recently that its last holder may still answer for it.
    pub fn is_recent(&self, now: Timestamp) -> bool {
        !has_lasted(self.released, LAST_HOLDER_ANSWERS, now)
    }

    /// Whether the cooldown is over. A release in the future (a wrong clock) counts as now.
    pub fn is_over(&self, now: Timestamp) -> bool {
        has_lasted(self.released, self.seconds, now)
    }
}

/// An entry of the cooldown index, stored under `rest/…`. It is written and removed together with its lease, and so has
/// the same revision.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RestEntry {
    /// [`VERSION`].
    pub v: u32,
    /// The cooldown, as in the lease.
    #[serde(flatten)]
    pub rest: Rest,
}

/// The lease of one address, stored under `ip/…`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Lease {
    /// [`VERSION`].
    #[schemars(description = "The version of the stored lease.")]
    pub v: u32,
    /// How the address was selected.
    pub kind: AllocationKind,
    /// Its holders. In cooldown, the last ones.
    pub holders: Vec<Holder>,
    /// When it was assigned; for a foreign host, its first answer.
    #[schemars(with = "String")]
    pub since: Timestamp,
    /// What happens to it on release.
    pub on_release: OnRelease,
    /// Set while it is in cooldown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rest: Option<Rest>,
    /// The owner of its holders: always for a sticky address, else only if they are of one virtual machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<Owner>,
    /// The owner whose pods hold it because they requested it. While they do, the owner has no other address.
    /// Afterwards, nothing is reserved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held_for: Option<Owner>,
    /// Set while it is reserved without a holder: the end of its use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub unused: Option<Timestamp>,
    /// When an ADD that found no free address first saw that its holder's pod is gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seen_gone: Option<SeenGone>,
    /// When times in the future were first seen.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sighted: Vec<Sighting>,
    /// The UIDs of a virtual machine's pods that shared it and left, the latest last. KubeVirt may keep listing them
    /// after they finished.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub former_pods: Vec<String>,
    /// The host that uses the address, while it has no holder in the store.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub foreign: Option<Foreign>,
    /// What the operator said of an address that is reserved by hand, whether a pod holds it or not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manual: Option<ManualReservation>,
    /// Fields of newer versions.
    #[serde(flatten)]
    pub unknown: Unknown,
}

/// The first of two checks that find a holder's pod gone. It names the pod, so that it does not apply to a later
/// holder: an older version keeps the field without reading it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SeenGone {
    /// The UID of that pod.
    pub uid: String,
    /// The time of the check.
    #[schemars(with = "String")]
    pub at: Timestamp,
}

/// The state of an address that has a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LeaseState {
    /// It has a holder.
    Held,
    /// It has no holder, and is reserved for its owner.
    Reserved,
    /// It is in cooldown.
    Resting,
    /// A host without a lease uses it.
    Foreign,
}

impl LeaseState {
    /// The state as a word, for tables and JSON.
    pub fn word(self) -> &'static str {
        match self {
            Self::Held => "held",
            Self::Reserved => "reserved",
            Self::Resting => "resting",
            Self::Foreign => "foreign",
        }
    }
}

/// The most former pods that a lease names. Each migration adds one until the machine stops.
const MAX_FORMER_PODS: usize = 64;

impl Lease {
    /// A lease with no more than it was assigned with: no cooldown, no owner, no notes.
    pub fn new(kind: AllocationKind, holders: Vec<Holder>, since: Timestamp, on_release: OnRelease) -> Self {
        Self {
            v: VERSION,
            kind,
            holders,
            since,
            on_release,
            rest: None,
            owner: None,
            held_for: None,
            unused: None,
            seen_gone: None,
            sighted: Vec::new(),
            former_pods: Vec::new(),
            foreign: None,
            manual: None,
            unknown: Unknown::new(),
        }
    }

    /// The state of the address.
    pub fn state(&self) -> LeaseState {
        match (&self.rest, self.unused) {
            (Some(_), _) => LeaseState::Resting,
            (None, Some(_)) => LeaseState::Reserved,
            (None, None) if self.foreign().is_some() => LeaseState::Foreign,
            (None, None) => LeaseState::Held,
        }
    }

    /// Since when the address is in its state: assigned, released, or first seen in use by a host.
    pub fn state_since(&self) -> Timestamp {
        self.rest.as_ref().map(|rest| rest.released).or(self.unused).unwrap_or(self.since)
    }

    /// Whether the address has a holder: it is not in cooldown, only reserved, or foreign.
    pub fn is_held(&self) -> bool {
        self.state() == LeaseState::Held
    }

    /// Whether pods of this owner hold it because they requested it.
    pub fn is_held_for(&self, owner: &Owner, cluster: &ClusterIdentity) -> bool {
        self.is_held() && self.held_for.as_ref().is_some_and(|held_for| cluster.renamed(held_for).is(owner))
    }

    /// Whether this attachment holds the address.
    pub fn is_held_by(&self, id: &AttachmentId) -> bool {
        self.is_held() && self.holders.iter().any(|holder| holder.id == *id)
    }

    /// Removes one of its holders; `None` if no other is left.
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

    /// Adds a holder.
    pub fn joined_by(mut self, holder: Holder) -> Self {
        self.former_pods.retain(|former| Some(former) != holder.pod.uid.as_ref());
        self.holders.push(holder);
        self
    }

    /// Adds the cluster to holders that name none, if the lease is reserved for the same object. The pods of an object
    /// run in its cluster.
    pub fn name_cluster_of_pods(&mut self, owner: &Owner) {
        if self.owner.as_ref().is_some_and(|kept| kept.uid == owner.uid) {
            let unnamed = self.holders.iter_mut().filter(|holder| holder.cluster.is_none());
            unnamed.for_each(|holder| holder.cluster.clone_from(&owner.cluster));
        }
    }

    /// Whether its reservation has expired. An end of use in the future (a wrong clock) counts as now. Whether its
    /// owner still exists is a different question.
    pub fn is_over(&self, now: Timestamp) -> bool {
        if let Some(is_over) = self.has_manual_ended(now) {
            return is_over && self.unused.is_some();
        }
        let (Some(unused), OnRelease::Keep(Some(seconds))) = (self.unused, self.on_release) else { return false };
        has_lasted(self.counts_from(unused, now), seconds, now)
    }

    /// The same lease without its reservation. If it is unused, its cooldown counts from the end of its use; if it is
    /// held, the cooldown follows its release. `None` if there is nothing to keep.
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

    /// Whether its reservation has ended for a requester with this owner: it expired, or was for an earlier claim of
    /// the same name.
    pub fn is_over_for(&self, owner: Option<&Owner>, now: Timestamp) -> bool {
        let is_replaced = self.owner.as_ref().zip(owner).is_some_and(|(former, owner)| owner.replaces(former));
        self.is_over(now) || self.unused.is_some() && is_replaced && self.manual.is_none()
    }

    /// When one of its times starts to age (see [`is_ahead`]).
    pub fn counts_from(&self, time: Timestamp, now: Timestamp) -> Timestamp {
        counts_from(time, &self.sighted, now)
    }

    /// Records when its times in the future ([`is_ahead`]) were first seen, so that they age; `None` if that is already
    /// recorded.
    pub fn sighted(&self, now: Timestamp) -> Option<Self> {
        let released = self.rest.as_ref().map(|rest| rest.released);
        let seen_gone = self.seen_gone.as_ref().map(|seen| seen.at);
        let answered = self.foreign.as_ref().map(|foreign| foreign.answered);
        let reserved = self.manual.as_ref().map(|manual| manual.at);
        let times = [Some(self.since), released, self.unused, seen_gone, answered, reserved];
        let times = BTreeSet::from_iter(times.into_iter().flatten());
        let sighted: Vec<Sighting> = times.into_iter().flat_map(|time| with_sight(time, &self.sighted, now)).collect();
        let is_known = sighted.iter().all(|sighting| self.sighted.contains(sighting));
        (!is_known).then(|| Self { sighted, ..self.clone() })
    }

    /// When the pod with this UID was first seen gone.
    pub fn seen_gone(&self, uid: &str) -> Option<Timestamp> {
        self.seen_gone.as_ref().filter(|seen| seen.uid == uid).map(|seen| seen.at)
    }

    /// When its cooldown is over; `None` if it is not in cooldown.
    pub fn rests_until(&self, now: Timestamp) -> Option<Timestamp> {
        let rest = self.rest.as_ref()?;
        after(self.counts_from(rest.released, now), rest.seconds)
    }

    /// When its unused reservation expires; `None` if it lasts as long as its owner, or if it is in use.
    pub fn reserved_until(&self, now: Timestamp) -> Option<Timestamp> {
        if self.manual.is_some() {
            return self.manual_until(now).filter(|_| self.unused.is_some());
        }
        let (Some(unused), OnRelease::Keep(Some(seconds))) = (self.unused, self.on_release) else { return None };
        after(self.counts_from(unused, now), seconds)
    }

    /// Whether its cooldown is over.
    pub fn has_rested(&self, now: Timestamp) -> bool {
        self.rest.as_ref().is_some_and(|rest| has_lasted(self.counts_from(rest.released, now), rest.seconds, now))
    }

    /// The same lease after its release; `None` if there is nothing to keep. It loses its former pods, because a
    /// virtual machine that starts again has other pods.
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
