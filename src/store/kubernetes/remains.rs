//! Collects what dead processes have left: locks, commits without a value, and objects without either.
//!
//! Whoever needs a key resolves what it meets there. Nobody meets the rest, such as the lease of a container that was
//! never heard of again. It does no harm, but looks like a transaction that is under way.

use std::collections::HashMap;
use std::time::Duration;

use super::client::Client;
use super::driver;
use super::lists;
use super::manifest::listed;
use super::object::Version;
use super::resource::{RESOURCES, Stretch};
use crate::deadline::Deadline;
use crate::store::{Key, StoreError};

/// How long something must be unchanged to be a remain: longer than a transaction that lives takes between two writes.
const UNCHANGED: Duration = Duration::from_secs(2);

/// Removes remains. Returns how many there were. One that can't be removed keeps no other from being removed; the first
/// error is returned after that.
pub(super) async fn collect(client: &Client, deadline: Deadline) -> Result<usize, StoreError> {
    let first = look(client, deadline).await?;
    if first.is_empty() {
        return Ok(0);
    }
    tokio::time::sleep(UNCHANGED.min(deadline.remaining())).await;
    let second = look(client, deadline).await?;
    let remains: Vec<Key> =
        second.into_iter().filter(|(key, version)| first.get(key) == Some(version)).map(|(key, _)| key).collect();
    let mut first_error = None;
    for key in &remains {
        let cleaned = driver::clean(client, key.clone(), deadline).await;
        first_error = first_error.or(cleaned.err());
    }
    first_error.map_or(Ok(remains.len()), Err)
}

/// The objects that have a lock or no value, with their versions. Marks that can't be read are left to `doctor`.
async fn look(client: &Client, deadline: Deadline) -> Result<HashMap<Key, Version>, StoreError> {
    let mut found = HashMap::new();
    for resource in &RESOURCES {
        let objects = lists::objects(client, &Stretch::open(resource), deadline).await?;
        let known = objects.into_iter().filter_map(|object| listed(resource, object).ok().flatten());
        let readable = known.filter(|stored| stored.object.unreadable_mark().is_none());
        found.extend(readable.map(|stored| (stored.object.key.clone(), stored.version.clone())));
    }
    Ok(found)
}
