//! Pages of a long span.
//!
//! A list of the API can't start in the middle, so a page continues where the server's token says. If the server no
//! longer has that state, the list starts anew and passes over what was read.
//!
//! Each entry was there at some moment since the first page was requested.

use std::sync::Arc;

use super::api::Stored;
use super::client::{Client, ListError, stretch};
use super::driver;
use super::object::Versioned;
use super::request::ListPage;
use super::resource::Place;
use super::view::foreign_lock;
use crate::cause::Cause;
use crate::deadline::Deadline;
use crate::store::{Cursor, Entry, Key, KeySpan, Op, OpResponse, Page, StoreError, Txn};

/// Reads a page.
pub(super) async fn read(
    client: &Client,
    span: &KeySpan,
    from: &Cursor,
    limit: u32,
    deadline: Deadline,
) -> Result<Page, StoreError> {
    if span.from >= span.to {
        return Ok(Page { entries: Vec::new(), next: None });
    }
    let stretch = stretch(span)?;
    let mut token = from.token.clone();
    let mut entries = Vec::new();
    loop {
        let more = limit.saturating_sub(u32::try_from(entries.len()).unwrap_or(u32::MAX)).max(1);
        let page = match client.page(&ListPage::fresh(&stretch, more, token.as_deref()), deadline).await {
            Ok(page) => page,
            Err(ListError::Expired) => {
                // What was read of this page stays: it is before everything that is still to be read.
                token = None;
                continue;
            }
            Err(ListError::Store(error)) => return Err(error),
        };
        token = page.continues;
        let is_past = page.items.last().is_some_and(|stored| stored.object.key >= span.to);
        // A list has the order of names, which is not that of keys whose names end in a hash.
        let name = |key: &Key| Place::of(key).map(|place| place.name);
        let after = entries.last().map(|entry: &Entry| &entry.key).or(from.after.as_ref()).and_then(name);
        let is_new = |key: &Key| span.contains(key) && name(key) > after;
        let items = page.items.into_iter().filter(|stored| is_new(&stored.object.key)).collect();
        entries.extend(values(client, items, deadline).await?);
        if token.is_none() || is_past {
            return Ok(Page { entries, next: None });
        }
        if entries.len() >= limit as usize {
            let after = entries.last().map(|entry| entry.key.clone());
            return Ok(Page { entries, next: Some(Cursor { after, token }) });
        }
    }
}

/// The entries of objects. What has another transaction's lock is read again by itself, since the list may show an older
/// state than the lock's primary.
async fn values(client: &Client, objects: Vec<Arc<Stored>>, deadline: Deadline) -> Result<Vec<Entry>, StoreError> {
    let mut entries = Vec::with_capacity(objects.len());
    for stored in objects {
        let key = stored.object.key.clone();
        if foreign_lock(&stored).is_none() {
            let value = stored.object.value.clone();
            entries.extend(value.map(|Versioned { value, revision }| Entry { key, value, revision }));
            continue;
        }
        let txn = Txn::read(vec![Op::Get(key)]).map_err(|error| StoreError::Denied(Cause::new(error)))?;
        let outcome = driver::run(client, Arc::new(txn), deadline).await?;
        entries.extend(outcome.branch.responses.into_iter().filter_map(OpResponse::into_entry));
    }
    Ok(entries)
}
