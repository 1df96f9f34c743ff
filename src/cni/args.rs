//! CNI_ARGS: `K=V;K=V` (CNI spec 1.1, section 2).
//!
//! Runtimes add keys of their own, in any order, so unknown content is not an error.

use crate::ipam::lease::PodRef;

/// The value of a key, which may contain `=`. If there are several, the last one counts, because thin Multus appends
/// its own to those of the runtime. An empty value counts as absent.
pub(super) fn value<'a>(args: &'a str, key: &str) -> Option<&'a str> {
    let mut pairs = args.rsplit(';').filter_map(|pair| pair.split_once('='));
    let (_, value) = pairs.find(|(name, _)| *name == key)?;
    (!value.is_empty()).then_some(value)
}

/// The pod, as Kubernetes runtimes pass it. podman passes only the name.
pub(super) fn pod(args: &str) -> PodRef {
    let owned = |key| value(args, key).map(str::to_owned);
    PodRef { namespace: owned("K8S_POD_NAMESPACE"), name: owned("K8S_POD_NAME"), uid: owned("K8S_POD_UID") }
}

/// The addresses in `IP=`, separated by commas.
pub(super) fn ips(args: &str) -> Vec<String> {
    let list = value(args, "IP").unwrap_or_default();
    list.split(',').map(str::trim).filter(|ip| !ip.is_empty()).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_value_of_a_key_counts_and_an_empty_one_is_none() {
        for (args, expected) in [
            ("", None),
            (";;", None),
            ("A", None),
            ("A=", None),
            ("=1", None),
            ("A=1", Some("1")),
            ("A=1=2", Some("1=2")),
            ("A=1;A=2", Some("2")),
            ("A=1;A=", None),
            ("A=;A=1", Some("1")),
            ("A=1;A", Some("1")),
            ("a=1", None),
            (";B=0;;A=1;", Some("1")),
        ] {
            assert_eq!(value(args, "A"), expected, "{args:?}");
        }
    }

    #[test]
    fn a_pod_is_what_the_runtime_names_of_it() {
        let named = |namespace: Option<&str>, name: Option<&str>, uid: Option<&str>| PodRef {
            namespace: namespace.map(str::to_owned),
            name: name.map(str::to_owned),
            uid: uid.map(str::to_owned),
        };
        let containerd = "K8S_POD_INFRA_CONTAINER_ID=c0;K8S_POD_UID=u-1;IgnoreUnknown=1;K8S_POD_NAMESPACE=prod;\
                          K8S_POD_NAME=db-0";
        assert_eq!(pod(containerd), named(Some("prod"), Some("db-0"), Some("u-1")));
        assert_eq!(pod("IgnoreUnknown=1;K8S_POD_NAME=web"), named(None, Some("web"), None));
        assert_eq!(pod("K8S_POD_NAMESPACE=;K8S_POD_NAME=;K8S_POD_UID="), PodRef::default());
    }

    #[test]
    fn ip_is_a_comma_list() {
        for (args, expected) in [
            ("", vec![]),
            ("IP=", vec![]),
            ("IP=,", vec![]),
            ("IP=10.1.0.5/24", vec!["10.1.0.5/24"]),
            ("IgnoreUnknown=1;IP=10.1.0.5, fd00::5,", vec!["10.1.0.5", "fd00::5"]),
        ] {
            assert_eq!(ips(args), expected, "{args:?}");
        }
    }
}
