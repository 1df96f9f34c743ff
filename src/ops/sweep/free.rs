//! The release of what goes, each after its last question.
//!
//! ```text
//!  reserved ─────► its owner is asked about, each object once ─► gone: free            else: stays
//!  held by a pod ► the pod is asked about, each once          ─► gone: its owner's, if that one is there
//!                                                                      free, if it is gone as well
//! ```

use std::collections::BTreeMap;

use super::look::patience;
use super::{Fate, Line, Sweeping, Swept};
use crate::cluster::{ApiServer, ClusterError};
use crate::error::Error;
use crate::ipam::decide::{Amendment, Discard, Discarded, Evict, Evicted};
use crate::ipam::lease::PodRef;
use crate::ipam::refusal::Refusal;
use crate::ipam::reservation::Owner;
use crate::ipam::sweep::{Existence, Finding, Object, Plan, Spared, Suspect, Target, Why};
use crate::ipam::takeover::{Shown, Unshown, verdict};

/// Why a suspect was left alone in the end.
const CHANGED: &str = "it has changed since the second look";

/// Why a suspect was not even tried.
const NOT_TRIED: &str = "not tried, since the store did not answer before";

/// Why an owner was not asked about.
const TO_END: &str = "the sweep is to end";

/// What the API server told of pods and owners, as far as it was asked. What it shows of a pod stays true.
struct Answers<'a> {
    api: Option<&'a ApiServer>,
    verdicts: Vec<(PodRef, Result<Shown, Unshown>)>,
    owners: BTreeMap<Object, Existence>,
    /// Why it is not asked any more: a server that does not answer once is not waited for again.
    silent: Option<String>,
}

impl Answers<'_> {
    fn of(&mut self, pod: &PodRef) -> Result<Shown, Unshown> {
        // What belongs to one pod stands together in the plan, or nearly so.
        if let Some((_, known)) = self.verdicts.iter().rev().take(16).find(|(known, _)| known == pod) {
            return known.clone();
        }
        let verdict = self.ask(pod);
        self.verdicts.push((pod.clone(), verdict.clone()));
        verdict
    }

    fn ask(&mut self, pod: &PodRef) -> Result<Shown, Unshown> {
        match self.question(|api| api.lookup_pod(pod)) {
            Ok(told) => verdict(pod, &told),
            Err(unshown) => Err(unshown),
        }
    }

    fn of_owner(&mut self, owner: &Owner) -> Existence {
        let object = Object::of(owner);
        if let Some(known) = self.owners.get(&object) {
            return known.clone();
        }
        let existence = match self.question(|api| api.exists(owner)) {
            Ok(true) => Existence::There,
            Ok(false) => Existence::Gone,
            Err(Unshown::NotTold(why)) => Existence::Untold(why),
            Err(unshown) => Existence::Untold(unshown.to_string()),
        };
        self.owners.insert(object, existence.clone());
        existence
    }

    fn question<T>(&mut self, ask: impl FnOnce(&ApiServer) -> Result<T, ClusterError>) -> Result<T, Unshown> {
        let Some(api) = self.api else { return Err(Unshown::NotAsked) };
        if let Some(silent) = &self.silent {
            return Err(Unshown::NotTold(silent.clone()));
        }
        ask(api).map_err(|error| {
            let why = error.to_string();
            if error.is_about_time() {
                self.silent = Some(why.clone());
            }
            Unshown::NotTold(why)
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

impl Sweeping<'_> {
    /// Releases what goes by a plan.
    pub(super) fn release(&mut self, mut plan: Plan, api: Option<&ApiServer>) -> Swept {
        let mut answers = Answers { api, verdicts: Vec::new(), owners: BTreeMap::new(), silent: None };
        let goes_on = self.goes_on;
        plan.keep(self.max_share, |owner| match goes_on() {
            true => answers.of_owner(owner),
            false => Existence::Untold(TO_END.to_owned()),
        });
        let mut swept = Swept { tally: plan.tally, stopped: plan.stopped, ..Swept::default() };
        for suspect in &plan.going {
            let Finding::Goes(why) = &suspect.finding else { continue };
            swept.lines.push(self.treat(suspect, why, swept.stopped.is_some(), &mut answers));
        }
        for suspect in &plan.staying {
            let Finding::Stays(spared) = &suspect.finding else { continue };
            swept.lines.push(Line::of(suspect, Fate::Stays, spared.to_string()));
        }
        if !self.asked.dry_run
            && let Err(error) = self.note()
        {
            tracing::warn!(error = %error.full(), "what lies ahead or was first seen by this sweep could not be noted");
        }
        swept
    }

    /// Notes what the last look is to be remembered by. Whatever was freed or has changed since is left as it is.
    fn note(&mut self) -> Result<(), Error> {
        let notes = std::mem::take(&mut self.notes);
        for batch in Amendment::batches(&notes) {
            if self.store_is_silent || !(self.goes_on)() {
                break;
            }
            let batch = batch.map_err(Refusal::from)?;
            self.session()?.commit(&batch, patience())?;
        }
        Ok(())
    }

    fn treat(&mut self, suspect: &Suspect, why: &Why, stopped: bool, answers: &mut Answers<'_>) -> Line {
        if self.store_is_silent {
            return Line::of(suspect, Fate::Failed, NOT_TRIED.to_owned());
        }
        // Many of them, or no time for more: nobody is asked about each.
        if stopped || !(self.goes_on)() {
            return Line::of(suspect, Fate::WouldGo, why.to_string());
        }
        let (release, why) = match self.ask(suspect, why, answers) {
            Ok(release) => release,
            Err(spared) => return Line::of(suspect, Fate::Stays, spared.to_string()),
        };
        if self.asked.dry_run {
            return Line::of(suspect, Fate::WouldGo, why);
        }
        match self.free(suspect, release) {
            Ok(true) => {
                let (target, holder) = (suspect.target.to_string(), suspect.holder.as_ref().map(ToString::to_string));
                tracing::info!(target, holder, why, revision = suspect.revision.0, "freed by a sweep");
                Line::of(suspect, Fate::Freed, why)
            }
            Ok(false) => Line::of(suspect, Fate::Stays, CHANGED.to_owned()),
            Err(error) => {
                self.store_is_silent |= matches!(error, Error::Store { .. });
                Line::of(suspect, Fate::Failed, format!("{why}; {}", error.full()))
            }
        }
    }

    /// The last question about a suspect: how it is let go of, and why; or why it is not.
    fn ask(&self, suspect: &Suspect, why: &Why, answers: &mut Answers<'_>) -> Result<(Release, String), Spared> {
        let shown = match (why, &suspect.holder) {
            (Why::NotListed, Some(holder)) => {
                format!("its pod is {}", answers.of(&holder.pod).map_err(Spared::Unshown)?)
            }
            (Why::NotListed, None) => return Err(Spared::Unshown(Unshown::NoPod)),
            (why, _) => why.to_string(),
        };
        let Some(owner) = &suspect.owner else { return Ok((Release::ToItsOwner, shown)) };
        Ok(match (why, &suspect.target) {
            (Why::Expired, _) => (Release::Free, shown),
            // It was asked about before the share was reckoned.
            (Why::Reserved, _) => (Release::Free, format!("it is reserved for {owner}; {} is gone", Object::of(owner))),
            (_, Target::Share { .. }) => (Release::ToItsOwner, shown),
            (Why::NotListed, _) if answers.of_owner(owner) == Existence::Gone => {
                (Release::Free, format!("{shown}, and so is {}", Object::of(owner)))
            }
            _ => (Release::ToItsOwner, format!("{shown}; it stays reserved for {owner}")),
        })
    }

    /// Releases one, if it is still what was seen.
    fn free(&mut self, suspect: &Suspect, release: Release) -> Result<bool, Error> {
        let evict = match &suspect.target {
            Target::Attachment(id)
                if matches!(suspect.finding, Finding::Goes(Why::EarlierBoot | Why::NamespaceGone)) =>
            {
                return self.release_of_own(id);
            }
            Target::Attachment(id) => {
                let mut discard = Discard::new(id.clone(), suspect.revision);
                return Ok(self.session()?.decide(&mut discard, patience())? == Discarded::Gone);
            }
            Target::Share { vrf, ip, of } => Evict::new(vrf.clone(), *ip, suspect.revision).of(of.clone()),
            Target::Address { vrf, ip } => Evict::new(vrf.clone(), *ip, suspect.revision),
        };
        let mut evict = match release {
            Release::Free => evict,
            Release::ToItsOwner => evict.to_its_owner(),
        };
        Ok(matches!(self.session()?.decide(&mut evict, patience())?, Evicted::Freed(_)))
    }
}
