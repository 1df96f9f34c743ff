//! `host-local`: the addresses that host-local, which served a network before, still holds on this node.

use std::fs::File;
use std::io::{self, Read as _};
use std::net::IpAddr;
use std::path::Path;

use super::networks::{LocalNetwork, local_networks};
use crate::cause::chain;
use crate::config::LoadedConfig;
use crate::explain::Tool;
use crate::host_local::{HostLocalError, held};
use crate::ops::operator::doctor::text::{counted, first_of};
use crate::ops::operator::doctor::{Context, Outcome, Remedy};

/// The most of a file that is read, in bytes. It has a container's ID and an interface.
const MAX_FILE_SIZE: u64 = 1024;

pub(in crate::ops::operator::doctor) fn check(context: &mut Context<'_>, report: &mut dyn FnMut(Outcome)) {
    let networks = local_networks(context);
    let known: Vec<_> = networks.iter().filter_map(|network| Some((network, network.loaded.as_ref().ok()?))).collect();
    if known.is_empty() {
        return report(Outcome::skipped("host-local", "no configuration of this node names a network of host-local"));
    }
    let mut clean = 0;
    for (network, loaded) in known {
        match in_its_ranges(loaded) {
            Ok(found) if found.is_empty() => clean += 1,
            Ok(found) => report(leftovers(network, loaded, &found)),
            Err(error) => report(unreadable(&error)),
        }
    }
    if clean > 0 {
        let message = format!("its folders have no address of {}", counted(clean, "network", "networks"));
        report(Outcome::ok("host-local", message));
    }
}

/// The addresses of a network that host-local holds, each with the container that has it.
fn in_its_ranges(loaded: &LoadedConfig) -> Result<Vec<(IpAddr, String)>, HostLocalError> {
    let Ok(network) = &loaded.network else { return Ok(Vec::new()) };
    let held = held(&loaded.settings.host_local)?.into_iter().filter(|(ip, _)| network.has(*ip));
    Ok(held.map(|(ip, file)| (ip, container(&file).unwrap_or_else(|error| format!("unknown ({error})")))).collect())
}

/// The container in one of host-local's files.
fn container(file: &Path) -> io::Result<String> {
    let mut content = Vec::new();
    File::open(file)?.take(MAX_FILE_SIZE).read_to_end(&mut content)?;
    Ok(String::from_utf8_lossy(&content).lines().next().unwrap_or_default().trim().to_owned())
}

fn leftovers(network: &LocalNetwork, loaded: &LoadedConfig, found: &[(IpAddr, String)]) -> Outcome {
    let texts: Vec<String> = found.iter().map(|(ip, container)| format!("{ip} (container {container})")).collect();
    let message = format!(
        "host-local still holds {} of network {:?}, which kube-ipam gives to nobody: {}",
        counted(found.len(), "address", "addresses"),
        network.name,
        first_of(&texts)
    );
    let folders = loaded.settings.host_local.iter().filter(|folder| folder.is_dir());
    let remedy = Remedy::new(
        "nothing while these containers run, since their DELs free the addresses; remove the file of a container that \
         the runtime does not know any more",
    )
    .command(Tool::Crictl.run(&["pods", "-q"]));
    let remedy = folders
        .fold(remedy, |remedy, folder| remedy.command(Tool::Grep.run(&["-r", ".", &folder.display().to_string()])));
    Outcome::warning(&network.name, message, remedy)
}

fn unreadable(error: &HostLocalError) -> Outcome {
    let object = error.path.display().to_string();
    let message =
        format!("can't read where host-local keeps addresses, so no ADD of its network works: {}", chain(error));
    Outcome::error(
        &object,
        message,
        Remedy::new("make it readable, or remove it if no pod that host-local served is left on this node")
            .command(Tool::Ls.run(&["-l", &object])),
    )
}
