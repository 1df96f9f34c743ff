//! Names that become parts of keys and file names.
//!
//! Both types are checked when they are created, so that no name can forge another attachment's key: they contain
//! neither `/`, which separates the parts of a key, nor `:`, which separates those of a record's file name.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Why a text is not a name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// It does not match the pattern of CNI names.
    #[error(
        "{0:?} is not a valid name: it must start with a letter or digit and go on with letters, digits, '_', '.' and '-'"
    )]
    Name(String),
    /// It is longer than a key allows.
    #[error("a name of {0} bytes is too long: at most {MAX_NAME} are possible")]
    TooLong(usize),
    /// It breaks the rules for interface names.
    #[error(
        "{0:?} is not a valid interface name: it must have 1 to 15 bytes, be neither '.' nor '..', and hold no '/', ':' \
         or white space"
    )]
    IfName(String),
}

/// The length limit of a name, in bytes: DNS names have at most 253, container IDs 64.
pub const MAX_NAME: usize = 255;

macro_rules! checked_text {
    ($type:ident, $error:ty) => {
        impl $type {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl std::str::FromStr for $type {
            type Err = $error;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Self::new(text)
            }
        }

        impl TryFrom<String> for $type {
            type Error = $error;

            fn try_from(text: String) -> Result<Self, Self::Error> {
                Self::new(text)
            }
        }

        impl From<$type> for String {
            fn from(name: $type) -> Self {
                name.0
            }
        }
    };
}

pub(super) use checked_text;

/// A container ID, or the name of a network, a node or a vrf: `^[a-zA-Z0-9][a-zA-Z0-9_.\-]*$` (CNI spec 1.1, section 1,
/// and its CNI_CONTAINERID), at most [`MAX_NAME`] bytes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
pub struct Name(String);

impl Name {
    /// Checks the text against the pattern.
    pub fn new(text: impl Into<String>) -> Result<Self, NameError> {
        let text = text.into();
        let starts_well = text.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric());
        let goes_on_well = text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'));
        match text.len() {
            _ if !starts_well || !goes_on_well => Err(NameError::Name(text)),
            len if len > MAX_NAME => Err(NameError::TooLong(len)),
            _ => Ok(Self(text)),
        }
    }

    /// The text without the characters that are invalid in a name; `unnamed` if none is left. For callers that need
    /// some name and report the invalid one elsewhere.
    pub fn closest(text: &str) -> Self {
        let fits = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
        let kept: String =
            text.chars().filter(fits).skip_while(|c| !c.is_ascii_alphanumeric()).take(MAX_NAME).collect();
        Self(if kept.is_empty() { "unnamed".to_owned() } else { kept })
    }
}

checked_text!(Name, NameError);

/// The name of a network interface in CNI_IFNAME (CNI spec 1.1, section 2; Linux: 15 bytes and a zero).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
pub struct IfName(String);

impl IfName {
    /// Checks the text against the rules of the kernel and of the CNI specification.
    pub fn new(text: impl Into<String>) -> Result<Self, NameError> {
        let text = text.into();
        let length_fits = (1..=15).contains(&text.len());
        let clean = !text.chars().any(|c| matches!(c, '/' | ':') || c.is_whitespace() || c.is_control());
        if length_fits && clean && text != "." && text != ".." { Ok(Self(text)) } else { Err(NameError::IfName(text)) }
    }
}

checked_text!(IfName, NameError);

/// The length limit of an object's name in Kubernetes, in bytes (RFC 1123, a subdomain).
const MAX_OBJECT_NAME: usize = 253;

/// Whether Kubernetes allows this name: lower case letters, digits, `-` and `.`, with a letter or digit at both ends.
pub fn is_object_name(text: &str) -> bool {
    let inside = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'.');
    let edge = |byte: Option<u8>| byte.is_some_and(|byte| inside(byte) && !matches!(byte, b'-' | b'.'));
    text.len() <= MAX_OBJECT_NAME && text.bytes().all(inside) && edge(text.bytes().next()) && edge(text.bytes().last())
}

/// The four names that identify an attachment: one interface of one container on one network, on one node.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub struct AttachmentId {
    /// The node's name at the time of its ADD.
    pub node: Name,
    /// CNI_CONTAINERID.
    #[serde(rename = "containerID")]
    pub container: Name,
    /// CNI_IFNAME.
    pub ifname: IfName,
    /// The `name` of the network's config.
    pub network: Name,
}

impl fmt::Display for AttachmentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of container {} on network {} (node {})", self.ifname, self.container, self.network, self.node)
    }
}

#[cfg(test)]
mod tests;
