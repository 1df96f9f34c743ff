//! Holders without a cluster: to which of them a sweep adds its own.

use super::{add, observe, rules, scan};
use crate::ipam::cluster::ClusterIdentity;
use crate::ipam::decide::tests::world::World;
use crate::ipam::sweep::unnamed;

#[test]
fn only_a_pod_that_is_listed_by_its_uid_is_known_to_be_of_this_cluster() {
    struct Case {
        what: &'static str,
        uid: &'static str,
        named: bool,
        listed: Option<&'static [(&'static str, &'static str)]>,
        adopted: bool,
    }
    const HERE: Option<&[(&str, &str)]> = Some(&[("db-0", "u-1"), ("db-0", "c0ffee")]);
    const ANOTHER_UID: Option<&[(&str, &str)]> = Some(&[("db-0", "u-2")]);
    let cases = [
        Case { what: "a pod that runs", uid: "u-1", named: false, listed: HERE, adopted: true },
        Case { what: "one that names its cluster", uid: "u-1", named: true, listed: HERE, adopted: false },
        Case { what: "another of its name", uid: "u-1", named: false, listed: ANOTHER_UID, adopted: false },
        Case { what: "without a list", uid: "u-1", named: false, listed: None, adopted: false },
        // Two clusters may run a static pod of the same manifest.
        Case { what: "a static pod", uid: "c0ffee", named: false, listed: HERE, adopted: false },
    ];
    for Case { what, uid, named, listed, adopted } in cases {
        let mut world = World::default();
        let mut call = add("c1", "db-0", uid, 1);
        if !named {
            call = call.in_cluster(ClusterIdentity::unknown("nobody told".to_owned()));
        }
        let given = world.give(&call);
        let seen = observe(&world, listed);
        let found: Vec<_> = unnamed(&seen).into_iter().map(|found| (found.ip, found.holders)).collect();
        assert_eq!(found, if adopted { vec![(given[0], vec![call.id.clone()])] } else { vec![] }, "{what}");
        // Before that, it is not judged.
        world.wait(600);
        let report = scan(&world, listed, &rules());
        assert_eq!(report.tally.of_unnamed_cluster, usize::from(!named), "{what}");
    }
}

#[test]
fn the_earlier_sandboxes_of_a_pod_go_though_the_later_one_alone_names_the_cluster() {
    let mut world = World::default();
    let unknown = || ClusterIdentity::unknown("nobody told".to_owned());
    world.give(&add("a", "db-0", "u-1", 10).in_cluster(unknown()));
    world.give(&add("b", "db-0", "u-1", 20));
    world.give(&add("c", "db-0", "u-1", 15).in_cluster(ClusterIdentity::known("another")));
    world.wait(600);
    let report = scan(&world, None, &rules());
    let gone: Vec<&str> =
        report.candidates.values().map(|candidate| candidate.holder.as_ref().unwrap().id.container.as_str()).collect();
    assert_eq!(gone, ["a"]);
}
