//! The scenarios, with faults, in which nothing may go wrong.

use std::time::Instant;

use super::explore::explore;
use super::scenario::*;

const NO: Faults = Faults { crashes: 0, lost: 0, late: 0, doubled: 0, touched: 0 };

/// Explores each scenario with each set of faults.
fn expect_right(scenarios: &[(&str, Scenario)], faults: &[Faults]) {
    let begun = Instant::now();
    let mut total = 0;
    for (what, scenario) in scenarios {
        for faults in faults {
            let begun = Instant::now();
            match explore(&scenario.clone().faults(*faults), None) {
                Ok(states) => {
                    total += states;
                    eprintln!("{what}, {faults:?}: {states} states in {:.1?}", begun.elapsed());
                }
                Err(story) => panic!("{what}, {faults:?}:\n{story}"),
            }
        }
    }
    eprintln!("{total} states in {:.1?}", begun.elapsed());
}

/// One transaction, which meets nobody.
fn alone() -> Vec<(&'static str, Scenario)> {
    let held = ["A1", "L"];
    let alone = |client| Scenario::new(vec![client]).attempts(2);
    vec![
        ("an ADD", alone(add("T", "A1"))),
        ("an ADD with alternatives", alone(add_either("T", "A1")).with(&["L"])),
        ("a DEL", alone(del("D", FIRST, true)).with(&held)),
        ("a DEL without cooldown", alone(del("D", FIRST, false)).with(&held)),
        ("a take-over", alone(take_over("T")).with(&held)),
        ("a confirmation", alone(confirm("C", FIRST)).with(&held)),
    ]
}

/// Two transactions that meet.
fn pairs() -> Vec<(&'static str, Scenario)> {
    let held = ["A1", "L"];
    let pair = |one, other| Scenario::new(vec![one, other]);
    vec![
        ("two ADDs of one lease", pair(add("T1", "A1"), add("T2", "A2"))),
        ("an ADD and its DEL", pair(add("T1", "A1"), del("D", of(0), true))),
        ("an ADD and its DEL, without cooldown", pair(add("T1", "A1"), del("D", of(0), false))),
        ("an ADD and its confirmation", pair(add("T1", "A1"), confirm("C", of(0)))),
        ("an ADD and a fence", pair(add("T1", "A1"), fence("F"))),
        ("an ADD and a guarded write", pair(add("T1", "A1"), guarded("G", "L", "R", false))),
        ("an ADD and a write of its lease", pair(add("T1", "A1"), write("W", &["L"]))),
        ("an ADD and a write of its attachment", pair(add("T1", "A1"), write("W", &["A1"]))),
        ("an ADD and a delete of its lease", pair(add("T1", "A1"), delete("X", "L"))),
        ("a DEL and a confirmation", pair(del("D", FIRST, true), confirm("C", FIRST)).with(&held)),
        ("two DELs", pair(del("D1", FIRST, true), del("D2", FIRST, false)).with(&held)),
        (
            "a guarded write and a confirmation",
            pair(guarded("G", "L", "R", true), confirm("C", FIRST)).with(&["A1", "L", "R"]),
        ),
        ("guards crossed", pair(guarded("W1", "R", "L", true), guarded("W2", "L", "R", true)).with(&["L", "R"])),
        ("reads crossed", pair(reading("W1", "R", "L"), reading("W2", "L", "R")).with(&["L", "R"])),
    ]
}

/// ADDs beside a recovery S that begins, or begins and ends.
fn recoveries() -> Vec<(&'static str, Scenario)> {
    let scenario = |clients: &[Client]| Scenario::new(clients.to_vec());
    let begins = || write("B", &["S"]);
    vec![
        ("an ADD during a recovery", scenario(&[add_unless("T1", "A1"), read("reader", &["L", "S"])]).with(&["S"])),
        ("an ADD and the begin of a recovery", scenario(&[add_unless("T1", "A1"), begins()])),
        ("an ADD and the begin of one with another key", scenario(&[add_unless("T1", "A1"), write("B", &["L", "S"])])),
        ("an ADD and the end of a recovery", scenario(&[add_unless("T1", "A1"), delete("E", "S")]).with(&["S"])),
        ("an ADD and a whole recovery", scenario(&[add_unless("T1", "A1"), begins(), delete("E", "S").after(1)])),
        ("two ADDs and the begin of a recovery", scenario(&[add_unless("T1", "A1"), add_unless("T2", "A2"), begins()])),
        ("an ADD without its witness", scenario(&[add_if("T1", "A1"), read("reader", &["L", "W"])])),
        ("an ADD and a write of its witness", scenario(&[add_if("T1", "A1"), write("B", &["W"])]).with(&["W"])),
        (
            "an ADD and one of its witness and another key",
            scenario(&[add_if("T1", "A1"), write("B", &["L", "W"])]).with(&["W"]),
        ),
        ("an ADD and the end of its witness", scenario(&[add_if("T1", "A1"), delete("E", "W")]).with(&["W"])),
    ]
}

/// Transactions with alternatives, which a second attempt takes.
fn alternatives() -> Vec<(&'static str, Scenario)> {
    let scenario = |clients: &[Client]| Scenario::new(clients.to_vec()).attempts(2);
    vec![("two ADDs of two leases", scenario(&[add_either("T1", "A1"), add_either("T2", "A2")]))]
}

/// Three keys, and two transactions that need most of them.
fn take_overs() -> Vec<(&'static str, Scenario)> {
    let held = ["A1", "L"];
    let pair = |one, other| Scenario::new(vec![one, other]);
    vec![
        ("a take-over and a DEL", pair(take_over("T"), del("D", FIRST, true)).with(&held)),
        ("a take-over and a confirmation", pair(take_over("T"), confirm("C", FIRST)).with(&held)),
    ]
}

/// Writers, and one that only reads.
fn with_reader() -> Vec<(&'static str, Scenario)> {
    let scenario = |clients: &[Client]| Scenario::new(clients.to_vec());
    vec![
        ("a reader beside two ADDs", scenario(&[add("T1", "A1"), add("T2", "A2"), read("reader", &["A1", "L"])])),
        (
            "a reader beside ADD and DEL",
            scenario(&[add("T1", "A1"), del("D", of(0), true), read("reader", &["A1", "L"])]),
        ),
        ("a reader of one key", scenario(&[add("T1", "A1"), add("T2", "A2"), read("reader", &["L"])])),
        ("a list beside two ADDs", scenario(&[add("T1", "A1"), add("T2", "A2"), list("list")])),
        ("a hint beside two ADDs", scenario(&[add("T1", "A1"), add("T2", "A2"), hint("hint")])),
        ("a hint after an ADD", scenario(&[add("T1", "A1"), hint("hint").after(0)])),
        ("a hint after a DEL", scenario(&[del("D", FIRST, false), hint("hint").after(0)]).with(&["A1", "L"])),
        ("a hint in a DEL beside an ADD", scenario(&[del_with_hint("D", FIRST), add("T2", "A2")]).with(&["A1", "L"])),
        ("a list beside a DEL", scenario(&[del("D", FIRST, true), add("T2", "A2"), list("list")]).with(&["A1", "L"])),
    ]
}

/// One transaction, and one that has read what it wrote beside its primary.
fn chains() -> Vec<(&'static str, Scenario)> {
    let beside = |reader| {
        let first = write("C1", &["A1", "L", "Q"]);
        Scenario::new(vec![first, write_reading("C2", &["A2", "R"], "Q"), reader])
    };
    vec![
        ("a reader beside a chain", beside(read("reader", &["L", "R"]))),
        ("a list beside a chain", beside(list("list"))),
    ]
}

fn triples() -> Vec<(&'static str, Scenario)> {
    let scenario = |clients: &[Client]| Scenario::new(clients.to_vec());
    let again = || add("T1b", "A1");
    vec![
        ("two ADDs and a DEL", scenario(&[add("T1", "A1"), add("T2", "A2"), del("D", of(0), true)])),
        ("two ADDs and a confirmation", scenario(&[add("T1", "A1"), add("T2", "A2"), confirm("C", of(0))])),
        ("ADD, DEL, ADD of one attachment", scenario(&[add("T1", "A1"), del("D", of(0), false), again().after(1)])),
        ("ADD, DEL and a fence", scenario(&[add("T1", "A1"), del("D", of(0), true), fence("F")])),
        ("ADD, delete and ADD of one lease", scenario(&[add("T1", "A1"), delete("X", "L"), add("T2", "A2")])),
    ]
}

#[test]
fn two_transactions_have_the_outcomes_that_they_have_in_memory_whatever_is_lost() {
    let once = Faults { crashes: 1, late: 1, ..NO };
    let answers = Faults { lost: 1, doubled: 1, ..NO };
    let touched = Faults { touched: 1, late: 1, ..NO };
    expect_right(&pairs(), &[once, answers, touched]);
    expect_right(&take_overs(), &[once, answers, touched]);
    expect_right(&alternatives(), &[NO, Faults { crashes: 1, ..NO }]);
}

/// An attempt that gets no answer to its commit, and none to the request that takes its lock back, still knows its lock.
#[test]
fn a_transaction_that_meets_nobody_has_its_outcome_whatever_is_lost_again_and_again() {
    let late = Faults { late: 3, ..NO };
    let all = Faults { lost: 1, late: 2, doubled: 1, ..NO };
    expect_right(&alone(), &[late, all, Faults { crashes: 1, ..all }]);
}

#[test]
fn a_guard_that_is_only_read_held_at_some_moment() {
    expect_right(&recoveries(), &[NO, Faults { crashes: 1, ..NO }, Faults { doubled: 1, ..NO }]);
}

#[test]
fn a_cleaner_beside_them_changes_nothing() {
    let cleaned: Vec<_> = pairs().into_iter().map(|(what, scenario)| (what, scenario.looks(1))).collect();
    expect_right(&cleaned, &[Faults { crashes: 1, ..NO }, Faults { doubled: 1, ..NO }]);
}

#[test]
fn readings_are_states_of_the_store_in_memory() {
    expect_right(&with_reader(), &[NO, Faults { crashes: 1, ..NO }]);
    expect_right(&chains(), &[NO]);
}

#[test]
fn three_transactions_have_the_outcomes_that_they_have_in_memory() {
    expect_right(&triples(), &[NO, Faults { crashes: 1, ..NO }, Faults { doubled: 1, ..NO }]);
}

#[test]
#[ignore = "takes minutes: more faults, more attempts"]
fn the_same_holds_deeper() {
    let attempts = |scenarios: Vec<(&'static str, Scenario)>, attempts| -> Vec<_> {
        scenarios.into_iter().map(|(what, scenario)| (what, scenario.attempts(attempts))).collect()
    };
    let all = Faults { crashes: 1, lost: 1, late: 1, ..NO };
    let doubled = Faults { crashes: 1, late: 1, doubled: 1, ..NO };
    let (late, answers) = (Faults { crashes: 1, late: 1, ..NO }, Faults { lost: 1, doubled: 1, ..NO });
    expect_right(&attempts(pairs(), 2), &[all, doubled]);
    expect_right(&attempts(take_overs(), 2), &[all, doubled]);
    expect_right(&alternatives(), &[late, answers]);
    expect_right(&attempts(recoveries(), 2), &[late, answers]);
    expect_right(&triples(), &[late, answers]);
    expect_right(&with_reader(), &[late, answers]);
    expect_right(&chains(), &[Faults { crashes: 1, ..NO }]);
    let take_over = Scenario::new(vec![take_over("T"), confirm("C", FIRST), read("reader", &["A1", "A2", "L"])]);
    expect_right(&[("a reader beside a take-over", take_over.with(&["A1", "L"]))], &[Faults { crashes: 1, ..NO }]);
}
