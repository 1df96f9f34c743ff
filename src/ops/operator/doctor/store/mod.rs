//! The checks of the store and its members.

pub(super) mod response;
