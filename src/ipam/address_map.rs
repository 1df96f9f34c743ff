//! A map of a network: its addresses in blocks of equal size, each with the number of addresses in every state.
//!
//! ```text
//!  network, limit ─► the size of a block: the smallest power of two with which no more than `limit` blocks are needed
//!  Ground, …      ─► how many addresses of each block can be had, and how  ─┐
//!  ip, state, …   ─► how many are held, reserved, resting, foreign          ┴─► Block
//! ```
//!
//! Memory depends on the limit, not on the number of addresses or leases. How a map is drawn is a different question.

use std::net::IpAddr;

use ipnet::IpNet;
use schemars::JsonSchema;
use serde::Serialize;

use super::address::{Family, Span, address, number};
use super::lease::{Lease, LeaseState, Stored};

/// How an address without a lease can be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ground {
    /// At random, and perhaps on request.
    Random,
    /// Only on request.
    Request,
    /// Not at all: it is excluded, a gateway, or outside all ranges of its subnet.
    Never,
    /// No known network has a subnet there.
    Unknown,
}

/// The addresses of a block, or of a whole map, by state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct StateCounts {
    /// Held by pods or containers.
    pub held: u64,
    /// Reserved for their owners.
    pub reserved: u64,
    /// In cooldown.
    pub resting: u64,
    /// In use by hosts without a lease.
    pub foreign: u64,
    /// With a lease that can't be read; they count as held.
    pub unreadable: u64,
    /// Free, and assigned at random.
    pub random: u128,
    /// Free, and assigned only on request.
    pub request: u128,
    /// Without a lease, and never assigned.
    pub never: u128,
}

impl StateCounts {
    /// The number of addresses with a lease.
    pub fn leases(&self) -> u64 {
        self.held + self.reserved + self.resting + self.foreign + self.unreadable
    }

    /// The number of free addresses.
    pub fn free(&self) -> u128 {
        self.random.saturating_add(self.request)
    }

    fn note(&mut self, lease: &Stored<Lease>) {
        let count = match lease.as_known().map(Lease::state) {
            None => &mut self.unreadable,
            Some(LeaseState::Held) => &mut self.held,
            Some(LeaseState::Reserved) => &mut self.reserved,
            Some(LeaseState::Resting) => &mut self.resting,
            Some(LeaseState::Foreign) => &mut self.foreign,
        };
        *count += 1;
    }

    fn of_ground(&mut self, ground: Ground) -> Option<&mut u128> {
        match ground {
            Ground::Random => Some(&mut self.random),
            Ground::Request => Some(&mut self.request),
            Ground::Never => Some(&mut self.never),
            Ground::Unknown => None,
        }
    }
}

/// Addresses that a map shows as one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block {
    /// The addresses.
    pub span: Span,
    /// Their states.
    pub counts: StateCounts,
}

/// The map of a network in one routing domain.
#[derive(Clone, Debug)]
pub struct AddressMap {
    net: IpNet,
    /// The size of a block is two to the power of this.
    block_bits: u8,
    counts: Vec<StateCounts>,
    ground: Vec<(Span, Ground)>,
    /// The first and the last address with a lease.
    leased: Option<(u128, u128)>,
}

impl AddressMap {
    /// A map of at most `limit` blocks, without leases. `ground` has spans in order, which don't overlap; what they leave
    /// out is [`Ground::Unknown`].
    pub fn new(net: IpNet, limit: u32, ground: Vec<(Span, Ground)>) -> Self {
        let host_bits = net.max_prefix_len() - net.prefix_len();
        let limit_bits = u8::try_from(limit.max(1).ilog2()).unwrap_or(0);
        let block_bits = host_bits.saturating_sub(limit_bits);
        let blocks = 1_usize << (host_bits - block_bits);
        let mut map = Self { net, block_bits, counts: vec![StateCounts::default(); blocks], ground, leased: None };
        for (span, ground) in map.ground.clone() {
            map.lay(span, ground);
        }
        map
    }

    /// The network.
    pub fn net(&self) -> IpNet {
        self.net
    }

    /// The number of addresses in a block: a power of two. All of IPv6 saturates at `u128::MAX`.
    pub fn block_size(&self) -> u128 {
        1_u128.checked_shl(u32::from(self.block_bits)).unwrap_or(u128::MAX)
    }

    /// Adds the lease of an address. Each address has at most one.
    pub fn note(&mut self, ip: IpAddr, lease: &Stored<Lease>) {
        if !self.net.contains(&ip) {
            return;
        }
        let ground = self.ground_of(ip);
        let at = number(ip);
        let position = self.position(at);
        if let Some(counts) = self.counts.get_mut(position) {
            counts.note(lease);
            if let Some(free) = ground.and_then(|ground| counts.of_ground(ground)) {
                *free = free.saturating_sub(1);
            }
        }
        self.leased = Some(self.leased.map_or((at, at), |(first, last)| (first.min(at), last.max(at))));
    }

    /// Its blocks, in order.
    pub fn blocks(&self) -> impl ExactSizeIterator<Item = Block> + '_ {
        let (first, last) = Span::of_net(self.net).numbers();
        self.counts.iter().enumerate().map(move |(i, counts)| {
            let start = first.saturating_add((i as u128).checked_shl(u32::from(self.block_bits)).unwrap_or(0));
            let rest = 1_u128.checked_shl(u32::from(self.block_bits)).map_or(u128::MAX, |size| size - 1);
            let end = start.saturating_add(rest).min(last);
            let span = Span::of_numbers(self.family(), start, end).unwrap_or(Span::of_net(self.net));
            Block { span, counts: *counts }
        })
    }

    /// The addresses of all blocks together.
    pub fn total(&self) -> StateCounts {
        self.counts.iter().fold(StateCounts::default(), |sum, block| StateCounts {
            held: sum.held + block.held,
            reserved: sum.reserved + block.reserved,
            resting: sum.resting + block.resting,
            foreign: sum.foreign + block.foreign,
            unreadable: sum.unreadable + block.unreadable,
            random: sum.random.saturating_add(block.random),
            request: sum.request.saturating_add(block.request),
            never: sum.never.saturating_add(block.never),
        })
    }

    /// The smallest network that has all its leases, if a map of that shows more: if its blocks are smaller.
    pub fn closer(&self) -> Option<IpNet> {
        let (first, last) = self.leased?;
        let differing = u128::BITS - (first ^ last).leading_zeros();
        let prefix = u32::from(self.net.max_prefix_len()).checked_sub(differing)?;
        let closer = IpNet::new(address(self.family(), first), u8::try_from(prefix).ok()?).ok()?.trunc();
        (self.block_bits > 0 && closer.prefix_len() > self.net.prefix_len()).then_some(closer)
    }

    fn family(&self) -> Family {
        Family::of(self.net.network())
    }

    /// The number of the block that has an address of the network.
    fn position(&self, at: u128) -> usize {
        let (first, _) = Span::of_net(self.net).numbers();
        let position = (at - first).checked_shr(u32::from(self.block_bits)).unwrap_or(0);
        usize::try_from(position).unwrap_or(usize::MAX)
    }

    fn ground_of(&self, ip: IpAddr) -> Option<Ground> {
        let after = self.ground.partition_point(|(span, _)| span.first() <= ip);
        let (span, ground) = self.ground.get(after.checked_sub(1)?)?;
        span.contains(ip).then_some(*ground)
    }

    /// Counts a span of ground in each block that has a part of it.
    fn lay(&mut self, span: Span, ground: Ground) {
        let Some(span) = span.intersection(&Span::of_net(self.net)) else { return };
        let (first, last) = span.numbers();
        let (from, to) = (self.position(first), self.position(last));
        let spans: Vec<Span> = self.blocks().skip(from).take(to - from + 1).map(|block| block.span).collect();
        for (counts, block) in self.counts.iter_mut().skip(from).zip(spans) {
            let part = block.intersection(&span).map_or(0, |part| part.len());
            if let Some(free) = counts.of_ground(ground) {
                *free = free.saturating_add(part);
            }
        }
    }
}

#[cfg(test)]
mod tests;
