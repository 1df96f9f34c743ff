//! Programs that keep running, and end with the test's process even if that is killed or never drops them.
//!
//! ```text
//!  the test's process ── a pipe ──► guard.sh ──► the program
//! ```
//!
//! The kernel closes the pipe at the end of the test's process. So a fixture in a `static`, which is never dropped,
//! leaves nothing either.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use crate::Result;

/// Waits for the end of the program or of the test's process.
const GUARD: &str = include_str!("guarded/guard.sh");

/// A program that keeps running. It is killed when this is dropped.
pub struct Guarded {
    /// guard.sh. It ends after the program, with the program's exit status.
    guard: Child,
    pid: Pid,
}

impl Guarded {
    /// Starts a program that appends its output to a log. If the test's process ends first, the folder is removed.
    ///
    /// # Errors
    /// If bash can't be started. If the program can't, it ends at once, and its log says why.
    pub fn spawn(program: &Path, args: &[String], log: &Path, folder: &Path) -> Result<Self> {
        let mut command = Command::new("bash");
        command.args(["-c", GUARD, "guard"]).arg(folder).arg(log).arg(program).args(args);
        // A separate group: Ctrl-C in a terminal goes only to the test, whose end also ends this.
        command.process_group(0).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut guard = command.spawn()?;
        let mut line = String::new();
        if let Some(stdout) = guard.stdout.take() {
            BufReader::new(stdout).read_line(&mut line)?;
        }
        let pid = line.trim().parse().ok().and_then(Pid::from_raw).ok_or("a guard did not start its program")?;
        Ok(Self { guard, pid })
    }

    /// The program's process id.
    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// How the program has ended; `None` while it runs.
    ///
    /// # Errors
    /// If the kernel does not say.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.guard.try_wait()?)
    }

    /// Kills the program, also a stopped one, and waits for its end.
    ///
    /// # Errors
    /// If it can't be killed.
    pub fn kill(&mut self) -> Result<()> {
        // After the guard's end, another process may have this process id.
        if self.ended()?.is_none() {
            kill_process(self.pid, Signal::KILL)?;
            // `Child::wait` would close the guard's standard input first, and so tell it that the test has ended.
            let input = self.guard.stdin.take();
            self.guard.wait()?;
            drop(input);
        }
        Ok(())
    }

    /// Stops the program (SIGSTOP) until [`Self::resume`], and waits until its last thread has stopped. Before that, it
    /// may still serve requests.
    ///
    /// # Errors
    /// If it can't be stopped, or has ended.
    pub fn pause(&self) -> Result<()> {
        kill_process(self.pid, Signal::STOP)?;
        let threads = format!("/proc/{}/task", self.pid.as_raw_nonzero());
        let is_stopped = || -> Result<bool> {
            for thread in fs::read_dir(&threads)? {
                let stat = fs::read_to_string(thread?.path().join("stat"))?;
                // proc_pid_stat(5): the state follows the name, which is in parentheses and may contain some.
                let state = stat.rsplit(") ").next().and_then(|rest| rest.chars().next());
                if state != Some('T') {
                    return Ok(false);
                }
            }
            Ok(true)
        };
        // A thread that ends meanwhile has no file any more; the next look tells.
        crate::wait_until("a program stops", || is_stopped().unwrap_or(false));
        Ok(())
    }

    /// Continues the program.
    ///
    /// # Errors
    /// If it has ended.
    pub fn resume(&self) -> Result<()> {
        Ok(kill_process(self.pid, Signal::CONT)?)
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        // If this fails, the guard kills it at the end of the test's process.
        let _ = self.kill();
    }
}
