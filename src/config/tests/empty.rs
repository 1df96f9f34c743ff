//! Empty values: keys and lists may be empty, entries of lists must not.

use insta::assert_snapshot;
use serde_json::{Value, json};

use super::{NO_DEFAULTS, config, load_for, loaded, table, with_subnet};
use crate::config::Purpose;

/// A config without any address that its author could have meant.
fn without_an_address(ranges: Value, by_runtime: Value) -> Value {
    let mut config = config(json!({ "ranges": ranges }));
    config["runtimeConfig"] = json!({ "ipRanges": by_runtime });
    config
}

#[test]
fn no_way_to_write_ranges_gives_a_network_without_addresses() {
    let nothing = [json!(null), json!(""), json!([]), json!([null]), json!([[null]]), json!([[]]), json!([[], []])];
    let more = [json!([""]), json!([[""]]), json!([[{}]]), json!([[{ "subnet": null }]]), json!([{ "subnet": "" }])];
    let nothing = nothing.into_iter().chain(more).collect::<Vec<_>>();
    for (ranges, by_runtime) in nothing.iter().flat_map(|a| nothing.iter().map(move |b| (a, b))) {
        let config = without_an_address(ranges.clone(), by_runtime.clone());
        for pod in [false, true] {
            for add in [false, true] {
                let loaded = load_for(Purpose { add, pod }, &config, NO_DEFAULTS);
                assert!(loaded.network.is_err(), "{ranges}, {by_runtime}");
            }
        }
    }
    // An empty set beside another one is still reported.
    let one = json!([{ "subnet": "10.1.0.0/24" }]);
    for ranges in [json!([one, null]), json!([[null], one]), json!([one, []])] {
        assert!(super::mistakes(json!({ "ranges": ranges })).to_string().contains("empty"), "{ranges}");
    }
    let empty = without_an_address(json!([one]), json!([]));
    assert!(load_for(Purpose { add: true, pod: false }, &empty, NO_DEFAULTS).network.is_ok());
}

#[test]
fn an_empty_entry_of_a_list_is_a_mistake_and_an_empty_list_or_key_is_none() {
    let lists = ["exclude", "routes", "namespaces", "nodes", "ranges"];
    for list in lists {
        for entry in [json!(""), json!(" "), json!(null)] {
            let mistakes = super::mistakes(with_subnet(json!({ list: [entry] }))).to_string();
            assert_eq!(
                mistakes,
                format!("ipam.{list}[0]: an empty entry; write what is meant, or remove it"),
                "{entry}"
            );
        }
        for empty in [json!(null), json!("")] {
            assert!(loaded(with_subnet(json!({ list: empty }))).network.is_ok(), "{list}: {empty}");
        }
    }
    // As in Kubernetes, a selector without labels selects all nodes.
    for empty in [json!(null), json!(""), json!({})] {
        assert!(loaded(with_subnet(json!({ "nodeSelector": empty }))).network.unwrap().unplaced.is_empty(), "{empty}");
    }
    for list in ["exclude", "routes", "ranges"] {
        assert!(loaded(with_subnet(json!({ list: [] }))).network.is_ok(), "{list}");
    }
    assert_snapshot!(table([
        json!({ "ranges": [[{ "subnet": "10.1.0.0/24", "exclude": [""] }]] }),
        with_subnet(json!({ "dns": { "nameservers": [""], "search": [null] } })),
        with_subnet(json!({ "etcdConfig": { "etcdURL": ["https://192.0.2.1:2379", ""] } })),
    ]), @r"
    ipam.ranges[0][0].exclude[0]: an empty entry; write what is meant, or remove it
    2 mistakes: (1) ipam.dns.nameservers[0]: an empty entry; write what is meant, or remove it; (2) ipam.dns.search[0]: an empty entry; write what is meant, or remove it
    ipam.etcdConfig.etcdURL[1]: an empty entry; write what is meant, or remove it
    ");
}
