//! The IPAMClaims that pods name: finds each, and checks that it is for the interface and for one pod.

use std::collections::{BTreeMap, HashMap};

use super::cluster::{LookupError, NamedKind, NamedObject};
use super::code;
use super::elsewhere::Elsewhere;
use super::finding::Finding;
use super::interfaces::{NetworkRef, PlannedInterface};
use super::networks::PlannedNetwork;
use super::objects::{PlannedClaim, Workload};
use super::source::{Place, Source};
use crate::cause::chain;
use crate::ipam::claim::ClaimError;
use crate::ipam::request::{Annotations, NETWORKS};

/// The claim of an interface.
#[derive(Debug, Default)]
pub(super) enum ClaimRef<'a> {
    /// The interface names none.
    #[default]
    Unnamed,
    /// It names a claim that was not found, as text: `IPAMClaim app/vm1.data`.
    Elsewhere(String),
    /// It names one that was found.
    Planned(&'a PlannedClaim),
    /// It names one that it can't use, which was reported.
    Refused,
}

impl ClaimRef<'_> {
    /// The claim as text, if the interface's addresses will belong to it.
    pub(super) fn label(&self) -> Option<String> {
        match self {
            Self::Elsewhere(label) => Some(label.clone()),
            Self::Planned(planned) => Some(planned.claim.to_string()),
            Self::Unnamed | Self::Refused => None,
        }
    }
}

/// The name of an interface's claim.
#[derive(Debug)]
pub(super) struct Reference {
    pub(super) claim: NamedObject,
    /// Whether KubeVirt's ipam-extensions add the reference, and create the claim as well.
    by_extension: bool,
}

/// The claim that each interface names.
pub(super) fn references(
    interfaces: &[PlannedInterface<'_>],
    networks: &[PlannedNetwork<'_>],
) -> Vec<Option<Reference>> {
    let of = |interface: &PlannedInterface<'_>| match interface.network {
        NetworkRef::Planned(network) => reference(interface, &networks[network]),
        NetworkRef::OnNodes | NetworkRef::Unknown => None,
    };
    interfaces.iter().map(of).collect()
}

/// Finds the claim of each interface, and reports those that can't be used.
pub(super) fn find<'a>(
    interfaces: &mut [PlannedInterface<'a>],
    networks: &[PlannedNetwork<'_>],
    references: &[Option<Reference>],
    claims: &'a [PlannedClaim],
    elsewhere: &Elsewhere,
    sources: &[Source],
    findings: &mut Vec<Finding>,
) {
    let claims: HashMap<NamedObject, &PlannedClaim> =
        claims.iter().map(|planned| (planned.object(), planned)).collect();
    let mut users: BTreeMap<&NamedObject, (String, Place)> = BTreeMap::new();
    for (interface, reference) in interfaces.iter_mut().zip(references) {
        let NetworkRef::Planned(network) = interface.network else { continue };
        let network = &networks[network];
        let Some(Reference { claim, by_extension }) = reference else { continue };
        let selection = interface.workload.template.annotation(NETWORKS).filter(|_| !by_extension);
        let place = selection.map_or_else(|| interface.place.clone(), |text| text.place.of_text(sources, &claim.name));
        let label = claim.to_string();
        interface.claim = match claims.get(claim) {
            Some(planned) => match planned.claim.fits(&network.name, &interface.ifname) {
                Ok(()) => ClaimRef::Planned(planned),
                Err(error) => {
                    findings.push(unfit(planned, &error, place.clone()));
                    ClaimRef::Refused
                }
            },
            None => match elsewhere.error(claim) {
                // Its status can't be read, which was reported.
                None => ClaimRef::Refused,
                Some(error) => {
                    let is_missing = !by_extension || error.help().is_some();
                    findings.extend(is_missing.then(|| not_found(claim, error, &place)));
                    ClaimRef::Elsewhere(label.clone())
                }
            },
        };
        let user = format!("{} ({})", interface.workload.label(), interface.ifname);
        let earlier = users.entry(claim).or_insert_with(|| (user.clone(), place.clone()));
        if let Some(finding) = shared(interface.workload, &label, &user, &place, earlier) {
            findings.push(finding);
            interface.claim = ClaimRef::Refused;
        }
    }
}

/// The claim that an interface names, or that KubeVirt's ipam-extensions let it name.
fn reference(interface: &PlannedInterface<'_>, network: &PlannedNetwork<'_>) -> Option<Reference> {
    if !network.views.first()?.network.annotations {
        return None;
    }
    let workload = interface.workload;
    let claim = |name| NamedObject { kind: NamedKind::IpamClaim, namespace: workload.namespace.clone(), name };
    // A mistake in the annotations is reported with the requests.
    let read = Annotations::read(&workload.template.as_map(), &interface.ifname).ok()?;
    if let Some(name) = read.claim() {
        return Some(Reference { claim: claim(name.to_owned()), by_extension: false });
    }
    let persists = network.plugin.config.get("allowPersistentIPs").is_some_and(|allows| allows.to_json() == true);
    let machine = workload.template.machine_networks.iter().find(|machine| machine.ifname == interface.ifname);
    let machine = machine.filter(|_| persists)?;
    Some(Reference { claim: claim(format!("{}.{}", workload.name, machine.name)), by_extension: true })
}

fn not_found(claim: &NamedObject, error: &LookupError, place: &Place) -> Finding {
    let message = format!("{claim} is not among these files{}", error.looked_for());
    let usual = "give its file to the plan as well, or correct the name; pods wait until it exists";
    Finding::warning(code::NO_SUCH_CLAIM, place.clone(), message).help(error.help().unwrap_or(usual))
}

fn unfit(planned: &PlannedClaim, error: &ClaimError, place: Place) -> Finding {
    let field = match error {
        ClaimError::OtherNetwork { .. } => &planned.network,
        ClaimError::OtherInterface { .. } => &planned.interface,
        ClaimError::Status { .. } | ClaimError::Several { .. } | ClaimError::NotItsOwn { .. } => &None,
    };
    let field = field.clone().unwrap_or_else(|| planned.place.clone());
    Finding::error(code::CLAIM, place, chain(error).to_string())
        .related(field, "this one has to be right")
        .help("name the claim of this interface and network, or correct the claim")
}

/// The finding for a claim of several pods. Only the two pods of a migrating machine may share one.
fn shared(workload: &Workload, label: &str, user: &str, place: &Place, earlier: &(String, Place)) -> Option<Finding> {
    let (first, first_place) = earlier;
    let help = "give each pod a claim of its own; for a StatefulSet, `sticky` keeps an address for each pod";
    if first != user {
        let message = format!("{label} is named twice: by {first} and by {user}");
        let finding = Finding::error(code::CLAIM_SHARED, place.clone(), message);
        return Some(finding.labelled("named again here").related(first_place.clone(), "named here first").help(help));
    }
    let surge = if workload.makes_room { 0 } else { workload.surge };
    let (pods, during) = match workload.replicas {
        0 | 1 => (workload.replicas.saturating_add(surge), " during an update"),
        replicas => (replicas, ""),
    };
    if pods < 2 {
        return None;
    }
    let message = format!("{} has {pods} pods{during}, and all of them name {label}", workload.label());
    Some(Finding::error(code::CLAIM_SHARED, place.clone(), message).help(help))
}
