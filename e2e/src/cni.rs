//! A call of a CNI plugin as a runtime makes it: environment, standard input, one process (CNI spec 1.1, section 2).

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::JoinHandle;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::Value;

use crate::world::World;

/// A call that is being put together. The plugin sees the variables set here and no others.
#[derive(Clone)]
pub struct Call {
    program: Vec<OsString>,
    environment: BTreeMap<OsString, OsString>,
    stdin: Vec<u8>,
}

impl Call {
    /// A call of the plugin at `path`, with no more than CNI_COMMAND in its environment and nothing on standard input.
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

    /// Takes a variable away.
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

    /// The config on standard input.
    #[must_use]
    pub fn config(self, config: &Value) -> Self {
        self.stdin(config.to_string())
    }

    /// Any bytes on standard input.
    #[must_use]
    pub fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.stdin = bytes.into();
        self
    }

    /// Runs in the world's namespaces instead of those of the test.
    #[must_use]
    pub fn within(self, world: &World) -> Self {
        self.through(world.enter())
    }

    /// Runs by a program that is given the plugin as its last argument.
    #[must_use]
    pub fn through(mut self, wrapper: impl IntoIterator<Item = OsString>) -> Self {
        self.program.splice(..0, wrapper);
        self
    }

    /// Runs it to its end.
    pub fn run(self) -> Reply {
        self.spawn().wait()
    }

    /// Starts it.
    pub fn spawn(self) -> Running {
        self.spawn_into(Stdio::piped())
    }

    /// Starts it with a standard output of its own, which [`Reply::stdout`] then does not show.
    ///
    /// # Panics
    /// If there is no such program.
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
            // A plugin may answer without reading to the end, which breaks the pipe.
            std::thread::spawn(move || drop(pipe.write_all(&self.stdin)))
        });
        Running { child, feeder }
    }
}

/// Runs all of them at the same time; the replies are in the order of the calls.
pub fn at_once(calls: impl IntoIterator<Item = Call>) -> Vec<Reply> {
    // Two pipes a call: more than the usual limit of 1024 files. With a lower hard limit the spawn says so.
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
    let running: Vec<_> = calls.into_iter().map(Call::spawn).collect();
    running.into_iter().map(Running::wait).collect()
}

/// A call under way.
pub struct Running {
    child: Child,
    feeder: Option<JoinHandle<()>>,
}

impl Running {
    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Kills it (SIGKILL); [`Running::wait`] then shows how far it got.
    ///
    /// # Panics
    /// If the system does not let us.
    pub fn kill(&mut self) {
        self.child.kill().unwrap_or_else(|error| panic!("a plugin can't be killed: {error}"));
    }

    /// Waits for its end.
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

/// What a call left.
#[derive(Debug)]
pub struct Reply {
    /// How it ended.
    pub status: ExitStatus,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
    /// The one JSON document that standard output is; null if it is anything else.
    pub document: Value,
}

impl Reply {
    /// This reply, of a call that succeeded.
    ///
    /// # Panics
    /// If it did not.
    #[track_caller]
    pub fn ok(self) -> Self {
        assert!(self.status.success(), "the call failed ({}): {}{}", self.status, self.stdout, self.stderr);
        self
    }

    /// This reply, of a call that failed as the protocol wants it: a code and a message on standard output, and an exit
    /// status that is not zero (CNI spec 1.1, section 5, "Error").
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

    /// What a user sees of an error: message and details.
    pub fn text(&self) -> String {
        let part = |key: &str| self.document[key].as_str().unwrap_or_default();
        format!("{}; {}", part("msg"), part("details"))
    }

    /// The addresses of a result in any version, with their prefix lengths.
    pub fn addresses(&self) -> Vec<String> {
        let listed = self.document["ips"].as_array().into_iter().flatten().map(|ip| &ip["address"]);
        let by_family = ["ip4", "ip6"].into_iter().map(|family| &self.document[family]["ip"]);
        listed.chain(by_family).filter_map(Value::as_str).map(str::to_owned).collect()
    }

    /// The one address of a result.
    ///
    /// # Panics
    /// If there are none or several, or the call failed.
    #[track_caller]
    pub fn address(self) -> String {
        let reply = self.ok();
        match reply.addresses().as_slice() {
            [address] => address.clone(),
            other => panic!("one address was expected: {other:?} in {}", reply.stdout),
        }
    }
}
