//! Address conflict detection on the link of an interface (RFC 5227, RFC 4862), independent of the API server.
//!
//! ```text
//!  ops::takeover ─► probe ─► a thread in the pod's network namespace ─► probe_all ─┬─ link    finds it and sets it up
//!        ▲                                                                         ├─ packet  sends and receives frames
//!        │                                                                         └─ frame   encodes and decodes them
//!        └── a Conflict for each address with a reply, or ProbeError: why the link was not probed
//! ```
//!
//! A probe can only prevent the use of an address. A missing reply permits nothing by itself: the guards of the commit
//! stay the same.

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

use crate::deadline::Deadline;
use crate::ipam::takeover::Mac;

/// The total time of a probe.
const PROBE_TIMEOUT: Duration = Duration::from_millis(300);

/// How another host claims a probed address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim {
    /// It uses the address.
    InUse,
    /// It probes for the address before it uses it. Usually it is another ADD.
    Probing,
}

/// Another host claims a probed address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// The address.
    pub ip: IpAddr,
    /// The MAC address of that host.
    pub mac: Mac,
    /// Whether it already uses the address.
    pub claim: Claim,
}

/// Why the link was not probed.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// The call has no CNI_NETNS.
    #[error("the call names no network namespace")]
    NoNamespace,
    /// Entering the namespace failed.
    #[error("the network namespace {} can't be entered", netns.display())]
    Namespace {
        /// CNI_NETNS.
        netns: PathBuf,
        /// The system's error.
        #[source]
        error: io::Error,
    },
    /// The main plugin creates the interface only after IPAM, as ptp and calico do.
    #[error("there is no interface {ifname} in the network namespace yet")]
    NoInterface {
        /// CNI_IFNAME.
        ifname: String,
    },
    /// The interface is not Ethernet, or uses neither ARP nor neighbour discovery.
    #[error("{ifname} has no neighbours to probe (it is not Ethernet, or NOARP)")]
    NoNeighbours {
        /// CNI_IFNAME.
        ifname: String,
    },
    /// An ipvlan shares its master's MAC address and receives only packets for its own IP addresses, so it would not
    /// receive the reply to an ARP probe.
    #[error("{ifname} is an ipvlan, which would not receive the reply to a probe")]
    SharedMac {
        /// CNI_IFNAME.
        ifname: String,
    },
    /// The interface can't send.
    #[error("{ifname} has no carrier")]
    NoCarrier {
        /// CNI_IFNAME.
        ifname: String,
    },
    /// The call has less time left than a probe takes.
    #[error("the call has less time left than the {} ms that a probe takes", PROBE_TIMEOUT.as_millis())]
    NoTime,
    /// A system call failed.
    #[error("can't {action} {ifname}")]
    System {
        /// What was attempted.
        action: &'static str,
        /// CNI_IFNAME.
        ifname: String,
        /// The system's error.
        #[source]
        error: io::Error,
    },
    /// The system can't start a thread.
    #[error("can't start a thread for the probe")]
    Thread(#[source] io::Error),
}

/// Checks that enough time is left for a probe.
///
/// # Errors
/// [`ProbeError::NoTime`] otherwise.
pub fn check_time(deadline: Deadline) -> Result<(), ProbeError> {
    if deadline.remaining() < PROBE_TIMEOUT { Err(ProbeError::NoTime) } else { Ok(()) }
}

/// Probes for all of these addresses at once. Returns one conflict for each address that another host claims, after 300
/// ms or as soon as every address has one. An interface that is down is set up during the probe.
///
/// # Errors
/// If the link can't be probed: see [`ProbeError`].
pub fn probe(
    netns: Option<&Path>,
    ifname: &str,
    addresses: &[IpAddr],
    deadline: Deadline,
) -> Result<Vec<Conflict>, ProbeError> {
    check_time(deadline)?;
    let netns = netns.ok_or(ProbeError::NoNamespace)?.to_owned();
    let (ifname, addresses) = (ifname.to_owned(), addresses.to_vec());
    let probe_until = deadline.at_most(PROBE_TIMEOUT);
    let (sender, receiver) = mpsc::sync_channel(1);
    // The probe runs in its own thread, because returning to the old namespace could fail. The thread ends with the
    // probe.
    let run = move || {
        enter(&netns).map_err(|error| ProbeError::Namespace { netns, error })?;
        probe::probe_interface(&ifname, &addresses, probe_until)
    };
    let thread = thread::Builder::new().name("kube-ipam-wire".to_owned());
    // After the call's deadline, the receiver is gone and sending fails.
    thread.spawn(move || drop(sender.send(run()))).map_err(ProbeError::Thread)?;
    // Opening the namespace or setting the interface down may take longer than the probe.
    receiver.recv_timeout(deadline.remaining()).unwrap_or(Err(ProbeError::NoTime))
}

/// Moves the calling thread, and no other, into a network namespace.
fn enter(netns: &Path) -> io::Result<()> {
    let netns = File::open(netns)?;
    Ok(move_into_link_name_space(netns.as_fd(), Some(LinkNameSpaceType::Network))?)
}

/// Waits until one of these file descriptors is readable, or until the deadline.
fn wait_readable<T: AsFd>(fds: &[&T], deadline: Deadline) -> io::Result<()> {
    let mut poll_fds: Vec<PollFd<'_>> = fds.iter().map(|fd| PollFd::new(*fd, PollFlags::IN)).collect();
    let remaining = deadline.remaining();
    let timeout = Timespec { tv_sec: remaining.as_secs() as i64, tv_nsec: remaining.subsec_nanos().into() };
    match rustix::event::poll(&mut poll_fds, Some(&timeout)) {
        Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
