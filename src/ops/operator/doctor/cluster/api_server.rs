//! `api-server`: whether the API server answers with this kubeconfig.

use crate::ops::operator::doctor::{Context, Outcome, Remedy};

/// A namespace that every cluster has, and that the installer's role may read.
const NAMESPACE: &str = "kube-system";

pub(in crate::ops::operator::doctor) fn check(context: &mut Context<'_>, report: &mut dyn FnMut(Outcome)) {
    let answer = match context.api() {
        Ok(None) => return report(Outcome::skipped("API server", "there is no kubeconfig, so no API server is asked")),
        Ok(Some(api)) => api.namespace_uid(NAMESPACE).map_err(Into::into),
        Err(error) => Err(error),
    };
    report(match answer {
        Ok(uid) => Outcome::ok("API server", format!("the API server answers, and its cluster is {uid}")),
        Err(error) => Outcome::error("API server", error.message().to_string(), Remedy::new(next(&error.details()))),
    });
}

/// What to do about an error whose details may be empty.
fn next(details: &str) -> String {
    match details {
        "" => "make the API server reachable from here; until then, ADDs that read pods fail with code 11".to_owned(),
        details => details.to_owned(),
    }
}
