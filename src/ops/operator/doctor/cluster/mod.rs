//! The checks of the API server, and of what the store and the cluster know of each other.

pub(super) mod api_server;
