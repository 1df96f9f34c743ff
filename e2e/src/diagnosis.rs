//! Runs `kube-ipam doctor` on a machine, and looks for what it finds.

mod review;

use std::fs;
use std::process::{Command, Output, Stdio};

use kube_ipam::store::StoreConfig;
use serde_json::Value;

pub use self::review::review;
use crate::node::Node;
use crate::operator;

/// What `kube-ipam doctor` has reported.
pub struct Diagnosis {
    results: Vec<Value>,
}

/// The command, with empty folders instead of the machine's own.
///
/// # Panics
/// If the folders can't be made.
pub fn doctor(node: &Node) -> Command {
    let mut command = operator::command(node, &["doctor"]);
    for (option, folder) in [("--cni-dir", "net.d"), ("--bin-dir", "bin")] {
        let folder = node.path(folder);
        fs::create_dir_all(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        command.arg(option).arg(folder);
    }
    command
}

impl Diagnosis {
    /// Runs it with these options and the node's store, as an operator would, and reviews what it reports.
    ///
    /// # Panics
    /// If it reports nothing that can be read, or if a result is not as it has to be.
    pub fn of(node: &Node, options: &[&str]) -> Self {
        let store = match node.store() {
            StoreConfig::Etcd(etcd) => etcd.urls.join(","),
            StoreConfig::Embedded { data_dir } => data_dir.display().to_string(),
            StoreConfig::Kubernetes(config) => format!("kubernetes://{}", config.namespace),
        };
        let mut command = doctor(node);
        command.args(["-o", "json", "--store", &store]).args(options);
        let given: Vec<String> = command.get_args().map(|word| word.to_string_lossy().into_owned()).collect();
        let output = command.output();
        let Output { stdout, stderr, .. } = output.unwrap_or_else(|error| panic!("kube-ipam doctor: {error}"));
        let said = String::from_utf8_lossy(&stderr).into_owned();
        let results: Vec<Value> = serde_json::from_slice(&stdout).unwrap_or_else(|error| panic!("{error}: {said}"));
        review(&results, &given);
        Self { results }
    }

    /// The results of the store's and the cluster's checks, each as `check status: message`.
    pub fn lines(&self) -> Vec<String> {
        self.results.iter().filter(|result| result["area"] != "node").map(line).collect()
    }

    /// The results of all checks, those of the node among them.
    pub fn all_lines(&self) -> Vec<String> {
        self.results.iter().map(line).collect()
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
        let mut lines: Vec<String> = self.results.iter().filter(|result| result["check"] == check).map(line).collect();
        assert_eq!(lines.len(), 1, "{check}: {:#?}", self.results);
        lines.remove(0)
    }

    /// What a check recommends to do about its first result that has a remedy.
    pub fn next(&self, check: &str) -> String {
        let of_check = self.results.iter().filter(|result| result["check"] == check);
        of_check.filter_map(|result| result["remedy"]["text"].as_str()).map(str::to_owned).next().unwrap_or_default()
    }

    /// The commands that a check recommends for its worst result.
    pub fn commands(&self, check: &str) -> Vec<String> {
        let of_check = self.results.iter().filter(|result| result["check"] == check);
        let commands = of_check.filter_map(|result| result["remedy"]["commands"].as_array());
        let texts = |commands: &Vec<Value>| commands.iter().filter_map(Value::as_str).map(str::to_owned).collect();
        commands.map(texts).next().unwrap_or_default()
    }
}

/// A result as `check status: message`.
fn line(result: &Value) -> String {
    let text = |key: &str| result[key].as_str().unwrap_or_default();
    format!("{} {}: {}", text("check"), text("status"), text("message"))
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
