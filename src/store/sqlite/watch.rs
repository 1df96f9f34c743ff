//! Watches: a thread compares the database with a copy whenever its revision has changed.
//!
//! ```text
//!  every 50 ms: meta.revision ── as before ──► nothing
//!                             ── higher ─────► compare with the copy ──► Changes
//!                             ── lower, or another file ──► Gap, and a new copy
//! ```
//!
//! The revision is one row, and reading it blocks a writer for some microseconds. inotify(7) would wake the thread
//! sooner, but while the commit is still under way: it would find the file locked, and poll as well.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use tokio::sync::mpsc::{self, Receiver, Sender};

use super::database::Database;
use super::error::{self, SqliteFailure};
use super::snapshot::{Look, Snapshot};
use super::worker::CommitState;
use crate::cause::Cause;
use crate::deadline::Deadline;
use crate::store::backoff::Backoff;
use crate::store::{KeySpan, Op, Position, StoreError, Txn, Update};

/// How often the revision is read.
const INTERVAL: Duration = Duration::from_millis(50);

/// A pause of this many times the length of a comparison leaves writers four fifths of the time.
const REST: u32 = 4;

/// How long a locked database is tried again before the watch reports it.
const PATIENCE: Duration = Duration::from_secs(10);

/// The pause after an error.
const PAUSE: Duration = Duration::from_secs(1);

/// How many updates wait for a slow caller. Then the thread waits.
const QUEUE: usize = 4;

type Updates = Result<Update, StoreError>;

/// A watch of a span.
#[derive(Debug)]
pub(in crate::store) struct SqliteWatch {
    folder: PathBuf,
    span: KeySpan,
    after: Option<Position>,
    updates: Option<Receiver<Updates>>,
}

impl SqliteWatch {
    pub(super) fn new(folder: &Path, span: KeySpan, after: Option<Position>) -> Self {
        Self { folder: folder.to_owned(), span, after, updates: None }
    }

    pub(in crate::store) async fn next(&mut self) -> Updates {
        let updates = match self.updates.take() {
            Some(updates) => updates,
            None => self.start()?,
        };
        match self.updates.insert(updates).recv().await {
            Some(update) => update,
            None => {
                // The thread has ended without a reason. The next one does not know what this one has passed on.
                self.updates = None;
                Ok(Update::Gap)
            }
        }
    }

    fn start(&mut self) -> Result<Receiver<Updates>, StoreError> {
        let (updates, queue) = mpsc::channel(QUEUE);
        let (folder, span, after) = (self.folder.clone(), self.span.clone(), self.after.take());
        let mut follower = Follower { folder, span, after, snapshot: None, updates, has_failed: false };
        match thread::Builder::new().name("sqlite-watch".to_owned()).spawn(move || follower.run()) {
            Ok(_) => Ok(queue),
            Err(e) => Err(StoreError::Unavailable(Cause::new(e).context("no thread could be started"))),
        }
    }
}

/// The thread's part. It ends when the watch is dropped.
struct Follower {
    folder: PathBuf,
    span: KeySpan,
    after: Option<Position>,
    snapshot: Option<Snapshot>,
    updates: Sender<Updates>,
    /// Whether the caller was told of an error, and not yet that it is over.
    has_failed: bool,
}

/// The watch was dropped.
struct Dropped;

impl Follower {
    fn run(&mut self) {
        let mut flow =
            self.make_database().map_or_else(|error| self.fail(error), |()| ControlFlow::Continue(Duration::ZERO));
        while let ControlFlow::Continue(pause) = flow {
            thread::sleep(pause);
            flow = match patiently(|| self.step()) {
                _ if self.updates.is_closed() => ControlFlow::Break(Dropped),
                Ok(flow) => flow,
                Err(failure) => self.fail(error::report(failure)),
            };
        }
    }

    fn fail(&mut self, error: StoreError) -> ControlFlow<Dropped, Duration> {
        self.has_failed = true;
        self.pass_on(Err(error)).map_continue(|()| PAUSE)
    }

    /// Creates a database that does not exist yet, as any read does.
    fn make_database(&self) -> Result<(), StoreError> {
        let txn = Txn::read(vec![Op::Count(self.span.clone())]).map_err(|e| StoreError::Denied(Cause::new(e)))?;
        let mut database = Database::new(&self.folder);
        database.commit(&txn, Deadline::after(PATIENCE), &CommitState::default()).map(drop)
    }

    /// Takes the copy, or compares it. Returns how long to wait afterwards.
    fn step(&mut self) -> Result<ControlFlow<Dropped, Duration>, SqliteFailure> {
        let Some(snapshot) = &mut self.snapshot else {
            let snapshot = Snapshot::take(&self.folder, &self.span)?;
            let is_passed_on = self.list(&snapshot)?;
            self.snapshot = Some(snapshot);
            return Ok(is_passed_on.map_continue(|()| Duration::ZERO));
        };
        let (update, pause) = match snapshot.look()? {
            Look::Unchanged if self.has_failed => (Update::Resumed, INTERVAL),
            Look::Unchanged => return Ok(ControlFlow::Continue(INTERVAL)),
            Look::Changed { changes, took } => {
                let position = snapshot.revision().into();
                (Update::Changes { changes, position }, INTERVAL.max(took * REST))
            }
            Look::Replaced => {
                self.snapshot = None;
                (Update::Gap, Duration::ZERO)
            }
        };
        Ok(self.send(update).map_continue(|()| pause))
    }

    /// Passes on the entries, unless the watch continues where they are.
    fn list(&mut self, snapshot: &Snapshot) -> Result<ControlFlow<Dropped>, SqliteFailure> {
        let position = Position::from(snapshot.revision());
        match self.after.take() {
            Some(after) if after == position => return Ok(ControlFlow::Continue(())),
            Some(_) if self.send(Update::Gap).is_break() => return Ok(ControlFlow::Break(Dropped)),
            _ => {}
        }
        let mut next = Some(self.span.from.clone());
        while let Some(from) = next {
            let (entries, rest) = snapshot.page(&from)?;
            next = rest;
            if !entries.is_empty() && self.send(Update::Entries(entries)).is_break() {
                return Ok(ControlFlow::Break(Dropped));
            }
        }
        Ok(self.send(Update::Listed(position)))
    }

    fn send(&mut self, update: Update) -> ControlFlow<Dropped> {
        self.has_failed = false;
        self.pass_on(Ok(update))
    }

    fn pass_on(&self, update: Updates) -> ControlFlow<Dropped> {
        match self.updates.blocking_send(update) {
            Ok(()) => ControlFlow::Continue(()),
            Err(_) => ControlFlow::Break(Dropped),
        }
    }
}

/// Tries again while a writer has locked the database.
fn patiently<T>(mut step: impl FnMut() -> Result<T, SqliteFailure>) -> Result<T, SqliteFailure> {
    let deadline = Deadline::after(PATIENCE);
    let mut backoff = Backoff::new(Duration::from_micros(200), Duration::from_millis(10));
    loop {
        match step() {
            Err(SqliteFailure::Busy) if !deadline.has_passed() => thread::sleep(backoff.next()),
            done => return done,
        }
    }
}

#[cfg(test)]
mod tests;
