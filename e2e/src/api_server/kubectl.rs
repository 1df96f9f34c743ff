//! kubectl, as the owner of a tenant's namespace.

use std::process::Command;

use super::Tenant;
use crate::Result;
use crate::kubernetes::tools;

impl Tenant<'_> {
    /// What kubectl prints with these arguments, in this namespace.
    ///
    /// # Errors
    /// If it is not installed, or fails.
    pub fn kubectl(&self, args: &[&str]) -> Result<String> {
        let program = tools::built("kubectl")?;
        let kubeconfig = &self.owner().kubeconfig;
        // It caches what resources there are below HOME, by address. Another test's server may have had this one.
        let home = kubeconfig.parent().ok_or("a kubeconfig without a folder")?;
        let mut command = Command::new(program);
        command.env_clear().env("HOME", home).arg("--kubeconfig").arg(kubeconfig);
        let output = command.args(["--namespace", self.namespace()]).args(args).output()?;
        if !output.status.success() {
            return Err(format!("kubectl {}: {}", args.join(" "), String::from_utf8_lossy(&output.stderr)).into());
        }
        Ok(String::from_utf8(output.stdout)?)
    }
}
