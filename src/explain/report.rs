//! The parts of an explanation.

use std::fmt;
use std::net::IpAddr;

use schemars::JsonSchema;
use serde::{Serialize, Serializer};

use super::{Before, Command, NextAdd, Text};
use crate::ipam::lease::Lease;
use crate::ipam::name::Name;

/// What is known of an address, a pod, a claim, a host or a subnet.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Explanation {
    /// What it is about.
    pub subject: String,
    /// The address that it is about, if it is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<IpAddr>,
    /// The routing domain of the address.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub vrf: Option<Name>,
    /// Its state.
    pub state: State,
    /// The answer in a sentence.
    #[schemars(with = "String")]
    pub headline: Text,
    /// The details.
    pub facts: Vec<Fact>,
    /// Whether the store and the API server agree, where both have something to say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agreement: Option<Agreement>,
    /// What the next ADD of the recorded container would do, or of a pod that waits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<NextAdd>,
    /// What to do, most urgent first; empty if nothing has to be done.
    pub remedies: Vec<Remedy>,
    /// The stored lease, if there is one that can be read. docs/design.md describes the values of the store.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<serde_json::Map<String, serde_json::Value>>")]
    pub lease: Option<Lease>,
    /// Who had the address before. Only for an address that was asked about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<Before>,
    /// The addresses of a pod, claim or host; of a subnet, those that need attention.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<Explanation>,
}

/// The state of the subject of an explanation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// The address has a holder; the claim or the pod has an address.
    Held,
    /// The address is reserved for an owner, and nobody uses it.
    Reserved,
    /// The address is in cooldown.
    Resting,
    /// A host without a lease uses the address.
    Foreign,
    /// The address's lease can't be read. It counts as held.
    Unreadable,
    /// The address has no lease.
    Free,
    /// The pod waits for an address.
    Waiting,
    /// The pod or the claim exists, and has no address.
    Without,
    /// There is no such pod or claim.
    Absent,
    /// It is not known which of these it is.
    Unknown,
    /// Several addresses: the parts have their states.
    Several,
}

/// One thing that is known, or known to be unknown.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Fact {
    /// What it is about.
    pub topic: Topic,
    /// The fact.
    #[schemars(with = "String")]
    pub text: Text,
    /// Who says so.
    #[schemars(with = "String")]
    pub source: Source,
}

impl Fact {
    /// A fact.
    pub fn new(topic: Topic, text: impl Into<Text>, source: Source) -> Self {
        Self { topic, text: text.into(), source }
    }

    /// A fact from the store.
    pub(super) fn stored(topic: Topic, text: impl Into<Text>) -> Self {
        Self::new(topic, text, Source::Store)
    }

    /// A fact from the API server.
    pub(super) fn from_api(topic: Topic, text: impl Into<Text>) -> Self {
        Self::new(topic, text, Source::ApiServer)
    }
}

/// What a fact is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Topic {
    /// Who holds the address, or held it last.
    Holder,
    /// The stable identity that keeps it.
    Owner,
    /// The host without a lease that uses it.
    Host,
    /// How it was selected.
    Decision,
    /// What happens to it on release, and when its present state ends.
    Release,
    /// Whether it is assigned at random.
    Random,
    /// What is requested, and whether it is assigned on request.
    Request,
    /// The networks whose subnets have it.
    Network,
    /// Values of the store that can't be read, do not fit each other, or are counted.
    Store,
    /// A pod, as the API server has it.
    Pod,
    /// A node, as the API server has it.
    Node,
    /// An IPAMClaim, as the API server has it.
    Claim,
    /// An event on a pod.
    Event,
    /// What a node has recorded.
    Record,
}

impl Topic {
    /// The topic as a word, for a table.
    pub fn word(self) -> &'static str {
        match self {
            Self::Holder => "holder",
            Self::Owner => "owner",
            Self::Host => "host",
            Self::Decision => "decision",
            Self::Release => "release",
            Self::Random => "random",
            Self::Request => "request",
            Self::Network => "network",
            Self::Store => "store",
            Self::Pod => "pod",
            Self::Node => "node",
            Self::Claim => "claim",
            Self::Event => "event",
            Self::Record => "record",
        }
    }
}

/// Where a fact comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A value in the store.
    Store,
    /// An answer of the API server, or the reason why there is none.
    ApiServer,
    /// This node's own record of an attachment, or a file of host-local.
    NodeFile(String),
    /// A network's configuration: a file or an object.
    Config(String),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Store => f.write_str("store"),
            Self::ApiServer => f.write_str("API server"),
            Self::NodeFile(place) | Self::Config(place) => f.write_str(place),
        }
    }
}

impl Serialize for Source {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Whether the store and the API server agree.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Agreement {
    /// The verdict.
    pub verdict: Verdict,
    /// The reasons; none if they agree.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub because: Vec<String>,
}

/// Whether two sources agree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// They do.
    Agree,
    /// One of them could not be asked, or can't tell.
    Unknown,
    /// They contradict each other.
    Disagree,
}

impl Agreement {
    /// The worst of several verdicts, with its reasons.
    pub(super) fn worst(verdicts: impl IntoIterator<Item = (Verdict, String)>) -> Self {
        let verdicts: Vec<(Verdict, String)> = verdicts.into_iter().collect();
        let verdict = verdicts.iter().map(|(verdict, _)| *verdict).max().unwrap_or(Verdict::Agree);
        let because = verdicts.into_iter().filter(|(of, why)| *of == verdict && !why.is_empty());
        Self { verdict, because: because.map(|(_, why)| why).collect() }
    }
}

impl fmt::Display for Agreement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let because = self.because.join("; ");
        let because = because.trim_end_matches('.');
        match self.verdict {
            Verdict::Agree => f.write_str("The store and the API server agree."),
            Verdict::Disagree => write!(f, "The store and the API server disagree: {because}."),
            Verdict::Unknown => write!(f, "Whether the store and the API server agree is not known: {because}."),
        }
    }
}

/// Something to do.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Remedy {
    /// What it achieves, and when it is right.
    #[schemars(with = "String")]
    pub text: Text,
    /// The command that does it, ready to paste.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub command: Option<Command>,
}

impl Remedy {
    /// Something that no command does.
    pub fn advice(text: impl Into<Text>) -> Self {
        Self { text: text.into(), command: None }
    }

    /// Something that a command does.
    pub fn run(text: impl Into<Text>, command: Command) -> Self {
        Self { text: text.into(), command: Some(command) }
    }
}
