//! The operator's verbs, one module each, as a library: options in, a report out.
//!
//! ```text
//!  cli/<verb>.rs            ops/operator/<verb>.rs                          cli/render/<verb>.rs
//!  <Verb>Args ──resolve──►  <Verb>Options ─► fn <verb> ─► <Verb>Report ──►  table, JSON, sentences
//!  (flags)                  (every default resolved)      (the facts)       (their presentation)
//! ```
//!
//! Nothing here knows flags, formats or standard output, so that a test or another program can run a verb as the
//! command line does. A report that could be as large as the store is never built: the verb passes on its rows one by
//! one ([`list`]).

mod cni_folder;
pub mod config;
pub mod doctor;
pub mod explain;
pub mod free;
mod known_networks;
pub mod list;
pub mod move_reservation;
mod network_status;
pub mod plan;
pub mod recovery;
pub mod release;
pub mod reserve;
pub mod selection;
pub mod sweep;
pub mod usage;
mod usage_samples;
pub mod watch;

use std::time::Duration;

pub use self::known_networks::NetworkSources;

/// How long to wait for one response of a store.
const STORE_TIMEOUT: Duration = Duration::from_secs(30);

/// What a verb works on, and how much of it is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Work {
    /// What it works on: a check of `doctor`, or what is read.
    pub what: &'static str,
    /// How many objects it has read.
    pub done: u64,
    /// How many there are, if that is known.
    pub total: Option<u64>,
}
