//! Runs kube-ipam with a wrong clock on a node.
//!
//! A script replaces the program. It starts kube-ipam with that clock, and with defaults that name a separate log,
//! because the reader of the history has to know the clock of each line. The clock of a call never changes while it
//! runs.

use std::collections::BTreeSet;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use jiff::SignedDuration;
use serde_json::{Value, json};

use super::network::DEFAULTS;
use super::node::Node;
use crate::Result;
use crate::faketime::Faketime;
use crate::history::log::Log;

/// The program's path, and its path while a script replaces it.
const PROGRAM: &str = "/opt/cni/bin/kube-ipam";
const ASIDE: &str = "/opt/cni/bin/kube-ipam.aside";

/// The clocks of a node so far.
#[derive(Debug, Default)]
pub(super) struct Clocks {
    /// How many seconds the current one is ahead of the correct time.
    now: i64,
    /// The wrong ones so far.
    had: BTreeSet<i64>,
}

impl Node {
    /// Sets the clock of kube-ipam's next calls here to this many seconds ahead of the correct time, or behind it.
    /// Calls that are running keep theirs.
    pub fn set_clock(&mut self, faketime: &Faketime, ahead: i64) -> Result<()> {
        let mut defaults = self.defaults()?;
        defaults["log"]["file"] = json!(log_by(ahead));
        self.write(&defaults_by(ahead), &defaults.to_string())?;
        let variables =
            faketime.variables(&format!("{ahead:+}s")).map(|(variable, value)| format!("{variable}={value}"));
        let script = format!(
            "#!/bin/sh\nexec env {} KUBE_IPAM_CONFIG=\"${{KUBE_IPAM_CONFIG-{}}}\" {ASIDE} \"$@\"\n",
            variables.join(" "),
            defaults_by(ahead),
        );
        let [program, aside] = [PROGRAM, ASIDE].map(|path| self.machine().path(path));
        if !aside.exists() {
            fs::hard_link(&program, aside)?;
        }
        // A rename, so that the program exists at all times.
        let beside = program.with_extension("new");
        fs::write(&beside, script)?;
        fs::set_permissions(&beside, Permissions::from_mode(0o755))?;
        fs::rename(beside, program)?;
        self.clocks.now = ahead;
        self.clocks.had.insert(ahead);
        Ok(())
    }

    /// Restores the correct clock. No call may be between the script and the program.
    pub fn right_clock(&mut self) -> Result<()> {
        let [program, aside] = [PROGRAM, ASIDE].map(|path| self.machine().path(path));
        fs::rename(aside, program)?;
        self.clocks.now = 0;
        let defaults = self.clocks.had.iter().map(|clock| self.machine().path(defaults_by(*clock)));
        Ok(defaults.filter(|file| file.exists()).try_for_each(fs::remove_file)?)
    }

    /// kube-ipam's defaults for its calls here.
    pub fn defaults(&self) -> Result<Value> {
        Ok(serde_json::from_slice(&fs::read(self.machine().path(defaults_by(self.clocks.now)))?)?)
    }

    /// kube-ipam's logs, one for each clock so far.
    pub(super) fn kube_ipam_logs(&self) -> Vec<Log> {
        let log = |ahead: i64| Log {
            node: self.name.clone(),
            ahead: SignedDuration::from_secs(ahead),
            text: self.log(&log_by(ahead)),
        };
        [0].iter().chain(&self.clocks.had).copied().map(log).collect()
    }

    /// A log, after its older file.
    fn log(&self, path: &str) -> String {
        let read = |path: String| fs::read_to_string(self.machine().path(path)).unwrap_or_default();
        [format!("{path}.1"), path.to_owned()].map(read).concat()
    }
}

/// The path of the defaults for a clock. All are in one folder, in which kube-ipam finds its credentials.
fn defaults_by(ahead: i64) -> String {
    match ahead {
        0 => DEFAULTS.to_owned(),
        _ => DEFAULTS.replace(".json", &format!("{ahead:+}s.json")),
    }
}

/// The path of the log for a clock.
fn log_by(ahead: i64) -> String {
    match ahead {
        0 => "/var/log/kube-ipam.log".to_owned(),
        _ => format!("/var/log/kube-ipam{ahead:+}s.log"),
    }
}
