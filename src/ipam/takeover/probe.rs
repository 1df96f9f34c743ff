//! Whether the link is probed for an address before it is taken over, and what came of that.

use std::fmt;

use crate::cause::Cause;
use crate::ipam::name::IfName;

/// Whether the link is probed before an address is taken over (`takeover`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Probe {
    /// No: what the API server shows is enough (`api`).
    Never,
    /// Where there is an interface to probe on (`probe`).
    IfPossible,
    /// Yes, and what can't be probed is not taken over (`probe-required`).
    Required,
}

/// What came of a probe for an address (RFC 5227).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProbeResult {
    /// Nobody answers for it.
    NoReply,
    /// Somebody uses it, or is about to.
    Conflict {
        /// Who.
        mac: Mac,
        /// The interface on which it answered.
        ifname: IfName,
    },
    /// No probe could be sent, and why.
    NotProbed(Cause),
}

/// A MAC address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mac(pub [u8; 6]);

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}
