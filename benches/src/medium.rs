//! A place for files: a folder on a disk or in memory. In it, every contender has its own folder for each fill level.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Instant;

use kube_ipam::store::{EtcdConfig, StoreConfig};
use kube_ipam_e2e::etcd::Cluster;
use kube_ipam_e2e::{Result, fill};
use tempfile::TempDir;

use crate::contender::{Contender, Held, Programs};
use crate::race::Times;

/// The file of the embedded store.
const DATABASE: &str = "kube-ipam.sqlite3";

/// A place for files. It is emptied when dropped.
pub(crate) struct Medium {
    /// The text in tables.
    pub label: &'static str,
    folder: TempDir,
}

/// The type of a file system in memory, from `statfs`: TMPFS_MAGIC in linux/magic.h.
const TMPFS: u64 = 0x0102_1994;

impl Medium {
    pub(crate) fn memory(folder: &Path) -> Result<Self> {
        Self::new("tmpfs", folder, true)
    }

    pub(crate) fn disk(folder: &Path) -> Result<Self> {
        Self::new("disk", folder, false)
    }

    fn new(label: &'static str, parent: &Path, in_memory: bool) -> Result<Self> {
        let kind = rustix::fs::statfs(parent)?.f_type;
        if (u64::try_from(kind)? == TMPFS) != in_memory {
            return Err(format!("{} is no folder for the rows \"{label}\"", parent.display()).into());
        }
        Ok(Self { label, folder: tempfile::Builder::new().prefix("kube-ipam-bench-").tempdir_in(parent)? })
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Times appending 4 KiB to a file with a sync.
    pub(crate) fn fdatasync(&self) -> Result<Times> {
        const BLOCK: [u8; 4096] = [b' '; 4096];
        let file = File::create(self.path("fdatasync"))?;
        (0..200)
            .map(|i| {
                file.write_all_at(&BLOCK, i * BLOCK.len() as u64)?;
                let began = Instant::now();
                file.sync_data()?;
                Ok(began.elapsed())
            })
            .collect()
    }

    /// The contenders that keep addresses in files of the node. Each gets a copy of a database in `filled`.
    pub(crate) fn on_files(&self, programs: &Programs, filled: &Databases) -> Result<Vec<Contender>> {
        let mut contenders = Vec::new();
        for held in Held::ALL {
            let folder = self.path(&format!("embedded-{}", held.count()));
            let data_dir = folder.join("store");
            filled.copy(held, &data_dir)?;
            contenders.push(Contender::kube_ipam(programs, &folder, held, &StoreConfig::Embedded { data_dir }, None)?);
            let folder = self.path(&format!("floor-{}", held.count()));
            filled.copy(held, &folder)?;
            contenders.push(Contender::floor_sqlite(programs, &folder.join(DATABASE), held));
            let folder = self.path(&format!("floor-call-{}", held.count()));
            filled.copy(held, &folder)?;
            contenders.push(Contender::floor_call(programs, &folder, &folder.join(DATABASE), held)?);
            contenders.push(Contender::host_local(
                programs,
                &self.path(&format!("host-local-{}", held.count())),
                held,
            )?);
        }
        Ok(contenders)
    }

    /// An etcd of one member with its data here.
    pub(crate) fn etcd(&self) -> Result<Cluster> {
        Cluster::plain_with(1, &["--data-dir", &self.path("etcd").display().to_string()])
    }

    /// The contenders that keep addresses in this etcd. Each fill level has its own prefix.
    pub(crate) fn on_etcd(&self, programs: &Programs, etcd: &Cluster) -> Result<Vec<Contender>> {
        let mut contenders = Vec::new();
        for held in Held::ALL {
            let prefix = format!("/kube-ipam/{}/", held.count());
            let store = StoreConfig::Etcd(EtcdConfig { prefix, ..etcd.config() });
            fill::store(&store, fill::addresses(held.count()))?;
            let folder = self.path(&format!("etcd-{}", held.count()));
            contenders.push(Contender::kube_ipam(programs, &folder, held, &store, None)?);
            contenders.push(Contender::floor_etcd(programs, &etcd.urls()[0], held));
        }
        Ok(contenders)
    }
}

/// A database for each fill level, created once in memory.
pub(crate) struct Databases<'a>(&'a Medium);

impl<'a> Databases<'a> {
    pub(crate) fn make(medium: &'a Medium) -> Result<Self> {
        let databases = Self(medium);
        for held in Held::ALL {
            fill::store(&StoreConfig::Embedded { data_dir: databases.folder(held) }, fill::addresses(held.count()))?;
        }
        Ok(databases)
    }

    fn folder(&self, held: Held) -> PathBuf {
        self.0.path(&format!("filled-{}", held.count()))
    }

    /// A copy in another folder.
    pub(crate) fn copy(&self, held: Held, to: &Path) -> Result<()> {
        fs::create_dir_all(to)?;
        fs::copy(self.folder(held).join(DATABASE), to.join(DATABASE))?;
        // Otherwise, the first contender would wait until all copies are synced.
        File::open(to.join(DATABASE))?.sync_all()?;
        Ok(())
    }
}
