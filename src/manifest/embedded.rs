//! JSON inside a string: a definition's configuration is text in a YAML scalar, and each of its values has a place in the file.
//!
//! The text is checked as JSON, which is stricter than YAML. Its nodes come from the YAML parser, since JSON is YAML as well
//! (YAML 1.2, 1.2), and their places are carried over to the file: the scalar's text is walked along with the bytes that wrote
//! it, past indentation, quotes and escapes.

use super::{Node, Scalar, Span, Style, SyntaxError, Value, documents};

/// The JSON in a string: `scalar` stands at `span` of `file`.
pub fn embedded(file: &str, span: &Span, scalar: &Scalar) -> Result<Node, SyntaxError> {
    let text = scalar.text.as_str();
    let places = Places::new(file, span, scalar);
    let json: serde_json::Value = serde_json::from_str(text).map_err(|error| {
        let at = offset(text, error.line(), error.column());
        SyntaxError { span: places.span(&(at..at)), message: without_place(&error) }
    })?;
    let mut node = match documents(text) {
        (mut documents, errors) if errors.is_empty() && documents.len() == 1 => documents.remove(0),
        // Escapes and lengths that JSON has and the YAML parser does not: right, but with one place for all of it.
        _ => placeless(json, &(0..text.len())),
    };
    places.carry_over(&mut node);
    Ok(node)
}

/// For each byte of a scalar's text the bytes of the file that wrote it; one more, which is empty, for the end.
struct Places(Vec<Span>);

impl Places {
    fn new(file: &str, span: &Span, scalar: &Scalar) -> Self {
        let written = &file[span.clone()];
        // The header of a block, such as "|2-  # a comment", is a line of its own.
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
        // The end is behind the last byte, not before what comes after it, which may be a line further.
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

/// Where a character of the text is written, from `at` on, and in how many bytes. White space may be left out (indentation,
/// folded lines) or stand for other white space (a folded line end is a space).
fn next(written: &str, mut at: usize, character: char, style: Style) -> (usize, usize) {
    while let Some(found) = written[at..].chars().next() {
        match (style, found) {
            (Style::DoubleQuoted, '\\') => {
                let escape = escape(&written[at..]);
                // An escaped line end writes nothing, and neither does the indentation behind it.
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
    // White space that nothing wrote, such as the line end that ends a block.
    (at, 0)
}

/// The length of an escape of YAML's double quotes (YAML 1.2, 5.7), with the backslash.
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

/// The byte of a line and a column, both from 1, as serde_json counts them.
fn offset(text: &str, line: usize, column: usize) -> usize {
    let start: usize = text.split_inclusive('\n').take(line.saturating_sub(1)).map(str::len).sum();
    (start + column.saturating_sub(1)).min(text.len())
}

/// The message without its place, which is shown in the file.
fn without_place(error: &serde_json::Error) -> String {
    let message = error.to_string();
    let place = format!(" at line {} column {}", error.line(), error.column());
    message.strip_suffix(&place).map_or(message.clone(), str::to_owned)
}

/// Nodes that all have one place.
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
