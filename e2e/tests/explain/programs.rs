//! What programs get: documents that docs/explain.schema.json describes.

use std::fs;

use kube_ipam::store::StoreConfig;
use kube_ipam_e2e::checkout::root;
use serde_json::{Value, json};

use crate::{Host, document, on_each_store, write};

#[test]
fn each_document_is_what_the_schema_describes() {
    let schema = fs::read_to_string(root().join("docs/explain.schema.json")).unwrap();
    let validator = jsonschema::validator_for(&serde_json::from_str(&schema).unwrap()).unwrap();
    on_each_store("each_document_is_what_the_schema_describes", |node| {
        let host = Host::new(node);
        let fixed = json!({ "kube-ipam.eth0.ip": "10.1.0.11" });
        host.add("db-0", &fixed).ok();
        host.add("db-1", &fixed).refused();
        host.add("random", &json!({})).ok();
        host.call("DEL", "random").ok();
        write(node, crate::lease_key("10.1.0.13"), &json!({ "v": 7 }));
        let subjects = [
            "10.1.0.11",
            "10.1.0.12",
            "10.1.0.13",
            "10.1.0.100",
            "10.9.0.1",
            "10.1.0.0/24",
            "db/db-0",
            "db/db-1",
            "db/nobody",
            "claim/db/vm-a",
            "mac/02:00:00:00:00:07",
        ];
        for subject in subjects {
            let found = document(node, subject);
            let errors: Vec<String> = validator.iter_errors(&found).map(|error| error.to_string()).collect();
            assert_eq!(errors, Vec::<String>::new(), "{subject}: {found:#}");
        }
        // The schema would find a mistake.
        let held = document(node, "10.1.0.11");
        let is_wrong = |change: fn(&mut Value)| {
            let mut wrong = held.clone();
            change(&mut wrong);
            !validator.is_valid(&wrong)
        };
        assert!(is_wrong(|found| found[0]["state"] = "lost".into()));
        assert!(is_wrong(|found| found[0]["facts"][0]["topic"] = "weather".into()));
        assert!(is_wrong(|found| found[0]["before"]["unknown"][0]["why"] = "forgotten".into()));
        assert!(is_wrong(|found| found[0]["before"]["unknown"][0]["source"] = Value::Null));
    });
}

#[test]
fn what_is_not_known_of_the_past_has_its_source_and_its_reason() {
    on_each_store("what_is_not_known_of_the_past_has_its_source_and_its_reason", |node| {
        let host = Host::new(node);
        host.add("db-0", &json!({ "kube-ipam.eth0.ip": "10.1.0.11" })).ok();
        let unknown = document(node, "10.1.0.11")[0]["before"]["unknown"].clone();
        let find = |source: &str, why: &str| {
            let is_it = |found: &&Value| found["source"] == source && found["why"] == why;
            unknown.as_array().unwrap().iter().find(is_it).cloned()
        };
        let log = find("log", "begins").unwrap_or_else(|| panic!("{unknown}"));
        assert!(log["before"].is_string() && log["text"].as_str().unwrap().contains("log begins at"), "{log}");
        // Only etcd keeps earlier leases; only an embedded store is this node's alone.
        let (keeps, is_shared) = match node.store() {
            StoreConfig::Embedded { .. } => (false, false),
            StoreConfig::Etcd(_) => (true, true),
            StoreConfig::Kubernetes(_) => (false, true),
        };
        assert_eq!(find("store", "not-kept").is_some(), !keeps, "{unknown}");
        assert_eq!(find("other-logs", "not-read").is_some(), is_shared, "{unknown}");
        fs::remove_file(node.path("kube-ipam.log")).unwrap();
        let unknown = document(node, "10.1.0.11")[0]["before"]["unknown"].clone();
        let missing = unknown.as_array().unwrap().iter().find(|found| found["why"] == "missing").cloned().unwrap();
        assert_eq!((&missing["source"], missing["file"].is_string()), (&json!("log"), true), "{missing}");
    });
}
