//! `kube-ipam plan --live` by the real binary, on stores with leases of real ADDs, and with an API server that plays
//! scenarios.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test's verdict is a panic")]

use std::io::{ErrorKind, Write as _};
use std::process::{Command, Output, Stdio};

use kube_ipam_e2e::api::{self, Api, NAMESPACE, forbidden};
use kube_ipam_e2e::binary;
use kube_ipam_e2e::machines::{self, Machines};
use kube_ipam_e2e::node::Node;
use serde_json::{Value, json};

/// A network.
const NETWORK: &str = r#"apiVersion: k8s.cni.cncf.io/v1
kind: NetworkAttachmentDefinition
metadata: {name: blue, namespace: NAMESPACE}
spec:
  config: |
    {"cniVersion": "1.0.0", "name": "blue", "type": "macvlan", "ipam": {"type": "kube-ipam", "subnet": "10.1.0.0/29"}}
---
"#;

/// A pod that requests an address of it.
const POD: &str = r#"apiVersion: v1
kind: Pod
metadata:
  name: web-1
  namespace: NAMESPACE
  annotations:
    k8s.v1.cni.cncf.io/networks: blue
    kube-ipam.net1.ip: "10.1.0.3"
"#;

/// A node whose pods are those of an API server.
struct Host {
    node: Node,
    api: Api,
}

impl Host {
    fn new(node: Node) -> Self {
        let api = Api::start().unwrap();
        let kubeconfig = api.kubeconfig_of(&node).unwrap();
        node.set_defaults(&json!({ "annotations": true, "kubeConfig": kubeconfig, "nodeName": "node-1" }));
        Self { node, api }
    }

    /// The same with a store that has an address.
    fn in_use() -> Self {
        let host = Self::new(Machines::embedded().node());
        host.add("other", "10.1.0.6");
        host
    }

    /// The ADD of a running pod that requests this address.
    fn add(&self, pod: &str, ip: &str) {
        self.api.has(pod, &uid(pod), "Running", &json!({ "kube-ipam.eth0.ip": ip }));
        self.call("ADD", pod, "eth0");
    }

    /// A call for a running pod. Returns its address, if that is an ADD.
    fn call(&self, verb: &str, pod: &str, ifname: &str) -> String {
        let uid = uid(pod);
        let args = format!("IgnoreUnknown=1;K8S_POD_NAMESPACE={NAMESPACE};K8S_POD_NAME={pod};K8S_POD_UID={uid}");
        let network = self.node.network(json!({ "subnet": "10.1.0.0/29" }));
        let reply = network.call(verb, pod).ifname(ifname).args(&args).run().ok();
        if verb == "ADD" { reply.address().trim_end_matches("/29").to_owned() } else { String::new() }
    }

    fn plan(&self, args: &[&str]) -> Output {
        self.plan_of(&[NETWORK, POD].concat(), args)
    }

    fn plan_of(&self, manifests: &str, args: &[&str]) -> Output {
        let mut command = Command::new(binary::kube_ipam());
        command.args(["plan", "-f", "-", "--live"]).args(args).env_clear();
        command.env("KUBE_IPAM_CONFIG", self.node.path("kube-ipam.json"));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let manifests = manifests.replace("NAMESPACE", NAMESPACE);
        // A plan may end before it reads its input, such as for a store that does not exist.
        match child.stdin.take().unwrap().write_all(manifests.as_bytes()) {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => {}
            written => written.unwrap(),
        }
        child.wait_with_output().unwrap()
    }

    fn document(&self) -> Value {
        self.document_of(&[NETWORK, POD].concat())
    }

    fn document_of(&self, manifests: &str) -> Value {
        let output = self.plan_of(manifests, &["-o", "json"]);
        serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)))
    }
}

/// The findings that fail a plan. The etcd of tests is reached without TLS, which is a warning.
fn errors(plan: &Value) -> Vec<&Value> {
    plan["findings"].as_array().unwrap().iter().filter(|finding| finding["severity"] == "error").collect()
}

fn uid(pod: &str) -> String {
    format!("{pod}-uid")
}

/// The certain addresses of each pod's interface net1.
fn net1(plan: &Value) -> Vec<Value> {
    let interface = plan["interfaces"].as_array().unwrap().iter().find(|of| of["interface"] == "net1").unwrap();
    interface["certain"].as_array().into_iter().flatten().map(|pod| pod["addresses"].clone()).collect()
}

fn blue(ipam: &Value) -> Value {
    json!({ "cniVersion": "1.0.0", "name": "blue", "type": "macvlan", "ipam": ipam })
}

fn on_each_store(test: &str, case: impl Fn(&Host)) {
    machines::each(test).for_each(|machines| case(&Host::new(machines.node())));
}

#[test]
fn an_address_that_a_running_pod_holds_is_an_error_until_the_pod_is_gone() {
    on_each_store("plan_live_held", |host| {
        host.add("db-0", "10.1.0.3");
        let held = host.node.held();
        let plan = host.document();
        let found = errors(&plan);
        let finding = found[0];
        assert_eq!((&finding["code"], &finding["line"]), (&"KI0314".into(), &15.into()), "{plan}");
        let message = finding["message"].as_str().unwrap();
        let holder =
            format!("10.1.0.3 is held by pod {NAMESPACE}/db-0, interface eth0, node node-1, network blue, since ");
        assert!(message.starts_with(&holder), "{message}");
        assert_eq!(plan["networks"][0]["randomOfOthers"], 1, "{plan}");

        host.api.lost("db-0");
        let plan = host.document();
        assert!(errors(&plan).is_empty(), "{plan}");
        assert_eq!(net1(&plan), [json!(["10.1.0.3"])]);
        assert_eq!(host.node.held(), held, "a plan has written");
    });
}

#[test]
fn a_plan_leaves_every_byte_of_an_embedded_store_as_it_was() {
    let host = Host::new(Machines::embedded().node());
    host.add("db-0", "10.1.0.3");
    let path = host.node.path("addresses/kube-ipam.sqlite3");
    let before = (std::fs::read(&path).unwrap(), host.node.records());
    assert_eq!(host.plan(&[]).status.code(), Some(1));
    assert_eq!((std::fs::read(&path).unwrap(), host.node.records()), before);
}

#[test]
fn a_store_or_an_api_server_that_does_not_answer_ends_a_plan() {
    let host = Host::new(Machines::embedded().node());
    host.add("db-0", "10.1.0.3");
    host.api.hides_its_cluster(Some((503, json!({}))));
    let output = host.plan(&[]);
    assert_eq!((output.status.code(), output.stdout.len()), (Some(1), 0));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("failed with status 503"), "{said}");

    let nowhere = host.node.path("nowhere");
    for option in ["--data-dir", "--store"] {
        let output = host.plan(&[option, nowhere.to_str().unwrap()]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1));
        assert!(said.contains(&format!("there is no store in {}", nowhere.display())), "{said}");
    }
    let output = host.plan(&["--store", host.node.path("addresses").to_str().unwrap()]);
    assert!(String::from_utf8_lossy(&output.stderr).contains("failed with status 503"));
}

#[test]
fn a_network_that_only_the_cluster_has_is_read_from_its_api_server() {
    let host = Host::in_use();
    host.api.has_definition(NAMESPACE, "blue", &blue(&json!({ "type": "kube-ipam", "subnet": "10.1.0.0/29" })));
    // Nothing selects this one, so it is not read.
    host.api.has_definition(NAMESPACE, "green", &blue(&json!({ "type": "kube-ipam", "subnet": "none" })));
    let plan = host.document_of(POD);
    assert_eq!((errors(&plan).len(), net1(&plan)), (0, vec![json!(["10.1.0.3"])]), "{plan}");
    assert_eq!(plan["networks"][0]["network"], format!("{NAMESPACE}/blue"), "{plan}");

    host.add("db-0", "10.1.0.3");
    let plan = host.document_of(POD);
    let codes: Vec<&Value> = errors(&plan).into_iter().map(|finding| &finding["code"]).collect();
    assert_eq!(codes, ["KI0314"], "{plan}");
}

#[test]
fn a_mistake_in_a_network_of_the_cluster_is_shown_as_applied_already() {
    let host = Host::in_use();
    host.api.has_definition(NAMESPACE, "blue", &blue(&json!({ "type": "kube-ipam", "subnet": "10.1.0.0/33" })));
    let plan = host.document_of(POD);
    let [finding] = errors(&plan)[..] else { panic!("{plan}") };
    assert_eq!(finding["file"], format!("<cluster>/NetworkAttachmentDefinition {NAMESPACE}/blue"), "{plan}");
    assert_eq!((&finding["line"], &finding["label"]), (&json!(8), &json!("applied in the cluster already")), "{plan}");
    let output = host.plan_of(POD, &[]);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(said.contains(&format!("--> <cluster>/NetworkAttachmentDefinition {NAMESPACE}/blue:8:")), "{said}");
}

#[test]
fn a_network_that_the_api_server_does_not_give_is_an_error_that_says_why() {
    let host = Host::in_use();
    let finding = || {
        let plan = host.document_of(POD);
        let [finding] = errors(&plan)[..] else { panic!("{plan}") };
        [finding["code"].clone(), finding["message"].clone(), finding["help"].clone()]
            .map(|text| text.as_str().unwrap().to_owned())
    };
    let missing = format!("there is no NetworkAttachmentDefinition {NAMESPACE}/blue among these files");
    let [code, message, _] = finding();
    assert_eq!((&*code, message), ("KI0102", format!("{missing} or in the cluster")));

    host.api.answers("blue", 403, &forbidden("network-attachment-definitions", "blue"));
    let [code, message, help] = finding();
    assert_eq!((&*code, message), ("KI0102", format!("{missing}, and it could not be read from the cluster")));
    let rule = r#"apiGroups ["k8s.cni.cncf.io"], resources ["network-attachment-definitions"], verbs ["get"]"#;
    assert!(help.contains(rule), "{help}");

    // As of a server without the CustomResourceDefinition.
    host.api.answers("blue", 404, &json!("404 page not found"));
    let [_, message, help] = finding();
    assert_eq!(message, format!("{missing}, and it could not be read from the cluster"));
    assert!(help.contains("network-attachment-definitions.k8s.cni.cncf.io"), "{help}");

    host.api.answers("blue", 503, &json!({}));
    let output = host.plan_of(POD, &[]);
    assert_eq!((output.status.code(), output.stdout.len()), (Some(1), 0));
    assert!(String::from_utf8_lossy(&output.stderr).contains("failed with status 503"));
}

#[test]
fn an_address_that_a_stateful_set_keeps_is_its_pods_and_nobody_elses() {
    on_each_store("plan_live_sticky", |host| {
        let annotations = json!({ "k8s.v1.cni.cncf.io/networks": "blue", "kube-ipam.net1.sticky": "true" });
        let mut pod = api::pod("pg-0", &uid("pg-0"), "Running", &annotations);
        let owner =
            json!({ "apiVersion": "apps/v1", "kind": "StatefulSet", "name": "pg", "uid": "o-1", "controller": true });
        pod["metadata"]["ownerReferences"] = json!([owner]);
        host.api.shows("pg-0", &pod);
        host.api.has("pg", "o-1", "Running", &json!({}));
        let ip = host.call("ADD", "pg-0", "net1");
        host.api.lost("pg-0");
        host.call("DEL", "pg-0", "net1");

        let set = json!({
            "apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": { "name": "pg", "namespace": NAMESPACE },
            "spec": { "replicas": 2, "template": { "metadata": { "annotations": annotations } } },
        });
        let plan = host.document_of(&format!("{NETWORK}{set}\n"));
        assert_eq!((errors(&plan).len(), net1(&plan)), (0, vec![json!([ip])]), "{plan}");

        let plan = host.document_of(&[NETWORK, &POD.replace("10.1.0.3", &ip)].concat());
        let [finding] = errors(&plan)[..] else { panic!("{plan}") };
        assert_eq!((&finding["code"], &finding["line"]), (&"KI0316".into(), &15.into()), "{plan}");
        let message = finding["message"].as_str().unwrap();
        assert!(message.starts_with(&format!("{ip} is reserved for StatefulSet pod {NAMESPACE}/pg-0")), "{message}");
    });
}

#[test]
fn a_claim_that_only_the_cluster_has_gives_its_pod_what_it_has() {
    on_each_store("plan_live_claim", |host| {
        let selection = json!([{ "name": "blue", "ipam-claim-reference": "data" }]).to_string();
        let annotations = json!({ "k8s.v1.cni.cncf.io/networks": selection });
        let vm = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": { "name": "vm", "namespace": NAMESPACE, "annotations": annotations },
        });
        let manifests = format!("{NETWORK}{vm}\n");
        let claims = |plan: &Value| {
            let findings = plan["findings"].as_array().unwrap().clone();
            findings.into_iter().filter(|finding| finding["code"] == "KI0312").collect::<Vec<_>>()
        };
        host.add("other", "10.1.0.6");
        let plan = host.document_of(&manifests);
        let message = format!("IPAMClaim {NAMESPACE}/data is not among these files or in the cluster");
        assert_eq!(claims(&plan)[0]["message"], message, "{plan}");

        host.api.has_claim(&api::claim("data", "claim-1", "blue", "net1"));
        host.api.has("vm", &uid("vm"), "Running", &annotations);
        let ip = host.call("ADD", "vm", "net1");
        host.api.lost("vm");
        host.call("DEL", "vm", "net1");
        let plan = host.document_of(&manifests);
        assert_eq!((claims(&plan).len(), errors(&plan).len(), net1(&plan)), (0, 0, vec![json!([ip])]), "{plan}");

        // Also without the copy in its status: the store has it, whether the claim is read from a file or not.
        host.api.set_claim_status("data", &json!({}));
        assert_eq!(net1(&host.document_of(&manifests)), [json!([ip])]);
        let file = api::claim("data", "of-a-file", "blue", "net1");
        assert_eq!(net1(&host.document_of(&format!("{manifests}---\n{file}\n"))), [json!([ip])]);
    });
}

#[test]
fn what_is_reserved_by_hand_is_in_the_way_of_all_but_whom_it_is_for() {
    let host = Host::in_use();
    let operate = |args: &[&str]| {
        let mut command = Command::new(binary::kube_ipam());
        command.args(args).arg("--yes").env_clear().env("KUBE_IPAM_CONFIG", host.node.path("kube-ipam.json"));
        let output = command.output().unwrap();
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    };
    operate(&["reserve", "10.1.0.3", "--reason", "printer"]);
    let plan = host.document();
    let found = errors(&plan);
    assert_eq!((found.len(), &found[0]["code"]), (1, &json!("KI0316")), "{plan}");
    let text = found[0]["message"].as_str().unwrap();
    assert!(text.contains("10.1.0.3 is reserved by hand since"), "{text}");
    operate(&["move", "10.1.0.3", "--for", &format!("{NAMESPACE}/web-1")]);
    assert_eq!(errors(&host.document()), Vec::<&Value>::new());
    // For the pods of a StatefulSet, its UID comes from the API server.
    let set = r#"apiVersion: apps/v1
kind: StatefulSet
metadata: {name: pg, namespace: NAMESPACE}
spec:
  replicas: 1
  serviceName: pg
  selector: {matchLabels: {app: pg}}
  template:
    metadata:
      labels: {app: pg}
      annotations:
        k8s.v1.cni.cncf.io/networks: blue
        kube-ipam.net1.ip: "10.1.0.4"
    spec: {containers: [{name: pg, image: pg}]}
"#;
    operate(&["reserve", "10.1.0.4", "--reason", "migration", "--for", &format!("statefulset/{NAMESPACE}/pg")]);
    let plan = || host.document_of(&[NETWORK, set].concat());
    let before = plan();
    assert_eq!(errors(&before).len(), 1, "{before}");
    let object = json!({ "apiVersion": "apps/v1", "kind": "StatefulSet",
        "metadata": { "namespace": NAMESPACE, "name": "pg", "uid": "o-1" }, "spec": {} });
    host.api.answers("pg", 200, &object);
    let after = plan();
    assert_eq!(errors(&after), Vec::<&Value>::new());
}
