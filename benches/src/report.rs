//! The tables, in Markdown as in docs/performance.md, aligned for a terminal.

use std::collections::BTreeMap;
use std::fmt::{self, Display, Write};
use std::time::Duration;

use crate::contender::{Held, Verb, Who};
use crate::race::{AT_ONCE, BURST, Cell, Times};

pub(crate) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with these column headings.
    pub(crate) fn new<'a>(head: impl IntoIterator<Item = &'a str>) -> Self {
        Self { rows: vec![head.into_iter().map(str::to_owned).collect()] }
    }

    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }
}

impl Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |i: usize| self.rows.iter().filter_map(|row| Some(row.get(i)?.chars().count())).max().unwrap_or(0);
        let widths: Vec<usize> = (0..columns).map(width).collect();
        for (n, row) in self.rows.iter().enumerate() {
            for (cell, width) in row.iter().zip(&widths) {
                write!(f, "| {cell:width$} ")?;
            }
            writeln!(f, "|")?;
            if n == 0 {
                widths.iter().try_for_each(|width| write!(f, "|{:-<1$}", "", width + 2))?;
                writeln!(f, "|")?;
            }
        }
        Ok(())
    }
}

/// With whom a contender is compared.
pub(crate) type Beside = fn(Who) -> Who;

/// The floor of a contender's store.
pub(crate) fn floor_of(who: Who) -> Who {
    match who {
        Who::Embedded | Who::HostLocal | Who::FloorSqlite | Who::FloorCall => Who::FloorSqlite,
        Who::Etcd | Who::FloorEtcd | Who::Kubernetes | Who::Whereabouts => Who::FloorEtcd,
    }
}

/// The measurements on one medium.
pub(crate) struct Measured {
    pub medium: &'static str,
    pub fdatasync: Times,
    /// The times of ADD and DEL.
    pub times: BTreeMap<Cell, Times>,
    /// The times of the bursts, by contender.
    pub bursts: BTreeMap<Who, Times>,
}

impl Measured {
    fn median(&self, held: Held, verb: Verb, who: Who) -> Option<Duration> {
        self.times.get(&(held, verb, who)).map(Times::median)
    }

    pub(crate) fn ratio(&self, one: (Held, Who), other: (Held, Who), verb: Verb) -> Option<f64> {
        let (one, other) = (self.median(one.0, verb, one.1)?, self.median(other.0, verb, other.1)?);
        Some(one.as_secs_f64() / other.as_secs_f64())
    }

    /// The times of every cell beside those of others at the same fill level: the headings, and whom they compare with.
    pub(crate) fn calls(&self, beside: &[(&str, Beside)]) -> Table {
        let head = ["/16", "call", "", "median ms", "p95 ms"].into_iter();
        let head = head.chain(beside.iter().map(|(heading, _)| *heading)).chain(["× own empty", "calls"]);
        let mut table = Table::new(head);
        for ((held, verb, who), times) in &self.times {
            let of = |other| self.ratio((*held, *who), other, *verb).map(factor).unwrap_or_default();
            let mut row = vec![
                held.label().to_owned(),
                verb.name().to_owned(),
                who.label().to_owned(),
                milliseconds(times.median()),
                milliseconds(times.percentile(95)),
            ];
            row.extend(beside.iter().map(|(_, other)| of((*held, other(*who)))));
            row.extend([of((Held::Nothing, *who)), times.count().to_string()]);
            table.row(row);
        }
        table
    }

    /// The ratio of two contenders' bursts.
    pub(crate) fn burst_ratio(&self, one: Who, other: Who) -> Option<f64> {
        let of = |who| self.bursts.get(&who).map(|times| times.median().as_secs_f64());
        Some(of(one)? / of(other)?)
    }

    pub(crate) fn bursts(&self) -> Table {
        let what = format!("{BURST} ADDs, {AT_ONCE} at a time: median ms");
        let mut table = Table::new(["", &what, "ms a call"]);
        for (who, times) in &self.bursts {
            let each = times.median() / u32::try_from(BURST).unwrap_or(u32::MAX);
            table.row([who.label().to_owned(), milliseconds(times.median()), milliseconds(each)]);
        }
        table
    }

    /// The time of a sync.
    pub(crate) fn syncing(&self) -> String {
        let mut text = String::new();
        let (median, most) = (self.fdatasync.median(), self.fdatasync.percentile(95));
        // Writing to a String can't fail.
        let _ = write!(text, "fdatasync of 4 KiB: median {} ms, p95 {} ms", milliseconds(median), milliseconds(most));
        text
    }
}

/// Milliseconds with two decimals.
pub(crate) fn milliseconds(time: Duration) -> String {
    format!("{:.2}", time.as_secs_f64() * 1000.0)
}

/// A ratio with two decimals.
pub(crate) fn factor(ratio: f64) -> String {
    format!("{ratio:.2}")
}

/// The goals, each with its measurement and whether it is met.
pub(crate) struct Goals(Table);

impl Goals {
    pub(crate) fn new() -> Self {
        Self(Table::new(["wanted", "at most", "measured", "met"]))
    }

    /// Adds a goal. It is not met if it was not measured.
    pub(crate) fn want(&mut self, what: &str, at_most: f64, measured: Option<f64>) {
        let met = if measured.is_some_and(|measured| measured <= at_most) { "yes" } else { "**no**" };
        let measured = measured.map_or_else(|| "not measured".to_owned(), factor);
        self.0.row([what.to_owned(), at_most.to_string(), measured, met.to_owned()]);
    }
}

impl Display for Goals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
