//! Pods of two clusters on one store, in every order, with crashes and lost replies. A pod that one API server does not
//! know may run in the other cluster.

use super::*;
use crate::ipam::cluster::ClusterIdentity;

fn unknown() -> ClusterIdentity {
    ClusterIdentity::unknown("nobody told".to_owned())
}

/// A pod whose API server does not know the others, whether or not they run.
fn pod(container: &str, cluster: ClusterIdentity, others: &[&str]) -> Call {
    let call = fixed(container, &one_address(), &["10.0.0.1"], container, 1).in_cluster(cluster);
    others.iter().fold(call, |call, other| call.with_pod_check(other, Ok(GoneReason::NotFound)))
}

#[test]
fn no_address_passes_between_two_clusters_whatever_is_lost() {
    let one = || pod("a", ClusterIdentity::known("c-1"), &["b", "c"]);
    let two = || pod("b", ClusterIdentity::known("c-2"), &["a", "c"]);
    expect_right("two named clusters", &[(one(), 2), (two(), 1)], 1);
    expect_right("one that is not known", &[(one(), 2), (pod("c", unknown(), &["a", "b"]), 1)], 1);
    expect_right("one that is not known, first", &[(pod("c", unknown(), &["a", "b"]), 2), (one(), 1)], 1);
    let nobody = || pod("d", unknown(), &["a", "b", "c"]);
    expect_right("two that are not known", &[(pod("c", unknown(), &["d"]), 1), (nobody(), 2)], 1);
}

#[test]
fn a_former_name_lets_an_address_pass_once_and_never_back_whatever_is_lost() {
    let before = || pod("c", unknown(), &[]);
    let after = || pod("a", ClusterIdentity::known("c-1").formerly(&[String::new()]), &["c"]);
    expect_right("named since", &[(before(), 2), (after(), 1)], 1);
    let sandbox = |container, cluster, began| pod(container, cluster, &[]).of_pod("a", "u-1", began);
    let sandboxes = [(sandbox("a", unknown(), 1), 2), (sandbox("b", ClusterIdentity::known("c-1"), 2), 1)];
    expect_right("sandboxes of one pod, the later one named", &sandboxes, 1);
    let back = [(sandbox("a", ClusterIdentity::known("c-1"), 1), 2), (sandbox("b", unknown(), 2), 1)];
    expect_right("sandboxes of one pod, the earlier one named", &back, 1);
}
