//! The texts that users see, of the refusals that no table of [`crate::ipam::request`] or [`crate::ipam::decide`] shows.
#![allow(clippy::unwrap_used)]

use insta::assert_snapshot;

use super::*;
use crate::ipam::lease::{Began, PodRef, Unknown};
use crate::ipam::name::{IfName, Name};

fn id() -> AttachmentId {
    let name = |text: &str| Name::new(text).unwrap();
    AttachmentId {
        node: name("n1"),
        container: name("0a1b2c"),
        ifname: IfName::new("net1").unwrap(),
        network: name("db-net"),
    }
}

fn held_by(pod: PodRef) -> Refusal {
    let began = Began { boot: String::new(), boottime: 0 };
    let holder =
        Holder { id: id(), pod, workload: None, controller: None, cluster: None, began, unknown: Unknown::new() };
    let since = Timestamp::from_millisecond(1_700_000_000_123).unwrap();
    let why = Box::new(InUseReason::NoPodNamed);
    Refusal::Held { ip: "10.0.0.5".parse().unwrap(), holder: Box::new(holder), since, workload: None, why }
}

#[test]
fn a_holder_is_named_as_far_as_the_runtime_has_named_it() {
    let text = |namespace: Option<&str>, name: Option<&str>| {
        let pod = PodRef { namespace: namespace.map(Into::into), name: name.map(Into::into), uid: None };
        held_by(pod).to_string()
    };
    assert_snapshot!(text(Some("db"), Some("postgres-0")), @"10.0.0.5 is held by pod db/postgres-0, interface net1, node n1, network db-net, since 2023-11-14T22:13:20Z; only its own node can tell whether it is gone, because its runtime did not fully identify its pod");
    assert_snapshot!(text(None, Some("postgres-0")), @"10.0.0.5 is held by pod postgres-0, interface net1, node n1, network db-net, since 2023-11-14T22:13:20Z; only its own node can tell whether it is gone, because its runtime did not fully identify its pod");
    assert_snapshot!(text(None, None), @"10.0.0.5 is held by container 0a1b2c, interface net1, node n1, network db-net, since 2023-11-14T22:13:20Z; only its own node can tell whether it is gone, because its runtime did not fully identify its pod");
}

#[test]
fn a_lease_or_an_entry_that_cannot_be_read_is_described() {
    let ip = "10.0.0.5".parse().unwrap();
    let why = UnreadableValue::Corrupt(Cause::new("expected value at line 1 column 1"));
    assert_snapshot!(chain(&Refusal::Unreadable { ip, why }), @"10.0.0.5 counts as held, because its lease can't be read: it is damaged: expected value at line 1 column 1");
    let entry = Refusal::AttachmentUnreadable { attachment: Box::new(id()), why: UnreadableValue::Newer(2) };
    assert_snapshot!(chain(&entry), @"the stored entry of net1 of container 0a1b2c on network db-net (node n1) can't be read: a newer kube-ipam wrote it (value version 2, this one reads up to 1)");
}

#[test]
fn limits_are_named_with_their_numbers() {
    assert_snapshot!(Refusal::Contended { rounds: 100 }, @"other calls took every address that was tried, 100 times in a row; the next attempt starts over");
    assert_snapshot!(Refusal::TooManyAddresses { asked: 21, most: 20 }, @"21 addresses are needed for this interface, but one transaction holds at most 20; use fewer range sets or request fewer addresses");
    assert_snapshot!(chain(&Refusal::TooLarge(TxnError::TooLarge(2_000_000))), @"what this network writes does not fit into one transaction: the transaction has 2000000 bytes; a store takes at most 1048576");
    let value = TxnError::ValueTooLarge { key: crate::store::Key::new("k"), bytes: 300_000 };
    assert_snapshot!(chain(&Refusal::TooLarge(value)), @"what this network writes does not fit into one transaction: the value of k has 300000 bytes; a store takes at most 262144");
    assert_snapshot!(chain(&Refusal::TooLarge(TxnError::TooManyOperations(130))), @"what this network writes does not fit into one transaction: the transaction needs 130 operations; a store takes at most 128");
}

#[test]
fn what_may_pass_by_itself_is_told_from_what_somebody_has_to_change() {
    let set = "10.0.0.2-10.0.0.6 of 10.0.0.0/29".to_owned();
    let exhausted = Refusal::Exhausted {
        set: set.clone(),
        counts: Box::new(Counts { held: 5, ..Counts::default() }),
        examples: Vec::new(),
    };
    for (refusal, passing, label) in [
        (held_by(PodRef::default()), true, "held"),
        (exhausted, true, "exhausted"),
        (Refusal::NothingDynamic { set }, false, "exhausted"),
        (Refusal::Contended { rounds: 100 }, true, "contended"),
        (Refusal::TooManyAddresses { asked: 21, most: 20 }, false, "too_large"),
        (Refusal::TooLarge(TxnError::TooLarge(0)), false, "too_large"),
    ] {
        assert_eq!((refusal.is_passing(), refusal.label()), (passing, label), "{refusal}");
    }
}
