//! The number and title of each kind of finding. docs/reference-errors.md lists them with remedies.

use std::fmt;

/// The number of a kind of finding. It is never reused for another kind, so that comments and scripts that name it stay
/// valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Code(pub(super) u16);

impl Code {
    /// All of them, in their order.
    pub fn all() -> impl Iterator<Item = Self> {
        CODES.iter().map(|(number, _)| Self(*number))
    }

    /// The title in the list.
    pub fn title(self) -> &'static str {
        CODES.iter().find(|(number, _)| *number == self.0).map_or("", |(_, title)| title)
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KI{:04}", self.0)
    }
}

/// All kinds: 0xx files, 1xx networks and interfaces, 2xx configurations, 3xx workloads, 4xx requests.
const CODES: &[(u16, &str)] = &[
    (1, "A file is neither YAML nor JSON"),
    (2, "A key stands twice in one object"),
    (3, "The configuration of a definition is an object"),
    (4, "The configuration of a definition, or the node defaults, are not JSON"),
    (5, "The value of an annotation is not a text"),
    (6, "More findings than a plan shows"),
    (101, "A network's name can't be used"),
    (102, "A pod selects a network that nobody defines"),
    (103, "A pod selects a network of another namespace"),
    (104, "A network is defined twice"),
    (105, "The network selection can't be read"),
    (106, "A pod has two interfaces of one name"),
    (107, "Two networks of one vrf give out the same addresses"),
    (108, "A default route on a second interface"),
    (109, "A gateway outside its subnet"),
    (110, "`ips` in a network selection without the capability"),
    (201, "A configuration has no ipam block"),
    (202, "A value has the wrong type"),
    (203, "A value is too long"),
    (204, "An unknown key, nearly a known one"),
    (205, "A key by which another plugin chooses the address"),
    (206, "An empty entry in a list"),
    (207, "A key that only the node defaults may have"),
    (208, "A key that is locked"),
    (209, "An entry of `locked` or `blocksMaySet` without effect"),
    (210, "An address or a network can't be read"),
    (211, "A name can't be used"),
    (212, "A duration or size is out of bounds"),
    (213, "A path is not absolute"),
    (214, "A file can't be read"),
    (215, "A range or its subnet is missing"),
    (216, "IPv4 and IPv6 in one range set"),
    (217, "A subnet that no interface can have"),
    (218, "An address is not in its subnet"),
    (219, "A gateway that no host can be"),
    (220, "A span runs backwards"),
    (221, "A window of fixed addresses with one edge"),
    (222, "Ranges or range sets overlap"),
    (223, "Nothing of a range is left"),
    (225, "`nodes` or `namespaces` without effect"),
    (226, "Too many ranges"),
    (227, "A route is wrong"),
    (228, "No store, or two"),
    (229, "The URL of an etcd member is wrong"),
    (230, "A key lacks or contradicts its partner"),
    (231, "A prefix that can't come before keys"),
    (232, "A label that Kubernetes does not allow"),
    (233, "The name of a pool can't be used"),
    (234, "A pool has nothing to give, or too many entries"),
    (235, "Pools overlap"),
    (236, "A pool lies outside the network's subnets"),
    (237, "The name of a namespace can't be used"),
    (251, "An unknown key"),
    (252, "A key of another plugin"),
    (253, "A locked key with the value that it has anyway"),
    (254, "A part of a range without its subnet"),
    (255, "etcd is reached without TLS"),
    (256, "A selector of nodes without `nodeLabels` in the node defaults"),
    (301, "Two pods ask for one address"),
    (302, "All pods of a workload ask for one address"),
    (303, "A workload can never be updated"),
    (304, "An annotation on a workload instead of its pods"),
    (305, "An annotation for an interface that the pod does not have"),
    (306, "An annotation of another address manager"),
    (307, "A pool is too short"),
    (308, "More pods than addresses"),
    (309, "An unscoped address for none of the pod's interfaces"),
    (310, "More pods than a plan takes"),
    (311, "An annotation on an object that has no pods"),
    (312, "A claim that the files don't have"),
    (313, "A claim of several pods"),
    (314, "A pod of the cluster holds a requested address"),
    (315, "A foreign host uses a requested address"),
    (316, "A requested address is reserved for another owner"),
    (401, "A requested address can't be read"),
    (402, "A requested address is in no subnet of the network"),
    (403, "A requested address is in a range for other nodes"),
    (404, "A requested address can't be given"),
    (405, "A requested address has another prefix length than its subnet"),
    (406, "More addresses than the CNI version has room for"),
    (407, "The network is not for this namespace"),
    (408, "Too many addresses for one interface"),
    (409, "A range set has no random addresses"),
    (410, "No range of a network is for the pod's node"),
    (421, "An annotation with an unknown field"),
    (422, "An annotation that has to name an interface"),
    (423, "An empty annotation, or an empty entry"),
    (424, "The value of an annotation is wrong"),
    (425, "The value of an annotation is too long"),
    (426, "An annotation with a JSON list"),
    (427, "`ip` and `pool` for one interface"),
    (428, "Two requests disagree"),
    (429, "The name of a claim can't be read"),
    (430, "A netmask or gateway does not fit its address"),
    (431, "A claim can't be used"),
    (432, "A request of the family that `families` leaves out"),
    (433, "A network without the family that `families` names"),
    (434, "A pool that the network does not have"),
    (441, "An annotation that kube-ipam does not know"),
    (442, "An unscoped address that is not of this network"),
    (443, "A netmask or gateway without its address"),
    (444, "`sticky` on a pod without a stable identity"),
    (499, "A request is refused for another reason"),
];
