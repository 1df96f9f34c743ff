//! What the command line prints: the one owner of its standard output.

use std::fmt::Display;
use std::io::{self, ErrorKind, Write};
use std::process::ExitCode;

use comfy_table::{ContentArrangement, Table, presets};
use serde::Serialize;

use crate::controller::ControllerError;
use crate::error::Error;
use crate::install::InstallError;
use crate::ipam::name::AttachmentId;

/// How a verb prints.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For people
    #[default]
    Table,
    /// For programs
    Json,
}

/// Why a verb failed.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// As a CNI call would fail.
    #[error("{}", .0.full())]
    Call(#[from] Error),
    /// Something could not be put onto the node.
    #[error(transparent)]
    Install(#[from] InstallError),
    /// The controller can't run.
    #[error(transparent)]
    Controller(#[from] ControllerError),
    /// A verb that goes on can't hear that it is to end.
    #[error("can't listen for signals: {0}")]
    Signals(#[source] io::Error),
    /// The verb has been asked for something that is not there, or that it must not do.
    #[error("{0}")]
    Refused(String),
    /// Standard output can't be written.
    #[error("can't write to standard output: {0}")]
    Output(#[from] io::Error),
}

/// An attachment in a table, without its network: interface, node, and container, which is cut as runtimes show it.
pub(super) fn columns(AttachmentId { ifname, node, container, .. }: &AttachmentId) -> [String; 3] {
    [ifname.to_string(), node.to_string(), container.as_str().chars().take(12).collect()]
}

/// Standard output and standard error.
pub struct Output {
    out: io::StdoutLock<'static>,
}

impl Output {
    /// Takes standard output.
    pub fn new() -> Self {
        Self { out: io::stdout().lock() }
    }

    /// Prints a line.
    pub fn line(&mut self, text: &str) -> Result<(), CliError> {
        Ok(writeln!(self.out, "{text}")?)
    }

    /// Says what is not the verb's result, on standard error.
    pub fn aside(&mut self, text: &impl Display) {
        // With standard error closed there is nobody left to tell.
        let _ = writeln!(io::stderr(), "kube-ipam: {text}");
    }

    /// Prints a document for programs.
    pub fn json(&mut self, document: &impl Serialize) -> Result<(), CliError> {
        serde_json::to_writer_pretty(&mut self.out, document).map_err(io::Error::from)?;
        Ok(writeln!(self.out)?)
    }

    /// Prints a table for people: columns apart by two spaces, without lines, so that it can be cut and grepped.
    pub fn table<const N: usize>(&mut self, head: [&str; N], rows: Vec<[String; N]>) -> Result<(), CliError> {
        let mut table = Table::new();
        table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled).set_header(head);
        table.add_rows(rows);
        for column in table.column_iter_mut() {
            column.set_padding((0, 2));
        }
        for line in table.lines() {
            writeln!(self.out, "{}", line.trim_end())?;
        }
        Ok(())
    }

    /// Says why the arguments were not understood, or prints the help that they asked for.
    pub fn usage(&mut self, error: &clap::Error) -> ExitCode {
        let printed = error.print();
        match printed {
            Ok(()) if error.exit_code() == 0 => ExitCode::SUCCESS,
            _ => ExitCode::from(2),
        }
    }

    /// The exit status of a verb; a reader that has seen enough and gone is no failure.
    pub fn end(mut self, result: Result<(), CliError>) -> ExitCode {
        match result.and_then(|()| Ok(self.out.flush()?)) {
            Ok(()) => ExitCode::SUCCESS,
            Err(CliError::Output(error)) if error.kind() == ErrorKind::BrokenPipe => ExitCode::SUCCESS,
            Err(error) => {
                self.aside(&error);
                ExitCode::FAILURE
            }
        }
    }
}
