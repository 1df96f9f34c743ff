//! An API server on loopback, without TLS, with a few pods and claims. It serves only the requests that kube-ipam
//! sends.

mod claims;
mod inventory;
mod machines;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use self::claims::Claims;
pub use self::claims::claim;
use self::inventory::Inventory;
pub use self::inventory::{controller_rules, installed_rules, rule};
pub use self::machines::{instance, launcher, migration};
use crate::api_server::Client;
use crate::crowd;
use crate::node::Node;

/// The namespace of all pods.
pub const NAMESPACE: &str = "db";

/// The cluster of a server, unless a test sets another.
pub const CLUSTER: &str = "5d0c6e0e-7f0b-4a53-9c59-0a8a4c1f6f01";

/// The node of all pods.
const NODE: &str = "node-1";

/// The resources of the Kubernetes store, which a real server has.
const STORE: &str = "/apis/kube-ipam.cloudnativer.io/";

/// How the server responds to a request for a pod.
#[derive(Clone, Debug)]
enum Scenario {
    /// It sends this status and document.
    Answers(u16, Value),
    /// It closes the connection.
    HangsUp,
    /// It never responds.
    Silent,
}

/// How the server responds to a list of pods.
#[derive(Clone, Debug, Default)]
enum List {
    /// It lists the pods in two pages.
    #[default]
    Whole,
    /// It sends the first page, and this status instead of the second.
    BreaksOff(u16),
    /// It sends this status and document.
    Answers(u16, Value),
}

#[derive(Default)]
struct Pods {
    scenarios: BTreeMap<String, Scenario>,
    list: List,
    /// The UID of the namespace kube-system; empty for [`CLUSTER`].
    cluster: String,
    /// The response to a request for that UID, unless it is the UID.
    on_identity: Option<Scenario>,
    /// How many times that UID was requested.
    identity_asked: usize,
    asked: Vec<String>,
    /// The response to an event, unless it is created.
    on_event: Option<Scenario>,
    events: Vec<Value>,
    /// All events that exist, and the response to a list of them, unless it is these.
    published: Vec<Value>,
    on_event_list: Option<Scenario>,
    nodes: Vec<String>,
    claims: Claims,
    inventory: Inventory,
    /// The only Lease, and how many times it was written.
    lease: Option<Value>,
    writes: u64,
    /// Whether every request for the Lease is refused.
    no_leases: bool,
    /// How many pods of [`crate::crowd`] exist too, and which of them are gone.
    crowd: u32,
    crowd_lost: BTreeSet<u32>,
    /// The watches of pods and events.
    watchers: Vec<(&'static str, Sender<Value>)>,
    /// The server that has the resources of [`STORE`].
    store: Option<Client>,
}

/// A response, or the lines of a watch.
enum Reply {
    Whole(Scenario),
    Watched(Receiver<Value>),
}

/// The server. It ends with the test's process.
pub struct Api {
    address: SocketAddr,
    pods: Arc<Mutex<Pods>>,
}

impl Api {
    /// A server without pods.
    ///
    /// # Errors
    /// If there is no free port.
    pub fn start() -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let api = Self { address: listener.local_addr()?, pods: Arc::default() };
        let pods = api.pods.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let pods = pods.clone();
                // A client may disconnect at any time.
                thread::spawn(move || drop(serve(stream, &pods)));
            }
        });
        Ok(api)
    }

    /// Writes a kubeconfig for this server.
    ///
    /// # Errors
    /// If it can't be written.
    pub fn kubeconfig(&self, folder: &Path) -> io::Result<PathBuf> {
        let path = folder.join("kubeconfig");
        let kubeconfig = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "here",
            "contexts": [{ "name": "here", "context": { "cluster": "c", "user": "u" } }],
            "clusters": [{ "name": "c", "cluster": { "server": format!("http://{}", self.address) } }],
            "users": [{ "name": "u", "user": { "token": "t" } }],
        });
        std::fs::write(&path, kubeconfig.to_string())?;
        Ok(path)
    }

    /// Writes a kubeconfig for this server into a node's folder. If a real server has the node's store, this one passes
    /// the requests for it on, because a node has one kubeconfig for its store and its pods.
    ///
    /// # Errors
    /// If it can't be written.
    pub fn kubeconfig_of(&self, node: &Node) -> io::Result<PathBuf> {
        self.pods().store = node.api_server().cloned();
        self.kubeconfig(&node.path(""))
    }

    /// Creates or replaces a pod with this name, phase and annotations.
    pub fn has(&self, name: &str, uid: &str, phase: &str, annotations: &Value) {
        self.shows(name, &pod(name, uid, phase, annotations));
    }

    /// Creates or replaces a pod.
    pub fn shows(&self, name: &str, pod: &Value) {
        self.pods().scenarios.insert(name.to_owned(), Scenario::Answers(200, pod.clone()));
    }

    /// Deletes the pod with this name.
    pub fn lost(&self, name: &str) {
        let mut pods = self.pods();
        if let Some(Scenario::Answers(200, pod)) = pods.scenarios.remove(name) {
            pods.tell(
                "pods",
                &json!({ "type": "DELETED", "object": { "metadata": pod["metadata"], "spec": pod["spec"] } }),
            );
        }
    }

    /// Creates this many pods of [`crate::crowd`] besides the others.
    pub fn has_crowd(&self, count: u32) {
        self.pods().crowd = count;
    }

    /// Deletes this pod of the crowd.
    pub fn crowd_loses(&self, number: u32) {
        let mut pods = self.pods();
        pods.crowd_lost.insert(number);
        pods.tell("pods", &json!({ "type": "DELETED", "object": crowd::pod(number) }));
    }

    /// Ends all watches in the regular way.
    pub fn ends_watches(&self) {
        self.pods().watchers.clear();
    }

    /// Compacts the resourceVersion from which watches would continue.
    pub fn forgets(&self) {
        let status = json!({ "kind": "Status", "code": 410, "reason": "Expired", "message": "too old" });
        let mut pods = self.pods();
        pods.tell("pods", &json!({ "type": "ERROR", "object": status }));
        pods.watchers.clear();
    }

    /// How many watches of `pods` or `events` there are.
    pub fn watchers(&self, what: &str) -> usize {
        self.pods().watchers.iter().filter(|(watched, _)| *watched == what).count()
    }

    /// Refuses all requests for a Lease, or no longer.
    pub fn refuses_leases(&self, refuses: bool) {
        self.pods().no_leases = refuses;
    }

    /// The holder of the Lease; empty if there is none.
    pub fn leader(&self) -> String {
        let holder = self.pods().lease.as_ref().map(|lease| lease["spec"]["holderIdentity"].clone());
        holder.and_then(|holder| holder.as_str().map(str::to_owned)).unwrap_or_default()
    }

    /// Responds to requests for this pod with this status and an empty body.
    pub fn fails(&self, name: &str, status: u16) {
        self.answers(name, status, &Value::Null);
    }

    /// Responds to requests for this object with this status and document.
    pub fn answers(&self, name: &str, status: u16, document: &Value) {
        self.pods().scenarios.insert(name.to_owned(), Scenario::Answers(status, document.clone()));
    }

    /// Closes the connection of requests for this pod.
    pub fn hangs_up(&self, name: &str) {
        self.pods().scenarios.insert(name.to_owned(), Scenario::HangsUp);
    }

    /// Responds to events with this status and body.
    pub fn refuses_events(&self, status: u16, body: &Value) {
        self.pods().on_event = Some(Scenario::Answers(status, body.clone()));
    }

    /// Closes the connection of events.
    pub fn hangs_up_on_events(&self) {
        self.pods().on_event = Some(Scenario::HangsUp);
    }

    /// The events since the last call, created or not.
    pub fn events(&self) -> Vec<Value> {
        std::mem::take(&mut self.pods().events)
    }

    /// Publishes an event, as another component does.
    pub fn publishes(&self, event: &Value) {
        self.pods().published.push(event.clone());
    }

    /// Responds with this status and document to requests for the events of a pod.
    pub fn refuses_event_lists(&self, status: u16, document: &Value) {
        self.pods().on_event_list = Some(Scenario::Answers(status, document.clone()));
    }

    /// Sets the cluster's identity: the UID of the namespace kube-system.
    pub fn is_of_cluster(&self, uid: &str) {
        uid.clone_into(&mut self.pods().cluster);
    }

    /// Responds with this status and body to requests for the cluster's identity; with `None`, returns it again.
    pub fn hides_its_cluster(&self, answer: Option<(u16, Value)>) {
        self.pods().on_identity = answer.map(|(status, body)| Scenario::Answers(status, body));
    }

    /// How many times the cluster's identity was requested since the last call.
    pub fn identity_asked(&self) -> usize {
        std::mem::take(&mut self.pods().identity_asked)
    }

    /// Returns complete lists of pods again.
    pub fn lists_all(&self) {
        self.pods().list = List::Whole;
    }

    /// Responds with this status to requests for the second page of the list of pods.
    pub fn list_breaks_off(&self, status: u16) {
        self.pods().list = List::BreaksOff(status);
    }

    /// Responds with this status and document to requests for the list of pods.
    pub fn lists(&self, status: u16, document: &Value) {
        self.pods().list = List::Answers(status, document.clone());
    }

    /// Sets the cluster's nodes.
    pub fn has_nodes(&self, names: &[&str]) {
        self.pods().nodes = names.iter().map(|name| (*name).to_owned()).collect();
    }

    /// The pods that were requested since the last call. `pods` stands for the list, `pods of <node>` for that of a
    /// node.
    pub fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.pods().asked)
    }

    fn pods(&self) -> MutexGuard<'_, Pods> {
        self.pods.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A pod in the server's format.
pub fn pod(name: &str, uid: &str, phase: &str, annotations: &Value) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "namespace": NAMESPACE, "name": name, "uid": uid, "annotations": annotations,
            "creationTimestamp": "2026-11-01T10:00:00Z",
        },
        "spec": { "nodeName": NODE },
        "status": { "phase": phase, "startTime": "2026-11-01T10:00:01Z" },
    })
}

/// The server's response to a client without permission.
#[must_use]
pub fn forbidden(resource: &str, name: &str) -> Value {
    let message = format!("{resource} {name:?} is forbidden: User \"u\" cannot get resource {resource:?}");
    json!({ "kind": "Status", "status": "Failure", "reason": "Forbidden", "code": 403, "message": message })
}

/// A page of a metadata list, with the token for the next page.
#[must_use]
pub fn list_of(pods: &[&Value], rest: &str) -> Value {
    let items: Vec<Value> = pods.iter().map(|pod| json!({ "metadata": pod["metadata"] })).collect();
    json!({
        "kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1",
        "metadata": { "resourceVersion": "7", "continue": rest }, "items": items,
    })
}

impl Pods {
    /// Sends a line to all watches of this kind, and removes those that have ended.
    fn tell(&mut self, what: &str, line: &Value) {
        self.watchers.retain(|(watched, watcher)| *watched != what || watcher.send(line.clone()).is_ok());
    }

    /// Reads, creates or updates the Lease. An update needs the current resourceVersion.
    fn lease(&mut self, verb: &str, name: &str, sent: &[u8]) -> io::Result<Scenario> {
        let status = |code: u16, reason: &str| {
            let message = format!("leases {name:?}: {reason}: User \"u\"");
            let details = json!({ "name": name, "group": "coordination.k8s.io", "kind": "leases" });
            let status = json!({ "kind": "Status", "reason": reason, "message": message, "details": details });
            Ok(Scenario::Answers(code, status))
        };
        if self.no_leases {
            return status(403, "Forbidden");
        }
        let version = |lease: &Value| lease["metadata"]["resourceVersion"].clone();
        let mut written = match (verb, &self.lease) {
            ("GET", Some(lease)) => return Ok(Scenario::Answers(200, lease.clone())),
            ("GET" | "PUT", None) => return status(404, "NotFound"),
            ("POST", Some(_)) => return status(409, "AlreadyExists"),
            (_, before) => {
                let written: Value = serde_json::from_slice(sent)?;
                if before.as_ref().is_some_and(|before| version(before) != version(&written)) {
                    return status(409, "Conflict");
                }
                written
            }
        };
        self.writes += 1;
        written["metadata"]["resourceVersion"] = json!(self.writes.to_string());
        self.lease = Some(written.clone());
        Ok(Scenario::Answers(if verb == "POST" { 201 } else { 200 }, written))
    }

    /// The response to a request.
    fn said(&mut self, request: &str, sent: &[u8]) -> io::Result<Option<Reply>> {
        let verb = request.split(' ').next().unwrap_or_default();
        let path = request.split(' ').nth(1).unwrap_or_default();
        let name = path.rsplit('/').next().and_then(|last| last.split('?').next()).unwrap_or_default();
        if verb == "POST" && name == "events" {
            let event = serde_json::from_slice::<Value>(sent)?;
            self.events.push(event.clone());
            self.published.push(event.clone());
            self.tell("events", &json!({ "type": "ADDED", "object": { "metadata": event["metadata"] } }));
            return Ok(Some(Reply::Whole(self.on_event.clone().unwrap_or(Scenario::Answers(201, event)))));
        }
        if let Some(scenario) = self.inventory.answer(verb, path, impersonated(request), sent) {
            return Ok(Some(Reply::Whole(scenario)));
        }
        if path.starts_with("/apis/coordination.k8s.io/") {
            return self.lease(verb, name, sent).map(|scenario| Some(Reply::Whole(scenario)));
        }
        let list = ["pods", "events"].into_iter().find(|what| path.starts_with(&format!("/api/v1/{what}?")));
        if let Some(what) = list.filter(|_| path.contains("watch=")) {
            let (watcher, watched) = channel();
            self.watchers.push((what, watcher));
            return Ok(Some(Reply::Watched(watched)));
        }
        if let Some(selector) = EventSelector::from_path(path) {
            let items: Vec<&Value> = self.published.iter().filter(|event| selector.selects(event)).collect();
            let list = json!({ "kind": "EventList", "apiVersion": "v1", "metadata": {}, "items": items });
            return Ok(Some(Reply::Whole(self.on_event_list.clone().unwrap_or(Scenario::Answers(200, list)))));
        }
        if path.ends_with("limit=1") {
            // Only its resourceVersion is used, to start a watch.
            return Ok(list.map(|_| Reply::Whole(Scenario::Answers(200, list_of(&[], "")))));
        }
        if let Some(claim) = claims::asked(path) {
            self.asked.push(claim.to_owned());
            return self.claims.answer(claim, request, sent).map(|scenario| Some(Reply::Whole(scenario)));
        }
        let path = path.strip_prefix("/api/v1/").unwrap_or_default();
        if path.starts_with("namespaces/kube-system?") || path == "namespaces/kube-system" {
            self.identity_asked += 1;
            let uid = if self.cluster.is_empty() { CLUSTER } else { &self.cluster };
            let known = json!({ "kind": "Namespace", "metadata": { "name": "kube-system", "uid": uid } });
            return Ok(Some(Reply::Whole(self.on_identity.clone().unwrap_or(Scenario::Answers(200, known)))));
        }
        if path.starts_with("nodes?") {
            let nodes: Vec<Value> =
                self.nodes.iter().map(|name| json!({ "metadata": { "name": name, "uid": name } })).collect();
            let nodes: Vec<&Value> = nodes.iter().collect();
            return Ok(Some(Reply::Whole(Scenario::Answers(200, list_of(&nodes, "")))));
        }
        let node = node_of_list(path);
        self.asked.push(node.map_or_else(|| name.to_owned(), |node| format!("{name} of {node}")));
        let scenario = match path {
            list if list.starts_with("pods?") => {
                let (status, document) = match request.contains("as=PartialObjectMetadataList;") {
                    true => self.listed(path),
                    false => (200, self.listed_whole()),
                };
                Some(Scenario::Answers(status, document))
            }
            _ => self.scenarios.get(name).cloned().or_else(|| ready_node(path)),
        };
        Ok(scenario.map(Reply::Whole))
    }

    /// All pods as they are.
    fn listed_whole(&self) -> Value {
        let pods = self.scenarios.values().filter_map(|scenario| match scenario {
            Scenario::Answers(200, pod) => Some(pod),
            _ => None,
        });
        json!({ "kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": pods.collect::<Vec<_>>() })
    }

    /// A page of the list of unfinished pods.
    fn listed(&self, path: &str) -> (u16, Value) {
        let unfinished = self.scenarios.values().filter_map(|scenario| match scenario {
            Scenario::Answers(200, pod)
                if !matches!(pod["status"]["phase"].as_str(), Some("Succeeded" | "Failed"))
                    && node_of_list(path).is_none_or(|node| pod["spec"]["nodeName"] == node) =>
            {
                Some(pod)
            }
            _ => None,
        });
        let unfinished: Vec<&Value> = unfinished.collect();
        if self.crowd > 0 {
            return (200, self.listed_crowd(&unfinished, path));
        }
        let (first, second) = unfinished.split_at(unfinished.len() / 2);
        match (&self.list, path.contains("continue=")) {
            (List::Answers(status, document), _) => (*status, document.clone()),
            (_, false) => (200, list_of(first, "second")),
            (List::Whole, true) => (200, list_of(second, "")),
            (List::BreaksOff(status), true) => {
                let reason = if *status == 410 { "Expired" } else { "InternalError" };
                (*status, json!({ "kind": "Status", "status": "Failure", "reason": reason, "message": "broken off" }))
            }
        }
    }
}

impl Pods {
    /// A page of the crowd's pods: all of a node, or as many as fit. The first page includes the other pods.
    fn listed_crowd(&self, others: &[&Value], path: &str) -> Value {
        let is_there = |number: &u32| !self.crowd_lost.contains(number);
        if let Some(node) = node_of_list(path) {
            let of_node =
                (0..self.crowd).step_by(crowd::PODS_PER_NODE as usize).find(|first| crowd::node_name(*first) == node);
            let numbers = of_node.into_iter().flat_map(|first| first..(first + crowd::PODS_PER_NODE).min(self.crowd));
            let pods: Vec<Value> = numbers.filter(is_there).map(crowd::pod).collect();
            return list_of(&others.iter().copied().chain(&pods).collect::<Vec<_>>(), "");
        }
        let number = |name: &str| path.split_once(name)?.1.split('&').next()?.parse::<u32>().ok();
        let (first, limit) = (number("continue="), number("limit=").unwrap_or(self.crowd));
        let others = if first.is_none() { others } else { &[] };
        let first = first.unwrap_or_default();
        let next = first.saturating_add(limit).min(self.crowd);
        let pods: Vec<Value> = (first..next).filter(is_there).map(crowd::pod).collect();
        let rest = if next < self.crowd { next.to_string() } else { String::new() };
        list_of(&others.iter().copied().chain(&pods).collect::<Vec<_>>(), &rest)
    }
}

fn serve(mut stream: TcpStream, pods: &Mutex<Pods>) -> io::Result<()> {
    while let Some((request, sent)) = hear(&mut stream)? {
        let path = request.split(' ').nth(1).unwrap_or_default();
        let name = path.rsplit('/').next().and_then(|last| last.split('?').next()).unwrap_or_default();
        let locked = || pods.lock().unwrap_or_else(PoisonError::into_inner);
        if path.starts_with(STORE)
            && let Some(server) = locked().store.clone()
        {
            pass_on(&mut stream, &server, &request, &sent)?;
            continue;
        }
        let (said, date) = {
            let mut pods = locked();
            (pods.said(&request, &sent)?, date(pods.inventory.ahead))
        };
        let (status, mut body) = match said {
            Some(Reply::Watched(watched)) => return watch(&mut stream, &watched),
            Some(Reply::Whole(Scenario::HangsUp)) => return Ok(()),
            // The next read returns when the client disconnects.
            Some(Reply::Whole(Scenario::Silent)) => continue,
            Some(Reply::Whole(Scenario::Answers(status, body))) => (status, body),
            None => (404, not_found(path, name)),
        };
        if status == 200 && request.contains("as=PartialObjectMetadata;") {
            body = json!({ "kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": body["metadata"] });
        }
        let body = body.to_string();
        let head = format!(
            "HTTP/1.1 {status} Word\r\ndate: {date}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all((head + &body).as_bytes())?;
    }
    Ok(())
}

/// Sends a request to another server, and its answer back.
fn pass_on(stream: &mut TcpStream, server: &Client, request: &str, sent: &[u8]) -> io::Result<()> {
    let mut words = request.split(' ');
    let [verb, path] = [words.next(), words.next()].map(Option::unwrap_or_default);
    let formats = ["accept: ", "content-type: "].map(|name| header(request, name).unwrap_or("application/json"));
    let (status, body) = server.send(verb, path, formats.into(), &String::from_utf8_lossy(sent))?;
    let head =
        format!("HTTP/1.1 {status} Word\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n", body.len());
    stream.write_all((head + &body).as_bytes())
}

/// The time as in a header (RFC 9110, section 5.6.7), this many seconds ahead.
fn date(ahead: i64) -> String {
    let now = Timestamp::now() + SignedDuration::from_secs(ahead);
    now.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
}

/// A real server's response about an object that does not exist.
fn not_found(path: &str, name: &str) -> Value {
    let parts: Vec<&str> = path.split('?').next().unwrap_or_default().split('/').collect();
    let resource = parts.iter().rev().nth(1).copied().unwrap_or_default();
    let group = if parts.get(1) == Some(&"apis") { parts.get(2).copied().unwrap_or_default() } else { "" };
    json!({
        "kind": "Status", "status": "Failure", "reason": "NotFound", "code": 404,
        "message": format!("{resource} {name:?} not found"),
        "details": { "name": name, "group": group, "kind": resource },
    })
}

/// Sends one line after another until the sender or the client is gone.
fn watch(stream: &mut TcpStream, watched: &Receiver<Value>) -> io::Result<()> {
    stream.write_all(b"HTTP/1.1 200 Word\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n")?;
    while let Ok(line) = watched.recv() {
        let line = format!("{line}\n");
        stream.write_all(format!("{:x}\r\n{line}\r\n", line.len()).as_bytes())?;
    }
    stream.write_all(b"0\r\n\r\n")
}

/// The field selector of a list of events.
enum EventSelector<'a> {
    Pod(&'a str),
    Reason(&'a str),
}

impl<'a> EventSelector<'a> {
    fn from_path(path: &'a str) -> Option<Self> {
        let query = path.split_once("/events?")?.1;
        let value = |field| query.split_once(field)?.1.split(['%', '&']).next();
        value("involvedObject.name%3D").map(Self::Pod).or_else(|| value("reason%3D").map(Self::Reason))
    }

    fn selects(&self, event: &Value) -> bool {
        match self {
            Self::Pod(pod) => event["involvedObject"]["name"] == *pod,
            Self::Reason(reason) => event["reason"] == *reason,
        }
    }
}

/// The node of all pods, which is ready unless a test answers something else.
fn ready_node(path: &str) -> Option<Scenario> {
    let is_it = path.strip_prefix("nodes/")?.split('?').next() == Some(NODE);
    is_it.then(|| Scenario::Answers(200, node_with(NODE, "True", "kubelet is posting ready status")))
}

/// A node in the server's format, whose condition Ready has this status and message since 2026-11-01.
#[must_use]
pub fn node_with(name: &str, ready: &str, message: &str) -> Value {
    let condition = json!({
        "type": "Ready", "status": ready, "message": message, "lastTransitionTime": "2026-11-01T10:00:00Z",
    });
    json!({
        "apiVersion": "v1", "kind": "Node", "metadata": { "name": name, "uid": format!("uid-of-{name}") },
        "spec": {}, "status": { "conditions": [{ "type": "MemoryPressure", "status": "False" }, condition] },
    })
}

/// The user whom a request is to be served as.
fn impersonated(request: &str) -> Option<&str> {
    header(request, "impersonate-user: ")
}

/// The value of the header with this name, which is in lower case, with a colon and a space.
fn header<'a>(request: &'a str, name: &str) -> Option<&'a str> {
    let line = request.lines().find(|line| line.to_lowercase().starts_with(name))?;
    line.split_once(": ").map(|(_, value)| value.trim())
}

/// The node of a pod list.
fn node_of_list(path: &str) -> Option<&str> {
    path.split_once("spec.nodeName%3D")?.1.split(['%', '&']).next()
}

/// The next request with its body; `None` at the end.
pub(crate) fn hear(stream: &mut impl Read) -> io::Result<Option<(String, Vec<u8>)>> {
    let mut request = Vec::new();
    let mut byte = [0];
    while !request.ends_with(b"\r\n\r\n") {
        if stream.read(&mut byte)? == 0 {
            return Ok(None);
        }
        request.extend_from_slice(&byte);
    }
    let request = String::from_utf8_lossy(&request).into_owned();
    let length = request.to_lowercase().lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    stream.read_exact(&mut body)?;
    Ok(Some((request, body)))
}
