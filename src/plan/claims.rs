//! The IPAMClaims that pods name: finds each among the files, and checks that it is for the interface and for one pod.

use std::collections::{BTreeMap, HashMap};

use super::code;
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
    /// It names a claim that no file has, as text: `IPAMClaim app/vm1.data`.
    Elsewhere(String),
    /// It names one of the files.
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
struct Reference {
    name: String,
    /// Whether KubeVirt's ipam-extensions add the reference, and create the claim as well.
    by_extension: bool,
}

/// Finds the claim of each interface, and reports those that can't be used.
pub(super) fn find<'a>(
    interfaces: &mut [PlannedInterface<'a>],
    networks: &[PlannedNetwork<'_>],
    claims: &'a [PlannedClaim],
    sources: &[Source],
    findings: &mut Vec<Finding>,
) {
    let key = |planned: &'a PlannedClaim| (planned.claim.namespace.as_str(), planned.claim.name.as_str());
    let claims: HashMap<(&str, &str), &PlannedClaim> = claims.iter().map(|planned| (key(planned), planned)).collect();
    let mut users: BTreeMap<(String, String), (String, Place)> = BTreeMap::new();
    for interface in interfaces {
        let NetworkRef::Planned(network) = interface.network else { continue };
        let network = &networks[network];
        let Some(Reference { name, by_extension }) = reference(interface, network) else { continue };
        let namespace = interface.workload.namespace.clone();
        let selection = interface.workload.template.annotation(NETWORKS).filter(|_| !by_extension);
        let place = selection.map_or_else(|| interface.place.clone(), |text| text.place.of_text(sources, &name));
        let label = format!("IPAMClaim {namespace}/{name}");
        interface.claim = match claims.get(&(namespace.as_str(), name.as_str())) {
            Some(planned) => match planned.claim.fits(&network.name, &interface.ifname) {
                Ok(()) => ClaimRef::Planned(planned),
                Err(error) => {
                    findings.push(unfit(planned, &error, place.clone()));
                    ClaimRef::Refused
                }
            },
            None => {
                if !by_extension {
                    let message = format!("{label} is not among these files");
                    findings.push(
                        Finding::warning(code::NO_SUCH_CLAIM, place.clone(), message)
                            .help("give its file to the plan as well, or correct the name; pods wait until it exists"),
                    );
                }
                ClaimRef::Elsewhere(label.clone())
            }
        };
        let user = format!("{} ({})", interface.workload.label(), interface.ifname);
        let earlier = users.entry((namespace, name)).or_insert_with(|| (user.clone(), place.clone()));
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
    // A mistake in the annotations is reported with the requests.
    let read = Annotations::read(&workload.template.as_map(), &interface.ifname).ok()?;
    if let Some(name) = read.claim() {
        return Some(Reference { name: name.to_owned(), by_extension: false });
    }
    let persists = network.plugin.config.get("allowPersistentIPs").is_some_and(|allows| allows.to_json() == true);
    let machine = workload.template.machine_networks.iter().find(|machine| machine.ifname == interface.ifname);
    let machine = machine.filter(|_| persists)?;
    Some(Reference { name: format!("{}.{}", workload.name, machine.name), by_extension: true })
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
