//! Reads stored values. A value that this version can't read counts as in use (invariant 4).

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::VERSION;
use crate::cause::Cause;
use crate::store::StandIn;

/// A stored value as far as this version can read it.
#[derive(Clone, Debug, PartialEq)]
pub enum Stored<T> {
    /// Read in full.
    Known(T),
    /// In use, and not to be touched.
    Unreadable(UnreadableValue),
}

/// Why this version can't read a stored value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnreadableValue {
    /// It has a higher version than [`VERSION`].
    #[error("a newer kube-ipam wrote it (value version {0}, this one reads up to {VERSION})")]
    Newer(u32),
    /// It is not a valid value of any version.
    #[error("it is damaged")]
    Corrupt(#[source] Cause),
}

impl<T: DeserializeOwned> Stored<T> {
    /// Reads a stored value.
    pub fn read(bytes: &[u8]) -> Self {
        #[derive(Deserialize)]
        struct Version {
            v: u32,
        }
        let corrupt = |error: serde_json::Error| {
            // The store may know more.
            let why = StandIn::of(bytes).map_or_else(|| Cause::new(error), StandIn::why);
            Self::Unreadable(UnreadableValue::Corrupt(why))
        };
        match serde_json::from_slice::<Version>(bytes) {
            Err(error) => corrupt(error),
            Ok(Version { v }) if v > VERSION => Self::Unreadable(UnreadableValue::Newer(v)),
            Ok(_) => serde_json::from_slice(bytes).map_or_else(corrupt, Self::Known),
        }
    }

    /// A reference to the value, if it could be read in full.
    pub fn as_known(&self) -> Option<&T> {
        match self {
            Self::Known(value) => Some(value),
            Self::Unreadable(_) => None,
        }
    }

    /// The value, if it could be read in full.
    pub fn known(self) -> Option<T> {
        match self {
            Self::Known(value) => Some(value),
            Self::Unreadable(_) => None,
        }
    }
}
