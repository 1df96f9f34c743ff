//! The keys of the store. No other module builds or parses a key.
//!
//! ```text
//! ip/<vrf>/<4|6>/<address>                         the lease of an address
//! rest/<vrf>/<4|6>/<a|z>/<released>/<address>      the cooldown index: a, assigned again afterwards; z, only when nothing else is free
//! at/<node>/<containerID>/<ifname>/<network>       an attachment
//! net/<vrf>/<network>/<digest>                     a network's definition, as an ADD has seen it
//! id/<vrf>/<cluster>/<namespace>/<kind>/<name>/<network>/<ifname>
//!                                                  the last addresses of a stable identity; - for no cluster, and for the
//!                                                  interface of a claim
//! use/<vrf>/<network>                              daily samples of a network's usage; no decision reads them
//! recovery/current                                 a recovery in progress: no node assigns addresses
//! recovery/nodes/<node>                            a node that has written back its attachments
//! recovery/last                                    the last recovery that ended
//! ```
//!
//! Addresses and times have a fixed width, so the order of the keys is the order of addresses and times. Names are
//! checked when they are created ([`super::name`]) and contain no `/`.

use std::net::IpAddr;

use jiff::Timestamp;

use super::address::{self, Family, Span};
use super::name::{AttachmentId, IfName, Name};
use super::reservation::{Owner, OwnerKind};
use crate::store::{Key, KeySpan};

/// The lease of an address.
pub fn lease(vrf: &Name, ip: IpAddr) -> Key {
    Key::new(format!("ip/{vrf}/{}/{}", Family::of(ip).digit(), address::sortable(ip)))
}

/// The leases of a span of addresses.
pub fn leases(vrf: &Name, span: &Span) -> KeySpan {
    KeySpan::from_to(lease(vrf, span.first()), lease(vrf, span.last()).successor())
}

/// All leases, of every vrf and family.
pub fn all_leases() -> KeySpan {
    KeySpan::prefix("ip/")
}

/// All leases of a vrf.
pub fn leases_of_vrf(vrf: &Name) -> KeySpan {
    KeySpan::prefix(&format!("ip/{vrf}/"))
}

/// The vrf and the address of a lease's key.
pub fn read_lease(key: &Key) -> Option<(Name, IpAddr)> {
    let mut parts = key.as_str().strip_prefix("ip/")?.split('/');
    let (vrf, family, ip) = (parts.next()?, parts.next()?, parts.next()?);
    let ip = address::from_sortable(ip)?;
    let whole = parts.next().is_none() && family == String::from(Family::of(ip).digit());
    whole.then_some((Name::new(vrf).ok()?, ip))
}

/// The class of a cooldown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CooldownClass {
    /// Assigned again after its end.
    Normal,
    /// Selected at random only when nothing else is free.
    LastResort,
}

impl CooldownClass {
    fn letter(self) -> char {
        match self {
            Self::Normal => 'a',
            Self::LastResort => 'z',
        }
    }
}

/// The entry of an address in the cooldown index.
pub fn rest(vrf: &Name, class: CooldownClass, released: Timestamp, ip: IpAddr) -> Key {
    // Milliseconds always, so that the width is fixed.
    let (family, class, ip) = (Family::of(ip).digit(), class.letter(), address::sortable(ip));
    Key::new(format!("rest/{vrf}/{family}/{class}/{released:.3}/{ip}"))
}

/// What rests of a family, longest first.
pub fn rests(vrf: &Name, family: Family, class: CooldownClass) -> KeySpan {
    KeySpan::prefix(&format!("rest/{vrf}/{}/{}/", family.digit(), class.letter()))
}

/// All that rests, of every vrf and family.
pub fn all_rests() -> KeySpan {
    KeySpan::prefix("rest/")
}

/// The vrf of a rest's key, when its address was released, and the address.
pub fn read_rest(key: &Key) -> Option<(Name, Timestamp, IpAddr)> {
    let mut parts = key.as_str().strip_prefix("rest/")?.split('/');
    let (vrf, _family, _class) = (parts.next()?, parts.next()?, parts.next()?);
    let (released, ip) = (parts.next()?, parts.next()?);
    let whole = parts.next().is_none();
    whole.then_some((Name::new(vrf).ok()?, released.parse().ok()?, address::from_sortable(ip)?))
}

/// An attachment.
pub fn attachment(id: &AttachmentId) -> Key {
    let AttachmentId { node, container, ifname, network } = id;
    Key::new(format!("at/{node}/{container}/{ifname}/{network}"))
}

/// The attachments of a node.
pub fn attachments_of(node: &Name) -> KeySpan {
    KeySpan::prefix(&format!("at/{node}/"))
}

/// All attachments, of every node.
pub fn all_attachments() -> KeySpan {
    KeySpan::prefix("at/")
}

/// The attachment that a key is about.
pub fn read_attachment(key: &Key) -> Option<AttachmentId> {
    let mut parts = key.as_str().strip_prefix("at/")?.split('/');
    let mut name = || Name::new(parts.next()?).ok();
    let (node, container) = (name()?, name()?);
    let (ifname, network) = (IfName::new(parts.next()?).ok()?, Name::new(parts.next()?).ok()?);
    let whole = parts.next().is_none();
    whole.then_some(AttachmentId { node, container, ifname, network })
}

/// The definition of a network with this digest.
pub fn definition(vrf: &Name, network: &Name, digest: u128) -> Key {
    Key::new(format!("net/{vrf}/{network}/{digest:032x}"))
}

/// What an owner had last on the interface of an attachment. A claim is for one interface, whatever that is called. The
/// cluster is part of it: two of them may share a store, and have namespaces and pods of equal names.
pub fn reservation(vrf: &Name, owner: &Owner, id: &AttachmentId) -> Key {
    let Owner { kind, cluster, namespace, .. } = owner;
    // No name begins with a dash.
    let cluster = cluster.as_deref().unwrap_or("-");
    let (kind, name) = (kind.as_str(), owner.distinct_name());
    let AttachmentId { ifname, network, .. } = id;
    let ifname = if owner.kind == OwnerKind::IpamClaim { "-" } else { ifname.as_str() };
    Key::new(format!("id/{vrf}/{cluster}/{namespace}/{kind}/{name}/{network}/{ifname}"))
}

/// The vrf, the network and the interface of a reservation's key; no interface for a claim.
pub fn read_reservation(key: &Key) -> Option<(Name, Name, Option<IfName>)> {
    let parts: Vec<&str> = key.as_str().strip_prefix("id/")?.split('/').collect();
    let [vrf, _cluster, _namespace, _kind, _name, network, ifname] = parts.as_slice() else { return None };
    let ifname = if *ifname == "-" { None } else { Some(IfName::new(*ifname).ok()?) };
    Some((Name::new(*vrf).ok()?, Name::new(*network).ok()?, ifname))
}

/// All definitions, of every vrf and network.
pub fn all_definitions() -> KeySpan {
    KeySpan::prefix("net/")
}

/// The vrf and the network of a definition's key.
pub fn read_definition(key: &Key) -> Option<(Name, Name)> {
    let mut parts = key.as_str().strip_prefix("net/")?.split('/');
    let (vrf, network, digest) = (parts.next()?, parts.next()?, parts.next()?);
    let whole = parts.next().is_none() && !digest.is_empty();
    whole.then_some((Name::new(vrf).ok()?, Name::new(network).ok()?))
}

/// The daily samples of a network's usage.
pub fn usage_history(vrf: &Name, network: &Name) -> Key {
    Key::new(format!("use/{vrf}/{network}"))
}

/// The samples of all networks.
pub fn all_usage_histories() -> KeySpan {
    KeySpan::prefix("use/")
}

/// The vrf and the network of such a key.
pub fn read_usage_history(key: &Key) -> Option<(Name, Name)> {
    let mut parts = key.as_str().strip_prefix("use/")?.split('/');
    let (vrf, network) = (parts.next()?, parts.next()?);
    let whole = parts.next().is_none();
    whole.then_some((Name::new(vrf).ok()?, Name::new(network).ok()?))
}

/// A recovery that is not over.
pub fn recovery() -> Key {
    Key::new("recovery/current")
}

/// The last recovery that is over.
pub fn last_recovery() -> Key {
    Key::new("recovery/last")
}

/// A node that has written back what runs on it.
pub fn recovered_node(node: &Name) -> Key {
    Key::new(format!("recovery/nodes/{node}"))
}

/// All such nodes.
pub fn recovered_nodes() -> KeySpan {
    KeySpan::prefix("recovery/nodes/")
}

/// The node of such a key.
pub fn read_recovered_node(key: &Key) -> Option<Name> {
    Name::new(key.as_str().strip_prefix("recovery/nodes/")?).ok()
}
