//! Explains why an address, a pod or a claim is as it is, and what to do: facts in, sentences out.
//!
//! ```text
//!  store, API server, records, configs ─► facts (ops) ─► explain ─► Explanation ─► a page for people, JSON for programs
//! ```
//!
//! Nothing here does I/O or reads a clock. Each fact names its source. What could not be found out is a fact as well:
//! it says so, and why.

mod address;
mod asked;
mod before;
mod by_hand;
mod claim;
mod command;
mod event;
mod free;
mod free_spans;
mod held;
mod host;
mod network;
mod next;
mod node;
mod offers;
mod pod;
mod record;
mod report;
mod standing;
mod subject;
mod subnet;
#[cfg(test)]
mod tests;
mod text;
mod unheld;
mod waiting;

pub use self::address::{AddressFacts, explain_address};
pub use self::before::{Before, FormerHolding, PastReason, PastSource, UnknownPast};
pub use self::claim::{ClaimFacts, explain_claim};
pub use self::command::{Command, Commands, Tool};
pub use self::event::last_refusal;
pub use self::free_spans::{FreeSpan, FreeSpans};
pub use self::host::explain_host;
pub use self::network::{NetworkView, RangeView};
pub use self::next::{NextAdd, Outcome};
pub use self::node::NodeAnswer;
pub use self::offers::{Offer, OfferedSpan, offers};
pub use self::pod::{PodFacts, address_in, explain_pod};
pub use self::record::{RecordFinding, RecordView};
pub use self::report::{Agreement, Explanation, Fact, Remedy, Source, State, Topic, Verdict};
pub use self::standing::PodAnswer;
pub use self::subject::{ObjectName, Subject, SubjectError};
pub use self::subnet::SubnetSurvey;
pub use self::text::Text;
pub use self::waiting::refused_pods;
