//! Two pods of one owner on nodes with different ranges, in every order, with crashes and lost replies. The owner has
//! one address at a time.

use super::*;
use crate::ipam::decide::tests::sticky::{lives, sticky_machine};

/// The network with the range of one rack's nodes, which has one address.
fn rack(number: u8) -> Network {
    cooling(subnet(&format!("10.0.0.{number}/32")), 0, false)
}

fn of_machine(container: &str, uid: &str, number: u8) -> Call {
    Call { network: rack(number), ..sticky_machine(container, uid) }
}

#[test]
fn a_machines_two_pods_on_different_ranges_never_have_two_addresses_whatever_is_lost() {
    let source = || of_machine("a", "u-a", 1).with_pod_check("u-b", lives());
    let target = || of_machine("b", "u-b", 2).with_pod_check("u-a", lives());
    expect_right("source twice, target", &[(source(), 2), (target(), 1)], 1);
    expect_right("source, target twice", &[(source(), 1), (target(), 2)], 1);
}

#[test]
fn a_target_on_another_range_gets_an_address_of_its_own_once_the_source_is_gone_whatever_is_lost() {
    let source = || of_machine("a", "u-a", 1);
    let target = || of_machine("b", "u-b", 2).with_pod_check("u-a", Ok(GoneReason::NotFound));
    expect_right("a source that is gone, target twice", &[(source(), 1), (target(), 2)], 1);
}

#[test]
fn an_owner_whose_next_pod_asks_for_nothing_has_one_address_whatever_is_lost() {
    let asking = |call: Call| call.requesting(&["10.0.0.1"]);
    let source = || asking(of_machine("a", "u-a", 1)).with_pod_check("u-b", lives());
    let elsewhere = || of_machine("b", "u-b", 2).with_pod_check("u-a", lives());
    expect_right("asks in its range, then nothing in another", &[(source(), 2), (elsewhere(), 1)], 1);
    expect_right("the second one twice", &[(source(), 1), (elsewhere(), 2)], 1);
    let network = cooling(two_addresses(), 0, false);
    let former = || asking(sticky_pod("a", &network, "pg-0", "u-a"));
    let next = || sticky_pod("b", &network, "pg-0", "u-b");
    expect_right("asks, then nothing", &[(former(), 2), (next(), 1)], 1);
    let heir = || next().with_pod_check("u-a", Ok(GoneReason::NotFound));
    expect_right("asks and is gone, then nothing twice", &[(former(), 1), (heir(), 2)], 1);
}
