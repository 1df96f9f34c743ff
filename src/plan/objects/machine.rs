//! Virtual machines of KubeVirt (kubevirt.io/v1): the networks that their pods select.
//!
//! ```text
//! spec.networks ─┬─ pod                      eth0
//!                ├─ multus, default: true    eth0, by the annotation of Multus' default network
//!                └─ multus                   pod<hash of the name>, by the network selection annotation
//! ```
//!
//! KubeVirt copies the annotations of the machine's template to the pod, and writes these two itself. Limits: releases
//! before 1.0.0 counted net1, net2, … instead, and a machine that has run since then keeps those names while it
//! migrates. Networks of a binding plugin are in KubeVirt's own configuration, which a plan does not read.

use ring::digest::{SHA256, digest};
use serde_json::json;

use super::Document;
use super::workload::Annotation;
use crate::ipam::name::IfName;
use crate::ipam::request::NETWORKS;
use crate::manifest::Node;
use crate::plan::interfaces::DEFAULT_NETWORK;
use crate::plan::source::Place;

/// The number of hexadecimal digits in an interface's name. With the longest prefix that KubeVirt adds on the node, the
/// name has the 15 bytes that Linux allows.
const HASH_DIGITS: usize = 11;

/// A network of a machine beside its first.
#[derive(Clone, Debug)]
pub(crate) struct MachineNetwork {
    /// Its name in `spec.networks`.
    pub name: String,
    /// The position of the name of its definition.
    pub place: Place,
    /// The interface of the pod.
    pub ifname: IfName,
}

/// The networks of a machine, and the annotations that KubeVirt writes for them.
#[derive(Clone, Debug, Default)]
pub(super) struct MachineNetworks {
    pub(super) networks: Vec<MachineNetwork>,
    pub(super) annotations: Vec<Annotation>,
}

impl MachineNetworks {
    /// Reads the spec of a VirtualMachineInstance. Networks whose interface is unplugged (`state: absent`) are left out.
    pub(super) fn read(document: Document<'_>, spec: &Node, namespace: &str) -> Self {
        let mut read = Self::default();
        let mut elements = Vec::new();
        let list = spec.get("networks");
        for network in list.map_or(&[][..], Node::elements) {
            let name = network.get("name").and_then(Node::text);
            let definition = network.at(&["multus", "networkName"]);
            let Some((name, definition)) = name.zip(definition) else { continue };
            let Some(text) = definition.text().filter(|_| !is_absent(spec, name)) else { continue };
            let (of, object) = text.split_once('/').unwrap_or((namespace, text));
            let place = document.place(definition);
            if network.at(&["multus", "default"]).is_some_and(|default| default.to_json() == true) {
                read.annotations.push(written(DEFAULT_NETWORK, format!("{of}/{object}"), &place));
                continue;
            }
            let Some(ifname) = interface_name(name) else { continue };
            elements.push(json!({ "name": object, "namespace": of, "interface": ifname.as_str() }));
            read.networks.push(MachineNetwork { name: name.to_owned(), place, ifname });
        }
        if let Some(list) = list.filter(|_| !elements.is_empty()) {
            let value = serde_json::Value::Array(elements).to_string();
            read.annotations.push(written(NETWORKS, value, &document.place(list)));
        }
        read
    }
}

/// An annotation that KubeVirt writes.
fn written(key: &str, value: String, place: &Place) -> Annotation {
    Annotation { key: key.to_owned(), key_place: place.clone(), value, place: place.clone() }
}

fn is_absent(spec: &Node, network: &str) -> bool {
    let interfaces = spec.at(&["domain", "devices", "interfaces"]).map_or(&[][..], Node::elements);
    let own = interfaces.iter().find(|interface| interface.get("name").and_then(Node::text) == Some(network));
    own.and_then(|interface| interface.get("state")).and_then(Node::text) == Some("absent")
}

/// The name of the pod's interface for a network, by the name of the network in the machine's spec.
fn interface_name(network: &str) -> Option<IfName> {
    let hash = digest(&SHA256, network.as_bytes());
    let digits: String = hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    IfName::new(format!("pod{}", digits.get(..HASH_DIGITS)?)).ok()
}

#[cfg(test)]
mod tests {
    use super::interface_name;

    #[test]
    fn an_interface_has_the_name_that_kubevirt_gives_it() {
        // From KubeVirt's own tests.
        for (network, expected) in
            [("network1", "poda7662f44d65"), ("network2", "pod27f4a77f94e"), ("red", "podb1f51a511f1")]
        {
            assert_eq!(interface_name(network).as_ref().map(|name| name.as_str()), Some(expected));
        }
    }
}
