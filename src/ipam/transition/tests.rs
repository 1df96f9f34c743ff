#![allow(clippy::unwrap_used)]

use super::*;
use crate::cause::Cause;
use crate::ipam::lease::{Began, OnRelease, PodRef, Remark, Rest, SeenGone, Unknown};
use crate::ipam::name::{AttachmentId, IfName, Name};
use crate::ipam::reservation::OwnerKind;
use crate::ipam::takeover::Mac;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_700_000_000 + seconds).unwrap()
}

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn holder(pod: &str, container: &str) -> Holder {
    let ifname = IfName::new("net1").unwrap();
    Holder {
        id: AttachmentId { node: name("n1"), container: name(container), ifname, network: name("db-net") },
        pod: PodRef { namespace: Some("db".into()), name: Some(pod.into()), uid: Some(format!("u-{pod}")) },
        workload: None,
        controller: None,
        cluster: None,
        began: Began { boot: "b".into(), boottime: 1 },
        unknown: Unknown::new(),
    }
}

fn owner() -> Owner {
    let pod = Some(name("pg-0"));
    Owner { kind: OwnerKind::StatefulSet, cluster: None, namespace: name("db"), name: name("pg"), uid: "u".into(), pod }
}

fn held(holders: &[Holder]) -> Lease {
    Lease::new(AllocationKind::Fixed, holders.to_vec(), at(0), OnRelease::Rest(30))
}

fn resting(holder: &Holder) -> Lease {
    let rest = Rest { released: at(10), seconds: 30, last: false };
    Lease { rest: Some(rest), ..held(std::slice::from_ref(holder)) }
}

fn reserved(holder: &Holder) -> Lease {
    let on_release = OnRelease::Keep(Some(3600));
    Lease { on_release, owner: Some(owner()), unused: Some(at(10)), ..held(std::slice::from_ref(holder)) }
}

fn foreign(mac: u8) -> Foreign {
    Foreign { mac: Mac([2, 0, 0, 0, 0, mac]), network: name("db-net"), node: name("n1"), answered: at(5) }
}

fn side(lease: Lease) -> Side {
    Side::Lease(Box::new(lease))
}

struct Case {
    what: &'static str,
    before: Side,
    after: Side,
    event: LeaseEvent,
    time: Option<Timestamp>,
}

impl Case {
    fn check(&self) {
        assert_eq!(LeaseEvent::between(&self.before, &self.after, at(20)), self.event, "{}", self.what);
        assert_eq!(LeaseEvent::time(&self.before, &self.after), self.time, "{}", self.what);
    }
}

#[test]
fn a_pair_of_leases_says_what_happened() {
    let (a, a2, b) = (holder("a", "c1"), holder("a", "c2"), holder("b", "c3"));
    let one = std::slice::from_ref(&a);
    let assigned = |holders: &[&Holder], from: &[&Holder]| LeaseEvent::Assigned {
        holders: holders.iter().map(|holder| (*holder).clone()).collect(),
        kind: AllocationKind::Fixed,
        from: from.iter().map(|holder| (*holder).clone()).collect(),
    };
    let rests = || Next::Rests(Some(at(40)));
    let for_owner = || Next::Reserved { purpose: Purpose::Owner(Box::new(owner())), until: Some(at(3610)) };
    let released = |next| LeaseEvent::Released { holders: vec![a.clone()], next };
    let freed = |ended, next| LeaseEvent::Freed { ended, next };
    let last = Rest { released: at(10), seconds: 0, last: true };
    let seen = SeenGone { uid: "u-a".into(), at: at(15) };
    let manual = || ManualReservation {
        reason: Remark::new("migration").unwrap(),
        at: at(10),
        by: None,
        ttl: None,
        beneficiary: None,
        unknown: Unknown::new(),
    };
    let by_hand = || side(Lease::reserved_by_hand(manual()));
    let kept = || side(held(one).kept_by_hand(manual()));
    let for_hand = || Next::Reserved { purpose: Purpose::Hand(Box::new(manual())), until: None };
    let damaged = || UnreadableValue::Corrupt(Cause::new("not JSON"));
    let host = |mac| side(Lease::of_foreign(foreign(mac), at(0)));
    let shared = || side(held(&[a.clone(), b.clone()]));
    let case = |what, before, after, event, time| Case { what, before, after, event, time };
    let cases = [
        case("a first ADD", Side::Absent, side(held(one)), assigned(&[&a], &[]), Some(at(0))),
        case("an ADD after a cooldown", side(resting(&b)), side(held(one)), assigned(&[&a], &[]), Some(at(0))),
        case("an owner's next pod", side(reserved(&b)), side(held(one)), assigned(&[&a], &[]), Some(at(0))),
        case("an ADD after an unknown lease", Side::Unknown, side(held(one)), assigned(&[&a], &[]), Some(at(0))),
        case("an ADD over a foreign host", host(1), side(held(one)), assigned(&[&a], &[]), Some(at(0))),
        case("a take-over", side(held(std::slice::from_ref(&b))), side(held(one)), assigned(&[&a], &[&b]), None),
        case("a new sandbox", side(held(std::slice::from_ref(&a2))), side(held(one)), assigned(&[&a], &[&a2]), None),
        case("a migration begins", side(held(one)), shared(), LeaseEvent::Joined(vec![b.clone()]), None),
        case("a migration ends", shared(), side(held(one)), LeaseEvent::Left(vec![b.clone()]), None),
        case("a DEL with a cooldown", side(held(one)), side(resting(&a)), released(rests()), Some(at(10))),
        case("the same, not seen in between", Side::Absent, side(resting(&a)), released(rests()), Some(at(10))),
        case(
            "a DEL of a fixed address in a dynamic range",
            side(held(one)),
            side(Lease { rest: Some(last), ..held(one) }),
            released(Next::LastResort),
            Some(at(10)),
        ),
        case("a DEL with an owner", side(held(one)), side(reserved(&a)), released(for_owner()), Some(at(10))),
        case("a DEL without a cooldown", side(held(one)), Side::Absent, released(Next::Free), None),
        case("a cooldown that is over", side(resting(&a)), Side::Absent, freed(Ended::Cooldown, Next::Free), None),
        case(
            "a reservation that ends",
            side(reserved(&a)),
            Side::Absent,
            freed(Ended::Reservation(Purpose::Owner(Box::new(owner()))), Next::Free),
            None,
        ),
        case(
            "a reservation that ends in a cooldown",
            side(reserved(&a)),
            side(resting(&a)),
            freed(Ended::Reservation(Purpose::Owner(Box::new(owner()))), rests()),
            Some(at(10)),
        ),
        case(
            "a reservation without a holder",
            Side::Absent,
            side(Lease { holders: vec![], ..reserved(&a) }),
            LeaseEvent::Reserved(for_owner()),
            Some(at(10)),
        ),
        case("reserve", Side::Absent, by_hand(), LeaseEvent::Reserved(for_hand()), Some(at(10))),
        case("reserve, in a cooldown", side(resting(&a)), by_hand(), LeaseEvent::Reserved(for_hand()), Some(at(10))),
        case("reserve, while it is held", side(held(one)), kept(), LeaseEvent::Reserved(for_hand()), None),
        case(
            "release of what is reserved by hand",
            by_hand(),
            Side::Absent,
            freed(Ended::Reservation(Purpose::Hand(Box::new(manual()))), Next::Free),
            None,
        ),
        case(
            "the same, while it is held",
            kept(),
            side(held(one)),
            freed(Ended::Reservation(Purpose::Hand(Box::new(manual()))), Next::Held),
            None,
        ),
        case(
            "a host answers",
            Side::Absent,
            host(1),
            LeaseEvent::Foreign { host: foreign(1), is_new: true },
            Some(at(5)),
        ),
        case(
            "it answers again",
            host(1),
            host(1),
            LeaseEvent::Foreign { host: foreign(1), is_new: false },
            Some(at(5)),
        ),
        case("another answers", host(2), host(1), LeaseEvent::Foreign { host: foreign(1), is_new: true }, Some(at(5))),
        case("the host is forgotten", host(1), Side::Absent, freed(Ended::Foreign(foreign(1)), Next::Free), None),
        case(
            "the first of two checks finds the pod gone",
            side(held(one)),
            side(Lease { seen_gone: Some(seen), ..held(one) }),
            LeaseEvent::SeenGone(vec![a.clone()]),
            None,
        ),
        case("a repeated ADD", side(held(one)), side(held(one)), LeaseEvent::Rewritten(LeaseState::Held), None),
        case(
            "a sighting of a time in the future",
            side(resting(&a)),
            side(resting(&a)),
            LeaseEvent::Rewritten(LeaseState::Resting),
            Some(at(10)),
        ),
        case("an unknown lease goes", Side::Unknown, Side::Absent, freed(Ended::Unknown, Next::Free), None),
        case("a damaged value", side(held(one)), Side::Unreadable(damaged()), LeaseEvent::Unreadable(damaged()), None),
        case("it is repaired", Side::Unreadable(damaged()), side(held(one)), assigned(&[&a], &[]), Some(at(0))),
    ];
    cases.iter().for_each(Case::check);
}

#[test]
fn sides_are_read_from_what_a_store_says() {
    let bytes = crate::ipam::lease::write(&held(&[holder("a", "c1")]));
    assert_eq!(Side::before(&Before::Value(bytes.clone())), side(held(&[holder("a", "c1")])));
    assert_eq!(Side::after(Some(&bytes)), side(held(&[holder("a", "c1")])));
    assert_eq!((Side::before(&Before::Absent), Side::after(None)), (Side::Absent, Side::Absent));
    assert_eq!(Side::before(&Before::Unknown), Side::Unknown);
    assert!(matches!(Side::after(Some(&b"{".to_vec())), Side::Unreadable(UnreadableValue::Corrupt(_))));
    assert!(matches!(Side::after(Some(&br#"{"v":99}"#.to_vec())), Side::Unreadable(UnreadableValue::Newer(99))));
}
