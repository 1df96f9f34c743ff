//! Connects two clusters to one store.
//!
//! ```text
//!  kube-ipam of one cluster ──► its etcd, at IPAM_ETCD ◄─────────────────────┐
//!  kube-ipam of the other ────► IPAM_ETCD of its own network ── StoreTunnel ─┘
//! ```

use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use super::machine::Network;
use super::{Cluster, IPAM_ETCD, eventually};
use crate::Result;

/// How long the store may take to respond to the other cluster.
const READY: Duration = Duration::from_secs(30);

/// Connects another cluster to this one's store. It ends when this is dropped.
pub struct StoreTunnel {
    listener: Arc<TcpListener>,
}

impl Cluster {
    /// Replaces another cluster's store by this one's.
    pub fn tunnel_store_to(&self, to: &mut Self) -> Result<StoreTunnel> {
        to.stop_store()?;
        let at = IPAM_ETCD.strip_prefix("http://").ok_or("etcd is not plain")?.parse()?;
        let store_tunnel = StoreTunnel { listener: Arc::new(to.testbed.machine.listen(at)?) };
        let (listener, network) = (Arc::clone(&store_tunnel.listener), self.testbed.machine.network()?);
        thread::spawn(move || serve(&listener, &network, at));
        eventually("the store answers the other cluster", READY, Duration::from_millis(50), || {
            Ok(to.etcdctl(&["endpoint", "health"]).ok())
        })?;
        Ok(store_tunnel)
    }
}

impl Drop for StoreTunnel {
    fn drop(&mut self) {
        // It may have ended with its network.
        let _ = rustix::net::shutdown(&self.listener, rustix::net::Shutdown::Both);
    }
}

/// Connects each client to the server at that address of a network.
fn serve(listener: &TcpListener, network: &Network, at: SocketAddr) -> io::Result<()> {
    network.enter()?;
    loop {
        let (client, _) = listener.accept()?;
        // If this fails, the client's connection is closed.
        let _ = TcpStream::connect(at).and_then(|store| join(client, store));
    }
}

fn join(client: TcpStream, store: TcpStream) -> io::Result<()> {
    for stream in [&client, &store] {
        stream.set_nodelay(true)?;
    }
    for (mut from, mut to) in [(client.try_clone()?, store.try_clone()?), (store, client)] {
        thread::spawn(move || {
            // When one side disconnects, so does the other.
            let _ = io::copy(&mut from, &mut to);
            let _ = to.shutdown(Shutdown::Both);
        });
    }
    Ok(())
}
