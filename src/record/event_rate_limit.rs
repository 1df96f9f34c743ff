//! The rate limit of the events that this node publishes on pods, across all calls.
//!
//! One file holds it for the whole node: the events accepted within [`DEDUP_WINDOW`], at most [`BURST`] of them. If the
//! file is locked or can't be written, nothing is published. The runtime retries its call, which publishes the event
//! again.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::lock::LockedFile;
use super::{Action, RecordError, Records, file};
use crate::ipam::lease;

/// How long an event with the same digest is not published again.
const DEDUP_WINDOW: SignedDuration = SignedDuration::from_mins(10);

/// The most events within [`DEDUP_WINDOW`]. A full range refuses every pod, and events on some of them tell as much as
/// events on all.
const BURST: usize = 20;

/// How long nothing is published after the API server has denied permission.
const SUSPENSION: SignedDuration = SignedDuration::from_hours(1);

/// The file's name in the node's folder.
const FILE: &str = "events";

/// The content of the file.
#[derive(Debug, Default, Serialize, Deserialize)]
struct EventRateLimit {
    /// The version of the format, [`lease::VERSION`].
    v: u32,
    #[serde(default, rename = "off", skip_serializing_if = "Option::is_none")]
    suspended_at: Option<Timestamp>,
    /// The digests of the accepted events, each with its time.
    #[serde(default, rename = "said")]
    accepted: Vec<(String, Timestamp)>,
}

impl EventRateLimit {
    /// Drops old events, and those with a time in the future, which come from a wrong clock.
    fn at(self, now: Timestamp) -> Self {
        let is_within = |at: &Timestamp, time| *at <= now && now.duration_since(*at) < time;
        Self {
            v: lease::VERSION,
            suspended_at: self.suspended_at.filter(|at| is_within(at, SUSPENSION)),
            accepted: self.accepted.into_iter().filter(|(_, at)| is_within(at, DEDUP_WINDOW)).collect(),
        }
    }

    fn try_accept(&mut self, digest: &str, now: Timestamp) -> bool {
        let is_new = self.accepted.iter().all(|(earlier, _)| earlier != digest);
        let accepts = self.suspended_at.is_none() && self.accepted.len() < BURST && is_new;
        if accepts {
            self.accepted.push((digest.to_owned(), now));
        }
        accepts
    }
}

/// What this node may still publish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventBudget {
    /// Until when nothing is published, because the API server has denied permission.
    pub suspended_until: Option<Timestamp>,
    /// How many more events may be published now.
    pub left: usize,
}

impl Records {
    /// What this node may still publish. Changes nothing.
    pub fn event_budget(&self, now: Timestamp) -> Result<EventBudget, RecordError> {
        let path = self.folder().join(FILE);
        let content = file::read(&path).map_err(RecordError::io(Action::Read, &path))?.unwrap_or_default();
        let limit: EventRateLimit = serde_json::from_slice(file::last_line(&content)).unwrap_or_default();
        let limit = limit.at(now);
        let suspended_until = limit.suspended_at.and_then(|at| at.checked_add(SUSPENSION).ok());
        Ok(EventBudget { suspended_until, left: BURST.saturating_sub(limit.accepted.len()) })
    }

    /// Whether an event may be published now. If so, it counts as published. `digest` identifies its text and pod.
    pub fn try_accept_event(&self, digest: &str, now: Timestamp) -> Result<bool, RecordError> {
        self.update_limit(now, |limit| limit.try_accept(digest, now)).map(Option::unwrap_or_default)
    }

    /// Accepts no events for an hour.
    pub fn suspend_events(&self, now: Timestamp) -> Result<(), RecordError> {
        let suspend = |limit: &mut EventRateLimit| {
            limit.suspended_at = Some(now);
            true
        };
        self.update_limit(now, suspend).map(drop)
    }

    /// Calls `change` and writes the file if that returns true; `None` if another call has locked the file.
    fn update_limit(
        &self,
        now: Timestamp,
        change: impl FnOnce(&mut EventRateLimit) -> bool,
    ) -> Result<Option<bool>, RecordError> {
        let path = self.folder().join(FILE);
        let Some(locked) = LockedFile::try_acquire(&path).map_err(RecordError::io(Action::Lock, &path))? else {
            return Ok(None);
        };
        let content = file::read(&path).map_err(RecordError::io(Action::Read, &path))?.unwrap_or_default();
        // An unreadable file counts as empty. At worst an event is published twice.
        let limit: EventRateLimit = serde_json::from_slice(file::last_line(&content)).unwrap_or_default();
        let mut limit = limit.at(now);
        let changed = change(&mut limit);
        if changed {
            let written = file::append(locked.file(), &path, lease::write(&limit));
            written.map_err(RecordError::io(Action::Write, &path))?;
        }
        Ok(Some(changed))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;
    use crate::ipam::name::Name;

    fn records(folder: &Path) -> Records {
        Records::new(folder, &Name::new("node-1").unwrap())
    }

    fn folder() -> tempfile::TempDir {
        tempfile::Builder::new().prefix("kube-ipam-").tempdir().unwrap()
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).unwrap()
    }

    #[test]
    fn an_event_is_published_once_in_ten_minutes() {
        let folder = folder();
        let records = records(folder.path());
        let may = |digest: &str, second| records.try_accept_event(digest, at(second)).unwrap();
        assert!(may("a", 0));
        assert!(!may("a", 0) && !may("a", 15) && !may("a", 599));
        assert!(may("b", 15));
        assert!(may("a", 600) && !may("a", 601));
        // A clock that was an hour ahead does not stop events for an hour.
        assert!(may("c", 5000) && may("c", 700));
    }

    #[test]
    fn the_budget_shows_what_is_left_and_until_when_nothing_is_published() {
        let folder = folder();
        let records = records(folder.path());
        let budget = |second| records.event_budget(at(second)).unwrap();
        assert_eq!(budget(0), EventBudget { suspended_until: None, left: BURST });
        assert!(records.try_accept_event("a", at(0)).unwrap());
        records.suspend_events(at(5)).unwrap();
        assert_eq!(budget(6), EventBudget { suspended_until: Some(at(3605)), left: BURST - 1 });
        assert_eq!(budget(3605), EventBudget { suspended_until: None, left: BURST });
    }

    #[test]
    fn a_node_publishes_no_more_events_than_the_burst() {
        let folder = folder();
        let records = records(folder.path());
        let accepted = |second| {
            let may = |pod: &usize| records.try_accept_event(&format!("pod-{pod}-{second}"), at(second)).unwrap();
            (0..200).filter(may).count()
        };
        assert_eq!([accepted(0), accepted(1), accepted(599), accepted(600)], [BURST, 0, 0, BURST]);
        // Old events are removed from the file.
        assert!((2..12).all(|window| accepted(window * 600) == BURST));
        assert!(fs::metadata(records.folder().join(FILE)).unwrap().len() < 1 << 17);
    }

    #[test]
    fn a_node_without_the_right_to_create_events_is_silent_for_an_hour() {
        let folder = folder();
        let records = records(folder.path());
        assert!(records.try_accept_event("a", at(0)).unwrap());
        records.suspend_events(at(0)).unwrap();
        assert!(!records.try_accept_event("b", at(1)).unwrap() && !records.try_accept_event("b", at(3599)).unwrap());
        assert!(records.try_accept_event("b", at(3600)).unwrap());
    }

    #[test]
    fn while_the_file_is_locked_no_event_is_published_and_a_torn_file_counts_as_empty() {
        let folder = folder();
        let records = records(folder.path());
        let path = records.folder().join(FILE);
        let locked = LockedFile::try_acquire(&path).unwrap();
        assert!(locked.is_some());
        assert!(!records.try_accept_event("a", at(0)).unwrap());
        drop(locked);
        fs::write(&path, "{\"v\":1,\"said\":[[\"a\"").unwrap();
        assert!(records.try_accept_event("a", at(0)).unwrap());
        assert!(!records.try_accept_event("a", at(1)).unwrap());
        // The file is not a record.
        assert_eq!(records.all().unwrap(), []);
        records.remove_leftovers(usize::MAX).unwrap();
        assert!(path.exists());
    }
}
