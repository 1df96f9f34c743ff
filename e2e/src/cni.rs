//! Calls a CNI plugin as a runtime does: environment, standard input, one process (CNI spec 1.1, section 2).

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::JoinHandle;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::Value;

use crate::world::World;

/// Builds a call. The plugin's environment has only the variables that are set here.
#[derive(Clone)]
pub struct Call {
    program: Vec<OsString>,
    environment: BTreeMap<OsString, OsString>,
    stdin: Vec<u8>,
}

impl Call {
    /// A call of the plugin at `path`, with only CNI_COMMAND in its environment and an empty standard input.
    pub fn new(path: &Path, verb: &str) -> Self {
        let call = Self { program: vec![path.into()], environment: BTreeMap::new(), stdin: Vec::new() };
        call.env("CNI_COMMAND", verb)
    }

    /// Sets a variable.
    #[must_use]
    pub fn env(mut self, key: &str, value: impl AsRef<OsStr>) -> Self {
        self.environment.insert(key.into(), value.as_ref().into());
        self
    }

    /// Removes a variable.
    #[must_use]
    pub fn without(mut self, key: &str) -> Self {
        self.environment.remove(OsStr::new(key));
        self
    }

    /// CNI_CONTAINERID
    #[must_use]
    pub fn container(self, id: &str) -> Self {
        self.env("CNI_CONTAINERID", id)
    }

    /// CNI_IFNAME
    #[must_use]
    pub fn ifname(self, name: &str) -> Self {
        self.env("CNI_IFNAME", name)
    }

    /// CNI_NETNS
    #[must_use]
    pub fn netns(self, path: impl AsRef<OsStr>) -> Self {
        self.env("CNI_NETNS", path)
    }

    /// CNI_ARGS
    #[must_use]
    pub fn args(self, args: &str) -> Self {
        self.env("CNI_ARGS", args)
    }

    /// Sets the config on standard input.
    #[must_use]
    pub fn config(self, config: &Value) -> Self {
        self.stdin(config.to_string())
    }

    /// Sets the bytes on standard input.
    #[must_use]
    pub fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.stdin = bytes.into();
        self
    }

    /// Runs the call in the world's namespaces.
    #[must_use]
    pub fn within(self, world: &World) -> Self {
        self.through(world.enter())
    }

    /// Runs the call through a program whose last argument is the plugin.
    #[must_use]
    pub fn through(mut self, wrapper: impl IntoIterator<Item = OsString>) -> Self {
        self.program.splice(..0, wrapper);
        self
    }

    /// Runs the call to its end.
    pub fn run(self) -> Reply {
        self.spawn().wait()
    }

    /// Starts the call.
    pub fn spawn(self) -> Running {
        self.spawn_into(Stdio::piped())
    }

    /// Starts the call with this standard output, which [`Reply::stdout`] then does not have.
    ///
    /// # Panics
    /// If the program does not exist.
    pub fn spawn_into(self, stdout: impl Into<Stdio>) -> Running {
        let mut child = Command::new(&self.program[0])
            .args(&self.program[1..])
            .env_clear()
            .envs(&self.environment)
            .stdin(Stdio::piped())
            .stdout(stdout)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("can't start {}: {error}", PathBuf::from(&self.program[0]).display()));
        let feeder = child.stdin.take().map(|mut pipe| {
            // A plugin may reply before it has read everything, which breaks the pipe.
            std::thread::spawn(move || drop(pipe.write_all(&self.stdin)))
        });
        Running { child, feeder }
    }
}

/// Runs all calls at the same time. Returns the replies in the order of the calls.
pub fn at_once(calls: impl IntoIterator<Item = Call>) -> Vec<Reply> {
    // Each call has two pipes, so the usual limit of 1024 files is too low. If the hard limit is lower, spawning fails.
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
    let running: Vec<_> = calls.into_iter().map(Call::spawn).collect();
    running.into_iter().map(Running::wait).collect()
}

/// A running call.
pub struct Running {
    child: Child,
    feeder: Option<JoinHandle<()>>,
}

impl Running {
    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Kills it (SIGKILL). [`Running::wait`] then shows how far it got.
    ///
    /// # Panics
    /// If the signal can't be sent.
    pub fn kill(&mut self) {
        self.child.kill().unwrap_or_else(|error| panic!("a plugin can't be killed: {error}"));
    }

    /// Waits until it ends.
    ///
    /// # Panics
    /// If its output can't be read.
    pub fn wait(self) -> Reply {
        let output = self.child.wait_with_output().unwrap_or_else(|error| panic!("a plugin's output: {error}"));
        if let Some(feeder) = self.feeder {
            let _ = feeder.join();
        }
        let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
        let document = serde_json::from_str(&stdout).unwrap_or(Value::Null);
        Reply { status: output.status, stdout, stderr: String::from_utf8_lossy(&output.stderr).into_owned(), document }
    }
}

/// The result of a call.
#[derive(Debug)]
pub struct Reply {
    /// Its exit status.
    pub status: ExitStatus,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
    /// The JSON document on standard output; null if that is not exactly one document.
    pub document: Value,
}

impl Reply {
    /// Returns this reply if the call succeeded.
    ///
    /// # Panics
    /// If it failed.
    #[track_caller]
    pub fn ok(self) -> Self {
        assert!(self.status.success(), "the call failed ({}): {}{}", self.status, self.stdout, self.stderr);
        self
    }

    /// Returns this reply if the call failed as the protocol requires: with a code and a message on standard output,
    /// and a non-zero exit status (CNI spec 1.1, section 5, "Error").
    ///
    /// # Panics
    /// If it did not.
    #[track_caller]
    pub fn refused(self) -> Self {
        assert!(!self.status.success(), "the call succeeded: {}", self.stdout);
        assert!(self.document["code"].is_u64(), "no error document: {:?}, {:?}", self.stdout, self.stderr);
        assert!(self.document["msg"].as_str().is_some_and(|msg| !msg.is_empty()), "no message: {:?}", self.stdout);
        self
    }

    /// The code of an error; 0 if there is none.
    pub fn code(&self) -> u64 {
        self.document["code"].as_u64().unwrap_or_default()
    }

    /// The message and details of an error, as a user sees them.
    pub fn text(&self) -> String {
        let part = |key: &str| self.document[key].as_str().unwrap_or_default();
        format!("{}; {}", part("msg"), part("details"))
    }

    /// The addresses of a result, in any version's format, with their prefix lengths.
    pub fn addresses(&self) -> Vec<String> {
        let listed = self.document["ips"].as_array().into_iter().flatten().map(|ip| &ip["address"]);
        let by_family = ["ip4", "ip6"].into_iter().map(|family| &self.document[family]["ip"]);
        listed.chain(by_family).filter_map(Value::as_str).map(str::to_owned).collect()
    }

    /// The only address of a result.
    ///
    /// # Panics
    /// If there is none or more than one, or the call failed.
    #[track_caller]
    pub fn address(self) -> String {
        let reply = self.ok();
        match reply.addresses().as_slice() {
            [address] => address.clone(),
            other => panic!("one address was expected: {other:?} in {}", reply.stdout),
        }
    }
}
