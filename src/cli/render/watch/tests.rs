#![allow(clippy::unwrap_used)]

use super::*;
use crate::ipam::lease::{Began, ManualReservation, PodRef, Remark, Unknown};
use crate::ipam::name::{AttachmentId, IfName, Name};
use crate::ipam::reservation::{Owner, OwnerKind};
use crate::ipam::takeover::Mac;
use crate::ipam::transition::Purpose;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_700_000_000 + seconds).unwrap()
}

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn holder(pod: Option<&str>, node: &str) -> Holder {
    let (container, ifname) = (name("c0ffee0123456789"), IfName::new("net1").unwrap());
    let (namespace, uid) = (pod.map(|_| "db".to_owned()), pod.map(|pod| format!("u-{pod}")));
    Holder {
        id: AttachmentId { node: name(node), container, ifname, network: name("db-net") },
        pod: PodRef { namespace, name: pod.map(str::to_owned), uid },
        workload: None,
        controller: None,
        cluster: None,
        began: Began { boot: "b".into(), boottime: 1 },
        unknown: Unknown::new(),
    }
}

/// A sentence with all its details.
fn said(event: &LeaseEvent) -> String {
    let (text, details) = sentence(event, at(0));
    [vec![text], details].concat().join(", ")
}

#[test]
fn each_event_is_a_sentence_of_an_operator() {
    let (pg0, pg1) = (|| vec![holder(Some("pg-0"), "n1")], || vec![holder(Some("pg-1"), "n2")]);
    let (fixed, random) = (AllocationKind::Fixed, AllocationKind::Dynamic);
    let assigned = |holders, kind, from| LeaseEvent::Assigned { holders, kind, from };
    let owner = Owner {
        kind: OwnerKind::StatefulSet,
        cluster: None,
        namespace: name("db"),
        name: name("pg"),
        uid: "u".into(),
        pod: Some(name("pg-0")),
    };
    let manual = ManualReservation {
        reason: Remark::new("printer in room 12").unwrap(),
        at: at(0),
        by: None,
        ttl: None,
        beneficiary: None,
        unknown: Unknown::new(),
    };
    let host = || Foreign { mac: Mac([2, 0, 0, 0, 0, 9]), network: name("lan"), node: name("n1"), answered: at(0) };
    let reserved = |purpose, until| Next::Reserved { purpose, until };
    let events = [
        assigned(pg0(), fixed, vec![]),
        assigned(vec![holder(None, "n1")], random, vec![]),
        assigned(pg1(), fixed, pg0()),
        assigned(vec![holder(Some("pg-0"), "n2")], fixed, pg0()),
        LeaseEvent::Joined(pg1()),
        LeaseEvent::Left(pg0()),
        LeaseEvent::Released { holders: pg0(), next: Next::Rests(Some(at(30))) },
        LeaseEvent::Released { holders: pg0(), next: Next::LastResort },
        LeaseEvent::Released { holders: pg0(), next: Next::Free },
        LeaseEvent::Released {
            holders: pg0(),
            next: reserved(Purpose::Owner(Box::new(owner.clone())), Some(at(86_400))),
        },
        LeaseEvent::Released { holders: vec![], next: Next::Free },
        LeaseEvent::Reserved(reserved(Purpose::Hand(Box::new(manual.clone())), None)),
        LeaseEvent::Freed { ended: Ended::Cooldown, next: Next::Free },
        LeaseEvent::Freed {
            ended: Ended::Reservation(Purpose::Owner(Box::new(owner))),
            next: Next::Rests(Some(at(30))),
        },
        LeaseEvent::Freed { ended: Ended::Reservation(Purpose::Hand(Box::new(manual))), next: Next::Held },
        LeaseEvent::Freed { ended: Ended::Foreign(host()), next: Next::Free },
        LeaseEvent::Freed { ended: Ended::Unknown, next: Next::Free },
        LeaseEvent::Foreign { host: host(), is_new: true },
        LeaseEvent::Foreign { host: host(), is_new: false },
        LeaseEvent::SeenGone(pg0()),
        LeaseEvent::Rewritten(LeaseState::Resting),
    ];
    insta::assert_snapshot!(events.iter().map(said).collect::<Vec<_>>().join("\n"), @r"
    assigned to pod db/pg-0 on n1 as net1, fixed, network db-net
    assigned to container c0ffee012345 on n1 as net1, random, network db-net
    assigned to pod db/pg-1 on n2 as net1, taken over from pod db/pg-0 on n1 as net1, fixed, network db-net
    assigned to pod db/pg-0 on n2 as net1, in a new sandbox; before on n1, fixed, network db-net
    shared with pod db/pg-1 on n2 as net1 while its virtual machine migrates, network db-net
    released by pod db/pg-0 on n1 as net1; shared no longer, network db-net
    released by pod db/pg-0 on n1 as net1; rests until 22:13:50Z, network db-net
    released by pod db/pg-0 on n1 as net1; assigned at random only when nothing else is free, network db-net
    released by pod db/pg-0 on n1 as net1; free, network db-net
    released by pod db/pg-0 on n1 as net1; reserved for StatefulSet pod db/pg-0, until 2023-11-15T22:13:20Z, network db-net
    released by a holder that is not known; free
    reserved by hand: printer in room 12
    its cooldown is over; free
    no longer reserved for StatefulSet pod db/pg-0; rests until 22:13:50Z
    no longer reserved by hand: printer in room 12; its holder keeps it
    the host with MAC 02:00:00:00:00:09 is forgotten; free
    its lease has changed; free
    found in use by a host without a lease, MAC 02:00:00:00:00:09, seen by n1, network lan
    still in use by a host without a lease, MAC 02:00:00:00:00:09, seen by n1, network lan
    held by pod db/pg-0 on n1 as net1, whose pod is gone; the next check may free it, network db-net
    written again; still in cooldown
    ");
}

#[test]
fn a_time_of_another_day_has_its_date() {
    assert_eq!(clock(at(0), at(60)), "22:13:20Z");
    assert_eq!(clock(at(-86_400), at(0)), "2023-11-13T22:13:20Z");
}
