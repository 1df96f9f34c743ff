//! The replies to a call, each in the format of its version (CNI spec 1.1, section 5; 0.2.0 and 0.4.0, "Result").
//!
//! A result never has `interfaces`: an IPAM plugin creates none, and the main plugin adds them.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::Serialize;

use super::{CniVersion, Code, Dns, Route};
use crate::ipam::address::Family;
use crate::ipam::lease::Assigned;

/// The result of an ADD.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum Success<'a> {
    /// The format up to 0.2.0.
    ByFamily(FamilyResult<'a>),
    /// The format since 0.3.0.
    List(ListResult<'a>),
}

impl<'a> Success<'a> {
    /// The result with these addresses, in the format of the version. If that has only one address per family
    /// ([`CniVersion::one_address_per_family`]), it is the first one.
    pub fn new(version: CniVersion, addresses: &[Assigned], routes: &'a [Route], dns: &'a Dns) -> Self {
        if version.one_address_per_family() {
            Self::ByFamily(FamilyResult {
                cni_version: version,
                ip4: FamilyConfig::from_assigned(Family::V4, addresses, routes),
                ip6: FamilyConfig::from_assigned(Family::V6, addresses, routes),
                dns,
            })
        } else {
            let since_one = version >= CniVersion::V1_0_0;
            Self::List(ListResult {
                cni_version: version,
                ips: addresses.iter().map(|assigned| Ip::from_assigned(assigned, !since_one)).collect(),
                routes,
                dns: Some(dns).filter(|dns| !(since_one && dns.is_empty())),
            })
        }
    }
}

/// A result up to 0.2.0: one address per family, with its routes.
#[derive(Debug, Serialize)]
pub struct FamilyResult<'a> {
    #[serde(rename = "cniVersion")]
    cni_version: CniVersion,
    #[serde(skip_serializing_if = "Option::is_none")]
    ip4: Option<FamilyConfig>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ip6: Option<FamilyConfig>,
    dns: &'a Dns,
}

/// The one address of a family.
#[derive(Debug, Serialize)]
struct FamilyConfig {
    ip: IpNet,
    #[serde(skip_serializing_if = "Option::is_none")]
    gateway: Option<IpAddr>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    routes: Vec<LegacyRoute>,
}

/// A route up to 0.2.0.
#[derive(Debug, Serialize)]
struct LegacyRoute {
    dst: IpNet,
    #[serde(skip_serializing_if = "Option::is_none")]
    gw: Option<IpAddr>,
}

impl FamilyConfig {
    fn from_assigned(family: Family, addresses: &[Assigned], routes: &[Route]) -> Option<Self> {
        let is_ours = |net: &IpNet| Family::of(net.addr()) == family;
        let assigned = addresses.iter().find(|assigned| is_ours(&assigned.address))?;
        let routes = routes.iter().filter(|route| is_ours(&route.dst));
        Some(Self {
            ip: assigned.address,
            gateway: assigned.gateway,
            routes: routes.map(|route| LegacyRoute { dst: route.dst, gw: route.gw }).collect(),
        })
    }
}

/// A result since 0.3.0: lists of addresses and routes of both families. Keys of a route that 1.1.0 introduced are
/// written in all of these versions, as in the reference library. Main plugins apply them in each.
#[derive(Debug, Serialize)]
pub struct ListResult<'a> {
    #[serde(rename = "cniVersion")]
    cni_version: CniVersion,
    ips: Vec<Ip>,
    #[serde(skip_serializing_if = "<[Route]>::is_empty")]
    routes: &'a [Route],
    /// Required before 1.0.0, even if empty.
    #[serde(skip_serializing_if = "Option::is_none")]
    dns: Option<&'a Dns>,
}

/// An entry in the list of addresses.
#[derive(Debug, Serialize)]
struct Ip {
    /// `4` or `6`, only before 1.0.0.
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<char>,
    address: IpNet,
    #[serde(skip_serializing_if = "Option::is_none")]
    gateway: Option<IpAddr>,
}

impl Ip {
    fn from_assigned(assigned: &Assigned, with_version: bool) -> Self {
        let family = Family::of(assigned.address.addr());
        Self { version: with_version.then(|| family.digit()), address: assigned.address, gateway: assigned.gateway }
    }
}

/// The reply to a failed call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ErrorDocument {
    cni_version: CniVersion,
    code: Code,
    msg: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    details: String,
}

/// The size limit of a message and of its details, in characters. They may include input, and are copied to events and
/// logs.
const MAX_TEXT: usize = 8192;

impl ErrorDocument {
    /// `msg` is one line about what happened. `details` is the hint and may be empty. Runtimes show `msg; details` and
    /// nothing else. `version` is the call's version, or the newest if that is unknown.
    pub fn new(version: CniVersion, code: Code, msg: &str, details: &str) -> Self {
        Self { cni_version: version, code, msg: bounded(msg), details: bounded(details) }
    }
}

fn bounded(text: &str) -> String {
    match text.char_indices().nth(MAX_TEXT) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}…", &text[..end]),
    }
}

/// The reply to VERSION.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Versions {
    cni_version: String,
    supported_versions: [CniVersion; CniVersion::ALL.len()],
}

impl Versions {
    /// A reply with the supported versions. It repeats the version `asked`.
    pub fn new(asked: Option<String>) -> Self {
        let cni_version = asked.unwrap_or_else(|| CniVersion::NEWEST.to_string());
        Self { cni_version, supported_versions: CniVersion::ALL }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
