//! What the command line prints: the one owner of its standard output.

mod list;
mod table;

use std::fmt::{self, Display};
use std::io::{self, BufWriter, ErrorKind, IsTerminal as _, StdoutLock, Write};
use std::process::ExitCode;

use annotate_snippets::Renderer;
use clap::Args;
use serde::Serialize;

pub(super) use self::list::StreamList;
pub(super) use self::table::StreamTable;

use crate::cause::{Cause, chain};
use crate::controller::ControllerError;
use crate::error::Error;
use crate::install::InstallError;
use crate::ops::operator::plan::PlanError;

/// How a verb prints.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Format {
    /// For people
    #[default]
    Table,
    /// For programs
    Json,
}

/// How a verb prints, for those that have a table and a document.
#[derive(Clone, Copy, Debug, Args)]
pub(super) struct FormatArgs {
    /// Output format
    #[arg(short, long, value_enum, default_value_t, value_name = "FORMAT")]
    pub output: Format,
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
    /// No plan could be made.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// A verb that goes on can't hear that it is to end.
    #[error("can't listen for signals")]
    Signals(#[source] io::Error),
    /// A file, a folder or a variable that an option names can't be used.
    #[error("{what}")]
    Unusable {
        /// Which.
        what: String,
        /// Why.
        #[source]
        cause: Cause,
    },
    /// The metrics can't be written as a text.
    #[error("can't write the metrics")]
    Metrics(#[source] fmt::Error),
    /// The verb has been asked for something that is not there, or that it must not do.
    #[error("{0}")]
    Refused(String),
    /// Standard output can't be written.
    #[error("can't write to standard output")]
    Output(#[from] io::Error),
}

impl CliError {
    /// What an option names, and why it can't be used.
    pub(super) fn unusable(what: impl Display, error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Unusable { what: what.to_string(), cause: Cause::new(error) }
    }
}

/// Standard output and standard error.
pub(super) struct Output {
    out: BufWriter<StdoutLock<'static>>,
}

impl Output {
    /// Takes standard output.
    pub(super) fn new() -> Self {
        Self { out: BufWriter::new(io::stdout().lock()) }
    }

    /// Prints a line, at once: a verb that runs for long has nothing to wait for.
    pub(super) fn line(&mut self, text: &str) -> Result<(), CliError> {
        writeln!(self.out, "{text}")?;
        Ok(self.out.flush()?)
    }

    /// Says what is not the verb's result, on standard error.
    pub(super) fn warn(&mut self, text: &impl Display) {
        // With standard error closed there is nobody left to tell.
        let _ = writeln!(io::stderr(), "kube-ipam: {text}");
    }

    /// Prints a document for programs.
    pub(super) fn json(&mut self, document: &impl Serialize) -> Result<(), CliError> {
        serde_json::to_writer_pretty(&mut self.out, document).map_err(io::Error::from)?;
        Ok(writeln!(self.out)?)
    }

    /// How mistakes in files are shown: with colours and links on a terminal, unless NO_COLOR or TERM says otherwise, and as
    /// wide as that is.
    pub(super) fn diagnostics(&self) -> Renderer {
        let set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let is_dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        if !io::stdout().is_terminal() || set("NO_COLOR") || is_dumb {
            return Renderer::plain();
        }
        let columns = rustix::termios::tcgetwinsize(io::stdout()).map(|size| usize::from(size.ws_col));
        let styled = Renderer::styled();
        match columns {
            Ok(columns) if columns > 0 => styled.term_width(columns),
            _ => styled,
        }
    }

    /// Begins a JSON list whose elements come one by one.
    pub(super) fn stream_list(&mut self) -> StreamList<'_> {
        StreamList::new(&mut self.out)
    }

    /// Prints a document for programs, as people write it.
    pub(super) fn yaml(&mut self, document: &impl Serialize) -> Result<(), CliError> {
        let text = serde_saphyr::to_string(document).map_err(io::Error::other)?;
        Ok(self.out.write_all(text.as_bytes())?)
    }

    /// Prints a table for people.
    pub(super) fn table<const N: usize>(
        &mut self,
        head: [&str; N],
        rows: impl IntoIterator<Item = [String; N]>,
    ) -> Result<(), CliError> {
        let mut table = self.stream_table(head);
        rows.into_iter().try_for_each(|row| table.push(row))?;
        table.end().map(drop)
    }

    /// Begins a table whose rows come one by one.
    pub(super) fn stream_table<const N: usize>(&mut self, head: [&str; N]) -> StreamTable<'_, N> {
        StreamTable::new(&mut self.out, head)
    }

    /// Says why the arguments were not understood, or prints the help that they asked for.
    pub(super) fn usage(&mut self, error: &clap::Error) -> ExitCode {
        let printed = error.print();
        match printed {
            Ok(()) if error.exit_code() == 0 => ExitCode::SUCCESS,
            _ => ExitCode::from(2),
        }
    }

    /// The exit status of a verb; a reader that has seen enough and gone is no failure.
    pub(super) fn end(mut self, result: Result<(), CliError>) -> ExitCode {
        match result.and_then(|()| Ok(self.out.flush()?)) {
            Ok(()) => ExitCode::SUCCESS,
            Err(CliError::Output(error)) if error.kind() == ErrorKind::BrokenPipe => ExitCode::SUCCESS,
            Err(error) => {
                self.warn(&chain(&error));
                ExitCode::FAILURE
            }
        }
    }
}
