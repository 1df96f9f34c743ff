//! Kills CNI calls while they run.

use std::fs::{self, DirEntry, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use super::{Cluster, Node};
use crate::Result;
use crate::history::log::Event;

impl Cluster {
    /// Kills one of kube-ipam's running calls on the nodes, if there is one. `choose` gets their number and returns an
    /// index. Returns the verb of the call.
    pub fn kill_a_call(&self, choose: impl FnOnce(usize) -> usize) -> Result<Option<String>> {
        let mut calls = Vec::new();
        for node in self.nodes() {
            let found = processes_of(node)?.into_iter().map(|process| (node, process));
            calls.extend(found);
        }
        if calls.is_empty() {
            return Ok(None);
        }
        let (node, process) = calls.swap_remove(choose(calls.len()) % calls.len());
        // From here on, the pidfd keeps the signal from a later process with the same id.
        let Ok(handle) = pidfd_open(process, PidfdFlags::empty()) else { return Ok(None) };
        let Some((verb, call)) = call(process).filter(|_| is_of(node, process)) else { return Ok(None) };
        // Before the kill, because its effects may be visible at once.
        self.note(&node.name, call);
        Ok(pidfd_send_signal(handle, Signal::KILL).is_ok().then_some(verb))
    }
}

/// The processes on a node that run its kube-ipam.
fn processes_of(node: &Node) -> Result<Vec<Pid>> {
    let installed = fs::metadata(node.machine().path("/opt/cni/bin/kube-ipam"))?;
    let number = |entry: DirEntry| entry.file_name().to_str().and_then(|name| name.parse().ok());
    let all = fs::read_dir("/proc")?.flatten().filter_map(number).filter_map(Pid::from_raw);
    Ok(all.filter(|process| runs(*process, &installed)).collect())
}

fn is_of(node: &Node, process: Pid) -> bool {
    fs::metadata(node.machine().path("/opt/cni/bin/kube-ipam")).is_ok_and(|installed| runs(process, &installed))
}

/// Whether a process runs this file.
fn runs(process: Pid, file: &Metadata) -> bool {
    let own = fs::metadata(format!("/proc/{}/exe", process.as_raw_nonzero()));
    own.is_ok_and(|own| (own.dev(), own.ino()) == (file.dev(), file.ino()))
}

/// The verb and the arguments of a call; `None` if the process is not a call.
fn call(process: Pid) -> Option<(String, Event)> {
    let environment = fs::read(Path::new("/proc").join(process.as_raw_nonzero().to_string()).join("environ")).ok()?;
    let variable = |name: &str| {
        let values = environment.split(|byte| *byte == 0).filter_map(|entry| std::str::from_utf8(entry).ok());
        values
            .filter_map(|entry| entry.split_once('='))
            .find(|(key, _)| *key == name)
            .map(|(_, value)| value.to_owned())
    };
    let (verb, container, interface) =
        (variable("CNI_COMMAND")?, variable("CNI_CONTAINERID")?, variable("CNI_IFNAME")?);
    Some((verb.clone(), Event::Killed { verb, container, interface }))
}
