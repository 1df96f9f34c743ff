//! Mistakes in files and definitions, and between networks.

use super::{Case, with};
use crate::plan::tests::{NETWORK, pod};

pub(super) fn cases() -> Vec<Case> {
    vec![
        Case {
            name: "a list that is not closed",
            code: "KI0001",
            message: "neither YAML nor JSON",
            text: "a: «»[1\n".to_owned(),
        },
        Case {
            name: "a template",
            code: "KI0001",
            message: "neither YAML nor JSON",
            text: "a: {«{» .Values.x }}\n".to_owned(),
        },
        Case {
            name: "a key twice",
            code: "KI0002",
            message: "the key kind stands twice",
            text: NETWORK.replace("metadata: {", "«kind»: NetworkAttachmentDefinition\nmetadata: {"),
        },
        Case {
            name: "an object as configuration",
            code: "KI0003",
            message: "has to be a text",
            text: "apiVersion: k8s.cni.cncf.io/v1\nkind: NetworkAttachmentDefinition\nmetadata: {name: a}\nspec:\n  config: «{a: 1}»\n"
                .to_owned(),
        },
        Case {
            name: "a trailing comma",
            code: "KI0004",
            message: "the configuration of db-net is not JSON",
            text: with("\"10.1.0.103\"\n      }", "\"10.1.0.103\",\n      «»}"),
        },
        Case {
            name: "node defaults that are no object",
            code: "KI0004",
            message: "the node defaults are no JSON object",
            text: "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: d}\ndata:\n  kube-ipam.json: '«[]»'\n".to_owned(),
        },
        Case {
            name: "a name with a slash",
            code: "KI0101",
            message: "the name of this network",
            text: with("\"name\": \"db-net\"", "\"name\": «\"db/net\"»"),
        },
        Case {
            name: "two definitions of one name",
            code: "KI0104",
            message: "network app/db-net is defined twice",
            text: NETWORK.to_owned() + &with("{name: db-net", "{name: «db-net»"),
        },
        Case {
            name: "two networks with common addresses",
            code: "KI0107",
            message: "both give out 10.1.0.100-10.1.0.103",
            text: NETWORK.to_owned()
                + &with("db-net", "web-net")
                    .replace("\"10.1.0.0/24\"", "«\"10.1.0.0/24\"»")
                    .replace("10.1.0.10\"", "10.1.0.30\"")
                    .replace("10.1.0.19", "10.1.0.39"),
        },
        Case {
            name: "a default route on net1",
            code: "KI0108",
            message: "a default route for net1",
            text: with("\"subnet\"", "\"routes\": [{\"dst\": «\"0.0.0.0/0\"»}], \"subnet\"") + &pod("a", "note: none"),
        },
        Case {
            name: "a gateway elsewhere",
            code: "KI0109",
            message: "is not in the subnet",
            text: with("\"subnet\"", "\"gateway\": «\"10.9.0.1\"», \"subnet\""),
        },
    ]
}
