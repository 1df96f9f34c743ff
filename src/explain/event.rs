//! The events about a pod's addresses: this program's, and the kubelet's, which repeats a refusal in a text of its own.

use jiff::Timestamp;

use super::{Fact, Text, Topic};
use crate::ipam::pod::PodEvent;

/// The component of our events.
pub(super) const COMPONENT: &str = "kube-ipam";

/// The reason of the event with which an ADD is refused.
const REFUSED: &str = "AddressRefused";

/// The reason of the kubelet's event about an ADD that failed. Its text names the sandbox, so each try is another event.
const NO_SANDBOX: &str = "FailedCreatePodSandBox";

/// Where a plugin's error begins in the kubelet's text (libcni).
const PLUGIN_ERROR: &str = "failed (add): ";

/// What separates a message from its details in a refusal.
const DETAILS: &str = "; ";

/// The most groups of events that are shown.
const MAX_GROUPS: usize = 5;

/// The last refusal among events: ours, or else the kubelet's.
pub fn last_refusal(events: &[PodEvent]) -> Option<&PodEvent> {
    let last = |is_one: &dyn Fn(&&PodEvent) -> bool| events.iter().filter(is_one).max_by_key(|event| event.last);
    last(&|event| event.reason == REFUSED && is_own(event)).or_else(|| last(&|event| is_kubelets(event)))
}

fn is_own(event: &PodEvent) -> bool {
    event.component == COMPONENT
}

fn is_kubelets(event: &PodEvent) -> bool {
    event.reason == NO_SANDBOX && event.message.contains(COMPONENT)
}

/// Events that say the same.
#[derive(Debug)]
pub(super) struct EventGroup<'a> {
    /// The first of them is shown.
    events: Vec<&'a PodEvent>,
    /// The text that the others repeat.
    text: &'a str,
}

/// The events of this program, and the kubelet's about its refusals; those that say the same together. The latest first.
pub(super) fn groups(events: &[PodEvent]) -> Vec<EventGroup<'_>> {
    let mut groups: Vec<EventGroup<'_>> = Vec::new();
    let own = events.iter().filter(|event| is_own(event));
    let kubelets = events.iter().filter(|event| !is_own(event) && is_kubelets(event));
    for event in own.chain(kubelets) {
        match groups.iter_mut().find(|group| group.says(event)) {
            Some(group) => group.events.push(event),
            None => groups.push(EventGroup { events: vec![event], text: text(event) }),
        }
    }
    groups.sort_by_key(|group| std::cmp::Reverse(group.last()));
    groups
}

/// What an event says, without what differs from try to try.
fn text(event: &PodEvent) -> &str {
    let message = event.message.as_str();
    match is_own(event) {
        true => message,
        false => message.split_once(PLUGIN_ERROR).map_or(message, |(_, error)| error),
    }
}

impl EventGroup<'_> {
    /// Whether an event says what this group says. The kubelet may cut off the details of a refusal.
    fn says(&self, event: &PodEvent) -> bool {
        let refusal = self.text.split(DETAILS).next().unwrap_or_default();
        match is_own(event) {
            true => self.events.first().is_some_and(|first| first.reason == event.reason) && self.text == event.message,
            false => !refusal.is_empty() && event.message.contains(refusal),
        }
    }

    /// Whether it has this event.
    pub(super) fn has(&self, event: &PodEvent) -> bool {
        self.events.contains(&event)
    }

    /// When the first of them occurred.
    pub(super) fn first(&self) -> Option<Timestamp> {
        first(&self.events)
    }

    fn last(&self) -> Option<Timestamp> {
        last(&self.events)
    }

    /// How often and when each reason occurred, and the text once.
    fn fact(&self) -> Fact {
        let mut reasons: Vec<&str> = Vec::new();
        for event in &self.events {
            if !reasons.contains(&event.reason.as_str()) {
                reasons.push(&event.reason);
            }
        }
        let mut line = Text::default();
        for (i, reason) in reasons.iter().enumerate() {
            let of_reason: Vec<&PodEvent> =
                self.events.iter().filter(|event| event.reason == *reason).copied().collect();
            line = occurrences(if i > 0 { line.then("; ") } else { line }, reason, &of_reason);
        }
        let message = self.events.first().map_or("", |event| &event.message);
        Fact::from_api(Topic::Event, line.then(format!(": {message}")))
    }
}

fn first(events: &[&PodEvent]) -> Option<Timestamp> {
    events.iter().filter_map(|event| event.first.or(event.last)).min()
}

fn last(events: &[&PodEvent]) -> Option<Timestamp> {
    events.iter().filter_map(|event| event.last.or(event.first)).max()
}

/// `AddressRefused, 3 times, first 2 hours ago, last 5 minutes ago`.
fn occurrences(line: Text, reason: &str, events: &[&PodEvent]) -> Text {
    let count = events.iter().fold(0_u64, |sum, event| sum.saturating_add(event.count));
    let line = line.then(format!("{reason}, {}", times(count)));
    match (first(events), last(events)) {
        (Some(first), Some(last)) if first != last => line.then(", first ").at(first).then(", last ").at(last),
        (_, Some(last)) => line.then(", ").at(last),
        _ => line,
    }
}

/// The latest groups of events as facts.
pub(super) fn facts(events: &[PodEvent]) -> Vec<Fact> {
    groups(events).iter().take(MAX_GROUPS).map(EventGroup::fact).collect()
}

/// How often an event occurred, in words.
pub(super) fn times(count: u64) -> String {
    match count {
        1 => "once".to_owned(),
        count => format!("{count} times"),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::ipam::lease::PodRef;

    const HELD: &str = "10.1.0.11 is held by pod db/db-0";

    /// An event that occurred so often, in these minutes.
    fn event(reason: &str, message: &str, count: u64, (first, last): (i64, i64)) -> PodEvent {
        let at = |minute: i64| Timestamp::from_second(1_000_000 + 60 * minute).ok();
        let component = if reason == NO_SANDBOX { "kubelet" } else { COMPONENT };
        PodEvent {
            pod: PodRef { namespace: Some("db".to_owned()), name: Some("db-1".to_owned()), uid: None },
            component: component.to_owned(),
            host: None,
            reason: reason.to_owned(),
            message: message.to_owned(),
            count,
            first: at(first),
            last: at(last),
        }
    }

    /// The kubelet's text about a sandbox whose plugin failed with this error.
    fn kubelets(sandbox: &str, error: &str) -> String {
        format!(
            "Failed to create pod sandbox: rpc error: code = Unknown desc = failed to setup network for sandbox \
             \"{sandbox}\": plugin type=\"macvlan\" name=\"kube-ipam\" failed (add): {error}"
        )
    }

    fn shown(events: &[PodEvent]) -> Vec<String> {
        let now = Timestamp::from_second(1_000_000 + 60 * 100).unwrap();
        facts(events).iter().map(|fact| fact.text.spoken(now)).collect()
    }

    #[test]
    fn the_kubelet_s_events_are_counted_with_the_refusal_that_they_repeat() {
        let refusal = format!("{HELD}; delete that pod");
        let events = [
            event(NO_SANDBOX, &kubelets("s-1", &refusal), 1, (10, 10)),
            event(REFUSED, &refusal, 3, (10, 40)),
            event(NO_SANDBOX, &kubelets("s-2", &refusal), 4, (20, 50)),
            // The kubelet has cut it off.
            event(NO_SANDBOX, &kubelets("s-3", HELD), 1, (60, 60)),
        ];
        let expected = format!(
            "AddressRefused, 3 times, first 90 minutes ago, last 60 minutes ago; FailedCreatePodSandBox, 6 times, \
             first 90 minutes ago, last 40 minutes ago: {refusal}"
        );
        assert_eq!(shown(&events), [expected]);
        assert_eq!(groups(&events)[0].first(), Timestamp::from_second(1_000_600).ok());
    }

    #[test]
    fn without_a_refusal_the_kubelet_s_events_are_one_for_each_error() {
        let events = [
            event(NO_SANDBOX, &kubelets("s-1", HELD), 1, (10, 10)),
            event(NO_SANDBOX, &kubelets("s-2", HELD), 2, (20, 30)),
            event(NO_SANDBOX, &kubelets("s-3", "can't reach the store"), 1, (40, 40)),
            event(NO_SANDBOX, "kube-ipam is missing", 1, (50, 50)),
            event(NO_SANDBOX, "another plugin's error", 1, (60, 60)),
        ];
        let beginnings = [
            "FailedCreatePodSandBox, once, 50",
            "FailedCreatePodSandBox, once, 60",
            "FailedCreatePodSandBox, 3 times, first 90",
        ];
        let shown = shown(&events);
        assert_eq!(shown.len(), beginnings.len(), "{shown:?}");
        for (line, beginning) in shown.iter().zip(beginnings) {
            assert!(line.starts_with(beginning), "{shown:?}");
        }
    }

    #[test]
    fn what_differs_is_not_put_together() {
        let full = "10.1.0.110 is held by pod db/db-0";
        let events = [
            event(REFUSED, HELD, 1, (10, 10)),
            event(REFUSED, full, 1, (20, 20)),
            event("AddressTakenOver", HELD, 1, (30, 30)),
            event(NO_SANDBOX, &kubelets("s-1", full), 1, (40, 40)),
        ];
        let shown = shown(&events);
        assert_eq!(shown.len(), 3, "{shown:?}");
        assert!(
            shown[0].starts_with("AddressRefused, once, 80 minutes ago; FailedCreatePodSandBox, once"),
            "{shown:?}"
        );
    }
}
