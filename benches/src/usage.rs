//! What a call uses besides time: requests and memory; and the size of the program.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use kube_ipam_e2e::Result;
use kube_ipam_e2e::etcd::Cluster;

use crate::contender::{Contender, Held, Verb, Who};
use crate::report::{Goals, Table, factor};

/// The number of calls whose requests are counted.
const COUNTED: usize = 20;

const MIB: f64 = 1_048_576.0;

#[derive(Default)]
pub(crate) struct Usage {
    /// The most etcd requests of one call.
    requests: BTreeMap<(Held, Verb), u64>,
    /// The most memory of one call, in KiB.
    memory: BTreeMap<(Who, Verb), u64>,
    /// The size of the binary in bytes.
    size: u64,
}

impl Usage {
    /// Measures the memory of an ADD and a DEL of each contender.
    pub(crate) fn memory(&mut self, contenders: &[Contender]) -> Result<()> {
        for contender in contenders {
            for verb in [Verb::Add, Verb::Del] {
                if let Some(peak) = contender.call(verb, "memory").peak()? {
                    let most = self.memory.entry((contender.who, verb)).or_default();
                    *most = peak.max(*most);
                }
            }
        }
        Ok(())
    }

    /// Counts the requests of ADDs and DELs with etcd's metrics.
    pub(crate) fn requests(&mut self, contenders: &[Contender], cluster: &Cluster) -> Result<()> {
        for contender in contenders.iter().filter(|contender| contender.who == Who::Etcd) {
            for i in 0..COUNTED {
                for verb in [Verb::Add, Verb::Del] {
                    let before = cluster.metric(0, HANDLED)?;
                    contender.call(verb, &format!("counted-{i}")).time()?;
                    let handled = (cluster.metric(0, HANDLED)? - before) as u64;
                    let most = self.requests.entry((contender.held, verb)).or_default();
                    *most = handled.max(*most);
                }
            }
        }
        Ok(())
    }

    pub(crate) fn binary(&mut self, program: &Path) -> Result<()> {
        self.size = fs::metadata(program)?.len();
        Ok(())
    }

    pub(crate) fn table(&self) -> Table {
        let mut table = Table::new(["what", "ADD", "DEL"]);
        for held in Held::ALL {
            let of = |verb| self.requests.get(&(held, verb)).map_or_else(|| "–".to_owned(), u64::to_string);
            let what = format!("etcd requests, /16 {}: the most of {COUNTED} calls", held.label());
            table.row([what, of(Verb::Add), of(Verb::Del)]);
        }
        for who in [Who::Embedded, Who::Etcd, Who::HostLocal, Who::FloorSqlite, Who::FloorCall, Who::FloorEtcd] {
            let peak = |verb| self.peak(who, verb).map_or_else(|| "–".to_owned(), factor);
            table.row([format!("peak memory in MiB, {}", who.label()), peak(Verb::Add), peak(Verb::Del)]);
        }
        table.row(["size of the binary in MiB".to_owned(), factor(self.size as f64 / MIB), String::new()]);
        table
    }

    fn peak(&self, who: Who, verb: Verb) -> Option<f64> {
        self.memory.get(&(who, verb)).map(|peak| *peak as f64 / 1024.0)
    }

    /// Adds the goals for these results.
    pub(crate) fn goals(&self, goals: &mut Goals) {
        let requests = |held| self.requests.get(&(held, Verb::Add)).map(|most| *most as f64);
        goals.want("etcd requests of an ADD on an empty /16", 2.0, requests(Held::Nothing));
        goals.want("etcd requests of an ADD for the last free address", 6.0, requests(Held::AllButOne));
        for who in [Who::Embedded, Who::Etcd] {
            let most =
                [Verb::Add, Verb::Del].into_iter().filter_map(|verb| self.peak(who, verb)).max_by(f64::total_cmp);
            goals.want(&format!("peak memory in MiB, {}", who.label()), 12.0, most);
        }
        goals.want("size of the binary in MiB", 15.0, Some(self.size as f64 / MIB));
    }
}

/// etcd's metric of the requests that a member has served.
const HANDLED: &str = "grpc_server_handled_total";
