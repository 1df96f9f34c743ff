//! Interprets the API server's responses.

use std::collections::BTreeMap;
use std::path::Path;

use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};

use super::error::{ClusterError, ResponseProblem};
use super::event::EventError;
use super::inventory::DefinitionSpec;
use super::node::{NodeSpec, NodeState};
use super::object::{ObjectRef, ResourceKind};
use crate::ipam::claim::{Claim, ClaimStatus};
use crate::ipam::machine::{Instance, Migration};
use crate::ipam::name::Name;
use crate::ipam::pod::{Controller, Pod};
use crate::ipam::takeover::{Phase, PodLookup, PodState};

/// How many characters of the server's message an error quotes.
const MAX_QUOTED: usize = 300;

/// A response whose body was read.
pub(super) struct ApiResponse<'a> {
    pub(super) url: &'a str,
    pub(super) credentials: &'a Path,
    pub(super) status: u16,
    /// The header `Date`.
    pub(super) date: Option<String>,
    pub(super) body: Vec<u8>,
}

/// A Status (Kubernetes API conventions, "Response Status Kind").
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Status {
    kind: String,
    message: String,
    reason: String,
    details: Option<StatusDetails>,
}

/// The object that a Status is about. Its `kind` is the resource, as in an RBAC rule.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct StatusDetails {
    group: String,
    kind: String,
    name: String,
}

/// The fields of an object that are read.
#[derive(Deserialize)]
struct TypedObject<Spec, State> {
    kind: String,
    metadata: Metadata,
    spec: Spec,
    status: State,
}

/// One page of a list of metadata.
#[derive(Deserialize)]
struct Page {
    kind: String,
    metadata: PageMetadata,
    /// Null if the list is empty. A document without this key is not a page.
    #[serde(deserialize_with = "Option::deserialize")]
    items: Option<Vec<Item>>,
}

#[derive(Deserialize)]
struct PageMetadata {
    /// The token for the next page, at the first page's resourceVersion.
    #[serde(default, rename = "continue")]
    continue_token: String,
}

#[derive(Deserialize)]
struct Item {
    metadata: Metadata,
}

/// A field that is ignored and may be missing.
type Unread = Option<IgnoredAny>;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Metadata {
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
    owner_references: Vec<OwnerReference>,
    creation_timestamp: Option<Timestamp>,
    /// When it may be removed at the earliest: the deletion plus the grace period.
    deletion_timestamp: Option<Timestamp>,
    deletion_grace_period_seconds: Option<i64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct OwnerReference {
    api_version: String,
    kind: String,
    name: String,
    uid: String,
    #[serde(default)]
    controller: bool,
}

/// The fields of a pod's status that are read.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct PodStatus {
    phase: Option<String>,
    start_time: Option<Timestamp>,
}

/// The fields of a running virtual machine's status that are read.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct InstanceStatus {
    /// From the UID of each pod to its node.
    active_pods: Option<BTreeMap<String, IgnoredAny>>,
}

/// The fields of a migration's spec that are read.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct MigrationSpec {
    vmi_name: String,
}

/// The fields of a migration's status that are read.
#[derive(Default, Deserialize)]
#[serde(default)]
struct MigrationStatus {
    phase: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ClaimSpec {
    network: String,
    interface: String,
}

/// The fields of a StatefulSet's spec that are read.
#[derive(Deserialize)]
struct StatefulSetSpec {
    ordinals: Option<Ordinals>,
}

#[derive(Deserialize)]
struct Ordinals {
    #[serde(default)]
    start: u32,
}

impl ApiResponse<'_> {
    /// A pod's metadata.
    pub(super) fn pod(&self, object: &ObjectRef) -> Result<Pod, ClusterError> {
        Ok(self.typed::<Unread, Unread>(object, "PartialObjectMetadata")?.metadata.into())
    }

    /// A pod with its phase. Not found is a result, not an error.
    pub(super) fn pod_lookup(&self, object: &ObjectRef) -> Result<PodLookup, ClusterError> {
        let TypedObject { metadata, status, .. } = match self.typed::<Unread, Option<PodStatus>>(object, "Pod") {
            Err(ClusterError::NotFound { .. }) => return Ok(PodLookup::NotFound),
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
        Ok(PodLookup::Found(Box::new(PodState { pod: metadata.into(), phase, since, deleted })))
    }

    /// The UID from the metadata of an object of any kind.
    pub(super) fn uid(&self, object: &ObjectRef) -> Result<String, ClusterError> {
        Ok(self.typed::<Unread, Unread>(object, "PartialObjectMetadata")?.metadata.uid)
    }

    /// The labels from the metadata of an object of any kind.
    pub(super) fn labels(&self, object: &ObjectRef) -> Result<BTreeMap<String, String>, ClusterError> {
        Ok(self.typed::<Unread, Unread>(object, "PartialObjectMetadata")?.metadata.labels)
    }

    /// The ordinal of a StatefulSet's first pod.
    pub(super) fn first_ordinal(&self, object: &ObjectRef) -> Result<u32, ClusterError> {
        let ordinals = self.typed::<StatefulSetSpec, Unread>(object, "StatefulSet")?.spec.ordinals;
        Ok(ordinals.map_or(0, |ordinals| ordinals.start))
    }

    pub(super) fn instance(&self, object: &ObjectRef) -> Result<Instance, ClusterError> {
        let found = self.typed::<Unread, Option<InstanceStatus>>(object, "VirtualMachineInstance")?;
        let active_pods = found.status.unwrap_or_default().active_pods.unwrap_or_default().into_keys().collect();
        Ok(Instance { uid: found.metadata.uid, active_pods })
    }

    pub(super) fn migration(&self, object: &ObjectRef) -> Result<Migration, ClusterError> {
        let found = self.typed::<MigrationSpec, Option<MigrationStatus>>(object, "VirtualMachineInstanceMigration")?;
        let phase = cut(&found.status.unwrap_or_default().phase);
        Ok(Migration { uid: found.metadata.uid, instance: cut(&found.spec.vmi_name), phase })
    }

    pub(super) fn claim(&self, object: &ObjectRef) -> Result<Claim, ClusterError> {
        let found = self.typed::<Option<ClaimSpec>, Option<ClaimStatus>>(object, "IPAMClaim")?;
        let Metadata { namespace, name, uid, resource_version: version, generation, .. } = found.metadata;
        let checked = |text: String| Name::new(text).map_err(|error| self.unexpected(object, error));
        let (namespace, name) = (checked(namespace)?, checked(name)?);
        let ClaimSpec { network, interface } = found.spec.unwrap_or_default();
        let status = found.status.unwrap_or_default();
        Ok(Claim { namespace, name, uid, version, generation, network, interface, status })
    }

    /// The result of a PATCH of a claim's status.
    pub(super) fn patch_result(&self, object: &ObjectRef) -> Result<(), ClusterError> {
        match self.status {
            200 => Ok(()),
            // The claim itself does not exist.
            404 => Err(self.failure(&ObjectRef { kind: ResourceKind::IpamClaim, ..object.clone() })),
            _ => Err(self.failure(object)),
        }
    }

    /// `spec.config` of a NetworkAttachmentDefinition.
    pub(super) fn network_config(&self, object: &ObjectRef) -> Result<Option<String>, ClusterError> {
        let found = self.typed::<Option<DefinitionSpec>, Unread>(object, "NetworkAttachmentDefinition")?;
        Ok(found.spec.and_then(|spec| spec.config))
    }

    /// What a node is to be, and what it is.
    pub(super) fn node(&self, object: &ObjectRef) -> Result<(NodeSpec, NodeState), ClusterError> {
        let TypedObject { spec, status, .. } = self.typed::<Option<NodeSpec>, Option<NodeState>>(object, "Node")?;
        Ok((spec.unwrap_or_default(), status.unwrap_or_default()))
    }

    /// A page of the list of pods, and the token for the next page.
    pub(super) fn pods(&self, object: &ObjectRef) -> Result<(Vec<Pod>, Option<String>), ClusterError> {
        let page: Page = self.document(object)?;
        if page.kind != "PartialObjectMetadataList" {
            let (found, wanted) = (cut(&page.kind), "a list of metadata");
            return Err(self.unexpected(object, ResponseProblem::OtherKind { found, wanted }));
        }
        let pods: Vec<Pod> = page.items.into_iter().flatten().map(|item| item.metadata.into()).collect();
        if let Some(nameless) =
            pods.iter().find(|pod| [&pod.namespace, &pod.name, &pod.uid].iter().any(|part| part.is_empty()))
        {
            let nameless = cut(&format!("{}/{}", nameless.namespace, nameless.name));
            return Err(self.unexpected(object, ResponseProblem::NoIdentity(nameless)));
        }
        Ok((pods, Some(page.metadata.continue_token).filter(|token| !token.is_empty())))
    }

    /// A page of the list of nodes, and the token for the next page.
    pub(super) fn nodes(&self, object: &ObjectRef) -> Result<(Vec<Name>, Option<String>), ClusterError> {
        let page: Page = self.document(object)?;
        if page.kind != "PartialObjectMetadataList" {
            let (found, wanted) = (cut(&page.kind), "a list of metadata");
            return Err(self.unexpected(object, ResponseProblem::OtherKind { found, wanted }));
        }
        let named = |item: Item| Name::new(item.metadata.name).map_err(|error| self.unexpected(object, error));
        let nodes = page.items.into_iter().flatten().map(named).collect::<Result<_, _>>()?;
        Ok((nodes, Some(page.metadata.continue_token).filter(|token| !token.is_empty())))
    }

    /// The result of a POST of an event.
    pub(super) fn event_result(&self, pod: &ObjectRef) -> Result<(), EventError> {
        let status = self.status_document();
        let url = self.url.to_owned();
        match (self.status, quoted_user(&status.message)) {
            (200..=202, _) => Ok(()),
            // The event exists already. The node has lost its own record of it.
            (409, _) => Ok(()),
            // A 403 without a user is not from RBAC: the namespace is being deleted, or its quota is exhausted.
            (403, Some(user)) => Err(EventError::Forbidden { url, user, namespace: pod.namespace.clone() }),
            (code, _) => Err(EventError::Rejected { url, status: code, message: status.message() }),
        }
    }

    /// The Status in the body; an empty one if there is none.
    fn status_document(&self) -> Status {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// The object, if it is the one that was requested.
    fn typed<Spec, State>(
        &self,
        object: &ObjectRef,
        kind: &'static str,
    ) -> Result<TypedObject<Spec, State>, ClusterError>
    where
        Spec: DeserializeOwned,
        State: DeserializeOwned,
    {
        let typed: TypedObject<Spec, State> = self.document(object)?;
        if typed.kind != kind {
            return Err(self.unexpected(object, ResponseProblem::OtherKind { found: cut(&typed.kind), wanted: kind }));
        }
        let Metadata { namespace, name, .. } = &typed.metadata;
        if (namespace, name) != (&object.namespace, &object.name) {
            let other = cut(&format!("{namespace}/{name}"));
            return Err(self.unexpected(object, ResponseProblem::OtherObject(other)));
        }
        Ok(typed)
    }

    pub(super) fn document<T: DeserializeOwned>(&self, object: &ObjectRef) -> Result<T, ClusterError> {
        if self.status != 200 {
            return Err(self.failure(object));
        }
        serde_json::from_slice(&self.body).map_err(|error| self.unexpected(object, error))
    }

    /// The error for a status other than 200.
    pub(super) fn failure(&self, object: &ObjectRef) -> ClusterError {
        let status = self.status_document();
        let message = status.message();
        let (url, object) = (self.url.to_owned(), Box::new(object.clone()));
        match self.status {
            401 => ClusterError::Unauthorized { url, credentials: self.credentials.to_owned() },
            403 => {
                let user = quoted_user(&status.message).unwrap_or_else(|| "this user".to_owned());
                ClusterError::Forbidden { url, user, object, message }
            }
            // This decides whether a pod counts as gone. Other 404s must not: those of a proxy, of an API group or
            // resource that the server lacks (no Status, or one without details), and of the namespace.
            404 if status.kind == "Status" && status.reason == "NotFound" && is_about(&status, &object) => {
                ClusterError::NotFound { url, object }
            }
            409 => ClusterError::Conflict { url, object, message },
            410 => ClusterError::Gone { url, object, message },
            429 => ClusterError::TooManyRequests { url, message },
            status @ 500.. => ClusterError::ServerError { url, status, message },
            status => self.unexpected(&object, ResponseProblem::Status { status, message }),
        }
    }

    pub(super) fn unexpected(&self, object: &ObjectRef, problem: impl Into<ResponseProblem>) -> ClusterError {
        let (url, object) = (self.url.to_owned(), Box::new(object.clone()));
        ClusterError::UnexpectedResponse { url, object, problem: problem.into() }
    }
}

impl Status {
    /// The server's message, shortened.
    fn message(&self) -> String {
        match cut(&self.message) {
            message if message.is_empty() => "no reason given".to_owned(),
            message => message,
        }
    }
}

impl From<Metadata> for Pod {
    fn from(metadata: Metadata) -> Self {
        let controller = metadata.owner_references.into_iter().find(|owner| owner.controller);
        let controller = controller.map(|OwnerReference { api_version, kind, name, uid, .. }| {
            Controller::from_reference(&api_version, kind, name, uid)
        });
        let Metadata { namespace, name, uid, annotations, labels, .. } = metadata;
        Self { namespace, name, uid, annotations, labels, controller }
    }
}

fn is_about(status: &Status, object: &ObjectRef) -> bool {
    let own = (object.kind.group(), object.kind.resource(), object.name.as_str());
    status
        .details
        .as_ref()
        .is_some_and(|StatusDetails { group, kind, name }| (group.as_str(), kind.as_str(), name.as_str()) == own)
}

/// The user in the API server's message: `pods "a" is forbidden: User "b" cannot get resource …`.
fn quoted_user(message: &str) -> Option<String> {
    let (_, rest) = message.split_once("User \"")?;
    let (user, _) = rest.split_once('"')?;
    Some(format!("user {}", cut(user)))
}

/// External text, as one line of limited length.
pub(super) fn cut(text: &str) -> String {
    let line = text.trim().chars().map(|c| if c.is_control() { ' ' } else { c });
    let cut: String = line.take(MAX_QUOTED).collect();
    if cut.len() < text.trim().len() { cut + "…" } else { cut }
}
