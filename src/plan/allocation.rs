//! Runs the real ADDs of all pods in a cluster, as far as they are not there already.
//!
//! In a cluster, pods start in any order. A plan runs the ADDs that request certain addresses first, and excludes these
//! addresses from random selection.

mod in_use;
mod refused;
mod resolve;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use self::in_use::InUse;
use self::resolve::{ResolvedPod, resolve, shares_address};
use super::claims::ClaimRef;
use super::cluster::{Cluster, ClusterAdd, Keeper, PLAN};
use super::code;
use super::finding::Finding;
use super::interfaces::{NetworkRef, PlannedInterface};
use super::networks::PlannedNetwork;
use super::objects::Kind;
use super::source::{Place, Source};
use crate::ipam::address::Span;
use crate::ipam::lease::{Began, Holder, PodRef, Unknown};
use crate::ipam::name::{AttachmentId, Name};
use crate::ipam::pod::Controller;
use crate::ipam::range::RangeSet;
use crate::ipam::request::{AddressRequest, Selection, Source as From};
use crate::ipam::reservation::OwnerKind;

/// The most ADDs of a plan: more interfaces than the 150,000 pods that Kubernetes supports in a cluster usually have.
const MAX_ADDS: u32 = 200_000;

/// The addresses of an interface in all pods of its workload.
#[derive(Debug, Default)]
pub(super) struct InterfaceAllocation {
    /// The addresses that each pod requests or gets from a requested pool, by the pod's index.
    pub(super) certain: Vec<(u32, Vec<IpAddr>)>,
    /// The range sets that assign a random address to each pod, unless one is kept for it.
    pub(super) any: Vec<RangeSet>,
    /// Whether any pod gets an address that is neither requested nor kept for it.
    pub(super) draws: bool,
    /// The sources of the requests, such as annotations, with their positions.
    pub(super) sources: Vec<(String, Option<Place>)>,
    /// The object for which its random or pool address is kept, as text.
    pub(super) keeper: Option<String>,
    /// Whether any pod is refused.
    pub(super) refused: bool,
}

/// The pod that gets an address.
#[derive(Clone, Copy, Debug)]
pub(super) struct Owner {
    /// The index of the interface.
    pub(super) interface: usize,
    /// The index of the pod. Pods beyond the workload's replicas exist only during an update.
    pub(super) pod: u32,
    /// Whether it requests the address or its pool, rather than getting a random one.
    pub(super) certain: bool,
}

/// The addresses of all pods.
#[derive(Debug)]
pub(super) struct Allocations {
    /// In the order of the planned interfaces.
    pub(super) interfaces: Vec<InterfaceAllocation>,
    /// The owner of each assigned address, by vrf.
    pub(super) owners: BTreeMap<(Name, IpAddr), Owner>,
    /// The addresses in use before the plan, by vrf.
    pub(super) in_use: BTreeSet<(Name, IpAddr)>,
}

/// Runs the ADDs of all pods.
pub(super) fn allocate<C: Cluster>(
    interfaces: &[PlannedInterface<'_>],
    networks: &[PlannedNetwork<'_>],
    sources: &[Source],
    findings: &mut Vec<Finding>,
    cluster: &mut C,
) -> Result<Allocations, C::Error> {
    let in_use = InUse::read(interfaces, networks, cluster)?;
    let mut allocator = Allocator {
        interfaces,
        networks,
        sources,
        findings,
        in_use,
        done: Allocations {
            interfaces: interfaces.iter().map(|_| InterfaceAllocation::default()).collect(),
            owners: BTreeMap::new(),
            in_use: BTreeSet::new(),
        },
        adds: 0,
    };
    let mut adds: Vec<PlannedAdd<'_>> = (0..interfaces.len()).flat_map(|i| allocator.adds(i)).collect();
    let wanted: Vec<(Name, IpAddr)> =
        adds.iter().flat_map(|add| add.exact().map(|ip| (add.network.vrf.clone(), ip))).collect();
    // Surge pods come last. In both groups, exact addresses come before pools, and pools before random addresses.
    adds.sort_by_key(|add| (add.is_surge(), add.rank()));
    for mut add in adds {
        if add.exact().next().is_some() {
            // Its other range sets must not draw what a later ADD requests.
            add.leave_out(&wanted);
        }
        allocator.add(&add, cluster)?;
    }
    Ok(Allocations { in_use: allocator.in_use.all, ..allocator.done })
}

/// The ADD of one interface of one pod.
struct PlannedAdd<'a> {
    interface: &'a PlannedInterface<'a>,
    /// The index of the interface.
    index: usize,
    network: &'a PlannedNetwork<'a>,
    pod: u32,
    /// Its requests on each kind of node that it may run on. The first alternative that succeeds is used.
    alternatives: Vec<Vec<AddressRequest>>,
    /// The kind of object for which its addresses are kept.
    keeper: Option<OwnerKind>,
}

impl PlannedAdd<'_> {
    /// The object for which its addresses are kept. `pod` is its name.
    fn keeper<'k>(&'k self, pod: &'k str) -> Option<Keeper<'k>> {
        let PlannedInterface { workload, claim, .. } = self.interface;
        let of = |kind, namespace, name| Keeper { kind, namespace, name, pod: None };
        let keeper = match (self.keeper?, claim) {
            (kind, ClaimRef::Planned(planned)) => {
                of(kind, planned.claim.namespace.as_str(), planned.claim.name.as_str())
            }
            (kind, _) => of(kind, &*workload.namespace, &*workload.name),
        };
        Some(Keeper { pod: (keeper.kind == OwnerKind::StatefulSet).then_some(pod), ..keeper })
    }

    fn is_surge(&self) -> bool {
        self.interface.workload.is_surge(self.pod)
    }

    fn requests(&self) -> impl Iterator<Item = &AddressRequest> {
        self.alternatives.iter().flatten()
    }

    fn exact(&self) -> impl Iterator<Item = IpAddr> {
        self.requests().flat_map(|request| match &request.selection {
            Selection::Exact(ips) => ips.clone(),
            Selection::Auto | Selection::OneOf(_) => Vec::new(),
        })
    }

    fn rank(&self) -> u8 {
        let rank = |request: &AddressRequest| match request.selection {
            Selection::Exact(_) => 0,
            Selection::OneOf(_) => 1,
            Selection::Auto => 2,
        };
        self.requests().map(rank).min().unwrap_or(2)
    }

    /// Excludes these addresses from random selection.
    fn leave_out(&mut self, wanted: &[(Name, IpAddr)]) {
        for request in self.alternatives.iter_mut().flatten().filter(|request| request.selection == Selection::Auto) {
            let mut ranges = request.set.ranges().to_vec();
            for range in &mut ranges {
                let inside = wanted.iter().filter(|(vrf, ip)| *vrf == self.network.vrf && range.window.contains(*ip));
                range.exclude.extend(inside.map(|(_, ip)| Span::single(*ip)));
            }
            if let Some(set) = RangeSet::new(ranges) {
                request.set = set;
            }
        }
    }
}

struct Allocator<'a> {
    interfaces: &'a [PlannedInterface<'a>],
    networks: &'a [PlannedNetwork<'a>],
    sources: &'a [Source],
    findings: &'a mut Vec<Finding>,
    in_use: InUse,
    done: Allocations,
    /// The number of ADDs so far.
    adds: u32,
}

impl<'a> Allocator<'a> {
    /// The ADDs of an interface, one for each pod. Reports a mistake once rather than for each pod.
    fn adds(&mut self, index: usize) -> Vec<PlannedAdd<'a>> {
        let (interfaces, networks) = (self.interfaces, self.networks);
        let interface = &interfaces[index];
        let NetworkRef::Planned(network) = interface.network else { return Vec::new() };
        let network = &networks[network];
        let workload = interface.workload;
        if matches!(interface.claim, ClaimRef::Refused) {
            self.done.interfaces[index].refused = true;
            return Vec::new();
        }
        let annotations = workload.template.as_map();
        let mut adds = Vec::new();
        let pods = workload.replicas.saturating_add(workload.surge);
        if !self.takes(index, pods) {
            return adds;
        }
        for pod in 0..pods {
            match resolve(interface, network, &annotations, pod) {
                Ok(ResolvedPod { alternatives, notes, keeper, is_sticky }) => {
                    if workload.is_surge(pod) && shares_address(interface, &alternatives, keeper.is_some()) {
                        break;
                    }
                    if pod == 0 {
                        self.done.interfaces[index].keeper = keeper;
                        alternatives.iter().for_each(|requests| self.note_sources(index, requests));
                        notes.iter().filter(|note| note.is_suspect()).for_each(|note| self.report_note(index, note));
                    }
                    let keeper = keeper_kind(interface, is_sticky);
                    adds.push(PlannedAdd { interface, index, network, pod, alternatives, keeper });
                }
                Err(Some(refusal)) => {
                    self.refuse(index, &refusal);
                    break;
                }
                Err(None) => break,
            }
        }
        adds
    }

    /// Whether the plan has room for the pods of an interface. Reports it if not.
    fn takes(&mut self, index: usize, pods: u32) -> bool {
        if let Some(adds) = self.adds.checked_add(pods).filter(|adds| *adds <= MAX_ADDS) {
            self.adds = adds;
            return true;
        }
        self.done.interfaces[index].refused = true;
        let workload = self.interfaces[index].workload;
        let place = workload.replicas_place.clone().unwrap_or_else(|| workload.place.clone());
        let message =
            format!("the {pods} pods of {} are too many; a plan takes at most {MAX_ADDS} interfaces", workload.label());
        self.findings.push(
            Finding::error(code::TOO_LARGE, place, message)
                .help("correct the number, or plan fewer workloads at a time"),
        );
        false
    }

    fn note_sources(&mut self, index: usize, requests: &[AddressRequest]) {
        let template = &self.interfaces[index].workload.template;
        let done = &mut self.done.interfaces[index];
        for request in requests {
            let source = match &request.source {
                From::Nothing => ("nothing is asked for".to_owned(), None),
                source @ From::Annotation(key) => (
                    source.to_string(),
                    template.annotation(&key.to_string()).map(|annotation| annotation.place.clone()),
                ),
                source => (source.to_string(), Some(self.interfaces[index].place.clone())),
            };
            if !done.sources.contains(&source) {
                done.sources.push(source);
            }
            if request.selection == Selection::Auto && !done.any.contains(&request.set) {
                done.any.push(request.set.clone());
            }
        }
    }

    fn add<C: Cluster>(&mut self, add: &PlannedAdd<'_>, cluster: &mut C) -> Result<(), C::Error> {
        // A refusal is reported once per interface, not for each pod.
        if self.done.interfaces[add.index].refused {
            return Ok(());
        }
        if !add.is_surge()
            && let Some(addresses) = self.in_use.take(add)
        {
            self.note(add, &add.alternatives.concat(), &addresses, &[]);
            return Ok(());
        }
        let Some(view) = add.network.views.first() else { return Ok(()) };
        let workload = add.interface.workload;
        let name = workload.pod_name(add.pod);
        let mut refusal = None;
        for requests in &add.alternatives {
            let attempt = ClusterAdd {
                network: &view.network,
                vrf: &add.network.vrf,
                holder: holder(add),
                requests: requests.clone(),
                keeper: add.keeper(&name),
            };
            match cluster.add(attempt)? {
                Ok(allocation) => {
                    let addresses: Vec<IpAddr> = allocation.leases.iter().map(|(ip, _)| *ip).collect();
                    self.note(add, requests, &addresses, &allocation.reused);
                    return Ok(());
                }
                Err(error) => refusal = refusal.or(Some(error)),
            }
        }
        if let Some(refusal) = refusal {
            self.refuse_add(add, &refusal);
        }
        Ok(())
    }

    /// Notes what a pod has. `kept` are the addresses that are reserved for it.
    fn note(&mut self, add: &PlannedAdd<'_>, requests: &[AddressRequest], addresses: &[IpAddr], kept: &[IpAddr]) {
        let mut certain = Vec::new();
        for ip in addresses {
            let request = requests.iter().find(|request| request.set.range_of(*ip).is_some());
            let is_requested = request.is_some_and(|request| request.selection != Selection::Auto);
            let is_certain = is_requested || kept.contains(ip);
            if is_certain {
                certain.push(*ip);
            }
            let owner = Owner { interface: add.index, pod: add.pod, certain: is_certain };
            self.done.interfaces[add.index].draws |= !is_certain;
            self.done.owners.insert((add.network.vrf.clone(), *ip), owner);
        }
        if !certain.is_empty() && !add.is_surge() {
            self.done.interfaces[add.index].certain.push((add.pod, certain));
        }
    }
}

/// The kind of object that keeps an interface's addresses. What a claim keeps is not its workload's.
fn keeper_kind(interface: &PlannedInterface<'_>, is_sticky: bool) -> Option<OwnerKind> {
    match (&interface.claim, interface.workload.kind) {
        (ClaimRef::Planned(_), _) => Some(OwnerKind::IpamClaim),
        (ClaimRef::Unnamed, Kind::StatefulSet) if is_sticky => Some(OwnerKind::StatefulSet),
        (ClaimRef::Unnamed, Kind::VirtualMachine) if is_sticky => Some(OwnerKind::VirtualMachine),
        (ClaimRef::Unnamed, Kind::VirtualMachineInstance) if is_sticky => Some(OwnerKind::VirtualMachineInstance),
        _ => None,
    }
}

fn holder(add: &PlannedAdd<'_>) -> Holder {
    let PlannedInterface { workload, ifname, .. } = add.interface;
    let pod = workload.pod_name(add.pod);
    let container = format!("{}.{}.{}.{}", workload.kind.word(), workload.namespace, workload.name, add.pod);
    Holder {
        id: AttachmentId {
            node: Name::closest(workload.nodes_of(add.pod).first().map_or(PLAN, String::as_str)),
            container: Name::closest(&container),
            ifname: ifname.clone(),
            network: add.network.name.clone(),
        },
        pod: PodRef {
            namespace: Some(workload.namespace.clone()),
            uid: Some(format!("{}/{pod}", workload.kind.word())),
            name: Some(pod),
        },
        workload: None,
        // Its UID is the API server's to say.
        controller: (workload.kind == Kind::StatefulSet).then(|| {
            let (kind, name) = (OwnerKind::StatefulSet.as_str().to_owned(), workload.name.clone());
            Controller::from_reference("apps/v1", kind, name, String::new())
        }),
        cluster: Some(PLAN.to_owned()),
        began: Began { boot: PLAN.to_owned(), boottime: u64::from(add.pod) },
        unknown: Unknown::new(),
    }
}
