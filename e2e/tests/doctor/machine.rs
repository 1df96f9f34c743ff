//! A healthy machine for `kube-ipam doctor`, and what it says about it.

use std::fs::{self, File};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, SystemTime};

use kube_ipam_e2e::binary;
use kube_ipam_e2e::diagnosis::review;
use kube_ipam_e2e::node::{Network, Node, Plugin};
use serde_json::{Value, json};

/// A machine with all of its files, and one container.
pub(crate) struct Machine {
    pub(crate) node: Node,
}

impl Machine {
    pub(crate) fn healthy() -> Self {
        let machine = Self { node: Node::new(Plugin::kube_ipam()) };
        fs::create_dir(machine.path("net.d")).unwrap();
        fs::create_dir(machine.path("bin")).unwrap();
        symlink(binary::kube_ipam(), machine.path("bin/kube-ipam")).unwrap();
        fs::write(machine.path("bin/macvlan"), "").unwrap();
        machine.configure(&json!({}));
        machine.network().add("c1").ok();
        machine
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.node.path(name)
    }

    pub(crate) fn network(&self) -> Network<'_> {
        self.node.network(json!({ "subnet": "10.1.0.0/24" }))
    }

    /// Writes the network's file in the folder of CNI configurations, with more keys in its ipam block.
    pub(crate) fn configure(&self, ipam: &Value) {
        let mut block = json!({ "type": "kube-ipam", "subnet": "10.1.0.0/24" });
        for (key, value) in ipam.as_object().unwrap() {
            block[key] = value.clone();
        }
        let list = json!({
            "cniVersion": "1.0.0", "name": "blue",
            "plugins": [{ "type": "macvlan", "master": "eth1", "ipam": block }],
        });
        self.write("net.d/10-blue.conflist", &list.to_string());
    }

    pub(crate) fn write(&self, name: &str, content: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    pub(crate) fn set_mode(&self, name: &str, mode: u32) {
        fs::set_permissions(self.path(name), fs::Permissions::from_mode(mode)).unwrap();
    }

    pub(crate) fn mode(&self, name: &str) -> u32 {
        fs::metadata(self.path(name)).unwrap().permissions().mode() & 0o7777
    }

    /// Makes a file look as if it was written some time ago, or in the future if that is negative.
    pub(crate) fn set_age(&self, name: &str, minutes: i64) {
        let by = Duration::from_secs(60 * minutes.unsigned_abs());
        let now = SystemTime::now();
        let then = if minutes < 0 { now + by } else { now - by };
        File::options().append(true).open(self.path(name)).unwrap().set_modified(then).unwrap();
    }

    /// The record of a container.
    pub(crate) fn record(&self, container: &str) -> String {
        format!("records/node-1/{container}:eth0:blue.json")
    }

    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(binary::kube_ipam());
        command.arg("doctor").args(args).arg("--cni-dir").arg(self.path("net.d"));
        command.arg("--bin-dir").arg(self.path("bin"));
        command.env_clear().env("KUBE_IPAM_CONFIG", self.path("kube-ipam.json")).stdin(Stdio::null());
        command
    }

    pub(crate) fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    /// What a person sees, and the exit status.
    pub(crate) fn seen(&self, args: &[&str]) -> String {
        let Output { status, stdout, stderr } = self.run(args);
        let text = self.shortened(&String::from_utf8([stdout, stderr].concat()).unwrap());
        format!("{text}exit {}", status.code().unwrap())
    }

    /// A text without the machine's folder.
    pub(crate) fn shortened(&self, text: &str) -> String {
        let folder = self.path("").display().to_string();
        text.replace(&folder, "/node/").replace(folder.trim_end_matches('/'), "/node")
    }

    /// The results as a program gets them, reviewed.
    pub(crate) fn results(&self, args: &[&str]) -> Vec<Value> {
        self.reviewed(args).0
    }

    /// The results, and how many commands of kube-ipam they have.
    pub(crate) fn reviewed(&self, args: &[&str]) -> (Vec<Value>, usize) {
        let mut command = self.command(&[&["-o", "json"], args].concat());
        let output = command.output().unwrap();
        let results: Vec<Value> =
            serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"));
        let options: Vec<String> = command.get_args().map(|word| word.to_string_lossy().into_owned()).collect();
        let own = review(&results, &options);
        (results, own)
    }

    /// What is not as it should be on this node.
    pub(crate) fn faults(&self) -> Vec<Fault> {
        let text = |value: &Value| self.shortened(value.as_str().unwrap_or_default());
        let fault = |result: Value| Fault {
            check: text(&result["check"]),
            status: text(&result["status"]),
            message: text(&result["message"]),
            next: text(&result["remedy"]["text"]),
            commands: result["remedy"]["commands"].as_array().into_iter().flatten().map(text).collect(),
            fix: text(&result["fix"]),
        };
        let faults = self.results(&["--node"]).into_iter().map(fault);
        faults.filter(|fault| matches!(fault.status.as_str(), "warning" | "error")).collect()
    }
}

/// A warning or an error.
#[derive(Debug)]
pub(crate) struct Fault {
    pub(crate) check: String,
    pub(crate) status: String,
    pub(crate) message: String,
    pub(crate) next: String,
    pub(crate) commands: Vec<String>,
    pub(crate) fix: String,
}

/// Appends a line to a file.
pub(crate) fn append(path: &Path, line: &str) {
    use std::io::Write as _;
    writeln!(File::options().append(true).open(path).unwrap(), "{line}").unwrap();
}
