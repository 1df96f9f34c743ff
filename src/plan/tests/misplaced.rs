//! Annotations where they have no effect, and networks that are not for a namespace.

use super::found::Case;
use super::{NETWORK, deployment, planned, pod, workload};

/// An annotation of kube-ipam.
const KEY: &str = "kube-ipam.net1.sticky";

/// An object with that annotation.
fn annotated(version: &str, kind: &str) -> String {
    format!("apiVersion: {version}\nkind: {kind}\nmetadata: {{name: it, annotations: {{{KEY}: 'true'}}}}\n---\n")
}

/// Annotations that have no effect.
pub(super) fn cases() -> Vec<Case> {
    let others = [
        ("v1", "Namespace", "is on the Namespace it, and kube-ipam reads those of pods"),
        ("v1", "Service", "is on the Service it"),
        ("v1", "ConfigMap", "is on the ConfigMap it"),
        ("v1", "Node", "is on the Node it"),
        ("k8s.cni.cncf.io/v1", "NetworkAttachmentDefinition", "is on the NetworkAttachmentDefinition it"),
        ("k8s.cni.cncf.io/v1alpha1", "IPAMClaim", "is on the IPAMClaim it"),
    ];
    let of_others = others.map(|(version, kind, message)| Case {
        name: kind,
        code: "KI0311",
        message,
        text: annotated(version, kind).replace(KEY, &format!("«{KEY}»")),
    });
    let annotations = format!("metadata: {{annotations: {{«{KEY}»: 'true'}}}}");
    let on_network = |text: String| [NETWORK, &text].concat();
    let of_workloads = [
        Case {
            name: "the jobs of a CronJob",
            text: format!(
                "apiVersion: batch/v1\nkind: CronJob\nmetadata: {{name: it}}\nspec:\n  jobTemplate:\n    {annotations}\n    spec: \
                 {{template: {{spec: {{}}}}}}\n"
            ),
            code: "KI0304",
            message: "is on the jobs of the CronJob it, and not on its pods",
        },
        Case {
            name: "a volume claim of a StatefulSet",
            text: on_network(workload(
                "apps/v1",
                "StatefulSet",
                &format!("volumeClaimTemplates:\n  - {annotations}"),
                "note: none",
            )),
            code: "KI0304",
            message: "is on a volume claim of the StatefulSet web, and not on its pods",
        },
        Case {
            name: "the selection of networks",
            text: on_network(
                deployment("replicas: 1", "note: none")
                    .replace("        k8s.v1.cni.cncf.io/networks: db-net\n", "")
                    .replace("{name: web}", "{name: web, annotations: {«k8s.v1.cni.cncf.io/networks»: db-net}}"),
            ),
            code: "KI0304",
            message: "is on the Deployment web, and not on its pods",
        },
    ];
    of_others.into_iter().chain(of_workloads).collect()
}

#[test]
fn what_another_controller_may_pass_on_is_no_mistake() {
    let own_kind = annotated("example.org/v1", "Database");
    let both = deployment("replicas: 1", "note: none")
        .replace("{name: web}", "{name: web, annotations: {k8s.v1.cni.cncf.io/networks: db-net}}");
    let (_, report) = planned(&[NETWORK, &own_kind, "---\n", &both].concat());
    assert_eq!(report.findings, []);
}

#[test]
fn a_network_for_other_namespaces_is_shown_with_its_list() {
    let refused = |network: &str| {
        let text = [network, &pod("a", "note: none")].concat();
        let (_, report) = planned(&text);
        let [finding] = report.findings.as_slice() else { panic!("{:#?}", report.findings) };
        assert_eq!((finding.code.to_string().as_str(), &text[finding.primary.place.span()]), ("KI0407", "db-net"));
        finding.related.iter().map(|mark| text[mark.place.span()].to_owned()).collect::<Vec<_>>()
    };
    let of_network = NETWORK.replace("\"subnet\"", "\"namespaces\": [\"database\"], \"subnet\"");
    assert_eq!(refused(&of_network), ["\"namespaces\""]);
    let of_range = NETWORK
        .replace(
            "\"subnet\": \"10.1.0.0/24\",",
            "\"ranges\": [[{\"subnet\": \"10.1.0.0/24\", \"namespaces\": [\"database\"]}]]",
        )
        .lines()
        .filter(|line| !["fixedStart", "fixedEnd", "rangeStart", "rangeEnd"].iter().any(|key| line.contains(key)))
        .collect::<Vec<_>>()
        .join("\n");
    assert_eq!(refused(&(of_range + "\n")), ["\"namespaces\""]);
}
