//! A node: a machine with containerd, a kubelet, plugins, and an interface in each layer-2 segment.

use std::fs;
use std::path::Path;
use std::time::Duration;

use serde_json::json;

use super::clock::Clocks;
use super::control_plane::tail;
use super::image::BUSYBOX;
use super::machine::{Daemon, Machine, output};
use super::tools::Tools;
use super::{Flavour, eventually};
use crate::Result;

/// The first process of a node.
const NODE: &str = include_str!("node.sh");

/// The layer-2 segments, and the node's interface in each.
const SEGMENTS: [(&str, &str); 3] = [("mgmt", "mgmt0"), ("web", "web0"), ("db", "db0")];

/// How long containerd may take to become ready.
const READY: Duration = Duration::from_secs(60);

/// containerd's socket in a node.
const SOCKET: &str = "/run/containerd/containerd.sock";

/// A node of a cluster.
pub struct Node {
    /// Its name, which is also its hostname.
    pub name: String,
    number: usize,
    machine: Machine,
    containerd: Daemon,
    kubelet: Option<Daemon>,
    pub(super) clocks: Clocks,
}

impl Node {
    /// Starts containerd. The kubelet starts later, because it needs an API server.
    pub(super) fn start(machine: Machine, name: &str, number: usize, flavour: Flavour) -> Result<Self> {
        write(&machine, "/etc/containerd/config.toml", &containerd_config(flavour))?;
        let containerd = start_containerd(&machine)?;
        let clocks = Clocks::default();
        let mut node = Self { name: name.to_owned(), number, machine, containerd, kubelet: None, clocks };
        node.wait_for_containerd()?;
        Ok(node)
    }

    /// The machine.
    pub fn machine(&self) -> &Machine {
        &self.machine
    }

    /// Its address in the management network.
    pub fn address(&self) -> String {
        address(self.number)
    }

    /// Its number, starting at 1.
    pub fn number(&self) -> usize {
        self.number
    }

    /// Writes a file of the node.
    pub fn write(&self, path: &str, text: &str) -> Result<()> {
        write(&self.machine, path, text)
    }

    /// Installs a plugin on the node in one step, as an upgrade does.
    pub fn install(&self, name: &str, program: &Path) -> Result<()> {
        install(&self.machine, name, program)
    }

    /// Cuts the power. All processes on the node end at once, including its pods. Its disk stays.
    pub(super) fn cut(&mut self, testbed: &Machine) -> Result<()> {
        self.machine.cut()?;
        for (segment, _) in SEGMENTS {
            testbed.run(&format!("ip link delete {}", plug(&self.name, segment)))?;
        }
        testbed.run(&format!("ip netns delete {}", self.name)).map(drop)
    }

    /// Connects the node to the management network, with the API server, or disconnects it.
    pub(super) fn set_management_link(&self, testbed: &Machine, connected: bool) -> Result<()> {
        let state = if connected { "up" } else { "down" };
        testbed.run(&format!("ip link set {} {state}", plug(&self.name, "mgmt"))).map(drop)
    }

    /// Boots the node again after a power cut.
    pub(super) fn reboot(&mut self, testbed: &Machine, folder: &Path) -> Result<()> {
        self.machine = boot(testbed, folder, &self.name, self.number)?;
        self.start_containerd()?;
        self.start_kubelet()
    }

    /// Imports an image into containerd.
    pub fn import(&self, archive: &Path) -> Result<()> {
        let mut command = self.machine.command("ctr");
        command.args(["--address", SOCKET, "--namespace", "k8s.io", "images", "import"]).arg(archive);
        output(&mut command).map(drop)
    }

    /// Starts the kubelet for the first time.
    pub(super) fn join(&mut self, tools: &Tools, kubeconfig: &Path, cgroup: &str) -> Result<()> {
        let config = json!({
            "apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration",
            // Only the cluster can reach it.
            "authentication": { "anonymous": { "enabled": true }, "webhook": { "enabled": false } },
            "authorization": { "mode": "AlwaysAllow" },
            "cgroupDriver": "cgroupfs", "cgroupRoot": cgroup, "enforceNodeAllocatable": [], "failCgroupV1": false,
            "containerRuntimeEndpoint": format!("unix://{SOCKET}"),
            // All nodes share one disk, so its usage must not affect them.
            "localStorageCapacityIsolation": false, "imageGCHighThresholdPercent": 100,
            "evictionHard": { "memory.available": "1Mi", "nodefs.available": "0%", "imagefs.available": "0%" },
            "failSwapOn": false, "resolvConf": "", "maxPods": 250, "kubeAPIQPS": 200, "kubeAPIBurst": 400,
            "nodeStatusUpdateFrequency": "1s", "staticPodPath": "/etc/kubernetes/manifests",
            "eventRecordQPS": 0,
            // This address does not respond. Without a DNS address, each pod would get an event about it.
            "clusterDNS": ["10.96.0.10"],
        });
        self.write("/etc/kubernetes/kubelet.json", &config.to_string())?;
        fs::create_dir_all(self.machine.path("/etc/kubernetes/manifests"))?;
        make_cgroups(&self.machine, cgroup)?;
        let args = [
            "--config=/etc/kubernetes/kubelet.json".to_owned(),
            format!("--kubeconfig={}", kubeconfig.display()),
            format!("--hostname-override={}", self.name),
            format!("--node-ip={}", self.address()),
        ];
        self.kubelet = Some(self.machine.daemon(Path::new("/var/log/kubelet.log"), &tools.built("kubelet"), &args)?);
        Ok(())
    }

    fn wait_for_containerd(&mut self) -> Result<()> {
        let answers = || {
            let version = format!("ctr --address {SOCKET} --connect-timeout 2s plugins ls id==cri");
            if self.machine.run(&version).is_ok_and(|said| said.contains(" ok")) {
                return Ok(Some(()));
            }
            match self.containerd.ended()? {
                None => Ok(None),
                Some(how) => {
                    Err(format!("containerd ended: {how}: {}", tail(&self.containerd.log(&self.machine))).into())
                }
            }
        };
        eventually("containerd is ready", READY, Duration::from_millis(20), answers)
    }

    /// The kubelet's log.
    pub fn kubelet_log(&self) -> String {
        self.kubelet.as_ref().map(|kubelet| kubelet.log(&self.machine)).unwrap_or_default()
    }

    /// Kills the kubelet. Its pods keep running.
    pub fn stop_kubelet(&mut self) -> Result<()> {
        self.kubelet.as_mut().map_or(Ok(()), |kubelet| kubelet.stop(&self.machine, "KILL"))
    }

    /// Starts a killed kubelet again.
    pub fn start_kubelet(&mut self) -> Result<()> {
        self.kubelet.as_mut().map_or(Ok(()), |kubelet| kubelet.start(&self.machine))
    }

    /// Kills containerd. Its pods keep running.
    pub fn stop_containerd(&mut self) -> Result<()> {
        self.containerd.stop(&self.machine, "KILL")
    }

    /// Starts a killed containerd again, and waits until it is ready.
    pub fn start_containerd(&mut self) -> Result<()> {
        self.containerd.start(&self.machine)?;
        self.wait_for_containerd()
    }
}

fn start_containerd(machine: &Machine) -> Result<Daemon> {
    let args = ["containerd", "--config", "/etc/containerd/config.toml"].map(str::to_owned);
    machine.daemon(Path::new("/var/log/containerd.log"), Path::new("/usr/bin/env"), &args)
}

/// Boots a machine with an interface in each segment.
pub(super) fn boot(testbed: &Machine, folder: &Path, name: &str, number: usize) -> Result<Machine> {
    testbed.run(&format!("ip netns add {name}"))?;
    for (segment, leg) in SEGMENTS {
        let plug = plug(name, segment);
        testbed.run(&format!("ip link add {plug} type veth peer name {leg} netns {name}"))?;
        testbed.run(&format!("ip link set {plug} master {segment} up"))?;
        testbed.run(&format!("ip -n {name} link set {leg} up"))?;
    }
    testbed.run(&format!("ip -n {name} address add {}/24 dev mgmt0", address(number)))?;
    testbed.run(&format!("ip -n {name} route add 10.96.0.0/16 via 192.168.250.1"))?;

    let mut command = testbed.command("nsenter");
    command.arg(format!("--net=/run/netns/{name}"));
    command.args(["unshare", "--mount", "--uts", "--pid", "--fork", "--mount-proc", "--", "bash", "-c", NODE, "node"]);
    command.arg(name).arg(folder);
    Machine::boot(command)
}

/// The name of the segment's end of a node's interface.
fn plug(name: &str, segment: &str) -> String {
    format!("{name}-{segment}")
}

pub(super) fn write(machine: &Machine, path: &str, text: &str) -> Result<()> {
    let at = machine.path(path);
    if let Some(folder) = at.parent() {
        fs::create_dir_all(folder)?;
    }
    Ok(fs::write(at, text)?)
}

/// Installs a plugin on a machine in one step.
pub(super) fn install(machine: &Machine, name: &str, program: &Path) -> Result<()> {
    let at = machine.path("/opt/cni/bin").join(name);
    let beside = at.with_extension("new");
    fs::copy(program, &beside)?;
    Ok(fs::rename(beside, at)?)
}

/// The address of the n-th node.
fn address(number: usize) -> String {
    format!("192.168.250.{}", 10 + number)
}

fn containerd_config(flavour: Flavour) -> String {
    // Without Multus, each configuration in the folder is a network of every pod: eth0, eth1, and so on.
    let networks = match flavour {
        Flavour::ConfDir => 0,
        Flavour::Multus => 1,
    };
    format!(
        r#"version = 2
root = "/var/lib/containerd"
state = "/run/containerd"
disabled_plugins = ["io.containerd.internal.v1.opt"]
[grpc]
address = "{SOCKET}"
[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "{BUSYBOX}"
# Where the right to lower it is missing (CAP_SYS_RESOURCE), a container would not start.
restrict_oom_score_adj = true
[plugins."io.containerd.grpc.v1.cri".containerd]
snapshotter = "overlayfs"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "/opt/cni/bin"
conf_dir = "/etc/cni/net.d"
max_conf_num = {networks}
"#
    )
}

/// The kubelet requires that its root control group exists in every hierarchy.
fn make_cgroups(machine: &Machine, cgroup: &str) -> Result<()> {
    let make = format!(
        r#"
        cd /sys/fs/cgroup
        if [ -e cgroup.controllers ]; then
          mkdir -p ".{cgroup}"
          exit
        fi
        for hierarchy in */; do
          [ -e "$hierarchy/tasks" ] || continue
          mkdir -p "$hierarchy{cgroup}"
          # A new group of this kind is good for nothing until it has processors and memory.
          [ -e "$hierarchy/cpuset.cpus" ] || continue
          for group in "$hierarchy{parent}" "$hierarchy{cgroup}"; do
            cat "$hierarchy/cpuset.cpus" >"$group/cpuset.cpus"
            cat "$hierarchy/cpuset.mems" >"$group/cpuset.mems"
          done
        done"#,
        parent = Path::new(cgroup).parent().unwrap_or(Path::new("/")).display(),
    );
    machine.script(&make).map(drop)
}
