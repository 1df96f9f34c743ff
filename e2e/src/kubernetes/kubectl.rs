//! Runs kubectl next to the API server.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use super::{Cluster, eventually};
use crate::Result;

/// How long an operation may take in a cluster on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// The interval between requests. Each starts a process.
pub(super) const EVERY: Duration = Duration::from_millis(200);

impl Cluster {
    /// kubectl without arguments yet.
    pub fn kubectl_command(&self) -> Command {
        let mut command = self.testbed.machine.command(self.tools.built("kubectl"));
        command.arg("--kubeconfig").arg(self.control_plane.kubeconfig("admin"));
        command
    }

    /// Runs kubectl with arguments, split at white space. Returns its output.
    pub fn kubectl(&self, line: &str) -> Result<String> {
        super::machine::output(self.kubectl_command().args(line.split_whitespace()))
    }

    /// The result of `kubectl get` with these arguments.
    pub fn get(&self, line: &str) -> Result<Value> {
        Ok(serde_json::from_str(&self.kubectl(&format!("get --output=json {line}"))?)?)
    }

    /// Applies objects in a namespace.
    pub fn apply(&self, namespace: &str, objects: &[Value]) -> Result<()> {
        let list = json!({ "apiVersion": "v1", "kind": "List", "items": objects });
        self.feed(&["apply", "--namespace", namespace, "--filename=-"], &list.to_string())
    }

    /// Applies a manifest unchanged.
    pub fn apply_text(&self, text: &str) -> Result<()> {
        self.feed(&["apply", "--filename=-"], text)
    }

    /// Applies a folder with a kustomization.
    pub fn apply_folder(&self, folder: &Path) -> Result<()> {
        super::machine::output(self.kubectl_command().arg("apply").arg("--kustomize").arg(folder)).map(drop)
    }

    /// Creates a namespace, and waits until pods can be created in it.
    pub fn create_namespace(&self, name: &str) -> Result<()> {
        self.kubectl(&format!("create namespace {name}"))?;
        // Pods are rejected until the controller manager has created it.
        eventually("a namespace has its service account", PATIENCE, EVERY, || {
            Ok(self.kubectl(&format!("--namespace {name} get serviceaccount default")).ok())
        })
        .map(drop)
    }

    /// Waits for a condition of these objects (`kubectl wait --for`). If it does not come true, the error says why.
    pub fn wait(&self, namespace: &str, condition: &str, objects: &str) -> Result<()> {
        let seconds = PATIENCE.as_secs();
        let waited =
            self.kubectl(&format!("--namespace {namespace} wait --for={condition} --timeout={seconds}s {objects}"));
        waited.map(drop).map_err(|error| {
            let events = self.kubectl(&format!("--namespace {namespace} get events --sort-by=lastTimestamp"));
            let pods = self.kubectl(&format!("--namespace {namespace} get pods --output=wide"));
            let [events, pods] = [events, pods].map(|said| said.unwrap_or_else(|error| error.to_string()));
            format!("{error}\n{pods}\n{}", super::tail(&events)).into()
        })
    }

    /// Waits until pods are ready, by names or by a selector.
    pub fn wait_ready(&self, namespace: &str, pods: &str) -> Result<()> {
        self.wait(namespace, "condition=Ready", &format!("pods {pods}"))
    }

    /// Deletes pods and waits until they are gone.
    pub fn delete_pods(&self, namespace: &str, pods: &str) -> Result<()> {
        let seconds = PATIENCE.as_secs();
        self.kubectl(&format!("--namespace {namespace} delete pods --timeout={seconds}s {pods}")).map(drop)
    }

    /// The messages of a pod's events, oldest first.
    pub fn events(&self, namespace: &str, pod: &str) -> Result<Vec<String>> {
        let selector = format!("--namespace {namespace} events --field-selector involvedObject.name={pod}");
        let found = self.get(&selector)?;
        let message = |event: &Value| event["message"].as_str().map(str::to_owned);
        Ok(found["items"].as_array().into_iter().flatten().filter_map(message).collect())
    }

    /// Waits for an event on a pod whose message contains this text. Returns the message.
    pub fn wait_event(&self, namespace: &str, pod: &str, text: &str) -> Result<String> {
        let what = format!("an event of {namespace}/{pod} says {text:?}");
        eventually(&what, PATIENCE, EVERY, || {
            Ok(self.events(namespace, pod)?.into_iter().find(|message| message.contains(text)))
        })
    }

    /// Runs kubectl with this text as its standard input.
    pub(super) fn feed(&self, args: &[&str], text: &str) -> Result<()> {
        let mut command = self.kubectl_command();
        command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn()?;
        if let Some(mut stdin) = child.stdin.take() {
            stdin.write_all(text.as_bytes())?;
        }
        let output = child.wait_with_output()?;
        if output.status.success() {
            return Ok(());
        }
        Err(format!("kubectl {}: {}", args.join(" "), String::from_utf8_lossy(&output.stderr).trim()).into())
    }
}
