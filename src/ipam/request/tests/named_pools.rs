//! Named pools: requests by name and by address, and the pods that may use them.

use insta::assert_snapshot;

use super::annotations::{Case, net1};
use super::*;
use crate::ipam::decide::tests::world::claim;
use crate::ipam::pool::tests::{pool, with_pools};

const DB: (&str, &str) = ("kube-ipam.net1.pool", "db");

/// A network of both families with a pool for namespace database, one for all namespaces, and one with IPv6 only.
fn pooled() -> Network {
    let fixed = Some("10.0.0.100-10.0.0.109".parse().unwrap());
    let v4 = vec![Range { fixed, ..range("10.0.0.0/24") }];
    let pools = vec![
        pool("db", &["10.0.0.40", "10.0.0.20-10.0.0.22", "fd00::20-fd00::29"], &["database", "db-*"]),
        pool("web", &["10.0.0.50-10.0.0.59"], &[]),
        pool("six", &["fd00::60"], &[]),
    ];
    with_pools(network(vec![v4, vec![range("fd00::/64")]]), pools)
}

fn told(annotations: &[(&str, &str)]) -> String {
    net1(annotations).of(pooled()).in_namespace("database").told()
}

#[test]
fn a_pod_that_names_a_pool_gets_one_address_of_it_in_each_set_that_it_has_any_of() {
    assert_snapshot!(told(&[DB]), @"one of pool db by annotation kube-ipam.net1.pool | one of pool db by annotation kube-ipam.net1.pool");
    assert_snapshot!(told(&[("kube-ipam.net1.pool", " web, ")]), @"one of pool web by annotation kube-ipam.net1.pool | any address");
    assert_snapshot!(told(&[("kube-ipam.net1.pool", "six")]), @"any address | one of pool six by annotation kube-ipam.net1.pool");
    assert_snapshot!(told(&[DB, ("kube-ipam.net1.netmask", "/16")]), @"one of pool db /16 by annotation kube-ipam.net1.pool | one of pool db by annotation kube-ipam.net1.pool");
    let (requests, _) = net1(&[DB]).of(pooled()).in_namespace("db-2").resolve().unwrap();
    let addresses = |request: &AddressRequest| match &request.selection {
        Selection::OneOf(pool) => pool.addresses.to_string(),
        other => other.to_string(),
    };
    assert_eq!(
        requests.iter().map(addresses).collect::<Vec<_>>(),
        ["10.0.0.20-10.0.0.22, 10.0.0.40", "fd00::20-fd00::29"]
    );
}

#[test]
fn a_pool_is_for_the_pods_of_its_namespaces_alone() {
    let of = |namespace, pool| net1(&[("kube-ipam.net1.pool", pool)]).of(pooled()).in_namespace(namespace).told();
    assert_snapshot!(of("web", "db"), @"namespace: pods of namespace web may not get addresses from pool db of network db-net: its `namespaces` are database, db-*");
    assert_snapshot!(net1(&[DB]).of(pooled()).told(), @"namespace: pods of no namespace may not get addresses from pool db of network db-net: its `namespaces` are database, db-*");
    assert_snapshot!(of("anybody", "web"), @"one of pool web by annotation kube-ipam.net1.pool | any address");
}

#[test]
fn a_name_that_is_no_pool_of_the_network_is_an_error_and_so_is_one_in_a_list() {
    let of = |value| told(&[("kube-ipam.net1.pool", value)]);
    assert_snapshot!(of("dbs"), @"annotation: annotation kube-ipam.net1.pool: network db-net has no pool dbs; its pools are db, web, six");
    assert_snapshot!(of("db, web"), @r#"annotation: annotation kube-ipam.net1.pool: "db" is not an address or a span; the name of a pool stands alone"#);
    assert_snapshot!(of("10.0.0.100, db"), @r#"annotation: annotation kube-ipam.net1.pool: "db" is not an address or a span; the name of a pool stands alone"#);
    assert_snapshot!(of("DB"), @r#"annotation: annotation kube-ipam.net1.pool: "DB" is not a list of addresses and spans such as 10.188.0.20-10.188.0.29, 10.188.0.40, or the name of a pool"#);
    assert_snapshot!(net1(&[DB]).told(), @"annotation: annotation kube-ipam.net1.pool: network db-net has no pool db; it has no pools");
    let many = (0..20).map(|n| pool(&format!("p{n}"), &[&format!("10.0.0.{}", 20 + n)], &[])).collect();
    assert_snapshot!(net1(&[DB]).of(with_pools(network(vec![vec![range("10.0.0.0/24")]]), many)).told(), @"annotation: annotation kube-ipam.net1.pool: network db-net has no pool db; its pools are p0, p1, p2, p3, p4, p5, p6, p7, p8, p9, p10, p11, p12, p13, p14, p15 and 4 more");
    assert_snapshot!(told(&[DB, ("kube-ipam.net1.ip", "10.0.0.20")]), @"annotation: annotations kube-ipam.net1.ip and kube-ipam.net1.pool exclude each other; keep one of them");
    assert_snapshot!(told(&[("kube-ipam.net9.pool", "db")]), @"annotation: annotation kube-ipam.net9.pool is for an interface that this pod does not have, and net1 would get a random address instead; the pod's interfaces are eth0, net1, net2");
}

#[test]
fn an_address_of_a_pool_is_requested_from_its_namespaces_alone_whoever_asks() {
    /// A way to request an address of the pool.
    struct Way<'a> {
        annotations: &'a [(&'a str, &'a str)],
        ips: &'a [&'a str],
        refused: &'a str,
    }
    let ways = [
        Way {
            annotations: &[("kube-ipam.net1.ip", "10.0.0.21")],
            ips: &[],
            refused: "10.0.0.21, requested by annotation kube-ipam.net1.ip",
        },
        Way {
            annotations: &[("kube-ipam.ip", "10.0.0.21")],
            ips: &[],
            refused: "10.0.0.21, requested by annotation kube-ipam.ip",
        },
        Way {
            annotations: &[("kube-ipam.net1.ip", "fd00::29")],
            ips: &[],
            refused: "fd00::29, requested by annotation kube-ipam.net1.ip",
        },
        Way { annotations: &[], ips: &["10.0.0.21/24"], refused: "10.0.0.21, requested by runtimeConfig.ips" },
        Way {
            annotations: &[("kube-ipam.net1.pool", "10.0.0.20-10.0.0.21")],
            ips: &[],
            refused: "10.0.0.20, requested by kube-ipam.net1.pool",
        },
    ];
    for Way { annotations, ips, refused } in ways {
        let case = |namespace| net1(annotations).of(pooled()).runtime(ips).in_namespace(namespace);
        let reason = "can't be assigned: it is in pool db, which is for namespaces database, db-*";
        assert_eq!(case("web").told(), format!("not_assignable: {refused}, {reason}"));
        // A pool may lie outside the window of fixed addresses.
        let (requests, _) = case("database").resolve().unwrap();
        assert!(requests.iter().any(|request| request.selection != Selection::Auto), "{refused}");
    }
    // A span with an address of the pool between its ends.
    let around = [("kube-ipam.net1.pool", "fd00::10-fd00::40")];
    assert_snapshot!(net1(&around).of(pooled()).in_namespace("web").told(), @"not_assignable: fd00::20, requested by kube-ipam.net1.pool, can't be assigned: it is in pool db, which is for namespaces database, db-*");
    // A pool without namespaces is open to all.
    let open = [("kube-ipam.net1.ip", "10.0.0.51")];
    assert_snapshot!(net1(&open).of(pooled()).told(), @"10.0.0.51 by annotation kube-ipam.net1.ip | any address");
}

#[test]
fn a_claim_gets_its_address_of_a_pool_again_as_long_as_its_namespace_may_have_it() {
    let resolved = |annotations: &[(&str, &str)], namespace, ips: &[&str]| {
        let annotations = net1(annotations).read().unwrap();
        let (network, claim) = (pooled(), claim(ips));
        let inputs =
            Inputs { annotations: Some(&annotations), claim: Some(&claim), namespace: Some(namespace), ..nothing() };
        let resolved = resolve(network.ranges(), &inputs).map_err(|refusal| chain(&refusal).to_string());
        resolved.map(|(requests, _)| requests[0].selection.to_string())
    };
    for annotations in [&[][..], &[DB]] {
        assert_eq!(resolved(annotations, "database", &["10.0.0.21/24"]).unwrap(), "10.0.0.21");
    }
    assert_eq!(resolved(&[DB], "database", &[]).unwrap(), "one of pool db");
    assert_snapshot!(resolved(&[DB], "database", &["10.0.0.100"]).unwrap_err(), @"of 10.0.0.1-10.0.0.254 of 10.0.0.0/24, annotation kube-ipam.net1.pool asks for one of pool db, but the status of IPAMClaim db/vm1.data for 10.0.0.100; remove one of them or make both equal");
    assert_snapshot!(resolved(&[], "web", &["10.0.0.21"]).unwrap_err(), @"10.0.0.21, requested by the status of IPAMClaim db/vm1.data, can't be assigned: it is in pool db, which is for namespaces database, db-*");
}

#[test]
fn the_pods_of_a_stateful_set_count_over_a_pool_in_its_order() {
    let at = |pod, first| net1(&[DB]).of(pooled()).in_namespace("database").ordinal(pod, first).told();
    assert_snapshot!(at(0, 0), @"10.0.0.40 by annotation kube-ipam.net1.pool | fd00::20 by annotation kube-ipam.net1.pool");
    assert_snapshot!(at(1, 0), @"10.0.0.20 by annotation kube-ipam.net1.pool | fd00::21 by annotation kube-ipam.net1.pool");
    assert_snapshot!(at(8, 5), @"10.0.0.22 by annotation kube-ipam.net1.pool | fd00::23 by annotation kube-ipam.net1.pool");
    assert_snapshot!(at(4, 0), @"annotation: pool db has 4 addresses in 10.0.0.1-10.0.0.254 of 10.0.0.0/24, too few for pod number 4 (counted from 0); add one for every replica");
    assert_snapshot!(at(4, 5), @"annotation: pool db has 4 addresses in 10.0.0.1-10.0.0.254 of 10.0.0.0/24, too few for pod number 4 (counted from 5); add one for every replica");
    // Excluded addresses don't count.
    let exclude = vec!["10.0.0.21".parse().unwrap()];
    let with_hole = network(vec![vec![Range { exclude, ..range("10.0.0.0/24") }]]);
    let with_hole = with_pools(with_hole, vec![pool("db", &["10.0.0.20-10.0.0.23"], &[])]);
    let at = |pod| net1(&[DB]).of(with_hole.clone()).ordinal(pod, 0).told();
    assert_snapshot!(at(1), @"10.0.0.22 by annotation kube-ipam.net1.pool");
}

#[test]
fn a_pool_with_addresses_for_several_racks_gives_those_of_this_one() {
    let at = |network: Network, ordinal: Option<u32>| {
        let case = net1(&[DB]).of(network);
        ordinal.map_or_else(|| case.told(), |pod| case.clone().ordinal(pod, 0).told())
    };
    assert_snapshot!(at(racks_with_pool(&["10.1.0.20-10.1.0.21", "10.2.0.20-10.2.0.21"]), None), @"one of pool db by annotation kube-ipam.net1.pool");
    // All nodes count alike.
    assert_snapshot!(at(racks_with_pool(&["10.1.0.20-10.1.0.21", "10.2.0.20-10.2.0.21"]), Some(3)), @"10.2.0.21 by annotation kube-ipam.net1.pool");
    assert_snapshot!(at(racks_with_pool(&["10.1.0.20-10.1.0.21", "10.2.0.20-10.2.0.21"]), Some(1)), @"not_assignable: 10.1.0.21, requested by annotation kube-ipam.net1.pool (pool db), is in range 10.1.0.0/24 of this network, which is for nodes rack1-*, rack3-*; this node is rack2-a");
    assert_snapshot!(at(racks_with_pool(&["10.1.0.20-10.1.0.21"]), None), @"not_assignable: 10.1.0.20, requested by annotation kube-ipam.net1.pool (pool db), is in range 10.1.0.0/24 of this network, which is for nodes rack1-*, rack3-*; this node is rack2-a");
}

/// The network of [`racks`], with a pool in both ranges of its only set.
fn racks_with_pool(addresses: &[&str]) -> Network {
    let (mut network, pool) = (racks(), std::sync::Arc::new(pool("db", addresses, &[])));
    let set: Vec<&Range> = network.sets[0].ranges().iter().chain(&network.other_nodes).collect();
    let share = crate::ipam::pool::divide(&pool, &[], &[set]).concat();
    network.sets = network.sets.iter().map(|set| set.clone().with_pool(&pool, share.clone(), &share)).collect();
    network.pools = vec![pool];
    network
}

#[test]
fn a_pool_without_an_address_for_the_interface_is_an_error() {
    let six = |annotations: &[(&'static str, &'static str)]| Case::of(net1(annotations), pooled());
    let [four, pool_six] = [("kube-ipam.net1.families", "4"), ("kube-ipam.net1.pool", "six")];
    assert_snapshot!(six(&[four, pool_six]).told(), @"annotation: annotation kube-ipam.net1.families limits this interface to IPv4, but annotation kube-ipam.net1.pool (pool six) requests fd00::60; remove one of them");
    assert_snapshot!(six(&[four, DB]).in_namespace("database").told(), @"one of pool db by annotation kube-ipam.net1.pool");
    // Its range is for another namespace.
    let closed = Range { namespaces: vec!["web".to_owned()], ..range("10.0.1.0/24") };
    let network = with_pools(network(vec![vec![range("10.0.0.0/24"), closed]]), vec![pool("db", &["10.0.1.20"], &[])]);
    assert_snapshot!(net1(&[DB]).of(network).in_namespace("database").told(), @"namespace: pods of namespace database may not get addresses from 10.0.1.1-10.0.1.254 of 10.0.1.0/24: its `namespaces` are web");
}
