//! Pods of one claim, in every order, with crashes and lost replies, before and after its status was written.

use super::*;
use crate::cause::Cause;
use crate::ipam::decide::tests::claims::naming;
use crate::ipam::decide::tests::world::{claim, network};
use crate::ipam::range::Range;

/// A network with one random address and one fixed one.
fn windowed() -> Network {
    let [fixed, window] = ["10.0.0.2-10.0.0.2", "10.0.0.3-10.0.0.3"].map(|span| span.parse().unwrap());
    let range = Range { fixed: Some(fixed), window, ..Range::of_subnet("10.0.0.0/29".parse().unwrap()) };
    cooling(network(vec![vec![range]]), 0, false)
}

fn pod(container: &str, network: &Network, uid: &str, ips: &[&str]) -> Call {
    naming(Call::of(container, network).of_pod(uid, uid, 1), &claim(ips))
}

#[test]
fn pods_of_one_claim_never_share_its_address_and_lose_none_whatever_is_lost() {
    let plain = cooling(two_addresses(), 0, false);
    for (network, filled) in [(&plain, &["10.0.0.0/31"]), (&windowed(), &["10.0.0.3/29"])] {
        let former = || pod("a", network, "u-a", &[]);
        let next = || pod("b", network, "u-b", filled).with_pod_check("u-a", Ok(GoneReason::NotFound));
        expect_right("a pod, and the next of its claim twice", &[(former(), 1), (next(), 2)], 1);
        expect_right("a pod twice, and the next of its claim", &[(former(), 2), (next(), 1)], 0);
    }
}

#[test]
fn pods_of_one_machine_share_its_claim_whatever_is_lost() {
    let of_machine = |call: Call| Call { controller: Some(instance("vm1")), ..call };
    let lives = || Err(InUseReason::LookupFailed(Cause::new("it lives")));
    let source = of_machine(pod("a", &windowed(), "u-a", &[])).with_pod_check("u-b", lives());
    let target = of_machine(pod("b", &windowed(), "u-b", &["10.0.0.3/29"])).with_pod_check("u-a", lives());
    expect_right("source twice, target", &[(source, 2), (target, 1)], 1);
}
