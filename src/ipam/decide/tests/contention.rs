//! Many concurrent ADDs, whose transactions run in a random order.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::world::{Call, World, addresses, at, contradictions, held, network, range, subnet};
use crate::config::Network;
use crate::ipam::decide::{Add, Decide, MAX_ROUNDS, Step};
use crate::ipam::refusal::Refusal;
use crate::ipam::seed::SplitMix64;
use crate::store::{Branch, MemoryMap, Op, OpResponse, Outcome, Txn};

struct Rush {
    given: Vec<IpAddr>,
    refused: Vec<Refusal>,
    worst: usize,
    total: usize,
    world: World,
}

/// Runs `count` ADDs on a network. Each step is of one drawn at random.
fn rush(network: &Network, count: usize, seed: &str) -> Rush {
    let mut draws = SplitMix64::of(seed);
    let mut rush = Rush { given: Vec::new(), refused: Vec::new(), worst: 0, total: 0, world: World::default() };
    let begin = |i| {
        let mut add = Call::of(&format!("{seed}-{i}"), network).decision().unwrap();
        let Step::Commit(txn) = add.start(at(0)) else { panic!("an ADD begins with a transaction") };
        (add, txn, 0)
    };
    let mut running: Vec<(Add, Txn, usize)> = (0..count).map(begin).collect();
    while !running.is_empty() {
        let i = draws.below(running.len() as u128) as usize;
        let (add, txn, taken) = &mut running[i];
        let outcome = rush.world.state.commit(txn);
        *taken += 1;
        rush.total += 1;
        rush.worst = rush.worst.max(*taken);
        match add.next(&outcome, at(0)) {
            Step::Commit(next) => {
                *txn = next;
                continue;
            }
            Step::Done(allocation) => rush.given.extend(addresses(&allocation)),
            Step::Refused(refusal) => rush.refused.push(refusal),
        }
        running.swap_remove(i);
    }
    assert_eq!(contradictions(&rush.world.state), Vec::<String>::new());
    rush
}

/// A range of exactly so many addresses.
fn of_size(size: u32) -> Network {
    let mut range = range("10.0.0.0/16");
    range.window = format!("10.0.1.0-{}", std::net::Ipv4Addr::from(0x0a00_0100 + size - 1)).parse().unwrap();
    network(vec![vec![range]])
}

#[test]
fn as_many_adds_at_once_as_there_are_addresses_all_succeed() {
    for seed in ["a", "b", "c"] {
        let Rush { given, refused, worst, total, .. } = rush(&of_size(200), 200, seed);
        eprintln!("200 ADDs at once on 200 addresses: {total} transactions, at most {worst} for one");
        assert_eq!(refused, []);
        assert_eq!((given.len(), given.iter().collect::<BTreeSet<_>>().len()), (200, 200));
    }
}

#[test]
fn of_one_add_more_than_there_are_addresses_exactly_one_is_refused() {
    for seed in ["a", "b", "c"] {
        let Rush { given, refused, worst, .. } = rush(&of_size(199), 200, seed);
        eprintln!("200 ADDs at once on 199 addresses: at most {worst} transactions for one");
        assert!(
            matches!(refused.as_slice(), [Refusal::Exhausted { counts, .. }] if (counts.held, counts.resting) == (199, 0)),
            "{refused:?}"
        );
        assert_eq!(given.iter().collect::<BTreeSet<_>>().len(), 199);
    }
}

#[test]
fn five_hundred_adds_at_once_on_a_large_range_take_about_one_transaction_each() {
    let Rush { given, worst, total, .. } = rush(&subnet("10.0.0.0/16"), 500, "a");
    assert_eq!(given.iter().collect::<BTreeSet<_>>().len(), 500);
    assert!(worst <= 2 && total <= 510, "at most {worst}, {total} in all");
}

#[test]
fn adds_of_two_families_at_once_share_nothing_and_leave_nothing_half_done() {
    let dual = network(vec![vec![range("10.0.0.0/26")], vec![range("fd00::/122")]]);
    let Rush { given, refused, .. } = rush(&dual, 70, "a");
    let v4 = given.iter().filter(|ip| ip.is_ipv4()).count();
    assert_eq!((v4, given.len(), refused.len()), (61, 122, 9));
}

/// The answer to a transaction whose two candidates were taken just before, and are free again just after.
fn lose(state: &mut MemoryMap, txn: &Txn) -> Outcome {
    let [Op::Txn(second)] = txn.otherwise() else { panic!("two choices") };
    let Outcome { at, branch } = state.commit(&Txn::read(second.otherwise().to_vec()).unwrap());
    let answers = vec![OpResponse::Branch(Branch { succeeded: false, ..branch })];
    Outcome { at, branch: Branch { succeeded: false, responses: answers } }
}

#[test]
fn an_add_that_loses_every_race_gives_up() {
    let mut add = Call::of("c1", &subnet("10.0.0.0/24")).decision().unwrap();
    let mut step = add.start(at(0));
    for _ in 0..MAX_ROUNDS {
        let Step::Commit(txn) = step else { panic!("{step:?}") };
        step = add.next(&lose(&mut MemoryMap::default(), &txn), at(0));
    }
    let Step::Refused(refusal) = step else { panic!("{step:?}") };
    assert_eq!(refusal, Refusal::Contended { rounds: MAX_ROUNDS });
    assert!(refusal.is_passing());
}

#[test]
fn requests_without_an_answer_are_no_lost_races() {
    let mut add = Call::of("c1", &subnet("10.0.0.0/24")).decision().unwrap();
    let mut step = add.start(at(0));
    for _ in 0..MAX_ROUNDS * 2 {
        assert!(matches!(step, Step::Commit(_)), "{step:?}");
        step = add.unanswered(at(0));
    }
    let Step::Commit(txn) = step else { panic!("{step:?}") };
    let mut state = MemoryMap::default();
    let Step::Done(allocation) = add.next(&state.commit(&txn), at(0)) else { panic!("a store that answers again") };
    assert_eq!(addresses(&allocation).len(), held(&state).len());
}

#[test]
fn an_add_whose_last_allowed_transaction_succeeds_has_its_addresses() {
    let mut add = Call::of("c1", &subnet("10.0.0.0/24")).decision().unwrap();
    let mut step = add.start(at(0));
    let mut state = MemoryMap::default();
    for _ in 1..MAX_ROUNDS {
        let Step::Commit(txn) = step else { panic!("{step:?}") };
        step = add.next(&lose(&mut state, &txn), at(0));
    }
    let Step::Commit(txn) = step else { panic!("{step:?}") };
    let Step::Done(allocation) = add.next(&state.commit(&txn), at(0)) else { panic!("its addresses are held") };
    assert_eq!(addresses(&allocation).len(), held(&state).len());
}
