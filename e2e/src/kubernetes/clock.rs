//! A node on which kube-ipam goes by a wrong clock.
//!
//! A script stands in its place, and starts it with that clock, and with defaults that name a log of its own: whoever
//! reads the history has to know by which clock a line was written. A call goes by one clock from its begin to its end.

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

/// The program, and its other name while a script stands in its place.
const PROGRAM: &str = "/opt/cni/bin/kube-ipam";
const ASIDE: &str = "/opt/cni/bin/kube-ipam.aside";

/// The clocks that a node has had.
#[derive(Debug, Default)]
pub(super) struct Clocks {
    /// How many seconds the one that it has is ahead of the right one.
    now: i64,
    /// The wrong ones.
    had: BTreeSet<i64>,
}

impl Node {
    /// Sets the clock by which kube-ipam goes here, from its next call on: so many seconds ahead of the right one, or
    /// behind. Calls under way go on by the one before.
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
        // In one step: at no time is there no program.
        let beside = program.with_extension("new");
        fs::write(&beside, script)?;
        fs::set_permissions(&beside, Permissions::from_mode(0o755))?;
        fs::rename(beside, program)?;
        self.clocks.now = ahead;
        self.clocks.had.insert(ahead);
        Ok(())
    }

    /// Gives it the right clock again. No call may be under way that has not come to the program yet.
    pub fn right_clock(&mut self) -> Result<()> {
        let [program, aside] = [PROGRAM, ASIDE].map(|path| self.machine().path(path));
        fs::rename(aside, program)?;
        self.clocks.now = 0;
        let defaults = self.clocks.had.iter().map(|clock| self.machine().path(defaults_by(*clock)));
        Ok(defaults.filter(|file| file.exists()).try_for_each(fs::remove_file)?)
    }

    /// kube-ipam's defaults, as its calls here find them.
    pub fn defaults(&self) -> Result<Value> {
        Ok(serde_json::from_slice(&fs::read(self.machine().path(defaults_by(self.clocks.now)))?)?)
    }

    /// kube-ipam's logs, by each clock that it has had here.
    pub(super) fn kube_ipam_logs(&self) -> Vec<Log> {
        let log = |ahead: i64| Log {
            node: self.name.clone(),
            ahead: SignedDuration::from_secs(ahead),
            text: self.log(&log_by(ahead)),
        };
        [0].iter().chain(&self.clocks.had).copied().map(log).collect()
    }

    /// A log, and the one before it.
    fn log(&self, path: &str) -> String {
        let read = |path: String| fs::read_to_string(self.machine().path(path)).unwrap_or_default();
        [format!("{path}.1"), path.to_owned()].map(read).concat()
    }
}

/// Where the defaults are that go with a clock: in one folder, by which kube-ipam finds its credentials.
fn defaults_by(ahead: i64) -> String {
    match ahead {
        0 => DEFAULTS.to_owned(),
        _ => DEFAULTS.replace(".json", &format!("{ahead:+}s.json")),
    }
}

/// Where the log is that goes with a clock.
fn log_by(ahead: i64) -> String {
    match ahead {
        0 => "/var/log/kube-ipam.log".to_owned(),
        _ => format!("/var/log/kube-ipam{ahead:+}s.log"),
    }
}
