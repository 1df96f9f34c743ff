//! IPAMClaims (k8s.cni.cncf.io/v1alpha1): read for a pod that names one, and told what it was given.

use kube::core::Request;
use kube::core::params::{Patch, PatchParams};
use serde_json::Value;

use super::object::{Kind, Object};
use super::{ApiServer, ClusterError};
use crate::ipam::claim::Claim;
use crate::store::Deadline;

/// Who owns the fields that are written (`metadata.managedFields`).
const MANAGER: &str = "kube-ipam";

impl ApiServer {
    /// A claim, as it stands now.
    pub fn claim(&self, namespace: &str, name: &str) -> Result<Claim, ClusterError> {
        let object = Object::new(Kind::IpamClaim, namespace, name)?;
        self.whole(&object)?.claim(&object)
    }

    /// Merges this into a claim's status (RFC 7396). One PATCH; it is not repeated.
    pub fn patch_status(&self, claim: &Claim, patch: &Value, until: Deadline) -> Result<(), ClusterError> {
        let object = Object::new(Kind::IpamClaimStatus, claim.namespace.as_str(), claim.name.as_str())?;
        let params = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
        let request = Request::new(object.path());
        let request = request.patch_subresource("status", &object.name, &params, &Patch::Merge(patch));
        let request = request.map_err(|_| ClusterError::Name { what: "name", text: object.name.clone() })?;
        self.ask(request, &object, until)?.changed(&object)
    }
}
