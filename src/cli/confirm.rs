//! The question before a verb changes the store: one for all verbs.

use clap::Args;

use super::CliError;
use super::output::Output;

/// Whether a verb may change what it has shown.
#[derive(Clone, Copy, Debug, Args)]
pub(super) struct ConfirmArgs {
    /// Do it without a question
    #[arg(long)]
    yes: bool,
    /// Show what would be done, and do nothing
    #[arg(long, conflicts_with = "yes")]
    dry_run: bool,
}

impl ConfirmArgs {
    /// Whether it was confirmed in advance, so that the verb writes in any case.
    pub(super) fn is_given(self) -> bool {
        self.yes
    }

    /// Asks whether to go on. Fails if the answer is no, or, with `unconfirmed`, if nobody can answer.
    pub(super) fn confirm(self, output: &mut Output, question: &str, unconfirmed: &str) -> Result<bool, CliError> {
        if self.yes || self.dry_run {
            return Ok(self.yes);
        }
        match output.confirm(question)? {
            Some(true) => Ok(true),
            Some(false) => Err(CliError::Refused("nothing was changed".to_owned())),
            None => Err(CliError::Refused(unconfirmed.to_owned())),
        }
    }
}
