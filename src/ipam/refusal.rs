//! Refusals: why an attachment does not get its addresses.

mod annotation;
mod class;
mod counts;
mod not_held;
#[cfg(test)]
mod tests;

use std::net::IpAddr;

use ipnet::IpNet;
use jiff::Timestamp;

pub use self::counts::{Counts, HostLocalFiles};
pub use self::not_held::NotHeldReason;
use super::address::SpanError;
use super::claim::ClaimError;
use super::lease::{Foreign, Holder, ManualReservation, UnreadableValue};
use super::name::{AttachmentId, IfName, Name, NameError};
use super::node_selector::NodeMismatch;
use super::range::NotAssignable;
use super::request::{AnnotationError, Key, Source};
use super::reservation::{Owner, OwnerError};
use super::takeover::{GoneReason, InUseReason, Mac};
use crate::cause::{Cause, chain};
use crate::store::TxnError;

/// A refusal. It changes none of the attachment's addresses.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Refusal {
    /// A requested address can't be read.
    #[error("the address requested by {from} can't be read")]
    NotAnAddress {
        /// Where the request was found.
        from: Box<Source>,
        /// The address as written.
        text: String,
        /// Why it can't be read.
        #[source]
        error: SpanError,
    },
    /// A requested address lies in none of the network's subnets.
    #[error("{ip}, requested by {from}, is in no subnet of this network ({})", list(subnets))]
    OutsideSubnets {
        /// The address.
        ip: IpAddr,
        /// Where the request was found.
        from: Box<Source>,
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
        from: Box<Source>,
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
    /// A requested address is in a subnet, but can't be assigned.
    #[error("{ip}, requested by {from}, can't be assigned")]
    NotAssignable {
        /// The address.
        ip: IpAddr,
        /// Where the request was found.
        from: Box<Source>,
        /// The rule that forbids it.
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
        from: Box<Source>,
        /// The subnet.
        subnet: IpNet,
    },
    /// The pod's annotations can't be used.
    #[error(transparent)]
    Annotation(Box<AnnotationError>),
    /// The claim that the pod names can't be used.
    #[error(transparent)]
    Claim(Box<ClaimError>),
    /// The protocol version has room for one address of each family.
    #[error(
        "cniVersion {version} has room for one {family} address, but this network assigns {count}; use 0.3.1 or later"
    )]
    OneAddressPerFamily {
        /// The version of the config.
        version: String,
        /// The family with several addresses.
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
        /// The namespace of the pod; `None` without a pod.
        namespace: Option<String>,
        /// The network or the range set.
        what: String,
        /// The globs.
        allowed: Vec<String>,
        /// The annotation that requests a pool; `None` if the network or the set is closed to the namespace.
        key: Option<Key>,
    },
    /// A requested address has another holder.
    #[error("{ip} is held by {holder}, since {since:.0}; {why}")]
    Held {
        /// The address.
        ip: IpAddr,
        /// The holder.
        holder: Box<Holder>,
        /// Since when.
        since: Timestamp,
        /// The workload of both pods, if it is the same.
        workload: Option<String>,
        /// Why the address is not taken over.
        why: Box<InUseReason>,
    },
    /// The address could be taken over, but a host on the link uses it.
    #[error("can't take over {ip} from {holder} ({reason}): {mac} answers for it on {ifname}")]
    InUse {
        /// The address.
        ip: IpAddr,
        /// The holder that would lose it.
        holder: Box<Holder>,
        /// Why the holder no longer needs it.
        reason: GoneReason,
        /// The MAC address of the host.
        mac: Mac,
        /// The interface on which the host replied.
        ifname: IfName,
    },
    /// The address could be taken over, but the link could not be probed.
    #[error("can't take over {ip} from {holder} ({reason}): probing the link failed")]
    Unprobed {
        /// The address.
        ip: IpAddr,
        /// The holder that would lose it.
        holder: Box<Holder>,
        /// Why the holder no longer needs it.
        reason: GoneReason,
        /// Why the probe failed.
        #[source]
        cause: Cause,
    },
    /// A host without a lease uses the address.
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
        /// When it first answered.
        since: Timestamp,
    },
    /// Nobody holds the address, but it was released recently or is reserved, and a host uses it.
    #[error("can't use {ip} yet: {mac} answers for it on {ifname}, though no lease says that it is in use")]
    StillAnswers {
        /// The address.
        ip: IpAddr,
        /// Who answers.
        mac: Mac,
        /// The interface on which that was heard.
        ifname: IfName,
    },
    /// Another host probes for the address.
    #[error("can't use {ip} now: {mac} is probing for it as well, as seen on {ifname}")]
    ProbedByOther {
        /// The address.
        ip: IpAddr,
        /// Who.
        mac: Mac,
        /// The interface on which that was seen.
        ifname: IfName,
    },
    /// One host answers for every address, so that probes show nothing.
    #[error("{mac} answers on {ifname} for every address that is probed ({}), as proxy ARP does", list(ips))]
    AnswersForAll {
        /// Who answers.
        mac: Mac,
        /// The interface on which that was heard.
        ifname: IfName,
        /// The addresses for which it answered.
        ips: Vec<IpAddr>,
    },
    /// Hosts answer for all addresses that were probed.
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
    /// A requested address is reserved for an owner, and nobody uses it now.
    #[error("{ip} is reserved for {owner}, unused since {since:.0}")]
    Reserved {
        /// The address.
        ip: IpAddr,
        /// The owner.
        owner: Box<Owner>,
        /// The end of its use.
        since: Timestamp,
    },
    /// A requested address is reserved by hand, and not for the requesting pod.
    #[error("{ip} is {manual}")]
    ReservedByHand {
        /// The address.
        ip: IpAddr,
        /// What the operator said of it.
        manual: Box<ManualReservation>,
    },
    /// Another pod of the owner holds an address, and this ADD would assign a second one.
    #[error("{owner} has {ip}, held by {holder}, since {since:.0}; node {node} would assign another one; {why}")]
    OwnerHoldsOther {
        /// The address that the owner has.
        ip: IpAddr,
        /// The owner of that address.
        owner: Box<Owner>,
        /// The owner's pod that holds it.
        holder: Box<Holder>,
        /// Since when.
        since: Timestamp,
        /// The node of the requesting pod.
        node: Name,
        /// Why that pod is not confirmed gone.
        why: Box<InUseReason>,
    },
    /// An address is reserved for an owner, and the requesting pod is not confirmed to belong to it.
    #[error("an address is reserved for {owner}, but kube-ipam can't confirm that this pod belongs to it")]
    OwnerUnproven {
        /// The owner that the pod names.
        owner: Box<Owner>,
        /// Why that is not confirmed.
        #[source]
        why: Box<OwnerError>,
    },
    /// The name of a pod's owner can't be part of a key.
    #[error("can't reserve an address for the owner of pod {pod}")]
    NoOwner {
        /// The pod.
        pod: String,
        /// Why the name is not valid.
        #[source]
        error: NameError,
    },
    /// This version can't read an owner's reservation.
    #[error("the stored reservation of {owner} can't be read")]
    ReservationUnreadable {
        /// The owner of the reservation.
        owner: Box<Owner>,
        /// Why it can't be read.
        #[source]
        why: UnreadableValue,
    },
    /// According to host-local's folder, a container of this node still has a requested address.
    #[error("{ip} is still held by host-local ({file}); it is free once that file is gone")]
    HeldByHostLocal {
        /// The address.
        ip: IpAddr,
        /// The file of host-local.
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
    /// A range set has no free address.
    #[error("no address is free in {set}: {counts}{}", examples_text(examples))]
    Exhausted {
        /// The ranges of the set.
        set: String,
        /// Its addresses, by their state.
        counts: Box<Counts>,
        /// Some of the holders.
        examples: Vec<String>,
    },
    /// A range set has no free address. One can be taken over later, if its pod is seen gone again.
    #[error(
        "no address is free in {set}; {ip} is held by {holder}, whose pod is {reason}, and can go to another pod from \
         {until:.0} on if that pod is still gone"
    )]
    NotYet {
        /// The ranges of the set.
        set: String,
        /// The address.
        ip: IpAddr,
        /// Its present holder.
        holder: Box<Holder>,
        /// Why the holder no longer needs it.
        reason: GoneReason,
        /// When another ADD can get it.
        until: Timestamp,
    },
    /// A range set has only fixed addresses.
    #[error("{set} has no random addresses; request a fixed one")]
    NothingDynamic {
        /// The ranges of the set.
        set: String,
    },
    /// The attachment of a repeated ADD has lost an address.
    #[error(
        "{attachment} had {ip}, but no longer holds it ({}); delete the pod, and its successor gets addresses",
        chain(now)
    )]
    Lost {
        /// The attachment.
        attachment: Box<AttachmentId>,
        /// The lost address.
        ip: IpAddr,
        /// The state of the address in the store.
        now: NotHeldReason,
    },
    /// A repeated ADD requests something else.
    #[error(
        "{attachment} already has {}, but now {asked} is requested; delete the pod, and its successor gets \
             addresses",
        list(has)
    )]
    AlreadyHasOther {
        /// The attachment.
        attachment: Box<AttachmentId>,
        /// The requested address.
        asked: IpAddr,
        /// The addresses of the attachment.
        has: Vec<IpNet>,
    },
    /// This version can't read the attachment's entry.
    #[error("the stored entry of {attachment} can't be read")]
    AttachmentUnreadable {
        /// The attachment.
        attachment: Box<AttachmentId>,
        /// Why it can't be read.
        #[source]
        why: UnreadableValue,
    },
    /// The store has lost writes, and not all nodes have written back their attachments.
    #[error(
        "the store went back in time ({sign}) and may lack addresses of running pods; no address has been assigned \
         since {since:.0}"
    )]
    Recovering {
        /// The sign of the loss.
        sign: String,
        /// The beginning of the recovery.
        since: Timestamp,
    },
    /// Other calls were faster again and again.
    #[error("other calls took every address that was tried, {rounds} times in a row; the next attempt starts over")]
    Contended {
        /// How many transactions were tried.
        rounds: u32,
    },
    /// The interface needs more addresses than one transaction holds.
    #[error(
        "{asked} addresses are needed for this interface, but one transaction holds at most {most}; use fewer range \
         sets or request fewer addresses"
    )]
    TooManyAddresses {
        /// The number of addresses.
        asked: usize,
        /// The limit.
        most: usize,
    },
    /// A transaction exceeds the limits of a store.
    #[error("what this network writes does not fit into one transaction")]
    TooLarge(#[from] TxnError),
}

impl Refusal {
    /// The refusal of an address by the host that uses it.
    pub fn foreign(ip: IpAddr, foreign: &Foreign, since: Timestamp) -> Self {
        let Foreign { mac, network, node, .. } = foreign.clone();
        Self::Foreign { ip, mac, network, node, since }
    }
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

/// Several things in one text.
pub(crate) fn list<T: std::fmt::Display>(items: &[T]) -> String {
    items.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn examples_text(examples: &[String]) -> String {
    if examples.is_empty() { String::new() } else { format!("; among them: {}", examples.join("; ")) }
}
