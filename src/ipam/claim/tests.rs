//! Claims: for which interface they are, and what their status is to say.
#![allow(clippy::unwrap_used)]

use insta::assert_snapshot;

use super::*;
use crate::cause::Cause;
use crate::ipam::lease::{Began, Holder, PodRef, Unknown};
use crate::ipam::name::AttachmentId;
use crate::ipam::takeover::InUseReason;

fn claim() -> Claim {
    Claim {
        namespace: Name::new("db").unwrap(),
        name: Name::new("vm1.data").unwrap(),
        uid: "o-1".to_owned(),
        version: "7".to_owned(),
        generation: Some(1),
        network: "db-net".to_owned(),
        interface: "net1".to_owned(),
        status: ClaimStatus::default(),
    }
}

fn fits(claim: &Claim) -> String {
    match claim.fits(&Name::new("db-net").unwrap(), &IfName::new("net1").unwrap()) {
        Ok(()) => "fits".to_owned(),
        Err(error) => format!("{error}; {}", error.details()),
    }
}

fn given(addresses: &[&str]) -> Vec<Assigned> {
    addresses.iter().map(|text| Assigned { address: text.parse().unwrap(), gateway: None }).collect()
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_millisecond(1_700_000_000_500 + second * 1000).unwrap()
}

/// The claim after a patch, as a server merges it.
fn patched(mut claim: Claim, patch: Option<Value>) -> Claim {
    claim.status = serde_json::from_value(patch.unwrap()["status"].clone()).unwrap();
    claim
}

#[test]
fn it_is_for_one_interface_on_one_network_and_open_where_it_does_not_say() {
    let (nowhere, any) = (String::new(), String::new());
    assert_eq!(fits(&claim()), "fits");
    assert_eq!(fits(&Claim { interface: any, ..claim() }), "fits", "as KubeVirt's extension makes them");
    assert_eq!(fits(&Claim { network: nowhere, ..claim() }), "fits");
    assert_snapshot!(fits(&Claim { network: "web-net".to_owned(), ..claim() }), @"IPAMClaim db/vm1.data is for network web-net (spec.network), and this is db-net; a claim is for one interface on one network: correct ipam-claim-reference in the pod's k8s.v1.cni.cncf.io/networks, or the claim");
    assert_snapshot!(fits(&Claim { interface: "net2".to_owned(), ..claim() }), @"IPAMClaim db/vm1.data is for interface net2 (spec.interface), and this is net1; a claim is for one interface on one network: correct ipam-claim-reference in the pod's k8s.v1.cni.cncf.io/networks, or the claim");
}

#[test]
fn its_status_is_told_the_addresses_with_their_prefix_lengths_and_the_pod() {
    let patch = claim().patch(&given(&["10.1.0.7/24", "fd00::7/64"]), "virt-launcher-vm1-x", at(0)).unwrap();
    let condition = json!({
        "type": "IPsAllocated", "status": "True", "reason": "SuccessfulAllocation", "observedGeneration": 1,
        "lastTransitionTime": "2023-11-14T22:13:20Z",
        "message": "kube-ipam keeps 10.1.0.7/24, fd00::7/64 for this claim",
    });
    let expected = json!({
        "metadata": { "resourceVersion": "7" },
        "status": {
            "ips": ["10.1.0.7/24", "fd00::7/64"], "ownerPod": { "name": "virt-launcher-vm1-x" },
            "conditions": [condition],
        },
    });
    assert_eq!(patch, expected);
}

#[test]
fn nothing_is_written_that_it_says_already() {
    let addresses = given(&["10.1.0.7/24"]);
    let told = patched(claim(), claim().patch(&addresses, "a", at(0)));
    assert_eq!(told.patch(&addresses, "a", at(60)), None);
    let other = told.patch(&addresses, "b", at(60)).unwrap();
    assert_eq!(other["status"]["ownerPod"]["name"], "b");
    assert_eq!(other["status"]["conditions"][0]["lastTransitionTime"], "2023-11-14T22:13:20Z", "it has not changed");
    let widened = told.patch(&given(&["10.1.0.7/16"]), "a", at(60)).unwrap();
    assert_eq!(widened["status"]["ips"], json!(["10.1.0.7/16"]));
}

#[test]
fn the_conditions_of_others_stay_and_its_own_becomes_true() {
    let theirs = json!({ "type": "Audited", "status": "True", "reason": "ByHand", "message": "" });
    let failed = json!({ "type": "IPsAllocated", "status": "False", "lastTransitionTime": "2020-01-01T00:00:00Z" });
    let mut claim = claim();
    claim.status.conditions = Some(vec![failed, theirs.clone()]);
    let patch = claim.patch(&given(&["10.1.0.7/24"]), "a", at(0)).unwrap();
    let conditions = &patch["status"]["conditions"];
    assert_eq!((conditions.as_array().unwrap().len(), &conditions[0]), (2, &theirs));
    assert_eq!((&conditions[1]["status"], &conditions[1]["reason"]), (&json!("True"), &json!("SuccessfulAllocation")));
    assert_eq!(conditions[1]["lastTransitionTime"], "2023-11-14T22:13:20Z");
}

/// The own condition after a refusal: reason and message.
fn refused(claim: &Claim, refusal: &Refusal) -> Option<(String, String)> {
    let patch = claim.patch_refused(refusal, at(0))?;
    assert_eq!(patch["status"]["ips"], json!([]), "a status without ips is none");
    let own = patch["status"]["conditions"].as_array()?.last()?.clone();
    assert_eq!((&own["type"], &own["status"]), (&json!("IPsAllocated"), &json!("False")));
    let text = |key: &str| own[key].as_str().map(str::to_owned);
    Some((text("reason")?, text("message")?))
}

fn held(why: InUseReason) -> Refusal {
    let id = AttachmentId {
        node: Name::new("n1").unwrap(),
        container: Name::new("c1").unwrap(),
        ifname: IfName::new("net1").unwrap(),
        network: Name::new("db-net").unwrap(),
    };
    let holder = Holder {
        id,
        pod: PodRef::default(),
        controller: None,
        workload: None,
        cluster: None,
        began: Began { boot: String::new(), boottime: 0 },
        unknown: Unknown::new(),
    };
    Refusal::Held {
        ip: "10.1.0.7".parse().unwrap(),
        holder: Box::new(holder),
        since: at(0),
        workload: None,
        why: Box::new(why),
    }
}

#[test]
fn a_refusal_is_a_reason_for_programs_and_a_text_that_lasts() {
    let slow = |seconds: &str| {
        held(InUseReason::LookupFailed(Cause::new(format!("the API server did not answer within {seconds}"))))
    };
    assert_eq!(
        refused(&claim(), &slow("4.1 s")),
        refused(&claim(), &slow("3.9 s")),
        "the time differs from try to try"
    );
    let (reason, message) = refused(&claim(), &slow("4.1 s")).unwrap();
    assert_eq!(reason, "IPAddressConflict");
    assert!(
        message.contains("10.1.0.7 is held by")
            && message.ends_with(
                "kube-ipam can't tell whether that pod is \
                              gone"
            )
    );
    let set = || "10.1.0.0/24".to_owned();
    let nothing = Refusal::NothingDynamic { set: set() };
    assert_eq!(refused(&claim(), &nothing).unwrap().0, "SubnetExhausted");
    let namespace =
        Refusal::Namespace { namespace: None, what: "network db-net".to_owned(), allowed: vec![set()], key: None };
    assert_eq!(refused(&claim(), &namespace).unwrap().0, "NotAllowed");
    let many = Refusal::TooManyAddresses { asked: 40, most: 20 };
    assert_eq!(refused(&claim(), &many).unwrap().0, "InvalidRequest");
    let long = Refusal::NothingDynamic { set: "ü".repeat(5000) };
    assert!(refused(&claim(), &long).unwrap().1.len() <= 1024);
    // The next try may win.
    assert_eq!(refused(&claim(), &Refusal::Contended { rounds: 100 }), None);
}

#[test]
fn a_refusal_is_written_once_and_only_while_the_claim_has_nothing() {
    let theirs = json!({ "type": "Audited", "status": "True", "reason": "ByHand", "message": "" });
    let refusal = Refusal::NothingDynamic { set: "10.1.0.0/24".to_owned() };
    let mut before = claim();
    before.status.conditions = Some(vec![theirs.clone()]);
    let told = patched(before.clone(), before.patch_refused(&refusal, at(0)));
    assert_eq!(told.status.conditions.as_ref().unwrap()[0], theirs);
    assert_eq!(told.patch_refused(&refusal, at(60)), None);
    let other = told.patch_refused(&held(InUseReason::ChecksDisabled), at(60)).unwrap();
    assert_eq!(other["status"]["conditions"][1]["reason"], "IPAddressConflict");
    assert_eq!(other["status"]["conditions"][1]["lastTransitionTime"], "2023-11-14T22:13:20Z", "it was false before");
    let given = patched(told.clone(), told.patch(&given(&["10.1.0.7/24"]), "a", at(120)));
    let own = &given.status.conditions.as_ref().unwrap()[1];
    assert_eq!((&own["status"], &own["lastTransitionTime"]), (&json!("True"), &json!("2023-11-14T22:15:20Z")));
    assert_eq!(given.patch_refused(&refusal, at(180)), None);
}

#[test]
fn it_is_the_owner_that_its_uid_says() {
    let owner = claim().owner(None);
    assert_eq!(owner.to_string(), "IPAMClaim db/vm1.data");
    assert!(owner.is(&claim().owner(None)));
    assert!(!owner.is(&Claim { uid: "o-2".to_owned(), ..claim() }.owner(None)), "one that was made anew has nothing");
}
