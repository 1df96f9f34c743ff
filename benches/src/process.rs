//! A call as a runtime makes it: a process with a cleared environment, its config on standard input, and its reply read
//! to the end.

use std::ffi::OsString;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use kube_ipam_e2e::Result;
use serde_json::Value;

/// A process that can be run repeatedly.
#[derive(Clone)]
pub(crate) struct Call {
    program: PathBuf,
    args: Vec<OsString>,
    environment: Vec<(&'static str, OsString)>,
    stdin: Vec<u8>,
    /// Whether the reply must have an address.
    assigns: bool,
}

impl Call {
    pub(crate) fn new(program: &Path) -> Self {
        Self {
            program: program.to_owned(),
            args: Vec::new(),
            environment: Vec::new(),
            stdin: Vec::new(),
            assigns: false,
        }
    }

    #[must_use]
    pub(crate) fn arg(mut self, arg: impl Into<OsString>) -> Self {
        self.args.push(arg.into());
        self
    }

    /// Sets a variable. There are no others.
    #[must_use]
    pub(crate) fn env(mut self, key: &'static str, value: impl Into<OsString>) -> Self {
        self.environment.push((key, value.into()));
        self
    }

    #[must_use]
    pub(crate) fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.stdin = bytes.into();
        self
    }

    /// Lets it fail if its reply is a CNI result without an address.
    #[must_use]
    pub(crate) fn assigns(self, assigns: bool) -> Self {
        Self { assigns, ..self }
    }

    /// Runs it, and returns the time from its start to its end. It fails if the process does.
    pub(crate) fn time(&self) -> Result<Duration> {
        let mut command = Command::new(&self.program);
        command.args(&self.args).env_clear().envs(self.environment.iter().cloned());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let began = Instant::now();
        let mut child = command.spawn()?;
        // A config fits into a pipe. A program that does not read it may have ended already.
        let _ = child.stdin.take().map(|mut pipe| pipe.write_all(&self.stdin));
        let mut reply = String::new();
        if let Some(mut pipe) = child.stdout.take() {
            pipe.read_to_string(&mut reply)?;
        }
        let status = child.wait()?;
        let took = began.elapsed();
        if !status.success() {
            return Err(format!("{}: {status}: {reply}", self.program.display()).into());
        }
        if self.assigns && !has_address(&reply) {
            return Err(format!("{}: no address in the result: {reply}", self.program.display()).into());
        }
        Ok(took)
    }

    /// Its peak memory in KiB; `None` if GNU time is not installed.
    ///
    /// Not measured from this process: memory that a child has before its exec counts as its own, and this program is
    /// larger than GNU time.
    pub(crate) fn peak(&self) -> Result<Option<u64>> {
        const GNU_TIME: &str = "/usr/bin/time";
        if !Path::new(GNU_TIME).is_file() {
            return Ok(None);
        }
        let mut command = Command::new(GNU_TIME);
        command.args(["--format", "%M"]).arg(&self.program).args(&self.args);
        command.env_clear().envs(self.environment.iter().cloned());
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?;
        let _ = child.stdin.take().map(|mut pipe| pipe.write_all(&self.stdin));
        let output = child.wait_with_output()?;
        let said = String::from_utf8(output.stderr)?;
        Ok(said.lines().last().and_then(|line| line.trim().parse().ok()))
    }
}

/// Whether a reply is a CNI result with an address.
fn has_address(reply: &str) -> bool {
    serde_json::from_str::<Value>(reply).is_ok_and(|result| result["ips"][0]["address"].is_string())
}
