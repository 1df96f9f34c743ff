//! The condition of a claim that shows whether it has its addresses. It uses the reasons of OVN-Kubernetes, so that
//! clients need not know which of the two serves the claim.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::Claim;
use crate::cause::chain;
use crate::ipam::refusal::Refusal;
use crate::ipam::takeover::InUseReason;

/// The type of the condition.
const TYPE: &str = "IPsAllocated";

/// The longest message, in bytes. A refusal may quote a long annotation.
const LONGEST_MESSAGE: usize = 1024;

/// The content of the condition.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Conclusion {
    /// `True` or `False`: whether the claim has its addresses.
    pub(super) status: &'static str,
    pub(super) reason: &'static str,
    pub(super) message: String,
}

impl Claim {
    /// The claim's conditions, with our own replaced by this one. The time is that of the last change between true and
    /// false.
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

/// The condition for a refusal; `None` if the next attempt may end differently, or if the refusal is not about the
/// claim.
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
        | Refusal::ReservedByHand { .. }
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
        // The next attempt may end differently, or the attachment or the owner is the problem.
        _ => return None,
    };
    let mut message = lasting_text(refusal);
    message.truncate(message.floor_char_boundary(LONGEST_MESSAGE));
    Some(Conclusion { status: "False", reason, message })
}

/// The text of a refusal without what varies between attempts, because the claim is written again for each new text.
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
