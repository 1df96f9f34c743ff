//! Every plugin with every store, and what an ADD would refuse.
#![allow(clippy::unwrap_used, reason = "a test's verdict is a panic")]

use super::*;

fn options(plugin: MainPlugin, store: StoreOptions) -> ConfigOptions {
    ConfigOptions {
        plugin,
        name: Name::closest("net"),
        accepts_ips: false,
        ranges: RangesOptions::example(),
        pools: Vec::new(),
        store,
        in_multus_file: false,
    }
}

fn embedded() -> StoreOptions {
    StoreOptions::Embedded { data_dir: None, kubeconfig: "/etc/cni/net.d/kube-ipam.d/kubeconfig".into() }
}

fn subnets(subnets: &[&str]) -> RangesOptions {
    let ranges = subnets.iter().map(|subnet| RangeOptions::new(subnet.parse().unwrap())).collect();
    RangesOptions { ranges, ..RangesOptions::default() }
}

#[test]
fn one_subnet_is_a_flat_range_and_several_are_a_set_for_each_family() {
    let ranges = |of: &[&str]| config(&ConfigOptions { ranges: subnets(of), ..options(MainPlugin::Ptp, embedded()) });
    let block = |of: &[&str]| ranges(of).unwrap().document["ipam"].clone();
    assert_eq!(block(&["10.1.0.0/24"])["subnet"], "10.1.0.0/24");
    let sets = block(&["10.1.0.0/24", "fd00::/64", "10.2.0.0/24"])["ranges"].clone();
    let expected = serde_json::json!([
        [{ "subnet": "10.1.0.0/24" }, { "subnet": "10.2.0.0/24" }], [{ "subnet": "fd00::/64" }],
    ]);
    assert_eq!(sets, expected);
}

#[test]
fn what_an_add_would_refuse_is_not_written() {
    let pool = PoolOptions { name: "db".to_owned(), addresses: vec!["10.9.0.1".to_owned()], namespaces: Vec::new() };
    let mut backwards = RangesOptions::example();
    backwards.ranges[0].random.swap(0, 1);
    let plain = options(MainPlugin::Ptp, embedded());
    for (options, text) in [
        (ConfigOptions { pools: vec![pool], ..plain.clone() }, "10.9.0.1"),
        (ConfigOptions { ranges: backwards, ..plain.clone() }, "runs backwards"),
        (ConfigOptions { ranges: subnets(&["10.1.0.0/24", "10.1.0.0/25"]), ..plain.clone() }, "overlaps"),
        (ConfigOptions { ranges: subnets(&["10.1.0.7/24"]), ..plain.clone() }, "10.1.0.7/24"),
        (
            options(
                MainPlugin::Ptp,
                StoreOptions::Etcd { endpoints: "ftp://192.0.2.1".to_owned(), files: None, kubeconfig: "/k".into() },
            ),
            "192.0.2.1",
        ),
    ] {
        let error = config(&options).unwrap_err().to_string();
        assert!(error.starts_with("an ADD would refuse this configuration: ") && error.contains(text), "{error}");
    }
}

#[test]
fn what_may_not_be_intended_is_a_warning() {
    let store = StoreOptions::Etcd {
        endpoints: "http://192.0.2.1:2379".to_owned(),
        files: None,
        kubeconfig: "/etc/cni/net.d/kube-ipam.d/kubeconfig".into(),
    };
    let report = config(&options(MainPlugin::Ptp, store)).unwrap();
    assert!(report.warnings.iter().any(|warning| warning.contains("without TLS")), "{:?}", report.warnings);
}

#[test]
fn the_sample_can_be_requested() {
    let window = RangesOptions::example();
    assert_eq!(window.sample(), Some("10.188.0.10".parse().unwrap()));
    let mut random = subnets(&["10.1.0.0/24"]);
    assert_eq!(random.sample(), None);
    random.ranges[0].random[0] = Some("10.1.0.50".parse().unwrap());
    assert_eq!(random.sample(), Some("10.1.0.50".parse().unwrap()));
    random.ranges[0].fixed[1] = Some("10.1.0.20".parse().unwrap());
    assert_eq!(random.sample(), None);
}
