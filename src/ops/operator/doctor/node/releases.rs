//! `deferred-releases` and `leftovers`: what earlier calls have left to later ones.

use std::fs;
use std::path::{Path, PathBuf};

use jiff::{SignedDuration, Timestamp};

use crate::cause::chain;
use crate::explain::{Commands, Tool};
use crate::install;
use crate::ops::operator::doctor::text::{counted, first_of, time_between};
use crate::ops::operator::doctor::{Context, Fix, Outcome, Remedy};
use crate::record::ReadResult;

/// The installer's DaemonSet performs deferred releases once a minute. Older ones show that it does not, or can't.
const EXPECTED_WITHIN: SignedDuration = SignedDuration::from_mins(5);

/// What is younger may still be written by a running process.
const UNFINISHED_AFTER: SignedDuration = SignedDuration::from_mins(2);

/// Whether releases are waiting that DELs could not do.
pub(in crate::ops::operator::doctor) fn check_deferred(context: &mut Context<'_>, report: &mut dyn FnMut(Outcome)) {
    let (records, commands) = (&context.node.records, &context.options.commands);
    let ids = match records.deferred_releases(usize::MAX) {
        Ok(ids) => ids,
        Err(error) => {
            let remedy = Remedy::new(error.details());
            return report(Outcome::error("deferred releases", chain(&error).to_string(), remedy));
        }
    };
    let mut oldest: Option<Timestamp> = None;
    let mut waiting = 0;
    for id in ids {
        let path = records.deferred_path(&id);
        match records.peek(&id) {
            Ok(ReadResult::Unreadable { path, why }) => report(unreadable(&path, &chain(&why).to_string(), commands)),
            Ok(_) => {
                waiting += 1;
                let since = modified(&path);
                oldest = [oldest, since].into_iter().flatten().min();
            }
            Err(error) => report(unreadable(&path, &chain(&error).to_string(), commands)),
        }
    }
    report(match oldest {
        None => Outcome::ok("deferred releases", "no release of this node is deferred"),
        Some(oldest) => deferred(waiting, oldest, Timestamp::now(), commands),
    });
}

fn deferred(waiting: usize, oldest: Timestamp, now: Timestamp, commands: &Commands) -> Outcome {
    let message = format!(
        "{} on this node, the oldest for {}; their addresses are not free until they are done",
        counted(waiting, "release is deferred", "releases are deferred"),
        time_between(oldest, now),
    );
    let remedy = Remedy::new(
        "perform them once the store answers; if the installer's DaemonSet runs on this node, look at its container sweep",
    )
    .command(commands.sweep(&["--marked"]))
    .command(commands.kubectl(&["-n", "kube-ipam", "logs", "daemonset/kube-ipam", "-c", "sweep"]));
    let outcome = match now.duration_since(oldest) > EXPECTED_WITHIN {
        true => Outcome::error("deferred releases", message, remedy),
        false => Outcome::warning("deferred releases", message, remedy),
    };
    outcome.with_fix(Fix::ReplayDeferred)
}

fn unreadable(path: &Path, why: &str, commands: &Commands) -> Outcome {
    let object = path.display().to_string();
    let message = format!("the deferred release {object} can't be performed: {why}");
    let remedy =
        Remedy::new("let a sweep of the whole store find its addresses once their pods are gone, then remove the file")
            .command(commands.sweep(&["--dry-run"]))
            .command(Tool::Cat.run(&[&object]));
    Outcome::error(&object, message, remedy)
}

/// Whether killed processes have left files behind.
pub(in crate::ops::operator::doctor) fn check_leftovers(context: &mut Context<'_>, report: &mut dyn FnMut(Outcome)) {
    let (now, commands) = (Timestamp::now(), &context.options.commands);
    let is_old =
        |path: &PathBuf| modified(path).is_some_and(|modified| now.duration_since(modified) > UNFINISHED_AFTER);
    let mut is_clean = true;
    match context.node.records.leftovers() {
        Ok(found) => {
            let found: Vec<String> =
                found.iter().filter(|path| is_old(path)).map(|path| path.display().to_string()).collect();
            if !found.is_empty() {
                is_clean = false;
                report(of_records(&found, commands));
            }
        }
        Err(error) => report(Outcome::error("leftovers", chain(&error).to_string(), Remedy::new(error.details()))),
    }
    let folder = context.options.defaults.parent().unwrap_or(Path::new("/"));
    for path in install::unfinished(folder, &context.options.program_folder).into_iter().filter(is_old) {
        is_clean = false;
        let object = path.display().to_string();
        let message = format!("an installer was killed while it wrote {object}, which nothing reads");
        let remedy = Remedy::new("remove it; the next installer would, too").command(commands.remove(&object));
        report(Outcome::warning(&object, message, remedy).with_fix(Fix::RemoveUnfinished(path)));
    }
    if is_clean {
        report(Outcome::ok("leftovers", "no killed process has left a file behind"));
    }
}

fn of_records(found: &[String], commands: &Commands) -> Outcome {
    let message = format!(
        "{} of killed calls in the node's records: {}",
        counted(found.len(), "leftover is", "leftovers are"),
        first_of(found)
    );
    let remedy = Remedy::new("remove them; they are harmless, and the next CNI GC would, too")
        .command(commands.doctor(&["--node", "--fix"]));
    Outcome::warning("leftovers", message, remedy).with_fix(Fix::RemoveLeftovers)
}

/// When the file itself, and not what it may lead to, was last written.
fn modified(path: &Path) -> Option<Timestamp> {
    Timestamp::try_from(fs::symlink_metadata(path).ok()?.modified().ok()?).ok()
}
