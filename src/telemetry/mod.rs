//! What a call tells about itself: one line of the log an operation, and what it spent its time on.
//!
//! Only events of this program are written, never those of its libraries, so that nothing a library prints about a
//! connection or a header ends in the log. An event is formatted in memory and written by one write ([`LogFile`]).

mod file;
mod operation;
#[cfg(test)]
mod tests;

use std::fmt;

use tracing::level_filters::LevelFilter;
use tracing::{Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::FormatTime;
use tracing_subscriber::layer::SubscriberExt;

use self::file::LogFile;
pub use self::operation::{Operation, Phase, Spent};
use crate::config::{Level, LogConfig, LogFormat};

/// The crate whose events are written.
const OURS: &str = env!("CARGO_CRATE_NAME");

/// Sends this process's events to its log from now on. The file is opened by the first of them. Of several calls only the
/// first has an effect.
pub fn init(log: &LogConfig) {
    let _ = tracing::subscriber::set_global_default(subscriber(log));
}

fn subscriber(log: &LogConfig) -> impl Subscriber + Send + Sync + use<> {
    let level = level(log.level);
    let wanted = move |event: &Metadata<'_>| *event.level() <= level && is_ours(event.target());
    let lines = tracing_subscriber::fmt::layer()
        .with_timer(Milliseconds)
        .with_target(false)
        .with_ansi(false)
        .with_writer(LogFile::new(log.file.clone(), log.rotate_bytes));
    let lines = match log.format {
        LogFormat::Text => lines.boxed(),
        LogFormat::Json => lines.json().flatten_event(true).with_current_span(false).with_span_list(false).boxed(),
    };
    tracing_subscriber::registry().with(lines.with_filter(filter_fn(wanted).with_max_level_hint(level)))
}

fn level(level: Level) -> LevelFilter {
    match level {
        Level::Error => LevelFilter::ERROR,
        Level::Warn => LevelFilter::WARN,
        Level::Info => LevelFilter::INFO,
        Level::Debug => LevelFilter::DEBUG,
    }
}

fn is_ours(target: &str) -> bool {
    target.strip_prefix(OURS).is_some_and(|module| module.is_empty() || module.starts_with("::"))
}

/// RFC 3339 in UTC, with milliseconds.
struct Milliseconds;

impl FormatTime for Milliseconds {
    fn format_time(&self, w: &mut Writer<'_>) -> fmt::Result {
        write!(w, "{:.3}", jiff::Timestamp::now())
    }
}
