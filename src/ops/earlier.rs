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

/// The earlier holders of an address, from everything that this node can read before the deadline. What was not read by
/// then is a gap.
pub fn earlier_holders(
    session: &Session,
    settings: &CallSettings,
    vrf: &Name,
    ip: IpAddr,
    deadline: Deadline,
) -> EarlierHolders {
    let ip = ip.to_canonical();
    // The history of an etcd that is never compacted can take any time, so it comes last and has all that is left.
    let excerpt = telemetry::read_back(&settings.log.file, &ip.to_string(), MAX_LINES, share(deadline, 3));
    let calls = excerpt.lines.iter().filter_map(|line| log::read(line, &settings.node, vrf, ip)).collect();
    let (lost, unread) = lost(session, settings, vrf, ip, share(deadline, 2));
    let (lease, gap) = match changes(session, vrf, ip, deadline) {
        Ok(history) => (history, unread.map(Gap::Attachments)),
        // A store that can't be read is said once.
        Err(error) => {
            let nothing = KeyHistory { changes: Vec::new(), end: HistoryEnd::Complete };
            (nothing, Some(Gap::Store(Cause::new(error.with_details()))))
        }
    };
    let gaps = gap.into_iter().chain(gaps_of_log(settings, session.config(), excerpt)).collect();
    earlier::merge(Evidence { lease, lost, calls, gaps })
}

/// The deadline of the next source, if so many share the time that is left.
fn share(deadline: Deadline, sources: u32) -> Deadline {
    deadline.at_most(deadline.remaining() / sources)
}

/// The changes of the lease. A store without a history has the current one.
fn changes(session: &Session, vrf: &Name, ip: IpAddr, deadline: Deadline) -> Result<KeyHistory, Error> {
    let key = keys::lease(vrf, ip);
    let history = session.history(&key, MAX_VALUES, deadline)?;
    if history.end != HistoryEnd::NotKept {
        return Ok(history);
    }
    let current = session.get(key, deadline)?;
    let changes = current.into_iter().map(|entry| Change { at: entry.revision, value: Some(entry.value) }).collect();
    Ok(KeyHistory { changes, ..history })
}

/// What attachments of this node say that they lost, and why some of them were not read.
fn lost(
    session: &Session,
    settings: &CallSettings,
    vrf: &Name,
    ip: IpAddr,
    deadline: Deadline,
) -> (Vec<Holding>, Option<Cause>) {
    let mut found = Vec::new();
    let mut nodes = [&settings.node].into_iter().chain(&settings.former_nodes);
    let read = nodes.try_for_each(|node| {
        session.each_before(&keys::attachments_of(node), deadline, |entry| {
            let attachment =
                Stored::<Attachment>::read(&entry.value).known().filter(|attachment| attachment.vrf == *vrf);
            let id = keys::read_attachment(&entry.key);
            found.extend(id.zip(attachment).and_then(|(id, attachment)| earlier::from_lost(&id, &attachment, ip)));
            Ok::<_, Error>(())
        })
    });
    found.sort_by_key(|holding| holding.until);
    (found, read.err().map(|error| Cause::new(error.with_details())))
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
    gaps.extend(matches!(store, StoreConfig::Etcd(_) | StoreConfig::Kubernetes(_)).then_some(Gap::OtherNodes));
    gaps
}
