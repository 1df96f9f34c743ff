//! A machine as an IPAM plugin sees it: folders of its own for addresses, records and log, and networks to call it for.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::cni::{Call, Reply};

/// An IPAM plugin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plugin {
    /// Its name, as `type` in an ipam block.
    pub name: String,
    /// Its program.
    pub path: PathBuf,
}

impl Plugin {
    /// The kube-ipam under test.
    pub fn kube_ipam() -> Self {
        Self { name: "kube-ipam".to_owned(), path: crate::binary::kube_ipam().to_owned() }
    }

    /// A plugin of the machine's, from [`reference_plugins`]; `None` if it is not there.
    pub fn installed(name: &str) -> Option<Self> {
        let path = reference_plugins().join(name);
        path.is_file().then(|| Self { name: name.to_owned(), path })
    }

    /// The folder that it is in.
    pub fn folder(&self) -> &Path {
        self.path.parent().unwrap_or(Path::new("/"))
    }
}

/// Where the reference plugins are: CNI_PLUGINS, else Debian's place, else that of everybody else.
pub fn reference_plugins() -> PathBuf {
    let usual = || ["/usr/lib/cni", "/opt/cni/bin"].map(PathBuf::from).into_iter().find(|folder| folder.is_dir());
    std::env::var_os("CNI_PLUGINS").map(PathBuf::from).or_else(usual).unwrap_or_else(|| "/usr/lib/cni".into())
}

/// A machine with one IPAM plugin; its files go with it.
pub struct Node {
    plugin: Plugin,
    folder: TempDir,
}

impl Node {
    /// A machine on which nothing was ever called.
    ///
    /// # Panics
    /// If there is no room for its files.
    pub fn new(plugin: Plugin) -> Self {
        let folder = tempfile::Builder::new().prefix("kube-ipam-node-").tempdir();
        let node = Self { plugin, folder: folder.unwrap_or_else(|error| panic!("a temporary folder: {error}")) };
        node.set_defaults(&json!({}));
        node
    }

    /// The plugin it has.
    pub fn plugin(&self) -> &Plugin {
        &self.plugin
    }

    /// A path among its files.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Rewrites kube-ipam's node defaults: where its files are, and `more`.
    ///
    /// # Panics
    /// If they can't be written.
    pub fn set_defaults(&self, more: &Value) {
        let mut defaults = json!({
            "nodeName": "node-1",
            "dataDir": self.path("addresses"),
            "stateDir": self.path("records"),
            "log": { "file": self.path("kube-ipam.log") },
        });
        overlay(&mut defaults, more);
        let path = self.path("kube-ipam.json");
        std::fs::write(&path, defaults.to_string()).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }

    /// A network in the newest version that every plugin of the last years speaks, its addresses kept on this node.
    pub fn network(&self, ipam: Value) -> Network<'_> {
        let mut config = json!({
            "cniVersion": "1.0.0",
            "name": "blue",
            "type": "macvlan",
            "ipam": { "type": self.plugin.name, "dataDir": self.path("addresses") },
        });
        overlay(&mut config["ipam"], &ipam);
        Network { node: self, config }
    }

    /// A call of this machine's plugin.
    pub fn call(&self, verb: &str) -> Call {
        self.equip(Call::new(&self.plugin.path, verb).env("CNI_PATH", self.plugin.folder()))
    }

    /// The call, with what tells kube-ipam which machine it is on.
    #[must_use]
    pub fn equip(&self, call: Call) -> Call {
        call.env("KUBE_IPAM_CONFIG", self.path("kube-ipam.json"))
    }
}

/// A network on a machine: the config that its runtime sends.
#[derive(Clone)]
pub struct Network<'node> {
    node: &'node Node,
    /// The whole config.
    pub config: Value,
}

impl Network<'_> {
    /// This network with keys of its config set.
    #[must_use]
    pub fn with(&self, keys: Value) -> Self {
        let mut network = self.clone();
        overlay(&mut network.config, &keys);
        network
    }

    /// A call for `eth0` of a container, whose namespace is that of the test itself: IPAM does not enter it.
    pub fn call(&self, verb: &str, container: &str) -> Call {
        let netns = format!("/proc/{}/ns/net", std::process::id());
        self.node.call(verb).container(container).ifname("eth0").netns(netns).config(&self.config)
    }

    /// ADD for `eth0` of a container.
    pub fn add(&self, container: &str) -> Reply {
        self.call("ADD", container).run()
    }

    /// DEL for `eth0` of a container.
    pub fn del(&self, container: &str) -> Reply {
        self.call("DEL", container).run()
    }

    /// CHECK for `eth0` of a container that was given these addresses.
    pub fn check(&self, container: &str, given: &Reply) -> Reply {
        let config = self.with(json!({ "prevResult": given.document })).config;
        self.call("CHECK", container).config(&config).run()
    }
}

/// Sets the keys of one object in another.
fn overlay(under: &mut Value, over: &Value) {
    for (key, value) in over.as_object().into_iter().flatten() {
        under[key] = value.clone();
    }
}
