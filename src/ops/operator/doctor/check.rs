//! What a check finds: its status, one sentence about one object, and what to do next.

use super::Fix;
use crate::explain::Command;

/// The result of a check for one object, the best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Status {
    /// It is as it should be.
    Ok,
    /// It could not be checked, or need not be. The message says why.
    Skipped,
    /// It works, but perhaps not as intended, or not for long.
    Warning,
    /// Pods do not start, or addresses are or may become wrong.
    Error,
}

impl Status {
    /// All of them, in their order.
    pub const ALL: [Self; 4] = [Self::Ok, Self::Skipped, Self::Warning, Self::Error];

    /// The status as a word, for reports.
    pub fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Skipped => "skipped",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// What a check looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Area {
    /// The files of this node.
    Node,
    /// The store and its members.
    Store,
    /// The API server, and what the store and the cluster know of each other.
    Cluster,
}

impl Area {
    /// The area as a word, for reports.
    pub fn word(self) -> &'static str {
        match self {
            Self::Node => "node",
            Self::Store => "store",
            Self::Cluster => "cluster",
        }
    }
}

/// What to do about a finding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remedy {
    /// What to do, as an imperative sentence without a final period.
    pub text: String,
    /// The commands for it, if there are any.
    pub commands: Vec<Command>,
}

impl Remedy {
    /// A remedy without commands.
    pub fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), commands: Vec::new() }
    }

    /// Adds a command.
    #[must_use]
    pub fn command(mut self, command: Command) -> Self {
        self.commands.push(command);
        self
    }
}

/// What a check has found out about one object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The object: a path, a member of the store, an address, a network.
    pub object: String,
    /// Its status.
    pub status: Status,
    /// What is the case, as a sentence without a final period. It names the object, unless the check has only one.
    pub message: String,
    /// What to do about it.
    pub remedy: Option<Remedy>,
    /// What `--fix` can do about it.
    pub fix: Option<Fix>,
}

impl Outcome {
    fn new(status: Status, object: impl Into<String>, message: impl Into<String>) -> Self {
        Self { object: object.into(), status, message: message.into(), remedy: None, fix: None }
    }

    /// The object is as it should be.
    pub fn ok(object: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(Status::Ok, object, message)
    }

    /// The object could not be checked, or need not be.
    pub fn skipped(object: impl Into<String>, why: impl Into<String>) -> Self {
        Self::new(Status::Skipped, object, why)
    }

    /// The object works, but perhaps not as intended. Every warning has a remedy.
    pub fn warning(object: impl Into<String>, message: impl Into<String>, remedy: Remedy) -> Self {
        Self { remedy: Some(remedy), ..Self::new(Status::Warning, object, message) }
    }

    /// The object is wrong. Every error has a remedy.
    pub fn error(object: impl Into<String>, message: impl Into<String>, remedy: Remedy) -> Self {
        Self { remedy: Some(remedy), ..Self::new(Status::Error, object, message) }
    }

    /// Adds what `--fix` can do about it.
    #[must_use]
    pub fn with_fix(self, fix: Fix) -> Self {
        Self { fix: Some(fix), ..self }
    }
}

/// An [`Outcome`], and the check that it is from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckResult {
    /// The name of the check. It never changes, so that programs can filter by it.
    pub check: &'static str,
    /// What the check looks at.
    pub area: Area,
    /// What it has found out.
    pub outcome: Outcome,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_status_is_the_greatest() {
        assert!(Status::ALL.is_sorted());
        assert_eq!(Status::ALL.map(Status::word), ["ok", "skipped", "warning", "error"]);
    }
}
