//! `kube-ipam recovery`: what is known of a store that went back in time, and which nodes have written back what they run.

use clap::Args;
use jiff::Timestamp;
use serde::Serialize;

use super::CliError;
use super::output::{Format, Output};
use super::store::StoreArgs;
use crate::ipam::name::Name;
use crate::ipam::recovery::{Begin, Begun, LastRecovery, Progress, Recovery as Current, UpdateRecovery};
use crate::ipam::refusal::list;
use crate::ops::{Session, recovery};
use crate::store::Deadline;
use crate::telemetry;

/// The sign of a recovery that nobody has seen a sign of.
const ANNOUNCED: &str = "the operator has restored a backup";

/// Why nothing was done about a recovery.
const MEANWHILE: &str = "another recovery has begun meanwhile; look at it again";

/// Show whether the store went back in time, and which nodes have written back what runs on them.
///
/// While a recovery is under way no node gives addresses. It begins when a node sees that the store has lost writes, and
/// ends when all nodes have written back what runs on them.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  kube-ipam recovery
  kube-ipam recovery --begin
  kube-ipam recovery --end")]
pub struct Recovery {
    /// Begin one: before a restored backup is opened to the nodes
    #[arg(long, conflicts_with = "end")]
    begin: bool,
    /// End it without the nodes that are missing: what runs on them may be given to others
    #[arg(long)]
    end: bool,
    /// How to print
    #[arg(short, long, value_enum, default_value_t, value_name = "FORMAT")]
    output: Format,
    #[command(flatten)]
    store: StoreArgs,
}

/// How a recovery stands, as programs read it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Document<'a> {
    current: Option<&'a Current>,
    done: Vec<&'a Name>,
    #[serde(skip_serializing_if = "Option::is_none")]
    missing: Option<Vec<&'a Name>>,
    last: Option<&'a LastRecovery>,
}

impl Recovery {
    /// Runs the verb.
    pub fn run(&self, output: &mut Output) -> Result<(), CliError> {
        let (site, store) = self.store.site()?;
        let session = Session::open(store.clone(), None)?;
        let until = self.store.deadline();
        if self.begin {
            telemetry::init(&site.log);
            return begin(&session, until, output);
        }
        let progress = recovery::progress(&session, until)?;
        if self.end {
            telemetry::init(&site.log);
            let Some(mut end) = UpdateRecovery::end_by_operator(&progress) else {
                return output.line("No recovery is under way.");
            };
            let ended = session.decide(&mut end, until)?;
            return match ended {
                true => output.line("The recovery is over: addresses are given again."),
                false => Err(CliError::Refused(MEANWHILE.to_owned())),
            };
        }
        let nodes = match progress.current {
            Some(_) => recovery::nodes(&site, &store, until),
            None => Ok(Vec::new()),
        };
        let missing = nodes.as_ref().ok().map(|nodes| progress.missing(nodes));
        match self.output {
            Format::Json => {
                let (current, last) = (progress.current.as_ref().map(|(_, current)| current), progress.last.as_ref());
                output.json(&Document { current, done: progress.done.keys().collect(), missing, last })?;
            }
            Format::Table => describe(&progress, missing, output)?,
        }
        if let Err(why) = nodes {
            output.aside(&format!("which nodes are missing is not known: {why}"));
        }
        Ok(())
    }
}

/// Begins a recovery. One that the backup has brought along begins again: the nodes were done with another loss.
fn begin(session: &Session, until: Deadline, output: &mut Output) -> Result<(), CliError> {
    let recovery = Current::new(ANNOUNCED.to_owned(), None, Timestamp::now());
    let mut begin = match recovery::progress(session, until)?.current {
        Some((seen, _)) => Begin::instead_of(recovery, seen),
        None => Begin::new(recovery),
    };
    match session.decide(&mut begin, until)? {
        Begun::Now => output.line("The recovery begins: no node gives addresses until all have written back theirs."),
        Begun::Before => Err(CliError::Refused(MEANWHILE.to_owned())),
    }
}

fn describe(progress: &Progress, missing: Option<Vec<&Name>>, output: &mut Output) -> Result<(), CliError> {
    let Some((_, Current { since, sign, node, .. })) = &progress.current else {
        output.line("No recovery is under way.")?;
        return match &progress.last {
            Some(LastRecovery { since, ended, sign, .. }) => {
                output.line(&format!("The last one was from {since:.0} to {ended:.0}: {sign}."))
            }
            None => Ok(()),
        };
    };
    let seen = node.as_ref().map(|node| format!(" (seen by node {node})")).unwrap_or_default();
    output.line(&format!("A recovery is under way since {since:.0}: {sign}{seen}. No node gives addresses."))?;
    let names = |nodes: &[&Name]| if nodes.is_empty() { "none".to_owned() } else { list(nodes) };
    output.line(&format!("Done: {}.", names(&progress.done.keys().collect::<Vec<_>>())))?;
    match missing {
        Some(missing) => output.line(&format!("Missing: {}.", names(&missing))),
        None => Ok(()),
    }
}
