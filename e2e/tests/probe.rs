//! Asking the wire before an address passes on (`takeover`): real interfaces, the real answers of the kernel of whoever
//! has the address, and the reference main plugins, in a world of their own.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test's verdict is a panic")]

use std::ffi::OsString;
use std::process::Command;

use kube_ipam_e2e::api::{Api, NAMESPACE};
use kube_ipam_e2e::cni::{Call, Reply};
use kube_ipam_e2e::faketime::Faketime;
use kube_ipam_e2e::node::{Node, Plugin, reference_plugins};
use kube_ipam_e2e::world::{Pod, World};
use serde_json::{Value, json};

const POD: &str =
    "IgnoreUnknown=1;K8S_POD_NAMESPACE=db;K8S_POD_NAME=db-0;K8S_POD_UID=0b4f6a52-3c1d-4b8e-9a53-0f6d8c1f1a11";
const V4: &str = "10.1.0.5";
const V6: &str = "fd00:1::5";

/// A machine with a bridge on which pods are neighbours.
struct Host {
    world: World,
    node: Node,
}

impl Host {
    /// `None`, and said so, where this machine has no namespaces or no such plugins.
    fn for_test(test: &str, mains: &[&str]) -> Option<Self> {
        let world = World::for_test(test, mains)?;
        world.bridge("kipam-br0").unwrap();
        Some(Self { world, node: Node::new(Plugin::kube_ipam()) })
    }

    /// A namespace with an interface on the bridge, which is down.
    fn pod<'host>(&'host self, name: &'host str) -> Pod<'host> {
        self.world.bridged_pod(name, "kipam-br0").unwrap()
    }

    /// A sandbox of which nothing is left but its interface, which has these addresses.
    fn leftover<'host>(&'host self, name: &'host str, addresses: &[&str]) -> Pod<'host> {
        let pod = self.pod(name);
        pod.has(addresses).unwrap();
        pod
    }

    /// The call of a main plugin, which has made its interface, for a sandbox of the one pod.
    fn ipam(&self, takeover: &str, ips: &[&str], pod: &Pod<'_>) -> Call {
        self.ipam_through(&[], takeover, ips, pod)
    }

    /// The same, by a program that is given the plugin as its last argument.
    fn ipam_through(&self, wrapper: &[&str], takeover: &str, ips: &[&str], pod: &Pod<'_>) -> Call {
        let network = self.node.network(json!({
            "ranges": [[{ "subnet": "10.1.0.0/24" }], [{ "subnet": "fd00:1::/64" }]], "takeover": takeover,
        }));
        let config = network.with(json!({ "runtimeConfig": { "ips": ips } })).config;
        let call = self.node.call("ADD").container(pod.name).netns(pod.netns()).ifname("net1").args(POD);
        call.config(&config).through(wrapper.iter().map(OsString::from)).within(&self.world)
    }

    /// A call of a main plugin for a sandbox of the one pod, which asks for one address.
    fn main(&self, verb: &str, main: &Value, takeover: &str, address: &str, pod: &Pod<'_>) -> Call {
        let subnet = if address == V4 { "10.1.0.0/24" } else { "fd00:1::/64" };
        self.main_on(verb, main, &json!({ "subnet": subnet, "takeover": takeover }), &[address], pod)
    }

    /// The same on a network with this block, which asks for these addresses.
    fn main_on(&self, verb: &str, main: &Value, ipam: &Value, ips: &[&str], pod: &Pod<'_>) -> Call {
        let mut config = self.node.network(ipam.clone()).config;
        config.as_object_mut().unwrap().extend(main.as_object().unwrap().clone());
        config["runtimeConfig"] = json!({ "ips": ips });
        let path = format!("{}:{}", self.node.plugin().folder().display(), reference_plugins().display());
        let call = Call::new(&reference_plugins().join(main["type"].as_str().unwrap()), verb)
            .env("CNI_PATH", path)
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .container(pod.name)
            .netns(pod.netns())
            .ifname("net1")
            .args(POD)
            .config(&config);
        self.node.equip(call).within(&self.world)
    }

    /// Ends what the store has of an address.
    fn release(&self, address: &str) {
        let mut command = Command::new(&self.node.plugin().path);
        command.env_clear().env("KUBE_IPAM_CONFIG", self.node.path("kube-ipam.json"));
        let output = command.args(["release", address, "--yes"]).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    fn holders(&self) -> Vec<String> {
        self.node.held().into_iter().map(|(_, holder)| holder.trim_end_matches("/net1").to_owned()).collect()
    }
}

fn mac(pod: &Pod<'_>) -> String {
    let link = pod.run("ip -oneline link show dev net1").unwrap();
    link.split("link/ether ").nth(1).unwrap().split_whitespace().next().unwrap().to_owned()
}

fn is_up(pod: &Pod<'_>) -> bool {
    let link = pod.run("ip -oneline link show dev net1").unwrap();
    link.split(['<', '>']).nth(1).unwrap().split(',').any(|flag| flag == "UP")
}

/// Refused since this one has the address.
fn refused_for(reply: Reply, address: &str, owner: &Pod<'_>) {
    let refused = reply.refused();
    assert_eq!(refused.code(), 11);
    let (text, mac) = (refused.text(), mac(owner));
    assert!(text.contains(&format!("can't take over {address}")), "{text}");
    assert!(text.contains(&format!("{mac} answers for it on net1")), "{text}");
    assert!(text.contains(&format!("find {mac} and stop it")), "{text}");
}

#[test]
fn an_address_that_answers_is_not_taken_over_and_the_refusal_names_who_answers() {
    let test = "an_address_that_answers_is_not_taken_over_and_the_refusal_names_who_answers";
    let Some(host) = Host::for_test(test, &[]) else { return };
    for (takeover, address, name) in [("probe", V4, "four"), ("probe-required", V6, "six")] {
        let names = ["old", "new", "up"].map(|which| format!("{which}-{name}"));
        let old = host.leftover(&names[0], &[address]);
        host.ipam(takeover, &[address], &old).run().ok();
        let before = host.node.held();
        for (name, is_set_up) in [(&names[1], false), (&names[2], true)] {
            let new = host.pod(name);
            if is_set_up {
                new.run("ip link set net1 up").unwrap();
            }
            refused_for(host.ipam(takeover, &[address], &new).run(), address, &old);
            assert_eq!(is_up(&new), is_set_up, "it is left as it was");
            assert_eq!(host.node.held(), before);
        }
        assert_eq!(host.node.records().len(), before.len() / 2);
    }
}

#[test]
fn an_address_that_nobody_has_is_taken_over_and_the_interface_is_left_as_it_was() {
    let test = "an_address_that_nobody_has_is_taken_over_and_the_interface_is_left_as_it_was";
    let Some(host) = Host::for_test(test, &[]) else { return };
    // A neighbour that has others.
    host.leftover("neighbour", &["10.1.0.6", "fd00:1::6"]);
    let pods = ["a", "b", "c"].map(|name| host.pod(name));
    pods[2].run("ip link set net1 up").unwrap();
    for pod in &pods {
        let was_up = is_up(pod);
        let given = host.ipam("probe-required", &[V4, V6], pod).run().ok().addresses();
        assert_eq!(given, ["10.1.0.5/24", "fd00:1::5/64"]);
        assert_eq!(is_up(pod), was_up);
        assert_eq!(host.holders(), [pod.name, pod.name]);
    }
    let log = host.node.log();
    assert!(log.contains("taken over from pod db/db-0") && !log.contains("WARN"), "{log}");
    // The first had nothing to ask about, and did not.
    let listened = log.lines().filter(|line| line.contains("wire_ms"));
    assert_eq!(listened.count(), 2, "{log}");
}

#[test]
fn what_is_gone_for_the_api_server_and_still_answers_keeps_its_address() {
    let test = "what_is_gone_for_the_api_server_and_still_answers_keeps_its_address";
    let Some(host) = Host::for_test(test, &[]) else { return };
    let api = Api::start().unwrap();
    let kubeconfig = api.kubeconfig(&host.node.path("")).unwrap();
    host.node.set_defaults(&json!({ "annotations": true, "kubeConfig": kubeconfig, "takeover": "probe" }));
    for pod in ["db-0", "db-1"] {
        api.has(pod, &format!("{pod}-uid"), "Running", &json!({ "kube-ipam.net1.ip": V4 }));
    }
    let network = host.node.network(json!({ "subnet": "10.1.0.0/24" }));
    // In the test's own network namespace, where the API server is, as on a node.
    let enter = host.world.enter().into_iter().filter(|option| option != "--net");
    let add = |pod: &Pod<'_>, name: &str| {
        let call = network.call("ADD", pod.name).netns(pod.netns()).ifname("net1").through(enter.clone());
        call.args(&format!("K8S_POD_NAMESPACE={NAMESPACE};K8S_POD_NAME={name};K8S_POD_UID={name}-uid")).run()
    };
    let (old, new) = (host.leftover("old", &[V4]), host.pod("new"));
    add(&old, "db-0").ok();
    // As long as it is there, the wire has nothing to say.
    assert!(add(&new, "db-1").refused().text().contains("that pod as Running"));
    assert!(!host.node.log().contains("wire_ms"), "{}", host.node.log());
    api.lost("db-0");
    refused_for(add(&new, "db-1"), V4, &old);
    assert_eq!(host.holders(), ["old"]);
    old.run("ip link set net1 down").unwrap();
    assert_eq!(add(&new, "db-1").address(), "10.1.0.5/24");
    assert_eq!(host.holders(), ["new"]);
    assert!(!is_up(&new));
    let log = host.node.log();
    assert!(log.contains("interface net1, node node-1, network blue, gone"), "{log}");
}

#[test]
fn without_probe_nothing_is_probed() {
    let Some(host) = Host::for_test("without_probe_nothing_is_probed", &[]) else { return };
    let old = host.leftover("old", &[V4]);
    host.ipam("api", &[V4], &old).run().ok();
    let new = host.pod("new");
    host.ipam("api", &[V4], &new).run().ok();
    assert!(!host.node.log().contains("wire_ms"), "{}", host.node.log());
}

#[test]
fn where_no_link_can_be_probed_probe_assigns_with_a_warning_and_probe_required_refuses() {
    let test = "where_no_link_can_be_probed_probe_assigns_with_a_warning_and_probe_required_refuses";
    let Some(host) = Host::for_test(test, &[]) else { return };
    let none = host.world.pod("none").unwrap();
    let noarp = host.pod("noarp");
    noarp.run("ip link set net1 arp off").unwrap();
    let unplugged = host.pod("unplugged");
    host.world.run("ip link set kipam-unplugged down").unwrap();
    let gone = host.pod("gone");
    host.ipam("probe", &[V4, V6], &host.pod("first")).run().ok();
    for (n, (pod, netns, why)) in [
        (&none, none.netns(), "there is no interface net1 in the network namespace yet"),
        (&noarp, noarp.netns(), "net1 has no neighbours to probe"),
        (&unplugged, unplugged.netns(), "net1 has no carrier"),
        (&gone, "/run/netns/kube-ipam-none".to_owned(), "/run/netns/kube-ipam-none can't be entered"),
        (&gone, "/dev/null".to_owned(), "/dev/null can't be entered"),
    ]
    .into_iter()
    .enumerate()
    {
        let call =
            |takeover, container: &str| host.ipam(takeover, &[V4, V6], pod).netns(&netns).container(container).run();
        let before = host.node.held();
        let refused = call("probe-required", "refused").refused();
        assert_eq!(refused.code(), 11);
        let text = refused.text();
        assert!(text.contains("probing the link failed") && text.contains(why), "{text}");
        assert_eq!(host.node.held(), before);
        let container = format!("passes-{n}");
        call("probe", &container).ok();
        assert_eq!(host.holders(), [container.as_str(), container.as_str()]);
        let log = host.node.log();
        let mut skipped = log.lines().filter(|line| line.contains("using an address without a probe"));
        assert!(skipped.any(|line| line.contains(V4) && line.contains(why)), "{log}");
    }
    assert!(!is_up(&noarp) && !is_up(&unplugged));
}

#[test]
fn of_a_full_range_nothing_passes_from_who_still_answers() {
    let test = "of_a_full_range_nothing_passes_from_who_still_answers";
    let (Some(host), Some(faketime)) = (Host::for_test(test, &[]), Faketime::or_skip(test)) else { return };
    let api = Api::start().unwrap();
    let kubeconfig = api.kubeconfig(&host.node.path("")).unwrap();
    host.node.set_defaults(&json!({ "annotations": true, "kubeConfig": kubeconfig }));
    let network = host.node.network(json!({ "subnet": "10.1.0.0/24", "rangeStart": V4, "rangeEnd": V4 }));
    let add = |clock: &str, container: &str, name: &str, pod: &Pod<'_>| {
        let uid = format!("0b4f6a52-{name}");
        api.has(name, &uid, "Running", &json!({}));
        let args = format!("K8S_POD_NAMESPACE={NAMESPACE};K8S_POD_NAME={name};K8S_POD_UID={uid}");
        let call = network.call("ADD", container).netns(pod.netns()).ifname("net1").args(&args);
        let call = faketime.variables(clock).into_iter().fold(call, |call, (name, value)| call.env(name, value));
        // It finds the namespaces of the world by their names, and the API server in that of the test.
        call.through(host.world.enter().into_iter().filter(|word| word != "--net")).run()
    };
    let old = host.leftover("old", &[V4]);
    assert_eq!(add("+0", "old", "db-0", &old).address(), format!("{V4}/24"));
    api.lost("db-0");
    let new = host.pod("new");
    let text = add("+600s", "new-1", "db-1", &new).refused().text();
    assert!(text.contains("can go to another pod from"), "{text}");
    // It was deleted by force, and runs: its kernel answers, and `takeover` is `api`.
    let text = add("+700s", "new-2", "db-1", &new).refused().text();
    assert!(text.contains("1 held") && text.contains(&format!("{} answers for it on net1", mac(&old))), "{text}");
    assert_eq!(host.holders(), ["old"]);
    old.run("ip link del net1").unwrap();
    assert_eq!(add("+710s", "new-3", "db-1", &new).address(), format!("{V4}/24"));
    assert_eq!(host.holders(), ["new-3"]);
}

#[test]
fn without_the_right_to_probe_nothing_is_probed_and_the_interface_is_left_as_it_was() {
    let test = "without_the_right_to_probe_nothing_is_probed_and_the_interface_is_left_as_it_was";
    let Some(host) = Host::for_test(test, &[]) else { return };
    host.ipam("probe", &[V4, V6], &host.pod("old")).run().ok();
    let before = host.node.held();
    let new = host.pod("new");
    for (right, why) in [
        ("net_raw", "can't probe on net1: Operation not permitted"),
        ("net_admin", "can't set up net1: Operation not permitted"),
        ("sys_admin", "can't be entered: Operation not permitted"),
    ] {
        let without = format!("--bounding-set=-{right}");
        let call = host.ipam_through(&["setpriv", &without], "probe-required", &[V4, V6], &new);
        let text = call.run().refused().text();
        assert!(text.contains(why), "{text}");
        assert!(!is_up(&new));
        assert_eq!(host.node.held(), before);
    }
}

#[test]
fn what_an_earlier_sandbox_on_a_macvlan_or_a_bridge_still_uses_is_given_once_it_is_torn_down() {
    let test = "what_an_earlier_sandbox_on_a_macvlan_or_a_bridge_still_uses_is_given_once_it_is_torn_down";
    let Some(host) = Host::for_test(test, &["bridge", "macvlan"]) else { return };
    host.world.cable("kipam-eth1", "kipam-wire").unwrap();
    let macvlan = json!({ "type": "macvlan", "name": "db", "master": "kipam-eth1", "mode": "bridge" });
    let bridge = json!({ "type": "bridge", "name": "web", "bridge": "kipam-br1", "isGateway": true });
    for (case, main, address, given) in [
        ("macvlan-4", &macvlan, V4, "10.1.0.5/24"),
        ("macvlan-6", &macvlan, V6, "fd00:1::5/64"),
        ("bridge-4", &bridge, V4, "10.1.0.5/24"),
        ("bridge-6", &bridge, V6, "fd00:1::5/64"),
    ] {
        let names = ["old", "new", "next"].map(|name| format!("{name}-{case}"));
        let [old, new, next] = [0, 1, 2].map(|n| host.world.pod(&names[n]).unwrap());
        let main = |verb: &str, pod: &Pod<'_>| host.main(verb, main, "probe-required", address, pod).run();
        main("ADD", &old).ok();
        refused_for(main("ADD", &new), address, &old);
        main("DEL", &new).ok();
        assert_eq!(old.addresses("net1").unwrap(), [given]);
        // It goes without a DEL. The kernel ends a namespace when it has time to, and a link at once.
        old.run("ip link del net1").unwrap();
        host.world.run(&format!("ip netns del {}", old.name)).unwrap();
        assert_eq!(main("ADD", &next).address(), given);
        assert_eq!(next.addresses("net1").unwrap(), [given]);
        assert_eq!(host.holders(), [next.name]);
        main("DEL", &old).ok();
        assert_eq!(host.holders(), [next.name]);
        main("DEL", &next).ok();
        assert_eq!(host.holders(), [""; 0]);
    }
}

#[test]
fn with_ptp_which_makes_its_interface_later_probe_goes_on_and_probe_required_refuses() {
    let test = "with_ptp_which_makes_its_interface_later_probe_goes_on_and_probe_required_refuses";
    let Some(host) = Host::for_test(test, &["ptp"]) else { return };
    let main = json!({ "type": "ptp", "name": "point" });
    let [old, new] = ["old", "new"].map(|name| host.world.pod(name).unwrap());
    host.main("ADD", &main, "probe-required", V4, &old).run().ok();
    let text = host.main("ADD", &main, "probe-required", V4, &new).run().refused().text();
    assert!(text.contains("there is no interface net1 in the network namespace yet"), "{text}");
    host.main("ADD", &main, "probe", V4, &new).run().ok();
    assert_eq!(host.holders(), ["new"]);
    assert!(host.node.log().contains("using an address without a probe"), "{}", host.node.log());
}

#[test]
fn with_the_reference_plugins_a_pod_gets_and_uses_another_address_than_a_host() {
    let test = "with_the_reference_plugins_a_pod_gets_and_uses_another_address_than_a_host";
    let Some(host) = Host::for_test(test, &["bridge", "macvlan"]) else { return };
    host.world.cable("kipam-eth1", "kipam-wire").unwrap();
    let macvlan = json!({ "type": "macvlan", "name": "db", "master": "kipam-eth1", "mode": "bridge" });
    let bridge = json!({ "type": "bridge", "name": "web", "bridge": "kipam-br0" });
    // On the bridge of the host's other pods, and on the other end of the macvlans' cable.
    host.leftover("stranger", &[V4]);
    host.world.run("ip address add 10.1.0.5/24 dev kipam-wire").unwrap();
    for (name, main) in [("on-macvlan", &macvlan), ("on-bridge", &bridge)] {
        let pod = host.world.pod(name).unwrap();
        let range = json!({ "subnet": "10.1.0.0/24", "rangeStart": V4, "rangeEnd": "10.1.0.7", "probe": "always" });
        let call = |verb: &str| host.main_on(verb, main, &range, &[], &pod).run();
        let given = call("ADD").address();
        assert_ne!(given, format!("{V4}/24"), "{name}");
        assert_eq!(pod.addresses("net1").unwrap(), [given]);
        let refused = host.main_on("ADD", main, &range, &[V4], &host.world.pod(&format!("{name}-2")).unwrap()).run();
        assert!(refused.refused().text().contains(&format!("can't use {V4}")), "{name}");
        call("DEL").ok();
        // The two segments are none of each other's.
        host.release(V4);
    }
}
