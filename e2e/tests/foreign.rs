//! Hosts on the link that the store does not know, on networks with `probe: always`: real interfaces, and the real
//! answers of the kernels behind them, on each store.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test's verdict is a panic")]

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::process::{Command, Output};

use kube_ipam_e2e::api::{Api, NAMESPACE};
use kube_ipam_e2e::cni::{Call, Reply};
use kube_ipam_e2e::faketime::Faketime;
use kube_ipam_e2e::machines::{Machines, in_parallel};
use kube_ipam_e2e::node::Node;
use kube_ipam_e2e::world::{Pod, World};
use serde_json::{Value, json};

/// The variables that set a process's clock.
type Clock = Vec<(&'static str, String)>;

/// The machine's own.
const NOW: Clock = Vec::new();

/// How a pod's interface is on the segment.
#[derive(Clone, Copy, Debug)]
enum Link {
    Bridge,
    Macvlan,
}

/// A segment with pods and other hosts, and a node whose pods they are.
struct Segment {
    world: World,
    link: Link,
    node: Node,
}

/// Runs a case with each kind of link and on each store, as far as this machine has them. A call takes several requests
/// to the store in the API server, so that has only one kind of link.
fn on_each(test: &str, case: impl Fn(&Segment)) {
    for link in [Link::Bridge, Link::Macvlan] {
        let kubernetes = || matches!(link, Link::Bridge).then(|| Machines::kubernetes(test)).flatten();
        for machines in [Some(Machines::embedded()), Machines::etcd(test), kubernetes()].into_iter().flatten() {
            let Some(segment) = Segment::of(test, link, machines.node()) else { return };
            case(&segment);
        }
    }
}

impl Segment {
    /// `None`, and said so, where this machine has no namespaces.
    fn of(test: &str, link: Link, node: Node) -> Option<Self> {
        let world = World::for_test(test, &[])?;
        match link {
            Link::Bridge => world.bridge("kipam-br0").unwrap(),
            Link::Macvlan => world.cable("kipam-eth1", "kipam-wire").unwrap(),
        }
        Some(Self { world, link, node })
    }

    /// A namespace with an interface on the segment, which is down, as a main plugin leaves it.
    fn pod<'segment>(&'segment self, name: &'segment str) -> Pod<'segment> {
        match self.link {
            Link::Bridge => self.world.bridged_pod(name, "kipam-br0").unwrap(),
            Link::Macvlan => {
                let pod = self.world.pod(name).unwrap();
                let macvlan = format!("ip link add link kipam-eth1 name net1 netns {name} type macvlan mode bridge");
                self.world.run(&macvlan).unwrap();
                pod
            }
        }
    }

    /// A host that has these addresses, and that no store knows.
    fn host<'segment>(&'segment self, name: &'segment str, addresses: &[&str]) -> Pod<'segment> {
        let host = self.pod(name);
        host.has(addresses).unwrap();
        host
    }

    /// The call of a main plugin for a pod that it has given its interface, which requests these addresses. The store is
    /// where the test is.
    fn call(&self, ipam: &Value, ips: &[&str], pod: &Pod<'_>) -> Call {
        let enter: Vec<OsString> = self.world.enter().into_iter().filter(|option| option != "--net").collect();
        let network = self.node.network(ipam.clone()).with(json!({ "runtimeConfig": { "ips": ips } }));
        network.call("ADD", pod.name).netns(pod.netns()).ifname("net1").through(enter)
    }

    fn add(&self, ipam: &Value, ips: &[&str], pod: &Pod<'_>) -> Reply {
        self.call(ipam, ips, pod).run()
    }

    /// An ADD at a time of its own.
    fn add_at(&self, clock: &Clock, ipam: &Value, ips: &[&str], pod: &Pod<'_>) -> Reply {
        clock.iter().fold(self.call(ipam, ips, pod), |call, (name, value)| call.env(name, value)).run()
    }

    /// What a verb of the operator prints at this time.
    fn operator(&self, arguments: &[&str], clock: &Clock) -> Output {
        let mut command = Command::new(&self.node.plugin().path);
        command.env_clear().env("KUBE_IPAM_CONFIG", self.node.path("kube-ipam.json"));
        command.envs(clock.iter().cloned()).args(arguments).output().unwrap()
    }

    /// The foreign addresses that are listed, each with the MAC address of its host.
    fn foreign(&self) -> Vec<(String, String)> {
        let listed: Value = serde_json::from_slice(&self.operator(&["list", "-o", "json"], &NOW).stdout).unwrap();
        let foreign = listed.as_array().unwrap().iter().filter(|address| address["state"] == "foreign");
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        foreign.map(|address| (text(&address["address"]), text(&address["foreign"]["mac"]))).collect()
    }

    fn warnings(&self, of: &str) -> usize {
        self.node.log().lines().filter(|line| line.contains("WARN") && line.contains(of)).count()
    }
}

/// A network with `probe: always` and two addresses of each family.
fn two() -> Value {
    json!({
        "ranges": [
            [{ "subnet": "10.1.0.0/24", "rangeStart": "10.1.0.5", "rangeEnd": "10.1.0.6" }],
            [{ "subnet": "fd00:1::/64", "rangeStart": "fd00:1::5", "rangeEnd": "fd00:1::6" }],
        ],
        "probe": "always",
    })
}

fn mac(pod: &Pod<'_>) -> String {
    let link = pod.run("ip -oneline link show dev net1").unwrap();
    link.split("link/ether ").nth(1).unwrap().split_whitespace().next().unwrap().to_owned()
}

const FOUND: &str = "a host without a lease answers";

#[test]
fn a_host_that_answers_keeps_its_addresses_and_the_pod_gets_others() {
    on_each("a_host_that_answers_keeps_its_addresses_and_the_pod_gets_others", |segment| {
        let host = segment.host("host", &["10.1.0.5", "fd00:1::5"]);
        let given = segment.add(&two(), &[], &segment.pod("a")).ok().addresses();
        assert_eq!(given, ["10.1.0.6/24", "fd00:1::6/64"], "{:?}", segment.link);
        // The other candidate of each set was drawn as well, or not.
        let found = segment.foreign();
        assert!(found.iter().all(|(_, of)| *of == mac(&host)), "{found:?}");
        assert_eq!(segment.warnings(FOUND), found.len());
        let refused = segment.add(&two(), &[], &segment.pod("b")).refused();
        assert_eq!(refused.code(), 11);
        assert!(refused.text().contains("2 addresses, 1 held, 1 foreign"), "{}", refused.text());
        assert_eq!(segment.warnings(FOUND), segment.foreign().len());
    });
}

#[test]
fn a_request_for_an_address_of_a_host_is_refused_until_the_host_is_gone() {
    on_each("a_request_for_an_address_of_a_host_is_refused_until_the_host_is_gone", |segment| {
        for (name, subnet, address) in [("four", "10.1.0.0/24", "10.1.0.5"), ("six", "fd00:1::/64", "fd00:1::5")] {
            let ipam = json!({ "subnet": subnet, "probe": "always" });
            let host_name = format!("host-{name}");
            let (host, pod) = (segment.host(&host_name, &[address]), segment.pod(name));
            for _ in 0..2 {
                let refused = segment.add(&ipam, &[address], &pod).refused();
                assert_eq!(refused.code(), 11);
                let (text, mac) = (refused.text(), mac(&host));
                assert!(text.contains(&format!("can't use {address}: {mac} answers for it (network blue")), "{text}");
                assert!(text.contains(&format!("find {mac}")), "{text}");
            }
            assert!(segment.foreign().contains(&(address.to_owned(), mac(&host))));
            assert_eq!(segment.warnings(&format!("ip={address}")), 1, "{}", segment.node.log());
            host.run("ip link del net1").unwrap();
            assert!(segment.add(&ipam, &[address], &pod).address().starts_with(address));
        }
        assert_eq!(segment.node.records().len(), 2);
    });
}

#[test]
fn a_foreign_address_is_probed_again_after_an_hour_and_without_probe_it_is_free() {
    let test = "a_foreign_address_is_probed_again_after_an_hour_and_without_probe_it_is_free";
    let Some(faketime) = Faketime::or_skip(test) else { return };
    let clock = |text: &str| faketime.variables(text).to_vec();
    on_each(test, |segment| {
        let range = |probe: &str| {
            json!({ "subnet": "10.1.0.0/24", "rangeStart": "10.1.0.5", "rangeEnd": "10.1.0.5",
            "probe": probe })
        };
        let (host, pod) = (segment.host("host", &["10.1.0.5"]), segment.pod("pod"));
        let refused = |when: &str, probe: &str| {
            let refused = segment.add_at(&clock(when), &range(probe), &[], &pod).refused();
            assert!(refused.text().contains("1 foreign"), "{when}: {}", refused.text());
        };
        refused("+0", "always");
        for probe in ["always", ""] {
            refused("+3000s", probe);
        }
        // It still answers, and is written down for another hour.
        refused("+3700s", "always");
        refused("+7000s", "");
        host.run("ip link del net1").unwrap();
        refused("+7000s", "always");
        let probe = if matches!(segment.link, Link::Bridge) { "always" } else { "" };
        assert_eq!(segment.add_at(&clock("+7400s"), &range(probe), &[], &pod).address(), "10.1.0.5/24");
        assert_eq!(segment.foreign(), []);
    });
}

#[test]
fn what_is_foreign_is_shown_released_and_swept() {
    let test = "what_is_foreign_is_shown_released_and_swept";
    let Some(faketime) = Faketime::or_skip(test) else { return };
    on_each(test, |segment| {
        let (host, pod) = (segment.host("host", &["10.1.0.5"]), segment.pod("pod"));
        let refuse = || drop(segment.add(&two(), &["10.1.0.5"], &pod).refused());
        let text = |output: Output| {
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            String::from_utf8(output.stdout).unwrap()
        };
        refuse();
        let list = text(segment.operator(&["list", "--network", "blue"], &NOW));
        assert!(list.contains("foreign") && list.contains(&format!("host {}", mac(&host))), "{list}");
        let usage: Value = serde_json::from_str(&text(segment.operator(&["usage", "-o", "json"], &NOW))).unwrap();
        let foreign: u64 = usage.as_array().unwrap().iter().filter_map(|range| range["foreign"].as_u64()).sum();
        assert_eq!(foreign, 1, "{usage}");
        let metrics = text(segment.operator(&["usage", "-o", "prometheus"], &NOW));
        assert!(metrics.contains("state=\"foreign\""), "{metrics}");
        let released = text(segment.operator(&["release", "10.1.0.5", "--yes"], &NOW));
        assert!(released.contains(&mac(&host)) && released.contains("10.1.0.5 is free now"), "{released}");
        assert_eq!(segment.foreign(), []);
        refuse();
        if let Some(server) = segment.node.api_server() {
            // A cluster without pods looks like the wrong one.
            let spec = json!({ "containers": [{ "name": "main", "image": "none" }] });
            let pod = json!({ "metadata": { "name": "any" }, "spec": spec });
            server.create("/api/v1/namespaces/default/pods", &pod).unwrap();
        }
        for (clock, left) in [("+3000s", 1), ("+3700s", 0)] {
            text(segment.operator(&["sweep", "--interval", "10ms"], &faketime.variables(clock).to_vec()));
            assert_eq!(segment.foreign().len(), left, "{clock}");
        }
    });
}

#[test]
fn a_host_that_answers_for_all_addresses_is_reported_and_nothing_is_recorded_of_it() {
    on_each("a_host_that_answers_for_all_addresses_is_reported_and_nothing_is_recorded_of_it", |segment| {
        let router = segment.host("router", &["10.1.0.1"]);
        let four = json!({ "subnet": "10.1.0.0/24", "probe": "always" });
        // Linux's proxy ARP does not answer a probe, only who has an address already.
        for command in [
            "sysctl -qw net.ipv4.conf.all.proxy_arp=1",
            "sysctl -qw net.ipv4.ip_forward=1",
            "ip link add kipam-up type veth peer name kipam-down",
            "ip link set kipam-up up",
            "ip link set kipam-down up",
            "ip route replace 10.1.0.0/24 dev kipam-up",
        ] {
            router.run(command).unwrap();
        }
        segment.add(&four, &[], &segment.pod("a")).ok();
        assert_eq!(segment.foreign(), []);
        // A host that has all of the subnet answers, as the proxies of other systems do.
        router.run("ip link set lo up").unwrap();
        router.run("ip route replace local 10.1.0.0/24 dev lo").unwrap();
        let refused = segment.add(&four, &[], &segment.pod("b")).refused();
        assert_eq!(refused.code(), 11);
        let text = refused.text();
        assert!(text.contains(&format!("{} answers on net1 for every address", mac(&router))), "{text}");
        assert!(text.contains("proxy_arp"), "{text}");
        assert_eq!(segment.foreign(), []);
    });
}

#[test]
fn a_router_with_proxy_ndp_is_reported_and_nothing_is_recorded_of_it() {
    on_each("a_router_with_proxy_ndp_is_reported_and_nothing_is_recorded_of_it", |segment| {
        let router = segment.host("router", &["fd00:1::1"]);
        for command in [
            "sysctl -qw net.ipv6.conf.all.forwarding=1",
            "sysctl -qw net.ipv6.conf.net1.proxy_ndp=1",
            "sysctl -qw net.ipv6.neigh.net1.proxy_delay=0",
        ] {
            router.run(command).unwrap();
        }
        let addresses = ["fd00:1::5", "fd00:1::6", "fd00:1::7"];
        for address in addresses {
            router.run(&format!("ip -6 neigh add proxy {address} dev net1")).unwrap();
        }
        let six = json!({ "subnet": "fd00:1::/64", "rangeStart": "fd00:1::5", "rangeEnd": "fd00:1::7",
            "probe": "always" });
        let text = segment.add(&six, &[], &segment.pod("a")).refused().text();
        assert!(text.contains(&format!("{} answers on net1 for every address", mac(&router))), "{text}");
        assert!(addresses.iter().all(|address| text.contains(address)), "{text}");
        assert_eq!(segment.foreign(), []);
    });
}

#[test]
fn of_several_that_probe_at_once_each_gets_an_address_and_none_is_taken_for_a_host() {
    on_each("of_several_that_probe_at_once_each_gets_an_address_and_none_is_taken_for_a_host", |segment| {
        let pods = ["a", "b"].map(|name| segment.pod(name));
        let three = json!({ "subnet": "10.1.0.0/24", "rangeStart": "10.1.0.5", "rangeEnd": "10.1.0.7",
            "probe": "always" });
        // Those that see each other may be refused, and try again as a runtime does.
        in_parallel(pods.len(), &pods, |pod| {
            let given = (0..20).map(|_| segment.add(&three, &[], pod)).find(|reply| reply.code() == 0);
            assert!(given.is_some(), "{} got none: {}", pod.name, segment.node.log());
        });
        let held: BTreeSet<String> = segment.node.held().into_iter().map(|(address, _)| address).collect();
        assert_eq!((held.len(), segment.foreign()), (2, vec![]));
    });
}

#[test]
fn where_the_link_can_t_be_probed_the_address_is_used_and_the_log_says_so() {
    on_each("where_the_link_can_t_be_probed_the_address_is_used_and_the_log_says_so", |segment| {
        let [none, ipvlan, unplugged] = ["none", "ipvlan", "unplugged"].map(|name| segment.world.pod(name).unwrap());
        segment.world.run("ip link add kipam-unplugged type veth peer name net1 netns unplugged").unwrap();
        let mut cases = vec![
            (&none, "there is no interface net1 in the network namespace yet"),
            (&unplugged, "net1 has no carrier"),
        ];
        segment.world.cable("kipam-eth2", "kipam-wire2").unwrap();
        // Not every kernel has ipvlans.
        if segment.world.run("ip link add link kipam-eth2 name net1 netns ipvlan type ipvlan mode l2").is_ok() {
            cases.push((&ipvlan, "net1 is an ipvlan"));
        }
        for (pod, why) in &cases {
            segment.add(&json!({ "subnet": "10.1.0.0/24", "probe": "always" }), &[], pod).ok();
            let log = segment.node.log();
            let mut skipped = log.lines().filter(|line| line.contains("using an address without a probe"));
            assert!(skipped.any(|line| line.contains(why)), "{log}");
        }
        assert_eq!(segment.node.held().len(), cases.len());
    });
}

#[test]
fn the_pod_that_meets_a_host_has_an_event_and_the_next_one_has_none() {
    on_each("the_pod_that_meets_a_host_has_an_event_and_the_next_one_has_none", |segment| {
        let api = Api::start().unwrap();
        let kubeconfig = api.kubeconfig_of(&segment.node).unwrap();
        segment.node.set_defaults(&json!({ "annotations": true, "kubeConfig": kubeconfig }));
        let host = segment.host("host", &["10.1.0.5"]);
        let range = json!({ "subnet": "10.1.0.0/24", "rangeStart": "10.1.0.5", "rangeEnd": "10.1.0.7",
            "probe": "always" });
        for name in ["a", "b"] {
            let uid = format!("{name}-uid");
            api.has(name, &uid, "Running", &json!({}));
            let args = format!("K8S_POD_NAMESPACE={NAMESPACE};K8S_POD_NAME={name};K8S_POD_UID={uid}");
            segment.call(&range, &[], &segment.pod(name)).args(&args).run().ok();
        }
        let found: Vec<Value> =
            api.events().into_iter().filter(|event| event["reason"] == "ForeignAddressFound").collect();
        assert_eq!(found.len(), segment.foreign().len());
        for event in &found {
            assert_eq!(event["type"], "Warning");
            let message = event["message"].as_str().unwrap();
            assert!(message.contains(&format!("10.1.0.5 is used by {}", mac(&host))), "{message}");
        }
    });
}
