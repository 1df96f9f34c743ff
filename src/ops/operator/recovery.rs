//! The operator's part in a recovery: seeing how it stands, beginning one before a backup is opened, ending one without the
//! nodes that are missing. What the nodes do about it is in [`crate::ops::recovery`].

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

/// The sign of a recovery that nobody has seen a sign of.
const ANNOUNCED: &str = "the operator has restored a backup";

/// What is to be done about a recovery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecoveryOptions {
    /// Nothing: only show how it stands.
    Show,
    /// Begin one: before a restored backup is opened to the nodes.
    Begin,
    /// End it without the nodes that are missing.
    End,
}

/// What was done, or how a recovery stands.
#[derive(Debug)]
pub enum RecoveryReport {
    /// It begins now.
    Begun,
    /// It is over.
    Ended,
    /// None was under way that could be ended.
    NoneUnderWay,
    /// Another one has begun meanwhile, so nothing was done.
    Overtaken,
    /// How it stands, and which nodes are missing; or why those are not known.
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

/// Begins a recovery. One that the backup has brought along begins again: the nodes were done with another loss.
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
