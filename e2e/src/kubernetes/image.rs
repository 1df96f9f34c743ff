//! Builds container images: one layer and its description, in the archive format of `docker save`.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use serde_json::json;

use super::machine::{output, plain};
use crate::Result;

/// The image of pods and sandboxes: a shell that waits.
pub const BUSYBOX: &str = "kube-ipam.test/busybox:1";

/// The name of the same image in examples/.
const BUSYBOX_OF_EXAMPLES: &str = "docker.io/library/busybox:1.36";

/// The command of a [`BUSYBOX`] container. It waits, and ends on SIGTERM.
const WAIT: &str = "trap 'exit 0' TERM INT; while :; do sleep 86400 & wait $!; done";

/// An image that is being built.
pub struct Image {
    names: Vec<String>,
    root: PathBuf,
    entry: Vec<String>,
}

impl Image {
    /// An empty image that runs a command. It is built in this folder.
    pub fn new(name: &str, below: &Path, entry: &[&str]) -> Result<Self> {
        let root = below.join(name.replace(['/', ':'], "-"));
        fs::create_dir_all(&root)?;
        Ok(Self { names: vec![name.to_owned()], root, entry: entry.iter().map(|word| (*word).to_owned()).collect() })
    }

    /// Adds another name.
    #[must_use]
    pub fn named(mut self, name: &str) -> Self {
        self.names.push(name.to_owned());
        self
    }

    /// Adds a file of this machine at a path.
    pub fn file(self, path: &str, from: &Path) -> Result<Self> {
        let at = self.root.join(path);
        fs::create_dir_all(at.parent().unwrap_or(&self.root))?;
        fs::copy(from, at)?;
        Ok(self)
    }

    /// Adds a link.
    pub fn link(self, path: &str, to: &str) -> Result<Self> {
        symlink(to, self.root.join(path))?;
        Ok(self)
    }

    /// Writes the archive next to the image's files. Returns its path.
    pub fn archive(self) -> Result<PathBuf> {
        let folder = self.root.with_extension("archive");
        fs::create_dir_all(&folder)?;
        let layer = folder.join("layer.tar");
        let mut tar = plain("tar");
        tar.args(["--create", "--owner=0", "--group=0", "--numeric-owner", "--directory"]).arg(&self.root);
        output(tar.arg("--file").arg(&layer).arg("."))?;
        let sum = output(plain("sha256sum").arg(&layer))?;
        let digest = sum.split_whitespace().next().unwrap_or_default();
        let architecture = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
        let config = json!({
            "architecture": architecture, "os": "linux",
            "config": { "Entrypoint": self.entry, "Env": ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"] },
            "rootfs": { "type": "layers", "diff_ids": [format!("sha256:{digest}")] },
        });
        let manifest = json!([{ "Config": "config.json", "RepoTags": self.names, "Layers": ["layer.tar"] }]);
        fs::write(folder.join("config.json"), config.to_string())?;
        fs::write(folder.join("manifest.json"), manifest.to_string())?;
        let archive = self.root.with_extension("tar");
        let mut tar = plain("tar");
        tar.args(["--create", "--directory"]).arg(&folder).arg("--file").arg(&archive);
        output(tar.args(["manifest.json", "config.json", "layer.tar"]))?;
        fs::remove_dir_all(&folder)?;
        fs::remove_dir_all(&self.root)?;
        Ok(archive)
    }
}

/// The archive of [`BUSYBOX`].
pub(super) fn busybox(below: &Path, program: &Path) -> Result<PathBuf> {
    let mut image = Image::new(BUSYBOX, below, &["/bin/sh", "-c", WAIT])?;
    image = image.named(BUSYBOX_OF_EXAMPLES).file("bin/busybox", program)?;
    for applet in output(plain(program).arg("--list"))?.lines().filter(|applet| *applet != "busybox") {
        image = image.link(&format!("bin/{applet}"), "busybox")?;
    }
    image.archive()
}
