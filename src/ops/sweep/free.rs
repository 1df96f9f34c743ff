//! The release of what goes, each after its last question.

use super::look::patience;
use super::{Fate, Line, Sweeping, Swept};
use crate::cluster::ApiServer;
use crate::error::Error;
use crate::ipam::decide::{Discard, Discarded, Evict, Evicted};
use crate::ipam::lease::PodRef;
use crate::ipam::sweep::{Finding, Plan, Suspect, Target, Why};
use crate::ipam::takeover::{Shown, Unshown, verdict};

/// Why a suspect was left alone in the end.
const CHANGED: &str = "it has changed since the second look";

/// Why a suspect was not even tried.
const NOT_TRIED: &str = "not tried, since the store did not answer before";

/// What the API server told of pods, as far as it was asked. What it shows of a pod stays true.
struct Answers<'a> {
    api: Option<&'a ApiServer>,
    verdicts: Vec<(PodRef, Result<Shown, Unshown>)>,
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
        let Some(api) = self.api else { return Err(Unshown::NotAsked) };
        if let Some(silent) = &self.silent {
            return Err(Unshown::NotTold(silent.clone()));
        }
        match api.told(pod) {
            Ok(told) => verdict(pod, &told),
            Err(error) => {
                let why = error.to_string();
                if error.is_about_time() {
                    self.silent = Some(why.clone());
                }
                Err(Unshown::NotTold(why))
            }
        }
    }
}

impl Sweeping<'_> {
    /// Releases what goes by a plan.
    pub(super) fn release(&mut self, plan: Plan, api: Option<&ApiServer>) -> Swept {
        let mut answers = Answers { api, verdicts: Vec::new(), silent: None };
        let mut swept = Swept { tally: plan.tally, stopped: plan.stopped, ..Swept::default() };
        for suspect in &plan.going {
            let Finding::Goes(why) = &suspect.finding else { continue };
            swept.lines.push(self.treat(suspect, why, swept.stopped.is_some(), &mut answers));
        }
        for suspect in &plan.staying {
            let Finding::Stays(spared) = &suspect.finding else { continue };
            swept.lines.push(Line::of(suspect, Fate::Stays, spared.to_string()));
        }
        swept
    }

    fn treat(&mut self, suspect: &Suspect, why: &Why, stopped: bool, answers: &mut Answers<'_>) -> Line {
        if self.store_is_silent {
            return Line::of(suspect, Fate::Failed, NOT_TRIED.to_owned());
        }
        // Many of them, or no time for more: nobody is asked about each.
        if stopped || !(self.goes_on)() {
            return Line::of(suspect, Fate::WouldGo, why.to_string());
        }
        let why = match (why, &suspect.holder) {
            (Why::NotListed, Some(holder)) => match answers.of(&holder.pod) {
                Ok(shown) => format!("its pod is {shown}"),
                Err(unshown) => return Line::of(suspect, Fate::Stays, unshown.to_string()),
            },
            (Why::NotListed, None) => return Line::of(suspect, Fate::Stays, Unshown::NoPod.to_string()),
            (why, _) => why.to_string(),
        };
        if self.asked.dry_run {
            return Line::of(suspect, Fate::WouldGo, why);
        }
        match self.free(suspect) {
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

    /// Releases one, if it is still what was seen.
    fn free(&mut self, suspect: &Suspect) -> Result<bool, Error> {
        match (&suspect.target, &suspect.finding) {
            (Target::Attachment(id), Finding::Goes(Why::EarlierBoot)) => self.release_of_earlier_boot(id),
            (Target::Attachment(id), _) => {
                let mut discard = Discard::new(id.clone(), suspect.revision);
                Ok(self.session()?.decide(&mut discard, patience())? == Discarded::Gone)
            }
            (Target::Address { vrf, ip }, finding) => {
                let evict = Evict::new(vrf.clone(), *ip, suspect.revision);
                let mut evict = match finding {
                    Finding::Goes(Why::Expired) => evict,
                    // A pod has gone, and its owner may make another one.
                    _ => evict.to_its_owner(),
                };
                Ok(matches!(self.session()?.decide(&mut evict, patience())?, Evicted::Freed(_)))
            }
        }
    }
}
