//! IPAMClaims.

use super::found::Case;
use super::given::given;
use super::{NETWORK, deployment, planned, pod};
use crate::plan::{Outcome, Severity};

/// A claim of the namespace app.
fn claim(name: &str, spec: &str, status: &str) -> String {
    format!(
        "apiVersion: k8s.cni.cncf.io/v1alpha1\nkind: IPAMClaim\nmetadata: {{name: {name}}}\nspec: {spec}\nstatus: {status}\n---\n"
    )
}

/// The selection of db-net with a claim.
fn naming(workload: &str, claim: &str) -> String {
    let selection = format!("networks: '[{{\"name\": \"db-net\", \"ipam-claim-reference\": \"{claim}\"}}]'");
    workload.replace("networks: db-net", &selection)
}

const FOR_NET1: &str = "{network: db-net, interface: net1}";

#[test]
fn a_pod_gets_the_addresses_of_its_claim() {
    let net1 = |status: &str| {
        let (_, report) =
            planned(&[NETWORK, &naming(&pod("a", "note: none"), "c"), &claim("c", FOR_NET1, status)].concat());
        assert_eq!(report.findings, [], "{status}");
        let net1 = report.interfaces[1].clone();
        let Outcome::Addresses { kept_for, because, .. } = &net1.outcome else { panic!("{net1:?}") };
        assert_eq!(kept_for.as_deref(), Some("IPAMClaim app/c"));
        (given(&net1), because.concat())
    };
    let (addresses, because) = net1("{ips: [10.1.0.12/24]}");
    assert_eq!(addresses, (vec!["10.1.0.12".to_owned()], 0));
    assert!(because.starts_with("the status of IPAMClaim app/c"), "{because}");
    // The store may have given it at random, outside the window.
    assert_eq!(net1("{ips: [10.1.0.101/24]}").0, (vec!["10.1.0.101".to_owned()], 0));
    assert_eq!(net1("{ips: []}").0, (vec![], 1));
}

#[test]
fn a_claim_of_a_workload_whose_update_ends_the_old_pod_first_has_one_pod_at_a_time() {
    let text = naming(&deployment("strategy: {type: Recreate}", "note: none"), "c");
    let (_, report) = planned(&[NETWORK, &text, &claim("c", FOR_NET1, "{ips: [10.1.0.12/24]}")].concat());
    assert_eq!(report.findings, []);
}

#[test]
fn a_claim_that_the_files_lack_is_a_warning() {
    let (_, report) = planned(&[NETWORK, &naming(&pod("a", "note: none"), "c")].concat());
    let found: Vec<_> = report.findings.iter().map(|finding| (finding.severity, finding.message.as_str())).collect();
    assert_eq!(found, [(Severity::Warning, "IPAMClaim app/c is not among these files")]);
}

/// Mistakes in claims and in what names them.
pub(super) fn cases() -> Vec<Case> {
    let on_network = |parts: &[&str]| [NETWORK, &parts.concat()].concat();
    let named = naming(&pod("a", "note: none"), "«the-claim»");
    let unmarked = naming(&pod("a", "note: none"), "the-claim");
    vec![
        Case {
            name: "a claim that no file has",
            text: on_network(&[&named]),
            code: "KI0312",
            message: "IPAMClaim app/the-claim is not among these files",
        },
        Case {
            name: "a claim of another namespace",
            text: on_network(&[&named, &claim("the-claim, namespace: db", FOR_NET1, "{ips: []}")]),
            code: "KI0312",
            message: "IPAMClaim app/the-claim is not among these files",
        },
        Case {
            name: "a claim for another network",
            text: on_network(&[&named, &claim("the-claim", "{network: web-net, interface: net1}", "{ips: []}")]),
            code: "KI0431",
            message: "is for network web-net (spec.network), and this is db-net",
        },
        Case {
            name: "a claim for another interface",
            text: on_network(&[&named, &claim("the-claim", "{network: db-net, interface: net2}", "{ips: []}")]),
            code: "KI0431",
            message: "is for interface net2 (spec.interface), and this is net1",
        },
        Case {
            name: "a claim with the address of another network",
            text: on_network(&[
                &unmarked.replace("\"db-net\"", "\"«db-net»\""),
                &claim("the-claim", FOR_NET1, "{ips: [10.2.0.1/24]}"),
            ]),
            code: "KI0402",
            message: "10.2.0.1, requested by the status of IPAMClaim app/the-claim, is in no subnet of this network",
        },
        Case {
            name: "a claim and an annotation that disagree",
            text: on_network(&[
                &naming(&pod("a", "kube-ipam.net1.ip: «10.1.0.10»"), "the-claim"),
                &claim("the-claim", FOR_NET1, "{ips: [10.1.0.12/24]}"),
            ]),
            code: "KI0428",
            message: "10.1.0.12",
        },
        Case {
            name: "a claim whose status is none",
            text: on_network(&[&claim("the-claim", FOR_NET1, "«{ips: 10.1.0.12}»")]),
            code: "KI0431",
            message: "the status of IPAMClaim app/the-claim can't be read",
        },
        Case {
            name: "two pods of one claim",
            text: on_network(&[
                &unmarked,
                &naming(&pod("b", "note: none"), "«the-claim»"),
                &claim("the-claim", FOR_NET1, "{ips: [10.1.0.12/24]}"),
            ]),
            code: "KI0313",
            message: "is named twice: by Pod app/a (net1) and by Pod app/b (net1)",
        },
        Case {
            name: "replicas of one claim",
            text: on_network(&[
                &naming(&deployment("replicas: 2", "note: none"), "«the-claim»"),
                &claim("the-claim", FOR_NET1, "{ips: []}"),
            ]),
            code: "KI0313",
            message: "Deployment app/web has 2 pods, and all of them name IPAMClaim app/the-claim",
        },
        Case {
            name: "an update with one claim",
            text: on_network(&[
                &naming(&deployment("replicas: 1", "note: none"), "«the-claim»"),
                &claim("the-claim", FOR_NET1, "{ips: []}"),
            ]),
            code: "KI0313",
            message: "has 2 pods during an update, and all of them name IPAMClaim app/the-claim",
        },
    ]
}
