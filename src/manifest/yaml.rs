//! Builds nodes from the events of the YAML parser, and resolves anchors, aliases and merge keys.

use std::collections::{HashMap, HashSet};

use granit_parser::{Event, Parser, ScalarStyle, ScanError, Tag};

use super::{MAX_NODES, Member, Node, Scalar, Span, Style, SyntaxError, Value};

/// The merge key: the object inherits the members of its value, unless it has them itself (YAML 1.1, "merge").
const MERGE: &str = "<<";

/// Parses the documents of a text, and returns the errors of those that can't be parsed. Skips empty documents.
pub fn documents(text: &str) -> (Vec<Node>, Vec<SyntaxError>) {
    let options = granit_parser::options! { emit_comments: false };
    let parser = Parser::new_from_str_with_options(text, options);
    let mut reader = Reader { text, parser, anchors: HashMap::new(), nodes: 0 };
    let (mut documents, mut errors) = (Vec::new(), Vec::new());
    loop {
        match reader.document() {
            Ok(Some(document)) => documents.extend(document),
            Ok(None) => return (documents, errors),
            Err(error) => {
                errors.push(error);
                // Parsing may continue after the next "---".
                if !reader.parser.proceed_next_document().unwrap_or(false) {
                    return (documents, errors);
                }
            }
        }
    }
}

struct Reader<'a> {
    text: &'a str,
    parser: Parser<'a, granit_parser::StrInput<'a>>,
    anchors: HashMap<usize, Node>,
    nodes: usize,
}

impl<'a> Reader<'a> {
    /// The next document: `None` at the end of the text, `Some(None)` if the document is empty.
    fn document(&mut self) -> Result<Option<Option<Node>>, SyntaxError> {
        loop {
            match self.event()? {
                None | Some((Event::StreamEnd, _)) => return Ok(None),
                Some((Event::DocumentStart(..), _)) => break,
                Some(_) => {}
            }
        }
        let Some((event, span)) = self.event()? else { return Ok(None) };
        let node = self.node(event, span)?;
        let is_empty = matches!(&node.value, Value::Scalar(scalar) if scalar.to_json().is_null());
        Ok(Some((!is_empty).then_some(node)))
    }

    fn event(&mut self) -> Result<Option<(Event<'a>, Span)>, SyntaxError> {
        match self.parser.next_event() {
            None => Ok(None),
            Some(Ok((event, span))) => Ok(Some((event, self.bytes(span)))),
            Some(Err(error)) => Err(self.syntax_error(&error)),
        }
    }

    /// The next event inside a list or object. The end of the text is an error there.
    fn inner_event(&mut self) -> Result<(Event<'a>, Span), SyntaxError> {
        let end = self.text.len();
        self.event()?.ok_or_else(|| SyntaxError { span: end..end, message: "the text ends too early".to_owned() })
    }

    /// Builds the node that starts with this event.
    fn node(&mut self, event: Event<'a>, span: Span) -> Result<Node, SyntaxError> {
        self.add(1, &span)?;
        let (node, anchor) = match event {
            Event::Scalar(text, style, anchor, tag) => {
                let scalar = Scalar { text: text.into_owned(), style: style_of(style, tag.as_deref()) };
                (Node { span, value: Value::Scalar(scalar) }, anchor)
            }
            Event::SequenceStart(_, anchor, _) => (self.list(span)?, anchor),
            Event::MappingStart(_, anchor, _) => (self.object(span)?, anchor),
            Event::Alias(anchor) => (self.alias(anchor, &span)?, 0),
            other => return Err(SyntaxError { span, message: format!("expected a value, found {other:?}") }),
        };
        // Zero means no anchor.
        if anchor != 0 {
            // The copy counts as well, because anchors may stand inside each other.
            self.add(node.count(), &node.span)?;
            self.anchors.insert(anchor, node.clone());
        }
        Ok(node)
    }

    fn list(&mut self, start: Span) -> Result<Node, SyntaxError> {
        let mut elements = Vec::new();
        loop {
            let (event, span) = self.inner_event()?;
            if matches!(event, Event::SequenceEnd) {
                return Ok(Node { span: start.start..span.end.max(start.end), value: Value::List(elements) });
            }
            elements.push(self.node(event, span)?);
        }
    }

    fn object(&mut self, start: Span) -> Result<Node, SyntaxError> {
        let (mut members, mut merged) = (Vec::new(), Vec::new());
        let end = loop {
            let (event, key_span) = self.inner_event()?;
            if matches!(event, Event::MappingEnd) {
                break key_span.end.max(start.end);
            }
            let key = match self.node(event, key_span.clone())?.value {
                Value::Scalar(scalar) => scalar,
                Value::List(_) | Value::Object(_) => {
                    return Err(SyntaxError { span: key_span, message: "a key has to be a text".to_owned() });
                }
            };
            let (event, span) = self.inner_event()?;
            let node = self.node(event, span)?;
            if key.text == MERGE && key.style == Style::Plain {
                merged.push(node);
            } else {
                members.push(Member { key: key.text, key_span, node });
            }
        };
        merge(&mut members, merged);
        Ok(Node { span: start.start..end, value: Value::Object(members) })
    }

    /// The node of an alias. Its nodes count as if they were written out.
    fn alias(&mut self, anchor: usize, span: &Span) -> Result<Node, SyntaxError> {
        let Some(node) = self.anchors.get(&anchor).cloned() else {
            return Err(SyntaxError {
                span: span.clone(),
                message: "the alias is inside of what it repeats".to_owned(),
            });
        };
        self.add(node.count(), span)?;
        Ok(node)
    }

    /// Counts nodes towards the limit of the file.
    fn add(&mut self, nodes: usize, span: &Span) -> Result<(), SyntaxError> {
        self.nodes += nodes;
        if self.nodes > MAX_NODES {
            let message = format!("more than {MAX_NODES} values, counting what aliases repeat");
            return Err(SyntaxError { span: span.clone(), message });
        }
        Ok(())
    }

    fn syntax_error(&self, error: &ScanError) -> SyntaxError {
        let at = error.marker().byte_offset().unwrap_or_else(|| self.offset(error.marker().index()));
        SyntaxError { span: at..at, message: error.kind().to_string() }
    }

    fn bytes(&self, span: granit_parser::Span) -> Span {
        span.byte_range().unwrap_or_else(|| self.offset(span.start.index())..self.offset(span.end.index()))
    }

    /// The byte offset of a character, because the parser may count characters.
    fn offset(&self, index: usize) -> usize {
        self.text.char_indices().nth(index).map_or(self.text.len(), |(at, _)| at)
    }
}

/// Adds the members of the merged objects that the object does not have itself.
fn merge(members: &mut Vec<Member>, merged: Vec<Node>) {
    if merged.is_empty() {
        return;
    }
    let mut keys: HashSet<String> = members.iter().map(|member| member.key.clone()).collect();
    for node in merged {
        let objects = match node.value {
            Value::List(objects) => objects,
            Value::Scalar(_) | Value::Object(_) => vec![node],
        };
        for object in objects {
            let Value::Object(inherited) = object.value else { continue };
            members.extend(inherited.into_iter().filter(|member| keys.insert(member.key.clone())));
        }
    }
}

fn style_of(style: ScalarStyle, tag: Option<&Tag>) -> Style {
    match style {
        ScalarStyle::Plain if tag.is_some_and(|tag| tag.is_yaml_core_schema_tag("str")) => Style::SingleQuoted,
        ScalarStyle::Plain => Style::Plain,
        ScalarStyle::SingleQuoted => Style::SingleQuoted,
        ScalarStyle::DoubleQuoted => Style::DoubleQuoted,
        ScalarStyle::Literal | ScalarStyle::Folded => Style::Block,
    }
}
