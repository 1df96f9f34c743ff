//! Annotations of kube-ipam where they have no effect: on a workload instead of its pods, or on an object that has none.

use super::Document;
use super::workload::Kind;
use crate::ipam::request::{NETWORKS, parse_key};
use crate::manifest::{Member, Node};
use crate::plan::code;
use crate::plan::finding::Finding;
use crate::plan::source::Place;

/// Objects that pass no annotation on to a pod, by API group and kind. An unknown kind is not among them, because its
/// controller may do so.
const WITHOUT_PODS: [(&str, &str); 10] = [
    ("", "Namespace"),
    ("", "Node"),
    ("", "Service"),
    ("", "ServiceAccount"),
    ("", "ConfigMap"),
    ("", "Secret"),
    ("", "PersistentVolumeClaim"),
    ("networking.k8s.io", "Ingress"),
    ("k8s.cni.cncf.io", "NetworkAttachmentDefinition"),
    ("k8s.cni.cncf.io", "IPAMClaim"),
];

/// Reports annotations on a workload, beside its template, and on its other templates.
pub(super) fn on_workload(document: Document<'_>, kind: Kind, name: &str, findings: &mut Vec<Finding>) {
    let node = document.node;
    let word = kind.word();
    let template = kind.template();
    let help = format!("move it to {}.metadata.annotations", template.join("."));
    let selects = node.at(template).is_some_and(|template| {
        template.at(&["metadata", "annotations"]).is_some_and(|annotations| annotations.get(NETWORKS).is_some())
    });
    // A chart may write the selection at both places. Only one that its pods lack is a mistake.
    let is_lost = |key: &str| parse_key(key).is_some() || key == NETWORKS && !selects;
    let mut places: Vec<(String, &Node)> = vec![(format!("the {word} {name}"), node)];
    if let Some(job) = node.at(&["spec", "jobTemplate"]).filter(|_| kind == Kind::CronJob) {
        places.push((format!("the jobs of the {word} {name}"), job));
    }
    if kind == Kind::StatefulSet {
        let claims = node.at(&["spec", "volumeClaimTemplates"]).map_or(&[][..], Node::elements);
        places.extend(claims.iter().map(|claim| (format!("a volume claim of the {word} {name}"), claim)));
    }
    for (what, node) in places {
        for member in annotations(node).filter(|member| is_lost(&member.key)) {
            let message = format!("annotation {} is on {what}, and not on its pods", member.key);
            let place = Place::new(document.source, &member.key_span);
            let finding = Finding::error(code::ANNOTATION_ON_WORKLOAD, place, message);
            findings.push(finding.labelled("has no effect here").help(&help));
        }
    }
}

/// Reports annotations on an object that makes no pods.
pub(super) fn on_other(document: Document<'_>, (group, kind): (&str, &str), findings: &mut Vec<Finding>) {
    if !WITHOUT_PODS.contains(&(group, kind)) {
        return;
    }
    let name = document.name().map_or("", |(name, _)| name);
    for member in annotations(document.node).filter(|member| parse_key(&member.key).is_some()) {
        let message = format!("annotation {} is on the {kind} {name}, and kube-ipam reads those of pods", member.key);
        let place = Place::new(document.source, &member.key_span);
        findings.push(
            Finding::error(code::ANNOTATION_ON_OTHER, place, message)
                .labelled("has no effect here")
                .help("write it on the pods that it is for, or into the template of their workload"),
        );
    }
}

fn annotations(node: &Node) -> impl Iterator<Item = &Member> {
    node.at(&["metadata", "annotations"]).map_or(&[][..], Node::members).iter()
}
