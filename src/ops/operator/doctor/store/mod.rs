//! The checks of the store and its members.
//!
//! ```text
//!  etcd      each member by itself ─► EtcdSurvey ─► members (reached, alarms, space, latency, …), security
//!  embedded  the files             ─► SqliteReport ─► sqlite
//!  content   one pass over all entries ─► Contents
//!  history   a recovery, and this node's records ─► recovery
//! ```
//!
//! The files on the left read, those on the right judge what was read.

pub(super) mod content;
pub(super) mod contents;
pub(super) mod embedded;
pub(super) mod etcd;
mod etcdctl;
pub(super) mod history;
mod members;
mod recovery;
pub(super) mod response;
mod security;
pub(super) mod sqlite;
