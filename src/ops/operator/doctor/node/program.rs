//! `program`: whether the runtime starts this very program.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use crate::deadline::Deadline;
use crate::explain::Tool;
use crate::install::{PROGRAM, have_same_content};
use crate::ops::operator::doctor::{Context, Outcome, Remedy};

/// This program's own file, wherever it is.
const SELF: &str = "/proc/self/exe";

/// How long another program may take to print its version.
const VERSION_TIMEOUT: Duration = Duration::from_secs(2);

/// The most of its output that is read, in bytes.
const MAX_VERSION: u64 = 128;

pub(in crate::ops::operator::doctor) fn check(context: &mut Context<'_>, report: &mut dyn FnMut(Outcome)) {
    let path = context.options.program_folder.join(PROGRAM);
    let object = path.display().to_string();
    let commands = &context.options.commands;
    let install = || Remedy::new("let the installer's pod write it, or copy it there").command(commands.own_pods());
    let mode = match fs::metadata(&path) {
        Ok(file) if file.is_file() => file.permissions().mode(),
        Ok(_) => return report(Outcome::error(&object, format!("{object} is not a file"), install())),
        Err(error) => {
            let message = format!("the runtime finds no program at {object}: {error}");
            return report(Outcome::error(&object, message, install()));
        }
    };
    if mode & 0o111 == 0 {
        let message = format!("the runtime can't start {object}, which is not executable");
        let remedy = Remedy::new("make it executable").command(Tool::Chmod.run(&["0755", &object]));
        return report(Outcome::error(&object, message, remedy));
    }
    report(match is_this_program(&path) {
        Ok(true) => Outcome::ok(&object, format!("{object} is this program, {}", env!("CARGO_PKG_VERSION"))),
        Ok(false) => Outcome::warning(
            &object,
            format!("{object} is another program than this one ({}): {}", env!("CARGO_PKG_VERSION"), version(&path)),
            Remedy::new(
                "run that one's doctor, which knows its configuration; if it is the older one, look at the installer",
            )
            .command(commands.doctor_of(&object, &[]))
            .command(commands.own_pods()),
        ),
        Err(error) => Outcome::skipped(&object, format!("{object} can't be compared with this program: {error}")),
    });
}

fn is_this_program(path: &Path) -> io::Result<bool> {
    have_same_content(File::open(SELF)?, File::open(path)?)
}

/// What a program says its version is. The runtime starts it as well, so starting it here is no new risk.
fn version(path: &Path) -> String {
    match ask_version(path) {
        Ok(version) if !version.is_empty() => version,
        Ok(_) => "it says no version".to_owned(),
        Err(error) => format!("it says no version ({error})"),
    }
}

fn ask_version(path: &Path) -> io::Result<String> {
    let mut command = Command::new(path);
    command.arg("version").env_clear().stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn()?;
    let deadline = Deadline::after(VERSION_TIMEOUT);
    while child.try_wait()?.is_none() {
        if deadline.has_passed() {
            child.kill()?;
            child.wait()?;
            return Err(io::ErrorKind::TimedOut.into());
        }
        thread::sleep(Duration::from_millis(5));
    }
    let mut text = Vec::new();
    if let Some(stdout) = child.stdout.take() {
        stdout.take(MAX_VERSION).read_to_end(&mut text)?;
    }
    Ok(String::from_utf8_lossy(&text).trim().to_owned())
}
