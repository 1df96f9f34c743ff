//! The interfaces of a pod, according to its annotations: those of Multus, and the one that its runtime creates.
//!
//! The annotation `k8s.v1.cni.cncf.io/networks` (NPWG multi-network specification 1.3, section 4.1) is a comma list
//! `[namespace/]name[@interface]` or a JSON list of network selection elements. An element without an interface name is
//! net1, net2, …, counted over all of them.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde_json::Value;

use super::value::shortened;
use crate::ipam::name::IfName;

/// The annotation of the network selection elements.
pub const KEY: &str = "k8s.v1.cni.cncf.io/networks";
/// A pod's first interface.
pub const FIRST: &str = "eth0";

/// The interfaces of a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Interfaces {
    names: Vec<String>,
    /// The same names as a set.
    known: BTreeSet<String>,
    /// Whether the list is complete. Networks that the cluster's administrator attaches to every pod are in no
    /// annotation.
    complete: bool,
    /// Whether the pod selects networks beside its first.
    selects: bool,
}

/// The fields of a network selection element that this program reads. Multus checks the fields that it uses, so a field
/// of the wrong type counts as missing here.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Element {
    name: Value,
    namespace: Value,
    ips: Value,
    /// The interface's name. [`selected`] fills in the default.
    interface: Option<String>,
    /// The claim of the interface (section 4.1.2.1.11). Multus does not read it, so it may have any type.
    #[serde(rename = "ipam-claim-reference")]
    claim: Value,
}

impl Element {
    /// The name of its NetworkAttachmentDefinition.
    pub fn name(&self) -> Option<&str> {
        self.name.as_str()
    }

    /// The namespace of its definition; `None` means the pod's.
    pub fn namespace(&self) -> Option<&str> {
        self.namespace.as_str().filter(|namespace| !namespace.is_empty())
    }

    /// The name of its interface.
    pub fn interface(&self) -> Option<&str> {
        self.interface.as_deref()
    }

    /// The addresses that it requests, which Multus passes to the plugin (section 4.1.2.1.4).
    pub fn ips(&self) -> impl Iterator<Item = &str> {
        self.ips.as_array().into_iter().flatten().filter_map(Value::as_str)
    }
}

/// The claim in the element of an interface, if it has one.
pub(super) fn claim(annotations: &BTreeMap<String, String>, own: &IfName) -> Option<Value> {
    let elements = selected(annotations.get(KEY)?.trim())?;
    let element = elements.into_iter().find(|element| element.interface.as_deref() == Some(own.as_str()))?;
    Some(element.claim).filter(|claim| !claim.is_null() && claim != "")
}

impl Interfaces {
    /// The interfaces of a pod, one of which is `own`.
    pub(super) fn read(annotations: &BTreeMap<String, String>, own: &IfName) -> Self {
        let text = annotations.get(KEY).map(|text| text.trim()).filter(|text| !text.is_empty());
        // Multus can't read an invalid list either, so such a pod never starts. The list counts as incomplete.
        let name = |element: Element| element.interface;
        let selected = text.map_or(Some(Vec::new()), selected);
        let selected = selected.map(|elements| elements.into_iter().filter_map(name).collect::<Vec<_>>());
        let complete = selected
            .as_ref()
            .is_some_and(|names| own.as_str() == FIRST || names.iter().any(|name| name == own.as_str()));
        let mut names = vec![FIRST.to_owned()];
        names.extend(selected.unwrap_or_default());
        if !names.iter().any(|name| name == own.as_str()) {
            names.push(own.to_string());
        }
        let known = names.iter().cloned().collect();
        Self { names, known, complete, selects: text.is_some() }
    }

    /// Whether the pod certainly has no interface of this name. The runtime may have created one for another network in
    /// its own folder.
    pub(super) fn lack(&self, ifname: &str) -> bool {
        let by_the_runtime = ifname.strip_prefix("eth").is_some_and(|n| n.parse::<u8>().is_ok());
        self.complete && !self.known.contains(ifname) && (self.selects || !by_the_runtime)
    }

    /// Whether `ifname` is the pod's only interface.
    pub(super) fn are_only(&self, ifname: &IfName) -> bool {
        self.complete && !self.selects && ifname.as_str() == FIRST
    }
}

impl std::fmt::Display for Interfaces {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        /// How many names are shown: more than any known pod has. The limit bounds the text of the event.
        const SHOWN: usize = 16;
        let (shown, more) = self.names.split_at(self.names.len().min(SHOWN));
        let shown: Vec<_> = shown.iter().map(|name| shortened(name)).collect();
        f.write_str(&shown.join(", "))?;
        if more.is_empty() { Ok(()) } else { write!(f, " and {} more", more.len()) }
    }
}

/// An element in the short form, `[namespace/]name[@interface]`.
fn from_short_form(item: &str) -> Element {
    let (network, interface) = item.split_once('@').map_or((item, None), |(network, name)| (network, Some(name)));
    let (namespace, name) = network.split_once('/').map_or((None, network), |(of, name)| (Some(of), name));
    Element {
        name: name.trim().into(),
        namespace: namespace.map(str::trim).into(),
        interface: interface.map(|name| name.trim().to_owned()),
        ..Element::default()
    }
}

/// The elements of a selection, each with its interface's name; `None` if it can't be read.
pub fn selected(text: &str) -> Option<Vec<Element>> {
    let mut elements: Vec<Element> = if text.contains(['[', '{', '"']) {
        serde_json::from_str(text).ok()?
    } else {
        text.split(',').map(from_short_form).collect()
    };
    for (i, element) in elements.iter_mut().enumerate() {
        let requested = element.interface.take().filter(|name| !name.is_empty());
        element.interface = Some(requested.unwrap_or_else(|| format!("net{}", i + 1)));
    }
    Some(elements)
}
