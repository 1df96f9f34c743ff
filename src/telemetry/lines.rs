//! This program's events as lines of text or JSON: the subscriber of the log.
//!
//! Written out here because a process that logs one line and ends has no use for tracing-subscriber's registry of spans,
//! layers and filters, whose making alone took longer than the line.

use std::fmt::{self, Write};

use serde::ser::{Serialize, SerializeMap, Serializer};
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::Interest;
use tracing::{Event, Metadata, Subscriber};

use super::file::LogFile;
use crate::config::LogFormat;

/// The crate whose events are written.
const OURS: &str = env!("CARGO_CRATE_NAME");

/// The name of the field that an event's text is in.
const MESSAGE: &str = "message";

/// The most bytes of a value. What a pod's author writes may have a hundred times that, and would rotate away what others
/// need to read.
const LONGEST_VALUE: usize = 4 << 10;

/// Writes the events of a level and of those above it.
pub(super) struct Lines {
    pub(super) level: LevelFilter,
    pub(super) format: LogFormat,
    pub(super) file: LogFile,
}

impl Lines {
    fn wants(&self, of: &Metadata<'_>) -> bool {
        of.is_event() && *of.level() <= self.level && is_ours(of.target())
    }
}

fn is_ours(target: &str) -> bool {
    target.strip_prefix(OURS).is_some_and(|module| module.is_empty() || module.starts_with("::"))
}

impl Subscriber for Lines {
    fn register_callsite(&self, of: &'static Metadata<'static>) -> Interest {
        if self.wants(of) { Interest::always() } else { Interest::never() }
    }

    fn enabled(&self, of: &Metadata<'_>) -> bool {
        self.wants(of)
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(self.level)
    }

    fn event(&self, event: &Event<'_>) {
        let line = match self.format {
            LogFormat::Text => text(event),
            LogFormat::Json => json(event),
        };
        self.file.write_event(&line);
    }

    // Spans are never enabled; libraries have some.

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

/// RFC 3339 in UTC, with milliseconds.
fn now() -> String {
    format!("{:.3}", jiff::Timestamp::now())
}

/// Time, level, message, and each other field as `name=value`, texts in quotes.
fn text(event: &Event<'_>) -> String {
    let mut line = Text(format!("{} {:>5}", now(), event.metadata().level()));
    event.record(&mut line);
    line.0
}

struct Text(String);

impl Visit for Text {
    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            MESSAGE => self.record_debug(field, &format_args!("{value}")),
            _ => self.record_debug(field, &value),
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // Writing to a String can't fail.
        let _ = match field.name() {
            MESSAGE => write!(self.0, " {}", Short(value)),
            name => write!(self.0, " {name}={}", Short(value)),
        };
    }
}

/// An object with `timestamp`, `level` and each field.
fn json(event: &Event<'_>) -> String {
    let mut bytes = Vec::with_capacity(512);
    let mut serializer = serde_json::Serializer::new(&mut bytes);
    // Texts and numbers can't fail to be written to memory.
    if let Ok(mut object) = serializer.serialize_map(None) {
        let _ = object.serialize_entry("timestamp", &now());
        let _ = object.serialize_entry("level", event.metadata().level().as_str());
        event.record(&mut Json(&mut object));
        let _ = object.end();
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

struct Json<'a, M>(&'a mut M);

impl<M: SerializeMap> Visit for Json<'_, M> {
    fn record_f64(&mut self, field: &Field, value: f64) {
        let _ = self.0.serialize_entry(field.name(), &value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        let _ = self.0.serialize_entry(field.name(), &value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        let _ = self.0.serialize_entry(field.name(), &value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        let _ = self.0.serialize_entry(field.name(), &value);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        let _ = self.0.serialize_entry(field.name(), &Short(&format_args!("{value}")));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let _ = self.0.serialize_entry(field.name(), &Short(value));
    }
}

/// A value that is cut where it is longer than [`LONGEST_VALUE`].
struct Short<'a>(&'a dyn fmt::Debug);

impl fmt::Display for Short<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut cut = Cut { to: f, room: LONGEST_VALUE, left: 0 };
        write!(cut, "{:?}", self.0)?;
        match cut.left {
            0 => Ok(()),
            left => write!(f, "… ({left} bytes more)"),
        }
    }
}

impl Serialize for Short<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Writes so many bytes and counts the rest.
struct Cut<'a, 'f> {
    to: &'a mut fmt::Formatter<'f>,
    room: usize,
    left: usize,
}

impl Write for Cut<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let (written, left) = text.split_at(text.floor_char_boundary(self.room));
        self.left += left.len();
        // Nothing comes after what was left out.
        self.room = if left.is_empty() { self.room - written.len() } else { 0 };
        self.to.write_str(written)
    }
}
