//! Why a call was not understood.

use std::io;

use super::{CniVersion, Code, Verb};
use crate::ipam::address::SpanError;
use crate::ipam::name::NameError;

/// A call that was not understood, and the version in which to say so.
#[derive(Debug, thiserror::Error)]
#[error("{error}")]
pub struct Rejection {
    /// The config's version, or the newest where it can't be told.
    pub version: CniVersion,
    /// Why.
    #[source]
    pub error: RequestError,
}

/// Why a call was not understood. The text is the `msg` of the error document, [`RequestError::details`] its `details`.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "its text says what a variant is and what its fields hold")]
pub enum RequestError {
    /// The runtime left variables out, or empty.
    #[error("required env variables [{}] missing", .0.join(","))]
    Missing(Vec<&'static str>),
    #[error("unknown CNI_COMMAND: {0}")]
    UnknownCommand(String),
    #[error("{0} is not valid UTF-8")]
    NotUtf8(&'static str),
    #[error("invalid {variable}")]
    Variable {
        variable: &'static str,
        #[source]
        source: NameError,
    },
    #[error("error reading the network config from standard input")]
    Stdin(#[source] io::Error),
    /// Standard input holds more than a config can have.
    #[error("the network config on standard input is larger than 1 MiB")]
    TooLarge,
    /// Nothing is on standard input.
    #[error("no network config came on standard input")]
    Empty,
    /// Standard input holds something other than one JSON document.
    #[error("the network config on standard input is not valid JSON")]
    Json(#[source] serde_json::Error),
    #[error("the network config on standard input is not a JSON object")]
    NotAnObject(&'static str),
    #[error("missing network name")]
    NoNetworkName,
    #[error("invalid network name")]
    NetworkName(#[source] NameError),
    /// A `cniVersion` that is not spoken.
    #[error("incompatible CNI versions")]
    Incompatible(String),
    /// A verb that the config's version doesn't have.
    #[error("config version does not allow {0}")]
    VerbTooNew(Verb),
    /// A key of the config holds the wrong kind of value.
    #[error("{key} must be {wanted}, and is {found}")]
    WrongType {
        /// Where it is, from the document's top.
        key: String,
        wanted: &'static str,
        found: &'static str,
    },
    /// An entry of a list of requested addresses has nothing in it.
    #[error("{0} is empty")]
    EmptyEntry(String),
    /// A key of the config should hold a name.
    #[error("{key} is not valid")]
    NotAName {
        /// Where it is, from the document's top.
        key: String,
        #[source]
        source: NameError,
    },
    /// A key of the config should hold an address with its prefix length.
    #[error("{key} is not an address")]
    NotAnAddress {
        /// Where it is, from the document's top.
        key: String,
        #[source]
        source: SpanError,
    },
    /// CHECK came without the result that it is about.
    #[error("missing prevResult")]
    NoPreviousResult,
}

impl RequestError {
    pub(super) fn wrong_type(key: impl Into<String>, wanted: &'static str, found: &'static str) -> Self {
        Self::WrongType { key: key.into(), wanted, found }
    }

    /// The code of the error document.
    pub fn code(&self) -> Code {
        match self {
            Self::Missing(_) | Self::UnknownCommand(_) | Self::NotUtf8(_) | Self::Variable { .. } => Code::ENVIRONMENT,
            Self::Stdin(_) => Code::IO,
            Self::TooLarge | Self::Empty | Self::Json(_) | Self::NotAnObject(_) => Code::DECODE,
            Self::Incompatible(_) | Self::VerbTooNew(_) => Code::VERSION,
            Self::NoNetworkName
            | Self::NetworkName(_)
            | Self::WrongType { .. }
            | Self::EmptyEntry(_)
            | Self::NotAName { .. }
            | Self::NotAnAddress { .. }
            | Self::NoPreviousResult => Code::CONFIG,
        }
    }

    /// What else helps: the value, what would be right, what to do.
    pub fn details(&self) -> String {
        match self {
            Self::Missing(_) => {
                "the container runtime sets them for every call; see the CNI specification, section 2".into()
            }
            Self::UnknownCommand(_) => format!("it is one of {}", Verb::ALL.map(Verb::as_str).join(", ")),
            Self::NotUtf8(_) => "the container runtime has set it to bytes that are no text".into(),
            Self::Variable { variable: "CNI_IFNAME", .. } => {
                "the container runtime sets it; Multus takes it from the pod's k8s.v1.cni.cncf.io/networks".into()
            }
            Self::Variable { .. } => "the container runtime sets it".into(),
            Self::NetworkName(_) => writer_of("name").into(),
            Self::NotAName { key, .. } | Self::NotAnAddress { key, .. } => writer_of(key).into(),
            Self::Stdin(_) => "the container runtime writes it there".into(),
            Self::TooLarge => "a network config has some kilobytes; what the runtime has sent is something else".into(),
            Self::Empty => "the runtime writes the network's config there, a JSON object".into(),
            Self::Json(_) => {
                "correct the file or definition from which the container runtime, or Multus, reads it".into()
            }
            Self::NotAnObject(found) => format!("it is {found}"),
            Self::NoNetworkName => r#"the network's config needs a name, such as "name": "db-net""#.into(),
            Self::Incompatible(asked) => {
                format!("the network's config has cniVersion {asked:?}; kube-ipam speaks {}", CniVersion::list())
            }
            // The reference library says no more, and its tests compare the whole error.
            Self::VerbTooNew(_) => String::new(),
            Self::WrongType { key, .. } => writer_of(key).into(),
            Self::EmptyEntry(key) => format!("write an address there, or remove it; {}", writer_of(key)),
            Self::NoPreviousResult => "CHECK compares with the result of the ADD, which the runtime has to send".into(),
        }
    }
}

/// Who has to correct a key that the config itself should hold, or that the runtime has put into it.
fn writer_of(key: &str) -> &'static str {
    match key.split(['.', '[']).next() {
        Some("name" | "cniVersion") => "correct it in the network's config",
        Some("runtimeConfig" | "args") => {
            "the container runtime, or Multus, takes it from the pod's annotations or from the network's config"
        }
        _ => "the container runtime writes it",
    }
}
