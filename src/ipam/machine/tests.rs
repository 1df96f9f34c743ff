//! Who is of one virtual machine, case by case.
#![allow(clippy::unwrap_used, clippy::panic)]

use super::*;

fn pod(name: &str, uid: &str) -> PodRef {
    PodRef { namespace: Some("db".to_owned()), name: Some(name.to_owned()), uid: Some(uid.to_owned()) }
}

fn question() -> JoinQuestion {
    let [group, kind, name, uid] = ["kubevirt.io", "VirtualMachineInstance", "vm1", "i-1"].map(str::to_owned);
    JoinQuestion {
        instance: Controller { group, kind, name, uid },
        pod: pod("target", "u-2"),
        holder: pod("source", "u-1"),
        former: vec!["u-0".to_owned()],
    }
}

struct MigrationCase {
    what: &'static str,
    named_uid: Option<&'static str>,
    found: (&'static str, &'static str, &'static str),
    expected: Result<(), &'static str>,
}

#[test]
fn a_migration_counts_while_it_is_unfinished_and_of_this_machine() {
    let finished = "VirtualMachineInstanceMigration m1, which this pod names, has finished";
    let cases = [
        MigrationCase { what: "not seen yet", named_uid: Some("m-1"), found: ("m-1", "vm1", ""), expected: Ok(()) },
        MigrationCase {
            what: "scheduling",
            named_uid: Some("m-1"),
            found: ("m-1", "vm1", "Scheduling"),
            expected: Ok(()),
        },
        MigrationCase {
            what: "a later phase",
            named_uid: Some("m-1"),
            found: ("m-1", "vm1", "Novel"),
            expected: Ok(()),
        },
        MigrationCase { what: "without a label", named_uid: None, found: ("m-1", "vm1", "Running"), expected: Ok(()) },
        MigrationCase {
            what: "another one of its name",
            named_uid: Some("m-1"),
            found: ("m-2", "vm1", "Running"),
            expected: Err("VirtualMachineInstanceMigration m1 was replaced"),
        },
        MigrationCase {
            what: "another machine",
            named_uid: Some("m-1"),
            found: ("m-1", "vm2", "Running"),
            expected: Err("VirtualMachineInstanceMigration m1, which this pod names, is of vm2"),
        },
        MigrationCase {
            what: "over",
            named_uid: Some("m-1"),
            found: ("m-1", "vm1", "Succeeded"),
            expected: Err(finished),
        },
        MigrationCase { what: "failed", named_uid: None, found: ("m-1", "vm1", "Failed"), expected: Err(finished) },
    ];
    for case in cases {
        let named = MigrationRef { name: "m1".to_owned(), uid: case.named_uid.map(str::to_owned) };
        let [uid, instance, phase] = [case.found.0, case.found.1, case.found.2].map(str::to_owned);
        let found = check_migration(&question(), &named, &Migration { uid, instance, phase });
        agree(case.what, found, case.expected);
    }
}

struct InstanceCase {
    what: &'static str,
    uid: &'static str,
    active: &'static [&'static str],
    expected: Result<(), &'static str>,
}

#[test]
fn two_pods_share_only_what_the_machine_lists_both_of_them_and_nobody_else() {
    let cases = [
        InstanceCase { what: "both", uid: "i-1", active: &["u-1", "u-2"], expected: Ok(()) },
        InstanceCase { what: "and one that has left", uid: "i-1", active: &["u-0", "u-1", "u-2"], expected: Ok(()) },
        InstanceCase {
            what: "not the target yet",
            uid: "i-1",
            active: &["u-1"],
            expected: Err("VirtualMachineInstance vm1 does not list pod db/target in status.activePods yet"),
        },
        InstanceCase {
            what: "not the source",
            uid: "i-1",
            active: &["u-2", "u-3"],
            expected: Err("VirtualMachineInstance vm1 does not list pod db/source in status.activePods yet"),
        },
        InstanceCase {
            what: "a third",
            uid: "i-1",
            active: &["u-1", "u-2", "u-3"],
            expected: Err("VirtualMachineInstance vm1 lists more pods than these two in status.activePods (UID u-3)"),
        },
        InstanceCase {
            what: "none",
            uid: "i-1",
            active: &[],
            expected: Err("VirtualMachineInstance vm1 does not list"),
        },
        InstanceCase {
            what: "another instance",
            uid: "i-2",
            active: &["u-1", "u-2"],
            expected: Err("VirtualMachineInstance vm1 was replaced"),
        },
    ];
    for case in cases {
        let active_pods = case.active.iter().map(|uid| (*uid).to_owned()).collect();
        let found = check_instance(&question(), &Instance { uid: case.uid.to_owned(), active_pods });
        agree(case.what, found, case.expected);
    }
}

fn agree(what: &str, found: Result<(), JoinError>, expected: Result<(), &str>) {
    match (found, expected) {
        (Ok(()), Ok(())) => {}
        (Err(error), Err(begin)) => assert!(error.to_string().starts_with(begin), "{what}: {error}"),
        (found, expected) => panic!("{what}: {found:?}, not {expected:?}"),
    }
}

#[test]
fn a_pod_without_a_uid_is_listed_nowhere() {
    let mut asked = question();
    asked.holder.uid = None;
    let found = Instance { uid: "i-1".to_owned(), active_pods: BTreeSet::from(["u-2".to_owned()]) };
    assert!(matches!(check_instance(&asked, &found), Err(JoinError::NotListed { .. })));
}

#[test]
fn a_pod_names_its_migration_by_annotation_and_label() {
    let mut pod = Pod::default();
    assert_eq!(MigrationRef::from_pod(&pod), None);
    pod.annotations.insert(MIGRATION_NAME.to_owned(), String::new());
    assert_eq!(MigrationRef::from_pod(&pod), None);
    pod.annotations.insert(MIGRATION_NAME.to_owned(), "m1".to_owned());
    assert_eq!(MigrationRef::from_pod(&pod), Some(MigrationRef { name: "m1".to_owned(), uid: None }));
    pod.labels.insert(MIGRATION_UID.to_owned(), "m-1".to_owned());
    assert_eq!(MigrationRef::from_pod(&pod).unwrap().uid.as_deref(), Some("m-1"));
}
