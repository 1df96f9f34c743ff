//! Restores the etcd with kube-ipam's store from a backup, with the commands in docs/operations.md: an etcd of kube-ipam
//! alone, or that of the whole cluster.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::json;

use super::{Cluster, Store, eventually};
use crate::{Result, binary};

/// The page with the commands.
const PAGE: &str = include_str!("../../../docs/operations.md");

/// Where the page opens the restored etcd only to its operator.
const APART: &str = "http://127.0.0.1:12379";

/// The page's kubeconfig of an administrator.
const ADMIN: &str = "/etc/kubernetes/admin.conf";

/// The page's folder for backups.
const BACKUPS: &str = "/root/";

/// The page's folder of a restored etcd.
const RESTORED: &str = "/var/lib/etcd-restored";

/// A backup of the etcd with kube-ipam's store.
pub struct Backup {
    folder: PathBuf,
}

impl Backup {
    /// The first command of the page that starts so, with paths in this cluster's folder.
    fn command(&self, start: &str) -> Result<String> {
        let line = PAGE.lines().find(|line| line.starts_with(start));
        let line = line.ok_or_else(|| format!("docs/operations.md has no line {start:?} where it restores a store"))?;
        let folder = self.folder.display();
        Ok(line.replace(BACKUPS, &format!("{folder}/")).replace(RESTORED, &self.restored().display().to_string()))
    }

    fn restored(&self) -> PathBuf {
        self.folder.join("etcd-restored")
    }
}

impl Cluster {
    /// Backs up the etcd with kube-ipam's store.
    pub fn back_up_store(&self) -> Result<Backup> {
        let backup = Backup { folder: self.folder.join("backup") };
        let folder = backup.folder.display();
        self.testbed.machine.script(&format!("rm -rf {folder}; mkdir {folder}"))?;
        self.by_operator(self.options.store.etcd(), &backup.command("etcdctl snapshot save ")?)?;
        Ok(backup)
    }

    /// Replaces kube-ipam's etcd by a backup, and opens it to the nodes, which are not notified.
    pub fn restore_store(&mut self, backup: &Backup) -> Result<()> {
        self.stop_store()?;
        self.replace_store_by(backup)?;
        self.start_store()
    }

    /// The same as the page documents it: a recovery begins before the nodes reach the store. Before that, this many
    /// writes raise its revision, as `--bump-revision` does in newer versions of etcd.
    pub fn restore_store_as_documented(&mut self, backup: &Backup, raised_by: u32) -> Result<()> {
        self.stop_store()?;
        self.by_operator(APART, &backup.command("etcdctl snapshot restore ")?)?;
        let config = json!({
            "cniVersion": "1.0.0", "name": "restored", "type": "macvlan",
            "ipam": {
                "type": "kube-ipam", "log": backup.folder.join("kube-ipam.log"), "etcdConfig": { "etcdURL": APART },
            },
        });
        std::fs::write(self.testbed.machine.path(backup.folder.join("restored.json")), config.to_string())?;
        let words: Vec<String> = backup.command("etcd --data-dir ")?.split_whitespace().map(str::to_owned).collect();
        let log = backup.folder.join("etcd.log");
        let mut etcd = self.testbed.machine.daemon(&log, "/usr/bin/env".as_ref(), &words)?;
        let answers = || Ok(self.by_operator(APART, "etcdctl endpoint health").ok());
        eventually("the restored etcd answers", Duration::from_secs(60), Duration::from_millis(100), answers)?;
        let put = "etcdctl put /somebody-else raised >/dev/null";
        self.by_operator(APART, &format!("for _ in $(seq {raised_by}); do {put}; done"))?;
        self.by_operator(APART, &backup.command("kube-ipam recovery --begin --config ")?)?;
        etcd.stop(&self.testbed.machine, "TERM")?;
        self.put_in_place(backup)?;
        self.start_store()
    }

    /// Replaces the cluster's etcd by a backup, as the page documents it: the nodes can't reach the API server until a
    /// recovery has begun. The control plane is restarted with it. Whoever else watches the API server has to be
    /// restarted too, such as the kubelets: its resource versions have gone back.
    pub fn restore_cluster_as_documented(&mut self, backup: &Backup) -> Result<()> {
        self.let_nodes_in(false)?;
        self.stop_api()?;
        self.stop_store()?;
        self.replace_store_by(backup)?;
        self.start_store()?;
        self.start_api()?;
        self.control_plane.restart_controllers(&self.testbed.machine)?;
        let begin = backup.command(&format!("kube-ipam recovery --begin --store {}", Store::KubernetesApi.url()))?;
        let admin = self.control_plane.kubeconfig("admin").display().to_string();
        self.by_operator(self.options.store.etcd(), &begin.replace(ADMIN, &admin))?;
        self.let_nodes_in(true)
    }

    /// Connects the nodes to the control plane, or disconnects them.
    fn let_nodes_in(&self, connected: bool) -> Result<()> {
        self.nodes.iter().try_for_each(|node| node.set_management_link(&self.testbed.machine, connected))
    }

    fn replace_store_by(&self, backup: &Backup) -> Result<()> {
        self.by_operator(self.options.store.etcd(), &backup.command("etcdctl snapshot restore ")?)?;
        self.put_in_place(backup)
    }

    /// Moves the restored data to where the etcd expects its own.
    fn put_in_place(&self, backup: &Backup) -> Result<()> {
        let lost = self.control_plane.etcd_data(self.options.store);
        self.testbed.machine.script(&format!(
            "rm -rf {lost}; mv {restored} {lost}",
            lost = lost.display(),
            restored = backup.restored().display()
        ))?;
        Ok(())
    }

    /// Runs a command on the control plane, with access to this etcd and kube-ipam.
    fn by_operator(&self, etcd: &str, line: &str) -> Result<String> {
        let programs = binary::kube_ipam().parent().ok_or("kube-ipam is in no folder")?.display();
        self.testbed
            .machine
            .script(&format!("export ETCDCTL_API=3 ETCDCTL_ENDPOINTS={etcd} PATH={programs}:$PATH\n{line}"))
    }
}
