//! Tables of single moves, and a property over whole histories.
#![allow(clippy::unwrap_used, reason = "a test's verdict is a panic")]

use proptest::prelude::*;

use super::*;

const LEASE: Duration = Duration::from_secs(15);

fn standing(version: u64, holder: &str, seconds: u64) -> Standing {
    Standing::made(version.to_string(), Term { holder: holder.to_owned(), seconds, transitions: 3, ..Term::default() })
}

fn wall() -> Timestamp {
    Timestamp::UNIX_EPOCH
}

/// What a machine makes of the terms that it reads, each so many seconds after its begin: `take`, `renew` or `wait`.
fn moves(reads: &[(u64, Option<Standing>)]) -> Vec<&'static str> {
    let (mut election, began) = (Election::new("me".to_owned(), Times::new(LEASE)), Instant::now());
    let mut word = |(after, found): &(u64, Option<Standing>)| {
        let made = election.read(found.as_ref(), began + Duration::from_secs(*after), wall());
        match (made, found) {
            (Move::Wait, _) => "wait",
            (Move::Write(term), Some(last)) if last.term.transitions == term.transitions => "renew",
            (Move::Write(_), _) => "take",
        }
    };
    reads.iter().map(&mut word).collect()
}

#[test]
fn a_term_is_taken_that_is_nobodys_and_renewed_if_it_is_ours() {
    assert_eq!(moves(&[(0, None)]), ["take"]);
    assert_eq!(moves(&[(0, Some(standing(1, "", 1)))]), ["take"]);
    assert_eq!(moves(&[(0, Some(standing(1, "me", 15)))]), ["renew"]);
}

#[test]
fn anothers_term_is_taken_only_when_it_was_seen_unchanged_for_all_of_its_time() {
    let (same, renewed) = (|| Some(standing(1, "other", 15)), || Some(standing(2, "other", 15)));
    assert_eq!(moves(&[(0, same()), (14, same()), (15, same())]), ["wait", "wait", "take"]);
    assert_eq!(
        moves(&[(0, same()), (14, renewed()), (28, renewed()), (29, renewed())]),
        ["wait", "wait", "wait", "take"]
    );
    // However old it may be: seen for the first time, it has all of its time left.
    assert_eq!(moves(&[(1000, same())]), ["wait"]);
    // Its holder has promised to stop after a minute, and may go on that long.
    let longer = || Some(standing(1, "other", 60));
    assert_eq!(moves(&[(0, longer()), (59, longer()), (60, longer())]), ["wait", "wait", "take"]);
    // Or after a second, which would not be enough for our own clock.
    let shorter = || Some(standing(1, "other", 1));
    assert_eq!(moves(&[(0, shorter()), (14, shorter()), (15, shorter())]), ["wait", "wait", "take"]);
}

#[test]
fn who_leads_stops_by_its_own_clock_by_a_conflict_and_by_anothers_name() {
    let (times, sent) = (Times::new(LEASE), Instant::now());
    let leading = || {
        let mut election = Election::new("me".to_owned(), times);
        election.read(None, sent, wall());
        election.written(true, sent);
        assert_eq!(election.leads_until(), Some(sent + Duration::from_secs(10)));
        election
    };
    let mut conflict = leading();
    conflict.written(false, sent);
    assert_eq!(conflict.leads_until(), None);
    let mut replaced = leading();
    assert_eq!(replaced.read(Some(&standing(9, "other", 15)), sent, wall()), Move::Wait);
    assert_eq!(replaced.leads_until(), None);
    // Its own Lease was deleted: the write says whether it is still the leader.
    let mut deleted = leading();
    assert!(matches!(deleted.read(None, sent, wall()), Move::Write(_)));
}

#[test]
fn who_resigns_leaves_the_term_to_nobody_and_touches_no_other_ones() {
    let mut election = Election::new("me".to_owned(), Times::new(LEASE));
    election.written(true, Instant::now());
    let left = election.resign(Some(&standing(1, "me", 15)), wall()).unwrap();
    assert_eq!((left.holder.as_str(), left.transitions), ("", 3));
    assert_eq!(election.leads_until(), None);
    assert_eq!(election.resign(Some(&standing(1, "other", 15)), wall()), None);
    assert_eq!(election.resign(None, wall()), None);
}

/// What happens to one of the machines.
#[derive(Clone, Copy, Debug)]
enum Event {
    /// It reads.
    Read,
    /// It sends what it has decided on, some tenths of a second after it has looked at its clock; the answer may be lost.
    Write { slow: u8, heard: bool },
    /// Time goes by, in tenths of a second.
    Passes(u8),
    /// It is killed, and another process comes in its place.
    Dies,
    /// It resigns.
    Resigns,
}

fn event() -> impl Strategy<Value = (usize, Event)> {
    let event = prop_oneof![
        6 => Just(Event::Read),
        6 => (0..4u8, prop::bool::weighted(0.8)).prop_map(|(slow, heard)| Event::Write { slow, heard }),
        5 => (0..60u8).prop_map(Event::Passes),
        1 => Just(Event::Dies),
        1 => Just(Event::Resigns),
    ];
    (0..3usize, event)
}

/// A machine, what it last read, and what it has decided on.
struct Machine {
    election: Election,
    read: Option<Standing>,
    decided: Option<Term>,
}

impl Machine {
    fn new(number: usize) -> Self {
        Self { election: Election::new(format!("m{number}"), Times::new(LEASE)), read: None, decided: None }
    }
}

/// An API server with one Lease.
#[derive(Default)]
struct Server {
    standing: Option<Standing>,
    version: u64,
}

impl Server {
    fn write(&mut self, over: Option<&Standing>, term: &Term) -> bool {
        let fits = over.map(|over| &over.version) == self.standing.as_ref().map(|standing| &standing.version);
        if fits {
            self.version += 1;
            self.standing = Some(Standing::made(self.version.to_string(), term.clone()));
        }
        fits
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]
    #[test]
    fn whatever_is_lost_late_or_killed_no_two_lead_at_one_time(history in prop::collection::vec(event(), 1..200)) {
        let (mut now, mut server, mut made) = (Instant::now(), Server::default(), 3);
        let mut machines: Vec<Machine> = (0..made).map(Machine::new).collect();
        for (number, event) in history {
            let machine = &mut machines[number];
            match event {
                Event::Passes(tenths) => now += Duration::from_millis(100) * u32::from(tenths),
                Event::Read => {
                    machine.read = server.standing.clone();
                    machine.decided = match machine.election.read(machine.read.as_ref(), now, wall()) {
                        Move::Write(term) => Some(term),
                        Move::Wait => None,
                    };
                }
                Event::Write { slow, heard } => {
                    let Some(term) = machine.decided.take() else { continue };
                    let sent = now;
                    now += Duration::from_millis(100) * u32::from(slow);
                    let written = server.write(machine.read.as_ref(), &term);
                    if heard {
                        machine.election.written(written, sent);
                    }
                }
                Event::Dies => {
                    *machine = Machine::new(made);
                    made += 1;
                }
                Event::Resigns => {
                    let found = server.standing.clone();
                    machine.decided = None;
                    if let Some(term) = machine.election.resign(found.as_ref(), wall()) {
                        server.write(found.as_ref(), &term);
                    }
                }
            }
            let leads = |machine: &&Machine| machine.election.leads_until().is_some_and(|until| now < until);
            let leaders: Vec<&str> = machines.iter().filter(leads).map(|machine| machine.election.me()).collect();
            prop_assert!(leaders.len() <= 1, "{leaders:?} lead");
        }
    }
}
