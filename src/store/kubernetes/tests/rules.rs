//! Each rule left out, and what goes wrong without it.

use super::explore::explore;
use super::scenario::*;
use crate::store::kubernetes::rules::Rule;

const NO: Faults = Faults { crashes: 0, lost: 0, late: 0, doubled: 0, touched: 0 };
const LOST: Faults = Faults { lost: 1, ..NO };
const LATE: Faults = Faults { late: 1, ..NO };
const DOUBLED: Faults = Faults { doubled: 1, ..NO };

/// The scenario is right, and without the rule it is wrong in this way.
fn expect_wrong(rule: Rule, scenario: &Scenario, symptom: &str) {
    if let Err(story) = explore(scenario, None) {
        panic!("with all rules:\n{story}");
    }
    match explore(scenario, Some(rule)) {
        Ok(states) => panic!("nothing is wrong without {rule:?}, in {states} states"),
        Err(story) => assert!(story.contains(symptom), "{story}"),
    }
}

/// The scenario is wrong in this way on an API with a defect, and right on one without.
fn expect_wrong_on(defect: Defect, scenario: &Scenario, symptom: &str) {
    if let Err(story) = explore(scenario, None) {
        panic!("without the defect:\n{story}");
    }
    match explore(&scenario.clone().on(defect), None) {
        Ok(states) => panic!("nothing is wrong with {defect:?}, in {states} states"),
        Err(story) => assert!(story.contains(symptom), "{story}"),
    }
}

fn adds() -> Scenario {
    Scenario::new(vec![add("T1", "A1"), add("T2", "A2")])
}

fn add_and_del(rests: bool) -> Scenario {
    Scenario::new(vec![add("T1", "A1"), del("D", of(0), rests)])
}

#[test]
fn the_primary_is_locked_first() {
    expect_wrong(Rule::PrimaryFirst, &adds().looks(1), "the objects mean");
}

#[test]
fn a_transaction_is_ended_at_its_primary() {
    expect_wrong(Rule::EndAtPrimary, &adds().looks(1), "the objects mean");
}

#[test]
fn a_primary_is_read_after_the_lock() {
    let scenario = Scenario::new(vec![add("T1", "A1"), write_reading("X", &["L", "R"], "A1")]);
    expect_wrong(Rule::PrimaryAfterLock, &scenario, "the objects mean");
}

#[test]
fn the_locks_of_a_commit_are_read_after_it() {
    let scenario = Scenario::new(vec![add("T1", "A1"), write("W", &["A1", "L"])]);
    expect_wrong(Rule::LocksAfterCommit, &scenario, "the objects mean");
}

#[test]
fn a_commit_is_resolved_before_its_primary_is_written() {
    let scenario = Scenario::new(vec![add("T1", "A1"), rewrite("R", "A1", of(0))]).looks(1);
    expect_wrong(Rule::ForwardFirst, &scenario, "the objects mean");
}

#[test]
fn a_deleted_primary_leaves_a_tombstone() {
    let scenario = Scenario::new(vec![del("D", FIRST, true)]).with(&["A1", "L"]).looks(1);
    expect_wrong(Rule::Tombstone, &scenario, "the objects mean");
}

#[test]
fn a_tombstone_stays_until_every_lock_is_resolved() {
    let scenario = Scenario::new(vec![del("D", FIRST, true)]).with(&["A1", "L"]).faults(LATE);
    expect_wrong(Rule::AllResolved, &scenario, "the objects mean");
}

#[test]
fn a_commit_names_uids() {
    let scenario = Scenario::new(vec![add("T1", "A1"), delete("X", "L")]).faults(DOUBLED).looks(1);
    expect_wrong(Rule::LockedByUid, &scenario, "the objects mean");
}

#[test]
fn guards_are_locked() {
    let crossed = vec![guarded("W1", "R", "L", true), guarded("W2", "L", "R", true)];
    let scenario = Scenario::new(crossed).with(&["L", "R"]);
    expect_wrong(Rule::GuardsLocked, &scenario, "was told");
}

#[test]
fn reads_of_a_writer_are_locked() {
    let crossed = vec![reading("W1", "R", "L"), reading("W2", "L", "R")];
    let scenario = Scenario::new(crossed).with(&["L", "R"]);
    expect_wrong(Rule::ReadsLocked, &scenario, "was told");
}

#[test]
fn a_refused_commit_is_looked_up() {
    expect_wrong(Rule::RefusalLookedUp, &adds().faults(DOUBLED), "told that nothing happened");
}

#[test]
fn a_denied_commit_is_looked_up_if_it_can_not_be_undone() {
    expect_wrong(Rule::DenialSeenThrough, &adds().faults(DOUBLED), "told that nothing happened");
}

#[test]
fn after_silence_nothing_is_undone() {
    expect_wrong(Rule::SilenceLookedUp, &adds().faults(LATE), "told that nothing happened");
}

#[test]
fn the_undoing_of_a_silent_commit_is_seen_through() {
    expect_wrong(Rule::UndoSeenThrough, &adds().faults(LATE), "told that nothing happened");
}

#[test]
fn a_lock_is_its_own_only_on_the_object_that_was_locked() {
    let faults = Faults { lost: 1, doubled: 1, ..NO };
    expect_wrong(Rule::OwnLockByUid, &add_and_del(false).faults(faults), "told that nothing happened");
}

#[test]
fn another_revision_of_the_primary_proves_nothing() {
    let scenario = Scenario::new(vec![add("T1", "A1"), rewrite("R", "A1", of(0))]).faults(LOST);
    expect_wrong(Rule::OtherRevisionUnknown, &scenario, "told that nothing happened");
}

#[test]
fn an_absent_primary_proves_nothing() {
    expect_wrong(Rule::AbsenceUnknown, &add_and_del(true).faults(LOST), "told that nothing happened");
}

#[test]
fn a_refused_single_write_is_looked_up() {
    let mut scenario = Scenario::new(vec![rewrite("R", "A1", FIRST)]).with(&["A1"]).faults(DOUBLED);
    scenario.doubled_singles = true;
    expect_wrong(Rule::SingleLookedUp, &scenario, "told that nothing happened");
}

/// A key that is absent after a refused delete does not tell who has deleted it.
#[test]
fn a_single_delete_that_is_sent_twice_is_not_reported_as_failed() {
    let mut scenario = Scenario::new(vec![delete("X", "L")]).with(&["L"]).faults(DOUBLED);
    scenario.doubled_singles = true;
    assert_eq!(explore(&scenario, None).err(), None);
}

#[test]
fn several_keys_are_read_twice() {
    let scenario = Scenario::new(vec![add("T1", "A1"), read("reader", &["A1", "L"])]);
    expect_wrong(Rule::ReadTwice, &scenario, "reader was told");
}

#[test]
fn the_primaries_of_locks_are_read_twice() {
    let clients =
        vec![write("C1", &["A1", "L", "Q"]), write_reading("C2", &["A2", "R"], "Q"), read("reader", &["L", "R"])];
    expect_wrong(Rule::PrimariesReadTwice, &Scenario::new(clients), "reader was told");
}

#[test]
fn what_was_absent_is_read_between() {
    let clients = vec![add("T1", "A1"), del("D", of(0), true), read("reader", &["A1", "L"])];
    expect_wrong(Rule::AbsentBetween, &Scenario::new(clients), "reader was told");
}

#[test]
fn a_list_is_sent_again_after_a_commit() {
    let clients = vec![write("C1", &["A1", "L", "Q"]), write_reading("C2", &["A2", "R"], "Q"), list("list")];
    expect_wrong(Rule::ListAgain, &Scenario::new(clients), "list was told");
}

#[test]
fn a_locked_key_is_in_a_hint() {
    let scenario = Scenario::new(vec![add("T1", "A1"), hint("hint").after(0)]);
    expect_wrong(Rule::LockedInHint, &scenario, "hint was not shown L");
}

#[test]
fn reads_come_from_no_cache() {
    expect_wrong_on(Defect::StaleReads, &adds().looks(1), "the objects mean");
}

#[test]
fn only_the_api_servers_own_404_proves_absence() {
    expect_wrong_on(Defect::ForeignNotFound, &adds().looks(1), "the objects mean");
}

#[test]
fn deletes_name_a_version() {
    let clients = vec![del("D", FIRST, false), add("T1", "A1").after(0)];
    let faults = Faults { crashes: 1, ..NO };
    let scenario = Scenario::new(clients).with(&["A1", "L"]).looks(1).faults(faults);
    expect_wrong_on(Defect::UnguardedDeletes, &scenario, "the objects mean");
}

/// UIDs protect as well. So this is about an API that has none.
#[test]
fn each_attempt_has_an_id_of_its_own() {
    let clients = vec![add("T1", "A1"), delete("X", "L")];
    let scenario = Scenario::new(clients).faults(LATE).looks(1).attempts(2);
    assert_eq!(explore(&scenario, Some(Rule::LockedByUid)).err(), None);
    let scenario = Scenario { new_ids: false, ..scenario };
    let story = explore(&scenario, Some(Rule::LockedByUid)).unwrap_err();
    assert!(story.contains("the objects mean"), "{story}");
}

/// A limit of the protocol: an absence has no version. Nothing above the store needs more.
#[test]
fn what_is_absent_in_several_places_may_not_have_been_so_at_one_moment() {
    let flips = vec![flip("F1", "L", "R"), flip("F2", "R", "L").after(0), flip("F3", "L", "R").after(1)];
    let scenario = Scenario::new([flips, vec![read("reader", &["L", "R"])]].concat()).with(&["L"]);
    let story = explore(&scenario, None).unwrap_err();
    assert!(story.contains("reader was told") && story.contains("[Entry(None), Entry(None)]"), "{story}");
}
