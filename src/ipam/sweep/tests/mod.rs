//! Sweeps without a backend: candidates, case by case; two scans; and random histories compared with a model.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test's verdict is a panic")]

mod cases;
mod history;
mod plans;
mod two_passes;
mod unnamed;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use super::{
    LeakReport, LeaseScan, Nominations, Observation, PodEntry, PodSnapshot, Rules, ScanReport, Target, Verdict,
    find_leaks,
};
use crate::ipam::cluster::ClusterIdentity;
use crate::ipam::decide::Amendment;
use crate::ipam::decide::tests::world::{CLUSTER, Call, World, subnet};
use crate::ipam::keys;
use crate::ipam::lease::Stored;
use crate::store::KeySpan;

/// An observation of a world, with a list of these pods of namespace db.
fn observe(world: &World, pods: Option<&[(&str, &str)]>) -> Observation {
    let mut seen = Observation::new(world.now());
    for prefix in ["ip/", "at/"] {
        world.state.range(&KeySpan::prefix(prefix)).for_each(|entry| seen.note(&entry));
    }
    let listed = |(name, uid): &(&str, &str)| PodEntry {
        namespace: "db".to_owned(),
        name: (*name).to_owned(),
        uids: vec![(*uid).to_owned()],
    };
    seen.pods = pods.and_then(|pods| PodSnapshot::new(pods.iter().map(listed))).map(Arc::new);
    seen
}

/// Rules with the usual cluster and a minimum age of ten minutes.
fn rules() -> Rules {
    Rules { cluster: ClusterIdentity::known(CLUSTER), min_age: Duration::from_secs(600) }
}

/// A pod's ADD on a network with a cooldown of 30 seconds.
fn add(container: &str, pod: &str, uid: &str, boottime: u64) -> Call {
    Call::of(container, &subnet("10.0.0.0/24")).of_pod(pod, uid, boottime)
}

/// Writes a sweep's amendments.
fn note(world: &mut World, report: &LeakReport) {
    for txn in Amendment::batches(&report.notes) {
        world.state.commit(&txn.unwrap());
    }
}

/// One line for each candidate.
fn lines(report: &LeakReport) -> Vec<String> {
    let line = |(target, candidate): (&Target, &super::LeakCandidate)| {
        let holder = candidate.holder.as_ref().map_or("-", |holder| holder.id.container.as_str());
        match &candidate.verdict {
            Verdict::Leaked(why) => format!("{target} of {holder} goes: {why}"),
            Verdict::Skipped(why) => format!("{target} of {holder} stays: {why}"),
        }
    };
    report.candidates.iter().map(line).collect()
}

/// The nominations of a first pass.
fn first_pass(world: &World, pods: Option<PodSnapshot>, rules: &Rules) -> Nominations {
    let mut leases = LeaseScan::new(world.now(), rules.clone());
    for entry in world.state.range(&keys::all_leases()) {
        let (vrf, ip) = keys::read_lease(&entry.key).unwrap();
        leases.note(&vrf, ip, entry.revision, &Stored::read(&entry.value));
    }
    let mut attachments = leases.into_attachments();
    for entry in world.state.range(&keys::all_attachments()) {
        let id = keys::read_attachment(&entry.key).unwrap();
        attachments.note(id, entry.revision, &Stored::read(&entry.value));
    }
    attachments.into_nominations(pods)
}

/// The report of a second pass.
fn second_pass(world: &World, nominations: Nominations) -> ScanReport {
    let Ok(report) = nominations.judge(|wanted, note| {
        for key in wanted {
            let only = KeySpan::from_to(key.clone(), key.successor());
            world.state.range(&only).for_each(|entry| note(&entry));
        }
        Ok::<_, Infallible>(())
    });
    report
}

/// The leaks of a world. Two passes must report the same as one observation of all of it.
fn scan(world: &World, pods: Option<&[(&str, &str)]>, rules: &Rules) -> LeakReport {
    let seen = observe(world, pods);
    let all = find_leaks(&seen, rules);
    let mut report = second_pass(world, first_pass(world, seen.pods.as_deref().cloned(), rules));
    report.unnamed.sort_unstable_by_key(|unnamed| unnamed.ip);
    assert_eq!(report.unnamed, super::unnamed(&seen));
    let ScanReport { mut leaks, .. } = report;
    let sorted = |mut notes: Vec<Amendment>| {
        notes.sort_unstable_by_key(|note| note.revision.0);
        notes
    };
    leaks.notes = sorted(leaks.notes);
    assert_eq!(leaks, LeakReport { notes: sorted(all.notes.clone()), ..all.clone() });
    all
}

/// The verdicts on a world with these pods.
fn judged(world: &World, pods: Option<&[(&str, &str)]>) -> Vec<String> {
    lines(&scan(world, pods, &rules()))
}
