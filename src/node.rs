//! The current boot of a node: its ID, and the time since it began.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use rustix::time::{ClockId, clock_gettime};

use crate::ipam::lease::Began;

/// The file with Linux's boot ID: random(4), "/proc interfaces".
const BOOT_ID_FILE: &str = "/proc/sys/kernel/random/boot_id";

/// The variable that names another file with the boot ID, for tests and for hosts without the default one.
pub const BOOT_ID_FILE_VARIABLE: &str = "KUBE_IPAM_BOOT_ID_FILE";

/// The longest boot ID that is read, in bytes. The kernel's has 36.
const MAX_BOOT_ID: u64 = 128;

/// The file with this process's boot ID.
pub fn boot_id_file() -> PathBuf {
    std::env::var_os(BOOT_ID_FILE_VARIABLE)
        .filter(|path| !path.is_empty())
        .map_or_else(|| PathBuf::from(BOOT_ID_FILE), PathBuf::from)
}

/// The boot ID in this file. Empty if it can't be read, which means "unknown" and never "another boot".
pub fn boot_id(file: &Path) -> String {
    let mut text = String::with_capacity(64);
    let read = File::open(file).and_then(|file| file.take(MAX_BOOT_ID).read_to_string(&mut text));
    match read {
        Ok(_) => text.trim().to_owned(),
        Err(_) => String::new(),
    }
}

impl Began {
    /// The current time, as the boot in this file and the time since it began.
    pub fn now(boot_id_file: &Path) -> Self {
        let since_boot = clock_gettime(ClockId::Boottime);
        let (seconds, nanoseconds) = (since_boot.tv_sec.unsigned_abs(), since_boot.tv_nsec.unsigned_abs());
        let boottime = seconds.saturating_mul(1000).saturating_add(nanoseconds / 1_000_000);
        Self { boot: boot_id(boot_id_file), boottime }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_boot_id_is_the_trimmed_content_of_its_file() -> std::io::Result<()> {
        let folder = tempfile::Builder::new().prefix("kube-ipam-").tempdir()?;
        let file = folder.path().join("boot_id");
        std::fs::write(&file, "0bca6a5e-0e3e-4a2f-9c39-6f8f5f2f4c0e\n")?;
        assert_eq!(boot_id(&file), "0bca6a5e-0e3e-4a2f-9c39-6f8f5f2f4c0e");
        Ok(())
    }

    #[test]
    fn an_unreadable_boot_id_is_unknown() -> std::io::Result<()> {
        let folder = tempfile::Builder::new().prefix("kube-ipam-").tempdir()?;
        assert_eq!(boot_id(&folder.path().join("absent")), "");
        assert_eq!(boot_id(folder.path()), "");
        std::fs::write(folder.path().join("binary"), [0xff, 0xfe])?;
        assert_eq!(boot_id(&folder.path().join("binary")), "");
        Ok(())
    }

    #[test]
    fn time_since_boot_does_not_run_backwards() {
        let file = boot_id_file();
        let (earlier, later) = (Began::now(&file), Began::now(&file));
        assert_eq!(earlier.boot, later.boot);
        assert!(earlier.boottime > 0 && earlier.boottime <= later.boottime);
    }
}
