//! `kube-ipam plan`: what pods would get from these manifests, before they are applied.

use std::path::PathBuf;

use clap::Args;

use super::CliError;
use super::output::{Deny, Output};
use super::render::plan as render;
use super::store::{Resolved, StoreArgs};
use crate::config;
use crate::error::paths;
use crate::ops::operator::plan::{LiveOptions, PlanOptions, plan};
use crate::plan::Severity;

/// Show what each interface of each pod would get from these manifests, with every mistake, before they are applied.
///
/// Reads NetworkAttachmentDefinitions, CNI configurations, IPAMClaims, Nodes, and what makes pods: Pods, Deployments,
/// ReplicaSets, StatefulSets, DaemonSets, Jobs, CronJobs and KubeVirt's virtual machines. Everything else is passed over.
/// Without --live, no cluster is needed, and addresses that are in use there are not known. With it, the store and the
/// API server are read, and nothing is written. The exit status is 1 if an error was found.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  kube-ipam plan -f manifests/
  kube-ipam plan -f networks.yaml -f web.yaml --config /etc/cni/net.d/kube-ipam.d/kube-ipam.json
  kustomize build overlays/prod | kube-ipam plan -f -
  helm template web charts/web | kube-ipam plan -n web -f - --deny warnings
  kube-ipam plan -f manifests/ -o sarif > kube-ipam.sarif
  kube-ipam plan -f manifests/ --live --kubeconfig ~/.kube/config")]
pub(super) struct PlanArgs {
    /// A file, a folder with all below it, or - for standard input; may be repeated
    ///
    /// Of a folder, the files `.yaml`, `.yml`, `.json`, `.conf` and `.conflist` are read.
    #[arg(short, long = "file", value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// The namespace of objects that name none, as for kubectl
    #[arg(short, long, value_name = "NAME", default_value = "default")]
    namespace: String,
    /// The node defaults, to check them and the networks together
    ///
    /// With --live, they also name the store and the kubeconfig. Without this option, those of this node do.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Count what is in use in the cluster: addresses in the store of the node defaults, pods of the API server
    #[arg(long)]
    live: bool,
    /// The folder of an embedded store, a comma list of the URLs of an etcd (its credentials come from the node
    /// defaults), or `kubernetes://NAMESPACE` for custom resources, which --kubeconfig or that of the node defaults
    /// reaches; for a plan with --live; overrides the node defaults
    #[arg(long, value_name = "DIR|URLS", requires = "live", conflicts_with = "data_dir")]
    store: Option<String>,
    /// The folder of an embedded store, for a plan with --live; overrides the node defaults
    #[arg(long, value_name = "DIR", requires = "live")]
    data_dir: Option<PathBuf>,
    /// The kubeconfig for reading networks and claims and for checking holders, for a plan with --live; overrides the node
    /// defaults
    #[arg(long, value_name = "FILE", requires = "live")]
    kubeconfig: Option<PathBuf>,
    /// Fail on warnings as well
    #[arg(long, value_name = "WHAT")]
    deny: Option<Deny>,
    /// Output format
    #[arg(short, long, value_enum, default_value_t, value_name = "FORMAT")]
    output: render::Format,
}

impl PlanArgs {
    /// Runs the verb.
    pub(super) fn run(self, output: &mut Output) -> Result<(), CliError> {
        let (live, defaults) = if self.live { self.live()? } else { (None, self.config.clone()) };
        let options = PlanOptions { files: self.files, namespace: self.namespace, defaults, live };
        let planned = plan(&options)?;
        if let Some(LiveOptions { settings, .. }) = options.live.filter(|_| planned.asked_no_api_server) {
            let looked_for = paths(&settings.kubeconfigs);
            output.warn(&format!("there is no kubeconfig at {looked_for}, so no pods were checked"));
        }
        render::plan(output, &planned, self.output)?;
        let errors = planned.report.count(Severity::Error);
        let warnings = planned.report.count(Severity::Warning);
        if errors > 0 || self.deny == Some(Deny::Warnings) && warnings > 0 {
            return Err(CliError::Refused(render::verdict(errors, warnings)));
        }
        Ok(())
    }

    /// The cluster in use, and the node defaults: those of `--config`, or of this node if it has some.
    fn live(&self) -> Result<(Option<LiveOptions>, Option<PathBuf>), CliError> {
        let named = self.config.as_ref().map(|path| path.to_string_lossy().into_owned());
        let env = |variable: &str| match (variable, &named) {
            (config::DEFAULTS_VARIABLE, Some(named)) => Some(named.clone()),
            _ => std::env::var(variable).ok(),
        };
        let Resolved { settings, store } =
            StoreArgs::named(self.store.clone(), self.data_dir.clone()).resolve_in(self.kubeconfig.as_deref(), &env)?;
        let defaults = Some(config::defaults_file(&env)).filter(|path| path.exists());
        Ok((Some(LiveOptions { settings, store }), self.config.clone().or(defaults)))
    }
}
