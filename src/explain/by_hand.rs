//! Explains what an operator has reserved by hand.

use super::address::{AddressFacts, Parts};
use super::unheld::last_holders;
use super::{Fact, Remedy, Text, Topic};
use crate::ipam::lease::{BeneficiaryKind, Lease, ManualReservation};

/// Explains an address that is reserved by hand and that nobody holds.
pub(super) fn reserved(facts: &AddressFacts<'_>, lease: &Lease, manual: &ManualReservation) -> Parts {
    let whom = manual.beneficiary.as_ref().map(|object| format!(" for {object}")).unwrap_or_default();
    let headline = Text::new(format!("{} is reserved by hand{whom}, and nobody uses it.", facts.ip));
    let mut details = said(lease, manual, facts);
    details.extend(last_holders(lease));
    details.extend(facts.rules());
    let first = match &manual.beneficiary {
        _ if lease.is_over(facts.now) => Remedy::run(
            "A sweep frees it. See what it would free, then run it without --dry-run:",
            facts.commands.sweep(&["--dry-run"]),
        ),
        Some(object) => Remedy::advice(format!("{object} gets it by asking for it: {}.", how(object.kind))),
        None => Remedy::advice("No pod gets it. If that is what you want, do nothing."),
    };
    let remedies = vec![first, facts.release("To give it to pods again, end the reservation:")];
    Parts { headline, facts: details, agreement: None, remedies }
}

/// What the operator said, and when it ends.
pub(super) fn said(lease: &Lease, manual: &ManualReservation, facts: &AddressFacts<'_>) -> Vec<Fact> {
    let by = manual.by.as_ref().map(|by| format!(" by {by}")).unwrap_or_default();
    let text = Text::new(format!("reserved by hand{by} ")).at(manual.at).then(format!(": {}", manual.reason));
    let end = match lease.manual_until(facts.now) {
        _ if lease.manual(facts.now).is_none() => Text::new("the time of the reservation by hand is over"),
        Some(until) => Text::new("the reservation by hand ends ").at(until),
        None => Text::new("the reservation by hand has no end: it stays until it is released"),
    };
    let object = manual.beneficiary.as_ref().map(|object| Fact::stored(Topic::Owner, format!("it is for {object}")));
    std::iter::once(Fact::stored(Topic::Decision, text))
        .chain(object)
        .chain([Fact::stored(Topic::Release, end)])
        .collect()
}

fn how(kind: BeneficiaryKind) -> &'static str {
    match kind {
        BeneficiaryKind::Pod | BeneficiaryKind::StatefulSet => {
            "annotation kube-ipam.<interface>.ip, or a pool that has it"
        }
        BeneficiaryKind::IpamClaim => "the status of the claim, an annotation, or a pool that has it",
    }
}
