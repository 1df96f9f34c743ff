//! What a pod's author is to know, as an event on the pod (`kubectl describe pod`).

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::api::core::v1;
use kube::Resource;
use kube::core::Request;
use kube::core::params::PostParams;
use serde::Serialize;

use super::object::Object;
use super::{ApiServer, ClusterError, of_pod};
use crate::ipam::lease::PodRef;
use crate::ipam::name::Name;
use crate::ipam::seed::fnv1a_128;
use crate::store::Deadline;

/// The longest message that the API server takes, in bytes (`validateEvent`: 1024).
const LONGEST: usize = 1024;

/// The longest part of an event's name that is the pod's: the whole is a subdomain of at most 253 characters.
const LONGEST_POD: usize = 200;

/// Who says it.
const COMPONENT: &str = "kube-ipam";

/// The words for what events are about.
pub(super) const REFUSED: &str = "AddressRefused";
pub(super) const TAKEN_OVER: &str = "AddressTakenOver";

/// The label by which our events are found; its value is the reason.
pub(super) const LABEL: &str = "kube-ipam.event";

/// The label that says which error it was, in the word for logs and metrics.
pub(super) const ERROR_LABEL: &str = "kube-ipam.error";

/// What an event is about, in one word for `kubectl get events --field-selector reason=…`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The pod's interface got no address, by the rules or because of what others hold: the word of the error.
    AddressRefused(&'static str),
    /// It got an address that another pod held.
    AddressTakenOver,
    /// It got the address that was reserved for its owner.
    StickyAddressUsed,
    /// It got another address than the one that its owner had.
    StickyAddressGivenUp,
}

impl Reason {
    /// The word.
    pub fn word(self) -> &'static str {
        match self {
            Self::AddressRefused(_) => REFUSED,
            Self::AddressTakenOver => TAKEN_OVER,
            Self::StickyAddressUsed => "StickyAddressUsed",
            Self::StickyAddressGivenUp => "StickyAddressGivenUp",
        }
    }

    /// What it can be selected by.
    fn labels(self) -> BTreeMap<&'static str, &'static str> {
        let error = match self {
            Self::AddressRefused(error) => Some((ERROR_LABEL, error)),
            Self::AddressTakenOver | Self::StickyAddressUsed | Self::StickyAddressGivenUp => None,
        };
        error.into_iter().chain([(LABEL, self.word())]).collect()
    }

    /// `Warning` where somebody has to do something.
    fn severity(self) -> &'static str {
        match self {
            Self::AddressRefused(_) | Self::StickyAddressGivenUp => "Warning",
            Self::AddressTakenOver | Self::StickyAddressUsed => "Normal",
        }
    }
}

/// An event on a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// The pod, as the runtime names it; `kubectl describe` finds the event by its UID.
    pub pod: PodRef,
    /// The node that says it.
    pub node: Name,
    /// What it is about.
    pub reason: Reason,
    /// The text, that of the error or of the log.
    pub text: String,
}

/// Why an event was not said. Nothing depends on it.
#[derive(Debug, thiserror::Error)]
pub enum Unsaid {
    /// The server was not reached, or the pod has no name that it knows.
    #[error("{0}")]
    Cluster(#[from] ClusterError),
    /// 403, by RBAC.
    #[error("the API server {url} does not allow {user} to create events in namespace {namespace}")]
    NotAllowed {
        /// Its URL.
        url: String,
        /// Who tried.
        user: String,
        /// Where.
        namespace: String,
    },
    /// Any other answer.
    #[error("the API server {url} did not take the event: status {status}: {said}")]
    NotTaken {
        /// Its URL.
        url: String,
        /// The status of HTTP.
        status: u16,
        /// The server's words.
        said: String,
    },
}

/// An Event of core/v1 in its older form, of which every kubectl shows component, node, count and age.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Document<'a> {
    api_version: &'static str,
    kind: &'static str,
    metadata: Metadata<'a>,
    involved_object: Involved<'a>,
    reason: &'static str,
    message: &'a str,
    r#type: &'static str,
    source: Source<'a>,
    reporting_component: &'static str,
    reporting_instance: &'a str,
    first_timestamp: Timestamp,
    last_timestamp: Timestamp,
    count: u32,
}

#[derive(Serialize)]
struct Metadata<'a> {
    namespace: &'a str,
    name: String,
    labels: BTreeMap<&'static str, &'static str>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Involved<'a> {
    api_version: &'static str,
    kind: &'static str,
    namespace: &'a str,
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    uid: Option<&'a str>,
}

#[derive(Serialize)]
struct Source<'a> {
    component: &'static str,
    host: &'a str,
}

impl Event {
    /// What tells it from any other one. The same text of the same pod has the same for ever.
    pub fn digest(&self) -> String {
        let PodRef { namespace, name, uid } = &self.pod;
        let part = |part: &Option<String>| part.clone().unwrap_or_default();
        let parts = [part(namespace), part(name), part(uid), self.node.to_string(), self.text.clone()];
        format!("{:032x}", fnv1a_128([self.reason.word(), &parts.join("\n")].join("\n").as_bytes()))
    }

    /// Its document. Half of the digest tells one event of a pod from the other; the minute tells it from the one that was
    /// said of the same an hour ago, and is still there.
    fn document(&self, pod: &Object, now: Timestamp) -> Vec<u8> {
        let (start, minute) = (&pod.name[..pod.name.len().min(LONGEST_POD)], now.as_second() / 60);
        let document = Document {
            api_version: "v1",
            kind: "Event",
            metadata: Metadata {
                namespace: &pod.namespace,
                name: format!("{}.{:.16}.{minute:x}", start.trim_end_matches(['-', '.']), self.digest()),
                labels: self.reason.labels(),
            },
            involved_object: Involved {
                api_version: "v1",
                kind: "Pod",
                namespace: &pod.namespace,
                name: &pod.name,
                uid: self.pod.uid.as_deref(),
            },
            reason: self.reason.word(),
            message: &self.text[..self.text.floor_char_boundary(LONGEST)],
            r#type: self.reason.severity(),
            source: Source { component: COMPONENT, host: self.node.as_str() },
            reporting_component: COMPONENT,
            reporting_instance: self.node.as_str(),
            first_timestamp: whole(now),
            last_timestamp: whole(now),
            count: 1,
        };
        // Texts and numbers can't fail to be written to memory.
        serde_json::to_vec(&document).unwrap_or_default()
    }
}

/// The API server's times have no fractions of a second.
fn whole(now: Timestamp) -> Timestamp {
    Timestamp::from_second(now.as_second()).unwrap_or(now)
}

impl ApiServer {
    /// Says something on a pod. One POST; it is not repeated.
    pub fn say(&self, event: &Event, now: Timestamp, until: Deadline) -> Result<(), Unsaid> {
        let pod = of_pod(&event.pod)?;
        let path = v1::Event::url_path(&(), Some(&pod.namespace));
        let request = Request::new(path).create(&PostParams::default(), event.document(&pod, now));
        let request = request.map_err(|_| ClusterError::Name { what: "namespace", text: pod.namespace.clone() })?;
        self.ask(request, &pod, until)?.taken(&pod)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn event(name: &str, text: &str) -> Event {
        let part = |text: &str| Some(text.to_owned());
        let pod = PodRef { namespace: part("db"), name: part(name), uid: part("u-1") };
        let node = Name::new("node-1").unwrap();
        Event { pod, node, reason: Reason::AddressRefused("held"), text: text.to_owned() }
    }

    fn document(event: &Event, second: i64) -> Value {
        let document = event.document(&of_pod(&event.pod).unwrap(), Timestamp::from_second(second).unwrap());
        serde_json::from_slice(&document).unwrap()
    }

    #[test]
    fn no_name_or_text_is_longer_than_the_api_server_takes() {
        let name = format!("{}.{}", "d".repeat(199), "b".repeat(53));
        let document = document(&event(&name, &"ü".repeat(LONGEST)), 1_800_000_000);
        let name = document["metadata"]["name"].as_str().unwrap();
        assert!(name.len() <= 253 && !name.contains(".."), "{name}");
        assert_eq!(document["message"].as_str().unwrap().len(), LONGEST);
        assert_eq!(document["lastTimestamp"], "2027-01-15T08:00:00Z");
        let labels = json!({ "kube-ipam.event": "AddressRefused", "kube-ipam.error": "held" });
        assert_eq!(document["metadata"]["labels"], labels);
    }

    #[test]
    fn each_text_of_a_pod_has_a_name_of_its_own_and_a_later_one_another() {
        let name = |event: &Event, second| document(event, second)["metadata"]["name"].clone();
        let (one, other) = (event("db-0", "one"), event("db-0", "other"));
        assert_eq!(name(&one, 0), name(&one, 59));
        assert_ne!(name(&one, 0), name(&other, 0));
        assert_ne!(name(&one, 0), name(&one, 600));
        assert_ne!(one.digest(), event("db-1", "one").digest());
    }
}
