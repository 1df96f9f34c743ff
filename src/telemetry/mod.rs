//! What a call tells about itself: one line of the log an operation, and what it spent its time on.
//!
//! Only events of this program are written, never those of its libraries, so that nothing a library prints about a
//! connection or a header ends in the log. An event is formatted in memory and written by one write (`LogFile`).

mod file;
mod lines;
mod operation;
#[cfg(test)]
mod tests;

use tracing::Subscriber;
use tracing::level_filters::LevelFilter;

use self::file::LogFile;
use self::lines::Lines;
pub use self::operation::{Operation, Phase, Spent};
use crate::config::{Level, LogConfig};

/// Sends this process's events to its log from now on. The file is opened by the first of them. Of several calls only the
/// first has an effect.
pub fn init(log: &LogConfig) {
    let _ = tracing::subscriber::set_global_default(subscriber(log));
}

/// The same for a process in a container, whose standard error is its log.
pub fn init_on_stderr(log: &LogConfig) {
    let lines = Lines { level: level(log.level), format: log.format, file: LogFile::stderr() };
    let _ = tracing::subscriber::set_global_default(lines);
}

fn subscriber(log: &LogConfig) -> impl Subscriber + use<> {
    let file = LogFile::new(log.file.clone(), log.rotate_bytes);
    Lines { level: level(log.level), format: log.format, file }
}

fn level(level: Level) -> LevelFilter {
    match level {
        Level::Error => LevelFilter::ERROR,
        Level::Warn => LevelFilter::WARN,
        Level::Info => LevelFilter::INFO,
        Level::Debug => LevelFilter::DEBUG,
    }
}
