//! A mistake, or what may be one: where it is, what is wrong, and what would be right.

use super::code::Code;
use super::source::Place;

/// How much a finding matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// It works, but perhaps not as meant.
    Warning,
    /// A pod would not start, or would get what its author did not mean.
    Error,
}

impl Severity {
    /// A word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Its kind.
    pub code: Code,
    /// How much it matters.
    pub severity: Severity,
    /// What is wrong, in one sentence.
    pub message: String,
    /// Where, and what to say at the mark.
    pub primary: Mark,
    /// What else belongs to it, such as the other of two places that disagree.
    pub related: Vec<Mark>,
    /// What would be right.
    pub help: Option<String>,
}

/// A marked place, and what is said there; maybe nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// The place.
    pub place: Place,
    /// The label.
    pub label: String,
}

impl Finding {
    /// A finding at a place.
    pub fn new(code: Code, severity: Severity, place: Place, message: impl Into<String>) -> Self {
        debug_assert!(!code.title().is_empty(), "{code} is not in the list of codes");
        Self {
            code,
            severity,
            message: message.into(),
            primary: Mark { place, label: String::new() },
            related: Vec::new(),
            help: None,
        }
    }

    /// An error at a place.
    pub fn error(code: Code, place: Place, message: impl Into<String>) -> Self {
        Self::new(code, Severity::Error, place, message)
    }

    /// A warning at a place.
    pub fn warning(code: Code, place: Place, message: impl Into<String>) -> Self {
        Self::new(code, Severity::Warning, place, message)
    }

    /// With a label at its place.
    #[must_use]
    pub fn labelled(mut self, label: impl Into<String>) -> Self {
        self.primary.label = label.into();
        self
    }

    /// With another place that belongs to it.
    #[must_use]
    pub fn related(mut self, place: Place, label: impl Into<String>) -> Self {
        self.related.push(Mark { place, label: label.into() });
        self
    }

    /// With what would be right.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}
