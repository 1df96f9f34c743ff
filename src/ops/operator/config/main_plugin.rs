//! The main plugins, and what their configurations have besides the ipam block.

use serde_json::{Map, Value, json};

use crate::ipam::name::Name;

/// The version of the protocol that all main plugins of recent years support.
const CNI_VERSION: &str = "1.0.0";

/// The version that the configurations of Calico and kube-router have.
const PRIMARY_CNI_VERSION: &str = "0.3.1";

/// A plugin that makes interfaces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MainPlugin {
    /// Interfaces with MAC addresses of their own on a network of the host.
    Macvlan {
        /// The host's interface on that network.
        master: String,
        /// How its interfaces reach each other.
        mode: String,
    },
    /// Interfaces that share the MAC address of a host's interface.
    Ipvlan {
        /// The host's interface.
        master: String,
        /// The layer that it works on.
        mode: String,
    },
    /// Interfaces on a bridge of the host.
    Bridge {
        /// The bridge.
        bridge: String,
    },
    /// A link between each pod and its host.
    Ptp,
    /// Calico as the primary network.
    Calico,
    /// kube-router's bridge as the primary network.
    KubeRouter {
        /// The bridge.
        bridge: String,
    },
}

impl MainPlugin {
    /// The configuration of a network.
    pub(super) fn config(&self, name: &Name, accepts_ips: bool, ipam: Value) -> Value {
        let (version, plugin) = match self {
            Self::Macvlan { .. } => (CNI_VERSION, "macvlan"),
            Self::Ipvlan { .. } => (CNI_VERSION, "ipvlan"),
            Self::Bridge { .. } => (CNI_VERSION, "bridge"),
            Self::Ptp => (CNI_VERSION, "ptp"),
            Self::Calico => (PRIMARY_CNI_VERSION, "calico"),
            Self::KubeRouter { .. } => (PRIMARY_CNI_VERSION, "bridge"),
        };
        let mut config = json!({ "cniVersion": version, "name": name, "type": plugin });
        extend(&mut config, self.settings());
        if accepts_ips {
            extend(&mut config, json!({ "capabilities": { "ips": true } }));
        }
        extend(&mut config, json!({ "ipam": ipam }));
        extend(&mut config, self.policy());
        config
    }

    /// Its own keys.
    fn settings(&self) -> Value {
        match self {
            Self::Macvlan { master, mode } | Self::Ipvlan { master, mode } => json!({ "master": master, "mode": mode }),
            Self::Bridge { bridge } => json!({ "bridge": bridge, "isGateway": true, "ipMasq": true }),
            Self::Ptp => json!({ "ipMasq": true }),
            Self::Calico => json!({ "datastore_type": "kubernetes", "mtu": 1440, "log_level": "info" }),
            Self::KubeRouter { bridge } => {
                json!({ "bridge": bridge, "isDefaultGateway": true, "hairpinMode": true })
            }
        }
    }

    /// Those of its keys that are about policies, and come last.
    fn policy(&self) -> Value {
        match self {
            Self::Calico => json!({
                "policy": { "type": "k8s" },
                "kubernetes": { "kubeconfig": "/etc/cni/net.d/calico-kubeconfig" },
            }),
            _ => json!({}),
        }
    }
}

/// The primary network in the configuration file of Multus.
pub(super) fn multus_primary(ipam: Value) -> Value {
    MainPlugin::Calico.config(&Name::closest("k8s-pod-network"), false, ipam)
}

/// The configuration file of Multus, with a primary network and the one that is written.
pub(super) fn multus_file(primary: Value, network: Value) -> Value {
    json!({
        "cniVersion": CNI_VERSION, "name": "multus-cni-network", "type": "multus",
        "kubeconfig": "/etc/cni/net.d/multus.d/multus.kubeconfig",
        "delegates": [primary, network],
    })
}

/// Adds the keys of one object to another.
pub(super) fn extend(object: &mut Value, keys: Value) {
    if let (Value::Object(object), Value::Object(keys)) = (object, keys) {
        object.extend::<Map<String, Value>>(keys);
    }
}
