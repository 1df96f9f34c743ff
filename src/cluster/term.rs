//! Who of several leads, as a Lease says it (coordination.k8s.io/v1). What it means is not decided here.

use jiff::Timestamp;
use kube::core::Request;
use kube::core::params::{GetParams, PostParams};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::object::{Kind, Object};
use super::{ClusterError, Connection};
use crate::store::Deadline;

/// What can be held by one at a time: a Lease by its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Office(Object);

/// A term of office.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Term {
    /// Who holds it; empty if nobody does.
    pub holder: String,
    /// How long after its last renewal it is over; 0 where nothing is said.
    pub seconds: u64,
    /// Since when it is held. For people: clocks of two machines are never compared.
    pub since: Option<Timestamp>,
    /// When it was renewed. For people, too.
    pub renewed: Option<Timestamp>,
    /// How often it has passed to another holder.
    pub transitions: u64,
}

/// A term as the API server has it.
#[derive(Clone, Debug, PartialEq)]
pub struct Standing {
    /// Its resourceVersion: another one with every change.
    pub version: String,
    /// What it says.
    pub term: Term,
    /// The whole object, of which the rest is kept.
    object: Value,
}

#[derive(Deserialize)]
struct Found {
    kind: String,
    metadata: Metadata,
    #[serde(default)]
    spec: Spec,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    resource_version: String,
}

#[derive(Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
struct Spec {
    holder_identity: Option<String>,
    lease_duration_seconds: Option<u64>,
    acquire_time: Option<MicroTime>,
    renew_time: Option<MicroTime>,
    lease_transitions: Option<u64>,
}

/// A time with exactly six digits of a second's fraction, as Kubernetes reads it (`metav1.MicroTime`).
#[derive(Clone, Copy, Deserialize)]
struct MicroTime(Timestamp);

impl Serialize for MicroTime {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{:.6}", self.0))
    }
}

impl Office {
    /// The Lease of this name.
    pub fn new(namespace: &str, name: &str) -> Result<Self, ClusterError> {
        Object::new(Kind::Lease, namespace, name).map(Self)
    }
}

impl From<Spec> for Term {
    fn from(spec: Spec) -> Self {
        Self {
            holder: spec.holder_identity.unwrap_or_default(),
            seconds: spec.lease_duration_seconds.unwrap_or_default(),
            since: spec.acquire_time.map(|time| time.0),
            renewed: spec.renew_time.map(|time| time.0),
            transitions: spec.lease_transitions.unwrap_or_default(),
        }
    }
}

impl From<&Term> for Spec {
    fn from(term: &Term) -> Self {
        Self {
            holder_identity: Some(term.holder.clone()),
            // The API server takes no 0.
            lease_duration_seconds: Some(term.seconds.max(1)),
            acquire_time: term.since.map(MicroTime),
            renew_time: term.renewed.map(MicroTime),
            lease_transitions: Some(term.transitions),
        }
    }
}

impl Standing {
    /// One that no API server has.
    #[cfg(test)]
    pub fn made(version: String, term: Term) -> Self {
        Self { version, term, object: Value::Null }
    }

    fn read(object: Value) -> Result<Self, String> {
        let Found { kind, metadata, spec } = Found::deserialize(&object).map_err(|e| e.to_string())?;
        match kind == "Lease" && !metadata.resource_version.is_empty() {
            true => Ok(Self { version: metadata.resource_version, term: spec.into(), object }),
            false => Err("it is no Lease with a resourceVersion".to_owned()),
        }
    }
}

impl Connection {
    /// The term as it stands now, if there ever was one.
    pub async fn term(&self, office: &Office, until: Deadline) -> Result<Option<Standing>, ClusterError> {
        let Office(object) = office;
        let request = Request::new(object.path()).get(&object.name, &GetParams::default());
        let answer = self.ask(request.map_err(|_| nameless(object))?, object, until).await?;
        let found = match answer.document::<Value>(object) {
            Err(ClusterError::NotFound { .. }) => return Ok(None),
            found => found?,
        };
        let strange = |why| ClusterError::Strange { url: self.url.clone(), object: Box::new(object.clone()), why };
        Standing::read(found).map(Some).map_err(strange)
    }

    /// Writes a term, if it still stands as it was read, or if there still is none. Whether it was written.
    pub async fn appoint(
        &self,
        office: &Office,
        over: Option<&Standing>,
        term: &Term,
        until: Deadline,
    ) -> Result<bool, ClusterError> {
        let Office(object) = office;
        let request = Request::new(object.path());
        let request = match over {
            Some(standing) => {
                let document = document(standing.object.clone(), term);
                request.replace(&object.name, &PostParams::default(), document)
            }
            None => {
                let metadata = json!({ "namespace": object.namespace, "name": object.name });
                let bare = json!({ "apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata });
                request.create(&PostParams::default(), document(bare, term))
            }
        };
        let answer = self.ask(request.map_err(|_| nameless(object))?, object, until).await?;
        match answer.status {
            200 | 201 => Ok(true),
            // Somebody else was faster, or it was removed meanwhile.
            409 => Ok(false),
            404 if over.is_some() => Ok(false),
            _ => Err(answer.failure(object)),
        }
    }
}

/// An object with another term in it.
fn document(mut object: Value, term: &Term) -> Vec<u8> {
    object["spec"] = json!(Spec::from(term));
    object.to_string().into_bytes()
}

fn nameless(object: &Object) -> ClusterError {
    ClusterError::Name { what: "name", text: object.name.clone() }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn what_others_have_written_into_the_object_stays_and_times_have_six_digits() {
        let stored = json!({
            "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
            "metadata": { "name": "a", "namespace": "b", "resourceVersion": "7", "labels": { "team": "net" } },
            "spec": { "holderIdentity": "x", "leaseDurationSeconds": 15, "renewTime": "2026-11-01T10:00:00.000000Z" },
        });
        let standing = Standing::read(stored).unwrap();
        assert_eq!((standing.version.as_str(), standing.term.holder.as_str(), standing.term.seconds), ("7", "x", 15));
        let renewed = Some(Timestamp::from_second(1_800_000_000).unwrap());
        let term = Term { holder: "y".to_owned(), seconds: 15, since: None, renewed, transitions: 1 };
        let written: Value = serde_json::from_slice(&document(standing.object, &term)).unwrap();
        assert_eq!(written["metadata"]["labels"]["team"], "net");
        assert_eq!(written["metadata"]["resourceVersion"], "7");
        assert_eq!(written["spec"]["renewTime"], "2027-01-15T08:00:00.000000Z");
        assert_eq!(written["spec"]["leaseTransitions"], 1);
    }

    #[test]
    fn a_lease_without_a_spec_is_nobodys_and_another_object_is_none() {
        let bare = json!({ "kind": "Lease", "metadata": { "resourceVersion": "1" } });
        assert_eq!(Standing::read(bare).unwrap().term, Term::default());
        assert!(Standing::read(json!({ "kind": "Pod", "metadata": { "resourceVersion": "1" } })).is_err());
        assert!(Standing::read(json!({ "kind": "Lease", "metadata": {} })).is_err());
    }
}
