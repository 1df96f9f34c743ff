//! What the next ADD would do, according to a rehearsal of it.

use std::fmt;
use std::net::IpAddr;

use schemars::JsonSchema;
use serde::Serialize;

use crate::ipam::refusal::list;

/// The result of the next ADD of a container, as far as it can be told.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NextAdd {
    /// What comes of it.
    pub outcome: Outcome,
    /// The addresses that it gets for certain.
    pub addresses: Vec<IpAddr>,
    /// How many more it draws at random. Which ones depends on the container.
    pub random: usize,
    /// The addresses that are probed on the link first. If a host answers, the ADD ends differently.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub probed: Vec<IpAddr>,
    /// The text of the refusal, as in the reply; or why the outcome is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// What comes of an ADD.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// The container has its addresses already, and gets the same ones.
    Repeats,
    /// It gets new addresses, or some that others had.
    Assigns,
    /// It is refused.
    Refused,
    /// That could not be found out.
    Unknown,
}

impl NextAdd {
    /// An ADD whose outcome is not known, for this reason.
    pub fn unknown(why: impl Into<String>) -> Self {
        Self { outcome: Outcome::Unknown, addresses: Vec::new(), random: 0, probed: Vec::new(), why: Some(why.into()) }
    }

    fn gets(&self) -> String {
        let random = match self.random {
            0 => None,
            1 => Some("an address drawn at random".to_owned()),
            count => Some(format!("{count} addresses drawn at random")),
        };
        let certain = (!self.addresses.is_empty()).then(|| list(&self.addresses));
        certain.into_iter().chain(random).collect::<Vec<_>>().join(" and ")
    }
}

impl fmt::Display for NextAdd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let why = self.why.as_deref().unwrap_or_default();
        match self.outcome {
            Outcome::Repeats => write!(f, "The next ADD of this container gets {} again.", self.gets()),
            Outcome::Assigns if self.probed.is_empty() => write!(f, "The next ADD gets {}.", self.gets()),
            Outcome::Assigns => {
                write!(
                    f,
                    "The next ADD gets {}, if no host on the link answers for {}.",
                    self.gets(),
                    list(&self.probed)
                )
            }
            Outcome::Refused => write!(f, "The next ADD is refused: {why}."),
            Outcome::Unknown => write!(f, "What the next ADD does is not known: {why}."),
        }
    }
}
