//! A real Kubernetes on this machine: a control plane and two nodes, and nothing of it left afterwards.
//!
//! ```text
//!  guard.sh   waits for the end, and removes what the end leaves: an empty folder, empty control groups
//!   └─ testbed.sh   number 1 of a process, network and mount namespace: its end is the end of all below
//!       ├─ etcd, kube-apiserver, kube-controller-manager, kube-scheduler; kube-ipam's etcd      (control_plane)
//!       ├─ bridges mgmt (192.168.250.0/24), web, db: the layer-2 segments that the nodes are plugged into
//!       ├─ node.sh n1   number 1 of a machine: its own /etc /opt /var/lib /var/log /run         (node, network)
//!       │   └─ containerd, kubelet, shims, pods; mgmt0, web0, db0
//!       └─ node.sh n2   as n1
//! ```
//!
//! A cluster has a network of its own, so that its addresses are constants and any number of clusters can run at a time.
//! A node's paths are those of a real one, so that manifests with host paths run unchanged. A cluster ends with its
//! [`Cluster`], and with the process that made it, also if that is killed.

mod api_proxy;
mod calico;
mod clock;
mod control_plane;
mod examples;
mod history;
mod image;
mod kill;
mod kubectl;
mod machine;
mod network;
mod node;
mod persistent;
mod pods;
mod restore;
mod store;
mod store_tunnel;
mod tools;

use std::fs;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::{self, ScopedJoinHandle};
use std::time::{Duration, Instant};

use serde_json::Value;

use self::control_plane::ControlPlane;
use self::machine::plain;
use crate::history::log::{Event, Unlogged};
use crate::{Result, binary};

pub use self::api_proxy::{ApiProxy, Fault};
pub use self::control_plane::IPAM_ETCD;
pub use self::history::{Holds, no_address_had_two_owners};
pub use self::image::{BUSYBOX, Image};
pub use self::machine::{Daemon, Machine};
pub use self::network::{DEFAULTS, KUBECONFIG, SWEEPER_KUBECONFIG, attachment, db, macvlan, web};
pub use self::node::Node;
pub use self::persistent::{start_persistent, take_down};
pub use self::pods::{RunningPod, on, pod, pod_spec, with_networks};
pub use self::restore::Backup;
pub use self::store::{Holder, Lease, PodName};
pub use self::store_tunnel::StoreTunnel;
pub use self::tools::Tools;

/// Waits for the end of a cluster.
const GUARD: &str = include_str!("guard.sh");

/// The first process of a cluster.
const TESTBED: &str = include_str!("testbed.sh");

/// How pods come to several interfaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flavour {
    /// containerd attaches each network configuration of the node's folder to every pod, as eth0, eth1 and eth2.
    ConfDir,
    /// Multus attaches what a pod's annotation names, as net1, net2, …, beside the cluster network on eth0.
    Multus,
}

/// Who gives out the addresses of the cluster network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClusterNetwork {
    /// host-local.
    HostLocal,
    /// kube-ipam, in a configuration.
    KubeIpam,
    /// kube-ipam, in a list of configurations: Multus 4.3 hands DEL nothing of its block but the type.
    KubeIpamList,
    /// kube-ipam, by macvlan on the database layer; without Multus, no other network is there.
    Database,
    /// The same, with the pods' annotations handed over by the runtime.
    DatabaseByRuntime,
    /// Calico, with its own IPAM plugin, in a configuration; with Multus alone.
    Calico,
    /// Calico with kube-ipam, as `examples/calico-primary/eth0` has it; with Multus alone.
    CalicoWithKubeIpam,
}

/// What a cluster is like.
#[derive(Clone, Debug)]
pub struct Options {
    /// How pods come to several interfaces.
    pub flavour: Flavour,
    /// Who gives out the addresses of eth0, with Multus.
    pub cluster_network: ClusterNetwork,
    /// The nodes' names.
    pub nodes: Vec<String>,
    /// kube-ipam's defaults on each node.
    pub defaults: Value,
    /// How long a node may be silent until it counts as lost, as a duration of Go.
    pub node_grace: String,
    /// Whether kube-ipam is on the nodes from the start; otherwise [`Cluster::install`] brings it.
    pub installed: bool,
}

impl Options {
    /// Two nodes, n1 and n2.
    pub fn new(flavour: Flavour) -> Self {
        Self {
            flavour,
            cluster_network: ClusterNetwork::HostLocal,
            nodes: vec!["n1".to_owned(), "n2".to_owned()],
            defaults: network::defaults(),
            node_grace: "40s".to_owned(),
            installed: true,
        }
    }
}

/// A cluster that runs. It ends when this is dropped.
pub struct Cluster {
    options: Options,
    tools: Tools,
    folder: PathBuf,
    control_plane: ControlPlane,
    nodes: Vec<Node>,
    testbed: Testbed,
    /// What is not in the nodes' logs.
    unlogged: Mutex<Vec<Unlogged>>,
    /// What distinguishes its own holders from those of another cluster on its store.
    identity: Option<String>,
}

/// The machine that all others of a cluster are in.
struct Testbed {
    machine: Machine,
    /// Whether it outlives this process.
    persistent: bool,
}

impl Drop for Testbed {
    fn drop(&mut self) {
        if !self.persistent {
            self.machine.end();
        }
    }
}

/// Where a cluster is, and what it lives by.
struct Place {
    /// Its name, of which there is one at a time on this machine.
    name: String,
    folder: PathBuf,
    /// It ends with a line from here, or with the end of it.
    lifeline: Stdio,
    persistent: bool,
}

impl Cluster {
    /// Starts a cluster; its nodes are ready when this returns.
    ///
    /// # Errors
    /// If a part doesn't start, with the end of its log.
    pub fn start(tools: &Tools, options: Options) -> Result<Self> {
        static STARTED: AtomicU32 = AtomicU32::new(0);
        let number = STARTED.fetch_add(1, Ordering::Relaxed);
        let name = format!("kube-ipam-cluster-{}-{number}", std::process::id());
        let folder = std::env::temp_dir().join(&name);
        fs::create_dir(&folder)?;
        Self::start_at(Place { name, folder, lifeline: Stdio::piped(), persistent: false }, tools, options)
    }

    fn start_at(place: Place, tools: &Tools, options: Options) -> Result<Self> {
        let Place { name, folder, lifeline, persistent } = place;
        // It may have to be built.
        binary::kube_ipam();
        let mut guard = plain("bash");
        guard.args(["-c", GUARD, "guard", &name]).arg(&folder).arg(TESTBED).stdin(lifeline);
        let testbed = Testbed { machine: Machine::boot(guard)?, persistent };

        let archive = image::busybox(&testbed.machine.path(&folder), &tools.busybox())?;
        let archive = folder.join(archive.file_name().unwrap_or_default());
        let boot = |number: usize, node: &str| -> Result<Node> {
            let machine = node::boot(&testbed.machine, &folder.join(node), node, number)?;
            network::equip(&machine, number, &options, tools, |user| control_plane::kubeconfig(&folder, user))?;
            let node = Node::start(machine, node, number, options.flavour)?;
            node.import(&archive)?;
            Ok(node)
        };
        // The API server takes the longest; the nodes get ready for it meanwhile.
        let (control_plane, nodes) = thread::scope(|scope| {
            let boot = &boot;
            let nodes = options.nodes.iter().enumerate();
            let nodes: Vec<_> = nodes.map(|(i, node)| scope.spawn(move || boot(i + 1, node))).collect();
            let control_plane = ControlPlane::start(&testbed.machine, &folder, tools, &options);
            (control_plane, nodes.into_iter().map(outcome).collect::<Result<Vec<Node>>>())
        });
        let (control_plane, mut nodes) = (control_plane?, nodes?);
        for node in &mut nodes {
            let kubeconfig = control_plane::kubeconfig_file(&folder, &node.name);
            let cgroup = format!("/{name}/{}", node.name);
            node.join(tools, &kubeconfig, &cgroup)?;
        }
        let cluster = Self {
            options,
            tools: tools.clone(),
            folder,
            control_plane,
            nodes,
            testbed,
            unlogged: Mutex::default(),
            identity: None,
        };
        cluster.connect_nodes(|_| true)?;
        if cluster.options.flavour == Flavour::Multus {
            cluster.apply_text(network::DEFINITION)?;
        }
        if cluster.options.installed {
            cluster.apply_text(network::role()?)?;
            cluster.apply_text(network::sweepers_role()?)?;
            cluster.apply("default", &network::bindings())?;
        }
        if matches!(cluster.options.cluster_network, ClusterNetwork::Calico | ClusterNetwork::CalicoWithKubeIpam) {
            cluster.define_calico()?;
        }
        cluster.wait_for_nodes()?;
        Ok(cluster)
    }

    /// Gives these nodes routes to the others' pods, so that pods reach each other on eth0.
    fn connect_nodes(&self, these: impl Fn(&Node) -> bool) -> Result<()> {
        for node in self.nodes.iter().filter(|node| these(node)) {
            for other in self.nodes.iter().filter(|other| other.name != node.name) {
                let subnet = network::pod_subnet(other.number());
                node.machine().run(&format!("ip route add {subnet} via {}", other.address()))?;
            }
        }
        Ok(())
    }

    fn wait_for_nodes(&self) -> Result<()> {
        eventually("the nodes have registered", Duration::from_secs(60), kubectl::EVERY, || {
            let found = self.kubectl("get nodes --output=name")?;
            Ok((found.lines().count() == self.nodes.len()).then_some(()))
        })?;
        let ready = self.kubectl("wait --for=condition=Ready --timeout=60s nodes --all");
        ready.map(drop).map_err(|error| {
            let logs =
                self.nodes.iter().map(|node| format!("{}: {}", node.name, control_plane::tail(&node.kubelet_log())));
            format!("{error}\n{}", logs.collect::<Vec<_>>().join("\n")).into()
        })
    }

    /// The programs it was made of.
    pub fn tools(&self) -> &Tools {
        &self.tools
    }

    /// What it is like.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// How pods come to several interfaces here.
    pub fn flavour(&self) -> Flavour {
        self.options.flavour
    }

    /// The nodes.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The node of this name.
    pub fn node(&self, name: &str) -> Result<&Node> {
        self.nodes.iter().find(|node| node.name == name).ok_or_else(|| format!("no node {name}").into())
    }

    /// The node of this name, to do something to it.
    pub fn node_mut(&mut self, name: &str) -> Result<&mut Node> {
        node_of(&mut self.nodes, name)
    }

    /// Gives kube-ipam these defaults on each node.
    pub fn set_defaults(&mut self, defaults: Value) -> Result<()> {
        self.options.defaults = defaults;
        self.nodes.iter().try_for_each(|node| node.write(DEFAULTS, &self.options.defaults.to_string()))
    }

    /// Cuts the power of a node.
    pub fn cut(&mut self, name: &str) -> Result<()> {
        let Self { nodes, testbed, .. } = self;
        node_of(nodes, name)?.cut(&testbed.machine)?;
        self.note(name, Event::PowerCut);
        Ok(())
    }

    /// Boots a node again after its power was cut; when it will be ready is another matter.
    pub fn reboot(&mut self, name: &str) -> Result<()> {
        let Self { nodes, testbed, folder, .. } = self;
        node_of(nodes, name)?.reboot(&testbed.machine, &folder.join(name))?;
        self.connect_nodes(|node| node.name == name)
    }

    /// Kills the API server.
    pub fn stop_api(&mut self) -> Result<()> {
        self.control_plane.stop_api(&self.testbed.machine)
    }

    /// Starts a killed API server again, and waits until it answers.
    pub fn start_api(&mut self) -> Result<()> {
        self.control_plane.start_api(&self.testbed.machine)
    }

    /// Kills kube-ipam's etcd.
    pub fn stop_store(&mut self) -> Result<()> {
        self.control_plane.stop_ipam_etcd(&self.testbed.machine)
    }

    /// Starts kube-ipam's killed etcd again.
    pub fn start_store(&mut self) -> Result<()> {
        self.control_plane.start_ipam_etcd(&self.testbed.machine, &[])
    }

    /// Starts it with a database that may grow to so many bytes, until it is killed again.
    pub fn start_store_of(&mut self, bytes: u32) -> Result<()> {
        self.control_plane.start_ipam_etcd(&self.testbed.machine, &[("quota-backend-bytes", &bytes.to_string())])
    }
}

fn node_of<'nodes>(nodes: &'nodes mut [Node], name: &str) -> Result<&'nodes mut Node> {
    nodes.iter_mut().find(|node| node.name == name).ok_or_else(|| format!("no node {name}").into())
}

/// What a thread came to.
fn outcome<T>(thread: ScopedJoinHandle<'_, Result<T>>) -> Result<T> {
    thread.join().unwrap_or_else(|_| Err("a thread panicked".into()))
}

/// Asks every so often, until there is an answer.
///
/// # Errors
/// If asking fails, or there is none in time.
pub fn eventually<T>(
    what: &str,
    within: Duration,
    every: Duration,
    mut ask: impl FnMut() -> Result<Option<T>>,
) -> Result<T> {
    let deadline = Instant::now() + within;
    loop {
        if let Some(answer) = ask()? {
            return Ok(answer);
        }
        if Instant::now() > deadline {
            return Err(format!("waited in vain for {within:?} until {what}").into());
        }
        thread::sleep(every);
    }
}
