//! Addresses that an operator reserves by hand, case by case.

mod edits;
mod histories;
mod lost_replies;

use insta::assert_snapshot;

use super::claims::{naming, windowed};
use super::sticky::{holders, instance, lease, lives, of_machine, sound, sticky_call};
use super::world::{CLUSTER, Call, World, addresses, all_of, at, attachment, ip, name, subnet};
use crate::error::Error;
use crate::ipam::cluster::ClusterIdentity;
use crate::ipam::decide::{EditLeases, Edited, Evict, Evicted, LeaseEdit};
use crate::ipam::keys;
use crate::ipam::lease::{Beneficiary, Lease, LeaseState, ManualReservation, OnRelease, Stored, Unknown};
use crate::ipam::pod::Controller;
use crate::ipam::refusal::Refusal;
use crate::ipam::reservation::{OwnerError, OwnerKind};
use crate::ipam::takeover::{GoneReason, InUseReason};
use crate::store::Revision;

/// What an operator says at the beginning of the tests, for this object or for nobody.
fn said(object: &str) -> ManualReservation {
    ManualReservation {
        reason: "maintenance".parse().unwrap(),
        at: at(0),
        by: Some("ann@laptop".parse().unwrap()),
        ttl: None,
        beneficiary: (!object.is_empty()).then(|| object.parse().unwrap()),
        unknown: Unknown::new(),
    }
}

/// Reserves addresses without a lease, or in cooldown.
fn reserve(world: &mut World, ips: &[&str], manual: &ManualReservation) {
    let edits = ips.iter().map(|text| {
        let seen = seen(world, text);
        LeaseEdit::reserve(&name("default"), ip(text), seen.as_ref().map(|(at, lease)| (*at, lease)), manual.clone())
    });
    let edits: Vec<LeaseEdit> = edits.collect();
    assert_eq!(world.decide(&mut EditLeases::new(name("default"), edits)), Edited::Written);
    sound(world);
}

/// The lease of an address with its revision.
fn seen(world: &World, address: &str) -> Option<(Revision, Lease)> {
    let key = keys::lease(&name("default"), ip(address));
    let entry = super::world::entries(&world.state, "ip/").into_iter().find(|entry| entry.key == key)?;
    Some((entry.revision, Stored::read(&entry.value).known().unwrap()))
}

fn fixed(container: &str, pod: &str, uid: &str, address: &str) -> Call {
    Call::of(container, &subnet("10.0.0.0/24")).of_pod(pod, uid, 1).requesting(&[address])
}

/// The same call of a pod of StatefulSet pg.
fn in_set(call: Call) -> Call {
    let [kind, set, uid] = ["StatefulSet", "pg", "o-1"].map(str::to_owned);
    let controller = Some(Controller::from_reference("apps/v1", kind, set, uid));
    Call { controller, workload: Some("StatefulSet pg".to_owned()), ..call }
}

/// The address is reserved by hand, with what was said of it, and nobody holds it.
fn is_kept(world: &World, address: &str, manual: &ManualReservation) {
    let lease = lease(world, address).unwrap();
    assert_eq!(lease.state(), LeaseState::Reserved);
    assert_eq!(lease.manual.as_ref(), Some(manual));
    assert_eq!((lease.on_release, lease.owner), (OnRelease::Keep(None), None));
}

fn gone() -> Result<GoneReason, InUseReason> {
    Ok(GoneReason::NotFound)
}

#[test]
fn an_address_that_is_reserved_for_nobody_is_given_to_nobody() {
    let mut world = World::default();
    reserve(&mut world, &["10.0.0.5"], &said(""));
    let before = world.state.clone();
    let refusal = world.add(&fixed("a", "web", "u-1", "10.0.0.5")).unwrap_err();
    assert_snapshot!(refusal, @"10.0.0.5 is reserved by hand by ann@laptop since 2023-11-14T22:13:20Z: maintenance");
    assert_snapshot!(Error::from(refusal).details(), @"request another address; `kube-ipam move 10.0.0.5 --for OBJECT` gives the reservation to somebody else, and `kube-ipam release 10.0.0.5` ends it");
    assert_eq!(world.state, before);
    // At random, from a pool, and long after.
    world.wait(1_000_000);
    let small = subnet("10.0.0.0/29");
    let given = all_of(&mut world, &small);
    assert!(given.len() == 4 && !given.contains(&ip("10.0.0.5")), "{given:?}");
    let refusal = world.add(&Call::of("z", &small)).unwrap_err();
    assert!(refusal.to_string().contains("5 addresses, 4 held, 1 reserved"), "{refusal}");
    let pool = Call::of("p", &small).annotated(&[("kube-ipam.eth0.pool", "10.0.0.5-10.0.0.6")]);
    assert!(matches!(world.add(&pool), Err(Refusal::Exhausted { .. })));
    is_kept(&world, "10.0.0.5", &said(""));
    sound(&world);
}

#[test]
fn a_reservation_costs_other_pods_no_request() {
    let mut world = World::default();
    reserve(&mut world, &["10.0.0.5"], &said("db/web"));
    world.give(&Call::of("a", &subnet("10.0.1.0/24")));
    assert_eq!(world.requests, 1);
}

#[test]
fn the_object_for_which_it_is_reserved_gets_it_by_asking_and_leaves_it_reserved() {
    let claim = |call: Call| sticky_call(call, super::sticky::owner(OwnerKind::IpamClaim, "data", None));
    let pool = |call: Call| Call { ips: Vec::new(), ..call }.annotated(&[("kube-ipam.eth0.pool", "10.0.0.5")]);
    let (web, other) = (|| fixed("a", "web", "u-1", "10.0.0.5"), || fixed("b", "other", "u-2", "10.0.0.5"));
    let member = |call: fn() -> Call| in_set(Call { pod: Some(super::world::pod("pg-3", "u-1")), ..call() });
    for (object, call, stranger) in [
        ("db/web", web(), other()),
        ("db/web", pool(web()), pool(other())),
        ("statefulset/db/pg", member(web), other()),
        ("statefulset/db/pg", pool(member(web)), in_set(pool(other()))),
        ("claim/db/data", claim(web()), claim(other())),
    ] {
        let mut world = World::default();
        reserve(&mut world, &["10.0.0.5"], &said(object));
        let is_claim = object.starts_with("claim");
        let stranger = if is_claim { other() } else { stranger };
        let stranger = Call { workload: None, ..stranger };
        world.add(&stranger).unwrap_err();
        let allocation = world.add(&call).unwrap_or_else(|refusal| panic!("{object}: {refusal}"));
        assert_eq!(addresses(&allocation), [ip("10.0.0.5")], "{object}");
        sound(&world);
        let held = lease(&world, "10.0.0.5").unwrap();
        assert_eq!((held.manual.as_ref(), held.on_release), (Some(&said(object)), OnRelease::Keep(None)), "{object}");
        assert_eq!(held.owner, None, "{object}");
        world.add(&stranger).unwrap_err();
        world.del_written(&allocation);
        is_kept(&world, "10.0.0.5", &said(object));
        sound(&world);
        world.add(&stranger).unwrap_err();
        // The pod is recreated under its name.
        let again = Call { id: attachment("again"), ..call.of_pod("pg-3", "u-9", 1) };
        let again = if object == "db/web" { again.of_pod("web", "u-9", 1) } else { again };
        assert_eq!(world.give(&again), [ip("10.0.0.5")], "{object}");
        world.del(&attachment("again"));
        is_kept(&world, "10.0.0.5", &said(object));
    }
}

#[test]
fn a_stateful_set_that_the_api_server_does_not_confirm_gets_nothing() {
    let mut world = World::default();
    reserve(&mut world, &["10.0.0.5"], &said("statefulset/db/pg"));
    let of = |check| Call { owner_check: check, ..in_set(fixed("a", "pg-0", "u-1", "10.0.0.5")) };
    let before = world.state.clone();
    for check in [None, Some(Err(OwnerError::NotFound)), Some(Err(OwnerError::NotChecked))] {
        let refusal = world.add(&of(check)).unwrap_err();
        assert!(matches!(refusal, Refusal::OwnerUnproven { .. }), "{refusal}");
    }
    let named_alike = Call { workload: Some("Deployment pg".to_owned()), ..of(Some(Ok(()))) };
    assert!(matches!(world.add(&named_alike), Err(Refusal::ReservedByHand { .. })));
    assert_eq!(world.state, before);
    world.give(&of(Some(Ok(()))));
}

#[test]
fn an_object_of_another_cluster_is_another_object() {
    let of_cluster = |cluster: Option<&str>| {
        let beneficiary: Beneficiary = "db/web".parse().unwrap();
        let beneficiary = Some(Beneficiary { cluster: cluster.map(str::to_owned), ..beneficiary });
        ManualReservation { beneficiary, ..said("") }
    };
    let here = || ClusterIdentity::known(CLUSTER);
    let unknown = || ClusterIdentity::unknown("the API server is down".to_owned());
    for (reserved_in, own, is_given) in [
        (Some(CLUSTER), here(), true),
        (Some("c-2"), here(), false),
        (Some("c-2"), here().formerly(&["c-2".to_owned()]), true),
        (Some(CLUSTER), unknown(), false),
        (None, here(), true),
        (None, unknown(), true),
    ] {
        let mut world = World::default();
        reserve(&mut world, &["10.0.0.5"], &of_cluster(reserved_in));
        let end = world.add(&fixed("a", "web", "u-1", "10.0.0.5").in_cluster(own.clone()));
        assert_eq!(end.is_ok(), is_given, "{reserved_in:?} {own:?}");
    }
}

#[test]
fn its_time_counts_from_the_reservation_and_use_does_not_extend_it() {
    let for_a_minute = ManualReservation { ttl: Some(60), ..said("db/web") };
    let other = || fixed("b", "other", "u-2", "10.0.0.5");
    let mut world = World::default();
    reserve(&mut world, &["10.0.0.5"], &for_a_minute);
    world.wait(30);
    let allocation = world.add(&fixed("a", "web", "u-1", "10.0.0.5")).unwrap();
    world.del_written(&allocation);
    world.wait(29);
    assert!(matches!(world.add(&other()), Err(Refusal::ReservedByHand { .. })));
    world.wait(1);
    let allocation = world.add(&other()).unwrap();
    assert_eq!(allocation.leases[0].1.manual, None);
    sound(&world);
    world.del_written(&allocation);
    assert_eq!(lease(&world, "10.0.0.5").unwrap().state(), LeaseState::Resting);
    // It ends while the pod has the address, which keeps it.
    let mut world = World::default();
    reserve(&mut world, &["10.0.0.5"], &for_a_minute);
    let allocation = world.add(&fixed("a", "web", "u-1", "10.0.0.5")).unwrap();
    world.wait(61);
    assert!(matches!(world.add(&other().with_pod_check("u-1", lives())), Err(Refusal::Held { .. })));
    world.del_written(&allocation);
    sound(&world);
    // Over, it is drawn at random when nothing else is free.
    assert_eq!(all_of(&mut world, &subnet("10.0.0.5/32")), [ip("10.0.0.5")]);
}

#[test]
fn the_pod_of_a_node_whose_clock_is_behind_waits_from_when_it_first_saw_the_reservation() {
    let mut world = World::default();
    reserve(&mut world, &["10.0.0.5"], &ManualReservation { at: at(500), ttl: Some(60), ..said("") });
    let call = || fixed("a", "web", "u-1", "10.0.0.5");
    assert!(world.add(&call()).is_err());
    world.wait(59);
    assert!(world.add(&call()).is_err());
    world.wait(1);
    world.give(&call());
}

#[test]
fn a_holder_that_is_gone_leaves_it_to_its_object_alone() {
    let mut world = World::default();
    reserve(&mut world, &["10.0.0.5"], &said("db/web"));
    world.give(&fixed("a", "web", "u-1", "10.0.0.5"));
    let other = fixed("b", "other", "u-2", "10.0.0.5").with_pod_check("u-1", gone());
    let refusal = world.add(&other).unwrap_err();
    assert_snapshot!(refusal, @"10.0.0.5 is held by pod db/web, interface eth0, node n1, network net, since 2023-11-14T22:13:20Z; that pod is gone, but its address is reserved by hand for pod db/web by ann@laptop since 2023-11-14T22:13:20Z: maintenance");
    assert_snapshot!(Error::from(refusal).details(), @"request another address; `kube-ipam move 10.0.0.5 --for OBJECT` gives the reservation to somebody else, and `kube-ipam release 10.0.0.5` ends it");
    // Nor at random, however often that is tried.
    for n in 0..5 {
        world.wait(1_000);
        let random = Call::of(&format!("r{n}"), &subnet("10.0.0.5/32")).with_pod_check("u-1", gone());
        assert!(matches!(world.add(&random), Err(Refusal::Exhausted { .. })));
    }
    let next = fixed("c", "web", "u-3", "10.0.0.5").with_pod_check("u-1", gone());
    let allocation = world.add(&next).unwrap();
    assert_eq!(allocation.leases[0].1.manual, Some(said("db/web")));
    // A later sandbox of the same pod.
    let mut later = fixed("d", "web", "u-3", "10.0.0.5");
    later.began.boottime = 2;
    world.give(&later);
    assert_eq!(holders(&world, "10.0.0.5"), ["d"]);
    sound(&world);
    world.del(&attachment("d"));
    is_kept(&world, "10.0.0.5", &said("db/web"));
}

#[test]
fn the_next_pod_of_an_owner_finds_it_without_asking() {
    let set = |container: &str, uid: &str| in_set(super::sticky::of_set(container, "pg-0", uid));
    let mut world = World::default();
    reserve(&mut world, &["10.0.0.5"], &said("statefulset/db/pg"));
    world.give(&set("a", "u-1").requesting(&["10.0.0.5"]));
    // While its other pod may live, it gets no second address.
    let refusal = world.add(&set("b", "u-2").with_pod_check("u-1", lives())).unwrap_err();
    assert!(matches!(refusal, Refusal::Held { .. } | Refusal::OwnerHoldsOther { .. }), "{refusal}");
    world.del(&attachment("a"));
    is_kept(&world, "10.0.0.5", &said("statefulset/db/pg"));
    assert_eq!(world.give(&set("c", "u-3")), [ip("10.0.0.5")]);
    world.del(&attachment("c"));
    is_kept(&world, "10.0.0.5", &said("statefulset/db/pg"));
    // Another of its pods asks for it meanwhile. The first one gets any other address then.
    let second = in_set(super::sticky::of_set("d", "pg-1", "u-4")).requesting(&["10.0.0.5"]);
    world.give(&second);
    assert_ne!(world.give(&set("e", "u-5").with_pod_check("u-4", lives())), [ip("10.0.0.5")]);
    sound(&world);
}

#[test]
fn pods_of_a_machine_share_it_and_leave_it_reserved() {
    let claim = super::sticky::owner(OwnerKind::IpamClaim, "data", None);
    let of = |container: &str, uid: &str| {
        let call = sticky_call(of_machine(container, uid), claim.clone());
        Call { controller: Some(instance("vm1")), ..call }.requesting(&["10.0.0.5"])
    };
    let mut world = World::default();
    reserve(&mut world, &["10.0.0.5"], &said("claim/db/data"));
    world.give(&of("source", "u-1"));
    world.give(&of("target", "u-2").with_pod_check("u-1", lives()));
    assert_eq!(holders(&world, "10.0.0.5"), ["source", "target"]);
    sound(&world);
    world.del(&attachment("source"));
    world.del(&attachment("target"));
    is_kept(&world, "10.0.0.5", &said("claim/db/data"));
    sound(&world);
}

#[test]
fn a_claims_status_gets_what_is_reserved_for_the_claim_outside_of_the_window() {
    let call = naming(Call::of("a", &windowed()).of_pod("vm", "u-1", 1), &super::world::claim(&["10.0.0.150"]));
    let mut world = World::default();
    let before = world.add(&call);
    assert!(before.is_err(), "{before:?}");
    reserve(&mut world, &["10.0.0.150"], &said("claim/db/vm1.data"));
    assert_eq!(world.give(&call), [ip("10.0.0.150")]);
}

#[test]
fn an_eviction_by_a_sweep_keeps_it_and_one_by_the_operator_ends_it() {
    let mut world = World::default();
    reserve(&mut world, &["10.0.0.5"], &said("db/web"));
    world.give(&fixed("a", "web", "u-1", "10.0.0.5"));
    let (revision, _) = seen(&world, "10.0.0.5").unwrap();
    let evict = Evict::new(name("default"), ip("10.0.0.5"), revision);
    assert!(matches!(world.decide(&mut evict.keeping_reservation()), Evicted::Freed(_)));
    is_kept(&world, "10.0.0.5", &said("db/web"));
    sound(&world);
    let (revision, _) = seen(&world, "10.0.0.5").unwrap();
    assert!(matches!(world.decide(&mut Evict::new(name("default"), ip("10.0.0.5"), revision)), Evicted::Freed(_)));
    assert_eq!(lease(&world, "10.0.0.5"), None);
    sound(&world);
}
