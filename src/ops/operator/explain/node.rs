//! What this node knows itself: its records of attachments, and host-local's files.

use std::net::IpAddr;

use crate::cause::chain;
use crate::explain::{NetworkView, RecordFinding, RecordView};
use crate::host_local;
use crate::ipam::lease::Holder;
use crate::ipam::name::Name;
use crate::ops::Node;
use crate::ops::containers::gone_reason;
use crate::record::{ReadResult, Record, RecordState};

/// The records of those holders that run on this node.
pub(super) fn records(node: &Node<'_>, holders: &[Holder]) -> Vec<RecordView> {
    let own = holders.iter().filter(|holder| node.records.is_own_name(&holder.id.node));
    own.map(|holder| {
        let (state, gone) = match node.records.peek(&holder.id) {
            Ok(ReadResult::Missing) => (RecordFinding::Missing, None),
            Ok(ReadResult::Record(record)) => {
                let gone = gone_reason(&record, &node.began.boot).map(|reason| reason.to_string());
                (state(&record), gone)
            }
            Ok(ReadResult::Unreadable { why, .. }) => (RecordFinding::Unreadable(chain(&why).to_string()), None),
            Err(error) => (RecordFinding::Unreadable(chain(&error).to_string()), None),
        };
        RecordView { id: holder.id.clone(), state, gone }
    })
    .collect()
}

fn state(record: &Record) -> RecordFinding {
    let held = record.held.iter().flat_map(|held| &held.attachment.addresses);
    match record.state {
        RecordState::Asked => RecordFinding::Asked,
        RecordState::Held => RecordFinding::Held(held.map(|assigned| assigned.address.addr()).collect()),
        RecordState::Releasing => RecordFinding::Releasing,
    }
}

/// host-local's file of an address, in the folders of the networks that have it. What can't be read is skipped: only
/// the ADD of this network has to know for certain.
pub(super) fn host_local(networks: &[NetworkView], vrf: &Name, ip: IpAddr) -> Option<String> {
    let around = networks.iter().filter(|network| network.vrf == *vrf && network.has(ip));
    let mut folders = around.flat_map(|network| &network.host_local);
    folders.find_map(|folder| {
        let file = host_local::held(std::slice::from_ref(folder)).ok()?.remove(&ip)?;
        Some(file.display().to_string())
    })
}
