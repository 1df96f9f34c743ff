//! The wire: whether somebody on the link of an interface has an address, whatever the API server says of its holder.
//!
//! ```text
//!  ops::takeover ─► ask ─► a thread in the pod's network namespace ─► probe ─┬─ link    is there one to ask on, is it up
//!        ▲                                                                   ├─ packet  frames out and in
//!        │                                                                   └─ frame   what they say
//!        └── an Answer: who has it │ silence │ Unasked: why nobody could be asked
//! ```
//!
//! An answer only ever forbids. Silence, and what is on the wire besides, permits nothing that the store would not: the
//! guards of the commit are the same.

mod frame;
mod link;
mod packet;
mod probe;

use std::fs::File;
use std::io;
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::ipam::takeover::Mac;
use crate::store::Deadline;

/// How long is waited for an answer, all in all.
const PATIENCE: Duration = Duration::from_millis(300);

/// Who has shown to have an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The address.
    pub ip: IpAddr,
    /// Who has it.
    pub mac: Mac,
}

/// Why nobody could be asked.
#[derive(Debug, thiserror::Error)]
pub enum Unasked {
    /// The call has no CNI_NETNS.
    #[error("the call names no network namespace")]
    NoNamespace,
    /// The namespace can't be entered.
    #[error("the network namespace {} can't be entered: {source}", netns.display())]
    Namespace {
        /// CNI_NETNS.
        netns: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The main plugin makes the interface only after IPAM, as ptp and calico do.
    #[error("there is no interface {ifname} in the network namespace yet")]
    NoInterface {
        /// CNI_IFNAME.
        ifname: String,
    },
    /// It is no Ethernet, or neither ARP nor neighbour discovery is done on it.
    #[error("{ifname} has no neighbours that could be asked (it is no Ethernet, or NOARP)")]
    NoNeighbours {
        /// CNI_IFNAME.
        ifname: String,
    },
    /// An ipvlan is not told the answers to an ARP probe: they are for its master's MAC address, and no address of its own.
    #[error("{ifname} is an ipvlan, to which an answer would not find its way")]
    SharedMac {
        /// CNI_IFNAME.
        ifname: String,
    },
    /// Nothing can be sent on it.
    #[error("{ifname} has no carrier")]
    NoCarrier {
        /// CNI_IFNAME.
        ifname: String,
    },
    /// Less is left of the call's time than it takes.
    #[error("less time is left of the call than the {} ms that it takes", PATIENCE.as_millis())]
    NoTime,
    /// The system does not let us.
    #[error("the system does not let us {doing} {ifname}: {source}")]
    System {
        /// What was tried.
        doing: &'static str,
        /// CNI_IFNAME.
        ifname: String,
        /// What it says.
        source: io::Error,
    },
    /// There is no thread to ask on.
    #[error("a thread to ask on could not be started: {0}")]
    Thread(io::Error),
}

/// Asks on the interface of a network namespace whether anybody has one of these addresses: the first who shows that, or
/// `None` if nobody does in 300 ms. An interface that is down is up for that long.
///
/// # Errors
/// If there is no interface to ask on, or nobody could hear the question.
pub fn ask(
    netns: Option<&Path>,
    ifname: &str,
    addresses: &[IpAddr],
    until: Deadline,
) -> Result<Option<Answer>, Unasked> {
    if until.remaining() < PATIENCE {
        return Err(Unasked::NoTime);
    }
    let netns = netns.ok_or(Unasked::NoNamespace)?.to_owned();
    let (ifname, addresses) = (ifname.to_owned(), addresses.to_vec());
    let patience = until.at_most(PATIENCE);
    let (tell, told) = mpsc::sync_channel(1);
    // A thread of its own, since nothing brings one back from another namespace for certain. It ends with its answer.
    let within = move || {
        enter(&netns).map_err(|source| Unasked::Namespace { netns, source })?;
        probe::ask(&ifname, &addresses, patience)
    };
    let thread = thread::Builder::new().name("kube-ipam-wire".to_owned());
    // Nobody listens any more if the call's time is over.
    thread.spawn(move || drop(tell.send(within()))).map_err(Unasked::Thread)?;
    // The system may take its time to open the namespace or to set the interface down.
    told.recv_timeout(until.remaining()).unwrap_or(Err(Unasked::NoTime))
}

/// Moves the calling thread, and no other, into a network namespace.
fn enter(netns: &Path) -> io::Result<()> {
    let netns = File::open(netns)?;
    Ok(move_into_link_name_space(netns.as_fd(), Some(LinkNameSpaceType::Network))?)
}

/// Waits until something has come for one of these, or until then.
fn ready<T: AsFd>(of: &[&T], until: Deadline) -> io::Result<()> {
    let mut fds: Vec<PollFd<'_>> = of.iter().map(|fd| PollFd::new(*fd, PollFlags::IN)).collect();
    let remaining = until.remaining();
    let timeout = Timespec { tv_sec: remaining.as_secs() as i64, tv_nsec: remaining.subsec_nanos().into() };
    match rustix::event::poll(&mut fds, Some(&timeout)) {
        Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
