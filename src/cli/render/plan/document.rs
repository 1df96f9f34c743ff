//! The document of `-o json` and `-o yaml`. docs/plan.schema.json describes it.

use schemars::JsonSchema;
use serde::Serialize;

use crate::ops::operator::plan::Planned;
use crate::plan::{Finding, InterfaceReport, Mark, NetworkReport, Severity};

/// A plan: what the pods of manifests would get, and the mistakes in them.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Plan")]
pub(super) struct Document<'a> {
    /// The range sets of all networks whose addresses kube-ipam assigns.
    networks: Vec<NetworkDocument<'a>>,
    /// The interfaces of all workloads.
    interfaces: &'a [InterfaceReport],
    /// Mistakes and warnings, in the order of their positions.
    findings: Vec<FindingDocument<'a>>,
}

/// The planned usage of a range set.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Network")]
struct NetworkDocument<'a> {
    #[serde(flatten)]
    network: &'a NetworkReport,
    /// The number of random addresses that are free even while all workloads are updated at once.
    left: u128,
}

/// A mistake or a warning, with the position of its mark.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Finding")]
struct FindingDocument<'a> {
    /// The kind of finding. docs/reference-errors.md lists them.
    #[schemars(regex(pattern = "^KI[0-9]{4}$"))]
    code: String,
    severity: Severity,
    /// Describes the mistake in one sentence.
    message: &'a str,
    #[serde(flatten)]
    place: PlaceDocument<'a>,
    /// Other positions that belong to it.
    related: Vec<PlaceDocument<'a>>,
    /// The remedy.
    #[serde(skip_serializing_if = "Option::is_none")]
    help: Option<&'a str>,
}

/// A position in a file, with the text at its mark.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Place")]
struct PlaceDocument<'a> {
    /// The path as given on the command line, or `<stdin>`.
    file: &'a str,
    /// The line, counted from 1.
    #[schemars(range(min = 1))]
    line: usize,
    /// The column in characters, counted from 1.
    #[schemars(range(min = 1))]
    column: usize,
    /// The text at the mark.
    #[serde(skip_serializing_if = "str::is_empty")]
    label: &'a str,
}

impl<'a> Document<'a> {
    pub(super) fn of(planned: &'a Planned) -> Self {
        let place = |mark: &'a Mark| {
            let (line, column) = mark.place.line_and_column(&planned.sources);
            let file = planned.sources.get(mark.place.source).map_or("", |source| &source.name);
            PlaceDocument { file, line, column, label: &mark.label }
        };
        let finding = |finding: &'a Finding| FindingDocument {
            code: finding.code.to_string(),
            severity: finding.severity,
            message: &finding.message,
            place: place(&finding.primary),
            related: finding.related.iter().map(place).collect(),
            help: finding.help.as_deref(),
        };
        let network = |network: &'a NetworkReport| NetworkDocument { network, left: network.left() };
        Self {
            networks: planned.report.networks.iter().map(network).collect(),
            interfaces: &planned.report.interfaces,
            findings: planned.report.findings.iter().map(finding).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Document;
    use crate::cli::render::schema::assert_current;

    #[test]
    fn the_schema_of_a_plan_is_current() {
        assert_current::<Document<'_>>("plan.schema.json");
    }
}
