//! `kube-ipam man`: the manual pages.

use std::path::{Path, PathBuf};

use clap::{Args, Command};

use super::output::Output;
use super::render::man as render;
use super::{CliError, command};

/// Print a manual page, or write all of them.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  kube-ipam man | man -l -
  kube-ipam man sweep | man -l -
  kube-ipam man --dir /usr/local/share/man/man1")]
pub(super) struct ManArgs {
    /// The command whose page is printed; without it, that of kube-ipam
    #[arg(value_name = "COMMAND")]
    verb: Option<String>,
    /// Write the pages of kube-ipam and of all its commands to this folder
    ///
    /// The folder must exist. The pages have names like kube-ipam.1 and kube-ipam-sweep.1.
    #[arg(long, value_name = "DIR", conflicts_with = "verb")]
    dir: Option<PathBuf>,
}

impl ManArgs {
    /// Runs the verb.
    pub(super) fn run(&self, output: &mut Output) -> Result<(), CliError> {
        let mut command = command().disable_help_subcommand(true);
        command.build();
        if let Some(folder) = &self.dir {
            return write_all(&command, folder, output);
        }
        let page = match &self.verb {
            None => &command,
            Some(verb) => command.find_subcommand(verb).ok_or_else(|| {
                CliError::Refused(format!("there is no command {verb}; kube-ipam help lists those that there are"))
            })?,
        };
        output.verbatim(render::page(page).trim_end())
    }
}

fn write_all(command: &Command, folder: &Path, output: &mut Output) -> Result<(), CliError> {
    for page in [command].into_iter().chain(command.get_subcommands()) {
        let path = folder.join(render::file_name(page));
        std::fs::write(&path, render::page(page)).map_err(|error| CliError::unusable(path.display(), error))?;
        output.line(&format!("wrote {}", path.display()))?;
    }
    Ok(())
}
