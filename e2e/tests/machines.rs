//! Virtual machines of KubeVirt with real processes: they keep their addresses, share them while they migrate, and have one
//! address at a time. The API server is one that plays scenarios.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test's verdict is a panic")]

use kube_ipam_e2e::api::{self, Api, NAMESPACE};
use kube_ipam_e2e::cni::Reply;
use kube_ipam_e2e::machines;
use kube_ipam_e2e::node::Node;
use kube_ipam_e2e::operator;
use serde_json::{Value, json};

const SOURCE: &str = "0b4f6a52-3c1d-4b8e-9a53-0f6d8c1f1a11";
const TARGET: &str = "7d8a2f90-52f5-4f53-a1f4-3f5f8f5a2b22";
const THIRD: &str = "c2b5e0aa-9f04-4c8e-8f0e-6a4c7b1d9e33";

/// The running instance of every test, and its UID.
const INSTANCE: (&str, &str) = ("vm1", "i-1");

/// A node whose network has ranges of two racks.
struct Host<'node> {
    node: &'node Node,
    api: &'node Api,
}

impl<'node> Host<'node> {
    fn new(node: &'node Node, api: &'node Api) -> Self {
        let host = Self { node, api };
        host.is_on_rack(1);
        host
    }

    /// From now on it is a node of this rack.
    fn is_on_rack(&self, number: u8) {
        let kubeconfig = self.api.kubeconfig_of(self.node).unwrap();
        let name = format!("rack{number}-a");
        self.node.set_defaults(&json!({ "annotations": true, "kubeConfig": kubeconfig, "nodeName": name }));
    }

    /// KubeVirt has these pods of the machine.
    fn machine_has(&self, active_pods: &[&str]) {
        self.api.has_object(&api::instance(INSTANCE.0, INSTANCE.1, Some("o-2"), active_pods));
    }

    /// A pod of the machine runs, the target of this migration.
    fn runs(&self, name: &str, uid: &str, migration: Option<&str>) {
        self.api.has_object(&api::launcher(name, uid, INSTANCE, migration.map(|name| (name, "m-1"))));
    }

    fn migrates(&self, migration: &str, phase: &str) {
        self.api.has_object(&api::migration(migration, "m-1", INSTANCE.0, phase));
    }

    fn network(&self) -> Value {
        let ranges = json!([[{ "subnet": "10.1.0.0/24", "nodes": ["rack1-*"] }, { "subnet": "10.2.0.0/24", "nodes": ["rack2-*"] }]]);
        json!({ "ranges": ranges, "cooldown": "0s", "sticky": true })
    }

    fn add(&self, container: &str, pod: &str, uid: &str) -> Reply {
        let args = format!("IgnoreUnknown=1;K8S_POD_NAMESPACE={NAMESPACE};K8S_POD_NAME={pod};K8S_POD_UID={uid}");
        self.node.network(self.network()).call("ADD", container).args(&args).run()
    }

    /// The text of an ADD that is refused for now, and that changes nothing.
    fn refused(&self, container: &str, pod: &str, uid: &str) -> String {
        let before = self.listed();
        let reply = self.add(container, pod, uid).refused();
        assert_eq!(reply.code(), 11, "{}", reply.text());
        assert_eq!(self.listed(), before);
        reply.text()
    }

    fn del(&self, container: &str) {
        self.node.network(self.network()).del(container).ok();
    }

    /// The addresses as `kube-ipam list` has them.
    fn listed(&self) -> Value {
        serde_json::from_slice(&operator::run(self.node, &["list", "-o", "json"]).stdout).unwrap()
    }

    fn holders(&self) -> usize {
        let listed = self.listed();
        assert_eq!(listed.as_array().unwrap().len(), 1, "{listed}");
        listed[0]["holders"].as_array().unwrap().len()
    }
}

fn on_each_store(test: &str, case: impl Fn(&Host<'_>)) {
    machines::on_each_store(test, |node| case(&Host::new(node, &Api::start().unwrap())));
}

#[test]
fn a_machine_keeps_its_address_while_it_is_stopped_and_shares_it_while_it_migrates() {
    on_each_store("a_machine_keeps_its_address_while_it_is_stopped_and_shares_it_while_it_migrates", |host| {
        host.machine_has(&[SOURCE]);
        host.runs("virt-launcher-vm1-a", SOURCE, None);
        let address = host.add("a", "virt-launcher-vm1-a", SOURCE).ok().address();
        assert!(!host.api.asked().iter().any(|name| name.starts_with("migration")), "it joins nobody");
        // It migrates. The target fails, and the next one does not.
        for (target, uid) in [("b", TARGET), ("c", THIRD)] {
            let (pod, migration) = (format!("virt-launcher-vm1-{target}"), format!("migration-{target}"));
            host.runs(&pod, uid, Some(&migration));
            host.migrates(&migration, "Scheduling");
            host.machine_has(&[SOURCE, uid]);
            assert_eq!(host.add(target, &pod, uid).ok().address(), address);
            assert_eq!(host.holders(), 2);
            // Repeated, it needs no further proof.
            host.migrates(&migration, "Failed");
            assert_eq!(host.add(target, &pod, uid).ok().address(), address);
            if target == "b" {
                host.api.lost(&pod);
                host.del("b");
                assert_eq!(host.holders(), 1);
            }
        }
        host.del("a");
        host.del("c");
        let listed = host.listed();
        assert_eq!((&listed[0]["state"], &listed[0]["owner"]["kind"]), (&json!("reserved"), &json!("VirtualMachine")));
        // It is started again, as another instance.
        host.runs("virt-launcher-vm1-e", SOURCE, None);
        host.api.has_object(&api::instance("vm1", "i-2", Some("o-2"), &[]));
        let text = host.refused("e", "virt-launcher-vm1-e", SOURCE);
        assert!(text.contains("was replaced"), "{text}");
        host.machine_has(&[]);
        assert_eq!(host.add("e", "virt-launcher-vm1-e", SOURCE).ok().address(), address);
    });
}

#[test]
fn a_second_pod_shares_only_what_kubevirt_says_that_it_may() {
    on_each_store("a_second_pod_shares_only_what_kubevirt_says_that_it_may", |host| {
        let target = "virt-launcher-vm1-b";
        host.machine_has(&[SOURCE]);
        host.runs("virt-launcher-vm1-a", SOURCE, None);
        let address = host.add("a", "virt-launcher-vm1-a", SOURCE).ok().address();
        let refused = |part: &str| {
            let text = host.refused("b", target, TARGET);
            assert!(text.contains(part) && text.contains("is held by pod db/virt-launcher-vm1-a"), "{part}: {text}");
        };
        host.runs(target, TARGET, None);
        refused("this pod names no migration (annotation kubevirt.io/migrationJobName)");
        host.runs(target, TARGET, Some("migration-b"));
        refused("knows no VirtualMachineInstanceMigration db/migration-b");
        host.api.has_object(&api::migration("migration-b", "m-1", "vm2", "Running"));
        refused("VirtualMachineInstanceMigration migration-b, which this pod names, is of vm2");
        host.api.has_object(&api::migration("migration-b", "m-2", "vm1", "Running"));
        refused("VirtualMachineInstanceMigration migration-b was replaced");
        for phase in ["Succeeded", "Failed"] {
            host.migrates("migration-b", phase);
            refused(&format!("which this pod names, has finished ({phase})"));
        }
        host.migrates("migration-b", "Scheduling");
        refused("does not list pod db/virt-launcher-vm1-b in status.activePods yet");
        host.machine_has(&[TARGET, THIRD]);
        refused("does not list pod db/virt-launcher-vm1-a in status.activePods yet");
        host.machine_has(&[SOURCE, TARGET, THIRD]);
        refused(&format!("lists more pods than these two in status.activePods (UID {THIRD})"));
        host.machine_has(&[SOURCE, TARGET]);
        // A right that is missing is named.
        let message =
            "virtualmachineinstancemigrations.kubevirt.io \"x\" is forbidden: User \"node\" cannot get resource";
        let forbidden = json!({ "kind": "Status", "reason": "Forbidden", "code": 403, "message": message });
        host.api.answers("migration-b", 403, &forbidden);
        refused(r#"apiGroups ["kubevirt.io"], resources ["virtualmachineinstancemigrations"], verbs ["get"]"#);
        host.api.fails("migration-b", 500);
        refused("kube-ipam can't tell whether both pods belong to one virtual machine");
        host.migrates("migration-b", "Scheduling");
        assert_eq!(host.add("b", target, TARGET).ok().address(), address);
        assert_eq!(host.holders(), 2);
    });
}

#[test]
fn a_pod_that_forges_a_machines_reference_shares_nothing() {
    on_each_store("a_pod_that_forges_a_machines_reference_shares_nothing", |host| {
        host.machine_has(&[SOURCE]);
        host.runs("virt-launcher-vm1-a", SOURCE, None);
        let address = host.add("a", "virt-launcher-vm1-a", SOURCE).ok().address();
        let ip = address.trim_end_matches("/24");
        for (api_version, uid) in [("evil.example/v1", "i-1"), ("kubevirt.io/v1", "i-9")] {
            let mut thief = api::launcher("thief", THIRD, ("vm1", uid), Some(("migration-b", "m-1")));
            thief["metadata"]["ownerReferences"][0]["apiVersion"] = json!(api_version);
            thief["metadata"]["annotations"]["kube-ipam.eth0.ip"] = json!(ip);
            thief["metadata"]["annotations"]["kube-ipam.eth0.sticky"] = json!("false");
            host.api.has_object(&thief);
            let text = host.refused("thief", "thief", THIRD);
            assert!(text.contains(&format!("{ip} is held by pod db/virt-launcher-vm1-a")), "{text}");
        }
    });
}

/// The ADD of a machine's pod for a fixed address. The runtime hands its annotations over.
fn add_with_annotations(host: &Host<'_>, container: &str, launcher: &Value) -> Reply {
    let (pod, metadata) = (format!("virt-launcher-vm1-{container}"), &launcher["metadata"]);
    let mut annotations = metadata["annotations"].clone();
    annotations["kube-ipam.eth0.ip"] = json!("10.1.0.7");
    let runtime = json!({ "io.kubernetes.cri.pod-annotations": annotations });
    let network = json!({ "ranges": [[{ "subnet": "10.1.0.0/24" }]], "cooldown": "0s" });
    let uid = metadata["uid"].as_str().unwrap();
    let args = format!("IgnoreUnknown=1;K8S_POD_NAMESPACE={NAMESPACE};K8S_POD_NAME={pod};K8S_POD_UID={uid}");
    host.node.network(network).with(json!({ "runtimeConfig": runtime })).call("ADD", container).args(&args).run()
}

#[test]
fn a_machine_whose_annotations_the_runtime_hands_over_shares_its_fixed_address() {
    on_each_store("a_machine_whose_annotations_the_runtime_hands_over_shares_its_fixed_address", |host| {
        let source = api::launcher("virt-launcher-vm1-a", SOURCE, INSTANCE, None);
        let target = api::launcher("virt-launcher-vm1-b", TARGET, INSTANCE, Some(("migration-b", "m-1")));
        host.api.has_object(&source);
        host.machine_has(&[SOURCE]);
        assert_eq!(add_with_annotations(host, "a", &source).ok().address(), "10.1.0.7/24");
        host.api.has_object(&target);
        host.migrates("migration-b", "Scheduling");
        let reply = add_with_annotations(host, "b", &target).refused();
        assert_eq!(reply.code(), 11);
        assert!(reply.text().contains("in status.activePods yet"), "{}", reply.text());
        host.machine_has(&[SOURCE, TARGET]);
        assert_eq!(add_with_annotations(host, "b", &target).ok().address(), "10.1.0.7/24");
        assert_eq!(host.holders(), 2);
    });
}

#[test]
fn a_machine_whose_target_requests_nothing_keeps_the_address_that_its_source_requested() {
    on_each_store("a_machine_whose_target_requests_nothing_keeps_the_address_that_its_source_requested", |host| {
        let (source, target) = ("virt-launcher-vm1-a", "virt-launcher-vm1-b");
        let mut asking = api::launcher(source, SOURCE, INSTANCE, None);
        asking["metadata"]["annotations"]["kube-ipam.eth0.ip"] = json!("10.1.0.7");
        host.machine_has(&[SOURCE]);
        host.api.has_object(&asking);
        assert_eq!(host.add("a", source, SOURCE).ok().address(), "10.1.0.7/24");
        // The annotation was removed from the machine; on another rack, the address can't be had.
        host.runs(target, TARGET, Some("migration-b"));
        host.migrates("migration-b", "Scheduling");
        host.machine_has(&[SOURCE, TARGET]);
        host.is_on_rack(2);
        let text = host.refused("b", target, TARGET);
        assert!(text.contains("VirtualMachine db/vm1 has 10.1.0.7"), "{text}");
        // On its own rack the target shares it.
        host.is_on_rack(1);
        assert_eq!(host.add("b", target, TARGET).ok().address(), "10.1.0.7/24");
        assert_eq!(host.holders(), 2);
        host.del("a");
        host.del("b");
        assert_eq!(host.listed()[0]["state"], "reserved");
    });
}

#[test]
fn a_machine_on_a_node_without_a_kubeconfig_gets_its_fixed_address_and_a_warning() {
    let test = "a_machine_on_a_node_without_a_kubeconfig_gets_its_fixed_address_and_a_warning";
    machines::on_stores_without_api_server(test, |node| {
        let api = Api::start().unwrap();
        let host = &Host::new(node, &api);
        host.node.set_defaults(&json!({ "annotations": true, "kubeConfig": host.node.path("no-kubeconfig") }));
        let source = api::launcher("virt-launcher-vm1-a", SOURCE, INSTANCE, None);
        assert_eq!(add_with_annotations(host, "a", &source).ok().address(), "10.1.0.7/24");
        let log = host.node.log();
        assert!(log.contains("the virtual machine of this pod can't migrate"), "{log}");
    });
}

#[test]
fn a_machine_that_was_migrated_migrates_again_although_its_first_pod_is_still_listed() {
    on_each_store("a_machine_that_was_migrated_migrates_again_although_its_first_pod_is_still_listed", |host| {
        let pods = [("a", SOURCE), ("b", TARGET), ("c", THIRD)];
        host.machine_has(&[SOURCE]);
        host.runs("virt-launcher-vm1-a", SOURCE, None);
        let address = host.add("a", "virt-launcher-vm1-a", SOURCE).ok().address();
        for (i, (container, uid)) in pods.iter().enumerate().skip(1) {
            let (pod, migration) = (format!("virt-launcher-vm1-{container}"), format!("migration-{container}"));
            // KubeVirt keeps listing a pod that has finished.
            host.machine_has(&pods.map(|(_, uid)| uid)[..=i]);
            host.runs(&pod, uid, Some(&migration));
            host.migrates(&migration, "Scheduling");
            assert_eq!(host.add(container, &pod, uid).ok().address(), address);
            host.migrates(&migration, "Succeeded");
            host.del(pods[i - 1].0);
            assert_eq!(host.holders(), 1);
        }
    });
}

#[test]
fn a_machine_that_migrates_to_a_node_with_other_ranges_keeps_its_address_or_stays() {
    on_each_store("a_machine_that_migrates_to_a_node_with_other_ranges_keeps_its_address_or_stays", |host| {
        let target = "virt-launcher-vm1-b";
        host.machine_has(&[SOURCE]);
        host.runs("virt-launcher-vm1-a", SOURCE, None);
        let address = host.add("a", "virt-launcher-vm1-a", SOURCE).ok().address();
        let ip = address.trim_end_matches("/24");
        host.runs(target, TARGET, Some("migration-b"));
        host.migrates("migration-b", "Scheduling");
        host.machine_has(&[SOURCE, TARGET]);
        host.is_on_rack(2);
        host.api.events();
        let text = host.refused("b", target, TARGET);
        for part in [
            format!("VirtualMachine db/vm1 has {ip}, held by pod db/virt-launcher-vm1-a"),
            "node rack2-a would assign another one; the API server reports that pod as Running".to_owned(),
            "stop the machine, or widen the ranges of this node (`nodes`, `nodeSelector`)".to_owned(),
        ] {
            assert!(text.contains(&part), "{part}: {text}");
        }
        let events = host.api.events();
        assert_eq!(events[0]["reason"], "AddressRefused", "{events:?}");
        // Stopped, and started on that node: it has another address, and an event says so.
        host.api.lost("virt-launcher-vm1-a");
        let given = host.add("b", target, TARGET).ok().address();
        assert!(given.starts_with("10.2.0."), "{given}");
        let events = host.api.events();
        assert_eq!((&events[0]["reason"], &events[0]["type"]), (&json!("StickyAddressGivenUp"), &json!("Warning")));
        let told = format!(
            "{ip} is no longer reserved for VirtualMachine db/vm1: the pod requests another address or family, or no \
             range of this node contains it"
        );
        assert_eq!(events[0]["message"], told);
        assert!(host.node.log().contains(&told), "{}", host.node.log());
    });
}
