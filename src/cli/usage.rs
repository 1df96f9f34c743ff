//! `kube-ipam usage`: how full each range of each network is.

use clap::{Args, ValueEnum};
use serde::Serialize;

use super::CliError;
use super::output::Output;
use super::store::{PATIENCE, StoreArgs};
use crate::ipam::keys;
use crate::ipam::name::Name;
use crate::ipam::usage::{Filled, Usage as Counted};
use crate::metrics;
use crate::ops::Session;

/// Show how full each range of each network is.
///
/// A network is known from its first ADD on.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  kube-ipam usage
  kube-ipam usage --network db-net -o json
  kube-ipam usage -o prometheus > /var/lib/node_exporter/kube-ipam.prom")]
pub struct Usage {
    /// Only this network; the metrics are always of all
    #[arg(long, value_name = "NAME")]
    network: Option<Name>,
    /// How to print
    #[arg(short, long, value_enum, default_value_t, value_name = "FORMAT")]
    output: Format,
    #[command(flatten)]
    store: StoreArgs,
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum Format {
    /// For people
    #[default]
    Table,
    /// For programs
    Json,
    /// For Prometheus, by the node exporter's textfile collector
    Prometheus,
}

/// A range as it is shown to programs.
#[derive(Serialize)]
struct Shown<'a> {
    #[serde(flatten)]
    range: &'a Filled,
    free: Option<u128>,
}

impl Usage {
    /// Runs the verb.
    pub fn run(&self, output: &mut Output) -> Result<(), CliError> {
        let counted = count(&self.store.open()?)?;
        let unreadable: u64 = counted.unreadable().values().sum();
        if unreadable > 0 {
            output.aside(&format!(
                "{unreadable} leases can't be read, and are in no line; their addresses count as held"
            ));
        }
        let mut ranges = counted.ranges();
        ranges.retain(|range| self.network.as_ref().is_none_or(|network| range.place.network == *network));
        match self.output {
            Format::Prometheus => {
                let text =
                    metrics::text([Box::new(counted) as _]).map_err(|error| CliError::Refused(error.to_string()))?;
                output.line(text.trim_end())
            }
            Format::Json => {
                let shown = |range| Shown { free: Filled::free(range), range };
                output.json(&ranges.iter().map(shown).collect::<Vec<_>>())
            }
            Format::Table if ranges.is_empty() => output.line("No network is known yet, and no address is held."),
            Format::Table => {
                let head = ["NETWORK", "VRF", "SUBNET", "RANGE", "SIZE", "HELD", "RESTING", "FREE"];
                output.table(head, ranges.iter().map(row).collect())
            }
        }
    }
}

fn count(session: &Session) -> Result<Counted, CliError> {
    let mut counted = Counted::default();
    for span in [keys::all_definitions(), keys::all_leases()] {
        session.each(&span, PATIENCE, |entry| counted.note(entry))?;
    }
    Ok(counted)
}

fn row(range: &Filled) -> [String; 8] {
    let number = |number: Option<u128>| number.map_or_else(|| "-".to_owned(), |number| number.to_string());
    let place = &range.place;
    [
        place.network.to_string(),
        place.vrf.to_string(),
        place.subnet.map_or_else(|| "-".to_owned(), |subnet| subnet.to_string()),
        place.part.word().to_owned(),
        number(range.size),
        range.held.to_string(),
        range.resting.to_string(),
        number(range.free()),
    ]
}
