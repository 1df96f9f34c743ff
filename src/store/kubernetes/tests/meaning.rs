//! What the objects mean: the map that somebody would see who resolved all locks at this moment. It is written
//! independently of the protocol's own code.

use super::api::Api;
use crate::store::Entry;
use crate::store::kubernetes::api::Stored;
use crate::store::kubernetes::object::{Then, Versioned};

/// The entries, in the order of their keys.
pub(super) fn meaning(api: &Api) -> Vec<Entry> {
    let entry = |stored: &Stored| {
        let Versioned { value, revision } = value(api, stored)?;
        Some(Entry { key: stored.object.key.clone(), value, revision })
    };
    api.objects().values().filter_map(|stored| entry(stored)).collect()
}

fn value(api: &Api, stored: &Stored) -> Option<Versioned> {
    let object = &stored.object;
    let Some(lock) = object.lock() else { return object.value.clone() };
    let primary = api.objects().get(&lock.primary);
    let commit = primary.and_then(|primary| primary.commit()).filter(|commit| commit.txn == lock.txn);
    let named = commit.is_some_and(|commit| commit.locks.contains(&(object.key.clone(), stored.version.uid.clone())));
    match &lock.then {
        Then::Put(value) if named => Some(Versioned { value: value.clone(), revision: lock.txn.revision() }),
        Then::Delete if named => None,
        _ => object.value.clone(),
    }
}
