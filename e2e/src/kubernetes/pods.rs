//! Pods: their manifests, and the addresses that the kernel shows once they run.

use std::collections::BTreeMap;
use std::fs;
use std::net::IpAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use super::image::BUSYBOX;
use super::machine::output;
use super::node::Node;
use super::{Cluster, Flavour};
use crate::Result;

/// containerd's folder of running containers.
const TASKS: &str = "/run/containerd/io.containerd.runtime.v2.task/k8s.io";

/// A waiting pod on any node.
pub fn pod(name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": { "name": name, "labels": { "app": "test" }, "annotations": {} },
        "spec": pod_spec(),
    })
}

/// The spec of a waiting pod, for controllers that create pods.
pub fn pod_spec() -> Value {
    json!({
        "automountServiceAccountToken": false, "enableServiceLinks": false, "terminationGracePeriodSeconds": 1,
        "containers": [{ "name": "main", "image": BUSYBOX, "imagePullPolicy": "Never" }],
    })
}

/// The pod, on this node.
#[must_use]
pub fn on(mut pod: Value, node: &str) -> Value {
    pod["spec"]["nodeSelector"] = json!({ "kubernetes.io/hostname": node });
    pod
}

/// The pod, with these networks of Multus besides the cluster's.
#[must_use]
pub fn with_networks(mut pod: Value, networks: &str) -> Value {
    pod["metadata"]["annotations"]["k8s.v1.cni.cncf.io/networks"] = json!(networks);
    pod
}

/// A running pod, with the addresses that the kernel shows on its interfaces.
#[derive(Clone, Debug)]
pub struct RunningPod {
    /// Its name.
    pub name: String,
    /// Its node.
    pub node: String,
    /// The first process of its sandbox, as its id on the node.
    process: u32,
    /// Its addresses by interface, without lo and link-local ones.
    pub addresses: BTreeMap<String, Vec<IpAddr>>,
}

impl RunningPod {
    /// Whether both are the same sandbox, not two of one pod.
    pub fn is_sandbox_of(&self, other: &Self) -> bool {
        (&self.node, self.process) == (&other.node, other.process)
    }

    /// Its only address on an interface.
    pub fn address(&self, interface: &str) -> Result<IpAddr> {
        match self.addresses.get(interface).map(Vec::as_slice) {
            Some([address]) => Ok(*address),
            other => Err(format!("{} has {other:?} on {interface}", self.name).into()),
        }
    }
}

impl Cluster {
    /// The pods of a namespace with running sandboxes, by name.
    pub fn running(&self, namespace: &str) -> Result<Vec<RunningPod>> {
        let mut found = Vec::new();
        for node in self.nodes() {
            for sandbox in sandboxes(node)?.into_iter().filter(|sandbox| sandbox.namespace == namespace) {
                let addresses = match addresses(node, sandbox.process) {
                    Ok(addresses) => addresses,
                    // It has ended, but its parent may not have waited for it yet.
                    Err(_) if !node.machine().path(format!("/proc/{}/ns/net", sandbox.process)).exists() => continue,
                    Err(error) => return Err(error),
                };
                found.push(RunningPod {
                    addresses,
                    name: sandbox.pod,
                    node: node.name.clone(),
                    process: sandbox.process,
                });
            }
        }
        found.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(found)
    }

    /// Pings an address from a pod.
    pub fn ping(&self, from: &RunningPod, to: IpAddr) -> Result<()> {
        let answer = self.answer(from, to, Duration::from_secs(5))?;
        answer.map(drop).ok_or_else(|| format!("{} does not reach {to}", from.name).into())
    }

    /// The TTL of an address's ping reply when it reaches a pod; `None` if no reply comes in time. It is 64 minus the
    /// number of routers.
    pub fn answer(&self, from: &RunningPod, to: IpAddr, within: Duration) -> Result<Option<u8>> {
        let ping = format!("ping -n -c 1 -w {} {to}", within.as_secs());
        let mut command = in_network(self.node(&from.node)?, from.process, &ping);
        let output = command.output()?;
        let said = String::from_utf8_lossy(&output.stdout);
        match output.status.code() {
            Some(0) => {
                let ttl = said.split("ttl=").nth(1).and_then(|rest| rest.split_whitespace().next());
                Ok(Some(ttl.ok_or("a ping names no ttl")?.parse()?))
            }
            // No reply came.
            Some(1) => Ok(None),
            _ => Err(format!("{ping}: {}", String::from_utf8_lossy(&output.stderr).trim()).into()),
        }
    }

    /// Runs a program of the node, with arguments split at white space, in the network of a pod.
    pub fn in_pod(&self, pod: &RunningPod, line: &str) -> Result<String> {
        output(&mut in_network(self.node(&pod.node)?, pod.process, line))
    }

    /// Kills the sandbox of a pod. The kubelet removes and recreates it.
    pub fn kill_sandbox(&self, pod: &RunningPod) -> Result<()> {
        self.node(&pod.node)?.machine().run(&format!("kill -KILL {}", pod.process)).map(drop)
    }

    /// The interfaces of pods in this flavour.
    pub fn interfaces(&self) -> [&'static str; 3] {
        match self.flavour() {
            Flavour::ConfDir => ["eth0", "eth1", "eth2"],
            Flavour::Multus => ["eth0", "net1", "net2"],
        }
    }
}

struct Sandbox {
    namespace: String,
    pod: String,
    process: u32,
}

/// The running sandboxes of a node, from containerd's folder, which needs no process per query.
fn sandboxes(node: &Node) -> Result<Vec<Sandbox>> {
    let folder = node.machine().path(TASKS);
    let read = |task: &Path| -> Option<Sandbox> {
        // A task that is starting or ending may have no files.
        let spec: Value = serde_json::from_slice(&fs::read(task.join("config.json")).ok()?).ok()?;
        let text = |key: &str| spec["annotations"][key].as_str().map(str::to_owned);
        (text("io.kubernetes.cri.container-type")? == "sandbox").then_some(())?;
        let process = fs::read_to_string(task.join("init.pid")).ok()?.trim().parse().ok()?;
        let [namespace, pod] = ["namespace", "name"].map(|key| text(&format!("io.kubernetes.cri.sandbox-{key}")));
        Some(Sandbox { namespace: namespace?, pod: pod?, process })
    };
    let Ok(tasks) = fs::read_dir(folder) else { return Ok(Vec::new()) };
    Ok(tasks.flatten().filter_map(|task| read(&task.path())).collect())
}

fn addresses(node: &Node, process: u32) -> Result<BTreeMap<String, Vec<IpAddr>>> {
    let mut found: BTreeMap<String, Vec<IpAddr>> = BTreeMap::new();
    let links: Value =
        serde_json::from_str(&output(&mut in_network(node, process, "ip -json address show scope global"))?)?;
    // A link without a matching address is an empty object in the list.
    for link in links.as_array().into_iter().flatten() {
        let Some(name) = link["ifname"].as_str() else { continue };
        let local = link["addr_info"].as_array().into_iter().flatten().filter_map(|info| info["local"].as_str());
        for address in local {
            found.entry(name.to_owned()).or_default().push(address.parse()?);
        }
    }
    Ok(found)
}

fn in_network(node: &Node, process: u32, line: &str) -> Command {
    let mut command = node.machine().command("nsenter");
    command.arg(format!("--net=/proc/{process}/ns/net")).args(line.split_whitespace());
    command
}
