//! `controller`: whether a controller leads, by its Lease.

use std::time::Duration;

use jiff::Timestamp;

use super::api_server::version;
use super::forbidden::unread;
use crate::cluster::{LeaderElectionRecord, LeaderLease};
use crate::explain::Commands;
use crate::ops::operator::doctor::subject::{Subject, commands};
use crate::ops::operator::doctor::units::{between, span};
use crate::ops::operator::doctor::{Context, Outcome};

/// The Lease of examples/install/controller.
pub(super) const NAMESPACE: &str = "kube-ipam";
pub(super) const NAME: &str = "kube-ipam-controller";

pub(in crate::ops::operator::doctor) fn check(context: &mut Context<'_>, report: &mut dyn FnMut(Outcome)) {
    let subject = Subject::whole("controller");
    let server = version(context).and_then(|version| version.as_ref().as_ref().ok().and_then(|found| found.clock));
    let next = &context.options.commands;
    let Ok(Some(api)) = context.api() else { return };
    let record = LeaderLease::new(NAMESPACE, NAME).and_then(|lease| api.leader_record(&lease));
    report(match record {
        // The leader's clock is nearer to the API server's than to the one of a laptop.
        Ok(found) => {
            let now = server.unwrap_or_else(Timestamp::now);
            judge(&subject, found.as_ref().map(|found| &found.record), now, next)
        }
        Err(error) => unread(&subject, &error, next),
    });
}

fn judge(subject: &Subject, record: Option<&LeaderElectionRecord>, now: Timestamp, next: &Commands) -> Outcome {
    let look = || {
        let label = "app.kubernetes.io/name=kube-ipam-controller";
        let pods = next.kubectl(&["-n", NAMESPACE, "get", "pods", "-l", label, "-o", "wide"]);
        let lease = next.kubectl(&["-n", NAMESPACE, "get", "lease", NAME, "-o", "yaml"]);
        commands("look at its pods; until one leads, only sweeps by hand free what leaks", [pods, lease])
    };
    let Some(record) = record else {
        return subject.skipped_until(
            "no controller has a Lease in namespace kube-ipam, so none has ever run there; addresses that leak stay until a sweep",
            commands("install it, or run a sweep now and then", [next.sweep(&["--dry-run"])]),
        );
    };
    let LeaderElectionRecord { holder_identity, lease_duration_seconds, renew_time, .. } = record;
    if holder_identity.is_empty() {
        return subject.warning("no controller leads", look());
    }
    let Some(renewed) = renew_time else {
        return subject.warning(format!("{holder_identity} leads, and has never renewed its Lease"), look());
    };
    let silent = between(*renewed, now);
    // One duration is enough for another replica to take over. The second allows for clocks that differ.
    match silent > Duration::from_secs(lease_duration_seconds.saturating_mul(2)) {
        true => subject
            .warning(format!("{holder_identity} led, and has not renewed its Lease for {}", span(silent)), look()),
        false => subject.ok(format!("{holder_identity} leads, and renewed its Lease {} ago", span(silent))),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test's verdict is a panic")]
mod tests {
    use super::*;
    use crate::ops::operator::doctor::Status;

    fn judged(holder: &str, renewed: Option<&str>) -> (Status, String) {
        let record = LeaderElectionRecord {
            holder_identity: holder.to_owned(),
            lease_duration_seconds: 15,
            renew_time: renewed.map(|time| time.parse().unwrap()),
            ..LeaderElectionRecord::default()
        };
        let outcome = judge(
            &Subject::whole("controller"),
            Some(&record),
            "2026-11-01T10:00:30Z".parse().unwrap(),
            &Commands::default(),
        );
        (outcome.status, outcome.message)
    }

    #[test]
    fn a_leader_is_to_renew_its_lease() {
        assert_eq!(
            judged("a_1", Some("2026-11-01T10:00:25Z")),
            (Status::Ok, "a_1 leads, and renewed its Lease 5s ago".to_owned())
        );
        assert_eq!(judged("a_1", Some("2026-11-01T10:00:00Z")).0, Status::Ok);
        assert_eq!(
            judged("a_1", Some("2026-11-01T09:50:00Z")),
            (Status::Warning, "a_1 led, and has not renewed its Lease for 10m 30s".to_owned())
        );
        assert_eq!(judged("", None).1, "no controller leads");
        assert_eq!(judged("a_1", None).0, Status::Warning);
        assert_eq!(
            judge(&Subject::whole("controller"), None, Timestamp::UNIX_EPOCH, &Commands::default()).status,
            Status::Skipped
        );
    }
}
