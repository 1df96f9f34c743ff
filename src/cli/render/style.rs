//! The styles of texts on a terminal.

use anstyle::{AnsiColor, Style};

/// What is as it should be.
pub(super) const GOOD: Style = AnsiColor::Green.on_default();

/// What somebody should look at.
pub(super) const WARNING: Style = AnsiColor::Yellow.on_default().bold();

/// What is wrong.
pub(super) const WRONG: Style = AnsiColor::Red.on_default().bold();

/// What may be overlooked.
pub(super) const DIMMED: Style = Style::new().dimmed();

/// The answer, and headings.
pub(super) const STRONG: Style = Style::new().bold();
