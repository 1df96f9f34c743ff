//! `kube-ipam.<ifname>.families`: limits an interface to addresses of one family.
//!
//! The request ignores the network's range sets of the other family: none of their addresses is assigned or reserved,
//! and a request for one is refused.

use std::net::IpAddr;

use super::Source;
use super::annotation_error::AnnotationError;
use super::annotations::Key;
use super::input::NetworkRanges;
use super::value::AnnotationValue;
use crate::ipam::address::Family;
use crate::ipam::range::RangeSet;

/// The only family of an interface, and the key of its annotation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct OnlyFamily {
    key: Key,
    family: Family,
}

impl OnlyFamily {
    /// Reads `4` or `6`, or `IPv4` or `IPv6` as in Kubernetes' `ipFamilies`.
    pub(super) fn read(value: AnnotationValue) -> Result<Self, AnnotationError> {
        let family = match value.text.to_ascii_lowercase().as_str() {
            "4" | "ipv4" => Family::V4,
            "6" | "ipv6" => Family::V6,
            _ => return Err(value.wrong(&value.text, "\"4\" or \"6\"; without it, the interface gets every family")),
        };
        Ok(Self { key: value.key, family })
    }

    pub(super) fn is(&self, family: Family) -> bool {
        self.family == family
    }

    /// The network's range sets of this family that this node may use. It is an error if the network has none, even for
    /// other nodes.
    pub(super) fn sets_of<'a>(&self, network: NetworkRanges<'a>) -> Result<Vec<&'a RangeSet>, AnnotationError> {
        let sets: Vec<&RangeSet> = network.sets.iter().filter(|set| self.is(set.family())).collect();
        if sets.is_empty() && !network.unplaced.iter().any(|set| self.is(set.family)) {
            let (key, family) = (self.key.clone(), self.family);
            return Err(AnnotationError::NoRangeSet { key, family, network: network.name.clone() });
        }
        Ok(sets)
    }

    /// The error for a requested address of the other family.
    pub(super) fn refuses(&self, ip: IpAddr, from: &Source) -> Option<AnnotationError> {
        let (key, family) = (self.key.clone(), self.family);
        (Family::of(ip) != family).then(|| AnnotationError::OtherFamily { key, family, ip, from: from.clone() })
    }
}
