//! `kube-ipam config` by the real binary: what it prints is planned without a finding, and main plugins make interfaces
//! from it.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test's verdict is a panic")]

use std::io::Write as _;
use std::process::{Command, Output, Stdio};

use kube_ipam_e2e::cni::{Call, Reply};
use kube_ipam_e2e::node::{Node, Plugin, reference_plugins};
use kube_ipam_e2e::world::{Pod, World};
use kube_ipam_e2e::{binary, skip};
use serde_json::{Value, json};

const KINDS: [&str; 7] = ["macvlan", "ipvlan", "bridge", "ptp", "calico", "kube-router", "multus"];

fn run(args: &str, stdin: &str) -> Output {
    let mut command = Command::new(binary::kube_ipam());
    command.args(args.split_whitespace()).env_clear().env("KUBE_IPAM_CONFIG", "/nonexistent/kube-ipam.json");
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(stdin.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

#[track_caller]
fn printed(args: &str) -> String {
    let output = run(args, "");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() && said.is_empty(), "{args}: {said}");
    String::from_utf8(output.stdout).unwrap()
}

#[track_caller]
fn file(args: &str) -> Value {
    serde_json::from_str(&printed(args)).unwrap()
}

/// The configuration in a NetworkAttachmentDefinition.
#[track_caller]
fn definition(args: &str) -> Value {
    let definition: Value = serde_saphyr::from_str(&printed(args)).unwrap();
    assert_eq!(definition["kind"], "NetworkAttachmentDefinition");
    serde_json::from_str(definition["spec"]["config"].as_str().unwrap()).unwrap()
}

#[test]
fn the_flag_of_the_predecessor_prints_files() {
    for kind in KINDS {
        assert_eq!(file(&format!("-outputconf {kind}")), file(&format!("config {kind} -o json")));
        assert_eq!(file(&format!("--outputconf={kind}")), file(&format!("config {kind} -o json")));
    }
    let multus = file("-outputconf multus");
    assert_eq!(multus["delegates"], json!([file("config calico"), file("config macvlan")]));
}

#[test]
fn a_pod_gets_the_address_that_the_comments_of_a_definition_name() {
    for kind in KINDS {
        let text = printed(&format!(
            "config {kind} -o yaml --subnet 10.7.0.0/24 --fixed-start 10.7.0.10 --fixed-end 10.7.0.20"
        ));
        let annotation = |key: &str| {
            let (_, rest) =
                text.lines().find_map(|line| line.split_once(key)).unwrap_or_else(|| panic!("{key}: {text}"));
            rest.trim().to_owned()
        };
        let is_secondary = !["calico", "kube-router"].contains(&kind);
        if !is_secondary {
            annotation("v1.multus-cni.io/default-network: ");
            continue;
        }
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": { "name": "web-1", "annotations": {
                "k8s.v1.cni.cncf.io/networks": annotation("k8s.v1.cni.cncf.io/networks: "),
                "kube-ipam.net1.ip": annotation("kube-ipam.net1.ip: "),
            } },
            "spec": { "containers": [{ "name": "web", "image": "web" }] },
        });
        let output = run("plan -f - --deny warnings -o json", &format!("{text}---\n{pod}\n"));
        let plan = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success() && plan.contains("10.7.0.10"), "{kind}: {plan}");
    }
}

#[test]
fn every_definition_is_planned_without_a_finding() {
    for kind in KINDS {
        for args in [
            "",
            "--subnet 10.20.0.0/16 --subnet fd00:20::/64 --route 0.0.0.0/0 --route ::/0",
            "--subnet 10.20.0.0/16 --range 10.20.1.0-10.20.9.255 --pool db=10.20.0.20-10.20.0.29@database --exclude 10.20.3.0/24",
            "--store etcd --namespace kube-system",
            "--store embedded",
        ] {
            let text = printed(&format!("config {kind} -o yaml {args}"));
            let output = run("plan -f - --deny warnings", &text);
            let said = [output.stdout, output.stderr].map(|said| String::from_utf8(said).unwrap()).concat();
            assert!(output.status.success(), "{kind} {args}: {said}");
        }
    }
}

/// A machine with main plugins, whose node defaults have the store.
struct Host {
    world: World,
    node: Node,
}

impl Host {
    fn call(&self, verb: &str, pod: &Pod<'_>, config: &Value) -> Reply {
        let main = reference_plugins().join(config["type"].as_str().unwrap());
        let path = format!("{}:{}", self.node.plugin().folder().display(), reference_plugins().display());
        let call = Call::new(&main, verb).env("CNI_PATH", path).env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        let call = call.container(pod.name).netns(pod.netns()).ifname("net1").config(config);
        self.node.equip(call).within(&self.world).run()
    }
}

#[test]
fn main_plugins_make_interfaces_from_every_kind() {
    let test = "main_plugins_make_interfaces_from_every_kind";
    let Some(world) = World::for_test(test, &["bridge", "macvlan", "ptp"]) else { return };
    world.cable("kipam-eth1", "kipam-wire").unwrap();
    let host = Host { world, node: Node::new(Plugin::kube_ipam()) };
    for (number, (args, expected)) in [
        ("macvlan -o json --store node-defaults --master kipam-eth1", "10.188.0."),
        (
            "macvlan -o yaml --master kipam-eth1 --name lan --subnet 10.21.0.0/24 --range 10.21.0.7-10.21.0.7",
            "10.21.0.7/24",
        ),
        ("multus --master kipam-eth1 --mode private --name apart --subnet 10.22.0.0/24", "10.22.0."),
        ("bridge -o yaml --bridge kipam-br0 --subnet 10.23.0.0/24 --subnet fd00:23::/64", "10.23.0."),
        ("ptp -o yaml --subnet 10.24.0.0/24 --gateway 10.24.0.1", "10.24.0."),
        (
            "kube-router --store node-defaults --bridge kipam-br1 --subnet 10.25.0.0/24 --exclude 10.25.0.0/25",
            "10.25.0.",
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let is_file = args.contains("json") || args.starts_with("kube-router");
        let config = if is_file { file(&format!("config {args}")) } else { definition(&format!("config {args}")) };
        let name = format!("kipam-{number}");
        let pod = host.world.pod(&name).unwrap();
        let reply = host.call("ADD", &pod, &config).ok();
        let [addresses, in_kernel] = [reply.addresses(), pod.addresses("net1").unwrap()];
        assert!(addresses[0].starts_with(expected), "{args}: {addresses:?}");
        assert_eq!(addresses, in_kernel, "{args}");
        assert_eq!(addresses.len(), if args.contains("fd00") { 2 } else { 1 }, "{args}");
        host.call("DEL", &pod, &config).ok();
    }
}

#[test]
fn ipvlan_makes_an_interface() {
    let test = "ipvlan_makes_an_interface";
    let Some(world) = World::for_test(test, &["ipvlan"]) else { return };
    world.cable("kipam-eth1", "kipam-wire").unwrap();
    if let Err(error) = world.run("ip link add link kipam-eth1 name kipam-try type ipvlan") {
        return skip(test, &format!("this kernel has no ipvlan: {error}"));
    }
    world.run("ip link del kipam-try").unwrap();
    let host = Host { world, node: Node::new(Plugin::kube_ipam()) };
    let config = definition("config ipvlan -o yaml --master kipam-eth1 --mode l3 --subnet 10.26.0.0/24");
    let pod = host.world.pod("kipam-ipvlan").unwrap();
    assert!(host.call("ADD", &pod, &config).address().starts_with("10.26.0."));
}

#[test]
fn a_store_that_is_named_is_the_one_that_calls_use() {
    let node = Node::new(Plugin::kube_ipam());
    let folder = node.path("named");
    let config = file(&format!("config calico --subnet 10.27.0.0/24 --data-dir {}", folder.display()));
    node.set_defaults(&json!({ "blocksMaySet": ["store", "kubeConfig"], "dataDir": node.path("elsewhere") }));
    let call = node.call("ADD").container("c1").ifname("eth0").netns("/proc/self/ns/net").config(&config);
    call.run().ok();
    let listed = run(&format!("list -o json --data-dir {}", folder.display()), "");
    assert!(String::from_utf8(listed.stdout).unwrap().contains("10.27.0."));
}

#[test]
fn what_an_add_would_refuse_is_not_printed() {
    for (args, text) in [
        ("config macvlan --subnet 10.1.0.0/24 --range-start 10.2.0.1", "--range-start 10.2.0.1 is in no --subnet"),
        ("config macvlan --subnet 10.1.0.0/24 --gateway 10.1.0.255", "an ADD would refuse this configuration: "),
        ("config macvlan --endpoints ftp://192.0.2.1", "an ADD would refuse this configuration: "),
        ("config bridge --master eth1", "--master is not for bridge"),
    ] {
        let output = run(args, "");
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(1), b"".as_slice()), "{args}: {said}");
        assert!(said.contains(text), "{said}");
    }
    let output = run("config macvlan --endpoints http://192.0.2.1:2379", "");
    assert!(output.status.success() && String::from_utf8(output.stderr).unwrap().contains("without TLS"));
}
