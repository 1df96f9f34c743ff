//! IPAMClaims with real processes: whoever names a claim has its addresses. The API server is one that plays scenarios.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test's verdict is a panic")]

use std::sync::Mutex;
use std::time::Duration;

use kube_ipam_e2e::api::{self, Api, NAMESPACE};
use kube_ipam_e2e::cni::{Call, Reply};
use kube_ipam_e2e::machines::{self, Machines, in_parallel};
use kube_ipam_e2e::node::Node;
use kube_ipam_e2e::operator;
use kube_ipam_e2e::trace;
use serde_json::{Value, json};

const UIDS: [&str; 3] = [
    "0b4f6a52-3c1d-4b8e-9a53-0f6d8c1f1a11",
    "7d8a2f90-52f5-4f53-a1f4-3f5f8f5a2b22",
    "c2b5e0aa-9f04-4c8e-8f0e-6a4c7b1d9e33",
];

/// Beyond this a test hangs, and fails instead.
const PATIENCE: Duration = Duration::from_secs(20);

/// So many calls are traced at a time.
const AT_A_TIME: usize = 4;

/// The claim of every test, as KubeVirt's extension names it.
const CLAIM: &str = "vm1.data";

/// A node whose pods are those of an API server, on a network with a window for fixed addresses.
struct Host<'node> {
    node: &'node Node,
    api: &'node Api,
    network: Value,
}

impl<'node> Host<'node> {
    fn new(node: &'node Node, api: &'node Api) -> Self {
        let kubeconfig = api.kubeconfig_of(node).unwrap();
        node.set_defaults(&json!({ "annotations": true, "kubeConfig": kubeconfig, "sweep": { "minAge": "0s" } }));
        let network = json!({
            "subnet": "10.1.0.0/24", "fixedStart": "10.1.0.10", "fixedEnd": "10.1.0.20", "rangeStart": "10.1.0.100",
            "rangeEnd": "10.1.0.200", "cooldown": "0s",
        });
        Self { node, api, network }
    }

    /// There is the claim, with nothing yet.
    fn has_claim(&self, uid: &str) {
        self.api.has_claim(&api::claim(CLAIM, uid, "blue", ""));
    }

    /// A pod runs whose second network, net1, names the claim.
    fn runs(&self, name: &str, uid: &str, more: &Value) {
        self.runs_of(name, uid, None, more);
    }

    /// The same, of a running virtual machine.
    fn runs_of(&self, name: &str, uid: &str, machine: Option<&str>, more: &Value) {
        let selection = json!([{ "name": "blue", "ipam-claim-reference": CLAIM }]);
        let mut annotations = json!({ "k8s.v1.cni.cncf.io/networks": selection.to_string() });
        for (key, value) in more.as_object().into_iter().flatten() {
            annotations[key] = value.clone();
        }
        let mut pod = api::pod(name, uid, "Running", &annotations);
        if let Some(machine) = machine {
            pod["metadata"]["ownerReferences"] = json!([{
                "apiVersion": "kubevirt.io/v1", "kind": "VirtualMachineInstance", "name": machine, "uid": "o-9",
                "controller": true,
            }]);
        }
        self.api.shows(name, &pod);
    }

    /// The machine vm1 migrates to the pod of this UID, whose annotations name the migration.
    fn migrates_to(&self, uid: &str) -> Value {
        self.api.has_object(&api::instance("vm1", "o-9", None, &[UIDS[0], uid]));
        self.api.has_object(&api::migration("migration-1", "m-1", "vm1", "Scheduling"));
        json!({ "kubevirt.io/migrationJobName": "migration-1" })
    }

    fn call(&self, verb: &str, container: &str, pod: &str, uid: &str) -> Call {
        let args = format!("IgnoreUnknown=1;K8S_POD_NAMESPACE={NAMESPACE};K8S_POD_NAME={pod};K8S_POD_UID={uid}");
        self.node.network(self.network.clone()).call(verb, container).ifname("net1").args(&args)
    }

    fn add(&self, container: &str, pod: &str, uid: &str) -> Reply {
        self.call("ADD", container, pod, uid).run()
    }

    fn del(&self, container: &str) {
        self.call("DEL", container, "any", UIDS[0]).run().ok();
    }

    /// CHECK of a container that was given this.
    fn check(&self, container: &str, given: &Value) -> Reply {
        let network = self.node.network(self.network.clone()).with(json!({ "prevResult": given }));
        network.call("CHECK", container).ifname("net1").run()
    }

    /// What `kube-ipam list` has of the claim.
    fn listed(&self) -> Vec<Value> {
        self.all().into_iter().filter(|address| address["owner"]["kind"] == "IPAMClaim").collect()
    }

    /// All that `kube-ipam list` has.
    fn all(&self) -> Vec<Value> {
        serde_json::from_str(&self.prints(&["list", "-o", "json"])).unwrap()
    }

    fn prints(&self, args: &[&str]) -> String {
        String::from_utf8(operator::run(self.node, args).stdout).unwrap()
    }
}

fn on_each_store(test: &str, case: impl Fn(&Host<'_>)) {
    machines::on_each_store(test, |node| case(&Host::new(node, &Api::start().unwrap())));
}

#[test]
fn a_claim_shows_its_address_and_every_later_pod_of_it_has_that() {
    on_each_store("a_claim_shows_its_address_and_every_later_pod_of_it_has_that", |host| {
        host.has_claim("o-1");
        host.runs("a", UIDS[0], &json!({}));
        let given = host.add("c0", "a", UIDS[0]).ok();
        let address = given.addresses()[0].clone();
        let status = host.api.claim_status(CLAIM);
        assert_eq!((&status["ips"], &status["ownerPod"]["name"]), (&json!([address]), &json!("a")));
        let condition = &status["conditions"][0];
        assert_eq!((&condition["type"], &condition["status"]), (&json!("IPsAllocated"), &json!("True")));
        assert_eq!(host.api.patches().len(), 1);
        // The runtime asks again, and checks.
        assert_eq!(host.add("c0", "a", UIDS[0]).ok().address(), address);
        host.check("c0", &given.document).ok();
        assert_eq!(host.api.patches().len(), 0, "it says so already");
        host.del("c0");
        let [listed] = &host.listed()[..] else { panic!("{:?}", host.listed()) };
        assert_eq!((&listed["state"], &listed["owner"]["uid"]), (&json!("reserved"), &json!("o-1")));
        assert_eq!((&listed["owner"]["namespace"], &listed["owner"]["name"]), (&json!(NAMESPACE), &json!(CLAIM)));
        // Outside the window for fixed addresses, and by the status or without it.
        for status in [host.api.claim_status(CLAIM), json!({ "ips": [] })] {
            host.api.set_claim_status(CLAIM, &status);
            host.runs("b", UIDS[1], &json!({}));
            assert_eq!(host.add("c1", "b", UIDS[1]).ok().address(), address);
            let status = host.api.claim_status(CLAIM);
            assert_eq!((&status["ips"], &status["ownerPod"]["name"]), (&json!([address]), &json!("b")));
            host.del("c1");
        }
        let log = host.node.log();
        assert!(log.contains("kept for IPAMClaim db/vm1.data"), "{log}");
    });
}

#[test]
fn a_claim_without_addresses_says_why_its_pod_was_refused() {
    on_each_store("a_claim_without_addresses_says_why_its_pod_was_refused", |host| {
        let network =
            json!({ "subnet": "10.1.0.0/24", "rangeStart": "10.1.0.5", "rangeEnd": "10.1.0.5", "cooldown": "0s" });
        let host = &Host { network, ..*host };
        let theirs = json!({
            "type": "Audited", "status": "True", "reason": "ByHand", "message": "", "lastTransitionTime": null,
        });
        host.has_claim("o-1");
        host.api.set_claim_status(CLAIM, &json!({ "ips": [], "conditions": [theirs] }));
        host.api.has("filler", UIDS[2], "Running", &json!({}));
        host.add("f", "filler", UIDS[2]).ok();
        for (annotations, reason) in [
            (json!({}), "SubnetExhausted"),
            (json!({ "kube-ipam.net1.ip": "10.1.0.5" }), "IPAddressConflict"),
            (json!({ "kube-ipam.net1.ip": "10.9.0.5" }), "NotAllowed"),
        ] {
            host.runs("a", UIDS[0], &annotations);
            // However often the runtime tries again.
            for patches in [1, 0] {
                host.add("c0", "a", UIDS[0]).refused();
                assert_eq!(host.api.patches().len(), patches, "{reason}");
            }
            let status = host.api.claim_status(CLAIM);
            let own = &status["conditions"][1];
            assert_eq!((&status["ips"], &status["conditions"][0]), (&json!([]), &theirs));
            assert_eq!((&own["type"], &own["status"]), (&json!("IPsAllocated"), &json!("False")));
            assert_eq!(own["reason"], reason, "{own}");
        }
        host.del("f");
        host.runs("a", UIDS[0], &json!({}));
        let address = host.add("c0", "a", UIDS[0]).ok().address();
        let status = host.api.claim_status(CLAIM);
        assert_eq!((&status["ips"], &status["ownerPod"]["name"]), (&json!([address]), &json!("a")));
        assert_eq!((&status["conditions"][0], &status["conditions"][1]["status"]), (&theirs, &json!("True")));
        // What a second pod is refused is not about the claim.
        host.api.patches();
        host.runs("b", UIDS[1], &json!({}));
        host.add("c1", "b", UIDS[1]).refused();
        assert_eq!(host.api.patches(), [Value::Null; 0]);
    });
}

#[test]
fn a_refusal_that_can_t_be_written_to_its_claim_changes_nothing() {
    let machines = Machines::embedded();
    let (node, api) = (machines.node(), Api::start().unwrap());
    let host = Host::new(&node, &api);
    host.has_claim("o-1");
    host.runs("a", UIDS[0], &json!({ "kube-ipam.net1.ip": "10.9.0.5" }));
    host.api.changes_claims_once();
    host.add("c0", "a", UIDS[0]).refused();
    assert_eq!(
        host.api.claim_status(CLAIM)["conditions"][0]["reason"],
        "NotAllowed",
        "the second patch is of the claim as it is"
    );
    host.has_claim("o-2");
    host.api.refuses_patches(403, &json!({ "kind": "Status", "reason": "Forbidden", "message": "no" }));
    assert_eq!(host.add("c0", "a", UIDS[0]).refused().code(), 7);
    let log = host.node.log();
    assert!(log.contains("does not say that its pod was refused") && log.contains("ipamclaims/status"), "{log}");
}

#[test]
fn two_pods_of_a_machine_share_its_claim_and_two_others_do_not() {
    on_each_store("two_pods_of_a_machine_share_its_claim_and_two_others_do_not", |host| {
        host.has_claim("o-1");
        host.runs_of("virt-launcher-vm1-a", UIDS[0], Some("vm1"), &json!({}));
        let address = host.add("a", "virt-launcher-vm1-a", UIDS[0]).ok().address();
        host.runs_of("virt-launcher-vm1-b", UIDS[1], Some("vm1"), &host.migrates_to(UIDS[1]));
        assert_eq!(host.add("b", "virt-launcher-vm1-b", UIDS[1]).ok().address(), address);
        assert_eq!(host.listed()[0]["holders"].as_array().unwrap().len(), 2);
        assert_eq!(host.api.claim_status(CLAIM)["ownerPod"]["name"], "virt-launcher-vm1-b");
        // The migration fails.
        host.del("b");
        assert_eq!(host.listed()[0]["holders"].as_array().unwrap().len(), 1);
        // A pod of nobody, and one of another machine.
        for (container, machine) in [("c", None), ("d", Some("vm2"))] {
            host.runs_of("thief", UIDS[2], machine, &json!({}));
            let refused = host.add(container, "thief", UIDS[2]).refused();
            assert_eq!(refused.code(), 11);
            let held = format!("{} is held by pod {NAMESPACE}/virt-launcher-vm1-a", address.trim_end_matches("/24"));
            assert!(refused.text().contains(&held), "{}", refused.text());
        }
        assert_eq!(host.api.claim_status(CLAIM)["ips"], json!([address]));
    });
}

#[test]
fn a_claim_that_was_restored_under_another_uid_has_its_address_again() {
    on_each_store("a_claim_that_was_restored_under_another_uid_has_its_address_again", |host| {
        host.has_claim("o-1");
        host.runs("a", UIDS[0], &json!({}));
        let address = host.add("c0", "a", UIDS[0]).ok().address();
        let status = host.api.claim_status(CLAIM);
        // The backup has its status, or not; there was no sweep in between.
        host.has_claim("o-2");
        host.api.set_claim_status(CLAIM, &status);
        host.runs("b", UIDS[1], &json!({}));
        let refused = host.add("c1", "b", UIDS[1]).refused();
        assert!(refused.code() == 11 && refused.text().contains("is held by pod db/a"), "{}", refused.text());
        host.api.lost("a");
        host.del("c0");
        assert_eq!(host.add("c1", "b", UIDS[1]).ok().address(), address);
        assert_eq!(host.listed()[0]["owner"]["uid"], "o-2");
        host.api.lost("b");
        host.del("c1");
        host.has_claim("o-3");
        host.runs("c", UIDS[2], &json!({}));
        assert_ne!(host.add("c2", "c", UIDS[2]).ok().address(), address);
        let [listed] = &host.all()[..] else { panic!("{:?}", host.all()) };
        assert_eq!(listed["owner"]["uid"], "o-3");
        assert!(host.node.log().contains("it was deleted, and another one has its name"), "{}", host.node.log());
    });
}

#[test]
fn a_claim_that_can_t_be_followed_is_refused_with_what_to_do() {
    on_each_store("a_claim_that_can_t_be_followed_is_refused_with_what_to_do", |host| {
        host.runs("a", UIDS[0], &json!({}));
        let refused = |code: u64, parts: &[&str]| {
            let reply = host.add("c0", "a", UIDS[0]).refused();
            let text = reply.text();
            assert_eq!(reply.code(), code, "{text}");
            parts.iter().for_each(|part| assert!(text.contains(part), "{part}: {text}"));
        };
        refused(11, &["knows no IPAMClaim db/vm1.data", "the pod starts once the claim is there"]);
        host.api.has_claim(&api::claim(CLAIM, "o-1", "red", ""));
        refused(7, &["IPAMClaim db/vm1.data is for network red (spec.network), and this is blue"]);
        host.api.has_claim(&api::claim(CLAIM, "o-1", "blue", "net2"));
        refused(7, &["is for interface net2 (spec.interface), and this is net1"]);
        host.api.has_claim(&api::claim(CLAIM, "o-1", "blue", "net1"));
        for (ips, part) in [
            (json!(["nonsense"]), "\"nonsense\" is not an IP address"),
            (json!(["10.9.0.7/24"]), "is in no subnet of this network (10.1.0.0/24)"),
            (json!(["10.1.0.50/24"]), "outside the window for fixed addresses"),
            (json!(["10.1.0.150/24"]), "the store does not reserve it for that claim"),
            (json!(["10.1.0.10/24", "10.1.0.11/24"]), "of which an interface gets one"),
        ] {
            host.api.set_claim_status(CLAIM, &json!({ "ips": ips }));
            refused(7, &[part, "clear status.ips of IPAMClaim db/vm1.data"]);
        }
        assert_eq!(host.listed(), [Value::Null; 0]);
        assert_eq!(host.api.patches(), [Value::Null; 0]);
        // Filled by hand, with an address of the window; and another pod requests another one.
        host.api.set_claim_status(CLAIM, &json!({ "ips": ["10.1.0.15/24"] }));
        assert_eq!(host.add("c0", "a", UIDS[0]).ok().address(), "10.1.0.15/24");
        host.del("c0");
        host.runs("a", UIDS[0], &json!({ "kube-ipam.net1.ip": "10.1.0.16" }));
        let both =
            "annotation kube-ipam.net1.ip asks for 10.1.0.16, but the status of IPAMClaim db/vm1.data for 10.1.0.15";
        refused(7, &[both, "remove one of them or make both equal"]);
    });
}

#[test]
fn a_status_that_can_t_be_written_fails_no_pod_and_is_written_by_the_next() {
    on_each_store("a_status_that_can_t_be_written_fails_no_pod_and_is_written_by_the_next", |host| {
        host.has_claim("o-1");
        host.runs("a", UIDS[0], &json!({}));
        host.api.refuses_patches(500, &json!({ "kind": "Status", "message": "etcdserver: no leader" }));
        let address = host.add("c0", "a", UIDS[0]).ok().address();
        host.del("c0");
        host.api.hangs_up_on_patches();
        assert_eq!(host.add("c1", "a", UIDS[0]).ok().address(), address);
        host.del("c1");
        let log = host.node.log();
        assert!(log.contains("etcdserver: no leader"), "{log}");
        assert_eq!(log.matches("its status will not say so before the next ADD").count(), 2, "{log}");
        assert_eq!(host.api.claim_status(CLAIM), Value::Null);
        // Deleted between reading and writing.
        host.api.refuses_patches(404, &json!({ "kind": "Status", "reason": "NotFound" }));
        assert_eq!(host.add("c2", "a", UIDS[0]).ok().address(), address);
        host.del("c2");
        host.api.takes_patches();
        host.api.patches();
        assert_eq!(host.add("c3", "a", UIDS[0]).ok().address(), address);
        assert_eq!(host.api.claim_status(CLAIM)["ips"], json!([address]));
        assert_eq!(host.api.patches().len(), 1);
    });
}

#[test]
fn a_server_that_forbids_to_write_it_is_an_error_that_names_the_rule_and_nothing_is_held() {
    let test = "a_server_that_forbids_to_write_it_is_an_error_that_names_the_rule_and_nothing_is_held";
    on_each_store(test, |host| {
        host.has_claim("o-1");
        host.runs("a", UIDS[0], &json!({}));
        let message =
            "ipamclaims.k8s.cni.cncf.io \"vm1.data\" is forbidden: User \"system:node\" cannot patch resource";
        host.api.refuses_patches(403, &json!({ "kind": "Status", "reason": "Forbidden", "message": message }));
        let refused = host.add("c0", "a", UIDS[0]).refused();
        assert_eq!(refused.code(), 11);
        for part in [
            "does not allow user system:node to patch the status of IPAMClaim db/vm1.data",
            "apiGroups [\"k8s.cni.cncf.io\"], resources [\"ipamclaims/status\"], verbs [\"patch\"]",
        ] {
            assert!(refused.text().contains(part), "{part}: {}", refused.text());
        }
        // It is given back, and stays the claim's.
        let [listed] = &host.listed()[..] else { panic!("{:?}", host.listed()) };
        assert_eq!(listed["state"], "reserved");
        assert_eq!(host.node.records(), [""; 0]);
        host.api.takes_patches();
        let address = host.add("c0", "a", UIDS[0]).ok().address();
        assert_eq!(address, format!("{}/24", listed["address"].as_str().unwrap()));
    });
}

#[test]
fn a_claim_that_was_changed_meanwhile_is_read_again_and_its_other_conditions_stay() {
    on_each_store("a_claim_that_was_changed_meanwhile_is_read_again_and_its_other_conditions_stay", |host| {
        host.has_claim("o-1");
        let theirs = json!({ "type": "Audited", "status": "True" });
        host.api.set_claim_status(CLAIM, &json!({ "ips": [], "conditions": [theirs] }));
        host.runs("a", UIDS[0], &json!({}));
        host.api.changes_claims_once();
        let address = host.add("c0", "a", UIDS[0]).ok().address();
        assert_eq!(host.api.patches().len(), 2);
        let status = host.api.claim_status(CLAIM);
        assert_eq!(status["ips"], json!([address]));
        let types: Vec<&Value> = status["conditions"].as_array().unwrap().iter().map(|c| &c["type"]).collect();
        assert_eq!(types, ["Audited", "IPsAllocated"]);
    });
}

#[test]
fn a_claim_that_was_made_anew_has_another_address() {
    on_each_store("a_claim_that_was_made_anew_has_another_address", |host| {
        host.has_claim("o-1");
        host.runs("a", UIDS[0], &json!({}));
        let given = host.add("c0", "a", UIDS[0]).ok();
        let address = given.addresses()[0].clone();
        // Deleted while the pod runs: the pod keeps it, and repeated calls for other pods do not disturb it.
        host.api.lost_claim(CLAIM);
        host.check("c0", &given.document).ok();
        host.has_claim("o-2");
        host.runs("b", UIDS[1], &json!({}));
        let other = host.add("c1", "b", UIDS[1]).ok().address();
        assert_ne!(other, address);
        assert_eq!(host.api.claim_status(CLAIM)["ips"], json!([other]));
        host.del("c0");
        let mut owners: Vec<Value> = host.listed().iter().map(|lease| lease["owner"]["uid"].clone()).collect();
        owners.sort_by_key(ToString::to_string);
        assert_eq!(owners, [json!("o-1"), json!("o-2")]);
        // What the deleted one had is nobody's any more; what its follower has is not asked about.
        let swept = host.prints(&["sweep", "--interval", "10ms"]);
        assert!(
            swept.contains(&format!(
                "it is reserved for IPAMClaim {NAMESPACE}/{CLAIM}; IPAMClaim {NAMESPACE}/{CLAIM} is gone"
            )),
            "{swept}"
        );
        let [left] = &host.listed()[..] else { panic!("{swept}") };
        assert_eq!((&left["owner"]["uid"], &left["state"]), (&json!("o-2"), &json!("held")));
    });
}

#[test]
fn a_call_killed_before_it_updates_its_claim_loses_nothing() {
    on_each_store("a_call_killed_before_it_updates_its_claim_loses_nothing", |host| {
        host.has_claim("o-1");
        host.runs("a", UIDS[0], &json!({}));
        let patched = host.api.holds_patches();
        let mut running = host.call("ADD", "c0", "a", UIDS[0]).spawn();
        patched.recv_timeout(PATIENCE).unwrap();
        running.kill();
        // On a busy machine it may have gone on by then, as after any patch that gets no answer.
        running.wait();
        host.api.takes_patches();
        let [listed] = &host.listed()[..] else { panic!("{:?}", host.listed()) };
        let address = format!("{}/24", listed["address"].as_str().unwrap());
        // The runtime tries again, in another sandbox.
        host.del("c0");
        assert_eq!(host.add("c1", "a", UIDS[0]).ok().address(), address);
        assert_eq!(host.api.claim_status(CLAIM)["ips"], json!([address]));
    });
}

#[test]
fn a_call_killed_anywhere_leaves_a_claim_one_address_and_the_next_pod_has_it() {
    let test = "a_call_killed_anywhere_leaves_a_claim_one_address_and_the_next_pod_has_it";
    if !trace::works_or_skip(test) {
        return;
    }
    for machines in machines::each(test) {
        let killed = |killed: &dyn Fn(&Node, Call)| {
            let (node, api) = (machines.node(), Api::start().unwrap());
            let host = Host::new(&node, &api);
            host.has_claim("o-1");
            host.runs("a", UIDS[0], &json!({}));
            killed(&node, host.call("ADD", "c0", "a", UIDS[0]));
            // The runtime tears down what there may be, and tries again.
            host.del("c0");
            let address = host.add("c1", "a", UIDS[0]).ok().address();
            assert_eq!(api.claim_status(CLAIM)["ips"], json!([address]));
            let [lease] = &host.all()[..] else { panic!("{:?}", host.all()) };
            assert_eq!((&lease["owner"]["uid"], &lease["holders"][0]["containerID"]), (&json!("o-1"), &json!("c1")));
            assert_eq!(lease["holders"].as_array().unwrap().len(), 1);
            host.del("c1");
            assert_eq!(host.add("c2", "a", UIDS[0]).ok().address(), address);
        };
        let steps = Mutex::new(Vec::new());
        killed(&|node, call| {
            let (reply, found) = trace::steps(node, call);
            reply.ok();
            *steps.lock().unwrap() = found;
        });
        let steps = steps.into_inner().unwrap();
        assert!(steps.len() >= 8, "{steps:?}");
        in_parallel(AT_A_TIME, &steps, |step| killed(&|node, call| drop(trace::killed_at(node, call, step))));
    }
}

#[test]
fn a_pod_whose_annotations_the_runtime_hands_over_is_read_for_its_claim() {
    on_each_store("a_pod_whose_annotations_the_runtime_hands_over_is_read_for_its_claim", |host| {
        host.has_claim("o-1");
        host.runs_of("virt-launcher-vm1-a", UIDS[0], Some("vm1"), &json!({}));
        let selection = json!([{ "name": "blue", "interface": "net1", "ipam-claim-reference": CLAIM }]).to_string();
        let handed = json!({ "k8s.v1.cni.cncf.io/networks": selection });
        let add = |pod: &str, uid: &str| {
            let network = host.node.network(host.network.clone());
            let network = network.with(json!({ "runtimeConfig": { "io.kubernetes.cri.pod-annotations": handed } }));
            let args = format!("K8S_POD_NAMESPACE={NAMESPACE};K8S_POD_NAME={pod};K8S_POD_UID={uid}");
            network.call("ADD", pod).ifname("net1").args(&args).run()
        };
        let address = add("virt-launcher-vm1-a", UIDS[0]).ok().address();
        assert_eq!(host.api.claim_status(CLAIM)["ips"], json!([address]));
        // What shows that both are of one machine is not among the annotations.
        host.runs_of("virt-launcher-vm1-b", UIDS[1], Some("vm1"), &host.migrates_to(UIDS[1]));
        assert_eq!(add("virt-launcher-vm1-b", UIDS[1]).ok().address(), address);
    });
}
