//! Virtual machines of KubeVirt.

use super::found::Case;
use super::given::given;
use super::{NETWORK, planned};
use crate::plan::Outcome;

/// The interface that KubeVirt makes for the network `data`.
const DATA: &str = "pod3a6eb0790f3";

/// A machine with one network beside its first.
fn machine(annotations: &str) -> String {
    format!(
        "apiVersion: kubevirt.io/v1\nkind: VirtualMachine\nmetadata: {{name: vm1}}\nspec:\n  runStrategy: Always\n  template:\n    \
         metadata:\n      annotations:\n        {annotations}\n    spec:\n      domain:\n        devices:\n          interfaces:\n          \
         - {{name: default, masquerade: {{}}}}\n          - {{name: data, bridge: {{}}}}\n      networks:\n      - {{name: default, pod: {{}}}}\n      \
         - name: data\n        multus: {{networkName: db-net}}\n---\n"
    )
}

fn on_network(text: &str) -> String {
    [NETWORK, text].concat()
}

#[test]
fn a_machine_has_an_interface_for_each_network_by_the_name_that_kubevirt_gives_it() {
    let (_, report) = planned(&on_network(&machine("note: none")));
    assert_eq!(report.findings, []);
    let names: Vec<_> = report.interfaces.iter().map(|interface| interface.interface.as_str()).collect();
    assert_eq!(names, ["eth0", DATA]);
    assert_eq!(report.interfaces[1].workload, "VirtualMachine app/vm1");
    assert_eq!(given(&report.interfaces[1]), (vec![], 1));
}

#[test]
fn a_running_machine_has_its_pods_annotations() {
    let text = machine("note: none")
        .replace("VirtualMachine\n", "VirtualMachineInstance\n")
        .replace("metadata: {name: vm1}", "metadata:\n  name: vm1\n  annotations: {kube-ipam.DATA.ip: 10.1.0.12}")
        .replace("DATA", DATA)
        .replace(
            "  runStrategy: Always\n  template:\n    metadata:\n      annotations:\n        note: none\n    spec:\n",
            "",
        )
        .replace("      domain:", "  domain:");
    // The spec of the instance is that of the machine's template.
    let (head, spec) = text.split_once("  domain:").unwrap();
    let spec = ["  domain:", spec].concat().replace("\n      ", "\n  ");
    let (_, report) = planned(&on_network(&[head, &spec].concat()));
    assert_eq!(report.findings, []);
    assert_eq!(given(&report.interfaces[1]), (vec!["10.1.0.12".to_owned()], 0));
}

#[test]
fn the_default_network_of_a_machine_is_that_of_its_first_interface() {
    let text = machine("note: none")
        .replace("{name: default, pod: {}}", "{name: default, multus: {networkName: db-net, default: true}}")
        .replace("      - name: data\n        multus: {networkName: db-net}\n", "");
    let (_, report) = planned(&on_network(&text));
    assert_eq!(report.findings, []);
    let [eth0] = report.interfaces.as_slice() else { panic!("{report:?}") };
    assert_eq!((eth0.interface.as_str(), eth0.network.as_deref()), ("eth0", Some("app/db-net")));
}

#[test]
fn an_unplugged_interface_takes_no_address() {
    let text = machine("note: none").replace("{name: data, bridge: {}}", "{name: data, bridge: {}, state: absent}");
    let (_, report) = planned(&on_network(&text));
    assert_eq!((report.interfaces.len(), report.findings), (1, vec![]));
}

#[test]
fn the_pods_of_a_migration_share_an_address_that_the_machine_keeps() {
    let surge = |annotations: &str| {
        let (_, report) = planned(&on_network(&machine(&annotations.replace("DATA", DATA))));
        assert_eq!(report.findings, [], "{annotations}");
        (report.networks[0].random_taken, report.networks[0].surge)
    };
    assert_eq!(surge("note: none"), (1, 1), "a random address is another one in each pod");
    assert_eq!(surge("kube-ipam.DATA.sticky: 'true'"), (1, 0));
    assert_eq!(surge("kube-ipam.DATA.ip: 10.1.0.12"), (0, 0));
    assert_eq!(surge("kube-ipam.DATA.pool: 10.1.0.12"), (0, 0));
}

#[test]
fn machines_that_fill_a_range_are_no_mistake() {
    let machines: String = (0..4).map(|i| machine("note: none").replace("vm1", &format!("vm{i}"))).collect();
    let (_, report) = planned(&on_network(&machines));
    assert_eq!(report.findings, []);
    assert_eq!((report.networks[0].random_taken, report.networks[0].left()), (4, 0));
}

#[test]
fn kubevirts_extension_lets_a_claim_keep_the_address_of_a_machine() {
    let network = NETWORK.replace("\"type\": \"macvlan\",", "\"type\": \"macvlan\", \"allowPersistentIPs\": true,");
    let kept = |claim: &str| {
        let (_, report) = planned(&[&network, &machine("note: none"), claim].concat());
        assert_eq!(report.findings, []);
        let Outcome::Addresses { kept_for, .. } = &report.interfaces[1].outcome else { panic!("{report:?}") };
        assert_eq!(kept_for.as_deref(), Some("IPAMClaim app/vm1.data"));
        given(&report.interfaces[1])
    };
    assert_eq!(kept(""), (vec![], 1), "the extension creates the claim");
    let claim = "apiVersion: k8s.cni.cncf.io/v1alpha1\nkind: IPAMClaim\nmetadata: {name: vm1.data}\nspec: {network: db-net, interface: ''}\n\
                 status: {ips: [10.1.0.12/24]}\n";
    assert_eq!(kept(claim), (vec!["10.1.0.12".to_owned()], 0));
}

/// Mistakes in machines.
pub(super) fn cases() -> Vec<Case> {
    vec![
        Case {
            name: "the interface of an older KubeVirt",
            text: on_network(&machine("«kube-ipam.net1.ip»: 10.1.0.12")),
            code: "KI0305",
            message: "for an interface that this pod does not have",
        },
        Case {
            name: "a network that nobody defines",
            text: machine("note: none").replace("networkName: db-net", "networkName: «db-net»"),
            code: "KI0102",
            message: "there is no NetworkAttachmentDefinition app/db-net",
        },
        Case {
            name: "a network of another namespace",
            text: on_network(&machine("note: none").replace("networkName: db-net", "networkName: «web/db-net»")),
            code: "KI0103",
            message: "there is no NetworkAttachmentDefinition web/db-net",
        },
        Case {
            name: "an address outside of the window",
            text: on_network(&machine(&format!("kube-ipam.{DATA}.ip: «10.1.0.20»"))),
            code: "KI0404",
            message: "outside the window for fixed addresses",
        },
        Case {
            name: "an annotation on the machine",
            text: on_network(
                &machine("note: none")
                    .replace("{name: vm1}", "{name: vm1, annotations: {«kube-ipam.net1.ip»: 10.1.0.12}}"),
            ),
            code: "KI0304",
            message: "is on the VirtualMachine vm1, and not on its pods",
        },
    ]
}
