//! The progress of a recovery, and what was done about it.

use serde::Serialize;

use crate::cli::CliError;
use crate::cli::output::{Encoding, Format, Output};
use crate::ipam::name::Name;
use crate::ipam::recovery::{LastRecovery, Progress, Recovery};
use crate::ipam::refusal::list;
use crate::ops::operator::recovery::RecoveryReport;

/// Why nothing was done about a recovery.
const OVERTAKEN: &str = "another recovery has begun since; run `kube-ipam recovery` to see it";

/// The progress of a recovery as JSON.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Document<'a> {
    current: Option<&'a Recovery>,
    done: Vec<&'a Name>,
    #[serde(skip_serializing_if = "Option::is_none")]
    missing: Option<&'a [Name]>,
    last: Option<&'a LastRecovery>,
}

/// Prints the report. `format` applies to the progress only.
pub(crate) fn report(output: &mut Output, report: &RecoveryReport, format: Format) -> Result<(), CliError> {
    match report {
        RecoveryReport::Begun => {
            output.line("The recovery begins: no node assigns addresses until all have written back theirs.")
        }
        RecoveryReport::Ended => output.line("The recovery is over: addresses are assigned again."),
        RecoveryReport::NoneUnderWay => output.line("No recovery is in progress."),
        RecoveryReport::Overtaken => Err(CliError::Refused(OVERTAKEN.to_owned())),
        RecoveryReport::Progress(progress, missing) => {
            let known = missing.as_deref().ok();
            match format {
                Format::Table => sentences(progress, known, output)?,
                Format::Json => output.document(&document(progress, known), Encoding::Json)?,
                Format::Yaml => output.document(&document(progress, known), Encoding::Yaml)?,
            }
            if let Err(why) = missing {
                output.warn(&format!("can't tell which nodes are missing: {why}"));
            }
            Ok(())
        }
    }
}

fn document<'a>(progress: &'a Progress, missing: Option<&'a [Name]>) -> Document<'a> {
    let current = progress.current.as_ref().map(|(_, current)| current);
    Document { current, done: progress.done.keys().collect(), missing, last: progress.last.as_ref() }
}

fn sentences(progress: &Progress, missing: Option<&[Name]>, output: &mut Output) -> Result<(), CliError> {
    let Some((_, Recovery { since, sign, node, .. })) = &progress.current else {
        output.line("No recovery is in progress.")?;
        return match &progress.last {
            Some(LastRecovery { since, ended, sign, .. }) => {
                output.line(&format!("The last one was from {since:.0} to {ended:.0}: {sign}."))
            }
            None => Ok(()),
        };
    };
    let seen = node.as_ref().map(|node| format!(" (seen by node {node})")).unwrap_or_default();
    output
        .line(&format!("A recovery has been in progress since {since:.0}: {sign}{seen}. No node assigns addresses."))?;
    let names = |nodes: &[&Name]| if nodes.is_empty() { "none".to_owned() } else { list(nodes) };
    output.line(&format!("Done: {}.", names(&progress.done.keys().collect::<Vec<_>>())))?;
    match missing {
        Some(missing) => output.line(&format!("Missing: {}.", names(&missing.iter().collect::<Vec<_>>()))),
        None => Ok(()),
    }
}
