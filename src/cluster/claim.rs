//! Reads an IPAMClaim (k8s.cni.cncf.io/v1alpha1) and patches its status.

use kube::core::Request;
use kube::core::params::{Patch, PatchParams};
use serde_json::Value;

use super::object::{ObjectRef, ResourceKind};
use super::{ApiServer, ClusterError};
use crate::deadline::Deadline;
use crate::ipam::claim::Claim;

/// The field manager of what is written (`metadata.managedFields`).
const FIELD_MANAGER: &str = "kube-ipam";

impl ApiServer {
    /// Reads a claim as it stands now.
    pub fn claim(&self, namespace: &str, name: &str) -> Result<Claim, ClusterError> {
        let object = ObjectRef::new(ResourceKind::IpamClaim, namespace, name)?;
        self.get_full(&object)?.claim(&object)
    }

    /// Applies a merge patch to a claim's status (RFC 7396). Sends one PATCH and does not retry.
    pub fn patch_status(&self, claim: &Claim, patch: &Value, deadline: Deadline) -> Result<(), ClusterError> {
        let object = ObjectRef::new(ResourceKind::IpamClaimStatus, claim.namespace.as_str(), claim.name.as_str())?;
        let params = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
        let request = Request::new(object.path());
        let request = request.patch_subresource("status", &object.name, &params, &Patch::Merge(patch));
        let request = request.map_err(|_| object.invalid_name())?;
        self.request(request, &object, deadline)?.patch_result(&object)
    }
}
