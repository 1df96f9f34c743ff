//! A network between clients and a real API server that fails at random.
//!
//! ```text
//!  client ── TLS, with a certificate of its own ──► FaultyNetwork ── TLS, one connection for each request ──► ApiServer
//! ```
//!
//! The fault of a request follows from a seed and the request's number. Threads of the test may take turns in another
//! order in the next run, so a seed repeats the faults, and not the whole run.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use kube_ipam::apiserver::Access;
use kube_ipam::ipam::seed::SplitMix64;
use kube_ipam::store::KubernetesConfig;
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{Client, Tenant, User};
use crate::Result;
use crate::api::hear;
use crate::etcd::Certificates;

/// Of so many writes, one is faulty.
const FAULTY_WRITES: u128 = 5;

/// Of so many reads, one is faulty.
const FAULTY_READS: u128 = 12;

/// How many other requests a held one lets pass, at most.
const HELD_FOR: u128 = 12;

/// How long a request is held if there are no others.
const LONGEST_HOLD: Duration = Duration::from_millis(400);

/// More than a client reads of an object.
const TOO_LARGE: usize = 3 << 20;

/// What happens to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// It waits for others.
    Delayed,
    /// The connection is closed before the request is sent on.
    NotSent,
    /// The connection is closed after the server has answered.
    AnswerLost,
    /// The connection is closed, and the request is sent on later.
    Late,
    /// It is sent on twice, and the client gets the second answer, as from a proxy that lost the first.
    Twice,
    /// It is sent on again after the client has its answer.
    TwiceLate,
    /// The server is too busy (429), and does nothing.
    Busy,
    /// etcd does not answer the server in time (500), but has done it.
    TimedOut,
    /// A proxy has no server (503).
    Unavailable,
    /// A proxy has lost the server (502), which has done it.
    ServerLost,
    /// The answer ends in the middle.
    CutOff,
    /// The answer is larger than any object.
    TooLarge,
    /// A proxy does not know the path (404).
    UnknownPath,
    /// A webhook denies the request (403).
    Webhook,
}

/// The faults of reads.
const READS: [Fault; 8] = [
    Fault::Delayed,
    Fault::NotSent,
    Fault::AnswerLost,
    Fault::Busy,
    Fault::TimedOut,
    Fault::Unavailable,
    Fault::CutOff,
    Fault::UnknownPath,
];

/// The faults of writes.
const WRITES: [Fault; 14] = [
    Fault::Delayed,
    Fault::NotSent,
    Fault::AnswerLost,
    Fault::Late,
    Fault::Twice,
    Fault::TwiceLate,
    Fault::Busy,
    Fault::TimedOut,
    Fault::Unavailable,
    Fault::ServerLost,
    Fault::CutOff,
    Fault::TooLarge,
    Fault::UnknownPath,
    Fault::Webhook,
];

/// The network. It ends when this is dropped, and each connection with its client.
pub struct FaultyNetwork {
    address: SocketAddr,
    shared: Arc<Shared>,
    folder: TempDir,
}

struct Shared {
    seed: u64,
    tls: Arc<ServerConfig>,
    server: Client,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    requests: u64,
    faults: BTreeMap<Fault, usize>,
    /// Requests whose client is gone, or has its answer.
    late: usize,
    healed: bool,
    ended: bool,
    /// The fault of requests whose path contains a text. There are no others then.
    planted: Option<(String, Fault)>,
    /// Every request, with its fault and the server's answer, in the order in which the server answered. It is printed
    /// when the test fails.
    journal: Vec<String>,
}

struct Request {
    head: String,
    body: Vec<u8>,
}

impl FaultyNetwork {
    /// A network between this user and the API server.
    ///
    /// # Errors
    /// If there is no free port, or its certificates can't be written.
    pub fn start(user: &User, seed: u64) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("kube-ipam-network-").tempdir()?;
        let certificates = Certificates::write(folder.path())?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let mut kubeconfig: Value = serde_json::from_str(&fs::read_to_string(&user.kubeconfig)?)?;
        let cluster = &mut kubeconfig["clusters"][0]["cluster"];
        *cluster = json!({ "server": format!("https://{address}"), "certificate-authority": certificates.ca });
        let shared = Arc::new(Shared {
            seed,
            tls: certificates.server_tls(&[b"http/1.1"])?,
            server: user.client.clone(),
            state: Mutex::default(),
            changed: Condvar::new(),
        });
        let network = Self { address, shared: Arc::clone(&shared), folder };
        fs::write(network.kubeconfig(), kubeconfig.to_string())?;
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if shared.state().ended {
                    break;
                }
                let shared = Arc::clone(&shared);
                // A client may disconnect at any time, and one that fails to connect is one more fault.
                thread::spawn(move || drop(shared.serve(client)));
            }
        });
        Ok(network)
    }

    /// A kubeconfig of the user that names this network.
    pub fn kubeconfig(&self) -> PathBuf {
        self.folder.path().join("kubeconfig")
    }

    /// A tenant's store behind this network.
    pub fn store(&self, tenant: &Tenant<'_>) -> KubernetesConfig {
        let access = vec![Access::Kubeconfig(self.kubeconfig())];
        KubernetesConfig { access, namespace: tenant.namespace().to_owned() }
    }

    /// From now on, only the requests whose path contains this text have a fault, and all of them this one.
    pub fn plant(&self, path: &str, fault: Fault) {
        self.shared.state().planted = Some((path.to_owned(), fault));
    }

    /// Ends all faults, and waits until each late request was answered. Returns how many requests had each fault, and the
    /// number of all.
    pub fn heal(&self) -> (BTreeMap<Fault, usize>, u64) {
        let mut state = self.shared.state();
        state.healed = true;
        self.shared.changed.notify_all();
        let state = self.shared.changed.wait_while(state, |state| state.late > 0);
        let state = state.unwrap_or_else(PoisonError::into_inner);
        (state.faults.clone(), state.requests)
    }
}

impl Drop for FaultyNetwork {
    fn drop(&mut self) {
        let mut state = self.shared.state();
        (state.healed, state.ended) = (true, true);
        drop(state);
        self.shared.changed.notify_all();
        // The thread waits for the next client.
        let _ = TcpStream::connect(self.address);
        if thread::panicking() {
            println!("the seed of the network is {}", self.shared.seed);
            self.shared.state().journal.iter().for_each(|line| println!("{line}"));
        }
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Serves a connection until its client, or a fault, ends it.
    fn serve(self: &Arc<Self>, client: TcpStream) -> Result<()> {
        client.set_nodelay(true)?;
        let mut stream = StreamOwned::new(ServerConnection::new(Arc::clone(&self.tls))?, client);
        while let Some((head, body)) = hear(&mut stream)? {
            let (answer, ends) = self.pass(Request { head, body })?;
            stream.write_all(&answer)?;
            stream.flush()?;
            if ends {
                break;
            }
        }
        Ok(stream.sock.shutdown(Shutdown::Both)?)
    }

    /// Passes a request on, unless its fault prevents it. Returns what the client gets, and whether its connection ends.
    fn pass(self: &Arc<Self>, request: Request) -> io::Result<(Vec<u8>, bool)> {
        let (fault, mut random) = self.next_fault(&request);
        if let Some(fault) = fault {
            self.note(&request, &format!("{fault:?}"));
        }
        let nothing = (Vec::new(), true);
        let answered = |answer: Vec<u8>| (answer, false);
        let Some(fault) = fault else { return self.forward(&request).map(answered) };
        Ok(match fault {
            Fault::Delayed => {
                self.hold(&mut random);
                answered(self.forward(&request)?)
            }
            Fault::NotSent => nothing,
            Fault::AnswerLost => {
                self.forward(&request)?;
                nothing
            }
            Fault::Late => {
                self.forward_later(request, random);
                nothing
            }
            Fault::Twice => {
                self.forward(&request)?;
                answered(self.forward(&request)?)
            }
            Fault::TwiceLate => {
                let answer = self.forward(&request)?;
                self.forward_later(request, random);
                answered(answer)
            }
            Fault::Busy => answered(busy(&mut random)),
            Fault::TimedOut => {
                self.forward(&request)?;
                answered(status(500, "etcdserver: request timed out"))
            }
            Fault::Unavailable => answered(page("503 Service Unavailable")),
            Fault::ServerLost => {
                self.forward(&request)?;
                answered(page("502 Bad Gateway"))
            }
            Fault::CutOff => {
                let mut answer = self.forward(&request)?;
                answer.truncate(answer.len() - 20);
                (answer, true)
            }
            Fault::TooLarge => {
                self.forward(&request)?;
                // The client stops reading.
                (response("200 OK", "application/json", &b" ".repeat(TOO_LARGE)), true)
            }
            Fault::UnknownPath => answered(page("404 Not Found")),
            Fault::Webhook => answered(status(403, "admission webhook \"deny.example.org\" denied the request: no")),
        })
    }

    fn next_fault(&self, request: &Request) -> (Option<Fault>, SplitMix64) {
        let mut state = self.state();
        state.requests += 1;
        self.changed.notify_all();
        let mut random = SplitMix64::of(&format!("{}/{}", self.seed, state.requests));
        if let Some((path, fault)) = &state.planted {
            let has_fault = request.path().contains(path.as_str()) && !state.healed;
            return (has_fault.then_some(*fault), random);
        }
        let (one_of, faults): (u128, &[Fault]) =
            if request.is_read() { (FAULTY_READS, &READS) } else { (FAULTY_WRITES, &WRITES) };
        if state.healed || random.below(one_of) > 0 {
            return (None, random);
        }
        let chosen = usize::try_from(random.below(faults.len() as u128)).unwrap_or_default();
        let fault = faults[chosen];
        *state.faults.entry(fault).or_default() += 1;
        (Some(fault), random)
    }

    /// Waits until some other requests have passed.
    fn hold(&self, random: &mut SplitMix64) {
        let state = self.state();
        let until = state.requests + u64::try_from(random.below(HELD_FOR)).unwrap_or_default();
        let waits = |state: &mut State| state.requests < until && !state.healed;
        drop(self.changed.wait_timeout_while(state, LONGEST_HOLD, waits));
    }

    fn forward_later(self: &Arc<Self>, request: Request, mut random: SplitMix64) {
        self.state().late += 1;
        let shared = Arc::clone(self);
        thread::spawn(move || {
            shared.hold(&mut random);
            // Nobody waits for the answer.
            let _ = shared.forward(&request);
            shared.state().late -= 1;
            shared.changed.notify_all();
        });
    }

    fn note(&self, request: &Request, what: &str) {
        let line = request.head.lines().next().unwrap_or_default().trim_end_matches(" HTTP/1.1");
        let name = line.rsplit_once('/').map_or(line, |(_, name)| name);
        let verb = line.split(' ').next().unwrap_or_default();
        let line = format!("{verb} {name} {} -> {what}", essence(&request.body));
        self.state().journal.push(line);
    }

    /// The server's answer.
    fn forward(&self, request: &Request) -> io::Result<Vec<u8>> {
        // HTTP/1.0 has no chunks: the body ends with the connection.
        let head = request.head.replacen("HTTP/1.1", "HTTP/1.0", 1);
        let answer = self.server.exchange(&[head.as_bytes(), &request.body].concat())?;
        let end = answer.windows(4).position(|four| four == b"\r\n\r\n").ok_or(io::ErrorKind::UnexpectedEof)?;
        let head = String::from_utf8_lossy(&answer[..end]);
        let status = head.lines().next().and_then(|line| line.split_once(' ')).ok_or(io::ErrorKind::InvalidData)?.1;
        self.note(request, &format!("{status} {}", essence(&answer[end + 4..])));
        Ok(response(status, "application/json", &answer[end + 4..]))
    }
}

impl Request {
    fn path(&self) -> &str {
        self.head.split(' ').nth(1).unwrap_or_default()
    }

    fn is_read(&self) -> bool {
        self.head.starts_with("GET ")
    }
}

/// An object without what is the same in all of them.
fn essence(body: &[u8]) -> String {
    let Ok(mut object) = serde_json::from_slice::<Value>(body) else { return String::new() };
    let parts = ["uid", "resourceVersion"].map(|key| object["metadata"][key].take());
    let rest = [&object["spec"], &object["preconditions"], &object["message"]].map(Value::to_string);
    format!("{parts:?} {}", rest.join(" "))
}

fn response(status: &str, content_type: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let head = format!("HTTP/1.1 {status}\r\ncontent-type: {content_type}\r\ncontent-length: {length}\r\n\r\n");
    [head.as_bytes(), body].concat()
}

/// An answer of the API server (API conventions, "Response Status Kind").
fn status(code: u16, message: &str) -> Vec<u8> {
    let status = json!({ "kind": "Status", "apiVersion": "v1", "status": "Failure", "message": message, "code": code });
    response(&code.to_string(), "application/json", status.to_string().as_bytes())
}

/// The same, from a server that may ask for a pause.
fn busy(random: &mut SplitMix64) -> Vec<u8> {
    let mut answer = status(429, "too many requests, please try again later");
    if random.below(4) == 0 {
        let line = answer.windows(2).position(|two| two == b"\r\n").unwrap_or_default();
        answer.splice(line..line, *b"\r\nretry-after: 1");
    }
    answer
}

/// An answer of a proxy.
fn page(status: &str) -> Vec<u8> {
    response(status, "text/html", format!("<html><body><h1>{status}</h1></body></html>").as_bytes())
}
