//! Tests of the stored form of each value, and of reading the values of every earlier version.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::path::{Path, PathBuf};

use insta::assert_snapshot;
use proptest::prelude::*;
use serde::de::DeserializeOwned;

use super::*;
use crate::cause::chain;
use crate::ipam::name::{IfName, Name};
use crate::ipam::reservation::{OwnerKind, Reservation};
use crate::ipam::takeover::Mac;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_700_000_000 + seconds).unwrap()
}

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn id(container: &str) -> AttachmentId {
    let ifname = IfName::new("net1").unwrap();
    AttachmentId { node: name("n1"), container: name(container), ifname, network: name("db-net") }
}

fn holder(container: &str) -> Holder {
    Holder {
        id: id(container),
        pod: PodRef { namespace: Some("db".into()), name: Some("postgres-0".into()), uid: Some("6f1c".into()) },
        workload: Some("StatefulSet postgres".into()),
        controller: None,
        cluster: Some("3d0e".into()),
        began: Began { boot: "0b6a7c1e".into(), boottime: 86_400_123 },
        unknown: Unknown::new(),
    }
}

fn lease(on_release: OnRelease) -> Lease {
    Lease::new(AllocationKind::Dynamic, vec![holder("0a1b2c")], at(0), on_release)
}

fn attachment() -> Attachment {
    let assigned = |address: &str, gateway: Option<&str>| Assigned {
        address: address.parse().unwrap(),
        gateway: gateway.map(|gateway| gateway.parse().unwrap()),
    };
    Attachment {
        v: VERSION,
        vrf: name("default"),
        addresses: vec![assigned("10.188.0.218/16", Some("10.188.0.1")), assigned("fd00::218/64", None)],
        lost: Vec::new(),
        lost_since: None,
        holder: Some(holder("0a1b2c")),
        closed: None,
        sighted: Vec::new(),
        unknown: Unknown::new(),
    }
}

/// The stored form, after checking that it reads back as the same value.
fn text<T: Serialize + DeserializeOwned + PartialEq + Debug>(value: &T) -> String {
    let bytes = write(value);
    assert_eq!(Stored::read(&bytes).known().as_ref(), Some(value));
    String::from_utf8(bytes).unwrap()
}

#[test]
fn a_lease_is_stored_like_this() {
    assert_snapshot!(text(&lease(OnRelease::Rest(30))), @r#"{"v":1,"kind":"dynamic","holders":[{"node":"n1","containerID":"0a1b2c","ifname":"net1","network":"db-net","pod":{"namespace":"db","name":"postgres-0","uid":"6f1c"},"workload":"StatefulSet postgres","cluster":"3d0e","began":{"boot":"0b6a7c1e","boottime":86400123}}],"since":"2023-11-14T22:13:20Z","onRelease":{"rest":30}}"#);
    let least = Holder { pod: PodRef::default(), workload: None, cluster: None, ..holder("0a1b2c") };
    assert_snapshot!(text(&Lease { kind: AllocationKind::Fixed, holders: vec![least], ..lease(OnRelease::Last) }), @r#"{"v":1,"kind":"fixed","holders":[{"node":"n1","containerID":"0a1b2c","ifname":"net1","network":"db-net","began":{"boot":"0b6a7c1e","boottime":86400123}}],"since":"2023-11-14T22:13:20Z","onRelease":"last"}"#);
    assert_snapshot!(text(&Lease { holders: vec![holder("a"), holder("b")], ..lease(OnRelease::Forget) }), @r#"{"v":1,"kind":"dynamic","holders":[{"node":"n1","containerID":"a","ifname":"net1","network":"db-net","pod":{"namespace":"db","name":"postgres-0","uid":"6f1c"},"workload":"StatefulSet postgres","cluster":"3d0e","began":{"boot":"0b6a7c1e","boottime":86400123}},{"node":"n1","containerID":"b","ifname":"net1","network":"db-net","pod":{"namespace":"db","name":"postgres-0","uid":"6f1c"},"workload":"StatefulSet postgres","cluster":"3d0e","began":{"boot":"0b6a7c1e","boottime":86400123}}],"since":"2023-11-14T22:13:20Z","onRelease":"forget"}"#);
}

#[test]
fn a_released_lease_is_stored_like_this() {
    assert_snapshot!(text(&lease(OnRelease::Rest(30)).released(at(60)).unwrap()), @r#"{"v":1,"kind":"dynamic","holders":[{"node":"n1","containerID":"0a1b2c","ifname":"net1","network":"db-net","pod":{"namespace":"db","name":"postgres-0","uid":"6f1c"},"workload":"StatefulSet postgres","cluster":"3d0e","began":{"boot":"0b6a7c1e","boottime":86400123}}],"since":"2023-11-14T22:13:20Z","onRelease":{"rest":30},"rest":{"released":"2023-11-14T22:14:20Z","seconds":30}}"#);
    assert_snapshot!(text(&lease(OnRelease::Last).released(at(60)).unwrap()), @r#"{"v":1,"kind":"dynamic","holders":[{"node":"n1","containerID":"0a1b2c","ifname":"net1","network":"db-net","pod":{"namespace":"db","name":"postgres-0","uid":"6f1c"},"workload":"StatefulSet postgres","cluster":"3d0e","began":{"boot":"0b6a7c1e","boottime":86400123}}],"since":"2023-11-14T22:13:20Z","onRelease":"last","rest":{"released":"2023-11-14T22:14:20Z","seconds":0,"last":true}}"#);
    assert_eq!(lease(OnRelease::Forget).released(at(60)), None);
    assert_eq!(lease(OnRelease::Rest(0)).released(at(60)), None);
}

fn kept(ttl: Option<u64>) -> Lease {
    let pod = Some(name("postgres-0"));
    let (kind, namespace, uid) = (OwnerKind::StatefulSet, name("db"), "77aa".to_owned());
    let owner = Owner { kind, cluster: Some("3d0e".into()), namespace, name: name("postgres"), uid, pod };
    Lease { kind: AllocationKind::Sticky, owner: Some(owner), ..lease(OnRelease::Keep(ttl)) }
}

#[test]
fn a_kept_lease_is_stored_like_this() {
    let text = text(&kept(Some(86_400)).released(at(60)).unwrap());
    let end = text.split("\"since\"").nth(1).unwrap();
    assert_snapshot!(end, @r#":"2023-11-14T22:13:20Z","onRelease":{"keep":86400},"owner":{"kind":"StatefulSet","cluster":"3d0e","namespace":"db","name":"postgres","uid":"77aa","pod":"postgres-0"},"unused":"2023-11-14T22:14:20Z"}"#);
}

#[test]
fn a_kept_address_is_reserved_until_its_time_to_live_is_over_and_rests_when_it_is_given_up() {
    let unused = |ttl| kept(ttl).released(at(60)).unwrap();
    assert!(!unused(Some(30)).is_held() && !unused(Some(30)).is_held_by(&id("0a1b2c")));
    assert!(!unused(Some(30)).is_over(at(89)) && unused(Some(30)).is_over(at(90)));
    assert!(!unused(None).is_over(Timestamp::MAX) && !kept(Some(0)).is_over(Timestamp::MAX));
    // An end of use in the future (a wrong clock) counts as now.
    assert!(!unused(Some(30)).is_over(at(0)));
    let rest = Rest { released: at(60), seconds: 30, last: false };
    assert_eq!(unused(None).given_up(30).unwrap().rest, Some(rest));
    assert_eq!(unused(None).given_up(0), None);
    let held = kept(None).given_up(30).unwrap();
    assert!(held.is_held() && held.owner.is_none() && held.on_release == OnRelease::Rest(30));
}

#[test]
fn a_rest_is_stored_like_this() {
    let rest = Rest { released: at(0), seconds: 30, last: false };
    assert_snapshot!(text(&RestEntry { v: VERSION, rest: rest.clone() }), @r#"{"v":1,"released":"2023-11-14T22:13:20Z","seconds":30}"#);
    assert_snapshot!(text(&RestEntry { v: VERSION, rest: Rest { seconds: 0, last: true, ..rest } }), @r#"{"v":1,"released":"2023-11-14T22:13:20Z","seconds":0,"last":true}"#);
}

#[test]
fn an_attachment_is_stored_like_this() {
    assert_snapshot!(text(&attachment()), @r#"{"v":1,"vrf":"default","addresses":[{"address":"10.188.0.218/16","gateway":"10.188.0.1"},{"address":"fd00::218/64"}],"holder":{"node":"n1","containerID":"0a1b2c","ifname":"net1","network":"db-net","pod":{"namespace":"db","name":"postgres-0","uid":"6f1c"},"workload":"StatefulSet postgres","cluster":"3d0e","began":{"boot":"0b6a7c1e","boottime":86400123}}}"#);
    assert_snapshot!(text(&Attachment { closed: Some(at(0)), ..attachment() }), @r#"{"v":1,"vrf":"default","addresses":[{"address":"10.188.0.218/16","gateway":"10.188.0.1"},{"address":"fd00::218/64"}],"holder":{"node":"n1","containerID":"0a1b2c","ifname":"net1","network":"db-net","pod":{"namespace":"db","name":"postgres-0","uid":"6f1c"},"workload":"StatefulSet postgres","cluster":"3d0e","began":{"boot":"0b6a7c1e","boottime":86400123}},"closed":"2023-11-14T22:13:20Z"}"#);
    assert_snapshot!(text(&Attachment::closed(name("default"), at(0))), @r#"{"v":1,"vrf":"default","closed":"2023-11-14T22:13:20Z"}"#);
}

#[test]
fn a_definition_is_stored_like_this() {
    let range = DefinedRange {
        subnet: "10.188.0.0/16".parse().unwrap(),
        dynamic: "10.188.1.0-10.188.2.255, 10.188.4.0-10.188.255.254".to_owned(),
        fixed: Some("10.188.0.10-10.188.0.255".to_owned()),
        exclude: Some("10.188.3.0-10.188.3.255".to_owned()),
        gateway: Some("10.188.0.1".parse().unwrap()),
        pools: BTreeMap::new(),
    };
    assert_snapshot!(text(&Definition { v: VERSION, sets: vec![vec![range]], unknown: Unknown::new() }), @r#"{"v":1,"sets":[[{"subnet":"10.188.0.0/16","dynamic":"10.188.1.0-10.188.2.255, 10.188.4.0-10.188.255.254","fixed":"10.188.0.10-10.188.0.255","exclude":"10.188.3.0-10.188.3.255","gateway":"10.188.0.1"}]]}"#);
}

#[test]
fn a_value_of_a_newer_version_is_told_from_one_that_is_corrupt() {
    let why = |bytes: &str| match Stored::<Lease>::read(bytes.as_bytes()) {
        Stored::Known(lease) => panic!("{lease:?}"),
        Stored::Unreadable(why) => chain(&why).to_string(),
    };
    assert_snapshot!(why(r#"{"v":2,"anything":"else"}"#), @"a newer kube-ipam wrote it (value version 2, this one reads up to 1)");
    assert_snapshot!(why(""), @"it is damaged: EOF while parsing a value at line 1 column 0");
    assert_snapshot!(why("null"), @"it is damaged: invalid type: null, expected struct Version at line 1 column 4");
    assert_snapshot!(why("{}"), @"it is damaged: missing field `v` at line 1 column 2");
    assert_snapshot!(why(r#"{"v":-1}"#), @"it is damaged: invalid value: integer `-1`, expected u32 at line 1 column 7");
    assert_snapshot!(why(r#"{"v":1}"#), @"it is damaged: missing field `kind` at line 1 column 7");
    assert_snapshot!(why(&text(&lease(OnRelease::Last)).replace("n1", "n/1")), @r#"it is damaged: "n/1" is not a valid name: it must start with a letter or digit and go on with letters, digits, '_', '.' and '-' at line 1 column 264"#);
    assert_snapshot!(why(&text(&lease(OnRelease::Last)).replace("dynamic", "borrowed")), @"it is damaged: unknown variant `borrowed`, expected one of `dynamic`, `fixed`, `sticky` at line 1 column 24");
}

#[test]
fn fields_that_are_not_known_are_kept() {
    fn keeps<T: Serialize + DeserializeOwned>(value: &T) {
        let mut json = serde_json::to_value(value).unwrap();
        json["colour"] = "blue".into();
        if let Some(holder) = json.pointer_mut("/holders/0") {
            holder["sandbox"] = serde_json::json!({ "n": [1] });
        }
        if let Some(holder) = json.get_mut("holder") {
            holder["sandbox"] = true.into();
        }
        let known: T = Stored::read(json.to_string().as_bytes()).known().unwrap();
        assert_eq!(serde_json::from_slice::<Value>(&write(&known)).unwrap(), json);
    }
    keeps(&lease(OnRelease::Rest(30)));
    keeps(&lease(OnRelease::Rest(30)).released(at(0)).unwrap());
    keeps(&attachment());
    keeps(&Definition { v: VERSION, sets: Vec::new(), unknown: Unknown::new() });
}

#[test]
fn a_resting_address_is_held_by_nobody() {
    let held = lease(OnRelease::Rest(30));
    assert!(held.is_held_by(&id("0a1b2c")) && !held.is_held_by(&id("other")));
    assert!(!held.released(at(0)).unwrap().is_held_by(&id("0a1b2c")));
}

#[test]
fn a_rest_is_over_when_its_time_has_passed_by_the_clock_of_who_asks() {
    let rest = |seconds| Rest { released: at(0), seconds, last: false };
    assert!(!rest(30).is_over(at(29)) && rest(30).is_over(at(30)));
    // Released in the future counts as released now.
    assert!(!rest(30).is_over(at(-86_400)) && rest(0).is_over(at(-86_400)));
    assert!(!rest(u64::MAX).is_over(Timestamp::MAX));
    let past = Rest { released: Timestamp::MIN, seconds: 30, last: false };
    assert!(past.is_over(Timestamp::MAX));
}

#[test]
fn a_label_names_the_pod_as_far_as_it_is_known() {
    let label = |namespace: Option<&str>, name: Option<&str>| {
        PodRef { namespace: namespace.map(Into::into), name: name.map(Into::into), uid: None }.label()
    };
    assert_eq!(label(Some("db"), Some("pg-0")).as_deref(), Some("db/pg-0"));
    assert_eq!(label(None, Some("pg-0")).as_deref(), Some("pg-0"));
    assert_eq!(label(Some("db"), None), None);
}

/// The files of the corpus: `v<version>-<kind>-….json`, one stored value each.
fn corpus() -> Vec<(PathBuf, String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/ipam/lease/corpus");
    let files = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
    let named = |path: PathBuf| {
        let kind = path.file_stem()?.to_str()?.split('-').nth(1)?.to_owned();
        let bytes = std::fs::read(&path).unwrap();
        Some((path, kind, bytes))
    };
    files.filter_map(named).collect()
}

#[test]
fn every_value_that_was_ever_released_is_read_and_written_again_without_a_loss() {
    fn check<T: Serialize + DeserializeOwned>(path: &Path, bytes: &[u8]) {
        let value = match Stored::<T>::read(bytes) {
            Stored::Known(value) => value,
            Stored::Unreadable(why) => panic!("{}: {}", path.display(), chain(&why)),
        };
        let again: Value = serde_json::from_slice(&write(&value)).unwrap();
        assert_eq!(again, serde_json::from_slice::<Value>(bytes).unwrap(), "{}", path.display());
    }
    let corpus = corpus();
    assert!(corpus.len() >= 10);
    for (path, kind, bytes) in corpus {
        match kind.as_str() {
            "lease" => check::<Lease>(&path, &bytes),
            "rest" => check::<RestEntry>(&path, &bytes),
            "attachment" => check::<Attachment>(&path, &bytes),
            "reservation" => check::<Reservation>(&path, &bytes),
            "definition" => check::<Definition>(&path, &bytes),
            other => panic!("{}: what is a {other}?", path.display()),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_stored_bytes_make_a_reader_panic(bytes: Vec<u8>, cut in any::<prop::sample::Index>()) {
        // Contract, section 9: hostile input, such as noise or a truncated value, gives an error.
        let whole = write(&lease(OnRelease::Rest(30)));
        prop_assert!(Stored::<Lease>::read(&whole[..cut.index(whole.len())]).known().is_none());
        let _ = (Stored::<Lease>::read(&bytes), Stored::<Attachment>::read(&bytes), Stored::<RestEntry>::read(&bytes));
    }
}

#[test]
fn a_foreign_host_is_forgotten_by_whoever_takes_the_address() {
    let foreign = Foreign { mac: Mac([2, 0, 0, 0, 0, 9]), network: name("lan"), node: name("n1"), answered: at(0) };
    let foreign = Lease::of_foreign(foreign, at(0));
    assert_snapshot!(String::from_utf8(write(&foreign)).unwrap(), @r#"{"v":1,"kind":"dynamic","holders":[],"since":"2023-11-14T22:13:20Z","onRelease":"forget","foreign":{"mac":"02:00:00:00:00:09","network":"lan","node":"n1","answered":"2023-11-14T22:13:20Z"}}"#);
    assert_eq!((foreign.state(), foreign.is_held()), (LeaseState::Foreign, false));
    for (seconds, is_foreign) in [(-30, true), (0, true), (3599, true), (3600, false)] {
        assert_eq!(foreign.is_foreign_now(at(seconds)), is_foreign, "{seconds}");
    }
    assert_eq!(foreign.clone().released(at(1)), None);
    // An older version keeps the field when it writes a holder into such a lease.
    let held = Lease { holders: vec![holder("0a1b2c")], ..foreign };
    assert_eq!((held.state(), held.foreign()), (LeaseState::Held, None));
}

#[test]
fn an_attachment_notes_what_was_taken_from_it() {
    let ip = |text: &str| text.parse().unwrap();
    let left = attachment().without(&[ip("10.188.0.218"), ip("10.188.0.7")], at(0)).unwrap();
    assert!(text(&left).starts_with(
        r#"{"v":1,"vrf":"default","addresses":[{"address":"fd00::218/64"}],"lost":["10.188.0.218"],"lostSince":"2023-11-14T22:13:20Z","holder":"#
    ));
    assert_eq!(left.clone().without(&[ip("10.188.0.218")], at(0)), None);
    let nothing = Attachment { closed: Some(at(0)), ..left.without(&[ip("fd00::218")], at(0)).unwrap() };
    // It is not a fence, which the next ADD with its ID would replace.
    assert!(nothing.addresses.is_empty() && !nothing.is_only_closed());
}
