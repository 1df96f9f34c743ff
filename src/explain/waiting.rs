//! The pods that were refused an address, by the events on them.

use std::net::IpAddr;

use super::event::{COMPONENT, times};
use super::pod::address_in;
use super::{Fact, Text, Topic};
use crate::ipam::pod::PodEvent;

/// The most pods that are named.
const MAX_PODS: usize = 5;

/// The facts about pods that were refused this address, the latest first. An event names the address, but no routing
/// domain.
pub fn refused_pods(ip: IpAddr, events: &Result<Vec<PodEvent>, String>) -> Vec<Fact> {
    let events = match events {
        Ok(events) => events,
        Err(why) => {
            return vec![Fact::from_api(Topic::Event, format!("which pods were refused it is not known: {why}"))];
        }
    };
    let is_about = |event: &&PodEvent| event.component == COMPONENT && address_in(&event.message) == Some(ip);
    let mut refusals: Vec<&PodEvent> = events.iter().filter(is_about).collect();
    refusals.sort_by_key(|event| std::cmp::Reverse(event.last));
    let more = refusals.len().saturating_sub(MAX_PODS);
    let mut facts: Vec<Fact> = refusals.into_iter().take(MAX_PODS).map(refusal).collect();
    if more > 0 {
        facts.push(Fact::from_api(Topic::Event, format!("{more} more pods were refused it")));
    }
    facts
}

fn refusal(event: &PodEvent) -> Fact {
    let pod = event.pod.label().unwrap_or_default();
    let text = Text::new(format!("pod {pod} was refused it {}", times(event.count)));
    let text = match event.last {
        Some(last) => text.then(", last ").at(last),
        None => text,
    };
    Fact::from_api(Topic::Event, text)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::ipam::lease::PodRef;

    fn event(pod: &str, message: &str, minute: i64, component: &str) -> PodEvent {
        let time = jiff::Timestamp::from_second(1_000_000 + 60 * minute).ok();
        PodEvent {
            pod: PodRef { namespace: Some("db".to_owned()), name: Some(pod.to_owned()), uid: None },
            component: component.to_owned(),
            host: None,
            reason: "AddressRefused".to_owned(),
            message: message.to_owned(),
            count: u64::try_from(minute).unwrap(),
            first: time,
            last: time,
        }
    }

    fn shown(events: Vec<PodEvent>) -> Vec<String> {
        let now = jiff::Timestamp::from_second(1_000_600).unwrap();
        let facts = refused_pods("10.1.0.11".parse().unwrap(), &Ok(events));
        facts.iter().map(|fact| fact.text.spoken(now)).collect()
    }

    #[test]
    fn only_pods_that_were_refused_this_very_address_are_named() {
        let held = "10.1.0.11 is held by pod db/db-0";
        let facts = shown(vec![
            event("db-1", held, 1, COMPONENT),
            event("db-2", "10.1.0.110 is held by pod db/db-0", 2, COMPONENT),
            event("db-3", held, 3, "somebody"),
            event("db-4", held, 8, COMPONENT),
        ]);
        assert_eq!(
            facts,
            [
                "pod db/db-4 was refused it 8 times, last 2 minutes ago",
                "pod db/db-1 was refused it once, last 9 minutes ago"
            ]
        );
    }

    #[test]
    fn a_crowd_is_counted_and_what_is_not_allowed_is_said() {
        let events = (1..=8).map(|i| event(&format!("db-{i}"), "10.1.0.11 is held", i, COMPONENT)).collect();
        assert_eq!(shown(events).last().map(String::as_str), Some("3 more pods were refused it"));
        let refused = refused_pods("10.1.0.11".parse().unwrap(), &Err("no connection".to_owned()));
        let texts: Vec<String> = refused.iter().map(|fact| fact.text.exact()).collect();
        assert_eq!(texts, ["which pods were refused it is not known: no connection"]);
    }
}
