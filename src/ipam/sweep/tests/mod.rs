//! Sweeps without a backend: what is a suspect, case by case; two looks; and random histories against a model.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test's verdict is a panic")]

mod cases;
mod history;
mod plans;
mod unnamed;

use std::time::Duration;

use super::{Census, Finding, Judgement, Listed, Observation, Rules, Target, judge};
use crate::ipam::cluster::ClusterIdentity;
use crate::ipam::decide::Amendment;
use crate::ipam::decide::tests::world::{CLUSTER, Call, World, subnet};
use crate::store::KeySpan;

/// What a sweep sees of a world, with a list of these pods of namespace db.
fn observe(world: &World, pods: Option<&[(&str, &str)]>) -> Observation {
    let mut seen = Observation::new(world.now());
    for prefix in ["ip/", "at/"] {
        world.state.range(&KeySpan::prefix(prefix)).for_each(|entry| seen.note(&entry));
    }
    let listed = |(name, uid): &(&str, &str)| Listed {
        namespace: "db".to_owned(),
        name: (*name).to_owned(),
        uids: vec![(*uid).to_owned()],
    };
    seen.census = pods.and_then(|pods| Census::of(pods.iter().map(listed)));
    seen
}

/// Rules for pods of the usual cluster, and ten minutes.
fn rules() -> Rules {
    Rules { cluster: ClusterIdentity::known(CLUSTER), min_age: Duration::from_secs(600) }
}

/// A pod's ADD on a network of which everything rests 30 seconds.
fn add(container: &str, pod: &str, uid: &str, boottime: u64) -> Call {
    Call::of(container, &subnet("10.0.0.0/24")).of_pod(pod, uid, boottime)
}

/// What a sweep writes when it ends.
fn note(world: &mut World, judgement: &Judgement) {
    for txn in Amendment::batches(&judgement.notes) {
        world.state.commit(&txn.unwrap());
    }
}

/// Each suspect in a line of its own.
fn lines(judgement: &Judgement) -> Vec<String> {
    let line = |(target, suspect): (&Target, &super::Suspect)| {
        let holder = suspect.holder.as_ref().map_or("-", |holder| holder.id.container.as_str());
        match &suspect.finding {
            Finding::Goes(why) => format!("{target} of {holder} goes: {why}"),
            Finding::Stays(why) => format!("{target} of {holder} stays: {why}"),
        }
    };
    judgement.suspects.iter().map(line).collect()
}

/// What becomes of a world that is seen with these pods.
fn judged(world: &World, pods: Option<&[(&str, &str)]>) -> Vec<String> {
    lines(&judge(&observe(world, pods), &rules()))
}
