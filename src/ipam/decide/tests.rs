//! The machines against the map in memory, one call after the other.
#![allow(clippy::unwrap_used, clippy::panic)]

use super::*;
use crate::cni::{CniVersion, RequestSource, Requested};
use crate::config::{Cooldown, Network};
use crate::ipam::ask;
use crate::ipam::lease::{Began, Holder, PodRef};
use crate::ipam::name::{AttachmentId, IfName, Name};
use crate::ipam::range::{Range, RangeSet};
use crate::store::{Outcome, State};
use jiff::Timestamp;

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_700_000_000 + seconds).unwrap()
}

fn network(subnets: &[&str]) -> Network {
    let set = |subnet: &&str| RangeSet::new(vec![Range::of_subnet(subnet.parse().unwrap())]).unwrap();
    Network {
        name: name("net"),
        sets: subnets.iter().map(set).collect(),
        routes: Vec::new(),
        dns: Default::default(),
        cooldown: Cooldown { seconds: 30, strict: false },
        namespaces: Vec::new(),
    }
}

fn holder(container: &str) -> Holder {
    Holder {
        id: AttachmentId {
            node: name("n1"),
            container: name(container),
            ifname: IfName::new("eth0").unwrap(),
            network: name("net"),
        },
        pod: PodRef::default(),
        cluster: None,
        began: Began { boot: "b".to_owned(), boottime: 0 },
    }
}

fn drive<D>(
    state: &mut State,
    mut step: Step<D>,
    mut next: impl FnMut(&Outcome) -> Step<D>,
) -> (Result<D, Refusal>, usize) {
    let mut requests = 0;
    loop {
        match step {
            Step::Commit(txn) => {
                requests += 1;
                let outcome = state.commit(&txn);
                step = next(&outcome);
            }
            Step::Done(done) => return (Ok(done), requests),
            Step::Refused(refusal) => return (Err(refusal), requests),
        }
    }
}

fn add(
    state: &mut State,
    network: &Network,
    container: &str,
    ips: &[&str],
    now: Timestamp,
) -> (Result<Granted, Refusal>, usize) {
    let requested = Requested {
        source: (!ips.is_empty()).then_some(RequestSource::CniArgs),
        ips: ips.iter().map(|ip| (*ip).to_owned()).collect(),
    };
    let asks = match ask::asks(network, &requested, None, CniVersion::V1_0_0) {
        Ok(asks) => asks,
        Err(refusal) => return (Err(refusal), 0),
    };
    let terms = Terms {
        vrf: name("default"),
        cooldown: network.cooldown.seconds,
        strict: network.cooldown.strict,
        host_local: Default::default(),
    };
    let mut add = match Add::new(holder(container), terms, asks) {
        Ok(add) => add,
        Err(refusal) => return (Err(refusal), 0),
    };
    let first = add.start(now);
    drive(state, first, |outcome| add.next(outcome, now))
}

fn del(state: &mut State, container: &str, now: Timestamp) -> (Released, usize) {
    let mut release = Release::new(holder(container).id, name("default"), None, false);
    let first = release.start(now);
    let (released, requests) = drive(state, first, |outcome| release.next(outcome, now));
    (released.unwrap(), requests)
}

#[test]
fn a_range_is_given_to_the_last_address_in_a_few_requests_each() {
    let mut state = State::default();
    let network = network(&["10.0.0.0/20"]);
    let mut worst = 0;
    for i in 0..4093 {
        let (granted, requests) = add(&mut state, &network, &format!("c{i}"), &[], at(0));
        assert!(granted.is_ok(), "{i}: {granted:?}");
        worst = worst.max(requests);
        if i == 0 {
            assert_eq!(requests, 1);
        }
    }
    assert!(worst <= 6, "{worst} requests");
    let (refused, _) = add(&mut state, &network, "late", &[], at(0));
    assert!(matches!(refused, Err(Refusal::Exhausted { held: 4093, resting: 0, .. })), "{refused:?}");
    let (released, _) = del(&mut state, "c7", at(1));
    let (granted, requests) = add(&mut state, &network, "late", &[], at(2));
    assert_eq!(granted.unwrap().early, released.freed);
    assert!(requests <= 6, "{requests}");
}
