//! Manifests as people write them: YAML and JSON documents whose every value knows its place in the file.
//!
//! ```text
//! text ─► yaml      documents, a tree of nodes each ─┐
//!                                                     ├─► Node: a value, and the bytes of the file that it stands in
//! text in a scalar ─► embedded   JSON in a string ───┘
//! ```
//!
//! A definition of a network holds its configuration as text inside a string, and a mistake in it is shown at its place in
//! the file all the same. Limits: a node that comes from an alias stands where its anchor does; of a file, at most
//! [`MAX_NODES`] nodes are built, so that aliases of aliases end.

mod embedded;
mod scalar;
#[cfg(test)]
mod tests;
mod yaml;

use std::ops::Range;

use serde_json::{Map, Value as Json};

pub use self::embedded::embedded;
pub use self::scalar::{Scalar, Style};
pub use self::yaml::documents;

/// How many nodes a file may have, those that aliases repeat included.
pub const MAX_NODES: usize = 1_000_000;

/// A part of a file, in bytes.
pub type Span = Range<usize>;

/// A value and where it stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// From its first byte to behind its last; of a quoted text with its quotes.
    pub span: Span,
    /// The value.
    pub value: Value,
}

/// What a node is.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// A text, number, boolean or null.
    Scalar(Scalar),
    /// A list.
    List(Vec<Node>),
    /// An object, in the order in which it is written. A key may occur twice.
    Object(Vec<Member>),
}

/// A key of an object and its value.
#[derive(Clone, Debug, PartialEq)]
pub struct Member {
    /// The key.
    pub key: String,
    /// Where the key stands.
    pub key_span: Span,
    /// The value.
    pub node: Node,
}

/// Text that is neither YAML nor JSON.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct SyntaxError {
    /// Where reading stopped.
    pub span: Span,
    /// The parser's own words.
    pub message: String,
}

impl Node {
    /// The member of an object. If its key occurs twice, the last one counts, as for the API server.
    pub fn member(&self, key: &str) -> Option<&Member> {
        self.members().iter().rev().find(|member| member.key == key)
    }

    /// The value of a key of an object.
    pub fn get(&self, key: &str) -> Option<&Self> {
        self.member(key).map(|member| &member.node)
    }

    /// The value at a path of keys, each in the object of the one before.
    pub fn at(&self, path: &[&str]) -> Option<&Self> {
        path.iter().try_fold(self, |node, key| node.get(key))
    }

    /// The members of an object; none if it is something else.
    pub fn members(&self) -> &[Member] {
        match &self.value {
            Value::Object(members) => members,
            Value::Scalar(_) | Value::List(_) => &[],
        }
    }

    /// The elements of a list; none if it is something else.
    pub fn elements(&self) -> &[Self] {
        match &self.value {
            Value::List(elements) => elements,
            Value::Scalar(_) | Value::Object(_) => &[],
        }
    }

    /// How many nodes there are in it, itself included.
    fn count(&self) -> usize {
        let inner: usize = match &self.value {
            Value::Scalar(_) => 0,
            Value::List(elements) => elements.iter().map(Self::count).sum(),
            Value::Object(members) => members.iter().map(|member| member.node.count()).sum(),
        };
        1 + inner
    }

    /// The text of a string; a number, boolean or null is none.
    pub fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Scalar(scalar) if scalar.is_string() => Some(&scalar.text),
            _ => None,
        }
    }

    /// The node as JSON, as the API server would get it.
    pub fn to_json(&self) -> Json {
        match &self.value {
            Value::Scalar(scalar) => scalar.to_json(),
            Value::List(elements) => elements.iter().map(Self::to_json).collect(),
            Value::Object(members) => {
                let members = members.iter().map(|member| (member.key.clone(), member.node.to_json()));
                Json::Object(members.collect::<Map<_, _>>())
            }
        }
    }
}
