//! A line of `watch -o json`. docs/watch.schema.json describes it.

use std::net::IpAddr;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

use super::sentence;
use crate::ipam::lease::Holder;
use crate::ipam::transition::{Ended, LeaseEvent, Next};
use crate::ops::operator::watch::AddressChange;

/// A change of an address.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Change")]
pub(super) struct Document {
    /// When the watch has seen it (RFC 3339).
    seen: String,
    /// When it happened by the clock of the node that wrote it, if the lease says so (RFC 3339).
    #[serde(skip_serializing_if = "Option::is_none")]
    time: Option<String>,
    /// The routing domain.
    vrf: String,
    /// The address.
    address: IpAddr,
    /// What happened.
    #[schemars(extend("enum" = [
        "assigned", "takenOver", "joined", "left", "released", "reserved", "unreserved", "freed", "foreign", "seenGone",
        "rewritten", "unreadable"
    ]))]
    event: &'static str,
    /// The same as a sentence.
    text: String,
    /// The holders that the event is about: the new ones, or those that released the address.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    holders: Vec<HolderDocument>,
    /// The holders from which the address was taken over.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    from: Vec<HolderDocument>,
    /// For whom the address is or was reserved.
    #[serde(skip_serializing_if = "Option::is_none")]
    reserved: Option<String>,
    /// When its cooldown or reservation ends, if it has an end (RFC 3339).
    #[serde(skip_serializing_if = "Option::is_none")]
    until: Option<String>,
    /// The MAC address of the host that uses the address without a lease.
    #[serde(skip_serializing_if = "Option::is_none")]
    mac: Option<String>,
    /// Where `--since` continues. Of changes that the store passes on together, only the last one shown has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    position: Option<String>,
}

/// A holder.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Holder")]
struct HolderDocument {
    /// The pod's namespace, if the runtime named it.
    #[serde(skip_serializing_if = "Option::is_none")]
    namespace: Option<String>,
    /// The pod, if the runtime named one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pod: Option<String>,
    /// The pod's UID, if the runtime named it.
    #[serde(skip_serializing_if = "Option::is_none")]
    uid: Option<String>,
    /// The node.
    node: String,
    /// The network.
    network: String,
    /// The interface.
    interface: String,
    /// The container's ID.
    container: String,
}

impl Document {
    pub(super) fn new(change: &AddressChange, now: Timestamp) -> Self {
        let AddressChange { vrf, address, event, time, position } = change;
        let (text, _) = sentence(event, now);
        let (mut document, exact) = (Self::empty(*address, event.word()), |time: &Timestamp| format!("{time:.3}"));
        document.seen = exact(&now);
        document.time = time.as_ref().map(exact);
        document.vrf = vrf.to_string();
        document.text = text;
        document.position = position.as_ref().map(ToString::to_string);
        let next = match event {
            LeaseEvent::Assigned { holders, from, .. } => {
                (document.holders, document.from) = (all(holders), all(from));
                None
            }
            LeaseEvent::Joined(holders) | LeaseEvent::Left(holders) | LeaseEvent::SeenGone(holders) => {
                document.holders = all(holders);
                None
            }
            LeaseEvent::Released { holders, next } => {
                document.holders = all(holders);
                Some(next)
            }
            LeaseEvent::Reserved(next) => Some(next),
            LeaseEvent::Freed { ended, next } => {
                match ended {
                    Ended::Reservation(purpose) => document.reserved = Some(purpose.to_string()),
                    Ended::Foreign(host) => document.mac = Some(host.mac.to_string()),
                    Ended::Cooldown | Ended::Unknown => {}
                }
                Some(next)
            }
            LeaseEvent::Foreign { host, .. } => {
                document.mac = Some(host.mac.to_string());
                None
            }
            LeaseEvent::Rewritten(_) | LeaseEvent::Unreadable(_) => None,
        };
        match next {
            Some(Next::Rests(until)) => document.until = until.as_ref().map(exact),
            Some(Next::Reserved { purpose, until }) => {
                document.reserved = Some(purpose.to_string());
                document.until = until.as_ref().map(exact);
            }
            Some(Next::Free | Next::LastResort | Next::Held) | None => {}
        }
        document
    }

    fn empty(address: IpAddr, event: &'static str) -> Self {
        let (seen, vrf, text, time, position) = (String::new(), String::new(), String::new(), None, None);
        let (holders, from, reserved, until, mac) = (Vec::new(), Vec::new(), None, None, None);
        Self { seen, time, vrf, address, event, text, holders, from, reserved, until, mac, position }
    }
}

fn all(holders: &[Holder]) -> Vec<HolderDocument> {
    let document = |holder: &Holder| HolderDocument {
        namespace: holder.pod.namespace.clone(),
        pod: holder.pod.name.clone(),
        uid: holder.pod.uid.clone(),
        node: holder.id.node.to_string(),
        network: holder.id.network.to_string(),
        interface: holder.id.ifname.to_string(),
        container: holder.id.container.to_string(),
    };
    holders.iter().map(document).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test's verdict is a panic")]
mod tests {
    use std::path::Path;

    use schemars::generate::SchemaSettings;

    use super::Document;

    #[test]
    fn the_schema_of_a_change_is_current() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/watch.schema.json");
        let settings = SchemaSettings::draft2020_12().for_serialize();
        let schema = settings.into_generator().into_root_schema_for::<Document>();
        let schema = serde_json::to_string_pretty(&schema).unwrap() + "\n";
        if std::env::var_os("UPDATE_SCHEMA").is_some() {
            std::fs::write(&path, &schema).unwrap();
        }
        let written = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            written == schema,
            "docs/watch.schema.json is not current; write it with UPDATE_SCHEMA=1 cargo test --lib watch::document"
        );
    }
}
