//! Parses the environment and standard input into an [`Incoming`]. Both are arguments, so that tests need no process.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::Read;
use std::path::PathBuf;

use ipnet::IpNet;
use serde_json::{Map, Value};

use super::document::{self, DocumentError, key, kind};
pub use super::error::{Rejection, RequestError};
use super::{CniVersion, Incoming, Operation, Request, Target, ValidAttachment, Verb};
use super::{args, previous};
use crate::ipam::name::{IfName, Name, NameError};
use crate::ipam::request::{RequestSource, RequestedAddresses};

type Config = Map<String, Value>;

/// How many characters of external text an error quotes.
const MAX_QUOTED: usize = 64;

/// Reads a call. `env` returns the value of a variable.
///
/// Standard input is read first, even if the environment is invalid: the runtime writes the config in any case, and an
/// error is reported in the config's version.
pub fn read(env: impl Fn(&str) -> Option<OsString>, stdin: impl Read) -> Result<Incoming, Rejection> {
    let document = document::read(stdin);
    let version = document.as_ref().ok().and_then(|config| version(config).ok()).unwrap_or(CniVersion::NEWEST);
    parse(&env, document).map_err(|error| Rejection { version, error })
}

fn parse(
    env: &impl Fn(&str) -> Option<OsString>,
    document: Result<Config, DocumentError>,
) -> Result<Incoming, RequestError> {
    let verb = text(env, "CNI_COMMAND")?.ok_or_else(|| RequestError::Missing(vec!["CNI_COMMAND"]))?;
    match Verb::parse(&verb).ok_or_else(|| RequestError::UnknownCommand(excerpt(&verb)))? {
        Verb::Version => Ok(Incoming::Version { asked: document.ok().as_ref().and_then(asked) }),
        Verb::Add => {
            let args = text(env, "CNI_ARGS")?.unwrap_or_default();
            let target = target(env, Verb::Add, &args)?;
            call(Verb::Add, document, |config| {
                let requested = requested(config, &args)?;
                Ok(Operation::Add { target, requested, annotations: annotations(config)? })
            })
        }
        Verb::Del => {
            let target = target(env, Verb::Del, &args_lossy(env))?;
            // A DEL releases what the store and the node's record have, whatever `prevResult` says.
            call(Verb::Del, document, |_| Ok(Operation::Del { target }))
        }
        Verb::Check => {
            let target = target(env, Verb::Check, &args_lossy(env))?;
            call(Verb::Check, document, |config| {
                let previous = previous(config)?.ok_or(RequestError::NoPreviousResult)?;
                Ok(Operation::Check { target, previous: previous.into_iter().collect::<Result<_, _>>()? })
            })
        }
        Verb::Gc => call(Verb::Gc, document, |config| Ok(Operation::Gc { valid: valid_attachments(config)? })),
        Verb::Status => call(Verb::Status, document, |_| Ok(Operation::Status)),
    }
}

/// Parses what all verbs except VERSION need from the config, in the reference library's order of checks.
fn call(
    verb: Verb,
    document: Result<Config, DocumentError>,
    operation: impl FnOnce(&Config) -> Result<Operation, RequestError>,
) -> Result<Incoming, RequestError> {
    let config = document?;
    let network = network(&config)?;
    let version = version(&config)?;
    if version < verb.since() {
        return Err(RequestError::VerbTooNew(verb));
    }
    let operation = operation(&config)?;
    Ok(Incoming::Call(Box::new(Request { version, network, operation, config })))
}

impl From<DocumentError> for RequestError {
    fn from(error: DocumentError) -> Self {
        match error {
            DocumentError::Read(source) => Self::Stdin(source),
            DocumentError::TooLarge => Self::TooLarge,
            DocumentError::Empty => Self::Empty,
            DocumentError::Json(source) => Self::Json(source),
            DocumentError::NotAnObject(found) => Self::NotAnObject(found),
        }
    }
}

/// An environment variable. An empty one counts as unset: libcni sends GC and STATUS with empty ones.
fn variable(env: &impl Fn(&str) -> Option<OsString>, name: &str) -> Option<OsString> {
    env(name).filter(|value| !value.is_empty())
}

/// An environment variable that must be UTF-8.
fn text(env: &impl Fn(&str) -> Option<OsString>, name: &'static str) -> Result<Option<String>, RequestError> {
    let text = variable(env, name).map(OsString::into_string).transpose();
    text.map_err(|_| RequestError::NotUtf8(name))
}

/// CNI_ARGS for the verbs that must not fail because of it.
fn args_lossy(env: &impl Fn(&str) -> Option<OsString>) -> String {
    variable(env, "CNI_ARGS").unwrap_or_default().to_string_lossy().into_owned()
}

/// The attachment. CNI_PATH, which the reference library requires, is not needed: kube-ipam calls no other plugin.
fn target(env: &impl Fn(&str) -> Option<OsString>, verb: Verb, args: &str) -> Result<Target, RequestError> {
    let container = text(env, "CNI_CONTAINERID")?;
    let netns = variable(env, "CNI_NETNS").map(PathBuf::from);
    let ifname = text(env, "CNI_IFNAME")?;
    match (container, ifname) {
        (Some(container), Some(ifname)) if netns.is_some() || verb == Verb::Del => Ok(Target {
            container: Name::new(container).map_err(invalid("CNI_CONTAINERID"))?,
            ifname: IfName::new(ifname).map_err(invalid("CNI_IFNAME"))?,
            netns,
            pod: args::pod(args),
        }),
        (container, ifname) => {
            let given = [
                ("CNI_CONTAINERID", container.is_some()),
                ("CNI_NETNS", netns.is_some() || verb == Verb::Del),
                ("CNI_IFNAME", ifname.is_some()),
            ];
            Err(RequestError::Missing(given.into_iter().filter(|(_, given)| !given).map(|(name, _)| name).collect()))
        }
    }
}

fn invalid(variable: &'static str) -> impl Fn(NameError) -> RequestError {
    move |source| RequestError::Variable { variable, source }
}

/// The network's name (CNI spec 1.1, section 1).
fn network(config: &Config) -> Result<Name, RequestError> {
    match key(config, "name") {
        None | Some(Value::Null) => Err(RequestError::NoNetworkName),
        Some(Value::String(name)) if name.is_empty() => Err(RequestError::NoNetworkName),
        Some(Value::String(name)) => Name::new(name).map_err(RequestError::NetworkName),
        Some(other) => Err(RequestError::wrong_type("name", "a string", kind(other))),
    }
}

/// The config's version. A config without one is older than the key.
fn version(config: &Config) -> Result<CniVersion, RequestError> {
    match key(config, "cniVersion") {
        None | Some(Value::Null) => Ok(CniVersion::V0_1_0),
        Some(Value::String(text)) if text.is_empty() => Ok(CniVersion::V0_1_0),
        Some(Value::String(text)) => {
            CniVersion::parse(text).ok_or_else(|| RequestError::Incompatible(text.chars().take(MAX_QUOTED).collect()))
        }
        Some(other) => Err(RequestError::wrong_type("cniVersion", r#"a string such as "1.0.0""#, kind(other))),
    }
}

/// The version that a VERSION call repeats: anything that looks like a version, supported or not.
fn asked(config: &Config) -> Option<String> {
    let text = key(config, "cniVersion")?.as_str()?;
    let looks_like_one =
        text.bytes().all(|b| b.is_ascii_digit() || b == b'.') && (1..=MAX_QUOTED).contains(&text.len());
    looks_like_one.then(|| text.to_owned())
}

/// The beginning of an external text, on one line.
fn excerpt(text: &str) -> String {
    text.chars().take(MAX_QUOTED).flat_map(char::escape_debug).collect()
}

/// The requested addresses, from the first place that has any.
fn requested(config: &Config, args: &str) -> Result<Option<RequestedAddresses>, RequestError> {
    let from = |source, ips: Vec<String>| (!ips.is_empty()).then_some(RequestedAddresses { source, ips });
    if let Some(found) = from(RequestSource::RuntimeConfig, texts(config, &["runtimeConfig", "ips"])?) {
        return Ok(Some(found));
    }
    if let Some(found) = from(RequestSource::ArgsCni, texts(config, &["args", "cni", "ips"])?) {
        return Ok(Some(found));
    }
    Ok(from(RequestSource::CniArgs, args::ips(args)))
}

/// The pod's annotations, if the runtime passes them. It passes `null` for a pod without annotations.
fn annotations(config: &Config) -> Result<Option<BTreeMap<String, String>>, RequestError> {
    const CAPABILITY: &str = "io.kubernetes.cri.pod-annotations";
    let Some(Value::Object(runtime)) = key(config, "runtimeConfig") else { return Ok(None) };
    let path = || format!("runtimeConfig.{CAPABILITY}");
    let text = |(name, value): (&String, &Value)| match value {
        Value::String(text) => Ok((name.clone(), text.clone())),
        other => Err(RequestError::wrong_type(format!("{}.{}", path(), excerpt(name)), "a string", kind(other))),
    };
    match runtime.get(CAPABILITY) {
        None => Ok(None),
        Some(Value::Null) => Ok(Some(BTreeMap::new())),
        Some(Value::Object(annotations)) => annotations.iter().map(text).collect::<Result<_, _>>().map(Some),
        Some(other) => Err(RequestError::wrong_type(path(), "an object in braces", kind(other))),
    }
}

/// The list of addresses at a path. An empty entry is a request that lost its address. It must not become a request for
/// any address.
fn texts(config: &Config, path: &[&str]) -> Result<Vec<String>, RequestError> {
    let (found, path) = (at(config, path)?, path.join("."));
    let items = match found {
        None => return Ok(Vec::new()),
        Some(Value::Array(items)) => items,
        Some(other) => {
            return Err(RequestError::wrong_type(path, r#"a list of addresses such as ["10.1.0.5/16"]"#, kind(other)));
        }
    };
    let mut texts = Vec::with_capacity(items.len());
    for (index, item) in items.iter().enumerate() {
        match item.as_str().map(str::trim) {
            Some("") => return Err(RequestError::EmptyEntry(format!("{path}[{index}]"))),
            Some(text) => texts.push(text.to_owned()),
            None => {
                let wanted = r#"an address such as "10.1.0.5/16""#;
                return Err(RequestError::wrong_type(format!("{path}[{index}]"), wanted, kind(item)));
            }
        }
    }
    Ok(texts)
}

/// The value at a path of keys. As in Go, `null` counts as absent.
fn at<'a>(config: &'a Config, path: &[&str]) -> Result<Option<&'a Value>, RequestError> {
    let Some((last, objects)) = path.split_last() else { return Ok(None) };
    let mut map = config;
    for (depth, name) in objects.iter().enumerate() {
        map = match key(map, name) {
            None | Some(Value::Null) => return Ok(None),
            Some(Value::Object(inner)) => inner,
            Some(other) => return Err(RequestError::wrong_type(path[..=depth].join("."), "an object", kind(other))),
        };
    }
    Ok(key(map, last).filter(|value| !value.is_null()))
}

/// The addresses of `prevResult`, if there is one.
fn previous(config: &Config) -> Result<Option<Vec<Result<IpNet, RequestError>>>, RequestError> {
    match key(config, "prevResult") {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Object(result)) => Ok(Some(previous::addresses(result))),
        Some(other) => Err(RequestError::wrong_type("prevResult", "an object", kind(other))),
    }
}

/// The attachments that GC must not touch. libcni sends them under two keys, of which older runtimes use only the
/// second.
fn valid_attachments(config: &Config) -> Result<Option<Vec<ValidAttachment>>, RequestError> {
    let found = ["cni.dev/valid-attachments", "cni.dev/attachments"]
        .into_iter()
        .find_map(|name| key(config, name).map(|value| (name, value)));
    match found {
        None => Ok(None),
        Some((_, Value::Null)) => Ok(Some(Vec::new())),
        Some((name, Value::Array(items))) => {
            let item = |(index, item)| valid_attachment(&format!("{name}[{index}]"), item);
            items.iter().enumerate().map(item).collect::<Result<_, _>>().map(Some)
        }
        Some((name, other)) => Err(RequestError::wrong_type(name, "a list of attachments", kind(other))),
    }
}

fn valid_attachment(path: &str, item: &Value) -> Result<ValidAttachment, RequestError> {
    let Value::Object(item) = item else { return Err(RequestError::wrong_type(path, "an object", kind(item))) };
    let text = |name: &str| match key(item, name) {
        Some(Value::String(text)) => Ok(text.as_str()),
        other => Err(RequestError::wrong_type(format!("{path}.{name}"), "a string", other.map_or("missing", kind))),
    };
    let no_name = |name: &str| {
        let key = format!("{path}.{name}");
        move |source| RequestError::NotAName { key, source }
    };
    Ok(ValidAttachment {
        container: Name::new(text("containerID")?).map_err(no_name("containerID"))?,
        ifname: IfName::new(text("ifname")?).map_err(no_name("ifname"))?,
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests;
