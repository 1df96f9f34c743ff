//! A machine with one IPAM plugin: folders for its addresses, records and log, and the networks to call it for.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use kube_ipam::apiserver::Access;
use kube_ipam::store::{EtcdConfig, KubernetesConfig, StoreConfig};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::api_server::{Client, Tenant};
use crate::cni::{Call, Reply};

/// An IPAM plugin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plugin {
    /// Its name, which is the `type` in an ipam block.
    pub name: String,
    /// Its program.
    pub path: PathBuf,
}

impl Plugin {
    /// The kube-ipam under test.
    pub fn kube_ipam() -> Self {
        Self { name: "kube-ipam".to_owned(), path: crate::binary::kube_ipam().to_owned() }
    }

    /// A plugin in the folder [`reference_plugins`]; `None` if it is not there.
    pub fn installed(name: &str) -> Option<Self> {
        let path = reference_plugins().join(name);
        path.is_file().then(|| Self { name: name.to_owned(), path })
    }

    /// The folder that it is in.
    pub fn folder(&self) -> &Path {
        self.path.parent().unwrap_or(Path::new("/"))
    }
}

/// The folder of the reference plugins: CNI_PLUGINS, or else Debian's, or else the usual one.
pub fn reference_plugins() -> PathBuf {
    let usual = || ["/usr/lib/cni", "/opt/cni/bin"].map(PathBuf::from).into_iter().find(|folder| folder.is_dir());
    std::env::var_os("CNI_PLUGINS").map(PathBuf::from).or_else(usual).unwrap_or_else(|| "/usr/lib/cni".into())
}

/// A machine with one IPAM plugin. Dropping it removes its files.
pub struct Node {
    plugin: Plugin,
    folder: Arc<TempDir>,
    /// The config keys that name its store.
    store: Value,
    /// Sends requests to the API server that has its store.
    api_server: Option<Client>,
}

impl Node {
    /// A fresh machine.
    ///
    /// # Panics
    /// If its files can't be written.
    pub fn new(plugin: Plugin) -> Self {
        let folder = tempfile::Builder::new().prefix("kube-ipam-node-").tempdir();
        let folder = folder.unwrap_or_else(|error| panic!("a temporary folder: {error}"));
        let store = json!({ "dataDir": folder.path().join("addresses") });
        let node = Self { plugin, folder: Arc::new(folder), store, api_server: None };
        node.set_defaults(&json!({}));
        node
    }

    /// A machine with kube-ipam that uses this etcd.
    ///
    /// # Panics
    /// If its files can't be written.
    pub fn on_etcd(etcd: &EtcdConfig) -> Self {
        let mut node = Self::new(Plugin::kube_ipam());
        node.store = json!({ "etcdConfig": {
            "etcdURL": etcd.urls.join(","),
            "etcdCertFile": etcd.cert_file,
            "etcdKeyFile": etcd.key_file,
            "etcdTrustedCAFile": etcd.ca_file,
            "username": etcd.username,
            "passwordFile": etcd.password_file,
            "prefix": etcd.prefix,
        } });
        node.set_defaults(&json!({}));
        node
    }

    /// A machine with kube-ipam that uses the custom resources of a namespace, as the owner of the namespace.
    ///
    /// # Panics
    /// If its files can't be written.
    pub fn on_kubernetes(tenant: &Tenant<'_>) -> Self {
        let mut node = Self::new(Plugin::kube_ipam());
        let owner = tenant.owner();
        node.store = json!({
            "store": "kubernetes",
            "kubernetesConfig": { "namespace": tenant.namespace() },
            "kubeConfig": owner.kubeconfig,
        });
        node.api_server = Some(owner.client.clone());
        node.set_defaults(&json!({}));
        node
    }

    /// The same machine. Its kube-ipam reaches the API server with another kubeconfig.
    ///
    /// # Panics
    /// If its files can't be written.
    #[must_use]
    pub fn with_kubeconfig(mut self, kubeconfig: &Path) -> Self {
        self.store["kubeConfig"] = json!(kubeconfig);
        self.set_defaults(&json!({}));
        self
    }

    /// The same machine. Its store in the API server is in another namespace.
    ///
    /// # Panics
    /// If its files can't be written.
    #[must_use]
    pub fn with_store_in(mut self, namespace: &str) -> Self {
        self.store["kubernetesConfig"]["namespace"] = json!(namespace);
        self.set_defaults(&json!({}));
        self
    }

    /// The same machine and files with another plugin.
    #[must_use]
    pub fn with(&self, plugin: Plugin) -> Self {
        Self {
            plugin,
            folder: Arc::clone(&self.folder),
            store: self.store.clone(),
            api_server: self.api_server.clone(),
        }
    }

    /// Its store.
    ///
    /// # Panics
    /// If its config does not name one.
    pub fn store(&self) -> StoreConfig {
        let text = |value: &Value| value.as_str().map(str::to_owned);
        if let Some(data_dir) = text(&self.store["dataDir"]) {
            return StoreConfig::Embedded { data_dir: data_dir.into() };
        }
        if let Some(namespace) = text(&self.store["kubernetesConfig"]["namespace"]) {
            let kubeconfig = text(&self.store["kubeConfig"]).unwrap_or_default();
            let access = vec![Access::Kubeconfig(kubeconfig.into())];
            return StoreConfig::Kubernetes(KubernetesConfig { access, namespace });
        }
        let etcd = &self.store["etcdConfig"];
        let urls = text(&etcd["etcdURL"]).unwrap_or_else(|| panic!("no store in {}", self.store));
        StoreConfig::Etcd(EtcdConfig {
            urls: urls.split(',').map(str::to_owned).collect(),
            cert_file: text(&etcd["etcdCertFile"]).map(Into::into),
            key_file: text(&etcd["etcdKeyFile"]).map(Into::into),
            ca_file: text(&etcd["etcdTrustedCAFile"]).map(Into::into),
            username: text(&etcd["username"]),
            password_file: text(&etcd["passwordFile"]).map(Into::into),
            prefix: text(&etcd["prefix"]).unwrap_or_default(),
        })
    }

    /// Sends requests to the API server that has its store; `None` if it has another store.
    pub fn api_server(&self) -> Option<&Client> {
        self.api_server.as_ref()
    }

    /// Its plugin.
    pub fn plugin(&self) -> &Plugin {
        &self.plugin
    }

    /// The path of one of its files.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes kube-ipam's node defaults: the paths of its files, and `more`.
    ///
    /// # Panics
    /// If they can't be written.
    pub fn set_defaults(&self, more: &Value) {
        let mut defaults = json!({
            "nodeName": "node-1",
            "stateDir": self.path("records"),
            "log": { "file": self.path("kube-ipam.log") },
            // No API server knows its pods, unless a test starts one.
            "annotations": false,
        });
        overlay(&mut defaults, &self.store);
        overlay(&mut defaults, more);
        let path = self.path("kube-ipam.json");
        std::fs::write(&path, defaults.to_string()).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }

    /// A network in the newest version that all plugins of recent years support, on this node's store. kube-ipam takes
    /// the store from its node defaults, which an ipam block must not override.
    pub fn network(&self, ipam: Value) -> Network<'_> {
        match self.plugin.name.as_str() {
            "kube-ipam" => self.network_over(&json!({}), &ipam),
            _ => self.network_over(&self.store, &ipam),
        }
    }

    /// A network whose ipam block names the store, for a machine without node defaults.
    pub fn network_with_store(&self, ipam: Value) -> Network<'_> {
        self.network_over(&self.store, &ipam)
    }

    fn network_over(&self, store: &Value, ipam: &Value) -> Network<'_> {
        let mut config = json!({
            "cniVersion": "1.0.0",
            "name": "blue",
            "type": "macvlan",
            "ipam": { "type": self.plugin.name },
        });
        overlay(&mut config["ipam"], store);
        overlay(&mut config["ipam"], ipam);
        Network { node: self, config }
    }

    /// A call of this machine's plugin.
    pub fn call(&self, verb: &str) -> Call {
        self.equip(Call::new(&self.plugin.path, verb).env("CNI_PATH", self.plugin.folder()))
    }

    /// What `kube-ipam list` shows: each held or reserved address, with the container and interface that holds or last
    /// held it. An address with several holders appears once for each.
    ///
    /// # Panics
    /// If it fails, or shows an address without a holder.
    pub fn held(&self) -> Vec<(String, String)> {
        let mut command = Command::new(&self.plugin.path);
        command.env_clear().env("KUBE_IPAM_CONFIG", self.path("kube-ipam.json")).args(["list", "-o", "json"]);
        let output = command.output().unwrap_or_else(|error| panic!("kube-ipam list: {error}"));
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "kube-ipam list: {said}");
        let listed: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("the list: {error}"));
        let of_each = listed.as_array().into_iter().flatten().filter(|address| address["state"] != "resting");
        let pairs = |address: &Value| -> Option<Vec<(String, String)>> {
            let (ip, holders) = (address["address"].as_str()?, address["holders"].as_array()?);
            let holder = |holder: &Value| {
                let part = |key: &str| holder[key].as_str();
                Some((ip.to_owned(), format!("{}/{}", part("containerID")?, part("ifname")?)))
            };
            holders.iter().map(holder).collect::<Option<Vec<_>>>().filter(|pairs| !pairs.is_empty())
        };
        of_each
            .flat_map(|address| pairs(address).unwrap_or_else(|| panic!("an odd address is listed: {address}")))
            .collect()
    }

    /// The names of the files in the node's record folder, and those of deferred releases with their folder.
    pub fn records(&self) -> Vec<String> {
        let of = |folder: PathBuf, before: &str| -> Vec<String> {
            let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
            let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
            names.filter(|name| name.contains(".json")).map(|name| format!("{before}{name}")).collect()
        };
        let mut found = of(self.path("records/node-1"), "");
        found.extend(of(self.path("records/node-1/marked"), "marked/"));
        found.sort();
        found
    }

    /// The targets of the links that the node keeps for pods' sandboxes.
    ///
    /// # Panics
    /// If one of them is not a link.
    pub fn sandboxes(&self) -> Vec<String> {
        let links = std::fs::read_dir(self.path("records/node-1/sandboxes")).into_iter().flatten().flatten();
        let target =
            |link: &Path| std::fs::read_link(link).unwrap_or_else(|error| panic!("{}: {error}", link.display()));
        let mut found: Vec<String> = links.map(|link| target(&link.path()).display().to_string()).collect();
        found.sort();
        found
    }

    /// The log so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.path("kube-ipam.log")).unwrap_or_default()
    }

    /// The call, with the variable that names kube-ipam's node defaults.
    #[must_use]
    pub fn equip(&self, call: Call) -> Call {
        call.env("KUBE_IPAM_CONFIG", self.path("kube-ipam.json"))
    }
}

/// A network on a machine, as the config that its runtime sends.
#[derive(Clone)]
pub struct Network<'node> {
    node: &'node Node,
    /// The whole config.
    pub config: Value,
}

impl Network<'_> {
    /// This network with more keys in its config.
    #[must_use]
    pub fn with(&self, keys: Value) -> Self {
        let mut network = self.clone();
        overlay(&mut network.config, &keys);
        network
    }

    /// A call for `eth0` of a container. Its namespace is the test's own, because IPAM does not enter it.
    pub fn call(&self, verb: &str, container: &str) -> Call {
        let netns = format!("/proc/{}/ns/net", std::process::id());
        self.node.call(verb).container(container).ifname("eth0").netns(netns).config(&self.config)
    }

    /// Runs ADD for `eth0` of a container.
    pub fn add(&self, container: &str) -> Reply {
        self.call("ADD", container).run()
    }

    /// Runs DEL for `eth0` of a container.
    pub fn del(&self, container: &str) -> Reply {
        self.call("DEL", container).run()
    }

    /// Runs CHECK for `eth0` of a container with this result.
    pub fn check(&self, container: &str, given: &Reply) -> Reply {
        let config = self.with(json!({ "prevResult": given.document })).config;
        self.call("CHECK", container).config(&config).run()
    }
}

/// Merges the keys of one object into another.
fn overlay(under: &mut Value, over: &Value) {
    for (key, value) in over.as_object().into_iter().flatten() {
        under[key] = value.clone();
    }
}
