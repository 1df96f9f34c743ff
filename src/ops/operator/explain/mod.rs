//! Explains addresses, pods, claims, hosts and subnets: finds out what the store, the API server, this node and the
//! networks' definitions say, and lets [`crate::explain`] put it together. It reads only.
//!
//! ```text
//!  store     ip/<vrf>/…/<address>, at/<holder>, net/…        ─┐
//!  API       GET of each holder's pod, its owner, its claim; ─┼─► facts ─► explain_… ─► Explanation
//!            the events of the pod that was asked about       │
//!  node      records of its own attachments, host-local       │
//!  networks  --config, NetworkAttachmentDefinitions, the      ─┘
//!            node's CNI folder, net/
//! ```
//!
//! A store that does not answer is an error. An API server that does not answer is a fact.

pub(super) mod api;
pub(super) mod networks;
mod next;
mod node;
mod search;
mod subnet;

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Map, Value};

pub(in crate::ops::operator) use self::api::Api;
use self::networks::Networks;
use super::list::keys_of_address;
use super::{STORE_TIMEOUT, Work};
use crate::config::CallSettings;
use crate::deadline::Deadline;
use crate::error::Error;
use crate::explain::{
    AddressFacts, Before, ClaimFacts, Commands, Explanation, ObjectName, PodAnswer, PodFacts, State, Subject,
    address_in, explain_address, explain_claim, explain_host, explain_pod, last_refusal, refused_pods,
};
use crate::ipam::keys;
use crate::ipam::lease::{Attachment, Lease, Stored};
use crate::ipam::name::{AttachmentId, IfName, Name};
use crate::ipam::request::FIRST_INTERFACE;
use crate::ipam::takeover::PodLookup;
use crate::ops::earlier::earlier_holders;
use crate::ops::{Node, Session};
use crate::store::{Entry, StoreConfig};

/// The namespace of a pod or claim that is named without one, and of which the store knows nothing.
const DEFAULT_NAMESPACE: &str = "default";

/// How long to search for the earlier holders of an address, in all its routing domains and sources together.
const EARLIER_TIMEOUT: Duration = Duration::from_secs(5);

/// After how many leases it is shown how many were read.
const LEASES_PER_REPORT: u64 = 1_000;

/// What is to be explained, and from what.
#[derive(Clone, Debug)]
pub struct ExplainOptions {
    /// What is to be explained.
    pub subject: Subject,
    /// Of a pod, only this interface.
    pub ifname: Option<IfName>,
    /// Only in this routing domain.
    pub vrf: Option<Name>,
    /// The configuration of a network, with its file. It wins over all others of its name.
    pub config: Option<(PathBuf, Map<String, Value>)>,
    /// The folder with the networks of this node's runtime.
    pub cni_folder: PathBuf,
    /// Builds the commands of remedies.
    pub commands: Commands,
}

/// The answer: one explanation, or for an address one for each routing domain that has it.
#[derive(Clone, Debug, PartialEq)]
pub struct ExplainReport {
    /// The explanations.
    pub explanations: Vec<Explanation>,
}

/// Explains the subject, and passes on what it works on.
pub fn explain(
    settings: &CallSettings,
    store: &StoreConfig,
    env: &dyn Fn(&str) -> Option<String>,
    options: &ExplainOptions,
    at_work: &dyn Fn(Work),
) -> Result<ExplainReport, Error> {
    let session = Session::open(store.clone(), None)?;
    at_work(reading("the networks", 0));
    let (mut api, now) = (Api::new(settings), Timestamp::now());
    let networks = networks::find(&session, &mut api, env, options.config.as_ref(), &options.cni_folder)?;
    let node = Node::new(settings, Deadline::after(STORE_TIMEOUT));
    let mut explainer = Explainer { session, node, api, networks, options, now, at_work };
    let explanations = match &options.subject {
        Subject::Address(ip) => explainer.address_with_past(*ip)?,
        Subject::Subnet(net) => subnet::explain(&mut explainer, *net)?,
        Subject::Pod(name) => vec![explainer.pod(name)?],
        Subject::Claim(name) => vec![explainer.claim(name)?],
        Subject::Mac(mac) => {
            let found = search::of_host(&explainer, *mac)?;
            let parts = found.into_iter().map(|found| explainer.found(found)).collect::<Result<_, _>>()?;
            vec![explain_host(*mac, parts)]
        }
    };
    Ok(ExplainReport { explanations })
}

/// An address with its lease, as a search has found it.
struct Found {
    vrf: Name,
    ip: IpAddr,
    lease: Stored<Lease>,
}

/// Everything that an explanation draws on.
struct Explainer<'a> {
    session: Session,
    node: Node<'a>,
    api: Api<'a>,
    networks: Networks,
    options: &'a ExplainOptions,
    now: Timestamp,
    at_work: &'a dyn Fn(Work),
}

/// What is read, and how much of it was.
fn reading(what: &'static str, done: u64) -> Work {
    Work { what, done, total: None }
}

impl Explainer<'_> {
    /// Explains an address in each routing domain that has it.
    fn address(&mut self, ip: IpAddr) -> Result<Vec<Explanation>, Error> {
        (self.at_work)(reading("the lease", 0));
        let leases = self.leases(ip)?;
        let vrf = self.options.vrf.as_ref();
        let around = self.networks.views.iter().filter(|network| network.has(ip)).map(|network| &network.vrf);
        let around = around.filter(|of| vrf.is_none_or(|vrf| vrf == *of));
        let mut vrfs: BTreeSet<Name> = leases.iter().map(|(vrf, _)| vrf).chain(around).cloned().collect();
        if vrfs.is_empty() {
            vrfs.insert(vrf.unwrap_or(&self.node.settings.vrf).clone());
        }
        let explanation = |vrf: Name| {
            let lease = leases.iter().find(|(of, _)| *of == vrf).map(|(_, lease)| lease.clone());
            self.address_in(vrf, ip, lease)
        };
        vrfs.into_iter().map(explanation).collect()
    }

    /// Shows how many leases were read. A page of them is the least that takes time.
    fn leases_read(&self, count: u64) {
        if count.is_multiple_of(LEASES_PER_REPORT) {
            (self.at_work)(reading("leases", count));
        }
    }

    /// The same, with what happened around it and before it.
    fn address_with_past(&mut self, ip: IpAddr) -> Result<Vec<Explanation>, Error> {
        let found = self.address(ip)?;
        let deadline = Deadline::after(EARLIER_TIMEOUT);
        let mut explained = Vec::new();
        let mut left = u32::try_from(found.len()).unwrap_or(u32::MAX);
        for explanation in found {
            let share = deadline.at_most(deadline.remaining() / left);
            explained.push(self.with_surroundings(explanation, share));
            left = left.saturating_sub(1).max(1);
        }
        Ok(explained)
    }

    /// Adds who was refused the address, unless it is free, and who had it before.
    fn with_surroundings(&mut self, mut explanation: Explanation, deadline: Deadline) -> Explanation {
        let Some((ip, vrf)) = explanation.address.zip(explanation.vrf.as_ref()) else { return explanation };
        explanation.facts.extend(self.networks.missing_rules(vrf, ip));
        (self.at_work)(reading("earlier holders", 0));
        let before = Before::from(earlier_holders(&self.session, self.node.settings, vrf, ip, deadline));
        if explanation.state != State::Free {
            explanation.facts.extend(self.api.refusals().iter().flat_map(|events| refused_pods(ip, events)));
        }
        Explanation { before: Some(before), ..explanation }
    }

    fn found(&mut self, Found { vrf, ip, lease }: Found) -> Result<Explanation, Error> {
        self.address_in(vrf, ip, Some(lease))
    }

    fn address_in(&mut self, vrf: Name, ip: IpAddr, lease: Option<Stored<Lease>>) -> Result<Explanation, Error> {
        let known = lease.as_ref().and_then(Stored::as_known);
        let holders = known.filter(|lease| lease.is_held()).map(|lease| lease.holders.as_slice()).unwrap_or_default();
        let attachments = holders.iter().map(|holder| self.attachment(&holder.id)).collect::<Result<_, _>>()?;
        let owner = known.filter(|lease| lease.unused.is_some()).and_then(|lease| lease.owner.as_ref());
        let pods: Vec<PodAnswer> = holders.iter().map(|holder| self.api.holder(holder)).collect();
        let has_pod = |answer: &PodAnswer| matches!(&answer.found, Ok(PodLookup::Found(_)));
        let of_pods = holders.iter().zip(&pods).filter(|(_, answer)| has_pod(answer));
        let nodes = of_pods.map(|(holder, _)| self.api.node(&holder.id.node)).collect();
        let next =
            holders.first().zip(pods.first()).map(|(holder, answer)| next::of_holder(self, holder, answer.pod()));
        let views = &self.networks.views;
        Ok(explain_address(&AddressFacts {
            attachments,
            networks: views.iter().filter(|network| network.vrf == vrf && network.has(ip)).collect(),
            pods,
            nodes,
            owner_exists: owner.map(|owner| self.api.owner_exists(owner)),
            records: node::records(&self.node, holders),
            next,
            before: None,
            host_local: if lease.is_none() { node::host_local(views, &vrf, ip) } else { None },
            now: self.now,
            commands: &self.options.commands,
            vrf,
            ip,
            lease: lease.clone(),
        }))
    }

    /// The address's leases, by routing domain.
    fn leases(&self, ip: IpAddr) -> Result<Vec<(Name, Stored<Lease>)>, Error> {
        let keys = keys_of_address(&self.session, ip, self.options.vrf.as_ref())?;
        let mut leases = Vec::new();
        self.session.each_of(keys, STORE_TIMEOUT, |entry: &Entry| {
            leases.extend(keys::read_lease(&entry.key).map(|(vrf, _)| (vrf, Stored::read(&entry.value))));
            Ok::<_, Error>(())
        })?;
        Ok(leases)
    }

    fn attachment(&self, id: &AttachmentId) -> Result<(AttachmentId, Option<Stored<Attachment>>), Error> {
        let entry = self.session.get(keys::attachment(id), Deadline::after(STORE_TIMEOUT))?;
        Ok((id.clone(), entry.map(|entry| Stored::read(&entry.value))))
    }

    fn pod(&mut self, name: &ObjectName) -> Result<Explanation, Error> {
        let (options, mut found) = (self.options, search::of_pod(self, name)?);
        let is_on = |lease: &Lease, ifname: &IfName| lease.holders.iter().any(|holder| holder.id.ifname == *ifname);
        let fits = |found: &Found| match (&options.ifname, found.lease.as_known()) {
            (Some(ifname), Some(lease)) => is_on(lease, ifname),
            _ => true,
        };
        found.retain(fits);
        let name = self.qualified(name, &found);
        let parts = found.into_iter().map(|found| self.found(found)).collect::<Result<Vec<_>, _>>()?;
        (self.at_work)(reading("the pod", 0));
        let (state, events) = self.api.pod(&name);
        let interfaces = match &state {
            Ok(PodLookup::Found(state)) => search::interfaces(&state.pod, options.ifname.as_ref()),
            _ => Vec::new(),
        };
        let refused = events.as_ref().ok().and_then(|events| last_refusal(events));
        let waits_for = match refused.and_then(|event| address_in(&event.message)) {
            Some(ip) if parts.iter().all(|part| part.address != Some(ip)) => self.address(ip)?.into_iter().next(),
            _ => None,
        };
        let next = match &state {
            Ok(PodLookup::Found(state)) if parts.iter().all(|part| part.state != State::Held) => {
                let ifname = options.ifname.as_ref().map(IfName::as_str).or(interfaces.first().map(String::as_str));
                let node = refused.and_then(|event| event.host.as_deref());
                Some(next::of_pod(self, &state.pod, ifname.unwrap_or(FIRST_INTERFACE), node))
            }
            _ => None,
        };
        let (now, commands) = (self.now, &self.options.commands);
        Ok(explain_pod(PodFacts { name, found: state, events, parts, interfaces, next, waits_for, now, commands }))
    }

    fn claim(&mut self, name: &ObjectName) -> Result<Explanation, Error> {
        let found = search::of_claim(self, name)?;
        let owner = found.iter().filter_map(|found| found.lease.as_known()).find_map(|lease| lease.owner.as_ref());
        let namespace = name.namespace.clone().or_else(|| owner.map(|owner| owner.namespace.to_string()));
        let namespace = namespace.unwrap_or_else(|| DEFAULT_NAMESPACE.to_owned());
        let name = ObjectName { namespace: Some(namespace), name: name.name.clone() };
        let parts = found.into_iter().map(|found| self.found(found)).collect::<Result<_, _>>()?;
        (self.at_work)(reading("the claim", 0));
        let found = self.api.claim(&name);
        Ok(explain_claim(ClaimFacts { name, found, parts, commands: &self.options.commands }))
    }

    /// A pod's name with its namespace: the given one, else that of the addresses that the store has of it.
    fn qualified(&self, name: &ObjectName, found: &[Found]) -> ObjectName {
        let leases = found.iter().filter_map(|found| found.lease.as_known());
        let mut holders = leases.flat_map(|lease| &lease.holders);
        let holder = holders.find(|holder| holder.pod.name.as_ref() == Some(&name.name));
        let stored = holder.and_then(|holder| holder.pod.namespace.clone());
        let namespace = name.namespace.clone().or(stored).unwrap_or_else(|| DEFAULT_NAMESPACE.to_owned());
        ObjectName { namespace: Some(namespace), name: name.name.clone() }
    }
}
