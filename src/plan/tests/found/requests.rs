//! Mistakes in what pods ask for.

use super::Case;
use super::configs::network;
use crate::plan::tests::{NETWORK, pod, with_pool, workload};

/// A network and a pod on it with this annotation.
fn asks(annotation: &str) -> String {
    [NETWORK, &pod("a", annotation)].concat()
}

/// A pod with this annotation on a network in /24 with these keys.
fn on(keys: &str, annotation: &str) -> String {
    network(&format!(r#""subnet": "10.1.0.0/24", {keys}"#)) + &pod("a", annotation)
}

pub(super) fn cases() -> Vec<Case> {
    vec![
        Case {
            name: "an address with four dots",
            code: "KI0401",
            message: "can't be read",
            text: asks("kube-ipam.net1.ip: '10.1.0.10, «10.1.0.11.»'"),
        },
        Case {
            name: "an octet with a leading zero",
            code: "KI0401",
            message: "leading zeros",
            text: asks("kube-ipam.net1.ip: «10.1.0.010»"),
        },
        Case {
            name: "an address of a list in no subnet",
            code: "KI0402",
            message: "is in no subnet of this network",
            text: asks("kube-ipam.net1.ip: '10.1.0.10, «10.2.0.1»'"),
        },
        Case {
            name: "a span of a pool that leaves the subnet",
            code: "KI0402",
            message: "10.1.1.1",
            text: asks("kube-ipam.net1.pool: '10.1.0.10, «10.1.0.12-10.1.1.1»'"),
        },
        Case {
            name: "an IPv6 address where there is only IPv4",
            code: "KI0402",
            message: "fd00::5",
            text: asks("kube-ipam.net1.ip: '10.1.0.10, «FD00:0::5»'"),
        },
        Case {
            name: "an address of another rack",
            code: "KI0403",
            message: "which is for nodes rack2-*",
            text: "apiVersion: v1\nkind: Node\nmetadata: {name: rack1-0}\n---\n".to_owned()
                + &network(
                    r#""ranges": [[{"subnet": "10.1.0.0/24", "nodes": ["rack1-*"]}, {"subnet": "10.2.0.0/24", "nodes": ["rack2-*"]}]]"#,
                )
                + &pod("a", "kube-ipam.net1.ip: «10.2.0.9»"),
        },
        Case {
            name: "an address outside of the window",
            code: "KI0404",
            message: "outside the window for fixed addresses",
            text: asks("kube-ipam.net1.ip: «10.1.0.20»"),
        },
        Case {
            name: "the gateway",
            code: "KI0404",
            message: "gateway",
            text: on(r#""gateway": "10.1.0.9""#, "kube-ipam.net1.ip: «10.1.0.9»"),
        },
        Case {
            name: "the network address",
            code: "KI0404",
            message: "10.1.0.0",
            text: on(r#""vrf": "a""#, "kube-ipam.net1.ip: «10.1.0.0»"),
        },
        Case {
            name: "the broadcast address",
            code: "KI0404",
            message: "10.1.0.255",
            text: on(r#""vrf": "a""#, "kube-ipam.net1.ip: «10.1.0.255»"),
        },
        Case {
            name: "an excluded address",
            code: "KI0404",
            message: "exclude",
            text: on(r#""exclude": ["10.1.0.9"]"#, "kube-ipam.net1.ip: «10.1.0.9»"),
        },
        Case {
            name: "another prefix length",
            code: "KI0405",
            message: "leave the length out or write /24",
            text: asks("kube-ipam.net1.ip: «10.1.0.10/16»"),
        },
        Case {
            name: "a network for other namespaces",
            code: "KI0407",
            message: "pods of namespace app may not get addresses",
            text: network(r#""subnet": "10.1.0.0/24", "namespaces": ["db"]"#)
                + &pod("a", "note: none").replace("networks: db-net", "networks: «db-net»"),
        },
        Case {
            name: "a pool for other namespaces",
            code: "KI0407",
            message: "pool db of network db-net",
            text: on(
                r#""pools": {"db": {"addresses": ["10.1.0.30"], "namespaces": ["db"]}}"#,
                "kube-ipam.net1.pool: «db»",
            ),
        },
        Case {
            name: "a random address of a window",
            code: "KI0409",
            message: "has no random addresses",
            text: network(r#""subnet": "10.1.0.0/24", "fixedStart": "10.1.0.1", "fixedEnd": "10.1.0.254""#)
                + &pod("a", "note: none").replace("networks: db-net", "networks: «db-net»"),
        },
        Case {
            name: "a node without a range",
            code: "KI0410",
            message: "no range of",
            text: "apiVersion: v1\nkind: Node\nmetadata: {name: rack3-0}\n---\n".to_owned()
                + &network(r#""subnet": "10.1.0.0/24", "nodes": ["rack1-*"]"#)
                + &pod("a", "note: none").replace("networks: db-net", "networks: «db-net»"),
        },
        Case {
            name: "a field with a typing error",
            code: "KI0421",
            message: "did you mean kube-ipam.net1.pool",
            text: asks("kube-ipam.net1.pol: «10.1.0.10»"),
        },
        Case {
            name: "a pool for no interface",
            code: "KI0422",
            message: "kube-ipam.pool does not say for which interface",
            text: asks("kube-ipam.pool: «10.1.0.10»"),
        },
        Case {
            name: "an empty annotation",
            code: "KI0423",
            message: "is empty",
            text: asks("kube-ipam.net1.ip: «''»"),
        },
        Case {
            name: "an empty entry",
            code: "KI0423",
            message: "has an empty entry",
            text: asks("kube-ipam.net1.ip: «10.1.0.10,,10.1.0.11»"),
        },
        Case {
            name: "sticky that is neither",
            code: "KI0424",
            message: "is not \"true\" or \"false\"",
            text: asks("kube-ipam.net1.sticky: \"«yes»\""),
        },
        Case {
            name: "a netmask with holes",
            code: "KI0424",
            message: "a netmask such as",
            text: asks("kube-ipam.net1.ip: 10.1.0.10\n    kube-ipam.net1.netmask: «255.0.255.0»"),
        },
        Case {
            name: "an address twice in a pool",
            code: "KI0424",
            message: "twice",
            text: asks("kube-ipam.net1.pool: '10.1.0.10-10.1.0.12, «10.1.0.11»'"),
        },
        Case {
            name: "1025 entries",
            code: "KI0425",
            message: "at most 1024 are possible",
            text: asks(&format!("kube-ipam.net1.pool: «{}»", ["10.1.0.10"; 1025].join(","))),
        },
        Case {
            name: "Calico's way to write a list",
            code: "KI0426",
            message: "as a JSON list",
            text: asks("kube-ipam.net1.ip: «'[\"10.1.0.10\"]'»"),
        },
        Case {
            name: "an address and a pool",
            code: "KI0427",
            message: "exclude each other",
            text: asks("kube-ipam.net1.ip: 10.1.0.10\n    kube-ipam.net1.pool: «10.1.0.11-10.1.0.12»"),
        },
        Case {
            name: "two addresses for one range",
            code: "KI0428",
            message: "remove one of them or make both equal",
            text: asks("kube-ipam.net1.ip: «10.1.0.10»\n    kube-ipam.ip: 10.1.0.11"),
        },
        Case {
            name: "a claim with a number as name",
            code: "KI0429",
            message: "is not the name of an IPAMClaim",
            text: asks("note: none").replace(
                "networks: db-net",
                "networks: '[{\"name\": \"db-net\", \"ipam-claim-reference\": \"«My_Claim»\"}]'",
            ),
        },
        Case {
            name: "a gateway out of reach",
            code: "KI0430",
            message: "must be a usable address of 10.1.0.0/24",
            text: asks("kube-ipam.net1.ip: 10.1.0.10\n    kube-ipam.net1.gateway: «10.2.0.1»"),
        },
        Case {
            name: "a netmask that makes it the first address",
            code: "KI0430",
            message: "first or the last address",
            text: asks("kube-ipam.net1.ip: 10.1.0.12\n    kube-ipam.net1.netmask: «/30»"),
        },
        Case {
            name: "a family that the request is not of",
            code: "KI0432",
            message: "limits this interface to IPv6",
            text: network(r#""ranges": [[{"subnet": "10.1.0.0/24"}], [{"subnet": "fd00::/64"}]]"#)
                + &pod("a", "kube-ipam.net1.families: '6'\n    kube-ipam.net1.ip: «10.1.0.10»"),
        },
        Case {
            name: "a family that the network does not have",
            code: "KI0433",
            message: "has no IPv6 range set",
            text: asks("kube-ipam.net1.families: «'6'»"),
        },
        Case {
            name: "a pool that the network does not have",
            code: "KI0434",
            message: "its pools are db",
            text: with_pool() + &pod("a", "kube-ipam.net1.pool: «pg»"),
        },
        Case {
            name: "an annotation that nobody reads",
            code: "KI0441",
            message: "is unknown to kube-ipam",
            text: asks("«kube-ipam.colour»: blue"),
        },
        Case {
            name: "a netmask without an address",
            code: "KI0443",
            message: "has no effect without kube-ipam.ip",
            text: asks("«kube-ipam.netmask»: 255.255.255.0"),
        },
        Case {
            name: "a pod of a set beyond its pool",
            code: "KI0307",
            message: "too few for pod number 2",
            text: [
                NETWORK,
                &workload("apps/v1", "StatefulSet", "replicas: 3", "kube-ipam.net1.pool: «10.1.0.10-10.1.0.11»"),
            ]
            .concat(),
        },
    ]
}
