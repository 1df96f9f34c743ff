//! What makes pods: how many at a time, and from which template.

use super::Document;
use crate::ipam::name::IfName;
use crate::manifest::{Member, Node};
use crate::plan::code;
use crate::plan::finding::Finding;
use crate::plan::source::Place;

/// What all keys of ours begin with.
const PREFIX: &str = "kube-ipam.";

/// A kind of workload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// A pod by itself.
    Pod,
    /// Pods that are replaced by new ones, several at a time.
    Deployment,
    /// Pods without an order.
    ReplicaSet,
    /// Pods with a number each.
    StatefulSet,
    /// A pod on each node.
    DaemonSet,
    /// Pods that end.
    Job,
    /// Jobs by the clock.
    CronJob,
}

impl Kind {
    /// The kind of an object, by its API group.
    fn of((group, kind): (&str, &str)) -> Option<Self> {
        Some(match (group, kind) {
            ("", "Pod") => Self::Pod,
            ("apps", "Deployment") => Self::Deployment,
            ("apps", "ReplicaSet") => Self::ReplicaSet,
            ("apps", "StatefulSet") => Self::StatefulSet,
            ("apps", "DaemonSet") => Self::DaemonSet,
            ("batch", "Job") => Self::Job,
            ("batch", "CronJob") => Self::CronJob,
            _ => return None,
        })
    }

    /// Its name in the API.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Pod => "Pod",
            Self::Deployment => "Deployment",
            Self::ReplicaSet => "ReplicaSet",
            Self::StatefulSet => "StatefulSet",
            Self::DaemonSet => "DaemonSet",
            Self::Job => "Job",
            Self::CronJob => "CronJob",
        }
    }

    /// Where its pods' metadata is, from its top.
    fn template(self) -> &'static [&'static str] {
        match self {
            Self::Pod => &[],
            Self::CronJob => &["spec", "jobTemplate", "spec", "template"],
            _ => &["spec", "template"],
        }
    }
}

/// What makes pods.
#[derive(Clone, Debug)]
pub(crate) struct Workload {
    /// Its kind.
    pub kind: Kind,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Where the name stands.
    pub place: Place,
    /// How many pods it has at once; of a DaemonSet one, for the nodes are not known.
    pub replicas: u32,
    /// Where their number stands.
    pub replicas_place: Option<Place>,
    /// How many more it may have during an update.
    pub surge: u32,
    /// Whether an update ends an old pod before its new one has started.
    pub makes_room: bool,
    /// The number of the first pod (`spec.ordinals.start` of a StatefulSet).
    pub first_ordinal: u32,
    /// Its pods.
    pub template: Template,
}

/// The pods of a workload.
#[derive(Clone, Debug, Default)]
pub(crate) struct Template {
    /// Their annotations.
    pub annotations: Vec<Annotation>,
    /// Whether they use the node's own network, so that no plugin is called.
    pub host_network: bool,
    /// The node that they are bound to by name.
    pub node: Option<String>,
}

/// An annotation of a pod.
#[derive(Clone, Debug)]
pub(crate) struct Annotation {
    /// The key.
    pub key: String,
    /// Where that stands.
    pub key_place: Place,
    /// The value.
    pub value: String,
    /// Where that stands.
    pub place: Place,
}

impl Template {
    /// The annotation of a key.
    pub(crate) fn annotation(&self, key: &str) -> Option<&Annotation> {
        self.annotations.iter().rev().find(|annotation| annotation.key == key)
    }

    /// The annotation in which a text of an error says that its cause is; else the first one for the interface.
    pub(crate) fn cause(&self, ifname: &IfName, text: &str) -> Option<&Annotation> {
        let named = self.annotations.iter().filter(|annotation| text.contains(annotation.key.as_str()));
        let of_interface = || {
            self.annotations
                .iter()
                .find(|annotation| scoped(&annotation.key).is_some_and(|(of, _)| of == ifname.as_str()))
        };
        named.max_by_key(|annotation| annotation.key.len()).or_else(of_interface)
    }
}

/// The interface and the field of a key such as `kube-ipam.net1.ip`.
pub(crate) fn scoped(key: &str) -> Option<(&str, &str)> {
    let rest = key.strip_prefix(PREFIX).filter(|rest| !rest.contains('/'))?;
    rest.rsplit_once('.')
}

impl Workload {
    /// The workload of a document, if it is one.
    pub(super) fn read(
        document: Document<'_>,
        kind: (&str, &str),
        namespace: &str,
        findings: &mut Vec<Finding>,
    ) -> Option<Self> {
        let kind = Kind::of(kind)?;
        let (name, place) = document.name()?;
        let node = document.node;
        let top = node.at(kind.template())?;
        let number = |path: &[&str]| number(node.at(path)?);
        let path: &[&str] = if kind == Kind::Job { &["spec", "parallelism"] } else { &["spec", "replicas"] };
        let replicas = match kind {
            Kind::Pod | Kind::DaemonSet => 1,
            Kind::CronJob => number(&["spec", "jobTemplate", "spec", "parallelism"]).unwrap_or(1),
            _ => number(path).unwrap_or(1),
        };
        let rolling = rolling_update(kind, node, replicas);
        if kind != Kind::Pod {
            misplaced(document, kind, name, findings);
        }
        Some(Self {
            kind,
            namespace: document.namespace(namespace),
            name: name.to_owned(),
            place,
            replicas,
            replicas_place: node.at(path).map(|replicas| document.place(replicas)),
            surge: rolling.surge,
            makes_room: rolling.makes_room,
            first_ordinal: number(&["spec", "ordinals", "start"]).unwrap_or(0),
            template: Template {
                annotations: annotations(document, top, findings),
                host_network: top.at(&["spec", "hostNetwork"]).is_some_and(|value| value.to_json() == true),
                node: top.at(&["spec", "nodeName"]).and_then(Node::text).map(str::to_owned),
            },
        })
    }

    /// What people call it: `Deployment default/web`.
    pub(crate) fn label(&self) -> String {
        format!("{} {}/{}", self.kind.word(), self.namespace, self.name)
    }

    /// The name of one of its pods. Only a StatefulSet's is known before it is made.
    pub(crate) fn pod_name(&self, index: u32) -> String {
        match self.kind {
            Kind::Pod => self.name.clone(),
            Kind::StatefulSet => format!("{}-{}", self.name, self.ordinal(index)),
            _ => format!("{}-#{}", self.name, index + 1),
        }
    }

    /// The number of a StatefulSet's pod.
    pub(crate) fn ordinal(&self, index: u32) -> u32 {
        self.first_ordinal.saturating_add(index)
    }
}

/// How a workload replaces its pods.
struct RollingUpdate {
    surge: u32,
    makes_room: bool,
}

/// How the pods are replaced, with the API server's defaults where the object says nothing.
fn rolling_update(kind: Kind, node: &Node, replicas: u32) -> RollingUpdate {
    let in_place = RollingUpdate { surge: 0, makes_room: true };
    match kind {
        Kind::Deployment => {
            if node.at(&["spec", "strategy", "type"]).and_then(Node::text) == Some("Recreate") {
                return in_place;
            }
            let share = |key| node.at(&["spec", "strategy", "rollingUpdate", key]);
            let surge = share("maxSurge").map_or(Share::Percent(25), Share::read).of(replicas, u64::div_ceil);
            let unavailable =
                share("maxUnavailable").map_or(Share::Percent(25), Share::read).of(replicas, |a, b| a / b);
            // The API server makes one pod unavailable if both round to nothing.
            RollingUpdate { surge, makes_room: unavailable > 0 || surge == 0 }
        }
        Kind::DaemonSet => {
            let surge = node.at(&["spec", "updateStrategy", "rollingUpdate", "maxSurge"]).map(Share::read);
            let surge = surge.map_or(0, |surge| surge.of(1, u64::div_ceil));
            RollingUpdate { surge, makes_room: surge == 0 }
        }
        _ => in_place,
    }
}

/// A number of pods, or a part of all of them.
enum Share {
    Number(u32),
    Percent(u32),
}

impl Share {
    fn read(node: &Node) -> Self {
        let percent = node.text().and_then(|text| text.strip_suffix('%')).and_then(|percent| percent.parse().ok());
        percent.map_or_else(|| Self::Number(number(node).unwrap_or(0)), Self::Percent)
    }

    fn of(&self, replicas: u32, divide: impl Fn(u64, u64) -> u64) -> u32 {
        match self {
            Self::Number(number) => *number,
            Self::Percent(percent) => {
                u32::try_from(divide(u64::from(replicas) * u64::from(*percent), 100)).unwrap_or(u32::MAX)
            }
        }
    }
}

fn number(node: &Node) -> Option<u32> {
    node.to_json().as_u64().and_then(|number| number.try_into().ok())
}

/// The annotations of a template. The API server takes texts alone.
fn annotations(document: Document<'_>, top: &Node, findings: &mut Vec<Finding>) -> Vec<Annotation> {
    let members = top.at(&["metadata", "annotations"]).map_or(&[][..], Node::members);
    let mut read = Vec::new();
    for Member { key, key_span, node } in members {
        let key_place = Place::new(document.source, key_span);
        match node.text() {
            Some(value) => read.push(Annotation {
                key: key.clone(),
                key_place,
                value: value.to_owned(),
                place: document.place(node),
            }),
            None => {
                let message = format!("the value of annotation {key} is not a text, and the API server refuses it");
                let finding = Finding::error(code::ANNOTATION_NOT_TEXT, document.place(node), message);
                let is_scalar = node.members().is_empty() && node.elements().is_empty();
                findings.push(if is_scalar { finding.help("put it in quotes") } else { finding });
            }
        }
    }
    read
}

/// Reports annotations of ours on a workload instead of its pods, where nobody reads them.
fn misplaced(document: Document<'_>, kind: Kind, name: &str, findings: &mut Vec<Finding>) {
    let members = document.node.at(&["metadata", "annotations"]).map_or(&[][..], Node::members);
    for member in members.iter().filter(|member| member.key.starts_with(PREFIX)) {
        let place = Place::new(document.source, &member.key_span);
        let message = format!("annotation {} is on the {} {name}, and not on its pods", member.key, kind.word());
        let path = kind.template().join(".");
        findings.push(
            Finding::error(code::ANNOTATION_ON_WORKLOAD, place, message)
                .labelled("has no effect here")
                .help(format!("move it to {path}.metadata.annotations")),
        );
    }
}
