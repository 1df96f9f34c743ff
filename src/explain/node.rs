//! What the node of a holder means for its address: a kubelet that no longer answers ends no pod.

use super::address::AddressFacts;
use super::{Fact, Remedy, Text, Topic};
use crate::ipam::lease::Holder;
use crate::ipam::name::Name;
use crate::ipam::node_status::{NodeStatus, OUT_OF_SERVICE};
use crate::ipam::pod::Pod;

/// What the API server says about the node of a holder.
#[derive(Clone, Debug, PartialEq)]
pub struct NodeAnswer {
    /// Its name.
    pub name: Name,
    /// Its status; `None` if there is no such node, `Err` says why it is not known.
    pub found: Result<Option<NodeStatus>, String>,
}

/// The answer about the node of a holder.
fn answer<'a>(facts: &'a AddressFacts<'_>, holder: &Holder) -> Option<&'a NodeAnswer> {
    facts.nodes.iter().find(|answer| answer.name == holder.id.node)
}

/// The status of the node of a holder, if that is not ready. A node that the API server does not know is not among them:
/// it may have another name there.
fn lost<'a>(facts: &'a AddressFacts<'_>, holder: &Holder) -> Option<&'a NodeStatus> {
    answer(facts, holder)?.found.as_ref().ok()?.as_ref().filter(|status| !status.is_ready())
}

/// How the headline goes on if the node of a holder is lost.
pub(super) fn headline(facts: &AddressFacts<'_>, holder: &Holder) -> Option<Text> {
    let since = lost(facts, holder)?.since;
    let text = Text::new(format!(", on node {}, which has not been ready", holder.id.node));
    Some(match since {
        Some(since) => text.then(" ").lasting(since).then("."),
        None => text.then("."),
    })
}

/// The state of the node of a holder. A node that is ready is not worth a line.
pub(super) fn fact(facts: &AddressFacts<'_>, holder: &Holder) -> Option<Fact> {
    let NodeAnswer { name, found } = answer(facts, holder)?;
    let text = match found {
        Ok(Some(status)) if status.is_ready() => return None,
        Ok(Some(NodeStatus { ready, message, since, is_out_of_service })) => {
            let text = Text::new(format!("node {name} has the condition Ready={ready}"));
            let text = match since {
                Some(since) => text.then(" ").lasting(*since),
                None => text,
            };
            let message = if message.is_empty() { String::new() } else { format!(": {message}") };
            let taint = if *is_out_of_service { "; it is marked as out of service" } else { "" };
            text.then(format!("{message}{taint}"))
        }
        Ok(None) => Text::new(format!(
            "it knows no node {name}: it has another name there, or was deleted, and its pods are deleted within a few              minutes"
        )),
        Err(why) => Text::new(format!("whether node {name} is ready is not known: {why}")),
    };
    Some(Fact::from_api(Topic::Node, text))
}

/// What ends the wait for an address whose holder's node is lost; empty if it is not. Nobody but the node itself can end
/// the pod, so the API server keeps it until somebody who knows says that it has ended.
pub(super) fn remedies(facts: &AddressFacts<'_>, holder: &Holder, pod: &Pod) -> Vec<Remedy> {
    let Some(status) = lost(facts, holder) else { return Vec::new() };
    let node = holder.id.node.as_str();
    let kubectl = |text: &str, words: &[&str]| Remedy::run(text, facts.commands.kubectl(words));
    let mut remedies = vec![
        kubectl(
            &format!("If node {node} comes back, its kubelet goes on with the pod. To see how the node is:"),
            &["describe", "node", node],
        ),
        kubectl(
            "If it does not, somebody has to say that the pod has ended. Do so only if the machine is off or its              containers have ended: otherwise two pods use one address. To delete only this pod:",
            &["delete", "pod", &pod.name, "--namespace", &pod.namespace, "--force", "--grace-period=0"],
        ),
    ];
    if !status.is_out_of_service {
        let taint = format!("{OUT_OF_SERVICE}=nodeshutdown:NoExecute");
        remedies.push(kubectl(
            "Or, for all pods of a machine that is off, mark its node as out of service. Remove the taint before the              machine starts again:",
            &["taint", "node", node, &taint],
        ));
    }
    let text = "Or, if the machine never comes back, delete its node. Its pods are deleted within a few minutes:";
    remedies.push(kubectl(text, &["delete", "node", node]));
    remedies
}
