//! Named pools: addresses that a network assigns only on request, by the pool's name or one by one, and never at
//! random.
//!
//! ```text
//!  `pools` of the block ─► Pool ─► divide ─┬─► PoolShare of each range set: what it assigns, in the order of the pool
//!                                          └─► PoolPart of each range: what it never assigns at random
//! ```
//!
//! A pool leaves out excluded addresses, gateways, and network and broadcast addresses. It may lie outside the window
//! of fixed addresses. Ranges for other nodes are divided too, so that the pods of a StatefulSet count alike on every
//! node.

use std::sync::Arc;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::address::{Span, Spans};
use super::name::checked_text;
use super::range::{Range, globs_admit};

/// The text is not a valid pool name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not the name of a pool: it must begin with a lower-case letter, go on with lower-case letters, digits and '-', \
     end with a letter or digit, and have at most {MAX_POOL_NAME} characters"
)]
pub struct PoolNameError(String);

/// The length limit of a label, in bytes (RFC 1123).
const MAX_POOL_NAME: usize = 63;

/// The name of a pool: an RFC 1123 label that begins with a letter, so that it can't be mistaken for an address or
/// span.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PoolName(String);

impl PoolName {
    /// Checks the text against the rules for a label.
    pub fn new(text: impl Into<String>) -> Result<Self, PoolNameError> {
        /// How many characters of a long text an error shows.
        const SHOWN: usize = 2 * MAX_POOL_NAME;
        let text = text.into();
        let is_inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        let is_label = text.starts_with(|first: char| first.is_ascii_lowercase())
            && !text.ends_with('-')
            && text.len() <= MAX_POOL_NAME
            && text.bytes().all(is_inner);
        if is_label { Ok(Self(text)) } else { Err(PoolNameError(text.chars().take(SHOWN).collect())) }
    }
}

checked_text!(PoolName, PoolNameError);

/// A named pool of a network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pool {
    /// Unique in its network.
    pub name: PoolName,
    /// Disjoint spans. The pods of a StatefulSet count through them in this order.
    pub addresses: Vec<Span>,
    /// Globs of the namespaces whose pods may use it. Empty means all.
    pub namespaces: Vec<String>,
}

impl Pool {
    /// Whether pods of a namespace may use it.
    pub fn admits(&self, namespace: Option<&str>) -> bool {
        globs_admit(&self.namespaces, namespace)
    }
}

/// The part of a pool that a range set assigns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolShare {
    /// The pool.
    pub pool: Arc<Pool>,
    /// Its addresses in the set's ranges, including those for other nodes, in the order of the pool.
    pub addresses: Vec<Span>,
}

/// The addresses of a pool in the subnet of a range.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolPart {
    /// The pool.
    pub pool: Arc<Pool>,
    /// The addresses that may be assigned.
    pub addresses: Spans,
}

/// Divides the addresses of a pool among range sets. A set is the list of its ranges, for all nodes. Each address goes
/// to at most one set. Addresses in `exclude`, and those that no range can assign, go to none.
pub fn divide(pool: &Pool, exclude: &[Span], sets: &[Vec<&Range>]) -> Vec<Vec<Span>> {
    let gateways = sets.iter().flatten().filter_map(|range| range.gateway).map(Span::single);
    let holes: Vec<Span> = exclude.iter().copied().chain(gateways).collect();
    let mut shares: Vec<Vec<Span>> = vec![Vec::new(); sets.len()];
    for span in &pool.addresses {
        let mut given: Vec<Vec<Span>> = vec![Vec::new(); sets.len()];
        let mut left = Spans::between(*span, holes.iter().copied());
        // Sets may share a subnet. A requested address then belongs to the set whose window has it, and so must a
        // pool's.
        for grounds in [windows, subnet] {
            for (set, range) in sets.iter().enumerate().flat_map(|(i, set)| set.iter().map(move |range| (i, range))) {
                for ground in grounds(range) {
                    let common = left.iter().filter_map(|left| left.intersection(&ground));
                    let taken: Vec<Span> = common
                        .flat_map(|common| range.requestable_in(&common).iter().copied().collect::<Vec<_>>())
                        .collect();
                    left = taken.iter().fold(left, |left, taken| left.without(taken));
                    given[set].extend(taken);
                }
            }
        }
        for (share, given) in shares.iter_mut().zip(given) {
            share.extend(given.into_iter().collect::<Spans>().iter());
        }
    }
    shares
}

/// The spans that the range itself names: random and fixed addresses.
fn windows(range: &Range) -> Vec<Span> {
    std::iter::once(range.window).chain(range.fixed).collect()
}

fn subnet(range: &Range) -> Vec<Span> {
    vec![Span::of_net(range.subnet)]
}

/// The addresses of these spans that lie in subnets.
pub(super) fn within(spans: &[Span], subnets: impl IntoIterator<Item = IpNet>) -> Spans {
    let subnets = subnets.into_iter().map(Span::of_net);
    subnets.flat_map(|subnet| spans.iter().filter_map(move |span| span.intersection(&subnet))).collect()
}

#[cfg(test)]
pub(crate) mod tests;
