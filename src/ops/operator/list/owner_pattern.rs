//! An owner as a person names it: `db`, `database/db`, `statefulset/db` or `statefulset/database/db`.

use std::str::FromStr;

use crate::ipam::lease::{BeneficiaryKind, Holder, Lease, ManualReservation};
use crate::ipam::reservation::Owner;

/// The kinds that may stand before a name without a namespace, with the names that people have for them.
const KINDS: [(&str, &[&str]); 9] = [
    ("statefulset", &["sts"]),
    ("deployment", &["deploy"]),
    ("replicaset", &["rs"]),
    ("daemonset", &["ds"]),
    ("job", &[]),
    ("pod", &["po"]),
    // A machine and its running instance have one name, and are one owner.
    ("virtualmachine", &["vm", "virtualmachineinstance", "vmi"]),
    ("ipamclaim", &["claim"]),
    ("cronjob", &["cj"]),
];

/// The text names no owner.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not an owner: write NAME, NAMESPACE/NAME, KIND/NAME or KIND/NAMESPACE/NAME")]
pub struct OwnerPatternError(String);

/// An owner, or the workload of a holder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnerPattern {
    /// In lower case, in the singular.
    kind: Option<String>,
    namespace: Option<String>,
    name: String,
}

impl FromStr for OwnerPattern {
    type Err = OwnerPatternError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parts: Vec<&str> = text.split('/').collect();
        let (kind, namespace, name) = match parts.as_slice() {
            [name] => (None, None, *name),
            [kind, name] if known_kind(kind).is_some() => (known_kind(kind), None, *name),
            [namespace, name] => (None, Some(*namespace), *name),
            [kind, namespace, name] => {
                let kind = known_kind(kind).unwrap_or_else(|| kind.to_ascii_lowercase());
                (Some(kind), Some(*namespace), *name)
            }
            _ => return Err(OwnerPatternError(text.to_owned())),
        };
        if parts.iter().any(|part| part.is_empty()) {
            return Err(OwnerPatternError(text.to_owned()));
        }
        Ok(Self { kind, namespace: namespace.map(str::to_owned), name: name.to_owned() })
    }
}

/// The kind that a word stands for.
fn known_kind(word: &str) -> Option<String> {
    let word = word.to_ascii_lowercase();
    let is_it = |(kind, others): &&(&str, &[&str])| *kind == word || others.contains(&word.as_str());
    KINDS.iter().find(is_it).map(|(kind, _)| (*kind).to_owned())
}

impl OwnerPattern {
    /// Its name, which every lease that matches contains.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Whether it is the owner of a lease, or the workload of a holder.
    pub(super) fn matches(&self, lease: &Lease) -> bool {
        let mut owners = [&lease.owner, &lease.held_for].into_iter().flatten();
        owners.any(|owner| self.is_owner(owner))
            || lease.manual.as_ref().is_some_and(|manual| self.is_beneficiary(manual))
            || lease.holders.iter().any(|holder| self.is_workload(holder))
    }

    /// Whether the address is reserved for it by hand.
    fn is_beneficiary(&self, manual: &ManualReservation) -> bool {
        manual.beneficiary.as_ref().is_some_and(|object| {
            let kind = match object.kind {
                BeneficiaryKind::Pod => "pod",
                BeneficiaryKind::StatefulSet => "statefulset",
                BeneficiaryKind::IpamClaim => "ipamclaim",
            };
            object.name.as_str() == self.name && self.is_in(Some(object.namespace.as_str())) && self.is_kind(kind)
        })
    }

    fn is_owner(&self, owner: &Owner) -> bool {
        let is_named = owner.name.as_str() == self.name || owner.distinct_name().as_str() == self.name;
        is_named && self.is_in(Some(owner.namespace.as_str())) && self.is_kind(owner.kind.as_str())
    }

    fn is_workload(&self, holder: &Holder) -> bool {
        let workload = holder.workload.as_deref().and_then(|workload| workload.split_once(' '));
        workload.is_some_and(|(kind, name)| name == self.name && self.is_kind(kind))
            && self.is_in(holder.pod.namespace.as_deref())
    }

    fn is_in(&self, namespace: Option<&str>) -> bool {
        self.namespace.is_none() || self.namespace.as_deref() == namespace
    }

    fn is_kind(&self, kind: &str) -> bool {
        let known = || known_kind(kind).unwrap_or_else(|| kind.to_ascii_lowercase());
        self.kind.as_ref().is_none_or(|wanted| *wanted == known())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test's verdict is a panic")]
mod tests {
    use serde_json::json;

    use super::*;

    fn lease() -> Lease {
        let holder = json!({
            "node": "n", "containerID": "c", "ifname": "net1", "network": "db-net", "workload": "Deployment web",
            "pod": { "namespace": "shop", "name": "web-1" }, "began": { "boot": "b", "boottime": 1 },
        });
        let owner = json!({ "kind": "StatefulSet", "namespace": "database", "name": "db", "uid": "u", "pod": "db-1" });
        serde_json::from_value(json!({
            "v": 1, "kind": "sticky", "holders": [holder], "since": "2026-11-01T10:00:00Z", "onRelease": { "keep": null },
            "owner": owner,
        }))
        .unwrap()
    }

    #[test]
    fn an_owner_is_named_with_or_without_kind_and_namespace() {
        for (text, expected) in [
            ("db", true),
            ("db-1", true),
            ("database/db", true),
            ("shop/db", false),
            ("statefulset/db", true),
            ("StatefulSet/database/db-1", true),
            ("sts/db", true),
            ("claim/db", false),
            ("web", true),
            ("deploy/web", true),
            ("deployment/shop/web", true),
            ("deployment/database/web", false),
            ("rollout/shop/web", false),
            ("d", false),
        ] {
            assert_eq!(text.parse::<OwnerPattern>().unwrap().matches(&lease()), expected, "{text}");
        }
    }

    #[test]
    fn a_machine_and_its_instance_are_one_owner() {
        let mut lease = lease();
        let machine = json!({ "kind": "VirtualMachine", "namespace": "vms", "name": "vm-a", "uid": "u" });
        lease.owner = Some(serde_json::from_value(machine).unwrap());
        for text in ["vm/vm-a", "vmi/vms/vm-a", "virtualmachineinstance/vm-a"] {
            assert!(text.parse::<OwnerPattern>().unwrap().matches(&lease), "{text}");
        }
    }

    #[test]
    fn an_address_belongs_to_whom_it_is_reserved_for_by_hand() {
        let mut lease = lease();
        let object = json!({ "kind": "Pod", "namespace": "infra", "name": "ntp" });
        let manual = json!({ "reason": "the clock", "at": "2026-11-01T10:00:00Z", "for": object });
        lease.manual = Some(serde_json::from_value(manual).unwrap());
        for (text, expected) in [("ntp", true), ("pod/ntp", true), ("infra/ntp", true), ("sts/ntp", false)] {
            assert_eq!(text.parse::<OwnerPattern>().unwrap().matches(&lease), expected, "{text}");
        }
    }

    #[test]
    fn parts_are_not_empty_and_not_four() {
        for text in ["", "/", "a/", "/a", "a//b", "a/b/c/d"] {
            assert_eq!(text.parse::<OwnerPattern>(), Err(OwnerPatternError(text.to_owned())), "{text}");
        }
    }
}
