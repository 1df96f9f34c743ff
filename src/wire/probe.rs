//! The question itself, on one interface of the namespace of the calling thread.

use std::net::{IpAddr, Ipv6Addr};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::io;
use rustix::net::{AddressFamily, SocketFlags, SocketType};

use super::frame::{claim, ether_type, probe, solicited_node};
use super::link::{Link, Links};
use super::packet::Packets;
use super::{Answer, Unasked, ready};
use crate::ipam::takeover::Mac;
use crate::store::Deadline;

/// Half of the time at most goes by until an interface that was down can send.
const GETTING_UP: Duration = Duration::from_millis(150);
/// How often is asked, and how long apart: a first frame may be lost while a switch learns where it comes from. RFC 5227
/// leaves seconds between its three, which no pod would wait.
const PROBES: u32 = 3;
const APART: Duration = Duration::from_millis(40);
/// More than any frame that answers; of a longer one the rest does not matter.
const BUFFER: usize = 2048;

/// Asks for all of these addresses at once, and waits for the first answer. An interface that is down is set up for that
/// long.
pub(super) fn ask(ifname: &str, addresses: &[IpAddr], until: Deadline) -> Result<Option<Answer>, Unasked> {
    let mut links = Links::open().map_err(failed("look at", ifname))?;
    let link = links.look(ifname).map_err(failed("look at", ifname))?.ok_or_else(missing(ifname))?;
    let own = own_mac(ifname, &link)?;
    if link.is_up {
        return ask_once_it_can_send(&mut links, ifname, own, addresses, until);
    }
    links.set_up(&link, true).map_err(failed("set up", ifname))?;
    let answer = ask_once_it_can_send(&mut links, ifname, own, addresses, until);
    // The main plugin finds it as it left it.
    if let Err(error) = links.set_up(&link, false) {
        tracing::warn!(interface = ifname, %error, "set up to ask the wire, and could not be set down again");
    }
    answer
}

fn failed(doing: &'static str, ifname: &str) -> impl FnOnce(std::io::Error) -> Unasked {
    move |source| Unasked::System { doing, ifname: ifname.to_owned(), source }
}

fn missing(ifname: &str) -> impl FnOnce() -> Unasked {
    move || Unasked::NoInterface { ifname: ifname.to_owned() }
}

fn ask_once_it_can_send(
    links: &mut Links,
    ifname: &str,
    own: Mac,
    addresses: &[IpAddr],
    until: Deadline,
) -> Result<Option<Answer>, Unasked> {
    let link = links.once_it_can_send(ifname, until.at_most(GETTING_UP)).map_err(failed("look at", ifname))?;
    let link = link.ok_or_else(missing(ifname))?;
    if !link.can_send {
        return Err(Unasked::NoCarrier { ifname: ifname.to_owned() });
    }
    converse(link.index, own, addresses, until).map_err(failed("ask on", ifname))
}

/// Its own MAC address, if neighbours are asked and answer by it at all.
fn own_mac(ifname: &str, link: &Link) -> Result<Mac, Unasked> {
    let ifname = || ifname.to_owned();
    if matches!(link.kind.as_deref(), Some("ipvlan" | "ipvtap")) {
        return Err(Unasked::SharedMac { ifname: ifname() });
    }
    link.mac.filter(|_| link.resolves).ok_or_else(|| Unasked::NoNeighbours { ifname: ifname() })
}

fn converse(index: u32, own: Mac, addresses: &[IpAddr], until: Deadline) -> std::io::Result<Option<Answer>> {
    let _groups = join(index, addresses)?;
    let mut sockets = Vec::new();
    for family in [IpAddr::is_ipv4, IpAddr::is_ipv6] {
        let asked: Vec<IpAddr> = addresses.iter().copied().filter(family).collect();
        if let Some(first) = asked.first() {
            sockets.push((Packets::on(index, ether_type(*first))?, asked));
        }
    }
    let fds: Vec<&Packets> = sockets.iter().map(|(socket, _)| socket).collect();
    let mut buffer = [0; BUFFER];
    let (mut asked, mut next) = (0, Instant::now());
    while !until.has_passed() {
        if asked < PROBES && next <= Instant::now() {
            for (socket, ips) in &sockets {
                ips.iter().try_for_each(|ip| socket.send(&probe(own, *ip)))?;
            }
            (asked, next) = (asked + 1, Instant::now() + APART);
        }
        let wake = if asked < PROBES { until.at_most(next.saturating_duration_since(Instant::now())) } else { until };
        ready(&fds, wake)?;
        // One frame of each at a time: who sends without an end does not keep the clock from being looked at.
        for socket in &fds {
            let claimed = socket.receive(&mut buffer)?.and_then(|frame| claim(frame, own));
            if let Some((ip, mac)) = claimed.filter(|(ip, _)| addresses.contains(ip)) {
                return Ok(Some(Answer { ip, mac }));
            }
        }
    }
    Ok(None)
}

/// Joins the groups by which answers to the solicitations come, and those of others who ask the same (RFC 4862, section
/// 5.4.2), as long as the socket is open: an interface that filters by group, such as a macvlan, would not let them in.
fn join(index: u32, addresses: &[IpAddr]) -> io::Result<Option<OwnedFd>> {
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
