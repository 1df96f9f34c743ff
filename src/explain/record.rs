//! What a node has recorded of a holder of an address.

use std::net::IpAddr;

use super::address::AddressFacts;
use super::{Fact, Remedy, Source, Topic};
use crate::ipam::name::AttachmentId;

/// A node's record of an attachment. The room `record` has its type; this is what an explanation needs of it.
#[derive(Clone, Debug, PartialEq)]
pub struct RecordView {
    /// The attachment.
    pub id: AttachmentId,
    /// Its state.
    pub state: RecordFinding,
    /// Why its container is certainly gone, if it is.
    pub gone: Option<String>,
}

/// The state of an attachment, as its node has recorded it.
#[derive(Clone, Debug, PartialEq)]
pub enum RecordFinding {
    /// It holds these addresses.
    Held(Vec<IpAddr>),
    /// An ADD has asked for addresses, with an unknown outcome.
    Asked,
    /// A DEL could not release it; a later call has to.
    Releasing,
    /// There is no record.
    Missing,
    /// The record can't be read, for this reason.
    Unreadable(String),
}

impl RecordView {
    /// The record as a fact about an address.
    pub(super) fn fact(&self, ip: IpAddr) -> Fact {
        let node = &self.id.node;
        let text = match &self.state {
            RecordFinding::Held(held) if held.contains(&ip) => format!("node {node} has recorded the address for it"),
            RecordFinding::Held(_) => format!("node {node} has recorded other addresses for it"),
            RecordFinding::Asked => {
                format!("node {node} has recorded that an ADD asked for it, but not how that ended")
            }
            RecordFinding::Releasing => {
                format!("a DEL on node {node} could not reach the store, and deferred the release")
            }
            RecordFinding::Missing => format!("node {node} has no record of it"),
            RecordFinding::Unreadable(why) => format!("the record of node {node} can't be read: {why}"),
        };
        let gone = self.gone.as_ref().map(|why| format!("; its container has {why}")).unwrap_or_default();
        Fact::new(Topic::Record, text + &gone, Source::NodeFile(format!("record of node {node}")))
    }

    /// How the deferred release is completed.
    pub(super) fn remedy(&self, facts: &AddressFacts<'_>) -> Option<Remedy> {
        let text = "The next calls on this node complete the deferred release. To complete it now:";
        let command = || facts.commands.kube_ipam(&["sweep", "--marked"], None);
        (self.state == RecordFinding::Releasing).then(|| Remedy::run(text, command()))
    }
}
