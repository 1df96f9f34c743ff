//! Tests of the real kube-ipam binary against real stores, interfaces and runtimes: what they share.

use std::io::{self, Write};

pub mod etcd;

/// What goes wrong with the harness itself, not with what it tests.
pub type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// Says that a test was left out, in the one form that the runner counts.
pub fn skip(test: &str, reason: &str) {
    // Not eprintln: the test harness would keep that to itself, since the test passes.
    let _ = writeln!(io::stderr(), "SKIPPED {test}: {reason}");
}
