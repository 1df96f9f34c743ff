//! `api-server`: whether the API server answers with this kubeconfig. `api-clock`: whether its clock and this one agree.

use std::rc::Rc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::cause::chain;
use crate::cluster::ServerVersion;
use crate::explain::Tool;
use crate::ops::operator::doctor::subject::{Subject, commands};
use crate::ops::operator::doctor::units::span;
use crate::ops::operator::doctor::{Context, Outcome, Remedy, Status};

/// A namespace that every cluster has, and that the installer's role may read.
const NAMESPACE: &str = "kube-system";

/// From which difference two clocks are worth a warning, and from which stored times count as in the future
/// (`ipam::lease::is_ahead`).
const SMALL: SignedDuration = SignedDuration::from_secs(5);
const LARGE: SignedDuration = SignedDuration::from_secs(60);

pub(in crate::ops::operator::doctor) fn check(context: &mut Context<'_>, report: &mut dyn FnMut(Outcome)) {
    let is_node = context.is_node;
    let answer = match context.api() {
        Ok(None) => return report(without_kubeconfig(is_node)),
        Ok(Some(api)) => api.namespace_uid(NAMESPACE).map_err(Into::into),
        Err(error) => Err(error),
    };
    let version = version(context);
    let version = version.as_deref().and_then(|version| version.as_ref().ok());
    let version = version.map_or(String::new(), |found| format!(" ({})", found.version));
    report(match answer {
        Ok(uid) => Outcome::ok("API server", format!("the API server{version} answers, and its cluster is {uid}")),
        Err(error) => Outcome::error("API server", error.message().to_string(), Remedy::new(next(&error.details()))),
    });
}

/// On a node, the check of its kubeconfig says what to do.
fn without_kubeconfig(is_node: bool) -> Outcome {
    let outcome = Outcome::skipped("API server", "there is no kubeconfig, so no API server is asked");
    let remedy = (!is_node).then(|| Remedy::new("name one by --kubeconfig to check the cluster as well"));
    Outcome { remedy, ..outcome }
}

/// What to do about an error whose details may be empty.
fn next(details: &str) -> String {
    match details {
        "" => "make the API server reachable from here; until then, ADDs that read pods fail with code 11".to_owned(),
        details => details.to_owned(),
    }
}

/// The version and the clock, read once; `None` without an API server.
pub(in crate::ops::operator::doctor) fn version(
    context: &mut Context<'_>,
) -> Option<Rc<Result<ServerVersion, String>>> {
    if let Some(version) = &context.cached.version {
        return Some(Rc::clone(version));
    }
    let version = match context.api() {
        Ok(None) => return None,
        Ok(Some(api)) => api.version().map_err(|error| chain(&error).to_string()),
        Err(error) => Err(error.message().to_string()),
    };
    Some(Rc::clone(context.cached.version.insert(Rc::new(version))))
}

pub(in crate::ops::operator::doctor) fn clock(context: &mut Context<'_>, report: &mut dyn FnMut(Outcome)) {
    let Some(version) = version(context) else { return };
    let is_node = context.is_node;
    report(match &*version {
        Ok(ServerVersion { clock: Some(clock), received, round_trip, .. }) => {
            judge(*clock, *received, *round_trip, is_node)
        }
        Ok(_) => Subject::whole("clock").skipped("the API server does not tell its time"),
        Err(why) => Subject::whole("clock").skipped(format!("the API server could not be asked for its time: {why}")),
    });
}

/// Judges the time of the API server against the one at which its answer was received here.
fn judge(server: Timestamp, here: Timestamp, round_trip: Duration, is_node: bool) -> Outcome {
    let subject = Subject::whole("clock");
    let difference = here.duration_since(server);
    // The server sends whole seconds, and read its clock at some time of the request.
    let unsure = SignedDuration::try_from(round_trip).unwrap_or_default() + SignedDuration::from_secs(1);
    let certain = difference.abs().saturating_sub(unsure);
    if certain < SMALL {
        return subject.ok("the clocks of this machine and of the API server agree");
    }
    let direction = if difference.is_negative() { "behind" } else { "ahead of" };
    let by = span(Duration::try_from(difference.abs()).unwrap_or_default());
    // From a machine that is no node, only sweeps by hand go wrong.
    let status = if certain < LARGE || !is_node { Status::Warning } else { Status::Error };
    subject.fault(
        status,
        format!("the clock of this machine is {by} {direction} the API server's"),
        commands(
            "correct the clock that is wrong: cooldowns, sweeps and certificates depend on it",
            [Tool::Date.run(&["-u"]), Tool::Timedatectl.run(&["status"])],
        ),
    )
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test's verdict is a panic")]
mod tests {
    use super::*;

    #[test]
    fn a_difference_counts_as_far_as_it_is_certain() {
        let server: Timestamp = "2026-11-01T10:00:00Z".parse().unwrap();
        let judged = |seconds: i64, round_trip: u64| {
            let here = server + SignedDuration::from_secs(seconds);
            judge(server, here, Duration::from_secs(round_trip), true)
        };
        let cases = [
            (0, 0, Status::Ok),
            (5, 0, Status::Ok),
            (6, 0, Status::Warning),
            (6, 2, Status::Ok),
            (-7, 0, Status::Warning),
            (60, 0, Status::Warning),
            (61, 0, Status::Error),
            (-3600, 0, Status::Error),
        ];
        for (seconds, round_trip, expected) in cases {
            assert_eq!(judged(seconds, round_trip).status, expected, "{seconds} s, {round_trip} s");
        }
        let elsewhere = judge(server, server + SignedDuration::from_hours(1), Duration::ZERO, false);
        assert_eq!(elsewhere.status, Status::Warning);
        assert_eq!(judged(-3600, 0).message, "the clock of this machine is 1h behind the API server's");
        assert_eq!(judged(90, 0).message, "the clock of this machine is 1m 30s ahead of the API server's");
    }
}
