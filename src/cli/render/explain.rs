//! An explanation: a sentence first, then the details with their sources, then what to do.

use anstyle::Style;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

use super::style::{DIMMED, GOOD, STRONG, WARNING, WRONG};
use crate::cli::CliError;
use crate::cli::output::{Encoding, Output};
use crate::explain::{Before, Explanation, Outcome, Remedy, Verdict};
use crate::ops::operator::explain::ExplainReport;

/// The explanations of a subject: one, or of an address one for each routing domain that has it.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Explanations")]
struct Document<'a>(&'a [Explanation]);

/// Prints the explanations for programs, with exact times.
pub(crate) fn document(output: &mut Output, report: &ExplainReport, encoding: Encoding) -> Result<(), CliError> {
    output.document(&Document(&report.explanations), encoding)
}

/// Prints the explanations for people.
pub(crate) fn page(output: &mut Output, report: &ExplainReport) -> Result<(), CliError> {
    let now = Timestamp::now();
    for (i, explanation) in report.explanations.iter().enumerate() {
        if i > 0 {
            output.line("")?;
        }
        if let Some(vrf) = explanation.vrf.as_ref().filter(|_| report.explanations.len() > 1) {
            output.line(&format!("In routing domain {vrf}:"))?;
        }
        section(output, explanation, now)?;
    }
    Ok(())
}

fn section(output: &mut Output, explanation: &Explanation, now: Timestamp) -> Result<(), CliError> {
    sentence(output, STRONG, &explanation.headline.spoken(now))?;
    if let Some(agreement) = &explanation.agreement {
        sentence(output, verdict_style(agreement.verdict), &agreement.to_string())?;
    }
    if let Some(next) = &explanation.next {
        sentence(output, outcome_style(next.outcome), &next.to_string())?;
    }
    output.line("")?;
    let width = explanation.facts.iter().map(|fact| fact.topic.word().len()).max().unwrap_or_default();
    for fact in &explanation.facts {
        let (topic, text) = (fact.topic.word(), fact.text.spoken(now));
        let (label, text) = (format!("{topic:<width$}  "), format!("{text} [{}]", fact.source));
        output.styled_paragraph((DIMMED, &label), (Style::new(), &text))?;
    }
    if let Some(before) = &explanation.before {
        history(output, before, now)?;
    }
    if !explanation.remedies.is_empty() {
        output.line("")?;
        sentence(output, STRONG, "What to do:")?;
        explanation.remedies.iter().try_for_each(|remedy| remedy_lines(output, remedy, now))?;
    }
    for part in &explanation.parts {
        output.line("")?;
        section(output, part, now)?;
    }
    Ok(())
}

fn sentence(output: &mut Output, style: Style, text: &str) -> Result<(), CliError> {
    output.styled_paragraph((Style::new(), ""), (style, text))
}

fn verdict_style(verdict: Verdict) -> Style {
    match verdict {
        Verdict::Agree => GOOD,
        Verdict::Unknown => WARNING,
        Verdict::Disagree => WRONG,
    }
}

fn outcome_style(outcome: Outcome) -> Style {
    match outcome {
        Outcome::Refused => WARNING,
        Outcome::Repeats | Outcome::Assigns | Outcome::Unknown => Style::new(),
    }
}

fn history(output: &mut Output, before: &Before, now: Timestamp) -> Result<(), CliError> {
    output.line("")?;
    sentence(output, STRONG, "Before:")?;
    for holding in &before.holders {
        output.paragraph("- ", &format!("{} [{}]", holding.text.spoken(now), holding.sources.join(", ")))?;
    }
    let unknown = before.unknown.iter().map(|unknown| format!("not known: {}", unknown.text));
    unknown.into_iter().try_for_each(|text| output.paragraph("- ", &text))
}

/// A command has a line of its own, so that it can be copied.
fn remedy_lines(output: &mut Output, remedy: &Remedy, now: Timestamp) -> Result<(), CliError> {
    output.paragraph("- ", &remedy.text.spoken(now))?;
    match &remedy.command {
        Some(command) => output.line(&format!("    {command}")),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::Document;
    use crate::cli::render::schema::assert_current;

    #[test]
    fn the_schema_of_an_explanation_is_current() {
        assert_current::<Document<'_>>("explain.schema.json");
    }
}
