//! Frees confirmed candidates, each after its last check.
//!
//! ```text
//!  reserved ─────► its owner is looked up, each object once ─► gone: free                            else: stays
//!  held by a pod ► the pod is looked up, each pod once      ─► gone: reserved for its owner if that exists
//!                                                                    free if it is gone as well
//! ```

use std::collections::BTreeMap;

use super::scan::response_deadline;
use super::{SweepEntry, SweepOutcome, SweepReport, SweepRun};
use crate::cause::Cause;
use crate::cluster::{ApiServer, ClusterError};
use crate::error::Error;
use crate::ipam::decide::{Amendment, Discard, Discarded, Evict, Evicted};
use crate::ipam::lease::PodRef;
use crate::ipam::refusal::Refusal;
use crate::ipam::reservation::Owner;
use crate::ipam::sweep::{LeakCandidate, LeakReason, OwnerLookup, OwnerRef, Plan, SkipReason, Target, Verdict};
use crate::ipam::takeover::{GoneReason, InUseReason, check_holder};
use crate::ops::log::ReleaseReason;
use crate::telemetry::DEFAULT_VRF;

const CHANGED: &str = "it has changed since the second scan";

const NOT_TRIED: &str = "not tried: the store stopped answering";

const TO_END: &str = "the sweep is ending";

/// The API server's answers about pods and owners. A pod that is gone stays gone, so they don't become outdated.
struct Answers<'a> {
    api: Option<&'a ApiServer>,
    pods: Vec<(PodRef, Result<GoneReason, InUseReason>)>,
    owners: BTreeMap<OwnerRef, OwnerLookup>,
    /// Why the API server is not asked any longer: after one timeout, the sweep does not wait for it again.
    silent: Option<Cause>,
}

impl Answers<'_> {
    fn pod(&mut self, pod: &PodRef) -> Result<GoneReason, InUseReason> {
        // Candidates of one pod are next to each other in the plan, or nearly so.
        if let Some((_, known)) = self.pods.iter().rev().take(16).find(|(known, _)| known == pod) {
            return known.clone();
        }
        let result = self.check(pod);
        self.pods.push((pod.clone(), result.clone()));
        result
    }

    fn check(&mut self, pod: &PodRef) -> Result<GoneReason, InUseReason> {
        match self.query(|api| api.lookup_pod(pod)) {
            Ok(found) => check_holder(pod, &found),
            Err(in_use) => Err(in_use),
        }
    }

    fn owner(&mut self, owner: &Owner) -> OwnerLookup {
        let object = OwnerRef::from_owner(owner);
        if let Some(known) = self.owners.get(&object) {
            return known.clone();
        }
        let lookup = match self.query(|api| api.exists(owner)) {
            Ok(true) => OwnerLookup::Exists,
            Ok(false) => OwnerLookup::NotFound,
            Err(InUseReason::LookupFailed(cause)) => OwnerLookup::Unknown(cause),
            Err(in_use) => OwnerLookup::Unknown(Cause::new(in_use.to_string())),
        };
        self.owners.insert(object, lookup.clone());
        lookup
    }

    fn query<T>(&mut self, ask: impl FnOnce(&ApiServer) -> Result<T, ClusterError>) -> Result<T, InUseReason> {
        let Some(api) = self.api else { return Err(InUseReason::NotChecked) };
        if let Some(silent) = &self.silent {
            return Err(InUseReason::LookupFailed(silent.clone()));
        }
        ask(api).map_err(|error| {
            let is_about_time = error.is_about_time();
            let cause = Cause::new(error);
            if is_about_time {
                self.silent = Some(cause.clone());
            }
            InUseReason::LookupFailed(cause)
        })
    }
}

/// How an address is released.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Release {
    /// The reservation ends, too.
    Free,
    /// A sticky address stays reserved for its owner.
    ToItsOwner,
}

impl SweepRun<'_> {
    /// Checks and releases the confirmed candidates of a plan.
    pub(super) fn release(&mut self, mut plan: Plan, api: Option<&ApiServer>) -> SweepReport {
        let mut answers = Answers { api, pods: Vec::new(), owners: BTreeMap::new(), silent: None };
        let may_continue = self.may_continue;
        plan.keep(self.max_share, |owner| match may_continue() {
            true => answers.owner(owner),
            false => OwnerLookup::Unknown(Cause::new(TO_END)),
        });
        let mut report = SweepReport { tally: plan.tally, stopped: plan.stopped, ..SweepReport::default() };
        for candidate in &plan.confirmed {
            let Verdict::Leaked(why) = &candidate.verdict else { continue };
            report.entries.push(self.process(candidate, why, report.stopped.is_some(), &mut answers));
        }
        for candidate in &plan.skipped {
            let Verdict::Skipped(reason) = &candidate.verdict else { continue };
            report.entries.push(SweepEntry::new(candidate, SweepOutcome::Skipped, reason.to_string()));
        }
        if !self.options.dry_run
            && let Err(error) = self.store_amendments()
        {
            tracing::warn!(error = %error.full(), "could not record when times in the future and fences were first seen");
        }
        report
    }

    /// Writes the amendments of the last scan. Entries that changed since then stay as they are.
    fn store_amendments(&mut self) -> Result<(), Error> {
        let notes = std::mem::take(&mut self.notes);
        for batch in Amendment::batches(&notes) {
            if self.store_is_silent || !(self.may_continue)() {
                break;
            }
            let batch = batch.map_err(Refusal::from)?;
            self.session()?.commit(&batch, response_deadline())?;
        }
        Ok(())
    }

    fn process(
        &mut self,
        candidate: &LeakCandidate,
        why: &LeakReason,
        stopped: bool,
        answers: &mut Answers<'_>,
    ) -> SweepEntry {
        if self.store_is_silent {
            return SweepEntry::new(candidate, SweepOutcome::Failed, NOT_TRIED.to_owned());
        }
        // The sweep stopped or is ending: the remaining candidates are not checked.
        if stopped || !(self.may_continue)() {
            return SweepEntry::new(candidate, SweepOutcome::WouldBeFreed, why.to_string());
        }
        let (release, why) = match self.ask(candidate, why, answers) {
            Ok(release) => release,
            Err(reason) => return SweepEntry::new(candidate, SweepOutcome::Skipped, reason.to_string()),
        };
        if self.options.dry_run {
            return SweepEntry::new(candidate, SweepOutcome::WouldBeFreed, why);
        }
        match self.free(candidate, release) {
            Ok(true) => {
                log_freed(candidate, &why);
                SweepEntry::new(candidate, SweepOutcome::Freed, why)
            }
            Ok(false) => SweepEntry::new(candidate, SweepOutcome::Skipped, CHANGED.to_owned()),
            Err(error) => {
                self.store_is_silent |= matches!(error, Error::Store { .. });
                SweepEntry::new(candidate, SweepOutcome::Failed, format!("{why}; {}", error.full()))
            }
        }
    }

    /// The last check of a candidate: how to release it and why, or why not.
    fn ask(
        &self,
        candidate: &LeakCandidate,
        why: &LeakReason,
        answers: &mut Answers<'_>,
    ) -> Result<(Release, String), SkipReason> {
        let shown = match (why, &candidate.holder) {
            (LeakReason::NotListed, Some(holder)) => {
                format!("its pod is {}", answers.pod(&holder.pod).map_err(SkipReason::InUse)?)
            }
            (LeakReason::NotListed, None) => return Err(SkipReason::InUse(InUseReason::NoPodNamed)),
            (why, _) => why.to_string(),
        };
        if *why == LeakReason::ManualExpired {
            return Ok((Release::Free, shown));
        }
        let Some(owner) = &candidate.owner else { return Ok((Release::ToItsOwner, shown)) };
        Ok(match (why, &candidate.target) {
            (LeakReason::Expired, _) => (Release::Free, shown),
            // Its owner was looked up before the share was computed.
            (LeakReason::Reserved, _) => {
                (Release::Free, format!("it is reserved for {owner}; {} is gone", OwnerRef::from_owner(owner)))
            }
            (_, Target::Share { .. }) => (Release::ToItsOwner, shown),
            (LeakReason::NotListed, _) if answers.owner(owner) == OwnerLookup::NotFound => {
                (Release::Free, format!("{shown}, and so is {}", OwnerRef::from_owner(owner)))
            }
            _ => (Release::ToItsOwner, format!("{shown}; it stays reserved for {owner}")),
        })
    }

    /// Releases a candidate if it has not changed. Returns whether it did.
    fn free(&mut self, candidate: &LeakCandidate, release: Release) -> Result<bool, Error> {
        let evict = match &candidate.target {
            Target::Attachment(id)
                if matches!(
                    candidate.verdict,
                    Verdict::Leaked(LeakReason::EarlierBoot | LeakReason::NamespaceGone)
                ) =>
            {
                return self.release_of_own(id);
            }
            Target::Attachment(id) => {
                let mut discard = Discard::new(id.clone(), candidate.revision);
                return Ok(self.session()?.decide(&mut discard, response_deadline())? == Discarded::Gone);
            }
            Target::Share { vrf, ip, of } => Evict::new(vrf.clone(), *ip, candidate.revision).only_holder(of.clone()),
            Target::Address { vrf, ip } => Evict::new(vrf.clone(), *ip, candidate.revision),
        };
        let mut evict = match release {
            Release::Free => evict,
            Release::ToItsOwner => evict.keeping_reservation(),
        };
        Ok(matches!(self.session()?.decide(&mut evict, response_deadline())?, Evicted::Freed(_)))
    }
}

/// Logs a release with the fields by which an address finds its earlier holders ([`crate::ops::earlier`]).
fn log_freed(candidate: &LeakCandidate, why: &str) {
    let LeakCandidate { target, revision, holder, verdict, .. } = candidate;
    let address = match (target, verdict) {
        // Its last holder had released it before.
        (_, Verdict::Leaked(LeakReason::Reserved | LeakReason::Expired | LeakReason::ManualExpired)) => None,
        (Target::Address { vrf, ip } | Target::Share { vrf, ip, .. }, _) => Some((vrf.as_str(), ip.to_string())),
        // The line of its release has the addresses.
        (Target::Attachment(_), _) => None,
    };
    tracing::info!(
        target = target.to_string(),
        holder = holder.as_ref().map(ToString::to_string),
        why,
        revision = revision.0,
        network = holder.as_ref().map(|holder| holder.id.network.as_str()),
        vrf = address.as_ref().map(|(vrf, _)| *vrf).filter(|vrf| *vrf != DEFAULT_VRF),
        node = holder.as_ref().map(|holder| holder.id.node.as_str()),
        pod = holder.as_ref().and_then(|holder| holder.pod.label()),
        container = holder.as_ref().map(|holder| holder.id.container.as_str()),
        interface = holder.as_ref().map(|holder| holder.id.ifname.as_str()),
        addresses = address.as_ref().map(|(_, ip)| ip.as_str()),
        "{}",
        ReleaseReason::Sweep.message()
    );
}
