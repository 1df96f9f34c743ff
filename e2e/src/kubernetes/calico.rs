//! Calico's CNI plugin as the cluster network. Nothing else of Calico runs, so no route connects the nodes on eth0.

use serde_json::{Value, json};

use super::machine::Machine;
use super::node::{install, write};
use super::{Cluster, ClusterNetwork, Options, Tools};
use crate::Result;

/// The configuration of examples/calico-primary/eth0.
const WITH_KUBE_IPAM: &str = include_str!("../../../examples/calico-primary/eth0/10-calico.conf");

/// The configuration of Multus in that example.
const MULTUS: &str = include_str!("../../../examples/calico-primary/eth0/00-multus.conf");

const GROUP: &str = "crd.projectcalico.org";

/// The kinds of objects that the plugin and its IPAM plugin use.
const KINDS: [&str; 7] =
    ["BlockAffinity", "ClusterInformation", "IPAMBlock", "IPAMConfig", "IPAMHandle", "IPPool", "IPReservation"];

/// Equips a node with the plugin under both of its names, its files, and a configuration of Multus that names it first.
pub(super) fn equip(machine: &Machine, name: &str, options: &Options, tools: &Tools, kubeconfig: &Value) -> Result<()> {
    let calico = tools.calico().ok_or("no CNI plugin of Calico here")?;
    for role in ["calico", "calico-ipam"] {
        install(machine, role, calico)?;
    }
    // Every real node has a default route. Without one, the kernel does not answer for 169.254.1.1, the pods' gateway.
    machine.run("ip route add default via 192.168.250.1")?;
    // A newline would become a part of the name.
    write(machine, "/var/lib/calico/nodename", name)?;
    write(machine, "/run/calico/README", "The lock of Calico's IPAM plugin lies here.\n")?;
    let folder = "/etc/cni/net.d";
    write(machine, &format!("{folder}/calico-kubeconfig"), &kubeconfig.to_string())?;
    let mut config: Value = serde_json::from_str(WITH_KUBE_IPAM)?;
    if options.cluster_network == ClusterNetwork::Calico {
        config["ipam"] = json!({ "type": "calico-ipam" });
    }
    write(machine, &format!("{folder}/10-calico.conf"), &config.to_string())?;
    write(machine, &format!("{folder}/00-multus.conf"), MULTUS)
}

impl Cluster {
    /// Defines Calico's resources in the API server, and creates the objects without which its plugin assigns no
    /// address.
    pub(super) fn define_calico(&self) -> Result<()> {
        self.apply("default", &KINDS.map(definition))?;
        self.kubectl("wait --for=condition=Established --timeout=60s customresourcedefinitions --all")?;
        let object = |kind: &str, name: &str, spec: Value| {
            json!({
                "apiVersion": format!("{GROUP}/v1"), "kind": kind, "metadata": { "name": name }, "spec": spec })
        };
        let pool = json!({
            "cidr": "10.245.0.0/16", "blockSize": 26, "ipipMode": "Never", "vxlanMode": "Never",
            "nodeSelector": "all()" });
        let objects = [
            object("ClusterInformation", "default", json!({ "datastoreReady": true })),
            object("IPPool", "default-ipv4-ippool", pool),
        ];
        self.apply("default", &objects)
    }
}

/// A resource definition that accepts any object.
fn definition(kind: &str) -> Value {
    let singular = kind.to_lowercase();
    let plural = match singular.strip_suffix('y') {
        Some(stem) => format!("{stem}ies"),
        None => format!("{singular}s"),
    };
    let anything = json!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true });
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": { "name": format!("{plural}.{GROUP}") },
        "spec": {
            "group": GROUP, "scope": "Cluster",
            "names": { "kind": kind, "singular": singular, "plural": plural },
            "versions": [{
                "name": "v1", "served": true, "storage": true, "schema": { "openAPIV3Schema": anything } }],
        },
    })
}
