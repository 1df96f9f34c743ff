//! A node whose clock is stepped by an hour, back and forth, between calls and within them: who holds an address does not
//! go by any clock, and what does is early or late, but not lost.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test's verdict is a panic")]

use std::collections::BTreeSet;
use std::process::Command;

use kube_ipam_e2e::api::{Api, NAMESPACE};
use kube_ipam_e2e::cni::{Call, Reply};
use kube_ipam_e2e::faketime::Faketime;
use kube_ipam_e2e::history::History;
use kube_ipam_e2e::machines;
use kube_ipam_e2e::node::Node;
use serde_json::{Value, json};

/// How libfaketime sets the clock of a call: an hour ahead, an hour behind, right, and so fast that an hour
/// passes within it.
const AHEAD: &str = "+3600s";
const BEHIND: &str = "-3600s";
const RIGHT: &str = "+0";
const RACING: &str = "+0 x100000";

/// A node whose clock is set for each call.
struct Host<'node> {
    node: &'node Node,
    api: Api,
    faketime: Faketime,
}

fn on_each_store(test: &str, case: impl Fn(&Host<'_>)) {
    let Some(faketime) = Faketime::or_skip(test) else { return };
    machines::on_each_store(test, |node| case(&Host::new(node, &faketime)));
}

/// The same for many calls in a row, which would take long with the store in the API server.
fn on_stores_without_api_server(test: &str, case: impl Fn(&Host<'_>)) {
    let Some(faketime) = Faketime::or_skip(test) else { return };
    machines::on_stores_without_api_server(test, |node| case(&Host::new(node, &faketime)));
}

impl<'node> Host<'node> {
    fn new(node: &'node Node, faketime: &Faketime) -> Self {
        let host = Self { node, api: Api::start().unwrap(), faketime: faketime.clone() };
        let kubeconfig = host.api.kubeconfig_of(node).unwrap();
        let sweep = json!({ "minAge": "5m" });
        node.set_defaults(&json!({ "annotations": true, "kubeConfig": kubeconfig, "sweep": sweep }));
        host.api.has("always", "u-always", "Running", &json!({}));
        host
    }

    /// A call for a sandbox of a pod, at a time of its own, for a subnet with this cooldown.
    fn call(&self, clock: &str, verb: &str, container: &str, pod: &str, cooldown: &str) -> Call {
        let args = format!("K8S_POD_NAMESPACE={NAMESPACE};K8S_POD_NAME={pod};K8S_POD_UID=u-{pod}");
        let network = self.node.network(json!({ "subnet": "10.1.0.0/29", "cooldown": cooldown }));
        let call = network.call(verb, container).args(&args);
        self.faketime.variables(clock).into_iter().fold(call, |call, (variable, value)| call.env(variable, value))
    }

    fn add(&self, clock: &str, container: &str, pod: &str) -> Reply {
        self.api.has(pod, &format!("u-{pod}"), "Running", &json!({}));
        self.call(clock, "ADD", container, pod, "30s").run()
    }

    fn del(&self, clock: &str, container: &str, pod: &str) {
        self.call(clock, "DEL", container, pod, "30s").run().ok();
    }

    /// What a sweep at this time frees, and what it says of the rest.
    fn sweep(&self, clock: &str) -> Vec<String> {
        let mut command = Command::new(&self.node.plugin().path);
        command.env_clear().env("KUBE_IPAM_CONFIG", self.node.path("kube-ipam.json"));
        command.envs(self.faketime.variables(clock));
        let output = command.args(["sweep", "--interval", "10ms", "-o", "json"]).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let document: Value = serde_json::from_slice(&output.stdout).unwrap();
        let found = document["found"].as_array().unwrap().iter();
        found.map(|line| format!("{}: {}", line["fate"].as_str().unwrap(), line["why"].as_str().unwrap())).collect()
    }

    /// The end of each stored time of when an address was given; it shows that the clock was set.
    fn since(&self) -> Vec<String> {
        let mut command = Command::new(&self.node.plugin().path);
        command.env_clear().env("KUBE_IPAM_CONFIG", self.node.path("kube-ipam.json")).args(["list", "-o", "json"]);
        let listed: Value = serde_json::from_slice(&command.output().unwrap().stdout).unwrap();
        listed.as_array().unwrap().iter().map(|address| address["since"].as_str().unwrap().to_owned()).collect()
    }
}

#[test]
fn no_address_has_two_owners_and_none_is_lost_while_the_clock_is_stepped() {
    on_each_store("no_address_has_two_owners_and_none_is_lost_while_the_clock_is_stepped", |host| {
        let history = History::new();
        let clocks = [AHEAD, RIGHT, BEHIND, RACING, BEHIND, AHEAD, RACING];
        // Five addresses, and at most five at a time: none may be lost, whatever its cooldown.
        for n in 0..14 {
            let (clock, container) = (clocks[n % clocks.len()], format!("c{n}"));
            let reply = host.add(clock, &container, &container).ok();
            history.given("default", &container, &reply);
            // Repeated at another time it has the same.
            let again = host.add(clocks[(n + 3) % clocks.len()], &container, &container).ok();
            assert_eq!(again.addresses(), reply.addresses());
            if let Some(earlier) = n.checked_sub(4).map(|n| format!("c{n}")) {
                history.releasing(&earlier);
                host.del(clocks[(n * 2) % clocks.len()], &earlier, &earlier);
            }
        }
        history.has_no_duplicates();
        assert_eq!(host.node.held().len(), 4);
        let since = host.since();
        let hours: BTreeSet<&str> = since.iter().map(|time| &time[..13]).collect();
        assert!(hours.len() > 1, "the clock was never set: {since:?}");
        for n in 10..14 {
            host.del(BEHIND, &format!("c{n}"), &format!("c{n}"));
        }
        assert_eq!((host.node.held(), host.node.records()), (vec![], vec![]));
        // Also what was released in the future is given.
        for n in 0..5 {
            host.add(RIGHT, &format!("d{n}"), &format!("d{n}")).ok();
        }
        assert_eq!(host.node.held().len(), 5);
    });
}

#[test]
fn between_sandboxes_of_one_pod_the_later_add_wins_whatever_the_clock_says() {
    on_each_store("between_sandboxes_of_one_pod_the_later_add_wins_whatever_the_clock_says", |host| {
        let fixed = json!({ "kube-ipam.eth0.ip": "10.1.0.5" });
        let add = |clock: &str, container: &str| {
            host.api.has("db-0", "u-db-0", "Running", &fixed);
            host.call(clock, "ADD", container, "db-0", "30s").run()
        };
        for (n, clock) in [AHEAD, BEHIND, RIGHT, AHEAD, RACING, BEHIND].into_iter().enumerate() {
            let container = format!("sandbox-{n}");
            assert_eq!(add(clock, &container).address(), "10.1.0.5/29");
            assert_eq!(host.node.held(), [("10.1.0.5".to_owned(), format!("{container}/eth0"))]);
            if let Some(earlier) = n.checked_sub(1) {
                // The earlier one is an orphan, late by whatever clock.
                assert_eq!(add(AHEAD, &format!("sandbox-{earlier}")).refused().code(), 11);
                host.del(AHEAD, &format!("sandbox-{earlier}"), "db-0");
            }
            assert_eq!(host.node.held(), [("10.1.0.5".to_owned(), format!("{container}/eth0"))]);
        }
    });
}

#[test]
fn a_sweep_frees_late_what_was_given_in_the_future_and_by_no_clock_what_lives() {
    on_each_store("a_sweep_frees_late_what_was_given_in_the_future_and_by_no_clock_what_lives", |host| {
        host.add(BEHIND, "lives", "lives").ok();
        host.add(AHEAD, "gone", "gone").ok();
        host.add(RIGHT, "new", "new").ok();
        host.api.lost("gone");
        host.api.lost("new");
        let young = "stays: it has been held for less than the minimum age (sweep.minAge)";
        assert_eq!(host.sweep(RIGHT), [young, young]);
        // One whose clock is behind makes nothing older for the others, and by its own an hour passes as well.
        assert_eq!(host.sweep(BEHIND), [young, young]);
        assert_eq!(host.sweep(RIGHT), [young, young]);
        // What was given in the future is as old as its first sight by a clock that is not ahead.
        let mut found = host.sweep("+310s");
        found.sort();
        assert_eq!(found, ["freed: its pod is gone", "freed: its pod is gone"]);
        let held = host.node.held();
        assert!(held.len() == 1 && held[0].1 == "lives/eth0", "{held:?}");
    });
}

#[test]
fn what_was_released_a_year_ahead_blocks_a_strict_range_for_its_cooldown() {
    on_each_store("what_was_released_a_year_ahead_blocks_a_strict_range_for_its_cooldown", |host| {
        let call = |clock: &str, verb: &str, container: &str| {
            let cooldown = json!({ "time": "60s", "strict": true });
            let network =
                host.node.network(json!({ "subnet": "10.1.0.1/32", "cooldown": cooldown, "annotations": false }));
            let call = network.call(verb, container);
            host.faketime.variables(clock).into_iter().fold(call, |call, (name, value)| call.env(name, value)).run()
        };
        call("+365d", "ADD", "c1").ok();
        call("+365d", "DEL", "c1").ok();
        for clock in [RIGHT, "+30s"] {
            let text = call(clock, "ADD", "c2").refused().text();
            assert!(text.contains("1 resting (cooldown is strict)"), "{text}");
        }
        // An hour behind, it was never seen.
        call(BEHIND, "ADD", "c2").refused();
        call("+90s", "ADD", "c2").ok();
        call("+90s", "DEL", "c2").ok();
        assert_eq!(host.node.held(), []);
    });
}

#[test]
fn a_cooldown_is_shorter_or_longer_by_the_step_and_nothing_is_refused_for_it() {
    let test = "a_cooldown_is_shorter_or_longer_by_the_step_and_nothing_is_refused_for_it";
    on_stores_without_api_server(test, |host| {
        for (released, asked) in [(AHEAD, BEHIND), (BEHIND, AHEAD)] {
            let fill = |name: &str, clock: &str| -> Vec<String> {
                (0..5).map(|n| host.add(clock, &format!("{name}{n}"), &format!("{name}{n}")).address()).collect()
            };
            let mut before = fill("a", RIGHT);
            (0..5).for_each(|n| host.del(released, &format!("a{n}"), &format!("a{n}")));
            let mut after = fill("b", asked);
            (0..5).for_each(|n| host.del(RIGHT, &format!("b{n}"), &format!("b{n}")));
            before.sort();
            after.sort();
            assert_eq!(before, after, "released at {released}, asked for at {asked}");
        }
    });
}
