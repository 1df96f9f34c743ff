//! Cases of one observation each.

use std::net::IpAddr;

use insta::assert_snapshot;

use super::{add, judged, lines, note, observe, rules, scan};
use crate::ipam::cluster::ClusterIdentity;
use crate::ipam::decide::tests::sticky::{of_set, sticky_machine, with_ttl};
use crate::ipam::decide::tests::world;
use crate::ipam::decide::tests::world::{Call, World, attachment, began, contradictions, entries, name, subnet};
use crate::ipam::decide::{Evict, Evicted};
use crate::ipam::keys;
use crate::ipam::lease::{self, Foreign, Lease, ManualReservation, Stored, Unknown};
use crate::ipam::name::{AttachmentId, IfName};
use crate::ipam::sweep::{Boots, Rules, Seen, SkipReason, find_leaks};
use crate::ipam::takeover::{GoneReason, InUseReason, Mac, PhaseSince};
use crate::store::{Key, Op, Txn};

/// Another pod, so that no list is empty.
const OTHER: (&str, &str) = ("other", "u-other");

/// A world in which a pod's container got 10.0.0.5 some time ago.
fn one(pod: &str, uid: &str, seconds: i64) -> World {
    let mut world = World::default();
    world.give(&add("c1", pod, uid, 100).requesting(&["10.0.0.5"]));
    world.wait(seconds);
    world
}

fn lease_key(address: &str) -> Key {
    keys::lease(&name("default"), world::ip(address))
}

/// Rewrites the lease of an address by hand.
fn rewrite_lease(world: &mut World, address: &str, change: impl FnOnce(&mut Lease)) {
    let text = world.text(&lease_key(address)).unwrap();
    let mut lease = Stored::<Lease>::read(text.as_bytes()).known().unwrap();
    change(&mut lease);
    world.put(lease_key(address), lease::write(&lease));
}

fn delete(world: &mut World, key: Key) {
    world.state.commit(&Txn::new(Vec::new(), vec![Op::Delete(key)], Vec::new()).unwrap());
}

#[test]
fn what_a_pod_holds_that_is_not_listed_goes_and_what_a_listed_one_holds_stays() {
    let world = one("db-0", "u-1", 600);
    assert_eq!(judged(&world, Some(&[OTHER, ("db-0", "u-1")])), [""; 0]);
    // Gone or replaced: the list does not show which.
    for pods in [vec![OTHER], vec![OTHER, ("db-0", "u-2")]] {
        assert_eq!(judged(&world, Some(&pods)), ["10.0.0.5 of c1 goes: its pod is not on the list of running pods"]);
    }
}

#[test]
fn without_a_list_or_with_an_empty_one_no_pod_is_missing() {
    let world = one("db-0", "u-1", 600);
    for pods in [None, Some([].as_slice())] {
        assert_eq!(judged(&world, pods), [""; 0]);
        assert_eq!(scan(&world, pods, &rules()).tally.not_asked, 1);
    }
}

#[test]
fn what_was_given_a_short_while_ago_stays_and_so_does_what_was_given_in_the_future() {
    // Edge case 30.
    for seconds in [0, 599, -1, -3600] {
        let world = one("db-0", "u-1", seconds);
        let young = ["10.0.0.5 of c1 stays: it has been held for less than the minimum age (sweep.minAge)"];
        assert_eq!(judged(&world, Some(&[OTHER])), young, "{seconds}");
    }
}

#[test]
fn a_holder_of_another_cluster_and_one_without_its_pod_s_full_name_are_never_judged() {
    let world = one("db-0", "u-1", 600);
    let foreign = Rules { cluster: ClusterIdentity::known("another"), ..rules() };
    let report = scan(&world, Some(&[OTHER]), &foreign);
    assert_eq!((lines(&report), report.tally.of_another_cluster), (vec![], 1));
    for without in [0, 1, 2, 3] {
        let mut world = one("db-0", "u-1", 600);
        rewrite_lease(&mut world, "10.0.0.5", |lease| {
            let pod = &mut lease.holders[0].pod;
            match without {
                0 => pod.namespace = None,
                1 => pod.name = None,
                2 => pod.uid = None,
                _ => pod.uid = Some(String::new()),
            }
        });
        delete(&mut world, keys::attachment(&attachment("c1")));
        let report = scan(&world, Some(&[OTHER]), &rules());
        assert_eq!((lines(&report), report.tally.without_a_pod), (vec![], 1));
    }
}

#[test]
fn a_static_pod_whose_mirror_is_missing_stays() {
    // Edge case 31.
    let world = one("proxy-n1", "c0ffee", 600);
    let missing =
        ["10.0.0.5 of c1 stays: the holder is a static pod, which its node runs whether or not the API server shows \
          it"];
    assert_eq!(judged(&world, Some(&[OTHER])), missing);
    assert_eq!(judged(&world, Some(&[("proxy-n1", "c0ffee")])), [""; 0]);
}

#[test]
fn a_static_pod_whose_mirror_is_of_another_manifest_goes() {
    let world = one("proxy-n1", "c0ffee", 600);
    let replaced = ["10.0.0.5 of c1 goes: its pod is not on the list of running pods"];
    assert_eq!(judged(&world, Some(&[OTHER, ("proxy-n1", "decaf")])), replaced);
}

#[test]
fn the_earlier_sandboxes_of_a_pod_go_and_no_list_is_needed() {
    let mut world = World::default();
    for (container, boottime) in [("b", 20), ("c", 30), ("a", 10)] {
        world.give(&add(container, "db-0", "u-1", boottime).requesting(&[&format!("10.0.0.{boottime}")]));
    }
    world.wait(600);
    for pods in [None, Some([("db-0", "u-1")].as_slice())] {
        let later = "goes: a later sandbox of its pod has this interface";
        assert_eq!(judged(&world, pods), [format!("10.0.0.10 of a {later}"), format!("10.0.0.20 of b {later}")]);
    }
}

#[test]
fn a_sandbox_under_a_former_name_of_its_node_is_an_earlier_one() {
    let mut world = World::default();
    let former = AttachmentId { node: name("n1.example"), ..attachment("old") };
    world.give(&Call { id: former, ..add("old", "db-0", "u-1", 100).requesting(&["10.0.0.10"]) });
    world.give(&add("new", "db-0", "u-1", 200));
    world.wait(600);
    assert_eq!(judged(&world, None), ["10.0.0.10 of old goes: a later sandbox of its pod has this interface"]);
}

#[test]
fn only_a_later_add_of_the_same_boot_for_the_same_interface_makes_a_sandbox_an_earlier_one() {
    let later = || add("new", "db-0", "u-1", 200);
    let net1 = AttachmentId { ifname: IfName::new("net1").unwrap(), ..attachment("new") };
    let blue = AttachmentId { network: name("blue"), ..attachment("new") };
    for other in [
        Call { began: began("next boot", 5), ..later() },
        Call { began: began("", 500), ..later() },
        Call { id: net1, ..later() },
        Call { id: blue, ..later() },
        add("new", "db-0", "u-2", 200),
        add("new", "db-1", "u-1", 200),
    ] {
        let mut world = World::default();
        world.give(&add("old", "db-0", "u-1", 100));
        world.give(&other);
        world.wait(600);
        assert_eq!(judged(&world, None), [""; 0], "{}, {:?}", other.id, other.pod);
    }
}

#[test]
fn what_a_take_over_has_left_goes_with_its_pod_or_with_a_later_sandbox() {
    let mut world = one("db-0", "u-1", 600);
    world
        .add(&add("c2", "db-1", "u-2", 100).requesting(&["10.0.0.5"]).with_pod_check("u-1", Ok(GoneReason::NotFound)))
        .unwrap();
    let two = ("db-1", "u-2");
    // Its node may be away, and must find the entry when it comes back.
    world.wait(7 * 24 * 3600 - 1);
    assert_eq!(judged(&world, Some(&[two])), [""; 0]);
    world.wait(1);
    assert_eq!(judged(&world, Some(&[two, ("db-0", "u-1")])), [""; 0]);
    assert_eq!(judged(&world, Some(&[two])), ["c1/eth0 of c1 goes: its pod is not on the list of running pods"]);
    world.give(&add("c3", "db-0", "u-1", 200));
    assert_eq!(judged(&world, None), ["c1/eth0 of c1 goes: a later sandbox of its pod has this interface"]);
}

/// A scan, and the amendments that it writes.
fn scan_and_amend(world: &mut World, pods: Option<&[(&str, &str)]>) -> Vec<String> {
    let report = scan(world, pods, &rules());
    note(world, &report);
    lines(&report)
}

#[test]
fn a_fence_is_removed_an_hour_after_it_was_first_seen_whatever_its_nodes_clock() {
    // How long before the first scan it was written, by a clock that may have been wrong.
    for before in [0, 60, -60, 365 * 86_400, -365 * 86_400] {
        let mut world = World { seconds: -before, ..World::default() };
        world.del_fenced(&attachment("c1"));
        world.seconds = 0;
        assert_eq!(scan_and_amend(&mut world, None), [""; 0], "{before}");
        let noted = world.state.clone();
        world.wait(3599);
        assert_eq!((scan_and_amend(&mut world, None), &world.state), (vec![], &noted), "{before}");
        // A fence slightly in the future also lasts an hour by its own time.
        world.wait(if before == -60 { 61 } else { 1 });
        assert_eq!(scan_and_amend(&mut world, None).len(), 1, "{before}");
    }
}

#[test]
fn a_new_fence_is_not_as_old_as_the_one_before_it() {
    let mut world = World::default();
    world.del_fenced(&attachment("c1"));
    scan_and_amend(&mut world, None);
    world.wait(3599);
    // An older version keeps the unknown field.
    let key = keys::attachment(&attachment("c1"));
    let anew =
        world.text(&key).unwrap().replace(r#""closed":"2023-11-14T22:13:20Z""#, r#""closed":"2023-11-14T23:13:19Z""#);
    assert!(anew.contains("sighted"), "{anew}");
    world.put(key, anew);
    world.wait(7200);
    assert_eq!(scan_and_amend(&mut world, None), [""; 0]);
    world.wait(3600);
    assert_eq!(scan_and_amend(&mut world, None).len(), 1);
}

#[test]
fn what_was_given_or_reserved_a_year_ahead_is_old_enough_after_the_minimum_age() {
    let year = 365 * 86_400;
    let mut world = World { seconds: year, ..World::default() };
    world.give(&add("c1", "db-0", "u-1", 100).requesting(&["10.0.0.5"]));
    let [kept] = world.give(&of_set("a", "pg-0", "u-2"))[..] else { panic!() };
    world.del(&attachment("a"));
    world.give(&Call::of("rests", &subnet("10.0.0.0/24")));
    world.del(&attachment("rests"));
    world.seconds = 0;
    let young = ["10.0.0.5 of c1 stays: it has been held for less than the minimum age (sweep.minAge)"];
    assert_eq!(scan_and_amend(&mut world, Some(&[OTHER])), young);
    let noted = world.state.clone();
    world.wait(599);
    assert_eq!((scan_and_amend(&mut world, Some(&[OTHER])), &world.state), (young.map(str::to_owned).to_vec(), &noted));
    world.wait(1);
    let mut goes = vec![
        "10.0.0.5 of c1 goes: its pod is not on the list of running pods".to_owned(),
        format!("{kept} of a goes: it is reserved for an owner that is gone"),
    ];
    let mut found = scan_and_amend(&mut world, Some(&[OTHER]));
    goes.sort();
    found.sort();
    assert_eq!(found, goes);
    // A full range then assigns the address, because its cooldown has ended.
    assert_eq!(
        String::from_utf8(entries(&world.state, "rest/")[0].value.clone()).unwrap().matches("released").count(),
        1
    );
    assert_eq!(contradictions(&world.state), Vec::<String>::new());
}

#[test]
fn a_living_pod_s_address_is_not_written_again_for_its_time() {
    let mut world = World { seconds: 365 * 86_400, ..World::default() };
    world.give(&add("c1", "db-0", "u-1", 100));
    world.seconds = 0;
    let before = world.state.clone();
    assert_eq!(scan_and_amend(&mut world, Some(&[("db-0", "u-1")])), [""; 0]);
    assert_eq!(world.state, before);
}

#[test]
fn the_reason_names_the_time_of_the_fence() {
    let mut world = World::default();
    world.del_fenced(&attachment("c1"));
    scan_and_amend(&mut world, None);
    world.wait(3600);
    assert_snapshot!(judged(&world, None)[0], @"c1/eth0 of - goes: closed by a DEL at 2023-11-14T22:13:20Z; no ADD can still be in flight");
    // After an ADD, it is part of an attachment.
    world.give(&add("c1", "db-0", "u-1", 100));
    world.wait(7200);
    assert_eq!(judged(&world, Some(&[("db-0", "u-1")])), [""; 0]);
}

#[test]
fn a_value_that_cannot_be_read_stays() {
    for (text, why) in [
        (r#"{"v":2}"#, "a newer kube-ipam wrote it (value version 2, this one reads up to 1)"),
        ("{}", "it is damaged: missing field `v` at line 1 column 2"),
    ] {
        let mut world = one("db-0", "u-1", 600);
        world.put(lease_key("10.0.0.5"), text);
        assert_eq!(judged(&world, Some(&[OTHER])), [format!("10.0.0.5 of - stays: its entry can't be read: {why}")]);
        let mut world = one("db-0", "u-1", 600);
        world.put(keys::attachment(&attachment("c1")), text);
        assert_eq!(
            judged(&world, Some(&[("db-0", "u-1")])),
            [format!("c1/eth0 of - stays: its entry can't be read: {why}")]
        );
    }
}

/// Two pods of one virtual machine that got one address some time ago.
pub(super) fn migrating() -> (World, IpAddr) {
    let mut world = World::default();
    let [ip] = world.give(&sticky_machine("a", "u-1"))[..] else { panic!() };
    let target = sticky_machine("b", "u-2")
        .with_pod_check("u-1", Err(InUseReason::Running(PhaseSince { word: "Running".to_owned(), since: None })));
    assert_eq!(world.give(&target), [ip]);
    world.wait(600);
    (world, ip)
}

#[test]
fn of_two_holders_only_the_one_goes_whose_pod_is_not_listed() {
    let (world, ip) = migrating();
    let (source, target) = (("virt-launcher-a", "u-1"), ("virt-launcher-b", "u-2"));
    let goes = |container: &str| format!("{ip} of {container} goes: its pod is not on the list of running pods");
    for (pods, expected) in [
        (vec![OTHER, source, target], vec![]),
        (vec![OTHER, source], vec![goes("b")]),
        (vec![OTHER, target], vec![goes("a")]),
        (vec![OTHER], vec![goes("a"), goes("b")]),
    ] {
        assert_eq!(judged(&world, Some(&pods)), expected);
    }
    let report = scan(&world, None, &rules());
    assert_eq!((lines(&report), report.tally.not_asked), (vec![], 1));
    let (mut young, _) = migrating();
    young.wait(-1);
    assert_eq!(judged(&young, Some(&[source, OTHER])), [format!("{ip} of b stays: {}", SkipReason::Young)]);
}

#[test]
fn a_lease_and_an_attachment_that_do_not_name_each_other_go_only_with_their_pod() {
    let lives = [("db-0", "u-1")];
    let mut without_attachment = one("db-0", "u-1", 600);
    delete(&mut without_attachment, keys::attachment(&attachment("c1")));
    assert_snapshot!(judged(&without_attachment, Some(&lives)).join("\n"), @"10.0.0.5 of c1 stays: its lease and its attachment do not name each other");
    assert_eq!(
        judged(&without_attachment, Some(&[OTHER])),
        ["10.0.0.5 of c1 goes: its pod is not on the list of running pods"]
    );
    let mut without_lease = one("db-0", "u-1", 600);
    delete(&mut without_lease, lease_key("10.0.0.5"));
    assert_snapshot!(judged(&without_lease, Some(&lives)).join("\n"), @"c1/eth0 of c1 stays: its lease and its attachment do not name each other");
    assert_eq!(
        judged(&without_lease, Some(&[OTHER])),
        ["c1/eth0 of c1 goes: its pod is not on the list of running pods"]
    );
    // Without a list, the pod can't be checked, but the disagreement is reported.
    assert_eq!(judged(&without_lease, None).len(), 1);
    let mut without_holder = one("db-0", "u-1", 600);
    rewrite_lease(&mut without_holder, "10.0.0.5", |lease| lease.holders.clear());
    assert_snapshot!(judged(&without_holder, Some(&[OTHER]))[0], @"10.0.0.5 of - stays: its lease and its attachment do not name each other");
}

#[test]
fn an_attachment_with_one_address_of_its_own_is_left_to_that_one_s_lease() {
    let dual = world::network(vec![vec![world::range("10.0.0.0/24")], vec![world::range("fd00::/64")]]);
    let mut world = World::default();
    world.give(&Call::of("c1", &dual).requesting(&["10.0.0.5", "fd00::5"]).of_pod("db-0", "u-1", 100));
    delete(&mut world, lease_key("fd00::5"));
    world.wait(600);
    assert_eq!(judged(&world, Some(&[OTHER])), ["10.0.0.5 of c1 goes: its pod is not on the list of running pods"]);
}

/// The leaks among a node's own attachments in this boot, with records of these boots.
fn of_node(world: &World, current: &str, recorded: &[(&str, &str)]) -> Vec<String> {
    let recorded = recorded.iter().map(|(container, boot)| (attachment(container), (*boot).to_owned())).collect();
    of_node_with(world, Boots { recorded, ..boot(current) })
}

/// A boot without records.
fn boot(current: &str) -> Boots {
    Boots { current: current.to_owned(), ..Boots::default() }
}

fn of_node_with(world: &World, boots: Boots) -> Vec<String> {
    let mut seen = observe(world, None);
    seen.boots = Some(boots.clone());
    let all = find_leaks(&seen, &rules());
    seen.leave_out_healthy(&boots);
    let holds = |lease: &Seen<Lease>| {
        let lease = lease.value.as_known();
        lease.is_none_or(|lease| lease.holders.iter().any(|holder| seen.attachments.contains_key(&holder.id)))
    };
    seen.leases.retain(|_, lease| holds(lease));
    // What is left out has not leaked, and is counted.
    let report = find_leaks(&seen, &rules());
    assert_eq!((lines(&report), report.tally.held), (lines(&all), all.tally.held));
    lines(&report)
}

#[test]
fn of_a_node_only_other_boots_and_several_sandboxes_of_a_pod_are_judged() {
    let mut world = World::default();
    world.give(&add("alone", "db-0", "u-1", 100));
    world.give(&add("old", "db-1", "u-2", 100));
    world.give(&add("new", "db-1", "u-2", 200));
    world.give(&Call::of("podman", &subnet("10.0.0.0/24")));
    world.wait(600);
    let mut seen = observe(&world, None);
    seen.leave_out_healthy(&boot("boot"));
    let left: Vec<String> = seen.attachments.keys().map(|id| id.container.to_string()).collect();
    assert_eq!((left, seen.healthy), (vec!["new".to_owned(), "old".to_owned()], 2));
    let recorded = ["alone", "old", "new", "podman"].map(|container| (container, "boot"));
    assert_eq!(of_node(&world, "boot", &recorded).len(), 1);
    let mut seen = observe(&world, None);
    for current in ["", "next"] {
        seen.leave_out_healthy(&boot(current));
        assert_eq!((seen.attachments.len(), seen.healthy), (4, 0), "{current:?}");
    }
}

#[test]
fn a_container_of_no_pod_whose_namespace_is_gone_goes_with_what_was_given_at_random() {
    let mut world = World::default();
    world.give(&Call::of("random", &subnet("10.0.0.0/24")));
    world.give(&Call::of("fixed", &subnet("10.0.0.0/24")).requesting(&["10.0.0.5"]));
    world.give(&Call::of("alive", &subnet("10.0.0.0/24")));
    world.wait(600);
    let all = ["random", "fixed", "alive"].map(|container| (attachment(container), "boot".to_owned()));
    let ended = ["random", "fixed"].map(attachment).into();
    let boots = Boots { recorded: all.into(), ended, ..boot("boot") };
    assert_eq!(
        of_node_with(&world, boots),
        [
            "fixed/eth0 of fixed stays: its network namespace is gone, but one of its addresses was requested, so it \
             keeps them until the pod returns",
            "random/eth0 of random goes: its network namespace is gone",
        ]
    );
}

#[test]
fn an_attachment_of_an_earlier_boot_goes_with_what_was_given_at_random() {
    let mut world = World::default();
    world.give(&Call::of("c1", &subnet("10.0.0.0/24")));
    assert_eq!(of_node(&world, "next", &[("c1", "boot")]), ["c1/eth0 of c1 goes: its node has rebooted since"]);
    assert_eq!(of_node(&world, "boot", &[("c1", "boot")]), [""; 0]);
    // The container was started again. Its repeated ADD does not change the attachment.
    assert_eq!(of_node(&world, "next", &[("c1", "next")]), [""; 0]);
    for (current, recorded) in [("", "boot"), ("next", ""), ("", "")] {
        let found = of_node(&world, current, &[("c1", recorded)]);
        assert!(found.iter().all(|line| line.contains("stays")), "{current:?}, {recorded:?}: {found:?}");
    }
    // Another machine may have the same name.
    assert_eq!(
        of_node(&world, "next", &[]),
        ["c1/eth0 of c1 stays: its node has rebooted since, but this node has no record of it"]
    );
}

#[test]
fn an_attachment_of_an_earlier_boot_keeps_all_it_has_if_any_of_it_was_asked_for() {
    let dual = world::network(vec![vec![world::range("10.0.0.0/24")], vec![world::range("fd00::/64")]]);
    let mut world = World::default();
    world.give(&Call::of("c1", &dual).requesting(&["10.0.0.5"]));
    world.wait(600);
    assert_snapshot!(of_node(&world, "next", &[("c1", "boot")]).join("\n"), @"c1/eth0 of c1 stays: its node has rebooted since, but one of its addresses was requested, so it keeps them until the pod returns");
}

#[test]
fn an_entry_that_is_neither_lease_nor_attachment_is_passed_over() {
    let mut world = one("db-0", "u-1", 600);
    world.del(&attachment("c1"));
    // It is in cooldown.
    let seen = observe(&world, Some(&[OTHER]));
    assert!(seen.leases.is_empty() && seen.attachments.is_empty());
}

/// A world in which an address has been reserved for pod pg-0 of StatefulSet pg for so many seconds.
fn reserved(seconds: i64) -> (World, IpAddr) {
    let mut world = World::default();
    let [ip] = world.give(&of_set("a", "pg-0", "u-1"))[..] else { panic!() };
    world.wait(7200);
    world.del(&attachment("a"));
    world.wait(seconds);
    (world, ip)
}

#[test]
fn what_is_reserved_goes_after_the_minimum_age_if_its_owner_is_gone() {
    // A wrong clock may have written a time in the future.
    for (seconds, is_suspect) in [(600, true), (599, false), (0, false), (-3600, false)] {
        let (world, ip) = reserved(seconds);
        let goes = format!("{ip} of a goes: it is reserved for an owner that is gone");
        assert_eq!(judged(&world, Some(&[OTHER])), if is_suspect { vec![goes] } else { vec![] }, "{seconds}");
    }
    // There is no API server, or it is another cluster's.
    let (world, _) = reserved(600);
    let report = scan(&world, None, &rules());
    assert_eq!((lines(&report), report.tally.not_asked), (vec![], 1));
    let foreign = Rules { cluster: ClusterIdentity::known("another"), ..rules() };
    let report = scan(&world, Some(&[OTHER]), &foreign);
    assert_eq!((lines(&report), report.tally.of_another_cluster), (vec![], 1));
    let (mut world, ip) = reserved(600);
    rewrite_lease(&mut world, &ip.to_string(), |lease| lease.owner = None);
    assert_eq!(judged(&world, Some(&[OTHER])), [format!("{ip} of a stays: {}", SkipReason::Disagrees)]);
}

#[test]
fn what_is_reserved_stays_until_its_time_to_live_is_over() {
    let mut world = World::default();
    let kept = world.give(&with_ttl(of_set("a", "pg-0", "u-1"), 3600));
    world.give(&of_set("b", "pg-1", "u-2"));
    let others: &[(&str, &str)] = &[("other", "u-9")];
    world.wait(7200);
    world.del(&attachment("a"));
    world.del(&attachment("b"));
    world.wait(3599);
    // It has not expired, so its owner decides.
    let asks = |world: &World| judged(world, Some(others)).iter().all(|line| line.ends_with("an owner that is gone"));
    assert!(asks(&world) && judged(&world, None).is_empty());
    world.wait(1);
    let over = format!("{} of a goes: its reservation has expired (sticky.ttl)", kept[0]);
    // No pod is checked.
    for pods in [Some(others), None] {
        assert!(judged(&world, pods).contains(&over));
    }
}

#[test]
fn what_is_reserved_by_hand_goes_when_its_time_is_over_and_with_no_pod() {
    let said = |ttl| ManualReservation {
        reason: "printer".parse().unwrap(),
        at: world::at(0),
        by: None,
        ttl,
        beneficiary: Some("db/db-0".parse().unwrap()),
        unknown: Unknown::new(),
    };
    // Unused, for ever and for a time; and held by a pod that is not listed.
    let mut world = one("db-0", "u-1", 0);
    rewrite_lease(&mut world, "10.0.0.5", |lease| *lease = lease.clone().kept_by_hand(said(Some(60))));
    for (address, ttl) in [("10.0.0.6", None), ("10.0.0.7", Some(86_400))] {
        world.put(lease_key(address), lease::write(&Lease::reserved_by_hand(said(ttl))));
    }
    world.wait(86_399);
    let pod_gone = "10.0.0.5 of c1 goes: its pod is not on the list of running pods";
    assert_eq!(judged(&world, Some(&[OTHER])), [pod_gone]);
    assert_eq!(judged(&world, None), [""; 0]);
    world.wait(1);
    let over = "10.0.0.7 of - goes: its reservation by hand has expired (reserve --ttl)";
    assert_eq!(judged(&world, Some(&[OTHER])), [pod_gone, over]);
    // No list says so, and no share of what is held is freed.
    let report = scan(&world, None, &rules());
    assert_eq!(lines(&report), [over]);
    let plan = report.confirm(report.clone(), 0.0);
    assert_eq!((plan.confirmed.len(), plan.stopped), (1, None));
    // What the pod had is over as well, once nobody holds it.
    world.del(&attachment("c1"));
    assert_eq!(judged(&world, None), [&over.replace("10.0.0.7 of -", "10.0.0.5 of c1"), over]);
    assert_eq!(contradictions(&world.state), [""; 0]);
}

#[test]
fn a_foreign_host_keeps_its_address_for_an_hour_after_it_has_answered() {
    let mut world = World::default();
    let foreign =
        Foreign { mac: Mac([2, 0, 0, 0, 0, 9]), network: name("net"), node: name("n1"), answered: world.now() };
    world.put(lease_key("10.0.0.7"), lease::write(&Lease::of_foreign(foreign, world.now())));
    world.give(&add("c1", "db-0", "u-1", 100));
    let pods = Some([("db-0", "u-1")].as_slice());
    for (seconds, expected) in [
        (3599, vec![]),
        (1, vec!["10.0.0.7 of - goes: no host without a lease was seen to use it for an hour (probe)".to_owned()]),
    ] {
        world.wait(seconds);
        let report = scan(&world, pods, &rules());
        assert_eq!((lines(&report), report.tally.held), (expected, 1));
    }
    // However many there are, no list says so, and no share of what is held is freed.
    let report = scan(&world, pods, &rules());
    let plan = report.confirm(report.clone(), 0.0);
    assert_eq!((plan.confirmed.len(), plan.stopped), (1, None));
    let mut evict =
        Evict::new(name("default"), world::ip("10.0.0.7"), plan.confirmed[0].revision).keeping_reservation();
    assert!(matches!(world.decide(&mut evict), Evicted::Freed(_)));
    assert_eq!(world.text(&lease_key("10.0.0.7")), None);
}

#[test]
fn a_foreign_host_that_answered_in_the_future_ages_from_when_that_was_seen() {
    let mut world = World::default();
    let answered = world::at(100_000);
    let foreign = Foreign { mac: Mac([2, 0, 0, 0, 0, 9]), network: name("net"), node: name("n1"), answered };
    world.put(lease_key("10.0.0.7"), lease::write(&Lease::of_foreign(foreign, world.now())));
    let report = scan(&world, None, &rules());
    assert_eq!(lines(&report), [""; 0]);
    note(&mut world, &report);
    world.wait(3600);
    assert_eq!(lines(&scan(&world, None, &rules())).len(), 1);
}
