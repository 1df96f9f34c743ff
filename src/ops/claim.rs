//! What an ADD writes into the status of the claim to which its addresses belong.
//!
//! The store has them by then, as that claim's. So whatever happens to this write, nothing is lost: the next ADD for the
//! claim has the same addresses, and writes what is missing. It comes before the reply, since a server that forbids it will
//! do so for ever, which is the one failure that somebody has to hear of.

use std::time::Duration;

use jiff::Timestamp;

use super::Call;
use super::add::Given;
use crate::cluster::ClusterError;
use crate::error::Error;
use crate::ipam::claim::Claim;
use crate::ipam::lease::PodRef;
use crate::store::Deadline;
use crate::telemetry::Phase;

/// How long it may take; the pod waits for it.
const PATIENCE: Duration = Duration::from_secs(1);

/// Tells the claim what it was given, if there is one that does not say so. An error says that this is forbidden.
pub(super) fn tell(call: &mut Call<'_>, pod: &PodRef, given: &Given) -> Result<(), Error> {
    let Some(claim) = &given.claim else { return Ok(()) };
    call.enter(Phase::Api);
    let until = call.until.at_most(PATIENCE);
    let told = match merge(call, claim, pod, given, until) {
        // Both pods of a machine that migrates may come at once, and what serves it may write conditions of its own.
        Err(Error::Cluster(ClusterError::Changed { .. })) => again(call, claim, pod, given, until),
        told => told,
    };
    match told {
        Err(error @ Error::Cluster(ClusterError::Forbidden { .. })) => Err(error),
        Err(error) => {
            tracing::warn!(%claim, %error, "its addresses are the claim's, but its status will not say so before the next ADD");
            Ok(())
        }
        Ok(()) => Ok(()),
    }
}

/// The same to the claim as it is now, if that is still the same one.
fn again(call: &mut Call<'_>, claim: &Claim, pod: &PodRef, given: &Given, until: Deadline) -> Result<(), Error> {
    let now = call.api(pod)?.claim(claim.namespace.as_str(), claim.name.as_str())?;
    match now.uid == claim.uid {
        true => merge(call, &now, pod, given, until),
        false => {
            tracing::warn!(%claim, "was deleted and made anew meanwhile; the new one has not been given anything");
            Ok(())
        }
    }
}

fn merge(call: &mut Call<'_>, claim: &Claim, pod: &PodRef, given: &Given, until: Deadline) -> Result<(), Error> {
    let name = pod.name.as_deref().unwrap_or_default();
    match claim.patch(&given.granted.attachment.addresses, name, Timestamp::now()) {
        Some(patch) => Ok(call.api(pod)?.patch_status(claim, &patch, until)?),
        None => Ok(()),
    }
}
