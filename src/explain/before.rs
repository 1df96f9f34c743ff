//! The earlier holders of an address, as an explanation shows them.

use jiff::Timestamp;
use serde::Serialize;

use super::Text;
use crate::ipam::earlier::{EarlierHolders, Holding};

/// Who had an address before, and what of that is not known.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Before {
    /// The holders, the latest first.
    pub holders: Vec<FormerHolding>,
    /// What is not known.
    pub unknown: Vec<String>,
}

/// A time during which somebody had the address.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FormerHolding {
    /// All of it in a sentence.
    pub text: Text,
    /// Since when; `None` if that is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<Timestamp>,
    /// Until when; `None` if that is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// Where it is known from.
    pub sources: Vec<String>,
}

impl From<EarlierHolders> for Before {
    fn from(earlier: EarlierHolders) -> Self {
        Self {
            holders: earlier.holdings.into_iter().map(FormerHolding::from).collect(),
            unknown: earlier.gaps.iter().map(ToString::to_string).collect(),
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
