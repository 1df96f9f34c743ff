//! An operator's machine beside a cluster: no node of it, but with its store and an administrator's kubeconfig.
//!
//! ```text
//!  FOLDER/kubeconfig        all rights
//!  FOLDER/bin/kubectl       in the network of the control plane, with this kubeconfig
//!  FOLDER/bin/kube-ipam     in the same network
//!  FOLDER/bin/helm          in the same network, if e2e/setup has built it
//!  FOLDER/bin/n1, n2, …     run a command on that node
//! ```

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Output;

use super::machine::plain;
use super::{Cluster, Store, control_plane};
use crate::{Result, binary, checkout, manifests};

/// The folder of commands, which precedes those of this machine.
const COMMANDS: &str = "bin";

/// The files with which an operator works on a cluster.
pub struct Workstation {
    folder: PathBuf,
    store: Store,
}

impl Workstation {
    /// Writes the files into a folder. They work as long as the cluster runs.
    pub fn new(cluster: &Cluster, folder: &Path) -> Result<Self> {
        let this = Self { folder: folder.to_owned(), store: cluster.options.store };
        let commands = this.commands();
        fs::create_dir(&commands)?;
        let testbed = &cluster.testbed.machine;
        let admin = control_plane::kubeconfig(&testbed.path(&cluster.folder), "admin").to_string();
        fs::write(this.kubeconfig(), admin)?;
        let enter = format!("exec nsenter --target={} --net --", testbed.first());
        let kubectl = cluster.tools.built("kubectl");
        let kubectl = format!("{enter} {} --kubeconfig={} \"$@\"", kubectl.display(), this.kubeconfig().display());
        write_command(&commands.join("kubectl"), &kubectl)?;
        write_command(&commands.join("kube-ipam"), &format!("{enter} {} \"$@\"", binary::kube_ipam().display()))?;
        let helm = manifests::helm();
        if helm.exists() {
            // It would keep caches in the home of whoever runs it.
            let helm = format!("{enter} env HOME={} {} \"$@\"", folder.display(), helm.display());
            write_command(&commands.join("helm"), &helm)?;
        }
        for node in cluster.nodes() {
            let first = node.machine().first();
            let enter = format!("exec nsenter --target={first} --net --mount --uts --pid -- \"$@\"");
            write_command(&commands.join(&node.name), &enter)?;
        }
        Ok(this)
    }

    /// The folder of the commands, for PATH.
    pub fn commands(&self) -> PathBuf {
        self.folder.join(COMMANDS)
    }

    /// The kubeconfig.
    pub fn kubeconfig(&self) -> PathBuf {
        self.folder.join("kubeconfig")
    }

    /// The store, for `--store`.
    pub fn store(&self) -> &'static str {
        self.store.url()
    }

    /// Runs a bash script in the checkout, with the commands on PATH, the URL of the store in STORE and the kubeconfig in
    /// KUBECONFIG.
    pub fn run(&self, script: &str) -> Result<Output> {
        let mut bash = plain("bash");
        let path =
            format!("{}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", self.commands().display());
        bash.args(["-euo", "pipefail", "-c", script]).current_dir(checkout::root());
        bash.env("PATH", path).env("STORE", self.store()).env("KUBECONFIG", self.kubeconfig());
        Ok(bash.output()?)
    }
}

fn write_command(file: &Path, line: &str) -> Result<()> {
    fs::write(file, format!("#!/bin/sh\n{line}\n"))?;
    Ok(fs::set_permissions(file, Permissions::from_mode(0o755))?)
}
