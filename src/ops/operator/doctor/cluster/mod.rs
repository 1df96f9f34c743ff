//! The checks of the API server, and of what the store and the cluster know of each other.

pub(super) mod api_server;
pub(super) mod controller;
pub(super) mod controller_rights;
pub(super) mod definitions;
pub(super) mod forbidden;
pub(super) mod installed_defaults;
pub(super) mod installer;
pub(super) mod leaks;
pub(super) mod networks;
mod pod_networks;
pub(super) mod pods;
pub(super) mod rights;
pub(super) mod workloads;
