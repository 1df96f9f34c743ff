//! Explains an address that has a holder: by which decision, whether the API server agrees, and what to do if not.

use super::address::{AddressFacts, Parts};
use super::asked::Asked;
use super::node;
use super::report::{Agreement, Verdict};
use super::standing::{Standing, ended};
use super::text::duration;
use super::{Fact, Remedy, Text, Topic, by_hand};
use crate::cause::chain;
use crate::ipam::lease::{AllocationKind, Attachment, Holder, Lease, OnRelease, Stored};
use crate::ipam::name::AttachmentId;
use crate::ipam::pod::Pod;
use crate::ipam::reservation::OwnerKind;

/// A holder with what is known of its pod.
struct Judged<'a> {
    holder: &'a Holder,
    standing: Standing<'a>,
    /// What its pod asks for now, if it is alive.
    asked: Option<Asked>,
}

/// Explains a held address.
pub(super) fn held(facts: &AddressFacts<'_>, lease: &Lease) -> Parts {
    let judged: Vec<Judged<'_>> = lease.holders.iter().map(|holder| judge(facts, holder)).collect();
    let oddities: Vec<String> =
        facts.attachments.iter().filter_map(|(id, found)| oddity(facts, id, found.as_ref())).collect();
    let mut details = Vec::new();
    for Judged { holder, standing, .. } in &judged {
        details.push(Fact::stored(Topic::Holder, holder.in_full()));
        details.push(standing.fact(holder));
        details.extend(node::fact(facts, holder));
        details
            .extend(facts.records.iter().filter(|record| record.id == holder.id).map(|record| record.fact(facts.ip)));
    }
    details.push(decision(lease, &judged));
    details
        .extend(lease.owner.as_ref().map(|owner| Fact::stored(Topic::Owner, format!("{owner} (UID {})", owner.uid))));
    details.extend(lease.manual.iter().flat_map(|manual| by_hand::said(lease, manual, facts)));
    details.push(Fact::stored(Topic::Release, on_release(lease)));
    if let Some(seen) = &lease.seen_gone {
        details.push(Fact::stored(Topic::Pod, Text::new("an ADD that found no free address saw it gone ").at(seen.at)));
    }
    details.extend(oddities.iter().map(|text| Fact::stored(Topic::Store, text.clone())));
    if facts.networks.is_empty() {
        details.push(super::free::no_network(facts.ip));
    }
    let verdicts = judged.iter().map(|judged| judged.verdict(lease)).chain(disagreements(&oddities));
    Parts {
        headline: headline(facts, lease, &judged),
        facts: details,
        agreement: Some(Agreement::worst(verdicts)),
        remedies: remedies(facts, &judged, !oddities.is_empty() || lease.holders.is_empty()),
    }
}

fn judge<'a>(facts: &'a AddressFacts<'_>, holder: &'a Holder) -> Judged<'a> {
    let standing = Standing::of(holder, &facts.pods);
    let asked = match &standing {
        Standing::Alive(state) => {
            Some(Asked::of(&state.pod, &holder.id.ifname, facts.ip, facts.network(&holder.id.network)))
        }
        _ => None,
    };
    Judged { holder, standing, asked }
}

fn headline(facts: &AddressFacts<'_>, lease: &Lease, judged: &[Judged<'_>]) -> Text {
    let ip = facts.ip;
    let Some((first, others)) = lease.holders.split_first() else {
        return Text::new(format!("{ip} counts as held, but its lease names no holder."));
    };
    let held = match first.pod.label() {
        Some(pod) => format!("{ip} has been held by pod {pod}"),
        None => format!("{ip} has been held by container {}", first.id.container),
    };
    let others: String = others.iter().map(|holder| format!(" and by {}", name(holder))).collect();
    let text = Text::new(held + &others + " ").lasting(lease.since);
    match judged {
        [Judged { standing: Standing::Gone(reason), .. }] => text.then(format!(", but that pod {}.", ended(reason))),
        [Judged { holder, .. }] => match node::headline(facts, holder) {
            Some(lost) => text.join(lost),
            None => text.then("."),
        },
        _ => text.then("."),
    }
}

impl Judged<'_> {
    /// Whether the API server says the same about this holder as the store.
    fn verdict(&self, lease: &Lease) -> (Verdict, String) {
        let pod = name(self.holder);
        match (&self.standing, &self.asked) {
            (Standing::Gone(reason), _) => {
                (Verdict::Disagree, format!("{pod} {}, and still holds the address", ended(reason)))
            }
            (Standing::Unknown(why), _) => (Verdict::Unknown, why.clone()),
            (_, Some(Asked::Other(text))) => {
                (Verdict::Disagree, format!("{pod} now asks for another address, by {text}"))
            }
            (_, Some(Asked::Unusable(why))) => {
                (Verdict::Disagree, format!("the annotations of {pod} can't be used: {why}"))
            }
            (_, Some(Asked::This(text))) if lease.kind == AllocationKind::Dynamic => {
                (Verdict::Disagree, format!("{pod} asks for the address by {text}, but has it by chance"))
            }
            (Standing::Alive(_), _) => (Verdict::Agree, String::new()),
        }
    }
}

fn disagreements(oddities: &[String]) -> impl Iterator<Item = (Verdict, String)> {
    oddities.iter().map(|text| (Verdict::Disagree, text.clone()))
}

/// The holder in two words.
pub(super) fn name(holder: &Holder) -> String {
    match holder.pod.label() {
        Some(pod) => format!("pod {pod}"),
        None => format!("container {}", holder.id.container),
    }
}

/// How the address was selected: as the lease says, and for a requested one as the pod's annotations say now.
fn decision(lease: &Lease, judged: &[Judged<'_>]) -> Fact {
    let fact = match (lease.kind, &lease.owner) {
        (AllocationKind::Dynamic, _) => Fact::stored(Topic::Decision, "drawn at random"),
        (AllocationKind::Fixed, _) => requested(judged),
        (AllocationKind::Sticky, Some(owner)) if owner.kind == OwnerKind::IpamClaim => {
            Fact::stored(Topic::Decision, format!("kept for {owner}"))
        }
        (AllocationKind::Sticky, Some(owner)) => {
            Fact::stored(Topic::Decision, format!("kept for {owner}, because the network or the pod is sticky"))
        }
        (AllocationKind::Sticky, None) => {
            Fact::stored(Topic::Decision, "kept for an owner that the lease does not name")
        }
    };
    match &lease.held_for {
        Some(owner) => {
            let text = fact.text.then(format!("; while it is held, {owner} has no other address"));
            Fact { text, ..fact }
        }
        None => fact,
    }
}

/// By what an address was requested. The lease does not say it.
fn requested(judged: &[Judged<'_>]) -> Fact {
    match judged.iter().find_map(|judged| judged.asked.as_ref()) {
        Some(Asked::This(text)) => Fact::from_api(Topic::Decision, format!("requested, as now by {text}")),
        Some(Asked::Pool(text)) => Fact::from_api(Topic::Decision, format!("taken from a pool, as now by {text}")),
        Some(Asked::Claim(claim)) => Fact::from_api(Topic::Decision, format!("requested, probably by {claim}")),
        Some(Asked::Nothing | Asked::Other(_)) => {
            let text = "requested, but not by the pod's present annotations: by the runtime, or by an annotation that \
                        was changed since";
            Fact::from_api(Topic::Decision, text)
        }
        Some(Asked::Unusable(_)) | None => {
            let text = "requested by an annotation, a claim or the runtime; by which is not known";
            Fact::stored(Topic::Decision, text)
        }
    }
}

/// What happens to the address when its last holder releases it.
fn on_release(lease: &Lease) -> String {
    let owner = || lease.owner.as_ref().map_or_else(|| "its owner".to_owned(), ToString::to_string);
    match lease.on_release {
        OnRelease::Forget => "when it is released, it is free at once".to_owned(),
        OnRelease::Rest(seconds) => format!("when it is released, it is in cooldown for {}", duration(seconds)),
        OnRelease::Last => "when it is released, it is drawn at random only when nothing else is free".to_owned(),
        OnRelease::Keep(_) if lease.manual.is_some() => "when it is released, it stays reserved by hand".to_owned(),
        OnRelease::Keep(None) => format!("when it is released, it stays reserved for {} while that exists", owner()),
        OnRelease::Keep(Some(seconds)) => {
            format!("when it is released, it stays reserved for {} for {}", owner(), duration(seconds))
        }
    }
}

/// How a holder's attachment contradicts the lease. No call leaves that behind.
fn oddity(facts: &AddressFacts<'_>, id: &AttachmentId, found: Option<&Stored<Attachment>>) -> Option<String> {
    match found {
        None => Some(format!("the store has no entry of {id}, so no DEL releases the address")),
        Some(Stored::Unreadable(why)) => Some(format!("the entry of {id} can't be read: {}", chain(why))),
        Some(Stored::Known(attachment)) => {
            let lists = attachment.addresses.iter().any(|assigned| assigned.address.addr() == facts.ip);
            (!lists || attachment.vrf != facts.vrf)
                .then(|| format!("the entry of {id} does not list the address, so no DEL releases it"))
        }
    }
}

fn remedies(facts: &AddressFacts<'_>, judged: &[Judged<'_>], is_odd: bool) -> Vec<Remedy> {
    let mut remedies: Vec<Remedy> = facts.records.iter().filter_map(|record| record.remedy(facts)).collect();
    let is_gone = |judged: &Judged<'_>| matches!(judged.standing, Standing::Gone(_));
    if judged.iter().any(is_gone) {
        let text = "Its DEL never came. A pod that requests the address gets it; a sweep frees it for all. See what a \
                    sweep would free, then run it without --dry-run:";
        remedies.push(Remedy::run(text, facts.commands.sweep(&["--dry-run"])));
    }
    for Judged { holder, standing, asked } in judged {
        let Standing::Alive(state) = standing else { continue };
        let of_lost_node = node::remedies(facts, holder, &state.pod);
        if !of_lost_node.is_empty() {
            remedies.extend(of_lost_node);
            continue;
        }
        match asked {
            Some(Asked::Other(_)) => remedies.push(delete(
                facts,
                &state.pod,
                format!(
                    "Its interface keeps {} until it is deleted; its successor gets what it asks for now:",
                    facts.ip
                ),
            )),
            Some(Asked::Unusable(_)) => remedies.push(Remedy::advice(
                "Correct the annotation before the pod's sandbox is made anew: until then, every ADD is refused.",
            )),
            _ if state.deleted.is_some() => {
                let text = "The address is free once its node reports the pod's end. If it has been Terminating for long, \
                            look at the node:";
                let node = holder.id.node.as_str();
                remedies.push(Remedy::run(text, facts.commands.kubectl(&["get", "node", node])));
            }
            _ => {}
        }
    }
    if is_odd {
        remedies.push(facts.release("If you know that its holder is gone, free it:"));
    }
    remedies
}

fn delete(facts: &AddressFacts<'_>, pod: &Pod, text: String) -> Remedy {
    let words = ["delete", "pod", &pod.name, "--namespace", &pod.namespace];
    Remedy::run(text, facts.commands.kubectl(&words))
}
