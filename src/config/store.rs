//! Chooses the store of a config.

use std::path::{Path, PathBuf};

use super::diagnostics::{ConfigErrors, ConfigWarning, Diagnostics};
use super::document::{EtcdBlock, IpamBlock, KubernetesBlock, StoreName, Urls};
use super::keys;
use super::problem::Problem;
use super::read::{Field, shortened};
use crate::apiserver::Access;
use crate::ipam::name::is_object_name;
use crate::store::{EtcdConfig, KubernetesConfig, StoreConfig};

/// The folder of the embedded store.
const DATA_DIR: &str = "/var/lib/kube-ipam/store";

/// The default prefix of every key in etcd.
const PREFIX: &str = "/kube-ipam/v1/";

/// The default namespace of the custom resources.
const NAMESPACE: &str = "kube-ipam";

/// The keys that choose a store.
const KEYS: [&str; 4] = ["store", "dataDir", "etcdConfig", "kubernetesConfig"];

/// The choice of one document.
enum Choice {
    Unset,
    Store(StoreConfig),
    /// It chooses a store, with mistakes.
    Invalid,
}

/// The store that the block chooses, or else the node defaults. Without either, a call that names no pod uses the
/// embedded store.
///
/// The whole etcdConfig comes from one of the two, so that certificates and passwords of the defaults are never sent to
/// a block's URL. `file` is the file of the node defaults. `file_known` is set if it was read or does not exist.
/// `kubeconfigs` are those of the defaults alone, for the same reason.
pub(super) fn choose(
    block: &IpamBlock,
    defaults: &IpamBlock,
    (file, file_known): (&Path, bool),
    kubeconfigs: &[PathBuf],
    is_pod: bool,
    diagnostics: &mut Diagnostics,
) -> Result<StoreConfig, ConfigErrors> {
    let data_dir = || block.data_dir.get().or(defaults.data_dir.get()).cloned().unwrap_or_else(|| DATA_DIR.into());
    let access = || kubeconfigs.iter().cloned().map(Access::Kubeconfig).collect();
    let (layer, choice) = match choice(block, data_dir, access, diagnostics) {
        Choice::Unset => (defaults, choice(defaults, data_dir, access, diagnostics)),
        chosen => (block, chosen),
    };
    match choice {
        Choice::Store(store) => Ok(store),
        Choice::Invalid => Err(mistakes_of(layer, diagnostics)),
        Choice::Unset if !file_known => Err(ConfigErrors(diagnostics.below(&defaults.at))),
        Choice::Unset if is_pod => {
            // The mistake of a locked choice already says where to move it.
            if mistakes_of(block, diagnostics).0.is_empty() {
                diagnostics.mistake(keys::below(&block.at, "etcdConfig"), Problem::NoStore(file.to_path_buf()));
            }
            Err(mistakes_of(block, diagnostics))
        }
        Choice::Unset => Ok(StoreConfig::Embedded { data_dir: data_dir() }),
    }
}

fn choice(
    layer: &IpamBlock,
    data_dir: impl Fn() -> PathBuf,
    access: impl Fn() -> Vec<Access>,
    diagnostics: &mut Diagnostics,
) -> Choice {
    let (etcd, kubernetes) = (&layer.etcd, &layer.kubernetes);
    if etcd.is_invalid() || kubernetes.is_invalid() || layer.store.is_invalid() {
        return Choice::Invalid;
    }
    let contradicted = match (layer.store.located(), etcd.located(), kubernetes.located()) {
        (Some((at, _)), Some(_), _) => Some((at, "etcdConfig")),
        (Some((at, StoreName::Embedded)), _, Some(_)) => Some((at, "kubernetesConfig")),
        (_, Some(_), Some((at, _))) => Some((at, "etcdConfig")),
        _ => None,
    };
    if let Some((at, other)) = contradicted {
        diagnostics.mistake(at, Problem::TwoStores(other));
        return Choice::Invalid;
    }
    // With another store, dataDir is only the folder where host-local kept its addresses.
    if let Some(etcd) = etcd.get() {
        return etcd_config(etcd, diagnostics)
            .map_or(Choice::Invalid, |config| Choice::Store(StoreConfig::Etcd(config)));
    }
    match (layer.store.get(), kubernetes.get(), &layer.data_dir) {
        (Some(StoreName::Kubernetes), block, _) | (None, block @ Some(_), _) => match namespace(block, diagnostics) {
            Some(namespace) => Choice::Store(StoreConfig::Kubernetes(KubernetesConfig { access: access(), namespace })),
            None => Choice::Invalid,
        },
        (_, _, Field::Invalid) => Choice::Invalid,
        (None, None, Field::Absent) => Choice::Unset,
        (Some(StoreName::Embedded), ..) | (None, None, Field::Present { .. }) => {
            Choice::Store(StoreConfig::Embedded { data_dir: data_dir() })
        }
    }
}

/// The namespace of a `kubernetesConfig`; `None` if it has a mistake. Reports that.
fn namespace(block: Option<&KubernetesBlock>, diagnostics: &mut Diagnostics) -> Option<String> {
    let Some(block) = block else { return Some(NAMESPACE.to_owned()) };
    let Some((at, namespace)) = block.namespace.located() else {
        return (!block.namespace.is_invalid()).then(|| NAMESPACE.to_owned());
    };
    if !is_namespace(namespace) {
        diagnostics.mistake(at, Problem::NotANamespace(shortened(namespace).into_owned()));
        return None;
    }
    Some(namespace.clone())
}

/// Whether a namespace can have this name (RFC 1123 label).
fn is_namespace(name: &str) -> bool {
    name.len() <= 63 && !name.contains('.') && is_object_name(name)
}

/// The store in custom resources of this namespace, reached by these kubeconfigs.
pub fn kubernetes_in(namespace: &str, kubeconfigs: &[PathBuf]) -> Result<KubernetesConfig, Problem> {
    let namespace = if namespace.is_empty() { NAMESPACE } else { namespace };
    if !is_namespace(namespace) {
        return Err(Problem::NotANamespace(shortened(namespace).into_owned()));
    }
    let access = kubeconfigs.iter().cloned().map(Access::Kubeconfig).collect();
    Ok(KubernetesConfig { access, namespace: namespace.to_owned() })
}

/// The mistakes that break a document's choice. A near miss of a key does not.
fn mistakes_of(layer: &IpamBlock, diagnostics: &Diagnostics) -> ConfigErrors {
    let mut mistakes: Vec<_> = KEYS.iter().flat_map(|key| diagnostics.below(&keys::below(&layer.at, key))).collect();
    mistakes.retain(|mistake| !matches!(mistake.problem, Problem::NearMiss(_) | Problem::Foreign(_)));
    ConfigErrors(mistakes)
}

/// The etcd of an `etcdConfig`; `None` if it has a mistake. Reports that.
fn etcd_config(block: &EtcdBlock, diagnostics: &mut Diagnostics) -> Option<EtcdConfig> {
    let before = diagnostics.mistakes.len();
    needs(&block.cert, &block.key, "etcdKeyFile", diagnostics);
    needs(&block.key, &block.cert, "etcdCertFile", diagnostics);
    needs(&block.username, &block.password_file, "passwordFile", diagnostics);
    needs(&block.password_file, &block.username, "username", diagnostics);
    if let (Some((at, old)), Some(new)) = (block.ca_of_0_2.located(), block.ca.get())
        && old != new
    {
        diagnostics.mistake(at, Problem::Differs("etcdTrustedCAFile"));
    }
    let tls_files = [&block.cert, &block.key, &block.ca, &block.ca_of_0_2];
    let urls = urls(block, tls_files.iter().any(|file| !file.is_absent()), diagnostics);
    let prefix = prefix(block, diagnostics);
    let a_file_is_wrong = tls_files.into_iter().chain([&block.password_file]).any(Field::is_invalid);
    if a_file_is_wrong
        || block.username.is_invalid()
        || block.prefix.is_invalid()
        || diagnostics.mistakes.len() > before
    {
        return None;
    }
    Some(EtcdConfig {
        urls: urls?,
        cert_file: block.cert.get().cloned(),
        key_file: block.key.get().cloned(),
        ca_file: block.ca.get().or(block.ca_of_0_2.get()).cloned(),
        username: block.username.get().cloned(),
        password_file: block.password_file.get().cloned(),
        prefix: prefix?,
    })
}

/// Reports a key without the other key that it needs.
fn needs<A, B>(key: &Field<A>, other: &Field<B>, missing: &'static str, diagnostics: &mut Diagnostics) {
    if let Some((at, _)) = key.located().filter(|_| other.is_absent()) {
        diagnostics.mistake(at, Problem::Needs(missing));
    }
}

/// The members' URLs. One without a scheme uses TLS if the config has files for it.
fn urls(block: &EtcdBlock, tls: bool, diagnostics: &mut Diagnostics) -> Option<Vec<String>> {
    if block.url.is_invalid() {
        return None;
    }
    let Some((at, Urls(written))) = block.url.located().filter(|(_, urls)| !urls.0.is_empty()) else {
        diagnostics.mistake(keys::below(&block.at, "etcdURL"), Problem::NoUrl);
        return None;
    };
    let mut urls: Vec<String> = Vec::with_capacity(written.len());
    for written in written {
        let url = match member_url(written, tls) {
            Ok(url) => url,
            Err(problem) => {
                diagnostics.mistake(at, problem);
                continue;
            }
        };
        if url.starts_with("http:") {
            diagnostics.warnings.push(ConfigWarning::PlainHttp { key: at.to_owned(), url: url.clone() });
        }
        if !urls.contains(&url) {
            urls.push(url);
        }
    }
    Some(urls)
}

/// The URL of a member of etcd, as written.
fn member_url(written: &str, tls: bool) -> Result<String, Problem> {
    let (scheme, rest) = written.split_once("://").unwrap_or((if tls { "https" } else { "http" }, written));
    let authority = rest.strip_suffix('/').unwrap_or(rest);
    let scheme = scheme.to_ascii_lowercase();
    if authority.contains('@') {
        return Err(Problem::SecretInUrl);
    }
    if !matches!(scheme.as_str(), "http" | "https") || !is_authority(authority) {
        return Err(Problem::NotAUrl(shortened(written).into_owned()));
    }
    Ok(format!("{scheme}://{authority}"))
}

/// The etcd with these members (a comma list of URLs). Everything else comes from `defaults`: an operator who names
/// other members of a store has its credentials in the node defaults.
pub fn etcd_at(urls: &str, defaults: Option<&EtcdConfig>) -> Result<EtcdConfig, Problem> {
    let nothing = || EtcdConfig {
        urls: Vec::new(),
        cert_file: None,
        key_file: None,
        ca_file: None,
        username: None,
        password_file: None,
        prefix: PREFIX.to_owned(),
    };
    let base = defaults.cloned().unwrap_or_else(nothing);
    let tls = base.cert_file.is_some() || base.ca_file.is_some();
    let written = urls.split(',').map(str::trim).filter(|url| !url.is_empty());
    let urls: Vec<String> = written.map(|url| member_url(url, tls)).collect::<Result<_, _>>()?;
    if urls.is_empty() { Err(Problem::NoUrl) } else { Ok(EtcdConfig { urls, ..base }) }
}

/// Whether a text is `host`, `host:port` or `[address]:port` (RFC 3986 section 3.2, without user information).
fn is_authority(text: &str) -> bool {
    let host_ends = text.rfind(']').map_or(0, |bracket| bracket + 1);
    let (host, port) = match text[host_ends..].split_once(':') {
        Some((name, port)) => (&text[..host_ends + name.len()], Some(port)),
        None => (text, None),
    };
    let host_is_valid = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(inner) => inner.parse::<std::net::Ipv6Addr>().is_ok(),
        None => !host.is_empty() && host.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_')),
    };
    host_is_valid && port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port > 0))
}

/// The prefix, ending in a slash.
fn prefix(block: &EtcdBlock, diagnostics: &mut Diagnostics) -> Option<String> {
    let Some((at, prefix)) = block.prefix.located() else { return Some(PREFIX.to_owned()) };
    let fits = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'/' | b'-' | b'_' | b'.');
    if prefix.len() > 128 || !prefix.bytes().all(fits) {
        diagnostics.mistake(at, Problem::BadPrefix(shortened(prefix).into_owned()));
        return None;
    }
    Some(if prefix.ends_with('/') { prefix.clone() } else { format!("{prefix}/") })
}
