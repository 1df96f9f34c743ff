//! Why a call was rejected before it did anything.

use std::io;

use super::{CniVersion, Code, Verb};
use crate::ipam::address::SpanError;
use crate::ipam::name::NameError;

/// A rejected call, and the version of the error document.
#[derive(Debug, thiserror::Error)]
#[error("{error}")]
pub struct Rejection {
    /// The config's version, or the newest if that is unknown.
    pub version: CniVersion,
    /// Why.
    #[source]
    pub error: RequestError,
}

/// Why a call was rejected. The text becomes the `msg` of the error document, [`RequestError::details`] the `details`.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "its text says what a variant is and what its fields hold")]
pub enum RequestError {
    /// Environment variables are missing or empty.
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
    /// Standard input exceeds the size limit.
    #[error("the network config on standard input is larger than 1 MiB")]
    TooLarge,
    /// Standard input is empty.
    #[error("no network config came on standard input")]
    Empty,
    /// Standard input is not one JSON document.
    #[error("the network config on standard input is not valid JSON")]
    Json(#[source] serde_json::Error),
    #[error("the network config on standard input is not a JSON object")]
    NotAnObject(&'static str),
    #[error("missing network name")]
    NoNetworkName,
    #[error("invalid network name")]
    NetworkName(#[source] NameError),
    /// The `cniVersion` is not supported.
    #[error("incompatible CNI versions")]
    Incompatible(String),
    /// The config's version does not have this verb.
    #[error("config version does not allow {0}")]
    VerbTooNew(Verb),
    /// A key of the config has a value of the wrong type.
    #[error("{key} must be {wanted}, and is {found}")]
    WrongType {
        /// The path from the root of the document.
        key: String,
        wanted: &'static str,
        found: &'static str,
    },
    /// An entry in a list of requested addresses is empty.
    #[error("{0} is empty")]
    EmptyEntry(String),
    /// A key of the config is not a valid name.
    #[error("{key} is not valid")]
    NotAName {
        /// The path from the root of the document.
        key: String,
        #[source]
        source: NameError,
    },
    /// A key of the config is not an address with a prefix length.
    #[error("{key} is not an address")]
    NotAnAddress {
        /// The path from the root of the document.
        key: String,
        #[source]
        source: SpanError,
    },
    /// A CHECK without the result of the ADD.
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

    /// The value, the expected one, and what to do.
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
            // The reference library has no details here, and its tests compare the whole error.
            Self::VerbTooNew(_) => String::new(),
            Self::WrongType { key, .. } => writer_of(key).into(),
            Self::EmptyEntry(key) => format!("write an address there, or remove it; {}", writer_of(key)),
            Self::NoPreviousResult => "CHECK compares with the result of the ADD, which the runtime has to send".into(),
        }
    }
}

/// Who has to correct a key: the author of the config, or the runtime that added the key.
fn writer_of(key: &str) -> &'static str {
    match key.split(['.', '[']).next() {
        Some("name" | "cniVersion") => "correct it in the network's config",
        Some("runtimeConfig" | "args") => {
            "the container runtime, or Multus, takes it from the pod's annotations or from the network's config"
        }
        _ => "the container runtime writes it",
    }
}
