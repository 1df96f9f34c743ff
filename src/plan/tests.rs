//! Tests that a plan finds each mistake at its position, and none in correct manifests.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test's verdict is a panic")]

mod claims;
mod clean;
mod found;
mod given;
mod machines;
mod misplaced;
mod nodes;
mod other_plugins;
mod sticky;

use super::{Options, Report, Source, plan};

/// The definition of a network, with its configuration indented below `config: |`.
const NETWORK: &str = r#"apiVersion: k8s.cni.cncf.io/v1
kind: NetworkAttachmentDefinition
metadata: {name: db-net, namespace: app}
spec:
  config: |
    {
      "name": "db-net",
      "type": "macvlan",
      "ipam": {
        "type": "kube-ipam",
        "subnet": "10.1.0.0/24",
        "fixedStart": "10.1.0.10",
        "fixedEnd": "10.1.0.19",
        "rangeStart": "10.1.0.100",
        "rangeEnd": "10.1.0.103"
      }
    }
---
"#;

/// The network with a pool of three addresses.
fn with_pool() -> String {
    NETWORK.replace("\"subnet\"", "\"pools\": {\"db\": {\"addresses\": [\"10.1.0.30-10.1.0.32\"]}}, \"subnet\"")
}

fn planned(text: &str) -> (Vec<Source>, Report) {
    let mut sources = vec![Source { name: "all.yaml".to_owned(), text: text.to_owned() }];
    let report = plan(&mut sources, &Options { namespace: "app".to_owned(), defaults: None });
    (sources, report)
}

/// A pod that selects db-net, with these further annotations.
fn pod(name: &str, annotations: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata:\n  name: {name}\n  annotations:\n    k8s.v1.cni.cncf.io/networks: db-net\n    \
         {annotations}\n---\n"
    )
}

/// A Deployment of pods that select db-net.
fn deployment(spec: &str, annotations: &str) -> String {
    workload("apps/v1", "Deployment", spec, annotations)
}

fn workload(version: &str, kind: &str, spec: &str, annotations: &str) -> String {
    format!(
        "apiVersion: {version}\nkind: {kind}\nmetadata: {{name: web}}\nspec:\n  {spec}\n  template:\n    metadata:\n      \
         annotations:\n        k8s.v1.cni.cncf.io/networks: db-net\n        {annotations}\n---\n"
    )
}
