//! The node defaults: a ConfigMap for all nodes, completed with the values of this node.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::error::InstallError;
use super::etcd::EtcdSecret;
use crate::config::{self, ConfigWarning};
use crate::ipam::label::Labels;
use crate::ipam::name::Name;

const FORMER: &str = "formerNodeNames";

const LABELS: &str = "nodeLabels";

/// Completes the defaults for a node. Never changes a key that the ConfigMap sets.
#[derive(Debug)]
pub(super) struct DefaultsBuilder {
    source: PathBuf,
    object: Map<String, Value>,
    secret: EtcdSecret,
}

impl DefaultsBuilder {
    /// Reads the defaults to complete.
    pub(super) fn read(source: &Path) -> Result<Self, InstallError> {
        let text = fs::read(source).map_err(InstallError::read(source))?;
        let object =
            serde_json::from_slice(&text).map_err(|error| InstallError::NotJson { path: source.to_owned(), error })?;
        Ok(Self { source: source.to_owned(), object, secret: EtcdSecret::default() })
    }

    /// The defaults to complete, from elsewhere than a file.
    pub(super) fn from_object(object: Map<String, Value>) -> Self {
        Self { source: PathBuf::new(), object, secret: EtcdSecret::default() }
    }

    /// Sets the node's name and its former names, from the file that these defaults replace. The node keeps what it
    /// holds under a former name.
    pub(super) fn node(&mut self, node: &Name, earlier: &NodeNames) {
        set(&mut self.object, "nodeName", node.as_str());
        let named = NodeNames::of(&self.object);
        let current = named.current.unwrap_or_else(|| node.clone());
        let mut former: Vec<Name> = Vec::new();
        for name in named.former.into_iter().chain(earlier.former.clone()).chain(earlier.current.clone()) {
            if name != current && !former.contains(&name) {
                former.push(name);
            }
        }
        if !former.is_empty() {
            self.object.retain(|key, _| !key.eq_ignore_ascii_case(FORMER));
            self.object.insert(FORMER.to_owned(), former.iter().map(Name::as_str).collect());
        }
    }

    /// Whether the defaults name the cluster.
    pub(super) fn names_cluster(&self) -> bool {
        is_set(&self.object, "cluster")
    }

    pub(super) fn cluster(&mut self, cluster: &Name) {
        set(&mut self.object, "cluster", cluster.as_str());
    }

    pub(super) fn has_labels(&self) -> bool {
        is_set(&self.object, LABELS)
    }

    /// Sets the node's labels. An empty set is written too, because it is different from unknown labels.
    pub(super) fn labels(&mut self, labels: &Labels) {
        self.object.retain(|key, _| !key.eq_ignore_ascii_case(LABELS));
        let labels = labels.iter().map(|(key, value)| (key.to_owned(), Value::from(value)));
        self.object.insert(LABELS.to_owned(), Value::Object(labels.collect()));
    }

    /// Sets the labels from the file that these defaults replace.
    pub(super) fn keep_labels(&mut self, file: &Path) {
        if let Some(labels) = labels_in(file) {
            self.labels(&labels);
        }
    }

    /// Sets the kubeconfig's path, unless `etcdConfig` has it, where kube-ipam 0.2.0 documented it.
    pub(super) fn kubeconfig(&mut self, path: &Path) {
        if etcd(&mut self.object).is_none_or(|etcd| !is_set(etcd, "kubeConfig")) {
            set(&mut self.object, "kubeConfig", &path.display().to_string());
        }
    }

    /// Sets the client credentials for etcd, with paths in this folder. Does nothing if the defaults don't use etcd.
    pub(super) fn etcd(&mut self, secret: EtcdSecret, folder: &Path) {
        let Some(etcd) = etcd(&mut self.object) else { return };
        for (key, value) in secret.keys(folder) {
            // kube-ipam 0.2.0 used this spelling. Both spellings with different values would be a mistake.
            let other = if key == "etcdTrustedCAFile" { "etcdTrustedCAFileFile" } else { key };
            if !is_set(etcd, other) {
                set(etcd, key, &value);
            }
        }
        self.secret = secret;
    }

    /// Checks whether an ADD would accept these defaults. Mistakes refer to the source, where they have to be fixed.
    pub(super) fn check(&self, target: &Path) -> Result<Vec<ConfigWarning>, InstallError> {
        config::check_defaults(&self.source, &self.object)
            .map_err(|mistakes| InstallError::Defaults { mistakes, target: target.to_owned() })
    }

    /// The content of the node's file.
    pub(super) fn content(&self) -> Vec<u8> {
        let mut text = format!("{:#}", Value::Object(self.object.clone())).into_bytes();
        text.push(b'\n');
        text
    }

    /// The defaults as far as they are complete.
    pub(super) fn object(&self) -> &Map<String, Value> {
        &self.object
    }

    /// The same, without its sources.
    pub(super) fn into_object(self) -> Map<String, Value> {
        self.object
    }

    /// The files of the credentials.
    pub(super) fn into_secret(self) -> EtcdSecret {
        self.secret
    }
}

/// A node's names in its defaults.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct NodeNames {
    pub(super) current: Option<Name>,
    pub(super) former: Vec<Name>,
}

impl NodeNames {
    /// The names in the node's file. If it has none, or there is no file, the node's name was its host name.
    pub(super) fn in_file(file: &Path, host: Option<&Name>) -> Self {
        let named = read(file).map(|object| Self::of(&object)).unwrap_or_default();
        Self { current: named.current.or_else(|| host.cloned()), ..named }
    }

    pub(super) fn of(object: &Map<String, Value>) -> Self {
        let name = |value: &Value| Name::new(value.as_str()?).ok();
        let values = |key: &'static str| {
            object.iter().filter(move |(name, _)| name.eq_ignore_ascii_case(key)).map(|(_, value)| value)
        };
        let current = values("nodeName").find_map(name);
        let former = values(FORMER).filter_map(Value::as_array).flatten().filter_map(name).collect();
        Self { current, former }
    }
}

/// The cluster in the node's file; `None` if it has none or can't be read.
pub(super) fn cluster_in(file: &Path) -> Option<Name> {
    cluster_of(&read(file)?)
}

/// The cluster that the defaults name.
pub(super) fn cluster_of(object: &Map<String, Value>) -> Option<Name> {
    Name::new(object.get("cluster")?.as_str()?).ok()
}

/// The labels in the node's file.
fn labels_in(file: &Path) -> Option<Labels> {
    labels_of(&read(file)?)
}

/// The labels in the defaults. Invalid ones are ignored: no installer wrote them.
pub(super) fn labels_of(object: &Map<String, Value>) -> Option<Labels> {
    let mut labels = Labels::default();
    for (key, value) in object.get(LABELS)?.as_object()? {
        labels.insert(key, value.as_str()?).ok()?;
    }
    Some(labels)
}

pub(super) fn read(file: &Path) -> Option<Map<String, Value>> {
    serde_json::from_slice(&fs::read(file).ok()?).ok()
}

/// The object `etcdConfig`. Its case is ignored.
pub(super) fn etcd(object: &mut Map<String, Value>) -> Option<&mut Map<String, Value>> {
    let mut objects = object.iter_mut().filter(|(key, _)| key.eq_ignore_ascii_case("etcdConfig"));
    objects.find_map(|(_, value)| value.as_object_mut())
}

/// Whether a key has a value. As everywhere in a config, case is ignored, and an empty text is no value.
pub(super) fn is_set(object: &Map<String, Value>, key: &str) -> bool {
    let mut values = object.iter().filter(|(name, _)| name.eq_ignore_ascii_case(key));
    values.any(|(_, value)| !value.is_null() && value.as_str() != Some(""))
}

pub(super) fn set(object: &mut Map<String, Value>, key: &str, value: &str) {
    if !is_set(object, key) {
        // An empty value in another case would count as a second value of the same key.
        object.retain(|name, _| !name.eq_ignore_ascii_case(key));
        object.insert(key.to_owned(), Value::String(value.to_owned()));
    }
}
