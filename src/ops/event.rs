//! The event that an ADD publishes on its pod, so that the pod's author does not need a node's log.
//!
//! An event is best effort. It is published after the reply, only if this call has used the API server anyway, and its
//! failure changes nothing.

use std::net::IpAddr;
use std::time::Duration;

use jiff::Timestamp;

use super::Call;
use crate::cause::chain;
use crate::cluster::{Event, EventError, Reason};
use crate::error::Error;
use crate::ipam::decide::{Allocation, TakenOver};
use crate::ipam::lease::{Foreign, PodRef};
use crate::ipam::refusal::Refusal;
use crate::ipam::takeover::GoneReason;
use crate::telemetry::Phase;

/// The time limit of publishing. The runtime waits for the process to exit.
const API_TIMEOUT: Duration = Duration::from_millis(500);

/// The event for the result of an ADD; `None` if none is due.
pub(super) fn event_for(done: &Result<Option<Allocation>, Error>) -> Option<(Reason, String)> {
    match done {
        Ok(None) => None,
        Ok(Some(allocation)) if !allocation.given_up.is_empty() => {
            let texts: Vec<String> = allocation.given_up.iter().map(ToString::to_string).collect();
            Some((Reason::StickyAddressGivenUp, texts.join("; ")))
        }
        Ok(Some(allocation)) => {
            let passed = allocation.taken_over.iter().filter(|taken| taken.reason != GoneReason::EarlierSandbox);
            let texts: Vec<String> = passed
                .map(|TakenOver { ip, victim, reason }| format!("{ip} was taken over from {victim}, which is {reason}"))
                .collect();
            if !texts.is_empty() {
                return Some((Reason::AddressTakenOver, texts.join("; ")));
            }
            let kept = allocation.leases.iter().filter(|(ip, _)| allocation.reused.contains(ip));
            let texts: Vec<String> = kept
                .filter_map(|(ip, lease)| {
                    Some(format!("{ip} was reserved for {}, and is used again", lease.owner.as_ref()?))
                })
                .collect();
            (!texts.is_empty()).then(|| (Reason::StickyAddressUsed, texts.join("; ")))
        }
        // Timeouts and lost races may not recur at the next attempt.
        Err(Error::Refused(Refusal::Contended { .. })) => None,
        Err(error @ Error::Refused(_)) => Some((Reason::AddressRefused(error.label()), error.full().to_string())),
        Err(_) => None,
    }
}

/// The event for hosts without a lease that this ADD found first.
pub(super) fn event_for_foreign(done: &Result<Option<Allocation>, Error>) -> Option<(Reason, String)> {
    let Ok(Some(allocation)) = done else { return None };
    let text = |(ip, foreign): &(IpAddr, Foreign)| format!("{ip} is used by {}, a host without a lease", foreign.mac);
    let texts: Vec<String> = allocation.foreign.iter().map(text).collect();
    (!texts.is_empty()).then(|| {
        let own: Vec<String> =
            allocation.attachment.addresses.iter().map(|own| own.address.addr().to_string()).collect();
        (Reason::ForeignAddressFound, format!("{}; this pod got {}", texts.join("; "), own.join(", ")))
    })
}

/// Publishes an event, within the rate limit.
pub(super) fn publish(call: &mut Call<'_>, pod: &PodRef, (reason, message): (Reason, String)) {
    let deadline = call.node.deadline.at_most(API_TIMEOUT);
    if call.node.api.is_none() || deadline.has_passed() {
        return;
    }
    call.enter(Phase::Api);
    let Some(api) = &call.node.api else { return };
    let (event, now) =
        (Event { pod: pod.clone(), node: call.node.settings.node.clone(), reason, message }, Timestamp::now());
    match call.node.records.try_accept_event(&event.digest(), now) {
        Ok(true) => {}
        Ok(false) => return,
        Err(error) => {
            return tracing::debug!(error = %chain(&error), "no event is published, because the rate limit could not be read or written");
        }
    }
    match api.publish(&event, now, deadline) {
        Ok(()) => {}
        Err(error @ EventError::Forbidden { .. }) => {
            tracing::warn!(
                error = %chain(&error),
                "this node publishes no events for an hour; grant apiGroups [\"\"], resources [\"events\"], verbs \
                 [\"create\"]"
            );
            if let Err(error) = call.node.records.suspend_events(now) {
                tracing::debug!(error = %chain(&error), "the suspension of events could not be written");
            }
        }
        Err(error) => tracing::debug!(error = %chain(&error), "an event could not be published"),
    }
}
