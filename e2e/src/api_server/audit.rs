//! The server's audit log: which requests each user has sent.
//!
//! The server writes a line when it has received a request, before it handles it. So once a client has its answer, the
//! line is there. The metric `apiserver_request_total` counts later, and does not tell users apart.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use super::{ApiServer, setup};
use crate::Result;

const LOG: &str = "audit.log";
const POLICY: &str = "audit-policy.json";

/// A request as the server understood it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The verb of its permission, such as `list`.
    pub verb: String,
    /// The resource with its subresource, such as `pods` or `pods/status`; the path of a request that has none.
    pub resource: String,
    /// The namespace; empty for all namespaces, and for objects that have none.
    pub namespace: String,
    /// The object's name; empty for requests for several objects.
    pub name: String,
}

/// How many requests there are per verb and resource, such as `get pods`.
pub fn counts(requests: &[Request]) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for request in requests {
        *counts.entry(format!("{} {}", request.verb, request.resource)).or_default() += 1;
    }
    counts
}

/// Writes the policy that the flags name.
pub(super) fn write_policy(folder: &Path) -> Result<()> {
    let policy = json!({
        "apiVersion": "audit.k8s.io/v1", "kind": "Policy",
        "omitStages": ["ResponseStarted", "ResponseComplete"],
        "rules": [
            { "level": "None", "users": ["system:apiserver", "admin"] },
            { "level": "Metadata" },
        ],
    });
    Ok(fs::write(folder.join(POLICY), policy.to_string())?)
}

pub(super) fn flags(folder: &Path) -> Vec<String> {
    let file = |name: &str| folder.join(name).display().to_string();
    setup::flags(&[("audit-log-path", &file(LOG)), ("audit-policy-file", &file(POLICY))])
}

impl ApiServer {
    /// What this user has requested so far, also before a restart, oldest first.
    pub(super) fn requests_of(&self, user: &str) -> Result<Vec<Request>> {
        let log = fs::read_to_string(self.folder().join(LOG))?;
        let mut found = Vec::new();
        // The server may be writing the last line.
        for line in log.split_inclusive('\n').filter(|line| line.ends_with('\n')) {
            let event: Value = serde_json::from_str(line)?;
            if event["user"]["username"] == user && event["stage"] == "RequestReceived" {
                found.push(request(&event));
            }
        }
        Ok(found)
    }
}

fn request(event: &Value) -> Request {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let object = &event["objectRef"];
    let resource = match (text(&object["resource"]), text(&object["subresource"])) {
        (resource, _) if resource.is_empty() => text(&event["requestURI"]),
        (resource, subresource) if subresource.is_empty() => resource,
        (resource, subresource) => format!("{resource}/{subresource}"),
    };
    Request { verb: text(&event["verb"]), resource, namespace: text(&object["namespace"]), name: text(&object["name"]) }
}
