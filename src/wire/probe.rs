//! Probes on one interface of the calling thread's namespace.

use std::net::{IpAddr, Ipv6Addr};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::io;
use rustix::net::{AddressFamily, SocketFlags, SocketType};

use super::frame::{conflict_in, ether_type, probe_frame, solicited_node};
use super::link::{Link, Links};
use super::packet::PacketSocket;
use super::{Claim, Conflict, ProbeError, wait_readable};
use crate::deadline::Deadline;
use crate::ipam::takeover::Mac;

/// How long an interface that was down may take until it can send: half of the time of a probe.
const LINK_UP_TIMEOUT: Duration = Duration::from_millis(150);
/// PROBE_NUM of RFC 5227. The first frame may be lost while a switch learns the port.
const PROBE_COUNT: u32 = 3;

/// RFC 5227 waits one to two seconds between probes, which would delay the start of a pod too long.
const PROBE_INTERVAL: Duration = Duration::from_millis(40);
/// In bytes: longer than any frame that shows a conflict. Longer frames are truncated.
const BUFFER_SIZE: usize = 2048;

/// Probes for all of these addresses at once, until the deadline or a conflict for each of them. An interface that is
/// down is set up during the probe.
pub(super) fn probe_interface(
    ifname: &str,
    addresses: &[IpAddr],
    deadline: Deadline,
) -> Result<Vec<Conflict>, ProbeError> {
    let mut links = Links::open().map_err(failed("read the interface", ifname))?;
    let link = links.find_link(ifname).map_err(failed("read the interface", ifname))?.ok_or_else(missing(ifname))?;
    let own = own_mac(ifname, &link)?;
    if link.is_up {
        return probe_when_running(&mut links, ifname, own, addresses, deadline);
    }
    links.set_up(&link, true).map_err(failed("set up", ifname))?;
    let result = probe_when_running(&mut links, ifname, own, addresses, deadline);
    // The main plugin expects the interface to be down, as it left it.
    if let Err(error) = links.set_up(&link, false) {
        tracing::warn!(interface = ifname, %error, "the interface was set up for a probe and could not be set down again");
    }
    result
}

fn failed(action: &'static str, ifname: &str) -> impl FnOnce(std::io::Error) -> ProbeError {
    move |error| ProbeError::System { action, ifname: ifname.to_owned(), error }
}

fn missing(ifname: &str) -> impl FnOnce() -> ProbeError {
    move || ProbeError::NoInterface { ifname: ifname.to_owned() }
}

fn probe_when_running(
    links: &mut Links,
    ifname: &str,
    own: Mac,
    addresses: &[IpAddr],
    deadline: Deadline,
) -> Result<Vec<Conflict>, ProbeError> {
    let link = links
        .wait_until_running(ifname, deadline.at_most(LINK_UP_TIMEOUT))
        .map_err(failed("read the interface", ifname))?;
    let link = link.ok_or_else(missing(ifname))?;
    if !link.can_send {
        return Err(ProbeError::NoCarrier { ifname: ifname.to_owned() });
    }
    probe_all(link.index, own, addresses, deadline).map_err(failed("probe on", ifname))
}

/// The interface's MAC address, if it can resolve neighbours.
fn own_mac(ifname: &str, link: &Link) -> Result<Mac, ProbeError> {
    let ifname = || ifname.to_owned();
    if matches!(link.kind.as_deref(), Some("ipvlan" | "ipvtap")) {
        return Err(ProbeError::SharedMac { ifname: ifname() });
    }
    link.mac.filter(|_| link.resolves).ok_or_else(|| ProbeError::NoNeighbours { ifname: ifname() })
}

fn probe_all(index: u32, own: Mac, addresses: &[IpAddr], deadline: Deadline) -> std::io::Result<Vec<Conflict>> {
    let _groups = join_groups(index, addresses)?;
    let mut sockets = Vec::new();
    for family in [IpAddr::is_ipv4, IpAddr::is_ipv6] {
        let of_family: Vec<IpAddr> = addresses.iter().copied().filter(family).collect();
        if let Some(first) = of_family.first() {
            sockets.push((PacketSocket::bind(index, ether_type(*first))?, of_family));
        }
    }
    let fds: Vec<&PacketSocket> = sockets.iter().map(|(socket, _)| socket).collect();
    let mut buffer = [0; BUFFER_SIZE];
    let (mut sent, mut next) = (0, Instant::now());
    let mut conflicts = Vec::new();
    while !deadline.has_passed() && conflicts.len() < addresses.len() {
        if sent < PROBE_COUNT && next <= Instant::now() {
            for (socket, ips) in &sockets {
                ips.iter().try_for_each(|ip| socket.send(&probe_frame(own, *ip)))?;
            }
            (sent, next) = (sent + 1, Instant::now() + PROBE_INTERVAL);
        }
        let wake = if sent < PROBE_COUNT {
            deadline.at_most(next.saturating_duration_since(Instant::now()))
        } else {
            deadline
        };
        wait_readable(&fds, wake)?;
        // One frame of each socket at a time, so that a flood of frames can't keep the deadline from being checked.
        for socket in &fds {
            let conflict = socket.receive(&mut buffer)?.and_then(|frame| conflict_in(frame, own));
            if let Some(conflict) = conflict.filter(|conflict| addresses.contains(&conflict.ip)) {
                note(&mut conflicts, conflict);
            }
        }
    }
    Ok(conflicts)
}

/// Keeps one conflict for each address. A host that uses the address takes precedence over one that probes for it.
fn note(conflicts: &mut Vec<Conflict>, conflict: Conflict) {
    match conflicts.iter_mut().find(|known| known.ip == conflict.ip) {
        Some(known) if known.claim == Claim::Probing => *known = conflict,
        Some(_) => {}
        None => conflicts.push(conflict),
    }
}

/// Joins the multicast groups of the replies and of other hosts' solicitations (RFC 4862, section 5.4.2) until the
/// returned socket is closed. Otherwise an interface that filters by group, such as a macvlan, would drop these frames.
fn join_groups(index: u32, addresses: &[IpAddr]) -> io::Result<Option<OwnedFd>> {
    let all_nodes = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
    let mut groups: Vec<Ipv6Addr> = addresses
        .iter()
        .filter_map(|ip| match ip {
            IpAddr::V4(_) => None,
            IpAddr::V6(ip) => Some(solicited_node(*ip)),
        })
        .collect();
    if groups.is_empty() {
        return Ok(None);
    }
    groups.push(all_nodes);
    groups.sort_unstable();
    groups.dedup();
    let socket = rustix::net::socket_with(AddressFamily::INET6, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?;
    for group in groups {
        rustix::net::sockopt::set_ipv6_add_membership(&socket, &group, index)?;
    }
    Ok(Some(socket))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_uses_an_address_goes_before_who_probes_for_it() {
        let conflict =
            |last: u8, claim| Conflict { ip: IpAddr::from([10, 1, 0, 5]), mac: Mac([2, 0, 0, 0, 0, last]), claim };
        let (probing, in_use) = (conflict(1, Claim::Probing), conflict(2, Claim::InUse));
        for order in [[probing, in_use], [in_use, probing]] {
            let mut conflicts = Vec::new();
            order.into_iter().for_each(|conflict| note(&mut conflicts, conflict));
            assert_eq!(conflicts, [in_use]);
        }
    }
}
