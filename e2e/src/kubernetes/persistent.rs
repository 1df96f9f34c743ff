//! A cluster that outlives the process that started it, for interactive use.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::time::Duration;

use rustix::fs::{FileType, Mode, OFlags, mknodat};

use super::{Cluster, Options, Place, Tools, Workstation, eventually};
use crate::Result;

/// Its name. There is at most one.
const NAME: &str = "kube-ipam-try";

/// A pipe in its folder. Writing a line to it ends the cluster.
const LIFELINE: &str = "lifeline";

/// How long it may take to end.
const ENDS: Duration = Duration::from_secs(60);

fn folder() -> PathBuf {
    std::env::temp_dir().join(NAME)
}

/// Starts a persistent cluster. Returns it and the workstation beside it.
///
/// # Errors
/// If there already is one, or a part doesn't start.
pub fn start_persistent(tools: &Tools, options: Options) -> Result<(Cluster, Workstation)> {
    let folder = folder();
    match fs::create_dir(&folder) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            return Err(format!("a cluster is up already ({})", folder.display()).into());
        }
        made => made?,
    }
    let lifeline = folder.join(LIFELINE);
    mknodat(rustix::fs::CWD, &lifeline, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0)?;
    // Also open it for writing. Otherwise it would end as soon as another writer closes it.
    let lifeline = File::options().read(true).write(true).open(lifeline)?;
    let place = Place { name: NAME.to_owned(), folder: folder.clone(), lifeline: lifeline.into(), persistent: true };
    let cluster = match Cluster::start_at(place, tools, options) {
        Ok(cluster) => cluster,
        Err(error) => {
            take_down()?;
            return Err(error);
        }
    };
    let workstation = Workstation::new(&cluster, &folder)?;
    Ok((cluster, workstation))
}

/// Ends the persistent cluster. Returns whether there was one.
///
/// # Errors
/// If it doesn't end.
pub fn take_down() -> Result<bool> {
    let folder = folder();
    let nonblocking = i32::try_from(OFlags::NONBLOCK.bits())?;
    match File::options().write(true).custom_flags(nonblocking).open(folder.join(LIFELINE)) {
        Ok(mut lifeline) => lifeline.write_all(b"down\n")?,
        // Nothing reads the pipe, for example after a restart of the machine.
        Err(_) if folder.exists() => fs::remove_dir_all(&folder)?,
        Err(_) => return Ok(false),
    }
    eventually("the cluster is gone", ENDS, Duration::from_millis(20), || Ok((!folder.exists()).then_some(true)))
}
