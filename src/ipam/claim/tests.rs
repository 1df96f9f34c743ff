//! Claims: for which interface they are, and what their status is to say.
#![allow(clippy::unwrap_used)]

use insta::assert_snapshot;

use super::*;

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

#[test]
fn it_is_the_owner_that_its_uid_says() {
    let owner = claim().owner(None);
    assert_eq!(owner.to_string(), "IPAMClaim db/vm1.data");
    assert!(owner.is(&claim().owner(None)));
    assert!(!owner.is(&Claim { uid: "o-2".to_owned(), ..claim() }.owner(None)), "one that was made anew has nothing");
}
