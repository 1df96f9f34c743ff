//! `installer`: whether the DaemonSet of examples/install has this version, and is ready on every node.

use super::forbidden::unread;
use crate::cluster::{DaemonPod, DaemonSetStatus};
use crate::explain::Commands;
use crate::ops::operator::doctor::subject::{Subject, commands};
use crate::ops::operator::doctor::{Context, Outcome};

/// The label of the DaemonSet and its pods.
pub(super) const LABEL: &str = "app.kubernetes.io/name=kube-ipam";

/// The version of this program.
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// How many nodes are named; the others are counted.
const SHOWN: usize = 20;

pub(in crate::ops::operator::doctor) fn check(context: &mut Context<'_>, report: &mut dyn FnMut(Outcome)) {
    let subject = Subject::whole("installer");
    let next = &context.options.commands;
    let Ok(Some(api)) = context.api() else { return };
    let sets = match api.daemon_sets(LABEL) {
        Ok(sets) => sets,
        Err(error) => return report(unread(&subject, &error, next)),
    };
    let mut pods = Vec::new();
    if !sets.is_empty()
        && let Err(error) = api.daemon_pods(LABEL, |pod| pods.push(pod))
    {
        report(unread(&subject, &error, next));
        pods.clear();
    }
    judge(&subject, &sets, &pods, next).into_iter().for_each(report);
}

fn judge(subject: &Subject, sets: &[DaemonSetStatus], pods: &[DaemonPod], next: &Commands) -> Vec<Outcome> {
    if sets.is_empty() {
        let message =
            format!("the cluster has no DaemonSet with the label {LABEL}, so kube-ipam is not installed by it");
        return vec![subject.skipped(message)];
    }
    let mut outcomes: Vec<Outcome> = sets.iter().flat_map(|set| of_set(set, next)).collect();
    let troubled: Vec<&DaemonPod> = pods.iter().filter(|pod| pod.not_ready.is_some()).collect();
    outcomes.extend(troubled.iter().take(SHOWN).map(|pod| of_pod(pod, next)));
    if let Some(more) = troubled.len().checked_sub(SHOWN).filter(|more| *more > 0) {
        outcomes.push(subject.error(
            format!("the installer is not ready on {more} more nodes"),
            commands("look at its pods", [next.kubectl(&["get", "pods", "-A", "-l", LABEL, "-o", "wide"])]),
        ));
    }
    outcomes
}

fn of_set(set: &DaemonSetStatus, next: &Commands) -> Vec<Outcome> {
    let DaemonSetStatus { namespace, name, images, desired, ready, updated } = set;
    let subject = Subject::new(format!("DaemonSet {namespace}/{name}"));
    let mut outcomes = Vec::new();
    if let Some(other) =
        images.iter().find(|image| tag(image).is_some_and(|tag| tag.trim_start_matches('v') != VERSION))
    {
        outcomes.push(subject.warning(
            format!("it installs {other}, and this program has version {VERSION}"),
            commands(
                "finish the upgrade, or run the installed program: all nodes should have one version",
                [next.kubectl(&["-n", namespace, "get", "daemonset", name, "-o", "wide"])],
            ),
        ));
    }
    if updated < desired {
        outcomes.push(subject.warning(
            format!("{updated} of {desired} nodes have its present template; the others have an earlier one"),
            commands(
                "wait for the rollout, and look why it stands still if it does",
                [next.kubectl(&["-n", namespace, "rollout", "status", &format!("daemonset/{name}")])],
            ),
        ));
    }
    if ready < desired {
        outcomes.push(subject.error(
            format!(
                "it is ready on {ready} of {desired} nodes; on the others, program or defaults may be old or missing"
            ),
            commands("look at its pods", [next.kubectl(&["-n", namespace, "get", "pods", "-l", LABEL, "-o", "wide"])]),
        ));
    }
    if outcomes.is_empty() {
        outcomes.push(subject.ok(format!(
            "it is ready on all {desired} nodes, with {}",
            images.first().map_or("no image", String::as_str)
        )));
    }
    outcomes
}

fn of_pod(pod: &DaemonPod, next: &Commands) -> Outcome {
    let DaemonPod { namespace, name, node, not_ready } = pod;
    let node = node.as_deref().map_or("a node that is not known yet".to_owned(), |node| format!("node {node}"));
    let why = not_ready.as_deref().unwrap_or_default();
    Subject::new(node).error(
        format!("the installer's pod {namespace}/{name} is not ready: {why}"),
        commands(
            "look why; until then, program and defaults on this node may be old or missing",
            [
                next.kubectl(&["-n", namespace, "describe", "pod", name]),
                next.kubectl(&["-n", namespace, "logs", name, "--all-containers", "--tail=20"]),
            ],
        ),
    )
}

/// The version in the name of an image; `None` if its tag is no version.
fn tag(image: &str) -> Option<&str> {
    let (name, _digest) = image.split_once('@').unwrap_or((image, ""));
    // A port of a registry is no tag.
    let (_, tag) = name.rsplit_once(':').filter(|(_, tag)| !tag.contains('/'))?;
    tag.trim_start_matches('v').starts_with(|c: char| c.is_ascii_digit()).then_some(tag)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::operator::doctor::Status;

    fn set(image: &str) -> DaemonSetStatus {
        DaemonSetStatus {
            namespace: "kube-ipam".to_owned(),
            name: "kube-ipam".to_owned(),
            images: vec![image.to_owned()],
            desired: 3,
            ready: 3,
            updated: 3,
        }
    }

    fn judged(set: DaemonSetStatus, pods: &[DaemonPod]) -> Vec<(Status, String)> {
        let outcomes = judge(&Subject::whole("installer"), &[set], pods, &Commands::default());
        outcomes.into_iter().map(|outcome| (outcome.status, outcome.message)).collect()
    }

    #[test]
    fn the_tag_of_an_image_is_its_version_if_it_looks_like_one() {
        for (image, expected) in [
            ("kube-ipam:0.3.0", Some("0.3.0")),
            ("registry.example:5000/net/kube-ipam:v1.2", Some("v1.2")),
            ("registry.example:5000/net/kube-ipam", None),
            ("kube-ipam:latest", None),
            ("kube-ipam:0.3.0@sha256:abc", Some("0.3.0")),
            ("kube-ipam@sha256:abc", None),
        ] {
            assert_eq!(tag(image), expected, "{image}");
        }
    }

    #[test]
    fn a_daemon_set_is_to_be_of_this_version_and_ready_everywhere() {
        let own = format!("kube-ipam:{VERSION}");
        assert_eq!(
            judged(set(&own), &[]),
            [(Status::Ok, format!("DaemonSet kube-ipam/kube-ipam: it is ready on all 3 nodes, with {own}"))]
        );
        let old = judged(set("kube-ipam:0.1.0"), &[]);
        assert!(
            old.len() == 1 && old[0].0 == Status::Warning && old[0].1.contains("it installs kube-ipam:0.1.0"),
            "{old:?}"
        );
        let rolling = judged(DaemonSetStatus { updated: 1, ..set(&own) }, &[]);
        assert!(
            rolling[0].0 == Status::Warning && rolling[0].1.contains("1 of 3 nodes have its present template"),
            "{rolling:?}"
        );
        let pod = DaemonPod {
            namespace: "kube-ipam".to_owned(),
            name: "kube-ipam-x".to_owned(),
            node: Some("worker-2".to_owned()),
            not_ready: Some("container install: CrashLoopBackOff".to_owned()),
        };
        let broken = judged(DaemonSetStatus { ready: 2, ..set(&own) }, &[pod]);
        assert_eq!(broken[0].0, Status::Error);
        assert_eq!(broken[1], (Status::Error, "node worker-2: the installer's pod kube-ipam/kube-ipam-x is not ready: container install: CrashLoopBackOff".to_owned()));
    }
}
