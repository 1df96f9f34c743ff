//! What an operator asks about.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use ipnet::IpNet;

use crate::ipam::address;
use crate::ipam::name::is_object_name;
use crate::ipam::takeover::Mac;

/// What an operator asks about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// One address.
    Address(IpAddr),
    /// All addresses of a subnet.
    Subnet(IpNet),
    /// A pod.
    Pod(ObjectName),
    /// An IPAMClaim.
    Claim(ObjectName),
    /// A host, by its MAC address.
    Mac(Mac),
}

/// An object of the API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectName {
    /// Its namespace, if one is given.
    pub namespace: Option<String>,
    /// Its name.
    pub name: String,
}

/// The text names nothing that can be explained.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected an address, a subnet, [NAMESPACE/]POD, claim/[NAMESPACE/]NAME or mac/MAC")]
pub struct SubjectError;

impl FromStr for Subject {
    type Err = SubjectError;

    /// Reads an argument. An address or a subnet wins over a pod of that name, which `pod/` selects.
    fn from_str(text: &str) -> Result<Self, SubjectError> {
        if let Ok(ip) = address::parse(text) {
            return Ok(Self::Address(ip.to_canonical()));
        }
        if let Ok(net) = address::parse_interface(text) {
            // With host bits, it is an address as CNI results and `ip address` show it.
            let is_subnet = net.addr() == net.network();
            return Ok(if is_subnet { Self::Subnet(net) } else { Self::Address(net.addr()) });
        }
        match text.split_once('/') {
            Some((ip, _)) if address::parse(ip).is_ok() => Err(SubjectError),
            Some(("mac", mac)) => Mac::parse(mac).map(Self::Mac).ok_or(SubjectError),
            Some(("claim", object)) => object.parse().map(Self::Claim),
            Some(("pod", object)) => object.parse().map(Self::Pod),
            _ => text.parse().map(Self::Pod),
        }
    }
}

impl FromStr for ObjectName {
    type Err = SubjectError;

    fn from_str(text: &str) -> Result<Self, SubjectError> {
        let (namespace, name) = match text.split_once('/') {
            Some((namespace, name)) => (Some(namespace), name),
            None => (None, text),
        };
        let is_valid = is_object_name(name) && namespace.is_none_or(is_object_name);
        is_valid.then(|| Self { namespace: namespace.map(str::to_owned), name: name.to_owned() }).ok_or(SubjectError)
    }
}

impl fmt::Display for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.namespace {
            Some(namespace) => write!(f, "{namespace}/{}", self.name),
            None => f.write_str(&self.name),
        }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(ip) => ip.fmt(f),
            Self::Subnet(net) => net.fmt(f),
            Self::Pod(name) => write!(f, "pod {name}"),
            Self::Claim(name) => write!(f, "IPAMClaim {name}"),
            Self::Mac(mac) => mac.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_argument_is_an_address_a_subnet_a_pod_a_claim_or_a_host() {
        for (text, expected) in [
            ("10.1.0.18", Ok("10.1.0.18")),
            ("::ffff:10.1.0.18", Ok("10.1.0.18")),
            ("fd00::7", Ok("fd00::7")),
            ("10.1.0.0/24", Ok("10.1.0.0/24")),
            ("10.1.0.18/24", Ok("10.1.0.18")),
            ("web-1", Ok("pod web-1")),
            ("web/web-1", Ok("pod web/web-1")),
            ("pod/web-1", Ok("pod web-1")),
            ("pod/claim/web-1", Ok("pod claim/web-1")),
            ("claim/vm-a", Ok("IPAMClaim vm-a")),
            ("claim/db/vm-a", Ok("IPAMClaim db/vm-a")),
            ("mac/02:AA:00:00:00:01", Ok("02:aa:00:00:00:01")),
            ("mac/02:aa", Err(SubjectError)),
            ("10.1.0.0/33", Err(SubjectError)),
            ("", Err(SubjectError)),
            ("web/", Err(SubjectError)),
            ("a/b/c", Err(SubjectError)),
            ("web_1", Err(SubjectError)),
            ("\u{1b}[31m", Err(SubjectError)),
        ] {
            let read = text.parse::<Subject>().map(|subject| subject.to_string());
            assert_eq!(read, expected.map(str::to_owned), "{text:?}");
        }
    }
}
