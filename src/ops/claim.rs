//! What an ADD writes into the status of the claim to which its addresses belong, or for which there are none.
//!
//! The store has them by then, as that claim's. So whatever happens to this write, nothing is lost: the next ADD for the
//! claim has the same addresses, and writes what is missing. It comes before the reply, since a server that forbids it will
//! do so for ever, which is the one failure that somebody has to hear of.

use std::time::Duration;

use jiff::Timestamp;

use super::Call;
use super::add::AddOutput;
use crate::cause::chain;
use crate::cluster::ClusterError;
use crate::error::Error;
use crate::ipam::claim::Claim;
use crate::ipam::lease::PodRef;
use crate::ipam::refusal::Refusal;
use crate::store::Deadline;
use crate::telemetry::Phase;

/// How long it may take; the pod waits for it.
const PATIENCE: Duration = Duration::from_secs(1);

/// Tells the claim what it was given, if there is one that does not say so. An error says that this is forbidden.
pub(super) fn tell(call: &mut Call<'_>, pod: &PodRef, output: &AddOutput) -> Result<(), Error> {
    let Some(claim) = &output.claim else { return Ok(()) };
    call.enter(Phase::Api);
    let until = call.node.until.at_most(PATIENCE);
    let told = match merge(call, claim, pod, output, until) {
        // Both pods of a machine that migrates may come at once, and what serves it may write conditions of its own.
        Err(Error::Cluster(ClusterError::Conflict { .. })) => again(call, claim, pod, output, until),
        told => told,
    };
    match told {
        Err(error @ Error::Cluster(ClusterError::Forbidden { .. })) => Err(error),
        Err(error) => {
            tracing::warn!(%claim, error = %chain(&error), "its addresses are the claim's, but its status will not say so before the \
                                            next ADD");
            Ok(())
        }
        Ok(()) => Ok(()),
    }
}

/// Tells the claim that the pod names why it was refused, if the claim has nothing. A favour, like an event: it comes after
/// the reply, and whatever becomes of it changes nothing.
pub(super) fn tell_refusal(call: &mut Call<'_>, pod: &PodRef, refusal: &Refusal) {
    let Some(claim) = call.claim.take() else { return };
    let until = call.node.until.at_most(PATIENCE);
    if until.has_passed() {
        return;
    }
    call.enter(Phase::Api);
    let told = match merge_refusal(call, &claim, pod, refusal, until) {
        Err(Error::Cluster(ClusterError::Conflict { .. })) => {
            let now = call.api(pod).and_then(|api| Ok(api.claim(claim.namespace.as_str(), claim.name.as_str())?));
            match now {
                // One that was made anew is another.
                Ok(now) if now.uid != claim.uid => Ok(()),
                now => now.and_then(|now| merge_refusal(call, &now, pod, refusal, until)),
            }
        }
        told => told,
    };
    if let Err(error) = told {
        tracing::warn!(%claim, error = %error.full(), "the claim's status does not say that its pod was refused");
    }
}

fn merge_refusal(
    call: &mut Call<'_>,
    claim: &Claim,
    pod: &PodRef,
    refusal: &Refusal,
    until: Deadline,
) -> Result<(), Error> {
    match claim.patch_refused(refusal, Timestamp::now()) {
        Some(patch) => Ok(call.api(pod)?.patch_status(claim, &patch, until)?),
        None => Ok(()),
    }
}

/// The same to the claim as it is now, if that is still the same one.
fn again(call: &mut Call<'_>, claim: &Claim, pod: &PodRef, output: &AddOutput, until: Deadline) -> Result<(), Error> {
    let now = call.api(pod)?.claim(claim.namespace.as_str(), claim.name.as_str())?;
    match now.uid == claim.uid {
        true => merge(call, &now, pod, output, until),
        false => {
            tracing::warn!(%claim, "was deleted and recreated meanwhile; the new one has no addresses yet");
            Ok(())
        }
    }
}

fn merge(call: &mut Call<'_>, claim: &Claim, pod: &PodRef, output: &AddOutput, until: Deadline) -> Result<(), Error> {
    let name = pod.name.as_deref().unwrap_or_default();
    match claim.patch(&output.allocation.attachment.addresses, name, Timestamp::now()) {
        Some(patch) => Ok(call.api(pod)?.patch_status(claim, &patch, until)?),
        None => Ok(()),
    }
}
