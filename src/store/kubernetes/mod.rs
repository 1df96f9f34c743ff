//! The store in custom resources of the Kubernetes API, which changes one object at a time: transactions over several
//! of them.
//!
//! ```text
//! store ─► driver ─► machines below     the protocol, without I/O
//!   │        └────► client ─► request, manifest, resource ─► apiserver::Endpoint ─► answer
//!   ├─► pages ─────────┤
//!   └─► watch ─► known ┘   the changes of a span
//!
//!            ┌─ view      what was read, through locks ◄─ spans   ranges and counts
//! transaction┼─ plan      the path: what to read, to lock and to write; the outcome
//!            ├─ resolve   locks of others, by what their primaries say
//!            ├─ forward   commits of others, whose locks are left
//!            └─ attempt   lock, commit, finish; single: a write of one key
//!
//! clean       resolves what is left on one object, outside of any transaction
//! status      what people see beside a value, which the protocol never reads
//! mirror      objects without a value that show another store to people
//! inspect     what the server serves, and each object by itself, for `doctor`
//! object      what is stored, as `spec`; value and name: how it gets through the API unchanged
//! api, step   requests and answers; what a machine does next
//! rules       why each step is as it is
//! ```
//!
//! The method is that of Percolator (Peng and Dabek, OSDI 2010) and Cherry Garcia (Dey, Fekete and Röhm, ICDE 2015),
//! without a clock. `docs/design.md` explains it. Machines have neither I/O nor clocks nor random numbers. So tests drive
//! them through every interleaving (`tests/`).

mod answer;
mod api;
mod attempt;
mod clean;
mod client;
mod driver;
mod forward;
mod inspect;
mod known;
mod lists;
mod manifest;
mod mirror;
mod name;
mod object;
mod pages;
mod plan;
mod remains;
mod request;
mod resolve;
mod resource;
mod rules;
mod single;
mod spans;
mod status;
mod step;
mod store;
#[cfg(test)]
mod tests;
mod transaction;
mod value;
mod view;
mod watch;

pub use self::inspect::{
    FaultyObject, KubernetesInspector, NamespaceState, ObjectFault, ObjectName, OpenObject, ReadTimes, ResourceReport,
    ServedResources, StoreResource,
};
pub use self::mirror::{KubernetesMirror, Mirrored};
pub use self::status::ObjectStatus;
pub use self::store::{KubernetesConfig, KubernetesStore};
pub(in crate::store) use self::watch::KubernetesWatch;
