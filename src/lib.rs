//! kube-ipam: the CNI IPAM plugin that gives each interface of a pod a random or exactly the asked-for address.
pub mod cni;
pub mod config;
pub mod ipam;
pub mod node;
pub mod record;
pub mod store;
pub mod telemetry;
