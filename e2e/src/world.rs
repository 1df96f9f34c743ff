//! A network world of its own: namespaces in which a test is root, with interfaces that the machine never sees.
//!
//! One process holds it. Its network and mount namespaces, and a private /run for the named ones inside, exist as long
//! as that process, which ends when its standard input does: with the test, however that ends. Without root the world
//! lies in a user namespace.

use std::ffi::OsString;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use crate::node::{Plugin, reference_plugins};
use crate::skip;

/// Makes /run private, so that `ip netns` names are this world's, then waits for the end of standard input.
const HOLD: &str = "mount -t tmpfs kube-ipam /run && mkdir /run/netns && ip link set lo up && echo ready && exec cat";

/// Why there is no world here, or why a command in it failed.
#[derive(Debug, thiserror::Error)]
pub enum WorldError {
    /// The machine does not let us.
    #[error("no network namespaces here: {0}")]
    Refused(String),
    /// A command failed.
    #[error("{command}: {output}")]
    Failed {
        /// The command, as it was typed.
        command: String,
        /// What it printed.
        output: String,
    },
}

/// The world; it ends when this is dropped.
pub struct World {
    holder: Child,
    enter: Vec<OsString>,
}

impl World {
    /// A world for a test that needs these main plugins; `None`, and reported, where this machine has no namespaces or
    /// not all of them.
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

    /// Makes a world with nothing in it but `lo`.
    ///
    /// # Errors
    /// If this machine or this user can't.
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
            // What can't be read is not "ready\n".
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
        // Not every kernel has them.
        world.run("ip link add kipam-try0 type veth peer name kipam-try1").map_err(refused)?;
        world.run("ip link add link kipam-try0 name kipam-try2 type macvlan mode bridge").map_err(refused)?;
        world.run("ip link add kipam-try3 type bridge").map_err(refused)?;
        world.run("ip link del kipam-try0").map_err(refused)?;
        world.run("ip link del kipam-try3").map_err(refused)?;
        Ok(world)
    }

    /// What stands before a command so that it runs in this world.
    pub fn enter(&self) -> Vec<OsString> {
        self.enter.clone()
    }

    /// Runs a command, split at white space, in this world, and returns what it wrote to standard output.
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

    /// Makes a named network namespace and returns it.
    ///
    /// # Errors
    /// If it can't be made.
    pub fn pod<'world>(&'world self, name: &'world str) -> Result<Pod<'world>, WorldError> {
        self.run(&format!("ip netns add {name}"))?;
        Ok(Pod { world: self, name })
    }

    /// A pair of cables' ends, both up; the first is what a macvlan can lie on.
    ///
    /// # Errors
    /// If it can't be made.
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
            // What can't be read goes unsaid.
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
        // The holder has nothing left to read, so that this does not last.
        let _ = self.holder.wait();
    }
}

/// What stands for a pod: a named network namespace.
#[derive(Clone, Copy)]
pub struct Pod<'world> {
    world: &'world World,
    /// Its name.
    pub name: &'world str,
}

impl Pod<'_> {
    /// Its path, as a runtime gives it to plugins.
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

    /// Its addresses on an interface, with their prefix lengths, as the kernel has them; without link-local ones.
    ///
    /// # Errors
    /// If there is no such interface.
    pub fn addresses(&self, ifname: &str) -> Result<Vec<String>, WorldError> {
        let lines = self.run(&format!("ip -oneline address show dev {ifname} scope global"))?;
        let address = |line: &str| line.split_whitespace().nth(3).map(str::to_owned);
        Ok(lines.lines().filter_map(address).collect())
    }

    /// Its links' names, without `lo`.
    ///
    /// # Errors
    /// If it is gone.
    pub fn links(&self) -> Result<Vec<String>, WorldError> {
        let lines = self.run("ip -oneline link show")?;
        let name = |line: &str| line.split([':', '@']).nth(1).map(|name| name.trim().to_owned());
        Ok(lines.lines().filter_map(name).filter(|name| name != "lo").collect())
    }

    /// Asks an address for an answer, for five seconds at most.
    ///
    /// # Errors
    /// If none comes.
    pub fn ping(&self, address: &str) -> Result<(), WorldError> {
        self.run(&format!("ping -n -q -c 1 -w 5 {address}")).map(drop)
    }
}
