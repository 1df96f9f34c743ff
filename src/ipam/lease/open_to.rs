//! Who can get an address that has a lease, besides its holders and its owner.

use jiff::Timestamp;

use super::{Lease, LeaseState, Stored};

/// The requests by which others can get an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum OpenTo {
    /// None.
    Nobody,
    /// One that names the address, or a pool that has it.
    Requests,
    /// Any.
    All,
}

impl OpenTo {
    /// What the lease of an address says. The rules of its network are a different question.
    ///
    /// A cooldown binds random choice only. What is drawn last, when nothing else is free, counts as open to requests.
    pub fn new(lease: &Stored<Lease>, now: Timestamp) -> Self {
        let Stored::Known(lease) = lease else { return Self::Nobody };
        match lease.state() {
            LeaseState::Held => Self::Nobody,
            LeaseState::Resting if lease.has_rested(now) && lease.rest.as_ref().is_some_and(|rest| !rest.last) => {
                Self::All
            }
            LeaseState::Resting => Self::Requests,
            LeaseState::Reserved if lease.is_over(now) => Self::All,
            LeaseState::Foreign if !lease.is_foreign_now(now) => Self::All,
            LeaseState::Reserved | LeaseState::Foreign => Self::Nobody,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test's verdict is a panic")]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const NOW: &str = "2026-11-01T12:00:00Z";

    #[test]
    fn a_lease_says_who_else_can_get_its_address() {
        let released = |time: &str, seconds: u64| json!({ "released": time, "seconds": seconds });
        let foreign =
            |answered: &str| json!({ "mac": "02:42:ac:11:00:07", "network": "db", "node": "n", "answered": answered });
        let reserved = |unused: &str, keep: Value| json!({ "unused": unused, "onRelease": { "keep": keep } });
        for (fields, expected) in [
            (json!({}), OpenTo::Nobody),
            (json!({ "v": 99 }), OpenTo::Nobody),
            (json!({ "rest": released("2026-11-01T11:59:50Z", 30) }), OpenTo::Requests),
            (json!({ "rest": released("2026-11-01T11:59:00Z", 30) }), OpenTo::All),
            // It ages from now, as long as nobody has noted when it was first seen.
            (json!({ "rest": released("2026-12-01T00:00:00Z", 30) }), OpenTo::Requests),
            (json!({ "rest": { "released": "2026-10-01T00:00:00Z", "seconds": 0, "last": true } }), OpenTo::Requests),
            (reserved("2026-11-01T11:00:00Z", Value::Null), OpenTo::Nobody),
            (reserved("2026-11-01T11:00:00Z", json!(7200)), OpenTo::Nobody),
            (reserved("2026-11-01T11:00:00Z", json!(60)), OpenTo::All),
            (json!({ "foreign": foreign("2026-11-01T11:30:00Z") }), OpenTo::Nobody),
            (json!({ "foreign": foreign("2026-11-01T10:30:00Z") }), OpenTo::All),
        ] {
            let mut lease = json!({ "v": 1, "kind": "dynamic", "holders": [], "since": "2026-11-01T10:00:00Z", "onRelease": "forget" });
            lease.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
            let stored = Stored::read(lease.to_string().as_bytes());
            assert_eq!(OpenTo::new(&stored, NOW.parse().unwrap()), expected, "{lease}");
        }
    }
}
