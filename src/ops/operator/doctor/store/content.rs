//! `store-entries`, `attachments`, `store-times` and `ranges`: what is in the store. It is read once, page by page, for all of them.

use std::rc::Rc;

use jiff::Timestamp;

use super::contents::Contents;
use crate::ops::operator::doctor::subject::Subject;
use crate::ops::operator::doctor::{Context, Outcome};
use crate::store::StoreConfig;

fn with_contents(
    context: &mut Context<'_>,
    report: &mut dyn FnMut(Outcome),
    check: impl FnOnce(&Contents, &StoreConfig, &mut dyn FnMut(Outcome)),
) {
    let Some(store) = context.readable_store().or_skip(report) else { return };
    let contents = match &context.cached.contents {
        Some(contents) => Rc::clone(contents),
        None => {
            let progress = context.progress();
            let session = context.session();
            let read = session.and_then(|session| Contents::read(session, Timestamp::now(), &progress));
            let contents = Rc::new(read.map_err(|error| error.message().to_string()));
            Rc::clone(context.cached.contents.insert(contents))
        }
    };
    match &*contents {
        Ok(contents) => check(contents, store, report),
        Err(why) => report(Subject::new(store.to_string()).skipped(format!("it could not be read as a whole: {why}"))),
    }
}

pub(in crate::ops::operator::doctor) fn entries(context: &mut Context<'_>, report: &mut dyn FnMut(Outcome)) {
    let next = &context.options.commands;
    with_contents(context, report, |contents, store, report| report(contents.entries(store, next)));
}

pub(in crate::ops::operator::doctor) fn attachments(context: &mut Context<'_>, report: &mut dyn FnMut(Outcome)) {
    let next = &context.options.commands;
    with_contents(context, report, |contents, store, report| {
        contents.attachments(store, next).into_iter().for_each(report);
    });
}

pub(in crate::ops::operator::doctor) fn times(context: &mut Context<'_>, report: &mut dyn FnMut(Outcome)) {
    with_contents(context, report, |contents, store, report| report(contents.times(store)));
}

pub(in crate::ops::operator::doctor) fn ranges(context: &mut Context<'_>, report: &mut dyn FnMut(Outcome)) {
    let next = &context.options.commands;
    with_contents(context, report, |contents, store, report| {
        contents.ranges(store, next).into_iter().for_each(report);
    });
}
