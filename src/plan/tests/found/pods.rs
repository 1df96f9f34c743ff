//! Mistakes of pods: the networks that they select, and annotations that are not for their interfaces.

use super::Case;
use crate::plan::tests::{NETWORK, pod};

fn on_network(text: &str) -> String {
    [NETWORK, text].concat()
}

/// A pod with this selection of networks.
fn selects(selection: &str) -> String {
    pod("a", "note: none").replace("networks: db-net", &format!("networks: {selection}"))
}

pub(super) fn cases() -> Vec<Case> {
    vec![
        Case {
            name: "an annotation that is a boolean",
            code: "KI0005",
            message: "is not a text",
            text: on_network(&pod("a", "kube-ipam.net1.sticky: «true»")),
        },
        Case {
            name: "an annotation that is a list",
            code: "KI0005",
            message: "is not a text",
            text: on_network(&pod("a", "kube-ipam.net1.ip: «[10.1.0.10]»")),
        },
        Case {
            name: "a network that nobody defines",
            code: "KI0102",
            message: "there is no NetworkAttachmentDefinition app/db-net",
            text: selects("«db-net»"),
        },
        Case {
            name: "a network of another namespace",
            code: "KI0103",
            message: "there is no NetworkAttachmentDefinition app/db-net",
            text: NETWORK.replace("namespace: app", "namespace: db") + &selects("«db-net»"),
        },
        Case {
            name: "the second network of a list",
            code: "KI0102",
            message: "there is no NetworkAttachmentDefinition app/web-net",
            text: on_network(&selects("db-net, «web-net»@net7")),
        },
        Case {
            name: "a selection that is half JSON",
            code: "KI0105",
            message: "neither a list of names nor a JSON list",
            text: on_network(&selects("«'[{\"name\": db-net}]'»")),
        },
        Case {
            name: "an interface whose name is too long",
            code: "KI0105",
            message: "interface",
            text: on_network(&selects("«db-net»@an-interface-of-20")),
        },
        Case {
            name: "two interfaces of one name",
            code: "KI0106",
            message: "has two interfaces x",
            text: on_network(&selects("«db-net»@x, app/db-net@x")),
        },
        Case {
            name: "ips without the capability",
            code: "KI0110",
            message: "without the capability",
            text: on_network(&selects("'[{\"name\": \"«db-net»\", \"ips\": [\"10.1.0.10\"]}]'")),
        },
        Case {
            name: "an interface that the pod does not have",
            code: "KI0305",
            message: "for an interface that this pod does not have",
            text: on_network(&pod("a", "«kube-ipam.net2.ip»: 10.1.0.10")),
        },
        Case {
            name: "the name of a network instead of an interface",
            code: "KI0305",
            message: "for an interface that this pod does not have",
            text: on_network(&pod("a", "«kube-ipam.db-net.ip»: 10.1.0.10")),
        },
        Case {
            name: "another address manager's annotation",
            code: "KI0306",
            message: "is for Calico",
            text: on_network(&pod("a", "«cni.projectcalico.org/ipAddrs»: '[\"10.1.0.10\"]'")),
        },
        Case {
            name: "an unscoped address of no network",
            code: "KI0309",
            message: "in no subnet of this pod's networks",
            text: on_network(&pod("a", "kube-ipam.ip: «10.2.0.10»")),
        },
        Case {
            name: "two pods that ask for one address",
            code: "KI0301",
            message: "by Pod app/a and by Pod app/b",
            text: on_network(&(pod("a", "kube-ipam.net1.ip: 10.1.0.10") + &pod("b", "kube-ipam.net1.ip: «10.1.0.10»"))),
        },
        Case {
            name: "two pods that ask for one address in two spellings",
            code: "KI0301",
            message: "by Pod app/a and by Pod app/b",
            text: on_network(
                &(pod("a", "kube-ipam.net1.ip: 10.1.0.10")
                    + &pod("b", "kube-ipam.net1.ip: '10.1.0.12, «::ffff:10.1.0.10»'")),
            ),
        },
    ]
}
