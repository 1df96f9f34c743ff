//! The verbs of the operator, one module each, as a library: options in, a report out.
//!
//! ```text
//!  cli/<verb>.rs            ops/operator/<verb>.rs                      cli/render/<verb>.rs
//!  <Verb>Args ──resolve──►  <Verb>Options ─► fn <verb> ─► <Verb>Report ──► table, JSON, sentences
//!  (flags)                  (nothing left to default)    (what is so)      (how it reads)
//! ```
//!
//! Nothing here knows of flags, formats or standard output, so that a test or another program drives a verb as the command
//! line does. A report that may be as large as the store is not built: the verb hands over its rows one by one ([`list`]).

pub mod list;
pub mod plan;
pub mod recovery;
pub mod release;
pub mod sweep;
pub mod usage;

use std::time::Duration;

/// How long one answer of a store is waited for.
const STORE_TIMEOUT: Duration = Duration::from_secs(30);
