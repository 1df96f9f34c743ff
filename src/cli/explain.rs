//! `kube-ipam explain`: why an address, a pod or a claim is as it is, and what to do.

use std::path::{Path, PathBuf};

use clap::Args;

use super::CliError;
use super::output::{Encoding, Format, FormatArgs, Output};
use super::progress::Progress;
use super::render::explain as render;
use super::store::{Resolved, StoreArgs, variable};
use crate::explain::{Commands, Subject};
use crate::ipam::name::{IfName, Name};
use crate::ops::operator::explain::{ExplainOptions, explain};
use crate::store::StoreConfig;

/// Explain why an address, a pod or a claim is as it is, and what to do.
///
/// It reads only: from the store, from the API server if there is a kubeconfig, from this node's records, and from the
/// definitions of networks. Each line names its source.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  kube-ipam explain 10.188.0.218
  kube-ipam explain 10.188.0.0/16
  kube-ipam explain database/db-0
  kube-ipam explain database/db-0 net1 -o json
  kube-ipam explain claim/database/vm-a
  kube-ipam explain mac/02:42:ac:11:00:07
  kube-ipam explain 10.188.0.218 --store /var/lib/kube-ipam/store --kubeconfig ~/.kube/config")]
pub(super) struct ExplainArgs {
    /// An address, a subnet, a pod ([NAMESPACE/]POD), claim/[NAMESPACE/]NAME or mac/MAC
    #[arg(value_name = "SUBJECT")]
    subject: Subject,
    /// Of a pod, only this interface
    #[arg(value_name = "INTERFACE")]
    ifname: Option<IfName>,
    /// Only in this routing domain
    ///
    /// Without this option, all routing domains that have the address are explained.
    #[arg(long, value_name = "NAME")]
    vrf: Option<Name>,
    /// The kubeconfig for reading pods, claims and events; overrides the node defaults
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// The folder with the networks of this node's runtime
    ///
    /// A network is explained by its definition there if neither --config nor the cluster has it.
    #[arg(long, value_name = "DIR", default_value = "/etc/cni/net.d")]
    cni_dir: PathBuf,
    #[command(flatten)]
    format: FormatArgs,
    #[command(flatten)]
    store: StoreArgs,
}

impl ExplainArgs {
    /// Runs the verb.
    pub(super) fn run(self, output: &mut Output) -> Result<(), CliError> {
        let Resolved { settings, store } = self.store.resolve(self.kubeconfig.as_deref())?;
        if self.ifname.is_some() && !matches!(self.subject, Subject::Pod(_)) {
            return Err(CliError::Refused("only a pod has interfaces; leave INTERFACE out".to_owned()));
        }
        let options = ExplainOptions {
            subject: self.subject,
            ifname: self.ifname,
            vrf: self.vrf,
            config: self.store.config().map(Path::to_owned).zip(self.store.document()?),
            cni_folder: self.cni_dir,
            commands: Commands {
                store: self.store.flags()?,
                is_store_of_api: matches!(store, StoreConfig::Kubernetes(_)),
                kubeconfig: self.kubeconfig.map(|file| file.display().to_string()),
                ..Commands::default()
            },
        };
        let progress = Progress::new();
        let report = explain(&settings, &store, &variable, &options, &|work| progress.at_work(work))?;
        drop(progress);
        match self.format.output {
            Format::Table => render::page(output, &report),
            Format::Json => render::document(output, &report, Encoding::Json),
            Format::Yaml => render::document(output, &report, Encoding::Yaml),
        }
    }
}
