//! The files for the nodes' runtimes: plugins, network configurations, kube-ipam's defaults, and the networks of
//! Multus.

use serde_json::{Value, json};

use super::calico;
use super::control_plane::{IPAM_ETCD, KUBE_IPAM, SWEEPER};
use super::machine::Machine;
use super::node::{install, write};
use super::tools::Tools;
use super::{ClusterNetwork, Flavour, Options};
use crate::{Result, binary};

/// The path of kube-ipam's defaults.
pub const DEFAULTS: &str = "/etc/cni/net.d/kube-ipam.d/kube-ipam.json";

/// kube-ipam's permissions in `examples/install`.
const RIGHTS: &str = include_str!("../../../examples/install/rbac.yaml");

/// The default path of kube-ipam's credentials.
pub const KUBECONFIG: &str = "/etc/cni/net.d/kube-ipam.d/kubeconfig";

/// The credentials of a sweep, on each node.
pub const SWEEPER_KUBECONFIG: &str = "/etc/kubernetes/kube-ipam-sweep.kubeconfig";

/// The page with a sweep's permissions.
const OPERATIONS: &str = include_str!("../../../docs/operations.md");

/// The resource definition of Multus' networks: the used part of the one in the multi-network specification.
pub(super) const DEFINITION: &str = include_str!("network-attachment-definition.yaml");

/// The plugins of a node besides kube-ipam.
const PLUGINS: [&str; 6] = ["bridge", "host-local", "loopback", "macvlan", "ptp", "tuning"];

/// Equips a node before its containerd reads the networks.
pub(super) fn equip(
    machine: &Machine,
    number: usize,
    options: &Options,
    tools: &Tools,
    kubeconfig: impl Fn(&str) -> Value,
) -> Result<()> {
    for plugin in PLUGINS {
        install(machine, plugin, &tools.built(plugin))?;
    }
    if options.installed {
        install(machine, "kube-ipam", binary::kube_ipam())?;
        write(machine, DEFAULTS, &options.defaults.to_string())?;
        write(machine, KUBECONFIG, &kubeconfig(KUBE_IPAM).to_string())?;
        write(machine, SWEEPER_KUBECONFIG, &kubeconfig(SWEEPER).to_string())?;
    }
    let folder = "/etc/cni/net.d";
    match options.flavour {
        Flavour::ConfDir if options.cluster_network == ClusterNetwork::Database => {
            write(machine, &format!("{folder}/10-cluster.conf"), &db().to_string())?;
        }
        Flavour::ConfDir if options.cluster_network == ClusterNetwork::DatabaseByRuntime => {
            write(machine, &format!("{folder}/10-cluster.conf"), &by_runtime(db()).to_string())?;
        }
        Flavour::ConfDir => {
            write(
                machine,
                &format!("{folder}/10-cluster.conf"),
                &cluster(&ipam_by_kube_ipam(&options.nodes)).to_string(),
            )?;
            write(machine, &format!("{folder}/20-web.conf"), &web().to_string())?;
            write(machine, &format!("{folder}/30-db.conf"), &db().to_string())?;
        }
        Flavour::Multus => {
            let multus = tools.multus().ok_or("no Multus here")?;
            install(machine, "multus", multus)?;
            write(machine, &format!("{folder}/multus.d/multus.kubeconfig"), &kubeconfig("admin").to_string())?;
            let (file, network) = match options.cluster_network {
                ClusterNetwork::HostLocal => ("10-cluster.conf", cluster(&ipam_by_host_local(number))),
                ClusterNetwork::Calico | ClusterNetwork::CalicoWithKubeIpam => {
                    let name = options.nodes.get(number - 1).ok_or("a node without a name")?;
                    return calico::equip(machine, name, options, tools, &kubeconfig("admin"));
                }
                ClusterNetwork::KubeIpam => ("10-cluster.conf", cluster(&ipam_by_kube_ipam(&options.nodes))),
                ClusterNetwork::Database => ("10-cluster.conf", db()),
                ClusterNetwork::DatabaseByRuntime => ("10-cluster.conf", by_runtime(db())),
                ClusterNetwork::KubeIpamList => {
                    let plugin = cluster(&ipam_by_kube_ipam(&options.nodes));
                    let list =
                        json!({ "cniVersion": plugin["cniVersion"], "name": plugin["name"], "plugins": [plugin] });
                    ("10-cluster.conflist", list)
                }
            };
            write(machine, &format!("{folder}/{file}"), &network.to_string())?;
            write(
                machine,
                &format!("{folder}/00-multus.conf"),
                &multus_config(&format!("{folder}/{file}")).to_string(),
            )?;
        }
    }
    Ok(())
}

/// kube-ipam's defaults on each node, unless a cluster sets others.
pub(super) fn defaults() -> Value {
    // The history of the cluster is read from this log.
    json!({ "etcdConfig": { "etcdURL": IPAM_ETCD }, "log": { "format": "json" } })
}

/// kube-ipam's role in `examples/install`.
pub(super) fn role() -> Result<&'static str> {
    let is_role = |document: &&str| document.contains("\nkind: ClusterRole\n");
    RIGHTS.split("---\n").find(is_role).ok_or_else(|| "examples/install has no ClusterRole".into())
}

/// The sweep's role in docs/operations.md.
pub(super) fn sweepers_role() -> Result<&'static str> {
    let blocks = OPERATIONS.split("\n```yaml\n").skip(1).filter_map(|rest| rest.split("```").next());
    let mut roles = blocks.filter(|block| block.contains("\n  name: kube-ipam-sweep\n"));
    roles.next().ok_or_else(|| "docs/operations.md has no role for a sweep".into())
}

/// Binds each role to its user: kube-ipam's on the nodes, and the sweep's.
pub(super) fn bindings() -> [Value; 2] {
    [(KUBE_IPAM, "kube-ipam"), (SWEEPER, "kube-ipam-sweep")].map(|(user, role)| binding("ClusterRole", role, user))
}

/// Binds the sweep's role to its user, and the role of the store in the cluster's API.
pub(super) fn sweepers_bindings() -> [Value; 2] {
    [("ClusterRole", "kube-ipam-sweep"), ("Role", "kube-ipam-store")].map(|(kind, role)| binding(kind, role, SWEEPER))
}

fn binding(kind: &str, role: &str, user: &str) -> Value {
    let group = "rbac.authorization.k8s.io";
    json!({
        "apiVersion": format!("{group}/v1"), "kind": format!("{kind}Binding"),
        "metadata": { "name": format!("{user}-test") },
        "roleRef": { "apiGroup": group, "kind": kind, "name": role },
        "subjects": [{ "apiGroup": group, "kind": "User", "name": user }],
    })
}

/// A node's subnet of the cluster network. Routes connect the nodes' subnets.
pub(super) fn pod_subnet(number: usize) -> String {
    format!("10.244.{number}.0/24")
}

/// The cluster network: a bridge on each node, as in the simplest network plugins.
fn cluster(ipam: &Value) -> Value {
    json!({ "cniVersion": "1.0.0", "name": "cluster", "type": "bridge", "bridge": "cni0", "isGateway": true, "ipam": ipam })
}

fn ipam_by_kube_ipam(nodes: &[String]) -> Value {
    // A node may use its full host name for some time.
    let of_node =
        |(i, name): (usize, &String)| json!({ "subnet": pod_subnet(i + 1), "nodes": [name, format!("{name}.*")] });
    let ranges: Vec<Value> = nodes.iter().enumerate().map(of_node).collect();
    json!({ "type": "kube-ipam", "ranges": [ranges], "routes": [{ "dst": "0.0.0.0/0" }] })
}

fn ipam_by_host_local(number: usize) -> Value {
    json!({ "type": "host-local", "ranges": [[{ "subnet": pod_subnet(number) }]], "routes": [{ "dst": "0.0.0.0/0" }] })
}

/// The web layer: a segment that connects all nodes.
pub fn web() -> Value {
    layer("web", "web0", "10.10")
}

/// The database layer.
pub fn db() -> Value {
    layer("db", "db0", "10.188")
}

/// A layer with this first half of its addresses. Fixed addresses come from a range that ends before the random ones.
fn layer(name: &str, master: &str, half: &str) -> Value {
    let address = |rest: &str| format!("{half}.{rest}");
    let ipam = json!({
        "subnet": address("0.0/16"), "fixedStart": address("0.10"), "fixedEnd": address("0.255"),
        "rangeStart": address("1.0"), "rangeEnd": address("255.254") });
    macvlan(name, master, &ipam)
}

/// The network, with the pods' annotations passed by the runtime.
fn by_runtime(mut network: Value) -> Value {
    network["capabilities"] = json!({ "io.kubernetes.cri.pod-annotations": true });
    network
}

/// A macvlan network with addresses from kube-ipam.
pub fn macvlan(name: &str, master: &str, ipam: &Value) -> Value {
    let mut network = json!({
        "cniVersion": "1.0.0", "name": name, "type": "macvlan", "master": master, "mode": "bridge", "ipam": ipam });
    network["ipam"]["type"] = json!("kube-ipam");
    network
}

fn multus_config(cluster_network: &str) -> Value {
    json!({
        "cniVersion": "1.0.0", "name": "multus", "type": "multus",
        "kubeconfig": "/etc/cni/net.d/multus.d/multus.kubeconfig",
        "clusterNetwork": cluster_network, "confDir": "/etc/cni/net.d", "binDir": "/opt/cni/bin",
        "cniDir": "/var/lib/cni/multus", "logFile": "/var/log/multus.log", "logLevel": "verbose",
    })
}

/// A network of Multus.
pub fn attachment(name: &str, config: &Value) -> Value {
    json!({
        "apiVersion": "k8s.cni.cncf.io/v1", "kind": "NetworkAttachmentDefinition",
        "metadata": { "name": name }, "spec": { "config": config.to_string() },
    })
}
