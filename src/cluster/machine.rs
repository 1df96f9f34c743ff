//! Virtual machines of KubeVirt (kubevirt.io/v1): what they say of their pods and migrations, read whole.

use super::object::{Kind, Object};
use super::{ApiServer, ClusterError};
use crate::ipam::machine::{Instance, Migration};

impl ApiServer {
    /// A running machine, with its active pods.
    pub fn instance(&self, namespace: &str, name: &str) -> Result<Instance, ClusterError> {
        let object = Object::new(Kind::VirtualMachineInstance, namespace, name)?;
        self.whole(&object)?.instance(&object)
    }

    /// A migration of one.
    pub fn migration(&self, namespace: &str, name: &str) -> Result<Migration, ClusterError> {
        let object = Object::new(Kind::VirtualMachineInstanceMigration, namespace, name)?;
        self.whole(&object)?.migration(&object)
    }
}
