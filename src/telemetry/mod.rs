//! The log: one line per operation, with the time that each phase took.
//!
//! Only this program's own events are written. Its libraries might log connections or headers. An event is formatted in
//! memory and written with one write (`LogFile`). [`read_back`] finds lines again.

mod call_timer;
mod file;
mod line;
mod lines;
mod reader;
#[cfg(test)]
mod tests;

use tracing::Subscriber;
use tracing::level_filters::LevelFilter;

pub use self::call_timer::{CallTimer, DEFAULT_VRF, Phase, PhaseTimes};
use self::file::LogFile;
pub use self::line::LogLine;
use self::lines::LineSubscriber;
pub use self::reader::{Excerpt, UnreadLog, read_back};
use crate::config::{Level, LogConfig};

/// Sends this process's events to its log. The first event opens the file. A second call has no effect.
pub fn init(log: &LogConfig) {
    let _ = tracing::subscriber::set_global_default(subscriber(log));
}

/// The same for a process in a container, whose log is standard error.
pub fn init_on_stderr(log: &LogConfig) {
    let lines = LineSubscriber { level: level(log.level), format: log.format, file: LogFile::stderr() };
    let _ = tracing::subscriber::set_global_default(lines);
}

fn subscriber(log: &LogConfig) -> impl Subscriber + use<> {
    let file = LogFile::new(log.file.clone(), log.rotate_bytes);
    LineSubscriber { level: level(log.level), format: log.format, file }
}

fn level(level: Level) -> LevelFilter {
    match level {
        Level::Error => LevelFilter::ERROR,
        Level::Warn => LevelFilter::WARN,
        Level::Info => LevelFilter::INFO,
        Level::Debug => LevelFilter::DEBUG,
    }
}
