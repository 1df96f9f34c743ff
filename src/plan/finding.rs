//! Findings: mistakes and possible mistakes, with their positions and remedies.

use schemars::JsonSchema;
use serde::Serialize;

use super::code::Code;
use super::source::Place;

/// The severity of a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// It works, but maybe not as its author intended.
    Warning,
    /// A pod would not start, or would not get what its author intended.
    Error,
}

impl Severity {
    /// The severity as a word, for reports.
    pub fn word(self) -> &'static str {
        match self {
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// A mistake or a warning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The kind of finding.
    pub code: Code,
    /// An error or a warning.
    pub severity: Severity,
    /// Describes the mistake in one sentence.
    pub message: String,
    /// The position of the mistake.
    pub primary: Mark,
    /// Other positions that belong to it, such as the second of two that disagree.
    pub related: Vec<Mark>,
    /// The remedy, in one sentence.
    pub help: Option<String>,
    /// What has too few addresses, if the finding is about that.
    pub shortage: Option<Shortage>,
}

/// A network whose range set or pool has fewer addresses than a workload needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shortage {
    /// The network, as in a plan's report of networks.
    pub network: String,
    /// The workload whose pods don't fit, as in a plan's report of interfaces.
    pub workload: String,
    /// The range sets that its pods draw from, each by its ranges; empty if they have a pool, which is too short.
    pub sets: Vec<Vec<String>>,
}

/// A marked position with a label.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// The marked bytes.
    pub place: Place,
    /// The text at the mark. May be empty.
    pub label: String,
}

impl Finding {
    /// A finding without a label, related positions or a remedy.
    pub fn new(code: Code, severity: Severity, place: Place, message: impl Into<String>) -> Self {
        debug_assert!(!code.title().is_empty(), "{code} is not in the list of codes");
        Self {
            code,
            severity,
            message: message.into(),
            primary: Mark { place, label: String::new() },
            related: Vec::new(),
            help: None,
            shortage: None,
        }
    }

    /// The same with [`Severity::Error`].
    pub fn error(code: Code, place: Place, message: impl Into<String>) -> Self {
        Self::new(code, Severity::Error, place, message)
    }

    /// The same with [`Severity::Warning`].
    pub fn warning(code: Code, place: Place, message: impl Into<String>) -> Self {
        Self::new(code, Severity::Warning, place, message)
    }

    /// Sets the label at its position.
    #[must_use]
    pub fn labelled(mut self, label: impl Into<String>) -> Self {
        self.primary.label = label.into();
        self
    }

    /// Adds a related position.
    #[must_use]
    pub fn related(mut self, place: Place, label: impl Into<String>) -> Self {
        self.related.push(Mark { place, label: label.into() });
        self
    }

    /// Sets what has too few addresses.
    #[must_use]
    pub fn short_of(mut self, shortage: Shortage) -> Self {
        self.shortage = Some(shortage);
        self
    }

    /// Sets the remedy.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}
