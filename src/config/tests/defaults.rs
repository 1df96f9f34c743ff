//! The node defaults: overlay, locks, mistakes in them, and the environment, which is ignored.

use std::path::Path;
use std::time::Duration;

use insta::assert_snapshot;
use serde_json::{Value, json};

use super::{NO_DEFAULTS, config, load_with, shown, with_subnet};
use crate::config::{LoadedConfig, Purpose, load};
use crate::ipam::name::Name;

/// A defaults file in its own folder.
pub(super) struct Defaults {
    dir: tempfile::TempDir,
    path: String,
}

impl Defaults {
    pub(super) fn with(keys: &Value) -> Self {
        Self::written(&keys.to_string())
    }

    pub(super) fn written(text: &str) -> Self {
        let dir = tempfile::Builder::new().prefix("kube-ipam-").tempdir().unwrap();
        let path = dir.path().join("kube-ipam.json").to_str().unwrap().to_owned();
        std::fs::write(&path, text).unwrap();
        Self { dir, path }
    }

    pub(super) fn path(&self) -> &str {
        &self.path
    }

    pub(super) fn load(&self, block: Value) -> LoadedConfig {
        load_with(&config(block), self.path(), false)
    }

    /// The mistakes of a block over these defaults.
    pub(super) fn mistakes(&self, block: Value) -> String {
        self.load(block).network.unwrap_err().to_string().replace(self.path(), "<defaults>")
    }
}

#[test]
fn a_reduced_block_is_served_from_the_defaults_alone() {
    let defaults = Defaults::with(&json!({
        "subnet": "10.1.0.0/24", "store": "embedded", "vrf": "blue", "timeout": "3s", "status": "strict",
        "nodeName": "node7", "formerNodeNames": ["node7", "node7.example"], "cluster": "c-1", "stateDir": "/run/state", "sweep": { "minAge": "1h", "maxShare": 0.1 },
    }));
    let LoadedConfig { settings, network, warnings } = defaults.load(json!({ "type": "kube-ipam" }));
    assert_snapshot!(shown(&network.unwrap()), @"10.1.0.0/24: 10.1.0.2-10.1.0.254, gateway 10.1.0.1");
    assert!(warnings.is_empty());
    assert_eq!(
        (settings.vrf.as_str(), settings.node.as_str(), settings.cluster.as_deref()),
        ("blue", "node7", Some("c-1"))
    );
    assert_eq!((settings.timeout, settings.status_strict), (Duration::from_secs(3), true));
    let former: Vec<&str> = settings.former_nodes.iter().map(Name::as_str).collect();
    assert_eq!(former, ["node7.example"], "its own name is no former one");
    assert_eq!(settings.state_dir, Path::new("/run/state"));
    let sweep = settings.sweep.unwrap();
    assert_eq!((sweep.min_age, sweep.max_share), (Duration::from_secs(3600), 0.1));
}

#[test]
fn a_block_overrides_the_defaults_key_by_key() {
    let defaults = Defaults::with(&json!({
        "subnet": "10.1.0.0/24", "rangeStart": "10.1.0.100", "vrf": "blue", "cooldown": { "time": "1h", "strict": true },
    }));
    let loaded = defaults.load(json!({ "RANGESTART": "10.1.0.200", "cooldown": "5m" }));
    let network = loaded.network.unwrap();
    assert_snapshot!(shown(&network), @"10.1.0.0/24: 10.1.0.200-10.1.0.254, gateway 10.1.0.1");
    assert_eq!((network.cooldown.seconds, network.cooldown.strict), (300, false));
    assert_eq!(loaded.settings.vrf.as_str(), "blue");
}

#[test]
fn a_mistake_in_the_defaults_names_their_file() {
    let defaults = Defaults::with(&json!({
        "subnet": "10.1.0.0/24", "rangeStart": "10.9.0.1", "timeout": 5, "nodename": "a/b", "sweep": { "maxShare": 2 },
        "lockd": ["log"], "locked": ["logs"],
    }));
    assert_snapshot!(defaults.mistakes(json!({})).replace("; (", ";\n("), @r#"
    6 mistakes: (1) <defaults>: lockd: unknown key; did you mean locked?;
    (2) <defaults>: timeout: 5 has no unit; write "5s" if seconds are meant;
    (3) <defaults>: nodeName: "a/b" is not a valid name: it must start with a letter or digit and go on with letters, digits, '_', '.' and '-';
    (4) <defaults>: sweep.maxShare: expected a share from 0 to 1, such as 0.1, found 2;
    (5) <defaults>: locked: "logs" is not a key of the ipam block, so it would lock nothing;
    (6) <defaults>: rangeStart: 10.9.0.1 is not in the subnet 10.1.0.0/24
    "#);
}

#[test]
fn a_sweep_goes_by_nothing_else_where_its_keys_are_wrong() {
    let sweep = |keys: Value| Defaults::with(&keys).load(with_subnet(json!({}))).settings.sweep;
    let sound = sweep(json!({ "timeout": 5 })).unwrap();
    assert_eq!((sound.min_age, sound.max_share), (Duration::from_secs(300), 0.2));
    for wrong in [json!({ "minAge": 5 }), json!({ "maxShare": 2 }), json!({ "minage ": "1h" }), json!("1h")] {
        assert!(sweep(json!({ "sweep": wrong })).is_err(), "{wrong}");
    }
    assert!(Defaults::written("{").load(with_subnet(json!({}))).settings.sweep.is_err());
}

#[test]
fn the_defaults_need_not_exist() {
    assert!(load_with(&config(with_subnet(json!({}))), NO_DEFAULTS, false).network.is_ok());
    let env = |name: &str| (name == "KUBE_IPAM_CONFIG").then(|| NO_DEFAULTS.to_owned());
    let settings =
        load(&serde_json::Map::new(), &Name::new("net").unwrap(), &env, Purpose { add: false, pod: false }).settings;
    assert!(settings.store.is_ok());
}

#[test]
fn defaults_that_cannot_be_read_fail_an_add_and_leave_the_call_settings_usable() {
    for (text, expected) in [
        ("{", "not valid JSON: EOF while parsing an object at line 1 column 1"),
        ("[]", "not valid JSON: invalid type: sequence, expected a map at line 1 column 0"),
        ("", "not valid JSON: EOF while parsing a value at line 1 column 0"),
    ] {
        let defaults = Defaults::written(text);
        let loaded = defaults.load(with_subnet(json!({ "log": "/etc/passwd", "vrf": "blue" })));
        let mistakes = loaded.network.unwrap_err().to_string();
        assert_eq!(mistakes, format!("{}: {expected}", defaults.path()));
        // The node's store is unknown, and so is what the block may choose.
        assert_eq!(loaded.settings.store.unwrap_err().to_string(), mistakes);
        assert_eq!(loaded.settings.log.file, Path::new("/var/log/kube-ipam.log"));
        assert_eq!(loaded.settings.vrf.as_str(), "default");
    }
    let folder = Defaults::with(&json!({}));
    let mistakes = load_with(&config(with_subnet(json!({}))), folder.dir.path().to_str().unwrap(), false).network;
    let mistakes = mistakes.unwrap_err().to_string();
    assert_snapshot!(mistakes.replace(folder.dir.path().to_str().unwrap(), "<folder>"), @"<folder>: can't read <folder>: it is not a regular file");
    assert_snapshot!(load_with(&config(with_subnet(json!({}))), "kube-ipam.json", false).network.unwrap_err(), @r#"kube-ipam.json: "kube-ipam.json" is not an absolute path; start it with '/'"#);
}

#[test]
fn keys_of_the_defaults_alone_are_refused_in_a_block() {
    let defaults = Defaults::with(&json!({ "nodeName": "node7" }));
    let block = with_subnet(json!({ "nodeName": "node8", "statedir": "/x", "locked": [] }));
    assert_snapshot!(defaults.mistakes(block.clone()).replace("; (", ";\n("), @r"
    3 mistakes: (1) ipam.nodeName: can be set only in the node defaults, <defaults>;
    (2) ipam.statedir: can be set only in the node defaults, <defaults>;
    (3) ipam.locked: can be set only in the node defaults, <defaults>
    ");
    assert_eq!(defaults.load(block).settings.node.as_str(), "node7");
}

#[test]
fn no_variable_but_kube_ipam_config_is_asked_for() {
    let asked = std::cell::RefCell::new(Vec::new());
    let env = |name: &str| {
        asked.borrow_mut().push(name.to_owned());
        Some(if name == "KUBE_IPAM_CONFIG" { NO_DEFAULTS } else { "from the environment" }.to_owned())
    };
    let config = config(with_subnet(json!({ "store": "embedded" })));
    load(config.as_object().unwrap(), &Name::new("net").unwrap(), &env, Purpose { add: true, pod: true })
        .network
        .unwrap();
    assert_eq!(asked.into_inner(), ["KUBE_IPAM_CONFIG"]);
}

#[test]
fn former_clusters_are_names_or_empty_for_none() {
    let former = |value: Value| {
        let defaults = Defaults::with(&json!({ "formerClusters": value }));
        let loaded = defaults.load(json!({ "subnet": "10.1.0.0/24" }));
        (loaded.settings.former_clusters, loaded.network.err().map(|mistakes| mistakes.to_string()).unwrap_or_default())
    };
    let names = ["prod", "", "5d0c6e0e-7f0b-4a53-9c59-0a8a4c1f6f01"];
    assert_eq!(former(json!(names)), (names.map(str::to_owned).to_vec(), String::new()));
    // A name with a slash would collide with the keys of another cluster.
    let (read, mistakes) = former(json!(["prod", "a/b", 7]));
    assert_eq!(read, ["prod"]);
    assert!(mistakes.contains("formerClusters[1]") && mistakes.contains("formerClusters[2]"), "{mistakes}");
    for wrong in [json!("prod"), json!(vec!["a"; 9])] {
        let (read, mistakes) = former(wrong);
        assert!(read.is_empty() && mistakes.contains("formerClusters"), "{mistakes}");
    }
}
