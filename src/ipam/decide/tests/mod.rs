//! The decisions, tested without a backend: by tables, by properties, and by going through every interleaving.
//!
//! ```text
//! world        a map in memory, a clock, and the calls of a node; a checker of what is stored
//! add, repeated, cooldown, release, fence, sticky, formerly, owners, machines, claims, takeover: case by
//!              case
//! full         whom an ADD asks about where nothing is free, and what passes then
//! gone         random histories of a range whose pods end without a DEL
//! clock        times that lie ahead
//! bounds       how many requests it takes, also of ranges too large to be filled
//! properties   random calls on random networks, against a model
//! explore      several runtimes that crash and lose answers, in every order
//! contention   many ADDs at once
//! ```
// What was explored and how many requests it took is told on stderr, for those who ask with --nocapture.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stderr)]

mod add;
mod asked;
mod bounds;
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
mod properties;
mod release;
mod repeated;
mod sandboxes;
pub(crate) mod sticky;
mod takeover;
mod wire;
pub(crate) mod world;
