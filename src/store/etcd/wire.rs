//! Encodes transactions for etcd and decodes their outcomes, adding and removing the prefix of each key.

use std::num::NonZeroU64;

use etcd_client::{
    Compare, CompareOp, GetOptions, KeyValue, TxnOp, TxnOpResponse, TxnResponse, WatchOptions, WatchResponse,
};

use super::history::Version;
use crate::cause::Cause;
use crate::store::{
    Before, Branch, Change, Entry, Guard, Key, KeyChange, KeySpan, Op, OpResponse, Outcome, Revision, StoreError, Txn,
};

pub(super) fn request(prefix: &str, txn: &Txn) -> etcd_client::Txn {
    let guards = txn.when().iter().map(|guard| compare(prefix, guard));
    let operations = |ops: &[Op]| ops.iter().map(|op| operation(prefix, op)).collect::<Vec<_>>();
    etcd_client::Txn::new()
        .when(guards.collect::<Vec<_>>())
        .and_then(operations(txn.then()))
        .or_else(operations(txn.otherwise()))
}

/// Reads a key at each of these revisions; without any, its current state.
pub(super) fn at_revisions(prefix: &str, key: &Key, revisions: &[u64]) -> etcd_client::Txn {
    let get = |options| TxnOp::get(full(prefix, key), options);
    let at = |revision: &u64| GetOptions::new().with_revision(i64::try_from(*revision).unwrap_or(i64::MAX));
    let gets: Vec<TxnOp> = match revisions {
        [] => vec![get(None)],
        revisions => revisions.iter().map(|revision| get(Some(at(revision)))).collect(),
    };
    etcd_client::Txn::new().and_then(gets)
}

/// The map's revision, and the key's value at it.
pub(super) fn current_version(response: &TxnResponse) -> Result<(u64, Option<Version>), StoreError> {
    let Revision(at) = revision_of(response)?;
    Ok((at.get(), versions(response, 1)?.pop().flatten()))
}

/// The values of a key, in the order of the request.
pub(super) fn versions(response: &TxnResponse, expected: usize) -> Result<Vec<Option<Version>>, StoreError> {
    let responses = response.op_responses();
    if responses.len() != expected {
        return Err(unexpected());
    }
    let version = |pair: KeyValue| {
        let Revision(modified) = revision(pair.mod_revision()).ok_or_else(unexpected)?;
        let is_first = pair.mod_revision() == pair.create_revision();
        Ok(Version { modified: modified.get(), is_first, value: pair.into_key_value().1 })
    };
    let versions = responses.into_iter().map(|response| match response {
        TxnOpResponse::Get(mut got) => got.take_kvs().pop().map(version).transpose(),
        _ => Err(unexpected()),
    });
    versions.collect()
}

/// Reads the first entries of a span at this revision, or at the current one.
pub(super) fn page_at(prefix: &str, span: &KeySpan, limit: u32, at: Option<u64>) -> etcd_client::Txn {
    let at = at.map_or(0, |at| i64::try_from(at).unwrap_or(i64::MAX));
    let options = GetOptions::new().with_range(full(prefix, &span.to)).with_limit(i64::from(limit)).with_revision(at);
    etcd_client::Txn::new().and_then([TxnOp::get(full(prefix, &span.from), Some(options))])
}

/// The entries of a page.
pub(super) fn page(prefix: &str, response: &TxnResponse) -> Result<Vec<Entry>, StoreError> {
    match response.op_responses().pop() {
        Some(TxnOpResponse::Get(mut got)) => got.take_kvs().into_iter().map(|pair| entry(prefix, pair)).collect(),
        _ => Err(unexpected()),
    }
}

/// The ID of the etcd cluster, and its revision.
pub(super) fn cluster_and_revision(response: &TxnResponse) -> Result<(u64, u64), StoreError> {
    let Revision(at) = revision_of(response)?;
    Ok((response.header().map_or(0, |header| header.cluster_id()), at.get()))
}

/// A watch of a span after this revision: its first key, and the options.
pub(super) fn watch(prefix: &str, span: &KeySpan, after: u64) -> (String, WatchOptions) {
    let next = i64::try_from(after).unwrap_or(i64::MAX).saturating_add(1);
    let options = WatchOptions::new().with_range(full(prefix, &span.to)).with_start_revision(next);
    (full(prefix, &span.from), options.with_prev_key().with_progress_notify())
}

/// The changes of a response after this revision, and the revision at its end.
pub(super) fn changes(prefix: &str, response: &WatchResponse, after: u64) -> (Vec<KeyChange>, u64) {
    let events = response.events();
    // A response without changes has etcd's revision.
    let header = response.header().map_or(0, |header| header.revision());
    let last = events.iter().filter_map(|event| event.kv()).map(KeyValue::mod_revision).max().unwrap_or(header);
    let changes = events.iter().filter_map(|event| change(prefix, event.kv()?, event.prev_kv()));
    let is_new = |change: &KeyChange| change.change.at.0.get() > after;
    (changes.filter(is_new).collect(), u64::try_from(last).unwrap_or(0).max(after))
}

/// A change; `None` for a key that no kube-ipam writes.
fn change(prefix: &str, pair: &KeyValue, before: Option<&KeyValue>) -> Option<KeyChange> {
    let Some(key) = pair.key_str().ok().and_then(|key| key.strip_prefix(prefix)) else {
        tracing::warn!(key = %String::from_utf8_lossy(pair.key()), "a key in etcd is none of kube-ipam's; delete it");
        return None;
    };
    // A deletion has no version, and a new key the first one.
    let value = (pair.version() > 0).then(|| pair.value().to_vec());
    let before = match before {
        Some(before) => Before::Value(before.value().to_vec()),
        None if pair.version() == 1 => Before::Absent,
        None => Before::Unknown,
    };
    Some(KeyChange { key: Key::new(key), before, change: Change { at: revision(pair.mod_revision())?, value } })
}

fn full(prefix: &str, key: &Key) -> String {
    format!("{prefix}{key}")
}

fn compare(prefix: &str, guard: &Guard) -> Compare {
    match guard {
        // In etcd, a key that does not exist has revision 0.
        Guard::Absent(key) | Guard::WasAbsent(key) => Compare::mod_revision(full(prefix, key), CompareOp::Equal, 0),
        Guard::Unchanged(key, Revision(at)) | Guard::WasUnchanged(key, Revision(at)) => {
            let at = i64::try_from(at.get()).unwrap_or(i64::MAX);
            Compare::mod_revision(full(prefix, key), CompareOp::Equal, at)
        }
    }
}

fn operation(prefix: &str, op: &Op) -> TxnOp {
    let range = |span: &KeySpan, options: GetOptions| {
        TxnOp::get(full(prefix, &span.from), Some(options.with_range(full(prefix, &span.to))))
    };
    match op {
        Op::Put(key, value) => TxnOp::put(full(prefix, key), value.clone(), None),
        Op::Delete(key) => TxnOp::delete(full(prefix, key), None),
        Op::Get(key) => TxnOp::get(full(prefix, key), None),
        Op::Range { span, limit, keys_only, .. } => {
            // In etcd, 0 means no limit.
            let options = GetOptions::new().with_limit(i64::from(*limit).max(1));
            range(span, if *keys_only { options.with_keys_only() } else { options })
        }
        Op::Count(span) => range(span, GetOptions::new().with_count_only()),
        Op::Txn(txn) => TxnOp::txn(request(prefix, txn)),
    }
}

/// Decodes an outcome. The operations determine the type of each response.
pub(super) fn outcome(prefix: &str, txn: &Txn, response: &TxnResponse) -> Result<Outcome, StoreError> {
    Ok(Outcome { at: revision_of(response)?, branch: branch(prefix, txn, response)? })
}

fn revision_of(response: &TxnResponse) -> Result<Revision, StoreError> {
    let at = response.header().map(|header| header.revision()).and_then(revision);
    at.ok_or_else(|| StoreError::Corrupt(Cause::new("etcd's answer has no revision")))
}

fn branch(prefix: &str, txn: &Txn, response: &TxnResponse) -> Result<Branch, StoreError> {
    let succeeded = response.succeeded();
    let operations = if succeeded { txn.then() } else { txn.otherwise() };
    let responses = response.op_responses();
    if operations.len() != responses.len() {
        return Err(unexpected());
    }
    let responses = operations.iter().zip(responses).map(|(op, response)| op_response(prefix, op, response));
    Ok(Branch { succeeded, responses: responses.collect::<Result<_, _>>()? })
}

fn op_response(prefix: &str, op: &Op, response: TxnOpResponse) -> Result<OpResponse, StoreError> {
    Ok(match (op, response) {
        (Op::Put(..), TxnOpResponse::Put(_)) | (Op::Delete(_), TxnOpResponse::Delete(_)) => OpResponse::Written,
        (Op::Get(_), TxnOpResponse::Get(mut got)) => {
            OpResponse::Entry(got.take_kvs().pop().map(|pair| entry(prefix, pair)).transpose()?)
        }
        (Op::Range { .. }, TxnOpResponse::Get(mut got)) => {
            let entries = got.take_kvs().into_iter().map(|pair| entry(prefix, pair));
            OpResponse::Entries(entries.collect::<Result<_, _>>()?)
        }
        (Op::Count(_), TxnOpResponse::Get(got)) => OpResponse::Count(u64::try_from(got.count()).unwrap_or(0)),
        (Op::Txn(txn), TxnOpResponse::Txn(response)) => OpResponse::Branch(branch(prefix, txn, &response)?),
        _ => return Err(unexpected()),
    })
}

fn entry(prefix: &str, pair: KeyValue) -> Result<Entry, StoreError> {
    let at = revision(pair.mod_revision());
    let (key, value) = pair.into_key_value();
    let text = std::str::from_utf8(&key).ok().and_then(|key| key.strip_prefix(prefix));
    match (text, at) {
        (Some(text), Some(revision)) => Ok(Entry { key: Key::new(text), value, revision }),
        _ => Err(StoreError::Corrupt(Cause::new(format!(
            "etcd holds a key below {prefix} that is none of kube-ipam's: {:?}; delete it",
            String::from_utf8_lossy(&key)
        )))),
    }
}

fn revision(number: i64) -> Option<Revision> {
    u64::try_from(number).ok().and_then(NonZeroU64::new).map(Revision)
}

/// A revision of etcd as one of a store.
pub(super) fn revision_number(number: u64) -> Option<Revision> {
    NonZeroU64::new(number).map(Revision)
}

pub(super) fn unexpected() -> StoreError {
    StoreError::Corrupt(Cause::new("etcd's answer does not have the shape of the question"))
}
