//! kube-ipam: a CNI IPAM plugin that gives each interface of a pod a random address or exactly the one that it
//! requests, unique in the whole cluster.
//!
//! All of it is a decision over an ordered key-value map with compare-and-swap transactions:
//!
//! ```text
//!  runtime ─ env + stdin ─► cni      the protocol: a Request; at the end a reply for its cniVersion
//!                            │
//!                         config     node defaults + ipam block → CallSettings and Network
//!                            │
//!  API server ─ pod ────► cluster    the pod's metadata, or why it is unknown
//!                            │
//!                   ipam::request    pure: the address request for each range set
//!                            │
//!                     ipam::decide   pure, step by step: the next transaction, the decision, or a refusal
//!                            │
//!                         store      memory | SQLite | etcd | the Kubernetes API
//!                            │
//!                         record     the node's own file per attachment
//! ```
//!
//! [`ops`] takes these steps for each verb of the protocol, and probes the link with [`wire`] if the network wants it.
//! [`cli`] has the operator's verbs, and [`controller`] the continuous one. [`error`] maps every error to what a caller
//! sees, in one place.
//!
//! Where to add something: a key of the ipam block in [`config`], a source of requests in [`ipam::request`], a key of
//! the store in [`ipam::keys`], a backend in [`store`], a verb of the command line in [`cli`]. `docs/design.md` has the
//! steps.

pub mod apiserver;
pub mod cause;
pub mod certificate;
pub mod cli;
pub mod cluster;
pub mod cni;
pub mod config;
pub mod controller;
pub mod deadline;
pub mod error;
pub mod explain;
mod flock;
mod host_local;
#[cfg(test)]
mod imports;
pub mod install;
pub mod ipam;
pub mod manifest;
pub mod metrics;
pub mod node;
pub mod ops;
pub mod plan;
pub mod record;
pub mod store;
pub mod telemetry;
pub mod wire;
