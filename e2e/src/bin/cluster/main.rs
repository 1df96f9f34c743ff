//! Starts a two-node Kubernetes cluster with kube-ipam on this machine, shows it at work and leaves it running, or
//! removes it. `e2e/try` runs this.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "its output is for a person")]

mod plain;
mod table;
mod tour;

use std::process::ExitCode;

use kube_ipam_e2e::Result;
use kube_ipam_e2e::kubernetes::{Flavour, Options, Store, Tools, start_persistent, take_down};

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
    let options = Options { installed: false, store: Store::KubernetesApi, ..Options::new(flavour) };
    println!("Starting a two-node Kubernetes cluster");
    let (cluster, workstation) = start_persistent(&tools, options)?;
    let shown = match flavour {
        Flavour::Multus => tour::layered(&cluster),
        Flavour::ConfDir => plain::without_multus(&cluster),
    };
    // Printed after a failure too: the cluster helps to find the cause.
    table::heading("To look around");
    println!("   export PATH={}:$PATH", workstation.commands().display());
    println!("   kubectl get pods -A         use this kubectl: the API server is in its own network");
    println!("   n1 bash                     a shell on node n1; use n2 for the other node");
    println!("   n1 tail /var/log/kube-ipam.log");
    println!("   n1 /opt/cni/bin/kube-ipam list");
    println!("   kubectl -n kube-ipam get ipleases");
    println!("   export STORE={} KUBECONFIG={}", workstation.store(), workstation.kubeconfig().display());
    println!("   kube-ipam doctor --store $STORE --kubeconfig $KUBECONFIG");
    println!("   docs/first-hour.md          what to do when a pod waits, an address leaks, or a range is full");
    println!();
    println!("   ./e2e/try down              removes everything");
    shown
}

fn down() -> Result<()> {
    let said = if take_down()? { "The cluster was removed." } else { "There is no cluster." };
    println!("{said}");
    Ok(())
}
