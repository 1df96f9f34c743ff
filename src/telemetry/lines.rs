//! The tracing subscriber that writes this program's events as lines of text or JSON.
//!
//! tracing-subscriber is not used: setting up its registry of spans, layers and filters took longer than writing a
//! call's only line.

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
const OWN_CRATE: &str = env!("CARGO_CRATE_NAME");

/// The name of the field with an event's text.
const MESSAGE: &str = "message";

/// The size limit of a value, in bytes. An annotation may be a hundred times longer, and would rotate everything else
/// out of the log.
const MAX_VALUE: usize = 4 << 10;

/// Writes events of a level and above.
pub(super) struct LineSubscriber {
    pub(super) level: LevelFilter,
    pub(super) format: LogFormat,
    pub(super) file: LogFile,
}

impl LineSubscriber {
    fn is_enabled(&self, of: &Metadata<'_>) -> bool {
        of.is_event() && *of.level() <= self.level && is_own(of.target())
    }
}

fn is_own(target: &str) -> bool {
    target.strip_prefix(OWN_CRATE).is_some_and(|module| module.is_empty() || module.starts_with("::"))
}

impl Subscriber for LineSubscriber {
    fn register_callsite(&self, of: &'static Metadata<'static>) -> Interest {
        if self.is_enabled(of) { Interest::always() } else { Interest::never() }
    }

    fn enabled(&self, of: &Metadata<'_>) -> bool {
        self.is_enabled(of)
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

    // Spans are never enabled. Libraries create some.

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

/// The time as RFC 3339 in UTC, with milliseconds.
fn now() -> String {
    format!("{:.3}", jiff::Timestamp::now())
}

/// Time, level, message, and the other fields as `name=value`, with texts in quotes.
fn text(event: &Event<'_>) -> String {
    let mut line = TextVisitor(format!("{} {:>5}", now(), event.metadata().level()));
    event.record(&mut line);
    line.0
}

struct TextVisitor(String);

impl Visit for TextVisitor {
    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            MESSAGE => self.record_debug(field, &format_args!("{value}")),
            _ => self.record_debug(field, &value),
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // Writing to a String can't fail.
        let _ = match field.name() {
            MESSAGE => write!(self.0, " {}", Truncated(value)),
            name => write!(self.0, " {name}={}", Truncated(value)),
        };
    }
}

/// An object with `timestamp`, `level` and each field.
fn json(event: &Event<'_>) -> String {
    let mut bytes = Vec::with_capacity(512);
    let mut serializer = serde_json::Serializer::new(&mut bytes);
    // Serializing texts and numbers to memory can't fail.
    if let Ok(mut object) = serializer.serialize_map(None) {
        let _ = object.serialize_entry("timestamp", &now());
        let _ = object.serialize_entry("level", event.metadata().level().as_str());
        event.record(&mut JsonVisitor(&mut object));
        let _ = object.end();
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

struct JsonVisitor<'a, M>(&'a mut M);

impl<M: SerializeMap> Visit for JsonVisitor<'_, M> {
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
        let _ = self.0.serialize_entry(field.name(), &Truncated(&format_args!("{value}")));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let _ = self.0.serialize_entry(field.name(), &Truncated(value));
    }
}

/// A value, truncated at [`MAX_VALUE`].
struct Truncated<'a>(&'a dyn fmt::Debug);

impl fmt::Display for Truncated<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut cut = TruncatingWriter { to: f, room: MAX_VALUE, left: 0 };
        write!(cut, "{:?}", self.0)?;
        match cut.left {
            0 => Ok(()),
            left => write!(f, "… ({left} bytes more)"),
        }
    }
}

impl Serialize for Truncated<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Writes a limited number of bytes and counts the rest.
struct TruncatingWriter<'a, 'f> {
    to: &'a mut fmt::Formatter<'f>,
    room: usize,
    left: usize,
}

impl Write for TruncatingWriter<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let (written, left) = text.split_at(text.floor_char_boundary(self.room));
        self.left += left.len();
        // Nothing may follow the truncated part.
        self.room = if left.is_empty() { self.room - written.len() } else { 0 };
        self.to.write_str(written)
    }
}
