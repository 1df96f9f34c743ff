//! What a store returns in place of a value that it can't read.
//!
//! A key with an unreadable value is in use, and nobody but an operator may free it. So the store shows it like any other
//! key, with a value that says why.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};

use super::Value;
use crate::cause::{Cause, chain};

/// Stands in for a value.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct StandIn {
    /// Why the value can't be read.
    unreadable: String,
    /// What is there instead.
    found: Map<String, Json>,
}

impl StandIn {
    pub(super) fn new(why: &Cause, found: Map<String, Json>) -> Self {
        Self { unreadable: chain(why).to_string(), found }
    }

    /// As a value.
    pub(super) fn to_value(&self) -> serde_json::Result<Value> {
        serde_json::to_vec(self)
    }

    /// The stand-in that a value is.
    pub(crate) fn of(value: &[u8]) -> Option<Self> {
        serde_json::from_slice(value).ok()
    }

    /// Why the value can't be read.
    pub(crate) fn why(self) -> Cause {
        Cause::new(self.unreadable)
    }

    pub(super) fn into_found(self) -> Map<String, Json> {
        self.found
    }
}
