//! Mistakes of workloads: addresses that their pods share, updates that never end, and pools that are too short.

use super::Case;
use crate::plan::tests::{NETWORK, deployment, with_pool, workload};

const IP: &str = "kube-ipam.net1.ip: «10.1.0.10»";

fn on_network(text: &str) -> String {
    [NETWORK, text].concat()
}

pub(super) fn cases() -> Vec<Case> {
    vec![
        Case {
            name: "replicas that share an address",
            code: "KI0302",
            message: "Deployment app/web has 2 pods, and all of them ask for 10.1.0.10",
            text: on_network(&deployment("replicas: 2", IP)),
        },
        Case {
            name: "a pod on each node that asks for an address",
            code: "KI0302",
            message: "has a pod on each node",
            text: on_network(&workload("apps/v1", "DaemonSet", "note: none", IP)),
        },
        Case {
            name: "a Job whose pods share an address",
            code: "KI0302",
            message: "Job app/web has 3 pods",
            text: on_network(&workload("batch/v1", "Job", "parallelism: 3", IP)),
        },
        Case {
            name: "an update that waits for itself",
            code: "KI0303",
            message: "can never be updated",
            text: on_network(&deployment("replicas: 1", IP)),
        },
        Case {
            name: "an annotation beside the template",
            code: "KI0304",
            message: "is on the Deployment web, and not on its pods",
            text: on_network(
                &deployment("replicas: 1", "note: none")
                    .replace("{name: web}", "{name: web, annotations: {«kube-ipam.net1.ip»: 10.1.0.10}}"),
            ),
        },
        Case {
            name: "a pool with fewer addresses than a Deployment has pods",
            code: "KI0307",
            message: "has 3 pods, and its pool has 2 addresses",
            text: on_network(&deployment("replicas: 3", "kube-ipam.net1.pool: «10.1.0.10-10.1.0.11»")),
        },
        Case {
            name: "a pool without room for an update",
            code: "KI0307",
            message: "has 3 pods during an update",
            text: on_network(&deployment("replicas: 2", "kube-ipam.net1.pool: «10.1.0.10-10.1.0.11»")),
        },
        Case {
            name: "a named pool with fewer addresses than a Deployment has pods",
            code: "KI0307",
            message: "has 4 pods, and its pool has 3 addresses",
            text: with_pool() + &deployment("replicas: 4\n  strategy: {type: Recreate}", "kube-ipam.net1.pool: «db»"),
        },
        Case {
            name: "more pods than addresses",
            code: "KI0308",
            message: "for pod 5 of 5 of Deployment app/web",
            text: on_network(&deployment("replicas: «5»", "note: none")),
        },
        Case {
            name: "an update for which no address is left",
            code: "KI0308",
            message: "for the 1 more pods of an update",
            text: on_network(&deployment(
                "replicas: «4»\n  strategy: {rollingUpdate: {maxUnavailable: 0}}",
                "note: none",
            )),
        },
        Case {
            name: "a typing error in the number of pods",
            code: "KI0310",
            message: "a plan takes at most",
            text: on_network(&deployment("replicas: «400000000»", "note: none")),
        },
    ]
}
