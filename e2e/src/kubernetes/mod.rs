//! A real Kubernetes on this machine: a control plane and two nodes. Nothing of it is left afterwards.
//!
//! ```text
//!  guard.sh   waits for the end, and removes what is left then: an empty folder, empty control groups
//!   └─ testbed.sh   process 1 of process, network and mount namespaces: its end is the end of everything below
//!       ├─ etcd, kube-apiserver, kube-controller-manager, kube-scheduler; kube-ipam's etcd      (control_plane)
//!       ├─ bridges mgmt (192.168.250.0/24), web, db: the layer-2 segments that connect the nodes
//!       ├─ node.sh n1   process 1 of a machine: its own /etc /opt /var/lib /var/log /run        (node, network)
//!       │   └─ containerd, kubelet, shims, pods; mgmt0, web0, db0
//!       └─ node.sh n2   like n1
//! ```
//!
//! Each cluster has its own network, so its addresses are constants, and several clusters can run at the same time. A
//! node's paths are those of a real one, so manifests with host paths work unchanged. A cluster ends when its
//! [`Cluster`] is dropped or the process that started it ends, even if that is killed.

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
mod objects;
mod persistent;
mod pods;
mod restore;
mod store;
mod store_tunnel;
pub(crate) mod tools;
mod workstation;

use std::fs;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::{self, ScopedJoinHandle};
use std::time::{Duration, Instant};

use serde_json::Value;

use self::control_plane::{ControlPlane, IPAM_ETCD};
use self::machine::plain;
use crate::history::log::{Event, Unlogged};
use crate::{Result, binary};

pub use self::api_proxy::{ApiProxy, Fault};
pub(crate) use self::control_plane::tail;
pub use self::history::{Holds, no_address_had_two_owners};
pub use self::image::{BUSYBOX, Image};
pub use self::machine::{Daemon, Machine};
pub use self::network::{DEFAULTS, KUBECONFIG, SWEEPER_KUBECONFIG, attachment, db, macvlan, web};
pub use self::node::Node;
pub use self::objects::Objects;
pub use self::persistent::{start_persistent, take_down};
pub use self::pods::{RunningPod, on, pod, pod_spec, with_networks};
pub use self::restore::Backup;
pub use self::store::{Holder, Lease, PodName, Store};
pub use self::store_tunnel::StoreTunnel;
pub use self::tools::Tools;
pub use self::workstation::Workstation;

/// Waits for the end of a cluster, and cleans up.
const GUARD: &str = include_str!("guard.sh");

/// The first process of a cluster.
const TESTBED: &str = include_str!("testbed.sh");

/// How pods get several interfaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flavour {
    /// containerd attaches each network configuration in the node's folder to every pod, as eth0, eth1 and eth2.
    ConfDir,
    /// Multus attaches the networks in a pod's annotation as net1, net2, …, and the cluster network as eth0.
    Multus,
}

/// Which plugin assigns the addresses of the cluster network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClusterNetwork {
    /// host-local.
    HostLocal,
    /// kube-ipam in a single configuration.
    KubeIpam,
    /// kube-ipam in a configuration list. On DEL, Multus 4.3 passes only the type from its block.
    KubeIpamList,
    /// kube-ipam with macvlan on the database layer. Without Multus, it is the only network.
    Database,
    /// The same, and the runtime passes the pods' annotations.
    DatabaseByRuntime,
    /// Calico with its own IPAM plugin, in a single configuration. Only with Multus.
    Calico,
    /// Calico with kube-ipam, as in `examples/calico-primary/eth0`. Only with Multus.
    CalicoWithKubeIpam,
}

/// The options of a cluster.
#[derive(Clone, Debug)]
pub struct Options {
    /// How pods get several interfaces.
    pub flavour: Flavour,
    /// With Multus, which plugin assigns the addresses of eth0.
    pub cluster_network: ClusterNetwork,
    /// The nodes' names.
    pub nodes: Vec<String>,
    /// kube-ipam's defaults on each node.
    pub defaults: Value,
    /// How long a node may be silent before it counts as lost, as a Go duration.
    pub node_grace: String,
    /// Whether kube-ipam is on the nodes from the start. Otherwise, [`Cluster::install`] installs it.
    pub installed: bool,
    /// Which store [`Cluster::install`] gives it.
    pub store: Store,
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
            store: Store::Etcd,
        }
    }
}

/// A running cluster. It ends when this is dropped.
pub struct Cluster {
    options: Options,
    tools: Tools,
    folder: PathBuf,
    control_plane: ControlPlane,
    nodes: Vec<Node>,
    testbed: Testbed,
    /// What the nodes' logs lack.
    unlogged: Mutex<Vec<Unlogged>>,
    /// Distinguishes its holders from those of another cluster on the same store.
    identity: Option<String>,
}

/// The machine that contains all others of a cluster.
struct Testbed {
    machine: Machine,
    persistent: bool,
}

impl Drop for Testbed {
    fn drop(&mut self) {
        if !self.persistent {
            self.machine.end();
        }
    }
}

/// The location and lifetime of a cluster.
struct Place {
    /// Its name. At any time, this machine has only one cluster of this name.
    name: String,
    folder: PathBuf,
    /// A line from here, or closing it, ends the cluster.
    lifeline: Stdio,
    persistent: bool,
}

impl Cluster {
    /// Starts a cluster, and waits until its nodes are ready.
    ///
    /// # Errors
    /// If a part doesn't start. The error has the end of its log.
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
        // This may build it.
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
        // The API server takes longest. The nodes start at the same time.
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

    /// Adds routes to the pods of the other nodes to these nodes, so that pods reach each other on eth0.
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

    /// The programs that it runs.
    pub fn tools(&self) -> &Tools {
        &self.tools
    }

    /// Its options.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// How its pods get several interfaces.
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

    /// The node of this name, mutable.
    pub fn node_mut(&mut self, name: &str) -> Result<&mut Node> {
        node_of(&mut self.nodes, name)
    }

    /// Sets kube-ipam's defaults on each node.
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

    /// Boots a node again after a power cut. Does not wait until it is ready.
    pub fn reboot(&mut self, name: &str) -> Result<()> {
        let Self { nodes, testbed, folder, .. } = self;
        node_of(nodes, name)?.reboot(&testbed.machine, &folder.join(name))?;
        self.connect_nodes(|node| node.name == name)
    }

    /// Kills the API server.
    pub fn stop_api(&mut self) -> Result<()> {
        self.control_plane.stop_api(&self.testbed.machine)
    }

    /// Starts a killed API server again, and waits until it is ready.
    pub fn start_api(&mut self) -> Result<()> {
        self.control_plane.start_api(&self.testbed.machine)
    }

    /// Kills the etcd with kube-ipam's store: kube-ipam's own, or the cluster's.
    pub fn stop_store(&mut self) -> Result<()> {
        self.control_plane.stop_etcd(&self.testbed.machine, self.options.store)
    }

    /// Starts the killed etcd again.
    pub fn start_store(&mut self) -> Result<()> {
        self.start_store_with(&[])
    }

    /// Starts it with a size limit of its database in bytes, until it is killed again.
    pub fn start_store_of(&mut self, bytes: u64) -> Result<()> {
        self.start_store_with(&[("quota-backend-bytes", &bytes.to_string())])
    }

    fn start_store_with(&mut self, flags: &[(&str, &str)]) -> Result<()> {
        self.control_plane.start_etcd(&self.testbed.machine, self.options.store, flags)
    }
}

fn node_of<'nodes>(nodes: &'nodes mut [Node], name: &str) -> Result<&'nodes mut Node> {
    nodes.iter_mut().find(|node| node.name == name).ok_or_else(|| format!("no node {name}").into())
}

/// A thread's result.
fn outcome<T>(thread: ScopedJoinHandle<'_, Result<T>>) -> Result<T> {
    thread.join().unwrap_or_else(|_| Err("a thread panicked".into()))
}

/// Polls at this interval until there is a result.
///
/// # Errors
/// If polling fails, or there is no result in time.
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
