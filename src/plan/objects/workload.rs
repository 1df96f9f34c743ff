//! Workloads: how many pods they run, and their pod template.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Document;
use super::machine::{MachineNetwork, MachineNetworks};
use super::misplaced;
use super::node::{Placement, PossibleNodes};
use super::rollout::{Rollout, number};
use crate::ipam::name::IfName;
use crate::ipam::request::Key;
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
    /// A virtual machine of KubeVirt, whose pod ends when it stops.
    VirtualMachine,
    /// A running virtual machine. Its annotations are those of its pod.
    VirtualMachineInstance,
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
            ("kubevirt.io", "VirtualMachine") => Self::VirtualMachine,
            ("kubevirt.io", "VirtualMachineInstance") => Self::VirtualMachineInstance,
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
            Self::VirtualMachine => "VirtualMachine",
            Self::VirtualMachineInstance => "VirtualMachineInstance",
        }
    }

    /// Whether it is a virtual machine, which has two pods while it migrates.
    pub(crate) fn is_machine(self) -> bool {
        matches!(self, Self::VirtualMachine | Self::VirtualMachineInstance)
    }

    /// The path of its pod template.
    pub(super) fn template(self) -> &'static [&'static str] {
        match self {
            Self::Pod | Self::VirtualMachineInstance => &[],
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
    /// The number of pods at a time; 1 for a DaemonSet if the nodes are not known.
    pub replicas: u32,
    /// The position of that number.
    pub replicas_place: Option<Place>,
    /// The number of additional pods during an update, or while a virtual machine migrates.
    pub surge: u32,
    /// Whether an update may stop an old pod before its replacement has started.
    pub makes_room: bool,
    rollout: Rollout,
    /// The ordinal of the first pod (`spec.ordinals.start` of a StatefulSet).
    pub first_ordinal: u32,
    /// The nodes on which its pods may run, if the files have nodes.
    pub nodes: Option<Arc<PossibleNodes>>,
    pub template: Template,
}

/// The pod template of a workload.
#[derive(Clone, Debug, Default)]
pub(crate) struct Template {
    pub annotations: Vec<Annotation>,
    /// Whether the pods use the node's network, so that no plugin is called.
    pub host_network: bool,
    pub placement: Placement,
    /// The networks of a virtual machine, in the order in which its pod selects them.
    pub machine_networks: Vec<MachineNetwork>,
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
    /// Reads a template. KubeVirt adds annotations for the networks of a virtual machine.
    fn read(document: Document<'_>, kind: Kind, top: &Node, namespace: &str, findings: &mut Vec<Finding>) -> Self {
        let spec = top.get("spec");
        let machine = spec.filter(|_| kind.is_machine());
        let machine = machine.map(|spec| MachineNetworks::read(document, spec, namespace)).unwrap_or_default();
        Self {
            annotations: annotations(document, top, findings).into_iter().chain(machine.annotations).collect(),
            host_network: spec.and_then(|spec| spec.get("hostNetwork")).is_some_and(|value| value.to_json() == true),
            placement: spec.map(Placement::read).unwrap_or_default(),
            machine_networks: machine.networks,
        }
    }

    /// The annotation with this key. If it occurs twice, the last one counts.
    pub(crate) fn annotation(&self, key: &str) -> Option<&Annotation> {
        self.annotations.iter().rev().find(|annotation| annotation.key == key)
    }

    /// The annotations as a pod has them.
    pub(crate) fn as_map(&self) -> BTreeMap<String, String> {
        self.annotations.iter().map(|annotation| (annotation.key.clone(), annotation.value.clone())).collect()
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
            Kind::Pod | Kind::DaemonSet | Kind::VirtualMachine | Kind::VirtualMachineInstance => 1,
            Kind::CronJob => number(&["spec", "jobTemplate", "spec", "parallelism"]).unwrap_or(1),
            _ => number(path).unwrap_or(1),
        };
        let rollout = Rollout::read(kind, node);
        if !kind.template().is_empty() {
            misplaced::on_workload(document, kind, name, findings);
        }
        let namespace = document.namespace(namespace);
        let template = Template::read(document, kind, top, &namespace, findings);
        Some(Self {
            kind,
            namespace,
            name: name.to_owned(),
            place,
            replicas,
            replicas_place: node.at(path).map(|replicas| document.place(replicas)),
            surge: rollout.surge_of(replicas),
            makes_room: rollout.makes_room(replicas),
            rollout,
            first_ordinal: number(&["spec", "ordinals", "start"]).unwrap_or(0),
            nodes: None,
            template,
        })
    }

    /// Sets the nodes on which its pods may run. A DaemonSet has one pod on each of them.
    pub(super) fn run_on(&mut self, nodes: Arc<PossibleNodes>) {
        if self.kind == Kind::DaemonSet {
            self.replicas = u32::try_from(nodes.names.len()).unwrap_or(u32::MAX);
            self.surge = self.rollout.surge_of(self.replicas);
        }
        self.nodes = Some(nodes);
    }

    /// The names of the nodes on which one of its pods may run, sorted. Empty if that may be any node.
    pub(crate) fn nodes_of(&self, index: u32) -> &[String] {
        match self.nodes.as_ref().map_or(&[][..], |nodes| &nodes.names) {
            [] => self.template.placement.node.as_slice(),
            names if self.kind == Kind::DaemonSet => std::slice::from_ref(&names[index as usize % names.len()]),
            names => names,
        }
    }

    /// The workload as text for findings and reports: `Deployment default/web`.
    pub(crate) fn label(&self) -> String {
        format!("{} {}/{}", self.kind.word(), self.namespace, self.name)
    }

    /// The name of one of its pods, or a placeholder if the API server would generate it.
    pub(crate) fn pod_name(&self, index: u32) -> String {
        match self.kind {
            Kind::Pod => self.name.clone(),
            Kind::VirtualMachine | Kind::VirtualMachineInstance => {
                format!("virt-launcher-{}-#{}", self.name, index + 1)
            }
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
