//! What is in the store, in one pass over it: entries that this version can't read, times that lie ahead, and how full
//! the ranges are. Of the entries, only hashes of the holders are kept ([`super::holdings`]).

use jiff::Timestamp;

use super::holdings::{Compared, Holdings};
use crate::cause::chain;
use crate::error::Error;
use crate::explain::{Command, Commands, Tool};
use crate::ipam::keys;
use crate::ipam::lease::{Attachment, Definition, Lease, Stored, UnreadableValue, is_ahead};
use crate::ipam::name::Name;
use crate::ipam::usage::{RangePart, RangeUsage, Usage};
use crate::ops::Session;
use crate::ops::operator::STORE_TIMEOUT;
use crate::ops::operator::doctor::check::{Outcome, Remedy, Status};
use crate::ops::operator::doctor::subject::{Subject, commands};
use crate::ops::operator::doctor::text::counted;
use crate::ops::operator::doctor::units::{between, span};
use crate::store::{Entry, StoreConfig};

/// How many keys are named; the others are counted.
const SHOWN: usize = 10;

/// After how many entries the progress is shown.
const PROGRESS: u64 = 1000;

/// The usage in percent from which a range is nearly full.
const NEARLY_FULL: u128 = 90;

/// What one pass found.
#[derive(Debug)]
pub(in crate::ops::operator::doctor) struct Contents {
    now: Timestamp,
    leases: u64,
    newer: Keys,
    damaged: Keys,
    ahead: u64,
    /// The latest time ahead, and the node that wrote it.
    latest: Option<(Timestamp, Option<Name>)>,
    usage: Usage,
    holdings: Holdings,
    /// The result of comparing attachments with leases, after the pass.
    compared: Compared,
}

/// The first of some keys, and how many there are.
#[derive(Debug, Default)]
struct Keys {
    first: Vec<(String, String)>,
    count: u64,
}

impl Keys {
    fn add(&mut self, key: &str, why: String) {
        self.count += 1;
        if self.first.len() < SHOWN {
            self.first.push((key.to_owned(), why));
        }
    }

    fn text(&self) -> String {
        let keys: Vec<String> = self.first.iter().map(|(key, why)| format!("{key} ({why})")).collect();
        match self.count.saturating_sub(self.first.len() as u64) {
            0 => keys.join(", "),
            more => format!("{}, and {more} more", keys.join(", ")),
        }
    }
}

impl Contents {
    pub(super) fn new(now: Timestamp) -> Self {
        Self {
            now,
            leases: 0,
            newer: Keys::default(),
            damaged: Keys::default(),
            ahead: 0,
            latest: None,
            usage: Usage::default(),
            holdings: Holdings::default(),
            compared: Compared::default(),
        }
    }

    /// Reads the whole store, page by page, and says how many entries it has read.
    pub(super) fn read(session: &Session, now: Timestamp, progress: &dyn Fn(u64)) -> Result<Self, Error> {
        let (mut contents, mut done) = (Self::new(now), 0);
        // Definitions come first: the leases are counted for them.
        for keys in [keys::all_definitions(), keys::all_leases(), keys::all_attachments()] {
            session.each(&keys, STORE_TIMEOUT, |entry| {
                contents.note(entry);
                done += 1;
                if done % PROGRESS == 0 {
                    progress(done);
                }
                Ok::<_, Error>(())
            })?;
        }
        contents.compared = std::mem::take(&mut contents.holdings).compare(session)?;
        Ok(contents)
    }

    pub(super) fn note(&mut self, entry: &Entry) {
        let key = entry.key.as_str();
        if let Some((vrf, ip)) = keys::read_lease(&entry.key) {
            let lease = Stored::<Lease>::read(&entry.value);
            self.leases += 1;
            match &lease {
                Stored::Known(lease) => {
                    self.note_times(lease);
                    self.holdings.note_lease(&vrf, ip, lease);
                }
                Stored::Unreadable(why) => self.note_unreadable(key, why),
            }
            self.usage.note_lease(vrf, ip, lease);
        } else if let Some(id) = keys::read_attachment(&entry.key) {
            match Stored::<Attachment>::read(&entry.value) {
                Stored::Known(attachment) => self.holdings.note_attachment(id, &attachment),
                Stored::Unreadable(why) => self.note_unreadable(key, &why),
            }
        } else if keys::read_definition(&entry.key).is_some() {
            match Stored::<Definition>::read(&entry.value) {
                Stored::Known(_) => self.usage.note(entry),
                Stored::Unreadable(why) => self.note_unreadable(key, &why),
            }
        } else {
            self.damaged.add(key, "it is no key of kube-ipam".to_owned());
        }
    }

    fn note_unreadable(&mut self, key: &str, why: &UnreadableValue) {
        match why {
            UnreadableValue::Newer(version) => self.newer.add(key, format!("version {version}")),
            UnreadableValue::Corrupt(_) => self.damaged.add(key, chain(why).to_string()),
        }
    }

    fn note_times(&mut self, lease: &Lease) {
        let released = lease.rest.as_ref().map(|rest| rest.released);
        let answered = lease.foreign.as_ref().map(|foreign| foreign.answered);
        let times = [Some(lease.since), released, lease.unused, answered];
        let ahead = times.into_iter().flatten().filter(|time| is_ahead(*time, self.now)).max();
        let Some(time) = ahead else { return };
        self.ahead += 1;
        if self.latest.as_ref().is_none_or(|(latest, _)| *latest < time) {
            // Who released it may be another node; the last holder's is the best that is known.
            self.latest = Some((time, lease.holders.first().map(|holder| holder.id.node.clone())));
        }
    }

    /// Whether all entries can be read.
    pub(super) fn entries(&self, store: &StoreConfig, next: &Commands) -> Outcome {
        let subject = Subject::new(store.to_string());
        if self.damaged.count > 0 {
            let first = self.damaged.first.first().map(|(key, _)| key.as_str()).unwrap_or_default();
            return subject.error(
                format!("{} can't be read, and count as in use: {}", entries(self.damaged.count), self.damaged.text()),
                commands(
                    "look at one, and delete it only if no running pod has its address; or restore the store from a backup",
                    [show(store, first, next)],
                ),
            );
        }
        if self.newer.count > 0 {
            return subject.warning(
                format!(
                    "a newer kube-ipam wrote {}, which this one leaves alone: {}",
                    entries(self.newer.count),
                    self.newer.text()
                ),
                Remedy::new("finish the upgrade: install the newer version on every node"),
            );
        }
        subject.ok(format!("all its entries can be read, {} among them", leases(self.leases)))
    }

    /// Whether each address of an attachment has its lease.
    pub(super) fn attachments(&self, store: &StoreConfig, next: &Commands) -> Vec<Outcome> {
        self.compared.outcomes(store, next)
    }

    /// Whether stored times lie ahead of this machine's clock.
    pub(super) fn times(&self, store: &StoreConfig) -> Outcome {
        let subject = Subject::new(store.to_string());
        let Some((latest, node)) = &self.latest else {
            return subject.ok("no stored time lies ahead of this machine's clock");
        };
        let by = span(between(self.now, *latest));
        let whose = node.as_ref().map_or(String::new(), |node| format!(", of a holder on node {node}"));
        subject.warning(
            format!("{} lie ahead of this machine's clock ({:.0}), the latest by {by}{whose}", times(self.ahead), self.now),
            commands(
                "correct the clock that is wrong, here or there; until then cooldowns and sweeps count from when a time was \
                 first seen",
                [Tool::Timedatectl.run(&["status"])],
            ),
        )
    }

    /// Whether ranges and pools are nearly full.
    pub(super) fn ranges(&self, store: &StoreConfig, next: &Commands) -> Vec<Outcome> {
        let ranges = self.usage.ranges();
        let sized: Vec<&RangeUsage> = ranges.iter().filter(|range| range.size.is_some()).collect();
        let full: Vec<Outcome> = sized.iter().filter_map(|range| nearly_full(range, next)).collect();
        if !full.is_empty() {
            return full;
        }
        let subject = Subject::new(store.to_string());
        vec![match sized.len() {
            0 => subject.skipped("no ADD has stored a network's definition yet"),
            count => {
                let ranges = counted(count, "known range is", "known ranges and pools are");
                subject.ok(format!("{ranges} in use to less than {NEARLY_FULL} %"))
            }
        }]
    }
}

fn entries(count: u64) -> String {
    if count == 1 { "1 entry".to_owned() } else { format!("{count} entries") }
}

fn leases(count: u64) -> String {
    if count == 1 { "1 lease".to_owned() } else { format!("{count} leases") }
}

fn times(count: u64) -> String {
    format!("times of {}", leases(count))
}

/// The command that shows an entry.
fn show(store: &StoreConfig, key: &str, next: &Commands) -> Command {
    match store {
        StoreConfig::Etcd(config) => {
            let url = config.urls.first().map_or("", String::as_str);
            let key = format!("{}/{key}", config.prefix.trim_end_matches('/'));
            super::etcdctl::Etcdctl(config).at(url, &["get", &key])
        }
        StoreConfig::Embedded { data_dir } => {
            let database = data_dir.join("kube-ipam.sqlite3").display().to_string();
            let query = format!("SELECT value FROM entries WHERE key = '{}'", key.replace('\'', "''"));
            Tool::Sqlite3.run(&["-readonly", &database, &query])
        }
        StoreConfig::Kubernetes(config) => {
            let (resource, name) = config.place_of(&crate::store::Key::new(key)).unwrap_or_default();
            next.kubectl(&["get", &resource, "-n", &config.namespace, &name, "-o", "yaml"])
        }
    }
}

fn nearly_full(range: &RangeUsage, next: &Commands) -> Option<Outcome> {
    let size = range.size.filter(|size| *size > 0)?;
    let used = u128::from(range.used());
    // 9 of 10 are 90 %, also where an exact share would need fractions.
    if used.saturating_mul(100) < size.saturating_mul(NEARLY_FULL) {
        return None;
    }
    let key = &range.key;
    let subnet = key.subnet.map_or(String::new(), |subnet| format!(" {subnet}"));
    let vrf = if key.vrf.as_str() == "default" { String::new() } else { format!(" (vrf {})", key.vrf) };
    let subject = Subject::new(format!("{}{subnet} {}{vrf}", key.network, key.part));
    let free = range.free().unwrap_or(0);
    let message = format!(
        "{free} of {size} addresses are free: {} held or reserved, {} in cooldown, {} foreign",
        range.held + range.reserved,
        range.resting,
        range.foreign
    );
    let fault = if free == 0 { Status::Error } else { Status::Warning };
    let text = match key.part {
        RangePart::Pool(_) => {
            "extend the pool, or let fewer pods ask for it; look first whether some of its addresses have leaked"
        }
        _ => "widen the range or add one; look first whether some of its addresses have leaked",
    };
    let usage = next.kube_ipam(&["usage", "--network", key.network.as_str()], None);
    Some(subject.fault(fault, message, commands(text, [usage, next.sweep(&["--dry-run"])])))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test's verdict is a panic")]
mod tests {
    use std::net::IpAddr;
    use std::num::NonZeroU64;

    use serde_json::{Value, json};

    use super::*;
    use crate::store::{Key, Revision};

    const NOW: &str = "2026-11-01T10:00:00Z";

    fn entry(key: &str, value: &Value) -> Entry {
        Entry { key: Key::new(key), value: value.to_string().into_bytes(), revision: Revision(NonZeroU64::MIN) }
    }

    fn lease(ip: &str, since: &str) -> Entry {
        let holder = json!({
            "node": "worker-1", "containerID": "c", "ifname": "net1", "network": "db-net",
            "began": { "boot": "b", "boottime": 1 },
        });
        let lease =
            json!({ "v": 1, "kind": "dynamic", "holders": [holder], "since": since, "onRelease": { "rest": 30 } });
        let ip: IpAddr = ip.parse().unwrap();
        entry(keys::lease(&Name::new("default").unwrap(), ip).as_str(), &lease)
    }

    fn definition(dynamic: &str) -> Entry {
        let range = json!({ "subnet": "10.0.0.0/24", "dynamic": dynamic });
        entry("net/default/db-net/00000000000000000000000000000001", &json!({ "v": 1, "sets": [[range]] }))
    }

    fn judged(entries: &[Entry]) -> Vec<Outcome> {
        let mut contents = Contents::new(NOW.parse().unwrap());
        entries.iter().for_each(|entry| contents.note(entry));
        let store = StoreConfig::Embedded { data_dir: "/s".into() };
        [contents.entries(&store, &Commands::default()), contents.times(&store)]
            .into_iter()
            .chain(contents.ranges(&store, &Commands::default()))
            .collect()
    }

    fn texts(outcomes: &[Outcome]) -> Vec<String> {
        outcomes.iter().map(|outcome| format!("{} {}", outcome.status.word(), outcome.message)).collect()
    }

    #[test]
    fn a_healthy_store_passes() {
        let results = judged(&[definition("10.0.0.10-10.0.0.19"), lease("10.0.0.10", NOW)]);
        assert_eq!(
            texts(&results),
            [
                "ok SQLite in /s: all its entries can be read, 1 lease among them",
                "ok SQLite in /s: no stored time lies ahead of this machine's clock",
                "ok SQLite in /s: 1 known range is in use to less than 90 %",
            ]
        );
    }

    #[test]
    fn entries_that_cannot_be_read_are_named_with_their_keys() {
        let damaged = entry("ip/default/4/010.000.000.001", &json!("?"));
        let newer = entry("at/n/c/net1/db", &json!({ "v": 99 }));
        let results = judged(std::slice::from_ref(&newer));
        assert_eq!(
            texts(&results)[0],
            "warning SQLite in /s: a newer kube-ipam wrote 1 entry, which this one leaves alone: at/n/c/net1/db (version 99)"
        );
        let results = judged(&[newer, damaged]);
        assert!(texts(&results)[0].starts_with("error SQLite in /s: 1 entry can't be read, and count as in use: ip/default/4/010.000.000.001 (it is damaged"), "{:?}", texts(&results));
        assert_eq!(
            results[0].remedy.as_ref().unwrap().commands,
            [
                "sqlite3 -readonly /s/kube-ipam.sqlite3 'SELECT value FROM entries WHERE key = '\\''ip/default/4/010.000.000.001'\\'''"
            ]
        );
    }

    #[test]
    fn of_many_keys_only_the_first_are_named() {
        let damaged: Vec<Entry> =
            (0..25).map(|n| entry(&format!("ip/default/4/010.000.000.{n:03}"), &json!(0))).collect();
        let text = texts(&judged(&damaged)).remove(0);
        assert!(text.contains("25 entries") && text.ends_with("and 15 more"), "{text}");
        assert_eq!(text.matches("ip/default").count(), SHOWN);
    }

    #[test]
    fn a_key_of_another_program_is_named() {
        let text = texts(&judged(&[entry("ip/somebody", &json!(0))])).remove(0);
        assert!(text.contains("ip/somebody (it is no key of kube-ipam)"), "{text}");
    }

    #[test]
    fn times_ahead_name_the_latest_and_its_node() {
        let text =
            texts(&judged(&[lease("10.0.0.1", "2026-11-01T10:00:59Z"), lease("10.0.0.2", "2026-11-01T11:00:00Z")]))
                .remove(1);
        assert_eq!(
            text,
            "warning SQLite in /s: times of 1 lease lie ahead of this machine's clock (2026-11-01T10:00:00Z), the latest by 1h, of a holder on node worker-1"
        );
    }

    #[test]
    fn a_range_is_a_warning_from_nine_tenths_on_and_an_error_when_it_is_full() {
        let filled = |count: u32| {
            let leases = (10..10 + count).map(|n| lease(&format!("10.0.0.{n}"), NOW));
            texts(&judged(&[definition("10.0.0.10-10.0.0.19")].into_iter().chain(leases).collect::<Vec<_>>())).remove(2)
        };
        assert!(filled(8).starts_with("ok SQLite in /s: 1 known range is in use"));
        assert_eq!(
            filled(9),
            "warning db-net 10.0.0.0/24 dynamic: 1 of 10 addresses are free: 9 held or reserved, 0 in cooldown, 0 foreign"
        );
        assert!(filled(10).starts_with("error db-net 10.0.0.0/24 dynamic: 0 of 10 addresses are free"));
    }
}
