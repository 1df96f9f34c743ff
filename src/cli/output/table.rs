//! A table for people: columns with two spaces between them and no lines, so that it can be cut and grepped.
//!
//! A table of one page is as wide as its cells. In a longer one, the first page sets the widths, so that memory does
//! not grow with the table. A wider cell on a later page pushes the rest of its row to the right. On a terminal, the
//! table fits it ([`super::fit`]); elsewhere, each row takes one line.

use std::io::Write;

use super::CliError;
use super::fit::Layout;
use super::printable::printable;

/// How many rows set the widths of the columns.
const MEASURED_ROWS: usize = 1000;

/// The spaces between two columns.
pub(super) const GAP: usize = 2;

/// A table that is printed row by row. Without rows, it prints nothing.
pub(crate) struct StreamTable<'a, const N: usize> {
    out: &'a mut dyn Write,
    /// The width of the terminal, if the output is for one.
    columns: Option<usize>,
    head: [String; N],
    layout: Option<Layout<N>>,
    /// The first rows, until there is a layout.
    measured: Vec<[String; N]>,
    printed: usize,
}

impl<'a, const N: usize> StreamTable<'a, N> {
    pub(super) fn new(out: &'a mut dyn Write, head: [&str; N], columns: Option<usize>) -> Self {
        let head = head.map(str::to_owned);
        Self { out, columns, head, layout: None, measured: Vec::new(), printed: 0 }
    }

    /// Adds a row.
    pub(crate) fn push(&mut self, row: [String; N]) -> Result<(), CliError> {
        let row = row.map(|cell| printable(&cell).into_owned());
        match self.layout.take() {
            Some(layout) => {
                self.print(&layout, &row)?;
                self.layout = Some(layout);
                Ok(())
            }
            None => {
                self.measured.push(row);
                if self.measured.len() < MEASURED_ROWS { Ok(()) } else { self.flush() }
            }
        }
    }

    /// Ends the table. Returns the number of rows.
    pub(crate) fn end(mut self) -> Result<usize, CliError> {
        if !self.measured.is_empty() {
            self.flush()?;
        }
        self.out.flush()?;
        Ok(self.printed)
    }

    fn flush(&mut self) -> Result<(), CliError> {
        let rows = std::mem::take(&mut self.measured);
        let layout = Layout::new(&self.head, &rows, self.columns);
        layout.print_head(self.out, &self.head)?;
        rows.iter().try_for_each(|row| self.print(&layout, row))?;
        self.layout = Some(layout);
        Ok(())
    }

    fn print(&mut self, layout: &Layout<N>, row: &[String; N]) -> Result<(), CliError> {
        if self.printed > 0 {
            layout.print_gap(self.out)?;
        }
        self.printed += 1;
        Ok(layout.print_row(self.out, &self.head, row)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn printed(rows: impl IntoIterator<Item = [String; 2]>) -> Result<(usize, String), Box<dyn std::error::Error>> {
        let mut out = Vec::new();
        let mut table = StreamTable::new(&mut out, ["NAME", "VALUE"], None);
        rows.into_iter().try_for_each(|row| table.push(row))?;
        let rows = table.end()?;
        Ok((rows, String::from_utf8(out)?))
    }

    #[test]
    fn a_short_table_is_as_wide_as_its_cells() -> Result<(), Box<dyn std::error::Error>> {
        let (rows, text) = printed([["a".to_owned(), "1".to_owned()], ["longer".to_owned(), String::new()]])?;
        assert_eq!((rows, text.as_str()), (2, "NAME    VALUE\na       1\nlonger\n"));
        assert_eq!(printed([])?, (0, String::new()));
        Ok(())
    }

    #[test]
    fn a_long_table_is_printed_before_its_end_with_the_widths_of_its_first_rows()
    -> Result<(), Box<dyn std::error::Error>> {
        let short = (0..MEASURED_ROWS).map(|_| ["a".to_owned(), "1".to_owned()]);
        let (rows, text) = printed(short.chain([["longer".to_owned(), "2".to_owned()]]))?;
        assert_eq!(rows, MEASURED_ROWS + 1);
        assert!(text.starts_with("NAME  VALUE\na     1\n") && text.ends_with("\nlonger  2\n"), "{rows}");
        Ok(())
    }
}
