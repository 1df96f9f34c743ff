//! A map in memory, a clock, and the calls that a node makes on them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::PathBuf;

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
use crate::ipam::pod::Controller;
use crate::ipam::range::{Range, RangeSet};
use crate::ipam::refusal::Refusal;
use crate::ipam::request::{Annotations, Inputs, RequestSource, RequestedAddresses, resolve};
use crate::ipam::reservation::OwnerError;
use crate::ipam::takeover::{GoneReason, InUseReason, PendingCheck, Probe, ProbeResult};
use crate::store::{Entry, Key, KeySpan, MemoryMap, Outcome, StoreConfig, Txn};

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
        sets: sets.into_iter().map(|ranges| RangeSet::new(ranges).unwrap()).collect(),
        other_nodes: Vec::new(),
        routes: Vec::new(),
        dns: Default::default(),
        cooldown: Cooldown { seconds: 30, strict: false },
        sticky: Sticky::default(),
        namespaces: Vec::new(),
        annotations: true,
        probe: Probe::Never,
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

/// The cluster of all that is not said to be of another one.
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

/// What an ADD is told.
type Answer = Box<dyn FnOnce(&mut Add)>;

/// One ADD.
#[derive(Clone)]
pub(crate) struct Call {
    pub id: AttachmentId,
    pub network: Network,
    pub vrf: Name,
    pub ips: Vec<String>,
    pub annotations: BTreeMap<String, String>,
    pub host_local: BTreeMap<IpAddr, PathBuf>,
    /// How many addresses the store has looked at along with a first try.
    pub prefetch: u32,
    /// The sandbox that the pod had before this one.
    pub earlier: Option<AttachmentId>,
    /// How long an address is held at least before it passes to who may have any.
    pub min_age: Option<u64>,
    /// For whom addresses are kept.
    pub keep: Option<StickyPolicy>,
    /// The claim that the pod names, as the API server has it.
    pub claim: Option<Claim>,
    /// What the pod belongs to.
    pub workload: Option<String>,
    /// The pod's controller.
    pub controller: Option<Controller>,
    /// The pod with its UID, where the runtime names it in full.
    pub pod: Option<PodRef>,
    pub began: Began,
    /// The cluster as the node of the pod knows it.
    pub cluster: ClusterIdentity,
    /// What the API server would tell of the pods of holders.
    pub verdicts: BTreeMap<String, Result<GoneReason, InUseReason>>,
    /// What the node would show of containers without a pod's full names; of others it is not the node.
    pub containers: BTreeMap<AttachmentId, Result<GoneReason, InUseReason>>,
    /// What KubeVirt would say of the pod of a holder and of the one that asks, by the UID of the former; the same of
    /// any other.
    pub joins: BTreeMap<String, Result<(), JoinError>>,
    /// Whether the API has the owner that the pod names; `None` if it does not tell.
    pub owner_check: Option<Result<(), OwnerError>>,
    /// What would be heard of addresses on the wire.
    pub wire: BTreeMap<IpAddr, ProbeResult>,
    /// How many seconds pass before each of several ADDs, where that matters.
    pub pace: i64,
}

impl Call {
    /// An ADD of a container for an interface on this network.
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
            prefetch: StoreConfig::ETCD_PREFETCH,
            earlier: None,
            min_age: Some(300),
            keep: None,
            claim: None,
            workload: None,
            controller: None,
            pod: None,
            began: began("boot", 0),
            cluster: ClusterIdentity::known(CLUSTER),
            verdicts: BTreeMap::new(),
            containers: BTreeMap::new(),
            joins: BTreeMap::new(),
            owner_check: Some(Ok(())),
            wire: BTreeMap::new(),
            pace: 0,
        }
    }

    /// The same, for a pod of namespace db, with an ADD that began so many milliseconds after the boot.
    pub(crate) fn of_pod(mut self, name: &str, uid: &str, boottime: u64) -> Self {
        self.pod = Some(pod(name, uid));
        self.began.boottime = boottime;
        self
    }

    /// The same, on a node that knows its cluster so.
    pub(crate) fn in_cluster(self, cluster: ClusterIdentity) -> Self {
        Self { cluster, ..self }
    }

    /// The same, where this is to be learnt of the pod of a UID.
    pub(crate) fn told(mut self, uid: &str, verdict: Result<GoneReason, InUseReason>) -> Self {
        self.verdicts.insert(uid.to_owned(), verdict);
        self
    }

    /// The same, where the node shows this of a container.
    pub(crate) fn shown(mut self, container: &AttachmentId, verdict: Result<GoneReason, InUseReason>) -> Self {
        self.containers.insert(container.clone(), verdict);
        self
    }

    /// The same, where this is heard of an address before it passes.
    pub(crate) fn hearing(mut self, address: &str, heard: ProbeResult) -> Self {
        self.wire.insert(ip(address), heard);
        self
    }

    /// The same, where the pod that asks had this sandbox before.
    pub(crate) fn after(mut self, earlier: &AttachmentId) -> Self {
        self.earlier = Some(earlier.clone());
        self
    }

    /// The same, where KubeVirt says this of the pod of a UID and of the one that asks.
    pub(crate) fn joining(mut self, uid: &str, verdict: Result<(), JoinError>) -> Self {
        self.joins.insert(uid.to_owned(), verdict);
        self
    }

    /// What is learnt if a holder's pod has to be asked about.
    pub(crate) fn pod_check(&self, add: &Add) -> Option<(PodRef, Result<GoneReason, InUseReason>)> {
        let PendingCheck::Pod(pod) = add.pending_check()? else { return None };
        let verdict = self.verdicts.get(pod.uid.as_deref()?)?.clone();
        Some((pod, verdict))
    }

    /// Tells an ADD what it has to know before it goes on. Whether there was anything to be told.
    pub(crate) fn answer(&self, add: &mut Add) -> bool {
        let Some(question) = add.pending_check() else { return false };
        self.answer_to(question).map(|answer| answer(add)).is_some()
    }

    fn answer_to(&self, question: PendingCheck) -> Option<Answer> {
        match question {
            PendingCheck::Pod(pod) => {
                let verdict = self.verdicts.get(pod.uid.as_deref()?)?.clone();
                Some(Box::new(move |add| add.record_pod(pod, verdict)))
            }
            PendingCheck::Container(id) => {
                let verdict = self.containers.get(&id).cloned().unwrap_or(Err(InUseReason::NoPodNamed));
                Some(Box::new(move |add| add.record_container(id, verdict)))
            }
            PendingCheck::Join(asked) => {
                let verdict = self.joins.get(asked.holder.uid.as_deref()?).cloned().unwrap_or(Ok(()));
                Some(Box::new(move |add| add.record_join(asked.holder, verdict)))
            }
            PendingCheck::Owner(_) => {
                let verdict = self.owner_check.clone()?;
                Some(Box::new(move |add| add.record_owner(verdict)))
            }
        }
    }

    /// Takes in what is learnt of a refused ADD's question, if anything is.
    pub(crate) fn learn(&self, add: &mut Add) -> bool {
        let heard = add.to_probe().into_iter().find_map(|ip| Some((ip, self.wire.get(&ip)?.clone())));
        match (self.answer(add), heard) {
            (true, _) => {}
            (false, Some((ip, heard))) => add.record_probe(ip, heard),
            (false, None) => return false,
        }
        true
    }

    /// The same, with these addresses asked for.
    pub(crate) fn asking(mut self, ips: &[&str]) -> Self {
        self.ips = ips.iter().map(|ip| (*ip).to_owned()).collect();
        self
    }

    /// The same, for a pod with these annotations.
    pub(crate) fn annotated(mut self, annotations: &[(&str, &str)]) -> Self {
        self.annotations = annotations.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        self
    }

    /// The same, in another routing domain.
    pub(crate) fn in_vrf(self, vrf: &str) -> Self {
        Self { vrf: name(vrf), ..self }
    }

    /// The same, where host-local holds an address.
    pub(crate) fn beside_host_local(mut self, ips: &[&str]) -> Self {
        self.host_local = ips.iter().map(|text| (ip(text), PathBuf::from(format!("/networks/net/{text}")))).collect();
        self
    }

    pub(crate) fn machine(&self) -> Result<Add, Refusal> {
        let holder = holder(self.id.clone());
        let pod = self.pod.clone().unwrap_or_else(|| holder.pod.clone());
        let (workload, cluster) = (self.workload.clone(), self.cluster.id().map(str::to_owned));
        let (controller, began) = (self.controller.clone(), self.began.clone());
        self.machine_of(Holder { pod, workload, controller, cluster, began, ..holder })
    }

    pub(crate) fn machine_of(&self, holder: Holder) -> Result<Add, Refusal> {
        let requested = RequestedAddresses { source: RequestSource::CniArgs, ips: self.ips.clone() };
        let requested = (!self.ips.is_empty()).then_some(&requested);
        let annotations = Annotations::read(&self.annotations, &self.id.ifname)?;
        let inputs = Inputs {
            requested,
            annotations: Some(&annotations),
            claim: self.claim.as_ref(),
            ordinal: None,
            namespace: None,
            node: &self.id.node,
            one_per_family: None,
        };
        let (requests, _) = resolve(self.network.ranges(), &inputs)?;
        let Cooldown { seconds: cooldown, strict } = self.network.cooldown;
        let (vrf, host_local) = (self.vrf.clone(), self.host_local.clone());
        let (probe, sticky, cluster) = (self.network.probe, self.keep.clone(), self.cluster.clone());
        let (min_age, prefetch) = (self.min_age, self.prefetch);
        let policy = AllocationPolicy { vrf, cluster, cooldown, strict, probe, sticky, host_local, min_age, prefetch };
        let add = Add::new(holder, policy, requests)?;
        Ok(match &self.earlier {
            Some(earlier) => add.after_sandbox(earlier.clone()),
            None => add,
        })
    }
}

/// A store and a clock; and the requests that the last call took.
#[derive(Clone, Default)]
pub(crate) struct World {
    pub state: MemoryMap,
    pub seconds: i64,
    pub requests: usize,
}

impl World {
    pub(crate) fn now(&self) -> Timestamp {
        at(self.seconds)
    }

    pub(crate) fn wait(&mut self, seconds: i64) {
        self.seconds += seconds;
    }

    pub(crate) fn add(&mut self, call: &Call) -> Result<Allocation, Refusal> {
        self.requests = 0;
        self.ask(call, call.machine()?)
    }

    /// An ADD that goes on with what it learns of the pods of holders.
    pub(crate) fn ask(&mut self, call: &Call, mut add: Add) -> Result<Allocation, Refusal> {
        self.requests = 0;
        loop {
            let refusal = match self.run_on(&mut add) {
                Err(refusal) => refusal,
                allocation => return allocation,
            };
            if !call.learn(&mut add) {
                return Err(refusal);
            }
        }
    }

    pub(crate) fn run(&mut self, mut add: Add) -> Result<Allocation, Refusal> {
        self.requests = 0;
        self.run_on(&mut add)
    }

    /// As far as an ADD comes without learning more.
    pub(crate) fn run_on(&mut self, add: &mut Add) -> Result<Allocation, Refusal> {
        let now = self.now();
        let first = add.start(now);
        self.drive(first, |outcome| add.next(outcome, now))
    }

    /// The addresses of an ADD that is expected to get some.
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

    /// A DEL whose record says that the ADD may still be under way.
    pub(crate) fn del_fenced(&mut self, id: &AttachmentId) -> Released {
        self.release(Release::new(id.clone(), name("default"), None, true))
    }

    pub(crate) fn release(&mut self, mut release: Release) -> Released {
        self.requests = 0;
        self.decide(&mut release)
    }

    /// What a decision comes to that nobody refuses.
    pub(crate) fn decide<D: Decide>(&mut self, machine: &mut D) -> D::Decision {
        let now = self.now();
        let first = machine.start(now);
        self.drive(first, |outcome| machine.next(outcome, now)).unwrap()
    }

    fn drive<D>(&mut self, mut step: Step<D>, mut next: impl FnMut(&Outcome) -> Step<D>) -> Result<D, Refusal> {
        loop {
            match step {
                Step::Commit(txn) => {
                    self.requests += 1;
                    step = next(&self.state.commit(&txn));
                }
                Step::Done(done) => return Ok(done),
                Step::Refused(refusal) => return Err(refusal),
            }
        }
    }

    /// Overwrites a key, as another program would.
    pub(crate) fn put(&mut self, key: Key, value: impl Into<Vec<u8>>) {
        self.state.commit(&Txn::new(Vec::new(), vec![crate::store::Op::Put(key, value.into())], Vec::new()).unwrap());
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

    /// Every address that is held, with its routing domain and its holder.
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

/// Every address that is held, with its routing domain and its first holder.
pub(crate) fn held(state: &MemoryMap) -> BTreeMap<(Name, IpAddr), AttachmentId> {
    let leases = entries(state, "ip/").into_iter().map(|entry| {
        let lease: Lease = parsed(&entry);
        let held = lease.is_held();
        let id = lease.holders.into_iter().next().unwrap().id;
        held.then(|| (keys::read_lease(&entry.key).unwrap(), id))
    });
    leases.flatten().collect()
}

/// The leases of addresses that nobody holds and that are reserved.
pub(crate) fn reserved(state: &MemoryMap) -> BTreeMap<(Name, IpAddr), Lease> {
    let leases = entries(state, "ip/").into_iter().map(|entry| {
        let lease: Lease = parsed(&entry);
        lease.unused.is_some().then(|| (keys::read_lease(&entry.key).unwrap(), lease))
    });
    leases.flatten().collect()
}

/// Every address that is held, with all its holders.
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

/// What contradicts itself in a store of which every value can be read: a lease and its holder's attachment must name
/// each other, a resting lease and its entry among the rests must be of one revision, and neither may be without the
/// other.
pub(crate) fn contradictions(state: &MemoryMap) -> Vec<String> {
    let mut found = Vec::new();
    let mut leased: BTreeSet<(String, Name, IpAddr)> = BTreeSet::new();
    let mut resting: BTreeSet<(Key, crate::store::Revision)> = BTreeSet::new();
    for entry in entries(state, "ip/") {
        let (vrf, ip) = keys::read_lease(&entry.key).unwrap();
        let lease: Lease = parsed(&entry);
        match cooldown_key(&vrf, ip, &lease) {
            Some(rest) => {
                resting.insert((rest, entry.revision));
            }
            None if lease.unused.is_some() => {
                if !matches!(lease.on_release, OnRelease::Keep(_)) || lease.owner.is_none() {
                    found.push(format!("{} is unused and kept by nobody", entry.key));
                }
            }
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
    let rests: BTreeSet<_> = rests.collect();
    found.extend(leased.symmetric_difference(&listed).map(|(at, vrf, ip)| format!("{at} and {ip} of {vrf} disagree")));
    found.extend(resting.symmetric_difference(&rests).map(|(key, revision)| format!("{key} at {revision:?} is alone")));
    found
}

/// Everything that a network gives at random, one container after the other, until it refuses.
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
