//! Brings up a Kubernetes of two nodes on this machine, to look around in, or takes it down; `e2e/try` runs this.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "its output is for a person")]

use std::process::ExitCode;

use kube_ipam_e2e::Result;
use kube_ipam_e2e::kubernetes::{Flavour, Options, Tools, keep, take_down};

fn main() -> ExitCode {
    let verb = std::env::args().nth(1).unwrap_or_default();
    let done = match verb.as_str() {
        "up" => up(),
        "down" => down(),
        _ => Err("usage: cluster up|down".into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn up() -> Result<()> {
    let tools = Tools::find()?;
    let flavour = if tools.multus().is_some() { Flavour::Multus } else { Flavour::ConfDir };
    let (_cluster, commands) = keep(&tools, Options::new(flavour))?;
    println!("{}", commands.display());
    Ok(())
}

fn down() -> Result<()> {
    let said = if take_down()? { "The cluster is gone." } else { "There is no cluster." };
    println!("{said}");
    Ok(())
}
