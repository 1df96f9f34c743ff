//! Runs `kube-ipam doctor` on a machine, and looks for what it finds.

use std::fs;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use crate::node::Node;

/// What `kube-ipam doctor` has reported.
pub struct Diagnosis {
    results: Vec<Value>,
}

/// The command, with empty folders instead of the machine's own.
///
/// # Panics
/// If the folders can't be made.
pub fn doctor(node: &Node) -> Command {
    let mut command = Command::new(&node.plugin().path);
    command.arg("doctor").env_clear().env("KUBE_IPAM_CONFIG", node.path("kube-ipam.json")).stdin(Stdio::null());
    for (option, folder) in [("--cni-dir", "net.d"), ("--bin-dir", "bin")] {
        let folder = node.path(folder);
        fs::create_dir_all(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        command.arg(option).arg(folder);
    }
    command
}

impl Diagnosis {
    /// Runs it with these options.
    ///
    /// # Panics
    /// If it reports nothing that can be read.
    pub fn of(node: &Node, options: &[&str]) -> Self {
        let output = doctor(node).args(["-o", "json"]).args(options).output();
        let Output { stdout, stderr, .. } = output.unwrap_or_else(|error| panic!("kube-ipam doctor: {error}"));
        let said = String::from_utf8_lossy(&stderr).into_owned();
        let results = serde_json::from_slice(&stdout).unwrap_or_else(|error| panic!("{error}: {said}"));
        Self { results }
    }

    /// The results of the store's and the cluster's checks, each as `check status: message`.
    pub fn lines(&self) -> Vec<String> {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let others = self.results.iter().filter(|result| result["area"] != "node");
        others
            .map(|result| {
                format!("{} {}: {}", text(&result["check"]), text(&result["status"]), text(&result["message"]))
            })
            .collect()
    }

    /// The warnings and errors among these.
    pub fn faults(&self) -> Vec<String> {
        let is_fault =
            |line: &String| line.split(' ').nth(1).is_some_and(|status| matches!(status, "warning:" | "error:"));
        self.lines().into_iter().filter(is_fault).collect()
    }

    /// The only line of a check.
    ///
    /// # Panics
    /// If there is none, or more than one.
    #[track_caller]
    pub fn line(&self, check: &str) -> String {
        let mut lines: Vec<String> =
            self.lines().into_iter().filter(|line| line.split(' ').next() == Some(check)).collect();
        assert_eq!(lines.len(), 1, "{check}: {:#?}", self.lines());
        lines.remove(0)
    }

    /// The commands that a check recommends for its worst result.
    pub fn commands(&self, check: &str) -> Vec<String> {
        let of_check = self.results.iter().filter(|result| result["check"] == check);
        let commands = of_check.filter_map(|result| result["remedy"]["commands"].as_array());
        let texts = |commands: &Vec<Value>| commands.iter().filter_map(Value::as_str).map(str::to_owned).collect();
        commands.map(texts).next().unwrap_or_default()
    }
}

/// Runs a command as it was printed, in a shell. Returns what it printed.
///
/// # Panics
/// If it fails.
pub fn paste(command: &str) -> String {
    let output = Command::new("bash").args(["-c", command]).stdin(Stdio::null()).output();
    let Output { status, stdout, stderr } = output.unwrap_or_else(|error| panic!("bash: {error}"));
    assert!(status.success(), "{command}: {}", String::from_utf8_lossy(&stderr));
    String::from_utf8_lossy(&stdout).into_owned()
}
