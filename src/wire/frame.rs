//! Encodes the frames that probe for an address, and decodes those that show a conflict. Pure: no I/O.
//!
//! | family | probe | conflict |
//! |---|---|---|
//! | IPv4 | an ARP probe, from 0.0.0.0 (RFC 5227, section 2.1.1) | any ARP packet from it; another host's probe |
//! | IPv6 | a neighbour solicitation, from `::` (RFC 4862, section 5.4.2) | its advertisement; another host's probe |
//!
//! Frames are untrusted input. A frame that is too short, contradicts its own lengths or fails the RFC's checks is
//! ignored.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{Claim, Conflict};
use crate::ipam::takeover::Mac;

/// The EtherType of ARP (RFC 826).
pub(super) const ARP: u16 = 0x0806;
/// The EtherType of IPv6 (RFC 2464, section 3).
pub(super) const IPV6: u16 = 0x86dd;

/// ARP for IPv4 on Ethernet: hardware type 1, protocol type 0x0800, addresses of 6 and 4 octets.
const ARP_ON_ETHERNET: [u8; 6] = [0, 1, 8, 0, 6, 4];
const ARP_REQUEST: u16 = 1;
const ARP_REPLY: u16 = 2;

const ICMPV6: u8 = 58;
/// The hop limit of neighbour discovery. A forwarded packet never has it, because routers decrement it (RFC 4861,
/// section 3.1).
const UNROUTED: u8 = 255;
const SOLICITATION: u8 = 135;
const ADVERTISEMENT: u8 = 136;
/// The flag of an advertisement that answers a solicitation.
const SOLICITED: u8 = 0x40;
const SOURCE_LINK_ADDRESS: u8 = 1;
const TARGET_LINK_ADDRESS: u8 = 2;

const BROADCAST: Mac = Mac([0xff; 6]);

/// The EtherType of the probes for this address and of their replies.
pub(super) fn ether_type(ip: IpAddr) -> u16 {
    if ip.is_ipv4() { ARP } else { IPV6 }
}

/// The frame that probes for an address without claiming it.
pub(super) fn probe_frame(own: Mac, ip: IpAddr) -> Vec<u8> {
    match ip {
        IpAddr::V4(ip) => arp_probe(own, ip),
        IpAddr::V6(ip) => solicitation(own, ip),
    }
}

/// The claim of another host in this frame, if it has one.
pub(super) fn conflict_in(frame: &[u8], own: Mac) -> Option<Conflict> {
    let (_destination, rest) = frame.split_first_chunk::<6>()?;
    let (source, rest) = rest.split_first_chunk::<6>()?;
    let (ether_type, payload) = rest.split_first_chunk::<2>()?;
    let source = Mac(*source);
    let conflict = match u16::from_be_bytes(*ether_type) {
        ARP => arp_conflict(payload)?,
        IPV6 => neighbour_conflict(payload, source)?,
        _ => return None,
    };
    // Our own frames may come back from a bridge that reflects them.
    (is_of_one(conflict.mac) && conflict.mac != own && source != own).then_some(conflict)
}

/// The multicast group that a host with this address has joined (RFC 4291, section 2.7.1).
pub(super) fn solicited_node(ip: Ipv6Addr) -> Ipv6Addr {
    let [.., a, b, c] = ip.octets();
    Ipv6Addr::from([0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, a, b, c])
}

/// Whether it can be the address of one interface: neither a group address nor all zeros.
fn is_of_one(mac: Mac) -> bool {
    mac.0[0] & 1 == 0 && mac.0 != [0; 6]
}

fn ethernet(destination: Mac, source: Mac, ether_type: u16) -> Vec<u8> {
    [&destination.0[..], &source.0, &ether_type.to_be_bytes()].concat()
}

fn arp_probe(own: Mac, ip: Ipv4Addr) -> Vec<u8> {
    let mut frame = ethernet(BROADCAST, own, ARP);
    frame.extend(ARP_ON_ETHERNET);
    frame.extend(ARP_REQUEST.to_be_bytes());
    frame.extend(own.0);
    frame.extend(Ipv4Addr::UNSPECIFIED.octets());
    frame.extend([0; 6]);
    frame.extend(ip.octets());
    frame
}

/// The conflict in an ARP packet (RFC 5227, section 2.1.1): a request or reply with a sender address, or a probe.
fn arp_conflict(packet: &[u8]) -> Option<Conflict> {
    let (kind, rest) = packet.split_first_chunk::<6>()?;
    let (operation, rest) = rest.split_first_chunk::<2>()?;
    let (mac, rest) = rest.split_first_chunk::<6>()?;
    let (sender, rest) = rest.split_first_chunk::<4>()?;
    let (_target_mac, rest) = rest.split_first_chunk::<6>()?;
    let (target, _padding) = rest.split_first_chunk::<4>()?;
    let (operation, sender) = (u16::from_be_bytes(*operation), Ipv4Addr::from(*sender));
    let (ip, claim) = match operation {
        ARP_REQUEST if sender.is_unspecified() => (Ipv4Addr::from(*target), Claim::Probing),
        ARP_REQUEST | ARP_REPLY if !sender.is_unspecified() => (sender, Claim::InUse),
        _ => return None,
    };
    (*kind == ARP_ON_ETHERNET).then_some(Conflict { ip: ip.into(), mac: Mac(*mac), claim })
}

fn solicitation(own: Mac, ip: Ipv6Addr) -> Vec<u8> {
    let group = solicited_node(ip);
    let [.., a, b, c, d] = group.octets();
    // RFC 2464, section 7: the MAC address of a group.
    let mut frame = ethernet(Mac([0x33, 0x33, a, b, c, d]), own, IPV6);
    let mut message = [&[SOLICITATION, 0, 0, 0, 0, 0, 0, 0][..], &ip.octets()].concat();
    let checksum = checksum(Ipv6Addr::UNSPECIFIED, group, &message).to_be_bytes();
    message[2..4].copy_from_slice(&checksum);
    frame.extend([0x60, 0, 0, 0]);
    // The length, 24 octets, fits into the low octet.
    frame.extend([0, message.len() as u8, ICMPV6, UNROUTED]);
    frame.extend(Ipv6Addr::UNSPECIFIED.octets());
    frame.extend(group.octets());
    frame.extend(message);
    frame
}

/// The conflict in a neighbour discovery packet (RFC 4862, section 5.4): an advertisement of the address, or a
/// solicitation for it from `::`. The checks are those of RFC 4861, section 7.1.
fn neighbour_conflict(packet: &[u8], link_source: Mac) -> Option<Conflict> {
    let (head, rest) = packet.split_first_chunk::<8>()?;
    let (source, rest) = rest.split_first_chunk::<16>()?;
    let (destination, rest) = rest.split_first_chunk::<16>()?;
    let [version, _, _, _, long, short, ICMPV6, UNROUTED] = *head else { return None };
    // Octets after the message may be padding.
    let message = rest.get(..usize::from(u16::from_be_bytes([long, short])))?;
    let (source, destination) = (Ipv6Addr::from(*source), Ipv6Addr::from(*destination));
    if version >> 4 != 6 || checksum(source, destination, message) != 0 {
        return None;
    }
    let (head, rest) = message.split_first_chunk::<8>()?;
    let (target, options) = rest.split_first_chunk::<16>()?;
    let [kind, 0, _, _, flags, ..] = *head else { return None };
    let target = Ipv6Addr::from(*target);
    let options = link_options(options)?;
    let (mac, claim) = match kind {
        ADVERTISEMENT if destination.is_multicast() && flags & SOLICITED != 0 => return None,
        ADVERTISEMENT => (options.of(TARGET_LINK_ADDRESS).unwrap_or(link_source), Claim::InUse),
        // A solicitation from a unicast address resolves a neighbour and claims nothing.
        SOLICITATION if !source.is_unspecified() || destination != solicited_node(target) => return None,
        SOLICITATION if options.of(SOURCE_LINK_ADDRESS).is_some() => return None,
        SOLICITATION => (link_source, Claim::Probing),
        _ => return None,
    };
    Some(Conflict { ip: target.into(), mac, claim })
}

/// The link-layer address options of a message, each with its kind.
struct LinkOptions(Vec<(u8, Mac)>);

impl LinkOptions {
    fn of(&self, kind: u8) -> Option<Mac> {
        self.0.iter().find(|(other, _)| *other == kind).map(|(_, mac)| *mac)
    }
}

/// Reads the options of a message; `None` if their lengths are invalid (RFC 4861, section 4.6).
fn link_options(mut options: &[u8]) -> Option<LinkOptions> {
    let mut found = LinkOptions(Vec::new());
    while !options.is_empty() {
        let (&[kind, units], _) = options.split_first_chunk::<2>()?;
        // Lengths are in units of eight octets. Zero is invalid.
        let (option, rest) =
            options.split_at_checked(8 * usize::from(units)).filter(|(option, _)| !option.is_empty())?;
        if let Ok([_, _, mac @ ..]) = <[u8; 8]>::try_from(option) {
            found.0.push((kind, Mac(mac)));
        }
        options = rest;
    }
    Some(found)
}

/// The checksum of an ICMPv6 message (RFC 8200, section 8.1). For a message that includes its checksum, 0 if it is
/// correct.
fn checksum(source: Ipv6Addr, destination: Ipv6Addr, message: &[u8]) -> u16 {
    let length = (message.len() as u32).to_be_bytes();
    let parts = [&source.octets()[..], &destination.octets(), &length, &[0, 0, 0, ICMPV6], message];
    let pairs = parts.iter().flat_map(|part| part.chunks(2));
    let pair = |pair: &[u8]| u64::from(u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or_default()]));
    let mut sum: u64 = pairs.map(pair).sum();
    while sum > 0xffff {
        sum = (sum >> 16) + (sum & 0xffff);
    }
    !(sum as u16)
}

#[cfg(test)]
mod tests;
