//! A store in memory, a clock, and the calls that a node makes.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::net::IpAddr;
use std::num::NonZeroU64;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use jiff::Timestamp;

use crate::config::{Cooldown, Network, Sticky};
use crate::ipam::claim::{Claim, ClaimStatus};
use crate::ipam::cluster::ClusterIdentity;
use crate::ipam::decide::candidate::cooldown_key;
use crate::ipam::decide::{Add, Allocation, AllocationPolicy, Decide, Release, Released, Step, StickyPolicy};
use crate::ipam::keys;
use crate::ipam::lease::{Attachment, Began, Holder, Lease, OnRelease, PodRef, RestEntry, Stored, Unknown};
use crate::ipam::machine::JoinError;
use crate::ipam::name::{AttachmentId, IfName, Name};
use crate::ipam::node_selector::LocalNode;
use crate::ipam::pod::Controller;
use crate::ipam::range::{Range, RangeSet};
use crate::ipam::refusal::Refusal;
use crate::ipam::request::{Annotations, Inputs, RequestSource, RequestedAddresses, resolve};
use crate::ipam::reservation::OwnerError;
use crate::ipam::takeover::{GoneReason, InUseReason, PendingCheck, Probe, ProbeResult};
use crate::store::{Entry, Key, KeySpan, Lookahead, MemoryMap, Outcome, Revision, RevisionOrder, StoreConfig, Txn};

pub(crate) fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

pub(crate) fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// So many seconds after the tests began.
pub(crate) fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_700_000_000 + seconds).unwrap()
}

pub(crate) fn range(subnet: &str) -> Range {
    Range::of_subnet(subnet.parse().unwrap())
}

/// A network named `net` with these range sets, and a cooldown of 30 seconds.
pub(crate) fn network(sets: Vec<Vec<Range>>) -> Network {
    Network {
        name: name("net"),
        node: LocalNode { name: name("n1"), labels: None },
        sets: sets.into_iter().map(|ranges| RangeSet::new(ranges).unwrap()).collect(),
        other_nodes: Vec::new(),
        unplaced: Vec::new(),
        pools: Vec::new(),
        routes: Vec::new(),
        dns: Default::default(),
        cooldown: Cooldown { seconds: 30, strict: false },
        sticky: Sticky::default(),
        namespaces: Vec::new(),
        annotations: true,
        probe: Probe::Never,
        probe_new: false,
    }
}

/// A claim whose status has these addresses.
pub(crate) fn claim(ips: &[&str]) -> Claim {
    Claim {
        namespace: name("db"),
        name: name("vm1.data"),
        uid: "o-1".to_owned(),
        version: "7".to_owned(),
        generation: None,
        network: String::new(),
        interface: String::new(),
        status: ClaimStatus { ips: Some(ips.iter().map(|ip| (*ip).to_owned()).collect()), ..ClaimStatus::default() },
    }
}

/// A network with one range set over a subnet.
pub(crate) fn subnet(subnet: &str) -> Network {
    network(vec![vec![range(subnet)]])
}

/// The same network with another cooldown.
pub(crate) fn cooling(mut network: Network, seconds: u64, strict: bool) -> Network {
    network.cooldown = Cooldown { seconds, strict };
    network
}

/// The cluster of every call that names no other one.
pub(crate) const CLUSTER: &str = "c-1";

/// The interface eth0 of a container of node n1.
pub(crate) fn attachment(container: &str) -> AttachmentId {
    AttachmentId {
        node: name("n1"),
        container: name(container),
        ifname: IfName::new("eth0").unwrap(),
        network: name("net"),
    }
}

pub(crate) fn began(boot: &str, boottime: u64) -> Began {
    Began { boot: boot.to_owned(), boottime }
}

/// A pod of namespace db.
pub(crate) fn pod(name: &str, uid: &str) -> PodRef {
    PodRef { namespace: Some("db".to_owned()), name: Some(name.to_owned()), uid: Some(uid.to_owned()) }
}

pub(crate) fn holder(id: AttachmentId) -> Holder {
    let began = began("boot", 0);
    let pod = PodRef { name: Some(format!("pod-{}", id.container)), ..PodRef::default() };
    let cluster = Some(CLUSTER.to_owned());
    Holder { id, pod, workload: None, controller: None, cluster, began, unknown: Unknown::new() }
}

/// Records the result of a check in an ADD.
type RecordResult = Box<dyn FnOnce(&mut Add)>;

/// One ADD.
#[derive(Clone)]
pub(crate) struct Call {
    pub id: AttachmentId,
    pub network: Network,
    pub vrf: Name,
    pub ips: Vec<String>,
    pub annotations: BTreeMap<String, String>,
    pub host_local: BTreeMap<IpAddr, PathBuf>,
    /// How many keys a first attempt reads in case it fails.
    pub lookahead: Lookahead,
    /// The sandbox that the pod had before this one.
    pub earlier: Option<AttachmentId>,
    /// How long an address must be held before a request for any address may take it.
    pub min_age: Option<u64>,
    pub sticky: Option<StickyPolicy>,
    /// The claim that the pod names.
    pub claim: Option<Claim>,
    pub workload: Option<String>,
    /// The pod's controller.
    pub controller: Option<Controller>,
    /// The pod with its UID, if the runtime passed its full name.
    pub pod: Option<PodRef>,
    pub began: Began,
    /// The cluster's identity, as the pod's node knows it.
    pub cluster: ClusterIdentity,
    /// The results of checking holders' pods, by their UID.
    pub pod_checks: BTreeMap<String, Result<GoneReason, InUseReason>>,
    /// The results of checking containers without a pod's full name. Of any others, this is not the node.
    pub container_checks: BTreeMap<AttachmentId, Result<GoneReason, InUseReason>>,
    /// KubeVirt's answers about a holder's pod and the requester, by the UID of the former. For any other, they join.
    pub join_checks: BTreeMap<String, Result<(), JoinError>>,
    /// The result of checking the owner that the pod names; `None` if there is no answer.
    pub owner_check: Option<Result<(), OwnerError>>,
    /// The results of probing.
    pub probes: BTreeMap<IpAddr, ProbeResult>,
    /// Seconds that pass before each of several ADDs.
    pub pace: i64,
}

impl Call {
    pub(crate) fn of(container: &str, network: &Network) -> Self {
        let id = AttachmentId { network: network.name.clone(), ..attachment(container) };
        let network = network.clone();
        Self {
            id,
            network,
            vrf: name("default"),
            ips: Vec::new(),
            annotations: BTreeMap::new(),
            host_local: BTreeMap::new(),
            lookahead: StoreConfig::ETCD_LOOKAHEAD,
            earlier: None,
            min_age: Some(300),
            sticky: None,
            claim: None,
            workload: None,
            controller: None,
            pod: None,
            began: began("boot", 0),
            cluster: ClusterIdentity::known(CLUSTER),
            pod_checks: BTreeMap::new(),
            container_checks: BTreeMap::new(),
            join_checks: BTreeMap::new(),
            owner_check: Some(Ok(())),
            probes: BTreeMap::new(),
            pace: 0,
        }
    }

    /// For a pod of namespace db, by an ADD that began so many milliseconds after the boot.
    pub(crate) fn of_pod(mut self, name: &str, uid: &str, boottime: u64) -> Self {
        self.pod = Some(pod(name, uid));
        self.began.boottime = boottime;
        self
    }

    pub(crate) fn in_cluster(self, cluster: ClusterIdentity) -> Self {
        Self { cluster, ..self }
    }

    /// Checking the pod of this UID has this result.
    pub(crate) fn with_pod_check(mut self, uid: &str, result: Result<GoneReason, InUseReason>) -> Self {
        self.pod_checks.insert(uid.to_owned(), result);
        self
    }

    /// Checking this container has this result.
    pub(crate) fn with_container_check(
        mut self,
        container: &AttachmentId,
        result: Result<GoneReason, InUseReason>,
    ) -> Self {
        self.container_checks.insert(container.clone(), result);
        self
    }

    /// Probing this address has this result.
    pub(crate) fn with_probe(mut self, address: &str, result: ProbeResult) -> Self {
        self.probes.insert(ip(address), result);
        self
    }

    /// The pod had this sandbox before.
    pub(crate) fn after_sandbox(mut self, earlier: &AttachmentId) -> Self {
        self.earlier = Some(earlier.clone());
        self
    }

    /// Asking KubeVirt about the pod of this UID and the requester has this result.
    pub(crate) fn with_join_check(mut self, uid: &str, result: Result<(), JoinError>) -> Self {
        self.join_checks.insert(uid.to_owned(), result);
        self
    }

    /// The result of the pending check, if it is about a pod.
    pub(crate) fn pod_check(&self, add: &Add) -> Option<(PodRef, Result<GoneReason, InUseReason>)> {
        let PendingCheck::Pod(pod) = add.pending_check()? else { return None };
        let result = self.pod_checks.get(pod.uid.as_deref()?)?.clone();
        Some((pod, result))
    }

    /// Records the result of the pending check. Whether there was one.
    pub(crate) fn record_check(&self, add: &mut Add) -> bool {
        let Some(pending) = add.pending_check() else { return false };
        self.check_result(pending).map(|record| record(add)).is_some()
    }

    fn check_result(&self, pending: PendingCheck) -> Option<RecordResult> {
        match pending {
            PendingCheck::Pod(pod) => {
                let result = self.pod_checks.get(pod.uid.as_deref()?)?.clone();
                Some(Box::new(move |add| add.record_pod(pod, result)))
            }
            PendingCheck::Container(id) => {
                let result = self.container_checks.get(&id).cloned().unwrap_or(Err(InUseReason::NoPodNamed));
                Some(Box::new(move |add| add.record_container(id, result)))
            }
            PendingCheck::Join(question) => {
                let result = self.join_checks.get(question.holder.uid.as_deref()?).cloned().unwrap_or(Ok(()));
                Some(Box::new(move |add| add.record_join(question.holder, result)))
            }
            PendingCheck::Owner(_) => {
                let result = self.owner_check.clone()?;
                Some(Box::new(move |add| add.record_owner(result)))
            }
        }
    }

    /// Records the result of the pending check or probes of a refused ADD. Whether there were any. Nobody answers for a
    /// new address unless the test says so.
    pub(crate) fn record_result(&self, add: &mut Add, now: Timestamp) -> bool {
        if self.record_check(add) {
            return true;
        }
        let result = |ip| {
            let no_reply = || add.is_new(ip).then_some(ProbeResult::NoReply);
            Some((ip, self.probes.get(&ip).cloned().or_else(no_reply)?))
        };
        let results: Vec<(IpAddr, ProbeResult)> = add.to_probe().into_iter().filter_map(result).collect();
        results.iter().cloned().for_each(|(ip, result)| add.record_probe(ip, result, now));
        !results.is_empty()
    }

    pub(crate) fn requesting(mut self, ips: &[&str]) -> Self {
        self.ips = ips.iter().map(|ip| (*ip).to_owned()).collect();
        self
    }

    pub(crate) fn annotated(mut self, annotations: &[(&str, &str)]) -> Self {
        self.annotations = annotations.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        self
    }

    pub(crate) fn in_vrf(self, vrf: &str) -> Self {
        Self { vrf: name(vrf), ..self }
    }

    /// host-local holds these addresses on the node.
    pub(crate) fn beside_host_local(mut self, ips: &[&str]) -> Self {
        self.host_local = ips.iter().map(|text| (ip(text), PathBuf::from(format!("/networks/net/{text}")))).collect();
        self
    }

    pub(crate) fn decision(&self) -> Result<Add, Refusal> {
        let holder = holder(self.id.clone());
        let pod = self.pod.clone().unwrap_or_else(|| holder.pod.clone());
        let (workload, cluster) = (self.workload.clone(), self.cluster.id().map(str::to_owned));
        let (controller, began) = (self.controller.clone(), self.began.clone());
        self.decision_of(Holder { pod, workload, controller, cluster, began, ..holder })
    }

    pub(crate) fn decision_of(&self, holder: Holder) -> Result<Add, Refusal> {
        let requested = RequestedAddresses { source: RequestSource::CniArgs, ips: self.ips.clone() };
        let requested = (!self.ips.is_empty()).then_some(&requested);
        let annotations = Annotations::read(&self.annotations, &self.id.ifname)?;
        let inputs = Inputs {
            requested,
            annotations: Some(&annotations),
            claim: self.claim.as_ref(),
            ordinal: None,
            namespace: None,
            one_per_family: None,
        };
        let (requests, _) = resolve(self.network.ranges(), &inputs)?;
        let Cooldown { seconds: cooldown, strict } = self.network.cooldown;
        let (vrf, host_local) = (self.vrf.clone(), self.host_local.clone());
        let Network { probe, probe_new, .. } = self.network;
        let (sticky, cluster) = (self.sticky.clone(), self.cluster.clone());
        let policy = AllocationPolicy {
            vrf,
            cluster,
            cooldown,
            strict,
            probe,
            probe_new,
            sticky,
            host_local,
            min_age: self.min_age,
            lookahead: self.lookahead,
        };
        let add = Add::new(holder, policy, requests)?;
        Ok(match &self.earlier {
            Some(earlier) => add.after_sandbox(earlier.clone()),
            None => add,
        })
    }
}

/// A store, a clock, and the number of requests of the last call.
#[derive(Clone)]
pub(crate) struct World {
    pub state: MemoryMap,
    /// What the numbers of its revisions mean.
    pub order: RevisionOrder,
    pub seconds: i64,
    pub requests: usize,
}

impl Default for World {
    fn default() -> Self {
        Self::with_order(RevisionOrder::Counted)
    }
}

/// A revision that no store had before, also none that was restored.
fn random_revision() -> Revision {
    static GIVEN: AtomicU64 = AtomicU64::new(1);
    // An odd factor maps different numbers to different ones.
    let number = GIVEN.fetch_add(1, Ordering::Relaxed).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    Revision(NonZeroU64::new(number).unwrap())
}

impl World {
    pub(crate) fn with_order(order: RevisionOrder) -> Self {
        Self { state: MemoryMap::default(), order, seconds: 0, requests: 0 }
    }

    pub(crate) fn commit(&mut self, txn: &Txn) -> Outcome {
        match self.order {
            RevisionOrder::Counted => self.state.commit(txn),
            RevisionOrder::Unordered => self.state.commit_at(txn, random_revision()),
        }
    }

    pub(crate) fn now(&self) -> Timestamp {
        at(self.seconds)
    }

    pub(crate) fn wait(&mut self, seconds: i64) {
        self.seconds += seconds;
    }

    pub(crate) fn add(&mut self, call: &Call) -> Result<Allocation, Refusal> {
        self.requests = 0;
        self.ask(call, call.decision()?)
    }

    /// An ADD, with all checks and probes that it needs.
    pub(crate) fn ask(&mut self, call: &Call, mut add: Add) -> Result<Allocation, Refusal> {
        self.requests = 0;
        self.ask_on(call, &mut add)
    }

    /// The same, for an ADD that may have been refused before.
    pub(crate) fn ask_on(&mut self, call: &Call, add: &mut Add) -> Result<Allocation, Refusal> {
        loop {
            let refusal = match self.run_on(add) {
                Err(refusal) => refusal,
                allocation => return allocation,
            };
            if !call.record_result(add, self.now()) {
                return Err(refusal);
            }
        }
    }

    pub(crate) fn run(&mut self, mut add: Add) -> Result<Allocation, Refusal> {
        self.requests = 0;
        self.run_on(&mut add)
    }

    /// An ADD up to its end or its first refusal, without checks.
    pub(crate) fn run_on(&mut self, add: &mut Add) -> Result<Allocation, Refusal> {
        let now = self.now();
        let first = add.start(now);
        self.drive(first, |outcome| add.next(outcome, now))
    }

    /// The addresses of an ADD that must succeed.
    pub(crate) fn give(&mut self, call: &Call) -> Vec<IpAddr> {
        addresses(&self.add(call).unwrap_or_else(|refusal| panic!("{}: {refusal}", call.id)))
    }

    /// A DEL without a record.
    pub(crate) fn del(&mut self, id: &AttachmentId) -> Released {
        self.release(Release::new(id.clone(), name("default"), None, false))
    }

    /// A DEL whose record has what the ADD wrote.
    pub(crate) fn del_written(&mut self, allocation: &Allocation) -> Released {
        let id = allocation.attachment.holder.clone().unwrap().id;
        self.release(Release::new(id, name("default"), Some(allocation.written()), false))
    }

    /// A DEL whose record says that the ADD may still take effect.
    pub(crate) fn del_fenced(&mut self, id: &AttachmentId) -> Released {
        self.release(Release::new(id.clone(), name("default"), None, true))
    }

    pub(crate) fn release(&mut self, mut release: Release) -> Released {
        self.requests = 0;
        self.decide(&mut release)
    }

    /// The result of a decision that must not be refused.
    pub(crate) fn decide<D: Decide>(&mut self, machine: &mut D) -> D::Decision {
        self.decide_or_refuse(machine).unwrap()
    }

    pub(crate) fn decide_or_refuse<D: Decide>(&mut self, machine: &mut D) -> Result<D::Decision, Refusal> {
        let now = self.now();
        let first = machine.start(now);
        self.drive(first, |outcome| machine.next(outcome, now))
    }

    fn drive<D>(&mut self, mut step: Step<D>, mut next: impl FnMut(&Outcome) -> Step<D>) -> Result<D, Refusal> {
        loop {
            match step {
                Step::Commit(txn) => {
                    self.requests += 1;
                    step = next(&self.commit(&txn));
                }
                Step::Done(done) => return Ok(done),
                Step::Refused(refusal) => return Err(refusal),
            }
        }
    }

    pub(crate) fn put(&mut self, key: Key, value: impl Into<Vec<u8>>) {
        self.commit(&Txn::new(Vec::new(), vec![crate::store::Op::Put(key, value.into())], Vec::new()).unwrap());
    }

    /// The text under a key.
    pub(crate) fn text(&self, key: &Key) -> Option<String> {
        let span = KeySpan::from_to(key.clone(), key.clone().successor());
        let entry = self.state.range(&span).next()?;
        Some(String::from_utf8(entry.value).unwrap())
    }

    /// The keys that start with this.
    pub(crate) fn keys(&self, prefix: &str) -> Vec<String> {
        entries(&self.state, prefix).into_iter().map(|entry| entry.key.to_string()).collect()
    }

    /// Every held address, with its vrf and holder.
    pub(crate) fn held(&self) -> BTreeMap<(Name, IpAddr), AttachmentId> {
        held(&self.state)
    }
}

pub(crate) fn addresses(allocation: &Allocation) -> Vec<IpAddr> {
    allocation.attachment.addresses.iter().map(|assigned| assigned.address.addr()).collect()
}

/// What is stored under the keys that start with this.
pub(crate) fn entries(state: &MemoryMap, prefix: &str) -> Vec<Entry> {
    state.range(&KeySpan::prefix(prefix)).collect()
}

/// Every held address, with its vrf and first holder.
pub(crate) fn held(state: &MemoryMap) -> BTreeMap<(Name, IpAddr), AttachmentId> {
    let leases = entries(state, "ip/").into_iter().map(|entry| {
        let lease: Lease = parsed(&entry);
        let holder = lease.is_held().then(|| lease.holders.into_iter().next().unwrap());
        holder.map(|holder| (keys::read_lease(&entry.key).unwrap(), holder.id))
    });
    leases.flatten().collect()
}

/// The addresses that hosts without a lease use.
pub(crate) fn foreign(state: &MemoryMap) -> BTreeSet<IpAddr> {
    let ips = entries(state, "ip/").into_iter().filter_map(|entry| {
        let lease: Lease = parsed(&entry);
        lease.foreign().and(keys::read_lease(&entry.key)).map(|(_, ip)| ip)
    });
    ips.collect()
}

/// The leases of reserved addresses that nobody holds.
pub(crate) fn reserved(state: &MemoryMap) -> BTreeMap<(Name, IpAddr), Lease> {
    let leases = entries(state, "ip/").into_iter().map(|entry| {
        let lease: Lease = parsed(&entry);
        lease.unused.is_some().then(|| (keys::read_lease(&entry.key).unwrap(), lease))
    });
    leases.flatten().collect()
}

/// Every held address, with all its holders.
pub(crate) fn holders(state: &MemoryMap) -> BTreeMap<(Name, IpAddr), Vec<AttachmentId>> {
    let leases = entries(state, "ip/").into_iter().map(|entry| {
        let lease: Lease = parsed(&entry);
        let held = lease.is_held();
        let ids = lease.holders.into_iter().map(|holder| holder.id).collect();
        held.then(|| (keys::read_lease(&entry.key).unwrap(), ids))
    });
    leases.flatten().collect()
}

fn parsed<T: serde::de::DeserializeOwned>(entry: &Entry) -> T {
    Stored::read(&entry.value).known().unwrap_or_else(|| panic!("{} can't be read", entry.key))
}

/// Panics if a store with readable values contradicts itself: a lease and its holder's attachment must name each other,
/// and a lease in cooldown must have an index entry at the same revision, and the other way round.
pub(crate) fn contradictions(state: &MemoryMap) -> Vec<String> {
    let mut found = Vec::new();
    let mut leased: BTreeSet<(String, Name, IpAddr)> = BTreeSet::new();
    let mut resting: HashSet<(Key, Revision)> = HashSet::new();
    for entry in entries(state, "ip/") {
        let (vrf, ip) = keys::read_lease(&entry.key).unwrap();
        let lease: Lease = parsed(&entry);
        if lease.manual.is_some() && (lease.owner.is_some() || lease.on_release != OnRelease::Keep(None)) {
            found.push(format!("{} is reserved by hand and for an owner", entry.key));
        }
        match cooldown_key(&vrf, ip, &lease) {
            Some(rest) => {
                resting.insert((rest, entry.revision));
            }
            None if lease.unused.is_some() => {
                let is_for_nobody = lease.owner.is_none() && lease.manual.is_none();
                if !matches!(lease.on_release, OnRelease::Keep(_)) || is_for_nobody {
                    found.push(format!("{} is unused and reserved for nobody", entry.key));
                }
            }
            None if lease.foreign().is_some() => {}
            None if lease.holders.is_empty() => found.push(format!("{} has no holder", entry.key)),
            None => {
                let holders = lease.holders.iter().map(|holder| keys::attachment(&holder.id).to_string());
                leased.extend(holders.map(|at| (at, vrf.clone(), ip)));
            }
        }
    }
    let mut listed = BTreeSet::new();
    for entry in entries(state, "at/") {
        let attachment: Attachment = parsed(&entry);
        let holder = attachment.holder.as_ref().map(|holder| keys::attachment(&holder.id));
        if holder.as_ref() != Some(&entry.key) && !attachment.is_only_closed() {
            found.push(format!("{} names another holder", entry.key));
        }
        let ips = attachment.addresses.iter().map(|assigned| assigned.address.addr());
        listed.extend(ips.map(|ip| (entry.key.to_string(), attachment.vrf.clone(), ip)));
    }
    let rests = entries(state, "rest/").into_iter().map(|entry| {
        let _: RestEntry = parsed(&entry);
        (entry.key, entry.revision)
    });
    let rests: HashSet<_> = rests.collect();
    found.extend(leased.symmetric_difference(&listed).map(|(at, vrf, ip)| format!("{at} and {ip} of {vrf} disagree")));
    found.extend(resting.symmetric_difference(&rests).map(|(key, revision)| format!("{key} at {revision:?} is alone")));
    found
}

/// Every address that a network assigns at random, one container after the other, until it refuses.
pub(crate) fn all_of(world: &mut World, network: &Network) -> Vec<IpAddr> {
    let mut given = Vec::new();
    for i in 0.. {
        match world.add(&Call::of(&format!("all{i}"), network)) {
            Ok(allocation) => given.extend(addresses(&allocation)),
            Err(Refusal::Exhausted { .. }) => break,
            Err(refusal) => panic!("{refusal}"),
        }
    }
    let distinct: BTreeSet<IpAddr> = given.iter().copied().collect();
    assert_eq!(distinct.len(), given.len(), "{given:?}");
    given
}
