//! Every interleaving of transactions, readers and a cleaner, with crashes, and with answers and requests that are lost,
//! late or doubled. Each transaction is the real machine. Each request is one step.
//!
//! ```text
//! api, meaning   the API in memory, and the map that its objects mean
//! actor          a client with one transaction, or a cleaner
//! scenario       transactions, what there is at first, and what may go wrong
//! world, judge   a state, what may happen next, and what must be true; show: the same in words
//! hints          what may be seen of another moment
//! explore        the search; fingerprint: which states are one
//! standing       scenarios in which nothing may go wrong
//! rules          each rule left out, and what goes wrong without it
//! alone          runs one transaction to its end, for sequential and failures
//! sequential     one client after the other: random transactions, the conformance suite
//! failures       a request that was certainly not applied
//! costs          how many requests the usual transactions send
//! ```
// With --nocapture, the tests print on stderr what they explored.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stderr)]

mod actor;
mod alone;
mod api;
mod costs;
mod explore;
mod failures;
mod fingerprint;
mod hints;
mod judge;
mod meaning;
mod rules;
mod scenario;
mod sequential;
mod show;
mod standing;
mod world;
