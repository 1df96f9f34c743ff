//! `kube-ipam usage`: how full each range of each network is.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use ipnet::IpNet;

use super::CliError;
use super::output::{Encoding, Output};
use super::render::usage as render;
use super::store::{Resolved, StoreArgs, variable};
use crate::ipam::address::parse_net;
use crate::ipam::name::Name;
use crate::ops::operator::NetworkSources;
use crate::ops::operator::usage::{MapOptions, UsageReport, map, usage};

/// Show how full each range of each network is.
///
/// A network appears after its first ADD. On a terminal, each range has a bar; elsewhere, it has a row of a table.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  kube-ipam usage
  kube-ipam usage --network db-net -o json
  kube-ipam usage --map 10.188.0.0/16
  kube-ipam usage -o prometheus > /var/lib/node_exporter/kube-ipam.prom")]
pub(super) struct UsageArgs {
    /// Only these networks; metrics always cover all networks
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    network: Vec<Name>,
    /// Only these routing domains
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    vrf: Vec<Name>,
    /// Draw a map of this network instead: each character is an address, or a block of addresses
    ///
    /// A wider terminal shows smaller blocks. Networks are known as for explain.
    #[arg(long, value_name = "CIDR", value_parser = parse_net)]
    map: Option<IpNet>,
    /// The kubeconfig for reading networks with --map, and for custom resources; overrides the node defaults
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// With --map: the folder with the networks of this node's runtime
    #[arg(long, value_name = "DIR", requires = "map", default_value = "/etc/cni/net.d")]
    cni_dir: PathBuf,
    /// Output format
    #[arg(short, long, value_enum, default_value_t, value_name = "FORMAT")]
    output: Format,
    #[command(flatten)]
    store: StoreArgs,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people
    #[default]
    Table,
    /// For people, as a table with more columns
    Wide,
    /// For programs
    Json,
    /// For programs, and to read
    Yaml,
    /// The names of the networks, one on each line, for xargs
    Name,
    /// For Prometheus, by the node exporter's textfile collector
    Prometheus,
}

impl UsageArgs {
    /// Runs the verb.
    pub(super) fn run(self, output: &mut Output) -> Result<(), CliError> {
        if let Some(net) = self.map {
            return self.draw(net, output);
        }
        let Resolved { store, .. } = self.store.resolve(self.kubeconfig.as_deref())?;
        let report = usage(&store)?;
        render::unreadable(output, &report.usage);
        if self.output == Format::Prometheus {
            return render::prometheus(output, report.usage);
        }
        let rows = self.rows(&report);
        match self.output {
            Format::Wide => render::wide(output, &rows),
            Format::Json => render::documents(output, Encoding::Json, &rows),
            Format::Yaml => render::documents(output, Encoding::Yaml, &rows),
            Format::Name => render::names(output, &rows),
            Format::Table | Format::Prometheus => render::people(output, &rows),
        }
    }

    /// The ranges of the requested networks and routing domains.
    fn rows<'a>(&self, report: &'a UsageReport) -> Vec<render::Row<'a>> {
        let is_asked_for = |asked: &[Name], name: &Name| asked.is_empty() || asked.contains(name);
        let mut rows = render::rows(report);
        rows.retain(|row| {
            is_asked_for(&self.network, &row.range.key.network) && is_asked_for(&self.vrf, &row.range.key.vrf)
        });
        rows
    }

    fn draw(self, net: IpNet, output: &mut Output) -> Result<(), CliError> {
        let Resolved { settings, store } = self.store.resolve(self.kubeconfig.as_deref())?;
        let encoding = match self.output {
            Format::Table => None,
            Format::Json => Some(Encoding::Json),
            Format::Yaml => Some(Encoding::Yaml),
            Format::Wide | Format::Name | Format::Prometheus => {
                return Err(CliError::Refused("a map is drawn, or printed with -o json or -o yaml".to_owned()));
            }
        };
        let config = self.store.config().map(Path::to_owned).zip(self.store.document()?);
        let options = MapOptions {
            net,
            vrfs: self.vrf.into_iter().collect(),
            networks: self.network.into_iter().collect(),
            blocks: encoding.map_or_else(|| render::drawn_blocks(output, net), |_| render::DOCUMENT_BLOCKS),
            sources: NetworkSources { config, cni_folder: self.cni_dir },
        };
        let maps = map(&settings, &store, &variable, &options)?;
        match encoding {
            None => render::map(output, net, &maps),
            Some(encoding) => render::map_documents(output, encoding, &maps),
        }
    }
}
