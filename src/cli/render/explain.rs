//! An explanation: a sentence first, then the details with their sources, then what to do.

use jiff::Timestamp;

use crate::cli::CliError;
use crate::cli::output::Output;
use crate::explain::{Before, Explanation, Remedy};
use crate::ops::operator::explain::ExplainReport;

/// Prints the explanations as JSON, with exact times.
pub(crate) fn json(output: &mut Output, report: &ExplainReport) -> Result<(), CliError> {
    output.json(&report.explanations)
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
    output.paragraph("", &explanation.headline.spoken(now))?;
    if let Some(agreement) = &explanation.agreement {
        output.paragraph("", &agreement.to_string())?;
    }
    if let Some(next) = &explanation.next {
        output.paragraph("", &next.to_string())?;
    }
    output.line("")?;
    let width = explanation.facts.iter().map(|fact| fact.topic.word().len()).max().unwrap_or_default();
    for fact in &explanation.facts {
        let (topic, text) = (fact.topic.word(), fact.text.spoken(now));
        output.paragraph(&format!("{topic:<width$}  "), &format!("{text} [{}]", fact.source))?;
    }
    if let Some(before) = &explanation.before {
        history(output, before, now)?;
    }
    if !explanation.remedies.is_empty() {
        output.line("")?;
        output.line("What to do:")?;
        explanation.remedies.iter().try_for_each(|remedy| remedy_lines(output, remedy, now))?;
    }
    for part in &explanation.parts {
        output.line("")?;
        section(output, part, now)?;
    }
    Ok(())
}

fn history(output: &mut Output, before: &Before, now: Timestamp) -> Result<(), CliError> {
    output.line("")?;
    output.line("Before:")?;
    for holding in &before.holders {
        output.paragraph("- ", &format!("{} [{}]", holding.text.spoken(now), holding.sources.join(", ")))?;
    }
    let unknown = before.unknown.iter().map(|why| format!("not known: {why}"));
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
