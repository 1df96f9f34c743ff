//! Who keeps an interface's address beyond one pod: a claim, or with `sticky` a StatefulSet or a virtual machine.

use super::interfaces::PlannedInterface;
use super::objects::Kind;
use crate::config::Network;
use crate::ipam::request::{AddressRequest, Annotations, Selection};

/// The stable identity of an interface's pods, as text: `each pod of StatefulSet app/db`.
pub(super) fn identity(interface: &PlannedInterface<'_>) -> Option<String> {
    let workload = interface.workload;
    let of_workload = || match workload.kind {
        Kind::StatefulSet => Some(format!("each pod of {}", workload.label())),
        Kind::VirtualMachine | Kind::VirtualMachineInstance => Some(workload.label()),
        Kind::Pod | Kind::Deployment | Kind::ReplicaSet | Kind::DaemonSet | Kind::Job | Kind::CronJob => None,
    };
    interface.claim.label().or_else(of_workload)
}

/// The identity for which the addresses of these requests are kept once a pod has them.
pub(super) fn keeper(
    interface: &PlannedInterface<'_>,
    network: &Network,
    annotations: Option<&Annotations>,
    requests: &[AddressRequest],
) -> Option<String> {
    // A pod gets a requested address again by requesting it again.
    let is_requested = requests.iter().all(|request| matches!(request.selection, Selection::Exact(_)));
    let is_sticky = !is_requested && annotations.is_some_and(|annotations| annotations.is_sticky(network.sticky.on));
    identity(interface).filter(|_| is_sticky || interface.claim.label().is_some())
}
