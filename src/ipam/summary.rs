//! What a person wants to see of a stored entry, in short texts. A store that others can look into shows them beside
//! the value, and never reads them: the key and the value remain the only truth.
//!
//! | field | of which entries |
//! |---|---|
//! | `address`, `addresses` | leases and cooldowns; attachments and reservations |
//! | `state` | leases, attachments: as in `kube-ipam list`, and whether an attachment still has all of its addresses |
//! | `network`, `vrf` | all but recoveries |
//! | `namespace`, `pod`, `node`, `interface` | leases and attachments, by their holder; the last one of a lease in cooldown |
//! | `owner` | leases and reservations of a stable identity, or the one for which an operator keeps an address |
//! | `since` | leases: when the state began; cooldowns: when the address was released |
//! | `note` | leases: an operator's reason, or the MAC address of a foreign host |
//! | `subnets` | definitions of networks |

use std::net::IpAddr;

use super::keys;
use super::lease::{Attachment, Definition, Holder, Lease, RestEntry, Stored};
use super::reservation::Reservation;
use crate::store::{Key, Summary};

/// The summary of an entry. A value that this version can't read has what its key says.
pub fn summarize(key: &Key, value: &[u8]) -> Summary {
    let mut summary = Summary::new();
    if let Some((vrf, ip)) = keys::read_lease(key) {
        summary.insert("vrf", vrf.to_string());
        summary.insert("address", ip.to_string());
        if let Some(lease) = Stored::read(value).known() {
            show_lease(&lease, &mut summary);
        }
    } else if let Some((vrf, released, ip)) = keys::read_rest(key) {
        summary.insert("vrf", vrf.to_string());
        summary.insert("address", ip.to_string());
        summary.insert("since", released.to_string());
        if let Some(RestEntry { rest, .. }) = Stored::read(value).known() {
            let cooldown = if rest.last { "last resort".to_owned() } else { format!("{}s", rest.seconds) };
            summary.insert("cooldown", cooldown);
        }
    } else if let Some(id) = keys::read_attachment(key) {
        summary.insert("node", id.node.to_string());
        summary.insert("interface", id.ifname.to_string());
        summary.insert("network", id.network.to_string());
        if let Some(attachment) = Stored::read(value).known() {
            show_attachment(&attachment, &mut summary);
        }
    } else if let Some((vrf, network, ifname)) = keys::read_reservation(key) {
        summary.insert("vrf", vrf.to_string());
        summary.insert("network", network.to_string());
        summary.extend(ifname.map(|ifname| ("interface", ifname.to_string())));
        if let Some(reservation) = Stored::<Reservation>::read(value).known() {
            summary.insert("namespace", reservation.owner.namespace.to_string());
            summary.insert("owner", reservation.owner.to_string());
            summary.insert("addresses", joined(&reservation.addresses));
        }
    } else if let Some((vrf, network)) = keys::read_definition(key) {
        summary.insert("vrf", vrf.to_string());
        summary.insert("network", network.to_string());
        if let Some(definition) = Stored::<Definition>::read(value).known() {
            let subnets: Vec<_> = definition.sets.iter().flatten().map(|range| range.subnet).collect();
            summary.insert("subnets", joined(&subnets));
        }
    } else if let Some((vrf, network)) = keys::read_usage_history(key) {
        summary.insert("vrf", vrf.to_string());
        summary.insert("network", network.to_string());
    }
    summary
}

fn show_lease(lease: &Lease, summary: &mut Summary) {
    summary.insert("state", lease.state().word().to_owned());
    summary.insert("since", lease.state_since().to_string());
    if let Some(holder) = lease.holders.last() {
        show_holder(holder, summary);
    }
    if let Some(owner) = lease.owner.as_ref().or(lease.held_for.as_ref()) {
        summary.insert("owner", owner.to_string());
    }
    if let Some(foreign) = lease.foreign() {
        summary.insert("network", foreign.network.to_string());
        summary.insert("node", foreign.node.to_string());
        summary.insert("note", foreign.mac.to_string());
    }
    if let Some(manual) = &lease.manual {
        summary.extend(manual.beneficiary.as_ref().map(|object| ("owner", object.to_string())));
        summary.insert("note", manual.reason.to_string());
    }
}

fn show_attachment(attachment: &Attachment, summary: &mut Summary) {
    let state = match attachment {
        fence if fence.is_only_closed() => "fence",
        attachment if attachment.lost.is_empty() => "complete",
        _ => "incomplete",
    };
    summary.insert("state", state.to_owned());
    summary.insert("vrf", attachment.vrf.to_string());
    let addresses: Vec<IpAddr> = attachment.addresses.iter().map(|assigned| assigned.address.addr()).collect();
    if !addresses.is_empty() {
        summary.insert("addresses", joined(&addresses));
    }
    if let Some(holder) = &attachment.holder {
        show_holder(holder, summary);
    }
}

fn show_holder(holder: &Holder, summary: &mut Summary) {
    summary.insert("network", holder.id.network.to_string());
    summary.insert("node", holder.id.node.to_string());
    summary.insert("interface", holder.id.ifname.to_string());
    summary.extend(holder.pod.namespace.iter().map(|namespace| ("namespace", namespace.clone())));
    summary.extend(holder.pod.name.iter().map(|pod| ("pod", pod.clone())));
}

fn joined<T: ToString>(parts: &[T]) -> String {
    parts.iter().map(T::to_string).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test's verdict is a panic")]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    /// The fields of a summary, as `name=text`.
    fn shown(key: &str, value: &[u8]) -> Vec<String> {
        let summary = summarize(&Key::new(key), value);
        summary.into_iter().map(|(name, text)| format!("{name}={text}")).collect()
    }

    /// A stored value of an earlier release.
    fn stored(name: &str) -> Vec<u8> {
        fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/ipam/lease/corpus").join(name)).unwrap()
    }

    #[test]
    fn each_kind_of_entry_shows_what_it_is_about() {
        let lease = "ip/default/4/010.188.000.218";
        let holder = ["interface=net1", "namespace=db", "network=db-net", "node=n1"];
        let cases: &[(&str, &str, &[&str])] = &[
            (
                lease,
                "v1-lease-dynamic.json",
                &[&["address=10.188.0.218"][..], &holder, &["pod=postgres-0", "since=2023-11-14T22:13:20.123456789Z"]]
                    .concat(),
            ),
            (lease, "v1-lease-resting.json", &["pod=postgres-0", "since=2023-11-15T00:00:00Z", "state=resting"]),
            (lease, "v1-lease-reserved.json", &["owner=StatefulSet pod db/postgres-0", "state=reserved"]),
            (lease, "v1-lease-held-for-its-owner.json", &["owner=StatefulSet pod db/postgres-0", "state=held"]),
            (lease, "v1-lease-foreign.json", &["network=lan", "node=worker-2", "note=52:54:00:8d:31:0a"]),
            (lease, "v1-lease-reserved-by-hand.json", &["note=printer in room 12", "state=reserved"]),
            (lease, "v1-lease-reserved-by-hand-held.json", &["owner=StatefulSet db/pg", "pod=pg-0", "state=held"]),
            ("ip/red/6/fd00:0000:0000:0000:0000:0000:0000:0218", "v1-rest.json", &["address=fd00::218", "vrf=red"]),
            (
                "rest/default/4/a/2023-11-15T00:00:00.000Z/010.188.000.218",
                "v1-rest.json",
                &["address=10.188.0.218", "cooldown=30s", "since=2023-11-15T00:00:00Z", "vrf=default"],
            ),
            (
                "rest/default/4/z/2023-11-15T00:00:00.000Z/010.188.000.218",
                "v1-rest-last.json",
                &["cooldown=last resort"],
            ),
            (
                "at/n1/0a1b2c/net1/db-net",
                "v1-attachment.json",
                &[&["addresses=10.188.0.218, fd00::218"][..], &holder, &["pod=postgres-0", "state=complete"]].concat(),
            ),
            ("at/n1/0a1b2c/net1/db-net", "v1-attachment-closed.json", &["node=n1", "state=fence", "vrf=default"]),
            (
                "id/default/3d0e/db/StatefulSet/postgres-0/db-net/net1",
                "v1-reservation.json",
                &["addresses=10.188.0.218, fd00::218", "interface=net1", "owner=StatefulSet pod db/postgres-0"],
            ),
            (
                "id/default/3d0e/db/IPAMClaim/vm.net/db-net/-",
                "v1-reservation.json",
                &["namespace=db", "network=db-net", "vrf=default"],
            ),
            ("net/default/db-net/00ff", "v1-definition.json", &["network=db-net", "subnets=10.188.0.0/16, fd00::/64"]),
            ("use/default/db-net", "v1-rest.json", &["network=db-net", "vrf=default"]),
            ("recovery/current", "v1-rest.json", &[]),
        ];
        for (key, value, expected) in cases {
            let shown = shown(key, &stored(value));
            for field in *expected {
                assert!(shown.iter().any(|one| one == field), "{key}, {value}: no {field} in {shown:?}");
            }
        }
    }

    #[test]
    fn a_value_that_cannot_be_read_has_what_its_key_says() {
        let expected = ["address=10.188.0.218", "vrf=default"];
        assert_eq!(shown("ip/default/4/010.188.000.218", br#"{"v":9}"#), expected);
        assert_eq!(shown("ip/default/4/010.188.000.218", b"\0"), expected);
        assert_eq!(shown("other/key", b"{}"), [""; 0]);
        assert_eq!(shown("ip/default/4", b"{}"), [""; 0]);
    }
}
