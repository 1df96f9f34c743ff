//! What a pod asks for now, compared with an address that its interface has.

use std::net::IpAddr;

use super::NetworkView;
use crate::cause::chain;
use crate::ipam::address::{self, Family, Span};
use crate::ipam::name::IfName;
use crate::ipam::pod::Pod;
use crate::ipam::request::{Annotations, Element, Key, NETWORKS, selected};

/// What a pod's annotations ask for an interface, with respect to one of its addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// They can't be used, so that an ADD would be refused.
    Unusable(String),
    /// This address, by this annotation.
    This(String),
    /// One of several, among them this one, by this annotation.
    Pool(String),
    /// Another address of the same range, by this annotation.
    Other(String),
    /// Whatever this IPAMClaim has.
    Claim(String),
    /// No particular address of this range.
    Nothing,
}

impl Asked {
    /// What the annotations of a pod ask for one of its interfaces.
    pub(super) fn of(pod: &Pod, ifname: &IfName, ip: IpAddr, network: Option<&NetworkView>) -> Self {
        let read = match Annotations::read(&pod.annotations, ifname) {
            Ok(read) => read,
            Err(error) => return Self::Unusable(chain(&error).to_string()),
        };
        let value = |ifname, field| {
            let key = Key::of(ifname, field).to_string();
            let value = pod.annotations.get(&key).map(|value| value.trim()).filter(|value| !value.is_empty())?;
            Some((value, format!("annotation {key}: {value:?}")))
        };
        if selects(pod, ifname, ip) {
            return Self::This(format!("`ips` of interface {ifname} in annotation {NETWORKS}"));
        }
        let scoped = [value(Some(ifname), "ip"), value(None, "ip")];
        for (list, text) in scoped.into_iter().flatten() {
            match addresses(list, ip) {
                (true, _) => return Self::This(text),
                (false, true) if is_near(list, ip, network) => return Self::Other(text),
                _ => {}
            }
        }
        if let Some((list, text)) = value(Some(ifname), "pool") {
            return if in_pool(list, ip, network) { Self::Pool(text) } else { Self::Other(text) };
        }
        read.claim().map_or(Self::Nothing, |name| Self::Claim(format!("IPAMClaim {}/{name}", pod.namespace)))
    }
}

/// Whether the pod's network selection element of an interface has this address, which Multus passes to the plugin.
fn selects(pod: &Pod, ifname: &IfName, ip: IpAddr) -> bool {
    let elements = pod.annotations.get(NETWORKS).and_then(|text| selected(text.trim())).unwrap_or_default();
    let own = elements.iter().filter(|element| element.interface() == Some(ifname.as_str()));
    own.flat_map(Element::ips).any(|listed| read(listed).any(|listed| listed == ip))
}

/// The addresses of a list; what can't be read is not one.
fn read(list: &str) -> impl Iterator<Item = IpAddr> {
    let address = |item: &str| match item.split_once('/') {
        Some(_) => address::parse_interface(item).ok().map(|net| net.addr()),
        None => address::parse(item).ok(),
    };
    list.split(',').map(str::trim).filter_map(address)
}

/// Whether a list has this address, and whether it has any of its family.
fn addresses(list: &str, ip: IpAddr) -> (bool, bool) {
    (read(list).any(|listed| listed == ip), read(list).any(|listed| Family::of(listed) == Family::of(ip)))
}

/// Whether a list has an address of a subnet that also has this one. Without the network, that is assumed.
fn is_near(list: &str, ip: IpAddr, network: Option<&NetworkView>) -> bool {
    let Some(network) = network else { return true };
    let around = || network.ranges.iter().map(|range| range.range().subnet).filter(|subnet| subnet.contains(&ip));
    read(list).any(|listed| around().any(|subnet| subnet.contains(&listed)))
}

/// Whether the value of a pool annotation, a list or a name, has this address.
fn in_pool(value: &str, ip: IpAddr, network: Option<&NetworkView>) -> bool {
    let listed = || value.split(',').filter_map(|span| span.trim().parse::<Span>().ok()).any(|span| span.contains(ip));
    listed() || network.is_some_and(|network| network.pool_has(value, ip))
}
