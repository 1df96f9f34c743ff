//! Applies the setups in `examples/`, unchanged.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::control_plane::SWEEPER;
use super::image::Image;
use super::machine::{output, plain};
use super::store::NAMESPACE;
use super::{Cluster, IPAM_ETCD, SWEEPER_KUBECONFIG, Store, control_plane, network};
use crate::{Result, binary};

const EXAMPLES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples");

/// The image of kube-ipam in `examples/install`.
const IMAGE: &str = "docker.io/library/kube-ipam";

/// The same image, as the page of the chart names it.
const PUSHED: &str = "registry.example/kube-ipam";

/// How often the installer's pods look for deferred releases and for a store that went back, and how often they do here,
/// where trials wait for it.
const EVERY: [&str; 2] = ["--every=1m", "--every=10s"];

/// How long the installer may take on all nodes of a busy machine.
const ROLLED_OUT: &str = "180s";

impl Cluster {
    /// Installs kube-ipam on the nodes with the example for the cluster's store: `examples/install`, or
    /// `examples/install-etcd` with the URL of this etcd.
    pub fn install(&self) -> Result<()> {
        self.install_with(|_| ())
    }

    /// The same with node defaults that are edited, as a user may do.
    pub fn install_with(&self, edit: impl FnOnce(&mut Value)) -> Result<()> {
        self.import_kube_ipam(env!("CARGO_PKG_VERSION"), binary::kube_ipam())?;
        let mut folder = self.copy_example("install")?;
        self.replace_in(&folder.join("daemonset.yaml"), EVERY)?;
        if self.options.store == Store::Etcd {
            // An overlay of the other.
            folder = self.copy_example("install-etcd")?;
        }
        let defaults = self.testbed.machine.path(&folder).join("kube-ipam.json");
        let mut edited: Value = serde_json::from_slice(&fs::read(&defaults)?)?;
        if self.options.store == Store::Etcd {
            edited["etcdConfig"]["etcdURL"] = json!(IPAM_ETCD);
        }
        edit(&mut edited);
        fs::write(&defaults, format!("{edited:#}\n"))?;
        self.apply_folder(&folder)?;
        self.wait_installed()
    }

    /// Gives the user of a sweep its kubeconfig on each node, its role, and that of the store in the cluster's API.
    pub fn admit_sweeper(&self) -> Result<()> {
        self.apply_text(network::sweepers_role()?)?;
        self.apply(NAMESPACE, &network::sweepers_bindings())?;
        let kubeconfig = control_plane::kubeconfig(&self.folder, SWEEPER).to_string();
        self.nodes().iter().try_for_each(|node| node.write(SWEEPER_KUBECONFIG, &kubeconfig))
    }

    /// Applies an example with a text replaced in one of its files, as its user may do. Once in each cluster.
    pub fn apply_example_with(&self, name: &str, file: &str, replaced: [&str; 2]) -> Result<()> {
        let folder = self.copy_example(name)?;
        self.replace_in(&folder.join(file), replaced)?;
        self.apply_folder(&folder)
    }

    fn replace_in(&self, file: &Path, [written, here]: [&str; 2]) -> Result<()> {
        let path = self.testbed.machine.path(file);
        let text = fs::read_to_string(&path)?;
        if !text.contains(written) {
            return Err(format!("{} has no {written}", file.display()).into());
        }
        Ok(fs::write(path, text.replace(written, here))?)
    }

    /// Copies the files of an example, without its folders, to where its user may edit them.
    fn copy_example(&self, name: &str) -> Result<PathBuf> {
        let folder = self.folder.join(name);
        let here = self.testbed.machine.path(&folder);
        fs::create_dir(&here)?;
        for entry in fs::read_dir(example(name))? {
            let entry = entry?;
            if !entry.file_type()?.is_dir() {
                fs::copy(entry.path(), here.join(entry.file_name()))?;
            }
        }
        Ok(folder)
    }

    /// Waits until the installer has finished on each node.
    pub fn wait_installed(&self) -> Result<()> {
        let rollout = format!("--namespace kube-ipam rollout status daemonset/kube-ipam --timeout={ROLLED_OUT}");
        self.kubectl(&rollout).map(drop).map_err(|error| {
            let say = |line: &str| self.kubectl(line).unwrap_or_else(|error| error.to_string());
            let pods = say("--namespace kube-ipam get pods,events");
            let logs = say("--namespace kube-ipam logs --selector=app.kubernetes.io/name=kube-ipam");
            format!("{error}\n{pods}\n{logs}").into()
        })
    }

    /// Imports a kube-ipam on the nodes as the image of this version.
    pub fn import_kube_ipam(&self, version: &str, program: &Path) -> Result<()> {
        let archive = image_of_kube_ipam(version, &self.testbed.machine.path(&self.folder), program)?;
        let there = self.folder.join(archive.file_name().unwrap_or_default());
        for node in self.nodes() {
            node.import(&there)?;
        }
        Ok(fs::remove_file(archive)?)
    }

    /// Applies an example unchanged.
    pub fn apply_example(&self, name: &str) -> Result<()> {
        self.apply_folder(&example(name))
    }

    /// Deletes what [`Self::apply_example`] has created, and waits until it is gone.
    pub fn delete_example(&self, name: &str) -> Result<()> {
        let folder = example(name);
        output(self.kubectl_command().args(["delete", "--timeout=120s", "--kustomize"]).arg(folder)).map(drop)
    }
}

fn example(name: &str) -> PathBuf {
    Path::new(EXAMPLES).join(name)
}

/// An image with only kube-ipam, like that of `examples/install/Containerfile`. A binary for tests may be dynamically
/// linked. Then the image has its libraries too.
fn image_of_kube_ipam(version: &str, below: &Path, program: &Path) -> Result<PathBuf> {
    // Without symbols, like a release. The nodes' disks are in memory here, and what the installer writes counts
    // against its container's memory limit.
    let stripped = below.join(format!("kube-ipam-{version}"));
    output(plain("strip").args(["-o"]).arg(&stripped).arg(program))?;
    // Makes the binaries of two versions differ. Nothing reads data after the sections.
    OpenOptions::new().append(true).open(&stripped)?.write_all(version.as_bytes())?;
    let image = Image::new(&format!("{IMAGE}:{version}"), below, &["/kube-ipam"])?;
    let mut image = image.named(&format!("{PUSHED}:{version}")).file("kube-ipam", &stripped)?;
    fs::remove_file(stripped)?;
    for library in libraries(program) {
        let path = library.strip_prefix("/")?.display().to_string();
        image = image.file(&path, &library)?;
    }
    image.archive()
}

/// The libraries of a program; none if it is static.
fn libraries(program: &Path) -> Vec<PathBuf> {
    let listed = output(plain("ldd").arg(program)).unwrap_or_default();
    let path = |line: &str| line.split_whitespace().find(|word| word.starts_with('/')).map(PathBuf::from);
    listed.lines().filter_map(path).collect()
}
