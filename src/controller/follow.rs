//! Watches deletions in the cluster while this process is the leader, so that a scan follows soon, and counts our own
//! events about pods. It frees nothing.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;

use super::metrics::ControllerMetrics;
use super::shared::Shared;
use crate::cause::chain;
use crate::cluster::{Access, ClusterError, Connection, ResourceKind, Watch, WatchEnd, WatchEvent};
use crate::store::Backoff;

/// Pods, owners of sticky addresses, and our own events.
const FOLLOWED: [ResourceKind; 6] = [
    ResourceKind::Pod,
    ResourceKind::StatefulSet,
    ResourceKind::VirtualMachine,
    ResourceKind::VirtualMachineInstance,
    ResourceKind::IpamClaim,
    ResourceKind::Event,
];

/// The first and the longest pause before a failed watch starts again.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// The pause before retrying a resource that the cluster does not have, or that we may not read.
const NOT_THERE: Duration = Duration::from_secs(600);

/// Runs the watches while this process is the leader.
pub(super) async fn while_leading(access: Access, shared: Arc<Shared>) {
    let mut leading = shared.leading();
    while leading.wait_for(|leads| *leads).await.is_ok() {
        // Dropping the set ends the watches when leadership ends.
        let mut watches = JoinSet::new();
        for kind in FOLLOWED {
            watches.spawn(follow(kind, access.clone(), Arc::clone(&shared)));
        }
        if leading.wait_for(|leads| !*leads).await.is_err() {
            return;
        }
    }
}

async fn follow(kind: ResourceKind, access: Access, shared: Arc<Shared>) {
    let mut watch = Watch::new(kind);
    let mut pauses = Backoff::new(PAUSES.0, PAUSES.1);
    let mut told = false;
    loop {
        let outcome = match Connection::open(&access) {
            Ok(connection) => watch.run(&connection, |heard| hear(&shared, heard)).await,
            Err(error) => Err(error),
        };
        let pause = match outcome {
            Ok(WatchEnd::TimedOut) => {
                (pauses, told) = (Backoff::new(PAUSES.0, PAUSES.1), false);
                pauses.next()
            }
            // The watch may have missed deletions.
            Ok(WatchEnd::Expired) => {
                shared.deleted();
                pauses.next()
            }
            Ok(WatchEnd::NoSuchResource) => {
                tracing::debug!(what = %watch.object(), "the cluster has none");
                NOT_THERE
            }
            Err(error) => {
                if !std::mem::replace(&mut told, true) {
                    let what = watch.object();
                    tracing::warn!(%what, error = said(&error), "the watch failed; until it works, sweeps start at their interval only");
                }
                match error {
                    ClusterError::Forbidden { .. } => NOT_THERE,
                    _ => pauses.next(),
                }
            }
        };
        tokio::time::sleep(pause).await;
    }
}

fn hear(shared: &Shared, heard: WatchEvent<'_>) {
    match heard {
        WatchEvent::PodDeleted(node) => shared.pod_deleted(node),
        WatchEvent::Deleted => shared.deleted(),
        WatchEvent::Refused(error) => shared.report(|report| report.refused(error)),
        WatchEvent::TakenOver => shared.report(ControllerMetrics::taken_over),
    }
}

/// An error with its details. A timeout's details are left out, because they are about a pod that waits for an address.
pub(super) fn said(error: &ClusterError) -> String {
    match error.details() {
        details if details.is_empty() || error.is_about_time() => chain(error).to_string(),
        details => format!("{}; {details}", chain(error)),
    }
}
