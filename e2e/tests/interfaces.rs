//! Real interfaces: the reference main plugins bridge, macvlan and ptp, delegating to the kube-ipam under test, in a
//! world of their own. What is looked at in the end is the kernel's.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test's verdict is a panic")]

use kube_ipam_e2e::cni::{Call, Reply};
use kube_ipam_e2e::node::{Node, Plugin, reference_plugins};
use kube_ipam_e2e::world::{Pod, World};
use serde_json::{Value, json};

/// A machine with kube-ipam, main plugins and a network world.
struct Host {
    world: World,
    node: Node,
}

impl Host {
    /// `None`, and reported, where this machine has no namespaces or no such plugins.
    fn for_test(test: &str, mains: &[&str]) -> Option<Self> {
        let world = World::for_test(test, mains)?;
        // What a macvlan lies on, as eth1 of a real machine.
        world.cable("kipam-eth1", "kipam-wire").unwrap();
        Some(Self { world, node: Node::new(Plugin::kube_ipam()) })
    }

    fn bridge(&self, ipam: Value) -> Network<'_> {
        self.network(json!({ "type": "bridge", "name": "web", "bridge": "kipam-br0", "isGateway": true }), ipam)
    }

    fn macvlan(&self, ipam: Value) -> Network<'_> {
        self.network(json!({ "type": "macvlan", "name": "db", "master": "kipam-eth1", "mode": "bridge" }), ipam)
    }

    fn ptp(&self, ipam: Value) -> Network<'_> {
        self.network(json!({ "type": "ptp", "name": "point" }), ipam)
    }

    fn network(&self, main: Value, ipam: Value) -> Network<'_> {
        let mut config = self.node.network(ipam).config;
        config.as_object_mut().unwrap().extend(main.as_object().unwrap().clone());
        Network { host: self, config }
    }
}

/// A network of a main plugin.
#[derive(Clone)]
struct Network<'host> {
    host: &'host Host,
    config: Value,
}

impl Network<'_> {
    fn with(&self, key: &str, value: Value) -> Self {
        let mut network = self.clone();
        network.config[key] = value;
        network
    }

    /// A call for a pod's interface; its container has the pod's name.
    fn call(&self, verb: &str, pod: &Pod<'_>, ifname: &str) -> Call {
        let Host { world, node } = self.host;
        let main = reference_plugins().join(self.config["type"].as_str().unwrap());
        let path = format!("{}:{}", node.plugin().folder().display(), reference_plugins().display());
        let call = Call::new(&main, verb).env("CNI_PATH", path).env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        let call = call.container(pod.name).netns(pod.netns()).ifname(ifname).config(&self.config);
        node.equip(call).within(world)
    }

    fn add(&self, pod: &Pod<'_>, ifname: &str) -> Reply {
        self.call("ADD", pod, ifname).run()
    }

    fn del(&self, pod: &Pod<'_>, ifname: &str) -> Reply {
        self.call("DEL", pod, ifname).run()
    }
}

/// The host part of an address as results and the kernel write it.
fn bare(address: &str) -> &str {
    address.split('/').next().unwrap()
}

#[test]
fn bridge_gives_the_kernel_the_address_the_gateway_and_the_routes() {
    let Some(host) = Host::for_test("bridge_gives_the_kernel_the_address_the_gateway_and_the_routes", &["bridge"])
    else {
        return;
    };
    let routes = json!([{ "dst": "0.0.0.0/0" }, { "dst": "10.199.0.0/16", "gw": "10.1.0.9" }]);
    let network = host.bridge(json!({ "subnet": "10.1.0.0/24", "routes": routes }));
    let pod = host.world.pod("web-1").unwrap();
    let given = network.add(&pod, "eth0").address();

    assert_eq!(pod.addresses("eth0").unwrap(), [given.as_str()]);
    let kernel = pod.run("ip route show").unwrap();
    for route in ["default via 10.1.0.1 dev eth0", "10.199.0.0/16 via 10.1.0.9 dev eth0"] {
        assert!(kernel.contains(route), "no {route}: {kernel}");
    }
    assert!(host.world.run("ip address show dev kipam-br0").unwrap().contains("10.1.0.1/24"));
    pod.ping("10.1.0.1").unwrap();
}

#[test]
fn pods_on_a_bridge_and_on_a_macvlan_reach_each_other() {
    let test = "pods_on_a_bridge_and_on_a_macvlan_reach_each_other";
    let Some(host) = Host::for_test(test, &["bridge", "macvlan"]) else { return };
    let pods = ["web-1", "web-2"].map(|name| host.world.pod(name).unwrap());
    for (network, ifname) in [
        (host.bridge(json!({ "subnet": "10.1.0.0/24" })), "eth0"),
        (host.macvlan(json!({ "subnet": "10.188.0.0/16" })), "net1"),
    ] {
        let [one, two] = pods.map(|pod| network.add(&pod, ifname).address());
        assert_ne!(one, two);
        pods[0].ping(bare(&two)).unwrap();
        pods[1].ping(bare(&one)).unwrap();
    }
}

#[test]
fn ptp_routes_through_the_gateway_that_kube_ipam_names() {
    let Some(host) = Host::for_test("ptp_routes_through_the_gateway_that_kube_ipam_names", &["ptp"]) else { return };
    let network = host.ptp(json!({ "subnet": "10.1.0.0/24", "gateway": "10.1.0.254" }));
    let pod = host.world.pod("web-1").unwrap();
    let given = network.add(&pod, "eth0").ok().addresses();
    assert_eq!(pod.addresses("eth0").unwrap(), given);
    pod.ping("10.1.0.254").unwrap();
    host.world.run(&format!("ping -n -q -c 1 -w 5 {}", bare(&given[0]))).unwrap();
}

#[test]
fn dual_stack_interfaces_have_both_addresses_and_both_answer() {
    let Some(host) = Host::for_test("dual_stack_interfaces_have_both_addresses_and_both_answer", &["bridge"]) else {
        return;
    };
    let network = host.bridge(json!({ "ranges": [[{ "subnet": "10.1.0.0/24" }], [{ "subnet": "fd00:1::/64" }]] }));
    let pods = ["web-1", "web-2"].map(|name| host.world.pod(name).unwrap());
    let given = pods.map(|pod| network.add(&pod, "eth0").ok().addresses());
    for (pod, addresses) in pods.iter().zip(&given) {
        let (mut kernel, mut result) = (pod.addresses("eth0").unwrap(), addresses.clone());
        kernel.sort();
        result.sort();
        assert_eq!(kernel, result);
    }
    for address in &given[1] {
        pods[0].ping(bare(address)).unwrap();
    }
}

#[test]
fn a_fixed_address_reaches_the_kernel_however_it_was_requested() {
    let test = "a_fixed_address_reaches_the_kernel_however_it_was_requested";
    let Some(host) = Host::for_test(test, &["macvlan"]) else { return };
    let network = host.macvlan(json!({
        "subnet": "10.188.0.0/16", "fixedStart": "10.188.0.10", "fixedEnd": "10.188.0.255",
        "rangeStart": "10.188.1.0", "rangeEnd": "10.188.255.254",
    }));
    let pods = ["db-0", "db-1", "db-2"].map(|name| host.world.pod(name).unwrap());
    network.call("ADD", &pods[0], "net1").args("IgnoreUnknown=1;IP=10.188.0.210").run().ok();
    network.with("args", json!({ "cni": { "ips": ["10.188.0.211/16"] } })).add(&pods[1], "net1").ok();
    network.with("runtimeConfig", json!({ "ips": ["10.188.0.212"] })).add(&pods[2], "net1").ok();
    for (pod, last) in pods.iter().zip(210..) {
        assert_eq!(pod.addresses("net1").unwrap(), [format!("10.188.0.{last}/16")]);
    }
    pods[0].ping("10.188.0.211").unwrap();
    pods[2].ping("10.188.0.210").unwrap();
}

#[test]
fn a_held_fixed_address_is_refused_its_holder_named_and_no_link_left() {
    let test = "a_held_fixed_address_is_refused_its_holder_named_and_no_link_left";
    let Some(host) = Host::for_test(test, &["bridge", "macvlan", "ptp"]) else { return };
    for (n, network) in [host.bridge(json!({})), host.macvlan(json!({})), host.ptp(json!({}))].into_iter().enumerate() {
        let mut fixed = network.with("runtimeConfig", json!({ "ips": ["10.1.0.77"] }));
        fixed.config["ipam"]["subnet"] = json!("10.1.0.0/24");
        fixed.config["ipam"]["vrf"] = json!(format!("vrf-{n}"));
        let (holder, second) = (format!("holder-{n}"), format!("second-{n}"));
        let [holder, second] = [&holder, &second].map(|name| host.world.pod(name).unwrap());
        fixed.add(&holder, "eth0").ok();

        let text = fixed.add(&second, "eth0").refused().text();
        assert!(text.contains("10.1.0.77") && text.contains(holder.name), "{text}");
        // Some main plugins leave the link of a failed ADD to the DEL that a runtime sends after it.
        fixed.del(&second, "eth0").ok();
        assert_eq!(second.links().unwrap(), Vec::<String>::new(), "{}", fixed.config["type"]);
        assert_eq!(holder.addresses("eth0").unwrap().len(), 1);
        let third = fixed.add(&second, "eth0").refused();
        assert!(third.text().contains(holder.name), "the DEL of a refused ADD freed the address: {}", third.text());
    }
}

#[test]
fn a_rebuilt_pod_has_its_fixed_address_again() {
    let Some(host) = Host::for_test("a_rebuilt_pod_has_its_fixed_address_again", &["macvlan"]) else { return };
    let network = host.macvlan(json!({ "subnet": "10.188.0.0/16" }));
    let fixed = network.with("runtimeConfig", json!({ "ips": ["10.188.0.218"] }));
    for container in ["db-0-first", "db-0-second", "db-0-third"] {
        let pod = host.world.pod(container).unwrap();
        fixed.add(&pod, "net1").ok();
        assert_eq!(pod.addresses("net1").unwrap(), ["10.188.0.218/16"]);
        fixed.del(&pod, "net1").ok();
        assert_eq!(pod.links().unwrap(), Vec::<String>::new());
    }
}

#[test]
fn a_del_frees_the_address_also_when_the_namespace_is_gone() {
    let test = "a_del_frees_the_address_also_when_the_namespace_is_gone";
    let Some(host) = Host::for_test(test, &["bridge", "macvlan", "ptp"]) else { return };
    let one = |n| json!({ "subnet": "10.1.0.0/24", "rangeStart": "10.1.0.5", "rangeEnd": "10.1.0.5", "vrf": n });
    for network in [host.bridge(one("bridge")), host.macvlan(one("macvlan")), host.ptp(one("ptp"))] {
        for container in ["pod-1", "pod-2"] {
            let pod = host.world.pod(container).unwrap();
            assert_eq!(bare(&network.add(&pod, "eth0").address()), "10.1.0.5");
            host.world.run(&format!("ip netns delete {container}")).unwrap();
            network.del(&pod, "eth0").ok();
            network.del(&pod, "eth0").ok();
        }
    }
}

#[test]
fn a_check_by_the_main_plugin_holds_the_kernel_and_kube_ipam_to_the_result() {
    let test = "a_check_by_the_main_plugin_holds_the_kernel_and_kube_ipam_to_the_result";
    let Some(host) = Host::for_test(test, &["bridge", "macvlan", "ptp"]) else { return };
    let block = |n| json!({ "subnet": "10.1.0.0/24", "vrf": n });
    for network in [host.bridge(block("bridge")), host.macvlan(block("macvlan")), host.ptp(block("ptp"))] {
        let kind = network.config["type"].as_str().unwrap().to_owned();
        let pod = host.world.pod(&kind).unwrap();
        let given = network.add(&pod, "eth0").ok();
        let checked = network.with("prevResult", given.document.clone());
        assert_eq!(checked.call("CHECK", &pod, "eth0").run().ok().stdout, "");
        network.call("CHECK", &pod, "eth0").run().refused();

        // The link stays and the address is freed behind its back: only kube-ipam knows.
        let released = host.node.call("DEL").container(&kind).ifname("eth0").config(&network.config).run();
        released.ok();
        let text = checked.call("CHECK", &pod, "eth0").run().refused().text();
        assert!(text.contains(bare(&given.addresses()[0])), "{text}");
    }
}

#[test]
fn an_exhausted_range_leaves_the_second_pod_without_a_link() {
    let Some(host) = Host::for_test("an_exhausted_range_leaves_the_second_pod_without_a_link", &["macvlan"]) else {
        return;
    };
    let network = host.macvlan(json!({ "subnet": "10.1.0.0/24", "rangeStart": "10.1.0.5", "rangeEnd": "10.1.0.5" }));
    let [one, two] = ["db-0", "db-1"].map(|name| host.world.pod(name).unwrap());
    network.add(&one, "net1").ok();
    network.add(&two, "net1").refused();
    network.del(&two, "net1").ok();
    assert_eq!(two.links().unwrap(), Vec::<String>::new());
    assert_eq!(one.addresses("net1").unwrap(), ["10.1.0.5/24"]);
}
