//! Plans what pods would get, from files and before anything is applied. Without `live`, it uses no store and no
//! cluster; with it, it reads both and writes to neither.

mod live;
pub(super) mod manifest;
mod read;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use self::live::LiveCluster;
use self::read::read;
use crate::config::CallSettings;
use crate::error::Error;
use crate::plan::{Options, Report, Source, plan as plan_sources, plan_for};
use crate::store::StoreConfig;

/// The argument that stands for standard input.
const STDIN: &str = "-";

/// The extensions of files that are read from a folder. A file that is named is read whatever its extension.
const ENDINGS: [&str; 5] = ["yaml", "yml", "json", "conf", "conflist"];

/// The limit of all files together, in bytes: enough for about 100,000 pods.
const MAX_BYTES: u64 = 256 << 20;

/// The input of a plan.
#[derive(Clone, Debug)]
pub struct PlanOptions {
    /// Files, folders, or `-` for standard input.
    pub files: Vec<PathBuf>,
    /// The namespace of objects without one.
    pub namespace: String,
    /// The file with the node defaults.
    pub defaults: Option<PathBuf>,
    /// The cluster in use for which to plan; `None` for an empty one.
    pub live: Option<LiveOptions>,
}

/// Where a cluster in use has its addresses and pods.
#[derive(Clone, Debug)]
pub struct LiveOptions {
    /// The settings of this node.
    pub settings: CallSettings,
    /// The store.
    pub store: StoreConfig,
}

/// A plan, and the files that its positions refer to.
#[derive(Debug)]
pub struct Planned {
    /// The files.
    pub sources: Vec<Source>,
    /// The plan.
    pub report: Report,
    /// Whether no API server could say that a holder is gone, although the plan is for a cluster in use.
    pub asked_no_api_server: bool,
}

/// Why a plan failed.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// A file or folder can't be read.
    #[error("{}", .path.display())]
    Read {
        /// The file or folder.
        path: PathBuf,
        /// The error of the operating system.
        #[source]
        cause: io::Error,
    },
    /// A path has no manifests.
    #[error("{} has no manifests; files end with {}", .0.display(), ENDINGS.map(|ending| format!(".{ending}")).join(", "))]
    Empty(PathBuf),
    /// The files exceed the limit.
    #[error("the files have more than {} MiB; plan fewer at a time", MAX_BYTES >> 20)]
    TooLarge,
    /// The store or the API server of the cluster in use can't be read.
    #[error("{}", .0.full())]
    Live(#[from] Error),
}

/// Plans what the pods of these files would get.
pub fn plan(options: &PlanOptions) -> Result<Planned, PlanError> {
    let mut sources = sources(&options.files)?;
    let defaults = options.defaults.as_ref().map(|path| {
        let text = read(path, MAX_BYTES).map_err(|cause| PlanError::Read { path: path.clone(), cause })?;
        sources.push(Source { name: path.display().to_string(), text });
        Ok::<_, PlanError>(sources.len() - 1)
    });
    let plan_options = Options { namespace: options.namespace.clone(), defaults: defaults.transpose()? };
    let Some(LiveOptions { settings, store }) = &options.live else {
        let report = plan_sources(&mut sources, &plan_options);
        return Ok(Planned { sources, report, asked_no_api_server: false });
    };
    let mut cluster = LiveCluster::open(settings, store)?;
    let asked_no_api_server = !cluster.asks_api_server()?;
    let report = plan_for(&mut sources, &plan_options, &mut cluster)?;
    Ok(Planned { sources, report, asked_no_api_server })
}

fn sources(paths: &[PathBuf]) -> Result<Vec<Source>, PlanError> {
    let mut files = Vec::new();
    for path in paths {
        let before = files.len();
        find(path, &mut files).map_err(|(path, cause)| PlanError::Read { path, cause })?;
        if files.len() == before {
            return Err(PlanError::Empty(path.clone()));
        }
    }
    // A file that is given by itself and in its folder is read once.
    let mut known = BTreeSet::new();
    files.retain(|path| known.insert(path.clone()));
    let mut sources: Vec<Source> = Vec::with_capacity(files.len());
    let mut left = MAX_BYTES;
    for path in files {
        let text = read(&path, left).map_err(|cause| PlanError::Read { path: path.clone(), cause })?;
        left = left.checked_sub(text.len() as u64).filter(|left| *left > 0).ok_or(PlanError::TooLarge)?;
        let name = if path.as_os_str() == STDIN { "<stdin>".to_owned() } else { path.display().to_string() };
        sources.push(Source { name, text });
    }
    Ok(sources)
}

/// The files of a path: the file itself, or all manifests in the folder and below it, sorted by name. Skips hidden
/// ones.
fn find(path: &Path, files: &mut Vec<PathBuf>) -> Result<(), (PathBuf, io::Error)> {
    let failed = |cause| (path.to_owned(), cause);
    if path.as_os_str() == STDIN || !fs::metadata(path).map_err(failed)?.is_dir() {
        files.push(path.to_owned());
        return Ok(());
    }
    let entries = fs::read_dir(path).and_then(Iterator::collect::<Result<Vec<_>, _>>).map_err(failed)?;
    let mut entries: Vec<PathBuf> = entries.into_iter().map(|entry| entry.path()).collect();
    entries.sort();
    for entry in entries {
        let is_hidden = entry.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        // A link to a folder may lead back to one of its parents.
        let is_folder = entry.is_dir() && !entry.is_symlink();
        let is_manifest = entry.extension().is_some_and(|found| ENDINGS.iter().any(|ending| found == *ending));
        if !is_hidden && (is_folder || is_manifest && entry.is_file()) {
            find(&entry, files)?;
        }
    }
    Ok(())
}
