//! Random histories of a segment with foreign hosts that appear and disappear.

use std::collections::BTreeSet;

use proptest::collection::vec;
use proptest::prelude::*;

use super::super::world::{Call, World, addresses, all_of, attachment, contradictions, cooling, ip, name, network};
use super::{HOUR, answer, marks, range_of};
use crate::config::Network;

/// An event on a segment of eight addresses.
#[derive(Clone, Debug)]
enum Action {
    Add {
        container: u8,
        requested: Option<u8>,
        probes: bool,
    },
    Del(u8),
    /// A host starts or stops to use this address.
    Host(u8),
    Wait(i64),
}

fn actions() -> impl Strategy<Value = Vec<Action>> {
    let requested = proptest::option::weighted(0.3, 0..8_u8);
    let add = (0..8_u8, requested, proptest::bool::weighted(0.8))
        .prop_map(|(container, requested, probes)| Action::Add { container, requested, probes });
    let wait = prop_oneof![Just(30_i64), Just(61), Just(HOUR / 2), Just(HOUR)].prop_map(Action::Wait);
    vec(
        prop_oneof![5 => add, 3 => (0..8_u8).prop_map(Action::Del), 2 => (0..8_u8).prop_map(Action::Host), 2 => wait],
        1..60,
    )
}

/// A network whose range has the eight addresses of the segment.
fn segment(probe_new: bool) -> Network {
    cooling(Network { probe_new, ..network(vec![vec![range_of("10.0.0.0/24", "10.0.0.16", "10.0.0.23")]]) }, 30, false)
}

fn nth(number: u8) -> String {
    format!("10.0.0.{}", 16 + number)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_hosts_come_and_go_none_of_their_addresses_is_given_to_who_probes_and_none_is_lost(actions in actions()) {
        let (mut world, mut hosts) = (World::default(), BTreeSet::new());
        for action in actions {
            match action {
                Action::Add { container, requested, probes } => {
                    let mut call = Call::of(&format!("c{container}"), &segment(probes));
                    if let Some(number) = requested {
                        call = call.requesting(&[&nth(number)]);
                    }
                    for number in &hosts {
                        call = call.with_probe(&nth(*number), answer(*number));
                    }
                    if let Ok(allocation) = world.add(&call) && !allocation.repeated {
                        let given = addresses(&allocation)[0];
                        let is_used = hosts.iter().any(|number| ip(&nth(*number)) == given);
                        prop_assert!(!(probes && is_used), "{given} is a host's");
                    }
                    prop_assert!(world.requests <= 10, "{} requests", world.requests);
                }
                Action::Del(container) => drop(world.del(&attachment(&format!("c{container}")))),
                Action::Host(number) => {
                    if !hosts.remove(&number) {
                        hosts.insert(number);
                    }
                }
                Action::Wait(seconds) => world.wait(seconds),
            }
            prop_assert_eq!(contradictions(&world.state), Vec::<String>::new());
            let held = world.held();
            prop_assert!(marks(&world).iter().all(|(ip, _)| !held.contains_key(&(name("default"), *ip))));
        }
        // After all hosts and containers are gone, all addresses are free again within an hour.
        for container in 0..8 {
            world.del(&attachment(&format!("c{container}")));
        }
        world.wait(HOUR);
        prop_assert_eq!(all_of(&mut world, &segment(true)).len(), 8);
    }
}
