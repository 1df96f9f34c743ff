//! Workloads: how many pods they run, and their pod template.

use super::Document;
use crate::ipam::name::IfName;
use crate::ipam::request::{Key, parse_key};
use crate::manifest::{Member, Node};
use crate::plan::code;
use crate::plan::finding::Finding;
use crate::plan::source::Place;

/// A kind of workload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// A pod without a controller.
    Pod,
    /// An update replaces several pods at a time.
    Deployment,
    /// An update of the template replaces no pods.
    ReplicaSet,
    /// Each pod has an ordinal, and keeps its name in an update.
    StatefulSet,
    /// One pod on each node.
    DaemonSet,
    /// Pods that run to completion.
    Job,
    /// Jobs on a schedule.
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

    /// The kind as the API spells it.
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

    /// The path of its pod template.
    fn template(self) -> &'static [&'static str] {
        match self {
            Self::Pod => &[],
            Self::CronJob => &["spec", "jobTemplate", "spec", "template"],
            _ => &["spec", "template"],
        }
    }
}

/// An object that creates pods, or a pod.
#[derive(Clone, Debug)]
pub(crate) struct Workload {
    pub kind: Kind,
    pub namespace: String,
    pub name: String,
    /// The position of the name.
    pub place: Place,
    /// The number of pods at a time; 1 for a DaemonSet, because the nodes are not known.
    pub replicas: u32,
    /// The position of that number.
    pub replicas_place: Option<Place>,
    /// The number of additional pods during an update.
    pub surge: u32,
    /// Whether an update may stop an old pod before its replacement has started.
    pub makes_room: bool,
    /// The ordinal of the first pod (`spec.ordinals.start` of a StatefulSet).
    pub first_ordinal: u32,
    pub template: Template,
}

/// The pod template of a workload.
#[derive(Clone, Debug, Default)]
pub(crate) struct Template {
    pub annotations: Vec<Annotation>,
    /// Whether the pods use the node's network, so that no plugin is called.
    pub host_network: bool,
    /// `spec.nodeName`.
    pub node: Option<String>,
}

/// An annotation of a pod.
#[derive(Clone, Debug)]
pub(crate) struct Annotation {
    pub key: String,
    pub key_place: Place,
    pub value: String,
    /// The position of the value.
    pub place: Place,
}

impl Template {
    /// The annotation with this key. If it occurs twice, the last one counts.
    pub(crate) fn annotation(&self, key: &str) -> Option<&Annotation> {
        self.annotations.iter().rev().find(|annotation| annotation.key == key)
    }

    /// The annotation for a field of an interface, or an unscoped one.
    pub(crate) fn field(&self, ifname: Option<&IfName>, field: &str) -> Option<&Annotation> {
        self.annotation(&Key::of(ifname, field).to_string())
    }
}

impl Workload {
    /// Reads a document. `None` if it is not a workload.
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

    /// The workload as text for findings and reports: `Deployment default/web`.
    pub(crate) fn label(&self) -> String {
        format!("{} {}/{}", self.kind.word(), self.namespace, self.name)
    }

    /// The name of one of its pods, or a placeholder if the API server would generate it.
    pub(crate) fn pod_name(&self, index: u32) -> String {
        match self.kind {
            Kind::Pod => self.name.clone(),
            Kind::StatefulSet => format!("{}-{}", self.name, self.ordinal(index)),
            _ => format!("{}-#{}", self.name, index + 1),
        }
    }

    /// Whether one of its pods exists only during an update.
    pub(crate) fn is_surge(&self, index: u32) -> bool {
        index >= self.replicas
    }

    /// The ordinal of a StatefulSet's pod.
    pub(crate) fn ordinal(&self, index: u32) -> u32 {
        self.first_ordinal.saturating_add(index)
    }
}

/// How a workload replaces its pods.
struct RollingUpdate {
    surge: u32,
    makes_room: bool,
}

/// Reads the update strategy. Missing fields have the API server's defaults.
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
            // The Deployment controller makes one pod unavailable if both round to zero.
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

/// A number of pods, or a percentage of the replicas.
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

/// Reads the annotations of a template. The API server accepts only strings as values.
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

/// Reports kube-ipam's annotations on a workload instead of its pods, where they have no effect.
fn misplaced(document: Document<'_>, kind: Kind, name: &str, findings: &mut Vec<Finding>) {
    let members = document.node.at(&["metadata", "annotations"]).map_or(&[][..], Node::members);
    for member in members.iter().filter(|member| parse_key(&member.key).is_some()) {
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
