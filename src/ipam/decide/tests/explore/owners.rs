//! Two pods of one owner whose nodes draw from different ranges, in every order, with crashes and lost replies: the owner
//! has one address at a time.

use super::*;
use crate::ipam::decide::tests::sticky::{kept_machine, lives};

/// The network as the nodes of a rack see it: one address, another one in each rack.
fn rack(number: u8) -> Network {
    cooling(subnet(&format!("10.0.0.{number}/32")), 0, false)
}

fn of_machine(container: &str, uid: &str, number: u8) -> Call {
    Call { network: rack(number), ..kept_machine(container, uid) }
}

#[test]
fn a_machines_two_pods_on_different_ranges_never_have_two_addresses_whatever_is_lost() {
    let source = || of_machine("a", "u-a", 1).told("u-b", lives());
    let target = || of_machine("b", "u-b", 2).told("u-a", lives());
    expect_right("source twice, target", &[(source(), 2), (target(), 1)], 1);
    expect_right("source, target twice", &[(source(), 1), (target(), 2)], 1);
}

#[test]
fn a_target_on_another_range_gets_an_address_of_its_own_once_the_source_is_gone_whatever_is_lost() {
    let source = || of_machine("a", "u-a", 1);
    let target = || of_machine("b", "u-b", 2).told("u-a", Ok(Shown::Gone));
    expect_right("a source that is gone, target twice", &[(source(), 1), (target(), 2)], 1);
}
