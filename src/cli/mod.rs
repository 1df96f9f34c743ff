//! The operator's command line: the same binary, if no runtime calls it. One file per verb.

mod completions;
mod config;
mod confirm;
mod controller;
mod doctor;
mod explain;
mod install;
mod list;
mod man;
mod move_reservation;
mod output;
mod plan;
mod program;
mod progress;
mod recovery;
#[cfg(test)]
mod reference;
mod release;
mod render;
mod reserve;
mod selection;
mod shutdown;
mod store;
mod sweep;
mod usage;
mod watch;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{ArgAction, FromArgMatches as _, Parser, Subcommand};

pub use self::output::CliError;
use self::output::Output;
use self::program::Program;

/// CNI IPAM plugin: fixed and random addresses per pod interface, unique in the whole cluster.
///
/// A container runtime calls this program with CNI_COMMAND in its environment. Without that variable it is the command
/// line below.
#[derive(Debug, Parser)]
#[command(
    name = "kube-ipam",
    version,
    disable_version_flag = true,
    disable_help_flag = true,
    arg_required_else_help = true
)]
struct Cli {
    /// Print a summary; `kube-ipam help COMMAND` prints more
    #[arg(short, long, global = true, action = ArgAction::HelpShort, display_order = 1000)]
    help: Option<bool>,
    #[command(subcommand)]
    verb: Verb,
}

/// Each verb's help is on its arguments, in its own file: the first line in the list of verbs, all of it in its help.
#[derive(Debug, Subcommand)]
enum Verb {
    Plan(plan::PlanArgs),
    List(list::ListArgs),
    Usage(usage::UsageArgs),
    Watch(watch::WatchArgs),
    Doctor(doctor::DoctorArgs),
    Explain(explain::ExplainArgs),
    Reserve(reserve::ReserveArgs),
    Release(release::ReleaseArgs),
    Move(move_reservation::MoveArgs),
    Recovery(recovery::RecoveryArgs),
    Sweep(sweep::SweepArgs),
    Controller(controller::ControllerArgs),
    Install(install::Install),
    // By far the largest.
    Config(Box<config::ConfigArgs>),
    Completions(completions::CompletionsArgs),
    Man(man::ManArgs),
    /// Print the version
    Version,
}

/// The definition of the command line.
pub fn command() -> clap::Command {
    Program::KubeIpam.command()
}

/// Runs the command line.
pub fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let args = spelt_today(args);
    let program = Program::from_argument(args.first().map(OsString::as_os_str));
    let mut output = Output::new(program.name());
    let cli = match parse(program.command(), args) {
        Ok(cli) => cli,
        Err(usage) => return output.usage(&usage),
    };
    let result = match cli.verb {
        Verb::Plan(plan) => plan.run(&mut output),
        Verb::List(list) => list.run(&mut output),
        Verb::Usage(usage) => usage.run(&mut output),
        Verb::Watch(watch) => watch.run(&mut output),
        Verb::Doctor(doctor) => doctor.run(&mut output),
        Verb::Explain(explain) => explain.run(&mut output),
        Verb::Reserve(reserve) => reserve.run(&mut output),
        Verb::Release(release) => release.run(&mut output),
        Verb::Move(moving) => moving.run(&mut output),
        Verb::Recovery(recovery) => recovery.run(&mut output),
        Verb::Sweep(sweep) => sweep.run(&mut output),
        Verb::Controller(controller) => controller.run(&mut output),
        Verb::Install(install) => install.run(&mut output),
        Verb::Config(config) => config.run(&mut output),
        Verb::Completions(completions) => completions.run(&mut output),
        Verb::Man(man) => man.run(&mut output),
        Verb::Version => output.line(command().render_version().trim_end()),
    };
    output.end(result)
}

fn parse(mut command: clap::Command, args: Vec<OsString>) -> Result<Cli, clap::Error> {
    let matches = command.try_get_matches_from_mut(args)?;
    Cli::from_arg_matches(&matches).map_err(|error| error.format(&mut command))
}

/// Translates flags of the Go kube-ipam 0.2.0 to verbs. Go accepts flags with one dash or two.
fn spelt_today(args: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let mut args: Vec<OsString> = args.into_iter().collect();
    let Some(flag) = args.get(1).and_then(|arg| arg.to_str()).and_then(|arg| arg.strip_prefix('-')) else {
        return args;
    };
    let flag = flag.strip_prefix('-').unwrap_or(flag);
    match flag.split_once('=') {
        Some(("outputconf", kind)) => {
            let kind = OsString::from(kind);
            args.splice(1..2, ["config".into(), "--output=json".into(), kind]);
        }
        None if flag == "outputconf" => {
            args.splice(1..2, ["config".into(), "--output=json".into()]);
        }
        None if flag == "version" => args[1] = "version".into(),
        None if flag == "help" => args[1] = "--help".into(),
        _ => {}
    }
    args
}

#[cfg(test)]
mod tests {
    use super::*;

    fn today(args: &[&str]) -> Vec<String> {
        let args = ["kube-ipam"].iter().chain(args).map(OsString::from);
        spelt_today(args).into_iter().skip(1).map(|arg| arg.to_string_lossy().into_owned()).collect()
    }

    #[test]
    fn the_definition_of_the_command_line_is_consistent() {
        command().debug_assert();
    }

    #[test]
    fn the_predecessors_spellings_keep_working() {
        assert_eq!(today(&["-outputconf", "macvlan"]), ["config", "--output=json", "macvlan"]);
        assert_eq!(today(&["-outputconf=macvlan"]), ["config", "--output=json", "macvlan"]);
        assert_eq!(today(&["--outputconf", "calico"]), ["config", "--output=json", "calico"]);
        assert_eq!(today(&["-version"]), ["version"]);
        assert_eq!(today(&["--version"]), ["version"]);
        assert_eq!(today(&["-help"]), ["--help"]);
        assert_eq!(today(&["list", "-o", "json"]), ["list", "-o", "json"]);
        assert_eq!(today(&[]), Vec::<String>::new());
    }
}
