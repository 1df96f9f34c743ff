//! Requests by annotations: pools, addresses for one interface of the pod, netmasks and gateways.

use std::collections::BTreeSet;
use std::net::IpAddr;

use insta::assert_snapshot;

use super::world::{Call, World, addresses, cooling, holder, ip, network, range, subnet};
use crate::config::Network;
use crate::ipam::name::{AttachmentId, IfName};
use crate::ipam::range::{Range, RangeSet};

const POOL: &str = "10.0.0.20-10.0.0.22, 10.0.0.40";

fn pooled(container: &str, network: &Network) -> Call {
    Call::of(container, network).annotated(&[("kube-ipam.eth0.pool", POOL)])
}

fn beside(call: &Call, ifname: &str) -> Call {
    Call { id: AttachmentId { ifname: IfName::new(ifname).unwrap(), ..call.id.clone() }, ..call.clone() }
}

#[test]
fn a_pool_gives_all_of_its_addresses_and_then_none() {
    let mut world = World::default();
    let network = subnet("10.0.0.0/24");
    let given: BTreeSet<IpAddr> = (0..4).flat_map(|i| world.give(&pooled(&format!("c{i}"), &network))).collect();
    let all = ["10.0.0.20", "10.0.0.21", "10.0.0.22", "10.0.0.40"].map(ip);
    assert_eq!(given, BTreeSet::from(all));
    assert!(world.add(&pooled("c0", &network)).unwrap().repeated);
    let refusal = world.add(&pooled("c4", &network)).unwrap_err();
    assert!(refusal.is_passing());
    let text = refusal.to_string();
    assert_eq!(
        text.split("; among them").next(),
        Some(
            "no address is free in 10.0.0.20-10.0.0.22, 10.0.0.40 (annotation kube-ipam.eth0.pool): 4 addresses, 4 held"
        )
    );
}

#[test]
fn a_pool_gives_a_resting_address_at_once_also_where_cooldown_is_strict() {
    for strict in [false, true] {
        let mut world = World::default();
        let network = cooling(subnet("10.0.0.0/24"), 300, strict);
        // Others are in cooldown too, and come first in the index.
        for i in 0..40 {
            let other = Call::of(&format!("other-{i}"), &network);
            world.give(&other);
            world.del(&other.id);
        }
        let calls: Vec<Call> = (0..4).map(|i| pooled(&format!("c{i}"), &network)).collect();
        for call in &calls {
            world.give(call);
        }
        world.del(&calls[2].id);
        let allocation = world.add(&pooled("next", &network)).unwrap();
        assert!(allocation.before_cooldown_ended.is_empty(), "cooldown binds random choice only");
        assert!(world.add(&pooled("last", &network)).is_err());
    }
}

#[test]
fn a_released_address_of_a_pool_is_given_at_random_only_when_nothing_else_is_free() {
    let mut world = World::default();
    // 10.0.0.2 to 10.0.0.6 at random.
    let network = subnet("10.0.0.0/29");
    let call = Call::of("pooled", &network).annotated(&[("kube-ipam.eth0.pool", "10.0.0.4")]);
    world.give(&call);
    world.del(&call.id);
    let given: Vec<IpAddr> = (0..5).flat_map(|i| world.give(&Call::of(&format!("c{i}"), &network))).collect();
    assert_eq!(given.last(), Some(&ip("10.0.0.4")));
}

#[test]
fn an_unscoped_address_serves_one_interface_and_another_one_of_the_pod_gets_any() {
    let mut world = World::default();
    let network = subnet("10.0.0.0/24");
    let net1 = Call::of("c1", &network).annotated(&[("kube-ipam.ip", "10.0.0.7"), ("kube-ipam.gateway", "10.0.0.9")]);
    let first = world.add(&net1).unwrap();
    assert_eq!(addresses(&first), [ip("10.0.0.7")]);
    assert_eq!(first.attachment.addresses[0].gateway, Some(ip("10.0.0.9")));
    let net2 = beside(&net1, "net2");
    let second = world.add(&net2).unwrap();
    assert_ne!(addresses(&second), addresses(&first));
    assert_eq!(second.attachment.addresses[0].gateway, Some(ip("10.0.0.1")), "what was for the other is not for this");
    // Repeated ADDs get the same addresses.
    assert_eq!(addresses(&world.add(&net1).unwrap()), addresses(&first));
    assert_eq!(addresses(&world.add(&net2).unwrap()), addresses(&second));
    // Another pod is refused, and so is another interface that requests the address by its own annotation.
    assert_snapshot!(world.add(&Call { id: Call::of("c2", &network).id, ..net1.clone() }).unwrap_err(), @"10.0.0.7 is held by pod pod-c1, interface eth0, node n1, network net, since 2023-11-14T22:13:20Z; only its own node can tell whether it is gone, because its runtime did not fully identify its pod");
    let scoped = beside(&net1, "net3").annotated(&[("kube-ipam.net3.ip", "10.0.0.7")]);
    assert_snapshot!(world.add(&scoped).unwrap_err(), @"10.0.0.7 is held by pod pod-c1, interface eth0, node n1, network net, since 2023-11-14T22:13:20Z; the holder is another interface of the same pod");
}

#[test]
fn where_nothing_is_given_at_random_an_unscoped_address_does_not_yield() {
    let mut world = World::default();
    let all_fixed = Range { fixed: "10.0.0.0/24".parse().ok(), ..range("10.0.0.0/24") };
    let net1 = Call::of("c1", &network(vec![vec![all_fixed]])).annotated(&[("kube-ipam.ip", "10.0.0.7")]);
    world.give(&net1);
    assert_snapshot!(world.add(&beside(&net1, "net2")).unwrap_err(), @"10.0.0.7 is held by pod pod-c1, interface eth0, node n1, network net, since 2023-11-14T22:13:20Z; the holder is another interface of the same pod");
}

#[test]
fn an_overriding_gateway_is_not_given_to_the_interface_itself() {
    let mut world = World::default();
    // Only 10.0.0.2 is left beside the two gateways.
    let narrow = Range { window: "10.0.0.2-10.0.0.3".parse().unwrap(), ..range("10.0.0.0/29") };
    let network = Network { sets: vec![RangeSet::new(vec![narrow]).unwrap()], ..subnet("10.0.0.0/29") };
    let call = |container: &str| {
        let annotations = [("kube-ipam.eth0.gateway", "10.0.0.3"), ("kube-ipam.eth0.netmask", "255.255.255.0")];
        Call::of(container, &network).annotated(&annotations)
    };
    let allocation = world.add(&call("c1")).unwrap();
    assert_eq!(allocation.attachment.addresses[0].address.to_string(), "10.0.0.2/24");
    assert_eq!(allocation.attachment.addresses[0].gateway, Some(ip("10.0.0.3")));
    assert!(world.add(&call("c2")).is_err());
}

#[test]
fn a_refusal_says_what_the_pods_of_both_sides_have_in_common() {
    let network = subnet("10.0.0.0/24");
    let asking = |container: &str| Call::of(container, &network).annotated(&[("kube-ipam.eth0.ip", "10.0.0.7")]);
    let details = |first: Option<&str>, second: Option<&str>| {
        let mut world = World::default();
        let of = |container: &str, workload: Option<&str>| {
            let mut holder = holder(asking(container).id);
            holder.workload = workload.map(str::to_owned);
            asking(container).decision_of(holder).unwrap()
        };
        world.run(of("c1", first)).unwrap();
        crate::error::Error::from(world.ask(&asking("c2"), of("c2", second)).unwrap_err()).details()
    };
    let web = Some("Deployment web");
    assert_snapshot!(details(web, web), @"both pods belong to Deployment web, and one address serves one pod: let the old pod end before the new one starts (strategy Recreate, or a rolling update with maxSurge 0 and maxUnavailable 1), or give the replicas several addresses (annotation kube-ipam.<interface>.pool)");
    let other = details(web, Some("Deployment db"));
    assert_snapshot!(other, @"it becomes free when its runtime removes container c1 (`podman rm c1`); if node n1 has lost that container, free the address with `kube-ipam release 10.0.0.7 --yes`");
    assert_eq!(details(None, None), other);
    assert_eq!(details(web, None), other);
}
