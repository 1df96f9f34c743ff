//! The output formats, in one place: what each verb may be asked for, and how a document is written.
//!
//! ```text
//!  Format       table, json, yaml                a report
//!  ListFormat   table, wide, json, yaml, name    a list, one element after the other
//!  Encoding     json, yaml                       how a document is written
//! ```
//!
//! A verb with a format of its own (`usage -o prometheus`, `plan -o sarif`) has its own list, and the same encodings.

use std::io;

use clap::{Args, ValueEnum};
use serde::Serialize;

use super::CliError;
use super::printable::{is_active, printable_json};

/// How a verb prints a report.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people
    #[default]
    Table,
    /// For programs
    Json,
    /// For programs, and to read
    Yaml,
}

/// How a verb prints a list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum ListFormat {
    /// For people
    #[default]
    Table,
    /// For people, with more columns
    Wide,
    /// For programs
    Json,
    /// For programs, and to read
    Yaml,
    /// One name on each line, for xargs
    Name,
}

/// The output format of a verb with a report.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct FormatArgs {
    /// Output format
    #[arg(short, long, value_enum, default_value_t, value_name = "FORMAT")]
    pub(crate) output: Format,
}

/// The output format of a verb with a list.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct ListFormatArgs {
    /// Output format
    #[arg(short, long, value_enum, default_value_t, value_name = "FORMAT")]
    pub(crate) output: ListFormat,
}

/// How a document for programs is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encoding {
    Json,
    Yaml,
}

impl Encoding {
    /// The text of a document, without a line end after it. Its control characters are escaped.
    pub(super) fn encode(self, document: &impl Serialize) -> Result<String, CliError> {
        if self == Self::Yaml {
            // Each text on one line, so that a document can be indented as an element of a list.
            let options = serde_saphyr::ser_options! { prefer_block_scalars: false };
            let text = serde_saphyr::to_string_with_options(document, options).map_err(io::Error::other)?;
            // Not every style of a YAML text has escapes. JSON has them, and is YAML (1.2.2, section 1.3).
            if !text.contains(is_active) {
                return Ok(text.trim_end_matches('\n').to_owned());
            }
        }
        let text = serde_json::to_string_pretty(document).map_err(io::Error::from)?;
        Ok(printable_json(&text).into_owned())
    }
}
