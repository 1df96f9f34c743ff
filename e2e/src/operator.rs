//! What an operator does on a machine: runs a verb with the node defaults, and reads what it prints.

use std::process::{Command, Output, Stdio};

use crate::binary;
use crate::node::{Network, Node};

/// A verb with its arguments, on the node's store.
pub fn command(node: &Node, args: &[&str]) -> Command {
    let mut command = Command::new(binary::kube_ipam());
    command.args(args).env_clear().env("KUBE_IPAM_CONFIG", node.path("kube-ipam.json")).stdin(Stdio::null());
    command
}

/// Runs a verb.
///
/// # Panics
/// If it can't be started.
pub fn run(node: &Node, args: &[&str]) -> Output {
    command(node, args).output().unwrap_or_else(|error| panic!("kube-ipam {args:?}: {error}"))
}

/// What a successful run prints.
///
/// # Panics
/// If it fails.
#[track_caller]
pub fn printed(node: &Node, args: &[&str]) -> String {
    printed_by(&mut command(node, args))
}

/// What a successful run of this command prints.
///
/// # Panics
/// If it can't be started, or fails.
#[track_caller]
pub fn printed_by(command: &mut Command) -> String {
    let Output { status, stdout, stderr } = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(status.success(), "{command:?}: {}", String::from_utf8_lossy(&stderr));
    String::from_utf8(stdout).unwrap_or_else(|error| panic!("{command:?}: {error}"))
}

/// What a run that fails says, with its exit status.
///
/// # Panics
/// If it succeeds.
#[track_caller]
pub fn refused(node: &Node, args: &[&str]) -> (i32, String) {
    let Output { status, stdout, stderr } = run(node, args);
    assert!(!status.success(), "{args:?}: {}", String::from_utf8_lossy(&stdout));
    (status.code().unwrap_or_default(), String::from_utf8_lossy(&stderr).into_owned())
}

/// Adds two pods to a network with a window for fixed addresses, of which the first is gone again and its address is in
/// cooldown. Returns the network.
///
/// # Panics
/// If a call fails.
pub fn inhabited(network: Network<'_>) -> Network<'_> {
    network.call("ADD", "c0ffee0123456789").args("K8S_POD_NAMESPACE=web;K8S_POD_NAME=web-1").run().ok();
    let database = network.call("ADD", "dadada0123456789");
    database.args("K8S_POD_NAMESPACE=db;K8S_POD_NAME=db-0;K8S_POD_UID=u-1;IP=10.1.0.18").run().ok();
    network.del("c0ffee0123456789").ok();
    network
}
