//! KubeVirt's virtual machines: they keep their addresses and share them while they migrate. The objects are made by hand, as
//! KubeVirt would make them; what serves them is the real API server.

use std::net::IpAddr;

use kube_ipam_e2e::Result;
use kube_ipam_e2e::kubernetes::{Cluster, RunningPod, attachment, macvlan, on, pod, with_networks};
use serde_json::{Map, Value, json};

use crate::claims::{claim, define, held_by, release, says};
use crate::shared::{Namespace, nothing_held};

/// A virtual machine in a namespace, with its instance.
struct Machine<'cluster> {
    cluster: &'cluster Cluster,
    namespace: &'cluster Namespace,
    /// The networks of its pods.
    networks: Value,
    /// A reference to the VirtualMachine, and one to its instance.
    machine: Value,
    instance: Value,
}

impl<'cluster> Machine<'cluster> {
    /// Makes the machine vm1, and starts it.
    fn start(cluster: &'cluster Cluster, namespace: &'cluster Namespace, networks: Value) -> Result<Self> {
        let (machine, instance) = (Value::Null, Value::Null);
        let mut started = Self { cluster, namespace, networks, machine, instance };
        started.machine = started.make("VirtualMachine", "vm1", &json!({}), None)?;
        started.instance = started.make("VirtualMachineInstance", "vm1", &json!({}), Some(&started.machine))?;
        Ok(started)
    }

    /// Makes an object of KubeVirt, and a reference to it.
    fn make(&self, kind: &str, name: &str, spec: &Value, maker: Option<&Value>) -> Result<Value> {
        let mut object =
            json!({ "apiVersion": "kubevirt.io/v1", "kind": kind, "metadata": { "name": name }, "spec": spec });
        if let Some(maker) = maker {
            object["metadata"]["ownerReferences"] = json!([maker]);
        }
        self.cluster.apply(self.namespace, &[object])?;
        let uid = self.uid(kind, name)?;
        Ok(json!({ "apiVersion": "kubevirt.io/v1", "kind": kind, "name": name, "uid": uid, "controller": true }))
    }

    fn uid(&self, kind: &str, name: &str) -> Result<String> {
        let object = self.cluster.get(&format!("--namespace {} {kind} {name}", self.namespace))?;
        Ok(object["metadata"]["uid"].as_str().ok_or("an object without a UID")?.to_owned())
    }

    /// A pod of the machine on a node, the target of this migration.
    fn launcher(&self, name: &str, node: &str, migration: Option<&str>) -> Result<Value> {
        let mut pod = on(with_networks(pod(&launcher(name)), &self.networks.to_string()), node);
        pod["metadata"]["ownerReferences"] = json!([self.instance]);
        if let Some(migration) = migration {
            pod["metadata"]["annotations"]["kubevirt.io/migrationJobName"] = json!(migration);
            let uid = self.uid("VirtualMachineInstanceMigration", migration)?;
            pod["metadata"]["labels"]["kubevirt.io/migrationJobUID"] = json!(uid);
        }
        Ok(pod)
    }

    /// KubeVirt lists these pods of the machine, and no others any more.
    fn lists(&self, pods: &[&str]) -> Result<()> {
        let uids = pods.iter().map(|name| Ok((self.uid("pod", &launcher(name))?, json!("node"))));
        let active: Map<String, Value> = uids.collect::<Result<_>>()?;
        let instance = "virtualmachineinstance vm1";
        self.patch(instance, &json!({ "status": { "activePods": null } }))?;
        self.patch(instance, &json!({ "status": { "activePods": active } }))
    }

    /// A migration of the machine begins, or is in this phase now.
    fn migrates(&self, migration: &str, phase: &str) -> Result<()> {
        self.make("VirtualMachineInstanceMigration", migration, &json!({ "vmiName": "vm1" }), None)?;
        let status = json!({ "status": { "phase": phase } });
        self.patch(&format!("virtualmachineinstancemigration {migration}"), &status)
    }

    fn patch(&self, object: &str, patch: &Value) -> Result<()> {
        let line = format!("--namespace {} patch {object} --type=merge --patch={patch}", self.namespace);
        self.cluster.kubectl(&line).map(drop)
    }

    /// A pod of the machine comes to run beside these others, which KubeVirt lists.
    fn run(&self, name: &str, node: &str, migration: Option<&str>, beside: &[&str]) -> Result<RunningPod> {
        self.cluster.apply(self.namespace, &[self.launcher(name, node, migration)?])?;
        let listed: Vec<&str> = beside.iter().copied().chain([name]).collect();
        self.lists(&listed)?;
        self.cluster.wait_ready(self.namespace, &launcher(name))?;
        let mut running = self.cluster.running(self.namespace)?.into_iter();
        running.find(|running| running.name == launcher(name)).ok_or_else(|| format!("{name} does not run").into())
    }

    fn ends(&self, name: &str) -> Result<()> {
        self.cluster.delete_pods(self.namespace, &launcher(name))
    }
}

fn launcher(name: &str) -> String {
    format!("virt-launcher-vm1-{name}")
}

/// net1 on a network that keeps addresses, net2 on one where a claim does.
pub(crate) fn of_machines(cluster: &Cluster, namespace: &Namespace) -> Result<()> {
    define(cluster)?;
    let network = macvlan("machines", "db0", &json!({ "subnet": "10.54.0.0/16", "sticky": true }));
    cluster.apply(namespace, &[attachment("machines", &network), claim("vm1.web", "web")])?;
    let networks = json!([{ "name": "machines" }, { "name": "web", "ipam-claim-reference": "vm1.web" }]);
    let mut machine = Machine::start(cluster, namespace, networks)?;
    let both = |pod: &RunningPod| -> Result<[IpAddr; 2]> { Ok([pod.address("net1")?, pod.address("net2")?]) };
    let [kept, claimed] = both(&machine.run("a", "n1", None, &[])?)?;
    let held_by = |count: usize| {
        held_by(cluster, kept, count, "VirtualMachine")?;
        held_by(cluster, claimed, count, "IPAMClaim")
    };
    held_by(1)?;
    says(cluster, namespace, "vm1.web", claimed, &launcher("a"))?;
    machine.ends("a")?;
    held_by(0)?;
    assert_eq!(both(&machine.run("b", "n2", None, &[])?)?, [kept, claimed]);

    // It migrates: two pods at once. The target fails, and the source keeps what it has.
    machine.migrates("m1", "Scheduling")?;
    assert_eq!(both(&machine.run("c", "n1", Some("m1"), &["b"])?)?, [kept, claimed]);
    held_by(2)?;
    says(cluster, namespace, "vm1.web", claimed, &launcher("c"))?;
    machine.ends("c")?;
    held_by(1)?;
    let source: Vec<RunningPod> = cluster.running(namespace)?;
    let [source] = source.as_slice() else { return Err(format!("{source:?}").into()) };
    assert_eq!((source.name.as_str(), both(source)?), (launcher("b").as_str(), [kept, claimed]));

    // It is stopped, and started again as another instance.
    machine.ends("b")?;
    cluster.kubectl(&format!("--namespace {namespace} delete virtualmachineinstance vm1"))?;
    held_by(0)?;
    machine.instance = machine.make("VirtualMachineInstance", "vm1", &json!({}), Some(&machine.machine))?;
    assert_eq!(both(&machine.run("d", "n1", None, &[])?)?, [kept, claimed]);
    machine.ends("d")?;
    held_by(0)?;
    [kept, claimed].into_iter().try_for_each(|address| release(cluster, address))
}

/// A network of which each node has a rack's range, and where both nodes have the first one's as well.
fn racks(is_wide: bool) -> Value {
    let first = if is_wide { json!(["n1", "n2"]) } else { json!(["n1"]) };
    let ranges = json!([[{ "subnet": "10.55.1.0/24", "nodes": first }, { "subnet": "10.55.2.0/24", "nodes": ["n2"] }]]);
    attachment("racks", &macvlan("racks", "db0", &json!({ "ranges": ranges, "sticky": true })))
}

pub(crate) fn between_racks(cluster: &Cluster, namespace: &Namespace) -> Result<()> {
    define(cluster)?;
    cluster.apply(namespace, &[racks(false)])?;
    let machine = Machine::start(cluster, namespace, json!([{ "name": "racks" }]))?;
    let address = machine.run("a", "n1", None, &[])?.address("net1")?;

    // The other rack does not have the address: its target is refused, and the source runs on.
    machine.migrates("m1", "Scheduling")?;
    cluster.apply(namespace, &[machine.launcher("b", "n2", Some("m1"))?])?;
    machine.lists(&["a", "b"])?;
    let refused = format!("VirtualMachine {namespace}/vm1 has {address}, held by pod {namespace}/{}", launcher("a"));
    let event = cluster.wait_event(namespace, &launcher("b"), &refused)?;
    assert!(event.contains("node n2 would assign another one") && event.contains("stop the machine"), "{event}");
    held_by(cluster, address, 1, "VirtualMachine")?;

    // With a wider range the same pod starts, and both have the address.
    cluster.apply(namespace, &[racks(true)])?;
    cluster.wait_ready(namespace, &launcher("b"))?;
    held_by(cluster, address, 2, "VirtualMachine")?;

    // The migration ends, and KubeVirt keeps listing the source. One back to the first rack is served all the same.
    let listed = cluster.get(&format!("--namespace {namespace} virtualmachineinstance vm1"))?["status"].clone();
    machine.migrates("m1", "Succeeded")?;
    machine.ends("a")?;
    held_by(cluster, address, 1, "VirtualMachine")?;
    machine.migrates("m2", "Scheduling")?;
    cluster.apply(namespace, &[machine.launcher("c", "n1", Some("m2"))?])?;
    cluster.wait_event(namespace, &launcher("c"), "in status.activePods yet")?;
    let mut active = listed["activePods"].clone();
    active[machine.uid("pod", &launcher("c"))?] = json!("n1");
    machine.patch("virtualmachineinstance vm1", &json!({ "status": { "activePods": active } }))?;
    cluster.wait_ready(namespace, &launcher("c"))?;
    held_by(cluster, address, 2, "VirtualMachine")?;
    machine.migrates("m2", "Succeeded")?;
    machine.ends("b")?;
    held_by(cluster, address, 1, "VirtualMachine")?;

    // Whoever only says to be of the machine shares nothing.
    let mut forged = machine.launcher("forged", "n2", None)?;
    forged["metadata"]["ownerReferences"][0]["apiVersion"] = json!("evil.example/v1");
    forged["metadata"]["annotations"]["kube-ipam.net1.ip"] = json!(address.to_string());
    let late = machine.launcher("late", "n2", Some("m2"))?;
    cluster.apply(namespace, &[forged, late])?;
    let holder = format!("{address} is held by pod {namespace}/{}", launcher("c"));
    cluster.wait_event(namespace, &launcher("forged"), &holder)?;
    let event = cluster.wait_event(namespace, &launcher("late"), &holder)?;
    assert!(event.contains("VirtualMachineInstanceMigration m2, which this pod names, has finished"), "{event}");
    held_by(cluster, address, 1, "VirtualMachine")?;

    ["forged", "late", "c"].into_iter().try_for_each(|name| machine.ends(name))?;
    held_by(cluster, address, 0, "VirtualMachine")?;
    release(cluster, address)?;
    nothing_held(cluster, namespace)
}
