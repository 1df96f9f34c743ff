//! The values in the store: leases of addresses, attachments, rests, and the definitions of networks seen.
//!
//! All are JSON with a version `v`. Fields that this version doesn't know are kept when a value is written again, and a
//! value of a newer version is never touched: it counts as held (contract, sections 3 and 7). [`Stored`] says which.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ipnet::IpNet;
use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::cluster::ClusterIdentity;
use super::name::{AttachmentId, Name};
use super::pod::{Controller, machine_name};
use super::reservation::Owner;
use crate::store::Revision;

/// The version of the values that this program writes, and the newest that it understands.
pub const VERSION: u32 = 1;

/// Fields of a stored value that this version doesn't know.
pub type Unknown = Map<String, Value>;

/// A stored value as far as this version can read it.
#[derive(Clone, Debug, PartialEq)]
pub enum Stored<T> {
    /// Read in full.
    Known(T),
    /// Written by a newer version; in use, and not to be touched.
    Newer(u32),
    /// Not readable at all; in use, since unknown means in use (invariant 4).
    Corrupt(String),
}

impl<T: DeserializeOwned> Stored<T> {
    /// Reads a stored value.
    pub fn read(bytes: &[u8]) -> Self {
        #[derive(Deserialize)]
        struct Version {
            v: u32,
        }
        match serde_json::from_slice::<Version>(bytes) {
            Err(e) => Self::Corrupt(e.to_string()),
            Ok(Version { v }) if v > VERSION => Self::Newer(v),
            Ok(_) => serde_json::from_slice(bytes).map_or_else(|e| Self::Corrupt(e.to_string()), Self::Known),
        }
    }

    /// What is to be said of a value that can't be read: the end of a sentence that begins with what it is.
    pub fn why_unreadable(&self) -> String {
        match self {
            Self::Known(_) => "can be read".to_owned(),
            Self::Newer(version) => {
                format!("was written by a newer kube-ipam (value version {version}, this one reads up to {VERSION})")
            }
            Self::Corrupt(why) => format!("can't be read: {why}"),
        }
    }

    /// The value as it stands here, if it could be read in full.
    pub fn as_known(&self) -> Option<&T> {
        match self {
            Self::Known(value) => Some(value),
            Self::Newer(_) | Self::Corrupt(_) => None,
        }
    }

    /// The value, if it could be read in full.
    pub fn known(self) -> Option<T> {
        match self {
            Self::Known(value) => Some(value),
            Self::Newer(_) | Self::Corrupt(_) => None,
        }
    }
}

/// The stored form of a value of this module.
pub fn write<T: Serialize>(value: &T) -> Vec<u8> {
    // Serialising these types can't fail: their maps have text keys, and no Serialize of theirs returns an error.
    serde_json::to_vec(value).unwrap_or_default()
}

/// When something began on a node: its boot, and the time since that boot, which no clock change moves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Began {
    /// The kernel's boot id; empty where it can't be read.
    pub boot: String,
    /// CLOCK_BOOTTIME, in milliseconds.
    pub boottime: u64,
}

/// A pod as the runtime names it; all but the name may be missing (podman gives only that).
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PodRef {
    /// K8S_POD_NAMESPACE.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// K8S_POD_NAME.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// K8S_POD_UID.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<String>,
}

impl PodRef {
    /// Whether it says which pod of the cluster it is. podman gives the name of a container alone.
    pub fn is_in_a_cluster(&self) -> bool {
        self.namespace.is_some() && self.name.is_some()
    }

    /// Whether nothing is known of it.
    pub fn is_unnamed(&self) -> bool {
        *self == Self::default()
    }

    /// Namespace, name and UID, which tell one pod from all others; `None` if one of them is missing. A UID alone does not:
    /// static pods of one manifest share it on all nodes.
    pub fn full_name(&self) -> Option<(&str, &str, &str)> {
        let parts =
            [&self.namespace, &self.name, &self.uid].map(|part| part.as_deref().filter(|text| !text.is_empty()));
        let [namespace, name, uid] = parts;
        Some((namespace?, name?, uid?))
    }

    /// `namespace/name`, the name alone, or nothing.
    pub fn label(&self) -> Option<String> {
        match (&self.namespace, &self.name) {
            (Some(namespace), Some(name)) => Some(format!("{namespace}/{name}")),
            (None, Some(name)) => Some(name.clone()),
            (_, None) => None,
        }
    }
}

/// Who holds an address: a pod attachment, and when its ADD began (contract, section 3).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Holder {
    /// The attachment.
    #[serde(flatten)]
    pub id: AttachmentId,
    /// The pod, where the runtime named one.
    #[serde(default, skip_serializing_if = "is_default")]
    pub pod: PodRef,
    /// What the pod belongs to, such as `Deployment web`, where its metadata was read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workload: Option<String>,
    /// The pod's controller, where its metadata was read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub controller: Option<Controller>,
    /// The identity of the cluster, where the node defaults give one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster: Option<String>,
    /// When the ADD began.
    pub began: Began,
    /// What a newer version of the same format has added.
    #[serde(flatten)]
    pub unknown: Unknown,
}

impl Holder {
    /// The virtual machine whose pod it says to be.
    pub fn machine(&self) -> Option<&Controller> {
        self.controller.as_ref().filter(|controller| controller.is_machine())
    }

    /// Whether it says to be a pod of the same virtual machine as another holder, of which two run while it migrates. That is
    /// a reason to ask KubeVirt, and no proof.
    pub fn may_join(&self, other: &Self) -> bool {
        self.machine().is_some() && self.is_of_one_machine_with(other)
    }

    /// Whether two holders were given an address as pods of one virtual machine. One that 0.3.0 wrote has only the text of its
    /// workload.
    pub fn is_of_one_machine_with(&self, other: &Self) -> bool {
        let name = |holder: &Self| match &holder.controller {
            Some(_) => holder.machine().map(|machine| machine.name.clone()),
            None => holder.workload.as_deref().and_then(machine_name).map(str::to_owned),
        };
        let is_other_instance = self.machine().zip(other.machine()).is_some_and(|(one, other)| one.uid != other.uid);
        let is_named = name(self).is_some() && name(self) == name(other) && !is_other_instance;
        is_named && self.cluster == other.cluster && self.pod.namespace == other.pod.namespace
    }
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

impl std::fmt::Display for Holder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.pod.label() {
            Some(pod) => write!(f, "pod {pod}, interface {}, node {}", self.id.ifname, self.id.node)?,
            None => write!(f, "container {}, interface {}, node {}", self.id.container, self.id.ifname, self.id.node)?,
        }
        write!(f, ", network {}", self.id.network)
    }
}

/// How an address was chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
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
    pub kind: Kind,
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
    /// The UIDs of a virtual machine's pods that have held it beside others and have given it back, the latest last. KubeVirt
    /// may go on listing them when they have finished.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub former_pods: Vec<String>,
    /// What a newer version of the same format has added.
    #[serde(flatten)]
    pub unknown: Unknown,
}

/// The first of two looks that show the pod of a holder gone. It names that pod, so that it says nothing of a holder who
/// came later: an older version keeps the field without knowing what it means.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeenGone {
    /// The UID of the pod.
    pub uid: String,
    /// When that was seen.
    pub at: Timestamp,
}

/// How an address stands that has a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// Somebody holds it.
    Held,
    /// Nobody does, and it is kept for its owner.
    Reserved,
    /// It was released, and nobody has got it since.
    Resting,
}

impl State {
    /// A word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Held => "held",
            Self::Reserved => "reserved",
            Self::Resting => "resting",
        }
    }
}

/// The first sight of a stored time, by the clock of whoever saw it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sighting {
    /// The stored time, or that of an earlier sighting by a clock that was ahead of this one. A sighting says nothing of a
    /// time that was stored later: an older version keeps the field without knowing what it means.
    pub of: Timestamp,
    /// When it was seen.
    pub at: Timestamp,
}

/// How far ahead of this node's clock a stored time may be, in seconds: clocks differ a little.
const AHEAD: i64 = 60;

/// Whether a stored time is so far ahead that a clock is wrong: the one by which it was written, or this one.
pub fn is_ahead(time: Timestamp, now: Timestamp) -> bool {
    time.as_second().saturating_sub(now.as_second()) > AHEAD
}

/// From when on a stored time counts for an age.
///
/// One that lies ahead would not age before that time has come, which may be never; to count it as over would let a slow
/// clock give away what others keep. So it ages from its first sight. The stored time itself stays as it is: it is right for
/// all whose clock is, if this one is slow.
fn counts_from(time: Timestamp, sighted: &[Sighting], now: Timestamp) -> Timestamp {
    if is_ahead(time, now) { first_sight(time, sighted, now).unwrap_or(now) } else { time }
}

/// The most sightings of one time: each is by a clock that is behind that of the one before it.
const SIGHTINGS: usize = 4;

/// The sightings of a time, each of the one before it.
fn sightings(time: Timestamp, sighted: &[Sighting]) -> impl Iterator<Item = &Sighting> {
    let of = move |time: Timestamp| sighted.iter().find(|sighting| sighting.of == time);
    std::iter::successors(of(time), move |sighting| of(sighting.at)).take(SIGHTINGS)
}

/// When a time was first seen by a clock that is not ahead of this one.
fn first_sight(time: Timestamp, sighted: &[Sighting], now: Timestamp) -> Option<Timestamp> {
    sightings(time, sighted).map(|sighting| sighting.at).find(|at| !is_ahead(*at, now))
}

/// The sightings of a time, with one more if all of them lie ahead, as the time itself does.
fn with_sight(time: Timestamp, sighted: &[Sighting], now: Timestamp) -> Vec<Sighting> {
    let mut known: Vec<Sighting> = sightings(time, sighted).cloned().collect();
    let of = known.last().map_or(time, |last| last.at);
    if is_ahead(of, now) && known.len() < SIGHTINGS {
        known.push(Sighting { of, at: now });
    }
    known
}

/// The most former pods that a lease names: one for each migration since the machine was started.
const MAX_FORMER_PODS: usize = 64;

/// Whether so many seconds have passed since then. What lies in the future (a wrong clock) was now.
fn has_lasted(since: Timestamp, seconds: u64, now: Timestamp) -> bool {
    let passed = now.as_second().saturating_sub(since.as_second());
    u64::try_from(passed).unwrap_or(0) >= seconds
}

impl Lease {
    /// How the address stands.
    pub fn state(&self) -> State {
        match (&self.rest, self.unused) {
            (Some(_), _) => State::Resting,
            (None, Some(_)) => State::Reserved,
            (None, None) => State::Held,
        }
    }

    /// Whether somebody holds the address: it neither rests nor is it only reserved.
    pub fn is_held(&self) -> bool {
        self.state() == State::Held
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

    /// Takes the holders that name no cluster for those of this owner's, if the lease is kept for that very object: the pods of
    /// an object are in its cluster.
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
        let plain =
            Self { kind: Kind::Dynamic, on_release, owner: None, held_for: None, unused: None, former_pods, ..self };
        match unused {
            Some(since) => plain.released(since),
            None => Some(plain),
        }
    }

    /// Whether what is reserved is over for an owner who asks: by its time to live, or since that owner is a claim that was
    /// made anew under the name of the one it was reserved for.
    pub fn is_over_for(&self, owner: Option<&Owner>, now: Timestamp) -> bool {
        let is_replaced = self.owner.as_ref().zip(owner).is_some_and(|(former, owner)| owner.replaces(former));
        self.is_over(now) || self.unused.is_some() && is_replaced
    }

    /// From when on one of its times counts for an age.
    pub fn counts_from(&self, time: Timestamp, now: Timestamp) -> Timestamp {
        counts_from(time, &self.sighted, now)
    }

    /// The same lease with the sight of each of its times that is [ahead](is_ahead), so that they age; `None` if all are
    /// known.
    pub fn sighted(&self, now: Timestamp) -> Option<Self> {
        let released = self.rest.as_ref().map(|rest| rest.released);
        let seen_gone = self.seen_gone.as_ref().map(|seen| seen.at);
        let times = BTreeSet::from_iter([Some(self.since), released, self.unused, seen_gone].into_iter().flatten());
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

    /// The same lease after its release: `None` if nothing is to remember it. A machine that starts again has other pods.
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

/// One address as it was given: with its prefix length and gateway, so that a repeated ADD gets the same answer after
/// the config has changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Assigned {
    /// The address and its prefix length.
    pub address: IpNet,
    /// The gateway of its subnet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway: Option<IpAddr>,
}

/// What an attachment has, stored under `at/…`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Attachment {
    /// [`VERSION`].
    pub v: u32,
    /// The routing domain of its addresses.
    pub vrf: Name,
    /// Its addresses, in the order of the network's range sets; empty while it is only closed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<Assigned>,
    /// Addresses that it had and that were taken from it. It stays incomplete until its DEL: a repeated ADD is refused.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lost: Vec<IpAddr>,
    /// When it lost the last of them. The entry is the trace by which its node knows that the store has lost nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lost_since: Option<Timestamp>,
    /// Who it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub holder: Option<Holder>,
    /// The fence: a DEL has closed this attachment at this time, because the ADD before it may still be under way. A
    /// later ADD of the same id replaces it and carries it on, so that its own DEL leaves the fence standing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closed: Option<Timestamp>,
    /// When sweeps have first seen that it was closed then.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sighted: Vec<Sighting>,
    /// What a newer version of the same format has added.
    #[serde(flatten)]
    pub unknown: Unknown,
}

impl Attachment {
    /// When a sweep has first seen the fence that stands in it, by a clock that is not ahead of this one.
    pub fn fence_seen(&self, now: Timestamp) -> Option<Timestamp> {
        first_sight(self.closed?, &self.sighted, now)
    }

    /// The same with the sight of the fence that was closed then.
    #[must_use]
    pub fn with_sight_of(self, closed: Timestamp, now: Timestamp) -> Self {
        let sighted = match with_sight(closed, &self.sighted, now) {
            none if none.is_empty() => vec![Sighting { of: closed, at: now }],
            sighted => sighted,
        };
        Self { sighted, ..self }
    }

    /// Whether it is a fence and nothing else.
    pub fn is_only_closed(&self) -> bool {
        self.addresses.is_empty() && self.lost.is_empty() && self.closed.is_some()
    }

    /// The same without these addresses, if it has any of them.
    pub fn without(mut self, ips: &[IpAddr], now: Timestamp) -> Option<Self> {
        let (lost, kept) = self.addresses.into_iter().partition(|assigned| ips.contains(&assigned.address.addr()));
        let lost: Vec<Assigned> = lost;
        if lost.is_empty() {
            return None;
        }
        self.lost.extend(lost.into_iter().map(|assigned| assigned.address.addr()));
        Some(Self { addresses: kept, lost_since: Some(now), ..self })
    }

    /// A fence in the place of an attachment.
    pub fn closed(vrf: Name, at: Timestamp) -> Self {
        let (addresses, lost, sighted, unknown) = (Vec::new(), Vec::new(), Vec::new(), Unknown::new());
        Self { v: VERSION, vrf, addresses, lost, lost_since: None, holder: None, closed: Some(at), sighted, unknown }
    }
}

/// Exactly what a commit wrote, and at which revision: with it a DEL releases everything in one request, as long as
/// nobody has written to these keys since.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Written {
    /// The revision of every key below.
    pub revision: Revision,
    /// The attachment's value.
    pub attachment: Attachment,
    /// The addresses with their leases.
    pub leases: Vec<(IpAddr, Lease)>,
}

impl Written {
    /// Whether a lease stays behind when the attachment lets go of it, and names the attachment as the last that held it.
    pub fn leaves_a_trace(&self) -> bool {
        let stays = |lease: &Lease| match lease.on_release {
            OnRelease::Rest(seconds) => seconds > 0,
            OnRelease::Last | OnRelease::Keep(_) => true,
            OnRelease::Forget => false,
        };
        self.leases.iter().any(|(_, lease)| lease.holders.len() == 1 && stays(lease))
    }
}

/// The definition of a network as an ADD has seen it, stored under `net/…`: what `usage` counts against.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Definition {
    /// [`VERSION`].
    pub v: u32,
    /// One text per range, set by set.
    pub sets: Vec<Vec<DefinedRange>>,
    /// What a newer version of the same format has added.
    #[serde(flatten)]
    pub unknown: Unknown,
}

/// One range of a [`Definition`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DefinedRange {
    /// The subnet.
    pub subnet: IpNet,
    /// What is given at random, as spans.
    pub dynamic: String,
    /// The window of fixed addresses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fixed: Option<String>,
    /// The gateway.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway: Option<IpAddr>,
}

#[cfg(test)]
mod tests;
