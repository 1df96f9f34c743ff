//! Creates machines on one kind of store. Each run gets a fresh one, whose addresses no other run sees.

use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use kube_ipam::store::EtcdConfig;

use crate::etcd::{self, Cluster};
use crate::node::{Node, Plugin};

/// Creates fresh machines.
pub struct Machines {
    etcd: Option<Cluster>,
    made: AtomicU32,
}

impl Machines {
    /// Machines with embedded stores.
    pub fn embedded() -> Self {
        Self { etcd: None, made: AtomicU32::new(0) }
    }

    /// Machines that share one etcd, each with its own prefix; `None`, with the test reported as skipped, if etcd is
    /// not installed.
    ///
    /// # Panics
    /// If etcd doesn't start.
    pub fn etcd(test: &str) -> Option<Self> {
        etcd::installed_or_skip(test).then(|| {
            let cluster = Cluster::plain(1).unwrap_or_else(|error| panic!("etcd: {error}"));
            Self { etcd: Some(cluster), made: AtomicU32::new(0) }
        })
    }

    /// A fresh machine.
    pub fn node(&self) -> Node {
        let number = self.made.fetch_add(1, Ordering::Relaxed);
        match &self.etcd {
            None => Node::new(Plugin::kube_ipam()),
            Some(cluster) => {
                let prefix = format!("/kube-ipam/v1/{number}/");
                Node::on_etcd(&EtcdConfig { prefix, ..cluster.config() })
            }
        }
    }
}

/// Runs a case on a fresh machine with each kind of store, as far as it is installed.
///
/// # Panics
/// If etcd doesn't start.
pub fn on_each_store(test: &str, case: impl Fn(&Node)) {
    case(&Machines::embedded().node());
    if let Some(machines) = Machines::etcd(test) {
        case(&machines.node());
    }
}

/// Runs a job for each item, at most `at_a_time` at once.
///
/// # Panics
/// If a job panics.
pub fn in_parallel<T: Sync>(at_a_time: usize, items: &[T], job: impl Fn(&T) + Sync) {
    let next = AtomicU32::new(0);
    thread::scope(|scope| {
        for _ in 0..at_a_time {
            scope.spawn(|| {
                while let Some(item) = items.get(next.fetch_add(1, Ordering::Relaxed) as usize) {
                    job(item);
                }
            });
        }
    });
}
