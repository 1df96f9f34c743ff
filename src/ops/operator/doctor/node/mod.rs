//! The checks of this node: its files alone, without its store and the API server.

pub(super) mod clock;
pub(super) mod credentials;
pub(super) mod defaults;
pub(super) mod disk;
pub(super) mod host_local;
pub(super) mod modes;
pub(super) mod networks;
pub(super) mod program;
pub(super) mod records;
pub(super) mod releases;
pub(super) mod state;
