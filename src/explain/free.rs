//! Explains an address without a lease: whether it can be had, and which rule keeps it otherwise.

use std::net::IpAddr;

use super::address::{AddressFacts, Parts};
use super::network::Rules;
use super::{Fact, Remedy, Source, Text, Topic};

/// Explains a free address.
pub(super) fn free(facts: &AddressFacts<'_>) -> Parts {
    let ip = facts.ip;
    let rules: Vec<Rules> = facts.networks.iter().flat_map(|network| network.rules(ip)).collect();
    let random = rules.iter().any(|rules| rules.random.is_ok());
    let request = rules.iter().any(|rules| rules.request.is_ok());
    let headline = match (random, request, rules.first()) {
        _ if facts.host_local.is_some() => format!("{ip} has no lease, but host-local still holds it on this node."),
        (_, _, None) => format!("{ip} has no lease, and no known network has it."),
        (true, true, _) => format!("{ip} is free: a pod can get it at random or by request."),
        (true, false, _) => format!("{ip} is free: a pod can get it at random, but not by request."),
        (false, true, _) => format!("{ip} is free, but only for a pod that requests it."),
        (false, false, Some(rules)) => format!("{ip} has no lease, and no pod gets it: {}.", reasons(rules)),
    };
    let mut details = facts.rules();
    if details.is_empty() {
        details.push(no_network(ip));
    }
    let mut remedies = Vec::new();
    if let Some(file) = &facts.host_local {
        let text = format!("host-local's file {file} holds it, so no ADD on this node assigns it");
        details.push(Fact::new(Topic::Request, text, Source::NodeFile("host-local".to_owned())));
        let text = "The file goes with the DEL of its container. If that container is gone, remove the file:";
        remedies.push(Remedy::run(text, facts.commands.remove(file)));
    }
    Parts { headline: Text::new(headline), facts: details, agreement: None, remedies }
}

/// Why an address is assigned neither at random nor on request.
fn reasons(Rules { random, request, .. }: &Rules) -> String {
    let (random, request) = (random.as_ref().err(), request.as_ref().err());
    let reasons: Vec<&str> =
        random.into_iter().chain(request.filter(|_| random != request)).map(String::as_str).collect();
    reasons.join(", and ")
}

/// The fact that no known network has an address.
pub(super) fn no_network(ip: IpAddr) -> Fact {
    let text = format!("no known network has {ip} in a subnet; name the network's configuration with --config");
    Fact::stored(Topic::Network, text)
}
