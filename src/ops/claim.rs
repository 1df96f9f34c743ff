//! Updates the status of an ADD's IPAMClaim: with its addresses, or with the reason why it got none.
//!
//! The store already holds the addresses for the claim, so a failed update loses nothing: the next ADD for the claim
//! gets the same addresses and updates the status. One failure fails the ADD, so the update precedes the reply: a
//! server that forbids it does so at every ADD, until an administrator grants the permission.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;

use super::Call;
use super::add::AddOutput;
use crate::cause::chain;
use crate::cluster::ClusterError;
use crate::deadline::Deadline;
use crate::error::Error;
use crate::ipam::claim::Claim;
use crate::ipam::lease::PodRef;
use crate::ipam::refusal::Refusal;
use crate::telemetry::Phase;

/// The time limit of the update, because the pod waits for it.
const API_TIMEOUT: Duration = Duration::from_secs(1);

/// Writes the addresses into the claim's status, unless it has them. Fails only if the server forbids it.
pub(super) fn update_claim_status(call: &mut Call<'_>, pod: &PodRef, output: &AddOutput) -> Result<(), Error> {
    let Some(claim) = &output.claim else { return Ok(()) };
    call.enter(Phase::Api);
    let deadline = call.node.deadline.at_most(API_TIMEOUT);
    let name = pod.name.as_deref().unwrap_or_default();
    let patch = |claim: &Claim| claim.patch(&output.allocation.attachment.addresses, name, Timestamp::now());
    let result = update(call, claim, pod, deadline, patch);
    match result {
        Err(error @ Error::Cluster(ClusterError::Forbidden { .. })) => Err(error),
        Err(error) => {
            tracing::warn!(%claim, error = %chain(&error), "its addresses are the claim's, but its status will not say so before the \
                                            next ADD");
            Ok(())
        }
        Ok(Update::Recreated) => {
            tracing::warn!(%claim, "was deleted and recreated meanwhile; the new one has no addresses yet");
            Ok(())
        }
        Ok(Update::Done) => Ok(()),
    }
}

/// Writes the reason of a refusal into the claim's conditions, if the claim has no addresses. Best effort, like an
/// event: it follows the reply, and its failure changes nothing.
pub(super) fn report_refusal(call: &mut Call<'_>, pod: &PodRef, refusal: &Refusal) {
    let Some(claim) = call.claim.take() else { return };
    let deadline = call.node.deadline.at_most(API_TIMEOUT);
    if deadline.has_passed() {
        return;
    }
    call.enter(Phase::Api);
    let result = update(call, &claim, pod, deadline, |claim| claim.patch_refused(refusal, Timestamp::now()));
    if let Err(error) = result {
        tracing::warn!(%claim, error = %error.full(), "the claim's status does not say that its pod was refused");
    }
}

/// The result of an update of a claim's status.
enum Update {
    /// The status is up to date.
    Done,
    /// The claim was deleted and recreated meanwhile. The new one is left alone.
    Recreated,
}

/// Patches a claim's status. After a conflict it reads the claim again, once: the two pods of a migrating machine may
/// start together, and other controllers write their own conditions. `patch` returns `None` if nothing has to change.
fn update(
    call: &mut Call<'_>,
    claim: &Claim,
    pod: &PodRef,
    deadline: Deadline,
    patch: impl Fn(&Claim) -> Option<Value>,
) -> Result<Update, Error> {
    match send(call, claim, pod, deadline, patch(claim)) {
        Err(Error::Cluster(ClusterError::Conflict { .. })) => {
            let now = call.api(pod)?.claim(claim.namespace.as_str(), claim.name.as_str())?;
            if now.uid != claim.uid {
                return Ok(Update::Recreated);
            }
            send(call, &now, pod, deadline, patch(&now))
        }
        result => result,
    }
    .map(|()| Update::Done)
}

fn send(
    call: &mut Call<'_>,
    claim: &Claim,
    pod: &PodRef,
    deadline: Deadline,
    patch: Option<Value>,
) -> Result<(), Error> {
    match patch {
        Some(patch) => Ok(call.api(pod)?.patch_status(claim, &patch, deadline)?),
        None => Ok(()),
    }
}
