//! Many processes at once: none fails, no address is given twice, and none is lost, also when some are killed.
//!
//! Five hundred on an embedded store with room for all is a case of protocol.rs, where host-local has to pass it too.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test's verdict is a panic")]

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use kube_ipam_e2e::api_server::ApiServer;
use kube_ipam_e2e::cni::{Call, Reply, Running, at_once};
use kube_ipam_e2e::history::History;
use kube_ipam_e2e::machines::{Machines, in_parallel};
use kube_ipam_e2e::node::{Network, Node};
use kube_ipam_e2e::wait_until;
use serde_json::{Value, json};

/// One crowd at a time is enough for a machine.
static ALONE: Mutex<()> = Mutex::new(());

/// A network, and the machine's time-out. That none fails is shown here, not how fast a machine with a handful of
/// processors and other tests is.
fn network<'node>(node: &'node Node, range: &Value) -> Network<'node> {
    node.set_defaults(&json!({ "timeout": "2m" }));
    node.network(range.clone()).with(json!({ "name": "crowd" }))
}

/// ADD for so many containers at once, then DEL.
fn come_and_go(node: &Node, network: &Network<'_>, crowd: usize) {
    come_and_go_in_turns(node, network, crowd, crowd);
}

/// ADD for so many containers, never more than some at a time, then DEL.
fn come_and_go_in_turns(node: &Node, network: &Network<'_>, crowd: usize, at_a_time: usize) {
    let all = |verb: &str| {
        let calls: Vec<Call> = (0..crowd).map(|n| network.call(verb, &format!("c{n}"))).collect();
        if at_a_time == crowd {
            return at_once(calls);
        }
        let replies = Mutex::new(Vec::new());
        in_parallel(at_a_time, &calls, |call| {
            let reply = call.clone().run();
            replies.lock().unwrap().push(reply);
        });
        replies.into_inner().unwrap()
    };
    let given: BTreeSet<String> = all("ADD").into_iter().map(Reply::address).collect();
    assert_eq!((given.len(), node.held().len()), (crowd, crowd));
    for reply in all("DEL") {
        reply.ok();
    }
    all_is_released(node, network);
}

/// A DEL that waits for its turn longer than 2 s defers its release, of which each later call performs a few.
fn all_is_released(node: &Node, network: &Network<'_>) {
    let mut left = node.records().len();
    while left > 0 {
        let before = left;
        wait_until("another mark is replayed", || {
            network.del("nobody").ok();
            left = node.records().len();
            left < before
        });
    }
    assert_eq!(node.held(), []);
    ApiServer::sweep_leaves_nothing_open(node.store());
}

/// A range with room for everybody.
fn wide() -> Value {
    json!({ "subnet": "10.1.0.0/16" })
}

/// A range of exactly so many addresses.
fn exactly(addresses: usize) -> Value {
    let last = addresses + 9;
    let end = format!("10.1.{}.{}", last / 256, last % 256);
    json!({ "subnet": "10.1.0.0/16", "rangeStart": "10.1.0.10", "rangeEnd": end, "cooldown": "0s" })
}

#[test]
fn five_hundred_adds_at_once_get_five_hundred_addresses_in_etcd() {
    let Some(machines) = Machines::etcd("five_hundred_adds_at_once_get_five_hundred_addresses_in_etcd") else { return };
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let node = machines.node();
    come_and_go(&node, &network(&node, &wide()), 500);
}

#[test]
fn five_hundred_adds_at_once_get_the_five_hundred_addresses_that_there_are() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let node = Machines::embedded().node();
    come_and_go(&node, &network(&node, &exactly(500)), 500);
}

#[test]
fn five_hundred_adds_at_once_get_the_five_hundred_addresses_that_there_are_in_etcd() {
    let test = "five_hundred_adds_at_once_get_the_five_hundred_addresses_that_there_are_in_etcd";
    let Some(machines) = Machines::etcd(test) else { return };
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let node = machines.node();
    come_and_go(&node, &network(&node, &exactly(500)), 500);
}

#[test]
fn two_hundred_adds_sixteen_at_a_time_get_the_two_hundred_addresses_that_there_are_in_the_api() {
    let test = "two_hundred_adds_sixteen_at_a_time_get_the_two_hundred_addresses_that_there_are_in_the_api";
    let Some(machines) = Machines::kubernetes(test) else { return };
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let node = machines.node();
    come_and_go_in_turns(&node, &network(&node, &exactly(200)), 200, 16);
}

/// Some processes are killed as they start and some further on: the starts of others set the pace.
fn killed_in_the_crowd(machines: &Machines) {
    const CROWD: usize = 200;
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let node = machines.node();
    let network = network(&node, &exactly(CROWD));
    let history = History::new();
    let name = |n: usize| format!("c{n}");
    let mut running: Vec<Running> = Vec::new();
    for n in 0..CROWD {
        running.push(network.call("ADD", &name(n)).spawn());
        running[n.saturating_sub(n * 7 % 16)].kill();
    }
    let mut killed = 0;
    for (n, call) in running.into_iter().enumerate() {
        let reply = call.wait();
        match reply.status.code() {
            // Whatever ended before its kill says what it has got.
            Some(_) => history.given("default", &name(n), &reply.ok()),
            None => killed += 1,
        }
    }
    assert!(killed > 0, "no process was killed in time");
    history.has_no_duplicates();
    // The runtime deletes them all, the killed ones included.
    for reply in at_once((0..CROWD).map(|n| network.call("DEL", &name(n)))) {
        reply.ok();
    }
    all_is_released(&node, &network);
    come_and_go(&node, &network, CROWD);
}

#[test]
fn adds_killed_in_a_crowd_lose_no_address() {
    killed_in_the_crowd(&Machines::embedded());
}

#[test]
fn adds_killed_in_a_crowd_lose_no_address_in_etcd() {
    if let Some(machines) = Machines::etcd("adds_killed_in_a_crowd_lose_no_address_in_etcd") {
        killed_in_the_crowd(&machines);
    }
}

#[test]
fn adds_killed_in_a_crowd_lose_no_address_in_the_api() {
    if let Some(machines) = Machines::kubernetes("adds_killed_in_a_crowd_lose_no_address_in_the_api") {
        killed_in_the_crowd(&machines);
    }
}
