//! Explains an address that nobody holds, but that has a lease: reserved, in cooldown, or foreign.

use super::address::{AddressFacts, Parts};
use super::held::name;
use super::report::{Agreement, Verdict};
use super::{Fact, Remedy, Text, Topic, by_hand};
use crate::ipam::lease::Lease;

/// Explains an address that is reserved for an owner.
pub(super) fn reserved(facts: &AddressFacts<'_>, lease: &Lease) -> Parts {
    if let Some(manual) = &lease.manual {
        return by_hand::reserved(facts, lease, manual);
    }
    let owner = lease.owner.as_ref().map_or_else(|| "an owner that it does not name".to_owned(), ToString::to_string);
    let unused = lease.unused.unwrap_or(lease.since);
    let headline =
        Text::new(format!("{} is reserved for {owner}; nobody has used it ", facts.ip)).lasting(unused).then(".");
    let mut details = Vec::new();
    details
        .extend(lease.owner.as_ref().map(|owner| Fact::stored(Topic::Owner, format!("{owner} (UID {})", owner.uid))));
    details.extend(facts.owner_exists.as_ref().map(|exists| owner_fact(&owner, exists)));
    details.extend(last_holders(lease));
    details.push(match lease.reserved_until(facts.now) {
        Some(_) if lease.is_over(facts.now) => {
            Fact::stored(Topic::Release, "the reservation has expired: an ADD that needs the address gets it")
        }
        Some(until) => Fact::stored(Topic::Release, Text::new("the reservation expires ").at(until)),
        None => Fact::stored(Topic::Release, format!("it stays reserved while {owner} exists")),
    });
    details.extend(facts.rules());
    let agreement = facts.owner_exists.as_ref().map(|exists| {
        Agreement::worst([match exists {
            Ok(true) => (Verdict::Agree, String::new()),
            Ok(false) => (Verdict::Disagree, format!("{owner} is gone, and the address is still reserved for it")),
            Err(why) => (Verdict::Unknown, why.clone()),
        }])
    });
    let first = match &facts.owner_exists {
        Some(Ok(false)) => Remedy::run(
            "A sweep ends the reservation. See what it would free, then run it without --dry-run:",
            facts.commands.sweep(&["--dry-run"]),
        ),
        _ => Remedy::advice(format!("The next pod of {owner} gets it. If that is what you want, do nothing.")),
    };
    let remedies = vec![first, facts.release("To give it to somebody else, end the reservation:")];
    Parts { headline, facts: details, agreement, remedies }
}

fn owner_fact(owner: &str, exists: &Result<bool, String>) -> Fact {
    let text = match exists {
        Ok(true) => format!("the object of {owner} exists"),
        Ok(false) => format!("the object of {owner} is gone"),
        Err(why) => format!("whether the object of {owner} still exists is not known: {why}"),
    };
    Fact::from_api(Topic::Owner, text)
}

pub(super) fn last_holders(lease: &Lease) -> impl Iterator<Item = Fact> {
    lease.holders.iter().map(|holder| Fact::stored(Topic::Holder, format!("last held by {}", holder.in_full())))
}

/// Explains an address in cooldown.
pub(super) fn resting(facts: &AddressFacts<'_>, lease: &Lease) -> Parts {
    let by = lease.holders.first().map(|holder| format!(" by {}", name(holder))).unwrap_or_default();
    let released = lease.rest.as_ref().map_or(lease.since, |rest| rest.released);
    let is_last_resort = lease.rest.as_ref().is_some_and(|rest| rest.last);
    let is_over = lease.has_rested(facts.now);
    let text = Text::new(format!("{} was released{by} ", facts.ip)).at(released);
    let headline = match lease.rests_until(facts.now) {
        _ if is_last_resort => text.then("; it is drawn at random only when nothing else is free."),
        Some(until) if !is_over => text.then("; it is in cooldown, which ends ").at(until).then("."),
        _ => text.then("; its cooldown is over, and it can be assigned again."),
    };
    let mut details: Vec<Fact> = last_holders(lease).collect();
    let text = "a pod that requests it gets it at once: cooldown is for random addresses";
    details.push(Fact::stored(Topic::Release, text));
    details.extend(facts.rules());
    let remedies = match is_over && !is_last_resort {
        true => Vec::new(),
        false => vec![facts.release("To make it free now:")],
    };
    Parts { headline, facts: details, agreement: None, remedies }
}

/// Explains an address that a host without a lease uses.
pub(super) fn foreign(facts: &AddressFacts<'_>, lease: &Lease) -> Parts {
    let Some(host) = lease.foreign() else { return resting(facts, lease) };
    let (ip, mac, network) = (facts.ip, host.mac, &host.network);
    let headline = Text::new(format!("{ip} is in use by {mac}, a host without a lease, which first answered "))
        .at(lease.since)
        .then(".");
    let answered = Text::new(format!("{mac} answered on network {network}, to a probe of node {}, ", host.node));
    let mut details = vec![Fact::stored(Topic::Host, answered.at(host.answered))];
    details.push(match lease.left_alone_until(facts.now) {
        Some(until) if lease.is_foreign_now(facts.now) => {
            Fact::stored(Topic::Release, Text::new("nobody gets it; an ADD may probe it again ").at(until))
        }
        _ => Fact::stored(Topic::Release, "its hour is over: an ADD may probe it again, and take it if nobody answers"),
    });
    details.extend(facts.rules());
    let advice = format!(
        "Find {mac} on the link of network {network}. Give that host another address, or add {ip} to the network's \
         `exclude`."
    );
    let release = facts.release("Once that host no longer uses the address, make it free now:");
    Parts { headline, facts: details, agreement: None, remedies: vec![Remedy::advice(advice), release] }
}
