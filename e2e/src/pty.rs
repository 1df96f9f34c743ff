//! A terminal: what a program prints on it, at a given width.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::ffi::OsStringExt as _;
use std::path::PathBuf;
use std::process::{Command, ExitStatus, Stdio};

use rustix::io::Errno;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

use crate::Result;

/// What a program printed on a terminal.
#[derive(Debug)]
pub struct Printed {
    /// Standard output and standard error, with all escape sequences. Lines end with `\n`.
    pub text: String,
    /// How the program ended.
    pub status: ExitStatus,
}

/// Runs a program whose output is a terminal with this many columns.
///
/// # Errors
/// If there is no terminal to be had, or the program can't be run.
pub fn run(command: &mut Command, columns: u16) -> Result<Printed> {
    run_on(command.stdin(Stdio::null()), columns, None)
}

/// Runs a program on a terminal, on which somebody types these answers.
///
/// # Errors
/// If there is no terminal to be had, or the program can't be run.
pub fn run_with_answers(command: &mut Command, columns: u16, answers: &str) -> Result<Printed> {
    run_on(command, columns, Some(answers))
}

fn run_on(command: &mut Command, columns: u16, answers: Option<&str>) -> Result<Printed> {
    let controller = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
    grantpt(&controller)?;
    unlockpt(&controller)?;
    let path = PathBuf::from(std::ffi::OsString::from_vec(ptsname(&controller, Vec::new())?.into_bytes()));
    let terminal = OpenOptions::new().read(true).write(true).open(path)?;
    tcsetwinsize(&terminal, Winsize { ws_row: 50, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 })?;
    if answers.is_some() {
        command.stdin(terminal.try_clone()?);
    }
    let mut child = command.stdout(terminal.try_clone()?).stderr(terminal).spawn()?;
    // The command holds the terminal open, and the output ends only once nobody does.
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut controller = File::from(controller);
    controller.write_all(answers.unwrap_or_default().as_bytes())?;
    let text = read(controller)?;
    Ok(Printed { text: text.replace("\r\n", "\n"), status: child.wait()? })
}

fn read(mut controller: File) -> io::Result<String> {
    let (mut text, mut buffer) = (Vec::new(), [0; 4096]);
    loop {
        match controller.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => text.extend_from_slice(&buffer[..read]),
            // This is how the end of a terminal's output looks on Linux.
            Err(error) if error.raw_os_error() == Some(Errno::IO.raw_os_error()) => break,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    String::from_utf8(text).map_err(io::Error::other)
}
