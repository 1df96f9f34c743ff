//! Ranges and counts of a transaction, as lists of the API.
//!
//! An exact range is read page by page, all at the state of the first page. A hint about leases comes from the server's
//! cache: there are many leases, and every fresh list of them goes through all of them in etcd. All hints of a
//! transaction are one list, because the server goes through all leases for each. A hint about a single key is a read of
//! its object; all of them are sent side by side.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::Value as Json;

use super::api::{SpanRead, SpanResult, Stored};
use super::client::{Client, ListError, stretch};
use super::request::{ListPage, ListState};
use super::resource::Stretch;
use crate::deadline::Deadline;
use crate::store::{Freshness, Key, KeySpan, StoreError};

/// The most objects of a page. Each has about a kilobyte.
pub(super) const PAGE: u32 = 500;

/// The same of objects without their `spec`.
const METADATA_PAGE: u32 = 5_000;

/// The most stems of one list. More make a long URL.
const MAX_STEMS: usize = 256;

/// Reads spans.
pub(super) async fn read(
    client: &Client,
    reads: &[SpanRead],
    deadline: Deadline,
) -> Result<Vec<SpanResult>, StoreError> {
    let (cached, mut singles) =
        tokio::try_join!(Cached::read(client, reads, deadline), singles(client, reads, deadline))?;
    let mut counted: Option<(Stretch, Vec<String>)> = None;
    let mut results = Vec::with_capacity(reads.len());
    for read in reads {
        results.push(match read {
            _ if read.span().from >= read.span().to => empty(read),
            SpanRead::Range { span, freshness: Freshness::Hint, .. } if span.single().is_some() => {
                SpanResult::Entries(singles.remove(&span.from).flatten().into_iter().collect())
            }
            SpanRead::Range { span, limit, freshness } => {
                let found = match cached.as_ref().filter(|_| is_cached(span, *freshness)) {
                    Some(cached) => cached.range(span, *limit),
                    None => range(client, span, *limit, deadline).await?,
                };
                SpanResult::Entries(found)
            }
            SpanRead::Count(span) => {
                let wanted = stretch(span)?;
                let names = match &counted {
                    Some((of, names)) if of.resource == wanted.resource => names,
                    _ => {
                        let all = Stretch::all(wanted.resource);
                        let names = names(client, &all, deadline).await?;
                        &counted.insert((all, names)).1
                    }
                };
                SpanResult::Count(names.iter().filter(|name| wanted.contains(name)).count() as u64)
            }
        });
    }
    Ok(results)
}

fn empty(read: &SpanRead) -> SpanResult {
    match read {
        SpanRead::Range { .. } => SpanResult::Entries(Vec::new()),
        SpanRead::Count(_) => SpanResult::Count(0),
    }
}

/// Whether a range comes from the server's cache.
fn is_cached(span: &KeySpan, freshness: Freshness) -> bool {
    let is_large = Stretch::of(span).is_some_and(|stretch| stretch.resource.is_large && stretch.stems.is_some());
    freshness == Freshness::Hint && is_large && span.single().is_none()
}

/// The objects of the single keys that hints are about.
async fn singles(
    client: &Client,
    reads: &[SpanRead],
    deadline: Deadline,
) -> Result<BTreeMap<Key, Option<Arc<Stored>>>, StoreError> {
    let keys = reads.iter().filter_map(|read| match read {
        SpanRead::Range { span, freshness: Freshness::Hint, .. } => span.single(),
        _ => None,
    });
    let seen = keys.map(|key| async move {
        let seen = client.get(key, deadline).await.into_shown(key)?;
        Ok((key.clone(), seen.filter(|stored| is_key(stored))))
    });
    futures_util::future::try_join_all(seen).await.map(|seen| seen.into_iter().collect())
}

/// Objects from the server's cache.
struct Cached(Vec<Arc<Stored>>);

impl Cached {
    /// Reads all hints that may come from the cache; `None` if there are none.
    async fn read(client: &Client, reads: &[SpanRead], deadline: Deadline) -> Result<Option<Self>, StoreError> {
        let hints = reads.iter().filter_map(|read| match read {
            SpanRead::Range { span, freshness, .. } if is_cached(span, *freshness) => Stretch::of(span),
            _ => None,
        });
        let (mut stems, mut all): (BTreeSet<String>, Option<Stretch>) = (BTreeSet::new(), None);
        for hint in hints {
            all = all.or_else(|| Some(Stretch::all(hint.resource)));
            stems.extend(hint.stems.into_iter().flatten());
        }
        let Some(all) = all else { return Ok(None) };
        let selected = all.with_stems((stems.len() <= MAX_STEMS).then(|| stems.into_iter().collect()));
        let state = ListState::Cached;
        let page = ListPage { stretch: &selected, limit: PAGE, continues: None, state, metadata_only: false };
        match client.page(&page, deadline).await {
            Ok(listed) => Ok(Some(Self(listed.items))),
            Err(error) => Err(error.into_store_error()),
        }
    }

    fn range(&self, span: &KeySpan, limit: u32) -> Vec<Arc<Stored>> {
        let found = self.0.iter().filter(|stored| span.contains(&stored.object.key) && is_key(stored));
        found.take(limit as usize).cloned().collect()
    }
}

/// Whether an object has a value or a lock. Any other is what remains of a key.
fn is_key(stored: &Stored) -> bool {
    stored.object.value.is_some() || stored.lock().is_some()
}

/// The first objects of a span, as one state.
async fn range(
    client: &Client,
    span: &KeySpan,
    limit: u32,
    deadline: Deadline,
) -> Result<Vec<Arc<Stored>>, StoreError> {
    let stretch = stretch(span)?;
    let (mut found, mut continues): (Vec<Arc<Stored>>, Option<String>) = (Vec::new(), None);
    loop {
        let more = limit.saturating_sub(u32::try_from(found.len()).unwrap_or(u32::MAX)).clamp(1, PAGE);
        let page = match client.page(&ListPage::fresh(&stretch, more, continues.as_deref()), deadline).await {
            Ok(page) => page,
            Err(ListError::Expired) => {
                (found, continues) = (Vec::new(), None);
                continue;
            }
            Err(error) => return Err(error.into_store_error()),
        };
        let is_past = page.items.last().is_some_and(|stored| stored.object.key >= span.to);
        found.extend(page.items.into_iter().filter(|stored| span.contains(&stored.object.key) && is_key(stored)));
        continues = page.continues;
        if found.len() >= limit as usize || continues.is_none() || is_past {
            found.truncate(limit as usize);
            return Ok(found);
        }
    }
}

/// All objects of a stretch, whatever their `spec` is, as one state.
pub(super) async fn objects(client: &Client, stretch: &Stretch, deadline: Deadline) -> Result<Vec<Json>, StoreError> {
    let (mut objects, mut continues): (Vec<Json>, Option<String>) = (Vec::new(), None);
    loop {
        let page = match client.objects(&ListPage::fresh(stretch, PAGE, continues.as_deref()), deadline).await {
            Ok(page) => page,
            Err(ListError::Expired) => {
                (objects, continues) = (Vec::new(), None);
                continue;
            }
            Err(error) => return Err(error.into_store_error()),
        };
        objects.extend(page.items);
        continues = page.continues;
        if continues.is_none() {
            return Ok(objects);
        }
    }
}

/// The names of all objects of a resource, as one state.
async fn names(client: &Client, all: &Stretch, deadline: Deadline) -> Result<Vec<String>, StoreError> {
    let state = if all.resource.is_large { ListState::Cached } else { ListState::Current };
    let (mut names, mut continues): (Vec<String>, Option<String>) = (Vec::new(), None);
    loop {
        let continued = continues.as_deref();
        let page = ListPage { stretch: all, limit: METADATA_PAGE, continues: continued, state, metadata_only: true };
        let page = match client.names(&page, deadline).await {
            Ok(page) => page,
            Err(ListError::Expired) => {
                (names, continues) = (Vec::new(), None);
                continue;
            }
            Err(error) => return Err(error.into_store_error()),
        };
        names.extend(page.items);
        continues = page.continues;
        if continues.is_none() {
            return Ok(names);
        }
    }
}
