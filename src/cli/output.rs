//! The output of the command line, and the only owner of its standard output.

mod fit;
mod format;
mod list;
mod printable;
mod readiness;
mod table;

use std::fmt::{self, Display};
use std::io::{self, BufRead as _, BufWriter, ErrorKind, IsTerminal as _, StdoutLock, Write};
use std::process::ExitCode;

use annotate_snippets::Renderer;
use anstyle::Style;
use serde::Serialize;

pub(super) use self::format::{Encoding, Format, FormatArgs, ListFormat, ListFormatArgs};
pub(super) use self::list::StreamList;
pub(super) use self::printable::{printable, printable_source};
pub(super) use self::readiness::{is_closed, is_writable};
pub(super) use self::table::StreamTable;

use self::printable::{printable_json, printable_lines};
use super::config::RangeArgsError;
use crate::cause::{Cause, chain};
use crate::controller::ControllerError;
use crate::error::Error;
use crate::install::InstallError;
use crate::ops::operator::config::ConfigOptionsError;
use crate::ops::operator::free::FreeError;
use crate::ops::operator::list::ListError;
use crate::ops::operator::plan::PlanError;
use crate::ops::operator::watch::WatchError;

/// What fails a verb that reports findings, besides errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Deny {
    /// Every finding
    Warnings,
}

/// Why a verb failed.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// The same error as in a CNI call.
    #[error("{}", .0.full())]
    Call(#[from] Error),
    /// The installation failed.
    #[error(transparent)]
    Install(#[from] InstallError),
    /// The controller can't start.
    #[error(transparent)]
    Controller(#[from] ControllerError),
    /// The plan failed.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The configuration can't be written.
    #[error(transparent)]
    Config(#[from] ConfigOptionsError),
    /// The options for ranges do not belong together.
    #[error(transparent)]
    Ranges(#[from] RangeArgsError),
    /// The watch can't start where it was asked to.
    #[error(transparent)]
    Watch(WatchError),
    /// A verb that runs until SIGTERM can't listen for it.
    #[error("can't listen for signals")]
    Signals(#[source] io::Error),
    /// A file, a folder or a variable that an option or the environment names can't be used.
    #[error("{what}")]
    Unusable {
        /// The file, folder or variable.
        what: String,
        /// The reason.
        #[source]
        cause: Cause,
    },
    /// The metrics can't be encoded as text.
    #[error("can't write the metrics")]
    Metrics(#[source] fmt::Error),
    /// The request refers to something that does not exist, or that the verb must not do.
    #[error("{0}")]
    Refused(String),
    /// The addresses can't be listed as asked.
    #[error(transparent)]
    List(#[from] ListError),
    /// Free addresses can't be listed.
    #[error(transparent)]
    Free(#[from] FreeError),
    /// Standard output can't be written.
    #[error("can't write to standard output")]
    Output(#[from] io::Error),
}

impl From<WatchError> for CliError {
    fn from(error: WatchError) -> Self {
        match error {
            WatchError::Store(error) => Self::Call(error),
            WatchError::Discarded { .. } => Self::Watch(error),
        }
    }
}

impl CliError {
    /// The error for a value of an option or the environment that can't be used.
    pub(super) fn unusable(what: impl Display, error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Unusable { what: what.to_string(), cause: Cause::new(error) }
    }
}

/// The narrowest column of a paragraph.
const MIN_PARAGRAPH: usize = 20;

/// The lines of a text that has at most this width, broken between words. A longer word has a line of its own.
fn wrapped(text: &str, width: Option<usize>) -> Vec<String> {
    let Some(width) = width else { return vec![text.to_owned()] };
    let mut lines: Vec<String> = Vec::new();
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

/// Standard output and standard error.
pub(super) struct Output {
    /// What a user typed to call the program.
    program: &'static str,
    out: BufWriter<StdoutLock<'static>>,
}

impl Output {
    /// Locks standard output. `program` begins each line on standard error.
    pub(super) fn new(program: &'static str) -> Self {
        Self { program, out: BufWriter::new(io::stdout().lock()) }
    }

    /// Prints a line and flushes it, because a verb that runs until SIGTERM may print no other for long.
    pub(super) fn line(&mut self, text: &str) -> Result<(), CliError> {
        writeln!(self.out, "{}", printable(text))?;
        Ok(self.out.flush()?)
    }

    /// Prints a name on a line of its own.
    pub(super) fn name(&mut self, name: &impl Display) -> Result<(), CliError> {
        Ok(writeln!(self.out, "{}", printable(&name.to_string()))?)
    }

    /// Prints lines of text.
    pub(super) fn lines(&mut self, text: &str) -> Result<(), CliError> {
        writeln!(self.out, "{}", printable_lines(text))?;
        Ok(self.out.flush()?)
    }

    /// Prints what [`Output::diagnostics`] has rendered, with its colours. The renderer itself replaces control
    /// characters of the files that it shows.
    pub(super) fn rendered(&mut self, text: &str) -> Result<(), CliError> {
        self.verbatim(text)
    }

    /// Prints a text as it is. It must not have names or values from outside, which could act on a terminal.
    pub(super) fn verbatim(&mut self, text: &str) -> Result<(), CliError> {
        writeln!(self.out, "{text}")?;
        Ok(self.out.flush()?)
    }

    /// Prints a paragraph after a label. On a terminal, it breaks lines between words and indents them by the label's
    /// width; a command can then still be copied, because it has a line of its own.
    pub(super) fn paragraph(&mut self, label: &str, text: &str) -> Result<(), CliError> {
        self.styled_paragraph((Style::new(), label), (Style::new(), text))
    }

    /// Prints a paragraph whose label and text each have a style, if the output is for a terminal.
    pub(super) fn styled_paragraph(&mut self, label: (Style, &str), text: (Style, &str)) -> Result<(), CliError> {
        let is_coloured = self.is_coloured();
        let [(label_style, label), (style, text)] =
            [label, text].map(|(style, text)| (if is_coloured { style } else { Style::new() }, printable(text)));
        let columns = label.chars().count();
        let width = self.terminal_columns().map(|terminal| terminal.saturating_sub(columns).max(MIN_PARAGRAPH));
        for (i, line) in wrapped(&text, width).into_iter().enumerate() {
            match i {
                0 => write!(self.out, "{label_style}{label}{label_style:#}")?,
                _ => write!(self.out, "{:columns$}", "")?,
            }
            writeln!(self.out, "{style}{line}{style:#}")?;
        }
        Ok(self.out.flush()?)
    }

    /// Prints a line that is not part of the result on standard error.
    pub(super) fn warn(&mut self, text: &impl Display) {
        // With standard error closed, nobody can read the line.
        let _ = writeln!(io::stderr(), "{}: {}", self.program, printable_lines(&text.to_string()));
    }

    /// Prints a line that begins with a word in this style, if the output is for a terminal.
    pub(super) fn styled_line(&mut self, style: Style, word: &str, text: &str) -> Result<(), CliError> {
        let style = if self.is_coloured() { style } else { Style::new() };
        writeln!(self.out, "{style}{word}{style:#}{}", printable(text))?;
        Ok(self.out.flush()?)
    }

    /// Prints characters in their styles between two texts, with colours only where [`Output::styled_line`] has some.
    pub(super) fn styled_characters(
        &mut self,
        before: &str,
        characters: impl IntoIterator<Item = (char, Style)>,
        after: &str,
    ) -> Result<(), CliError> {
        let is_coloured = self.is_coloured();
        write!(self.out, "{}", printable(before))?;
        let mut current = Style::new();
        for (character, style) in characters {
            if is_coloured && style != current {
                write!(self.out, "{current:#}{style}")?;
                current = style;
            }
            write!(self.out, "{character}")?;
        }
        writeln!(self.out, "{current:#}{}", printable(after))?;
        Ok(self.out.flush()?)
    }

    /// Asks on standard error whether to go on, because standard output has the result; `None` if nobody can answer.
    pub(super) fn confirm(&mut self, question: &str) -> Result<Option<bool>, CliError> {
        let stdin = io::stdin();
        if !stdin.is_terminal() {
            return Ok(None);
        }
        write!(io::stderr(), "{} [y/N] ", printable(question))?;
        let mut answer = String::new();
        stdin.lock().read_line(&mut answer)?;
        Ok(Some(matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes")))
    }

    /// Prints a document for programs.
    pub(super) fn document(&mut self, document: &impl Serialize, encoding: Encoding) -> Result<(), CliError> {
        Ok(writeln!(self.out, "{}", encoding.encode(document)?)?)
    }

    /// Prints a JSON document for programs.
    pub(super) fn json(&mut self, document: &impl Serialize) -> Result<(), CliError> {
        self.document(document, Encoding::Json)
    }

    /// The renderer for mistakes in files: with colours and links on a terminal unless NO_COLOR or TERM forbids them,
    /// and as wide as the terminal.
    pub(super) fn diagnostics(&self) -> Renderer {
        if !self.is_coloured() {
            return Renderer::plain();
        }
        let styled = Renderer::styled();
        match self.terminal_columns() {
            Some(columns) => styled.term_width(columns),
            None => styled,
        }
    }

    /// Whether the output is for a terminal, and neither NO_COLOR (no-color.org) nor TERM forbids colours.
    fn is_coloured(&self) -> bool {
        let set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let is_dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        io::stdout().is_terminal() && !set("NO_COLOR") && !is_dumb
    }

    /// The columns of the terminal on standard output; `None` if it is none, or does not know.
    pub(super) fn terminal_columns(&self) -> Option<usize> {
        let size = io::stdout().is_terminal().then(|| rustix::termios::tcgetwinsize(io::stdout()))?;
        size.ok().map(|size| usize::from(size.ws_col)).filter(|columns| *columns > 0)
    }

    /// Starts a list of documents that is printed element by element.
    pub(super) fn stream_list(&mut self, encoding: Encoding) -> StreamList<'_> {
        StreamList::new(&mut self.out, encoding)
    }

    /// Prints a JSON document as one line, and flushes it.
    pub(super) fn json_line(&mut self, document: &impl Serialize) -> Result<(), CliError> {
        let text = serde_json::to_string(document).map_err(io::Error::from)?;
        writeln!(self.out, "{}", printable_json(&text))?;
        Ok(self.out.flush()?)
    }

    /// Prints parts as one line that fits the terminal, and flushes it. The first part is cut if it is too long, and the
    /// others are left out.
    pub(super) fn fitted_line(&mut self, parts: &[String]) -> Result<(), CliError> {
        let parts: Vec<_> = parts.iter().map(|part| printable(part)).collect();
        writeln!(self.out, "{}", fit::line(&parts, self.terminal_columns()))?;
        Ok(self.out.flush()?)
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

    /// Starts a table that is printed row by row. On a terminal it fits, elsewhere each row takes one line.
    pub(super) fn stream_table<const N: usize>(&mut self, head: [&str; N]) -> StreamTable<'_, N> {
        let columns = self.terminal_columns();
        StreamTable::new(&mut self.out, head, columns)
    }

    /// Prints why the arguments are invalid, or the help that they request.
    pub(super) fn usage(&mut self, error: &clap::Error) -> ExitCode {
        match error.print() {
            // A reader that closes the pipe early is no failure.
            Err(failure) if failure.kind() != ErrorKind::BrokenPipe => ExitCode::from(2),
            _ if error.exit_code() == 0 => ExitCode::SUCCESS,
            _ => ExitCode::from(2),
        }
    }

    /// The exit status of a verb. A reader that closes the pipe early is no failure.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_paragraph_breaks_between_words_and_loses_none() {
        for (width, expected) in [
            (None, vec!["one two three  fourfourfour"]),
            (Some(7), vec!["one two", "three ", "fourfourfour"]),
            (Some(3), vec!["one", "two", "three", "", "fourfourfour"]),
        ] {
            assert_eq!(wrapped("one two three  fourfourfour", width), expected);
        }
    }
}
