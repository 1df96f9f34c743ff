//! `records`, `record-containers` and `record-stores`: what the records of this node's attachments say.

use std::collections::BTreeMap;
use std::path::Path;

use crate::cause::chain;
use crate::explain::Tool;
use crate::ipam::takeover::GoneReason;
use crate::ops::containers::gone_reason;
use crate::ops::operator::doctor::text::{counted, first_of};
use crate::ops::operator::doctor::{Context, Outcome, Remedy};
use crate::record::{ReadResult, Record, RecordError, RecordState, UnreadableRecord};

/// The most records that are reported one by one.
const MAX_REPORTED: usize = 10;

/// What a full or read-only disk, or another user's folder, looks like.
fn unlisted(context: &Context<'_>, error: &RecordError) -> Outcome {
    let object = context.node.records.folder().display().to_string();
    let message = format!("no ADD works on this node: {}", chain(error));
    Outcome::error(&object, message, Remedy::new(error.details()).command(Tool::Ls.run(&["-ld", &object])))
}

/// The records that are no deferred releases.
fn records(context: &Context<'_>) -> Result<Vec<Record>, RecordError> {
    let mut found = Vec::new();
    for id in context.node.records.all()? {
        if let ReadResult::Record(record) = context.node.records.peek(&id)?
            && record.state != RecordState::Releasing
        {
            found.push(*record);
        }
    }
    Ok(found)
}

/// Whether each record can be read, and whether another folder belongs to this node.
pub(in crate::ops::operator::doctor) fn check_files(context: &mut Context<'_>, report: &mut dyn FnMut(Outcome)) {
    let records = &context.node.records;
    let ids = match records.all() {
        Ok(ids) => ids,
        Err(error) => return report(unlisted(context, &error)),
    };
    let (mut readable, mut unreadable) = (0, 0);
    for id in ids {
        match records.peek(&id) {
            Ok(ReadResult::Unreadable { path, why }) => {
                unreadable += 1;
                if unreadable <= MAX_REPORTED {
                    report(of_unreadable(&path, &why));
                }
            }
            Ok(_) => readable += 1,
            Err(error) => return report(unlisted(context, &error)),
        }
    }
    if unreadable > MAX_REPORTED {
        let folder = records.folder().display().to_string();
        let message = format!("{} more records in {folder} can't be read", unreadable - MAX_REPORTED);
        let remedy = Remedy::new("look whether the disk is damaged")
            .command(Tool::Dmesg.run(&["--level=err"]).piped_to(&Tool::Tail.run(&[])));
        report(Outcome::warning(&folder, message, remedy));
    }
    if let Some(outcome) = of_other_names(context) {
        report(outcome);
    }
    let folder = records.folder().display().to_string();
    report(Outcome::ok(&folder, format!("{} in {folder} can be read", counted(readable, "record", "records"))));
}

fn of_unreadable(path: &Path, why: &UnreadableRecord) -> Outcome {
    let object = path.display().to_string();
    let message = format!("the record {object} says nothing of what its container holds: {}", chain(why));
    let look = Tool::Tail.run(&["-n", "1", &object]);
    let remedy = match why {
        UnreadableRecord::Newer(_) => {
            Remedy::new("install the newer kube-ipam again, which wrote it; the DEL of its container works either way")
        }
        UnreadableRecord::Foreign(_) => Remedy::new("rename the file back, or restore it; somebody has moved it").command(look),
        UnreadableRecord::Torn(_) | UnreadableRecord::Empty => Remedy::new(
            "nothing if its container runs: its DEL reads the store instead; CNI GC and sweep --node overlook it until then",
        )
        .command(look),
    };
    Outcome::warning(&object, message, remedy)
}

/// A folder of another name with attachments of this boot: the node was renamed.
fn of_other_names(context: &Context<'_>) -> Option<Outcome> {
    let boot = &context.node.began.boot;
    let settings = context.node.settings;
    let names = context.node.records.other_folders().ok()?;
    let is_own = |record: &Record| !boot.is_empty() && record.began.boot == *boot;
    let own = names.iter().find(|name| {
        let others = crate::record::Records::new(&settings.state_dir, name);
        let mut ids = others.all().unwrap_or_default().into_iter();
        ids.any(|id| matches!(others.peek(&id), Ok(ReadResult::Record(record)) if is_own(&record)))
    })?;
    let message = format!(
        "node {} was called {own} before, and the records of that name are not searched by GC and sweeps",
        settings.node
    );
    let remedy = format!("add \"formerNodeNames\": [\"{own}\"] to the node defaults, or correct `nodeName`");
    Some(Outcome::warning(own.as_str(), message, Remedy::new(remedy)))
}

/// Whether the containers of the records exist.
pub(in crate::ops::operator::doctor) fn check_containers(context: &mut Context<'_>, report: &mut dyn FnMut(Outcome)) {
    let records = match records(context) {
        Ok(records) => records,
        Err(error) => return report(unlisted(context, &error)),
    };
    let boot = &context.node.began.boot;
    let mut gone: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for record in &records {
        let why = match gone_reason(record, boot) {
            Some(GoneReason::EarlierBoot) => "an earlier boot",
            Some(_) => "a network namespace that is gone",
            None => continue,
        };
        gone.entry(why).or_default().push(attachment(record));
    }
    let commands = &context.options.commands;
    for (why, attachments) in &gone {
        let message = format!(
            "{} of {why}: no DEL has come for {}",
            counted(attachments.len(), "record is", "records are"),
            first_of(attachments)
        );
        let remedy = Remedy::new(
            "free what no pod needs: on this node what it can tell alone, in the whole cluster what the API server confirms",
        )
        .command(commands.sweep(&["--node", "--dry-run"]))
        .command(commands.sweep(&["--dry-run"]));
        report(Outcome::warning(*why, message, remedy));
    }
    let running = records.len() - gone.values().map(Vec::len).sum::<usize>();
    report(Outcome::ok(
        "containers",
        format!("{} of containers that may run", counted(running, "record is", "records are")),
    ));
}

/// Whether the records name the store of the node defaults.
pub(in crate::ops::operator::doctor) fn check_stores(context: &mut Context<'_>, report: &mut dyn FnMut(Outcome)) {
    let Ok(store) = &context.node.settings.store else {
        let message = "the store is not known, because its configuration is wrong, see above";
        return report(Outcome::skipped("store", message));
    };
    let records = match records(context) {
        Ok(records) => records,
        Err(error) => return report(unlisted(context, &error)),
    };
    let mut elsewhere: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for record in records.iter().filter(|record| record.store.place() != store.place()) {
        elsewhere.entry(record.store.to_string()).or_default().push(attachment(record));
    }
    for (other, attachments) in &elsewhere {
        let message = format!(
            "{} addresses in {other}, and not in {store}: {}",
            counted(attachments.len(), "record has", "records have"),
            first_of(attachments)
        );
        let remedy = Remedy::new(
            "keep that store reachable until these pods have been recreated; if it was moved, write the same name for it \
             everywhere",
        );
        report(Outcome::warning(other, message, remedy));
    }
    if elsewhere.is_empty() {
        report(Outcome::ok("store", format!("all records have their addresses in {store}")));
    }
}

/// An attachment as a person knows it.
fn attachment(record: &Record) -> String {
    let (container, ifname) = (&record.id.container, &record.id.ifname);
    let container: String = container.as_str().chars().take(12).collect();
    let holder = record.held.as_ref().and_then(|held| held.attachment.holder.as_ref());
    let pod = record.pod.label().or_else(|| holder?.pod.label());
    match pod {
        Some(pod) => format!("pod {pod} ({ifname} of container {container})"),
        None => format!("{ifname} of container {container}"),
    }
}
