//! Tests of the decisions without a backend: tables, properties, and every interleaving.
//!
//! ```text
//! world        a store in memory, a clock, and the calls of a node; a check of what is stored
//! add, repeated, cooldown, release, fence, families, sticky, formerly, owners, machines, claims, takeover, wire: cases
//! by_hand      what an operator reserves: cases, edits, lost replies, and histories compared with a model
//! full         which holders an ADD checks if nothing is free, and what it takes over
//! probed       hosts on the link that the store does not know
//! gone         random histories of a range whose pods end without a DEL
//! clock        times in the future
//! bounds       how many requests it takes, also for ranges that are too large to fill
//! properties   random calls on random networks, compared with a model
//! explore      several runtimes that crash and lose answers, in every order
//! contention   many concurrent ADDs
//! ```
// With --nocapture, the tests print on stderr what they explored and how many requests it took.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stderr)]

mod add;
mod asked;
mod bounds;
mod by_hand;
pub(crate) mod claims;
mod clock;
mod contention;
mod cooldown;
mod explore;
mod families;
mod fence;
mod formerly;
mod full;
mod gone;
mod machines;
mod owners;
mod pools;
mod probed;
mod properties;
mod release;
mod repeated;
mod sandboxes;
pub(crate) mod sticky;
mod takeover;
mod wire;
pub(crate) mod world;
