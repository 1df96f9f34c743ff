//! A separate network: namespaces in which a test is root, with interfaces that are invisible to the machine.
//!
//! One process holds it. Its network and mount namespaces, and a private /run for named namespaces, exist until that
//! process ends. It ends when its standard input is closed, so with the test, however that ends. Without root, the
//! world is in a user namespace.

use std::ffi::OsString;
use std::io::{BufRead, BufReader};
use std::os::fd::AsFd;
use std::process::{Child, Command, Stdio};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::node::{Plugin, reference_plugins};
use crate::skip;

/// Makes /run private, so that the names of `ip netns` belong to this world. Then waits until standard input is closed.
const HOLD: &str = "mount -t tmpfs kube-ipam /run && mkdir /run/netns && ip link set lo up && echo ready && exec cat";

/// Why the world could not be created, or why a command in it failed.
#[derive(Debug, thiserror::Error)]
pub enum WorldError {
    /// The machine does not allow it.
    #[error("no network namespaces here: {0}")]
    Refused(String),
    /// A command failed.
    #[error("{command}: {output}")]
    Failed {
        /// The command line.
        command: String,
        /// Its output.
        output: String,
    },
}

/// A separate network. It ends when this is dropped.
pub struct World {
    holder: Child,
    enter: Vec<OsString>,
}

impl World {
    /// A world for a test that needs these main plugins; `None` if this machine can't have namespaces or lacks a
    /// plugin, which is reported.
    #[must_use]
    pub fn for_test(test: &str, mains: &[&str]) -> Option<Self> {
        let missing: Vec<_> = mains.iter().filter(|name| Plugin::installed(name).is_none()).collect();
        if !missing.is_empty() {
            let folder = reference_plugins();
            skip(test, &format!("{missing:?} not in {}; e2e/setup installs them", folder.display()));
            return None;
        }
        Self::new().inspect_err(|reason| skip(test, &reason.to_string())).ok()
    }

    /// Creates a world with only `lo`.
    ///
    /// # Errors
    /// If this machine or user can't create namespaces.
    pub fn new() -> Result<Self, WorldError> {
        let root = rustix::process::geteuid().is_root();
        let user: &[&str] = if root { &[] } else { &["--user", "--map-root-user"] };
        let mut holder = Command::new("unshare")
            .args(user)
            .args(["--net", "--mount", "sh", "-c", HOLD])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| WorldError::Refused(format!("unshare: {error}")))?;
        let mut first = String::new();
        if let Some(stdout) = holder.stdout.take() {
            // An unreadable line differs from "ready\n".
            let _ = BufReader::new(stdout).read_line(&mut first);
        }
        let mut world = Self { enter: Vec::new(), holder };
        if first != "ready\n" {
            return Err(WorldError::Refused(world.last_words()));
        }
        let user: &[&str] = if root { &[] } else { &["--user", "--preserve-credentials"] };
        let target = format!("--target={}", world.holder.id());
        let enter = ["nsenter", &target, "--net", "--mount"].into_iter().chain(user.iter().copied()).chain(["--"]);
        world.enter = enter.map(OsString::from).collect();
        // Not every kernel supports veth.
        world.run("ip link add kipam-try0 type veth peer name kipam-try1").map_err(refused)?;
        world.run("ip link add link kipam-try0 name kipam-try2 type macvlan mode bridge").map_err(refused)?;
        world.run("ip link add kipam-try3 type bridge").map_err(refused)?;
        world.run("ip link del kipam-try0").map_err(refused)?;
        world.run("ip link del kipam-try3").map_err(refused)?;
        Ok(world)
    }

    /// The prefix of a command that runs in this world.
    pub fn enter(&self) -> Vec<OsString> {
        self.enter.clone()
    }

    /// Does work on a thread whose network is this world's. What it starts and listens on is there too.
    ///
    /// # Errors
    /// If the thread can't enter the network: without root.
    ///
    /// # Panics
    /// If the work panics.
    pub fn within<T: Send>(&self, work: impl FnOnce() -> T + Send) -> std::io::Result<T> {
        let network = std::fs::File::open(format!("/proc/{}/ns/net", self.holder.id()))?;
        let enter = || move_into_link_name_space(network.as_fd(), Some(LinkNameSpaceType::Network));
        std::thread::scope(|scope| {
            let working = scope.spawn(|| enter().map(|()| work()));
            Ok(working.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?)
        })
    }

    /// Runs a command, split at white space, in this world. Returns its standard output.
    ///
    /// # Errors
    /// If it fails.
    pub fn run(&self, command: &str) -> Result<String, WorldError> {
        let failed = |output: String| WorldError::Failed { command: command.to_owned(), output };
        let output = Command::new(&self.enter[0])
            .args(&self.enter[1..])
            .args(command.split_whitespace())
            .stdin(Stdio::null())
            .output()
            .map_err(|error| failed(error.to_string()))?;
        let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
        if output.status.success() {
            return Ok(stdout);
        }
        Err(failed(format!("{}, {stdout}{}", output.status, String::from_utf8_lossy(&output.stderr))))
    }

    /// Creates a named network namespace.
    ///
    /// # Errors
    /// If it can't be created.
    pub fn pod<'world>(&'world self, name: &'world str) -> Result<Pod<'world>, WorldError> {
        self.run(&format!("ip netns add {name}"))?;
        Ok(Pod { world: self, name })
    }

    /// Creates a bridge that is up.
    ///
    /// # Errors
    /// If it can't be created.
    pub fn bridge(&self, name: &str) -> Result<(), WorldError> {
        self.run(&format!("ip link add {name} type bridge"))?;
        self.run(&format!("ip link set {name} up"))?;
        Ok(())
    }

    /// Creates a named network namespace whose interface `net1` is on a bridge. It is down, as a main plugin leaves it.
    ///
    /// # Errors
    /// If it can't be created.
    pub fn bridged_pod<'world>(&'world self, name: &'world str, bridge: &str) -> Result<Pod<'world>, WorldError> {
        let pod = self.pod(name)?;
        let outer = format!("kipam-{name}");
        self.run(&format!("ip link add {outer} type veth peer name net1 netns {name}"))?;
        self.run(&format!("ip link set {outer} master {bridge}"))?;
        self.run(&format!("ip link set {outer} up"))?;
        Ok(pod)
    }

    /// Creates a veth pair with both ends up. The first end can be the master of a macvlan.
    ///
    /// # Errors
    /// If it can't be created.
    pub fn cable(&self, name: &str, other: &str) -> Result<(), WorldError> {
        self.run(&format!("ip link add {name} type veth peer name {other}"))?;
        self.run(&format!("ip link set {name} up"))?;
        self.run(&format!("ip link set {other} up"))?;
        Ok(())
    }

    fn last_words(&mut self) -> String {
        drop(self.holder.stdin.take());
        let mut words = String::new();
        if let Some(mut stderr) = self.holder.stderr.take() {
            // If this fails, the message has no cause.
            let _ = std::io::Read::read_to_string(&mut stderr, &mut words);
        }
        words.trim().to_owned()
    }
}

fn refused(error: WorldError) -> WorldError {
    WorldError::Refused(error.to_string())
}

impl Drop for World {
    fn drop(&mut self) {
        drop(self.holder.stdin.take());
        // Its standard input is closed, so it ends soon.
        let _ = self.holder.wait();
    }
}

/// Stands for a pod: a named network namespace.
#[derive(Clone, Copy)]
pub struct Pod<'world> {
    world: &'world World,
    /// Its name.
    pub name: &'world str,
}

impl Pod<'_> {
    /// Its path, as a runtime passes it to plugins.
    pub fn netns(&self) -> String {
        format!("/run/netns/{}", self.name)
    }

    /// Runs a command in it.
    ///
    /// # Errors
    /// If it fails.
    pub fn run(&self, command: &str) -> Result<String, WorldError> {
        self.world.run(&format!("ip netns exec {} {command}", self.name))
    }

    /// Sets `net1` up and gives it these addresses, of a /24 or a /64. They are in use at once, without duplicate address
    /// detection.
    ///
    /// # Errors
    /// If it fails.
    pub fn has(&self, addresses: &[&str]) -> Result<(), WorldError> {
        self.run("ip link set net1 up")?;
        for address in addresses {
            let nodad = if address.contains(':') { "/64 nodad" } else { "/24" };
            self.run(&format!("ip address add {address}{nodad} dev net1"))?;
        }
        Ok(())
    }

    /// The addresses of an interface with their prefix lengths, according to the kernel, without link-local ones.
    ///
    /// # Errors
    /// If the interface does not exist.
    pub fn addresses(&self, ifname: &str) -> Result<Vec<String>, WorldError> {
        let lines = self.run(&format!("ip -oneline address show dev {ifname} scope global"))?;
        let address = |line: &str| line.split_whitespace().nth(3).map(str::to_owned);
        Ok(lines.lines().filter_map(address).collect())
    }

    /// The names of its links, without `lo`.
    ///
    /// # Errors
    /// If it does not exist.
    pub fn links(&self) -> Result<Vec<String>, WorldError> {
        let lines = self.run("ip -oneline link show")?;
        let name = |line: &str| line.split([':', '@']).nth(1).map(|name| name.trim().to_owned());
        Ok(lines.lines().filter_map(name).filter(|name| name != "lo").collect())
    }

    /// Pings an address for up to five seconds.
    ///
    /// # Errors
    /// If there is no reply.
    pub fn ping(&self, address: &str) -> Result<(), WorldError> {
        self.run(&format!("ping -n -q -c 1 -w 5 {address}")).map(drop)
    }
}
