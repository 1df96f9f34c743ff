//! Explains an IPAMClaim: what the store keeps for it, and whether its status says the same.

use std::net::IpAddr;

use super::report::{Agreement, Verdict};
use super::{Commands, Explanation, Fact, ObjectName, Remedy, State, Text, Topic};
use crate::ipam::address;
use crate::ipam::claim::Claim;
use crate::ipam::refusal::list;

/// What was found out about a claim.
#[derive(Clone, Debug)]
pub struct ClaimFacts<'a> {
    /// Its namespace and name.
    pub name: ObjectName,
    /// The claim; `None` if the API server knows none; `Err` says why there is no answer.
    pub found: Result<Option<Claim>, String>,
    /// The addresses that the store keeps for claims of this name.
    pub parts: Vec<Explanation>,
    /// Builds the commands of remedies.
    pub commands: &'a Commands,
}

/// Explains a claim.
pub fn explain_claim(facts: ClaimFacts<'_>) -> Explanation {
    let (name, kept) = (&facts.name, kept(&facts.parts));
    let (state, headline) = match (&facts.found, kept.as_slice()) {
        (Ok(None), []) => {
            (State::Absent, format!("The API server knows no IPAMClaim {name}, and the store keeps no address for it."))
        }
        (Ok(None), kept) => {
            (State::Reserved, format!("IPAMClaim {name} is gone, and the store still keeps {} for it.", list(kept)))
        }
        (Ok(Some(_)), []) => (State::Without, format!("IPAMClaim {name} has no address yet: no pod has used it.")),
        (Err(_), []) => (
            State::Unknown,
            format!("The store keeps no address for IPAMClaim {name}; whether it exists is not known."),
        ),
        (_, kept) => (State::Held, format!("IPAMClaim {name} has {}.", list(kept))),
    };
    let remedies = match (&facts.found, kept.is_empty()) {
        (Ok(None), false) => vec![Remedy::run(
            "A sweep ends the reservation once no pod uses the address. See what it would free, then run it without \
             --dry-run:",
            facts.commands.sweep(&["--dry-run"]),
        )],
        _ => Vec::new(),
    };
    Explanation {
        subject: format!("IPAMClaim {name}"),
        address: None,
        vrf: None,
        state,
        headline: Text::new(headline),
        facts: details(&facts),
        agreement: agreement(&facts, &kept),
        next: None,
        remedies,
        lease: None,
        before: None,
        parts: facts.parts,
    }
}

fn kept(parts: &[Explanation]) -> Vec<IpAddr> {
    parts.iter().filter_map(|part| part.address).collect()
}

fn details(facts: &ClaimFacts<'_>) -> Vec<Fact> {
    let claim = match &facts.found {
        Ok(Some(claim)) => claim,
        Ok(None) => return vec![Fact::from_api(Topic::Claim, format!("it knows no IPAMClaim {}", facts.name))],
        Err(why) => return vec![Fact::from_api(Topic::Claim, format!("the claim is not known: {why}"))],
    };
    let or_any = |text: &str| if text.is_empty() { "any".to_owned() } else { text.to_owned() };
    let purpose = format!(
        "IPAMClaim {} (UID {}), for network {}, interface {}",
        facts.name,
        claim.uid,
        or_any(&claim.network),
        or_any(&claim.interface)
    );
    let mut details = vec![Fact::from_api(Topic::Claim, purpose)];
    let ips = claim.status.ips.as_deref().unwrap_or_default();
    details.push(Fact::from_api(
        Topic::Claim,
        match ips {
            [] => "its status has no address".to_owned(),
            ips => format!("its status has {}", list(ips)),
        },
    ));
    let pod = claim.status.owner_pod.as_ref().filter(|pod| !pod.name.is_empty());
    details.extend(pod.map(|pod| Fact::from_api(Topic::Pod, format!("pod {} got it last", pod.name))));
    for condition in claim.status.conditions.iter().flatten() {
        let part = |key: &str| condition.get(key).and_then(|value| value.as_str()).unwrap_or("-");
        let text =
            format!("condition {} is {} ({}): {}", part("type"), part("status"), part("reason"), part("message"));
        details.push(Fact::from_api(Topic::Claim, text));
    }
    details
}

/// Whether the status has what the store keeps. An empty status asks for nothing.
fn agreement(facts: &ClaimFacts<'_>, kept: &[IpAddr]) -> Option<Agreement> {
    let verdict = match &facts.found {
        Err(why) => (Verdict::Unknown, why.clone()),
        Ok(None) if kept.is_empty() => return None,
        Ok(None) => (Verdict::Disagree, "the claim is gone, and the store keeps an address for it".to_owned()),
        Ok(Some(claim)) => {
            let ips = claim.status.ips.as_deref().unwrap_or_default();
            let status: Vec<IpAddr> =
                ips.iter().filter_map(|ip| address::parse_interface(ip).ok()).map(|net| net.addr()).collect();
            let lacks = |some: &[IpAddr], others: &[IpAddr]| some.iter().any(|ip| !others.contains(ip));
            match lacks(&status, kept) || (!status.is_empty() && lacks(kept, &status)) {
                true => (Verdict::Disagree, "its status has other addresses than the store keeps for it".to_owned()),
                false => (Verdict::Agree, String::new()),
            }
        }
    };
    Some(Agreement::worst([verdict]))
}
