//! What a verb works on, on standard error, if that is a terminal and it takes over a second.

use std::fmt::Write;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

use super::CliError;
use crate::ops::operator::Work;

/// What takes less time shows nothing.
const QUIET_TIME: Duration = Duration::from_secs(1);

/// How often the line is drawn again.
const TICK: Duration = Duration::from_millis(250);

/// The line. It is invisible unless standard error is a terminal.
pub(super) struct Progress {
    bar: ProgressBar,
    what: Arc<Mutex<&'static str>>,
}

impl Progress {
    pub(super) fn new() -> Self {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        let what = Arc::default();
        // Without a template, the bar has the default one, which shows the same at once.
        if let Ok(style) = ProgressStyle::with_template("{work}") {
            let shown = Arc::clone(&what);
            let show = move |state: &ProgressState, line: &mut dyn Write| show(*lock(&shown), state, line);
            bar.set_style(style.with_key("work", show));
        }
        bar.enable_steady_tick(TICK);
        Self { bar, what }
    }

    /// Shows what is worked on, and how much of it is done.
    pub(super) fn at_work(&self, Work { what, done, total }: Work) {
        if std::mem::replace(&mut *lock(&self.what), what) != what {
            self.bar.reset_elapsed();
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

/// A text is valid after a panic in another thread.
fn lock<'a>(what: &'a Mutex<&'static str>) -> MutexGuard<'a, &'static str> {
    what.lock().unwrap_or_else(PoisonError::into_inner)
}

fn show(what: &str, state: &ProgressState, line: &mut dyn Write) {
    if state.elapsed() < QUIET_TIME {
        return;
    }
    let seconds = state.elapsed().as_secs();
    // The line is only for a person; a part of it does no harm.
    let _ = match (state.pos(), state.len()) {
        (0, _) => write!(line, "{what}: at work for {seconds} s"),
        (done, Some(total)) => write!(line, "{what}: {done} of {total}, for {seconds} s"),
        (done, None) => write!(line, "{what}: {done} so far, for {seconds} s"),
    };
}
