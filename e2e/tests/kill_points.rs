//! Invariant 6, exhaustively: a process killed at any instant leaves no address lost for good and none held twice.
//!
//! ```text
//!  one call under strace ─► its steps: every write, sync, rename, unlink, truncation and send
//!  for each step, on a machine of its own: the same call killed there ─► what a runtime does next ─► all is free again
//! ```
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test's verdict is a panic, its output is for a person")]

use std::fs::File;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use kube_ipam_e2e::api_server::ApiServer;
use kube_ipam_e2e::cni::{Call, Reply};
use kube_ipam_e2e::history::History;
use kube_ipam_e2e::machines::{Machines, in_parallel};
use kube_ipam_e2e::node::{Network, Node};
use kube_ipam_e2e::trace::{self, Step};
use kube_ipam_e2e::wait_until;
use serde_json::json;

/// So many calls are traced at a time.
const AT_A_TIME: usize = 4;

/// The addresses of the network's range.
const ADDRESSES: usize = 2;

fn network(node: &Node) -> Network<'_> {
    node.network(json!({
        "subnet": "10.1.0.0/24", "rangeStart": "10.1.0.5", "rangeEnd": "10.1.0.6", "cooldown": "0s",
    }))
}

/// A pod, as its runtime names it.
const POD: &str = "K8S_POD_NAMESPACE=db;K8S_POD_NAME=db-0;K8S_POD_UID=0b4f6a52-3c1d-4b8e-9a53-0f6d8c1f1a11";

/// A call that is killed, and what comes before and after.
struct Scenario {
    before: fn(&Run<'_>),
    killed: fn(&Run<'_>) -> Call,
    /// Each is what a runtime may do next; it releases what the scenario has added.
    after: &'static [fn(&Run<'_>)],
}

/// One run of a scenario.
struct Run<'node> {
    node: &'node Node,
    network: Network<'node>,
    history: History,
}

impl<'node> Run<'node> {
    fn new(node: &'node Node) -> Self {
        Self { node, network: network(node), history: History::new() }
    }

    fn add(&self, container: &str) {
        self.added(container, &self.network.add(container));
    }

    fn added(&self, container: &str, reply: &Reply) {
        self.history.given("default", &format!("{container}/eth0"), reply);
    }

    /// ADD of a sandbox of one pod, for the pod's own address.
    fn sandbox(&self, container: &str) -> Call {
        self.network.call("ADD", container).args(&format!("IP=10.1.0.5;{POD}"))
    }

    /// ADD of a sandbox of that pod, for any address.
    fn sandbox_at_random(&self, container: &str) -> Call {
        self.network.call("ADD", container).args(POD)
    }

    /// Grows the record of a container beyond the size at which it is shortened, as an ADD does that is repeated for hours.
    fn grow(&self, container: &str) {
        let path = self.node.path(&format!("records/node-1/{container}:eth0:blue.json"));
        let record = std::fs::read_to_string(&path).unwrap();
        let last = record.lines().last().unwrap();
        std::fs::write(&path, format!("{last}\n").repeat((64 << 10) / last.len() + 2)).unwrap();
    }

    /// DEL. On a busy machine, its release may be deferred: the runtime's next call performs it.
    fn del(&self, container: &str) {
        self.history.releasing(&format!("{container}/eth0"));
        self.network.del(container).ok();
        wait_until("a deferred release is performed", || {
            let is_deferred = self.node.records().iter().any(|record| record.starts_with("marked/"));
            if is_deferred {
                self.network.del(container).ok();
            }
            !is_deferred
        });
    }

    /// ADD with a namespace that is gone right afterwards.
    fn add_and_lose(&self, container: &str) {
        let netns = self.node.path(container);
        File::create(&netns).unwrap();
        self.added(container, &self.network.call("ADD", container).netns(&netns).run());
        std::fs::remove_file(&netns).unwrap();
    }

    /// A GC call whose list has c2 alone.
    fn gc(&self) -> Call {
        let valid = json!([{ "containerID": "c2", "ifname": "eth0" }]);
        let config = self.network.with(json!({ "cniVersion": "1.1.0", "cni.dev/valid-attachments": valid })).config;
        self.node.call("GC").config(&config)
    }

    /// The store holds what the replies say, and nothing else.
    fn the_store_agrees(&self) {
        let mut held = self.node.held();
        held.sort();
        assert_eq!(held, self.history.holders());
        self.history.has_no_duplicates();
    }

    /// Every address can be given, and nothing stays behind.
    fn all_is_free(&self) {
        let containers: Vec<String> = (1..=ADDRESSES).map(|n| format!("f{n}")).collect();
        containers.iter().for_each(|container| self.add(container));
        self.the_store_agrees();
        containers.iter().for_each(|container| self.del(container));
        self.the_store_agrees();
        assert_eq!((self.node.records(), self.node.sandboxes()), (vec![], vec![]));
        ApiServer::sweep_leaves_nothing_open(self.node.store());
    }
}

const ADD: Scenario = Scenario {
    before: |_| {},
    killed: |run| run.network.call("ADD", "c1"),
    after: &[
        // The runtime tries again, and others come and go.
        |run| {
            run.add("c1");
            run.add("c2");
            run.the_store_agrees();
            run.del("c1");
            run.del("c2");
        },
        // The runtime gives up.
        |run| run.del("c1"),
    ],
};

const DEL: Scenario = Scenario {
    before: |run| run.add("c1"),
    killed: |run| {
        run.history.releasing("c1/eth0");
        run.network.call("DEL", "c1")
    },
    after: &[
        // Another pod comes before the DEL is repeated.
        |run| {
            run.add("c2");
            run.del("c1");
            run.the_store_agrees();
            run.del("c2");
        },
        // Podman starts the same container again, which has the same id.
        |run| {
            run.add("c1");
            run.the_store_agrees();
            run.del("c1");
        },
    ],
};

const GC: Scenario = Scenario {
    before: |run| {
        run.add_and_lose("c1");
        run.add("c2");
    },
    killed: |run| {
        run.history.releasing("c1/eth0");
        run.gc()
    },
    after: &[
        // It is repeated.
        |run| {
            run.gc().run().ok();
            run.the_store_agrees();
            run.del("c2");
        },
        // The DEL comes after all.
        |run| {
            run.del("c1");
            run.the_store_agrees();
            run.del("c2");
        },
    ],
};

/// A later sandbox takes over what an earlier one of the same pod holds.
const TAKE_OVER: Scenario = Scenario {
    before: |run| {
        run.added("c1", &run.sandbox("c1").run());
        // From here on it may pass at any time.
        run.history.releasing("c1/eth0");
    },
    killed: |run| run.sandbox("c2"),
    after: &[
        // The runtime tries again, and then removes the earlier one.
        |run| {
            run.added("c2", &run.sandbox("c2").run());
            run.the_store_agrees();
            run.del("c1");
            run.the_store_agrees();
            run.del("c2");
        },
        // The runtime gives up, in either order.
        |run| {
            run.del("c1");
            run.del("c2");
        },
        |run| {
            run.del("c2");
            run.del("c1");
        },
    ],
};

/// A later sandbox continues with the random address of an earlier one.
const GO_ON: Scenario = Scenario {
    before: |run| {
        run.added("c1", &run.sandbox_at_random("c1").run());
        run.history.releasing("c1/eth0");
    },
    killed: |run| run.sandbox_at_random("c2"),
    after: &[
        // The runtime makes a third one, and removes the other two in the end.
        |run| {
            run.added("c3", &run.sandbox_at_random("c3").run());
            let held = run.node.held();
            assert!(
                matches!(held.as_slice(), [(_, holder)] if holder == "c3/eth0"),
                "the pod holds one address: {held:?}"
            );
            run.del("c1");
            run.del("c2");
            run.the_store_agrees();
            run.del("c3");
        },
        // The runtime gives up, in either order.
        |run| {
            run.del("c1");
            run.del("c2");
        },
        |run| {
            run.del("c2");
            run.del("c1");
        },
    ],
};

/// An ADD that was repeated so often that its record is about to be shortened.
const REPEATED: Scenario = Scenario {
    before: |run| {
        run.add("c1");
        run.grow("c1");
    },
    killed: |run| run.network.call("ADD", "c1"),
    after: &[
        // There is a record, and so the DEL knows that an ADD may be under way.
        |run| {
            assert_eq!(run.node.records(), ["c1:eth0:blue.json"]);
            run.add("c1");
            run.the_store_agrees();
            run.del("c1");
        },
        |run| {
            assert!(std::fs::metadata(run.node.path("records/node-1/c1:eth0:blue.json")).unwrap().len() > 0);
            run.del("c1");
        },
    ],
};

/// Kills the scenario's call at every step, once for each way to go on.
fn play(machines: &Machines, scenario: &Scenario) {
    let node = machines.node();
    let run = Run::new(&node);
    (scenario.before)(&run);
    let (reply, steps) = trace::steps(&node, (scenario.killed)(&run));
    reply.ok();
    let runs: Vec<_> = steps.iter().flat_map(|step| scenario.after.iter().map(move |after| (step, after))).collect();
    let survived = AtomicUsize::new(0);
    in_parallel(AT_A_TIME, &runs, |(step, after)| {
        let node = machines.node();
        if !killed_and_recovered(&node, scenario, step, after) {
            survived.fetch_add(1, Ordering::Relaxed);
        }
    });
    let survived = survived.into_inner();
    println!("{} steps, {} runs, {survived} of them not killed", steps.len(), runs.len());
    // A call may go another way than the one that was listed, but if many do, the list is not of this program.
    assert!(steps.len() >= 5 && survived * 10 <= runs.len(), "{survived} of {} calls were not killed", runs.len());
}

fn killed_and_recovered(node: &Node, scenario: &Scenario, step: &Step, after: &fn(&Run<'_>)) -> bool {
    let run = Run::new(node);
    (scenario.before)(&run);
    let _told = OnPanic(step);
    let survivor = trace::killed_at(node, (scenario.killed)(&run), step);
    let killed = survivor.is_none();
    if let Some(reply) = survivor {
        println!("not killed at: {step}");
        reply.ok();
    }
    after(&run);
    run.all_is_free();
    killed
}

/// Says at which step the call was killed, when what follows fails.
struct OnPanic<'a>(&'a Step);

impl Drop for OnPanic<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            println!("killed at: {}", self.0);
        }
    }
}

macro_rules! on_each_store {
    ($(fn $name:ident() $scenario:block)*) => {
        mod embedded {
            $(#[test]
            fn $name() {
                if super::trace::works_or_skip(concat!("embedded::", stringify!($name))) {
                    super::play(&super::Machines::embedded(), &$scenario);
                }
            })*
        }

        mod etcd {
            $(#[test]
            fn $name() {
                let test = concat!("etcd::", stringify!($name));
                if super::trace::works_or_skip(test) && let Some(machines) = super::Machines::etcd(test) {
                    super::play(&machines, &$scenario);
                }
            })*
        }

        mod kubernetes {
            $(#[test]
            fn $name() {
                let test = concat!("kubernetes::", stringify!($name));
                if super::trace::works_or_skip(test) && let Some(machines) = super::Machines::kubernetes(test) {
                    super::play(&machines, &$scenario);
                }
            })*
        }
    };
}

on_each_store! {
    fn an_add_killed_anywhere_loses_no_address_and_none_is_held_twice() { super::ADD }
    fn a_del_killed_anywhere_loses_no_address_and_none_is_held_twice() { super::DEL }
    fn a_take_over_killed_anywhere_loses_no_address_and_none_is_held_twice() { super::TAKE_OVER }
    fn a_later_sandbox_killed_anywhere_leaves_its_pod_one_address() { super::GO_ON }
    fn a_repeated_add_killed_anywhere_leaves_a_record() { super::REPEATED }
    fn a_gc_killed_anywhere_loses_no_address_and_none_is_held_twice() { super::GC }
}
