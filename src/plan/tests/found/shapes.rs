//! The same mistakes in files of every shape: their line and column are those that an editor shows.

use crate::plan::tests::{NETWORK, pod};

/// A file with one mistake, which begins behind «.
pub(super) struct Shape {
    pub(super) name: &'static str,
    pub(super) text: String,
    pub(super) code: &'static str,
}

/// A definition with this text as `config`, after `config:`.
fn definition(config: &str) -> String {
    format!(
        "apiVersion: k8s.cni.cncf.io/v1\nkind: NetworkAttachmentDefinition\nmetadata:\n  name: net\nspec:\n  config:{config}"
    )
}

pub(super) fn shapes() -> Vec<Shape> {
    let pod = pod("a", "kube-ipam.net1.ip: 10.9.0.9");
    vec![
        Shape {
            name: "JSON in a literal block",
            text: definition(
                " |\n    {\"type\": \"macvlan\",\n     \"ipam\": {\n       \"type\": \"kube-ipam\", \"subnet\": «\"10.1.0.1/24\"}}\n",
            ),
            code: "KI0210",
        },
        Shape {
            name: "JSON in a block that is indented by number and keeps its end",
            text: definition(
                " |2+ # the network\n    {\"type\": \"macvlan\",\n\n     \"ipam\": {\"type\": \"kube-ipam\",\n     \"subnet\": «\"10.1.0.1/24\"}}\n\n\n",
            ),
            code: "KI0210",
        },
        Shape {
            name: "JSON in a folded block",
            text: definition(
                " >-\n    {\"type\": \"macvlan\",\n    \"ipam\": {\"type\": \"kube-ipam\",\n    \"subnet\": «\"10.1.0.1/24\"}}\n",
            ),
            code: "KI0210",
        },
        Shape {
            name: "JSON in single quotes",
            text: definition(" '{\"type\": \"macvlan\", \"ipam\": {\"type\": \"kube-ipam\", \"subnet\": «\"10.1.0.1/24\"}}'\n"),
            code: "KI0210",
        },
        Shape {
            name: "JSON in double quotes over two lines",
            text: definition(
                " \"{\\\"type\\\": \\\"macvlan\\\", \\\"ipam\\\": {\\\"type\\\": \\\"kube-ipam\\\",\n    \\\"subnet\\\": «\\\"10.1.0.1/24\\\"}}\"\n",
            ),
            code: "KI0210",
        },
        Shape {
            name: "a JSON error in a literal block",
            text: definition(" |\n    {\"type\": \"macvlan\",\n     \"ipam\": {\"type\": \"kube-ipam\",«}}\n"),
            code: "KI0004",
        },
        Shape {
            name: "a manifest in JSON",
            text: r#"{
  "apiVersion": "k8s.cni.cncf.io/v1", "kind": "NetworkAttachmentDefinition",
  "metadata": {"name": "net"},
  "spec": {"config": "{\"type\": \"macvlan\", \"ipam\": {\"type\": \"kube-ipam\", \"subnet\": «\"10.1.0.1/24\"}}"}
}
"#
            .to_owned(),
            code: "KI0210",
        },
        Shape {
            name: "a List in JSON, as kubectl prints it",
            text: r#"{"apiVersion": "v1", "kind": "List", "items": [
    {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a", "annotations": {
        "k8s.v1.cni.cncf.io/networks": "«nowhere"
    }}}
]}
"#
            .to_owned(),
            code: "KI0102",
        },
        Shape {
            name: "a conflist of a node",
            text: r#"{
  "cniVersion": "1.0.0",
  "name": "pods",
  "plugins": [
    {"type": "loopback"},
    {
      "type": "bridge",
      "ipam": {"type": "kube-ipam", "subnet": "10.1.0.0/16", "rangeStart": «"10.2.0.1"}
    },
    {"type": "portmap", "capabilities": {"portMappings": true}}
  ]
}
"#
            .to_owned(),
            code: "KI0218",
        },
        Shape {
            name: "a conf of a node",
            text: "{\"name\": \"pods\", \"type\": \"bridge\",\n \"ipam\": {\"type\": \"kube-ipam\", \"subnet\": «\"10.1.0.1/16\"}}\n"
                .to_owned(),
            code: "KI0210",
        },
        Shape {
            name: "the third document of helm",
            text: [
                "---\n# Source: web/templates/empty.yaml\n---\n# Source: web/templates/nad.yaml\n",
                NETWORK,
                "# Source: web/templates/pod.yaml\n",
                &pod.replace("10.9", "«10.9"),
            ]
            .concat(),
            code: "KI0402",
        },
        Shape {
            name: "kustomize, which sorts keys and puts namespaces in",
            text: "apiVersion: v1\nkind: Pod\nmetadata:\n  annotations:\n    k8s.v1.cni.cncf.io/networks: db-net\n    \
                   kube-ipam.net1.ip: «10.9.0.9\n  name: a\n  namespace: app\nspec:\n  containers: []\n---\n"
                .to_owned()
                + NETWORK,
            code: "KI0402",
        },
        Shape {
            name: "the line ends of Windows",
            text: [NETWORK, &pod.replace("10.9", "«10.9")].concat().replace('\n', "\r\n"),
            code: "KI0402",
        },
        Shape {
            name: "the line ends of Windows around JSON",
            text: definition(
                " |\n    {\"type\": \"macvlan\",\n     \"ipam\": {\"type\": \"kube-ipam\",\n       \"subnet\": «\"10.1.0.1/24\"}}\n",
            )
            .replace('\n', "\r\n"),
            code: "KI0210",
        },
        Shape {
            name: "a byte order mark",
            text: ["\u{feff}", &pod.replace("db-net", "«nowhere").replace("10.9.0.9", "10.1.0.9")].concat(),
            code: "KI0102",
        },
        Shape {
            name: "characters that take two, three and four bytes, before the mark",
            text: definition(
                " '{\"type\": \"macvlan\", \"ü東😀\": 1, \"ipam\": {\"type\": \"kube-ipam\", \"subnet\": «\"10.1.0.1/24\"}}'\n",
            ),
            code: "KI0210",
        },
        Shape {
            name: "tabs in JSON",
            text: "{\n\t\"name\": \"pods\",\n\t\"type\": \"bridge\",\n\t\"ipam\": {\n\t\t\"type\": \"kube-ipam\",\n\t\t\"subnet\": «\"10.1.0.1/16\"\n\t}\n}\n"
                .to_owned(),
            code: "KI0210",
        },
        Shape {
            name: "tabs in the JSON of a block",
            text: definition(" |\n    {\"type\": \"macvlan\",\n    \t\"ipam\": {\"type\": \"kube-ipam\",\n    \t\t\"subnet\": «\"10.1.0.1/24\"}}\n"),
            code: "KI0210",
        },
        Shape {
            name: "a comment and an alias before it",
            text: "apiVersion: v1\nkind: Pod\nmetadata:\n  name: &name a\n  labels: {app: *name}\n  annotations: # of Multus\n    \
                   k8s.v1.cni.cncf.io/networks: «nowhere # later\n"
                .to_owned(),
            code: "KI0102",
        },
        Shape {
            name: "the second of two pods in one List",
            text: "apiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: Pod, metadata: {name: a}}\n- apiVersion: v1\n  \
                   kind: Pod\n  metadata:\n    name: b\n    annotations: {k8s.v1.cni.cncf.io/networks: «nowhere}\n"
                .to_owned(),
            code: "KI0102",
        },
        Shape {
            name: "a file that goes on after a document that is none",
            text: "a: «[\n---\n".to_owned() + "b: 1\n",
            code: "KI0001",
        },
    ]
}
