//! What the API server's answers mean.

use std::collections::BTreeMap;
use std::path::Path;

use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};

use super::ClusterError;
use super::event::Unsaid;
use super::object::{Kind, Object};
use crate::ipam::claim::{Claim, ClaimStatus};
use crate::ipam::machine::{Instance, Migration};
use crate::ipam::name::{Name, NameError};
use crate::ipam::pod::{Controller, Pod};
use crate::ipam::takeover::{Life, Phase, Told};

/// How much of the server's own words an error quotes.
const QUOTED: usize = 300;

/// An answer.
pub(super) struct Answer<'a> {
    pub(super) url: &'a str,
    pub(super) credentials: &'a Path,
    /// The status of HTTP.
    pub(super) status: u16,
    pub(super) body: Vec<u8>,
}

/// A Status (Kubernetes API conventions, "Response Status Kind").
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Failure {
    kind: String,
    message: String,
    reason: String,
    details: Option<About>,
}

/// What a Status is about: an object by its name, and its resource and that one's group as a rule of RBAC has them.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct About {
    group: String,
    kind: String,
    name: String,
}

/// Any object, as far as it is read.
#[derive(Deserialize)]
struct Found<Spec, Status> {
    kind: String,
    metadata: Metadata,
    spec: Spec,
    status: Status,
}

/// One page of a list of metadata.
#[derive(Deserialize)]
struct Page {
    kind: String,
    metadata: PageMetadata,
    /// Null if there are none; but a page that does not say so is none.
    #[serde(deserialize_with = "Option::deserialize")]
    items: Option<Vec<Item>>,
}

#[derive(Deserialize)]
struct PageMetadata {
    /// Names the rest of the list, at the moment of its first page.
    #[serde(default, rename = "continue")]
    rest: String,
}

#[derive(Deserialize)]
struct Item {
    metadata: Metadata,
}

/// A part of which nothing is read, whether or not it is there.
type Unread = Option<IgnoredAny>;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    #[serde(default)]
    namespace: String,
    name: String,
    uid: String,
    #[serde(default)]
    resource_version: String,
    generation: Option<i64>,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    #[serde(default)]
    owner_references: Vec<Owner>,
    creation_timestamp: Option<Timestamp>,
    /// When it may be removed at the earliest: the time of grace after somebody has asked for that.
    deletion_timestamp: Option<Timestamp>,
    deletion_grace_period_seconds: Option<i64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Owner {
    api_version: String,
    kind: String,
    name: String,
    uid: String,
    #[serde(default)]
    controller: bool,
}

/// The part of a pod's status that is read.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct PodStatus {
    phase: Option<String>,
    start_time: Option<Timestamp>,
}

/// The part of a running virtual machine's status that is read.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct InstanceStatus {
    /// By the UIDs of pods, their nodes.
    active_pods: Option<BTreeMap<String, IgnoredAny>>,
}

/// The part of a migration's spec that is read.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct MigrationSpec {
    vmi_name: String,
}

/// The part of a migration's status that is read.
#[derive(Default, Deserialize)]
#[serde(default)]
struct MigrationStatus {
    phase: String,
}

/// The spec of an IPAMClaim.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Claimed {
    network: String,
    interface: String,
}

/// The part of a StatefulSet's spec that is read.
#[derive(Deserialize)]
struct Numbered {
    ordinals: Option<Ordinals>,
}

#[derive(Deserialize)]
struct Ordinals {
    #[serde(default)]
    start: u32,
}

impl Answer<'_> {
    /// A pod's metadata.
    pub(super) fn pod(&self, object: &Object) -> Result<Pod, ClusterError> {
        Ok(self.found::<Unread, Unread>(object, "PartialObjectMetadata")?.metadata.into())
    }

    /// What there is of a pod.
    pub(super) fn told(&self, object: &Object) -> Result<Told, ClusterError> {
        let Found { metadata, status, .. } = match self.found::<Unread, Option<PodStatus>>(object, "Pod") {
            Err(ClusterError::NotFound { .. }) => return Ok(Told::Absent),
            found => found?,
        };
        let status = status.unwrap_or_default();
        let phase = match status.phase.as_deref() {
            Some("Succeeded") => Phase::Succeeded,
            Some("Failed") => Phase::Failed,
            other => Phase::Other(cut(other.unwrap_or("Unknown"))),
        };
        let grace = SignedDuration::from_secs(metadata.deletion_grace_period_seconds.unwrap_or_default());
        let deleted = metadata.deletion_timestamp.map(|last| last.checked_sub(grace).unwrap_or(last));
        let since = status.start_time.or(metadata.creation_timestamp);
        Ok(Told::Found(Box::new(Life { pod: metadata.into(), phase, since, deleted })))
    }

    /// The UID alone of an object of any kind.
    pub(super) fn uid(&self, object: &Object) -> Result<String, ClusterError> {
        Ok(self.found::<Unread, Unread>(object, "PartialObjectMetadata")?.metadata.uid)
    }

    /// Where a StatefulSet begins to count.
    pub(super) fn first_ordinal(&self, object: &Object) -> Result<u32, ClusterError> {
        let ordinals = self.found::<Numbered, Unread>(object, "StatefulSet")?.spec.ordinals;
        Ok(ordinals.map_or(0, |ordinals| ordinals.start))
    }

    /// A running virtual machine.
    pub(super) fn instance(&self, object: &Object) -> Result<Instance, ClusterError> {
        let found = self.found::<Unread, Option<InstanceStatus>>(object, "VirtualMachineInstance")?;
        let active_pods = found.status.unwrap_or_default().active_pods.unwrap_or_default().into_keys().collect();
        Ok(Instance { uid: found.metadata.uid, active_pods })
    }

    /// The migration of one.
    pub(super) fn migration(&self, object: &Object) -> Result<Migration, ClusterError> {
        let found = self.found::<MigrationSpec, Option<MigrationStatus>>(object, "VirtualMachineInstanceMigration")?;
        let phase = cut(&found.status.unwrap_or_default().phase);
        Ok(Migration { uid: found.metadata.uid, instance: cut(&found.spec.vmi_name), phase })
    }

    /// A claim.
    pub(super) fn claim(&self, object: &Object) -> Result<Claim, ClusterError> {
        let found = self.found::<Option<Claimed>, Option<ClaimStatus>>(object, "IPAMClaim")?;
        let Metadata { namespace, name, uid, resource_version: version, generation, .. } = found.metadata;
        let checked = |text: String| Name::new(text).map_err(|e: NameError| self.strange(object, e.to_string()));
        let (namespace, name) = (checked(namespace)?, checked(name)?);
        let Claimed { network, interface } = found.spec.unwrap_or_default();
        let status = found.status.unwrap_or_default();
        Ok(Claim { namespace, name, uid, version, generation, network, interface, status })
    }

    /// Whether a change of a claim's status was taken.
    pub(super) fn changed(&self, object: &Object) -> Result<(), ClusterError> {
        match self.status {
            200 => Ok(()),
            // What is not there is the claim itself.
            404 => Err(self.failure(&Object { kind: Kind::IpamClaim, ..object.clone() })),
            _ => Err(self.failure(object)),
        }
    }

    /// One page of the list of pods, and what names the next one.
    pub(super) fn pods(&self, object: &Object) -> Result<(Vec<Pod>, Option<String>), ClusterError> {
        let page: Page = self.document(object)?;
        if page.kind != "PartialObjectMetadataList" {
            return Err(self.strange(object, format!("it is of kind {:?}, not a list of metadata", cut(&page.kind))));
        }
        let pods: Vec<Pod> = page.items.into_iter().flatten().map(|item| item.metadata.into()).collect();
        if let Some(nameless) =
            pods.iter().find(|pod| [&pod.namespace, &pod.name, &pod.uid].iter().any(|part| part.is_empty()))
        {
            let nameless = cut(&format!("{}/{}", nameless.namespace, nameless.name));
            return Err(self.strange(object, format!("{nameless} lacks a namespace, a name or a UID")));
        }
        Ok((pods, Some(page.metadata.rest).filter(|rest| !rest.is_empty())))
    }

    /// One page of the list of nodes: their names, and what names the next one.
    pub(super) fn nodes(&self, object: &Object) -> Result<(Vec<Name>, Option<String>), ClusterError> {
        let page: Page = self.document(object)?;
        if page.kind != "PartialObjectMetadataList" {
            return Err(self.strange(object, format!("it is of kind {:?}, not a list of metadata", cut(&page.kind))));
        }
        let named = |item: Item| Name::new(item.metadata.name).map_err(|error| self.strange(object, error.to_string()));
        let nodes = page.items.into_iter().flatten().map(named).collect::<Result<_, _>>()?;
        Ok((nodes, Some(page.metadata.rest).filter(|rest| !rest.is_empty())))
    }

    /// What became of an event.
    pub(super) fn taken(&self, pod: &Object) -> Result<(), Unsaid> {
        let failure = self.refusal();
        let url = self.url.to_owned();
        match (self.status, quoted_user(&failure.message)) {
            (200..=202, _) => Ok(()),
            // It is there already, of this very text: the node has forgotten that it was said.
            (409, _) => Ok(()),
            // In a namespace that is being deleted, or has its quota, nobody may create anything, and no user is named.
            (403, Some(user)) => Err(Unsaid::NotAllowed { url, user, namespace: pod.namespace.clone() }),
            (status, _) => Err(Unsaid::NotTaken { url, status, said: failure.said() }),
        }
    }

    /// What the server says of itself with a status that is no success.
    fn refusal(&self) -> Failure {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// The object, if this is the answer to the question after it.
    fn found<Spec, Status>(&self, object: &Object, kind: &str) -> Result<Found<Spec, Status>, ClusterError>
    where
        Spec: DeserializeOwned,
        Status: DeserializeOwned,
    {
        let found: Found<Spec, Status> = self.document(object)?;
        if found.kind != kind {
            return Err(self.strange(object, format!("it is of kind {:?}, not {kind}", cut(&found.kind))));
        }
        let Metadata { namespace, name, .. } = &found.metadata;
        if (namespace, name) != (&object.namespace, &object.name) {
            return Err(self.strange(object, format!("it is about {}", cut(&format!("{namespace}/{name}")))));
        }
        Ok(found)
    }

    pub(super) fn document<T: DeserializeOwned>(&self, object: &Object) -> Result<T, ClusterError> {
        if self.status != 200 {
            return Err(self.failure(object));
        }
        // A body is never quoted: it may hold what the pod's author keeps to himself.
        serde_json::from_slice(&self.body).map_err(|e| {
            let why = if e.is_data() { "is not what was asked for" } else { "is not JSON" };
            self.strange(object, format!("it {why} (line {}, column {})", e.line(), e.column()))
        })
    }

    /// What a status other than 200 means.
    pub(super) fn failure(&self, object: &Object) -> ClusterError {
        let status = self.refusal();
        let said = status.said();
        let (url, object) = (self.url.to_owned(), Box::new(object.clone()));
        match self.status {
            401 => ClusterError::Unauthorized { url, credentials: self.credentials.to_owned() },
            403 => {
                let user = quoted_user(&status.message).unwrap_or_else(|| "this user".to_owned());
                ClusterError::Forbidden { url, user, object, said }
            }
            // Whether somebody is gone hangs on this one. A proxy's 404 must not pass for it, nor that of an API group or a
            // resource which the server does not have (no Status, or one about nothing), nor one about the namespace.
            404 if status.kind == "Status" && status.reason == "NotFound" && is_about(&status, &object) => {
                ClusterError::NotFound { url, object }
            }
            409 => ClusterError::Changed { url, object, said },
            410 => ClusterError::Gone { url, object, said },
            429 => ClusterError::Busy { url, said },
            status @ 500.. => ClusterError::Failing { url, status, said },
            status => self.strange(&object, format!("it has status {status}: {said}")),
        }
    }

    fn strange(&self, object: &Object, why: String) -> ClusterError {
        ClusterError::Strange { url: self.url.to_owned(), object: Box::new(object.clone()), why }
    }
}

impl Failure {
    /// The server's own words.
    fn said(&self) -> String {
        match cut(&self.message) {
            said if said.is_empty() => "no reason given".to_owned(),
            said => said,
        }
    }
}

impl From<Metadata> for Pod {
    fn from(metadata: Metadata) -> Self {
        let controller = metadata.owner_references.into_iter().find(|owner| owner.controller);
        let controller = controller.map(|Owner { api_version, kind, name, uid, .. }| {
            Controller::from_reference(&api_version, kind, name, uid)
        });
        let Metadata { namespace, name, uid, annotations, labels, .. } = metadata;
        Self { namespace, name, uid, annotations, labels, controller }
    }
}

fn is_about(status: &Failure, object: &Object) -> bool {
    let own = (object.kind.group(), object.kind.resource(), object.name.as_str());
    status
        .details
        .as_ref()
        .is_some_and(|About { group, kind, name }| (group.as_str(), kind.as_str(), name.as_str()) == own)
}

/// Who was refused, in the words of the API server: `pods "a" is forbidden: User "b" cannot get resource …`.
fn quoted_user(message: &str) -> Option<String> {
    let (_, rest) = message.split_once("User \"")?;
    let (user, _) = rest.split_once('"')?;
    Some(format!("user {}", cut(user)))
}

/// Somebody else's words in one line, and not too many of them.
pub(super) fn cut(text: &str) -> String {
    let line = text.trim().chars().map(|c| if c.is_control() { ' ' } else { c });
    let cut: String = line.take(QUOTED).collect();
    if cut.len() < text.trim().len() { cut + "…" } else { cut }
}
