//! Collects the mistakes and warnings of reading a config, and shows all mistakes together.

use std::fmt;

use super::foreign::ForeignKey;
use super::locks;
use super::problem::{ConfigError, Problem};
use crate::cause::chain;

/// All mistakes of a config together; never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigErrors(pub Vec<ConfigError>);

/// The most mistakes that are shown. The rest are counted, because a Kubernetes event has at most 1 KiB of text.
const MAX_SHOWN: usize = 8;

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let [only] = self.0.as_slice() {
            return chain(only).fmt(f);
        }
        write!(f, "{} mistakes: ", self.0.len())?;
        for (i, mistake) in self.0.iter().take(MAX_SHOWN).enumerate() {
            let separator = if i > 0 { "; " } else { "" };
            write!(f, "{separator}({}) {}", i + 1, chain(mistake))?;
        }
        match self.0.len().saturating_sub(MAX_SHOWN) {
            0 => Ok(()),
            more => write!(f, "; and {more} more"),
        }
    }
}

impl std::error::Error for ConfigErrors {}

impl ConfigErrors {
    /// The mistakes about a locked choice of the store.
    pub fn about_locked_store(self) -> Option<Self> {
        let is_one = |mistake: &ConfigError| {
            matches!(mistake.problem, Problem::Locked(_) | Problem::LockedByDefault { .. })
                && locks::is_of_the_store(&mistake.key)
        };
        let locked: Vec<_> = self.0.into_iter().filter(is_one).collect();
        (!locked.is_empty()).then_some(Self(locked))
    }

    /// The mistakes at a path and below it.
    pub(super) fn below(&self, path: &str) -> Vec<ConfigError> {
        below(&self.0, path)
    }
}

fn below(mistakes: &[ConfigError], path: &str) -> Vec<ConfigError> {
    // A file's path ends with ':', but the key of a mistake about the whole file does not.
    let path = path.trim_end_matches(':');
    let is_below = |mistake: &&ConfigError| {
        mistake.key.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', ':', '[']))
    };
    mistakes.iter().filter(is_below).cloned().collect()
}

/// A part of a config that works, but perhaps not as intended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "its text says what a variant is and what its fields hold")]
pub enum ConfigWarning {
    /// A key without effect that resembles no known one.
    #[error("{0}: unknown key; it has no effect")]
    UnknownKey(String),
    /// A key of another plugin that does not choose the address.
    #[error("{key}: a key of {}, without effect here; instead: {}", .foreign.plugin, .foreign.instead)]
    Foreign { key: String, foreign: &'static ForeignKey },
    /// A locked key with the same value as in the node defaults.
    #[error("{0}: locked by the node defaults, which say the same; remove it from the ipam block")]
    LockedAndSame(String),
    /// A key of the flat range without its subnet, beside `ranges`. host-local ignores it too.
    #[error("{0}: has no effect without \"subnet\" beside it")]
    WithoutSubnet(String),
    /// A selector on a node without labels in its defaults.
    #[error("{0}: selects no range here, because the node defaults have no nodeLabels")]
    SelectorWithoutLabels(String),
    /// Without TLS, anyone on the network path can read and change requests to etcd.
    #[error("{key}: {url} is reached without TLS; anyone on the network path can read and change addresses")]
    PlainHttp { key: String, url: String },
}

impl ConfigWarning {
    /// Whether its author meant something that does not happen. `plan` and `doctor` treat it as a mistake.
    pub fn is_mistake(&self) -> bool {
        match self {
            Self::UnknownKey(_) | Self::Foreign { .. } | Self::WithoutSubnet(_) => true,
            Self::LockedAndSame(_) | Self::SelectorWithoutLabels(_) | Self::PlainHttp { .. } => false,
        }
    }

    /// The path of the key.
    pub fn key(&self) -> &str {
        match self {
            Self::UnknownKey(key)
            | Self::LockedAndSame(key)
            | Self::WithoutSubnet(key)
            | Self::SelectorWithoutLabels(key)
            | Self::Foreign { key, .. }
            | Self::PlainHttp { key, .. } => key,
        }
    }
}

/// Collects the mistakes and warnings of reading a config.
#[derive(Debug, Default)]
pub(super) struct Diagnostics {
    pub(super) mistakes: Vec<ConfigError>,
    pub(super) warnings: Vec<ConfigWarning>,
}

impl Diagnostics {
    /// Adds a mistake.
    pub(super) fn mistake(&mut self, key: impl Into<String>, problem: impl Into<Problem>) {
        self.mistakes.push(ConfigError { key: key.into(), problem: problem.into() });
    }

    /// Adds the error as a mistake, or returns the value.
    pub(super) fn ok_or_note<T, E: Into<Problem>>(&mut self, key: &str, result: Result<T, E>) -> Option<T> {
        result.map_err(|problem| self.mistake(key, problem)).ok()
    }

    /// The mistakes at a path and below it.
    pub(super) fn below(&self, path: &str) -> Vec<ConfigError> {
        below(&self.mistakes, path)
    }
}
