//! What the next ADD of a container would do: the real decision, on an overlay that commits nothing.

use std::net::IpAddr;

use super::networks::ConfiguredNetwork;
use super::{Explainer, search};
use crate::cni::CniVersion;
use crate::config::CallSettings;
use crate::error::Error;
use crate::explain::{NextAdd, Outcome};
use crate::ipam::lease::{AllocationKind, Began, Holder, PodRef};
use crate::ipam::name::{AttachmentId, IfName, Name};
use crate::ipam::pod::Pod;
use crate::ops::operator::STORE_TIMEOUT;
use crate::ops::rehearsal::{Rehearsal, Rehearsed, RehearsedAdd};

/// The container of a pod that has none yet.
const NO_CONTAINER: &str = "next";

/// What the next ADD of a recorded container gets. `pod` is what the API server has of its pod.
pub(super) fn of_holder(explainer: &Explainer<'_>, holder: &Holder, pod: Option<&Pod>) -> NextAdd {
    let selected = pod.and_then(|pod| search::definition_of(pod, holder.id.ifname.as_str()));
    let namespace = holder.pod.namespace.as_deref();
    match explainer.networks.named(&holder.id.network, selected.as_ref(), namespace) {
        Ok(network) => {
            let is_own = explainer.node.records.is_own_name(&holder.id.node);
            let began = if is_own { explainer.node.began.clone() } else { after(&holder.began) };
            rehearse(explainer, network, (holder.id.clone(), holder.pod.clone(), began))
        }
        Err(why) => NextAdd::unknown(why),
    }
}

/// What the next ADD of a pod's interface gets, if the pod has no container yet.
pub(super) fn of_pod(explainer: &Explainer<'_>, pod: &Pod, ifname: &str, node: Option<&str>) -> NextAdd {
    let network = match explainer.networks.of_interface(ifname, search::definition_of(pod, ifname).as_ref()) {
        Ok(network) => network,
        Err(why) => return NextAdd::unknown(why),
    };
    let (Ok(container), Ok(ifname)) = (Name::new(NO_CONTAINER), IfName::new(ifname)) else {
        return NextAdd::unknown(format!("{ifname:?} is not the name of an interface"));
    };
    let node = node.and_then(|node| Name::new(node).ok()).unwrap_or_else(|| explainer.node.settings.node.clone());
    let id = AttachmentId { node, container, ifname, network: network.network.name.clone() };
    let Pod { namespace, name, uid, .. } = pod.clone();
    let pod = PodRef { namespace: Some(namespace), name: Some(name), uid: Some(uid) };
    rehearse(explainer, network, (id, pod, explainer.node.began.clone()))
}

fn rehearse(
    explainer: &Explainer<'_>,
    found: &ConfiguredNetwork,
    (id, pod, began): (AttachmentId, PodRef, Began),
) -> NextAdd {
    // A kubeconfig that was named on the command line wins.
    let kubeconfigs = explainer.node.settings.kubeconfigs.clone();
    let settings = CallSettings { kubeconfigs, ..found.settings.clone() };
    let add = RehearsedAdd { id, pod, began, version: CniVersion::NEWEST, requested: None };
    let rehearsal = Rehearsal::new(&settings, explainer.session.config(), STORE_TIMEOUT);
    match rehearsal.and_then(|mut rehearsal| rehearsal.add(&found.network, &add)) {
        Ok(rehearsed) => assigned(rehearsed),
        Err(error) => {
            let outcome = if matches!(error, Error::Refused(_)) { Outcome::Refused } else { Outcome::Unknown };
            NextAdd { outcome, ..NextAdd::unknown(error.full().to_string()) }
        }
    }
}

fn assigned(Rehearsed { allocation, would_be_probed: probed }: Rehearsed) -> NextAdd {
    let is_drawn = |ip: &IpAddr| {
        let lease = allocation.leases.iter().find(|(leased, _)| leased == ip);
        !allocation.repeated && lease.is_some_and(|(_, lease)| lease.kind == AllocationKind::Dynamic)
    };
    let addresses = allocation.attachment.addresses.iter().map(|assigned| assigned.address.addr());
    let (drawn, addresses): (Vec<IpAddr>, Vec<IpAddr>) = addresses.partition(is_drawn);
    let outcome = if allocation.repeated { Outcome::Repeats } else { Outcome::Assigns };
    NextAdd { outcome, addresses, random: drawn.len(), probed, why: None }
}

/// A time after a holder's ADD, on its node.
fn after(began: &Began) -> Began {
    Began { boottime: began.boottime.saturating_add(1), ..began.clone() }
}
