//! The custom resources of a store in the Kubernetes API: whether they are served and answer in time, and whether each
//! object is as kube-ipam writes it.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::members::{SLOW_SHARE, milliseconds};
use crate::cause::{Cause, chain};
use crate::explain::{Command, Commands, Tool};
use crate::ops::operator::doctor::check::{Outcome, Remedy, Status};
use crate::ops::operator::doctor::subject::{Subject, commands};
use crate::ops::operator::doctor::text::{counted, first_of};
use crate::ops::operator::doctor::units::span;
use crate::store::{
    FaultyObject, NamespaceState, ObjectFault, ObjectName, OpenObject, ReadTimes, ResourceReport, ServedResources,
    StoreError,
};

/// The definitions of the resources.
const RESOURCES: &str = "examples/install/resources.yaml";

/// How long an object may be open: many times longer than any transaction takes.
const OPEN_TOO_LONG: SignedDuration = SignedDuration::from_mins(1);

/// How many faulty objects have a result of their own; the others are counted.
const SHOWN: usize = 10;

/// All objects of a resource, or why they could not be read.
#[derive(Debug)]
pub(in crate::ops::operator::doctor) struct Inspected {
    pub(super) resource: &'static str,
    pub(super) report: Result<ResourceReport, StoreError>,
}

/// How many objects were found.
pub(super) fn count(inspected: &[Inspected]) -> u64 {
    inspected.iter().filter_map(|resource| resource.report.as_ref().ok()).map(|report| report.objects).sum()
}

/// Whether the API server serves the resources.
pub(super) fn served(served: &Result<ServedResources, Cause>, next: &Commands) -> Outcome {
    let subject = Subject::whole("API server");
    let ServedResources { missing, needed, other_versions } = match served {
        Ok(served) => served,
        Err(cause) => return subject.skipped(format!("what it serves could not be read: {}", chain(cause))),
    };
    if missing.is_empty() {
        return subject.ok(format!("the API server serves all {needed} resources of the store"));
    }
    let instead = match other_versions.as_slice() {
        [] => String::new(),
        versions => format!(" in the version of this program, but versions {}", versions.join(", ")),
    };
    subject.error(
        format!(
            "the API server does not serve {}{instead}; until it does, calls that need them fail, ADDs with \
             code 11, and DELs defer their releases",
            missing.join(", ")
        ),
        commands(
            format!(
                "apply {RESOURCES} of this version; if somebody has deleted a definition, its objects are gone with it: \
                 begin a recovery then, so that each node writes back what its pods hold"
            ),
            [next.kubectl(&["apply", "-f", RESOURCES]), next.recovery(&["--begin"])],
        ),
    )
}

/// Whether the namespace of the resources exists. If that is not known, `objects` in it show it.
pub(super) fn namespace(
    namespace: &str,
    state: &Result<NamespaceState, Cause>,
    objects: u64,
    next: &Commands,
) -> Outcome {
    let subject = Subject::new(format!("namespace {namespace}"));
    match state {
        Ok(NamespaceState::Active) => subject.ok("it exists"),
        Ok(NamespaceState::Hidden(_)) if objects > 0 => {
            subject.ok(format!("it exists, and has {} of the store", counted_objects(objects)))
        }
        Ok(NamespaceState::Missing) => subject.error(
            "it does not exist, so no address can be stored: ADDs fail with code 11",
            commands(
                "create it, or correct `namespace` in kubernetesConfig of the node defaults",
                [next.kubectl(&["create", "namespace", namespace])],
            ),
        ),
        Ok(NamespaceState::Terminating) => subject.error(
            "it is being deleted, and every lease in it: ADDs fail with code 11",
            commands(
                "once it is gone, create it again and begin a recovery, so that each node writes back what its pods hold",
                [
                    next.kubectl(&["get", "namespace", namespace, "-o", "yaml"]),
                    next.kubectl(&["create", "namespace", namespace]),
                    next.recovery(&["--begin"]),
                ],
            ),
        ),
        Ok(NamespaceState::Hidden(message)) => subject.skipped_until(
            format!(
                "whether it exists is not known: it has no object of the store, and this kubeconfig may not read it, and \
                 the one of a node need not: {message}"
            ),
            commands("name a kubeconfig that may", [next.doctor_as_admin()]),
        ),
        Err(cause) => subject.skipped(format!("it could not be read: {}", chain(cause))),
    }
}

/// Whether the API server is fast enough for a call with this time limit. Only the times of a node count.
pub(super) fn latency(
    url: &str,
    times: &Result<ReadTimes, Cause>,
    timeout: Duration,
    is_node: bool,
    next: &Commands,
) -> Outcome {
    let subject = Subject::new(url);
    let ReadTimes { answered, throttled } = match times {
        Ok(times) => times,
        Err(cause) => return subject.skipped(format!("its speed could not be measured: {}", chain(cause))),
    };
    let reads = answered.len() + throttled;
    if *throttled > 0 {
        let status = if answered.is_empty() { Status::Error } else { Status::Warning };
        return subject.fault(
            status,
            format!("it has refused {throttled} of {reads} reads because it is too busy (429)"),
            commands(
                "look at its load, and at the priority level that it gives kube-ipam's requests (API Priority and Fairness)",
                [next.kubectl(&["get", "flowschemas"]), next.kubectl(&["get", "prioritylevelconfigurations"])],
            ),
        );
    }
    let Some(slowest) = answered.iter().max() else { return subject.skipped("it was not asked") };
    let message = format!("the slowest of {reads} reads took {}", milliseconds(*slowest));
    if *slowest < timeout / SLOW_SHARE {
        return subject.ok(message);
    }
    if !is_node {
        return subject.skipped(format!("{message} from this machine, which is no node; a node's count"));
    }
    subject.warning(
        format!("{message}, and a call has {} for all its requests (timeout)", span(timeout)),
        commands(
            "an ADD sends several requests one after another; look at the API server's load, at its etcd and at the network, \
             or raise `timeout`",
            [next.kubectl(&["get", "--raw", "/readyz?verbose"])],
        ),
    )
}

/// Whether each object is as kube-ipam writes it.
pub(super) fn objects(inspected: &[Inspected], namespace: &str, next: &Commands) -> Vec<Outcome> {
    let mut outcomes = Vec::new();
    for Inspected { resource, report } in inspected {
        if let Err(error) = report {
            let why = format!("they could not be read: {}", chain(error));
            outcomes.push(Subject::new(*resource).skipped(why));
        }
    }
    let faulty = || reports(inspected).flat_map(|report| &report.faulty);
    let is_newer = |object: &&FaultyObject| matches!(object.fault, ObjectFault::Newer(_));
    let newer: Vec<String> = faulty().filter(is_newer).map(|faulty| path(&faulty.object)).collect();
    if !newer.is_empty() {
        outcomes.push(newer_program(&newer, namespace));
    }
    let wrong: Vec<&FaultyObject> = faulty().filter(|object| !is_newer(object)).collect();
    outcomes.extend(wrong.iter().take(SHOWN).map(|faulty| fault(faulty, namespace, next)));
    if let Some(first) = wrong.get(SHOWN) {
        let more = counted(wrong.len() - SHOWN, "more object is", "more objects are");
        let text = "correct these first, and run this again for the others";
        let message = format!("{more} not as kube-ipam writes them, {} among them", path(&first.object));
        outcomes.push(Subject::new(format!("namespace {namespace}")).error(message, Remedy::new(text)));
    }
    if outcomes.is_empty() {
        let all = counted_objects(count(inspected));
        outcomes.push(Subject::new(format!("namespace {namespace}")).ok(format!("{all}, each as kube-ipam writes it")));
    }
    outcomes
}

fn reports(inspected: &[Inspected]) -> impl Iterator<Item = &ResourceReport> {
    inspected.iter().filter_map(|resource| resource.report.as_ref().ok())
}

fn counted_objects(count: u64) -> String {
    if count == 1 { "1 object".to_owned() } else { format!("{count} objects") }
}

/// An object, as kubectl takes it beside `-n`.
fn path(object: &ObjectName) -> String {
    format!("{}/{}", object.resource, object.name)
}

fn newer_program(objects: &[String], namespace: &str) -> Outcome {
    Subject::new(format!("namespace {namespace}")).warning(
        format!(
            "a newer kube-ipam has locked {}, and this one leaves them alone: {}",
            counted(objects.len(), "object", "objects"),
            first_of(objects)
        ),
        Remedy::new("finish the upgrade: install the newer version on every node, and wait for a sweep of it"),
    )
}

fn fault(faulty: &FaultyObject, namespace: &str, next: &Commands) -> Outcome {
    let object = path(&faulty.object);
    let subject = Subject::new(format!("{object} in namespace {namespace}"));
    let of = |words: &[&str], object: &str| -> Command { next.kubectl(&[words, &[object, "-n", namespace]].concat()) };
    let show = || next.kubectl(&["get", &object, "-n", namespace, "-o", "yaml"]);
    match &faulty.fault {
        ObjectFault::Unreadable(cause) => subject.error(
            format!("it can't be read, so {}: {}", consequence(faulty), chain(cause)),
            commands(
                "look at it, and correct what was edited by hand; delete it only if no running pod has its address; or \
                 restore the store from a backup",
                [show()],
            ),
        ),
        ObjectFault::Misnamed { key, belongs_to, exists: true } => subject.error(
            format!("it is a copy of {}, whose key {key} it has, so {}", path(belongs_to), consequence(faulty)),
            commands("compare the two, and delete the copy", [show(), of(&["delete"], &object)]),
        ),
        ObjectFault::Misnamed { key, belongs_to, exists: false } => {
            let message = format!(
                "it has key {key}, which belongs into {}, and there is no such object: nobody finds the value here, and {}",
                path(belongs_to),
                consequence(faulty)
            );
            let is_of_other_kind = belongs_to.resource != faulty.object.resource;
            let first = if is_of_other_kind { show() } else { renamed(&faulty.object, belongs_to, namespace, next) };
            let text = "create the object that the key belongs into with the same spec, and delete this one";
            subject.error(message, commands(text, [first, of(&["delete"], &object)]))
        }
        ObjectFault::Labels { corrections } => {
            let words: Vec<&str> = ["label", "--overwrite", object.as_str(), "-n", namespace]
                .into_iter()
                .chain(corrections.iter().map(String::as_str))
                .collect();
            subject.warning(
                "its labels are not those of its key, so searches and sweeps may miss it",
                commands("write the labels that it should have", [next.kubectl(&words)]),
            )
        }
        // They have one result for all.
        ObjectFault::Newer(cause) => subject.skipped(chain(cause).to_string()),
    }
}

/// What follows from an object that can't be read as what its name says.
fn consequence(FaultyObject { fails_lists, .. }: &FaultyObject) -> &'static str {
    match fails_lists {
        true => "no list of its resource can be read until it is mended or gone",
        false => "what it is named after counts as in use until it is mended or gone",
    }
}

/// Creates the object again under its own name.
fn renamed(from: &ObjectName, to: &ObjectName, namespace: &str, next: &Commands) -> Command {
    let filter = format!(
        "{{apiVersion, kind, spec, metadata: {{name: {:?}, namespace: .metadata.namespace, labels: .metadata.labels}}}}",
        to.name
    );
    let read = next.kubectl(&["get", &path(from), "-n", namespace, "-o", "json"]);
    read.piped_to(&Tool::Jq.run(&[&filter])).piped_to(&next.kubectl(&["create", "-f", "-"]))
}

/// Whether calls that died have left objects open for too long, at this time of the API server's clock.
pub(super) fn remains(inspected: &[Inspected], namespace: &str, now: Timestamp, next: &Commands) -> Outcome {
    let subject = Subject::new(format!("namespace {namespace}"));
    let is_old = |open: &&OpenObject| open.written.is_none_or(|written| now.duration_since(written) > OPEN_TOO_LONG);
    let open: Vec<&OpenObject> = reports(inspected).flat_map(|report| &report.open).filter(is_old).collect();
    if open.is_empty() {
        return subject.ok("no transaction has been left open for longer than a minute");
    }
    let names: Vec<String> = open.iter().map(|open| path(&open.object)).collect();
    let locked = open.iter().filter(|open| open.is_locked).count();
    let have = counted(open.len(), "object has", "objects have");
    let text = match reports(inspected).flat_map(|report| &report.faulty).any(|faulty| faulty.fails_lists) {
        false => "let a sweep resolve them, as the controller does; without --dry-run, it also frees what has leaked",
        true => {
            "correct what kubernetes-objects names, since no sweep can list the objects until then, and let a sweep resolve \
             these; without --dry-run, it also frees what has leaked"
        }
    };
    subject.warning(
        format!(
            "{have} been left open for longer than a minute by calls that died, {locked} of them locked: {}; no address is \
             lost by that: whoever needs one resolves it, in up to half a second",
            first_of(&names)
        ),
        commands(text, [next.sweep(&["--dry-run"]), next.sweep(&[])]),
    )
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test's verdict is a panic")]
mod tests {
    use super::*;
    use crate::store::Key;

    const NOW: &str = "2026-11-01T10:00:00Z";

    fn object(name: &str) -> ObjectName {
        ObjectName { resource: "ipleases.kube-ipam.cloudnativer.io".to_owned(), name: name.to_owned() }
    }

    fn open(name: &str, seconds: i64, is_locked: bool) -> OpenObject {
        let now: Timestamp = NOW.parse().unwrap();
        let written = Some(now - SignedDuration::from_secs(seconds));
        OpenObject { object: object(name), written, is_locked }
    }

    fn leases(open: Vec<OpenObject>, faults: Vec<ObjectFault>) -> Vec<Inspected> {
        let faulty =
            faults.into_iter().map(|fault| FaultyObject { object: object("a"), fault, fails_lists: false }).collect();
        vec![Inspected { resource: "ipleases", report: Ok(ResourceReport { objects: 7, open, faulty }) }]
    }

    fn named(outcome: &Outcome) -> String {
        format!("{} {}", outcome.status.word(), outcome.message)
    }

    fn unreadable() -> ObjectFault {
        ObjectFault::Unreadable(Cause::new("the object's spec is invalid"))
    }

    #[test]
    fn only_what_has_been_open_for_more_than_a_minute_is_named() {
        let judged = |open| remains(&leases(open, Vec::new()), "pods", NOW.parse().unwrap(), &Commands::default());
        let fine = "ok namespace pods: no transaction has been left open for longer than a minute";
        assert_eq!(named(&judged(vec![open("a", 60, true), open("b", -5, false)])), fine);
        let old = (0..5).map(|n| open(&format!("o{n}"), 61, n < 2)).collect();
        let text = named(&judged(old));
        assert!(text.starts_with("warning namespace pods: 5 objects have been left open"), "{text}");
        assert!(text.contains("2 of them locked: ipleases.kube-ipam.cloudnativer.io/o0, "), "{text}");
        assert!(text.contains("and 2 more; no address is lost"), "{text}");
    }

    #[test]
    fn many_faults_are_counted_and_those_of_an_upgrade_are_one() {
        let judged = |faults| objects(&leases(Vec::new(), faults), "pods", &Commands::default());
        assert_eq!(named(&judged(Vec::new())[0]), "ok namespace pods: 7 objects, each as kube-ipam writes it");
        let found = judged((0..12).map(|_| unreadable()).collect());
        assert_eq!(found.len(), SHOWN + 1);
        assert!(named(&found[0]).starts_with(
            "error ipleases.kube-ipam.cloudnativer.io/a in namespace pods: it can't be read, so what it is named after counts"
        ));
        assert!(
            named(&found[SHOWN]).starts_with("error namespace pods: 2 more objects are not as kube-ipam writes them")
        );
        let newer = (0..3).map(|_| ObjectFault::Newer(Cause::new("version 2"))).collect();
        let found = judged(newer);
        assert_eq!(found.len(), 1);
        assert!(named(&found[0]).starts_with("warning namespace pods: a newer kube-ipam has locked 3 objects"));
    }

    #[test]
    fn a_copy_is_to_be_deleted_and_a_renamed_object_to_be_renamed_first() {
        let misnamed = |exists| ObjectFault::Misnamed { key: Key::new("ip/b"), belongs_to: object("b"), exists };
        let of = |exists| objects(&leases(Vec::new(), vec![misnamed(exists)]), "pods", &Commands::default()).remove(0);
        let delete = "kubectl delete ipleases.kube-ipam.cloudnativer.io/a -n pods";
        assert_eq!(of(true).remedy.unwrap().commands[1], delete);
        let renamed = of(false).remedy.unwrap().commands;
        assert!(renamed[0].to_string().contains("name: \"b\""), "{}", renamed[0]);
        assert_eq!(renamed[1], delete);
    }

    #[test]
    fn reads_that_the_server_refuses_count_more_than_slow_ones() {
        let times = |answered: &[u64], throttled| {
            let answered = answered.iter().copied().map(Duration::from_millis).collect();
            Ok(ReadTimes { answered, throttled })
        };
        let judged = |times, is_node| {
            let url = "https://a:6443";
            named(&latency(url, &times, Duration::from_secs(10), is_node, &Commands::default()))
        };
        assert_eq!(judged(times(&[1, 5], 0), true), "ok https://a:6443: the slowest of 2 reads took 5.0 ms");
        assert!(judged(times(&[1500], 0), true).starts_with("warning "));
        assert!(judged(times(&[1500], 0), false).starts_with("skipped "));
        assert!(judged(times(&[1], 4), true).starts_with("warning https://a:6443: it has refused 4 of 5 reads"));
        assert!(judged(times(&[], 5), false).starts_with("error "));
    }

    #[test]
    fn other_versions_of_the_resources_are_named() {
        let found = served(
            &Ok(ServedResources { missing: vec!["a".to_owned()], needed: 7, other_versions: vec!["v9".to_owned()] }),
            &Commands::default(),
        );
        assert!(
            found.message.contains("does not serve a in the version of this program, but versions v9; until it does")
        );
    }
}
