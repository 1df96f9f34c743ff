//! Reads and writes the Lease (coordination.k8s.io/v1) of a leader election. `controller/election` decides who leads.

use jiff::Timestamp;
use kube::core::Request;
use kube::core::params::{GetParams, PostParams};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::object::{ObjectRef, ResourceKind};
use super::response::cut;
use super::{ClusterError, Connection, ResponseProblem};
use crate::deadline::Deadline;

/// Names the Lease that at most one process holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaderLease(ObjectRef);

/// The spec of the Lease, as client-go's record of the same name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LeaderElectionRecord {
    /// Empty if nobody holds the lease.
    pub holder_identity: String,
    /// How long the lease lasts after its last renewal; 0 if the spec does not have it.
    pub lease_duration_seconds: u64,
    /// Only displayed: clocks of two machines are never compared.
    pub acquire_time: Option<Timestamp>,
    /// Only displayed.
    pub renew_time: Option<Timestamp>,
    /// How often the holder has changed.
    pub leader_transitions: u64,
}

/// A record as the API server returned it.
#[derive(Clone, Debug, PartialEq)]
pub struct ObservedRecord {
    /// Changes with every write.
    pub resource_version: String,
    /// The spec.
    pub record: LeaderElectionRecord,
    /// The whole object, so that a write keeps its other fields.
    object: Value,
}

#[derive(Deserialize)]
struct LeaseObject {
    kind: String,
    metadata: Metadata,
    #[serde(default)]
    spec: LeaseSpec,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    resource_version: String,
}

#[derive(Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
struct LeaseSpec {
    holder_identity: Option<String>,
    lease_duration_seconds: Option<u64>,
    acquire_time: Option<MicroTime>,
    renew_time: Option<MicroTime>,
    lease_transitions: Option<u64>,
}

/// A time with exactly six fractional digits, which Kubernetes requires (`metav1.MicroTime`).
#[derive(Clone, Copy, Deserialize)]
struct MicroTime(Timestamp);

impl Serialize for MicroTime {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{:.6}", self.0))
    }
}

impl LeaderLease {
    /// The Lease of this name.
    pub fn new(namespace: &str, name: &str) -> Result<Self, ClusterError> {
        ObjectRef::new(ResourceKind::Lease, namespace, name).map(Self)
    }
}

impl From<LeaseSpec> for LeaderElectionRecord {
    fn from(spec: LeaseSpec) -> Self {
        Self {
            holder_identity: spec.holder_identity.unwrap_or_default(),
            lease_duration_seconds: spec.lease_duration_seconds.unwrap_or_default(),
            acquire_time: spec.acquire_time.map(|time| time.0),
            renew_time: spec.renew_time.map(|time| time.0),
            leader_transitions: spec.lease_transitions.unwrap_or_default(),
        }
    }
}

impl From<&LeaderElectionRecord> for LeaseSpec {
    fn from(record: &LeaderElectionRecord) -> Self {
        Self {
            holder_identity: Some(record.holder_identity.clone()),
            // The API server rejects 0.
            lease_duration_seconds: Some(record.lease_duration_seconds.max(1)),
            acquire_time: record.acquire_time.map(MicroTime),
            renew_time: record.renew_time.map(MicroTime),
            lease_transitions: Some(record.leader_transitions),
        }
    }
}

impl ObservedRecord {
    /// A record that did not come from an API server.
    #[cfg(test)]
    pub fn for_test(resource_version: String, record: LeaderElectionRecord) -> Self {
        Self { resource_version, record, object: Value::Null }
    }

    fn read(object: Value) -> Result<Self, ResponseProblem> {
        let LeaseObject { kind, metadata, spec } =
            LeaseObject::deserialize(&object).map_err(ResponseProblem::NotALease)?;
        if kind != "Lease" {
            return Err(ResponseProblem::OtherKind { found: cut(&kind), wanted: "Lease" });
        }
        if metadata.resource_version.is_empty() {
            return Err(ResponseProblem::NoVersion);
        }
        Ok(Self { resource_version: metadata.resource_version, record: spec.into(), object })
    }
}

impl Connection {
    /// Reads the record; `None` if the Lease does not exist.
    pub async fn read_record(
        &self,
        lease: &LeaderLease,
        deadline: Deadline,
    ) -> Result<Option<ObservedRecord>, ClusterError> {
        let LeaderLease(object) = lease;
        let request = Request::new(object.path()).get(&object.name, &GetParams::default());
        let response = self.request(request.map_err(|_| object.invalid_name())?, object, deadline).await?;
        let found = match response.document::<Value>(object) {
            Err(ClusterError::NotFound { .. }) => return Ok(None),
            found => found?,
        };
        ObservedRecord::read(found).map(Some).map_err(|problem| {
            let (url, object) = (self.url().to_owned(), Box::new(object.clone()));
            ClusterError::UnexpectedResponse { url, object, problem }
        })
    }

    /// Writes a record if the Lease has not changed since it was observed, or if it still does not exist. Returns
    /// whether it did.
    pub async fn write_record(
        &self,
        lease: &LeaderLease,
        observed: Option<&ObservedRecord>,
        record: &LeaderElectionRecord,
        deadline: Deadline,
    ) -> Result<bool, ClusterError> {
        let LeaderLease(object) = lease;
        let request = Request::new(object.path());
        let request = match observed {
            Some(observed) => {
                let document = document(observed.object.clone(), record);
                request.replace(&object.name, &PostParams::default(), document)
            }
            None => {
                let metadata = json!({ "namespace": object.namespace, "name": object.name });
                let bare = json!({ "apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata });
                request.create(&PostParams::default(), document(bare, record))
            }
        };
        let response = self.request(request.map_err(|_| object.invalid_name())?, object, deadline).await?;
        match response.status {
            200 | 201 => Ok(true),
            // Another process wrote first, or the Lease was deleted.
            409 => Ok(false),
            404 if observed.is_some() => Ok(false),
            _ => Err(response.failure(object)),
        }
    }
}

/// The object with its record replaced.
fn document(mut object: Value, record: &LeaderElectionRecord) -> Vec<u8> {
    object["spec"] = json!(LeaseSpec::from(record));
    object.to_string().into_bytes()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_write_keeps_the_rest_of_the_object_and_times_have_six_digits() {
        let stored = json!({
            "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
            "metadata": { "name": "a", "namespace": "b", "resourceVersion": "7", "labels": { "team": "net" } },
            "spec": { "holderIdentity": "x", "leaseDurationSeconds": 15, "renewTime": "2026-11-01T10:00:00.000000Z" },
        });
        let observed = ObservedRecord::read(stored).unwrap();
        assert_eq!(observed.resource_version, "7");
        assert_eq!((observed.record.holder_identity.as_str(), observed.record.lease_duration_seconds), ("x", 15));
        let record = LeaderElectionRecord {
            holder_identity: "y".to_owned(),
            lease_duration_seconds: 15,
            acquire_time: None,
            renew_time: Some(Timestamp::from_second(1_800_000_000).unwrap()),
            leader_transitions: 1,
        };
        let written: Value = serde_json::from_slice(&document(observed.object, &record)).unwrap();
        assert_eq!(written["metadata"]["labels"]["team"], "net");
        assert_eq!(written["metadata"]["resourceVersion"], "7");
        assert_eq!(written["spec"]["renewTime"], "2027-01-15T08:00:00.000000Z");
        assert_eq!(written["spec"]["leaseTransitions"], 1);
    }

    #[test]
    fn a_lease_without_a_spec_has_no_holder_and_another_object_is_rejected() {
        let bare = json!({ "kind": "Lease", "metadata": { "resourceVersion": "1" } });
        assert_eq!(ObservedRecord::read(bare).unwrap().record, LeaderElectionRecord::default());
        assert!(ObservedRecord::read(json!({ "kind": "Pod", "metadata": { "resourceVersion": "1" } })).is_err());
        assert!(ObservedRecord::read(json!({ "kind": "Lease", "metadata": {} })).is_err());
    }
}
