//! The checks of the store and its members.
//!
//! ```text
//!  etcd      each member by itself ─► EtcdSurvey ─► members (reached, alarms, space, latency, …), security
//!  kubernetes  what is served, and each object by itself ─► custom_resources, custom_resources_rights
//!  embedded  the files             ─► SqliteReport ─► sqlite
//!  content   one pass over all entries ─► Contents, holdings
//!  history   a recovery, and this node's records ─► recovery
//! ```
//!
//! The files on the left read, those on the right judge what was read.

pub(super) mod content;
pub(super) mod contents;
pub(super) mod custom_resources;
pub(super) mod custom_resources_rights;
pub(super) mod embedded;
pub(super) mod etcd;
mod etcdctl;
pub(super) mod history;
mod holdings;
pub(super) mod kubernetes;
mod members;
mod recovery;
pub(super) mod response;
mod security;
pub(super) mod sqlite;
