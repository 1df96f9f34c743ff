//! The results of the checks, each as soon as it is known: lines and a closing sentence, or a list of documents.

use anstyle::Style;
use schemars::JsonSchema;
use serde::Serialize;

use super::plan;
use super::style::{DIMMED, GOOD, WARNING, WRONG};
use crate::cli::CliError;
use crate::cli::output::{Encoding, Format, Output, StreamList};
use crate::explain::Command;
use crate::ops::operator::doctor::{CheckResult, DoctorReport, Fix, Outcome, Remedy, Status};

/// Prints results one by one.
pub(crate) enum Printer<'a> {
    /// For people.
    Lines(&'a mut Output),
    /// For programs.
    Documents(StreamList<'a>),
}

/// A result of a check.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Result")]
struct Document<'a> {
    /// The name of the check. It never changes.
    check: &'static str,
    /// What the check looks at.
    area: &'static str,
    /// What the result is about.
    object: &'a str,
    /// How it is.
    #[schemars(extend("enum" = Status::ALL.map(Status::word)))]
    status: &'static str,
    /// The finding in a sentence.
    message: &'a str,
    /// What to do, if it is not as it should be.
    #[serde(skip_serializing_if = "Option::is_none")]
    remedy: Option<RemedyDocument<'a>>,
    /// What `--fix` does about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    fix: Option<String>,
}

/// What to do.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Remedy")]
struct RemedyDocument<'a> {
    /// In words.
    text: &'a str,
    /// The commands that do it, ready to paste.
    #[schemars(with = "&'a [String]")]
    commands: &'a [Command],
}

impl<'a> Printer<'a> {
    pub(crate) fn new(output: &'a mut Output, format: Format) -> Self {
        match format {
            Format::Table => Self::Lines(output),
            Format::Json => Self::Documents(output.stream_list(Encoding::Json)),
            Format::Yaml => Self::Documents(output.stream_list(Encoding::Yaml)),
        }
    }

    /// Prints a result.
    pub(crate) fn result(&mut self, result: &CheckResult) -> Result<(), CliError> {
        match self {
            Self::Lines(output) => lines(result, output),
            Self::Documents(list) => list.push(&document(result)),
        }
    }

    /// Ends the list, or sums it up.
    pub(crate) fn end(self, report: &DoctorReport) -> Result<(), CliError> {
        match self {
            Self::Lines(output) => {
                output.line("")?;
                output.line(&summary(report))
            }
            Self::Documents(list) => list.end(),
        }
    }
}

fn document(CheckResult { check, area, outcome }: &CheckResult) -> Document<'_> {
    let Outcome { object, status, message, remedy, fix } = outcome;
    let remedy = remedy.as_ref().map(|Remedy { text, commands }| RemedyDocument { text, commands });
    let fix = fix.as_ref().map(ToString::to_string);
    Document { check, area: area.word(), object, status: status.word(), message, remedy, fix }
}

/// The status, the check and the sentence; below it what to do, and each command on a line of its own.
fn lines(CheckResult { check, outcome, .. }: &CheckResult, output: &mut Output) -> Result<(), CliError> {
    let Outcome { status, message, remedy, .. } = outcome;
    // As wide as the longest one.
    output.styled_line(style(*status), &format!("{:<7}", status.word()), &format!("  {check}: {message}"))?;
    let Some(Remedy { text, commands }) = remedy else { return Ok(()) };
    let plain = Style::new();
    output.styled_line(plain, "         next: ", text)?;
    commands.iter().try_for_each(|command| output.styled_line(plain, "               ", &command.to_string()))
}

fn style(status: Status) -> Style {
    match status {
        Status::Ok => GOOD,
        Status::Skipped => DIMMED,
        Status::Warning => WARNING,
        Status::Error => WRONG,
    }
}

fn summary(report: &DoctorReport) -> String {
    let count = |status: Status| match report.count(status) {
        1 if matches!(status, Status::Warning | Status::Error) => format!("1 {}", status.word()),
        number if matches!(status, Status::Warning | Status::Error) => format!("{number} {}s", status.word()),
        number => format!("{number} {}", status.word()),
    };
    let all: usize = Status::ALL.iter().map(|status| report.count(*status)).sum();
    let counts: Vec<String> = Status::ALL.iter().filter(|s| report.count(**s) > 0).map(|s| count(*s)).collect();
    let fixes = match report.fixes.len() {
        0 => "",
        _ => " Some of it can be corrected with --fix.",
    };
    format!("{all} results: {}.{fixes}", counts.join(", "))
}

/// The number of findings, as `plan` says it.
pub(crate) fn verdict(errors: usize, warnings: usize) -> String {
    plan::verdict(errors, warnings)
}

/// What was not done, because nobody could be asked.
pub(crate) fn unconfirmed(fix: &Fix) -> String {
    format!("nothing was changed; to {fix}, run this again with --yes")
}

/// Asks whether a fix may be done.
pub(crate) fn question(fix: &Fix) -> String {
    let text = fix.to_string();
    let mut chars = text.chars();
    let first = chars.next().map(|c| c.to_ascii_uppercase()).into_iter();
    first.chain(chars).chain(['?']).collect()
}

#[cfg(test)]
mod tests {
    use super::Document;
    use crate::cli::render::schema::assert_current;

    #[test]
    fn the_schema_of_results_is_current() {
        assert_current::<Vec<Document<'_>>>("doctor.schema.json");
    }
}
