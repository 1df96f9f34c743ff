//! The binary: a CNI call, or the operator's command line.

use std::process::ExitCode;

fn main() -> ExitCode {
    match std::env::var_os("CNI_COMMAND") {
        Some(_) => kube_ipam::ops::serve(),
        None => kube_ipam::cli::run(std::env::args_os()),
    }
}
