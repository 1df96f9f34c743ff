//! `kube-ipam plan`: what pods would get from these manifests, before they are applied.

use std::path::PathBuf;

use clap::Args;

use super::CliError;
use super::output::{Deny, Output};
use super::render::plan as render;
use crate::ops::operator::plan::{PlanOptions, plan};
use crate::plan::Severity;

/// Show what each interface of each pod would get from these manifests, with every mistake, before they are applied.
///
/// Reads NetworkAttachmentDefinitions, CNI configurations, IPAMClaims, Nodes, and what makes pods: Pods, Deployments,
/// ReplicaSets, StatefulSets, DaemonSets, Jobs, CronJobs and KubeVirt's virtual machines. Everything else is passed over.
/// No cluster is needed: addresses that are in use there are not known. The exit status is 1 if an error was found.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  kube-ipam plan -f manifests/
  kube-ipam plan -f networks.yaml -f web.yaml --config /etc/cni/net.d/kube-ipam.d/kube-ipam.json
  kustomize build overlays/prod | kube-ipam plan -f -
  helm template web charts/web | kube-ipam plan -n web -f - --deny warnings
  kube-ipam plan -f manifests/ -o sarif > kube-ipam.sarif")]
pub(super) struct PlanArgs {
    /// A file, a folder with all below it, or - for standard input; may be repeated
    #[arg(short, long = "file", value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// The namespace of objects that name none
    #[arg(short, long, value_name = "NAME", default_value = "default")]
    namespace: String,
    /// The node defaults, to check them and the networks together
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
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
        let options = PlanOptions { files: self.files, namespace: self.namespace, defaults: self.config };
        let planned = plan(&options)?;
        render::plan(output, &planned, self.output)?;
        let errors = planned.report.count(Severity::Error);
        let warnings = planned.report.count(Severity::Warning);
        if errors > 0 || self.deny == Some(Deny::Warnings) && warnings > 0 {
            return Err(CliError::Refused(render::verdict(errors, warnings)));
        }
        Ok(())
    }
}
