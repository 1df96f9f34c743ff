//! One address of a list.
//!
//! ```text
//!  Free ─► any free one; when there is none,
//!  Holders ─► who holds them ─► Passing: one whose holder is an earlier sandbox, or is shown gone
//! ```

use std::collections::VecDeque;
use std::net::IpAddr;

use super::aim::{Aim, Known, Question};
use super::seek::{Candidate, Seek};
use crate::ipam::address::{Span, Spans};
use crate::ipam::lease::Holder;
use crate::ipam::name::Name;
use crate::ipam::refusal::Refusal;
use crate::ipam::seed::Draws;
use crate::ipam::takeover::Judged;
use crate::store::keys;
use crate::store::{Answer, Op};

/// Addresses whose holders are looked at: so many stretches of so many.
const STRETCHES: usize = 4;
const STRETCH: u128 = 64;
/// Holders that are asked about: each is a question to the API server.
const ASKED: usize = 3;

#[derive(Clone, Debug)]
enum Stage {
    Free,
    Holders,
    Passing(VecDeque<Aim>),
}

/// The search in a list of addresses.
#[derive(Clone, Debug)]
pub(super) struct Pool {
    /// What it is called in a refusal.
    what: String,
    spans: Spans,
    seek: Seek,
    draws: Draws,
    stage: Stage,
    /// Why the last address that was about to pass did not.
    kept: Option<Refusal>,
}

impl Pool {
    /// The search in `spans`, of which `seek` finds the free ones.
    pub(super) fn new(what: String, spans: Spans, seek: Seek, draws: Draws) -> Self {
        Self { what, spans, seek, draws, stage: Stage::Free, kept: None }
    }

    /// Whether it may end at this address.
    pub(super) fn may_give(&self, ip: IpAddr) -> bool {
        self.spans.contains(ip)
    }

    pub(super) fn candidate(&self, nth: usize) -> Option<&Candidate> {
        match &self.stage {
            Stage::Free => self.seek.candidates()[nth],
            Stage::Holders => None,
            Stage::Passing(aims) => aims.front()?.candidate().filter(|_| nth == 0),
        }
    }

    pub(super) fn question(&self) -> Option<&Question> {
        match &self.stage {
            Stage::Passing(aims) => aims.front()?.question(),
            _ => None,
        }
    }

    pub(super) fn exhausted(&self) -> Option<Refusal> {
        let exhausted = matches!(&self.stage, Stage::Passing(aims) if aims.is_empty());
        exhausted.then(|| self.kept.clone().unwrap_or_else(|| self.seek.exhausted(self.what.clone())))
    }

    pub(super) fn reads(&mut self, vrf: &Name) -> Vec<Op> {
        match &mut self.stage {
            Stage::Free => self.seek.reads(),
            Stage::Holders => {
                let spans = self.stretches().into_iter().map(|span| keys::leases(vrf, &span));
                spans.map(|span| Op::Range { span, limit: STRETCH as u32, keys_only: false }).collect()
            }
            Stage::Passing(aims) => aims.front_mut().map(|aim| aim.reads(vrf)).unwrap_or_default(),
        }
    }

    /// All of a short list; of a long one other parts in each call, so that nobody in it is never looked at.
    fn stretches(&mut self) -> Vec<Span> {
        let all: Vec<Span> = self.spans.pieces(STRETCH).take(STRETCHES + 1).collect();
        if all.len() <= STRETCHES {
            return all;
        }
        let drawn: Vec<u128> = (0..STRETCHES).map(|_| self.draws.below(self.spans.len())).collect();
        drawn.into_iter().filter_map(|position| self.spans.piece_around(position, STRETCH)).collect()
    }

    pub(super) fn awaited(&self) -> usize {
        match &self.stage {
            Stage::Free => self.seek.awaited(),
            Stage::Holders => STRETCHES,
            Stage::Passing(aims) => aims.front().map_or(0, Aim::awaited),
        }
    }

    pub(super) fn learn(&mut self, answers: &[Answer], known: &Known<'_>) {
        match &mut self.stage {
            Stage::Free => {
                self.seek.learn(answers, known.now);
                if self.seek.is_exhausted() {
                    self.stage = Stage::Holders;
                }
            }
            Stage::Holders => self.stage = Stage::Passing(passing(answers, known)),
            Stage::Passing(aims) => {
                if let Some(aim) = aims.front_mut() {
                    aim.learn(answers, known);
                }
                aims.retain(|aim| aim.refusal().is_none());
            }
        }
    }

    /// Gives up an address that was about to pass, and goes on with others.
    pub(super) fn refuse(&mut self, ip: IpAddr, refusal: &Refusal) {
        match &mut self.stage {
            Stage::Passing(aims) => aims.retain(|aim| aim.ip() != ip),
            Stage::Free | Stage::Holders => return,
        }
        self.kept = Some(refusal.clone());
    }

    /// Looks at its questions again, after a verdict.
    pub(super) fn judge(&mut self, own: &Holder, judged: &Judged) {
        if let Stage::Passing(aims) = &mut self.stage {
            aims.iter_mut().for_each(|aim| aim.judge(own, judged));
            aims.retain(|aim| aim.refusal().is_none());
        }
    }
}

/// The addresses that may pass: first those of the pod's own earlier sandboxes, then those that were held the longest.
fn passing(answers: &[Answer], known: &Known<'_>) -> VecDeque<Aim> {
    let entries = answers.iter().flat_map(|answer| match answer {
        Answer::Entries(entries) => entries.as_slice(),
        _ => &[],
    });
    let mut aims: Vec<Aim> = Vec::new();
    for entry in entries {
        let Some((_, ip)) = keys::read_lease(&entry.key) else { continue };
        let aim = Aim::of(ip, entry, known);
        // Two stretches of a long list may overlap.
        if aim.refusal().is_none() && aims.iter().all(|other| other.ip() != ip) {
            aims.push(aim);
        }
    }
    aims.sort_by_key(|aim| {
        (!aim.is_from_an_earlier_sandbox(), aim.question().map(|question| question.since), aim.ip())
    });
    aims.truncate(ASKED);
    aims.into()
}
