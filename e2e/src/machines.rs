//! Creates machines on one kind of store. Each run gets a fresh one, whose addresses no other run sees.

use std::sync::atomic::{AtomicU32, Ordering};
use std::{iter, thread};

use kube_ipam::store::EtcdConfig;

use crate::api_server::ApiServer;
use crate::etcd::{self, Cluster};
use crate::node::{Node, Plugin};

/// Creates fresh machines.
pub struct Machines {
    place: Place,
    made: AtomicU32,
}

enum Place {
    Embedded,
    Etcd(Box<Cluster>),
    Kubernetes(&'static ApiServer),
}

impl Machines {
    /// Machines with embedded stores.
    pub fn embedded() -> Self {
        Self::on(Place::Embedded)
    }

    /// Machines that share one etcd, each with its own prefix; `None`, with the test reported as skipped, if etcd is
    /// not installed.
    ///
    /// # Panics
    /// If etcd doesn't start.
    pub fn etcd(test: &str) -> Option<Self> {
        etcd::installed_or_skip(test).then(|| {
            let cluster = Cluster::plain(1).unwrap_or_else(|error| panic!("etcd: {error}"));
            Self::on(Place::Etcd(Box::new(cluster)))
        })
    }

    /// Machines that share one API server, each with a namespace of its own for its store; `None`, with the test reported
    /// as skipped, if no API server is installed.
    ///
    /// # Panics
    /// If it doesn't start.
    pub fn kubernetes(test: &str) -> Option<Self> {
        ApiServer::with_store(test).map(|tenant| Self::on(Place::Kubernetes(tenant.server())))
    }

    fn on(place: Place) -> Self {
        Self { place, made: AtomicU32::new(0) }
    }

    /// A fresh machine.
    pub fn node(&self) -> Node {
        let number = self.made.fetch_add(1, Ordering::Relaxed);
        match &self.place {
            Place::Embedded => Node::new(Plugin::kube_ipam()),
            Place::Kubernetes(server) => {
                let tenant = server.tenant().unwrap_or_else(|error| panic!("a namespace: {error}"));
                Node::on_kubernetes(&tenant)
            }
            Place::Etcd(cluster) => {
                let prefix = format!("/kube-ipam/v1/{number}/");
                Node::on_etcd(&EtcdConfig { prefix, ..cluster.config() })
            }
        }
    }
}

/// Machines with each kind of store, as far as it is installed. A store starts when the last one has been used.
///
/// # Panics
/// If etcd or the API server doesn't start.
pub fn each(test: &str) -> impl Iterator<Item = Machines> {
    let embedded = iter::once_with(|| Some(Machines::embedded()));
    let etcd = iter::once_with(move || Machines::etcd(test));
    let kubernetes = iter::once_with(move || Machines::kubernetes(test));
    embedded.chain(etcd).chain(kubernetes).flatten()
}

/// Runs a case on a fresh machine with each kind of store, as far as it is installed.
///
/// # Panics
/// If etcd or the API server doesn't start.
pub fn on_each_store(test: &str, case: impl Fn(&Node)) {
    each(test).for_each(|machines| case(&machines.node()));
}

/// The same without the store in the API server: for nodes without a kubeconfig, and for more addresses than it assigns
/// in the time of a test.
///
/// # Panics
/// If etcd doesn't start.
pub fn on_stores_without_api_server(test: &str, case: impl Fn(&Node)) {
    [Some(Machines::embedded()), Machines::etcd(test)].into_iter().flatten().for_each(|it| case(&it.node()));
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
