//! `sqlite-…`: the files of an embedded store. Without one, these checks have nothing to report.

use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use super::sqlite::{self, Inspected, Judge};
use crate::ops::operator::doctor::{Context, Outcome};
use crate::store::{StoreConfig, inspect_sqlite};

/// How long the integrity check may block ADD and DEL. They wait longer than that for a lock.
const CHECK_TIMEOUT: Duration = Duration::from_secs(2);

fn inspected<'a>(context: &mut Context<'a>) -> Option<(&'a Path, Rc<Inspected>)> {
    let Some(StoreConfig::Embedded { data_dir }) = context.store() else { return None };
    // The check of the store's response says that there is none yet.
    if !data_dir.is_dir() {
        return None;
    }
    let inspected = context.cached.sqlite.get_or_insert_with(|| Rc::new(inspect_sqlite(data_dir, CHECK_TIMEOUT)));
    Some((data_dir, Rc::clone(inspected)))
}

fn judge(context: &mut Context<'_>, report: &mut dyn FnMut(Outcome), judge: Judge) {
    if let Some((folder, inspected)) = inspected(context) {
        sqlite::judged(folder, &inspected, judge).into_iter().for_each(report);
    }
}

pub(in crate::ops::operator::doctor) fn file(context: &mut Context<'_>, report: &mut dyn FnMut(Outcome)) {
    if let Some((folder, inspected)) = inspected(context) {
        report(sqlite::file(folder, &inspected));
    }
}

pub(in crate::ops::operator::doctor) fn integrity(context: &mut Context<'_>, report: &mut dyn FnMut(Outcome)) {
    judge(context, report, sqlite::integrity);
}

pub(in crate::ops::operator::doctor) fn journal(context: &mut Context<'_>, report: &mut dyn FnMut(Outcome)) {
    judge(context, report, sqlite::journal);
}

pub(in crate::ops::operator::doctor) fn place(context: &mut Context<'_>, report: &mut dyn FnMut(Outcome)) {
    judge(context, report, sqlite::place);
}
