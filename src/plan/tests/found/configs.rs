//! Mistakes in the configurations of networks, and in the node defaults.

use super::{Case, conf};

/// A network whose ipam block has these keys, without its braces.
pub(super) fn network(keys: &str) -> String {
    let config = format!(r#"{{"name": "db-net", "type": "macvlan", "ipam": {{"type": "kube-ipam", {keys}}}}}"#);
    conf(&config)
}

/// A network in /24 with these further keys.
fn subnet(keys: &str) -> String {
    network(&format!(r#""subnet": "10.1.0.0/24", {keys}"#))
}

/// Node defaults with these keys, and a network in /24 with these.
fn defaults(keys: &str, of_network: &str) -> String {
    let map = format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: kube-ipam}}\ndata:\n  kube-ipam.json: |\n    {{{keys}}}\n---\n"
    );
    let comma = if of_network.is_empty() { "" } else { ", " };
    map + &network(&format!(r#""subnet": "10.1.0.0/24"{comma}{of_network}"#))
}

pub(super) fn cases() -> Vec<Case> {
    let many = (0..257).map(|i| format!(r#"{{"subnet": "10.{}.{}.0/24"}}"#, i / 256, i % 256)).collect::<Vec<_>>();
    vec![
        Case { name: "a number as subnet", code: "KI0202", message: "expected", text: network(r#""subnet": «17»"#) },
        Case {
            name: "a text that never ends",
            code: "KI0203",
            message: "is too long",
            text: network(&format!(r#""subnet": «"{}"»"#, "1".repeat(5000))),
        },
        Case {
            name: "a near miss",
            code: "KI0204",
            message: "did you mean exclude",
            text: subnet(r#"«"exclud"»: []"#),
        },
        Case {
            name: "the range of whereabouts",
            code: "KI0205",
            message: "a key of whereabouts",
            text: subnet(r#"«"range"»: "10.1.0.0/24""#),
        },
        Case {
            name: "an entry without a value",
            code: "KI0206",
            message: "an empty entry",
            text: subnet(r#""exclude": ["10.1.0.5", «""»]"#),
        },
        Case {
            name: "a key of the node defaults",
            code: "KI0207",
            message: "only in the node defaults",
            text: subnet(r#"«"locked"»: ["vrf"]"#),
        },
        Case {
            name: "a key that is locked",
            code: "KI0208",
            message: "locked by the node defaults",
            text: defaults(r#""store": "embedded", "vrf": "pods", "locked": ["vrf"]"#, r#""vrf": «"other"»"#),
        },
        Case {
            name: "a lock of no key",
            code: "KI0209",
            message: "would lock nothing",
            text: defaults(r#""store": "embedded", «"locked"»: ["subnets"]"#, ""),
        },
        Case {
            name: "an octet of 300",
            code: "KI0210",
            message: "is not an IP address",
            text: subnet(r#""gateway": «"10.1.0.300"»"#),
        },
        Case {
            name: "a network with host bits",
            code: "KI0210",
            message: "has host bits set",
            text: network(r#""subnet": «"10.1.0.1/24"»"#),
        },
        Case {
            name: "an exclusion that is backwards",
            code: "KI0210",
            message: "from a lower to a higher address",
            text: subnet(r#""exclude": [«"10.1.0.9-10.1.0.2"»]"#),
        },
        Case { name: "a vrf with a slash", code: "KI0211", message: "vrf", text: subnet(r#""vrf": «"a/b"»"#) },
        Case {
            name: "a deadline of an hour",
            code: "KI0212",
            message: "out of bounds",
            text: defaults(r#""store": "embedded", "timeout": «"1h"»"#, ""),
        },
        Case {
            name: "a relative path",
            code: "KI0213",
            message: "is not an absolute path",
            text: subnet(r#""resolvConf": «"resolv.conf"»"#),
        },
        Case {
            name: "no subnet",
            code: "KI0215",
            message: "no ranges",
            text: network(r#""vrf": "a""#).replace("\"ipam\"", "«\"ipam\"»"),
        },
        Case {
            name: "an empty range set",
            code: "KI0215",
            message: "an empty range set",
            text: network(r#""ranges": [[{"subnet": "10.1.0.0/24"}], «[]»]"#),
        },
        Case {
            name: "a range without its subnet",
            code: "KI0215",
            message: "a range needs its subnet",
            text: network(r#""ranges": [[«{»"gateway": "10.1.0.1"}]]"#),
        },
        Case {
            name: "both families in one set",
            code: "KI0216",
            message: "put each family in a set of its own",
            text: network(r#""ranges": [[{"subnet": "10.1.0.0/24"}, {"subnet": «"fd00::/64"»}]]"#),
        },
        Case {
            name: "the loopback network",
            code: "KI0217",
            message: "no interface can have such an address",
            text: network(r#""subnet": «"127.0.0.0/8"»"#),
        },
        Case {
            name: "a range outside of its subnet",
            code: "KI0218",
            message: "is not in the subnet",
            text: subnet(r#""rangeEnd": «"10.1.1.103"»"#),
        },
        Case {
            name: "a gateway of the other family",
            code: "KI0219",
            message: "but the subnet is",
            text: subnet(r#""gateway": «"fd00::1"»"#),
        },
        Case {
            name: "the broadcast address as gateway",
            code: "KI0219",
            message: "no gateway can have it",
            text: subnet(r#""gateway": «"10.1.0.255"»"#),
        },
        Case {
            name: "a window that runs backwards",
            code: "KI0220",
            message: "runs backwards",
            text: subnet(r#""fixedStart": "10.1.0.20", "fixedEnd": «"10.1.0.9"»"#),
        },
        Case {
            name: "half a window",
            code: "KI0221",
            message: "needs fixedEnd beside it",
            text: subnet(r#""fixedStart": «"10.1.0.10"»"#),
        },
        Case {
            name: "two ranges of a set that overlap",
            code: "KI0222",
            message: "ranges of one set must be disjoint",
            text: network(r#""ranges": [[{"subnet": "10.1.0.0/24"}, «{»"subnet": "10.1.0.0/25"}]]"#),
        },
        Case {
            name: "two sets that overlap",
            code: "KI0222",
            message: "sets must be disjoint",
            text: network(r#""ranges": [[{"subnet": "10.1.0.0/24"}], «[»{"subnet": "10.1.0.0/25"}]]"#),
        },
        Case {
            name: "an exclusion of everything",
            code: "KI0223",
            message: "nothing of 10.1.0.0/24 is left to give",
            text: network(r#""subnet": «"10.1.0.0/24"», "exclude": ["10.1.0.0/24"]"#),
        },
        Case {
            name: "a list of no nodes",
            code: "KI0225",
            message: "leave it out if all are meant",
            text: subnet(r#""nodes": «[]»"#),
        },
        Case {
            name: "257 ranges",
            code: "KI0226",
            message: "at most 256 are possible",
            text: network(&format!(r#""ranges": [[{}]]"#, many.join(", "))).replace("\"ipam\"", "«\"ipam\"»"),
        },
        Case {
            name: "a route with host bits",
            code: "KI0227",
            message: "the destination is 10.0.0.0/8",
            text: subnet(r#""routes": [{"dst": «"10.9.0.1/8"»}]"#),
        },
        Case {
            name: "a next hop of the other family",
            code: "KI0227",
            message: "but the destination is",
            text: subnet(r#""routes": [{"dst": "10.9.0.0/16", "gw": «"fd00::1"»}]"#),
        },
        Case {
            name: "two stores",
            code: "KI0228",
            message: "contradicts etcdConfig",
            text: defaults(r#""store": «"embedded"», "etcdConfig": {"etcdURL": "https://192.0.2.50:2379"}"#, ""),
        },
        Case {
            name: "a member of another protocol",
            code: "KI0229",
            message: "is not the URL of an etcd member",
            text: defaults(r#""etcdConfig": {"etcdURL": «"ftp://192.0.2.50"»}"#, ""),
        },
        Case {
            name: "a certificate without its key",
            code: "KI0230",
            message: "needs etcdKeyFile beside it",
            text: defaults(
                r#""etcdConfig": {"etcdURL": "https://192.0.2.50:2379", "etcdCertFile": «"/etc/etcd/client.crt"»}"#,
                "",
            ),
        },
        Case {
            name: "a prefix with a blank",
            code: "KI0231",
            message: "can't come before keys",
            text: defaults(r#""etcdConfig": {"etcdURL": "https://192.0.2.50:2379", "prefix": «"/kube ipam/"»}"#, ""),
        },
        Case {
            name: "a namespace in upper case",
            code: "KI0237",
            message: "can't be the name of a namespace",
            text: defaults(r#""kubernetesConfig": {"namespace": «"Net_A"»}"#, ""),
        },
        Case {
            name: "a label with a blank",
            code: "KI0232",
            message: "nodeSelector",
            text: subnet(r#""nodeSelector": {"rack": «"a b"»}"#),
        },
        Case {
            name: "a pool in upper case",
            code: "KI0233",
            message: "DB",
            text: subnet(r#""pools": {«"DB"»: {"addresses": ["10.1.0.30"]}}"#),
        },
        Case {
            name: "a pool of nothing",
            code: "KI0234",
            message: "a pool needs its addresses",
            text: subnet(r#""pools": {"db": {"addresses": «[]»}}"#),
        },
        Case {
            name: "two pools with common addresses",
            code: "KI0235",
            message: "overlaps",
            text: subnet(
                r#""pools": {"db": {"addresses": ["10.1.0.30-10.1.0.32"]}, "pg": {"addresses": [«"10.1.0.32"»]}}"#,
            ),
        },
        Case {
            name: "a pool of another subnet",
            code: "KI0236",
            message: "is in no subnet of this network",
            text: subnet(r#""pools": {"db": {"addresses": [«"10.9.0.1"»]}}"#),
        },
        Case {
            name: "an unknown key", code: "KI0251", message: "unknown key", text: subnet(r#"«"colour"»: "blue""#)
        },
        Case {
            name: "a log level of whereabouts",
            code: "KI0252",
            message: "a key of whereabouts, without effect here",
            text: subnet(r#"«"log_level"»: "debug""#),
        },
        Case {
            name: "a locked key that says the same",
            code: "KI0253",
            message: "which say the same",
            text: defaults(r#""store": "embedded", "vrf": "pods", "locked": ["vrf"]"#, r#"«"vrf"»: "pods""#),
        },
        Case {
            name: "a gateway of no range",
            code: "KI0254",
            message: "has no effect without",
            text: network(r#""ranges": [[{"subnet": "10.1.0.0/24"}]], «"gateway"»: "10.1.0.1""#),
        },
        Case {
            name: "etcd without TLS",
            code: "KI0255",
            message: "is reached without TLS",
            text: defaults(r#""etcdConfig": {«"etcdURL"»: "http://192.0.2.50:2379"}"#, ""),
        },
    ]
}
