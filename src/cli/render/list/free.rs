//! Free addresses, span by span: a row of a table for each network, a document, or the span alone.
//! docs/free.schema.json describes the documents.

use std::collections::BTreeMap;
use std::net::IpAddr;

use schemars::JsonSchema;
use serde::Serialize;

use crate::cli::CliError;
use crate::cli::output::{Encoding, ListFormat, Output};
use crate::cli::render::{count, none};
use crate::explain::{FreeSpan, Offer};
use crate::ipam::address::Span;
use crate::ipam::name::Name;

const HEAD: [&str; 7] = ["ADDRESSES", "COUNT", "RANDOM", "REQUEST", "NETWORK", "VRF", "LIMITS"];

/// Addresses that a pod can get now.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "FreeSpan")]
struct Document<'a> {
    /// The first address.
    from: IpAddr,
    /// The last address.
    to: IpAddr,
    /// The number of addresses.
    count: u128,
    /// The routing domain.
    vrf: &'a Name,
    /// The networks that assign them.
    networks: Vec<OfferDocument<'a>>,
}

/// A network that assigns addresses.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Offer")]
struct OfferDocument<'a> {
    /// The `name` of its config.
    network: &'a Name,
    /// Whether it assigns them at random.
    random: bool,
    /// Whether it assigns them to a pod that requests them.
    request: bool,
    /// Who can get them, and how, if not everybody can: pools, namespaces, nodes.
    #[serde(skip_serializing_if = "str::is_empty")]
    limits: &'a str,
}

/// Receives each span as it is found.
type Show<'a> = &'a mut dyn FnMut(&Name, FreeSpan) -> Result<(), CliError>;

/// Prints the spans. For people, it also sums them up.
pub(crate) fn free(
    output: &mut Output,
    format: ListFormat,
    free: impl FnOnce(Show<'_>) -> Result<(), CliError>,
) -> Result<(), CliError> {
    match format {
        ListFormat::Table | ListFormat::Wide => table(output, free),
        ListFormat::Json => documents(output, Encoding::Json, free),
        ListFormat::Yaml => documents(output, Encoding::Yaml, free),
        ListFormat::Name => free(&mut |_, free| output.name(&free.span)),
    }
}

fn documents(
    output: &mut Output,
    encoding: Encoding,
    free: impl FnOnce(Show<'_>) -> Result<(), CliError>,
) -> Result<(), CliError> {
    let mut elements = output.stream_list(encoding);
    free(&mut |vrf, FreeSpan { span, offers }| {
        let networks = offers.iter().map(offer_document).collect();
        elements.push(&Document { from: span.first(), to: span.last(), count: span.len(), vrf, networks })
    })?;
    elements.end()
}

fn offer_document(Offer { network, random, request, limits, .. }: &Offer) -> OfferDocument<'_> {
    OfferDocument { network, random: *random, request: *request, limits }
}

/// The numbers of free addresses in a routing domain.
#[derive(Default)]
struct Sum {
    random: u128,
    on_request: u128,
}

fn table(output: &mut Output, free: impl FnOnce(Show<'_>) -> Result<(), CliError>) -> Result<(), CliError> {
    let mut sums: BTreeMap<Name, Sum> = BTreeMap::new();
    let mut table = output.stream_table(HEAD);
    free(&mut |vrf, FreeSpan { span, offers }| {
        let sum = sums.entry(vrf.clone()).or_default();
        let of_kind = if offers.iter().any(|offer| offer.random) { &mut sum.random } else { &mut sum.on_request };
        *of_kind = of_kind.saturating_add(span.len());
        offers.iter().try_for_each(|offer| table.push(row(vrf, &span, offer)))
    })?;
    if table.end()? == 0 {
        return output.line("No address is free there.");
    }
    let is_only = sums.len() == 1;
    sums.iter().try_for_each(|(vrf, Sum { random, on_request })| {
        let place = if is_only { String::new() } else { format!(" in vrf {vrf}") };
        output.line(&format!(
            "{} addresses are free{place}: {} for any pod, {} only on request.",
            count(random.saturating_add(*on_request)),
            count(*random),
            count(*on_request)
        ))
    })
}

fn row(vrf: &Name, span: &Span, Offer { network, random, request, limits, .. }: &Offer) -> [String; 7] {
    let yes = |is: bool| if is { "yes" } else { "no" }.to_owned();
    let limits = if limits.is_empty() { none() } else { limits.clone() };
    [span.to_string(), count(span.len()), yes(*random), yes(*request), network.to_string(), vrf.to_string(), limits]
}

#[cfg(test)]
mod tests {
    use schemars::JsonSchema;

    use super::Document;
    use crate::cli::render::schema;

    #[derive(JsonSchema)]
    #[schemars(rename = "FreeSpans")]
    struct FreeSpans<'a>(#[allow(dead_code, reason = "only its schema is used")] Vec<Document<'a>>);

    #[test]
    fn the_schema_of_free_addresses_is_current() {
        schema::assert_current::<FreeSpans<'_>>("free.schema.json");
    }
}
