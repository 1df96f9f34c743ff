//! Explains one address.

use std::net::IpAddr;

use jiff::Timestamp;

use super::record::RecordView;
use super::report::Agreement;
use super::{
    Before, Commands, Explanation, Fact, NetworkView, NextAdd, NodeAnswer, PodAnswer, Remedy, State, Text, Topic, free,
    held, unheld,
};
use crate::cause::chain;
use crate::ipam::lease::{Attachment, Lease, LeaseState, Stored, UnreadableValue};
use crate::ipam::name::{AttachmentId, Name};

/// What was found out about an address.
#[derive(Clone, Debug)]
pub struct AddressFacts<'a> {
    /// Its routing domain.
    pub vrf: Name,
    /// The address.
    pub ip: IpAddr,
    /// Its lease, if it has one.
    pub lease: Option<Stored<Lease>>,
    /// The stored attachments of its holders; `None` for a holder without one.
    pub attachments: Vec<(AttachmentId, Option<Stored<Attachment>>)>,
    /// The networks whose subnets have it.
    pub networks: Vec<&'a NetworkView>,
    /// What the API server says about the pods of its holders.
    pub pods: Vec<PodAnswer>,
    /// What the API server says about the nodes of those holders whose pods it has.
    pub nodes: Vec<NodeAnswer>,
    /// Whether its owner exists, according to the API server; `None` without an owner.
    pub owner_exists: Option<Result<bool, String>>,
    /// What this node has recorded of its holders. Other nodes' holders are not in it.
    pub records: Vec<RecordView>,
    /// What the next ADD of its holder would do.
    pub next: Option<NextAdd>,
    /// Who had it before, if that was searched for.
    pub before: Option<Before>,
    /// host-local's file of the address on this node.
    pub host_local: Option<String>,
    /// Now.
    pub now: Timestamp,
    /// Builds the commands of remedies.
    pub commands: &'a Commands,
}

/// The parts of an explanation that depend on the state.
pub(super) struct Parts {
    pub headline: Text,
    pub facts: Vec<Fact>,
    pub agreement: Option<Agreement>,
    pub remedies: Vec<Remedy>,
}

/// Explains an address.
pub fn explain_address(facts: &AddressFacts<'_>) -> Explanation {
    let (state, parts) = match &facts.lease {
        None => (State::Free, free::free(facts)),
        Some(Stored::Unreadable(why)) => (State::Unreadable, unreadable(facts, why)),
        Some(Stored::Known(lease)) => match lease.state() {
            LeaseState::Held => (State::Held, held::held(facts, lease)),
            LeaseState::Reserved => (State::Reserved, unheld::reserved(facts, lease)),
            LeaseState::Resting => (State::Resting, unheld::resting(facts, lease)),
            LeaseState::Foreign => (State::Foreign, unheld::foreign(facts, lease)),
        },
    };
    let Parts { headline, facts: details, agreement, remedies } = parts;
    Explanation {
        subject: facts.ip.to_string(),
        address: Some(facts.ip),
        vrf: Some(facts.vrf.clone()),
        state,
        headline,
        facts: details,
        agreement,
        next: facts.next.clone(),
        remedies,
        before: facts.before.clone(),
        lease: facts.lease.as_ref().and_then(Stored::as_known).cloned(),
        parts: Vec::new(),
    }
}

impl AddressFacts<'_> {
    /// Frees the address, whatever its state.
    pub(super) fn release(&self, text: impl Into<Text>) -> Remedy {
        let words = ["release", &self.ip.to_string(), "--yes"];
        Remedy::run(text, self.commands.kube_ipam(&words, Some(&self.vrf)))
    }

    /// The rules of all networks that have the address.
    pub(super) fn rules(&self) -> Vec<Fact> {
        self.networks.iter().flat_map(|network| network.facts(self.ip)).collect()
    }

    /// The network of this name.
    pub(super) fn network(&self, name: &Name) -> Option<&NetworkView> {
        self.networks.iter().copied().find(|network| network.name == *name)
    }
}

fn unreadable(facts: &AddressFacts<'_>, why: &UnreadableValue) -> Parts {
    let headline = Text::new(format!("{} counts as held, because its lease can't be read.", facts.ip));
    let remedy = match why {
        UnreadableValue::Newer(_) => {
            Remedy::advice("Run this command with the newer kube-ipam, which other nodes have. It can read the lease.")
        }
        UnreadableValue::Corrupt(_) => facts.release("If you know that nobody uses the address, free it:"),
    };
    let fact = Fact::stored(Topic::Store, format!("the lease can't be read: {}", chain(why)));
    Parts { headline, facts: vec![fact], agreement: None, remedies: vec![remedy] }
}
