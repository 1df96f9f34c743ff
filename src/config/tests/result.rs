//! Routes and name resolution.

use insta::{assert_json_snapshot, assert_snapshot};
use serde_json::{Value, json};

use super::{mistakes, network, table, with_subnet};
use crate::ipam::lease::Assigned;

#[test]
fn routes_are_returned_as_they_are_written() {
    let routes = json!([
        { "dst": "0.0.0.0/0" },
        { "dst": "fd00::/8", "gw": "fd00::1" },
        { "dst": "10.9.0.0/16", "gw": "10.1.0.254", "mtu": 1400, "advmss": 1360, "priority": 0, "table": 100, "scope": 253 },
    ]);
    let network = network(with_subnet(json!({ "routes": routes })));
    assert_eq!(serde_json::to_value(network.routes).unwrap(), routes);
}

#[test]
fn what_is_wrong_with_a_route_is_said_with_its_place() {
    let routes = |route: Value| with_subnet(json!({ "routes": [{ "dst": "0.0.0.0/0" }, route] }));
    assert_snapshot!(table([
        routes(json!({ "gw": "10.1.0.1" })),
        routes(json!({ "dst": "10.9.0.0" })),
        routes(json!({ "dst": "default" })),
        routes(json!({ "dst": "10.9.0.0/16", "gw": "x" })),
        routes(json!({ "dst": "10.9.0.1/16", "gw": "fd00::1" })),
        routes(json!({ "dst": "fd00::1/64" })),
        routes(json!(null)),
        routes(json!({ "dst": "10.9.0.0/16", "mtu": "1400", "table": -1, "priority": 4294967296_u64, "scope": 1.5 })),
        routes(json!("10.9.0.0/16")),
        routes(json!({ "dst": "10.9.0.0/16", "gwy": "10.1.0.1" })),
        with_subnet(json!({ "routes": { "dst": "0.0.0.0/0" } })),
    ]), @r#"
    ipam.routes[1].dst: missing; a route needs its destination in CIDR notation, such as "0.0.0.0/0"
    ipam.routes[1].dst: "10.9.0.0" is not a network in CIDR notation
    ipam.routes[1].dst: "default" is not a network in CIDR notation
    ipam.routes[1].gw: "x" is not an IP address
    2 mistakes: (1) ipam.routes[1].dst: 10.9.0.1/16 has host bits set; the destination is 10.9.0.0/16; (2) ipam.routes[1].gw: fd00::1 is IPv6, but the destination is 10.9.0.1/16
    ipam.routes[1].dst: fd00::1/64 has host bits set; the destination is fd00::/64
    ipam.routes[1]: an empty entry; write what is meant, or remove it
    4 mistakes: (1) ipam.routes[1].mtu: expected a whole number from 0 to 4294967295, found "1400"; (2) ipam.routes[1].priority: expected a whole number from 0 to 4294967295, found 4294967296; (3) ipam.routes[1].table: expected a whole number from 0 to 4294967295, found -1; (4) ipam.routes[1].scope: expected a whole number from 0 to 4294967295, found 1.5
    ipam.routes[1]: expected an object in braces, found "10.9.0.0/16"
    ipam.routes[1].gwy: unknown key; did you mean gw?
    ipam.routes: expected a list in brackets, found an object
    "#);
}

fn file(text: impl AsRef<[u8]>) -> (tempfile::TempDir, String) {
    let dir = tempfile::Builder::new().prefix("kube-ipam-").tempdir().unwrap();
    let path = dir.path().join("resolv.conf");
    std::fs::write(&path, text).unwrap();
    let path = path.to_str().unwrap().to_owned();
    (dir, path)
}

#[test]
fn name_resolution_is_read_from_the_file_of_resolv_conf() {
    let (_dir, path) = file(
        "# a comment\n; another\n\nnameserver 10.96.0.10\nnameserver\tfe80::1%eth0  \ndomain example.org\n\
         search a.example b.example\nsearch c.example\noptions ndots:5 edns0\nsortlist 10.0.0.0\nnameserver\n",
    );
    assert_json_snapshot!(network(with_subnet(json!({ "resolvConf": path }))).dns, @r#"
    {
      "nameservers": [
        "10.96.0.10",
        "fe80::1%eth0"
      ],
      "domain": "example.org",
      "search": [
        "a.example",
        "b.example",
        "c.example"
      ],
      "options": [
        "ndots:5",
        "edns0"
      ]
    }
    "#);
}

#[test]
fn dns_goes_before_resolv_conf_which_is_then_not_read() {
    let dns =
        json!({ "nameservers": ["10.96.0.10"], "domain": "example.org", "search": ["a"], "options": ["ndots:5"] });
    let network = network(with_subnet(json!({ "resolvConf": "/nonexistent", "dns": dns })));
    assert_eq!(serde_json::to_value(network.dns).unwrap(), dns);
}

#[test]
fn a_file_of_resolv_conf_that_can_not_be_read_is_a_mistake_that_names_it() {
    assert_snapshot!(table([
        with_subnet(json!({ "resolvConf": "/nonexistent/resolv.conf" })),
        with_subnet(json!({ "resolvConf": "/dev/zero" })),
        with_subnet(json!({ "resolvConf": "resolv.conf" })),
        with_subnet(json!({ "dns": { "nameservers": ["one.one"] } })),
    ]), @r#"
    ipam.resolvConf: can't read /nonexistent/resolv.conf: No such file or directory (os error 2)
    ipam.resolvConf: can't read /dev/zero: it is not a regular file
    ipam.resolvConf: "resolv.conf" is not an absolute path; start it with '/'
    ipam.dns.nameservers[0]: "one.one" is not an IP address
    "#);
    let (_dir, path) = file([0xff, 0xfe]);
    assert_snapshot!(mistakes(with_subnet(json!({ "resolvConf": path }))).to_string().replace(&path, "<file>"), @"ipam.resolvConf: can't read <file>: it is not text");
}

#[test]
fn routes_and_name_servers_of_a_family_that_a_pod_leaves_out_are_left_out_too() {
    let routes = json!([{ "dst": "0.0.0.0/0" }, { "dst": "fd00::/8", "gw": "fd00::1" }]);
    let dns = json!({ "nameservers": ["10.1.0.53", "fd00::53"], "search": ["example.org"] });
    let of = |ranges: Value, given: &[&str]| {
        let network = network(json!({ "ranges": ranges, "routes": routes, "dns": dns }));
        let assigned = |address: &&str| Assigned { address: address.parse().unwrap(), gateway: None };
        let addresses: Vec<Assigned> = given.iter().map(assigned).collect();
        let (routes, dns) = network.routes_and_dns(&addresses);
        assert_eq!(dns.search, ["example.org"]);
        let destinations: Vec<String> = routes.iter().map(|route| route.dst.to_string()).collect();
        format!("{} | {}", destinations.join(" "), dns.nameservers.join(" "))
    };
    let both = json!([[{ "subnet": "10.1.0.0/24" }], [{ "subnet": "fd00::/64" }]]);
    assert_snapshot!(of(both.clone(), &["10.1.0.7/24", "fd00::7/64"]), @"0.0.0.0/0 fd00::/8 | 10.1.0.53 fd00::53");
    assert_snapshot!(of(both.clone(), &["10.1.0.7/24"]), @"0.0.0.0/0 | 10.1.0.53");
    assert_snapshot!(of(both, &["fd00::7/64"]), @"fd00::/8 | fd00::53");
    // As in host-local, routes of a family without any range are returned as written.
    assert_snapshot!(of(json!([[{ "subnet": "10.1.0.0/24" }]]), &["10.1.0.7/24"]), @"0.0.0.0/0 fd00::/8 | 10.1.0.53 fd00::53");
}
