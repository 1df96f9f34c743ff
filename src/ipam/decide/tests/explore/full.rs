//! A pod that is gone in a full range, and requests for any address, in every order.

use super::*;

/// A pod that requests any address, with ADDs that are minutes apart.
fn any(container: &str, network: &Network) -> Call {
    let uid = format!("u-{container}");
    let call = Call::of(container, network).of_pod(&uid, &uid, 1).with_probe("10.0.0.1", ProbeResult::NoReply);
    Call { pace: 600, ..call.with_probe("10.0.0.0", ProbeResult::NoReply) }
}

fn with_gone_pod(call: Call, container: &str) -> Call {
    call.with_pod_check(&format!("u-{container}"), Ok(GoneReason::NotFound))
}

#[test]
fn an_address_of_a_full_range_passes_from_a_pod_that_is_gone_and_never_back_whatever_is_lost() {
    let gone = || Call { pace: 0, ..any("a", &one_address()) };
    let heir = |container: &str| with_gone_pod(any(container, &one_address()), "a");
    expect_right("a pod that is gone, and one that looks twice", &[(gone(), 1), (heir("b"), 2)], 1);
    let cooled = |call: Call| Call { network: two_addresses(), ..call };
    let beside = [(cooled(gone()), 1), (cooled(any("c", &one_address())), 1), (cooled(heir("b")), 2)];
    expect_right("beside one that lives", &beside, 0);
}

#[test]
#[ignore = "takes minutes: more that comes again"]
fn the_same_holds_of_a_full_range_deeper() {
    let gone = || Call { pace: 0, ..any("a", &one_address()) };
    let heir = || with_gone_pod(any("b", &one_address()), "a");
    expect_right("a pod that is gone, and one that looks twice and more", &[(gone(), 1), (heir(), 3)], 1);
    expect_right("a pod that is gone, twice", &[(gone(), 2), (heir(), 2)], 1);
}

#[test]
fn of_two_who_find_a_full_range_one_has_the_address_of_a_pod_that_is_gone() {
    let gone = Call { pace: 0, ..any("a", &one_address()) };
    let [b, c] = ["b", "c"].map(|container| with_gone_pod(any(container, &one_address()), "a"));
    expect_right("a pod that is gone, and two", &[(gone, 1), (b, 2), (c, 2)], 0);
}
