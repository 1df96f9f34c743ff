//! `kube-ipam sweep` with real processes, on both stores: what has leaked goes, whatever lives or is not known stays. The
//! API server is one that plays scenarios.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test's verdict is a panic")]

use std::fs;
use std::process::{Child, Command, Output, Stdio};

use kube_ipam_e2e::api::{self, Api, NAMESPACE};
use kube_ipam_e2e::etcd::{self, Cluster};
use kube_ipam_e2e::machines::{self, Machines};
use kube_ipam_e2e::node::{Network, Node};
use kube_ipam_e2e::wait_until;
use serde_json::{Value, json};

/// A node whose pods are those of an API server.
struct Host<'node> {
    node: &'node Node,
    api: Api,
}

/// What a sweep reported.
struct Said {
    output: Output,
    document: Value,
}

fn uid(name: &str) -> String {
    format!("uid-of-{name}")
}

impl<'node> Host<'node> {
    fn new(node: &'node Node) -> Self {
        let host = Self { node, api: Api::start().unwrap() };
        host.set_defaults(json!({}));
        // No list is empty.
        host.runs("always");
        host
    }

    fn set_defaults(&self, more: Value) {
        let kubeconfig = self.api.kubeconfig_of(self.node).unwrap();
        let mut defaults = json!({ "annotations": true, "kubeConfig": kubeconfig, "sweep": { "minAge": "0s" } });
        defaults.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        self.node.set_defaults(&defaults);
    }

    fn network(&self) -> Network<'node> {
        self.node.network(json!({ "subnet": "10.1.0.0/24", "cooldown": "0s" }))
    }

    fn runs(&self, pod: &str) {
        self.api.has(pod, &uid(pod), "Running", &json!({}));
    }

    /// The node knows no more which sandbox of a pod had what, so that the next one gets an address of its own.
    fn forgets_sandboxes(&self) {
        std::fs::remove_dir_all(self.node.path("records/node-1/sandboxes")).unwrap();
    }

    /// A sandbox of a pod that runs.
    fn add(&self, container: &str, pod: &str) {
        self.runs(pod);
        self.call("ADD", container, pod);
    }

    fn call(&self, verb: &str, container: &str, pod: &str) {
        let uid = uid(pod);
        let args = format!("IgnoreUnknown=1;K8S_POD_NAMESPACE={NAMESPACE};K8S_POD_NAME={pod};K8S_POD_UID={uid}");
        self.network().call(verb, container).args(&args).run().ok();
    }

    fn command(&self, options: &[&str]) -> Command {
        let mut command = Command::new(&self.node.plugin().path);
        command.env_clear().env("KUBE_IPAM_CONFIG", self.node.path("kube-ipam.json"));
        command.args(["sweep", "--interval", "10ms", "-o", "json"]).args(options);
        command
    }

    fn sweep(&self, options: &[&str]) -> Said {
        said(self.command(options).output().unwrap())
    }

    /// The containers that hold something.
    fn holders(&self) -> Vec<String> {
        let mut holders: Vec<String> =
            self.node.held().into_iter().map(|(_, holder)| holder.trim_end_matches("/eth0").to_owned()).collect();
        holders.sort();
        holders
    }
}

fn said(output: Output) -> Said {
    let document = serde_json::from_slice(&output.stdout).unwrap_or(Value::Null);
    Said { output, document }
}

impl Said {
    #[track_caller]
    fn ok(self) -> Self {
        assert!(self.output.status.success(), "{}{}", self.document, self.complaint());
        self
    }

    /// What went wrong, of a sweep that failed.
    #[track_caller]
    fn failed(self) -> String {
        assert_eq!(self.output.status.code(), Some(1), "{}", self.document);
        self.complaint()
    }

    fn complaint(&self) -> String {
        String::from_utf8_lossy(&self.output.stderr).into_owned()
    }

    /// Container, fate and reason of each suspect.
    fn found(&self) -> Vec<String> {
        let line = |found: &Value| {
            let part = |value: &Value| value.as_str().unwrap_or("-").to_owned();
            format!("{} {}: {}", part(&found["holder"]["containerID"]), part(&found["fate"]), part(&found["why"]))
        };
        let mut found: Vec<String> = self.document["found"].as_array().unwrap().iter().map(line).collect();
        found.sort();
        found
    }
}

fn on_each_store(test: &str, case: impl Fn(&Host<'_>)) {
    machines::on_each_store(test, |node| case(&Host::new(node)));
}

fn on_stores_without_api_server(test: &str, case: impl Fn(&Host<'_>)) {
    machines::on_stores_without_api_server(test, |node| case(&Host::new(node)));
}

/// Pods that are gone, replaced, finished and alive, each with a sandbox of which no DEL ever came.
fn leave_some(host: &Host<'_>) {
    for pod in ["gone", "replaced", "succeeded", "failed", "alive"] {
        host.add(&format!("c-{pod}"), pod);
    }
    host.api.lost("gone");
    host.api.has("replaced", "another-uid", "Running", &json!({}));
    host.api.has("succeeded", &uid("succeeded"), "Succeeded", &json!({}));
    host.api.has("failed", &uid("failed"), "Failed", &json!({}));
}

const ALL: [&str; 5] = ["c-alive", "c-failed", "c-gone", "c-replaced", "c-succeeded"];

#[test]
fn what_pods_hold_that_are_gone_replaced_or_finished_is_freed_and_the_living_keep_theirs() {
    let test = "what_pods_hold_that_are_gone_replaced_or_finished_is_freed_and_the_living_keep_theirs";
    on_each_store(test, |host| {
        leave_some(host);
        let expected = |fate: &str| {
            [
                ("failed", "finished (Failed)"),
                ("gone", "gone"),
                ("replaced", "replaced"),
                ("succeeded", "finished (Succeeded)"),
            ]
            .map(|(pod, shown)| format!("c-{pod} {fate}: its pod is {shown}"))
        };
        assert_eq!(host.sweep(&["--dry-run"]).ok().found(), expected("would go"));
        assert_eq!(host.holders(), ALL);
        assert_eq!(host.sweep(&[]).ok().found(), expected("freed"));
        assert_eq!(host.holders(), ["c-alive"]);
        assert!(host.node.log().contains("freed by a sweep"), "{}", host.node.log());
        assert_eq!(host.sweep(&[]).ok().found(), [""; 0]);
        // Late DELs of what was freed change nothing, and what runs keeps its addresses.
        for pod in ["gone", "replaced", "succeeded", "failed"] {
            host.call("DEL", &format!("c-{pod}"), pod);
        }
        host.call("ADD", "c-alive", "alive");
        assert_eq!(host.holders(), ["c-alive"]);
        host.call("DEL", "c-alive", "alive");
        assert_eq!((host.node.held(), host.node.records()), (vec![], vec![]));
    });
}

#[test]
fn of_a_pod_whose_sandbox_was_rebuilt_ten_times_only_the_last_one_keeps_its_address() {
    let test = "of_a_pod_whose_sandbox_was_rebuilt_ten_times_only_the_last_one_keeps_its_address";
    on_each_store(test, |host| {
        for n in 0..10 {
            host.add(&format!("sandbox-{n}"), "web-0");
            host.forgets_sandboxes();
        }
        assert_eq!(host.holders().len(), 10);
        let found = host.sweep(&[]).ok().found();
        assert_eq!(found.len(), 9);
        assert!(
            found.iter().all(|line| line.ends_with("freed: a later sandbox of its pod has this interface")),
            "{found:?}"
        );
        assert_eq!(host.holders(), ["sandbox-9"]);
    });
}

#[test]
fn a_list_that_is_empty_partial_forbidden_or_garbage_frees_nothing() {
    on_each_store("a_list_that_is_empty_partial_forbidden_or_garbage_frees_nothing", |host| {
        leave_some(host);
        // Nor anything that needs no list.
        host.add("c-alive-2", "alive");
        let before = host.holders();
        type Fault = (&'static str, fn(&Api));
        let faults: [Fault; 7] = [
            ("lists no pods", |api| api.lists(200, &api::list_of(&[], ""))),
            ("the list of pods is gone", |api| api.list_breaks_off(410)),
            ("failed with status 500", |api| api.list_breaks_off(500)),
            ("verbs [\"list\"]", |api| api.lists(403, &json!({ "kind": "Status", "reason": "Forbidden" }))),
            ("can't be used", |api| api.lists(200, &json!({ "kind": "PodList", "items": [] }))),
            ("can't be used", |api| api.lists(200, &json!("garbage"))),
            ("can't be used", |api| api.lists(404, &Value::Null)),
        ];
        for (why, fault) in faults {
            fault(&host.api);
            let complaint = host.sweep(&[]).failed();
            assert!(complaint.contains("nothing was freed") && complaint.contains(why), "{complaint}");
            assert_eq!(host.holders(), before);
        }
        host.api.lists_all();
        host.sweep(&[]).ok();
        assert_eq!(host.holders(), ["c-alive-2"]);
    });
}

#[test]
fn a_stale_list_frees_nothing_of_a_pod_that_the_server_still_has() {
    on_each_store("a_stale_list_frees_nothing_of_a_pod_that_the_server_still_has", |host| {
        host.add("c1", "db-0");
        let other = api::pod("always", &uid("always"), "Running", &json!({}));
        host.api.lists(200, &api::list_of(&[&other], ""));
        let found = host.sweep(&[]).ok().found();
        assert_eq!(found, ["c1 stays: the API server reports that pod as Running since 2026-11-01T10:00:01Z"]);
        // Nor where it does not answer.
        host.api.fails("db-0", 503);
        let found = host.sweep(&[]).ok().found();
        assert!(found[0].starts_with("c1 stays: kube-ipam can't tell whether that pod is gone"), "{found:?}");
        assert_eq!(host.holders(), ["c1"]);
    });
}

#[test]
fn what_was_given_just_now_and_what_is_of_another_cluster_or_without_a_pod_stays() {
    let test = "what_was_given_just_now_and_what_is_of_another_cluster_or_without_a_pod_stays";
    on_each_store(test, |host| {
        host.network().add("plain").ok();
        host.add("c1", "db-0");
        host.api.lost("db-0");
        host.set_defaults(json!({ "cluster": "another" }));
        let said = host.sweep(&[]).ok();
        assert_eq!((said.found(), &said.document["ofAnotherCluster"]), (vec![], &json!(1)));
        host.set_defaults(json!({ "sweep": { "minAge": "1h" } }));
        let said = host.sweep(&[]).ok();
        assert_eq!(said.found(), ["c1 stays: it has been held for less than the minimum age (sweep.minAge)"]);
        assert_eq!(said.document["withoutAPod"], 1);
        assert_eq!(host.holders(), ["c1", "plain"]);
    });
}

#[test]
fn an_api_server_of_another_cluster_is_not_believed() {
    on_each_store("an_api_server_of_another_cluster_is_not_believed", |host| {
        let (own, other) = ("2971e5e0-8d34-4178-b2d3-3e2cbf240adf", "0bca6a5e-0e3e-4a2f-9c39-6f8f5f2f4c0e");
        host.set_defaults(json!({ "cluster": own }));
        host.add("c1", "db-0");
        host.api.lost("db-0");
        host.api.is_of_cluster(other);
        let complaint = host.sweep(&[]).failed();
        assert!(
            complaint.contains(&format!("belongs to cluster {other}, and this node to cluster {own}")),
            "{complaint}"
        );
        assert_eq!(host.holders(), ["c1"]);
        host.api.is_of_cluster(own);
        host.sweep(&[]).ok();
        assert_eq!(host.holders(), [""; 0]);
    });
}

#[test]
fn a_share_of_more_than_twenty_addresses_stops_the_sweep_and_an_option_overrides_it() {
    let test = "a_share_of_more_than_twenty_addresses_stops_the_sweep_and_an_option_overrides_it";
    on_stores_without_api_server(test, |host| {
        for n in 0..42 {
            host.add(&format!("c{n}"), &format!("p-{n}"));
        }
        for n in 0..20 {
            host.api.lost(&format!("p-{n}"));
        }
        // Half of all, but no more than twenty.
        host.sweep(&[]).ok();
        assert_eq!(host.holders().len(), 22);
        for n in 20..41 {
            host.api.lost(&format!("p-{n}"));
        }
        let complaint = host.sweep(&[]).failed();
        assert!(
            complaint.contains("21 of 22 held addresses would be freed") && complaint.contains("--max-share"),
            "{complaint}"
        );
        assert_eq!(host.holders().len(), 22);
        host.sweep(&["--max-share", "1"]).ok();
        assert_eq!(host.holders().len(), 1);
    });
}

#[test]
fn without_a_kubeconfig_only_what_needs_no_pods_is_freed() {
    on_stores_without_api_server("without_a_kubeconfig_only_what_needs_no_pods_is_freed", |host| {
        host.add("c1", "db-0");
        host.add("old", "web-0");
        host.forgets_sandboxes();
        host.add("new", "web-0");
        host.api.lost("db-0");
        host.set_defaults(json!({ "kubeConfig": host.node.path("nowhere") }));
        let said = host.sweep(&[]).ok();
        assert_eq!(said.found(), ["old freed: a later sandbox of its pod has this interface"]);
        assert!(said.complaint().contains("there is no kubeconfig at"), "{}", said.complaint());
        assert_eq!(said.document["notAsked"], 2);
        assert_eq!(host.holders(), ["c1", "new"]);
        let nowhere = host.node.path("nowhere");
        assert!(
            host.sweep(&["--kubeconfig", nowhere.to_str().unwrap()]).failed().contains("there is no kubeconfig at")
        );
        let kubeconfig = host.api.kubeconfig_of(host.node).unwrap();
        host.sweep(&["--kubeconfig", kubeconfig.to_str().unwrap()]).ok();
        assert_eq!(host.holders(), ["new"]);
    });
}

#[test]
fn a_node_performs_all_its_deferred_releases() {
    on_each_store("a_node_performs_all_its_deferred_releases", |host| {
        // More than a call replays by the way.
        let containers: Vec<String> = (0..12).map(|n| format!("c{n}")).collect();
        containers.iter().for_each(|container| host.add(container, &format!("pod-of-{container}")));
        containers.iter().for_each(|container| mark(host.node, container));
        host.api.asked();
        let dry = host.sweep(&["--node", "--dry-run"]).ok();
        assert_eq!((dry.found().len(), host.node.records().len(), host.holders().len()), (12, 12, 12));
        host.sweep(&["--node"]).ok();
        assert_eq!((host.holders(), host.node.records()), (vec![], vec![]));
        assert_eq!(host.api.asked(), [""; 0]);
    });
}

/// What a DEL leaves that could not reach its store.
fn mark(node: &Node, container: &str) {
    let folder = node.path("records/node-1");
    let name = format!("{container}:eth0:blue.json");
    let record = fs::read_to_string(folder.join(&name)).unwrap();
    let mut mark: Value = serde_json::from_str(record.lines().last().unwrap()).unwrap();
    mark["state"] = json!("releasing");
    fs::create_dir_all(folder.join("marked")).unwrap();
    fs::write(folder.join("marked").join(&name), format!("{mark}\n")).unwrap();
    fs::remove_file(folder.join(&name)).unwrap();
}

#[test]
fn after_a_reboot_a_node_frees_random_addresses_and_keeps_requested_ones() {
    let test = "after_a_reboot_a_node_frees_random_addresses_and_keeps_requested_ones";
    on_each_store(test, |host| {
        // podman: no pod, and no DEL after a reboot.
        let boot = |name: &str| {
            let file = host.node.path(name);
            fs::write(&file, format!("{name}\n")).unwrap();
            file
        };
        let add = |container: &str, args: &str, when: &str| {
            let call = host.network().call("ADD", container).env("KUBE_IPAM_BOOT_ID_FILE", boot(when));
            call.args(args).run().ok();
        };
        for container in ["stopped", "restarted"] {
            add(container, "K8S_POD_NAME=x", "boot-1");
        }
        add("fixed", "IP=10.1.0.5", "boot-1");
        let sweep = |when: &str| {
            said(host.command(&["--node"]).env("KUBE_IPAM_BOOT_ID_FILE", boot(when)).output().unwrap()).ok().found()
        };
        assert_eq!(sweep("boot-1"), [""; 0]);
        // podman starts a container with its old id, and the runtime's ADD is one that is repeated.
        add("restarted", "K8S_POD_NAME=x", "boot-2");
        let found = sweep("boot-2");
        assert_eq!(found[1], "stopped freed: its node has rebooted since");
        assert!(found.len() == 2 && found[0].starts_with("fixed stays: its node has rebooted since"), "{found:?}");
        assert_eq!(host.holders(), ["fixed", "restarted"]);
        assert_eq!(host.node.records().len(), 2);
    });
}

#[test]
fn a_sweep_that_is_killed_leaves_the_rest_to_the_next_one() {
    on_stores_without_api_server("a_sweep_that_is_killed_leaves_the_rest_to_the_next_one", |host| {
        for n in 0..15 {
            let pod = format!("p-{n}");
            host.add(&format!("c{n}"), &pod);
            host.api.lost(&pod);
        }
        for left in [12, 6] {
            let mut sweep = Killed(host.command(&[]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
            wait_until("a sweep has freed some", || host.holders().len() <= left);
            sweep.kill();
        }
        host.sweep(&[]).ok();
        assert_eq!(host.holders(), [""; 0]);
        host.add("again", "always");
        host.call("DEL", "again", "always");
        for n in 0..15 {
            host.call("DEL", &format!("c{n}"), &format!("p-{n}"));
        }
        assert_eq!((host.node.held(), host.node.records()), (vec![], vec![]));
    });
}

/// A sweep that does not outlive its test.
struct Killed(Child);

impl Killed {
    fn kill(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        self.0.wait().unwrap();
    }
}

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn people_get_a_table_and_a_summary() {
    let machines = Machines::embedded();
    let node = machines.node();
    let host = Host::new(&node);
    leave_some(&host);
    let mut command = Command::new(&node.plugin().path);
    command.env_clear().env("KUBE_IPAM_CONFIG", node.path("kube-ipam.json"));
    let output = command.args(["sweep", "--interval", "10ms"]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    let lines: Vec<&str> = text.lines().collect();
    let words: Vec<&str> = lines[0].split_whitespace().collect();
    assert_eq!(words, ["WHAT", "FATE", "NETWORK", "POD", "INTERFACE", "NODE", "CONTAINER", "SINCE", "WHY"]);
    assert!(lines.iter().any(|line| line.contains("db/gone") && line.ends_with("its pod is gone")), "{text}");
    assert_eq!(lines.last(), Some(&"Of 5 held addresses: 4 freed."));
}

/// StatefulSet, pod and container of three pods of two sets.
const OF_SETS: [(&str, &str); 3] = [("pg", "pg-0"), ("pg", "pg-1"), ("kafka", "kafka-0")];

impl Host<'_> {
    /// There is a workload of this name.
    fn there_is(&self, name: &str, uid: &str) {
        // The server does not distinguish kinds, and what is listed beside pods changes nothing.
        self.api.shows(name, &api::pod(name, uid, "Running", &json!({})));
    }

    /// A sandbox of a pod of a workload that keeps its addresses; which one it got.
    fn add_kept(&self, container: &str, pod: &str, (api_version, kind, name): (&str, &str, &str)) -> String {
        // That of a pod of any other workload says nothing.
        let annotations = json!({ "kubevirt.io/migrationJobName": "migration-1" });
        let mut document = api::pod(pod, &uid(pod), "Running", &annotations);
        let owner = json!({ "apiVersion": api_version, "kind": kind, "name": name, "uid": "o-1", "controller": true });
        document["metadata"]["ownerReferences"] = json!([owner]);
        self.api.shows(pod, &document);
        let args = format!("IgnoreUnknown=1;K8S_POD_NAMESPACE={NAMESPACE};K8S_POD_NAME={pod};K8S_POD_UID={}", uid(pod));
        let network = self.node.network(json!({ "subnet": "10.1.0.0/24", "cooldown": "0s", "sticky": true }));
        network.call("ADD", container).args(&args).run().address()
    }

    /// The pods of two StatefulSets, all gone; the first set's last one without a DEL.
    fn leave_reserved(&self) -> Vec<String> {
        let add = |(set, pod): &(&str, &str)| {
            self.there_is(set, "o-1");
            self.add_kept(&format!("c-{pod}"), pod, ("apps/v1", "StatefulSet", set))
        };
        let given = OF_SETS.iter().map(add).collect();
        for (_, pod) in OF_SETS {
            self.api.lost(pod);
            if pod != "pg-1" {
                self.call("DEL", &format!("c-{pod}"), pod);
            }
        }
        given
    }
}

#[test]
fn what_is_reserved_goes_with_its_owner_and_not_before_in_the_same_sweep_as_what_its_pods_held() {
    let test = "what_is_reserved_goes_with_its_owner_and_not_before_in_the_same_sweep_as_what_its_pods_held";
    on_each_store(test, |host| {
        let given = host.leave_reserved();
        // Both are there, one of them recreated.
        host.there_is("pg", "o-2");
        let stays = ["c-pg-1 would go: its pod is gone; it stays reserved for StatefulSet pod db/pg-1"];
        assert_eq!(host.sweep(&["--dry-run"]).ok().found(), stays);
        host.api.lost("pg");
        let expected = |fate: &str| {
            [
                format!("c-pg-0 {fate}: it is reserved for StatefulSet pod db/pg-0; StatefulSet db/pg is gone"),
                format!("c-pg-1 {fate}: its pod is gone, and so is StatefulSet db/pg"),
            ]
        };
        assert_eq!(host.sweep(&["--dry-run"]).ok().found(), expected("would go"));
        host.api.asked();
        assert_eq!(host.sweep(&[]).ok().found(), expected("freed"));
        let asked = host.api.asked();
        for (name, times) in [("pg", 1), ("kafka", 1), ("pg-1", 1), ("pg-0", 0)] {
            assert_eq!(asked.iter().filter(|asked| *asked == name).count(), times, "{name} of {asked:?}");
        }
        assert_eq!(host.holders(), ["c-kafka-0"]);
        assert_eq!(host.sweep(&[]).ok().found(), [""; 0]);
        // Scaled down to nothing and up again.
        assert_eq!(host.add_kept("again", "kafka-0", ("apps/v1", "StatefulSet", "kafka")), given[2]);
        // What came too late is anybody's by now, and its late DEL frees nothing of that.
        host.network().call("ADD", "other").args(&format!("IP={}", given[1].trim_end_matches("/24"))).run().ok();
        host.call("DEL", "c-pg-1", "pg-1");
        assert_eq!(host.holders(), ["again", "other"]);
    });
}

#[test]
fn what_a_sweep_takes_from_a_pod_that_is_gone_stays_reserved_until_its_owner_is_gone_too() {
    let test = "what_a_sweep_takes_from_a_pod_that_is_gone_stays_reserved_until_its_owner_is_gone_too";
    on_each_store(test, |host| {
        host.leave_reserved();
        let stays = "c-pg-1 freed: its pod is gone; it stays reserved for StatefulSet pod db/pg-1";
        assert_eq!(host.sweep(&[]).ok().found(), [stays]);
        assert_eq!(host.holders(), ["c-kafka-0", "c-pg-0", "c-pg-1"]);
        assert_eq!(host.sweep(&[]).ok().found(), [""; 0]);
        host.api.lost("pg");
        assert_eq!(host.sweep(&[]).ok().found().len(), 2);
        assert_eq!(host.holders(), ["c-kafka-0"]);
    });
}

#[test]
fn what_is_reserved_stays_if_its_owner_can_t_be_checked_or_it_was_used_just_now() {
    let test = "what_is_reserved_stays_if_its_owner_can_t_be_checked_or_it_was_used_just_now";
    on_stores_without_api_server(test, |host| {
        host.leave_reserved();
        host.sweep(&[]).ok();
        let all = ["c-kafka-0", "c-pg-0", "c-pg-1"];
        let forbidden = json!({ "kind": "Status", "reason": "Forbidden",
            "message": "statefulsets.apps \"pg\" is forbidden: User \"sweeper\" cannot get resource" });
        // No such API group, and no such resource in it; no Status of this object.
        let no_group = json!("404 page not found");
        let no_resource = json!({ "kind": "Status", "reason": "NotFound", "details": {} });
        for (status, document, why) in [
            (403, &forbidden, "does not allow user sweeper to get StatefulSet db/pg"),
            (404, &no_group, "about StatefulSet db/pg can't be used: it has status 404"),
            (404, &no_resource, "about StatefulSet db/pg can't be used: it has status 404"),
            (503, &Value::Null, "failed with status 503"),
        ] {
            host.api.answers("pg", status, document);
            let found = host.sweep(&[]).ok().found();
            let untold = "kube-ipam can't tell whether StatefulSet db/pg still exists: ";
            let expected =
                |n: usize| format!("c-pg-{n} stays: it is reserved for StatefulSet pod db/pg-{n}, and {untold}");
            assert_eq!(found.len(), 2, "{found:?}");
            for (n, line) in found.iter().enumerate() {
                assert!(line.starts_with(&expected(n)) && line.contains(why), "{line}");
            }
            assert_eq!(host.holders(), all);
        }
        host.api.hangs_up("pg");
        let found = host.sweep(&[]).ok().found();
        assert!(found.len() >= 2 && found.iter().all(|line| line.contains(" stays: ")), "{found:?}");
        assert_eq!(host.holders(), all);
        host.api.lost("pg");
        host.set_defaults(json!({ "sweep": { "minAge": "1h" } }));
        assert_eq!(host.sweep(&[]).ok().found(), [""; 0]);
        host.set_defaults(json!({ "cluster": "another" }));
        assert_eq!(host.sweep(&[]).ok().document["ofAnotherCluster"], 3);
        host.set_defaults(json!({ "kubeConfig": host.node.path("nowhere") }));
        assert_eq!(host.sweep(&[]).ok().document["notAsked"], 3);
        assert_eq!(host.holders(), all);
    });
}

#[test]
fn what_is_reserved_counts_for_the_share_only_once_its_owner_is_gone() {
    on_stores_without_api_server("what_is_reserved_counts_for_the_share_only_once_its_owner_is_gone", |host| {
        host.there_is("pg", "o-1");
        for n in 0..21 {
            let (container, pod) = (format!("c{n}"), format!("pg-{n}"));
            host.add_kept(&container, &pod, ("apps/v1", "StatefulSet", "pg"));
            host.api.lost(&pod);
            host.call("DEL", &container, &pod);
        }
        assert_eq!(host.sweep(&[]).ok().found(), [""; 0]);
        host.api.lost("pg");
        let complaint = host.sweep(&[]).failed();
        assert!(complaint.contains("21 of 21 held addresses would be freed"), "{complaint}");
        assert_eq!(host.holders().len(), 21);
        host.sweep(&["--max-share", "1"]).ok();
        assert_eq!(host.holders(), [""; 0]);
    });
}

#[test]
fn of_a_machine_that_migrates_only_the_pod_that_is_gone_loses_its_address_and_all_goes_with_the_machine() {
    let test = "of_a_machine_that_migrates_only_the_pod_that_is_gone_loses_its_address_and_all_goes_with_the_machine";
    on_each_store(test, |host| {
        let instance = ("kubevirt.io/v1", "VirtualMachineInstance", "vm1");
        let source = uid("virt-launcher-vm1-a");
        host.api.has_object(&api::instance("vm1", "o-1", None, &[&source]));
        host.api.has_object(&api::migration("migration-1", "m-1", "vm1", "Running"));
        let address = host.add_kept("source", "virt-launcher-vm1-a", instance);
        for target in ["b", "c"] {
            let pod = format!("virt-launcher-vm1-{target}");
            host.api.has_object(&api::instance("vm1", "o-1", None, &[&source, &uid(&pod)]));
            assert_eq!(host.add_kept(target, &pod, instance), address);
            // It is never torn down.
            host.api.lost(&pod);
            assert_eq!(host.holders(), [target, "source"]);
            assert_eq!(host.sweep(&[]).ok().found(), [format!("{target} freed: its pod is gone")]);
            assert_eq!(host.holders(), ["source"]);
        }
        host.call("DEL", "b", "virt-launcher-vm1-b");
        assert_eq!(host.holders(), ["source"]);
        host.api.lost("virt-launcher-vm1-a");
        host.api.lost("vm1");
        let gone = "source freed: its pod is gone, and so is VirtualMachineInstance db/vm1";
        assert_eq!(host.sweep(&[]).ok().found(), [gone]);
        assert_eq!(host.holders(), [""; 0]);
    });
}

/// Two clusters on one etcd prefix, whose nodes and pods have the same names, and pods even the same UIDs.
fn two_clusters(test: &str, named: bool, case: impl Fn(&Host<'_>, &Host<'_>)) {
    if !etcd::installed_or_skip(test) {
        return;
    }
    let etcd = Cluster::plain(1).unwrap();
    let nodes = [0, 1].map(|_| Node::on_etcd(&etcd.config()));
    let [one, two] = [0, 1].map(|n| {
        let host = Host::new(&nodes[n]);
        host.api.is_of_cluster(CLUSTERS[n]);
        if named {
            host.set_defaults(json!({ "cluster": CLUSTERS[n] }));
        }
        host
    });
    case(&one, &two);
}

const CLUSTERS: [&str; 2] = ["2971e5e0-8d34-4178-b2d3-3e2cbf240adf", "0bca6a5e-0e3e-4a2f-9c39-6f8f5f2f4c0e"];

#[test]
fn of_two_clusters_on_one_prefix_each_touches_only_its_own_holders() {
    let test = "of_two_clusters_on_one_prefix_each_touches_only_its_own_holders";
    two_clusters(test, true, |one, two| {
        // Of one name and UID, and the later of them on a node of the same name.
        one.add("c1", "db-0");
        two.add("c2", "db-0");
        assert_eq!(one.holders(), ["c1", "c2"]);
        let held = one.node.held();
        let of_one = &held.iter().find(|(_, holder)| holder == "c1/eth0").unwrap().0;
        for host in [one, two] {
            assert_eq!(host.sweep(&[]).ok().found(), [""; 0]);
        }
        // Gone in both, for all that the other one knows.
        two.api.lost("db-0");
        let args = |pod: &str| {
            format!("K8S_POD_NAMESPACE={NAMESPACE};K8S_POD_NAME={pod};K8S_POD_UID={};IP={of_one}", uid(pod))
        };
        two.runs("db-1");
        let text = two.network().call("ADD", "c3").args(&args("db-1")).run().refused().text();
        let why = "the holder is in another cluster, whose pods this cluster's API server doesn't know";
        assert!(text.contains(why), "{text}");
        // A later sandbox of what seems to be the same pod.
        two.runs("db-0");
        let text = two.network().call("ADD", "c4").args(&args("db-0")).run().refused().text();
        assert!(text.contains("is in another cluster"), "{text}");
        two.api.lost("db-0");
        let said = two.sweep(&[]).ok();
        assert_eq!(
            (said.found(), &said.document["ofAnotherCluster"]),
            (vec!["c2 freed: its pod is gone".into()], &json!(1))
        );
        assert_eq!(one.holders(), ["c1"]);
        two.call("DEL", "c2", "db-0");
        one.call("DEL", "c2", "db-0");
        assert_eq!(one.holders(), ["c1"]);
        // And what is reserved for StatefulSets of one name.
        for (host, container) in [(one, "s1"), (two, "s2")] {
            host.there_is("pg", "o-1");
            host.add_kept(container, "pg-0", ("apps/v1", "StatefulSet", "pg"));
            host.api.lost("pg-0");
            host.call("DEL", container, "pg-0");
        }
        one.api.lost("pg");
        assert_eq!(two.sweep(&[]).ok().found(), [""; 0]);
        assert_eq!(one.sweep(&[]).ok().found().len(), 1);
        assert_eq!(one.holders(), ["c1", "s2"]);
    });
}

#[test]
fn clusters_that_nobody_named_free_nothing_of_each_other() {
    two_clusters("clusters_that_nobody_named_free_nothing_of_each_other", false, |one, two| {
        for (host, name, count) in [(one, "a", 14), (two, "b", 7)] {
            for n in 0..count {
                host.add(&format!("{name}{n}"), &format!("{name}-{n}"));
            }
        }
        // A share of which a wrong word would stay below.
        let most = ["--max-share", "1"];
        for (host, of_another) in [(one, 7), (two, 14)] {
            let said = host.sweep(&most).ok();
            assert_eq!((said.found(), &said.document["ofAnotherCluster"]), (vec![], &json!(of_another)));
        }
        assert_eq!(one.holders().len(), 21);
        two.api.hides_its_cluster(Some((403, api::forbidden("namespaces", "kube-system"))));
        let complaint = two.sweep(&most).failed();
        assert!(complaint.contains("resources [\"namespaces\"], resourceNames [\"kube-system\"]"), "{complaint}");
        assert_eq!(one.holders().len(), 21);
    });
}
