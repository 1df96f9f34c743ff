//! `kube-ipam config`: an example config for a main plugin, to start from.

use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use super::CliError;
use super::output::Output;

/// Print an example config for a main plugin.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  kube-ipam config macvlan
  kube-ipam config calico > /etc/cni/net.d/10-calico.conf")]
pub(super) struct Example {
    /// The main plugin
    #[arg(value_enum)]
    kind: Kind,
}

/// The main plugins for which there is an example.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Kind {
    /// Interfaces with MAC addresses of their own on a network of the host
    Macvlan,
    /// Interfaces that share the MAC address of a host's interface
    Ipvlan,
    /// Interfaces on a bridge of the host
    Bridge,
    /// Calico as the primary network, with addresses from kube-ipam
    Calico,
    /// kube-router's bridge as the primary network
    KubeRouter,
    /// Multus, with a macvlan network beside the primary one
    Multus,
}

impl Example {
    /// Runs the verb.
    pub(super) fn run(&self, output: &mut Output) -> Result<(), CliError> {
        output.json(&self.kind.config())
    }
}

impl Kind {
    fn config(self) -> Value {
        match self {
            Self::Macvlan => attached_to("macvlan", "bridge"),
            Self::Ipvlan => attached_to("ipvlan", "l2"),
            Self::Bridge => json!({
                "cniVersion": "1.0.0", "name": "web-net", "type": "bridge",
                "bridge": "br-web", "isGateway": true, "ipMasq": true,
                "ipam": ipam("10.168.0"),
            }),
            Self::Calico => json!({
                "cniVersion": "0.3.1", "name": "k8s-pod-network", "type": "calico",
                "datastore_type": "kubernetes", "mtu": 1440, "log_level": "info",
                "ipam": ipam("10.188.0"),
                "policy": { "type": "k8s" },
                "kubernetes": { "kubeconfig": "/etc/cni/net.d/calico-kubeconfig" },
            }),
            Self::KubeRouter => json!({
                "cniVersion": "0.3.1", "name": "mynet", "type": "bridge",
                "bridge": "kube-bridge", "isDefaultGateway": true, "hairpinMode": true,
                "ipam": ipam("10.188.0"),
            }),
            Self::Multus => json!({
                "cniVersion": "1.0.0", "name": "multus-cni-network", "type": "multus",
                "kubeconfig": "/etc/cni/net.d/multus.d/multus.kubeconfig",
                "delegates": [Self::Calico.config(), Self::Macvlan.config()],
            }),
        }
    }
}

fn attached_to(plugin: &str, mode: &str) -> Value {
    json!({
        "cniVersion": "1.0.0", "name": "db-net", "type": plugin, "master": "eth1", "mode": mode,
        "ipam": ipam("10.188.0"),
    })
}

/// An ipam block with a window for fixed addresses below the random range.
fn ipam(network: &str) -> Value {
    let at = |host: u8| [network, &host.to_string()].join(".");
    json!({
        "type": "kube-ipam",
        "subnet": (at(0) + "/24"),
        "fixedStart": at(10), "fixedEnd": at(99),
        "rangeStart": at(100), "rangeEnd": at(250),
        "gateway": at(1),
        "routes": [{ "dst": "10.199.0.0/16" }],
        "etcdConfig": {
            "etcdURL": "https://192.0.2.50:2379,https://192.0.2.58:2379",
            "etcdCertFile": "/etc/cni/net.d/kube-ipam.d/etcd.pem",
            "etcdKeyFile": "/etc/cni/net.d/kube-ipam.d/etcd-key.pem",
            "etcdTrustedCAFile": "/etc/cni/net.d/kube-ipam.d/etcd-ca.pem",
        },
        "kubeConfig": "/etc/cni/net.d/kube-ipam.d/kubeconfig",
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::config::{self, Purpose};
    use crate::ipam::name::Name;

    #[test]
    fn every_example_is_a_config_without_mistakes_or_warnings() {
        for kind in Kind::value_variants() {
            let config = kind.config();
            let of_kube_ipam = match config.get("delegates") {
                Some(delegates) => delegates.as_array().unwrap().clone(),
                None => vec![config],
            };
            for config in of_kube_ipam {
                let name = Name::new(config["name"].as_str().unwrap()).unwrap();
                let loaded =
                    config::load(config.as_object().unwrap(), &name, &|_| None, Purpose { add: true, pod: true });
                assert!(loaded.network.is_ok(), "{kind:?}: {:?}", loaded.network);
                assert!(loaded.warnings.is_empty(), "{kind:?}: {:?}", loaded.warnings);
            }
        }
    }
}
