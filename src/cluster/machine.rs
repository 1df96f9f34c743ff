//! KubeVirt's virtual machines and migrations (kubevirt.io/v1).

use super::object::{ObjectRef, ResourceKind};
use super::{ApiServer, ClusterError};
use crate::ipam::machine::{Instance, Migration};

impl ApiServer {
    /// Reads a running machine with its active pods.
    pub fn instance(&self, namespace: &str, name: &str) -> Result<Instance, ClusterError> {
        let object = ObjectRef::new(ResourceKind::VirtualMachineInstance, namespace, name)?;
        self.get_full(&object)?.instance(&object)
    }

    /// Reads a migration of a machine.
    pub fn migration(&self, namespace: &str, name: &str) -> Result<Migration, ClusterError> {
        let object = ObjectRef::new(ResourceKind::VirtualMachineInstanceMigration, namespace, name)?;
        self.get_full(&object)?.migration(&object)
    }
}
