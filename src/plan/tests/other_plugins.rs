//! Keys and annotations of other plugins, and what the main plugin does to a pod's routes.

use super::found::Case;
use super::{NETWORK, planned, pod, workload};

/// What belongs to other plugins.
pub(super) fn cases() -> Vec<Case> {
    let ipam = |key: &str| NETWORK.replace("\"subnet\"", &format!("{key}, \"subnet\""));
    vec![
        Case {
            name: "the range of whereabouts",
            text: ipam("«\"range\"»: \"10.1.0.0/24\""),
            code: "KI0205",
            message: "whereabouts",
        },
        Case {
            name: "the first address of whereabouts",
            text: ipam("«\"range_start\"»: \"10.1.0.100\""),
            code: "KI0205",
            message: "rangeStart",
        },
        Case {
            name: "a key that chooses no address",
            text: ipam("«\"log_level\"»: \"debug\""),
            code: "KI0252",
            message: "whereabouts",
        },
        Case {
            name: "an annotation of Calico next to a network of kube-ipam",
            text: [NETWORK, &pod("a", "«cni.projectcalico.org/ipv4pools»: '[\"default\"]'")].concat(),
            code: "KI0306",
            message: "is for Calico, and kube-ipam does not read it",
        },
        Case {
            name: "a default gateway of the bridge plugin",
            text: [
                &NETWORK.replace("\"type\": \"macvlan\",", "\"type\": \"bridge\", \"isDefaultGateway\": «true»,"),
                pod("a", "note: none").as_str(),
            ]
            .concat(),
            code: "KI0108",
            message: "a default route for net1",
        },
        Case {
            name: "the pods of a CronJob's job",
            text: [
                NETWORK,
                &workload("batch/v1", "CronJob", "jobTemplate:\n    SPEC", "kube-ipam.net1.ip: «10.1.0.10»")
                    .replace("    SPEC\n  template:", "    spec:\n      parallelism: 2\n      template:")
                    .replace(
                        "\n    metadata:\n      annotations:\n        ",
                        "\n        metadata:\n          annotations:\n            ",
                    )
                    .replace("\n        kube-ipam", "\n            kube-ipam"),
            ]
            .concat(),
            code: "KI0302",
            message: "CronJob app/web has 2 pods, and all of them ask for 10.1.0.10",
        },
    ]
}

#[test]
fn the_default_gateway_of_a_pods_first_interface_is_no_mistake() {
    let network = NETWORK.replace("\"type\": \"macvlan\",", "\"type\": \"bridge\", \"isDefaultGateway\": true,");
    let first = pod("a", "note: none").replace("k8s.v1.cni.cncf.io/networks", "v1.multus-cni.io/default-network");
    let (_, report) = planned(&[network, first].concat());
    assert_eq!(report.findings, []);
}
