//! Shows how full each network is in the status of its definitions' objects. Only the controller does, after a scan of the
//! whole store.
//!
//! ```text
//! store in the Kubernetes API ─► the objects of its definitions ─┐
//! any other store ─► mirrors of its definitions, on request ─────┴─► each status that changed or is old ─► PATCH
//! ```
//!
//! The status is read before it is written. So nothing is written twice, whichever replica wrote it, and an object that
//! was deleted and made again gets its status.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::STORE_TIMEOUT;
use crate::cause::Cause;
use crate::cluster::ApiServer;
use crate::deadline::Deadline;
use crate::error::Error;
use crate::ipam::keys;
use crate::ipam::usage::{DefinitionUsage, Usage};
use crate::ops::Session;
use crate::store::{Key, KubernetesMirror, Mirrored, ObjectStatus, StoreError, Summary};

/// A status that did not change is written again after this time. An older one shows that no controller writes any.
const REFRESH: SignedDuration = SignedDuration::from_hours(1);

/// Writes each status in a store that has objects, until `may_continue` says no. Returns how many were written. The first
/// failure ends it: what fails for one object usually fails for all.
pub(super) fn write(
    session: &Session,
    usage: &Usage,
    now: Timestamp,
    may_continue: &dyn Fn() -> bool,
) -> Result<usize, Error> {
    let objects = session.statuses(&keys::all_definitions(), Deadline::after(STORE_TIMEOUT))?;
    write_due(&objects, usage, now, may_continue, |of, status| {
        session.set_status(of, status, Deadline::after(STORE_TIMEOUT))
    })
}

/// Shows the definitions of any other store in mirrors in this namespace, and writes the status of each, as [`write`]
/// does. The mirrors' server is that of the pods.
pub(super) fn write_mirrors(
    (api, namespace): (&ApiServer, &str),
    definitions: &BTreeMap<Key, Summary>,
    usage: &Usage,
    now: Timestamp,
    may_continue: &dyn Fn() -> bool,
) -> Result<usize, Error> {
    let failed = |error| Error::Store { what: format!("the IPNetwork objects in namespace {namespace}"), error };
    let (endpoint, runtime) = api.connections()?;
    let mirrors = KubernetesMirror::new(endpoint, runtime, namespace);
    let synced = mirrors.sync(&keys::all_definitions(), definitions, STORE_TIMEOUT, may_continue);
    let Mirrored { statuses, taken } = synced.map_err(failed)?;
    let written = write_due(&statuses, usage, now, may_continue, |of, status| {
        mirrors.set_status(of, status, Deadline::after(STORE_TIMEOUT)).map_err(failed)
    })?;
    match taken.first() {
        None => Ok(written),
        Some(first) => Err(failed(StoreError::Denied(Cause::new(format!(
            "{} of {} networks are not shown, because objects of a store in the Kubernetes API have their names, {} among \
             them; let --network-objects name another namespace, or delete these objects if no kube-ipam uses that store",
            taken.len(),
            definitions.len(),
            first.name,
        ))))),
    }
}

/// Writes each status that has changed or is old.
fn write_due(
    objects: &[ObjectStatus],
    usage: &Usage,
    now: Timestamp,
    may_continue: &dyn Fn() -> bool,
    set_status: impl Fn(&ObjectStatus, &Value) -> Result<bool, Error>,
) -> Result<usize, Error> {
    let usages: BTreeMap<&Key, DefinitionUsage> = usage.of_definitions().collect();
    let mut written = 0;
    for shown in objects {
        let Some(usage) = usages.get(&shown.key) else { continue };
        if !is_due(&shown.status, usage, now) {
            continue;
        }
        if !may_continue() {
            break;
        }
        written += usize::from(set_status(shown, &usage.status(now))?);
    }
    Ok(written)
}

/// Whether a status has other numbers than these, or is old.
fn is_due(shown: &Value, usage: &DefinitionUsage, now: Timestamp) -> bool {
    let observed: Option<Timestamp> = shown["observed"].as_str().and_then(|time| time.parse().ok());
    match observed {
        // Its clock was ahead, or ours is.
        Some(observed) if now.duration_since(observed).abs() < REFRESH => {
            let same = usage.status(observed);
            same.as_object().is_none_or(|fields| fields.iter().any(|(name, value)| shown[name.as_str()] != *value))
        }
        _ => true,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test's verdict is a panic")]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::ipam::usage::Fill;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn a_status_is_written_if_its_numbers_changed_or_it_is_an_hour_old() {
        let usage = |held| DefinitionUsage { total: Fill { held, ..Fill::default() }, ranges: Vec::new() };
        let shown = usage(1).status(at("2026-11-01T10:00:00.9Z"));
        assert_eq!(shown["observed"], "2026-11-01T10:00:00Z");
        let due = |held, now| is_due(&shown, &usage(held), at(now));
        assert!(!due(1, "2026-11-01T10:00:00.9Z") && !due(1, "2026-11-01T10:59:59Z"));
        assert!(due(2, "2026-11-01T10:05:00Z") && due(1, "2026-11-01T11:00:00Z"));
        // The clock of the earlier leader was ahead.
        assert!(!due(1, "2026-11-01T09:30:00Z") && due(1, "2026-11-01T08:00:00Z"));
        for none in [Value::Null, json!({}), json!({ "observed": "yesterday" })] {
            assert!(is_due(&none, &usage(1), at("2026-11-01T10:00:00Z")), "{none}");
        }
        // A newer version may show more.
        let mut newer = shown.clone();
        newer["more"] = json!(1);
        assert!(!is_due(&newer, &usage(1), at("2026-11-01T10:05:00Z")));
    }
}
