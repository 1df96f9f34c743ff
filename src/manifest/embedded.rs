//! Parses JSON in a YAML scalar, such as a definition's configuration, and maps the position of each value to the file.
//!
//! serde_json checks the text, because JSON is stricter than YAML. The nodes come from the YAML parser, because JSON is
//! also YAML (YAML 1.2, 1.2). To map their positions, [`Places`] walks the scalar's text along with its source, past
//! indentation, quotes and escapes.

use super::{Node, Scalar, Span, Style, SyntaxError, Value, documents};

/// The most bytes of JSON in a scalar: an object with more does not fit into etcd (`--max-request-bytes`, 1.5 MiB).
const MAX_BYTES: usize = 3 << 19;

/// Parses the JSON in `scalar`, which is at `span` of `file`.
pub fn embedded(file: &str, span: &Span, scalar: &Scalar) -> Result<Node, SyntaxError> {
    let text = scalar.text.as_str();
    if text.len() > MAX_BYTES {
        let message = format!("{} bytes of JSON in one text; at most {MAX_BYTES} are possible", text.len());
        return Err(SyntaxError { span: span.start..span.start, message });
    }
    let places = Places::new(file, span, scalar);
    let json: serde_json::Value = serde_json::from_str(text).map_err(|error| {
        let at = offset(text, error.line(), error.column());
        SyntaxError { span: places.span(&(at..at)), message: without_place(&error) }
    })?;
    let mut node = match documents(text) {
        (mut documents, errors) if errors.is_empty() && documents.len() == 1 => documents.remove(0),
        // Valid JSON that the YAML parser rejects, such as some escapes and lengths. All nodes get one position.
        _ => placeless(json, &(0..text.len())),
    };
    places.carry_over(&mut node);
    Ok(node)
}

/// Maps each byte of a scalar's text to its source in the file. A last, empty span marks the end.
struct Places(Vec<Span>);

impl Places {
    fn new(file: &str, span: &Span, scalar: &Scalar) -> Self {
        let written = &file[span.clone()];
        // The first line of a block scalar, such as "|2-  # a comment", is its header.
        let begin = match scalar.style {
            Style::Block if written.starts_with(['|', '>']) => written.find('\n').map_or(written.len(), |end| end + 1),
            Style::Block | Style::Plain => 0,
            Style::SingleQuoted | Style::DoubleQuoted => usize::from(written.starts_with(['\'', '"'])),
        };
        let mut at = begin;
        let mut places = Vec::with_capacity(scalar.text.len() + 1);
        for character in scalar.text.chars() {
            let length;
            (at, length) = next(written, at, character, scalar.style);
            let start = span.start + at;
            places.extend(std::iter::repeat_n(start..start + length, character.len_utf8()));
            at += length;
        }
        let end = span.start + at;
        places.push(end..end);
        Self(places)
    }

    fn span(&self, span: &Span) -> Span {
        let place = |at: usize| self.0.get(at).or(self.0.last()).cloned().unwrap_or_default();
        let start = place(span.start).start;
        // The end follows the last byte. The start of the next byte may be on the next line.
        let end = if span.end > span.start { place(span.end - 1).end } else { start };
        start..end
    }

    fn carry_over(&self, node: &mut Node) {
        node.span = self.span(&node.span);
        match &mut node.value {
            Value::Scalar(_) => {}
            Value::List(elements) => elements.iter_mut().for_each(|element| self.carry_over(element)),
            Value::Object(members) => {
                for member in members {
                    member.key_span = self.span(&member.key_span);
                    self.carry_over(&mut member.node);
                }
            }
        }
    }
}

/// The offset and length of the source of a character, searched from `at` on. White space in the source may be skipped
/// (indentation, folded lines) or stand for other white space (a folded line end is a space).
fn next(written: &str, mut at: usize, character: char, style: Style) -> (usize, usize) {
    while let Some(found) = written[at..].chars().next() {
        match (style, found) {
            (Style::DoubleQuoted, '\\') => {
                let escape = escape(&written[at..]);
                // An escaped line end and the indentation after it add nothing to the text.
                if written[at..].starts_with("\\\n") || written[at..].starts_with("\\\r") {
                    at += escape;
                    continue;
                }
                return (at, escape);
            }
            (Style::SingleQuoted, '\'') if character == '\'' => return (at, 2),
            _ if found == character => return (at, found.len_utf8()),
            _ if found.is_whitespace() && character.is_whitespace() => return (at, found.len_utf8()),
            _ if found.is_whitespace() => at += found.len_utf8(),
            _ => break,
        }
    }
    // White space without a source, such as the final line end of a block.
    (at, 0)
}

/// The length of an escape in double quotes (YAML 1.2, 5.7), including the backslash.
fn escape(written: &str) -> usize {
    let digits = match written.chars().nth(1) {
        Some('x') => 2,
        Some('u') => 4,
        Some('U') => 8,
        Some(other) => return 1 + other.len_utf8(),
        None => return 1,
    };
    (2 + digits).min(written.len())
}

/// The byte offset of a line and column as serde_json counts them, both from 1.
fn offset(text: &str, line: usize, column: usize) -> usize {
    let start: usize = text.split_inclusive('\n').take(line.saturating_sub(1)).map(str::len).sum();
    (start + column.saturating_sub(1)).min(text.len())
}

/// The message without its position, which refers to the scalar instead of the file.
fn without_place(error: &serde_json::Error) -> String {
    let message = error.to_string();
    let place = format!(" at line {} column {}", error.line(), error.column());
    message.strip_suffix(&place).map_or(message.clone(), str::to_owned)
}

/// Converts JSON to nodes that all have the same span.
fn placeless(json: serde_json::Value, span: &Span) -> Node {
    let value = match json {
        serde_json::Value::Array(elements) => {
            Value::List(elements.into_iter().map(|element| placeless(element, span)).collect())
        }
        serde_json::Value::Object(members) => {
            let member = |(key, value)| super::Member { key, key_span: span.clone(), node: placeless(value, span) };
            Value::Object(members.into_iter().map(member).collect())
        }
        serde_json::Value::String(text) => Value::Scalar(Scalar { text, style: Style::DoubleQuoted }),
        other => Value::Scalar(Scalar { text: other.to_string(), style: Style::Plain }),
    };
    Node { span: span.clone(), value }
}
