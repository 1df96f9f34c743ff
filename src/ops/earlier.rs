//! Who had an address before: reads the store, this node's attachments and this node's log ([`crate::ipam::earlier`]).
//!
//! ```text
//!  store    the lease's changes, or only the lease ─┐
//!           at/<this node>/, its lost addresses     ├─► Evidence ─► earlier::merge ─► EarlierHolders
//!  log      lines that contain the address ─────────┘
//! ```
//!
//! It only reads. What can't be read becomes a gap, so that one source that fails does not hide the others.

use std::net::IpAddr;
use std::time::Duration;

use super::{Session, log};
use crate::cause::Cause;
use crate::config::CallSettings;
use crate::deadline::Deadline;
use crate::error::Error;
use crate::ipam::earlier::{self, EarlierHolders, Evidence, Gap, Holding};
use crate::ipam::keys;
use crate::ipam::lease::{Attachment, Stored};
use crate::ipam::name::Name;
use crate::store::{Change, HistoryEnd, KeyHistory, StoreConfig};
use crate::telemetry::{self, Excerpt};

/// The most values of a lease that are read.
const MAX_VALUES: usize = 64;

/// The most lines of the log that are read.
const MAX_LINES: usize = 512;

/// The time limit of each source.
const TIMEOUT: Duration = Duration::from_secs(5);

/// The earlier holders of an address, from everything that this node can read.
pub fn earlier_holders(session: &Session, settings: &CallSettings, vrf: &Name, ip: IpAddr) -> EarlierHolders {
    let ip = ip.to_canonical();
    let mut gaps = Vec::new();
    let lease = changes(session, vrf, ip).unwrap_or_else(|error| {
        gaps.push(Gap::Store(Cause::new(error.with_details())));
        KeyHistory { changes: Vec::new(), end: HistoryEnd::Complete }
    });
    let lost = lost(session, settings, vrf, ip).unwrap_or_else(|error| {
        if gaps.is_empty() {
            gaps.push(Gap::Store(Cause::new(error.with_details())));
        }
        Vec::new()
    });
    let excerpt = telemetry::read_back(&settings.log.file, &ip.to_string(), MAX_LINES, Deadline::after(TIMEOUT));
    let calls = excerpt.lines.iter().filter_map(|line| log::read(line, &settings.node, vrf, ip)).collect();
    gaps.extend(gaps_of_log(settings, session.config(), excerpt));
    earlier::merge(Evidence { lease, lost, calls, gaps })
}

/// The changes of the lease. A store without a history has the current one.
fn changes(session: &Session, vrf: &Name, ip: IpAddr) -> Result<KeyHistory, Error> {
    let key = keys::lease(vrf, ip);
    let history = session.history(&key, MAX_VALUES, Deadline::after(TIMEOUT))?;
    if history.end != HistoryEnd::NotKept {
        return Ok(history);
    }
    let current = session.get(key, Deadline::after(TIMEOUT))?;
    let changes = current.into_iter().map(|entry| Change { at: entry.revision, value: Some(entry.value) }).collect();
    Ok(KeyHistory { changes, ..history })
}

/// What attachments of this node say that they lost.
fn lost(session: &Session, settings: &CallSettings, vrf: &Name, ip: IpAddr) -> Result<Vec<Holding>, Error> {
    let mut found = Vec::new();
    for node in [&settings.node].into_iter().chain(&settings.former_nodes) {
        session.each(&keys::attachments_of(node), TIMEOUT, |entry| {
            let attachment =
                Stored::<Attachment>::read(&entry.value).known().filter(|attachment| attachment.vrf == *vrf);
            let id = keys::read_attachment(&entry.key);
            found.extend(id.zip(attachment).and_then(|(id, attachment)| earlier::from_lost(&id, &attachment, ip)));
            Ok::<_, Error>(())
        })?;
    }
    found.sort_by_key(|holding| holding.until);
    Ok(found)
}

fn gaps_of_log(settings: &CallSettings, store: &StoreConfig, excerpt: Excerpt) -> Vec<Gap> {
    let Excerpt { lines: _, oldest, more, unparsed, unread } = excerpt;
    let mut gaps = Vec::new();
    match oldest {
        _ if more => gaps.push(Gap::LogLimit),
        Some(oldest) => gaps.push(Gap::LogBegins(oldest)),
        None if unread.is_empty() => gaps.push(Gap::NoLog(settings.log.file.clone())),
        None => {}
    }
    gaps.extend((unparsed > 0).then_some(Gap::LogLines(unparsed)));
    gaps.extend(unread.into_iter().map(|(file, why)| Gap::LogFile { file, why: Cause::new(why.to_string()) }));
    // An embedded store is this node's alone.
    gaps.extend(matches!(store, StoreConfig::Etcd(_)).then_some(Gap::OtherNodes));
    gaps
}
