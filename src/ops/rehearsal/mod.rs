//! Rehearses an ADD: the same requests, rules, checks and decision, with nothing written anywhere.
//!
//! ```text
//!  Rehearsal ─┬─ the store       an overlay: reads are real, writes stay in memory
//!             ├─ the API server  GETs, as in an ADD
//!             ├─ the records     read without locks, if the attachment is of this node
//!             └─ the link        not probed; what a real ADD would probe is in `Rehearsed::would_be_probed`
//! ```
//!
//! Several ADDs of one rehearsal see each other, as they would in the cluster. Limits: what another node knows alone
//! (its records, host-local's files there) is not known here, and time passes before the real ADD. If the store has lost
//! writes, a rehearsal is refused like the ADD, but only that begins a recovery.

#[cfg(test)]
pub(super) mod tests;

use std::net::IpAddr;
use std::time::Duration;

use super::cluster::kubeconfig;
use super::containers;
use super::prepared::{self, PreparedAdd};
use super::recovery::Witnesses;
use super::release::ReleaseTask;
use super::requests::PodFacts;
use super::takeover::{self, Checks, Requester};
use super::{Node, Session};
use crate::cluster::{Access, ApiServer};
use crate::cni::{CniVersion, Target};
use crate::config::{CallSettings, Network};
use crate::deadline::Deadline;
use crate::error::Error;
use crate::ipam::claim::Claim;
use crate::ipam::cluster::ClusterIdentity;
use crate::ipam::decide::{Add, Allocation};
use crate::ipam::lease::{Began, PodRef};
use crate::ipam::name::AttachmentId;
use crate::ipam::recovery::{Recorded, Witness};
use crate::ipam::refusal::Refusal;
use crate::ipam::request::RequestedAddresses;
use crate::ipam::takeover::{GoneReason, InUseReason, ProbeResult};
use crate::record::{ReadResult, Record, RecordState};
use crate::store::{Revision, StoreConfig};

/// How long a rehearsal waits for each answer of the API server.
const API_TIMEOUT: Duration = Duration::from_secs(3);

/// An ADD that a runtime might send.
#[derive(Clone, Debug)]
pub struct RehearsedAdd {
    /// The attachment. That of a stored lease asks what a repeated ADD would get.
    pub id: AttachmentId,
    /// The pod. Its UID must be that of the API server's object, if it is known.
    pub pod: PodRef,
    /// When the ADD begins on its node. For a node other than this one, a time after the stored holder's.
    pub began: Began,
    /// `cniVersion` of the network's configuration. Old results have room for one address of each family.
    pub version: CniVersion,
    /// The addresses that the runtime passes, if any.
    pub requested: Option<RequestedAddresses>,
}

/// What the ADD would get.
#[derive(Clone, Debug, PartialEq)]
pub struct Rehearsed {
    /// The addresses. Revisions are those of the overlay.
    pub allocation: Allocation,
    /// The addresses that the ADD would probe for on the link first. The allocation assumes that no host answers.
    pub would_be_probed: Vec<IpAddr>,
}

/// A store and an API server that are only read.
pub struct Rehearsal<'a> {
    node: Node<'a>,
    store: StoreConfig,
    session: Session,
    timeout: Duration,
    version: CniVersion,
    /// Whether the ADD is one of this node.
    is_of_this_node: bool,
    /// The records of this node that the ADD may compare with the store.
    witnesses: Witnesses,
    would_be_probed: Vec<IpAddr>,
}

impl<'a> Rehearsal<'a> {
    /// Opens the store without sending a request. `timeout` is the limit for each request to it.
    pub fn new(settings: &'a CallSettings, store: &StoreConfig, timeout: Duration) -> Result<Self, Error> {
        Ok(Self {
            node: Node::new(settings, Deadline::after(timeout)),
            store: store.clone(),
            session: Session::open(store.clone(), None)?.into_overlay(),
            timeout,
            version: CniVersion::NEWEST,
            is_of_this_node: false,
            witnesses: Witnesses::default(),
            would_be_probed: Vec::new(),
        })
    }

    /// The overlay. What it is asked includes what earlier ADDs of this rehearsal would have written.
    pub fn session(&self) -> &Session {
        &self.session
    }

    /// What this ADD would get, or why it would be refused ([`Error::Refused`]). Any other error means that the
    /// question could not be answered.
    pub fn add(&mut self, network: &Network, add: &RehearsedAdd) -> Result<Rehearsed, Error> {
        let RehearsedAdd { id, pod, began, version, requested } = add;
        self.version = *version;
        self.is_of_this_node = self.node.records.is_own_name(&id.node);
        self.witnesses = Witnesses::default();
        let (container, ifname) = (id.container.clone(), id.ifname.clone());
        let target = Target { container, ifname, netns: None, pod: pod.clone() };
        let resolved = prepared::resolve(self, network, id, &target, requested.as_ref(), None)?;
        let prepared = PreparedAdd::new(&self.node, network, &self.store, resolved, (id.clone(), pod, began.clone()))?;
        let mut machine = self.with_records(&prepared)?;
        let requester = Requester { pod, migration: prepared.migration.as_ref(), reads_pods: network.annotations };
        self.decide_with_checks(requester, &mut machine)
    }

    /// What an ADD of a pod with this decision would get. The pod need not exist.
    pub(super) fn run(&mut self, pod: &PodRef, network: &Network, machine: &mut Add) -> Result<Rehearsed, Error> {
        self.is_of_this_node = false;
        self.witnesses = Witnesses::default();
        self.decide_with_checks(Requester { pod, migration: None, reads_pods: network.annotations }, machine)
    }

    /// The API server; `None` without a kubeconfig.
    pub(super) fn opened_api(&mut self) -> Result<Option<&ApiServer>, Error> {
        self.open_api()?;
        Ok(self.node.api.as_ref())
    }

    fn decide_with_checks(&mut self, requester: Requester<'_>, machine: &mut Add) -> Result<Rehearsed, Error> {
        self.would_be_probed.clear();
        let allocation = takeover::decide(self, requester, machine)?;
        Ok(Rehearsed { allocation, would_be_probed: std::mem::take(&mut self.would_be_probed) })
    }

    /// The decision, with what this node's records say about the attachment.
    fn with_records(&mut self, prepared: &PreparedAdd) -> Result<Add, Error> {
        let id = &prepared.holder.id;
        if !self.is_of_this_node {
            return Ok(prepared.machine(id.clone())?);
        }
        let (id, found) = self.node.records.locate(id, &self.node.began.boot)?;
        let machine = prepared.machine(id.clone())?;
        let newest = self.newest_seen()?;
        let (earlier, in_doubt) = match found {
            ReadResult::Missing => (None, false),
            ReadResult::Record(record) if record.state == RecordState::Releasing => {
                self.release(*record)?;
                (None, false)
            }
            ReadResult::Record(record) => {
                let in_doubt = record.held.is_none();
                (Some(record), in_doubt)
            }
            ReadResult::Unreadable { .. } => (None, true),
        };
        let addresses = earlier.as_ref().map(|record| record.held_addresses()).unwrap_or_default();
        self.witnesses = Witnesses::list(&self.node, &self.store, &id, earlier.as_deref())?;
        let witness = self.witnesses.first(&self.node, &self.store)?;
        let mut machine = machine.with_records(Recorded { newest, addresses, witness });
        if in_doubt {
            machine = machine.after_add_in_doubt();
        }
        Ok(match self.node.records.linked_sandbox(&id, &prepared.holder.pod)? {
            Some(sandbox) => machine.after_sandbox(sandbox),
            None => machine,
        })
    }

    /// Reads the kubeconfig, if there is one. Each request has its own time limit.
    fn open_api(&mut self) -> Result<(), Error> {
        if self.node.api.is_none()
            && let Some(kubeconfig) = kubeconfig(self.node.settings)
        {
            self.node.api = Some(ApiServer::open_with_timeout(&Access::Kubeconfig(kubeconfig), API_TIMEOUT)?);
        }
        Ok(())
    }

    fn newest_seen(&self) -> Result<Option<Revision>, Error> {
        Ok(self.node.records.newest_seen(&self.store)?)
    }

    /// Releases a recorded attachment on the overlay. Its record stays.
    fn release(&self, record: Record) -> Result<(), Error> {
        if record.store != self.store {
            return Ok(());
        }
        let order = self.store.revision_order();
        let mut machine = ReleaseTask::from_record(record).machine().after_revision(order, self.newest_seen()?);
        self.session.decide(&mut machine, Deadline::after(self.timeout)).map(drop)
    }
}

impl PodFacts for Rehearsal<'_> {
    fn node(&self) -> &Node<'_> {
        &self.node
    }

    fn api(&mut self, pod: &PodRef) -> Result<&ApiServer, Error> {
        self.open_api()?;
        self.node.api(pod)
    }

    fn cluster(&mut self, pod: &PodRef) -> ClusterIdentity {
        // If this fails, the same error comes again where the server is needed.
        let _ = self.open_api();
        self.node.look_up_cluster(pod)
    }

    fn version(&self) -> CniVersion {
        self.version
    }

    fn note_claim(&mut self, _: &Claim) {
        // Only a real ADD writes to the claim's status.
    }
}

impl Checks for Rehearsal<'_> {
    fn decide(&mut self, machine: &mut Add) -> Result<Allocation, Error> {
        self.session.decide(machine, Deadline::after(self.timeout))
    }

    fn api(&mut self, pod: &PodRef) -> Result<&ApiServer, Error> {
        PodFacts::api(self, pod)
    }

    fn check_container(&mut self, id: &AttachmentId) -> Result<GoneReason, InUseReason> {
        match self.is_of_this_node {
            true => containers::check_unlocked(&self.node, id),
            false => Err(InUseReason::NoPodNamed),
        }
    }

    fn make_room(&mut self) -> usize {
        let ids = self.node.records.all().ok().filter(|_| self.is_of_this_node).unwrap_or_default();
        let records = ids.iter().filter_map(|id| containers::releasable(&self.node, &self.store, id));
        let records: Vec<Record> = records.take(containers::MAX_RELEASED).collect();
        records.into_iter().filter(|record| self.release(record.clone()).is_ok()).count()
    }

    fn next_witness(&mut self, differing: &AttachmentId) -> Result<Option<Witness>, Error> {
        self.witnesses.after_comparison(&mut self.node, &self.store, differing, self.timeout)
    }

    fn probe(&mut self, _: &Add, ips: &[IpAddr]) -> Result<Vec<(IpAddr, ProbeResult)>, Refusal> {
        self.would_be_probed.extend(ips);
        Ok(ips.iter().map(|ip| (*ip, ProbeResult::NoReply)).collect())
    }
}
