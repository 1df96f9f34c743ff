//! Keys of other IPAM plugins, for users who come from one of them and changed only the `type`.

/// A key of another plugin that kube-ipam does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ForeignKey {
    /// The key, in that plugin's spelling.
    pub key: &'static str,
    /// The plugin.
    pub plugin: &'static str,
    /// What to write instead.
    pub instead: &'static str,
    /// Whether it chooses the address. An ADD is then refused, because ignoring the key would assign another address.
    pub decides: bool,
}

/// The key of another plugin with this spelling, in any case.
pub(super) fn find(written: &str) -> Option<&'static ForeignKey> {
    FOREIGN.iter().find(|foreign| foreign.key.eq_ignore_ascii_case(written))
}

/// The replacement of keys that choose a range by its subnet.
const SUBNET: &str = "\"subnet\", with \"rangeStart\" and \"rangeEnd\" for a part of it";
const LOG: &str = "\"log\" in the node defaults";
const STORE: &str = "\"etcdConfig\" or \"store\" in the node defaults";

const fn decides(plugin: &'static str, key: &'static str, instead: &'static str) -> ForeignKey {
    ForeignKey { key, plugin, instead, decides: true }
}

const fn hint(plugin: &'static str, key: &'static str, instead: &'static str) -> ForeignKey {
    ForeignKey { key, plugin, instead, decides: false }
}

/// The keys of these plugins. Those with the same meaning here (`exclude`, `routes`, `gateway`, `dns`) are kube-ipam's
/// own.
pub(super) const FOREIGN: [ForeignKey; 34] = [
    decides("whereabouts", "range", SUBNET),
    decides("whereabouts", "range_start", "\"rangeStart\""),
    decides("whereabouts", "range_end", "\"rangeEnd\""),
    decides("whereabouts", "ipRanges", "\"ranges\", a list of lists: [[{\"subnet\": …}], [{\"subnet\": …}]]"),
    decides("whereabouts", "omit_ranges", "\"exclude\""),
    hint("whereabouts", "enable_overlapping_ranges", "\"vrf\", in which an address is unique"),
    hint(
        "whereabouts",
        "network_name",
        "\"vrf\", of which networks need different ones that may give the same address",
    ),
    hint("whereabouts", "node_slice_size", "\"nodes\" on the entries of \"ranges\", which gives each rack its own"),
    hint("whereabouts", "datastore", STORE),
    hint("whereabouts", "etcd_host", STORE),
    hint("whereabouts", "etcd_ca_cert_file", STORE),
    hint("whereabouts", "kubernetes", "\"kubeConfig\" in the node defaults"),
    hint("whereabouts", "configuration_path", "the node defaults, /etc/cni/net.d/kube-ipam.d/kube-ipam.json"),
    hint("whereabouts", "log_file", LOG),
    hint("whereabouts", "log_level", LOG),
    hint("whereabouts", "reconciler_cron_expression", "`kube-ipam controller`, which frees what leaked"),
    hint("whereabouts", "leader_lease_duration", "nothing; no call waits for a leader"),
    hint("whereabouts", "leader_renew_deadline", "nothing; no call waits for a leader"),
    hint("whereabouts", "leader_retry_period", "nothing; no call waits for a leader"),
    decides("static", "addresses", "\"subnet\", and the address in the pod's annotation kube-ipam.<interface>.ip"),
    decides("calico-ipam", "ipv4_pools", SUBNET),
    decides("calico-ipam", "ipv6_pools", SUBNET),
    hint("calico-ipam", "assign_ipv4", "\"ranges\" with a set for each family that an interface is to have"),
    hint("calico-ipam", "assign_ipv6", "\"ranges\" with a set for each family that an interface is to have"),
    decides("spiderpool", "default_ipv4_ippool", SUBNET),
    decides("spiderpool", "default_ipv6_ippool", SUBNET),
    decides("spiderpool", "default_cluster_ipv4_ippool", SUBNET),
    decides("spiderpool", "default_cluster_ipv6_ippool", SUBNET),
    decides("spiderpool", "default_subnet", SUBNET),
    hint("spiderpool", "match_master_subnet", "\"nodes\" on the entries of \"ranges\""),
    hint("spiderpool", "ipam_unix_socket_path", "nothing; there is no agent"),
    hint("spiderpool", "log_file_path", LOG),
    hint("spiderpool", "log_file_max_size", "\"rotate\" of \"log\" in the node defaults"),
    decides("antrea", "ippools", SUBNET),
];
