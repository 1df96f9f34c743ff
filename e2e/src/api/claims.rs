//! The IPAMClaims of the API server. They can be read, and their status patched as on a real server.

use std::collections::BTreeMap;
use std::io;
use std::sync::mpsc::{self, Receiver, Sender};

use serde_json::{Map, Value, json};

use super::{Api, NAMESPACE, Scenario};

/// The path of claims.
const PATH: &str = "/apis/k8s.cni.cncf.io/v1alpha1/namespaces/db/ipamclaims/";

/// The claims, and what was written to them.
#[derive(Default)]
pub(super) struct Claims {
    objects: BTreeMap<String, Value>,
    /// The response to a patch, unless it is merged.
    on_patch: Option<Scenario>,
    patches: Vec<Value>,
    /// Is notified of each patch.
    listener: Option<Sender<()>>,
    /// Whether the claim changes right before its next patch.
    changing: bool,
    version: u64,
}

/// A claim of this network and interface, without a status.
pub fn claim(name: &str, uid: &str, network: &str, interface: &str) -> Value {
    json!({
        "apiVersion": "k8s.cni.cncf.io/v1alpha1", "kind": "IPAMClaim",
        "metadata": { "namespace": NAMESPACE, "name": name, "uid": uid, "generation": 1 },
        "spec": { "network": network, "interface": interface },
    })
}

impl Api {
    /// Creates or replaces a claim.
    pub fn has_claim(&self, claim: &Value) {
        self.pods().claims.put(claim.clone());
    }

    /// Deletes the claim with this name.
    pub fn lost_claim(&self, name: &str) {
        self.pods().claims.objects.remove(name);
    }

    /// The status of a claim.
    pub fn claim_status(&self, name: &str) -> Value {
        self.pods().claims.objects.get(name).map(|claim| claim["status"].clone()).unwrap_or_default()
    }

    /// Replaces the status of a claim, as a person would.
    pub fn set_claim_status(&self, name: &str, status: &Value) {
        let claims = &mut self.pods().claims;
        let claim = claims.objects.get(name).cloned();
        if let Some(mut claim) = claim {
            claim["status"] = status.clone();
            claims.put(claim);
        }
    }

    /// Responds to patches with this status and body.
    pub fn refuses_patches(&self, status: u16, body: &Value) {
        self.pods().claims.on_patch = Some(Scenario::Answers(status, body.clone()));
    }

    /// Closes the connection of patches.
    pub fn hangs_up_on_patches(&self) {
        self.pods().claims.on_patch = Some(Scenario::HangsUp);
    }

    /// Never responds to patches. The returned channel is notified of each.
    pub fn holds_patches(&self) -> Receiver<()> {
        let (sender, receiver) = mpsc::channel();
        let claims = &mut self.pods().claims;
        (claims.on_patch, claims.listener) = (Some(Scenario::Silent), Some(sender));
        receiver
    }

    /// Changes a claim between the next read of it and the patch that follows.
    pub fn changes_claims_once(&self) {
        self.pods().claims.changing = true;
    }

    /// Merges patches again.
    pub fn takes_patches(&self) {
        self.pods().claims.on_patch = None;
    }

    /// The patches since the last call, merged or not.
    pub fn patches(&self) -> Vec<Value> {
        std::mem::take(&mut self.pods().claims.patches)
    }
}

/// The claim of a request path, with `/status` if the path has it.
pub(super) fn asked(path: &str) -> Option<&str> {
    path.strip_prefix(PATH)?.split('?').next()
}

impl Claims {
    fn put(&mut self, mut claim: Value) {
        self.version += 1;
        claim["metadata"]["resourceVersion"] = json!(self.version.to_string());
        let name = claim["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        self.objects.insert(name, claim);
    }

    pub(super) fn answer(&mut self, asked: &str, request: &str, sent: &[u8]) -> io::Result<Scenario> {
        let name = asked.trim_end_matches("/status");
        if request.starts_with("PATCH ") {
            let patch: Value = serde_json::from_slice(sent)?;
            self.patches.push(patch.clone());
            // The receiver may be gone.
            let _ = self.listener.as_ref().map(|listener| listener.send(()));
            if std::mem::take(&mut self.changing)
                && let Some(claim) = self.objects.get(name).cloned()
            {
                self.put(claim);
            }
            let scenario = if asked == name { Scenario::Answers(405, Value::Null) } else { self.patched(name, &patch) };
            return Ok(self.on_patch.clone().unwrap_or(scenario));
        }
        Ok(self.objects.get(name).map_or_else(|| absent(name), |claim| Scenario::Answers(200, claim.clone())))
    }

    /// A real server's response to a merge patch of the status: it changes nothing else, and only the version of the
    /// claim that the patch names.
    fn patched(&mut self, name: &str, patch: &Value) -> Scenario {
        let Some(mut claim) = self.objects.get(name).cloned() else { return absent(name) };
        let version = &patch["metadata"]["resourceVersion"];
        if !version.is_null() && *version != claim["metadata"]["resourceVersion"] {
            return Scenario::Answers(409, failure(name, "Conflict", "the object has been modified"));
        }
        if self.on_patch.is_none() {
            merge(&mut claim["status"], &patch["status"]);
            self.put(claim.clone());
        }
        Scenario::Answers(200, claim)
    }
}

fn absent(name: &str) -> Scenario {
    Scenario::Answers(404, failure(name, "NotFound", "not found"))
}

fn failure(name: &str, reason: &str, what: &str) -> Value {
    json!({
        "kind": "Status", "status": "Failure", "reason": reason,
        "message": format!("ipamclaims.k8s.cni.cncf.io {name:?}: {what}"),
        "details": { "name": name, "group": "k8s.cni.cncf.io", "kind": "ipamclaims" },
    })
}

/// RFC 7396.
fn merge(target: &mut Value, patch: &Value) {
    let Some(patch) = patch.as_object() else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    for (key, value) in patch {
        match (value, target.as_object_mut()) {
            (Value::Null, Some(target)) => drop(target.remove(key)),
            _ => merge(&mut target[key], value),
        }
    }
}
