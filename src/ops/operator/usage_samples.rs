//! Stores a daily sample of each network's usage, from which `usage` tells a pace. Only the controller does, after a scan
//! of the whole store.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::STORE_TIMEOUT;
use crate::deadline::Deadline;
use crate::error::Error;
use crate::ipam::keys;
use crate::ipam::lease::{self, Stored};
use crate::ipam::name::Name;
use crate::ipam::refusal::Refusal;
use crate::ipam::usage::{RangeUsage, Usage, UsageHistory};
use crate::ops::Session;
use crate::store::{Guard, Op, Revision, Txn};

/// The histories that are stored, each with its revision. What can't be read is left out.
pub(super) type Histories = BTreeMap<(Name, Name), (Revision, UsageHistory)>;

/// Reads all histories.
pub(super) fn read(session: &Session) -> Result<Histories, Error> {
    let mut histories = Histories::new();
    session.each(&keys::all_usage_histories(), STORE_TIMEOUT, |entry| {
        let history = Stored::<UsageHistory>::read(&entry.value).known();
        if let Some((network, history)) = keys::read_usage_history(&entry.key).zip(history) {
            histories.insert(network, (entry.revision, history));
        }
        Ok::<_, Error>(())
    })?;
    Ok(histories)
}

/// Adds today's sample to the history of each network that has a definition and no sample of today. Another
/// controller may do so at the same time: the first one wins.
pub(super) fn write(session: &Session, usage: &Usage, now: Timestamp) -> Result<(), Error> {
    let mut networks: BTreeMap<(Name, Name), Vec<RangeUsage>> = BTreeMap::new();
    for range in usage.ranges().into_iter().filter(|range| range.size.is_some()) {
        let network = (range.key.vrf.clone(), range.key.network.clone());
        networks.entry(network).or_default().push(range);
    }
    let mut histories = read(session)?;
    for (network, ranges) in networks {
        let key = keys::usage_history(&network.0, &network.1);
        // The guard also protects a history that a newer version wrote, and this one can't read.
        let (guard, history) = match histories.remove(&network) {
            None => (Guard::Absent(key.clone()), UsageHistory::default()),
            Some((revision, history)) => (Guard::Unchanged(key.clone(), revision), history),
        };
        if let Some(history) = history.with_sample(&ranges, now) {
            let txn = Txn::new(vec![guard], vec![Op::Put(key, lease::write(&history))], Vec::new());
            session.commit(&txn.map_err(Refusal::from)?, Deadline::after(STORE_TIMEOUT))?;
        }
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test's verdict is a panic")]
mod tests {
    use std::num::NonZeroU64;

    use serde_json::json;

    use super::*;
    use crate::store::{Entry, Key, StoreConfig};

    fn session(folder: &std::path::Path) -> Session {
        Session::open(StoreConfig::Embedded { data_dir: folder.to_owned() }, None).unwrap()
    }

    fn usage() -> Usage {
        let mut usage = Usage::default();
        for network in ["db-net", "web-net"] {
            let definition =
                json!({ "v": 1, "sets": [[{ "subnet": "10.0.0.0/24", "dynamic": "10.0.0.2-10.0.0.254" }]] });
            let key = Key::new(format!("net/default/{network}/00000000000000000000000000000001"));
            let value = definition.to_string().into_bytes();
            usage.note(&Entry { key, value, revision: Revision(NonZeroU64::MIN) });
        }
        usage
    }

    fn samples(session: &Session) -> Vec<(String, u64, usize)> {
        let row = |((_, network), (revision, history)): (&(Name, Name), &(Revision, UsageHistory))| {
            (network.to_string(), revision.0.get(), history.samples.len())
        };
        read(session).unwrap().iter().map(row).collect()
    }

    #[test]
    fn each_network_gets_one_sample_a_day_whoever_writes_it() {
        let folder = tempfile::Builder::new().prefix("kube-ipam-").tempdir().unwrap();
        let (one, other) = (session(folder.path()), session(folder.path()));
        let at = |time: &str| time.parse::<Timestamp>().unwrap();
        write(&one, &usage(), at("2026-11-27T10:00:00Z")).unwrap();
        let after_one = samples(&one);
        assert_eq!(after_one.iter().map(|(_, _, count)| *count).collect::<Vec<_>>(), [1, 1]);
        write(&other, &usage(), at("2026-11-27T10:05:00Z")).unwrap();
        assert_eq!(samples(&other), after_one, "nothing is written again on that day");
        write(&other, &usage(), at("2026-11-28T00:01:00Z")).unwrap();
        assert_eq!(samples(&one).iter().map(|(_, _, count)| *count).collect::<Vec<_>>(), [2, 2]);
    }

    #[test]
    fn a_newer_version_s_history_stays_as_it_is() {
        let folder = tempfile::Builder::new().prefix("kube-ipam-").tempdir().unwrap();
        let session = session(folder.path());
        let key = keys::usage_history(&Name::new("default").unwrap(), &Name::new("db-net").unwrap());
        let value = br#"{"v":99,"days":[]}"#.to_vec();
        let txn = Txn::new(Vec::new(), vec![Op::Put(key.clone(), value.clone())], Vec::new()).unwrap();
        session.commit(&txn, Deadline::after(STORE_TIMEOUT)).unwrap();
        write(&session, &usage(), "2026-11-27T10:00:00Z".parse().unwrap()).unwrap();
        assert_eq!(session.get(key, Deadline::after(STORE_TIMEOUT)).unwrap().map(|entry| entry.value), Some(value));
        assert_eq!(samples(&session).len(), 1, "the other network has its sample");
    }
}
