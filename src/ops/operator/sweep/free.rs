//! The release of what goes, each after its last question.
//!
//! ```text
//!  reserved ─────► its owner is asked about, each object once ─► gone: free            else: stays
//!  held by a pod ► the pod is asked about, each once          ─► gone: its owner's, if that one is there
//!                                                                      free, if it is gone as well
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

/// Why a candidate was left alone in the end.
const CHANGED: &str = "it has changed since the second look";

/// Why a candidate was not even tried.
const NOT_TRIED: &str = "not tried: the store had stopped answering";

/// Why an owner was not asked about.
const TO_END: &str = "the sweep is to end";

/// What the API server told of pods and owners, as far as it was asked. What it shows of a pod stays true.
struct Answers<'a> {
    api: Option<&'a ApiServer>,
    pods: Vec<(PodRef, Result<GoneReason, InUseReason>)>,
    owners: BTreeMap<OwnerRef, OwnerLookup>,
    /// Why it is not asked any more: a server that does not answer once is not waited for again.
    silent: Option<Cause>,
}

impl Answers<'_> {
    fn of(&mut self, pod: &PodRef) -> Result<GoneReason, InUseReason> {
        // What belongs to one pod stands together in the plan, or nearly so.
        if let Some((_, known)) = self.pods.iter().rev().take(16).find(|(known, _)| known == pod) {
            return known.clone();
        }
        let result = self.check(pod);
        self.pods.push((pod.clone(), result.clone()));
        result
    }

    fn check(&mut self, pod: &PodRef) -> Result<GoneReason, InUseReason> {
        match self.question(|api| api.lookup_pod(pod)) {
            Ok(found) => check_holder(pod, &found),
            Err(in_use) => Err(in_use),
        }
    }

    fn of_owner(&mut self, owner: &Owner) -> OwnerLookup {
        let object = OwnerRef::from_owner(owner);
        if let Some(known) = self.owners.get(&object) {
            return known.clone();
        }
        let lookup = match self.question(|api| api.exists(owner)) {
            Ok(true) => OwnerLookup::Exists,
            Ok(false) => OwnerLookup::NotFound,
            Err(InUseReason::LookupFailed(cause)) => OwnerLookup::Unknown(cause),
            Err(in_use) => OwnerLookup::Unknown(Cause::new(in_use.to_string())),
        };
        self.owners.insert(object, lookup.clone());
        lookup
    }

    fn question<T>(&mut self, ask: impl FnOnce(&ApiServer) -> Result<T, ClusterError>) -> Result<T, InUseReason> {
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

/// How an address is let go of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Release {
    /// It is free, whoever it was kept for.
    Free,
    /// It stays reserved, if it is kept for an owner.
    ToItsOwner,
}

impl SweepRun<'_> {
    /// Releases what goes by a plan.
    pub(super) fn release(&mut self, mut plan: Plan, api: Option<&ApiServer>) -> SweepReport {
        let mut answers = Answers { api, pods: Vec::new(), owners: BTreeMap::new(), silent: None };
        let may_continue = self.may_continue;
        plan.keep(self.max_share, |owner| match may_continue() {
            true => answers.of_owner(owner),
            false => OwnerLookup::Unknown(Cause::new(TO_END)),
        });
        let mut report = SweepReport { tally: plan.tally, stopped: plan.stopped, ..SweepReport::default() };
        for candidate in &plan.confirmed {
            let Verdict::Leaked(why) = &candidate.verdict else { continue };
            report.entries.push(self.treat(candidate, why, report.stopped.is_some(), &mut answers));
        }
        for candidate in &plan.skipped {
            let Verdict::Skipped(reason) = &candidate.verdict else { continue };
            report.entries.push(SweepEntry::new(candidate, SweepOutcome::Skipped, reason.to_string()));
        }
        if !self.options.dry_run
            && let Err(error) = self.note()
        {
            tracing::warn!(error = %error.full(), "what lies ahead or was first seen by this sweep could not be noted");
        }
        report
    }

    /// Stores the first sights of the last scan. What was freed or has changed since is left as it is.
    fn note(&mut self) -> Result<(), Error> {
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

    fn treat(
        &mut self,
        candidate: &LeakCandidate,
        why: &LeakReason,
        stopped: bool,
        answers: &mut Answers<'_>,
    ) -> SweepEntry {
        if self.store_is_silent {
            return SweepEntry::new(candidate, SweepOutcome::Failed, NOT_TRIED.to_owned());
        }
        // Many of them, or no time for more: nobody is asked about each.
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
                let (target, holder) =
                    (candidate.target.to_string(), candidate.holder.as_ref().map(ToString::to_string));
                tracing::info!(target, holder, why, revision = candidate.revision.0, "freed by a sweep");
                SweepEntry::new(candidate, SweepOutcome::Freed, why)
            }
            Ok(false) => SweepEntry::new(candidate, SweepOutcome::Skipped, CHANGED.to_owned()),
            Err(error) => {
                self.store_is_silent |= matches!(error, Error::Store { .. });
                SweepEntry::new(candidate, SweepOutcome::Failed, format!("{why}; {}", error.full()))
            }
        }
    }

    /// The last question about a candidate: how it is let go of, and why; or why it is not.
    fn ask(
        &self,
        candidate: &LeakCandidate,
        why: &LeakReason,
        answers: &mut Answers<'_>,
    ) -> Result<(Release, String), SkipReason> {
        let shown = match (why, &candidate.holder) {
            (LeakReason::NotListed, Some(holder)) => {
                format!("its pod is {}", answers.of(&holder.pod).map_err(SkipReason::InUse)?)
            }
            (LeakReason::NotListed, None) => return Err(SkipReason::InUse(InUseReason::NoPodNamed)),
            (why, _) => why.to_string(),
        };
        let Some(owner) = &candidate.owner else { return Ok((Release::ToItsOwner, shown)) };
        Ok(match (why, &candidate.target) {
            (LeakReason::Expired, _) => (Release::Free, shown),
            // It was asked about before the share was reckoned.
            (LeakReason::Reserved, _) => {
                (Release::Free, format!("it is reserved for {owner}; {} is gone", OwnerRef::from_owner(owner)))
            }
            (_, Target::Share { .. }) => (Release::ToItsOwner, shown),
            (LeakReason::NotListed, _) if answers.of_owner(owner) == OwnerLookup::NotFound => {
                (Release::Free, format!("{shown}, and so is {}", OwnerRef::from_owner(owner)))
            }
            _ => (Release::ToItsOwner, format!("{shown}; it stays reserved for {owner}")),
        })
    }

    /// Releases one, if it is still what was seen.
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
