//! The stages of a search: where it looks when it has nothing to try.

use std::net::IpAddr;

use super::super::candidate::Candidate;
use super::{BARREN_PAGES, COUNTS_A_REQUEST, FreeSearch, LISTED, SAMPLE, SAMPLES, SHORTEST, STRETCHES, Stage};
use crate::ipam::address::{Span, Spans};
use crate::ipam::keys::CooldownClass;

impl FreeSearch {
    /// Nothing to try was found: where to look next.
    pub(super) fn go_on(&mut self, counts: &[(usize, u64)]) {
        self.stage = match std::mem::replace(&mut self.stage, Stage::Exhausted) {
            Stage::RandomPick => self.sample_counts(),
            Stage::Counts { stretches, next, whole } => self.after_counts(&stretches, next, whole, counts),
            // Others have taken what the count had promised.
            Stage::ListKeys(_) => self.count_all(),
            rests @ Stage::InCooldown { more: true, barren: ..BARREN_PAGES, .. } => rests,
            Stage::InCooldown { class: CooldownClass::Normal, more, .. } => {
                self.passed_over = more;
                // What rests in the set itself goes before what was fixed once.
                if more {
                    Stage::CollectHolders { again: false }
                } else {
                    Stage::in_cooldown(CooldownClass::LastResort)
                }
            }
            Stage::InCooldown { class: CooldownClass::LastResort, .. } if self.passed_over => Stage::Exhausted,
            Stage::InCooldown { class: CooldownClass::LastResort, .. } => Stage::CollectHolders { again: false },
            // Others have taken what it had shown; there may be more of it.
            Stage::CollectHolders { again: true } => Stage::CollectHolders { again: false },
            Stage::CollectHolders { again: false } if self.passed_over => Stage::in_cooldown(CooldownClass::LastResort),
            Stage::CollectHolders { again: false } | Stage::Exhausted => Stage::Exhausted,
        };
        if matches!(self.stage, Stage::RandomPick) {
            self.pick_at_random();
        }
    }

    pub(super) fn pick_at_random(&mut self) {
        let Some(spans) = self.ranges.get(self.current_range) else { return };
        let positions = [self.draws.below(spans.len()), self.draws.below(spans.len())];
        let mut ips: Vec<IpAddr> = positions.iter().filter_map(|position| spans.at(*position)).collect();
        ips.dedup();
        self.candidates = ips.into_iter().map(Candidate::fresh).collect();
    }

    fn sample_counts(&mut self) -> Stage {
        let spans = &self.ranges[self.current_range];
        if spans.len() <= SAMPLE * SAMPLES as u128 {
            return self.count_all();
        }
        let positions: Vec<u128> = (0..SAMPLES).map(|_| self.draws.below(spans.len())).collect();
        let stretches = positions.into_iter().filter_map(|position| spans.window_around(position, SAMPLE)).collect();
        Stage::Counts { stretches, next: 0, whole: false }
    }

    fn count_all(&self) -> Stage {
        let ranges = &self.ranges[self.current_range..];
        let share = (STRETCHES / ranges.len() as u128).max(1);
        let stretches = ranges.iter().flat_map(|spans| divide(spans, share)).collect();
        Stage::Counts { stretches, next: 0, whole: true }
    }

    fn after_counts(&mut self, stretches: &[Span], next: usize, whole: bool, counts: &[(usize, u64)]) -> Stage {
        let with_room = |(i, count): &(usize, u64)| stretches.get(*i).filter(|span| u128::from(*count) < span.len());
        let mut room: Vec<Span> = counts.iter().filter_map(with_room).copied().collect();
        let range_of = |span: &Span| self.ranges.iter().position(|spans| spans.contains(span.first()));
        let current_range = room.first().and_then(range_of).unwrap_or(self.current_range);
        if current_range > self.current_range {
            self.current_range = current_range;
            return Stage::RandomPick;
        }
        room.retain(|span| range_of(span) == Some(current_range));
        // Not the first or the largest for everyone: calls that run at once are to end up in different places.
        self.draws.shuffle(&mut room);
        match room.first() {
            Some(span) if span.len() <= LISTED => Stage::ListKeys(*span),
            // Not the whole: if others fill this stretch meanwhile, there may be room in another.
            Some(span) => Stage::Counts { stretches: divide(&Spans::of(*span), STRETCHES), next: 0, whole: false },
            None if next + COUNTS_A_REQUEST < stretches.len() => {
                Stage::Counts { stretches: stretches.to_vec(), next: next + COUNTS_A_REQUEST, whole }
            }
            None if !whole => self.count_all(),
            None if self.all_stretches().is_some() => Stage::CollectHolders { again: false },
            None => Stage::in_cooldown(CooldownClass::Normal),
        }
    }
}

/// All of a set in about so many stretches, each in one span.
fn divide(spans: &Spans, stretches: u128) -> Vec<Span> {
    spans.chunks(spans.len().div_ceil(stretches).max(SHORTEST)).collect()
}
