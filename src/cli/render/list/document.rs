//! The document of an address. docs/list.schema.json describes the list.

use std::net::IpAddr;

use schemars::JsonSchema;
use serde::Serialize;

use crate::cause::chain;
use crate::ipam::lease::{Lease, Stored};
use crate::ipam::name::Name;
use crate::ops::operator::list::AddressRow;

/// An address that has a lease.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Address")]
#[serde(rename_all = "camelCase")]
pub(super) struct Document<'a> {
    /// The address.
    address: IpAddr,
    /// The routing domain in which it is unique.
    vrf: &'a Name,
    /// Its state.
    #[schemars(extend("enum" = ["held", "reserved", "resting", "foreign", "unreadable"]))]
    state: &'static str,
    #[serde(flatten)]
    lease: Option<&'a Lease>,
    /// Why its lease can't be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    unreadable: Option<String>,
}

impl<'a> From<&'a AddressRow> for Document<'a> {
    fn from(row: &'a AddressRow) -> Self {
        let (lease, unreadable) = match &row.lease {
            Stored::Known(lease) => (Some(lease), None),
            Stored::Unreadable(why) => (None, Some(chain(why).to_string())),
        };
        Self { address: row.address, vrf: &row.vrf, state: row.state().word(), lease, unreadable }
    }
}

#[cfg(test)]
mod tests {
    use schemars::JsonSchema;

    use super::Document;
    use crate::cli::render::schema;

    #[derive(JsonSchema)]
    #[schemars(rename = "Addresses")]
    struct Addresses<'a>(#[allow(dead_code, reason = "only its schema is used")] Vec<Document<'a>>);

    #[test]
    fn the_schema_of_a_list_is_current() {
        schema::assert_current::<Addresses<'_>>("list.schema.json");
    }
}
