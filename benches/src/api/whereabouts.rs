//! The resources of whereabouts in an API server, with a filled pool.

use std::net::Ipv4Addr;

use kube_ipam_e2e::api_server::Tenant;
use kube_ipam_e2e::{Result, fill};
use serde_json::{Map, Value, json};

use crate::contender::Held;

const GROUP: &str = "whereabouts.cni.cncf.io";
const VERSION: &str = "v1alpha1";

/// Its namespace, if its kubeconfig names none.
const NAMESPACE: &str = "kube-system";

/// Its resources: the plural and the kind.
const RESOURCES: [(&str, &str); 2] =
    [("ippools", "IPPool"), ("overlappingrangeipreservations", "OverlappingRangeIPReservation")];

/// Defines its resources, and creates the pool of [`fill::SUBNET`]. Omits the reservations of the held addresses, which
/// are objects of their own and which no ADD or DEL of another address reads.
pub(super) fn install(tenant: &Tenant<'_>, held: Held) -> Result<()> {
    for (plural, kind) in RESOURCES {
        tenant.apply(&definition(plural, kind))?;
    }
    let (first, _) = fill::SUBNET.split_once('/').ok_or("the subnet has no prefix length")?;
    let first = first.parse::<Ipv4Addr>()?.to_bits();
    let allocations: Map<String, Value> = fill::addresses(held.count())
        .map(|ip| {
            let allocation =
                json!({ "id": format!("{:064x}", ip.to_bits()), "podref": format!("db/db-{ip}"), "ifname": "eth0" });
            ((ip.to_bits() - first).to_string(), allocation)
        })
        .collect();
    let pool = json!({
        "apiVersion": format!("{GROUP}/{VERSION}"), "kind": "IPPool",
        "metadata": { "name": fill::SUBNET.replace('/', "-") },
        "spec": { "range": fill::SUBNET, "allocations": allocations },
    });
    let path = format!("/apis/{GROUP}/{VERSION}/namespaces/{NAMESPACE}/ippools");
    tenant.server().admin().create(&path, &pool).map(drop)
}

fn definition(plural: &str, kind: &str) -> Value {
    let unknown = json!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true });
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": { "name": format!("{plural}.{GROUP}") },
        "spec": {
            "group": GROUP, "scope": "Namespaced",
            "names": { "plural": plural, "singular": kind.to_lowercase(), "kind": kind, "listKind": format!("{kind}List") },
            "versions": [
                { "name": VERSION, "served": true, "storage": true, "schema": { "openAPIV3Schema": unknown } },
            ],
        },
    })
}
