#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use serde_json::json;

use super::*;

fn key(text: &str) -> Key {
    Key::new(text)
}

fn value() -> impl Strategy<Value = Value> {
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..12),
        "[a-z]{0,6}".prop_map(|text| format!(r#"{{"v":1,"a":"{text}"}}"#).into_bytes()),
    ]
}

fn id() -> impl Strategy<Value = TxnId> {
    any::<u64>().prop_map(TxnId::from_random)
}

fn mark() -> impl Strategy<Value = Mark> {
    let then = prop_oneof![Just(Then::Keep), Just(Then::Delete), value().prop_map(Then::Put)];
    let locks = prop::collection::vec(("[a-z/]{0,9}", "[0-9a-f]{8}"), 0..4);
    let locks = locks.prop_map(|locks| locks.iter().map(|(text, uid)| (key(text), Uid::new(uid))).collect());
    prop_oneof![
        (id(), ".{0,9}", then).prop_map(|(txn, primary, then)| Mark::Lock(Lock { txn, primary: key(&primary), then })),
        (id(), locks).prop_map(|(txn, locks)| Mark::Commit(Commit { txn, locks })),
    ]
}

fn object() -> impl Strategy<Value = Object> {
    let value = (value(), id()).prop_map(|(value, id)| Versioned { value, revision: id.revision() });
    (".{0,9}", prop::option::of(value), prop::option::of(mark())).prop_map(|(text, value, mark)| Object {
        key: key(&text),
        value,
        mark,
    })
}

proptest! {
    #[test]
    fn an_object_comes_back(object in object()) {
        let spec = object.to_spec().unwrap();
        prop_assert_eq!(Object::from_spec(&object.key, &spec).unwrap(), object);
    }
}

#[test]
fn a_spec_is_readable() {
    let id = TxnId::from_random(14);
    let value = Some(Versioned { value: br#"{"v":1,"pod":"db/a"}"#.to_vec(), revision: id.revision() });
    let commit = Commit { txn: id, locks: vec![(key("ip/default/4/0a"), Uid::new("u-1"))] };
    let object = Object { key: key("at/n1/c/eth0/net"), value, mark: Some(Mark::Commit(commit)) };
    let expected = json!({
        "key": "at/n1/c/eth0/net",
        "revision": "7",
        "value": {"v": 1, "pod": "db/a"},
        "order": [[1, 0]],
        "commit": {"v": 1, "txn": "7", "locks": [{"key": "ip/default/4/0a", "uid": "u-1"}]},
    });
    assert_eq!(object.to_spec().unwrap(), expected);
    assert!(!object.is_open());
}

#[test]
fn an_invalid_spec_is_an_error() {
    let lock = |version: u32| json!({"v": version, "txn": "7", "primary": "p", "then": "keep"});
    let cases = [
        (json!({"key": "other"}), "the object of key k has key other in its spec"),
        (json!({"value": {}}), "the object's spec is invalid"),
        (json!({"key": "k", "value": {}}), "has a value without a revision, or a revision without a value"),
        (json!({"key": "k", "revision": "7"}), "has a value without a revision, or a revision without a value"),
        (json!({"key": "k", "revision": 7, "value": {}}), "the object's spec is invalid"),
        (json!({"key": "k", "revision": "0", "value": {}}), "the object's spec is invalid"),
        (json!({"key": "k", "revision": "7", "base64": "?"}), "the object's value is not valid base64"),
        (json!({"key": "k", "lock": lock(2)}), "has a lock or commit of version 2"),
        (json!({"key": "k", "lock": {"v": 2, "new": []}}), "has a lock or commit of version 2"),
        (json!({"key": "k", "commit": {"v": 9}}), "has a lock or commit of version 9"),
        (json!({"key": "k", "lock": lock(1), "commit": {"v": 1, "txn": "7", "locks": []}}), "both a lock and a commit"),
    ];
    for (spec, expected) in cases {
        let error = Object::from_spec(&key("k"), &spec).unwrap_err();
        assert!(error.to_string().contains(expected), "{spec}: {error}");
    }
}

fn damaged(spec: &Json) -> Result<Object, ObjectError> {
    Object::damaged(&key("k"), spec, Object::from_spec(&key("k"), spec).unwrap_err())
}

#[test]
fn what_can_not_be_read_counts_as_in_use_and_keeps_a_mark_that_can() {
    let (lock, commit) = (
        json!({"v": 1, "txn": "7", "primary": "p", "then": "delete"}),
        json!({"v": 1, "txn": "7", "locks": [{"key": "l", "uid": "u"}]}),
    );
    // With the mark: none, a readable one, or one that can't be read.
    let cases = [
        (Json::Null, "none"),
        (json!("text"), "none"),
        (json!({"key": "other", "revision": "7", "value": {}}), "none"),
        (json!({"key": "k", "value": {}, "lock": null}), "none"),
        (json!({"key": "k", "revision": "7"}), "none"),
        (json!({"key": "k", "revision": "7", "base64": "?"}), "none"),
        (json!({"key": "k", "revision": "7", "commit": commit}), "readable"),
        (json!({"revision": "7", "value": {}, "lock": lock}), "readable"),
        (json!({"key": "k", "revision": "7", "value": {}, "lock": {"v": 1, "txn": "x"}}), "unreadable"),
        (json!({"key": "k", "revision": "7", "value": {}, "lock": "x"}), "unreadable"),
        (json!({"key": "k", "lock": lock, "commit": commit}), "unreadable"),
    ];
    for (spec, mark) in cases {
        let object = damaged(&spec).unwrap();
        let found = match &object.mark {
            None => "none",
            Some(Mark::Lock(_) | Mark::Commit(_)) => "readable",
            Some(Mark::Unreadable(_)) => "unreadable",
        };
        assert_eq!(found, mark, "{spec}");
        assert!(object.is_damaged(), "{spec}");
    }
}

#[test]
fn what_can_not_be_read_stays_as_it_is_while_a_transaction_locks_it() {
    let spec = json!({"key": "k", "revision": "x", "value": {"pod": "db/a"}, "more": [1], "summary": {"pod": "db/a"}});
    let before = damaged(&spec).unwrap();
    let lock = Lock { txn: TxnId::from_random(14), primary: key("p"), then: Then::Keep };
    let locked = Object { mark: Some(Mark::Lock(lock.clone())), ..before.clone() }.to_spec().unwrap();
    assert_eq!(locked["lock"]["txn"], "7");
    let locked = damaged(&locked).unwrap();
    assert_eq!(locked.lock(), Some(&lock));
    for committed in [true, false] {
        let after = locked.unlocked(committed).unwrap();
        assert_eq!(after, before);
        let expected = json!({"key": "k", "revision": "x", "value": {"pod": "db/a"}, "more": [1]});
        assert_eq!(after.to_spec().unwrap(), expected);
    }
}

#[test]
fn a_mark_that_can_not_be_read_is_never_written_over() {
    let object = damaged(&json!({"key": "k", "revision": "7", "value": {}, "lock": "x"})).unwrap();
    assert!(matches!(object.to_spec(), Err(ObjectError::UnreadableMark(_))));
    let newer = damaged(&json!({"key": "k", "lock": {"v": 2}}));
    assert!(matches!(newer, Err(ObjectError::UnknownVersion { version: 2, .. })));
}

#[test]
fn an_object_is_open_if_its_metadata_can_not_tell_whether_the_key_exists() {
    let id = TxnId::from_random(14);
    let value = || Some(Versioned { value: Vec::new(), revision: id.revision() });
    let lock = || Some(Mark::Lock(Lock { txn: id, primary: key("p"), then: Then::Keep }));
    let commit = || Some(Mark::Commit(Commit { txn: id, locks: Vec::new() }));
    let cases = [
        (value(), None, false),
        (value(), commit(), false),
        (value(), lock(), true),
        (None, lock(), true),
        (None, commit(), true),
        (None, None, true),
    ];
    for (value, mark, expected) in cases {
        let object = Object { key: key("k"), value, mark };
        assert_eq!(object.is_open(), expected, "{object:?}");
    }
}
