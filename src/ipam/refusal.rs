//! Why an attachment does not get its addresses.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;

use ipnet::IpNet;
use jiff::Timestamp;

use super::address::SpanError;
use super::claim::ClaimError;
use super::lease::{Foreign, Holder, UnreadableValue};
use super::name::{AttachmentId, IfName, Name, NameError};
use super::node_selector::NodeMismatch;
use super::range::NotAssignable;
use super::request::AnnotationError;
use super::reservation::{Owner, OwnerError};
use super::takeover::{GoneReason, InUseReason, Mac};
use crate::cause::{Cause, chain};
use crate::store::TxnError;

/// What became of the addresses of a range set that has nothing left.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Held by somebody, as far as they were not seen to be reserved.
    pub held: u128,
    /// At rest, where `cooldown` is strict.
    pub resting: u128,
    /// Seen to be reserved for their owners.
    pub reserved: u128,
    /// Seen to be in use by hosts without a lease.
    pub foreign: u128,
    /// Held by host-local, as its files on this node say.
    pub host_local: Option<HostLocalFiles>,
    /// In the set, but never given at random: `exclude`, gateways, the window of fixed addresses.
    pub excluded: u128,
}

/// Files of host-local that hold addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostLocalFiles {
    /// How many.
    pub count: u128,
    /// Where they are.
    pub folder: PathBuf,
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { held, resting, reserved, foreign, host_local, excluded } = self;
        let by_host_local = host_local.as_ref().map_or(0, |files| files.count);
        let size = [held, resting, reserved, foreign, &by_host_local]
            .into_iter()
            .fold(0, |sum: u128, n| sum.saturating_add(*n));
        write!(f, "{size} {}, {held} held", if size == 1 { "address" } else { "addresses" })?;
        for (count, what) in [(resting, "resting (cooldown is strict)"), (reserved, "reserved"), (foreign, "foreign")] {
            if *count > 0 {
                write!(f, ", {count} {what}")?;
            }
        }
        if let Some(HostLocalFiles { count, folder }) = host_local {
            write!(f, ", {count} held by host-local ({})", folder.display())?;
        }
        if *excluded > 0 {
            write!(f, ", {excluded} more excluded")?;
        }
        Ok(())
    }
}

/// A refusal: nothing was held, or what was held is unchanged.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Refusal {
    /// A requested address is none.
    #[error("the address requested by {from} can't be read")]
    NotAnAddress {
        /// Where the request was found.
        from: String,
        /// What is wrong with it.
        #[source]
        error: SpanError,
    },
    /// A requested address lies in none of the network's subnets.
    #[error("{ip}, requested by {from}, is in no subnet of this network ({})", list(subnets))]
    OutsideSubnets {
        /// The address.
        ip: IpAddr,
        /// Where the request was found.
        from: String,
        /// All subnets of the network.
        subnets: Vec<IpNet>,
    },
    /// A requested address lies only in ranges from which other nodes draw.
    #[error(
        "{ip}, requested by {from}, is in range {range} of this network, which is for nodes {}; this node is {}",
        .mismatch.wanted(), .mismatch.found()
    )]
    OtherNodes {
        /// The address.
        ip: IpAddr,
        /// Where the request was found.
        from: String,
        /// The range.
        range: IpNet,
        /// Those nodes, and this one.
        mismatch: Box<NodeMismatch>,
    },
    /// A range set of the network has no range from which this node draws.
    #[error("no range of {} is for node {}; their nodes are {}", list(sets), .mismatch.found(), .mismatch.wanted())]
    NotOnNode {
        /// Where the sets are written.
        sets: Vec<String>,
        /// The nodes of their ranges, and this one.
        mismatch: Box<NodeMismatch>,
    },
    /// A requested address lies in a subnet, but can't be given.
    #[error("{ip}, requested by {from}, can't be given")]
    NotAssignable {
        /// The address.
        ip: IpAddr,
        /// Where the request was found.
        from: String,
        /// The rule it is against.
        #[source]
        why: NotAssignable,
    },
    /// A requested prefix length is not that of the subnet.
    #[error(
        "{asked}, requested by {from}, has another prefix length than its subnet {subnet}; leave the length out or \
         write \
         /{}", subnet.prefix_len()
    )]
    OtherPrefix {
        /// As requested.
        asked: IpNet,
        /// Where the request was found.
        from: String,
        /// The subnet.
        subnet: IpNet,
    },
    /// The pod's annotations can't be followed.
    #[error(transparent)]
    Annotation(Box<AnnotationError>),
    /// The claim that the pod names can't be followed.
    #[error(transparent)]
    Claim(Box<ClaimError>),
    /// The protocol version has room for one address of each family.
    #[error(
        "cniVersion {version} has room for one {family} address, but this network gives {count}; use 0.3.1 or later"
    )]
    OneAddressPerFamily {
        /// The version of the config.
        version: String,
        /// The family of which there are several.
        family: super::address::Family,
        /// How many.
        count: usize,
    },
    /// The pod's namespace may not get addresses from this network or from any range of a set.
    #[error(
        "pods of {} may not get addresses from {what}: its `namespaces` are {}",
        namespace.as_deref().map_or("no namespace".to_owned(), |name| format!("namespace {name}")), list(allowed)
    )]
    Namespace {
        /// The namespace of the pod; `None` for a call that is for no pod.
        namespace: Option<String>,
        /// The network or the range set.
        what: String,
        /// The globs.
        allowed: Vec<String>,
    },
    /// Somebody else holds a requested address.
    #[error("{ip} is held by {holder}, since {since:.0}; {why}")]
    Held {
        /// The address.
        ip: IpAddr,
        /// Who holds it.
        holder: Box<Holder>,
        /// Since when.
        since: Timestamp,
        /// What both pods belong to, if it is the same.
        workload: Option<String>,
        /// Why the address does not pass from it.
        why: Box<InUseReason>,
    },
    /// The address could pass from its holder, but somebody on the wire has it.
    #[error("can't take over {ip} from {holder} ({reason}): {mac} answers for it on {ifname}")]
    InUse {
        /// The address.
        ip: IpAddr,
        /// From whom it would pass.
        holder: Box<Holder>,
        /// Why that one does not need it any more.
        reason: GoneReason,
        /// Who answers.
        mac: Mac,
        /// The interface on which that was heard.
        ifname: IfName,
    },
    /// The address could pass from its holder, but nobody on the wire was asked whether it is in use.
    #[error("can't take over {ip} from {holder} ({reason}): probing the link failed")]
    Unprobed {
        /// The address.
        ip: IpAddr,
        /// From whom it would pass.
        holder: Box<Holder>,
        /// Why that one does not need it any more.
        reason: GoneReason,
        /// Why nobody was asked.
        #[source]
        cause: Cause,
    },
    /// A host that the store does not know uses the address.
    #[error(
        "can't use {ip}: {mac} answers for it (network {network}, node {node}, since {since:.0}), and holds no lease"
    )]
    Foreign {
        /// The address.
        ip: IpAddr,
        /// The host.
        mac: Mac,
        /// The network on whose link it answered.
        network: Name,
        /// The node that probed.
        node: Name,
        /// When it answered first.
        since: Timestamp,
    },
    /// Nobody holds the address, but it was released a moment ago or is kept for an owner, and a host uses it.
    #[error("can't use {ip} yet: {mac} answers for it on {ifname}, though its last holder has released it")]
    StillAnswers {
        /// The address.
        ip: IpAddr,
        /// Who answers.
        mac: Mac,
        /// The interface on which that was heard.
        ifname: IfName,
    },
    /// Somebody else probes for the address.
    #[error("can't use {ip} now: {mac} is probing for it as well, as seen on {ifname}")]
    ProbedByOther {
        /// The address.
        ip: IpAddr,
        /// Who.
        mac: Mac,
        /// The interface on which that was seen.
        ifname: IfName,
    },
    /// One host answers for whatever is probed, so that nothing can be learnt.
    #[error("{mac} answers on {ifname} for every address that is probed ({}), as proxy ARP does", list(ips))]
    AnswersForAll {
        /// Who answers.
        mac: Mac,
        /// The interface on which that was heard.
        ifname: IfName,
        /// For what it has answered.
        ips: Vec<IpAddr>,
    },
    /// Hosts answer for all that was probed.
    #[error("no address was found that is not in use on the link{}", examples_text(examples))]
    NoSilentAddress {
        /// Some of these addresses.
        examples: Vec<String>,
    },
    /// A new address was not probed yet.
    #[error("can't use {ip} before the link is probed for it: {}", chain(cause))]
    NewUnprobed {
        /// The address.
        ip: IpAddr,
        /// Why it was not probed.
        cause: Cause,
    },
    /// A requested address is kept for a stable identity of which nobody uses it now.
    #[error("{ip} is reserved for {owner}, unused since {since:.0}")]
    Reserved {
        /// The address.
        ip: IpAddr,
        /// For whom.
        owner: Box<Owner>,
        /// Since when nobody holds it.
        since: Timestamp,
    },
    /// Another pod of the owner holds an address, and this ADD would give the owner a second one.
    #[error("{owner} has {ip}, held by {holder}, since {since:.0}; node {node} would give it another address; {why}")]
    OwnerHoldsOther {
        /// The address that the owner has.
        ip: IpAddr,
        /// Whose it is.
        owner: Box<Owner>,
        /// Which of the owner's pods holds it.
        holder: Box<Holder>,
        /// Since when.
        since: Timestamp,
        /// The node of the pod that asks.
        node: Name,
        /// Why that pod is not taken for gone.
        why: Box<InUseReason>,
    },
    /// An address is kept for an owner, and the pod that asks is not shown to be one of that owner's.
    #[error("an address is reserved for {owner}, but kube-ipam can't confirm that this pod belongs to it")]
    OwnerUnproven {
        /// The owner that the pod names.
        owner: Box<Owner>,
        /// Why it is not taken for one of its own.
        #[source]
        why: Box<OwnerError>,
    },
    /// What the API server calls a pod's owner can't be a part of a key.
    #[error("can't reserve an address for the owner of pod {pod}")]
    NoOwner {
        /// The pod.
        pod: String,
        /// What is wrong with a name.
        #[source]
        error: NameError,
    },
    /// What an owner has can't be read by this version.
    #[error("the stored reservation of {owner} can't be read")]
    ReservationUnreadable {
        /// Whose it is.
        owner: Box<Owner>,
        /// Why it can't be read.
        #[source]
        why: UnreadableValue,
    },
    /// host-local's folder says that a container of this node still has a requested address.
    #[error("{ip} is still held by host-local ({file}); it is free once that file is gone")]
    HeldByHostLocal {
        /// The address.
        ip: IpAddr,
        /// The file that says so.
        file: String,
    },
    /// A requested address has a lease that this version can't read.
    #[error("{ip} counts as held, because its lease can't be read")]
    Unreadable {
        /// The address.
        ip: IpAddr,
        /// Why it can't be read.
        #[source]
        why: UnreadableValue,
    },
    /// A range set has nothing left.
    #[error("no address is free in {set}: {counts}{}", examples_text(examples))]
    Exhausted {
        /// The ranges of the set.
        set: String,
        /// What became of its addresses.
        counts: Box<Counts>,
        /// Some of the holders.
        examples: Vec<String>,
    },
    /// A range set has nothing left, but an address whose holder's pod is gone: it passes only if that is seen twice.
    #[error(
        "no address is free in {set}; {ip} is held by {holder}, whose pod is {reason}, and can go to another pod from \
         {until:.0} on if that pod is still gone"
    )]
    NotYet {
        /// The ranges of the set.
        set: String,
        /// The address.
        ip: IpAddr,
        /// Who holds it.
        holder: Box<Holder>,
        /// Why that one does not need it any more.
        reason: GoneReason,
        /// From when on another ADD gets it.
        until: Timestamp,
    },
    /// A range set has only fixed addresses.
    #[error("{set} has no addresses to give at random; request a fixed one")]
    NothingDynamic {
        /// The ranges of the set.
        set: String,
    },
    /// A repeated ADD, but the attachment has lost an address.
    #[error(
        "{attachment} had {ip}, but no longer holds it ({}); delete the pod, and its successor gets addresses",
        chain(now)
    )]
    Lost {
        /// The attachment.
        attachment: Box<AttachmentId>,
        /// What it has lost.
        ip: IpAddr,
        /// What the store says of the address.
        now: NotHeldReason,
    },
    /// A repeated ADD that asks for something else.
    #[error(
        "{attachment} already has {}, but now {asked} is requested; delete the pod, and its successor gets \
             addresses",
        list(has)
    )]
    AlreadyHasOther {
        /// The attachment.
        attachment: Box<AttachmentId>,
        /// What is asked for.
        asked: IpAddr,
        /// What it has.
        has: Vec<IpNet>,
    },
    /// The attachment's own entry can't be read by this version.
    #[error("the stored entry of {attachment} can't be read")]
    AttachmentUnreadable {
        /// The attachment.
        attachment: Box<AttachmentId>,
        /// Why it can't be read.
        #[source]
        why: UnreadableValue,
    },
    /// The store has lost what it was told, and not all nodes have written that back.
    #[error(
        "the store went back in time ({sign}) and may lack addresses of running pods; no address has been given out \
         since {since:.0}"
    )]
    Recovering {
        /// What showed it.
        sign: String,
        /// Since when no address is given.
        since: Timestamp,
    },
    /// Others were faster, again and again.
    #[error("other calls took every address that was tried, {rounds} times in a row; the next attempt starts over")]
    Contended {
        /// How many transactions were tried.
        rounds: u32,
    },
    /// More addresses than one transaction takes.
    #[error(
        "{asked} addresses are needed for this interface, but one transaction holds at most {most}; use fewer range \
         sets or request fewer addresses"
    )]
    TooManyAddresses {
        /// One per range set, or as many as are requested of it.
        asked: usize,
        /// What is possible.
        most: usize,
    },
    /// Beyond what a store takes in one transaction.
    #[error("what this network writes does not fit into one transaction")]
    TooLarge(#[from] TxnError),
}

impl From<AnnotationError> for Refusal {
    fn from(error: AnnotationError) -> Self {
        Self::Annotation(Box::new(error))
    }
}

impl From<ClaimError> for Refusal {
    fn from(error: ClaimError) -> Self {
        Self::Claim(Box::new(error))
    }
}

impl Refusal {
    /// The refusal of an address by the host that uses it.
    pub fn foreign(ip: IpAddr, foreign: &Foreign, since: Timestamp) -> Self {
        let Foreign { mac, network, node, .. } = foreign.clone();
        Self::Foreign { ip, mac, network, node, since }
    }

    /// Whether the same call may succeed later although nobody changes its config or request.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Held { .. }
            | Self::InUse { .. }
            | Self::Unprobed { .. }
            | Self::Foreign { .. }
            | Self::StillAnswers { .. }
            | Self::ProbedByOther { .. }
            | Self::AnswersForAll { .. }
            | Self::NoSilentAddress { .. }
            | Self::NewUnprobed { .. }
            | Self::Reserved { .. }
            | Self::OwnerHoldsOther { .. }
            | Self::OwnerUnproven { .. }
            | Self::ReservationUnreadable { .. }
            | Self::HeldByHostLocal { .. }
            | Self::Unreadable { .. }
            | Self::Exhausted { .. }
            | Self::NotYet { .. }
            | Self::Lost { .. }
            | Self::AlreadyHasOther { .. }
            | Self::AttachmentUnreadable { .. }
            | Self::Recovering { .. }
            | Self::Contended { .. } => true,
            Self::NotAnAddress { .. }
            | Self::OutsideSubnets { .. }
            | Self::OtherNodes { .. }
            | Self::NotOnNode { .. }
            | Self::NotAssignable { .. }
            | Self::OtherPrefix { .. }
            | Self::Annotation(_)
            | Self::Claim(_)
            | Self::OneAddressPerFamily { .. }
            | Self::Namespace { .. }
            | Self::NoOwner { .. }
            | Self::NothingDynamic { .. }
            | Self::TooManyAddresses { .. }
            | Self::TooLarge(_) => false,
        }
    }

    /// Whether this node is the reason: it draws nothing from the range that is asked, or from any of a set.
    pub fn is_about_node(&self) -> bool {
        match self {
            Self::NotOnNode { .. } | Self::OtherNodes { .. } => true,
            Self::Claim(error) => {
                matches!(&**error, ClaimError::Status { refusal, .. } if refusal.is_about_node())
            }
            _ => false,
        }
    }

    /// A word for logs and metrics.
    pub fn label(&self) -> &'static str {
        match self {
            Self::NotAnAddress { .. } | Self::OtherPrefix { .. } | Self::NoOwner { .. } => "bad_request",
            Self::Annotation(_) => "annotation",
            Self::Claim(_) => "claim",
            Self::OutsideSubnets { .. } | Self::OtherNodes { .. } | Self::NotAssignable { .. } => "not_assignable",
            Self::NotOnNode { .. } => "node",
            Self::OneAddressPerFamily { .. } => "version",
            Self::Namespace { .. } => "namespace",
            Self::Held { .. }
            | Self::InUse { .. }
            | Self::Unprobed { .. }
            | Self::StillAnswers { .. }
            | Self::ProbedByOther { .. }
            | Self::NewUnprobed { .. }
            | Self::OwnerHoldsOther { .. }
            | Self::HeldByHostLocal { .. }
            | Self::Unreadable { .. } => "held",
            Self::Reserved { .. } | Self::OwnerUnproven { .. } | Self::ReservationUnreadable { .. } => "reserved",
            Self::Foreign { .. } | Self::AnswersForAll { .. } | Self::NoSilentAddress { .. } => "foreign",
            Self::Exhausted { .. } | Self::NotYet { .. } | Self::NothingDynamic { .. } => "exhausted",
            Self::Lost { .. } | Self::AlreadyHasOther { .. } | Self::AttachmentUnreadable { .. } => "attachment",
            Self::Recovering { .. } => "recovering",
            Self::Contended { .. } => "contended",
            Self::TooManyAddresses { .. } | Self::TooLarge(_) => "too_large",
        }
    }
}

/// What the store says of an address that an attachment has lost.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum NotHeldReason {
    /// There is no lease of it.
    #[error("nobody holds it")]
    NoLease,
    /// It was released.
    #[error("it is in cooldown")]
    InCooldown,
    /// Nobody uses it, and it is kept for its owner.
    #[error("it is reserved for {0}")]
    Reserved(Box<Owner>),
    /// Somebody else has it.
    #[error("{0} holds it")]
    HeldBy(Box<Holder>),
    /// Its lease says of nobody that he has it.
    #[error("its lease names no holder")]
    NoHolder,
    /// A take-over or a person has taken it from the attachment, whose entry says so.
    #[error("a take-over or an operator took it")]
    Taken,
    /// Its lease can't be read.
    #[error("its lease can't be read")]
    Unreadable(#[source] UnreadableValue),
}

/// Several things in one text.
pub(crate) fn list<T: std::fmt::Display>(items: &[T]) -> String {
    items.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn examples_text(examples: &[String]) -> String {
    if examples.is_empty() { String::new() } else { format!("; among them: {}", examples.join("; ")) }
}

#[cfg(test)]
mod tests;
