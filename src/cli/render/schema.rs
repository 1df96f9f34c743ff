//! The schemas of documents for programs, in docs/.

use std::path::Path;

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;

/// Compares a file of docs/ with the schema of a document; with UPDATE_SCHEMA=1 in the environment writes it.
#[track_caller]
pub(super) fn assert_current<T: JsonSchema>(file: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs").join(file);
    // A key that is left out when it is empty is required of nobody who reads the document.
    let settings = SchemaSettings::draft2020_12().for_serialize();
    let schema = serde_json::to_string_pretty(&settings.into_generator().into_root_schema_for::<T>());
    let schema = schema.unwrap_or_default() + "\n";
    if std::env::var_os("UPDATE_SCHEMA").is_some() {
        assert!(std::fs::write(&path, &schema).is_ok(), "{} can't be written", path.display());
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(written == schema, "docs/{file} is not current; write it with UPDATE_SCHEMA=1 cargo test --lib schema");
}
