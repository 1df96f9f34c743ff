//! The earlier holders of an address, as an explanation shows them.

use std::num::NonZeroU64;
use std::path::Path;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

use super::Text;
use crate::cause::chain;
use crate::ipam::earlier::{EarlierHolders, Gap, Holding};

/// Who had an address before, and what of that is not known.
#[derive(Clone, Debug, Default, PartialEq, Serialize, JsonSchema)]
pub struct Before {
    /// The holders, the latest first.
    pub holders: Vec<FormerHolding>,
    /// What is not known.
    pub unknown: Vec<UnknownPast>,
}

/// Something about the past that is not known.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct UnknownPast {
    /// The source that does not say it.
    pub source: PastSource,
    /// Why not.
    pub why: PastReason,
    /// All of it in a sentence.
    pub text: String,
    /// The revision of the store before which, or at which, it is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revision: Option<NonZeroU64>,
    /// The time before which it is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub before: Option<Timestamp>,
    /// The file of the log.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// The number of lines of the log that can't be parsed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lines: Option<u64>,
    /// The error.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// What knows something about the past.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum PastSource {
    /// The store: the lease, and in etcd its earlier revisions.
    Store,
    /// The attachments of this node.
    Attachments,
    /// The log of this node.
    Log,
    /// The logs of other nodes.
    OtherLogs,
}

/// Why a source does not say something about the past.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum PastReason {
    /// The store has discarded earlier revisions.
    Compacted,
    /// It does not keep them.
    NotKept,
    /// There may be more than was read.
    Limit,
    /// The time was over.
    TimedOut,
    /// It could not be read.
    Failed,
    /// It was read, and can't be parsed.
    Unreadable,
    /// It does not exist.
    Missing,
    /// It begins later.
    Begins,
    /// It is not read from here.
    NotRead,
}

/// A time during which somebody had the address.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FormerHolding {
    /// All of it in a sentence.
    #[schemars(with = "String")]
    pub text: Text,
    /// Since when; `None` if that is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub from: Option<Timestamp>,
    /// Until when; `None` if that is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub until: Option<Timestamp>,
    /// Where it is known from.
    pub sources: Vec<String>,
}

impl From<EarlierHolders> for Before {
    fn from(earlier: EarlierHolders) -> Self {
        Self {
            holders: earlier.holdings.into_iter().map(FormerHolding::from).collect(),
            unknown: earlier.gaps.iter().map(UnknownPast::from).collect(),
        }
    }
}

impl From<&Gap> for UnknownPast {
    fn from(gap: &Gap) -> Self {
        use PastReason::{Begins, Compacted, Failed, Limit, Missing, NotKept, NotRead, TimedOut, Unreadable};
        use PastSource::{Attachments, Log, OtherLogs, Store};
        let text = gap.to_string();
        let unknown = |source, why| Self {
            source,
            why,
            text,
            revision: None,
            before: None,
            file: None,
            lines: None,
            error: None,
        };
        let shown = |file: &Path| Some(file.display().to_string());
        let error = |cause| Some(chain(cause).to_string());
        match gap {
            Gap::Compacted(at) => Self { revision: Some(at.0), ..unknown(Store, Compacted) },
            Gap::Limit => unknown(Store, Limit),
            Gap::Unfinished { from, why: None } => Self { revision: Some(from.0), ..unknown(Store, TimedOut) },
            Gap::Unfinished { from, why: Some(why) } => {
                Self { revision: Some(from.0), error: error(why), ..unknown(Store, Failed) }
            }
            Gap::NotKept => unknown(Store, NotKept),
            Gap::Store(why) => Self { error: error(why), ..unknown(Store, Failed) },
            Gap::Attachments(why) => Self { error: error(why), ..unknown(Attachments, Failed) },
            Gap::Unreadable { at, why } => {
                Self { revision: Some(at.0), error: Some(chain(why).to_string()), ..unknown(Store, Unreadable) }
            }
            Gap::LogFile { file, why } => Self { file: shown(file), error: error(why), ..unknown(Log, Failed) },
            Gap::NoLog(file) => Self { file: shown(file), ..unknown(Log, Missing) },
            Gap::LogBegins(time) => Self { before: Some(*time), ..unknown(Log, Begins) },
            Gap::LogLimit => unknown(Log, Limit),
            Gap::LogLines(count) => Self { lines: Some(*count), ..unknown(Log, Unreadable) },
            Gap::OtherNodes => unknown(OtherLogs, NotRead),
        }
    }
}

impl From<Holding> for FormerHolding {
    fn from(holding: Holding) -> Self {
        let Holding { holder, from, until, over_by, kind: _, selected, end, sources } = holding;
        let text = match from {
            Some(from) => Text::new(format!("{holder}, from ")).moment(from),
            None => Text::new(format!("{holder}, since when is not known")),
        };
        let text = match (until, over_by) {
            (Some(until), _) => text.then(", until ").moment(until),
            (None, Some(over_by)) => text.then(", until ").moment(over_by).then(" at the latest"),
            (None, None) => text.then(", until when is not known"),
        };
        let selected = selected.map(|selected| format!(" ({selected})")).unwrap_or_default();
        let end = end.map(|end| format!(", when it {end}")).unwrap_or_default();
        let sources = sources.iter().map(ToString::to_string).collect();
        Self { text: text.then(end + &selected), from, until, sources }
    }
}
