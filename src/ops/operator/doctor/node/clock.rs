//! `clock`: whether this node knows in which boot it is, and whether its time runs backwards.

use std::fs;
use std::path::Path;

use jiff::{SignedDuration, Timestamp};

use crate::explain::Tool;
use crate::ipam::lease::Began;
use crate::ipam::name::AttachmentId;
use crate::node::boot_id_file;
use crate::ops::operator::doctor::text::time_between;
use crate::ops::operator::doctor::{Context, Outcome, Remedy};
use crate::record::{ReadResult, Records};

/// Files may be this much younger than the clock says, because disks round times.
const TOLERANCE: SignedDuration = SignedDuration::from_secs(10);

pub(in crate::ops::operator::doctor) fn check(context: &mut Context<'_>, report: &mut dyn FnMut(Outcome)) {
    let began = &context.node.began;
    let now = Timestamp::now();
    let mut outcomes = Vec::new();
    if began.boot.is_empty() {
        let file = boot_id_file().display().to_string();
        outcomes.push(Outcome::warning(
            &file,
            format!(
                "the boot ID can't be read from {file}, so nothing of an earlier boot is ever shown gone on this node"
            ),
            Remedy::new("mount /proc, or name another file in the variable KUBE_IPAM_BOOT_ID_FILE")
                .command(Tool::Cat.run(&[&file])),
        ));
    }
    let newest = newest_record(&context.node.records);
    if let Some(newest) = newest.filter(|newest| newest.duration_since(Timestamp::now()) > TOLERANCE) {
        outcomes.push(Outcome::warning(
            "clock",
            format!(
                "this node's clock has gone back: a record was written in {}, at {newest:.0}",
                time_between(newest, now)
            ),
            Remedy::new("set the clock; times in the future delay cooldowns and the minimum age of sweeps")
                .command(Tool::Date.run(&["-u"])),
        ));
    }
    if let Some(ahead) = ahead_of_this_boot(&context.node.records) {
        outcomes.push(Outcome::warning(
            "boot",
            format!("{ahead} began later in this boot than now, so this machine was set back to a snapshot"),
            Remedy::new(
                "reboot it, so that its containers are made anew; kube-ipam can't tell which of them are later",
            ),
        ));
    }
    if outcomes.is_empty() {
        outcomes.push(Outcome::ok("clock", format!("it is {now:.0}, and no record is from the future")));
    }
    outcomes.into_iter().for_each(report);
}

/// When the newest file of the records was written.
fn newest_record(records: &Records) -> Option<Timestamp> {
    let modified = |path: &Path| Timestamp::try_from(fs::metadata(path).ok()?.modified().ok()?).ok();
    records.all().ok()?.iter().filter_map(|id| modified(&records.path(id))).max()
}

/// An attachment of this boot whose ADD began after now.
fn ahead_of_this_boot(records: &Records) -> Option<String> {
    let ids = records.all().ok()?;
    let began = |id: &AttachmentId| match records.peek(id) {
        Ok(ReadResult::Record(record)) => Some(record.began),
        _ => None,
    };
    let began: Vec<(String, Began)> = ids.iter().filter_map(|id| Some((id.to_string(), began(id)?))).collect();
    // Read after the records, because calls write them meanwhile.
    let now = Began::now(&boot_id_file());
    let is_ahead = |began: &Began| !now.boot.is_empty() && began.boot == now.boot && began.boottime > now.boottime;
    began.into_iter().find(|(_, began)| is_ahead(began)).map(|(id, _)| id)
}
