//! The node defaults: a ConfigMap for all nodes, completed with the values of this node.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::error::InstallError;
use super::etcd::EtcdSecret;
use crate::config::{self, ConfigWarning};
use crate::ipam::label::Labels;
use crate::ipam::name::Name;

/// The key with the node's former names.
const FORMER: &str = "formerNodeNames";

/// The key with the node's labels.
const LABELS: &str = "nodeLabels";

/// Completes the defaults for a node. It never changes a key that their author has set.
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

    /// Names the node, and what it was called in the file that these defaults are to replace. What the node holds under
    /// such a name stays its own.
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

    /// Whether the cluster has a name.
    pub(super) fn names_cluster(&self) -> bool {
        is_set(&self.object, "cluster")
    }

    /// Names the cluster.
    pub(super) fn cluster(&mut self, cluster: &Name) {
        set(&mut self.object, "cluster", cluster.as_str());
    }

    /// Whether their author has set labels.
    pub(super) fn has_labels(&self) -> bool {
        is_set(&self.object, LABELS)
    }

    /// Adds the node's labels, also if there are none: then it is known that there are none.
    pub(super) fn labels(&mut self, labels: &Labels) {
        self.object.retain(|key, _| !key.eq_ignore_ascii_case(LABELS));
        let labels = labels.iter().map(|(key, value)| (key.to_owned(), Value::from(value)));
        self.object.insert(LABELS.to_owned(), Value::Object(labels.collect()));
    }

    /// Adds the labels in the file that these defaults are to replace.
    pub(super) fn keep_labels(&mut self, file: &Path) {
        if let Some(labels) = labels_in(file) {
            self.labels(&labels);
        }
    }

    /// Names the kubeconfig, unless `etcdConfig` does, where kube-ipam 0.2.0 documented it.
    pub(super) fn kubeconfig(&mut self, path: &Path) {
        if etcd(&mut self.object).is_none_or(|etcd| !is_set(etcd, "kubeConfig")) {
            set(&mut self.object, "kubeConfig", &path.display().to_string());
        }
    }

    /// Names the client credentials for etcd, which will be in this folder. Does nothing for defaults without etcd.
    pub(super) fn etcd(&mut self, secret: EtcdSecret, folder: &Path) {
        let Some(etcd) = etcd(&mut self.object) else { return };
        for (key, value) in secret.keys(folder) {
            // kube-ipam 0.2.0 spelt it so, and two spellings with two values are a mistake.
            let other = if key == "etcdTrustedCAFile" { "etcdTrustedCAFileFile" } else { key };
            if !is_set(etcd, other) {
                set(etcd, key, &value);
            }
        }
        self.secret = secret;
    }

    /// Checks whether an ADD would accept these defaults. Mistakes name the source, where they have to be fixed.
    pub(super) fn check(&self, target: &Path) -> Result<Vec<ConfigWarning>, InstallError> {
        config::check_defaults(&self.source, &self.object)
            .map_err(|mistakes| InstallError::Defaults { mistakes, target: target.to_owned() })
    }

    /// The text for the node.
    pub(super) fn content(&self) -> Vec<u8> {
        let mut text = format!("{:#}", Value::Object(self.object.clone())).into_bytes();
        text.push(b'\n');
        text
    }

    /// The files beside it.
    pub(super) fn into_secret(self) -> EtcdSecret {
        self.secret
    }
}

/// The names of a node in its defaults.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct NodeNames {
    /// The one that it has there.
    pub(super) current: Option<Name>,
    /// Those that it had before.
    pub(super) former: Vec<Name>,
}

impl NodeNames {
    /// Those of the node's file; where it names none, or there is no file, the node has gone by its host name.
    pub(super) fn in_file(file: &Path, host: Option<&Name>) -> Self {
        let named = read(file).map(|object| Self::of(&object)).unwrap_or_default();
        Self { current: named.current.or_else(|| host.cloned()), ..named }
    }

    fn of(object: &Map<String, Value>) -> Self {
        let name = |value: &Value| Name::new(value.as_str()?).ok();
        let values = |key: &'static str| {
            object.iter().filter(move |(name, _)| name.eq_ignore_ascii_case(key)).map(|(_, value)| value)
        };
        let current = values("nodeName").find_map(name);
        let former = values(FORMER).filter_map(Value::as_array).flatten().filter_map(name).collect();
        Self { current, former }
    }
}

/// The cluster that the node's file names, if it can be read.
pub(super) fn cluster_in(file: &Path) -> Option<Name> {
    Name::new(read(file)?.get("cluster")?.as_str()?).ok()
}

/// The labels in the node's file. What is no label was not written by an installer, and is none.
fn labels_in(file: &Path) -> Option<Labels> {
    let object = read(file)?;
    let mut labels = Labels::default();
    for (key, value) in object.get(LABELS)?.as_object()? {
        labels.insert(key, value.as_str()?).ok()?;
    }
    Some(labels)
}

fn read(file: &Path) -> Option<Map<String, Value>> {
    serde_json::from_slice(&fs::read(file).ok()?).ok()
}

/// The object `etcdConfig`, in whichever case it is written.
fn etcd(object: &mut Map<String, Value>) -> Option<&mut Map<String, Value>> {
    let mut objects = object.iter_mut().filter(|(key, _)| key.eq_ignore_ascii_case("etcdConfig"));
    objects.find_map(|(_, value)| value.as_object_mut())
}

/// Whether a key has a value. Its case is forgiven, and an empty text is none, as everywhere in a config.
fn is_set(object: &Map<String, Value>, key: &str) -> bool {
    let mut values = object.iter().filter(|(name, _)| name.eq_ignore_ascii_case(key));
    values.any(|(_, value)| !value.is_null() && value.as_str() != Some(""))
}

fn set(object: &mut Map<String, Value>, key: &str, value: &str) {
    if !is_set(object, key) {
        // An empty one in another case would be a second value of the same key.
        object.retain(|name, _| !name.eq_ignore_ascii_case(key));
        object.insert(key.to_owned(), Value::String(value.to_owned()));
    }
}
