//! The set-ups of `examples/`, applied as they are written.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::image::Image;
use super::machine::{output, plain};
use super::{Cluster, IPAM_ETCD};
use crate::{Result, binary};

/// The folder of the examples.
const EXAMPLES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples");

/// What Kubernetes takes `kube-ipam` for, as `examples/install` names its image.
const IMAGE: &str = "docker.io/library/kube-ipam";

/// How long the installer may take on all nodes, on a busy machine.
const ROLLED_OUT: &str = "180s";

impl Cluster {
    /// Brings kube-ipam onto the nodes by `examples/install`, with the one change that a user makes: where etcd is.
    pub fn install(&self) -> Result<()> {
        self.import_kube_ipam(env!("CARGO_PKG_VERSION"), binary::kube_ipam())?;
        let folder = self.folder.join("install");
        let here = self.testbed.machine.path(&folder);
        fs::create_dir(&here)?;
        for entry in fs::read_dir(example("install"))? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                continue;
            }
            fs::copy(entry.path(), here.join(entry.file_name()))?;
        }
        let defaults = here.join("kube-ipam.json");
        let mut edited: Value = serde_json::from_slice(&fs::read(&defaults)?)?;
        edited["etcdConfig"]["etcdURL"] = json!(IPAM_ETCD);
        fs::write(&defaults, format!("{edited:#}\n"))?;
        self.apply_folder(&folder)?;
        self.wait_installed()
    }

    /// Waits until the installer has done its work on each node.
    pub fn wait_installed(&self) -> Result<()> {
        let rollout = format!("--namespace kube-ipam rollout status daemonset/kube-ipam --timeout={ROLLED_OUT}");
        self.kubectl(&rollout).map(drop).map_err(|error| {
            let say = |line: &str| self.kubectl(line).unwrap_or_else(|error| error.to_string());
            let pods = say("--namespace kube-ipam get pods,events");
            let logs = say("--namespace kube-ipam logs --selector=app.kubernetes.io/name=kube-ipam");
            format!("{error}\n{pods}\n{logs}").into()
        })
    }

    /// Makes the nodes know a kube-ipam as the image of this version.
    pub fn import_kube_ipam(&self, version: &str, program: &Path) -> Result<()> {
        let archive = image_of_kube_ipam(version, &self.testbed.machine.path(&self.folder), program)?;
        let there = self.folder.join(archive.file_name().unwrap_or_default());
        for node in self.nodes() {
            node.import(&there)?;
        }
        Ok(fs::remove_file(archive)?)
    }

    /// Applies an example as it is written.
    pub fn apply_example(&self, name: &str) -> Result<()> {
        self.apply_folder(&example(name))
    }

    /// Removes what [`Self::apply_example`] made, and waits until it is gone.
    pub fn delete_example(&self, name: &str) -> Result<()> {
        let folder = example(name);
        output(self.kubectl_command().args(["delete", "--timeout=120s", "--kustomize"]).arg(folder)).map(drop)
    }
}

/// The folder of an example.
fn example(name: &str) -> PathBuf {
    Path::new(EXAMPLES).join(name)
}

/// An image with a kube-ipam and nothing else, as `examples/install/Containerfile` makes it; but the program need not be
/// static, as one for tests is not. Then the libraries that it was linked with are beside it.
fn image_of_kube_ipam(version: &str, below: &Path, program: &Path) -> Result<PathBuf> {
    // As a release, without symbols: nodes have their disks in memory here, and what the installer writes there counts
    // for its container's limit.
    let stripped = below.join(format!("kube-ipam-{version}"));
    output(plain("strip").args(["-o"]).arg(&stripped).arg(program))?;
    // Versions differ, be it in nothing else: nobody reads what follows the sections.
    OpenOptions::new().append(true).open(&stripped)?.write_all(version.as_bytes())?;
    let mut image = Image::new(&format!("{IMAGE}:{version}"), below, &["/kube-ipam"])?.file("kube-ipam", &stripped)?;
    fs::remove_file(stripped)?;
    for library in libraries(program) {
        let path = library.strip_prefix("/")?.display().to_string();
        image = image.file(&path, &library)?;
    }
    image.archive()
}

/// The libraries of a program: none, if it is static.
fn libraries(program: &Path) -> Vec<PathBuf> {
    let listed = output(plain("ldd").arg(program)).unwrap_or_default();
    let path = |line: &str| line.split_whitespace().find(|word| word.starts_with('/')).map(PathBuf::from);
    listed.lines().filter_map(path).collect()
}
