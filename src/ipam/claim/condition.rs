//! The condition of a claim that says whether it has its addresses, in the words of OVN-Kubernetes, so that who waits for
//! one of both need not know which of them serves the claim.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::Claim;
use crate::cause::chain;
use crate::ipam::refusal::Refusal;
use crate::ipam::takeover::InUseReason;

/// The type of the condition.
const TYPE: &str = "IPsAllocated";

/// The longest message in bytes. What a refusal quotes may be as long as an annotation.
const LONGEST_MESSAGE: usize = 1024;

/// What the condition says.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Conclusion {
    /// `True` or `False`.
    pub(super) status: &'static str,
    /// A word for programs.
    pub(super) reason: &'static str,
    /// A text for people.
    pub(super) message: String,
}

impl Claim {
    /// The conditions of the claim with this one in the place of our own; those of others stay. The time is that of the last
    /// change from true to false or back.
    pub(super) fn conditions(&self, conclusion: &Conclusion, now: Timestamp) -> Vec<Value> {
        let Conclusion { status, reason, message } = conclusion;
        let before = self.status.conditions.as_deref().unwrap_or_default();
        let (own, others): (Vec<&Value>, Vec<&Value>) = before.iter().partition(|condition| condition["type"] == TYPE);
        let since = match own.first() {
            Some(own) if own["status"] == *status => own["lastTransitionTime"].clone(),
            _ => json!(whole(now)),
        };
        let mut condition = json!({
            "type": TYPE, "status": status, "reason": reason, "lastTransitionTime": since, "message": message,
        });
        if let Some(generation) = self.generation {
            condition["observedGeneration"] = json!(generation);
        }
        others.into_iter().cloned().chain([condition]).collect()
    }
}

/// What a refusal says of the claim; nothing if the next try may end otherwise, or if it is about something else.
pub(super) fn conclusion(refusal: &Refusal) -> Option<Conclusion> {
    let reason = match refusal {
        Refusal::Exhausted { .. }
        | Refusal::NotYet { .. }
        | Refusal::NothingDynamic { .. }
        | Refusal::NoSilentAddress { .. } => "SubnetExhausted",
        Refusal::Held { .. }
        | Refusal::InUse { .. }
        | Refusal::Unprobed { .. }
        | Refusal::Foreign { .. }
        | Refusal::AnswersForAll { .. }
        | Refusal::Reserved { .. }
        | Refusal::HeldByHostLocal { .. }
        | Refusal::Unreadable { .. } => "IPAddressConflict",
        Refusal::OutsideSubnets { .. }
        | Refusal::OtherNodes { .. }
        | Refusal::NotOnNode { .. }
        | Refusal::NotAssignable { .. }
        | Refusal::Namespace { .. } => "NotAllowed",
        Refusal::NotAnAddress { .. }
        | Refusal::OtherPrefix { .. }
        | Refusal::Annotation(_)
        | Refusal::OneAddressPerFamily { .. }
        | Refusal::TooManyAddresses { .. }
        | Refusal::TooLarge(_) => "InvalidRequest",
        // What may end otherwise with the next try, and what is about the attachment or the owner.
        _ => return None,
    };
    let mut message = lasting_text(refusal);
    message.truncate(message.floor_char_boundary(LONGEST_MESSAGE));
    Some(Conclusion { status: "False", reason, message })
}

/// The text of a refusal without what differs from try to try: the claim is written again for each other text.
fn lasting_text(refusal: &Refusal) -> String {
    match refusal {
        Refusal::Exhausted { set, .. } | Refusal::NotYet { set, .. } => format!("no address is free in {set}"),
        Refusal::Held { ip, holder, since, why, .. } if matches!(**why, InUseReason::LookupFailed(_)) => {
            format!("{ip} is held by {holder}, since {since:.0}; kube-ipam can't tell whether that pod is gone")
        }
        Refusal::NoSilentAddress { .. } => "no address was found that is not in use on the link".to_owned(),
        Refusal::AnswersForAll { mac, .. } => {
            format!("{mac} answers for every address that is probed, as proxy ARP does")
        }
        refusal => chain(refusal).to_string(),
    }
}

/// The API server's times have no fractions of a second.
fn whole(now: Timestamp) -> Timestamp {
    Timestamp::from_second(now.as_second()).unwrap_or(now)
}
