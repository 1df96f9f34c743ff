//! Each kind with each set of options is a configuration that nodes serve.
#![allow(clippy::unwrap_used, reason = "a test's verdict is a panic")]

use clap::{Command, FromArgMatches as _};
use serde_json::{Value, json};

use super::*;
use crate::config::{self, Purpose};
use crate::ops::operator::config::ConfigReport;

fn reported(kind: Kind, args: &str, format: Format) -> Result<ConfigReport, CliError> {
    let command = ConfigArgs::augment_args(Command::new("config").no_binary_name(true));
    let words = [kind.word()].into_iter().chain(args.split_whitespace().map(str::to_owned));
    let args = ConfigArgs::from_arg_matches(&command.try_get_matches_from(words).unwrap()).unwrap();
    Ok(config(&args.options(format)?)?)
}

/// The configurations of kube-ipam in a document.
fn networks(document: &Value) -> Vec<Value> {
    match document.get("delegates") {
        Some(delegates) => delegates.as_array().unwrap().clone(),
        None => vec![document.clone()],
    }
}

const SETS: [&str; 8] = [
    "",
    "--name backend --exclude 10.188.0.128/28",
    "--subnet 10.20.0.0/16 --gateway 10.20.0.1",
    "--subnet 10.20.0.0/24 --range 10.20.0.100-10.20.0.200 --fixed-start 10.20.0.10 --fixed-end 10.20.0.50",
    "--subnet 10.20.0.0/16 --subnet fd00:20::/64 --route 0.0.0.0/0 --route ::/0",
    "--subnet 10.20.0.0/16 --range-start 10.20.1.0 --range-end 10.20.9.255 --pool db=10.20.0.20-10.20.0.29",
    "--subnet 10.20.0.0/16 --pool db=10.20.0.20,10.20.4.0/28@database,db-2",
    "--subnet 10.20.0.0/16 --subnet 10.21.0.0/16",
];

const STORES: [&str; 3] = [
    "--store etcd",
    "--store embedded --data-dir /srv/kube-ipam",
    "--endpoints https://192.0.2.7:2379 --etcd-ca /ca.pem",
];

#[test]
fn every_kind_with_every_set_of_options_is_loaded_without_a_warning() {
    for kind in Kind::value_variants() {
        for (set, store) in SETS.into_iter().flat_map(|set| STORES.map(|store| (set, store))) {
            let report = reported(*kind, &format!("{set} {store}"), Format::Json).unwrap();
            assert_eq!(report.warnings, [""; 0], "{kind:?} {set} {store}");
            for config in networks(&report.document) {
                let name = Name::new(config["name"].as_str().unwrap()).unwrap();
                let loaded =
                    config::load(config.as_object().unwrap(), &name, &|_| None, Purpose { add: true, pod: true });
                assert!(loaded.network.is_ok(), "{kind:?} {set} {store}: {:?}", loaded.network);
                assert!(loaded.warnings.is_empty(), "{kind:?} {set} {store}: {:?}", loaded.warnings);
            }
        }
    }
}

#[test]
fn a_definition_has_the_same_network_as_the_file() {
    for kind in Kind::value_variants().iter().filter(|kind| **kind != Kind::Multus) {
        for set in SETS {
            let set = format!("{set} --store etcd");
            let file = reported(*kind, &set, Format::Json).unwrap().document;
            let report = reported(*kind, &set, Format::Yaml).unwrap();
            let text = render::definition(&report, Some("tenant"));
            let definition: Value = serde_saphyr::from_str(&text).unwrap();
            assert_eq!(definition["metadata"], json!({ "name": report.name, "namespace": "tenant" }));
            let mut config: Value = serde_json::from_str(definition["spec"]["config"].as_str().unwrap()).unwrap();
            let capabilities = config.as_object_mut().unwrap().remove("capabilities");
            assert_eq!(capabilities.is_some(), kind.is_secondary());
            assert_eq!(config, file, "{text}");
        }
    }
}

#[test]
fn a_definition_leaves_the_store_to_the_node_defaults_and_says_so() {
    let text = render::definition(&reported(Kind::Multus, "--name db-net", Format::Yaml).unwrap(), None);
    insta::assert_snapshot!(text, @r#"
    # Interfaces with MAC addresses of their own, on a network of the node (macvlan), with addresses from kube-ipam.
    #
    # Before you apply it, check:
    #   master      the node's interface on that network; it has the same name on every node
    #   subnet      the network's own subnet
    #   fixedStart  with fixedEnd: only these addresses can be requested, and none of them is random
    #   rangeStart  with rangeEnd: the addresses for pods that request none
    #   gateway     the router of the subnet; it is never assigned
    #   routes      networks that pods reach through the gateway
    #   the store   in the node defaults, /etc/cni/net.d/kube-ipam.d/kube-ipam.json
    #
    # A pod requests it with the annotation   k8s.v1.cni.cncf.io/networks: db-net
    # and a specific address with             kube-ipam.net1.ip: 10.188.0.10
    apiVersion: k8s.cni.cncf.io/v1
    kind: NetworkAttachmentDefinition
    metadata:
      name: db-net
    spec:
      config: |
        {
          "cniVersion": "1.0.0",
          "name": "db-net",
          "type": "macvlan",
          "master": "eth1",
          "mode": "bridge",
          "capabilities": {
            "ips": true
          },
          "ipam": {
            "type": "kube-ipam",
            "subnet": "10.188.0.0/24",
            "fixedStart": "10.188.0.10",
            "fixedEnd": "10.188.0.99",
            "rangeStart": "10.188.0.100",
            "rangeEnd": "10.188.0.250",
            "gateway": "10.188.0.1",
            "routes": [
              {
                "dst": "10.199.0.0/16"
              }
            ]
          }
        }
    "#);
}

#[test]
fn options_that_do_not_belong_together_are_refused() {
    for (kind, args, format, expected) in [
        (Kind::Bridge, "--master eth1", Format::Json, "--master is not for bridge"),
        (Kind::Calico, "--mode l2", Format::Json, "--mode is not for calico"),
        (Kind::Macvlan, "--bridge br0", Format::Json, "--bridge is not for macvlan"),
        (Kind::Macvlan, "--namespace tenant", Format::Json, "--namespace is for -o yaml"),
        (Kind::Macvlan, "--store etcd --data-dir /srv", Format::Json, "--data-dir is not for the store etcd"),
        (
            Kind::Macvlan,
            "--endpoints https://192.0.2.1:2379 --data-dir /srv",
            Format::Json,
            "--data-dir is not for the store etcd",
        ),
        (Kind::Macvlan, "--etcd-ca /ca.pem --store embedded", Format::Json, "--etcd-ca is not for the store embedded"),
        (Kind::Macvlan, "--kubeconfig /k", Format::Yaml, "--kubeconfig is not for the store node-defaults"),
        (
            Kind::Macvlan,
            "--name Big_Net",
            Format::Yaml,
            "the API server takes no object with the name Big_Net: it must have lower case letters, digits, '-' and '.'",
        ),
    ] {
        assert_eq!(reported(kind, args, format).unwrap_err().to_string(), expected);
    }
}

#[test]
fn a_pool_is_read_with_its_namespaces() {
    let read = pool("db=10.1.0.1-10.1.0.9,10.1.1.0/28@database,db-2").unwrap();
    assert_eq!(
        (read.name, read.addresses, read.namespaces),
        (
            "db".to_owned(),
            vec!["10.1.0.1-10.1.0.9".to_owned(), "10.1.1.0/28".to_owned()],
            vec!["database".to_owned(), "db-2".to_owned()]
        )
    );
    assert!(pool("10.1.0.1").is_err());
}
