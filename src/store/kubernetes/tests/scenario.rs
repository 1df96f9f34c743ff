//! What happens in an exploration: transactions, what there is at first, and what may go wrong.

use super::actor::first_id;
use crate::store::{Freshness, Guard, Key, KeySpan, Op, Revision, Txn};

/// A client and its transaction.
#[derive(Clone)]
pub(super) struct Client {
    pub(super) name: &'static str,
    pub(super) txn: Txn,
    /// It begins only after the client of this index was told something.
    pub(super) after: Option<usize>,
}

/// How often each fault may occur.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Faults {
    /// A client ends, and what it has sent may still arrive.
    pub(super) crashes: u8,
    /// A write is applied, and its answer is lost.
    pub(super) lost: u8,
    /// A write is not answered, and may arrive at any later time.
    pub(super) late: u8,
    /// A write arrives twice: at once, so that the second one is refused and answers it; or, if it creates, later.
    pub(super) doubled: u8,
    /// Somebody changes an object's metadata.
    pub(super) touched: u8,
}

/// What the API does wrong, in tests of the rules that exclude it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Defect {
    #[default]
    None,
    /// A read may come from a cache.
    StaleReads,
    /// A 404 that is not about the object counts as its absence.
    ForeignNotFound,
    /// A delete ignores its precondition.
    UnguardedDeletes,
}

/// What is explored.
#[derive(Clone)]
pub(super) struct Scenario {
    pub(super) clients: Vec<Client>,
    /// Keys that exist at first, with the revision [`FIRST`].
    pub(super) exist: Vec<&'static str>,
    pub(super) faults: Faults,
    /// How many objects a cleaner looks at.
    pub(super) looks: u8,
    /// The most attempts of a client before its deadline.
    pub(super) attempts: usize,
    /// Whether single writes may be doubled. What another client has overwritten since can then not be told.
    pub(super) doubled_singles: bool,
    /// Whether each attempt has an id of its own.
    pub(super) new_ids: bool,
    pub(super) defect: Defect,
}

impl Scenario {
    pub(super) fn new(clients: Vec<Client>) -> Self {
        Self {
            clients,
            exist: Vec::new(),
            faults: Faults::default(),
            looks: 0,
            attempts: 1,
            doubled_singles: false,
            new_ids: true,
            defect: Defect::None,
        }
    }

    pub(super) fn with(self, exist: &[&'static str]) -> Self {
        Self { exist: exist.to_vec(), ..self }
    }

    pub(super) fn faults(self, faults: Faults) -> Self {
        Self { faults, ..self }
    }

    pub(super) fn looks(self, looks: u8) -> Self {
        Self { looks, ..self }
    }

    pub(super) fn on(self, defect: Defect) -> Self {
        Self { defect, ..self }
    }

    pub(super) fn attempts(self, attempts: usize) -> Self {
        Self { attempts, ..self }
    }
}

/// The revision of what exists at first.
pub(super) const FIRST: Revision = Revision(std::num::NonZeroU64::MAX);

pub(super) fn key(text: &str) -> Key {
    Key::new(text)
}

/// A write of the name of the client.
fn put(text: &str, name: &str) -> Op {
    Op::Put(key(text), name.as_bytes().to_vec())
}

fn client(name: &'static str, when: Vec<Guard>, then: Vec<Op>, otherwise: Vec<Op>) -> Client {
    Client { name, txn: Txn::new(when, then, otherwise).unwrap(), after: None }
}

impl Client {
    pub(super) fn after(self, other: usize) -> Self {
        Self { after: Some(other), ..self }
    }
}

/// What a client has committed in its first attempt.
pub(super) fn of(client: usize) -> Revision {
    first_id(client).revision()
}

fn absent(text: &str) -> Guard {
    Guard::Absent(key(text))
}

fn unchanged(text: &str, revision: Revision) -> Guard {
    Guard::Unchanged(key(text), revision)
}

/// An ADD of an attachment takes the lease L.
pub(super) fn add(name: &'static str, attachment: &str) -> Client {
    let then = vec![put(attachment, name), put("L", name)];
    client(name, vec![absent(attachment), absent("L")], then, vec![])
}

/// An ADD of an attachment takes the lease L, unless a recovery S is in progress. It reads what refused it.
pub(super) fn add_unless(name: &'static str, attachment: &str) -> Client {
    let when = vec![absent(attachment), Guard::WasAbsent(key("S")), absent("L")];
    let otherwise = vec![Op::Get(key("S")), Op::Get(key("L"))];
    client(name, when, vec![put(attachment, name), put("L", name)], otherwise)
}

/// An ADD of an attachment takes the lease L, if W is as it was at first. It reads what refused it.
pub(super) fn add_if(name: &'static str, attachment: &str) -> Client {
    let when = vec![absent(attachment), Guard::WasUnchanged(key("W"), FIRST), absent("L")];
    let otherwise = vec![Op::Get(key("W")), Op::Get(key("L"))];
    client(name, when, vec![put(attachment, name), put("L", name)], otherwise)
}

/// An ADD of an attachment takes the lease L or else R, as an ADD with two candidates does, and writes a definition N if
/// that is absent. It does so unless a recovery S is in progress.
pub(super) fn add_either(name: &'static str, attachment: &str) -> Client {
    let definition = || {
        let txn = Txn::new(vec![absent("N")], vec![put("N", "definition")], vec![]).unwrap();
        Op::Txn(Box::new(txn))
    };
    let take = |lease: &str| vec![put(attachment, name), put(lease, name), definition()];
    let guards = |lease: &str| vec![absent(attachment), Guard::WasAbsent(key("S")), absent(lease)];
    let second = Txn::new(guards("R"), take("R"), vec![Op::Get(key("L")), Op::Get(key("R"))]).unwrap();
    client(name, guards("L"), take("L"), vec![Op::Txn(Box::new(second))])
}

/// A DEL of attachment A1 and its lease, which rests or is deleted.
pub(super) fn del(name: &'static str, revision: Revision, rests: bool) -> Client {
    let lease = if rests { put("L", name) } else { Op::Delete(key("L")) };
    let when = vec![unchanged("A1", revision), unchanged("L", revision)];
    client(name, when, vec![Op::Delete(key("A1")), lease], vec![])
}

/// A take-over of lease L from attachment A1 by attachment A2.
pub(super) fn take_over(name: &'static str) -> Client {
    let when = vec![absent("A2"), unchanged("L", FIRST), unchanged("A1", FIRST)];
    client(name, when, vec![put("A2", name), put("L", name), Op::Delete(key("A1"))], vec![])
}

/// An ADD that confirms attachment A1 and reads its lease in the same transaction.
pub(super) fn confirm(name: &'static str, revision: Revision) -> Client {
    let then = vec![put("A1", name), Op::Get(key("L"))];
    client(name, vec![unchanged("A1", revision)], then, vec![])
}

/// Writes a key that has this revision.
pub(super) fn rewrite(name: &'static str, text: &str, revision: Revision) -> Client {
    client(name, vec![unchanged(text, revision)], vec![put(text, name)], vec![])
}

/// The fence of a DEL whose ADD got no answer.
pub(super) fn fence(name: &'static str) -> Client {
    client(name, vec![absent("A1")], vec![put("A1", name)], vec![])
}

/// Writes one key if another one is as at first, or absent.
pub(super) fn guarded(name: &'static str, writes: &str, guards: &str, exists: bool) -> Client {
    let guard = if exists { unchanged(guards, FIRST) } else { absent(guards) };
    client(name, vec![guard], vec![put(writes, name)], vec![])
}

/// Writes one key and reads another.
pub(super) fn reading(name: &'static str, writes: &str, reads: &str) -> Client {
    client(name, vec![], vec![put(writes, name), Op::Get(key(reads))], vec![])
}

/// Writes keys.
pub(super) fn write(name: &'static str, keys: &[&str]) -> Client {
    client(name, vec![], keys.iter().map(|key| put(key, name)).collect(), vec![])
}

/// Writes keys and reads one.
pub(super) fn write_reading(name: &'static str, keys: &[&str], reads: &str) -> Client {
    let then = keys.iter().map(|key| put(key, name)).chain([Op::Get(key(reads))]).collect();
    client(name, vec![], then, vec![])
}

/// Deletes a key.
pub(super) fn delete(name: &'static str, text: &str) -> Client {
    client(name, vec![], vec![Op::Delete(key(text))], vec![])
}

/// Moves a value from one key to another.
pub(super) fn flip(name: &'static str, from: &str, to: &str) -> Client {
    client(name, vec![], vec![Op::Delete(key(from)), put(to, name)], vec![])
}

/// Reads keys.
pub(super) fn read(name: &'static str, keys: &[&str]) -> Client {
    client(name, vec![], keys.iter().map(|text| Op::Get(key(text))).collect(), vec![])
}

/// Lists all keys, in one range.
pub(super) fn list(name: &'static str) -> Client {
    client(name, vec![], vec![range(Freshness::Exact)], vec![])
}

/// Lists all keys, in one range that is a hint.
pub(super) fn hint(name: &'static str) -> Client {
    client(name, vec![], vec![range(Freshness::Hint)], vec![])
}

/// A DEL as [`del`], which also reads a hint.
pub(super) fn del_with_hint(name: &'static str, revision: Revision) -> Client {
    let when = vec![unchanged("A1", revision), unchanged("L", revision)];
    client(name, when, vec![range(Freshness::Hint), Op::Delete(key("A1")), put("L", name)], vec![])
}

fn range(freshness: Freshness) -> Op {
    Op::Range { span: KeySpan::from_to(key(""), key("~")), limit: 2, keys_only: false, freshness }
}
