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

pub mod doctor;
pub mod explain;
pub mod list;
pub mod plan;
pub mod recovery;
pub mod release;
pub mod sweep;
pub mod usage;

use std::time::Duration;

/// How long to wait for one response of a store.
const STORE_TIMEOUT: Duration = Duration::from_secs(30);
