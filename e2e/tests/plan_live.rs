//! `kube-ipam plan --live` by the real binary, on stores with leases of real ADDs, and with an API server that plays
//! scenarios.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test's verdict is a panic")]

use std::io::Write as _;
use std::process::{Command, Output, Stdio};

use kube_ipam_e2e::api::{Api, NAMESPACE};
use kube_ipam_e2e::binary;
use kube_ipam_e2e::machines::Machines;
use kube_ipam_e2e::node::Node;
use serde_json::{Value, json};

/// A network, and a pod that requests an address of it.
const MANIFESTS: &str = r#"apiVersion: k8s.cni.cncf.io/v1
kind: NetworkAttachmentDefinition
metadata: {name: blue, namespace: NAMESPACE}
spec:
  config: |
    {"cniVersion": "1.0.0", "name": "blue", "type": "macvlan", "ipam": {"type": "kube-ipam", "subnet": "10.1.0.0/29"}}
---
apiVersion: v1
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
        let kubeconfig = api.kubeconfig(&node.path("")).unwrap();
        node.set_defaults(&json!({ "annotations": true, "kubeConfig": kubeconfig, "nodeName": "node-1" }));
        Self { node, api }
    }

    /// The ADD of a running pod that requests this address.
    fn add(&self, pod: &str, ip: &str) {
        let uid = format!("{pod}-uid");
        self.api.has(pod, &uid, "Running", &json!({ "kube-ipam.eth0.ip": ip }));
        let args = format!("IgnoreUnknown=1;K8S_POD_NAMESPACE={NAMESPACE};K8S_POD_NAME={pod};K8S_POD_UID={uid}");
        self.node.network(json!({ "subnet": "10.1.0.0/29" })).call("ADD", pod).args(&args).run().ok();
    }

    fn plan(&self, args: &[&str]) -> Output {
        let mut command = Command::new(binary::kube_ipam());
        command.args(["plan", "-f", "-", "--live"]).args(args).env_clear();
        command.env("KUBE_IPAM_CONFIG", self.node.path("kube-ipam.json"));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let manifests = MANIFESTS.replace("NAMESPACE", NAMESPACE);
        child.stdin.take().unwrap().write_all(manifests.as_bytes()).unwrap();
        child.wait_with_output().unwrap()
    }

    fn document(&self) -> Value {
        let output = self.plan(&["-o", "json"]);
        serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)))
    }
}

/// The findings that fail a plan. The etcd of tests is reached without TLS, which is a warning.
fn errors(plan: &Value) -> Vec<&Value> {
    plan["findings"].as_array().unwrap().iter().filter(|finding| finding["severity"] == "error").collect()
}

fn on_each_store(test: &str, case: impl Fn(&Host)) {
    case(&Host::new(Machines::embedded().node()));
    if let Some(machines) = Machines::etcd(test) {
        case(&Host::new(machines.node()));
    }
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
        let net1 = plan["interfaces"].as_array().unwrap().iter().find(|of| of["interface"] == "net1").unwrap();
        assert_eq!(net1["certain"][0]["addresses"], json!(["10.1.0.3"]));
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
    let output = host.plan(&["--data-dir", nowhere.to_str().unwrap()]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1));
    assert!(said.contains("there is no store in"), "{said}");
}
