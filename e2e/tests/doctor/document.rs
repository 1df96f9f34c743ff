//! What programs get: documents that docs/doctor.schema.json describes.

use std::fs;

use kube_ipam_e2e::checkout::root;
use serde_json::Value;

use crate::machine::Machine;

#[test]
fn each_document_is_what_the_schema_describes() {
    let schema = fs::read_to_string(root().join("docs/doctor.schema.json")).unwrap();
    let validator = jsonschema::validator_for(&serde_json::from_str(&schema).unwrap()).unwrap();
    let machine = Machine::healthy();
    let document = |args: &[&str]| -> Value {
        serde_json::from_slice(&machine.run(&[args, &["-o", "json"]].concat()).stdout).unwrap()
    };
    // All of it is fine; with another mode, one result has a remedy and a fix.
    let fine = document(&["--node"]);
    machine.set_mode("kube-ipam.json", 0o666);
    let wrong = document(&["--node"]);
    assert!(wrong.as_array().unwrap().iter().any(|result| result["fix"].is_string()), "{wrong:#}");
    for found in [&fine, &wrong, &document(&[])] {
        let errors: Vec<String> = validator.iter_errors(found).map(|error| error.to_string()).collect();
        assert_eq!(errors, Vec::<String>::new(), "{found:#}");
    }
    // The schema would find a mistake.
    let mut bad = wrong.clone();
    bad[0]["status"] = "fatal".into();
    assert!(!validator.is_valid(&bad));
    let mut bad = wrong.clone();
    bad[0]["message"] = Value::Null;
    assert!(!validator.is_valid(&bad));
}
