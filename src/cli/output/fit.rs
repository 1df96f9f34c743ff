//! The layout of a table, which fits a terminal.
//!
//! ```text
//! fits             one line for each row
//! too wide         the widest columns become narrower, and their cells take several lines
//! still too wide   the columns with the longest words stand below each row, as few as possible, but not most of them
//! still too wide   each cell below the other, with the name of its column
//! ```
//!
//! A cell is broken only between words, so that an address or a name can always be read, copied and searched for.

use std::io::{self, Write};

use super::table::GAP;

/// How far a cell below its row is indented.
const INDENT: usize = 4;

/// How the rows of a table are printed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Layout<const N: usize> {
    /// On one line each, however long it gets.
    Lines([usize; N]),
    /// With cells of several lines.
    Beside([usize; N]),
    /// The same, with some columns below each row.
    Hung { widths: [usize; N], hung: [bool; N], columns: usize },
    /// Each cell on lines of its own, after the name of its column.
    Records { names: usize, columns: usize },
}

impl<const N: usize> Layout<N> {
    /// The layout for these rows in at most this many columns, unless a single word is longer. Without a limit, each
    /// row has one line.
    pub(super) fn new(head: &[String; N], rows: &[[String; N]], columns: Option<usize>) -> Self {
        let measures = Measures::new(head, rows);
        let Some(columns) = columns else { return Self::Lines(measures.cells) };
        let mut hung = [false; N];
        if let Some(widths) = measures.widths(columns, &hung) {
            return Self::Beside(widths);
        }
        for _ in 0..N / 2 {
            hung[measures.longest_words(&hung)] = true;
            if let Some(widths) = measures.widths(columns, &hung) {
                return Self::Hung { widths, hung, columns };
            }
        }
        Self::Records { names: head.iter().map(|name| length(name)).max().unwrap_or(0), columns }
    }

    /// Prints the names of the columns. Records have them in each row.
    pub(super) fn print_head(&self, out: &mut dyn Write, head: &[String; N]) -> io::Result<()> {
        if matches!(self, Self::Records { .. }) { Ok(()) } else { self.print_row(out, head, head) }
    }

    /// Prints a row.
    pub(super) fn print_row(&self, out: &mut dyn Write, head: &[String; N], row: &[String; N]) -> io::Result<()> {
        match self {
            Self::Lines(widths) => {
                let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}"));
                writeln!(out, "{}", cells.collect::<Vec<_>>().join(&" ".repeat(GAP)).trim_end())
            }
            Self::Beside(widths) => print_beside(out, row, widths, &[false; N]),
            Self::Hung { widths, hung, columns } => {
                print_beside(out, row, widths, hung)?;
                let cells = row.iter().zip(hung).filter(|(_, is_hung)| **is_hung).map(|(cell, _)| cell.as_str());
                for line in lines_of_cells(cells, columns.saturating_sub(INDENT)) {
                    writeln!(out, "{}{line}", " ".repeat(INDENT))?;
                }
                Ok(())
            }
            Self::Records { names, columns } => print_record(out, head, row, *names, *columns),
        }
    }

    /// Prints what is between two rows.
    pub(super) fn print_gap(&self, out: &mut dyn Write) -> io::Result<()> {
        if matches!(self, Self::Records { .. }) { writeln!(out) } else { Ok(()) }
    }
}

/// A line of as many of these parts as fit. The first one is there in any case, and is cut if it is too long.
pub(super) fn line(parts: &[impl AsRef<str>], columns: Option<usize>) -> String {
    let room = columns.unwrap_or(usize::MAX);
    let mut parts = parts.iter().map(AsRef::as_ref);
    let mut line = parts.next().unwrap_or_default().to_owned();
    if length(&line) > room {
        line = line.chars().take(room.saturating_sub(1)).chain(['…']).collect();
    }
    for part in parts {
        if length(&line) + 2 + length(part) > room {
            break;
        }
        line = format!("{line}, {part}");
    }
    line
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

    /// The column with the longest word, of those that are not hung. The first one says what a row is about, and stays
    /// there.
    fn longest_words(&self, hung: &[bool; N]) -> usize {
        (1..N).filter(|column| !hung[*column]).max_by_key(|column| self.words[*column]).unwrap_or(0)
    }

    /// The widths of the columns beside each other, without those that are hung; `None` if their words do not fit.
    fn widths(&self, columns: usize, hung: &[bool; N]) -> Option<[usize; N]> {
        let (mut widths, mut words) = (self.cells, self.words);
        let mut room = columns.saturating_sub(GAP * N.saturating_sub(1));
        for column in (0..N).filter(|column| hung[*column]) {
            (widths[column], words[column]) = (0, 0);
            room += GAP;
        }
        while widths.iter().sum::<usize>() > room {
            let can_shrink = widths.iter_mut().zip(words).filter(|(width, word)| **width > *word);
            *can_shrink.map(|(width, _)| width).max()? -= 1;
        }
        Some(widths)
    }
}

fn print_beside<const N: usize>(
    out: &mut dyn Write,
    row: &[String; N],
    widths: &[usize; N],
    hung: &[bool; N],
) -> io::Result<()> {
    let beside = (0..N).filter(|column| !hung[*column]);
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

fn print_record<const N: usize>(
    out: &mut dyn Write,
    head: &[String; N],
    row: &[String; N],
    names: usize,
    columns: usize,
) -> io::Result<()> {
    let gap = " ".repeat(GAP);
    for (name, cell) in head.iter().zip(row) {
        for (i, line) in lines(cell, columns.saturating_sub(names + GAP)).iter().enumerate() {
            let name = if i == 0 { name } else { "" };
            writeln!(out, "{}", format!("{name:<names$}{gap}{line}").trim_end())?;
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

/// The lines of several cells: beside each other where they fit.
fn lines_of_cells<'a>(cells: impl Iterator<Item = &'a str>, width: usize) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    for cell in cells {
        match all.last_mut() {
            Some(line) if length(line) + GAP + length(cell) <= width => {
                line.push_str(&" ".repeat(GAP));
                line.push_str(cell);
            }
            _ => all.extend(lines(cell, width)),
        }
    }
    all
}

fn length(text: &str) -> usize {
    text.chars().count()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROW: [&str; 3] = ["Deployment app/web", "2", "10.1.0.10, by annotation kube-ipam.net1.ip (web.yaml:12)"];

    fn printed(columns: usize) -> Result<String, Box<dyn std::error::Error>> {
        let (mut out, head, row) =
            (Vec::new(), ["WORKLOAD", "PODS", "GETS"].map(str::to_owned), ROW.map(str::to_owned));
        let layout = Layout::new(&head, std::slice::from_ref(&row), Some(columns));
        layout.print_head(&mut out, &head)?;
        layout.print_row(&mut out, &head, &row)?;
        Ok(String::from_utf8(out)?)
    }

    #[test]
    fn a_line_has_the_parts_that_fit_and_at_least_the_beginning_of_the_first() {
        let parts = ["assigned to pod", "fixed", "network lan"];
        for (columns, expected) in [
            (None, "assigned to pod, fixed, network lan"),
            (Some(35), "assigned to pod, fixed, network lan"),
            (Some(34), "assigned to pod, fixed"),
            (Some(21), "assigned to pod"),
            (Some(15), "assigned to pod"),
            (Some(14), "assigned to p…"),
            (Some(1), "…"),
        ] {
            assert_eq!(line(&parts, columns), expected, "{columns:?}");
        }
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
    fn several_columns_stand_below_where_one_is_not_enough() -> Result<(), Box<dyn std::error::Error>> {
        let (mut out, head) = (Vec::new(), ["ADDRESS", "STATE", "POD", "NODE", "CONTAINER"].map(str::to_owned));
        let rows = [
            ["10.1.0.10", "held", "database/db-0", "worker-1", "c0ffee012345"].map(str::to_owned),
            ["10.1.0.11", "held", "database/a-pod-with-a-long-name", "worker-1", "c0ffee012345"].map(str::to_owned),
        ];
        let layout = Layout::new(&head, &rows, Some(34));
        layout.print_head(&mut out, &head)?;
        rows.iter().try_for_each(|row| layout.print_row(&mut out, &head, row))?;
        insta::assert_snapshot!(String::from_utf8(out)?, @r"
        ADDRESS    STATE  NODE
            POD  CONTAINER
        10.1.0.10  held   worker-1
            database/db-0  c0ffee012345
        10.1.0.11  held   worker-1
            database/a-pod-with-a-long-name
            c0ffee012345
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
