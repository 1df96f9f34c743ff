//! `kube-ipam doctor`: checks a node, its store and its cluster, and says what to do about what is wrong.

use std::path::{Path, PathBuf};

use clap::Args;

use super::CliError;
use super::output::{Deny, FormatArgs, Output, printable};
use super::progress::Progress;
use super::render::doctor::{self as render, Printer};
use super::store::{StoreArgs, variable};
use crate::cause::chain;
use crate::config;
use crate::explain::Commands;
use crate::ops::operator::doctor::{DoctorOptions, DoctorReport, Fix, Scope, Status, apply, doctor};
use crate::store::StoreConfig;

/// Where runtimes look for configurations and plugins, unless they are configured otherwise.
const CNI_DIR: &str = "/etc/cni/net.d";
const BIN_DIR: &str = "/opt/cni/bin";

/// Check this node, its store and its cluster, and say what to do about what is wrong.
///
/// Prints a line for each check as soon as it is done, and the next step below what is wrong. It changes nothing without
/// --fix, and works with a broken configuration. The exit status is 1 if an error was found.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  kube-ipam doctor
  kube-ipam doctor --node
  kube-ipam doctor --node --fix
  kube-ipam doctor --deny warnings -o json
  kube-ipam doctor --kubeconfig ~/.kube/config")]
pub(super) struct DoctorArgs {
    /// Only what this node's own files tell, without a request to etcd or the API server
    #[arg(long)]
    node: bool,
    /// Correct modes, unfinished files and deferred releases, each after you confirm it
    ///
    /// It frees nothing that a sweep would not free.
    #[arg(long)]
    fix: bool,
    /// Confirm everything that --fix proposes
    #[arg(long, requires = "fix")]
    yes: bool,
    /// Fail on warnings as well
    #[arg(long, value_name = "WHAT")]
    deny: Option<Deny>,
    /// The kubeconfig for the API server; overrides the node defaults
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// The node's folder of CNI configurations
    #[arg(long, value_name = "DIR", default_value = CNI_DIR)]
    cni_dir: PathBuf,
    /// The node's folder of CNI plugins
    #[arg(long, value_name = "DIR", default_value = BIN_DIR)]
    bin_dir: PathBuf,
    #[command(flatten)]
    format: FormatArgs,
    #[command(flatten)]
    store: StoreArgs,
}

impl DoctorArgs {
    /// Runs the verb.
    pub(super) fn run(self, output: &mut Output) -> Result<(), CliError> {
        let options = self.options()?;
        let mut report = self.check(&options, output)?;
        if self.fix {
            self.fix(&options, &mut report, output)?;
        }
        let (errors, warnings) = (report.count(Status::Error), report.count(Status::Warning));
        if errors > 0 || self.deny == Some(Deny::Warnings) && warnings > 0 {
            return Err(CliError::Refused(render::verdict(errors, warnings)));
        }
        Ok(())
    }

    fn options(&self) -> Result<DoctorOptions, CliError> {
        let absolute = |path: &Path| std::path::absolute(path).map_err(|e| CliError::unusable(path.display(), e));
        let kubeconfig = self.kubeconfig.as_deref().map(absolute).transpose()?;
        let settings = self.store.load(kubeconfig.as_deref())?.settings;
        let (config_folder, program_folder) = (absolute(&self.cni_dir)?, absolute(&self.bin_dir)?);
        let folders = [("--cni-dir", &config_folder, CNI_DIR), ("--bin-dir", &program_folder, BIN_DIR)];
        let folders = folders.into_iter().filter(|(_, folder, default)| *folder != Path::new(default));
        let folders = folders.flat_map(|(option, folder, _)| [option.to_owned(), folder.display().to_string()]);
        Ok(DoctorOptions {
            commands: Commands {
                store: self.store.flags()?,
                is_store_of_api: matches!(settings.store, Ok(StoreConfig::Kubernetes(_))),
                kubeconfig: kubeconfig.map(|file| file.display().to_string()),
                folders: folders.collect(),
            },
            settings,
            scope: if self.node { Scope::Node } else { Scope::Cluster },
            is_own_kubeconfig: self.kubeconfig.is_none(),
            defaults: config::defaults_file(&variable),
            config: self.store.config().map(absolute).transpose()?,
            config_folder,
            program_folder,
        })
    }

    fn check(&self, options: &DoctorOptions, output: &mut Output) -> Result<DoctorReport, CliError> {
        let progress = Progress::new();
        let mut printer = Printer::new(output, self.format.output);
        let mut printed = Ok(());
        let report = doctor(options, &|work| progress.at_work(work), |result| {
            if printed.is_ok() {
                printed = progress.suspend(|| printer.result(result));
            }
        });
        printed?;
        drop(progress);
        printer.end(&report)?;
        Ok(report)
    }

    /// Shows each fix and does what is confirmed. A fix that fails is one line, and does not stop the others.
    fn fix(&self, options: &DoctorOptions, report: &mut DoctorReport, output: &mut Output) -> Result<(), CliError> {
        for proposed in std::mem::take(&mut report.fixes) {
            if !self.is_confirmed(&proposed.fix, output)? {
                continue;
            }
            match apply(options, &proposed.fix) {
                Ok(done) => {
                    report.note_fixed(proposed.status);
                    output.warn(&printable(&done));
                }
                Err(error) => output.warn(&printable(&chain(&error).to_string())),
            }
        }
        Ok(())
    }

    fn is_confirmed(&self, fix: &Fix, output: &mut Output) -> Result<bool, CliError> {
        if self.yes {
            return Ok(true);
        }
        let answer = output.confirm(&render::question(fix))?;
        if answer.is_none() {
            output.warn(&printable(&render::unconfirmed(fix)));
        }
        Ok(answer == Some(true))
    }
}
