//! Named pools: addresses of a network that only pods that ask for the pool by name get, and that are never random.
//!
//! ```text
//!  `pools` of the block ─► Pool ─► divide ─┬─► PoolShare of each range set: what it gives, in the order of the pool
//!                                          └─► PoolPart of each range: what it never gives at random
//! ```
//!
//! Excludes, gateways, network and broadcast addresses bind a pool, and the window for fixed addresses does not. Ranges for
//! other nodes take part in the division, so that a pod of a StatefulSet has the same address in mind on every node.

use std::fmt;
use std::sync::Arc;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::address::{Span, Spans};
use super::range::{Range, globs_admit};

/// A text that is no name of a pool.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not the name of a pool: it must begin with a lower-case letter, go on with lower-case letters, digits and '-', \
     end with a letter or digit, and have at most {MAX_POOL_NAME} characters"
)]
pub struct PoolNameError(String);

/// The longest label (RFC 1123).
const MAX_POOL_NAME: usize = 63;

/// The name of a pool: an RFC 1123 label that begins with a letter, so that no address or span looks like one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PoolName(String);

impl PoolName {
    /// Checks the text against the rules for a label.
    pub fn new(text: impl Into<String>) -> Result<Self, PoolNameError> {
        /// What an error shows of a text that is far too long.
        const SHOWN: usize = 2 * MAX_POOL_NAME;
        let text = text.into();
        let is_inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        let is_label = text.starts_with(|first: char| first.is_ascii_lowercase())
            && !text.ends_with('-')
            && text.len() <= MAX_POOL_NAME
            && text.bytes().all(is_inner);
        if is_label { Ok(Self(text)) } else { Err(PoolNameError(text.chars().take(SHOWN).collect())) }
    }

    /// The text of it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for PoolName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::str::FromStr for PoolName {
    type Err = PoolNameError;

    fn from_str(text: &str) -> Result<Self, PoolNameError> {
        Self::new(text)
    }
}

impl TryFrom<String> for PoolName {
    type Error = PoolNameError;

    fn try_from(text: String) -> Result<Self, PoolNameError> {
        Self::new(text)
    }
}

impl From<PoolName> for String {
    fn from(name: PoolName) -> Self {
        name.0
    }
}

/// A named pool of a network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pool {
    /// Its name.
    pub name: PoolName,
    /// Its addresses, in the order in which the pods of a StatefulSet count them; disjoint.
    pub addresses: Vec<Span>,
    /// Globs of the namespaces whose pods may have them; empty: all.
    pub namespaces: Vec<String>,
}

impl Pool {
    /// Whether pods of a namespace may have its addresses.
    pub fn admits(&self, namespace: Option<&str>) -> bool {
        globs_admit(&self.namespaces, namespace)
    }
}

/// What a range set gives of a pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolShare {
    /// The pool.
    pub pool: Arc<Pool>,
    /// Its addresses in the set's ranges, also in those for other nodes, in the order of the pool.
    pub addresses: Vec<Span>,
}

/// The addresses of a pool in the subnet of a range.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolPart {
    /// The pool.
    pub pool: Arc<Pool>,
    /// Those of its addresses that may be given.
    pub addresses: Spans,
}

/// Divides the addresses of a pool among range sets: each is of at most one of them. A set is the list of its ranges, on
/// whichever nodes. What `exclude` takes from all ranges, and what no range can give, is of none.
pub fn divide(pool: &Pool, exclude: &[Span], sets: &[Vec<&Range>]) -> Vec<Vec<Span>> {
    let gateways = sets.iter().flatten().filter_map(|range| range.gateway).map(Span::single);
    let holes: Vec<Span> = exclude.iter().copied().chain(gateways).collect();
    let mut shares: Vec<Vec<Span>> = vec![Vec::new(); sets.len()];
    for span in &pool.addresses {
        let mut given: Vec<Vec<Span>> = vec![Vec::new(); sets.len()];
        let mut left = Spans::between(*span, holes.iter().copied());
        // Sets may share a subnet. A requested address is then of the set in whose window it lies, and so is a pool's.
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

/// Where a range gives addresses by itself.
fn windows(range: &Range) -> Vec<Span> {
    std::iter::once(range.window).chain(range.fixed).collect()
}

fn subnet(range: &Range) -> Vec<Span> {
    vec![Span::of_net(range.subnet)]
}

/// The addresses of these spans that lie in a subnet.
pub(super) fn within(spans: &[Span], subnet: IpNet) -> Spans {
    let subnet = Span::of_net(subnet);
    spans.iter().filter_map(|span| span.intersection(&subnet)).collect()
}

#[cfg(test)]
pub(crate) mod tests;
