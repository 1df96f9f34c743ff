//! The numbers by which a runtime tells errors apart.

use serde::Serialize;

/// The `code` of an error document (CNI spec 1.1, section 5, "Error").
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Code(u32);

impl Code {
    /// The protocol's version, or the verb in this version, is not supported.
    pub const VERSION: Self = Self(1);
    /// A field of the config is not supported; the message names key and value.
    pub const UNSUPPORTED_FIELD: Self = Self(2);
    /// The container is not known or does not exist. A runtime need not clean up after it.
    pub const UNKNOWN_CONTAINER: Self = Self(3);
    /// A variable of the environment is missing or invalid.
    pub const ENVIRONMENT: Self = Self(4);
    /// Reading or writing failed.
    pub const IO: Self = Self(5);
    /// What was read is not what it should be: no JSON, or no object.
    pub const DECODE: Self = Self(6);
    /// The network's config is invalid.
    pub const CONFIG: Self = Self(7);
    /// A condition that passes; the runtime should try again later.
    pub const TRY_AGAIN: Self = Self(11);
    /// STATUS: an ADD can't be served.
    pub const UNAVAILABLE: Self = Self(50);
    /// STATUS: an ADD can't be served, and existing containers may have limited connectivity.
    pub const LIMITED: Self = Self(51);
    /// CHECK: the attachment does not hold an address of its result.
    pub const NOT_HELD: Self = Self(101);
    /// A defect of this program; the first of the numbers that are a plugin's own.
    pub const INTERNAL: Self = Self(100);

    /// The number.
    pub fn number(self) -> u32 {
        self.0
    }
}
