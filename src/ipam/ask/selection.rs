//! Which interfaces a pod has, as far as its annotations tell: those of Multus, beside the one that its runtime makes.
//!
//! The annotation `k8s.v1.cni.cncf.io/networks` (NPWG multi-network specification 1.3, section 4.1) is a comma list
//! `[namespace/]name[@interface]` or a JSON list of network selection elements. An element without an interface name is
//! net1, net2, …, counted over all of them.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::ipam::name::IfName;

/// The annotation of the network selection elements.
const SELECTION: &str = "k8s.v1.cni.cncf.io/networks";
/// What a runtime calls a pod's first interface.
const FIRST: &str = "eth0";

/// The interfaces of a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Interfaces {
    names: Vec<String>,
    /// Whether these are all. Networks that the cluster's administrator attaches to every pod are in no annotation.
    complete: bool,
    /// Whether the pod selects networks beside its first.
    selects: bool,
}

/// A network selection element, as far as it names the interface.
#[derive(Deserialize)]
struct Element {
    #[serde(default)]
    interface: Option<String>,
}

impl Interfaces {
    /// The interfaces of a pod, one of which is `own`.
    pub(super) fn of(annotations: &BTreeMap<String, String>, own: &IfName) -> Self {
        let text = annotations.get(SELECTION).map(|text| text.trim()).filter(|text| !text.is_empty());
        // What Multus can't read either starts no pod; nothing is concluded from it.
        let selected = text.map_or(Some(Vec::new()), selected);
        let complete = selected
            .as_ref()
            .is_some_and(|names| own.as_str() == FIRST || names.iter().any(|name| name == own.as_str()));
        let mut names = vec![FIRST.to_owned()];
        names.extend(selected.unwrap_or_default());
        if !names.iter().any(|name| name == own.as_str()) {
            names.push(own.to_string());
        }
        Self { names, complete, selects: text.is_some() }
    }

    /// Whether the pod certainly has no interface of this name. One that its runtime may have made, as a second network
    /// in its own folder, can't be ruled out.
    pub(super) fn lack(&self, ifname: &str) -> bool {
        let by_the_runtime = ifname.strip_prefix("eth").is_some_and(|n| n.parse::<u8>().is_ok());
        self.complete && !self.names.iter().any(|name| name == ifname) && (self.selects || !by_the_runtime)
    }

    /// Whether `ifname` is the pod's only interface.
    pub(super) fn are_only(&self, ifname: &IfName) -> bool {
        self.complete && !self.selects && ifname.as_str() == FIRST
    }
}

impl std::fmt::Display for Interfaces {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.names.join(", "))
    }
}

/// The names of the interfaces that a selection makes; `None` if it can't be read.
fn selected(text: &str) -> Option<Vec<String>> {
    let requested: Vec<Option<String>> = if text.contains(['[', '{', '"']) {
        let elements: Vec<Element> = serde_json::from_str(text).ok()?;
        elements.into_iter().map(|element| element.interface.filter(|name| !name.is_empty())).collect()
    } else {
        text.split(',').map(|item| item.split_once('@').map(|(_, name)| name.trim().to_owned())).collect()
    };
    let name = |(i, requested): (usize, Option<String>)| requested.unwrap_or_else(|| format!("net{}", i + 1));
    Some(requested.into_iter().enumerate().map(name).collect())
}
