//! Explains a host without a lease, by its MAC address: the addresses for which it answered.

use super::{Explanation, Fact, State, Text, Topic};
use crate::ipam::takeover::Mac;

/// Explains a host, given the addresses whose leases name it.
pub fn explain_host(mac: Mac, parts: Vec<Explanation>) -> Explanation {
    let headline = match parts.as_slice() {
        [] => format!("{mac} has answered for no address of this store."),
        [one] => format!("{mac} is a host without a lease that uses {}.", one.subject),
        several => format!("{mac} is a host without a lease that uses {} addresses.", several.len()),
    };
    // Pods' MAC addresses are in no lease, because IPAM plugins don't learn them.
    let text = "only hosts without a lease are known by MAC address, from the answers to probes (`probe: always`)";
    Explanation {
        subject: mac.to_string(),
        address: None,
        vrf: None,
        state: if parts.is_empty() { State::Unknown } else { State::Foreign },
        headline: Text::new(headline),
        facts: vec![Fact::stored(Topic::Host, text)],
        agreement: None,
        next: None,
        remedies: Vec::new(),
        lease: None,
        before: None,
        parts,
    }
}
