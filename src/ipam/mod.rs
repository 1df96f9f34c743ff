//! The pure core: no I/O, no clock, no async. What an interface is to have, and which transaction gives it.

pub mod address;
pub mod address_map;
pub mod claim;
pub mod cluster;
pub mod decide;
pub mod earlier;
pub mod keys;
pub mod label;
pub mod lease;
pub mod machine;
pub mod name;
pub(crate) mod near_miss;
pub mod node_selector;
pub mod node_status;
pub mod pod;
pub mod pool;
pub mod range;
pub mod recovery;
pub mod refusal;
pub mod request;
pub mod reservation;
pub mod seed;
pub mod sweep;
pub mod takeover;
pub mod transition;
pub mod usage;
