//! Another store under running pods: it would not know their addresses, and would assign them to other pods.
//!
//! The node's own records say which store has the addresses of an interface. They are read only if the node's file and the
//! new defaults name different stores, so they cost a running installer nothing. If the folder of the records is not
//! mounted, the node looks as if it had none.

use std::path::Path;

use serde_json::{Map, Value};

use super::defaults::read;
use super::error::InstallError;
use crate::config;
use crate::record::{ReadResult, Record, RecordState, Records};

/// Refuses these defaults for a node's file if a running pod has addresses in another store.
pub(super) fn refuse_under_pods(next: &Map<String, Value>, file: &Path) -> Result<(), InstallError> {
    let present = read(file).map(|object| config::settings_of_defaults(file, &object));
    let settings = config::settings_of_defaults(file, next);
    let Ok(store) = &settings.store else { return Ok(()) };
    let is_same = present.as_ref().and_then(|present| present.store.as_ref().ok()).map(|it| it.is_same(store));
    if is_same == Some(true) {
        return Ok(());
    }
    let of_node = present.as_ref().unwrap_or(&settings);
    let records = Records::new(&of_node.state_dir, &of_node.node).with_former_names(&of_node.former_nodes);
    let mut elsewhere: Vec<Record> = Vec::new();
    for id in records.all()? {
        match records.peek(&id)? {
            ReadResult::Record(record) if is_in_use(&record) && !record.store.is_same(store) => elsewhere.push(*record),
            _ => {}
        }
    }
    let Some(first) = elsewhere.first() else { return Ok(()) };
    Err(InstallError::OtherStore {
        file: file.to_owned(),
        count: elsewhere.len(),
        example: first
            .pod
            .label()
            .map_or_else(|| format!("container {}", first.id.container), |pod| format!("pod {pod}")),
        present: first.store.to_string(),
        next: store.to_string(),
    })
}

/// Whether an interface has the addresses of this record, or may get them. A deferred release is completed in the store
/// that the record names.
fn is_in_use(record: &Record) -> bool {
    matches!(record.state, RecordState::Held | RecordState::Asked) && !record.deleting
}
