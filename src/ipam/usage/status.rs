//! How full a network is, as the object of its definition shows it.
//!
//! The numbers are those of [`Usage::ranges`], for the subnets of one definition. If two definitions of a network have
//! a subnet in common, both show it, and both with the addresses of all definitions.

use ipnet::IpNet;
use jiff::Timestamp;
use serde::{Serialize, Serializer};
use serde_json::{Value, json};

use super::{RangePart, RangeUsage, Usage};
use crate::store::Key;

/// The largest number that every reader of JSON keeps exactly: the Kubernetes API conventions allow no larger one.
const MAX_EXACT: u128 = 1 << 53;

/// How full the subnets of one definition of a network are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DefinitionUsage {
    /// All ranges together.
    #[serde(flatten)]
    pub total: Fill,
    /// Each part of each subnet.
    pub ranges: Vec<RangeFill>,
}

/// How full a part of a subnet is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RangeFill {
    /// The subnet.
    pub subnet: IpNet,
    /// The part of it.
    #[serde(rename = "range")]
    pub part: RangePart,
    /// Its numbers.
    #[serde(flatten)]
    pub fill: Fill,
}

/// Numbers of addresses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Fill {
    /// All that can be assigned; 0 for those outside all ranges.
    pub size: Count,
    /// Held ones.
    pub held: u64,
    /// Those that are reserved for their owners.
    pub reserved: u64,
    /// Those in cooldown.
    pub resting: u64,
    /// Those that hosts use without a lease.
    pub foreign: u64,
    /// Free ones.
    pub free: Count,
    /// How much of the size is not free.
    pub used: UsedShare,
}

/// A number of addresses, which JSON has as a text if it is too large for a number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count(pub u128);

impl Serialize for Count {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match u64::try_from(self.0) {
            Ok(number) if self.0 <= MAX_EXACT => serializer.serialize_u64(number),
            _ => serializer.collect_str(&self.0),
        }
    }
}

/// A share in whole percent. Only a full range has 100, and only an empty one 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UsedShare {
    used: u128,
    size: u128,
}

impl Serialize for UsedShare {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.used.saturating_mul(100).checked_div(self.size) {
            Some(0) if self.used > 0 => serializer.serialize_str("<1%"),
            Some(percent) => serializer.collect_str(&format_args!("{}%", percent.min(100))),
            None => serializer.serialize_str("-"),
        }
    }
}

impl From<&RangeUsage> for Fill {
    fn from(range: &RangeUsage) -> Self {
        let (size, free) = (range.size.unwrap_or(0), range.free().unwrap_or(0));
        Self {
            held: range.held,
            reserved: range.reserved,
            resting: range.resting,
            foreign: range.foreign,
            ..Self::new(size, free)
        }
    }
}

impl Fill {
    fn new(size: u128, free: u128) -> Self {
        let used = UsedShare { used: size.saturating_sub(free), size };
        Self { size: Count(size), free: Count(free), used, ..Self::default() }
    }

    fn plus(self, other: &Self) -> Self {
        let sum = |one: Count, other: Count| one.0.saturating_add(other.0);
        Self {
            held: self.held + other.held,
            reserved: self.reserved + other.reserved,
            resting: self.resting + other.resting,
            foreign: self.foreign + other.foreign,
            ..Self::new(sum(self.size, other.size), sum(self.free, other.free))
        }
    }
}

impl DefinitionUsage {
    /// The status of an object, with the time at which the numbers were counted, to the second.
    pub fn status(&self, observed: Timestamp) -> Value {
        // Serialising these types can't fail: their maps have text keys.
        let mut status = serde_json::to_value(self).unwrap_or_default();
        status["observed"] = json!(format!("{observed:.0}"));
        status
    }
}

impl Usage {
    /// How full each stored definition of a network is, by the definition's key. What is in none of its subnets is left
    /// out.
    pub fn of_definitions(&self) -> impl Iterator<Item = (&Key, DefinitionUsage)> {
        let ranges = self.ranges();
        self.definitions.iter().map(move |(key, ((vrf, network), subnets))| {
            let is_its_own = |range: &&RangeUsage| {
                let has_subnet = range.key.subnet.is_some_and(|subnet| subnets.contains(&subnet));
                has_subnet && (&range.key.vrf, &range.key.network) == (vrf, network)
            };
            let fill = |range: &RangeUsage| {
                Some(RangeFill { subnet: range.key.subnet?, part: range.key.part.clone(), fill: range.into() })
            };
            let ranges: Vec<RangeFill> = ranges.iter().filter(is_its_own).filter_map(fill).collect();
            let total = ranges.iter().fold(Fill::default(), |sum, range| sum.plus(&range.fill));
            (key, DefinitionUsage { total, ranges })
        })
    }
}

#[cfg(test)]
mod tests;
