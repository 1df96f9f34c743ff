//! The programs of a cluster: their paths, or why there is no cluster on this machine.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Contains the version of Kubernetes to build.
const SOURCES: &str = include_str!("../../go/kubernetes/go.mod");

/// Programs that e2e/setup takes from Debian.
const INSTALLED: [&str; 9] = ["etcd", "containerd", "ctr", "runc", "busybox", "iptables", "ip", "nsenter", "tar"];

/// Programs that e2e/setup-kubernetes builds.
const BUILT: [&str; 11] = [
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "kubelet",
    "kubectl",
    "bridge",
    "macvlan",
    "loopback",
    "host-local",
    "ptp",
    "tuning",
];

/// The paths of all programs.
#[derive(Clone, Debug)]
pub struct Tools {
    built: PathBuf,
    multus: Option<PathBuf>,
    calico: Option<PathBuf>,
}

impl Tools {
    /// Finds all programs. If one is missing, the error says which, and what installs it.
    pub fn find() -> Result<Self, String> {
        if !rustix::process::geteuid().is_root() {
            return Err("a node is made of namespaces, for which one must be root".to_owned());
        }
        if let Some(missing) = INSTALLED.iter().find(|program| on_path(program).is_none()) {
            return Err(format!("{missing} is not installed; e2e/setup does it"));
        }
        for program in BUILT {
            built(program)?;
        }
        let calico = env::var_os("CALICO_CNI").map(PathBuf::from).filter(|program| program.is_file());
        Ok(Self { built: folder(), multus: multus(), calico })
    }

    /// The path of a program that was built.
    pub fn built(&self, program: &str) -> PathBuf {
        self.built.join(program)
    }

    /// busybox, which is statically linked.
    pub(super) fn busybox(&self) -> PathBuf {
        on_path("busybox").unwrap_or_default()
    }

    /// Multus; `None` if it is not installed.
    pub fn multus(&self) -> Option<&Path> {
        self.multus.as_deref()
    }

    /// Calico's CNI plugin; `None` unless CALICO_CNI names it.
    pub fn calico(&self) -> Option<&Path> {
        self.calico.as_deref()
    }
}

/// The path of a program that e2e/setup-kubernetes builds. If it is missing, the error says what builds it.
pub(crate) fn built(program: &str) -> Result<PathBuf, String> {
    let folder = folder();
    let path = folder.join(program);
    path.exists()
        .then_some(path)
        .ok_or_else(|| format!("{program} is not in {}; e2e/setup builds it", folder.display()))
}

/// The folder that e2e/setup-kubernetes fills.
fn folder() -> PathBuf {
    let version = SOURCES.split("k8s.io/kubernetes ").nth(1).and_then(|rest| rest.split_whitespace().next());
    crate::cache().join(format!("kubernetes-{}", version.unwrap_or_default()))
}

/// The Multus in MULTUS, or else on PATH.
fn multus() -> Option<PathBuf> {
    let named = env::var_os("MULTUS").map(PathBuf::from).or_else(|| on_path("multus"))?;
    // A program that does not run counts as missing.
    let runs = Command::new(&named).arg("-version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    runs.is_ok_and(|status| status.success()).then_some(named)
}

fn on_path(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let sbin = ["/usr/sbin", "/sbin"].map(PathBuf::from);
    env::split_paths(&path).chain(sbin).map(|folder| folder.join(program)).find(|file| file.is_file())
}
