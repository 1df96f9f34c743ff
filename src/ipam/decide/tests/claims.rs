//! Addresses of claims with and without a status, for pods one after the other and at the same time.

use insta::assert_snapshot;

use super::sticky::{holders, lease, lives, of_machine, on_node, sound};
use super::world::{CLUSTER, Call, World, addresses, attachment, ip, name, network, range, subnet};
use crate::config::Network;
use crate::error::Error;
use crate::ipam::claim::{Claim, ClaimStatus};
use crate::ipam::decide::{Allocation, GiveUpReason, StickyPolicy};
use crate::ipam::lease::AllocationKind;
use crate::ipam::name::{AttachmentId, IfName};
use crate::ipam::range::Range;
use crate::ipam::refusal::Refusal;
use crate::ipam::takeover::{GoneReason, InUseReason};

/// A claim of this UID.
fn claim(uid: &str) -> Claim {
    Claim {
        namespace: name("db"),
        name: name("vm1.data"),
        uid: uid.to_owned(),
        version: "7".to_owned(),
        generation: None,
        network: String::new(),
        interface: String::new(),
        status: ClaimStatus::default(),
    }
}

/// The claim after an ADD's addresses were written to its status.
fn with_status(claim: &Claim, allocation: &Allocation) -> Claim {
    let ips = allocation.attachment.addresses.iter().map(|assigned| assigned.address.to_string()).collect();
    Claim { status: ClaimStatus { ips: Some(ips), ..ClaimStatus::default() }, ..claim.clone() }
}

/// The ADD of a pod that names a claim.
pub(crate) fn naming(call: Call, claim: &Claim) -> Call {
    Call {
        sticky: Some(StickyPolicy { owner: claim.owner(Some(CLUSTER.to_owned())), ttl: None }),
        claim: Some(claim.clone()),
        ..call
    }
}

fn net() -> Network {
    subnet("10.0.0.0/24")
}

/// A network with random addresses 10.0.0.100 to 10.0.0.200, and fixed ones 10.0.0.10 to 10.0.0.20.
pub(crate) fn windowed() -> Network {
    network(vec![vec![Range {
        fixed: Some("10.0.0.10-10.0.0.20".parse().unwrap()),
        window: "10.0.0.100-10.0.0.200".parse().unwrap(),
        ..range("10.0.0.0/24")
    }]])
}

fn of_pod(container: &str, uid: &str, network: &Network) -> Call {
    Call::of(container, network).of_pod(&format!("pod-{container}"), uid, 1)
}

/// The text and details of a refusal.
fn text(refusal: Refusal) -> String {
    Error::from(refusal).full().to_string()
}

#[test]
fn the_next_pod_of_a_claim_has_its_address_whether_or_not_the_status_was_written() {
    for network in [net(), windowed()] {
        for written in [false, true] {
            let mut world = World::default();
            let empty = claim("o-1");
            let first = world.add(&naming(of_pod("a", "u-1", &network), &empty)).unwrap();
            assert_eq!((first.leases[0].1.kind, world.requests), (AllocationKind::Sticky, 2));
            world.del(&attachment("a"));
            sound(&world);
            world.wait(100_000);
            let now = if written { with_status(&empty, &first) } else { empty };
            let again = world.add(&naming(on_node(of_pod("b", "u-2", &network), "n2"), &now)).unwrap();
            assert_eq!(again.attachment.addresses, first.attachment.addresses, "with prefix length and gateway");
            assert!(world.requests <= 3, "{} requests", world.requests);
            sound(&world);
        }
    }
}

#[test]
fn a_repeated_add_has_the_same_before_and_after_the_status_was_written() {
    for network in [net(), windowed()] {
        let mut world = World::default();
        let first = world.add(&naming(of_pod("a", "u-1", &network), &claim("o-1"))).unwrap();
        for now in [claim("o-1"), with_status(&claim("o-1"), &first)] {
            let again = world.add(&naming(of_pod("a", "u-1", &network), &now)).unwrap();
            assert!(again.repeated);
            assert_eq!(addresses(&again), addresses(&first));
        }
        let mut edited = claim("o-1");
        edited.status.ips = Some(vec!["10.0.0.15/24".to_owned()]);
        let refusal = world.add(&naming(of_pod("a", "u-1", &network), &edited)).unwrap_err();
        assert!(matches!(refusal, Refusal::AlreadyHasOther { .. }), "{refusal}");
    }
}

#[test]
fn two_pods_that_have_nothing_to_do_with_each_other_do_not_share_a_claim() {
    for network in [net(), windowed()] {
        for filled in [false, true] {
            let mut world = World::default();
            let first = world.add(&naming(of_pod("a", "u-1", &network), &claim("o-1"))).unwrap();
            let [address] = addresses(&first)[..] else { panic!("{first:?}") };
            let now = if filled { with_status(&claim("o-1"), &first) } else { claim("o-1") };
            let second = |verdict| naming(of_pod("b", "u-2", &network), &now).with_pod_check("u-1", verdict);
            let refusal = world.add(&second(lives())).unwrap_err();
            assert!(matches!(&refusal, Refusal::Held { ip, .. } if *ip == address), "{refusal}");
            let text_without_address = text(refusal).replace(&address.to_string(), "<ip>");
            let holder = "<ip> is held by pod db/pod-a, interface eth0, node n1, network net, since";
            assert!(text_without_address.starts_with(holder), "{text_without_address}");
            // Once the first pod is gone, the second one gets it.
            assert_eq!(world.give(&second(Ok(GoneReason::NotFound))), [address]);
            sound(&world);
        }
    }
}

#[test]
fn two_pods_of_a_machine_share_its_claim_while_it_migrates() {
    for network in [net(), windowed()] {
        let mut world = World::default();
        let of = |container: &str, uid: &str, claim: &Claim| {
            let call = Call { network: network.clone(), ..of_machine(container, uid) };
            naming(call, claim).with_pod_check("u-1", lives()).with_pod_check("u-2", lives())
        };
        let source = world.add(&of("source", "u-1", &claim("o-1"))).unwrap();
        let now = with_status(&claim("o-1"), &source);
        let address = addresses(&source)[0].to_string();
        let target = world.add(&on_node(of("target", "u-2", &now), "n2")).unwrap();
        assert_eq!(target.attachment.addresses, source.attachment.addresses);
        assert_eq!(holders(&world, &address), ["source", "target"]);
        let third = world.add(&on_node(of("third", "u-3", &now), "n3")).unwrap_err();
        assert!(matches!(&third, Refusal::Held { why, .. } if **why == InUseReason::SeveralHolders), "{third}");
        // The migration fails, then the machine stops.
        world.del_written(&target);
        assert_eq!(holders(&world, &address), ["source"]);
        world.del_written(&source);
        assert!(lease(&world, &address).unwrap().unused.is_some());
        sound(&world);
        // It starts again. A pod of the machine without the claim does not get its address.
        let without = Call { network: network.clone(), ..of_machine("without", "u-4") };
        assert_ne!(world.give(&without), addresses(&source));
        assert_eq!(world.give(&of("again", "u-5", &now)), addresses(&source));
        sound(&world);
    }
}

#[test]
fn a_recreated_claim_takes_over_nothing_silently() {
    let mut world = World::default();
    let first = world.add(&naming(of_pod("a", "u-1", &net()), &claim("o-1"))).unwrap();
    let had = addresses(&first)[0];
    world.del(&attachment("a"));
    let stranger = of_pod("x", "u-9", &net()).requesting(&[&had.to_string()]);
    let refusal = text(world.add(&stranger).unwrap_err()).replace(&had.to_string(), "<ip>");
    assert_snapshot!(refusal, @"<ip> is reserved for IPAMClaim db/vm1.data, unused since 2023-11-14T22:13:20Z; it becomes free when that claim (UID o-1) is gone and a sweep has seen that; `kube-ipam release <ip> --yes` frees it now");
    let anew = world.add(&naming(of_pod("b", "u-2", &net()), &claim("o-2"))).unwrap();
    assert_ne!(addresses(&anew), [had]);
    // The ADD that has read this claim ends the reservation of the earlier one.
    let [given_up] = &anew.given_up[..] else { panic!("{anew:?}") };
    assert_eq!((given_up.ip, given_up.reason, given_up.owner.uid.as_str()), (had, GiveUpReason::OwnerReplaced, "o-1"));
    assert!(lease(&world, &had.to_string()).unwrap().rest.is_some());
    assert_eq!(world.give(&stranger), [had]);
    sound(&world);
}

#[test]
fn a_claim_that_was_restored_under_another_uid_gets_what_its_status_says() {
    for network in [net(), windowed()] {
        let mut world = World::default();
        let first = world.add(&naming(of_pod("a", "u-1", &network), &claim("o-1"))).unwrap();
        let restored = || naming(of_pod("b", "u-2", &network), &with_status(&claim("o-2"), &first));
        // A pod that is alive keeps its address, whatever happens to its claim.
        let refusal = world.add(&restored().with_pod_check("u-1", lives())).unwrap_err();
        assert!(matches!(&refusal, Refusal::Held { .. }), "{refusal}");
        world.del(&attachment("a"));
        let allocation = world.add(&restored()).unwrap();
        assert_eq!(allocation.attachment.addresses, first.attachment.addresses);
        assert_eq!(allocation.leases[0].1.owner.as_ref().unwrap().uid, "o-2");
        sound(&world);
        // The same after a pod that ended without a DEL.
        let again = naming(of_pod("c", "u-3", &network), &with_status(&claim("o-3"), &first));
        let allocation = world.add(&again.with_pod_check("u-2", Ok(GoneReason::NotFound))).unwrap();
        assert_eq!((addresses(&allocation), allocation.taken_over.len()), (addresses(&first), 1));
        sound(&world);
    }
}

#[test]
fn what_an_earlier_claim_had_is_given_to_the_next_one_where_nothing_else_is_free() {
    let one = subnet("10.0.0.0/30");
    let mut world = World::default();
    assert_eq!(world.give(&naming(of_pod("a", "u-1", &one), &claim("o-1"))), [ip("10.0.0.2")]);
    let anew = naming(of_pod("b", "u-2", &one), &claim("o-2"));
    assert!(matches!(world.add(&anew), Err(Refusal::Exhausted { .. })));
    world.del(&attachment("a"));
    assert!(matches!(world.add(&of_pod("x", "u-9", &one)), Err(Refusal::Exhausted { .. })));
    assert_eq!(world.give(&anew), [ip("10.0.0.2")]);
    sound(&world);
}

#[test]
fn a_claims_next_pod_is_not_bound_by_a_pod_of_an_earlier_claim() {
    let mut world = World::default();
    let had = world.give(&naming(of_pod("a", "u-1", &net()), &claim("o-1")))[0];
    let anew = world.add(&naming(of_pod("b", "u-2", &net()), &claim("o-2")).with_pod_check("u-1", lives())).unwrap();
    assert!(addresses(&anew)[0] != had && anew.given_up.is_empty());
    assert_eq!(holders(&world, &had.to_string()), ["a"]);
    sound(&world);
}

#[test]
fn outside_the_window_for_fixed_addresses_a_status_gives_only_what_the_store_keeps_for_the_claim() {
    let mut world = World::default();
    let first = world.add(&naming(of_pod("a", "u-1", &windowed()), &claim("o-1"))).unwrap();
    world.del(&attachment("a"));
    let held = world.give(&of_pod("x", "u-9", &windowed()));
    let filled = |uid: &str, address: &str| {
        let mut claim = claim(uid);
        claim.status.ips = Some(vec![format!("{address}/24")]);
        naming(of_pod("b", "u-2", &windowed()), &claim).with_pod_check("u-9", Ok(GoneReason::NotFound))
    };
    let own = addresses(&first)[0].to_string();
    let free = (100..=200).map(|i| format!("10.0.0.{i}")).find(|text| *text != own && ip(text) != held[0]).unwrap();
    let before = world.state.clone();
    for (uid, address) in [("o-1", free.as_str()), ("o-1", &held[0].to_string()), ("o-2", free.as_str())] {
        let refusal = world.add(&filled(uid, address)).unwrap_err();
        assert!(!refusal.is_passing());
        let text_without_address = text(refusal).replace(address, "<ip>");
        assert_eq!(
            text_without_address,
            "<ip> is in the status of IPAMClaim db/vm1.data, but the store does not reserve it for that claim, and it \
             is outside the window for fixed addresses (fixedStart, fixedEnd); to have another address instead, \
             clear status.ips of IPAMClaim db/vm1.data (`kubectl edit --subresource=status`)"
        );
        assert_eq!(world.state, before);
    }
    // Inside the window, it is an ordinary request. The same commit gives the claim's former address up.
    assert_eq!(world.give(&filled("o-1", "10.0.0.15")), [ip("10.0.0.15")]);
    assert!(lease(&world, &own).unwrap().rest.is_some());
    sound(&world);
}

#[test]
fn what_a_claim_was_given_by_name_or_of_a_pool_stays_its_own() {
    for (key, value) in [("kube-ipam.eth0.ip", "10.0.0.7"), ("kube-ipam.eth0.pool", "10.0.0.7-10.0.0.9")] {
        let mut world = World::default();
        let of = |container: &str, uid: &str, claim: &Claim| {
            naming(of_pod(container, uid, &net()), claim).annotated(&[(key, value)])
        };
        let first = world.add(&of("a", "u-1", &claim("o-1"))).unwrap();
        world.del(&attachment("a"));
        let other = of_pod("b", "u-2", &net()).requesting(&[&addresses(&first)[0].to_string()]);
        assert!(matches!(world.add(&other), Err(Refusal::Reserved { .. })));
        for now in [claim("o-1"), with_status(&claim("o-1"), &first)] {
            assert_eq!(world.give(&of("c", "u-3", &now)), addresses(&first));
            world.del(&attachment("c"));
        }
        // It stays so when no pod requests it any longer.
        assert_eq!(world.give(&naming(of_pod("d", "u-4", &net()), &claim("o-1"))), addresses(&first));
        sound(&world);
    }
}

#[test]
fn a_claim_has_one_address_of_each_set_and_gets_what_it_lacks() {
    let mut world = World::default();
    let first = world.add(&naming(of_pod("a", "u-1", &net()), &claim("o-1"))).unwrap();
    world.del(&attachment("a"));
    // The network is dual-stack now.
    let dual = network(vec![vec![range("10.0.0.0/24")], vec![range("fd00::/64")]]);
    let second = world.add(&naming(of_pod("b", "u-2", &dual), &with_status(&claim("o-1"), &first))).unwrap();
    assert_eq!(addresses(&second)[0], addresses(&first)[0]);
    world.del(&attachment("b"));
    let third = world.add(&naming(of_pod("c", "u-3", &dual), &with_status(&claim("o-1"), &second))).unwrap();
    assert_eq!(third.attachment.addresses, second.attachment.addresses);
    sound(&world);
}

#[test]
fn a_second_interface_of_a_pod_does_not_share_a_claim_and_another_name_of_it_does_not_lose_it() {
    let mut world = World::default();
    let on = |container: &str, ifname: &str, claim: &Claim| {
        let call = naming(of_pod(container, container, &net()), claim);
        Call { id: AttachmentId { ifname: IfName::new(ifname).unwrap(), ..call.id.clone() }, ..call }
    };
    let first = world.add(&on("a", "net1", &claim("o-1"))).unwrap();
    let refusal = world.add(&on("a", "net2", &claim("o-1"))).unwrap_err();
    assert!(matches!(&refusal, Refusal::Held { why, .. } if **why == InUseReason::SameSandbox), "{refusal}");
    world.del_written(&first);
    // The pod's selection has another network before it now.
    assert_eq!(world.give(&on("b", "net2", &claim("o-1"))), addresses(&first));
    sound(&world);
}

#[test]
fn the_gateway_is_that_of_the_range_which_gave_the_address_first() {
    // Two ranges share a subnet. Only the second one would assign an address of the first on request.
    let low = Range {
        fixed: Some("10.0.0.10-10.0.0.20".parse().unwrap()),
        window: "10.0.0.100-10.0.0.101".parse().unwrap(),
        ..range("10.0.0.0/24")
    };
    let high = Range {
        window: "10.0.0.200-10.0.0.201".parse().unwrap(),
        gateway: Some(ip("10.0.0.254")),
        ..range("10.0.0.0/24")
    };
    let both = network(vec![vec![low, high]]);
    let mut world = World::default();
    let first = world.add(&naming(of_pod("a", "u-1", &both), &claim("o-1"))).unwrap();
    assert_eq!(first.attachment.addresses[0].gateway, Some(ip("10.0.0.1")));
    world.del(&attachment("a"));
    let again = world.add(&naming(of_pod("b", "u-2", &both), &with_status(&claim("o-1"), &first))).unwrap();
    assert_eq!(again.attachment.addresses, first.attachment.addresses);
}
