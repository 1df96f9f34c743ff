//! Explains a pod: what each of its interfaces has, or why the pod waits, and what ends that.

use std::net::IpAddr;

use jiff::Timestamp;

use super::event::{self, EventGroup};
use super::report::{Agreement, Verdict};
use super::standing::alive;
use super::{Commands, Explanation, Fact, NextAdd, ObjectName, Remedy, State, Text, Topic};
use crate::ipam::address;
use crate::ipam::pod::PodEvent;
use crate::ipam::takeover::{PodLookup, PodState};

/// What was found out about a pod.
#[derive(Clone, Debug)]
pub struct PodFacts<'a> {
    /// Its namespace and name.
    pub name: ObjectName,
    /// The API server's answer; `Err` says why there is none.
    pub found: Result<PodLookup, String>,
    /// Its events; `Err` says why they are not known.
    pub events: Result<Vec<PodEvent>, String>,
    /// The addresses that its interfaces have, or had last.
    pub parts: Vec<Explanation>,
    /// The interfaces that its annotations name.
    pub interfaces: Vec<String>,
    /// What its next ADD would do, if an interface has no address.
    pub next: Option<NextAdd>,
    /// The explained address that it waits for, if its last refusal names one.
    pub waits_for: Option<Explanation>,
    /// Now.
    pub now: Timestamp,
    /// Builds the commands of remedies.
    pub commands: &'a Commands,
}

/// How a refusal begins that names a full range.
const FULL: &str = "no address is free in ";

/// How such a refusal goes on with some of the holders.
const EXAMPLES: &str = "among them";

/// The first address in a refusal's text, which is the one that somebody else has. A full range has no such address:
/// each that becomes free ends the waiting.
pub fn address_in(text: &str) -> Option<IpAddr> {
    let text = match text.split_once(FULL) {
        Some((_, full)) => full.split_once("; ").map(|(_, rest)| rest).filter(|rest| !rest.starts_with(EXAMPLES))?,
        None => text,
    };
    text.split([' ', ',', ';', '(', ')', '"']).find_map(|word| address::parse(word.trim_end_matches([':', '.'])).ok())
}

/// Explains a pod.
pub fn explain_pod(facts: PodFacts<'_>) -> Explanation {
    let held: Vec<String> = facts.parts.iter().filter(|part| part.state == State::Held).map(held_text).collect();
    let refusal = facts.events.as_ref().ok().and_then(|events| event::last_refusal(events));
    let waits = refusal.filter(|event| is_waiting(&facts, event, &held));
    let (state, headline) = headline(&facts, &held, waits);
    let mut details = Vec::new();
    details.push(pod_fact(&facts));
    details.extend(without_address(&facts));
    match &facts.events {
        Ok(events) => details.extend(event::facts(events)),
        Err(why) => details.push(Fact::from_api(Topic::Event, format!("its events are not known: {why}"))),
    }
    let verdicts = facts.parts.iter().filter_map(|part| part.agreement.clone());
    let verdicts: Vec<(Verdict, String)> =
        verdicts.map(|agreement| (agreement.verdict, agreement.because.join("; "))).collect();
    let agreement = (!verdicts.is_empty()).then(|| Agreement::worst(verdicts));
    let remedies = remedies(&facts, waits);
    let parts = facts.parts.into_iter().chain(facts.waits_for.filter(|_| waits.is_some())).collect();
    let subject = format!("pod {}", facts.name);
    Explanation {
        subject,
        address: None,
        vrf: None,
        state,
        headline,
        facts: details,
        agreement,
        next: facts.next,
        remedies,
        lease: None,
        before: None,
        parts,
    }
}

fn state_of<'a>(facts: &'a PodFacts<'_>) -> Option<&'a PodState> {
    match &facts.found {
        Ok(PodLookup::Found(state)) => Some(state),
        _ => None,
    }
}

/// Whether a refusal is the present state: the pod exists, and has no address yet, or a later refusal than address.
fn is_waiting(facts: &PodFacts<'_>, refusal: &PodEvent, held: &[String]) -> bool {
    let since = facts.parts.iter().filter_map(|part| part.lease.as_ref()).map(|lease| lease.since).max();
    let is_later = since.zip(refusal.last).is_none_or(|(since, last)| last.as_second() > since.as_second());
    state_of(facts).is_some() && (held.is_empty() || is_later)
}

/// `10.1.0.18 (net1)`.
fn held_text(part: &Explanation) -> String {
    let holders = part.lease.iter().flat_map(|lease| &lease.holders);
    let interfaces: Vec<&str> = holders.map(|holder| holder.id.ifname.as_str()).collect();
    format!("{} ({})", part.subject, interfaces.join(", "))
}

fn headline(facts: &PodFacts<'_>, held: &[String], waits: Option<&PodEvent>) -> (State, Text) {
    let name = &facts.name;
    if let Some(event) = waits {
        let groups = facts.events.as_deref().map(event::groups).unwrap_or_default();
        let first = groups.iter().find(|group| group.has(event)).and_then(EventGroup::first).unwrap_or(facts.now);
        return (State::Waiting, Text::new(format!("Pod {name} has waited for an address ")).lasting(first).then("."));
    }
    let has = format!("Pod {name} has {}", held.join(", "));
    match (&facts.found, held.is_empty()) {
        (Ok(PodLookup::Found(_)), false) => (State::Held, Text::new(has + ".")),
        (Ok(PodLookup::Found(_)), true) => {
            (State::Without, Text::new(format!("Pod {name} has no address in this store.")))
        }
        (Ok(PodLookup::NotFound), false) => {
            (State::Held, Text::new(format!("{has}, but the API server knows no such pod.")))
        }
        (Ok(PodLookup::NotFound), true) => {
            let text = format!("The API server knows no pod {name}, and the store has no address of it.");
            (State::Absent, Text::new(text))
        }
        (Err(_), false) => (State::Held, Text::new(has + ".")),
        (Err(_), true) => (
            State::Unknown,
            Text::new(format!("The store has no address of pod {name}; whether it exists is not known.")),
        ),
    }
}

fn pod_fact(facts: &PodFacts<'_>) -> Fact {
    let text = match &facts.found {
        Ok(PodLookup::Found(state)) => alive(&format!("pod {} (UID {})", facts.name, state.pod.uid), state),
        Ok(PodLookup::NotFound) => Text::new(format!("it knows no pod {}", facts.name)),
        Err(why) => Text::new(format!("whether pod {} exists is not known: {why}", facts.name)),
    };
    Fact::from_api(Topic::Pod, text)
}

/// The interfaces that the pod's annotations name, and that have no address here. Another plugin may serve them.
fn without_address(facts: &PodFacts<'_>) -> Option<Fact> {
    let holders = facts.parts.iter().filter(|part| part.state == State::Held).flat_map(|part| &part.lease);
    let has: Vec<&str> = holders.flat_map(|lease| &lease.holders).map(|holder| holder.id.ifname.as_str()).collect();
    let without: Vec<&str> =
        facts.interfaces.iter().map(String::as_str).filter(|ifname| !has.contains(ifname)).collect();
    let text = format!("the pod asks for {}, without an address in this store", without.join(", "));
    (!without.is_empty() && state_of(facts).is_some()).then(|| Fact::from_api(Topic::Request, text))
}

fn remedies(facts: &PodFacts<'_>, waits: Option<&PodEvent>) -> Vec<Remedy> {
    let mut remedies = Vec::new();
    match (waits, &facts.waits_for) {
        (Some(_), Some(address)) => remedies.push(Remedy::advice(format!(
            "The kubelet retries. The pod gets an address once {} is free for it, or once its request is changed; see \
             what holds the address below.",
            address.subject
        ))),
        (Some(refusal), None) if refusal.message.contains(FULL) => remedies.extend([
            Remedy::run(
                "The kubelet retries. The pod gets an address once one of them is free or the range is wider. To see \
                 how full the networks are:",
                facts.commands.kube_ipam(&["usage"], None),
            ),
            Remedy::run("To see whether some of the addresses have leaked:", facts.commands.sweep(&["--dry-run"])),
        ]),
        (Some(_), None) => remedies.push(Remedy::run(
            "The kubelet retries. The event says what has to change. To see how full the networks are:",
            facts.commands.kube_ipam(&["usage"], None),
        )),
        (None, _) => {}
    }
    if state_of(facts).is_some() && facts.events.is_err() {
        let namespace = facts.name.namespace.as_deref().unwrap_or_default();
        let words = ["describe", "pod", &facts.name.name, "--namespace", namespace];
        remedies.push(Remedy::run("To read its events with your own rights:", facts.commands.kubectl(&words)));
    }
    remedies
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_of_a_refusal_is_found() {
        for (text, expected) in [
            ("10.1.0.18 is held by pod db/db-0", Some("10.1.0.18")),
            ("can't use 10.1.0.18: 02:00:00:00:00:07 answers for it", Some("10.1.0.18")),
            ("fd00::7, requested by annotation kube-ipam.net1.ip, is in no subnet", Some("fd00::7")),
            ("plugin kube-ipam failed: \"10.1.0.18 is held\"", Some("10.1.0.18")),
            ("no address is free in 10.1.0.2-10.1.0.6 of 10.1.0.0/29", None),
            ("no address is free in 10.1.0.2 of 10.1.0.0/29: 1 held; among them: 10.1.0.2 by pod db/db-0", None),
            ("no address is free in 10.1.0.2 of 10.1.0.0/29; 10.1.0.2 is held by pod db/db-0", Some("10.1.0.2")),
            ("", None),
        ] {
            assert_eq!(address_in(text), expected.and_then(|ip| ip.parse().ok()), "{text}");
        }
    }
}
