//! Builds the outcomes of one object. Their messages begin with the object, unless the check has no other.

use super::check::{Outcome, Remedy, Status};
use crate::explain::Command;

/// What an outcome is about.
#[derive(Clone, Debug)]
pub(super) struct Subject {
    object: String,
    is_named: bool,
}

impl Subject {
    /// One of several objects, which each message names.
    pub(super) fn new(object: impl Into<String>) -> Self {
        Self { object: object.into(), is_named: true }
    }

    /// All that the check looks at. The line begins with the check's name, so that a message is a sentence of its own.
    pub(super) fn whole(object: impl Into<String>) -> Self {
        Self { object: object.into(), is_named: false }
    }

    pub(super) fn ok(&self, message: impl AsRef<str>) -> Outcome {
        Outcome::ok(&self.object, self.sentence(message))
    }

    /// It could not be checked, which is no fault of the object.
    pub(super) fn skipped(&self, message: impl AsRef<str>) -> Outcome {
        Outcome::skipped(&self.object, self.sentence(message))
    }

    /// The same, with what makes the check possible.
    pub(super) fn skipped_until(&self, message: impl AsRef<str>, remedy: Remedy) -> Outcome {
        Outcome { remedy: Some(remedy), ..self.skipped(message) }
    }

    pub(super) fn warning(&self, message: impl AsRef<str>, remedy: Remedy) -> Outcome {
        Outcome::warning(&self.object, self.sentence(message), remedy)
    }

    pub(super) fn error(&self, message: impl AsRef<str>, remedy: Remedy) -> Outcome {
        Outcome::error(&self.object, self.sentence(message), remedy)
    }

    /// An error if it is that bad, else a warning.
    pub(super) fn fault(&self, status: Status, message: impl AsRef<str>, remedy: Remedy) -> Outcome {
        match status {
            Status::Error => self.error(message, remedy),
            _ => self.warning(message, remedy),
        }
    }

    fn sentence(&self, message: impl AsRef<str>) -> String {
        match self.is_named {
            true => format!("{}: {}", self.object, message.as_ref()),
            false => message.as_ref().to_owned(),
        }
    }
}

/// What to do, with commands.
pub(super) fn commands(text: impl Into<String>, commands: impl IntoIterator<Item = Command>) -> Remedy {
    Remedy { text: text.into(), commands: commands.into_iter().collect() }
}
