//! What this node has said on pods, so that it does not say it with each of the runtime's attempts.
//!
//! One file for the whole node. It is the bucket too: what was said within [`WINDOW`] is all that is in it, and
//! [`AT_MOST`] of that is enough. Where it can't be locked at once, or written, nothing is said; the runtime tries again,
//! and so do we.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::lock::LockedFile;
use super::{Action, RecordError, Records, file};
use crate::ipam::lease;

/// For so long the same is not said again.
const WINDOW: SignedDuration = SignedDuration::from_mins(10);

/// How much a node says within that time. A range that is full refuses every pod, and some of them tell it as well
/// as all.
const AT_MOST: usize = 20;

/// How long nothing is said once the API server has not allowed it.
const OFF: SignedDuration = SignedDuration::from_hours(1);

/// The file's name in the node's folder.
const FILE: &str = "events";

/// What is remembered.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Said {
    /// The version of the format, [`lease::VERSION`].
    v: u32,
    /// Since when nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    off: Option<Timestamp>,
    /// The digest of each text, and when it was said.
    #[serde(default)]
    said: Vec<(String, Timestamp)>,
}

impl Said {
    /// Without what is over. A time to come is that of a clock that was wrong.
    fn at(self, now: Timestamp) -> Self {
        let within = |at: &Timestamp, time| *at <= now && now.duration_since(*at) < time;
        let off = self.off.filter(|at| within(at, OFF));
        Self { v: lease::VERSION, off, said: self.said.into_iter().filter(|(_, at)| within(at, WINDOW)).collect() }
    }

    /// Notes a text, if it may be said.
    fn note(&mut self, digest: &str, now: Timestamp) -> bool {
        let may =
            self.off.is_none() && self.said.len() < AT_MOST && self.said.iter().all(|(earlier, _)| earlier != digest);
        if may {
            self.said.push((digest.to_owned(), now));
        }
        may
    }
}

impl Records {
    /// Whether a text may be said on a pod now; if so, it counts as said. `digest` stands for the text with all that it is
    /// about.
    pub fn may_say(&self, digest: &str, now: Timestamp) -> Result<bool, RecordError> {
        self.of_said(now, |said| said.note(digest, now)).map(Option::unwrap_or_default)
    }

    /// Nothing is said from now on, for an hour.
    pub fn say_no_more(&self, now: Timestamp) -> Result<(), RecordError> {
        let off = |said: &mut Said| {
            said.off = Some(now);
            true
        };
        self.of_said(now, off).map(drop)
    }

    /// Does something with what was said, and writes it if that says so; `None` while another call does.
    fn of_said(&self, now: Timestamp, change: impl FnOnce(&mut Said) -> bool) -> Result<Option<bool>, RecordError> {
        let path = self.folder().join(FILE);
        let Some(locked) = LockedFile::try_take(&path).map_err(RecordError::io(Action::Lock, &path))? else {
            return Ok(None);
        };
        let content = file::read(&path).map_err(RecordError::io(Action::Read, &path))?.unwrap_or_default();
        // What can't be read is as good as nothing: at worst something is said twice.
        let said: Said = serde_json::from_slice(file::last_line(&content)).unwrap_or_default();
        let mut said = said.at(now);
        let changed = change(&mut said);
        if changed {
            let written = file::append(locked.file(), &path, lease::write(&said));
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
    fn a_text_is_said_once_in_ten_minutes() {
        let folder = folder();
        let records = records(folder.path());
        let may = |digest: &str, second| records.may_say(digest, at(second)).unwrap();
        assert!(may("a", 0));
        assert!(!may("a", 0) && !may("a", 15) && !may("a", 599));
        assert!(may("b", 15));
        assert!(may("a", 600) && !may("a", 601));
        // A clock that was an hour ahead does not silence the node for an hour.
        assert!(may("c", 5000) && may("c", 700));
    }

    #[test]
    fn a_node_says_no_more_than_its_bucket_holds() {
        let folder = folder();
        let records = records(folder.path());
        let said = |second| {
            let may = |pod: &usize| records.may_say(&format!("pod-{pod}-{second}"), at(second)).unwrap();
            (0..200).filter(may).count()
        };
        assert_eq!([said(0), said(1), said(599), said(600)], [AT_MOST, 0, 0, AT_MOST]);
        // The file does not grow with what is over.
        assert!((2..12).all(|window| said(window * 600) == AT_MOST));
        assert!(fs::metadata(records.folder().join(FILE)).unwrap().len() < 1 << 17);
    }

    #[test]
    fn without_the_right_to_it_a_node_is_silent_for_an_hour() {
        let folder = folder();
        let records = records(folder.path());
        assert!(records.may_say("a", at(0)).unwrap());
        records.say_no_more(at(0)).unwrap();
        assert!(!records.may_say("b", at(1)).unwrap() && !records.may_say("b", at(3599)).unwrap());
        assert!(records.may_say("b", at(3600)).unwrap());
    }

    #[test]
    fn while_another_call_speaks_nothing_is_said_and_a_torn_file_is_none() {
        let folder = folder();
        let records = records(folder.path());
        let path = records.folder().join(FILE);
        let locked = LockedFile::try_take(&path).unwrap();
        assert!(locked.is_some());
        assert!(!records.may_say("a", at(0)).unwrap());
        drop(locked);
        fs::write(&path, "{\"v\":1,\"said\":[[\"a\"").unwrap();
        assert!(records.may_say("a", at(0)).unwrap());
        assert!(!records.may_say("a", at(1)).unwrap());
        // It is no record.
        assert_eq!(records.all().unwrap(), []);
        records.tidy(usize::MAX).unwrap();
        assert!(path.exists());
    }
}
