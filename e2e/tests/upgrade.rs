//! The kube-ipam that came before this one and this one by turns, on one machine and one store: an upgrade, and the way
//! back. What the one writes the other reads, keeps and frees.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test's verdict is a panic")]

use std::collections::BTreeMap;
use std::process::Command;
use std::time::Duration;

use jiff::Timestamp;
use kube_ipam::deadline::Deadline;
use kube_ipam::ipam::keys;
use kube_ipam::ipam::lease::{self, Foreign, Lease};
use kube_ipam::ipam::name::{AttachmentId, IfName, Name};
use kube_ipam::ipam::reservation::{Owner, OwnerKind};
use kube_ipam::ipam::takeover::Mac;
use kube_ipam::ops::Session;
use kube_ipam::store::{Key, Op, Txn};
use kube_ipam_e2e::api::{self, Api, CLUSTER, NAMESPACE};
use kube_ipam_e2e::binary;
use kube_ipam_e2e::cni::{Call, Reply};
use kube_ipam_e2e::machines::Machines;
use kube_ipam_e2e::node::{Network, Node, Plugin};
use serde_json::{Value, json};

/// Which program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    Old,
    New,
}

use Version::{New, Old};

/// Both ways.
const WAYS: [(Version, Version); 2] = [(Old, New), (New, Old)];

/// A machine with both programs, and the API server of its pods.
struct Host {
    old: Node,
    new: Node,
    api: Api,
}

/// The UID of a pod, made of its name.
fn uid(pod: &str) -> String {
    let sum = pod.bytes().fold(0u64, |sum, byte| sum * 31 % 999_999_999_989 + u64::from(byte));
    format!("0b4f6a52-3c1d-4b8e-9a53-{sum:012}")
}

impl Host {
    fn new(node: Node, previous: &Plugin) -> Self {
        let host = Self { old: node.with(previous.clone()), new: node, api: Api::start().unwrap() };
        host.set_defaults(json!({}));
        // No list is empty.
        host.runs("always", &json!({}));
        host
    }

    /// The defaults of both; `more` distinguishes a node that was installed from one that was set up by hand.
    fn set_defaults(&self, more: Value) {
        let kubeconfig = self.api.kubeconfig(&self.new.path("")).unwrap();
        let mut defaults = json!({ "annotations": true, "kubeConfig": kubeconfig, "sweep": { "minAge": "0s" } });
        defaults.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        self.new.set_defaults(&defaults);
    }

    fn node(&self, version: Version) -> &Node {
        match version {
            Old => &self.old,
            New => &self.new,
        }
    }

    fn network(&self, version: Version) -> Network<'_> {
        let ranges = json!([[{ "subnet": "10.1.0.0/24" }], [{ "subnet": "fd00::/64" }]]);
        self.node(version).network(json!({ "ranges": ranges, "cooldown": "0s" }))
    }

    fn runs(&self, pod: &str, annotations: &Value) {
        self.api.has(pod, &uid(pod), "Running", annotations);
    }

    /// A pod of StatefulSet pg.
    fn runs_of_set(&self, pod: &str, uid: &str) {
        let mut shown = api::pod(pod, uid, "Running", &json!({ "kube-ipam.eth0.sticky": "true" }));
        let set =
            json!({ "apiVersion": "apps/v1", "kind": "StatefulSet", "name": "pg", "uid": SET, "controller": true });
        shown["metadata"]["ownerReferences"] = json!([set]);
        self.api.shows(pod, &shown);
    }

    fn call(&self, version: Version, verb: &str, container: &str, pod: &str) -> Call {
        self.network(version).call(verb, container).args(&args(pod, &uid(pod)))
    }

    /// The addresses of the next pod of the name pg-0, which comes and goes.
    fn next_of_set(&self, version: Version, generation: usize) -> Vec<String> {
        let (container, uid) = (format!("c{generation}"), uid(&format!("pg-0 {generation}")));
        // The newer one asks about the StatefulSet itself.
        self.api.has("pg", SET, "Running", &json!({}));
        self.runs_of_set("pg-0", &uid);
        let call = |verb: &str| self.network(version).call(verb, &container).args(&args("pg-0", &uid)).run().ok();
        let given = call("ADD").addresses();
        call("DEL");
        given
    }

    fn add(&self, version: Version, container: &str, pod: &str) -> Reply {
        self.call(version, "ADD", container, pod).run()
    }

    fn del(&self, version: Version, container: &str, pod: &str) {
        self.call(version, "DEL", container, pod).run().ok();
    }

    fn check(&self, version: Version, container: &str, pod: &str, given: &Reply) -> Reply {
        let network = self.network(version).with(json!({ "prevResult": given.document }));
        self.call(version, "CHECK", container, pod).config(&network.config).run()
    }

    /// What a version prints of a verb of the command line, as JSON.
    fn told(&self, version: Version, args: &[&str]) -> Value {
        let mut command = Command::new(&self.node(version).plugin().path);
        command.env_clear().env("KUBE_IPAM_CONFIG", self.new.path("kube-ipam.json")).args(args).args(["-o", "json"]);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{version:?} {args:?}: {}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// What each of both says of a sweep: containers and what became of what they had.
    fn swept(&self, version: Version, scope: &[&str]) -> Vec<String> {
        let said = self.told(version, &[&["sweep", "--interval", "10ms"], scope].concat());
        let found = said["found"].as_array().unwrap().iter();
        found
            .map(|found| format!("{} {}", found["holder"]["containerID"].as_str().unwrap_or("-"), found["fate"]))
            .collect()
    }

    /// The containers that hold something, according to both versions.
    #[track_caller]
    fn holders(&self) -> Vec<String> {
        let [by_old, by_new] = [&self.old, &self.new].map(Node::held);
        assert_eq!(by_old, by_new, "the two versions read one store differently");
        let mut containers: Vec<String> =
            by_old.into_iter().map(|(_, holder)| holder.trim_end_matches("/eth0").to_owned()).collect();
        containers.sort();
        containers.dedup();
        containers
    }

    /// Nothing is left: no address, and no file.
    #[track_caller]
    fn is_empty(&self) {
        assert_eq!((self.holders(), self.new.records()), (vec![], vec![]));
    }
}

fn args(pod: &str, uid: &str) -> String {
    format!("IgnoreUnknown=1;K8S_POD_NAMESPACE={NAMESPACE};K8S_POD_NAME={pod};K8S_POD_UID={uid}")
}

/// The UID of StatefulSet pg.
const SET: &str = "5e70";

/// Virtual machine vm1, whose pods request an address by name or request nothing, and keep what they get.
struct Machine<'host> {
    host: &'host Host,
}

impl Machine<'_> {
    /// The address that its pods request.
    const REQUESTED: &'static str = "10.1.0.5";

    fn migration(pod: &str) -> String {
        format!("to-{pod}")
    }

    /// A pod of it runs, and is the target of a migration from another one.
    fn runs(&self, pod: &str, source: Option<&str>, requests: bool) {
        let (machine, migration) = (("vm1", "i-1"), source.map(|_| Self::migration(pod)));
        let mut launcher = api::launcher(pod, &uid(pod), machine, migration.as_deref().map(|name| (name, "m-1")));
        launcher["metadata"]["annotations"]["kube-ipam.eth0.sticky"] = json!("true");
        if requests {
            launcher["metadata"]["annotations"]["kube-ipam.eth0.ip"] = json!(Self::REQUESTED);
        }
        let pods: Vec<String> = source.into_iter().chain([pod]).map(uid).collect();
        let pods: Vec<&str> = pods.iter().map(String::as_str).collect();
        self.host.api.has_object(&api::instance(machine.0, machine.1, Some("o-1"), &pods));
        self.host.api.has_object(&launcher);
        if let Some(migration) = migration {
            self.host.api.has_object(&api::migration(&migration, "m-1", machine.0, "Scheduling"));
        }
    }

    fn add(&self, version: Version, pod: &str) -> Vec<String> {
        self.host.add(version, pod, pod).ok().addresses()
    }

    /// What the store has under a key.
    fn stored(&self, key: Key) -> Value {
        let session = Session::open(self.host.new.store(), None).unwrap();
        let entry = session.get(key, Deadline::after(Duration::from_secs(10))).unwrap();
        serde_json::from_slice(&entry.unwrap().value).unwrap()
    }

    /// Whether the requested address is known as that of the machine: by its lease, and where the next pod looks.
    fn is_noted(&self) -> bool {
        let (vrf, name) = (Name::new("default").unwrap(), |text: &str| Name::new(text).unwrap());
        let owner = Owner {
            kind: OwnerKind::VirtualMachine,
            cluster: Some(CLUSTER.to_owned()),
            namespace: name(NAMESPACE),
            name: name("vm1"),
            uid: "o-1".to_owned(),
            pod: None,
        };
        let attachment = AttachmentId {
            node: name("node-1"),
            container: name("any"),
            ifname: IfName::new("eth0").unwrap(),
            network: name("blue"),
        };
        let lease = self.stored(keys::lease(&vrf, Self::REQUESTED.parse().unwrap()));
        let reservation = self.stored(keys::reservation(&vrf, &owner, &attachment));
        lease["heldFor"]["name"] == "vm1" && reservation["asked"] == json!([Self::REQUESTED])
    }
}

/// Runs a case on both stores, if the program before this one was built.
fn on_each_store(test: &str, case: impl Fn(&Host)) {
    let Some(path) = binary::previous_or_skip(test) else { return };
    let previous = Plugin { name: "kube-ipam".to_owned(), path };
    case(&Host::new(Machines::embedded().node(), &previous));
    if let Some(machines) = Machines::etcd(test) {
        case(&Host::new(machines.node(), &previous));
    }
}

/// Both kinds of nodes: whose installer named the cluster, and by hand.
fn installed_and_by_hand() -> [Value; 2] {
    [json!({ "cluster": CLUSTER }), json!({})]
}

#[test]
fn what_one_version_gave_the_other_keeps_checks_and_frees() {
    on_each_store("what_one_version_gave_the_other_keeps_checks_and_frees", |host| {
        let asks = [
            ("random", json!({})),
            ("fixed", json!({ "kube-ipam.eth0.ip": "10.1.0.5,fd00::5" })),
            ("of-a-pool", json!({ "kube-ipam.eth0.pool": "10.1.0.7-10.1.0.9" })),
        ];
        for defaults in installed_and_by_hand() {
            host.set_defaults(defaults);
            for (pod, annotations) in &asks {
                host.runs(pod, annotations);
                for (one, other) in WAYS {
                    let given = host.add(one, "c1", pod).ok();
                    for again in [other, one, other] {
                        assert_eq!(host.add(again, "c1", pod).ok().addresses(), given.addresses(), "{pod} {one:?}");
                        host.check(again, "c1", pod, &given).ok();
                        assert_eq!(host.holders(), ["c1"]);
                    }
                    host.del(other, "c1", pod);
                    host.is_empty();
                    host.del(one, "c1", pod);
                    host.is_empty();
                }
            }
        }
    });
}

#[test]
fn a_release_deferred_by_one_version_is_performed_by_the_other() {
    let test = "a_release_deferred_by_one_version_is_performed_by_the_other";
    let Some(path) = binary::previous_or_skip(test) else { return };
    let host = Host::new(Machines::embedded().node(), &Plugin { name: "kube-ipam".to_owned(), path });
    host.runs("db-0", &json!({}));
    let (store, away) = (host.new.path("addresses"), host.new.path("away"));
    for (one, other) in WAYS {
        for replay in [&["--node"][..], &["--marked"]] {
            host.add(one, "c1", "db-0").ok();
            // Where the store's folder was, there is a file.
            std::fs::rename(&store, &away).unwrap();
            std::fs::write(&store, "").unwrap();
            host.del(one, "c1", "db-0");
            std::fs::remove_file(&store).unwrap();
            std::fs::rename(&away, &store).unwrap();
            assert_eq!(host.holders(), ["c1"]);
            assert_eq!(host.swept(other, replay), ["c1 \"freed\""; 2], "{one:?}");
            host.is_empty();
        }
    }
}

#[test]
fn a_fixed_address_passes_between_sandboxes_of_two_versions() {
    on_each_store("a_fixed_address_passes_between_sandboxes_of_two_versions", |host| {
        host.runs("db-0", &json!({ "kube-ipam.eth0.ip": "10.1.0.5" }));
        let passes = |one: Version, other: Version| {
            let given = host.add(one, "c1", "db-0").ok();
            let again = host.add(other, "c2", "db-0").ok();
            assert_eq!(given.addresses()[0], again.addresses()[0]);
            assert_eq!(host.add(one, "c1", "db-0").refused().code(), 11);
            host.del(one, "c1", "db-0");
            assert_eq!(host.holders(), ["c2"]);
            host.del(other, "c2", "db-0");
            host.is_empty();
        };
        host.set_defaults(json!({ "cluster": CLUSTER }));
        WAYS.into_iter().for_each(|(one, other)| passes(one, other));
        // By hand: the old one named no cluster, and takes over from none but such.
        host.set_defaults(json!({}));
        passes(Old, New);
        host.add(New, "c1", "db-0").ok();
        assert_eq!(host.add(Old, "c2", "db-0").refused().code(), 11);
        // As docs/migration.md says of the way back.
        host.set_defaults(json!({ "cluster": CLUSTER }));
        host.add(Old, "c2", "db-0").ok();
        ["c1", "c2"].into_iter().for_each(|container| host.del(Old, container, "db-0"));
        host.is_empty();
    });
}

#[test]
fn a_pod_that_is_gone_leaves_its_address_to_the_other_version_where_both_know_the_cluster() {
    let test = "a_pod_that_is_gone_leaves_its_address_to_the_other_version_where_both_know_the_cluster";
    on_each_store(test, |host| {
        let asking = json!({ "kube-ipam.eth0.ip": "10.1.0.5" });
        let leaves = |one: Version| {
            host.runs("gone", &asking);
            host.add(one, "c1", "gone").ok();
            host.api.lost("gone");
            host.runs("next", &asking);
        };
        for (one, other) in WAYS {
            host.set_defaults(json!({ "cluster": CLUSTER }));
            leaves(one);
            host.add(other, "c2", "next").ok();
            // What is left of the first is its random address of the other family.
            host.del(one, "c1", "gone");
            assert_eq!(host.holders(), ["c2"]);
            host.del(one, "c2", "next");
            host.is_empty();
            // By hand the one can't know that the other's holder is of its cluster.
            host.set_defaults(json!({}));
            leaves(one);
            assert_eq!(host.add(other, "c2", "next").refused().code(), 11);
            assert_eq!(host.holders(), ["c1"]);
            host.set_defaults(json!({ "cluster": CLUSTER, "formerClusters": [""] }));
            host.add(other, "c2", "next").ok();
            ["c1", "c2"].into_iter().for_each(|container| host.del(New, container, "next"));
            host.is_empty();
        }
    });
}

#[test]
fn a_stateful_set_s_pod_keeps_its_address_through_an_upgrade_and_back() {
    let test = "a_stateful_set_s_pod_keeps_its_address_through_an_upgrade_and_back";
    on_each_store(test, |host| {
        host.set_defaults(json!({ "cluster": CLUSTER }));
        let given = host.next_of_set(Old, 1);
        for (generation, version) in [New, Old, New, New, Old].into_iter().enumerate() {
            assert_eq!(host.next_of_set(version, generation + 2), given, "{version:?}");
        }
    });
    on_each_store(test, |host| {
        // By hand: what was reserved under no cluster's name moves to where it has one.
        let given = host.next_of_set(Old, 1);
        for (generation, version) in [Old, New, New].into_iter().enumerate() {
            assert_eq!(host.next_of_set(version, generation + 2), given, "{version:?}");
        }
        host.set_defaults(json!({ "cluster": CLUSTER }));
        for (generation, version) in [Old, New].into_iter().enumerate() {
            assert_eq!(host.next_of_set(version, generation + 5), given, "{version:?}");
        }
    });
}

#[test]
fn what_a_machine_s_pod_requested_stays_noted_through_the_old_version() {
    on_each_store("what_a_machine_s_pod_requested_stays_noted_through_the_old_version", |host| {
        host.set_defaults(json!({ "cluster": CLUSTER }));
        let machine = Machine { host };
        machine.runs("source", None, true);
        let given = machine.add(New, "source");
        assert!(given.contains(&format!("{}/24", Machine::REQUESTED)) && machine.is_noted(), "{given:?}");
        assert_eq!(machine.add(Old, "source"), given);
        assert!(machine.is_noted());
        // A target that requests it as well comes and goes under either version.
        for (one, other) in [(Old, Old), (New, Old), (Old, New)] {
            machine.runs("target", Some("source"), true);
            assert_eq!(machine.add(one, "target"), given, "{one:?}");
            assert!(machine.is_noted(), "{one:?}");
            host.del(other, "target", "target");
            assert!(machine.is_noted(), "{other:?}");
            assert_eq!(host.holders(), ["source"]);
        }
        // The old one would give the next target, which requests nothing, another address. The new one does not.
        machine.runs("next", Some("source"), false);
        assert_eq!(machine.add(New, "next"), given);
        host.del(Old, "source", "source");
        assert_eq!(host.holders(), ["next"]);
        host.del(Old, "next", "next");
        // From then on it is reserved, also for the old one.
        for version in [Old, New] {
            machine.runs("again", None, false);
            assert_eq!(machine.add(version, "again"), given, "{version:?}");
            host.del(version, "again", "again");
        }
        assert_eq!(host.new.records(), [""; 0]);
    });
}

#[test]
fn a_sweep_of_each_version_frees_what_the_other_left_and_nothing_that_lives() {
    let test = "a_sweep_of_each_version_frees_what_the_other_left_and_nothing_that_lives";
    on_each_store(test, |host| {
        host.set_defaults(json!({ "cluster": CLUSTER }));
        for (one, other) in WAYS {
            for pod in ["lives", "gone"] {
                host.runs(pod, &json!({}));
                host.add(one, pod, pod).ok();
            }
            assert_eq!(host.swept(other, &[]), [""; 0]);
            host.api.lost("gone");
            assert_eq!(host.swept(other, &[]), ["gone \"freed\""; 2]);
            assert_eq!(host.holders(), ["lives"]);
            // Each over its own deferred releases, records and fences.
            for version in [other, one] {
                assert_eq!(host.swept(version, &["--node"]), [""; 0]);
            }
            host.del(other, "gone", "gone");
            host.del(other, "lives", "lives");
            host.is_empty();
        }
    });
}

#[test]
fn each_version_collects_by_gc_what_the_other_gave() {
    on_each_store("each_version_collects_by_gc_what_the_other_gave", |host| {
        let gc = |version: Version, valid: Value| {
            let network =
                host.network(version).with(json!({ "cniVersion": "1.1.0", "cni.dev/valid-attachments": valid }));
            host.node(version).call("GC").config(&network.config).run().ok();
        };
        host.runs("db-0", &json!({}));
        for (one, other) in WAYS {
            // A namespace that is gone with its process.
            let netns = {
                let mut sleeper = Command::new("sleep").arg("600").spawn().unwrap();
                let path = host.new.path(&format!("netns-{one:?}"));
                std::fs::write(&path, "").unwrap();
                sleeper.kill().unwrap();
                sleeper.wait().unwrap();
                path
            };
            host.call(one, "ADD", "c1", "db-0").netns(&netns).run().ok();
            gc(other, json!([]));
            assert_eq!(host.holders(), ["c1"], "its namespace is there");
            std::fs::remove_file(&netns).unwrap();
            gc(other, json!([{ "containerID": "c1", "ifname": "eth0" }]));
            assert_eq!(host.holders(), ["c1"], "it is valid");
            gc(other, json!([]));
            host.is_empty();
        }
    });
}

/// A row of numbers that is the same in every run (xorshift).
fn draws() -> impl FnMut(usize) -> usize {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    move |below| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state % below as u64).unwrap()
    }
}

#[test]
fn whatever_two_versions_do_by_turns_no_address_is_given_twice_and_none_is_lost() {
    let test = "whatever_two_versions_do_by_turns_no_address_is_given_twice_and_none_is_lost";
    on_each_store(test, |host| {
        let mut draw = draws();
        for defaults in installed_and_by_hand() {
            host.set_defaults(defaults);
            let mut held: BTreeMap<String, Reply> = BTreeMap::new();
            for _ in 0..60 {
                let version = [Old, New][draw(2)];
                let pod = format!("pod-{}", draw(8));
                let annotations = [json!({}), json!({ "kube-ipam.eth0.pool": "10.1.0.10-10.1.0.30" })];
                host.runs(&pod, &annotations[usize::from(pod.ends_with(['1', '3']))]);
                match (draw(4), held.get(&pod)) {
                    (0, Some(_)) => {
                        host.del(version, &pod, &pod);
                        held.remove(&pod);
                    }
                    (1, Some(given)) => drop(host.check(version, &pod, &pod, given).ok()),
                    (_, Some(given)) => {
                        assert_eq!(host.add(version, &pod, &pod).ok().addresses(), given.addresses());
                    }
                    (_, None) => {
                        let given = host.add(version, &pod, &pod).ok();
                        let taken = held.values().flat_map(Reply::addresses).any(|ip| given.addresses().contains(&ip));
                        assert!(!taken, "{:?} is given twice", given.addresses());
                        held.insert(pod, given);
                    }
                }
            }
            assert_eq!(host.holders(), held.keys().cloned().collect::<Vec<_>>());
            for pod in held.keys() {
                host.del([Old, New][draw(2)], pod, pod);
            }
            host.is_empty();
        }
    });
}

#[test]
fn what_a_sweep_gave_its_cluster_is_kept_and_freed_by_the_old_version_too() {
    on_each_store("what_a_sweep_gave_its_cluster_is_kept_and_freed_by_the_old_version_too", |host| {
        for closing in [Old, New] {
            host.runs("db-0", &json!({}));
            host.runs_of_set("pg-0", &uid("pg-0"));
            let given = ["db-0", "pg-0"].map(|pod| host.add(Old, pod, pod).ok());
            assert_eq!(host.told(New, &["sweep", "--interval", "10ms"])["named"], 4);
            for version in [Old, New] {
                for (pod, given) in ["db-0", "pg-0"].into_iter().zip(&given) {
                    assert_eq!(host.add(version, pod, pod).ok().addresses(), given.addresses(), "{version:?}");
                    host.check(version, pod, pod, given).ok();
                }
                assert_eq!(host.swept(version, &[]), [""; 0], "{version:?}");
            }
            for pod in ["db-0", "pg-0"] {
                host.del(closing, pod, pod);
                host.api.lost(pod);
            }
            // What is reserved goes with the StatefulSet, which is not there.
            assert_eq!(host.swept(New, &[]).len(), 2);
            host.is_empty();
        }
    });
}

#[test]
fn node_defaults_of_either_version_are_read_by_the_other() {
    let Some(path) = binary::previous_or_skip("node_defaults_of_either_version_are_read_by_the_other") else { return };
    let new = Node::new(Plugin::kube_ipam());
    let old = new.with(Plugin { path, ..Plugin::kube_ipam() });
    let given = |node: &Node, container: &str, more: &Value| {
        let mut block = json!({ "subnet": "10.1.0.0/24" });
        block.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let network = node.network(block);
        let reply = network.add(container);
        network.del(container).ok();
        reply
    };
    // Of today: the older one notes the key that it does not know, and is no less useful for that.
    new.set_defaults(&json!({ "blocksMaySet": ["log"], "locked": ["vrf"] }));
    std::fs::write(new.path("resolv.conf"), "nameserver 192.0.2.53\n").unwrap();
    for node in [&old, &new] {
        given(node, "c1", &json!({ "resolvConf": new.path("resolv.conf") })).ok();
        assert_eq!(given(node, "c2", &json!({ "vrf": "mine" })).refused().code(), 7);
    }
    let log = new.log();
    let about_the_key = log.lines().filter(|line| line.contains("blocksMaySet"));
    assert!(about_the_key.clone().count() > 0 && about_the_key.clone().all(|line| line.contains(" WARN ")), "{log}");
    // Of the older one, whose list of what to lock was longer.
    let locked = ["log", "dataDir", "resolvConf", "namespaces", "etcdConfig", "kubeConfig", "store", "vrf"];
    new.set_defaults(&json!({ "locked": locked }));
    for node in [&old, &new] {
        given(node, "c3", &json!({})).ok();
        for key in locked {
            let value = if key == "namespaces" { json!(["*"]) } else { json!("/run/of-a-tenant") };
            assert_eq!(given(node, "c4", &json!({ key: value })).refused().code(), 7, "{key}");
        }
    }
}

#[test]
fn the_older_version_leaves_the_address_of_a_foreign_host_alone() {
    on_each_store("the_older_version_leaves_the_address_of_a_foreign_host_alone", |host| {
        let (vrf, address) = (Name::new("default").unwrap(), "10.1.0.5");
        let (network, node) = (Name::new("blue").unwrap(), Name::new("node-1").unwrap());
        let now = Timestamp::now();
        let foreign = Lease::of_foreign(Foreign { mac: Mac([2, 0, 0, 0, 0, 9]), network, node, answered: now }, now);
        let put = Op::Put(keys::lease(&vrf, address.parse().unwrap()), lease::write(&foreign));
        let session = Session::open(host.new.store(), None).unwrap();
        let deadline = Deadline::after(Duration::from_secs(10));
        session.commit(&Txn::new(Vec::new(), vec![put], Vec::new()).unwrap(), deadline).unwrap();
        let range =
            json!({ "subnet": "10.1.0.0/24", "rangeStart": address, "rangeEnd": "10.1.0.6", "probe": "always" });
        let add = |container: &str, ips: &[&str]| {
            host.runs(container, &json!({}));
            let network = host.old.network(range.clone()).with(json!({ "runtimeConfig": { "ips": ips } }));
            network.call("ADD", container).args(&args(container, &uid(container))).run()
        };
        // It overlooks the key, and says so.
        assert_eq!(add("a", &[]).ok().address(), "10.1.0.6/24");
        assert!(host.new.log().lines().any(|line| line.contains("WARN") && line.contains("probe")));
        add("b", &[]).refused();
        add("b", &[address]).refused();
        host.told(Old, &["sweep", "--interval", "10ms"]);
        let listed = host.told(New, &["list", "--ip", address]);
        assert_eq!(
            (&listed[0]["state"], &listed[0]["foreign"]["mac"]),
            (&json!("foreign"), &json!("02:00:00:00:00:09"))
        );
    });
}

#[test]
fn what_pools_and_selectors_keep_the_older_version_gives_at_random_with_a_warning() {
    on_each_store("what_pools_and_selectors_keep_the_older_version_gives_at_random_with_a_warning", |host| {
        let pools = json!({ "db": { "addresses": ["10.1.0.5-10.1.0.6"] } });
        let pooled =
            json!({ "subnet": "10.1.0.0/24", "rangeStart": "10.1.0.5", "rangeEnd": "10.1.0.6", "pools": pools });
        let of_a_zone = json!({ "ranges": [[{ "subnet": "10.2.0.0/24", "nodeSelector": { "zone": "a" } }]] });
        for (pod, key, block, subnet) in
            [("a", "pools", pooled, "10.1.0."), ("b", "nodeSelector", of_a_zone, "10.2.0.")]
        {
            host.runs(pod, &json!({}));
            let call = |version: Version, verb: &str| {
                host.node(version).network(block.clone()).call(verb, pod).args(&args(pod, &uid(pod))).run()
            };
            assert_eq!(call(New, "ADD").refused().code(), 7, "{key}");
            let given = call(Old, "ADD").ok().address();
            assert!(given.starts_with(subnet), "{key}: {given}");
            let log = host.new.log();
            assert!(log.lines().any(|line| line.contains("WARN") && line.contains(key)), "{key}: {log}");
            call(New, "DEL").ok();
            assert_eq!(host.told(New, &["list", "--pod", pod])[0]["state"], "resting", "{key}");
        }
    });
}

#[test]
fn the_old_version_gives_what_is_reserved_by_hand_to_nobody_and_sweeps_it_never() {
    on_each_store("the_old_version_gives_what_is_reserved_by_hand_to_nobody_and_sweeps_it_never", |host| {
        host.set_defaults(json!({ "cluster": CLUSTER }));
        let asks = |ip: &str| json!({ "kube-ipam.eth0.ip": ip });
        host.runs("first", &json!({}));
        host.add(New, "c0", "first").ok();
        let operate = |args: &[&str]| {
            let mut command = Command::new(binary::kube_ipam());
            command.env_clear().env("KUBE_IPAM_CONFIG", host.new.path("kube-ipam.json")).args(args).arg("--yes");
            let output = command.output().unwrap();
            assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        };
        operate(&["reserve", "10.1.0.5", "--reason", "printer"]);
        operate(&["reserve", "10.1.0.6", "--reason", "a pod", "--for", "db/web", "--ttl", "1s"]);
        operate(&["reserve", "10.1.0.7", "--reason", "a pod", "--for", "db/web"]);
        // Nobody gets it from the old version, not even whom it is for, and its sweep leaves it.
        let stays = |host: &Host| {
            for (pod, ip) in [("web", "10.1.0.5"), ("web", "10.1.0.7"), ("other", "10.1.0.7")] {
                host.runs(pod, &asks(ip));
                let refused = host.add(Old, "c1", pod).refused();
                assert!(refused.text().contains("counts as held"), "{}", refused.text());
            }
            host.swept(Old, &[]);
            let kept = host.told(New, &["list"]);
            let kept = kept.as_array().unwrap().iter().filter(|row| row["manual"].is_object()).count();
            assert_eq!(kept, 3);
        };
        stays(host);
        // Its pod comes by the new version, and goes by the old one.
        host.runs("web", &asks("10.1.0.7"));
        host.add(New, "c1", "web").ok();
        assert_eq!(host.add(Old, "c1", "web").ok().addresses()[0], "10.1.0.7/24");
        host.swept(Old, &[]);
        host.del(Old, "c1", "web");
        stays(host);
        host.runs("web", &asks("10.1.0.7"));
        host.add(New, "c1", "web").ok();
        host.del(New, "c1", "web");
        stays(host);
    });
}
