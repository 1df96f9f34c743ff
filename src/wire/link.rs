//! Reads one interface and sets it up or down with rtnetlink(7).
//!
//! The kernel handles a request inside the `send` call, so the reply is available at once.

mod message;

use std::io;
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};

pub(super) use self::message::Link;
use self::message::{Reply, get_link, parse_reply, set_link_up};
use super::wait_readable;
use crate::deadline::Deadline;

/// The multicast group of interface changes.
const RTMGRP_LINK: u32 = 1;
/// In bytes: larger than any message of the kernel about one interface.
const BUFFER_SIZE: usize = 32 * 1024;

/// A netlink connection for the interfaces of the calling thread's namespace.
pub(super) struct Links {
    socket: OwnedFd,
    sequence: u32,
}

impl Links {
    pub(super) fn open() -> io::Result<Self> {
        Ok(Self { socket: socket(0)?, sequence: 0 })
    }

    /// The interface of this name; `None` if there is none.
    pub(super) fn find_link(&mut self, name: &str) -> io::Result<Option<Link>> {
        match self.request(|sequence| get_link(name, sequence)) {
            Ok(Reply::Link(link)) => Ok(Some(link)),
            Ok(Reply::Done) => Err(io::ErrorKind::InvalidData.into()),
            Err(error) if error.raw_os_error() == Some(Errno::NODEV.raw_os_error()) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Sets the interface up or down.
    pub(super) fn set_up(&mut self, link: &Link, up: bool) -> io::Result<()> {
        self.request(|sequence| set_link_up(link.index, up, sequence)).map(drop)
    }

    /// Waits until the interface can send, or until the deadline; `None` if it is gone.
    pub(super) fn wait_until_running(&mut self, name: &str, deadline: Deadline) -> io::Result<Option<Link>> {
        let changes = socket(RTMGRP_LINK)?;
        let mut buffer = vec![0; BUFFER_SIZE];
        loop {
            let link = self.find_link(name)?;
            if deadline.has_passed() || link.as_ref().is_none_or(|link| link.can_send) {
                return Ok(link);
            }
            wait_readable(&[&changes], deadline)?;
            // Neither the content nor an overflow matters: the next request reads the state.
            let _ = rustix::net::recv(&changes, &mut buffer[..], RecvFlags::empty());
        }
    }

    fn request(&mut self, request: impl Fn(u32) -> Vec<u8>) -> io::Result<Reply> {
        self.sequence += 1;
        rustix::net::send(&self.socket, &request(self.sequence), SendFlags::empty())?;
        let mut buffer = vec![0; BUFFER_SIZE];
        let (length, _) = rustix::net::recv(&self.socket, &mut buffer[..], RecvFlags::empty())?;
        parse_reply(buffer.get(..length).unwrap_or_default(), self.sequence)
    }
}

fn socket(groups: u32) -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    // Protocol 0 is NETLINK_ROUTE.
    let socket = rustix::net::socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, None)?;
    rustix::net::bind(&socket, &SocketAddrNetlink::new(0, groups))?;
    // Port 0 is the kernel. No other process can send to a connected socket.
    rustix::net::connect(&socket, &SocketAddrNetlink::new(0, 0))?;
    Ok(socket)
}
