//! The setting whether the link is probed before a take-over, and the result of a probe.

use std::fmt;

use schemars::JsonSchema;
use serde::de::{Error as _, Unexpected};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::cause::Cause;
use crate::ipam::name::IfName;

/// Whether the link is probed before an address is taken over (`takeover`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Probe {
    /// No: the API server's answer is enough (`api`).
    Never,
    /// If there is an interface to probe on (`probe`).
    IfPossible,
    /// Yes; without a probe, there is no take-over (`probe-required`).
    Required,
}

/// The result of a probe for an address (RFC 5227).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProbeResult {
    /// No host replied.
    NoReply,
    /// A host uses the address.
    Conflict {
        /// The MAC address of that host.
        mac: Mac,
        /// The interface on which it answered.
        ifname: IfName,
    },
    /// Another host probes for the address at the same time, usually another ADD.
    Contended {
        /// The MAC address of that host.
        mac: Mac,
        /// The interface on which its probe was seen.
        ifname: IfName,
    },
    /// No probe was sent, for this reason.
    NotProbed(Cause),
}

/// A MAC address, formatted and stored as six pairs of hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, JsonSchema)]
#[schemars(with = "String")]
pub struct Mac(pub [u8; 6]);

impl Mac {
    /// Reads six pairs of hexadecimal digits, with colons between them.
    pub fn parse(text: &str) -> Option<Self> {
        let is_pair = |pair: &str| pair.len() == 2 && pair.bytes().all(|digit| digit.is_ascii_hexdigit());
        let octet = |pair: &str| u8::from_str_radix(pair, 16).ok().filter(|_| is_pair(pair));
        let octets: Vec<u8> = text.split(':').map(octet).collect::<Option<_>>()?;
        octets.try_into().ok().map(Self)
    }
}

impl Serialize for Mac {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Mac {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| D::Error::invalid_value(Unexpected::Str(&text), &"a MAC address"))
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mac_address_is_read_as_it_is_written() {
        let mac = Mac([2, 0x42, 0xac, 0, 0x0a, 0xff]);
        assert_eq!(mac.to_string(), "02:42:ac:00:0a:ff");
        assert_eq!(Mac::parse(&mac.to_string()), Some(mac));
        for text in
            ["", "02:42:ac:00:0a", "02:42:ac:00:0a:ff:01", "2:42:ac:00:0a:ff", "02:42:ac:00:0a:+f", "02-42-ac-00-0a-ff"]
        {
            assert_eq!(Mac::parse(text), None, "{text}");
        }
    }
}
