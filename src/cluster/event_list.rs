//! The events on a pod, as `kubectl describe pod` shows them, and the events of one reason on all pods.

use jiff::Timestamp;
use kube::core::Request;
use kube::core::params::ListParams;
use serde::Deserialize;

use super::event::REFUSED;
use super::object::{ObjectRef, ResourceKind};
use super::response::{ApiResponse, cut};
use super::{ApiServer, ClusterError, ResponseProblem};
use crate::ipam::lease::PodRef;
use crate::ipam::pod::PodEvent;

/// The most events that are read. The API server keeps events for an hour.
const MAX_EVENTS: u32 = 500;

/// A page of events. Each was written by some component, so that any field may be missing or null.
#[derive(Deserialize)]
struct EventList {
    kind: String,
    #[serde(deserialize_with = "Option::deserialize")]
    items: Option<Vec<EventItem>>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct EventItem {
    involved_object: Involved,
    reason: Option<String>,
    message: Option<String>,
    count: Option<u64>,
    first_timestamp: Option<Timestamp>,
    last_timestamp: Option<Timestamp>,
    event_time: Option<Timestamp>,
    series: Option<Series>,
    source: Option<Component>,
    reporting_component: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Involved {
    namespace: Option<String>,
    name: Option<String>,
    uid: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Component {
    component: Option<String>,
    host: Option<String>,
}

/// The repetitions of an event in its newer form.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Series {
    count: u64,
    last_observed_time: Option<Timestamp>,
}

impl ApiServer {
    /// The events on a pod of this name, in the API server's order. If the pod has a UID, only those of that pod.
    pub fn events(&self, pod: &PodRef) -> Result<Vec<PodEvent>, ClusterError> {
        let object = ObjectRef { kind: ResourceKind::PodEvents, ..ObjectRef::from_pod(pod)? };
        let selected = format!("involvedObject.kind=Pod,involvedObject.name={}", object.name);
        let mut events = self.selected_events(&selected, &object)?;
        events.retain(|event| pod.uid.is_none() || event.pod.uid.is_none() || event.pod.uid == pod.uid);
        Ok(events)
    }

    /// The events on pods of all namespaces that were refused an address, in the API server's order.
    pub fn refusals(&self) -> Result<Vec<PodEvent>, ClusterError> {
        let object = ObjectRef::all(ResourceKind::PodEvents);
        self.selected_events(&format!("involvedObject.kind=Pod,reason={REFUSED}"), &object)
    }

    fn selected_events(&self, selected: &str, object: &ObjectRef) -> Result<Vec<PodEvent>, ClusterError> {
        let list = ListParams::default().fields(selected).limit(MAX_EVENTS);
        let request = Request::new(object.path()).list(&list);
        self.get(request, object)?.events(object)
    }
}

impl ApiResponse<'_> {
    fn events(&self, object: &ObjectRef) -> Result<Vec<PodEvent>, ClusterError> {
        let list: EventList = self.document(object)?;
        if list.kind != "EventList" {
            let (found, wanted) = (cut(&list.kind), "EventList");
            return Err(self.unexpected(object, ResponseProblem::OtherKind { found, wanted }));
        }
        Ok(list.items.into_iter().flatten().map(PodEvent::from).collect())
    }
}

impl From<EventItem> for PodEvent {
    fn from(item: EventItem) -> Self {
        let component = item.reporting_component.filter(|component| !component.is_empty());
        let source = item.source.unwrap_or_default();
        let involved = item.involved_object;
        let component = component.or(source.component).unwrap_or_default();
        let series = item.series.as_ref();
        let count = series.map_or(item.count.unwrap_or(1), |series| series.count);
        let last = series.and_then(|series| series.last_observed_time).or(item.last_timestamp).or(item.event_time);
        Self {
            pod: PodRef { namespace: involved.namespace, name: involved.name, uid: involved.uid },
            component,
            host: source.host.filter(|host| !host.is_empty()),
            reason: item.reason.unwrap_or_default(),
            message: item.message.unwrap_or_default(),
            count: count.max(1),
            first: item.first_timestamp.or(item.event_time).or(last),
            last,
        }
    }
}
