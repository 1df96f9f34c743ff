//! One interface, as the kernel has it: looked at, set up and set down by rtnetlink(7).
//!
//! The kernel does what it is asked for while the request is sent, so that its reply is there at once.

mod message;

use std::io;
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};

pub(super) use self::message::Link;
use self::message::{Reply, look, set_up, told};
use super::ready;
use crate::store::Deadline;

/// The group of those who want to know of every change of an interface (RTMGRP_LINK).
const CHANGES: u32 = 1;
/// More than the kernel puts into one message about an interface.
const BUFFER: usize = 32 * 1024;

/// The interfaces of the namespace of the thread that opens it.
pub(super) struct Links {
    socket: OwnedFd,
    sequence: u32,
}

impl Links {
    pub(super) fn open() -> io::Result<Self> {
        Ok(Self { socket: socket(0)?, sequence: 0 })
    }

    /// The interface of this name; `None` if there is none.
    pub(super) fn look(&mut self, name: &str) -> io::Result<Option<Link>> {
        match self.ask(|sequence| look(name, sequence)) {
            Ok(Reply::Link(link)) => Ok(Some(link)),
            Ok(Reply::Done) => Err(io::ErrorKind::InvalidData.into()),
            Err(error) if error.raw_os_error() == Some(Errno::NODEV.raw_os_error()) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Sets the interface up or down.
    pub(super) fn set_up(&mut self, link: &Link, up: bool) -> io::Result<()> {
        self.ask(|sequence| set_up(link.index, up, sequence)).map(drop)
    }

    /// The interface of this name once it can send, or as it is in the end; `None` if it is gone.
    pub(super) fn once_it_can_send(&mut self, name: &str, until: Deadline) -> io::Result<Option<Link>> {
        let changes = socket(CHANGES)?;
        let mut buffer = vec![0; BUFFER];
        loop {
            let link = self.look(name)?;
            if until.has_passed() || link.as_ref().is_none_or(|link| link.can_send) {
                return Ok(link);
            }
            ready(&[&changes], until)?;
            // What it says does not matter, nor that there was more than it could keep: the next look shows it.
            let _ = rustix::net::recv(&changes, &mut buffer[..], RecvFlags::empty());
        }
    }

    fn ask(&mut self, request: impl Fn(u32) -> Vec<u8>) -> io::Result<Reply> {
        self.sequence += 1;
        rustix::net::send(&self.socket, &request(self.sequence), SendFlags::empty())?;
        let mut buffer = vec![0; BUFFER];
        let (length, _) = rustix::net::recv(&self.socket, &mut buffer[..], RecvFlags::empty())?;
        told(buffer.get(..length).unwrap_or_default(), self.sequence)
    }
}

fn socket(groups: u32) -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    // No protocol is NETLINK_ROUTE.
    let socket = rustix::net::socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, None)?;
    rustix::net::bind(&socket, &SocketAddrNetlink::new(0, groups))?;
    // To the kernel, and from nobody else.
    rustix::net::connect(&socket, &SocketAddrNetlink::new(0, 0))?;
    Ok(socket)
}
