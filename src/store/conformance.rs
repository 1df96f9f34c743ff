//! Checks the rules of [`crate::store`] on any [`Store`].
//!
//! [`check`] covers every rule that one client can observe. Each rule has its own keys, so one empty store is enough
//! for all. Rules about concurrent clients have two parts: the caller runs any number of [`actors`], in whatever way
//! its runtime needs, and then checks the result.

use std::fmt::Debug;
use std::time::Duration;

use super::{
    Branch, Cursor, Entry, Freshness, Guard, Key, KeySpan, MAX_OPERATIONS, MAX_VALUE, Op, OpResponse, Outcome,
    Revision, Store, StoreError, Txn, TxnError, Value,
};
use crate::deadline::Deadline;

pub mod actors;
pub mod watch;

/// A rule that a backend broke.
#[derive(Debug, thiserror::Error)]
pub enum Violation {
    /// The store did not do what the rule requires.
    #[error("{rule}: expected {expected}, got {got}")]
    Broken {
        /// The rule.
        rule: &'static str,
        /// What the rule requires.
        expected: String,
        /// What the store did.
        got: String,
    },
    /// The store failed.
    #[error("the store failed")]
    Failed(#[from] StoreError),
    /// The suite exceeded the limits of a transaction.
    #[error(transparent)]
    Txn(#[from] TxnError),
}

/// Requires both to be equal.
fn same<T: PartialEq + Debug>(rule: &'static str, expected: &T, got: &T) -> Result<(), Violation> {
    let brief = |value: &T| format!("{value:.200?}").chars().take(400).collect();
    if expected == got { Ok(()) } else { Err(Violation::Broken { rule, expected: brief(expected), got: brief(got) }) }
}

fn soon() -> Deadline {
    Deadline::after(Duration::from_secs(60))
}

fn key(text: &str) -> Key {
    Key::new(text)
}

fn put(text: &str, value: &str) -> Op {
    Op::Put(key(text), value.as_bytes().to_vec())
}

fn get(text: &str) -> Op {
    Op::Get(key(text))
}

fn range(span: KeySpan, limit: u32) -> Op {
    Op::Range { span, limit, keys_only: false, freshness: Freshness::Exact }
}

fn within(when: Vec<Guard>, then: Vec<Op>, otherwise: Vec<Op>) -> Result<Op, TxnError> {
    Ok(Op::Txn(Box::new(Txn::new(when, then, otherwise)?)))
}

async fn run(store: &impl Store, when: Vec<Guard>, then: Vec<Op>, otherwise: Vec<Op>) -> Result<Outcome, Violation> {
    Ok(store.commit(&Txn::new(when, then, otherwise)?, soon()).await?)
}

async fn write(store: &impl Store, text: &str, value: &str) -> Result<Revision, Violation> {
    Ok(run(store, vec![], vec![put(text, value)], vec![]).await?.at)
}

async fn read(store: &impl Store, text: &str) -> Result<Option<Entry>, Violation> {
    match run(store, vec![], vec![get(text)], vec![]).await?.branch.responses.pop() {
        Some(OpResponse::Entry(entry)) => Ok(entry),
        other => Err(Violation::Broken {
            rule: "a get is answered by an entry",
            expected: "an entry".to_owned(),
            got: format!("{other:?}"),
        }),
    }
}

fn entry(text: &str, value: impl Into<Value>, revision: Revision) -> Entry {
    Entry { key: key(text), value: value.into(), revision }
}

/// Checks every rule that one client can observe, on a store whose revisions count up. The store must be empty below
/// `conformance/`.
pub async fn check(store: &impl Store) -> Result<(), Violation> {
    check_any_revisions(store).await?;
    revisions_count_up(store).await
}

/// Checks the rules for stores whose revisions are only equal or different.
pub async fn check_any_revisions(store: &impl Store) -> Result<(), Violation> {
    guards(store).await?;
    guards_see_the_state_before(store).await?;
    operations_run_in_order(store).await?;
    revisions(store).await?;
    ranges(store).await?;
    branches(store).await?;
    values(store).await?;
    limits(store).await?;
    pages(store).await
}

async fn guards(store: &impl Store) -> Result<(), Violation> {
    let k = "conformance/guards/k";
    let absent = || vec![Guard::Absent(key(k))];
    let first = run(store, absent(), vec![put(k, "1")], vec![get(k)]).await?;
    same("an absent key lets a guard of absence hold", &true, &first.branch.succeeded)?;
    let second = run(store, absent(), vec![put(k, "2")], vec![get(k)]).await?;
    let was = Branch { succeeded: false, responses: vec![OpResponse::Entry(Some(entry(k, "1", first.at)))] };
    same("a key that exists lets it fail, and the other branch runs", &was, &second.branch)?;
    let unchanged = |at| vec![Guard::Unchanged(key(k), at)];
    let third = run(store, unchanged(first.at), vec![put(k, "3")], vec![]).await?;
    same("a key not written since lets a guard of no change hold", &true, &third.branch.succeeded)?;
    let stale = run(store, unchanged(first.at), vec![put(k, "4")], vec![]).await?;
    same("a key written since lets it fail", &false, &stale.branch.succeeded)?;
    same("what failed wrote nothing", &Some(entry(k, "3", third.at)), &read(store, k).await?)?;
    let missing = vec![Guard::Unchanged(key("conformance/guards/missing"), first.at)];
    let missing = run(store, missing, vec![], vec![]).await?;
    same("an absent key is not unchanged", &false, &missing.branch.succeeded)?;
    let was_absent = |text| vec![Guard::WasAbsent(key(text))];
    let fourth = run(store, was_absent("conformance/guards/missing"), vec![put(k, "5")], vec![]).await?;
    same("an absent key lets a guard of earlier absence hold", &true, &fourth.branch.succeeded)?;
    let refused = run(store, was_absent(k), vec![put(k, "6")], vec![get(k)]).await?;
    let was = Branch { succeeded: false, responses: vec![OpResponse::Entry(Some(entry(k, "5", fourth.at)))] };
    same("a key that existed all the time lets it fail", &was, &refused.branch)?;
    let was_unchanged = |text, at| vec![Guard::WasUnchanged(key(text), at)];
    let fifth = run(store, was_unchanged(k, fourth.at), vec![put("conformance/guards/l", "7")], vec![]).await?;
    same("a key not written since lets a guard of no earlier change hold", &true, &fifth.branch.succeeded)?;
    for (text, at) in [(k, first.at), ("conformance/guards/missing", fourth.at)] {
        let refused = run(store, was_unchanged(text, at), vec![put(k, "8")], vec![get(k)]).await?;
        same("a key written or deleted before lets it fail", &was, &refused.branch)?;
    }
    let both = vec![Guard::Unchanged(key(k), fourth.at), Guard::Absent(key(k))];
    same("one failing guard of two is enough", &false, &run(store, both, vec![], vec![]).await?.branch.succeeded)
}

async fn guards_see_the_state_before(store: &impl Store) -> Result<(), Violation> {
    let (a, b, c) = ("conformance/before/a", "conformance/before/b", "conformance/before/c");
    let deeper = within(vec![Guard::Absent(key(a))], vec![put(c, "deep")], vec![])?;
    let inner = within(vec![Guard::Absent(key(a))], vec![put(b, "inner"), deeper], vec![])?;
    let outcome = run(store, vec![], vec![put(a, "outer"), inner], vec![]).await?;
    let deep = OpResponse::Branch(Branch { succeeded: true, responses: vec![OpResponse::Written] });
    let inner = OpResponse::Branch(Branch { succeeded: true, responses: vec![OpResponse::Written, deep] });
    let expected = Branch { succeeded: true, responses: vec![OpResponse::Written, inner] };
    same("nested guards see the state before the whole transaction", &expected, &outcome.branch)?;
    for (text, value) in [(a, "outer"), (b, "inner"), (c, "deep")] {
        same("all writes of a way are there", &Some(entry(text, value, outcome.at)), &read(store, text).await?)?;
    }
    Ok(())
}

async fn operations_run_in_order(store: &impl Store) -> Result<(), Violation> {
    let (k, l) = ("conformance/order/k", "conformance/order/l");
    let all = KeySpan::prefix("conformance/order/");
    let then = vec![get(k), put(k, "1"), get(k), put(l, "2"), range(all.clone(), 9), Op::Count(all.clone())];
    let outcome = run(store, vec![], then, vec![]).await?;
    let (at_k, at_l) = (entry(k, "1", outcome.at), entry(l, "2", outcome.at));
    let expected = vec![
        OpResponse::Entry(None),
        OpResponse::Written,
        OpResponse::Entry(Some(at_k.clone())),
        OpResponse::Written,
        OpResponse::Entries(vec![at_k, at_l.clone()]),
        OpResponse::Count(2),
    ];
    same("reads see the writes before them, and no later ones", &expected, &outcome.branch.responses)?;
    let then = vec![Op::Delete(key(k)), get(k), range(all.clone(), 9), Op::Count(all)];
    let outcome = run(store, vec![], then, vec![]).await?;
    let expected =
        vec![OpResponse::Written, OpResponse::Entry(None), OpResponse::Entries(vec![at_l]), OpResponse::Count(1)];
    same("reads see the deletes before them", &expected, &outcome.branch.responses)?;
    let again = run(store, vec![Guard::Absent(key(k))], vec![], vec![]).await?;
    same("a deleted key is absent", &true, &again.branch.succeeded)
}

async fn revisions(store: &impl Store) -> Result<(), Violation> {
    let (k, l) = ("conformance/revisions/k", "conformance/revisions/l");
    let both = run(store, vec![], vec![put(k, "1"), put(l, "1")], vec![]).await?.at;
    for text in [k, l] {
        let at = read(store, text).await?.map(|entry| entry.revision);
        same("each key written has the transaction's revision", &Some(both), &at)?;
    }
    run(store, vec![], vec![Op::Delete(key(k)), Op::Delete(key(l))], vec![]).await?;
    let anew = write(store, k, "1").await?;
    same("no revision comes again after a deletion", &true, &(anew != both))?;
    let old = run(store, vec![Guard::Unchanged(key(k), both)], vec![], vec![]).await?;
    same("a key made anew is not the one that was deleted", &false, &old.branch.succeeded)
}

async fn revisions_count_up(store: &impl Store) -> Result<(), Violation> {
    let (k, none) = ("conformance/counted/k", "conformance/counted/none");
    let written = write(store, k, "1").await?;
    let reading = run(store, vec![], vec![get(k)], vec![]).await?.at;
    same("reading does not raise the revision", &written, &reading)?;
    let failing = run(store, vec![Guard::Absent(key(k))], vec![put(k, "2")], vec![get(k)]).await?.at;
    same("neither does a transaction whose way only reads", &written, &failing)?;
    let nothing = run(store, vec![], vec![Op::Delete(key(none))], vec![]).await?.at;
    same("neither does the deletion of an absent key", &written, &nothing)?;
    let deleted = run(store, vec![], vec![Op::Delete(key(k))], vec![]).await?.at;
    same("a deletion raises it", &true, &(deleted.0 > written.0))?;
    let anew = write(store, k, "1").await?;
    same("so does the next write", &true, &(anew.0 > deleted.0))
}

async fn ranges(store: &impl Store) -> Result<(), Violation> {
    let name = |i: &str| format!("conformance/ranges/{i}");
    // In byte order. The last two sort after all of ASCII.
    let names = ["0", "00", "1", "A", "a", "b", "b/c", "b0", "é", "🦀"].map(name);
    let at = run(store, vec![], names.iter().rev().map(|name| put(name, name)).collect(), vec![]).await?.at;
    let entries: Vec<Entry> = names.iter().map(|name| entry(name, name.as_str(), at)).collect();
    let all = KeySpan::prefix("conformance/ranges/");
    let half_open = KeySpan::from_to(key(&names[1]), key(&names[4]));
    let empty = KeySpan::from_to(key(&names[4]), key(&names[4]));
    let backwards = KeySpan::from_to(key(&names[4]), key(&names[1]));
    let single = KeySpan::from_to(key(&names[2]), key(&names[2]).successor());
    let first = |keys_only, freshness| Op::Range { span: all.clone(), limit: 2, keys_only, freshness };
    let (keys, hint) = (first(true, Freshness::Exact), first(false, Freshness::Hint));
    let bare = entries[..2].iter().map(|entry| Entry { value: Value::new(), ..entry.clone() }).collect();
    let cases = [
        ("a range is in the order of the bytes", range(all.clone(), 99), OpResponse::Entries(entries.clone())),
        ("it ends at its limit", range(all.clone(), 3), OpResponse::Entries(entries[..3].to_vec())),
        ("its start is in it, its end not", range(half_open.clone(), 99), OpResponse::Entries(entries[1..4].to_vec())),
        ("from a key to itself there is nothing", range(empty.clone(), 9), OpResponse::Entries(vec![])),
        ("nor is there backwards", range(backwards, 9), OpResponse::Entries(vec![])),
        ("up to its successor there is one key", range(single, 9), OpResponse::Entries(entries[2..3].to_vec())),
        ("keys alone come without values", keys, OpResponse::Entries(bare)),
        ("nobody writes, so a hint is exact", hint, OpResponse::Entries(entries[..2].to_vec())),
        ("a count has no limit", Op::Count(all), OpResponse::Count(10)),
        ("a count is half-open too", Op::Count(half_open), OpResponse::Count(3)),
        ("nothing counts 0", Op::Count(empty), OpResponse::Count(0)),
    ];
    for (rule, op, expected) in cases {
        let responses = run(store, vec![], vec![op], vec![]).await?.branch.responses;
        same(rule, &vec![expected], &responses)?;
    }
    Ok(())
}

async fn branches(store: &impl Store) -> Result<(), Violation> {
    let (a, b) = ("conformance/branches/a", "conformance/branches/b");
    let at = write(store, a, "1").await?;
    let missed = within(vec![Guard::Absent(key(a))], vec![put(a, "2")], vec![get(a), get(b)])?;
    let met =
        within(vec![Guard::Unchanged(key(a), at)], vec![Op::Count(KeySpan::prefix("conformance/branches/"))], vec![])?;
    let idle = within(vec![Guard::Absent(key(a))], vec![put(b, "2")], vec![])?;
    let outcome = run(store, vec![Guard::Absent(key(a))], vec![], vec![missed, get(b), met, idle]).await?;
    let missed = vec![OpResponse::Entry(Some(entry(a, "1", at))), OpResponse::Entry(None)];
    let expected = Branch {
        succeeded: false,
        responses: vec![
            OpResponse::Branch(Branch { succeeded: false, responses: missed }),
            OpResponse::Entry(None),
            OpResponse::Branch(Branch { succeeded: true, responses: vec![OpResponse::Count(1)] }),
            OpResponse::Branch(Branch { succeeded: false, responses: vec![] }),
        ],
    };
    same("responses have the shape of the branch that ran", &expected, &outcome.branch)
}

async fn values(store: &impl Store) -> Result<(), Violation> {
    let values: [(&str, Value); 4] = [
        ("conformance/values/empty", vec![]),
        ("conformance/values/binary", (0..=255).collect()),
        ("conformance/values/unicode-é-🦀", "é 🦀 \0".as_bytes().to_vec()),
        ("conformance/values/large", vec![0xa5; MAX_VALUE]),
    ];
    for (text, value) in values {
        let at = run(store, vec![], vec![Op::Put(key(text), value.clone())], vec![]).await?.at;
        same("a value is read as it was written", &Some(entry(text, value, at)), &read(store, text).await?)?;
    }
    Ok(())
}

async fn limits(store: &impl Store) -> Result<(), Violation> {
    let name = |i: usize| format!("conformance/limits/{i:03}");
    let gets = |count: usize| (0..count).map(|i| get(&name(i))).collect::<Vec<_>>();
    let absent = |count: usize| (0..count).map(|i| Guard::Absent(key(&name(i)))).collect::<Vec<_>>();
    // 48, 48 and 32 operations on three levels: the longest path has exactly the limit.
    let third = within(absent(MAX_OPERATIONS - 96), gets(3), gets(MAX_OPERATIONS - 96))?;
    let mut second = gets(47);
    second.push(third);
    let mut first = gets(47);
    first.push(within(absent(48), second, gets(48))?);
    let deep = run(store, absent(48), first, gets(48)).await?;
    same("a path may be as long as the limit", &48, &deep.branch.responses.len())?;
    let wide = (0..MAX_OPERATIONS).map(|i| put(&name(i), "")).collect();
    let wide = run(store, absent(MAX_OPERATIONS), wide, gets(MAX_OPERATIONS)).await?;
    same("so may one level", &MAX_OPERATIONS, &wide.branch.responses.len())
}

async fn pages(store: &impl Store) -> Result<(), Violation> {
    let span = KeySpan::prefix("conformance/pages/");
    let names: Vec<String> = (0..25).map(|i| format!("conformance/pages/{i:02}")).collect();
    run(store, vec![], names.iter().map(|name| put(name, "")).collect(), vec![]).await?;
    for size in [1, 7, 24, 25, 26] {
        let mut cursor = Cursor::default();
        let mut read = Vec::new();
        loop {
            let page = store.page(&span, &cursor, size, soon()).await?;
            same("a page is no longer than asked for", &true, &(page.entries.len() <= size as usize))?;
            read.extend(page.entries.into_iter().map(|entry| entry.key.as_str().to_owned()));
            // A write between two pages, before the keys that are still to be read.
            write(store, "conformance/pages/", "between").await?;
            run(store, vec![], vec![Op::Delete(key("conformance/pages/"))], vec![]).await?;
            match page.next {
                Some(next) => cursor = next,
                None => break,
            }
        }
        same("pages show each key once, in order, while others write", &names, &read)?;
    }
    let none = store.page(&KeySpan::prefix("conformance/none/"), &Cursor::default(), 5, soon()).await?;
    same("an empty span is one page", &(true, true), &(none.entries.is_empty(), none.next.is_none()))
}
