//! Restores kube-ipam's etcd from a backup, with the commands in docs/operations.md.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::json;

use super::control_plane::IPAM_ETCD;
use super::{Cluster, eventually};
use crate::{Result, binary};

/// The page with the commands.
const PAGE: &str = include_str!("../../../docs/operations.md");

/// Where the page opens the restored etcd only to its operator.
const APART: &str = "http://127.0.0.1:12379";

/// Commands of the page, one per line, with paths in this cluster's folder.
struct Commands {
    save: String,
    restore: String,
    open_apart: String,
    begin: String,
}

/// A backup of kube-ipam's etcd.
pub struct Backup {
    folder: PathBuf,
    commands: Commands,
}

impl Cluster {
    /// Backs up kube-ipam's etcd.
    pub fn back_up_store(&self) -> Result<Backup> {
        let folder = self.folder.join("backup");
        let backup = Backup { commands: Commands::in_folder(&folder.display().to_string())?, folder };
        let folder = backup.folder.display();
        self.testbed.machine.script(&format!("rm -rf {folder}; mkdir {folder}"))?;
        self.by_operator(IPAM_ETCD, &backup.commands.save)?;
        Ok(backup)
    }

    /// Replaces kube-ipam's etcd by a backup, and opens it to the nodes, which are not notified.
    pub fn restore_store(&mut self, backup: &Backup) -> Result<()> {
        self.stop_store()?;
        self.by_operator(IPAM_ETCD, &backup.commands.restore)?;
        self.open_restored(backup)
    }

    /// The same as the page documents it: a recovery begins before the nodes reach the store. Before that, this many
    /// writes raise its revision, as `--bump-revision` does in newer versions of etcd.
    pub fn restore_store_as_documented(&mut self, backup: &Backup, raised_by: u32) -> Result<()> {
        self.stop_store()?;
        self.by_operator(IPAM_ETCD, &backup.commands.restore)?;
        let config = json!({
            "cniVersion": "1.0.0", "name": "restored", "type": "macvlan",
            "ipam": {
                "type": "kube-ipam", "log": backup.folder.join("kube-ipam.log"), "etcdConfig": { "etcdURL": APART },
            },
        });
        std::fs::write(self.testbed.machine.path(backup.folder.join("restored.json")), config.to_string())?;
        let words: Vec<String> = backup.commands.open_apart.split_whitespace().map(str::to_owned).collect();
        let log = backup.folder.join("etcd.log");
        let mut etcd = self.testbed.machine.daemon(&log, "/usr/bin/env".as_ref(), &words)?;
        let answers = || Ok(self.by_operator(APART, "etcdctl endpoint health").ok());
        eventually("the restored etcd answers", Duration::from_secs(60), Duration::from_millis(100), answers)?;
        let put = "etcdctl put /somebody-else raised >/dev/null";
        self.by_operator(APART, &format!("for _ in $(seq {raised_by}); do {put}; done"))?;
        self.by_operator(APART, &backup.commands.begin)?;
        etcd.stop(&self.testbed.machine, "TERM")?;
        self.open_restored(backup)
    }

    /// Opens the restored etcd under its original URL.
    fn open_restored(&mut self, backup: &Backup) -> Result<()> {
        let (lost, restored) = (self.folder.join("control-plane/ipam-etcd"), backup.folder.join("etcd-restored"));
        self.testbed.machine.script(&format!(
            "rm -rf {lost}; mv {restored} {lost}",
            lost = lost.display(),
            restored = restored.display()
        ))?;
        self.start_store()
    }

    /// Runs a command on the control plane, with access to etcd and kube-ipam.
    fn by_operator(&self, etcd: &str, line: &str) -> Result<String> {
        let programs = binary::kube_ipam().parent().ok_or("kube-ipam is in no folder")?.display();
        self.testbed
            .machine
            .script(&format!("export ETCDCTL_API=3 ETCDCTL_ENDPOINTS={etcd} PATH={programs}:$PATH\n{line}"))
    }
}

impl Commands {
    /// The commands of the page's block, with paths in this folder.
    fn in_folder(folder: &str) -> Result<Self> {
        let lines = PAGE.lines().skip_while(|line| !line.starts_with("etcdctl snapshot save"));
        let mut lines = lines.take_while(|line| *line != "```").map(|line| {
            line.replace("/root/", &format!("{folder}/"))
                .replace("/var/lib/etcd-restored", &format!("{folder}/etcd-restored"))
        });
        let mut next = |start: &str| {
            let line = lines.next().filter(|line| line.starts_with(start));
            line.ok_or_else(|| format!("docs/operations.md has no line {start:?} where it restores etcd"))
        };
        Ok(Self {
            save: next("etcdctl snapshot save ")?,
            restore: next("etcdctl snapshot restore ")?,
            open_apart: next("etcd ")?,
            begin: next("kube-ipam recovery --begin ")?,
        })
    }
}
