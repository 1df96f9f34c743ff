//! The pure core: no I/O, no clock, no async. What an interface is to have, and which transaction gives it.

pub mod address;
pub mod lease;
pub mod name;
pub mod range;
