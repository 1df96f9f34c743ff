//! Workloads that keep their addresses.

use super::found::Case;
use super::{NETWORK, deployment, planned, pod, workload};
use crate::plan::Outcome;

/// The object for which net1 of the only workload keeps its address.
fn kept_for(network: &str, text: &str) -> Option<String> {
    let (_, report) = planned(&[network, text].concat());
    assert_eq!(report.findings, [], "{text}");
    let Outcome::Addresses { kept_for, .. } = &report.interfaces[1].outcome else { panic!("{report:?}") };
    kept_for.clone()
}

#[test]
fn a_workload_that_keeps_its_addresses_is_shown_as_such() {
    let sticky_network = NETWORK.replace("\"subnet\"", "\"sticky\": true, \"subnet\"");
    let stateful_set = |annotation: &str| workload("apps/v1", "StatefulSet", "replicas: 2", annotation);
    let each_pod = Some("each pod of StatefulSet app/web".to_owned());
    assert_eq!(kept_for(NETWORK, &stateful_set("note: none")), None);
    assert_eq!(kept_for(NETWORK, &stateful_set("kube-ipam.net1.sticky: 'true'")), each_pod);
    assert_eq!(kept_for(&sticky_network, &stateful_set("note: none")), each_pod);
    assert_eq!(kept_for(&sticky_network, &stateful_set("kube-ipam.net1.sticky: 'false'")), None);
    // A network may be sticky for some of its pods, so the others have no mistake.
    assert_eq!(kept_for(&sticky_network, &deployment("replicas: 1", "note: none")), None);
    // The pod gets a requested address again by requesting it again.
    assert_eq!(kept_for(&sticky_network, &stateful_set("kube-ipam.net1.pool: 10.1.0.12-10.1.0.13")), None);
}

/// Sticky pods without a stable identity.
pub(super) fn cases() -> Vec<Case> {
    let on_network = |text: String| [NETWORK, &text].concat();
    vec![
        Case {
            name: "a Deployment",
            text: on_network(deployment("replicas: 1", "«kube-ipam.net1.sticky»: 'true'")),
            code: "KI0444",
            message: "has no effect: the pod is of no StatefulSet and of no virtual machine",
        },
        Case {
            name: "a Pod",
            text: on_network(pod("a", "«kube-ipam.net1.sticky»: 'true'")),
            code: "KI0444",
            message: "has no effect: the pod is of no StatefulSet and of no virtual machine",
        },
    ]
}
