//! A table that fits a terminal.
//!
//! ```text
//! fits             one line for each row
//! too wide         the widest columns become narrower, and their cells take several lines
//! still too wide   the column with the longest words stands below each row
//! still too wide   each cell below the other, with the name of its column
//! ```
//!
//! A cell is broken only between words, so that an address or a name can always be read, copied and searched for.

use std::io::{self, Write};

use super::table::GAP;

/// How far a cell below its row is indented.
const INDENT: usize = 4;

/// Prints rows of a table in at most `columns`, unless a single word is longer. Without rows, prints nothing.
pub(super) fn print<const N: usize>(
    out: &mut dyn Write,
    head: [&str; N],
    rows: &[[String; N]],
    columns: usize,
) -> io::Result<()> {
    if rows.is_empty() {
        return Ok(());
    }
    let head = head.map(str::to_owned);
    let measures = Measures::new(&head, rows);
    if let Some(widths) = measures.widths(columns, None) {
        return std::iter::once(&head).chain(rows).try_for_each(|row| print_row(out, row, &widths, None));
    }
    let hung = measures.longest_words();
    let Some(widths) = measures.widths(columns, Some(hung)) else { return print_records(out, &head, rows, columns) };
    for row in std::iter::once(&head).chain(rows) {
        print_row(out, row, &widths, Some(hung))?;
        for line in lines(&row[hung], columns.saturating_sub(INDENT)) {
            writeln!(out, "{}{line}", " ".repeat(INDENT))?;
        }
    }
    Ok(())
}

/// The lengths of each column's longest cell and longest word.
struct Measures<const N: usize> {
    cells: [usize; N],
    words: [usize; N],
}

impl<const N: usize> Measures<N> {
    fn new(head: &[String; N], rows: &[[String; N]]) -> Self {
        let (mut cells, mut words) = ([0; N], [0; N]);
        for row in rows.iter().chain([head]) {
            for (column, cell) in row.iter().enumerate() {
                cells[column] = length(cell).max(cells[column]);
                words[column] = cell.split(' ').map(length).max().unwrap_or(0).max(words[column]);
            }
        }
        Self { cells, words }
    }

    /// The column with the longest word. The first one says what a row is about, and stays there.
    fn longest_words(&self) -> usize {
        (1..N).max_by_key(|column| self.words[*column]).unwrap_or(0)
    }

    /// The widths of the columns beside each other, without that of `hung`; `None` if their words do not fit.
    fn widths(&self, columns: usize, hung: Option<usize>) -> Option<[usize; N]> {
        let (mut widths, mut words) = (self.cells, self.words);
        let mut room = columns.saturating_sub(GAP * N.saturating_sub(1));
        if let Some(hung) = hung {
            (widths[hung], words[hung]) = (0, 0);
            room += GAP;
        }
        while widths.iter().sum::<usize>() > room {
            let can_shrink = widths.iter_mut().zip(words).filter(|(width, word)| **width > *word);
            *can_shrink.map(|(width, _)| width).max()? -= 1;
        }
        Some(widths)
    }
}

fn print_row<const N: usize>(
    out: &mut dyn Write,
    row: &[String; N],
    widths: &[usize; N],
    hung: Option<usize>,
) -> io::Result<()> {
    let beside = (0..N).filter(|column| Some(*column) != hung);
    let cells: Vec<(Vec<String>, usize)> =
        beside.map(|column| (lines(&row[column], widths[column]), widths[column])).collect();
    for i in 0..cells.iter().map(|(lines, _)| lines.len()).max().unwrap_or(0) {
        let line = cells.iter().map(|(lines, width)| {
            let part = lines.get(i).map_or("", String::as_str);
            format!("{part:<width$}")
        });
        writeln!(out, "{}", line.collect::<Vec<_>>().join(&" ".repeat(GAP)).trim_end())?;
    }
    Ok(())
}

fn print_records<const N: usize>(
    out: &mut dyn Write,
    head: &[String; N],
    rows: &[[String; N]],
    columns: usize,
) -> io::Result<()> {
    let width = head.iter().map(|name| length(name)).max().unwrap_or(0);
    let gap = " ".repeat(GAP);
    for (i, row) in rows.iter().enumerate() {
        if i > 0 {
            writeln!(out)?;
        }
        for (name, cell) in head.iter().zip(row) {
            for (i, line) in lines(cell, columns.saturating_sub(width + GAP)).iter().enumerate() {
                let name = if i == 0 { name } else { "" };
                writeln!(out, "{}", format!("{name:<width$}{gap}{line}").trim_end())?;
            }
        }
    }
    Ok(())
}

/// The lines of a cell in a column of this width. A word that is longer has a line of its own.
fn lines(cell: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in cell.split(' ') {
        match lines.last_mut() {
            Some(line) if length(line) + 1 + length(word) <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

fn length(text: &str) -> usize {
    text.chars().count()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROW: [&str; 3] = ["Deployment app/web", "2", "10.1.0.10, by annotation kube-ipam.net1.ip (web.yaml:12)"];

    fn printed(columns: usize) -> Result<String, Box<dyn std::error::Error>> {
        let mut out = Vec::new();
        print(&mut out, ["WORKLOAD", "PODS", "GETS"], &[ROW.map(str::to_owned)], columns)?;
        Ok(String::from_utf8(out)?)
    }

    #[test]
    fn a_row_takes_one_line_where_it_fits() -> Result<(), Box<dyn std::error::Error>> {
        let text = printed(82)?;
        assert_eq!(text.lines().count(), 2, "{text}");
        assert_eq!(printed(200)?, text);
        assert_eq!(printed(81)?.lines().count(), 3);
        Ok(())
    }

    #[test]
    fn a_row_is_broken_between_words_where_it_does_not_fit() -> Result<(), Box<dyn std::error::Error>> {
        insta::assert_snapshot!(printed(46)?, @r"
        WORKLOAD            PODS  GETS
        Deployment app/web  2     10.1.0.10, by
                                  annotation
                                  kube-ipam.net1.ip
                                  (web.yaml:12)
        ");
        Ok(())
    }

    #[test]
    fn the_column_with_the_longest_words_stands_below_where_they_do_not_fit_beside_the_others()
    -> Result<(), Box<dyn std::error::Error>> {
        insta::assert_snapshot!(printed(32)?, @r"
        WORKLOAD            PODS
            GETS
        Deployment app/web  2
            10.1.0.10, by annotation
            kube-ipam.net1.ip
            (web.yaml:12)
        ");
        Ok(())
    }

    #[test]
    fn no_number_of_columns_cuts_a_word() -> Result<(), Box<dyn std::error::Error>> {
        for columns in 0..90 {
            let text = printed(columns)?;
            for word in ROW.iter().flat_map(|cell| cell.split(' ')) {
                assert!(text.split_whitespace().any(|found| found == word), "{columns}: {word}\n{text}");
            }
        }
        insta::assert_snapshot!(printed(15)?, @r"
        WORKLOAD  Deployment
                  app/web
        PODS      2
        GETS      10.1.0.10,
                  by
                  annotation
                  kube-ipam.net1.ip
                  (web.yaml:12)
        ");
        Ok(())
    }
}
