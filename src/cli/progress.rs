//! What a verb works on, on standard error, if that is a terminal and it takes over a second.

use std::fmt::Write;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

use super::CliError;

/// What takes less time shows nothing.
const QUIET_TIME: Duration = Duration::from_secs(1);

/// How often the line is drawn again.
const TICK: Duration = Duration::from_millis(250);

/// The line. It is invisible unless standard error is a terminal.
pub(super) struct Progress {
    bar: ProgressBar,
}

impl Progress {
    pub(super) fn new() -> Self {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        // Without a template, the bar has the default one, which shows the same at once.
        if let Ok(style) = ProgressStyle::with_template("{work}") {
            bar.set_style(style.with_key("work", show));
        }
        bar.enable_steady_tick(TICK);
        Self { bar }
    }

    /// Shows what is worked on, and how much of it is done.
    pub(super) fn at_work(&self, what: &str, done: u64, total: Option<u64>) {
        if done == 0 {
            self.bar.reset_elapsed();
            self.bar.set_message(what.to_owned());
        }
        match total {
            Some(total) => self.bar.set_length(total),
            None => self.bar.unset_length(),
        }
        self.bar.set_position(done);
    }

    /// Prints something else, with the line out of the way.
    pub(super) fn suspend(&self, print: impl FnOnce() -> Result<(), CliError>) -> Result<(), CliError> {
        self.bar.suspend(print)
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

fn show(state: &ProgressState, line: &mut dyn Write) {
    if state.elapsed() < QUIET_TIME {
        return;
    }
    let seconds = state.elapsed().as_secs();
    // The line is only for a person; a part of it does no harm.
    let _ = match (state.pos(), state.len()) {
        (0, _) => write!(line, "working for {seconds} s"),
        (done, Some(total)) => write!(line, "{done} of {total}, {seconds} s"),
        (done, None) => write!(line, "{done} so far, {seconds} s"),
    };
}
