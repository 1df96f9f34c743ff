//! Events on a pod, which `kubectl describe pod` shows to its author.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::api::core::v1;
use kube::Resource;
use kube::core::Request;
use kube::core::params::PostParams;
use serde::Serialize;

use super::object::ObjectRef;
use super::{ApiServer, ClusterError};
use crate::deadline::Deadline;
use crate::ipam::lease::PodRef;
use crate::ipam::name::Name;
use crate::ipam::seed::fnv1a_128;

/// The longest message that the API server accepts, in bytes (`validateEvent`).
const MAX_MESSAGE: usize = 1024;

/// How many characters of the pod's name the event's name includes. The event's name may have 253.
const MAX_POD_NAME: usize = 200;

/// The reporting component.
const COMPONENT: &str = "kube-ipam";

/// Reasons that the controller watches for.
pub(super) const REFUSED: &str = "AddressRefused";
pub(super) const TAKEN_OVER: &str = "AddressTakenOver";

/// The label that selects our events; its value is the reason.
pub(super) const LABEL: &str = "kube-ipam.event";

/// The label for the error, with the same value as in logs and metrics.
pub(super) const ERROR_LABEL: &str = "kube-ipam.error";

/// The reason of an event, for `kubectl get events --field-selector reason=…`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The pod's interface got no address. Holds the label of the error.
    AddressRefused(&'static str),
    /// It got an address that another pod held.
    AddressTakenOver,
    /// It got the address that was reserved for its owner.
    StickyAddressUsed,
    /// It did not get the address that its owner had.
    StickyAddressGivenUp,
    /// A host without a lease uses an address of its network.
    ForeignAddressFound,
}

impl Reason {
    fn as_str(self) -> &'static str {
        match self {
            Self::AddressRefused(_) => REFUSED,
            Self::AddressTakenOver => TAKEN_OVER,
            Self::StickyAddressUsed => "StickyAddressUsed",
            Self::StickyAddressGivenUp => "StickyAddressGivenUp",
            Self::ForeignAddressFound => "ForeignAddressFound",
        }
    }

    fn labels(self) -> BTreeMap<&'static str, &'static str> {
        let error = match self {
            Self::AddressRefused(error) => Some((ERROR_LABEL, error)),
            Self::AddressTakenOver
            | Self::StickyAddressUsed
            | Self::StickyAddressGivenUp
            | Self::ForeignAddressFound => None,
        };
        error.into_iter().chain([(LABEL, self.as_str())]).collect()
    }

    /// `Warning` if somebody has to act.
    fn event_type(self) -> &'static str {
        match self {
            Self::AddressRefused(_) | Self::StickyAddressGivenUp | Self::ForeignAddressFound => "Warning",
            Self::AddressTakenOver | Self::StickyAddressUsed => "Normal",
        }
    }
}

/// An event on a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// The pod, as the runtime names it; `kubectl describe` finds the event by its UID.
    pub pod: PodRef,
    /// The node that reports it.
    pub node: Name,
    /// Why it is published.
    pub reason: Reason,
    /// The text of the error or log line.
    pub message: String,
}

/// Why an event was not published. No call fails because of it.
#[derive(Debug, thiserror::Error)]
pub enum EventError {
    /// The request failed, or the pod has no valid name.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// 403 from RBAC.
    #[error("the API server {url} does not allow {user} to create events in namespace {namespace}")]
    Forbidden {
        /// The server.
        url: String,
        /// Our user, as the server names it.
        user: String,
        /// The pod's namespace.
        namespace: String,
    },
    /// Any other response.
    #[error("the API server {url} rejected the event: status {status}: {message}")]
    Rejected {
        /// The server.
        url: String,
        /// The HTTP status.
        status: u16,
        /// The server's message.
        message: String,
    },
}

/// A core/v1 Event in its older form. Every version of kubectl shows its component, node, count and age.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct EventDocument<'a> {
    api_version: &'static str,
    kind: &'static str,
    metadata: Metadata<'a>,
    involved_object: ObjectReference<'a>,
    reason: &'static str,
    message: &'a str,
    r#type: &'static str,
    source: EventSource<'a>,
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
struct ObjectReference<'a> {
    api_version: &'static str,
    kind: &'static str,
    namespace: &'a str,
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    uid: Option<&'a str>,
}

#[derive(Serialize)]
struct EventSource<'a> {
    component: &'static str,
    host: &'a str,
}

impl Event {
    /// Identifies the event. Equal texts about the same pod have the same digest.
    pub fn digest(&self) -> String {
        let PodRef { namespace, name, uid } = &self.pod;
        let part = |part: &Option<String>| part.clone().unwrap_or_default();
        let parts = [part(namespace), part(name), part(uid), self.node.to_string(), self.message.clone()];
        format!("{:032x}", fnv1a_128([self.reason.as_str(), &parts.join("\n")].join("\n").as_bytes()))
    }

    /// The Event as JSON. Its name includes half of the digest, which tells the events of one pod apart, and the
    /// minute, because an event with the same text may still exist from an hour ago.
    fn to_json(&self, pod: &ObjectRef, now: Timestamp) -> Vec<u8> {
        let (start, minute) = (&pod.name[..pod.name.len().min(MAX_POD_NAME)], now.as_second() / 60);
        let document = EventDocument {
            api_version: "v1",
            kind: "Event",
            metadata: Metadata {
                namespace: &pod.namespace,
                name: format!("{}.{:.16}.{minute:x}", start.trim_end_matches(['-', '.']), self.digest()),
                labels: self.reason.labels(),
            },
            involved_object: ObjectReference {
                api_version: "v1",
                kind: "Pod",
                namespace: &pod.namespace,
                name: &pod.name,
                uid: self.pod.uid.as_deref(),
            },
            reason: self.reason.as_str(),
            message: &self.message[..self.message.floor_char_boundary(MAX_MESSAGE)],
            r#type: self.reason.event_type(),
            source: EventSource { component: COMPONENT, host: self.node.as_str() },
            reporting_component: COMPONENT,
            reporting_instance: self.node.as_str(),
            first_timestamp: without_fraction(now),
            last_timestamp: without_fraction(now),
            count: 1,
        };
        // Serialising texts and numbers to memory can't fail.
        serde_json::to_vec(&document).unwrap_or_default()
    }
}

/// Event times have no fractions of a second.
fn without_fraction(now: Timestamp) -> Timestamp {
    Timestamp::from_second(now.as_second()).unwrap_or(now)
}

impl ApiServer {
    /// Creates an event on a pod. Sends one POST and does not retry.
    pub fn publish(&self, event: &Event, now: Timestamp, deadline: Deadline) -> Result<(), EventError> {
        let pod = ObjectRef::from_pod(&event.pod)?;
        let path = v1::Event::url_path(&(), Some(&pod.namespace));
        let request = Request::new(path).create(&PostParams::default(), event.to_json(&pod, now));
        let request = request.map_err(|_| ClusterError::Name { what: "namespace", text: pod.namespace.clone() })?;
        self.request(request, &pod, deadline)?.event_result(&pod)
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
        Event { pod, node, reason: Reason::AddressRefused("held"), message: text.to_owned() }
    }

    fn document(event: &Event, second: i64) -> Value {
        let document =
            event.to_json(&ObjectRef::from_pod(&event.pod).unwrap(), Timestamp::from_second(second).unwrap());
        serde_json::from_slice(&document).unwrap()
    }

    #[test]
    fn no_name_or_text_is_longer_than_the_api_server_accepts() {
        let name = format!("{}.{}", "d".repeat(199), "b".repeat(53));
        let document = document(&event(&name, &"ü".repeat(MAX_MESSAGE)), 1_800_000_000);
        let name = document["metadata"]["name"].as_str().unwrap();
        assert!(name.len() <= 253 && !name.contains(".."), "{name}");
        assert_eq!(document["message"].as_str().unwrap().len(), MAX_MESSAGE);
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
