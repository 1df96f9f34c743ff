//! The name under which the command line was called.

use std::ffi::OsStr;
use std::path::Path;

use clap::{Command, CommandFactory as _};

use super::Cli;

/// The file name under which kubectl finds the program as its plugin `kube-ipam`.
const PLUGIN_FILE: &str = "kubectl-kube_ipam";

/// The program, by the file name of its first argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Program {
    /// It was called by its own name, or by any other.
    KubeIpam,
    /// It was called by kubectl.
    KubectlPlugin,
}

impl Program {
    /// The program that was called with this first argument.
    pub(super) fn from_argument(argument: Option<&OsStr>) -> Self {
        let file = argument.and_then(|argument| Path::new(argument).file_name());
        if file.is_some_and(|file| file == PLUGIN_FILE) { Self::KubectlPlugin } else { Self::KubeIpam }
    }

    /// What a user types to call it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::KubeIpam => "kube-ipam",
            Self::KubectlPlugin => "kubectl kube-ipam",
        }
    }

    /// The definition of the command line, with this name in its help.
    pub(super) fn command(self) -> Command {
        let command = Cli::command();
        match self {
            Self::KubeIpam => command,
            Self::KubectlPlugin => command
                .bin_name(self.name())
                .mut_arg("help", |help| match help.get_help() {
                    Some(text) => {
                        let text = self.renamed(&text.to_string());
                        help.help(text)
                    }
                    None => help,
                })
                .mut_subcommands(|verb| match verb.get_after_help() {
                    Some(examples) => {
                        let examples = self.renamed(&examples.to_string());
                        verb.after_help(examples)
                    }
                    None => verb,
                }),
        }
    }

    /// A text whose commands call the program by this name.
    fn renamed(self, text: &str) -> String {
        // A command is at the beginning of a line, behind a pipe or in backticks.
        ["  ", "| ", "`"].into_iter().fold(text.to_owned(), |text, before| {
            text.replace(&format!("{before}kube-ipam "), &format!("{before}{} ", self.name()))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_file_name_that_kubectl_looks_for_is_the_plugin() {
        for (argument, expected) in [
            ("kubectl-kube_ipam", Program::KubectlPlugin),
            ("/root/.krew/bin/kubectl-kube_ipam", Program::KubectlPlugin),
            ("kube-ipam", Program::KubeIpam),
            ("/opt/cni/bin/kube-ipam", Program::KubeIpam),
            ("kubectl-kube_ipam.old", Program::KubeIpam),
            ("", Program::KubeIpam),
        ] {
            assert_eq!(Program::from_argument(Some(OsStr::new(argument))), expected, "{argument}");
        }
        assert_eq!(Program::from_argument(None), Program::KubeIpam);
    }

    #[test]
    fn the_plugins_help_has_no_command_by_the_other_name() {
        let mut command = Program::KubectlPlugin.command();
        command.build();
        for verb in command.get_subcommands_mut() {
            let help = verb.render_help().to_string();
            let is_other = |(at, _): (usize, &str)| !help[..at].ends_with("kubectl ");
            for before in ["Usage: ", "\n  ", "| ", "`"] {
                let other = help.match_indices(&format!("{before}kube-ipam ")).find(|found| is_other(*found));
                assert_eq!(other, None, "{help}");
            }
        }
        assert!(command.render_help().to_string().contains("Usage: kubectl kube-ipam <COMMAND>"));
    }
}
