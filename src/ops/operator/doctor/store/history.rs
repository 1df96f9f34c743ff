//! `recovery` and `records-in-store`: whether the store has gone back in time.

use jiff::Timestamp;

use super::recovery;
use crate::ops::operator::doctor::subject::Subject;
use crate::ops::operator::doctor::{Context, Outcome};
use crate::ops::recovery::{compare_records, nodes, progress};

pub(in crate::ops::operator::doctor) fn recovery(context: &mut Context<'_>, report: &mut dyn FnMut(Outcome)) {
    let Some(store) = context.readable_store().or_skip(report) else { return };
    let deadline = context.deadline();
    let progress = match context.session().and_then(|session| progress(session, deadline)) {
        Ok(progress) => progress,
        Err(error) => {
            let why = format!("whether it recovers could not be read: {}", error.message());
            return report(Subject::new(store.to_string()).skipped(why));
        }
    };
    let missing = match &progress.current {
        None => Ok(Vec::new()),
        Some(_) => {
            let nodes = nodes(context.node.settings, store, context.deadline());
            nodes.map(|nodes| progress.missing(&nodes).into_iter().cloned().collect())
        }
    };
    let own = context.is_node.then_some(&context.node.settings.node);
    report(recovery::progress(store, &progress, &missing, own, Timestamp::now(), &context.options.commands));
}

pub(in crate::ops::operator::doctor) fn records(context: &mut Context<'_>, report: &mut dyn FnMut(Outcome)) {
    if !context.is_node {
        let why = "this machine is no node of kube-ipam, so it has no records to compare; run it on a node";
        return report(Subject::whole("records").skipped(why));
    }
    let Some(store) = context.readable_store().or_skip(report) else { return };
    let (node, timeout) = (context.node.settings.node.clone(), context.deadline().remaining());
    report(match compare_records(&mut context.node, store, timeout) {
        Ok(comparison) => recovery::records(&node, &comparison, &context.options.commands),
        Err(error) => {
            let why = format!("its records could not be compared with the store: {}", error.message());
            Subject::new(format!("node {node}")).skipped(why)
        }
    });
}
