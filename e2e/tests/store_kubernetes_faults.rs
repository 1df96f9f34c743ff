//! The Kubernetes store behind a network that loses, delays, repeats and refuses requests: what is said of the outcome
//! of a transaction is true, and no address is lost or held twice (invariant 6).
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test's verdict is a panic, its output is for a person"
)]

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use kube_ipam::deadline::Deadline;
use kube_ipam::store::{
    Entry, Guard, Key, KubernetesConfig, KubernetesStore, Op, OpResponse, Store, StoreConfig, StoreError, Txn,
};
use kube_ipam_e2e::api_server::{ApiServer, FaultyNetwork, Tenant};
use kube_ipam_e2e::history::History;
use kube_ipam_e2e::machines::in_parallel;
use kube_ipam_e2e::node::Node;
use kube_ipam_e2e::wait_until;
use serde_json::json;

/// How many clients there are at once.
const CLIENTS: usize = 5;

/// How long a transaction may take.
const TIMEOUT: Duration = Duration::from_secs(4);

/// The seed of a run: KUBE_IPAM_TEST_SEED, or else the time.
fn seed() -> u64 {
    let given = std::env::var("KUBE_IPAM_TEST_SEED").ok().and_then(|text| text.parse().ok());
    given.unwrap_or_else(|| SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs())
}

fn network(tenant: &Tenant<'_>) -> FaultyNetwork {
    FaultyNetwork::start(tenant.owner(), seed()).unwrap()
}

fn heal(network: &FaultyNetwork) {
    let (faults, requests) = network.heal();
    println!("{requests} requests, with these faults: {faults:?}");
    assert!(faults.len() > 4, "the network had few faults");
}

/// What is known of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Known {
    Happened,
    NeverHappens,
    Unknown,
}

/// A client of a store. It does what deciders do: without a clear answer, it reads again before it continues.
struct Client {
    store: KubernetesStore,
    name: String,
    /// What it has written so often, to tell each attempt from all others.
    attempts: usize,
    /// The texts of attempts that never happen.
    refused: BTreeSet<String>,
}

impl Client {
    fn new(config: KubernetesConfig, name: String) -> Self {
        Self { store: KubernetesStore::new(config), name, attempts: 0, refused: BTreeSet::new() }
    }

    fn fresh_text(&mut self) -> String {
        self.attempts += 1;
        format!("{}-{}", self.name, self.attempts)
    }

    /// Two keys, as one state. Reads until that succeeds.
    async fn read(&self, keys: [&Key; 2]) -> [Option<Entry>; 2] {
        let txn = Txn::read(keys.map(|key| Op::Get(key.clone())).to_vec()).unwrap();
        loop {
            match self.store.commit(&txn, Deadline::after(TIMEOUT)).await {
                Ok(outcome) => match <[OpResponse; 2]>::try_from(outcome.branch.responses).unwrap() {
                    [OpResponse::Entry(first), OpResponse::Entry(second)] => return [first, second],
                    other => panic!("a get was answered by {other:?}"),
                },
                Err(StoreError::Unavailable(_) | StoreError::Denied(_)) => {}
                Err(error) => panic!("a read failed: {error}"),
            }
        }
    }

    /// Writes if the guards hold.
    async fn write(&mut self, text: &str, guards: Vec<Guard>, then: Vec<Op>) -> Known {
        let txn = Txn::new(guards, then, vec![]).unwrap();
        let known = match self.store.commit(&txn, Deadline::after(TIMEOUT)).await {
            Ok(outcome) if outcome.branch.succeeded => Known::Happened,
            Ok(_) | Err(StoreError::Unavailable(_) | StoreError::Denied(_)) => Known::NeverHappens,
            Err(StoreError::Ambiguous(_)) => Known::Unknown,
            Err(error) => panic!("a write failed: {error}"),
        };
        if known == Known::NeverHappens {
            self.refused.insert(text.to_owned());
        }
        known
    }

    /// Appends a text of its own to a list that all clients share, and that two keys hold.
    async fn append(&mut self) {
        let keys = [Key::new("net/list"), Key::new("use/list")];
        let mut own: BTreeSet<String> = BTreeSet::new();
        loop {
            let [list, copy] = self.read([&keys[0], &keys[1]]).await;
            let [(text, guard), (copied, copy_guard)] = [(&keys[0], list), (&keys[1], copy)].map(list_and_guard);
            assert_eq!(text, copied, "half of a transaction is seen");
            let written: Vec<&str> = text.split_whitespace().filter(|word| own.contains(*word)).collect();
            self.refused.iter().for_each(|word| assert!(!has(&text, word), "{word} never happens, and has: {text}"));
            if !written.is_empty() {
                return;
            }
            let next = self.fresh_text();
            own.insert(next.clone());
            let value = format!("{text} {next}").into_bytes();
            let puts = keys.iter().map(|key| Op::Put(key.clone(), value.clone())).collect();
            if self.write(&next, vec![guard, copy_guard], puts).await == Known::Happened {
                return;
            }
        }
    }

    /// Takes one of a few seats, which two keys hold, and leaves it, as ADD and DEL do.
    async fn take_and_leave(&mut self, first: usize) {
        let mut seat = first;
        let (keys, taken) = loop {
            let keys = [format!("net/seat-{}", seat % 4), format!("use/seat-{}", seat % 4)].map(Key::new);
            if let Some(taken) = self.take(&keys).await {
                break (keys, taken);
            }
            seat += 1;
        };
        let mut in_doubt = false;
        loop {
            let [seat, copy] = self.read([&keys[0], &keys[1]]).await;
            let seat = seat.filter(|seat| seat.value == taken.value);
            let (Some(seat), Some(copy)) = (seat, copy) else {
                assert!(in_doubt, "{} is gone, and nobody has deleted it", keys[0]);
                return;
            };
            let guards = [&seat, &copy].map(|entry| Guard::Unchanged(entry.key.clone(), entry.revision)).to_vec();
            let deletes = keys.iter().map(|key| Op::Delete(key.clone())).collect();
            let text = self.fresh_text();
            match self.write(&text, guards, deletes).await {
                Known::Happened => return,
                Known::NeverHappens => {}
                Known::Unknown => in_doubt = true,
            }
        }
    }

    /// Takes a seat; `None` if another client has it.
    async fn take(&mut self, keys: &[Key; 2]) -> Option<Entry> {
        let mut own: BTreeSet<String> = BTreeSet::new();
        loop {
            let [seat, copy] = self.read([&keys[0], &keys[1]]).await;
            let both = [&seat, &copy].map(|entry| entry.as_ref().map(|entry| (&entry.value, entry.revision)));
            assert_eq!(both[0], both[1], "half of a transaction is seen");
            if let Some(seat) = seat {
                let by = String::from_utf8_lossy(&seat.value).into_owned();
                assert!(!self.refused.contains(&by), "{by} never happens, and has");
                return own.contains(&by).then_some(seat);
            }
            let text = self.fresh_text();
            own.insert(text.clone());
            let absent = keys.iter().map(|key| Guard::Absent(key.clone())).collect();
            let puts = keys.iter().map(|key| Op::Put(key.clone(), text.clone().into_bytes())).collect();
            self.write(&text, absent, puts).await;
        }
    }
}

fn has(text: &str, word: &str) -> bool {
    text.split_whitespace().any(|other| other == word)
}

fn list_and_guard((key, entry): (&Key, Option<Entry>)) -> (String, Guard) {
    match entry {
        None => (String::new(), Guard::Absent(key.clone())),
        Some(entry) => {
            (String::from_utf8_lossy(&entry.value).into_owned(), Guard::Unchanged(key.clone(), entry.revision))
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_said_of_a_transaction_is_true_whatever_the_network_does() {
    let test = "what_is_said_of_a_transaction_is_true_whatever_the_network_does";
    let Some(tenant) = ApiServer::with_store(test) else { return };
    let network = network(&tenant);
    let clients: Vec<_> = (0..CLIENTS)
        .map(|n| {
            let mut client = Client::new(network.store(&tenant), format!("c{n}"));
            tokio::spawn(async move {
                for _ in 0..4 {
                    client.append().await;
                    client.take_and_leave(n).await;
                }
                client.refused
            })
        })
        .collect();
    let mut refused = BTreeSet::new();
    for client in clients {
        refused.extend(client.await.unwrap());
    }
    heal(&network);
    let direct = Client::new(tenant.store(), "direct".to_owned());
    let (list, use_list) = (Key::new("net/list"), Key::new("use/list"));
    let (text, _) = list_and_guard((&list, direct.read([&list, &use_list]).await[0].clone()));
    println!("{} attempts never happened; the list: {text}", refused.len());
    for n in 0..CLIENTS {
        let of_client = text.split_whitespace().filter(|word| word.starts_with(&format!("c{n}-"))).count();
        assert_eq!(of_client, 4, "client {n} has appended four texts: {text}");
    }
    assert!(!refused.iter().any(|word| has(&text, word)), "a text is there that never happens: {refused:?}, {text}");
    for n in 0..4 {
        let keys = [format!("net/seat-{n}"), format!("use/seat-{n}")].map(Key::new);
        assert_eq!(direct.read([&keys[0], &keys[1]]).await, [None, None], "each seat was left");
    }
    let config = StoreConfig::Kubernetes(tenant.store());
    tokio::task::spawn_blocking(|| ApiServer::sweep_leaves_nothing_open(config)).await.unwrap();
}

#[test]
fn no_address_is_lost_or_held_twice_whatever_the_network_does() {
    const ROUNDS: usize = 6;
    let Some(tenant) = ApiServer::with_store("no_address_is_lost_or_held_twice_whatever_the_network_does") else {
        return;
    };
    let network = network(&tenant);
    let node = Node::on_kubernetes(&tenant).with_kubeconfig(&network.kubeconfig());
    node.set_defaults(&json!({ "timeout": "4s" }));
    // Fewer addresses than containers that the clients may have at once.
    let range =
        json!({ "subnet": "10.1.0.0/24", "rangeStart": "10.1.0.10", "rangeEnd": "10.1.0.17", "cooldown": "0s" });
    let calls = node.network(range);
    let history = History::new();
    let name = |client: usize, round: usize| format!("c{client}-{round}");
    let clients: Vec<usize> = (0..CLIENTS).collect();
    in_parallel(CLIENTS, &clients, |client| {
        let del = |round: usize| {
            history.releasing(&format!("{}/eth0", name(*client, round)));
            // A release without an answer is deferred to a later call.
            drop(calls.del(&name(*client, round)));
        };
        for round in 0..ROUNDS {
            let reply = calls.add(&name(*client, round));
            if reply.status.success() {
                history.given("default", &format!("{}/eth0", name(*client, round)), &reply);
            } else {
                println!("{}", reply.text());
                // The runtime removes the sandbox. Sometimes it tries once more before.
                if round % 2 == 0 {
                    drop(calls.add(&name(*client, round)));
                }
                del(round);
            }
            if round > 0 {
                del(round - 1);
            }
        }
    });
    history.has_no_duplicates();
    heal(&network);
    // The runtime repeats each DEL until it succeeds.
    for client in clients {
        for round in 0..ROUNDS {
            history.releasing(&format!("{}/eth0", name(client, round)));
            calls.del(&name(client, round)).ok();
        }
    }
    wait_until("every deferred release is performed", || {
        calls.del("nobody").ok();
        node.records().is_empty()
    });
    assert_eq!(node.held(), []);
    ApiServer::sweep_leaves_nothing_open(node.store());
    // Each address can be assigned.
    for n in 0..8 {
        history.given("default", &format!("f{n}/eth0"), &calls.add(&format!("f{n}")));
    }
    history.has_no_duplicates();
}
