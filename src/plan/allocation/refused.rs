//! Findings for pods that would be refused.

use std::net::IpAddr;

use super::{Allocator, PlannedAdd};
use crate::cause::chain;
use crate::ipam::refusal::Refusal;
use crate::ipam::request::{AddressRequest, AnnotationError, AnnotationPart, Note, Selection, ValuePart};
use crate::plan::claims::ClaimRef;
use crate::plan::code;
use crate::plan::finding::{Finding, Shortage};
use crate::plan::interfaces::{NetworkRef, PlannedInterface};
use crate::plan::key_path;
use crate::plan::objects::Workload;
use crate::plan::source::Place;

impl Allocator<'_> {
    /// Reports a request that is refused regardless of other pods.
    pub(super) fn refuse(&mut self, index: usize, refusal: &Refusal) {
        self.done.interfaces[index].refused = true;
        // `interfaces` knows all interfaces of the pod and has already reported this.
        if matches!(refusal, Refusal::Annotation(error) if matches!(**error, AnnotationError::NoSuchInterface { .. })) {
            return;
        }
        let place = self.place(index, refusal);
        let mut finding = Finding::error(code::of_refusal(refusal), place, chain(refusal).to_string());
        if let Some(list) = self.namespaces_place(index, refusal) {
            finding = finding.related(list, "these namespaces may use it");
        }
        if let (Refusal::Claim(_), ClaimRef::Planned(planned)) = (refusal, &self.interfaces[index].claim) {
            finding = finding.related(planned.place.clone(), "its status has the address");
        }
        if finding.code == code::POOL_TOO_SHORT
            && let Some(shortage) = self.shortage(index, Vec::new())
        {
            finding = finding.short_of(shortage);
        }
        self.findings.push(finding);
    }

    /// The network that has too few addresses for an interface.
    fn shortage(&self, index: usize, sets: Vec<Vec<String>>) -> Option<Shortage> {
        let PlannedInterface { workload, network, .. } = &self.interfaces[index];
        let NetworkRef::Planned(network) = *network else { return None };
        let network = self.networks[network].definition.full_name();
        Some(Shortage { network, workload: workload.label(), sets })
    }

    /// The position of the list that leaves a pod's namespace out. `None` if the node defaults have it.
    fn namespaces_place(&self, index: usize, refusal: &Refusal) -> Option<Place> {
        let Refusal::Namespace { allowed, .. } = refusal else { return None };
        let NetworkRef::Planned(network) = self.interfaces[index].network else { return None };
        let plugin = self.networks[network].plugin;
        key_path::list_of(&plugin.config, "namespaces", allowed).map(|key| Place::new(plugin.source, &key))
    }

    pub(super) fn report_note(&mut self, index: usize, note: &Note) {
        if matches!(note, Note::NoSuchInterface { .. }) {
            return;
        }
        let interface = &self.interfaces[index];
        let annotation = interface.workload.template.annotation(note.key().as_str());
        let place = annotation.map_or(&interface.place, |annotation| &annotation.key_place).clone();
        self.findings.push(Finding::warning(code::of_note(note), place, note.to_string()));
    }

    /// Reports a pod that is refused because of other pods.
    pub(super) fn refuse_add(&mut self, add: &PlannedAdd<'_>, refusal: &Refusal) {
        let workload = add.interface.workload;
        // An update that ends a pod before its new one starts needs no more addresses than there are pods.
        if add.is_surge() && workload.makes_room {
            return;
        }
        if !add.is_surge() {
            self.done.interfaces[add.index].refused = true;
        }
        let mut finding = match (refusal, add.rank()) {
            _ if let Some(finding) = self.in_the_way(add, refusal) => finding,
            (_, 1) if self.is_pool_in_use(add) => {
                let place = self.place(add.index, refusal);
                Finding::error(code::HELD_IN_CLUSTER, place, chain(refusal).to_string())
                    .help("add addresses to the pool, or wait until one of its holders is gone")
            }
            (Refusal::Held { .. } | Refusal::Exhausted { .. }, 1) => self.pool_too_short(add),
            (Refusal::Held { ip, .. }, _) => self.held(add, *ip),
            (Refusal::Exhausted { .. }, 2) => self.too_many_pods(add),
            _ => {
                let place = self.place(add.index, refusal);
                Finding::error(code::of_refusal(refusal), place, chain(refusal).to_string())
            }
        };
        let sets = match finding.code {
            code::TOO_MANY_PODS => Some(sets(add)),
            code::POOL_TOO_SHORT => Some(Vec::new()),
            _ => None,
        };
        if let Some(shortage) = sets.and_then(|sets| self.shortage(add.index, sets)) {
            finding = finding.short_of(shortage);
        }
        self.findings.push(finding);
    }

    /// The finding for a requested address that is in use before the plan.
    fn in_the_way(&self, add: &PlannedAdd<'_>, refusal: &Refusal) -> Option<Finding> {
        let (ip, code, label, help) = match refusal {
            Refusal::Held { ip, .. } if !self.done.owners.contains_key(&(add.network.vrf.clone(), *ip)) => {
                let help = "request another address, or wait until that pod is gone";
                (*ip, code::HELD_IN_CLUSTER, "held by a pod of the cluster", help)
            }
            Refusal::Foreign { ip, .. } => {
                let help = "request another address, or remove that host from the network";
                (*ip, code::FOREIGN_HOST, "used by a host without a lease", help)
            }
            Refusal::Reserved { ip, .. } => {
                let help = "request another address, or delete the owner of that one";
                (*ip, code::RESERVED_IN_CLUSTER, "reserved for another owner", help)
            }
            Refusal::ReservedByHand { ip, .. } => {
                let help = "request another address, or release this one";
                (*ip, code::RESERVED_IN_CLUSTER, "reserved by hand", help)
            }
            _ => return None,
        };
        let place = self.address_place(add.index, ip);
        Some(Finding::error(code, place, chain(refusal).to_string()).labelled(label).help(help))
    }

    /// Whether a pool has fewer addresses than it lists because some are in use before the plan.
    fn is_pool_in_use(&self, add: &PlannedAdd<'_>) -> bool {
        let is_of_others = |ip: &IpAddr| {
            let key = (add.network.vrf.clone(), *ip);
            self.in_use.all.contains(&key) && !self.done.owners.contains_key(&key)
        };
        add.requests().any(|request| match &request.selection {
            Selection::OneOf(pool) => {
                let used = self.in_use.all.iter().filter(|(_, ip)| pool.addresses.contains(*ip));
                used.map(|(_, ip)| *ip).any(|ip| is_of_others(&ip))
            }
            Selection::Exact(ips) => ips.iter().any(is_of_others),
            Selection::Auto => false,
        })
    }

    /// The finding for a requested address that another pod of the plan has.
    fn held(&self, add: &PlannedAdd<'_>, ip: IpAddr) -> Finding {
        let workload = add.interface.workload;
        let place = self.address_place(add.index, ip);
        let owner = self.done.owners.get(&(add.network.vrf.clone(), ip));
        let other = owner.map(|owner| &self.interfaces[owner.interface]);
        let of_same_workload = other.is_some_and(|other| std::ptr::eq(other.workload, workload));
        match (owner, other) {
            (Some(_), Some(_)) if of_same_workload && add.is_surge() => {
                let message = format!(
                    "{} can never be updated: its new pod waits for {ip}, which its old pod has",
                    workload.label()
                );
                Finding::error(code::CANNOT_ROLL, place, message).help(
                    "set spec.strategy.type to Recreate, or maxSurge to 0 and maxUnavailable to 1, so that the old pod ends first",
                )
            }
            (Some(_), Some(other)) if of_same_workload && other.ifname == add.interface.ifname => {
                let message =
                    format!("{} has {} pods, and all of them ask for {ip}", workload.label(), workload.replicas);
                let ifname = &add.interface.ifname;
                with_replicas(Finding::error(code::SHARED_BY_REPLICAS, place, message), workload)
                    .help(format!("give them a list: kube-ipam.{ifname}.pool with an address for each pod"))
            }
            (Some(owner), Some(other)) => {
                let message =
                    format!("{ip} is asked for twice: by {} and by {}", other.workload.label(), workload.label());
                let first = self.address_place(owner.interface, ip);
                Finding::error(code::DUPLICATE_ADDRESS, place, message)
                    .labelled("asked for again here")
                    .related(first, "asked for here first")
                    .help("give one of them another address; the second pod would wait until the first one is gone")
            }
            _ => Finding::error(code::DUPLICATE_ADDRESS, place, format!("{ip} is asked for twice")),
        }
    }

    fn too_many_pods(&self, add: &PlannedAdd<'_>) -> Finding {
        let workload = add.interface.workload;
        let set = add.requests().map(|request| request.set.to_string()).collect::<Vec<_>>().join(" or ");
        let place = workload.replicas_place.clone().unwrap_or_else(|| workload.place.clone());
        let message = if add.is_surge() {
            format!(
                "no address is left in {set} for the {} more pods of an update of {}",
                workload.surge,
                workload.label()
            )
        } else {
            format!(
                "no address is left in {set} for pod {} of {} of {}",
                add.pod + 1,
                workload.replicas,
                workload.label()
            )
        };
        Finding::error(code::TOO_MANY_PODS, place, message).help("widen the range, or run fewer pods")
    }

    fn pool_too_short(&self, add: &PlannedAdd<'_>) -> Finding {
        let workload = add.interface.workload;
        let pool = workload.template.field(Some(&add.interface.ifname), "pool");
        let place = pool.map_or(&add.interface.place, |annotation| &annotation.place).clone();
        let size = |request: &AddressRequest| match &request.selection {
            Selection::OneOf(pool) => Some(pool.addresses.len()),
            Selection::Exact(_) | Selection::Auto => None,
        };
        let size = add.requests().filter_map(size).min().unwrap_or_default();
        let pods = workload.replicas.saturating_add(if add.is_surge() { workload.surge } else { 0 });
        let during = if add.is_surge() { " during an update" } else { "" };
        let message = format!("{} has {pods} pods{during}, and its pool has {size} addresses", workload.label());
        with_replicas(Finding::error(code::POOL_TOO_SHORT, place, message), workload).help(if add.is_surge() {
            "add addresses, or set maxUnavailable to 1, so that an old pod ends first"
        } else {
            "add an address for each pod"
        })
    }

    /// The position of an interface's refused request.
    fn place(&self, index: usize, refusal: &Refusal) -> Place {
        let interface = &self.interfaces[index];
        let found = refusal.annotation().and_then(|AnnotationPart { key, part }| {
            Some((&interface.workload.template.annotation(key.as_str())?.place, part))
        });
        match found {
            Some((place, ValuePart::Address(ip))) => place.of_address(self.sources, ip),
            Some((place, ValuePart::Text(text))) => place.of_text(self.sources, &text),
            Some((place, ValuePart::Whole)) => place.clone(),
            None => interface.place.clone(),
        }
    }

    /// The position at which an interface requests an address.
    fn address_place(&self, index: usize, ip: IpAddr) -> Place {
        let interface = &self.interfaces[index];
        let places = self.done.interfaces[index].sources.iter().filter_map(|(_, place)| place.as_ref());
        let exact = places.clone().map(|place| (place, place.of_address(self.sources, ip)));
        let named = exact.clone().find(|(place, part)| *place != part).map(|(_, part)| part);
        named.or_else(|| places.clone().next().cloned()).unwrap_or_else(|| interface.place.clone())
    }
}

/// The range sets that a pod draws from, each by its ranges.
fn sets(add: &PlannedAdd<'_>) -> Vec<Vec<String>> {
    let mut sets = Vec::new();
    for request in add.requests() {
        let ranges = request.set.ranges().iter().map(ToString::to_string).collect();
        if !sets.contains(&ranges) {
            sets.push(ranges);
        }
    }
    sets
}

/// Adds the position of the number of pods, if the workload has one.
fn with_replicas(finding: Finding, workload: &Workload) -> Finding {
    match &workload.replicas_place {
        Some(replicas) => finding.related(replicas.clone(), format!("{} pods", workload.replicas)),
        None => finding,
    }
}
