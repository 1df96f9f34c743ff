//! Reservations by hand: an operator keeps an address from everyone, or for one object alone.
//!
//! ```text
//!  reserve ─► Lease { manual, unused, no holder }          kept from everyone but its beneficiary
//!          its pod asks for it ─► Lease { manual, holder } held like any other address
//!          its pod ends        ─► Lease { manual, unused } as before, with reason and end
//! ```
//!
//! The lease itself says all of it. It never names an owner, and is always kept on release: an older version then
//! counts it as reserved for nobody, gives it to nobody, and never sweeps it. Only `manual` says when it ends.

use std::fmt;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::aging::{after, has_lasted};
use super::{AllocationKind, Lease, OnRelease, Unknown};
use crate::ipam::cluster::ClusterIdentity;
use crate::ipam::name::{Name, checked_text, is_object_name};

/// The length limit of a remark, in characters.
pub const MAX_REMARK: usize = 200;

/// Why a text can't be the remark of a reservation.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RemarkError {
    /// It has no visible character.
    #[error("the text is empty")]
    Empty,
    /// It has more than [`MAX_REMARK`] characters.
    #[error("the text has {0} characters: at most {MAX_REMARK} are possible")]
    TooLong(usize),
    /// It has a character that changes how a terminal shows the text.
    #[error("the text has the control character U+{:04X}", u32::from(*.0))]
    Control(char),
}

/// A short text of the operator. It has no control characters, so that every terminal and log can show it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
pub struct Remark(String);

impl Remark {
    /// Checks a text. White space around it is dropped.
    pub fn new(text: impl Into<String>) -> Result<Self, RemarkError> {
        let text = text.into();
        let text = text.trim();
        if let Some(control) = text.chars().find(|c| c.is_control() || is_format(*c)) {
            return Err(RemarkError::Control(control));
        }
        match text.chars().count() {
            0 => Err(RemarkError::Empty),
            length if length > MAX_REMARK => Err(RemarkError::TooLong(length)),
            _ => Ok(Self(text.to_owned())),
        }
    }
}

checked_text!(Remark, RemarkError);

/// Whether a character has no glyph and changes the order or the lines of others (Unicode: line and paragraph
/// separators, directional marks, embeddings and isolates, and the byte order mark).
fn is_format(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// The kind of object for which an address is reserved by hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum BeneficiaryKind {
    /// A pod, by its name: one that is recreated under it counts as the same.
    Pod,
    /// Any pod of a StatefulSet (apps).
    StatefulSet,
    /// The pod that names this claim (k8s.cni.cncf.io).
    #[serde(rename = "IPAMClaim")]
    IpamClaim,
}

/// For whom an address is reserved by hand. The object need not exist.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Beneficiary {
    /// Its kind.
    pub kind: BeneficiaryKind,
    /// The identity of its cluster; without one, an object of this name in any cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster: Option<String>,
    /// Its namespace.
    pub namespace: Name,
    /// Its name.
    pub name: Name,
    /// Fields of newer versions.
    #[serde(flatten)]
    pub unknown: Unknown,
}

/// The text does not say for whom an address is to be reserved.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected NAMESPACE/POD, statefulset/[NAMESPACE/]NAME or claim/[NAMESPACE/]NAME")]
pub struct BeneficiaryError;

/// The namespace of a name without one, as for kubectl without a context.
const DEFAULT_NAMESPACE: &str = "default";

impl std::str::FromStr for Beneficiary {
    type Err = BeneficiaryError;

    fn from_str(text: &str) -> Result<Self, BeneficiaryError> {
        let (kind, object) = match text.split_once('/') {
            Some(("statefulset" | "sts", object)) => (BeneficiaryKind::StatefulSet, object),
            Some(("claim" | "ipamclaim", object)) => (BeneficiaryKind::IpamClaim, object),
            Some(("pod", object)) => (BeneficiaryKind::Pod, object),
            Some(_) => (BeneficiaryKind::Pod, text),
            None => return Err(BeneficiaryError),
        };
        let (namespace, name) = object.split_once('/').unwrap_or((DEFAULT_NAMESPACE, object));
        let checked = |text: &str| is_object_name(text).then(|| Name::new(text).ok()).flatten().ok_or(BeneficiaryError);
        let (namespace, name) = (checked(namespace)?, checked(name)?);
        Ok(Self { kind, cluster: None, namespace, name, unknown: Unknown::new() })
    }
}

impl Beneficiary {
    /// Whether it is this object of this cluster, whose present or former identity may be named.
    pub fn is(&self, kind: BeneficiaryKind, namespace: &str, name: &str, cluster: &ClusterIdentity) -> bool {
        let is_here = self.cluster.is_none() || cluster.covers(self.cluster.as_deref()).is_ok();
        is_here && self.kind == kind && self.namespace.as_str() == namespace && self.name.as_str() == name
    }
}

impl fmt::Display for Beneficiary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            BeneficiaryKind::Pod => "pod",
            BeneficiaryKind::StatefulSet => "StatefulSet",
            BeneficiaryKind::IpamClaim => "IPAMClaim",
        };
        write!(f, "{kind} {}/{}", self.namespace, self.name)
    }
}

/// What an operator said when reserving an address by hand.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ManualReservation {
    /// Why.
    pub reason: Remark,
    /// When.
    #[schemars(with = "String")]
    pub at: Timestamp,
    /// Who, as user and machine, if the environment tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<Remark>,
    /// For how long, in seconds, counted from `at`; without it, until it is released. Use does not extend it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl: Option<u64>,
    /// Who may have the address; without it, nobody.
    #[serde(default, rename = "for", skip_serializing_if = "Option::is_none")]
    pub beneficiary: Option<Beneficiary>,
    /// Fields of newer versions.
    #[serde(flatten)]
    pub unknown: Unknown,
}

impl ManualReservation {
    /// Whether both say the same of an address, whoever said it when.
    pub fn agrees_with(&self, other: &Self) -> bool {
        let object = |manual: &Self| manual.beneficiary.as_ref().map(ToString::to_string);
        self.reason == other.reason && self.ttl == other.ttl && object(self) == object(other)
    }
}

impl fmt::Display for ManualReservation {
    /// As the end of a sentence about an address: `reserved by hand for pod db/pg-0 since …: "migration"`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("reserved by hand")?;
        if let Some(beneficiary) = &self.beneficiary {
            write!(f, " for {beneficiary}")?;
        }
        if let Some(by) = &self.by {
            write!(f, " by {by}")?;
        }
        write!(f, " since {:.0}: {}", self.at, self.reason)
    }
}

impl Lease {
    /// The lease of an address that is reserved by hand and that nobody holds.
    pub fn reserved_by_hand(manual: ManualReservation) -> Self {
        let at = manual.at;
        let lease = Self::new(AllocationKind::Fixed, Vec::new(), at, OnRelease::Keep(None));
        Self { unused: Some(at), manual: Some(manual), ..lease }
    }

    /// The same lease as one of an address that stays reserved by hand when its holder releases it.
    #[must_use]
    pub fn kept_by_hand(self, manual: ManualReservation) -> Self {
        Self { manual: Some(manual), owner: None, on_release: OnRelease::Keep(None), ..self }
    }

    /// What the operator said of it, unless its time is over.
    pub fn manual(&self, now: Timestamp) -> Option<&ManualReservation> {
        self.manual.as_ref().filter(|manual| !self.is_manual_over(manual, now))
    }

    fn is_manual_over(&self, manual: &ManualReservation, now: Timestamp) -> bool {
        manual.ttl.is_some_and(|seconds| has_lasted(self.counts_from(manual.at, now), seconds, now))
    }

    /// Whether the time of its reservation by hand is over; `None` if it has none.
    pub(super) fn has_manual_ended(&self, now: Timestamp) -> Option<bool> {
        self.manual.as_ref().map(|manual| self.is_manual_over(manual, now))
    }

    /// When the reservation by hand ends; `None` if it has no end, or there is none.
    pub fn manual_until(&self, now: Timestamp) -> Option<Timestamp> {
        let manual = self.manual.as_ref()?;
        after(self.counts_from(manual.at, now), manual.ttl?)
    }
}
