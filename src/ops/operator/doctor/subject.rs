//! Builds the outcomes of one object, each with a message that begins with the object.

use super::check::{Outcome, Remedy, Status};

/// What an outcome is about.
#[derive(Clone, Debug)]
pub(super) struct Subject(String);

impl Subject {
    pub(super) fn new(object: impl Into<String>) -> Self {
        Self(object.into())
    }

    pub(super) fn ok(&self, message: impl AsRef<str>) -> Outcome {
        Outcome::ok(&self.0, self.sentence(message))
    }

    /// It could not be checked, which is no fault of the object.
    pub(super) fn skipped(&self, message: impl AsRef<str>) -> Outcome {
        Outcome::skipped(&self.0, self.sentence(message))
    }

    /// The same, with what makes the check possible.
    pub(super) fn skipped_until(&self, message: impl AsRef<str>, remedy: Remedy) -> Outcome {
        Outcome { remedy: Some(remedy), ..self.skipped(message) }
    }

    pub(super) fn warning(&self, message: impl AsRef<str>, remedy: Remedy) -> Outcome {
        Outcome::warning(&self.0, self.sentence(message), remedy)
    }

    pub(super) fn error(&self, message: impl AsRef<str>, remedy: Remedy) -> Outcome {
        Outcome::error(&self.0, self.sentence(message), remedy)
    }

    /// An error if it is that bad, else a warning.
    pub(super) fn fault(&self, status: Status, message: impl AsRef<str>, remedy: Remedy) -> Outcome {
        match status {
            Status::Error => self.error(message, remedy),
            _ => self.warning(message, remedy),
        }
    }

    fn sentence(&self, message: impl AsRef<str>) -> String {
        format!("{}: {}", self.0, message.as_ref())
    }
}

/// What to do, with commands.
pub(super) fn commands<C: Into<String>>(text: impl Into<String>, commands: impl IntoIterator<Item = C>) -> Remedy {
    commands.into_iter().fold(Remedy::new(text), |remedy, command| remedy.command(command))
}
