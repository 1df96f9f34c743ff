//! Runs etcd for tests: real members on free loopback ports, plain or with TLS and a user. They end when dropped, or with
//! the test's process.

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use kube_ipam::store::{EtcdConfig, Key};
use tempfile::TempDir;

use crate::Result;
use crate::guarded::Guarded;

mod certificates;

pub use self::certificates::Certificates;

/// How long members may take to become ready.
const READY: Duration = Duration::from_secs(30);

/// The user of a secure cluster, who may access only [`PREFIX`].
pub const USER: &str = "kube-ipam";

/// The prefix of that user, and of every configuration from [`Cluster::config`].
pub const PREFIX: &str = "/kube-ipam/v1/";

/// Whether etcd is installed. If not, reports the test as skipped.
pub fn installed_or_skip(test: &str) -> bool {
    let runs = |program: &str, args: &[&str]| {
        Command::new(program).args(args).stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|s| s.success())
    };
    let installed = runs("etcd", &["--version"]) && runs("etcdctl", &["version"]);
    if !installed {
        crate::skip(test, "etcd is not installed (apt-get install etcd-server etcd-client)");
    }
    installed
}

/// The members of one etcd cluster.
pub struct Cluster {
    members: Vec<Member>,
    certificates: Option<Certificates>,
    has_users: bool,
    /// It is removed after the members, which write to it.
    folder: TempDir,
}

/// The certificates that members have and require.
enum Tls {
    No,
    Own,
    /// Own ones that expire after this many days.
    For(i64),
    Of(Certificates),
}

/// A member's ports: for clients, for peers, and for metrics.
struct Ports {
    client: u16,
    peer: u16,
    metrics: u16,
}

impl Ports {
    fn free() -> Result<Self> {
        match free_ports(3)?[..] {
            [client, peer, metrics] => Ok(Self { client, peer, metrics }),
            _ => Err("no free ports".into()),
        }
    }
}

struct Member {
    args: Vec<String>,
    log: PathBuf,
    client: u16,
    metrics: u16,
    program: Guarded,
}

impl Cluster {
    /// Members that use plain http.
    pub fn plain(members: usize) -> Result<Self> {
        Self::start(members, &Tls::No, &[])
    }

    /// The same with more flags for each member.
    pub fn plain_with(members: usize, flags: &[&str]) -> Result<Self> {
        Self::start(members, &Tls::No, flags)
    }

    /// Members that require client certificates and a user's password.
    pub fn secure(members: usize) -> Result<Self> {
        let mut cluster = Self::encrypted(members)?;
        let range_end = format!("{}0", PREFIX.trim_end_matches('/'));
        cluster.require_user_with(&[&["readwrite", PREFIX, &range_end]])?;
        Ok(cluster)
    }

    /// Restricts the user to reading these keys one by one. Everything else is denied, including the read of a span
    /// that begins with one of them.
    pub fn restrict_to_reading(&mut self, keys: &[Key]) -> Result<()> {
        let keys: Vec<String> = keys.iter().map(|key| format!("{PREFIX}{key}")).collect();
        let rights: Vec<[&str; 2]> = keys.iter().map(|key| ["read", key.as_str()]).collect();
        self.require_user_with(&rights.iter().map(<[_; 2]>::as_slice).collect::<Vec<_>>())
    }

    fn require_user_with(&mut self, rights: &[&[&str]]) -> Result<()> {
        fs::write(self.password_file(), "correct horse\n")?;
        self.etcdctl(&["role", "add", "ipam"])?;
        for right in rights {
            self.etcdctl(&[&["role", "grant-permission", "ipam"], *right].concat())?;
        }
        self.etcdctl(&["user", "add", &format!("{USER}:correct horse")])?;
        self.etcdctl(&["user", "grant-role", USER, "ipam"])?;
        self.require_users()
    }

    /// Members that require client certificates and have no users.
    pub fn encrypted(members: usize) -> Result<Self> {
        Self::start(members, &Tls::Own, &[])
    }

    /// The same. The certificates of members and clients expire after this many days.
    pub fn encrypted_for(members: usize, days: i64) -> Result<Self> {
        Self::start(members, &Tls::For(days), &[])
    }

    /// One member without users, with the certificates of another cluster if that has any.
    pub fn beside(other: &Self) -> Result<Self> {
        Self::start(1, &other.certificates.as_ref().map_or(Tls::No, |files| Tls::Of(files.clone())), &[])
    }

    /// Makes it serve only users with permissions. These are root and the users that were added before.
    pub fn require_users(&mut self) -> Result<()> {
        self.etcdctl(&["user", "add", "root:root"])?;
        self.etcdctl(&["user", "grant-role", "root", "root"])?;
        self.etcdctl(&["auth", "enable"])?;
        self.has_users = true;
        Ok(())
    }

    fn start(count: usize, tls: &Tls, flags: &[&str]) -> Result<Self> {
        // Another test may take a free port before etcd does.
        let mut last = None;
        for _ in 0..3 {
            match Self::try_start(count, tls, flags) {
                Ok(cluster) => return Ok(cluster),
                Err(e) => last = Some(e),
            }
        }
        Err(last.unwrap_or_else(|| "no etcd was started".into()))
    }

    fn try_start(count: usize, tls: &Tls, flags: &[&str]) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("kube-ipam-e2e-").tempdir()?;
        let certificates = match tls {
            Tls::No => None,
            Tls::Own => Some(Certificates::write(folder.path())?),
            Tls::For(days) => Some(Certificates::write_for(folder.path(), *days)?),
            Tls::Of(files) => Some(files.clone()),
        };
        let ports = (0..count).map(|_| Ports::free()).collect::<Result<Vec<_>>>()?;
        let peers: Vec<String> =
            ports.iter().enumerate().map(|(i, ports)| format!("m{i}=http://127.0.0.1:{}", ports.peer)).collect();
        let mut cluster = Self { members: Vec::new(), certificates, has_users: false, folder };
        for ports in ports {
            let peers = ["--initial-cluster".to_owned(), peers.join(",")];
            cluster.add_member(ports, peers.into_iter().chain(flags.iter().map(|flag| (*flag).to_owned())))?;
        }
        (0..count).try_for_each(|i| cluster.wait_until_ready(i))?;
        Ok(cluster)
    }

    /// Starts another member.
    fn add_member(&mut self, ports: Ports, flags: impl Iterator<Item = String>) -> Result<()> {
        let i = self.members.len();
        let mut args = member_args(self.folder.path(), i, &ports, self.certificates.as_ref());
        args.extend(flags);
        let log = self.folder.path().join(format!("m{i}.log"));
        let program = spawn(&args, &log, self.folder.path())?;
        self.members.push(Member { args, log, client: ports.client, metrics: ports.metrics, program });
        Ok(())
    }

    /// Adds a learner (`etcdctl member add --learner`) as the last member, and waits until it serves a learner's
    /// requests.
    pub fn add_learner(&mut self) -> Result<()> {
        let ports = Ports::free()?;
        let (port, name) = (ports.client, format!("m{}", self.members.len()));
        let peer_url = format!("--peer-urls=http://127.0.0.1:{}", ports.peer);
        let said = self.etcdctl(&["member", "add", &name, "--learner", &peer_url])?;
        let peers = said.lines().find_map(|line| line.strip_prefix("ETCD_INITIAL_CLUSTER=")).ok_or("no cluster")?;
        let flags = ["--initial-cluster", peers.trim_matches('"'), "--initial-cluster-state", "existing"];
        self.add_member(ports, flags.map(str::to_owned).into_iter())?;
        let until = Instant::now() + READY;
        // A learner has no vote, so its health page never reports it as healthy.
        while self.etcdctl_at(port, &["endpoint", "status"]).is_err() {
            if Instant::now() > until {
                return Err("the learner did not get ready".into());
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    fn wait_until_ready(&mut self, member: usize) -> Result<()> {
        let until = Instant::now() + READY;
        let member = &mut self.members[member];
        loop {
            if get(member.metrics, "/health").is_ok_and(|body| body.contains(r#""health":"true""#)) {
                return Ok(());
            }
            let ended = member.program.ended()?;
            if ended.is_some() || Instant::now() > until {
                let log = fs::read_to_string(&member.log).unwrap_or_default();
                let tail: Vec<&str> = log.lines().rev().take(5).collect();
                return Err(format!("etcd did not get ready ({ended:?}): {}", tail.join("\n")).into());
            }
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// The members' URLs.
    pub fn urls(&self) -> Vec<String> {
        self.members.iter().map(|member| self.url(member.client)).collect()
    }

    fn url(&self, port: u16) -> String {
        let scheme = if self.certificates.is_some() { "https" } else { "http" };
        format!("{scheme}://127.0.0.1:{port}")
    }

    /// The paths of its certificates, if it uses TLS.
    pub fn certificates(&self) -> Option<&Certificates> {
        self.certificates.as_ref()
    }

    /// The client port of a member.
    pub fn port(&self, member: usize) -> u16 {
        self.members[member].client
    }

    /// The configuration of a client that may use [`PREFIX`].
    pub fn config(&self) -> EtcdConfig {
        let certificates = self.certificates.as_ref();
        EtcdConfig {
            urls: self.urls(),
            cert_file: certificates.map(|files| files.client_cert.clone()),
            key_file: certificates.map(|files| files.client_key.clone()),
            ca_file: certificates.map(|files| files.ca.clone()),
            username: self.has_users.then(|| USER.to_owned()),
            password_file: self.has_users.then(|| self.password_file()),
            prefix: PREFIX.to_owned(),
        }
    }

    /// The file with the password of [`USER`].
    pub fn password_file(&self) -> PathBuf {
        self.folder.path().join("password")
    }

    /// Its folder, in which a test may keep files too.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Kills a member.
    pub fn kill(&mut self, member: usize) -> Result<()> {
        self.members[member].program.kill()
    }

    /// Starts a killed member again, and waits until it is ready.
    pub fn restart(&mut self, member: usize) -> Result<()> {
        let it = &mut self.members[member];
        it.program = spawn(&it.args, &it.log, self.folder.path())?;
        self.wait_until_ready(member)
    }

    /// Replaces all data of the only member by a snapshot (`etcdctl snapshot save`), and waits until it is ready.
    pub fn restore(&mut self, snapshot: &Path) -> Result<()> {
        self.kill(0)?;
        let args = &self.members[0].args;
        let of = |flag: &str| {
            let value = args.iter().position(|arg| arg == flag).and_then(|i| args.get(i + 1));
            value.cloned().ok_or_else(|| format!("no {flag}"))
        };
        let (data, peer) = (of("--data-dir")?, of("--initial-advertise-peer-urls")?);
        fs::remove_dir_all(&data)?;
        let snapshot = snapshot.display().to_string();
        let cluster = format!("m0={peer}");
        self.etcdctl(&[
            "snapshot",
            "restore",
            &snapshot,
            "--name=m0",
            &format!("--data-dir={data}"),
            &format!("--initial-cluster={cluster}"),
            &format!("--initial-advertise-peer-urls={peer}"),
        ])?;
        self.restart(0)
    }

    /// Stops a member (SIGSTOP). The kernel still accepts connections, but the member does not respond.
    pub fn stop(&self, member: usize) -> Result<()> {
        self.members[member].program.pause()
    }

    /// Continues a stopped member, and waits until it is ready, which requires a leader.
    pub fn go_on(&mut self, member: usize) -> Result<()> {
        self.members[member].program.resume()?;
        self.wait_until_ready(member)
    }

    /// A member's metric, summed over its labels, such as `grpc_server_handled_total`.
    pub fn metric(&self, member: usize, name: &str) -> Result<f64> {
        let body = get(self.members[member].metrics, "/metrics")?;
        let of_name = |line: &&str| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' ']));
        let number = |line: &str| line.rsplit(' ').next().and_then(|number| number.parse::<f64>().ok());
        Ok(body.lines().filter(of_name).filter_map(number).sum())
    }

    /// Runs etcdctl on the first member, as root if there are users. Returns its output.
    pub fn etcdctl(&self, args: &[&str]) -> Result<String> {
        self.etcdctl_at(self.members[0].client, args)
    }

    fn etcdctl_at(&self, port: u16, args: &[&str]) -> Result<String> {
        let mut command = Command::new("etcdctl");
        command.env("ETCDCTL_API", "3").arg("--endpoints").arg(self.url(port));
        if let Some(files) = &self.certificates {
            command.arg("--cacert").arg(&files.ca).arg("--cert").arg(&files.client_cert);
            command.arg("--key").arg(&files.client_key);
        }
        if self.has_users {
            command.args(["--user", "root:root"]);
        }
        let output = command.args(args).stdin(Stdio::null()).output()?;
        if !output.status.success() {
            return Err(format!("etcdctl {args:?}: {}", String::from_utf8_lossy(&output.stderr)).into());
        }
        Ok(String::from_utf8(output.stdout)?)
    }
}

/// Whether this machine has an IPv6 loopback.
pub fn has_ipv6() -> bool {
    TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_ok()
}

/// A loopback port on which nothing listens.
pub fn free_port() -> Result<u16> {
    free_ports(1)?.pop().ok_or_else(|| "no free port".into())
}

/// Free ports. They are all open at the same time, so that they differ.
fn free_ports(count: usize) -> Result<Vec<u16>> {
    let held: Vec<TcpListener> =
        (0..count).map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0))).collect::<std::io::Result<_>>()?;
    Ok(held.iter().map(|listener| listener.local_addr().map(|at| at.port())).collect::<std::io::Result<_>>()?)
}

/// The flags of a member, except those that name its peers.
fn member_args(folder: &Path, i: usize, ports: &Ports, certificates: Option<&Certificates>) -> Vec<String> {
    let Ports { client, peer, metrics } = ports;
    let scheme = if certificates.is_some() { "https" } else { "http" };
    let data = folder.join(format!("kube-ipam-e2e-m{i}"));
    let mut listen = format!("{scheme}://127.0.0.1:{client}");
    if has_ipv6() {
        listen.push_str(&format!(",{scheme}://[::1]:{client}"));
    }
    let mut args: Vec<String> = [
        ("--name", format!("m{i}")),
        ("--data-dir", data.display().to_string()),
        ("--listen-client-urls", listen.clone()),
        ("--advertise-client-urls", listen),
        ("--listen-peer-urls", format!("http://127.0.0.1:{peer}")),
        ("--initial-advertise-peer-urls", format!("http://127.0.0.1:{peer}")),
        ("--initial-cluster-token", folder.display().to_string()),
        ("--listen-metrics-urls", format!("http://127.0.0.1:{metrics}")),
        ("--logger", "zap".to_owned()),
    ]
    .into_iter()
    .flat_map(|(flag, value)| [flag.to_owned(), value])
    .collect();
    if let Some(certificates) = certificates {
        args.extend(["--client-cert-auth".to_owned()]);
        let files = [
            ("--trusted-ca-file", &certificates.ca),
            ("--cert-file", &certificates.server_cert),
            ("--key-file", &certificates.server_key),
        ];
        args.extend(files.into_iter().flat_map(|(flag, file)| [flag.to_owned(), file.display().to_string()]));
    }
    args
}

fn spawn(args: &[String], log: &Path, folder: &Path) -> Result<Guarded> {
    Guarded::spawn(Path::new("etcd"), args, log, folder)
}

/// Reads from a member's metrics listener, which uses plain http in every cluster.
fn get(port: u16, path: &str) -> Result<String> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_read_timeout(Some(Duration::from_secs(2)))?;
    stream.write_all(format!("GET {path} HTTP/1.0\r\n\r\n").as_bytes())?;
    let mut body = String::new();
    stream.read_to_string(&mut body)?;
    Ok(body)
}
