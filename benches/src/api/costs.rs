//! What the calls cost the API server and etcd.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use kube_ipam_e2e::Result;
use kube_ipam_e2e::etcd::Cluster;
use serde_json::Value;

use super::level::Level;
use crate::contender::{Contender, Verb, Who};
use crate::race::{BURST, Cell};
use crate::report::Table;

/// The number of calls whose requests are counted.
const COUNTED: usize = 10;

/// The number of addresses whose bytes are measured.
const WEIGHED: usize = 1000;

/// After this time, a contender is content with fewer.
const WEIGH_PATIENCE: Duration = Duration::from_secs(60);

/// The containers whose calls' requests are counted.
pub(super) fn counted_containers() -> impl Iterator<Item = String> {
    (0..COUNTED).map(|i| format!("d{i:063x}"))
}

/// The containers whose addresses' bytes are measured.
pub(super) fn weighed_containers() -> impl Iterator<Item = String> {
    (0..WEIGHED).map(|i| format!("c{i:063x}"))
}

#[derive(Default)]
pub(super) struct Costs {
    /// The API server's requests of a call, by verb and resource.
    requests: BTreeMap<Cell, BTreeMap<String, f64>>,
    bursts: BTreeMap<Who, Bursts>,
    bytes: BTreeMap<Who, Bytes>,
}

/// The sums of all bursts of a contender.
#[derive(Default)]
struct Bursts {
    count: usize,
    cpu_seconds: f64,
    repeated: usize,
}

/// etcd's bytes of an address.
struct Bytes {
    addresses: usize,
    /// With the earlier revisions that its ADD has left.
    with_history: f64,
    /// After a compaction.
    at_rest: f64,
}

impl Costs {
    /// Adds the CPU time of the API server in a burst's ADDs, and how many of them failed and were repeated.
    pub(super) fn add_burst(&mut self, who: Who, cpu_seconds: f64, repeated: usize) {
        let sums = self.bursts.entry(who).or_default();
        sums.count += 1;
        sums.cpu_seconds += cpu_seconds;
        sums.repeated += repeated;
    }

    /// Counts the requests of ADDs and DELs with the API server's metrics.
    pub(super) fn count_requests(&mut self, level: &Level, contender: &Contender) -> Result<()> {
        let containers: Vec<String> = counted_containers().collect();
        for verb in [Verb::Add, Verb::Del] {
            let before = requests(level)?;
            containers.iter().try_for_each(|container| contender.call(verb, container).time().map(drop))?;
            let mut each = requests(level)?;
            for (request, count) in &mut each {
                *count = (*count - before.get(request).unwrap_or(&0.0)) / COUNTED as f64;
            }
            // The server has requests of its own, every ten seconds.
            each.retain(|_, count| *count >= 0.5);
            self.requests.insert((contender.held, verb, contender.who), each);
        }
        Ok(())
    }

    /// Measures etcd's bytes of addresses, and leaves these assigned.
    pub(super) fn weigh(&mut self, level: &Level, contender: &Contender, etcd: &Cluster) -> Result<()> {
        let etcd = match contender.who {
            Who::Etcd => etcd,
            Who::Kubernetes | Who::Whereabouts => level.server.etcd(),
            _ => return Ok(()),
        };
        let empty = compacted(etcd)?;
        let began = Instant::now();
        let mut addresses = 0;
        for container in weighed_containers().take_while(|_| began.elapsed() < WEIGH_PATIENCE) {
            contender.call(Verb::Add, &container).time()?;
            addresses += 1;
        }
        let each = |bytes: f64| (bytes - empty) / addresses as f64;
        let with_history = each(in_use(etcd)?);
        let at_rest = each(compacted(etcd)?);
        self.bytes.insert(contender.who, Bytes { addresses, with_history, at_rest });
        Ok(())
    }

    /// The requests of every cell.
    pub(super) fn requests_table(&self) -> Table {
        let mut table = Table::new(["/16", "call", "", "requests to the API server", "which"]);
        for ((held, verb, who), requests) in &self.requests {
            let which: Vec<String> = requests.iter().map(|(name, count)| format!("{} {name}", short(*count))).collect();
            table.row([
                held.label().to_owned(),
                verb.name().to_owned(),
                who.label().to_owned(),
                short(requests.values().fold(0.0, |sum, count| sum + count)),
                which.join(", "),
            ]);
        }
        table
    }

    /// What an address costs the servers.
    pub(super) fn addresses_table(&self) -> Table {
        let crowd = format!("API server's CPU ms an ADD, of {BURST} at once");
        let mut table =
            Table::new(["", &crowd, "calls repeated", "etcd's bytes an address", "with history", "addresses"]);
        for (who, bursts) in &self.bursts {
            let bytes = self.bytes.get(who);
            let number = |number: Option<f64>| number.map_or_else(|| "–".to_owned(), |number| format!("{number:.0}"));
            table.row([
                who.label().to_owned(),
                format!("{:.1}", bursts.cpu_seconds * 1000.0 / (bursts.count * BURST) as f64),
                short(bursts.repeated as f64 / bursts.count as f64),
                number(bytes.map(|bytes| bytes.at_rest)),
                number(bytes.map(|bytes| bytes.with_history)),
                number(bytes.map(|bytes| bytes.addresses as f64)),
            ]);
        }
        table
    }
}

/// The requests that the server has counted so far, by verb and resource.
fn requests(level: &Level) -> Result<BTreeMap<String, f64>> {
    let mut counts = BTreeMap::new();
    for sample in level.server.samples("apiserver_request_total")? {
        let label = |name: &str| sample.labels.get(name).map(String::as_str).unwrap_or_default();
        let (verb, resource) = (label("verb"), label("resource"));
        if !resource.is_empty() && verb != "WATCH" {
            let subresource = Some(label("subresource")).filter(|name| !name.is_empty());
            let resource = subresource.map_or_else(|| resource.to_owned(), |name| format!("{resource}/{name}"));
            *counts.entry(format!("{verb} {resource}")).or_default() += sample.value;
        }
    }
    Ok(counts)
}

/// The bytes that a member's database uses.
fn in_use(etcd: &Cluster) -> Result<f64> {
    etcd.metric(0, "etcd_mvcc_db_total_size_in_use_in_bytes")
}

/// The same without earlier revisions. Pages that a compaction has freed count as used until the database is
/// defragmented.
fn compacted(etcd: &Cluster) -> Result<f64> {
    // What is compacted already can't be compacted again, so there must be something new.
    etcd.etcdctl(&["put", "/benches/compacted", ""])?;
    let status: Value = serde_json::from_str(&etcd.etcdctl(&["endpoint", "status", "--write-out", "json"])?)?;
    let revision = status[0]["Status"]["header"]["revision"].as_u64().ok_or("etcd's status has no revision")?;
    etcd.etcdctl(&["compact", "--physical", &revision.to_string()])?;
    etcd.etcdctl(&["defrag"])?;
    in_use(etcd)
}

/// A number with at most one decimal.
fn short(number: f64) -> String {
    let text = format!("{number:.1}");
    text.strip_suffix(".0").map_or_else(|| text.clone(), str::to_owned)
}
