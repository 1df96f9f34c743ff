//! The operator's part in a recovery: showing its progress, beginning one before a restored backup is opened, and
//! ending one without the missing nodes. For the nodes' part, see [`crate::ops::recovery`].

use jiff::Timestamp;

use super::STORE_TIMEOUT;
use crate::config::CallSettings;
use crate::deadline::Deadline;
use crate::error::Error;
use crate::ipam::name::Name;
use crate::ipam::recovery::{Begin, Begun, Progress, Recovery, UpdateRecovery};
use crate::ops::Session;
use crate::ops::recovery::{nodes, progress};
use crate::store::StoreConfig;

/// The recorded reason of a recovery that the operator begins.
const ANNOUNCED: &str = "the operator has restored a backup";

/// What to do about a recovery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecoveryOptions {
    /// Nothing: only show the progress.
    Show,
    /// Begin one, before the restored backup is opened to the nodes.
    Begin,
    /// End it without the missing nodes.
    End,
}

/// What was done, or the progress of a recovery.
#[derive(Debug)]
pub enum RecoveryReport {
    /// One has begun.
    Begun,
    /// It has ended.
    Ended,
    /// No recovery was in progress, so none was ended.
    NoneUnderWay,
    /// Another one has begun meanwhile, so nothing was done.
    Overtaken,
    /// The progress, and the missing nodes or why they are unknown.
    Progress(Box<Progress>, Result<Vec<Name>, String>),
}

/// Shows, begins or ends a recovery.
pub fn recovery(
    settings: &CallSettings,
    store: &StoreConfig,
    options: RecoveryOptions,
) -> Result<RecoveryReport, Error> {
    let session = Session::open(store.clone(), None)?;
    let deadline = Deadline::after(STORE_TIMEOUT);
    match options {
        RecoveryOptions::Show => show(settings, store, &session, deadline),
        RecoveryOptions::Begin => begin(&session, deadline),
        RecoveryOptions::End => end(&session, deadline),
    }
}

fn show(
    settings: &CallSettings,
    store: &StoreConfig,
    session: &Session,
    deadline: Deadline,
) -> Result<RecoveryReport, Error> {
    let progress = progress(session, deadline)?;
    let nodes = match progress.current {
        Some(_) => nodes(settings, store, deadline),
        None => Ok(Vec::new()),
    };
    let missing = nodes.map(|nodes| progress.missing(&nodes).into_iter().cloned().collect());
    Ok(RecoveryReport::Progress(Box::new(progress), missing))
}

/// Begins a recovery. If the backup contains one, this replaces it: its nodes were done with an earlier loss.
fn begin(session: &Session, deadline: Deadline) -> Result<RecoveryReport, Error> {
    let recovery = Recovery::new(ANNOUNCED.to_owned(), None, Timestamp::now());
    let mut begin = match progress(session, deadline)?.current {
        Some((seen, _)) => Begin::instead_of(recovery, seen),
        None => Begin::new(recovery),
    };
    Ok(match session.decide(&mut begin, deadline)? {
        Begun::Now => RecoveryReport::Begun,
        Begun::Before => RecoveryReport::Overtaken,
    })
}

fn end(session: &Session, deadline: Deadline) -> Result<RecoveryReport, Error> {
    let Some(mut end) = UpdateRecovery::end_by_operator(&progress(session, deadline)?) else {
        return Ok(RecoveryReport::NoneUnderWay);
    };
    Ok(match session.decide(&mut end, deadline)? {
        true => RecoveryReport::Ended,
        false => RecoveryReport::Overtaken,
    })
}
