//! Parses YAML and JSON manifests. Each value keeps its position in the file.
//!
//! ```text
//! text ─► yaml      a tree of nodes per document ────┐
//!                                                     ├─► Node: a value and its span in the file
//! text in a scalar ─► embedded   JSON in a string ───┘
//! ```
//!
//! The definition of a network contains its configuration as JSON in a string. A mistake in it is still reported at its
//! position in the file. Limits: the nodes of an alias have the position of its anchor. A file has at most
//! [`MAX_NODES`] nodes, so that nested aliases can't exhaust the memory.

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

/// The most nodes of a file, including those that aliases repeat.
pub const MAX_NODES: usize = 1_000_000;

/// A part of a file, as byte offsets.
pub type Span = Range<usize>;

/// A value and its position.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// The bytes of the value, including the quotes of a quoted text.
    pub span: Span,
    /// The parsed value.
    pub value: Value,
}

/// The value of a node.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// A string, number, boolean or null.
    Scalar(Scalar),
    /// A list.
    List(Vec<Node>),
    /// An object, in the order of the file. A key may occur twice.
    Object(Vec<Member>),
}

/// A key of an object and its value.
#[derive(Clone, Debug, PartialEq)]
pub struct Member {
    /// The key as text, without quotes and escapes.
    pub key: String,
    /// The bytes of the key, including its quotes.
    pub key_span: Span,
    /// The value of the key.
    pub node: Node,
}

/// Text that is neither YAML nor JSON.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct SyntaxError {
    /// Where the parser stopped.
    pub span: Span,
    /// The message of the parser.
    pub message: String,
}

impl Node {
    /// The member with this key. If the key occurs twice, the last one counts, as in the API server.
    pub fn member(&self, key: &str) -> Option<&Member> {
        self.members().iter().rev().find(|member| member.key == key)
    }

    /// The value of this key.
    pub fn get(&self, key: &str) -> Option<&Self> {
        self.member(key).map(|member| &member.node)
    }

    /// The value at a path of keys in nested objects.
    pub fn at(&self, path: &[&str]) -> Option<&Self> {
        path.iter().try_fold(self, |node, key| node.get(key))
    }

    /// The members of an object. Empty for any other value.
    pub fn members(&self) -> &[Member] {
        match &self.value {
            Value::Object(members) => members,
            Value::Scalar(_) | Value::List(_) => &[],
        }
    }

    /// The elements of a list. Empty for any other value.
    pub fn elements(&self) -> &[Self] {
        match &self.value {
            Value::List(elements) => elements,
            Value::Scalar(_) | Value::Object(_) => &[],
        }
    }

    /// The number of nodes in its tree, including itself.
    fn count(&self) -> usize {
        let inner: usize = match &self.value {
            Value::Scalar(_) => 0,
            Value::List(elements) => elements.iter().map(Self::count).sum(),
            Value::Object(members) => members.iter().map(|member| member.node.count()).sum(),
        };
        1 + inner
    }

    /// The text of a string. `None` for a number, boolean or null.
    pub fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Scalar(scalar) if scalar.is_string() => Some(&scalar.text),
            _ => None,
        }
    }

    /// The node as JSON, as kubectl would send it to the API server.
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
