//! `leaks`: addresses of pods that are gone, by the judgement of a sweep that frees nothing.

use std::time::Duration;

use crate::cluster::ClusterError;
use crate::error::Error;
use crate::explain::Commands;
use crate::ops::operator::doctor::subject::{Subject, commands};
use crate::ops::operator::doctor::{Context, Outcome, Remedy};
use crate::ops::operator::sweep::{Scope, SweepEntry, SweepOptions, SweepOutcome, SweepReport, sweep};

/// The time between the two scans. A leak stays one; an address that changes in between is none.
const INTERVAL: Duration = Duration::from_secs(1);

/// How many leaks are named; the others are counted.
const SHOWN: usize = 20;

pub(in crate::ops::operator::doctor) fn check(context: &mut Context<'_>, report: &mut dyn FnMut(Outcome)) {
    if !matches!(context.api(), Ok(Some(_))) {
        return;
    }
    let Some(store) = context.readable_store().or_skip(report) else { return };
    let options = SweepOptions { dry_run: true, scope: Scope::Cluster, max_share: None, interval: INTERVAL };
    let subject = Subject::whole("leaks");
    let next = &context.options.commands;
    match sweep(context.node.settings, store, options) {
        Ok(found) => judge(&subject, &found, next).into_iter().for_each(report),
        Err(Error::NoCensus(error @ ClusterError::Forbidden { .. })) => {
            report(super::forbidden::unread(&subject, &error, next));
        }
        Err(error) => report(subject.skipped(format!("a sweep could not look for leaks: {}", error.message()))),
    }
}

fn judge(subject: &Subject, found: &SweepReport, next: &Commands) -> Vec<Outcome> {
    let leaked: Vec<&SweepEntry> =
        found.entries.iter().filter(|entry| entry.outcome == SweepOutcome::WouldBeFreed).collect();
    if let Some(stopped) = &found.stopped {
        let remedy = commands(
            "find out why so many pods seem to be gone, before anything is freed",
            [next.sweep(&["--dry-run"]), next.kubectl(&["get", "pods", "-A"])],
        );
        return vec![subject.error(format!("a sweep would stop: {stopped}"), remedy)];
    }
    let mut outcomes: Vec<Outcome> = leaked.iter().take(SHOWN).map(|entry| of_entry(entry, next)).collect();
    if let Some(more) = leaked.len().checked_sub(SHOWN).filter(|more| *more > 0) {
        outcomes.push(subject.warning(format!("{more} more addresses have leaked"), remedy(next)));
    }
    if outcomes.is_empty() {
        outcomes.push(subject.ok(format!("none of {} held addresses has leaked", found.tally.held)));
    }
    outcomes
}

fn of_entry(entry: &SweepEntry, next: &Commands) -> Outcome {
    let holder = entry.holder.as_ref().map_or(String::new(), |holder| format!(" ({holder})"));
    Subject::new(entry.target.to_string()).warning(format!("it has leaked: {}{holder}", entry.why), remedy(next))
}

fn remedy(next: &Commands) -> Remedy {
    commands(
        "free it, or run the controller, which frees such addresses by itself",
        [next.sweep(&["--dry-run"]), next.sweep(&[])],
    )
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test's verdict is a panic")]
mod tests {
    use super::*;
    use crate::ipam::name::Name;
    use crate::ipam::sweep::{Stopped, Tally, Target};
    use crate::ops::operator::doctor::Status;

    fn report(count: u8, outcome: SweepOutcome) -> SweepReport {
        let entry = |n: u8| SweepEntry {
            target: Target::Address { vrf: Name::new("default").unwrap(), ip: [10, 0, 0, n].into() },
            holder: None,
            since: None,
            outcome,
            why: "its pod is gone".to_owned(),
            leak: None,
        };
        let tally = Tally { held: 50, ..Tally::default() };
        SweepReport { entries: (0..count).map(entry).collect(), tally, ..SweepReport::default() }
    }

    #[test]
    fn what_a_sweep_would_free_has_leaked() {
        let subject = Subject::whole("leaks");
        let next = Commands::default();
        let none = judge(&subject, &report(3, SweepOutcome::Skipped), &next);
        assert_eq!(none.len(), 1);
        assert_eq!((none[0].status, none[0].message.as_str()), (Status::Ok, "none of 50 held addresses has leaked"));
        let some = judge(&subject, &report(2, SweepOutcome::WouldBeFreed), &next);
        let messages: Vec<&str> = some.iter().map(|outcome| outcome.message.as_str()).collect();
        assert_eq!(messages, ["10.0.0.0: it has leaked: its pod is gone", "10.0.0.1: it has leaked: its pod is gone"]);
        let many = judge(&subject, &report(25, SweepOutcome::WouldBeFreed), &next);
        assert_eq!((many.len(), many[20].message.as_str()), (21, "5 more addresses have leaked"));
    }

    #[test]
    fn a_sweep_that_would_stop_is_an_error() {
        let stopped = Some(Stopped { confirmed: 40, held: 50, share: 0.2 });
        let found = SweepReport { stopped, ..report(40, SweepOutcome::WouldBeFreed) };
        let outcomes = judge(&Subject::whole("leaks"), &found, &Commands::default());
        assert_eq!((outcomes.len(), outcomes[0].status), (1, Status::Error));
        assert!(outcomes[0].message.contains("40 of 50 held addresses"));
    }

    #[test]
    fn the_commands_use_the_store_and_the_kubeconfig_of_this_run() {
        let store = ["--store", "http://192.0.2.1:2379"].map(str::to_owned).to_vec();
        let kubeconfig = Some("/root/admin".to_owned());
        let next = Commands { store, kubeconfig, ..Commands::default() };
        let leaked = judge(&Subject::whole("leaks"), &report(1, SweepOutcome::WouldBeFreed), &next);
        assert_eq!(
            leaked[0].remedy.as_ref().unwrap().commands,
            [
                "kube-ipam sweep --dry-run --kubeconfig /root/admin --store http://192.0.2.1:2379",
                "kube-ipam sweep --kubeconfig /root/admin --store http://192.0.2.1:2379",
            ]
        );
    }
}
