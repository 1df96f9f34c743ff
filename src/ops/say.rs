//! What an ADD says on its pod, so that its author finds it there and need not ask for the log of a node.
//!
//! An event is a favour. It is said after the reply, to an API server that this call has asked anyway, and whatever comes
//! of it changes nothing.

use std::time::Duration;

use jiff::Timestamp;

use super::Call;
use crate::cluster::{Event, EventError, Reason};
use crate::error::Error;
use crate::ipam::decide::{Granted, Taken};
use crate::ipam::lease::PodRef;
use crate::ipam::refusal::Refusal;
use crate::ipam::takeover::Shown;
use crate::telemetry::Phase;

/// How long it may take. The runtime waits for the end of the process.
const PATIENCE: Duration = Duration::from_millis(500);

/// What there is to say of an ADD.
pub(super) fn news(done: &Result<Option<Granted>, Error>) -> Option<(Reason, String)> {
    match done {
        Ok(None) => None,
        Ok(Some(granted)) if !granted.given_up.is_empty() => {
            let texts: Vec<String> = granted.given_up.iter().map(ToString::to_string).collect();
            Some((Reason::StickyAddressGivenUp, texts.join("; ")))
        }
        Ok(Some(granted)) => {
            let passed = granted.taken.iter().filter(|taken| taken.shown != Shown::EarlierSandbox);
            let texts: Vec<String> = passed
                .map(|Taken { ip, holder, shown }| format!("{ip} was taken over from {holder}, which is {shown}"))
                .collect();
            if !texts.is_empty() {
                return Some((Reason::AddressTakenOver, texts.join("; ")));
            }
            let kept = granted.leases.iter().filter(|(ip, _)| granted.kept.contains(ip));
            let texts: Vec<String> = kept
                .filter_map(|(ip, lease)| {
                    Some(format!("{ip} was reserved for {}, and is used again", lease.owner.as_ref()?))
                })
                .collect();
            (!texts.is_empty()).then(|| (Reason::StickyAddressUsed, texts.join("; ")))
        }
        // Whatever is about time, or about who was faster, may be over with the next try.
        Err(Error::Refused(Refusal::Contended { .. })) => None,
        Err(error @ Error::Refused(_)) => Some((Reason::AddressRefused(error.label()), error.full().to_string())),
        Err(_) => None,
    }
}

/// Says it on the pod, unless it was said a moment ago.
pub(super) fn say(call: &mut Call<'_>, pod: &PodRef, (reason, text): (Reason, String)) {
    let until = call.node.until.at_most(PATIENCE);
    if call.node.api.is_none() || until.has_passed() {
        return;
    }
    call.enter(Phase::Api);
    let Some(api) = &call.node.api else { return };
    let (event, now) =
        (Event { pod: pod.clone(), node: call.node.site.node.clone(), reason, message: text }, Timestamp::now());
    match call.node.records.may_say(&event.digest(), now) {
        Ok(true) => {}
        Ok(false) => return,
        Err(error) => return tracing::debug!(%error, "no event is said on the pod, since that could not be noted"),
    }
    match api.publish(&event, now, until) {
        Ok(()) => {}
        Err(error @ EventError::Forbidden { .. }) => {
            tracing::warn!(
                %error,
                "no events are said on pods of this node for an hour; grant apiGroups [\"\"], resources [\"events\"], verbs \
                 [\"create\"]"
            );
            if let Err(error) = call.node.records.say_no_more(now) {
                tracing::debug!(%error, "that could not be noted");
            }
        }
        Err(error) => tracing::debug!(%error, "an event was not said on the pod"),
    }
}
