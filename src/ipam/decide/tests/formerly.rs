//! Reservations from a time when the cluster had another name, or none: they are found, and the next commit moves them.

use super::sticky::{lease, of_set};
use super::world::{CLUSTER, Call, World, attachment, contradictions};
use crate::ipam::cluster::ClusterIdentity;
use crate::ipam::decide::{Adopt, Adopted};
use crate::ipam::keys;
use crate::ipam::lease::Stored;
use crate::ipam::reservation::Reservation;
use crate::ipam::takeover::GoneReason;
use crate::store::Key;

fn unknown() -> ClusterIdentity {
    ClusterIdentity::unknown("nobody told".to_owned())
}

fn formerly(names: &[&str]) -> ClusterIdentity {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    ClusterIdentity::known(CLUSTER).formerly(&names)
}

/// Pod pg-0 of a StatefulSet with this UID, on a node with this identity of the cluster.
fn of_set_in(cluster: &ClusterIdentity, container: &str, set: &str) -> Call {
    let mut call = of_set(container, "pg-0", &format!("u-{container}")).in_cluster(cluster.clone());
    let owner = &mut call.sticky.as_mut().unwrap().owner;
    (owner.cluster, owner.uid) = (cluster.id().map(str::to_owned), set.to_owned());
    call
}

#[test]
fn what_was_reserved_under_another_name_of_the_cluster_is_found_and_moved() {
    struct Case {
        what: &'static str,
        before: ClusterIdentity,
        now: ClusterIdentity,
        set: &'static str,
        keeps: bool,
    }
    let case = |what, before, now, set, keeps| Case { what, before, now, set, keeps };
    let cases = [
        case("none named, of this very set", unknown(), formerly(&[]), "o-1", true),
        case("none named, and a set made anew", unknown(), formerly(&[]), "o-2", false),
        case("formerly none, and a set made anew", unknown(), formerly(&[""]), "o-2", true),
        case("formerly another name", ClusterIdentity::known("c-0"), formerly(&["x", "c-0"]), "o-2", true),
        case("another cluster", ClusterIdentity::known("c-0"), formerly(&[""]), "o-1", false),
        case("not known, as before", unknown(), unknown(), "o-2", true),
    ];
    for Case { what, before, now, set, keeps } in cases {
        let mut world = World::default();
        let kept = world.give(&of_set_in(&before, "a", "o-1"));
        world.del(&attachment("a"));
        let given = world.give(&of_set_in(&now, "b", set));
        assert_eq!(given == kept, keeps, "{what}");
        assert_eq!(world.keys("id/").len(), if keeps { 1 } else { 2 }, "{what}: {:?}", world.keys("id/"));
        assert_eq!(contradictions(&world.state), [""; 0], "{what}");
        // From then on, it is stored under the present name.
        world.del(&attachment("b"));
        assert_eq!(world.give(&of_set_in(&now, "c", set)), given, "{what}");
        assert!(world.requests <= 3, "{what}: {}", world.requests);
    }
}

#[test]
fn of_two_reservations_the_one_under_the_clusters_name_counts_and_the_other_is_given_up() {
    let mut world = World::default();
    let now = formerly(&[]);
    let [named, unnamed] = [&now, &unknown()].map(|cluster| {
        let mut call = of_set_in(cluster, "a", "o-1");
        // A node of an older version assigns it, and does not see the other reservation.
        call.cluster = ClusterIdentity::unknown(String::new());
        let given = world.give(&call);
        world.del(&attachment("a"));
        given
    });
    assert!(named != unnamed && world.keys("id/").len() == 2);
    assert_eq!(world.give(&of_set_in(&now, "b", "o-1")), named);
    assert_eq!(world.keys("id/").len(), 1);
    let given_up = lease(&world, &unnamed[0].to_string());
    assert!(given_up.is_none_or(|lease| lease.rest.is_some()), "it is nobody's");
    assert_eq!(contradictions(&world.state), [""; 0]);
}

#[test]
fn a_held_address_of_an_owner_s_pod_that_names_no_cluster_passes_once_that_is_gone() {
    let mut world = World::default();
    let kept = world.give(&of_set_in(&unknown(), "a", "o-1"));
    let next = of_set_in(&formerly(&[]), "b", "o-1");
    world.add(&next).unwrap_err();
    // The owner belongs to this cluster, and so does its pod.
    assert_eq!(world.give(&next.with_pod_check("u-a", Ok(GoneReason::NotFound))), kept);
    assert_eq!(contradictions(&world.state), [""; 0]);
}

#[test]
fn an_adopted_lease_names_the_cluster_in_all_that_belongs_to_it_and_is_freed_as_before() {
    let mut world = World::default();
    let call = of_set_in(&unknown(), "a", "o-1");
    let allocation = world.add(&call).unwrap();
    let address = allocation.leases[0].0;
    let adopt = |seen| Adopt::new(call.vrf.clone(), address, seen, vec![call.id.clone()], CLUSTER.to_owned());
    assert_eq!(world.decide(&mut adopt(allocation.revision)), Adopted::Named);
    let adopted = lease(&world, &address.to_string()).unwrap();
    assert_eq!(adopted.holders[0].cluster.as_deref(), Some(CLUSTER));
    assert_eq!(adopted.owner.unwrap().cluster.as_deref(), Some(CLUSTER));
    let [place] = <[String; 1]>::try_from(world.keys("id/")).unwrap();
    assert!(place.starts_with(&format!("id/default/{CLUSTER}/")), "{place}");
    let reserved: Reservation = match Stored::read(world.text(&Key::new(place)).unwrap().as_bytes()) {
        Stored::Known(reserved) => reserved,
        other => panic!("{other:?}"),
    };
    assert_eq!((reserved.owner.cluster.as_deref(), reserved.addresses), (Some(CLUSTER), vec![address]));
    assert!(world.text(&keys::attachment(&call.id)).unwrap().contains(CLUSTER));
    assert_eq!(contradictions(&world.state), [""; 0]);
    // With an outdated revision, nothing happens.
    let before = world.state.clone();
    assert_eq!((world.decide(&mut adopt(allocation.revision)), &world.state), (Adopted::Changed, &before));
    // Its DEL sees that the store contradicts its record, reads the entry, and releases the address.
    assert_eq!(world.del_written(&allocation).freed, [address]);
    assert_eq!(world.give(&of_set_in(&formerly(&[]), "b", "o-1")), [address]);
}
