//! The JSON schemas in docs/, and the list of keys.

use std::path::Path;

use schemars::{JsonSchema, schema_for};

use crate::config::document::{Document, IpamBlock, NodeDefaults, NodeOnly};

/// Compares a file of docs/ with its schema; with UPDATE_SCHEMA=1 in the environment writes it.
fn is_current<T: JsonSchema>(file: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs").join(file);
    let schema = serde_json::to_string_pretty(&schema_for!(T)).unwrap() + "\n";
    if std::env::var_os("UPDATE_SCHEMA").is_some() {
        std::fs::write(&path, &schema).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(written == schema, "docs/{file} is not current; write it with UPDATE_SCHEMA=1 cargo test --lib config::");
}

#[test]
fn the_schema_of_the_ipam_block_is_current() {
    is_current::<IpamBlock>("ipam.schema.json");
}

#[test]
fn the_schema_of_the_node_defaults_is_current() {
    is_current::<NodeDefaults>("node-defaults.schema.json");
}

#[test]
fn the_schema_describes_every_key() {
    let schema = schema_for!(NodeDefaults).to_value();
    let properties = schema["properties"].as_object().unwrap();
    for key in IpamBlock::KEYS.iter().chain(NodeOnly::KEYS) {
        assert!(properties[*key]["description"].is_string(), "{key} has no description");
    }
    assert_eq!(properties.len(), IpamBlock::KEYS.len() + NodeOnly::KEYS.len());
}

#[test]
fn the_reference_explains_every_key() {
    let reference = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/reference-config.md");
    let reference = std::fs::read_to_string(reference).unwrap();
    for key in IpamBlock::KEYS.iter().chain(NodeOnly::KEYS) {
        assert!(reference.contains(&format!("### `{key}`")), "docs/reference-config.md has no section `{key}`");
    }
}
