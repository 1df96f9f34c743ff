//! Every order of calls with and without a probe, with hosts that answer.

use super::*;
use crate::ipam::name::IfName;
use crate::ipam::takeover::Mac;

fn conflict() -> ProbeResult {
    ProbeResult::Conflict { mac: Mac([2, 0, 0, 0, 0, 9]), ifname: IfName::new("net1").unwrap() }
}

fn contended() -> ProbeResult {
    ProbeResult::Contended { mac: Mac([2, 0, 0, 0, 0, 8]), ifname: IfName::new("net1").unwrap() }
}

/// A call that probes new addresses, on a network of two addresses.
fn probing(container: &str) -> Call {
    Call::of(container, &Network { probe_new: true, ..two_addresses() })
}

#[test]
fn no_address_of_a_host_is_given_and_none_is_lost_whatever_is_lost() {
    let met = |container: &str| probing(container).with_probe("10.0.0.0", conflict());
    expect_right("two that meet a host", &[(met("a"), 2), (met("b"), 1)], 1);
    let requesting = met("b").requesting(&["10.0.0.0"]);
    expect_right("one that meets a host, and one that requests its address", &[(met("a"), 1), (requesting, 2)], 1);
    let without = Call::of("c", &two_addresses()).requesting(&["10.0.0.0"]);
    expect_right("one that meets a host, and one that does not probe", &[(met("a"), 1), (without, 2)], 1);
}

#[test]
fn two_that_probe_for_one_address_at_once_never_share_it() {
    let both = |container: &str| probing(container).with_probe("10.0.0.0", contended());
    expect_right("two that see each other", &[(both("a"), 2), (both("b"), 1)], 1);
    let [a, b] = ["a", "b"].map(|container| probing(container).requesting(&["10.0.0.1"]));
    expect_right("two that see nobody", &[(a, 2), (b, 1)], 1);
}
