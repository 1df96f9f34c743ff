//! A real kube-apiserver with its etcd on loopback, for tests that need the API and no node.
//!
//! ```text
//!  ApiServer ── guard.sh ──► kube-apiserver ──► etcd (one member)
//!   ├─ Tenant    a namespace with its own users; what a test sees of the others is what it asks for
//!   ├─ Client    requests as one user, each on a connection of its own            (client)
//!   ├─ apply     server-side apply, until a definition's objects can be created   (apply)
//!   ├─ store     the resources of the Kubernetes store (store)
//!   ├─ kubectl   what people see with it (kubectl)
//!   ├─ FaultyNetwork  between a user and the server (faults)
//!   ├─ requests  what a user has requested, from the server's audit log           (audit)
//!   └─ samples   what the server says of itself in its metrics                    (metrics)
//! ```
//!
//! There are no controllers, no scheduler and no kubelet: a pod stays as it was created, and what is deleted is gone at
//! once. A server takes three seconds to start and 250 MB, so tests of one file share [`ApiServer::shared`], each with
//! a [`Tenant`]. A test that stops or restores its server starts its own. Both end with the test's process, also if
//! that is killed ([`crate::guarded`]).

mod apply;
mod audit;
mod client;
mod faults;
mod kubectl;
mod metrics;
pub(crate) mod setup;
pub mod store;
mod tenant;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

pub use self::audit::{Request, counts};
pub use self::client::{Client, Patch};
pub use self::faults::{Fault, FaultyNetwork};
pub use self::metrics::Sample;
use self::setup::flags;
pub use self::tenant::{Tenant, User};
use crate::Result;
use crate::etcd::{self, Certificates, Cluster};
use crate::guarded::Guarded;
use crate::kubernetes::{eventually, tools};

/// How long the server may take to become ready on a busy machine.
const READY: Duration = Duration::from_secs(60);

/// The interval between looks at a server that starts.
const EVERY: Duration = Duration::from_millis(20);

/// The namespaces that the server creates after its start. kube-ipam reads the first one's UID.
const SYSTEM_NAMESPACES: [&str; 2] = ["kube-system", "default"];

/// Whether kube-apiserver and etcd are installed. If not, reports the test as skipped.
pub fn installed_or_skip(test: &str) -> bool {
    match tools::built("kube-apiserver") {
        Ok(_) => etcd::installed_or_skip(test),
        Err(missing) => {
            crate::skip(test, &missing);
            false
        }
    }
}

/// A running API server. It ends when this is dropped.
pub struct ApiServer {
    /// `None` while it is stopped.
    server: Option<Guarded>,
    args: Vec<String>,
    port: u16,
    /// A user with all permissions, whose requests count for no tenant.
    admin: Client,
    /// The file with the authority of its certificate.
    authority: PathBuf,
    tenants: AtomicU32,
    /// Its folder is the server's too, and is removed last.
    etcd: Cluster,
}

impl ApiServer {
    /// Starts a server; `None`, with the test reported as skipped, if it is not installed.
    ///
    /// # Panics
    /// If it does not start.
    pub fn start(test: &str) -> Option<Self> {
        installed_or_skip(test).then(|| Self::try_start().unwrap_or_else(|error| panic!("an API server: {error}")))
    }

    /// The server that all tests of this process share. The first one starts it.
    ///
    /// # Panics
    /// If it does not start.
    pub fn shared(test: &str) -> Option<&'static Self> {
        static SHARED: OnceLock<ApiServer> = OnceLock::new();
        installed_or_skip(test)
            .then(|| SHARED.get_or_init(|| Self::try_start().unwrap_or_else(|error| panic!("an API server: {error}"))))
    }

    /// Starts a server whose etcd has these flags besides the usual ones; `None`, with the test reported as skipped, if
    /// it is not installed.
    ///
    /// # Panics
    /// If it does not start.
    pub fn with_etcd(test: &str, flags: &[&str]) -> Option<Self> {
        let start = || Self::start_on(Cluster::plain_with(1, flags)?, &[]);
        installed_or_skip(test).then(|| start().unwrap_or_else(|error| panic!("an API server: {error}")))
    }

    fn try_start() -> Result<Self> {
        let etcd = Cluster::plain(1)?;
        let audit = audit::flags(etcd.folder());
        Self::start_on(etcd, &audit)
    }

    /// Starts a server for measurements. It writes no audit log, its etcd keeps its data in this folder, and it compacts
    /// nothing: otherwise, what a measurement finds would depend on when it happened.
    ///
    /// # Errors
    /// If it does not start.
    pub fn measured(data: &Path) -> Result<Self> {
        let etcd = Cluster::plain_with(1, &["--data-dir", &data.display().to_string()])?;
        Self::start_on(etcd, &flags(&[("etcd-compaction-interval", "0")]))
    }

    /// Starts a server on this etcd with these flags besides the usual ones.
    fn start_on(etcd: Cluster, more: &[String]) -> Result<Self> {
        let folder = etcd.folder().to_path_buf();
        let certificates = Certificates::write(&folder)?;
        let token = "token-of-admin";
        setup::write_files(&folder, &setup::token_line(token, "admin", "system:masters"))?;
        audit::write_policy(&folder)?;
        let port = etcd::free_port()?;
        let mut this = Self {
            server: None,
            args: Vec::new(),
            port,
            admin: Client::new(port, &certificates.ca, token)?,
            authority: certificates.ca.clone(),
            tenants: AtomicU32::new(0),
            etcd,
        };
        // Another test may take a free port before the server does.
        let mut attempts = 1..=3;
        loop {
            this.args = server_flags(&folder, &certificates, &this.etcd.urls().join(","), this.port);
            this.args.extend_from_slice(more);
            match this.start_again() {
                Ok(()) => return Ok(this),
                Err(error) if attempts.next().is_none() => return Err(error),
                Err(_) => {
                    this.server = None;
                    this.port = etcd::free_port()?;
                    this.admin = Client::new(this.port, &certificates.ca, token)?;
                }
            }
        }
    }

    /// Kills the server. Its etcd keeps running.
    ///
    /// # Errors
    /// If it can't be killed.
    pub fn stop(&mut self) -> Result<()> {
        self.server.take().map_or(Ok(()), |mut server| server.kill())
    }

    /// Starts a stopped server on the same port with the same etcd, and waits until it is ready.
    ///
    /// # Errors
    /// If it does not get ready.
    pub fn start_again(&mut self) -> Result<()> {
        let program = tools::built("kube-apiserver")?;
        let mut server = Guarded::spawn(&program, &self.args, &self.log(), self.etcd.folder())?;
        eventually("the API server is ready", READY, EVERY, || {
            if self.is_ready() {
                return Ok(Some(()));
            }
            match server.ended()? {
                None => Ok(None),
                Some(how) => Err(format!("the API server ended: {how}: {}", self.last_words()).into()),
            }
        })?;
        self.server = Some(server);
        Ok(())
    }

    /// Kills the server, and starts it again.
    ///
    /// # Errors
    /// If it does not get ready.
    pub fn restart(&mut self) -> Result<()> {
        self.stop()?;
        self.start_again()
    }

    /// Stops the server's process (SIGSTOP). The kernel still accepts connections, but nobody answers.
    ///
    /// # Errors
    /// If it is not running.
    pub fn pause(&self) -> Result<()> {
        self.server.as_ref().ok_or("the API server is stopped")?.pause()
    }

    /// Continues a paused server.
    ///
    /// # Errors
    /// If it is not running.
    pub fn resume(&self) -> Result<()> {
        self.server.as_ref().ok_or("the API server is stopped")?.resume()
    }

    /// Saves everything that the server has stored (`etcdctl snapshot save`).
    ///
    /// # Errors
    /// If etcd does not provide it.
    pub fn save(&self, snapshot: &Path) -> Result<()> {
        self.etcd.etcdctl(&["snapshot", "save", &snapshot.display().to_string()]).map(drop)
    }

    /// Replaces everything that the server has stored by a snapshot. The server is stopped meanwhile. Then its clock of
    /// resource versions is that of the snapshot.
    ///
    /// # Errors
    /// If etcd or the server does not get ready.
    pub fn restore(&mut self, snapshot: &Path) -> Result<()> {
        self.stop()?;
        self.etcd.restore(snapshot)?;
        self.start_again()
    }

    /// A client with all permissions.
    pub fn admin(&self) -> &Client {
        &self.admin
    }

    /// Its URL.
    pub fn url(&self) -> String {
        format!("https://127.0.0.1:{}", self.port)
    }

    /// Its folder, which is also its etcd's.
    pub fn folder(&self) -> &Path {
        self.etcd.folder()
    }

    /// Its etcd.
    pub fn etcd(&self) -> &Cluster {
        &self.etcd
    }

    /// The server's process id; `None` while it is stopped.
    pub fn pid(&self) -> Option<i32> {
        self.server.as_ref().map(|server| server.pid().as_raw_nonzero().get())
    }

    /// Creates a namespace that no other test uses, with a user who may do everything.
    ///
    /// # Errors
    /// If the server refuses it.
    pub fn tenant(&self) -> Result<Tenant<'_>> {
        let number = self.tenants.fetch_add(1, Ordering::Relaxed);
        Tenant::create(self, &format!("tenant-{number}"))
    }

    fn is_ready(&self) -> bool {
        // A server that starts refuses connections, and then answers 500, or 404.
        self.admin.get("/readyz").is_ok()
            && SYSTEM_NAMESPACES.iter().all(|name| self.admin.get(&format!("/api/v1/namespaces/{name}")).is_ok())
    }

    fn log(&self) -> PathBuf {
        self.etcd.folder().join("kube-apiserver.log")
    }

    fn last_words(&self) -> String {
        let log = fs::read_to_string(self.log()).unwrap_or_else(|error| error.to_string());
        crate::kubernetes::tail(&log)
    }
}

fn server_flags(folder: &Path, certificates: &Certificates, etcd: &str, port: u16) -> Vec<String> {
    let mut all = flags(&[
        ("advertise-address", "127.0.0.1"),
        ("bind-address", "127.0.0.1"),
        // Without a controller manager, no namespace has a service account for its pods.
        ("disable-admission-plugins", "ServiceAccount"),
        // The endpoints of the service "kubernetes" must not be on loopback.
        ("endpoint-reconciler-type", "none"),
        ("etcd-servers", etcd),
        ("secure-port", &port.to_string()),
        ("tls-cert-file", &certificates.server_cert.display().to_string()),
        ("tls-private-key-file", &certificates.server_key.display().to_string()),
    ]);
    all.extend(setup::common_flags(folder));
    all
}
