//! `kube-ipam completions`: the script with which a shell completes commands of kube-ipam.

use clap::Args;
use clap_complete::{Shell, generate};

use super::output::Output;
use super::{CliError, command};

/// How the generator for bash begins the labels of commands, and how it begins what it looks for among them. These differ
/// for a program with a hyphen in its name (clap_complete 4.6), so that no option would be completed.
const LABEL_BEGIN: &str = "kube__subcmd__ipam";
const SELECTED_BEGIN: &str = "kube__ipam";

/// Print the script with which a shell completes commands of kube-ipam.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  source <(kube-ipam completions bash)
  kube-ipam completions bash > /etc/bash_completion.d/kube-ipam
  kube-ipam completions zsh > /usr/local/share/zsh/site-functions/_kube-ipam
  kube-ipam completions fish > /etc/fish/completions/kube-ipam.fish")]
pub(super) struct CompletionsArgs {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

impl CompletionsArgs {
    /// Runs the verb.
    pub(super) fn run(&self, output: &mut Output) -> Result<(), CliError> {
        // In memory, because the generator panics if it can't write.
        let mut script = Vec::new();
        generate(self.shell, &mut command(), "kube-ipam", &mut script);
        let script = String::from_utf8_lossy(&script);
        match self.shell {
            Shell::Bash => output.verbatim(script.replace(LABEL_BEGIN, SELECTED_BEGIN).trim_end()),
            _ => output.verbatim(script.trim_end()),
        }
    }
}
