//! Tables of single actions, and a property over whole histories.
#![allow(clippy::unwrap_used, reason = "a test's verdict is a panic")]

use proptest::prelude::*;

use super::*;

const LEASE: Duration = Duration::from_secs(15);

fn observed(version: u64, holder: &str, seconds: u64) -> ObservedRecord {
    let record = LeaderElectionRecord {
        holder_identity: holder.to_owned(),
        lease_duration_seconds: seconds,
        leader_transitions: 3,
        ..LeaderElectionRecord::default()
    };
    ObservedRecord::for_test(version.to_string(), record)
}

fn wall() -> Timestamp {
    Timestamp::UNIX_EPOCH
}

/// The actions of an election for these records, each read so many seconds after its start: `acquire`, `renew` or
/// `wait`.
fn actions(reads: &[(u64, Option<ObservedRecord>)]) -> Vec<&'static str> {
    let (mut election, began) = (Election::new("me".to_owned(), ElectionTiming::new(LEASE)), Instant::now());
    let mut word = |(after, found): &(u64, Option<ObservedRecord>)| {
        let action = election.on_read(found.as_ref(), began + Duration::from_secs(*after), wall());
        match (action, found) {
            (ElectionAction::Wait, _) => "wait",
            (ElectionAction::Write(next), Some(last)) if last.record.leader_transitions == next.leader_transitions => {
                "renew"
            }
            (ElectionAction::Write(_), _) => "acquire",
        }
    };
    reads.iter().map(&mut word).collect()
}

#[test]
fn a_lease_without_a_holder_is_acquired_and_our_own_is_renewed() {
    assert_eq!(actions(&[(0, None)]), ["acquire"]);
    assert_eq!(actions(&[(0, Some(observed(1, "", 1)))]), ["acquire"]);
    assert_eq!(actions(&[(0, Some(observed(1, "me", 15)))]), ["renew"]);
}

#[test]
fn anothers_lease_is_acquired_only_after_it_was_unchanged_for_its_whole_duration() {
    let (same, renewed) = (|| Some(observed(1, "other", 15)), || Some(observed(2, "other", 15)));
    assert_eq!(actions(&[(0, same()), (14, same()), (15, same())]), ["wait", "wait", "acquire"]);
    assert_eq!(
        actions(&[(0, same()), (14, renewed()), (28, renewed()), (29, renewed())]),
        ["wait", "wait", "wait", "acquire"]
    );
    // A lease that is seen for the first time counts as just renewed, however old it is.
    assert_eq!(actions(&[(1000, same())]), ["wait"]);
    // The holder's lease lasts a minute, so it may lead that long.
    let longer = || Some(observed(1, "other", 60));
    assert_eq!(actions(&[(0, longer()), (59, longer()), (60, longer())]), ["wait", "wait", "acquire"]);
    // The holder's lease lasts a second, which is shorter than our own lease duration.
    let shorter = || Some(observed(1, "other", 1));
    assert_eq!(actions(&[(0, shorter()), (14, shorter()), (15, shorter())]), ["wait", "wait", "acquire"]);
}

#[test]
fn the_leader_steps_down_by_its_own_clock_a_conflict_or_another_holder() {
    let (timing, sent) = (ElectionTiming::new(LEASE), Instant::now());
    let leading = || {
        let mut election = Election::new("me".to_owned(), timing);
        election.on_read(None, sent, wall());
        election.on_written(true, sent);
        assert_eq!(election.leader_until(), Some(sent + Duration::from_secs(10)));
        election
    };
    let mut conflict = leading();
    conflict.on_written(false, sent);
    assert_eq!(conflict.leader_until(), None);
    let mut replaced = leading();
    assert_eq!(replaced.on_read(Some(&observed(9, "other", 15)), sent, wall()), ElectionAction::Wait);
    assert_eq!(replaced.leader_until(), None);
    // Its own Lease was deleted. The write decides whether it is still the leader.
    let mut deleted = leading();
    assert!(matches!(deleted.on_read(None, sent, wall()), ElectionAction::Write(_)));
}

#[test]
fn a_release_clears_the_holder_of_our_own_lease_and_of_no_other() {
    let mut election = Election::new("me".to_owned(), ElectionTiming::new(LEASE));
    election.on_written(true, Instant::now());
    let released = election.release(Some(&observed(1, "me", 15)), wall()).unwrap();
    assert_eq!((released.holder_identity.as_str(), released.leader_transitions), ("", 3));
    assert_eq!(election.leader_until(), None);
    assert_eq!(election.release(Some(&observed(1, "other", 15)), wall()), None);
    assert_eq!(election.release(None, wall()), None);
}

/// An event of one participant.
#[derive(Clone, Copy, Debug)]
enum Event {
    /// It reads.
    Read,
    /// It sends the record that it decided on, after a delay in tenths of a second. The reply may be lost.
    Write { delay: u8, reply_arrives: bool },
    /// Time passes, in tenths of a second.
    Passes(u8),
    /// It is killed, and another process replaces it.
    Dies,
    /// It releases the lease.
    Releases,
}

fn event() -> impl Strategy<Value = (usize, Event)> {
    let event = prop_oneof![
        6 => Just(Event::Read),
        6 => (0..4u8, prop::bool::weighted(0.8)).prop_map(|(delay, reply_arrives)| Event::Write { delay, reply_arrives }),
        5 => (0..60u8).prop_map(Event::Passes),
        1 => Just(Event::Dies),
        1 => Just(Event::Releases),
    ];
    (0..3usize, event)
}

/// A participant, the record that it last read, and the one that it will write.
struct Machine {
    election: Election,
    read: Option<ObservedRecord>,
    decided: Option<LeaderElectionRecord>,
}

impl Machine {
    fn new(number: usize) -> Self {
        Self { election: Election::new(format!("m{number}"), ElectionTiming::new(LEASE)), read: None, decided: None }
    }
}

/// An API server with one Lease.
#[derive(Default)]
struct Server {
    stored: Option<ObservedRecord>,
    version: u64,
}

impl Server {
    fn write(&mut self, observed: Option<&ObservedRecord>, record: &LeaderElectionRecord) -> bool {
        let version = |record: &ObservedRecord| record.resource_version.clone();
        let fits = observed.map(version) == self.stored.as_ref().map(version);
        if fits {
            self.version += 1;
            self.stored = Some(ObservedRecord::for_test(self.version.to_string(), record.clone()));
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
                    machine.read = server.stored.clone();
                    machine.decided = match machine.election.on_read(machine.read.as_ref(), now, wall()) {
                        ElectionAction::Write(record) => Some(record),
                        ElectionAction::Wait => None,
                    };
                }
                Event::Write { delay, reply_arrives } => {
                    let Some(record) = machine.decided.take() else { continue };
                    let sent = now;
                    now += Duration::from_millis(100) * u32::from(delay);
                    let written = server.write(machine.read.as_ref(), &record);
                    if reply_arrives {
                        machine.election.on_written(written, sent);
                    }
                }
                Event::Dies => {
                    *machine = Machine::new(made);
                    made += 1;
                }
                Event::Releases => {
                    let found = server.stored.clone();
                    machine.decided = None;
                    if let Some(record) = machine.election.release(found.as_ref(), wall()) {
                        server.write(found.as_ref(), &record);
                    }
                }
            }
            let leads = |machine: &&Machine| machine.election.leader_until().is_some_and(|deadline| now < deadline);
            let leaders: Vec<&str> = machines.iter().filter(leads).map(|machine| machine.election.identity()).collect();
            prop_assert!(leaders.len() <= 1, "{leaders:?} lead");
        }
    }
}
