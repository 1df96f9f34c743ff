//! The document of a range. docs/usage.schema.json describes the list.

use std::net::IpAddr;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

use super::Row;
use crate::ipam::address::Span;
use crate::ipam::usage::{RangeUsage, Trend};
use crate::ops::operator::usage::NeverAssigned;

/// The usage of a range: a part of a subnet of a network.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Range")]
pub(super) struct Document<'a> {
    #[serde(flatten)]
    range: &'a RangeUsage,
    /// The number of free addresses: neither held, reserved, in cooldown nor foreign.
    free: Option<u128>,
    /// Its largest run of addresses without a lease.
    largest_run: Option<SpanDocument>,
    /// How it fills.
    trend: TrendDocument,
    /// The addresses of its subnet that no pod gets, neither at random nor on request. They belong to no range.
    never_assigned: Vec<NeverDocument<'a>>,
}

/// How a range fills, by the samples that the controller stores each day.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", tag = "state")]
#[schemars(rename = "Trend")]
enum TrendDocument {
    /// There is no sample of the last week that is a day old.
    Unknown,
    /// It has no more addresses in use than then.
    NotGrowing {
        /// When that sample was taken.
        #[schemars(with = "String")]
        since: Timestamp,
    },
    /// It will be full.
    Growing {
        /// Days until it is full at this pace.
        days: f64,
        /// How many more addresses are in use each day.
        per_day: f64,
        /// When the sample was taken with which the usage is compared.
        #[schemars(with = "String")]
        since: Timestamp,
    },
}

/// Consecutive addresses.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Span")]
pub(super) struct SpanDocument {
    /// The first address.
    from: IpAddr,
    /// The last address.
    to: IpAddr,
    /// The number of addresses.
    count: u128,
}

/// Addresses that no pod gets.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "NeverAssigned")]
struct NeverDocument<'a> {
    #[serde(flatten)]
    span: SpanDocument,
    /// The reason.
    why: &'a str,
}

impl From<Span> for SpanDocument {
    fn from(span: Span) -> Self {
        Self { from: span.first(), to: span.last(), count: span.len() }
    }
}

impl From<Trend> for TrendDocument {
    fn from(trend: Trend) -> Self {
        match trend {
            Trend::Unknown => Self::Unknown,
            Trend::NotGrowing { since } => Self::NotGrowing { since },
            Trend::Growing { days, per_day, since } => Self::Growing { days, per_day, since },
        }
    }
}

impl<'a> From<&'a Row<'a>> for Document<'a> {
    fn from(row: &'a Row<'a>) -> Self {
        let never = |NeverAssigned { span, why }: &'a NeverAssigned| NeverDocument { span: (*span).into(), why };
        Self {
            free: row.range.free(),
            largest_run: row.run.map(SpanDocument::from),
            trend: row.trend.into(),
            never_assigned: row.never.iter().map(never).collect(),
            range: &row.range,
        }
    }
}

#[cfg(test)]
mod tests {
    use schemars::JsonSchema;

    use super::Document;
    use crate::cli::render::schema;

    #[derive(JsonSchema)]
    #[schemars(rename = "Ranges")]
    struct Ranges<'a>(#[allow(dead_code, reason = "only its schema is used")] Vec<Document<'a>>);

    #[test]
    fn the_schema_of_usage_is_current() {
        schema::assert_current::<Ranges<'_>>("usage.schema.json");
    }
}
