//! Owners: of which pods they are, and which of them are the same.
#![allow(clippy::unwrap_used)]

use insta::assert_snapshot;

use super::*;

fn controller(api_version: &str, kind: &str, name: &str) -> Controller {
    let [kind, name, uid] = [kind, name, "o-1"].map(str::to_owned);
    Controller::from_reference(api_version, kind, name, uid)
}

fn pod(name: &str, controller: Option<Controller>) -> Pod {
    Pod { namespace: "db".to_owned(), name: name.to_owned(), controller, ..Pod::default() }
}

fn owner(name: &str, of: (&str, &str, &str)) -> Option<Owner> {
    let (api_version, kind, owner) = of;
    Owner::of(&pod(name, Some(controller(api_version, kind, owner))), None).unwrap()
}

#[test]
fn a_pod_of_a_stateful_set_or_a_virtual_machine_has_a_stable_identity_and_no_other() {
    let set = owner("pg-0", ("apps/v1", "StatefulSet", "pg")).unwrap();
    assert_snapshot!(set, @"StatefulSet pod db/pg-0");
    let instance = owner("virt-launcher-vm1-x", ("kubevirt.io/v1", "VirtualMachineInstance", "vm1")).unwrap();
    assert_snapshot!(instance, @"VirtualMachineInstance db/vm1");
    for of in [
        ("apps/v1", "ReplicaSet", "web"),
        ("example.org/v1", "StatefulSet", "pg"),
        ("v1", "StatefulSet", "pg"),
        ("kubevirt.io/v1", "VirtualMachine", "vm1"),
    ] {
        assert_eq!(owner("x-0", of), None, "{of:?}");
    }
    assert_eq!(Owner::of(&pod("alone", None), None), Ok(None));
    // The name of a pod says of which set it is; the reference alone does not.
    for name in ["pg", "pg-x", "web-0", "pg-01", "other"] {
        assert_eq!(owner(name, ("apps/v1", "StatefulSet", "pg")), None, "{name}");
    }
    let unnamed = controller("kubevirt.io/v1", "VirtualMachineInstance", "a/b");
    assert!(Owner::of(&pod("x", Some(unnamed)), None).is_err());
}

#[test]
fn a_machine_is_known_by_what_has_made_it() {
    let instance = || owner("x", ("kubevirt.io/v1", "VirtualMachineInstance", "vm1")).unwrap();
    let machine = instance().made_by(Some(&controller("kubevirt.io/v1", "VirtualMachine", "vm1")));
    assert_snapshot!(machine, @"VirtualMachine db/vm1");
    assert_eq!(instance().made_by(None), instance());
    assert_eq!(instance().made_by(Some(&controller("apps/v1", "VirtualMachine", "vm1"))), instance());
    assert!(machine.is(&instance()));
    // KubeVirt gives both one name: a reference to a machine of another name was written by somebody else.
    let other = controller("kubevirt.io/v1", "VirtualMachine", "vm2");
    assert_eq!(instance().made_by(Some(&other)), instance());
}

#[test]
fn an_identity_is_the_same_after_its_object_was_made_anew_and_no_other() {
    let set = || owner("pg-0", ("apps/v1", "StatefulSet", "pg")).unwrap();
    assert!(set().is(&Owner { uid: "o-2".to_owned(), ..set() }));
    let others = [
        owner("pg-1", ("apps/v1", "StatefulSet", "pg")).unwrap(),
        owner("x", ("kubevirt.io/v1", "VirtualMachineInstance", "pg-0")).unwrap(),
        Owner { cluster: Some("another".to_owned()), uid: "o-2".to_owned(), ..set() },
        Owner { namespace: Name::new("web").unwrap(), ..set() },
    ];
    assert!(others.iter().all(|other| !set().is(other)));
    // Of an owner that names no cluster only the UID tells.
    let named = |cluster: &str| Owner { cluster: Some(cluster.to_owned()), ..set() };
    assert!(named("one").is(&set()) && set().is(&named("one")) && !named("one").is(&named("another")));
    // A claim that was made anew is another one.
    let claim = Owner { kind: OwnerKind::IpamClaim, pod: None, ..set() };
    assert!(claim.is(&claim) && !claim.is(&Owner { uid: "o-2".to_owned(), ..claim.clone() }));
}

#[test]
fn a_reservation_loses_the_address_that_is_freed() {
    let [first, second]: [IpAddr; 2] = ["10.0.0.1", "fd00::1"].map(|text| text.parse().unwrap());
    let all = Reservation::new(owner("pg-0", ("apps/v1", "StatefulSet", "pg")).unwrap(), vec![first, second]);
    assert_eq!(all.clone().without(first).unwrap().addresses, [second]);
    assert_eq!(all.without("10.0.0.9".parse().unwrap()), None);
}
