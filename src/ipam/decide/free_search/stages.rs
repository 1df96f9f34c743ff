//! The stages of a search: what comes next when there is nothing to try.

use super::super::candidate::Candidate;
use super::{
    COUNTED_STRETCHES, FreeSearch, MAX_COUNTS, MAX_EMPTY_PAGES, MAX_LISTED, MIN_STRETCH, SAMPLE_COUNT, SAMPLE_LENGTH,
    Stage,
};
use crate::ipam::address::{Span, Spans};
use crate::ipam::keys::CooldownClass;
use crate::store::Lookahead;

impl FreeSearch {
    /// Moves to the next stage, because the last response had nothing to try.
    pub(super) fn next_stage(&mut self, counts: &[(usize, u64)]) {
        self.stage = match std::mem::replace(&mut self.stage, Stage::Exhausted) {
            Stage::RandomPick if self.draws_again() => Stage::DrawAgain,
            Stage::RandomPick | Stage::DrawAgain => self.sample_counts(),
            Stage::Counts { stretches, next, whole } => self.after_counts(&stretches, next, whole, counts),
            // Other calls took the addresses that were free at the count.
            Stage::ListKeys(_) => self.count_all(),
            unfinished @ Stage::InCooldown { more: true, empty_pages: ..MAX_EMPTY_PAGES, .. } => unfinished,
            Stage::InCooldown { class: CooldownClass::Normal, more, .. } => {
                self.index_unfinished = more;
                // The set's own addresses in cooldown are preferred to formerly fixed ones.
                if more {
                    Stage::CollectHolders { again: false }
                } else {
                    Stage::in_cooldown(CooldownClass::LastResort)
                }
            }
            Stage::InCooldown { class: CooldownClass::LastResort, .. } if self.index_unfinished => Stage::Exhausted,
            Stage::InCooldown { class: CooldownClass::LastResort, .. } => Stage::CollectHolders { again: false },
            // Other calls took what it found. There may be more.
            Stage::CollectHolders { again: true } => Stage::CollectHolders { again: false },
            Stage::CollectHolders { again: false } if self.index_unfinished => {
                Stage::in_cooldown(CooldownClass::LastResort)
            }
            Stage::CollectHolders { again: false } | Stage::Exhausted => Stage::Exhausted,
        };
        if matches!(self.stage, Stage::RandomPick) {
            self.pick_at_random();
        }
    }

    pub(super) fn pick_at_random(&mut self) {
        if !self.is_empty() {
            self.candidates = self.draw(self.lookahead.alternatives).into_iter().map(Candidate::unread).collect();
        }
    }

    /// Whether more random addresses are read before counting. Of a small range, the first ones were most.
    fn draws_again(&self) -> bool {
        let Lookahead { draws, draws_again, .. } = self.lookahead;
        draws_again > 0 && self.ranges.get(self.current_range).is_some_and(|spans| spans.len() > draws as u128)
    }

    fn sample_counts(&mut self) -> Stage {
        let spans = &self.ranges[self.current_range];
        if spans.len() <= SAMPLE_LENGTH * SAMPLE_COUNT as u128 {
            return self.count_all();
        }
        let positions: Vec<u128> = (0..SAMPLE_COUNT).map(|_| self.attachment_random.below(spans.len())).collect();
        let stretches =
            positions.into_iter().filter_map(|position| spans.window_around(position, SAMPLE_LENGTH)).collect();
        Stage::Counts { stretches, next: 0, whole: false }
    }

    fn count_all(&self) -> Stage {
        let ranges = &self.ranges[self.current_range..];
        let share = (COUNTED_STRETCHES / ranges.len() as u128).max(1);
        let stretches = ranges.iter().flat_map(|spans| divide(spans, share)).collect();
        Stage::Counts { stretches, next: 0, whole: true }
    }

    fn after_counts(&mut self, stretches: &[Span], next: usize, whole: bool, counts: &[(usize, u64)]) -> Stage {
        // What is passed over counts as taken, whether the store has a lease of it or not.
        let passed = |span: &Span| {
            self.passed_over.iter().filter(|(ip, passed)| !passed.has_lease && span.contains(**ip)).count() as u128
        };
        let has_room = |count: u64, span: &Span| u128::from(count) + passed(span) < span.len();
        let with_room = |(i, count): &(usize, u64)| stretches.get(*i).filter(|span| has_room(*count, span));
        let mut room: Vec<Span> = counts.iter().filter_map(with_room).copied().collect();
        let range_of = |span: &Span| self.ranges.iter().position(|spans| spans.contains(span.first()));
        let current_range = room.first().and_then(range_of).unwrap_or(self.current_range);
        if current_range > self.current_range {
            self.current_range = current_range;
            return Stage::RandomPick;
        }
        room.retain(|span| range_of(span) == Some(current_range));
        // A random stretch, neither the first nor the largest: concurrent calls must end up in different places.
        self.attachment_random.shuffle(&mut room);
        match room.first() {
            Some(span) if span.len() <= MAX_LISTED => Stage::ListKeys(*span),
            // Not `whole`: if other calls fill this stretch meanwhile, another one may have room.
            Some(span) => {
                Stage::Counts { stretches: divide(&Spans::of(*span), COUNTED_STRETCHES), next: 0, whole: false }
            }
            None if next + MAX_COUNTS < stretches.len() => {
                Stage::Counts { stretches: stretches.to_vec(), next: next + MAX_COUNTS, whole }
            }
            None if !whole => self.count_all(),
            None if self.all_stretches().is_some() => Stage::CollectHolders { again: false },
            None => Stage::in_cooldown(CooldownClass::Normal),
        }
    }
}

/// Divides a range into about so many stretches of contiguous addresses.
fn divide(spans: &Spans, stretches: u128) -> Vec<Span> {
    spans.chunks(spans.len().div_ceil(stretches).max(MIN_STRETCH)).collect()
}
