//! The codes by which a runtime distinguishes errors.

use serde::Serialize;

/// The `code` of an error document (CNI spec 1.1, section 5, "Error").
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Code(u32);

impl Code {
    /// The protocol version is not supported, or it does not have this verb.
    pub const VERSION: Self = Self(1);
    /// A field of the config is not supported. The message has its key and value.
    pub const UNSUPPORTED_FIELD: Self = Self(2);
    /// The container is unknown or does not exist. A runtime need not clean up after it.
    pub const UNKNOWN_CONTAINER: Self = Self(3);
    /// An environment variable is missing or invalid.
    pub const ENVIRONMENT: Self = Self(4);
    /// Reading or writing failed.
    pub const IO: Self = Self(5);
    /// The input is not JSON, or not an object.
    pub const DECODE: Self = Self(6);
    /// The network's config is invalid.
    pub const CONFIG: Self = Self(7);
    /// The failure is temporary. The runtime should try again later.
    pub const TRY_AGAIN: Self = Self(11);
    /// STATUS: an ADD would fail.
    pub const UNAVAILABLE: Self = Self(50);
    /// STATUS: an ADD would fail, and existing containers may have limited connectivity.
    pub const LIMITED: Self = Self(51);
    /// CHECK: the attachment does not hold an address of its result.
    pub const NOT_HELD: Self = Self(101);
    /// A bug in kube-ipam. Codes from 100 on are the plugin's own.
    pub const INTERNAL: Self = Self(100);

    /// The number.
    pub fn number(self) -> u32 {
        self.0
    }
}
