//! Whether the store has gone back in time: a recovery in progress, and this node's records against the store.

use std::time::Duration;

use jiff::Timestamp;

use crate::explain::Commands;
use crate::ipam::name::Name;
use crate::ipam::recovery::Progress;
use crate::ops::operator::doctor::check::{Outcome, Remedy, Status};
use crate::ops::operator::doctor::subject::{Subject, commands};
use crate::ops::operator::doctor::text::counted;
use crate::ops::operator::doctor::units::{between, span};
use crate::ops::recovery::RecordComparison;
use crate::store::StoreConfig;

/// How long a recovery takes at most while all nodes run: the installer's DaemonSet takes part every minute.
const USUAL: Duration = Duration::from_secs(10 * 60);

/// How many nodes are named; the others are counted.
const SHOWN: usize = 10;

/// Judges the progress of a recovery. `missing` are the nodes that are not done, or why they are unknown. `own` is this
/// node, if this machine is one.
pub(super) fn progress(
    store: &StoreConfig,
    progress: &Progress,
    missing: &Result<Vec<Name>, String>,
    own: Option<&Name>,
    now: Timestamp,
    next: &Commands,
) -> Outcome {
    let subject = Subject::new(store.to_string());
    let Some((_, recovery)) = &progress.current else {
        return match &progress.last {
            Some(last) => subject.ok(format!("none is in progress; the last one ended at {:.0}", last.ended)),
            None => subject.ok("none is in progress"),
        };
    };
    let running = between(recovery.since, now);
    let whose = recovery.node.as_ref().map_or("the operator".to_owned(), |node| format!("node {node}"));
    let since = format!(
        "a recovery began {} ago ({whose}: {}), and no address is assigned meanwhile",
        span(running),
        recovery.sign
    );
    let is_own_done = own.map(|node| progress.done.contains_key(node));
    let since = match is_own_done {
        Some(true) => format!("{since}; this node is done"),
        Some(false) => format!("{since}; this node is not done"),
        None => since,
    };
    let sweep = match own {
        Some(node) if missing.as_ref().is_ok_and(|missing| missing.iter().all(|missing| missing == node)) => {
            next.sweep(&["--node"])
        }
        _ => next.on_other_node(&["sweep", "--node"]),
    };
    // Minutes are normal. After that, somebody has to look.
    let fault = if running < USUAL { Status::Warning } else { Status::Error };
    match missing {
        Ok(missing) if missing.is_empty() => subject.fault(
            fault,
            format!("{since}; all nodes are done"),
            commands("it ends with the next sweep of any node", [sweep]),
        ),
        Ok(missing) => subject.fault(
            fault,
            format!("{since}; missing: {}", nodes(missing)),
            commands(
                "run the first command on each missing node. If one never comes back, delete it from Kubernetes, or end the \
                 recovery without it: addresses of its pods may then be given to others",
                [
                    sweep,
                    next.recovery(&[]),
                    next.recovery(&["--end"]),
                ],
            ),
        ),
        Err(why) => subject.fault(
            fault,
            format!("{since}; which nodes are missing is not known: {why}"),
            match is_own_done {
                Some(false) => commands(
                    "do the part of this node, then look at the others where the API server can be reached",
                    [next.sweep(&["--node"]), next.recovery(&[])],
                ),
                _ => commands("run it where the API server can be reached", [next.recovery(&[])]),
            },
        ),
    }
}

fn nodes(missing: &[Name]) -> String {
    let named: Vec<&str> = missing.iter().take(SHOWN).map(Name::as_str).collect();
    match missing.len().saturating_sub(SHOWN) {
        0 => named.join(", "),
        more => format!("{}, and {more} more", named.join(", ")),
    }
}

/// Judges this node's records against the store.
pub(super) fn records(node: &Name, compared: &RecordComparison, next: &Commands) -> Outcome {
    let subject = Subject::new(format!("node {node}"));
    let RecordComparison { compared, sign, unreadable } = compared;
    match (sign, compared, unreadable) {
        (Some(sign), ..) => subject.error(
            format!("the store has lost writes: {sign}"),
            commands(
                "if a backup was restored, this repairs it: the node writes back what runs on it, and all others have to",
                [next.sweep(&["--node"]), next.recovery(&[])],
            ),
        ),
        (None, _, 1..) => subject.warning(
            format!("of {compared} records, the entries of {unreadable} in the store can't be read by this version"),
            Remedy::new("finish the upgrade: install the newer version on this node"),
        ),
        (None, 0, _) => subject.ok("this node has no records of this store"),
        (None, compared, _) => subject.ok(format!("the store has what {} of this node say", counted(*compared, "record", "records"))),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test's verdict is a panic")]
mod tests {
    use std::num::NonZeroU64;

    use super::*;
    use crate::ipam::recovery::{Recovery, Sign};
    use crate::store::Revision;

    fn judged(minutes: i64, missing: Result<Vec<Name>, String>) -> Outcome {
        let since: Timestamp = "2026-11-01T10:00:00Z".parse().unwrap();
        let recovery = Recovery::new("the store is at revision 5".to_owned(), Some(Name::new("a").unwrap()), since);
        let going_on = Progress { current: Some((Revision(NonZeroU64::MIN), recovery)), ..Progress::default() };
        let now = since + jiff::SignedDuration::from_mins(minutes);
        progress(&StoreConfig::Embedded { data_dir: "/s".into() }, &going_on, &missing, None, now, &Commands::default())
    }

    #[test]
    fn a_recovery_is_a_warning_at_first_and_an_error_once_it_is_stuck() {
        let missing = || Ok(vec![Name::new("b").unwrap()]);
        let young = judged(2, missing());
        assert!(young.status == Status::Warning);
        assert_eq!(
            young.message,
            "SQLite in /s: a recovery began 2m ago (node a: the store is at revision 5), and no address is assigned meanwhile; missing: b"
        );
        assert!(judged(11, missing()).status == Status::Error);
        assert!(judged(2, Ok(Vec::new())).message.ends_with("all nodes are done"));
        assert!(judged(2, Err("there is no kubeconfig".to_owned())).message.ends_with("there is no kubeconfig"));
        let many: Vec<Name> = (0..12).map(|n| Name::new(format!("n{n}")).unwrap()).collect();
        assert!(judged(2, Ok(many)).message.ends_with("n9, and 2 more"));
    }

    #[test]
    fn a_node_knows_whether_it_is_done_even_if_the_others_are_not_known() {
        let node = Name::new("a").unwrap();
        let since: Timestamp = "2026-11-01T10:00:00Z".parse().unwrap();
        let recovery = Recovery::new("it was restored".to_owned(), None, since);
        let current = Some((Revision(NonZeroU64::MIN), recovery));
        let next = Commands { store: vec!["--store".to_owned(), "/s".to_owned()], ..Commands::default() };
        let judged = |done: &[&Name], missing: &Result<Vec<Name>, String>| {
            let done = done.iter().map(|node| ((*node).clone(), since)).collect();
            let progress = Progress { current: current.clone(), done, ..Progress::default() };
            super::progress(
                &StoreConfig::Embedded { data_dir: "/s".into() },
                &progress,
                missing,
                Some(&node),
                since,
                &next,
            )
        };
        let unknown = Err("there is no kubeconfig".to_owned());
        let own = judged(&[], &unknown);
        assert!(own.message.contains("; this node is not done; which nodes"), "{own:?}");
        assert_eq!(own.remedy.unwrap().commands[0], "kube-ipam sweep --node --store /s");
        assert!(judged(&[&node], &unknown).message.contains("; this node is done; which nodes"));
        let first =
            |missing: &str| judged(&[], &Ok(vec![Name::new(missing).unwrap()])).remedy.unwrap().commands.remove(0);
        assert_eq!(first("a"), "kube-ipam sweep --node --store /s");
        assert_eq!(first("b"), "kube-ipam sweep --node");
    }

    #[test]
    fn records_are_compared_with_the_store() {
        let node = Name::new("a").unwrap();
        let revision = |number| Revision(NonZeroU64::new(number).unwrap());
        let judged = |compared| records(&node, &compared, &Commands::default());
        let healthy = judged(RecordComparison { compared: 3, ..RecordComparison::default() });
        assert!(healthy.status == Status::Ok && healthy.message.ends_with("what 3 records of this node say"));
        let sign = Some(Sign::Behind { at: revision(5), seen: revision(9) });
        let lost = judged(RecordComparison { compared: 3, sign, unreadable: 0 });
        assert!(lost.status == Status::Error);
        assert_eq!(
            lost.message,
            "node a: the store has lost writes: the store is at revision 5, and was at revision 9 before"
        );
        assert!(judged(RecordComparison { compared: 3, sign: None, unreadable: 1 }).status == Status::Warning);
    }
}
