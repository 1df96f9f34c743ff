//! `installed-defaults`: whether this node's defaults are those of the installer's ConfigMap, completed for the node.

use serde_json::{Map, Value};

use super::forbidden::unread;
use super::installer;
use crate::cause::chain;
use crate::cluster::{ApiServer, ClusterError, DaemonPod};
use crate::config::read_defaults;
use crate::explain::Commands;
use crate::install::{Difference, DifferingKey, differing_keys};
use crate::ops::cluster::kubeconfig;
use crate::ops::operator::doctor::subject::{Subject, commands};
use crate::ops::operator::doctor::{Context, Outcome, Remedy, Scope, Status};

/// The ConfigMap of examples/install, and its entry with the node defaults.
const NAMESPACE: &str = "kube-ipam";
const NAME: &str = "kube-ipam";
const ENTRY: &str = "kube-ipam.json";

/// The keys that decide which store, and where in it, an address is looked for. Nodes that differ in them give one
/// address twice.
const IDENTITY: [&str; 5] = ["store", "dataDir", "etcdConfig", "kubernetesConfig", "vrf"];

pub(in crate::ops::operator::doctor) fn check(context: &mut Context<'_>, report: &mut dyn FnMut(Outcome)) {
    let options = context.options;
    let subject = Subject::new(format!("ConfigMap {NAMESPACE}/{NAME}"));
    if kubeconfig(context.node.settings).is_none() {
        return report(subject.skipped("there is no kubeconfig, so no API server can be asked for it"));
    }
    if options.scope == Scope::Node && options.is_own_kubeconfig {
        return report(subject.skipped("with --node, no API server is asked for it; --kubeconfig names one that is"));
    }
    // The check of the node defaults says what is wrong with the file.
    let Ok(Some(node)) = read_defaults(&options.defaults) else {
        return report(subject.skipped("this node has no defaults that can be compared with it"));
    };
    let (file, next, name) =
        (options.defaults.display().to_string(), &options.commands, context.node.settings.node.to_string());
    let Ok(Some(api)) = context.api() else {
        return report(subject.skipped("no API server can be asked for it"));
    };
    let config_map = match api.config_map_entry(NAMESPACE, NAME, ENTRY) {
        Ok(Some(text)) => text,
        Ok(None) => return report(subject.skipped(format!("it has no {ENTRY}, so somebody else maintains {file}"))),
        Err(ClusterError::NotFound { .. }) => {
            return report(subject.skipped(format!("the cluster does not have it, so somebody else maintains {file}")));
        }
        Err(error) => return report(unread(&subject, &error, next)),
    };
    let object = match serde_json::from_str::<Map<String, Value>>(&config_map) {
        Ok(object) => object,
        Err(error) => return report(not_json(&subject, &error, next)),
    };
    let differing = differing_keys(object, &node);
    report(match differing.as_slice() {
        [] => subject.ok(format!("{file} has what it says")),
        differing => outdated(&subject, &file, differing, &Installer::on_node(api, &name), &name, next),
    });
}

/// The installer's pod on this node.
enum Installer {
    Ready(DaemonPod),
    NotReady(DaemonPod),
    /// No pod of it is on this node.
    Absent,
    /// The pods may not be listed, or can't be.
    Unknown(String),
}

impl Installer {
    fn on_node(api: &ApiServer, node: &str) -> Self {
        let mut own = None;
        let listed = api.daemon_pods(installer::LABEL, |pod| {
            // During an update, the ready one of two writes.
            let is_own = pod.node.as_deref() == Some(node);
            if is_own && own.as_ref().is_none_or(|other: &DaemonPod| other.not_ready.is_some()) {
                own = Some(pod);
            }
        });
        match (listed, own) {
            (Err(error), _) => Self::Unknown(chain(&error).to_string()),
            (Ok(()), None) => Self::Absent,
            (Ok(()), Some(pod)) if pod.not_ready.is_none() => Self::Ready(pod),
            (Ok(()), Some(pod)) => Self::NotReady(pod),
        }
    }
}

fn outdated(
    subject: &Subject,
    file: &str,
    differing: &[DifferingKey],
    installer: &Installer,
    node: &str,
    next: &Commands,
) -> Outcome {
    let is_identity = |key: &DifferingKey| IDENTITY.contains(&key.key.split('.').next().unwrap_or_default());
    let (status, effect) = match differing.iter().any(is_identity) {
        true => (Status::Error, "; nodes with another store or vrf may give one address twice"),
        false => (Status::Warning, ""),
    };
    let keys: Vec<String> = differing.iter().map(word).collect();
    let message = format!("{file} differs from it in {}{effect}", keys.join(", "));
    let pods = || {
        let on_node = format!("spec.nodeName={node}");
        let words = ["get", "pods", "-A", "-l", installer::LABEL, "--field-selector", &on_node, "-o", "wide"];
        next.kubectl(&words)
    };
    let remedy = match installer {
        Installer::Absent => commands(
            format!("no pod of the installer runs on node {node}, so nobody writes this file: look why"),
            [pods(), next.kubectl(&["-n", NAMESPACE, "get", "daemonsets", "-o", "wide"])],
        ),
        Installer::NotReady(DaemonPod { namespace, name, not_ready, .. }) => commands(
            format!(
                "the installer's pod {namespace}/{name} on this node fails: {}; look why",
                not_ready.as_deref().unwrap_or_default()
            ),
            [
                next.kubectl(&["-n", namespace, "logs", name, "-c", "install", "--tail=20"]),
                next.kubectl(&["-n", namespace, "describe", "pod", name]),
            ],
        ),
        Installer::Ready(DaemonPod { namespace, name, .. }) => commands(
            format!(
                "the installer's pod {namespace}/{name} on this node is ready, so the ConfigMap has not reached it: wait \
                 two minutes for the kubelet; if it still differs, the pod mounts another ConfigMap or none"
            ),
            [
                next.kubectl(&["-n", namespace, "get", "pod", name, "-o", "jsonpath={.spec.volumes}"]),
                next.kubectl(&["-n", NAMESPACE, "get", "configmap", NAME, "-o", "yaml"]),
            ],
        ),
        Installer::Unknown(why) => commands(
            format!("look whether the installer's pod runs on this node; it could not be asked: {why}"),
            [pods()],
        ),
    };
    subject.fault(status, message, remedy)
}

fn word(DifferingKey { key, difference }: &DifferingKey) -> String {
    let how = match difference {
        Difference::Changed => "other value",
        Difference::Missing => "only in the ConfigMap",
        Difference::Extra => "only on this node",
    };
    format!("{key} ({how})")
}

fn not_json(subject: &Subject, error: &serde_json::Error, next: &Commands) -> Outcome {
    let edit = next.kubectl(&["-n", NAMESPACE, "edit", "configmap", NAME]);
    let message = format!("its {ENTRY} is no JSON object: line {}, column {}", error.line(), error.column());
    let remedy: Remedy = commands("correct it; until then, the nodes keep the defaults that they have", [edit]);
    subject.error(message, remedy)
}
