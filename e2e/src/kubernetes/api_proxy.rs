//! A proxy between a node and the API server. It returns the list of pods in small pages and can corrupt it.
//!
//! ```text
//!  kube-ipam sweep ── http, in the node's network ──► ApiProxy ── a socket ──► kubectl proxy ── https ──► API server
//! ```
//!
//! All other requests pass unchanged.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use rustix::net::{Shutdown, shutdown};
use serde_json::{Value, json};

use super::control_plane::{SWEEPER, kubeconfig_file};
use super::machine::Daemon;
use super::{Cluster, Node, eventually};
use crate::Result;
use crate::api::hear;

/// How long kubectl may take to listen.
const READY: Duration = Duration::from_secs(30);

/// The fault of the list of pods.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// None. The pages are cached.
    None,
    /// The cached pages are returned.
    Stale,
    /// The second page ends in the middle.
    BreaksOff,
    /// The second page is a 410: the server has compacted the list's resourceVersion.
    Expired,
}

/// The proxy, with the sweep's permissions. It ends when this is dropped.
pub struct ApiProxy<'cluster> {
    cluster: &'cluster Cluster,
    kubectl: Daemon,
    listener: Arc<TcpListener>,
    shared: Arc<Shared>,
}

struct Shared {
    /// The socket on which kubectl listens.
    socket: PathBuf,
    state: Mutex<State>,
}

struct State {
    fault: Fault,
    /// The pages of the list by their request.
    cached: BTreeMap<String, Vec<u8>>,
}

impl Cluster {
    /// Starts a proxy in the network of a node.
    pub fn api_proxy<'cluster>(&'cluster self, node: &Node) -> Result<ApiProxy<'cluster>> {
        let testbed = &self.testbed.machine;
        let at = self.folder.join("kubectl-proxy.socket");
        let args = [
            "proxy".to_owned(),
            format!("--kubeconfig={}", kubeconfig_file(&self.folder, SWEEPER).display()),
            format!("--unix-socket={}", at.display()),
        ];
        let log = self.folder.join("kubectl-proxy.log");
        let kubectl = testbed.daemon(&log, &self.tools.built("kubectl"), &args)?;
        let state = Mutex::new(State { fault: Fault::None, cached: BTreeMap::new() });
        let shared = Arc::new(Shared { socket: testbed.path(&at), state });
        let listener = Arc::new(node.machine().listen((Ipv4Addr::LOCALHOST, 0).into())?);
        let api_proxy =
            ApiProxy { cluster: self, kubectl, listener: Arc::clone(&listener), shared: Arc::clone(&shared) };
        eventually("kubectl proxy listens", READY, Duration::from_millis(20), || {
            Ok(UnixStream::connect(&shared.socket).ok())
        })?;
        thread::spawn(move || {
            while let Ok((client, _)) = listener.accept() {
                let shared = Arc::clone(&shared);
                // A client may disconnect at any time.
                thread::spawn(move || drop(shared.serve(client)));
            }
        });
        Ok(api_proxy)
    }
}

impl ApiProxy<'_> {
    /// A kubeconfig for programs of the node that use this proxy.
    pub fn kubeconfig(&self) -> Result<Value> {
        Ok(json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "here",
            "contexts": [{ "name": "here", "context": { "cluster": "c", "user": "u" } }],
            "clusters": [{ "name": "c", "cluster": { "server": format!("http://{}", self.listener.local_addr()?) } }],
            "users": [{ "name": "u", "user": {} }],
        }))
    }

    /// Sets the fault of the list of pods.
    pub fn sets(&self, fault: Fault) {
        self.shared.state().fault = fault;
    }
}

impl Drop for ApiProxy<'_> {
    fn drop(&mut self) {
        // If this fails, the proxy ends with the cluster.
        let _ = shutdown(&self.listener, Shutdown::Both);
        let _ = self.kubectl.stop(&self.cluster.testbed.machine, "KILL");
        let _ = fs::remove_file(&self.shared.socket);
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Serves one request. The connection is closed after the response.
    fn serve(&self, mut client: TcpStream) -> io::Result<()> {
        let Some((request, body)) = hear(&mut client)? else { return Ok(()) };
        let asked = request.split(' ').nth(1).unwrap_or_default().to_owned();
        let fault = self.state().fault;
        match (fault, asked.starts_with("/api/v1/pods?"), asked.contains("continue=")) {
            (Fault::None, true, _) => {
                let page = self.ask(&request, &body)?;
                client.write_all(&page)?;
                self.state().cached.insert(asked, page);
                Ok(())
            }
            (Fault::Stale, true, _) => {
                let page = self.state().cached.get(&asked).cloned();
                client.write_all(&page.ok_or_else(|| io::Error::other("that page was not cached"))?)
            }
            (Fault::BreaksOff, true, true) => {
                let page = self.ask(&request, &body)?;
                client.write_all(&page[..page.len() / 2])
            }
            (Fault::Expired, true, true) => client.write_all(expired().as_bytes()),
            _ => client.write_all(&self.ask(&request, &body)?),
        }
    }

    /// The API server's response, unchanged.
    fn ask(&self, request: &str, body: &[u8]) -> io::Result<Vec<u8>> {
        let mut server = UnixStream::connect(&self.socket)?;
        let small_pages = request.replace("limit=250", "limit=2");
        server.write_all(small_pages.replacen("\r\n", "\r\nconnection: close\r\n", 1).as_bytes())?;
        server.write_all(body)?;
        let mut answer = Vec::new();
        server.read_to_end(&mut answer)?;
        Ok(answer)
    }
}

/// An API server's response after it has compacted a list's resourceVersion.
fn expired() -> String {
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": { "continue": "elsewhere" }, "status": "Failure",
        "message": "The provided continue parameter is too old to display a consistent list result.",
        "reason": "Expired", "code": 410,
    });
    let body = status.to_string();
    let length = body.len();
    format!(
        "HTTP/1.1 410 Gone\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}"
    )
}
