//! How a workload replaces its pods in an update. Missing fields have the API server's defaults.

use super::workload::Kind;
use crate::manifest::Node;

/// The update strategy of a workload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Rollout {
    /// Old pods end before new ones start.
    InPlace,
    /// The strategy `RollingUpdate` of a Deployment.
    Deployment { surge: Share, unavailable: Share },
    /// The same of a DaemonSet. It ends an old pod first if it has no surge.
    DaemonSet { surge: Share },
    /// The live migration of a virtual machine: the new pod starts beside the old one.
    Migration,
}

impl Rollout {
    /// Reads the strategy of a workload.
    pub(super) fn read(kind: Kind, node: &Node) -> Self {
        match kind {
            Kind::Deployment => {
                if node.at(&["spec", "strategy", "type"]).and_then(Node::text) == Some("Recreate") {
                    return Self::InPlace;
                }
                let share = |key| node.at(&["spec", "strategy", "rollingUpdate", key]);
                let share = |key| share(key).map_or(Share::Percent(25), Share::read);
                Self::Deployment { surge: share("maxSurge"), unavailable: share("maxUnavailable") }
            }
            Kind::DaemonSet => {
                let surge = node.at(&["spec", "updateStrategy", "rollingUpdate", "maxSurge"]);
                Self::DaemonSet { surge: surge.map_or(Share::Number(0), Share::read) }
            }
            kind if kind.is_machine() => Self::Migration,
            _ => Self::InPlace,
        }
    }

    /// The number of pods that start beside this number of old ones.
    pub(super) fn surge_of(&self, replicas: u32) -> u32 {
        match self {
            Self::InPlace => 0,
            Self::Deployment { surge, .. } | Self::DaemonSet { surge } => surge.of(replicas, u64::div_ceil),
            Self::Migration => 1,
        }
    }

    /// Whether an old pod may end before its replacement has started.
    pub(super) fn makes_room(&self, replicas: u32) -> bool {
        match self {
            Self::InPlace => true,
            // The Deployment controller makes one pod unavailable if both round to zero.
            Self::Deployment { unavailable, .. } => {
                unavailable.of(replicas, |a, b| a / b) > 0 || self.surge_of(replicas) == 0
            }
            Self::DaemonSet { .. } => self.surge_of(replicas) == 0,
            // A migration that gets no address ends, and the machine runs on where it is.
            Self::Migration => true,
        }
    }
}

/// A number of pods, or a percentage of the replicas.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Share {
    Number(u32),
    Percent(u32),
}

impl Share {
    fn read(node: &Node) -> Self {
        let percent = node.text().and_then(|text| text.strip_suffix('%')).and_then(|percent| percent.parse().ok());
        percent.map_or_else(|| Self::Number(number(node).unwrap_or(0)), Self::Percent)
    }

    fn of(&self, replicas: u32, divide: impl Fn(u64, u64) -> u64) -> u32 {
        match self {
            Self::Number(number) => *number,
            Self::Percent(percent) => {
                u32::try_from(divide(u64::from(replicas) * u64::from(*percent), 100)).unwrap_or(u32::MAX)
            }
        }
    }
}

/// A number of pods or ordinals. `None` if it is none.
pub(super) fn number(node: &Node) -> Option<u32> {
    node.to_json().as_u64().and_then(|number| number.try_into().ok())
}
