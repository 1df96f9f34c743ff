//! Reservations by hand, by the real binary: who gets what an operator reserves, what is shown of it, and what an
//! interruption leaves. The API server is one that plays scenarios.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test's verdict is a panic")]

use std::process::{Command, Output, Stdio};
use std::time::Duration;

use kube_ipam::deadline::Deadline;
use kube_ipam::ipam::keys;
use kube_ipam::ops::Session;
use kube_ipam_e2e::api::{self, Api, NAMESPACE};
use kube_ipam_e2e::cni::{Call, Reply, at_once};
use kube_ipam_e2e::machines::{self, Machines};
use kube_ipam_e2e::node::Node;
use kube_ipam_e2e::{operator, pty, wait_until};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

/// A node whose pods are those of an API server, and what an operator does there.
struct Host<'node> {
    node: &'node Node,
    api: Api,
    network: Value,
}

impl<'node> Host<'node> {
    fn new(node: &'node Node) -> Self {
        let api = Api::start().unwrap();
        let kubeconfig = api.kubeconfig_of(node).unwrap();
        let sweep = json!({ "minAge": "0s" });
        // Dozens of calls at once wait for each other.
        let timeout = "60s";
        let defaults = json!({ "annotations": true, "kubeConfig": kubeconfig, "sweep": sweep, "timeout": timeout });
        node.set_defaults(&defaults);
        // A list without any pod frees nothing.
        api.has("always", &uid("always"), "Running", &json!({}));
        Self { node, api, network: json!({ "subnet": "10.1.0.0/24", "cooldown": "0s" }) }
    }

    fn call(&self, verb: &str, container: &str, pod: &str) -> Call {
        let args = format!("IgnoreUnknown=1;K8S_POD_NAMESPACE={NAMESPACE};K8S_POD_NAME={pod};K8S_POD_UID={}", uid(pod));
        self.node.network(self.network.clone()).call(verb, container).args(&args)
    }

    /// An ADD of a pod with these annotations, of a StatefulSet if it is named.
    fn add(&self, pod: &str, annotations: &Value, set: Option<&str>) -> Reply {
        let mut object = api::pod(pod, &uid(pod), "Running", annotations);
        if let Some(name) = set {
            let owner = json!({ "apiVersion": "apps/v1", "kind": "StatefulSet", "name": name, "uid": "o-1", "controller": true });
            object["metadata"]["ownerReferences"] = json!([owner]);
        }
        self.api.shows(pod, &object);
        self.call("ADD", pod, pod).run()
    }

    fn asks(&self, pod: &str, ip: &str) -> Reply {
        self.add(pod, &json!({ "kube-ipam.eth0.ip": ip }), None)
    }

    fn del(&self, pod: &str) {
        self.call("DEL", pod, pod).run().ok();
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = operator::command(self.node, args);
        command.env("USER", "ann");
        command
    }

    fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    /// What a command prints that succeeds.
    #[track_caller]
    fn prints(&self, args: &[&str]) -> String {
        operator::printed_by(&mut self.command(args))
    }

    /// What a command prints that fails with status 1.
    #[track_caller]
    fn refuses(&self, args: &[&str]) -> String {
        let output = self.run(args);
        assert_eq!(output.status.code(), Some(1), "{args:?}: {}", text(&output));
        text(&output)
    }

    /// The addresses of the store with their states.
    fn states(&self) -> Vec<(String, String)> {
        let list: Value = serde_json::from_str(&self.prints(&["list", "-o", "json"])).unwrap();
        let word = |row: &Value, key: &str| row[key].as_str().unwrap().to_owned();
        list.as_array().unwrap().iter().map(|row| (word(row, "address"), word(row, "state"))).collect()
    }

    /// How many addresses have a lease.
    fn count(&self) -> usize {
        let session = Session::open(self.node.store(), None).unwrap();
        let mut count = 0;
        let counted = session.each(&keys::all_leases(), Duration::from_secs(10), |_| {
            count += 1;
            Ok::<_, kube_ipam::error::Error>(())
        });
        counted.unwrap();
        count
    }
}

/// Standard output, then standard error.
fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// A UID of the form that the API server gives; another one would be that of a static pod.
fn uid(pod: &str) -> String {
    let sum = pod.bytes().fold(0u64, |sum, byte| sum * 31 % 999_999_999_989 + u64::from(byte));
    format!("0b4f6a52-3c1d-4b8e-9a53-{sum:012}")
}

fn on_each_store(test: &str, case: impl Fn(&Host<'_>)) {
    machines::on_each_store(test, |node| case(&Host::new(node)));
}

fn on_stores_without_api_server(test: &str, case: impl Fn(&Host<'_>)) {
    machines::on_stores_without_api_server(test, |node| case(&Host::new(node)));
}

#[test]
fn what_is_reserved_for_nobody_is_refused_shown_and_released() {
    on_each_store("what_is_reserved_for_nobody_is_refused_shown_and_released", |host| {
        host.asks("first", "10.1.0.9").ok();
        let said = host.prints(&["reserve", "10.1.0.5", "--reason", "printer in room 12", "--yes"]);
        assert_eq!(said, "1 address in 10.1.0.5: 1 free.\n1 address is reserved by hand.\n");
        let refused = host.asks("web", "10.1.0.5").refused();
        assert_eq!(refused.code(), 11);
        for part in
            ["10.1.0.5 is reserved by hand by ann@", ": printer in room 12; ", "`kube-ipam release 10.1.0.5` ends it"]
        {
            assert!(refused.text().contains(part), "{part}: {}", refused.text());
        }
        assert!(host.prints(&["list"]).contains("by hand: printer in room 12"));
        let usage = host.run(&["usage", "-o", "json"]);
        assert!(usage.status.success() && !text(&usage).contains("can't be read"), "{}", text(&usage));
        let page = host.prints(&["explain", "10.1.0.5"]);
        for part in ["10.1.0.5 is reserved by hand, and nobody uses it.", "printer in room 12", "No pod gets it."] {
            assert!(page.contains(part), "{part}: {page}");
        }
        assert!(host.prints(&["sweep", "--interval", "10ms"]).contains("nothing was freed"));
        // Again, it is there already; with another reason, it is in the way.
        let again = host.prints(&["reserve", "10.1.0.5", "--reason", "printer in room 12", "--yes"]);
        assert!(again.contains("1 reserved by hand for this reason already"), "{again}");
        let other = host.refuses(&["reserve", "10.1.0.5", "--reason", "another printer", "--yes"]);
        assert!(other.contains("10.1.0.5 is reserved by hand by ann@"), "{other}");
        let released = host.prints(&["release", "10.1.0.5", "--yes"]);
        assert!(released.ends_with("10.1.0.5 is free now.\n"), "{released}");
        assert_eq!(host.asks("web", "10.1.0.5").address(), "10.1.0.5/24");
    });
}

#[test]
fn whom_it_is_for_gets_it_by_asking_again_and_again() {
    on_each_store("whom_it_is_for_gets_it_by_asking_again_and_again", |host| {
        host.asks("first", "10.1.0.9").ok();
        host.del("first");
        let said = host.prints(&["reserve", "10.1.0.5", "--reason", "move", "--for", "db/db-0", "--yes"]);
        assert!(said.contains("pod db/db-0 does not exist yet."), "{said}");
        host.prints(&["reserve", "10.1.0.6", "--reason", "move", "--for", "statefulset/db/pg", "--yes"]);
        for _ in 0..2 {
            host.asks("other", "10.1.0.5").refused();
            assert_eq!(host.asks("db-0", "10.1.0.5").address(), "10.1.0.5/24");
            host.del("db-0");
            let set = json!({ "apiVersion": "apps/v1", "kind": "StatefulSet",
                "metadata": { "namespace": NAMESPACE, "name": "pg", "uid": "o-1" }, "spec": {} });
            host.api.answers("pg", 200, &set);
            let asks = json!({ "kube-ipam.eth0.ip": "10.1.0.6" });
            assert_eq!(host.add("pg-1", &asks, Some("pg")).address(), "10.1.0.6/24");
            host.del("pg-1");
            host.asks("other", "10.1.0.6").refused();
            host.api.answers(
                "pg",
                404,
                &json!({ "kind": "Status", "apiVersion": "v1", "code": 404, "reason": "NotFound",
                "details": { "kind": "statefulsets", "group": "apps", "name": "pg" } }),
            );
            host.add("pg-1", &asks, Some("pg")).refused();
        }
        assert_eq!(
            host.states(),
            [("10.1.0.5", "reserved"), ("10.1.0.6", "reserved"), ("10.1.0.9", "resting")]
                .map(|(ip, state)| { (ip.to_owned(), state.to_owned()) })
        );
        // It goes to another address, and to another pod while the first one has it.
        let moved = host.prints(&["move", "10.1.0.5", "--to", "10.1.0.7", "--yes"]);
        assert!(moved.contains("10.1.0.5 is free now, and 10.1.0.7 is reserved by hand for pod db/db-0"), "{moved}");
        host.asks("db-0", "10.1.0.7").ok();
        let held = host.refuses(&["move", "10.1.0.7", "--to", "10.1.0.8", "--yes"]);
        assert!(held.contains("10.1.0.7 is held by pod db/db-0"), "{held}");
        let given = host.prints(&["move", "10.1.0.7", "--for", "db/other", "--yes"]);
        assert!(given.contains("It is held by pod db/db-0"), "{given}");
        host.asks("other", "10.1.0.7").refused();
        host.del("db-0");
        host.asks("db-0", "10.1.0.7").refused();
        assert_eq!(host.asks("other", "10.1.0.7").address(), "10.1.0.7/24");
    });
}

#[test]
fn nothing_changes_without_a_confirmation() {
    let node = Machines::embedded().node();
    let host = Host::new(&node);
    host.asks("first", "10.1.0.9").ok();
    let (before, reserve) = (host.states(), ["reserve", "10.1.0.5", "--reason", "printer"]);
    let said = host.refuses(&reserve);
    assert!(said.ends_with("nothing was reserved; to reserve them, run this again with --yes\n"), "{said}");
    assert_eq!(host.prints(&[&reserve[..], &["--dry-run"]].concat()), "1 address in 10.1.0.5: 1 free.\n");
    let on_terminal = |args: &[&str], answer: &str| {
        let printed = pty::run_with_answers(&mut host.command(args), 100, answer).unwrap();
        (printed.text, printed.status.code().unwrap())
    };
    for answer in ["n\n", "\n", "yess\n"] {
        let (text, status) = on_terminal(&reserve, answer);
        assert!(text.contains("reserve 1 address? [y/N]") && text.contains("nothing was changed"), "{text}");
        assert_eq!((status, host.states()), (1, before.clone()), "{answer:?}");
    }
    let (text, status) = on_terminal(&reserve, "y\n");
    assert_eq!(status, 0, "{text}");
    assert_eq!(host.states().len(), before.len() + 1);
    // The same for the way back.
    for args in [&["release", "10.1.0.5"][..], &["release", "10.1.0.0/29"], &["move", "10.1.0.5", "--to", "10.1.0.6"]] {
        host.refuses(args);
        host.prints(&[args, &["--dry-run"]].concat());
        assert_eq!(on_terminal(args, "n\n").1, 1);
    }
    assert_eq!(host.states().len(), before.len() + 1);
    assert_eq!(on_terminal(&["release", "10.1.0.5"], "y\n").1, 0);
    assert_eq!(host.states(), before);
}

#[test]
fn hostile_words_are_refused_and_reach_no_terminal() {
    let node = Machines::embedded().node();
    let host = Host::new(&node);
    host.asks("first", "10.1.0.9").ok();
    let long = "x".repeat(201);
    for reason in ["\u{1b}[31mred", "two\nlines", "\u{7}", "\u{202e}gnp", "", "  ", long.as_str()] {
        let output = host.run(&["reserve", "10.1.0.5", "--reason", reason, "--yes"]);
        assert_eq!(output.status.code(), Some(2), "{reason:?}: {}", text(&output));
        let shown = text(&output);
        assert!(!shown.contains(['\u{1b}', '\u{7}']), "{shown:?}");
    }
    for object in ["db", "db/", "pod/a/b/c", "statefulset/", "claim/UPPER", "db/\u{1b}[31m", "deployment/web/web"] {
        let output = host.run(&["reserve", "10.1.0.5", "--reason", "r", "--for", object, "--yes"]);
        assert_eq!(output.status.code(), Some(2), "{object:?}: {}", text(&output));
    }
    assert_eq!(host.states().len(), 1);
    // A name of the machine's that is none is left out.
    let mut command = host.command(&["reserve", "10.1.0.5", "--reason", "r", "--yes"]);
    assert!(command.env("USER", "\u{1b}[31m").output().unwrap().status.success());
    assert!(host.prints(&["release", "10.1.0.5", "--yes"]).starts_with("10.1.0.5 is reserved by hand since "));
}

#[test]
fn what_is_in_use_or_for_no_pod_leaves_all_of_them_free_unless_the_rest_is_asked_for() {
    on_each_store("what_is_in_use_or_for_no_pod_leaves_all_of_them_free_unless_the_rest_is_asked_for", |host| {
        host.asks("web", "10.1.0.5").ok();
        let args = ["reserve", "10.1.0.0/29", "--reason", "load balancers", "--yes"];
        let said = host.refuses(&args);
        for part in [
            "8 addresses in 10.1.0.0-10.1.0.7: 5 free, 3 not to be had.",
            "10.1.0.0 is for no pod: it is the network address of 10.1.0.0/24.",
            "10.1.0.1 is for no pod: it is the gateway of 10.1.0.0/24.",
            "10.1.0.5 is held by pod db/web",
            "to reserve the other 5, run this again with --free-only",
        ] {
            assert!(said.contains(part), "{part}: {said}");
        }
        assert_eq!(host.states().len(), 1);
        let said = host.prints(&[&args[..], &["--free-only"]].concat());
        assert!(said.ends_with("5 addresses are reserved by hand.\n"), "{said}");
        let outside = host.prints(&["reserve", "10.9.0.1", "--reason", "elsewhere", "--yes"]);
        assert!(outside.contains("No known network has 1 of them in a subnet."), "{outside}");
        // Of several, only what nobody holds is released, unless everything is asked for.
        let released = host.prints(&["release", "10.1.0.0/29", "--yes"]);
        assert!(released.contains("1 address left as is"), "{released}");
        assert!(released.ends_with("5 addresses are free now.\n"), "{released}");
        let states = host.states();
        assert_eq!(states.len(), 2, "{states:?}");
        let all = host.prints(&["release", "10.1.0.0/29", "--all", "--yes"]);
        assert!(all.ends_with("1 address is free now.\n"), "{all}");
        let states: Vec<String> = host.states().into_iter().map(|(_, state)| state).collect();
        assert_eq!(states, ["resting", "reserved"]);
        let too_many = host.refuses(&["reserve", "10.1.0.0/19", "--reason", "r", "--yes"]);
        assert!(too_many.contains("has 8192 addresses") && too_many.contains("(`exclude`)"), "{too_many}");
    });
}

#[test]
fn its_time_ends_it_and_a_sweep_frees_it_and_says_why() {
    on_each_store("its_time_ends_it_and_a_sweep_frees_it_and_says_why", |host| {
        host.asks("first", "10.1.0.9").ok();
        host.prints(&["reserve", "10.1.0.5", "--reason", "now", "--ttl", "1s", "--yes"]);
        host.prints(&["reserve", "10.1.0.6", "--reason", "long", "--ttl", "1h", "--yes"]);
        let mut said = String::new();
        wait_until("the time of the reservation is over", || {
            said = host.prints(&["sweep", "--interval", "10ms"]);
            said.contains("1 freed")
        });
        assert!(said.contains("its reservation by hand has expired (reserve --ttl)"), "{said}");
        let left: Vec<String> = host.states().into_iter().map(|(ip, _)| ip).collect();
        assert_eq!(left, ["10.1.0.6", "10.1.0.9"]);
        assert!(host.prints(&["explain", "10.1.0.6"]).contains("the reservation by hand ends in "));
    });
}

/// So many addresses make work of many transactions.
const MANY: usize = 4096;

/// Starts to reserve many addresses, and sends a signal once some of them are, but not all.
fn interrupted(host: &Host<'_>, signal: Signal) -> Output {
    for _ in 0..50 {
        let mut command = host.command(&["reserve", "10.2.0.0/20", "--reason", "many", "--yes"]);
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        wait_until("some addresses are reserved", || host.count() > 0);
        kill_process(Pid::from_child(&child), signal).unwrap();
        let output = child.wait_with_output().unwrap();
        if host.count() < MANY {
            return output;
        }
        // It was faster than the signal.
        host.prints(&["release", "10.2.0.0/20", "--yes"]);
    }
    panic!("no run was interrupted");
}

#[test]
fn an_interrupted_run_leaves_whole_batches_and_a_second_one_completes_them() {
    on_stores_without_api_server("an_interrupted_run_leaves_whole_batches_and_a_second_one_completes_them", |host| {
        for signal in [Signal::KILL, Signal::TERM] {
            let output = interrupted(host, signal);
            let done = host.count();
            assert!(done > 0 && done < MANY && done % 127 == 0, "{done}");
            if signal == Signal::TERM {
                assert_eq!(output.status.code(), Some(1));
                let said = text(&output);
                assert!(
                    said.contains(&format!("{done} of 4096 addresses are reserved by hand; the command was")),
                    "{said}"
                );
            }
            let again = host.prints(&["reserve", "10.2.0.0/20", "--reason", "many", "--yes"]);
            assert!(again.contains(&format!("{done} reserved by hand for this reason already")), "{again}");
            assert_eq!(host.count(), MANY);
            let released = host.prints(&["release", "10.2.0.0/20", "--yes"]);
            assert!(released.ends_with("4096 addresses are free now.\n"), "{released}");
            assert_eq!(host.count(), 0);
        }
    });
}

#[test]
fn of_two_operators_and_many_pods_at_once_each_address_has_one() {
    on_each_store("of_two_operators_and_many_pods_at_once_each_address_has_one", |host| {
        let pods: Vec<String> = (0..20).map(|number| format!("p{number}")).collect();
        for pod in &pods {
            let ip = format!("10.1.0.{}", 40 + pod[1..].parse::<u8>().unwrap());
            host.api.has(pod, &uid(pod), "Running", &json!({ "kube-ipam.eth0.ip": ip }));
        }
        let operator = |reason: &str| {
            let mut command = host.command(&["reserve", "10.1.0.32/27", "--reason", reason, "--free-only", "--yes"]);
            command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
        };
        let operators = ["one", "two"].map(operator);
        let replies = at_once(pods.iter().map(|pod| host.call("ADD", pod, pod)));
        let said = operators.map(|child| text(&child.wait_with_output().unwrap()));
        let list: Value = serde_json::from_str(&host.prints(&["list", "-o", "json"])).unwrap();
        let reason = |ip: &str| {
            let row = list.as_array().unwrap().iter().find(|row| row["address"] == ip)?;
            row["manual"]["reason"].as_str().map(str::to_owned)
        };
        for (pod, reply) in pods.iter().zip(&replies) {
            let ip = format!("10.1.0.{}", 40 + pod[1..].parse::<u8>().unwrap());
            match reply.status.success() {
                true => assert_eq!((reason(&ip), reply.addresses()), (None, vec![format!("{ip}/24")])),
                false => {
                    assert!(reason(&ip).is_some() && reply.text().contains("reserved by hand"), "{}", reply.text())
                }
            }
        }
        // One of both reserved what nobody had, in one transaction, and the other one says that nothing was done by it.
        let rows = list.as_array().unwrap();
        let by = |who: &str| rows.iter().filter(|row| row["manual"]["reason"] == who).count();
        let won: Vec<usize> = ["one", "two"].into_iter().map(by).collect();
        assert!(won.contains(&0), "{won:?} {said:?}");
    });
}

#[test]
fn the_store_has_what_the_command_wrote() {
    let node = Machines::embedded().node();
    let host = Host::new(&node);
    host.asks("first", "10.1.0.9").ok();
    host.prints(&["reserve", "10.1.0.5", "--reason", "r", "--for", "claim/db/vm-a", "--ttl", "2h", "--yes"]);
    let session = Session::open(node.store(), None).unwrap();
    let key = keys::lease(&"default".parse().unwrap(), "10.1.0.5".parse().unwrap());
    let entry = session.get(key, Deadline::after(Duration::from_secs(10))).unwrap().unwrap();
    let stored: Value = serde_json::from_slice(&entry.value).unwrap();
    insta::assert_json_snapshot!(stored, {
        ".since" => "<time>", ".unused" => "<time>", ".manual.at" => "<time>", ".manual.by" => "<who>",
    }, @r#"
    {
      "v": 1,
      "kind": "fixed",
      "holders": [],
      "since": "<time>",
      "onRelease": {
        "keep": null
      },
      "unused": "<time>",
      "manual": {
        "reason": "r",
        "at": "<time>",
        "by": "<who>",
        "ttl": 7200,
        "for": {
          "kind": "IPAMClaim",
          "cluster": "5d0c6e0e-7f0b-4a53-9c59-0a8a4c1f6f01",
          "namespace": "db",
          "name": "vm-a"
        }
      }
    }
    "#);
}
