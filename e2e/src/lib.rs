//! The harness of the tests that run the real kube-ipam binary.
//!
//! ```text
//!  tests/protocol.rs ──► conformance ──► node ──► cni ──► a plugin's process: kube-ipam, and host-local to compare
//!  tests/interfaces.rs ─────► world ─────┘                 (binary: which kube-ipam)
//!  tests/store_etcd.rs ─────► etcd                         (real members: one, or three with TLS and users)
//!  tests/kill_points.rs ────► machines ──► node, etcd      (a machine for each run; trace: strace; history: the holds)
//!  tests/takeover.rs ───────► api, machines                (an API server that plays scenarios)
//!  tests/api_server.rs ─────► api_server ──► etcd          (a real API server without nodes; guarded: its end)
//!  tests/store_kubernetes_faults.rs ─► api_server        (a network that fails at random: FaultyNetwork)
//!  tests/store_kubernetes_damaged.rs ─► api_server, node (objects that somebody has changed by hand)
//!  tests/clock.rs ──────────► machines                     (a clock for each call: faketime)
//!  tests/controller.rs ─────► api, machines, etcd          (processes that keep running)
//!  tests/scale.rs ──────────► crowd ──► api, etcd           (50,000 pods with an address each)
//!  tests/upgrade.rs ────────► binary, machines             (the previous version as well)
//!  tests/fence.rs ──────────► proxy ─────► etcd            (a network that fails once; http2: its frames)
//!  tests/store_watch.rs ────► gate ──────► etcd            (connections that end while members run)
//!  tests/command_line.rs ───► operator ─► node             (verbs of the operator)
//!  tests/doctor_store.rs ───► etcd, node, diagnosis         (planted faults of stores)
//!  tests/doctor_kubernetes/ ─► api_server, diagnosis     (planted faults of the store in an API server)
//!  tests/doctor_cluster/ ─► api, machines, diagnosis       (planted faults of clusters)
//!  tests/members.rs ────────► faulty_member, etcd          (members that respond wrongly)
//!  tests/plan_terminal.rs ──► pty                          (a terminal of any width)
//!  tests/kubernetes ────────► kubernetes                   (two nodes with kubelets, with Multus or without; history:
//!                                                           from the nodes' logs)
//! ```
//!
//! Nothing here changes the machine's own network. Tests that need interfaces use a [`world::World`].

#![allow(clippy::panic, clippy::print_stdout, reason = "a test's verdict is a panic, and its output is for a person")]

pub mod api;
pub mod api_server;
pub mod binary;
pub mod checkout;
pub mod cni;
pub mod conformance;
pub mod crowd;
pub mod diagnosis;
pub mod etcd;
pub mod faketime;
pub mod faulty_member;
pub mod fill;
pub mod gate;
pub mod guarded;
pub mod history;
pub mod http2;
pub mod kubernetes;
pub mod machines;
pub mod manifests;
pub mod node;
pub mod operator;
pub mod proxy;
pub mod pty;
pub mod trace;
pub mod world;

use std::io::Write;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// An error of the harness, not of what it tests.
pub type Result<T, E = Box<dyn std::error::Error + Send + Sync>> = std::result::Result<T, E>;

/// Reports that a test was skipped and why, bypassing the capture of the test's output. `e2e/test` collects these
/// lines.
///
/// # Panics
/// If KUBE_IPAM_TEST_REQUIRE is `all`. On such a machine, no test may be skipped.
pub fn skip(test: &str, reason: &str) {
    let all = std::env::var("KUBE_IPAM_TEST_REQUIRE").is_ok_and(|required| required == "all");
    assert!(!all, "{test} can't run here, and KUBE_IPAM_TEST_REQUIRE=all wants it: {reason}");
    say(&format!("SKIPPED {test}: {reason}"));
}

/// Where e2e/setup puts what it builds. It is outside the checkout, so that a new checkout finds it.
pub(crate) fn cache() -> PathBuf {
    let folder = |variable: &str| std::env::var_os(variable).filter(|value| !value.is_empty()).map(PathBuf::from);
    let cache = folder("KUBE_IPAM_CACHE").or_else(|| folder("XDG_CACHE_HOME").map(|cache| cache.join("kube-ipam")));
    cache.unwrap_or_else(|| folder("HOME").unwrap_or_default().join(".cache/kube-ipam"))
}

/// How long to wait for something that will happen, on a machine that is busy with other tests.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// Waits until the condition holds.
///
/// # Panics
/// If it does not within a minute.
#[track_caller]
pub fn wait_until(what: &str, mut is_seen: impl FnMut() -> bool) {
    let deadline = Instant::now() + LONGEST_WAIT;
    while !is_seen() {
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Writes a line to standard error with one write, bypassing the capture of the test's output.
fn say(line: &str) {
    // Without standard error, the test has no other way to report it.
    let _ = std::io::stderr().write_all(format!("{line}\n").as_bytes());
}
