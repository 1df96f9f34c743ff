//! Configs of host-local and of the Go kube-ipam 0.2.0 keep their meaning.

use std::io::Write as _;
use std::process::{Command, Stdio};

use insta::assert_snapshot;
use serde_json::{Value, json};

use super::{config, load_with, loaded, network, shown};
use crate::config::tests::NO_DEFAULTS;
use crate::store::StoreConfig;

/// The forms in which host-local accepts ranges.
fn forms() -> [Value; 7] {
    [
        json!({ "type": "host-local", "subnet": "10.1.2.0/24" }),
        json!({ "type": "host-local", "subnet": "10.1.2.0/24", "rangeStart": "10.1.2.9", "rangeEnd": "10.1.2.20",
                "gateway": "10.1.2.30" }),
        json!({ "type": "host-local", "ranges": [
            [{ "subnet": "10.66.0.0/16", "rangeStart": "10.66.1.20", "rangeEnd": "10.66.3.50", "gateway": "10.66.0.254" },
             { "subnet": "10.78.5.0/24" }],
            [{ "subnet": "2001:db8:7:01ff::/64", "rangeStart": "2001:db8:7:01ff::0010", "rangeEnd": "2001:db8:7:01ff::0020" }]],
            "routes": [{ "dst": "0.0.0.0/0" }, { "dst": "10.77.0.0/16", "gw": "10.66.5.1" }, { "dst": "2001:db8:7:01ff::/64" }],
            "dataDir": "/run/old-networks" }),
        json!({ "type": "host-local", "subnet": "10.1.2.0/24", "ranges": [[{ "subnet": "2001:db8:1::/64" }]] }),
        json!({ "type": "host-local", "ranges": [
            [{ "subnet": "10.1.2.0/24", "rangeEnd": "10.1.2.99" }, { "subnet": "10.1.2.0/24", "rangeStart": "10.1.2.100" }]] }),
        json!({ "type": "host-local", "ranges": [[{ "Subnet": "10.1.2.0/30", "RANGESTART": "", "rangeEnd": "" }]] }),
        json!({ "type": "host-local", "subnet": "10.1.2.0/24", "rangeStart": "10.1.2.0", "rangeEnd": "10.1.2.255" }),
    ]
}

#[test]
fn every_form_of_host_local_gives_the_same_ranges() {
    let shown = forms().map(|form| shown(&network(form))).join("\n\n");
    assert_snapshot!(shown, @r"
    10.1.2.0/24: 10.1.2.2-10.1.2.254, gateway 10.1.2.1

    10.1.2.0/24: 10.1.2.9-10.1.2.20, gateway 10.1.2.30

    10.66.0.0/16: 10.66.1.20-10.66.3.50, gateway 10.66.0.254 | 10.78.5.0/24: 10.78.5.2-10.78.5.254, gateway 10.78.5.1
    2001:db8:7:1ff::/64: 2001:db8:7:1ff::10-2001:db8:7:1ff::20, gateway 2001:db8:7:1ff::1

    10.1.2.0/24: 10.1.2.2-10.1.2.254, gateway 10.1.2.1
    2001:db8:1::/64: 2001:db8:1::2-2001:db8:1:0:ffff:ffff:ffff:ffff, gateway 2001:db8:1::1

    10.1.2.0/24: 10.1.2.2-10.1.2.99, gateway 10.1.2.1 | 10.1.2.0/24: 10.1.2.100-10.1.2.254, gateway 10.1.2.1

    10.1.2.0/30: 10.1.2.2, gateway 10.1.2.1

    10.1.2.0/24: 10.1.2.2-10.1.2.254, gateway 10.1.2.1
    ");
}

/// In an empty folder, host-local assigns the first address of each set. Ours must be the same.
#[test]
#[allow(clippy::print_stderr)]
fn host_local_itself_begins_where_our_ranges_begin() {
    let host_local = std::env::var("HOST_LOCAL").unwrap_or("/usr/lib/cni/host-local".to_owned());
    if !std::path::Path::new(&host_local).exists() {
        eprintln!("left out: {host_local} is not there; HOST_LOCAL can name it");
        return;
    }
    for mut form in forms() {
        // It assigns network addresses if rangeStart is one. We never do.
        if form["rangeStart"] == "10.1.2.0" {
            form["rangeStart"] = json!("10.1.2.1");
        }
        let ours: Vec<String> = network(form.clone())
            .sets
            .iter()
            .map(|set| {
                let range = &set.ranges()[0];
                format!("{}/{}", range.dynamic().at(0).unwrap(), range.subnet.prefix_len())
            })
            .collect();
        let dir = tempfile::Builder::new().prefix("kube-ipam-").tempdir().unwrap();
        form["dataDir"] = json!(dir.path());
        assert_eq!(add_by(&host_local, &config(form.clone())), ours, "{form}");
    }
}

/// The addresses that an ADD of host-local assigns.
fn add_by(host_local: &str, config: &Value) -> Vec<String> {
    let mut child = Command::new(host_local)
        .env_clear()
        .envs([("CNI_COMMAND", "ADD"), ("CNI_CONTAINERID", "c1"), ("CNI_NETNS", "/proc/self/ns/net")])
        .envs([("CNI_IFNAME", "eth0"), ("CNI_PATH", "/usr/lib/cni")])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(config.to_string().as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let result: Value = serde_json::from_slice(&output.stdout).unwrap();
    let ips = result["ips"].as_array().unwrap_or_else(|| panic!("{result}"));
    ips.iter().map(|ip| ip["address"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn routes_of_host_local_are_returned_verbatim() {
    let routes =
        json!([{ "dst": "0.0.0.0/0" }, { "dst": "2001:db8:7:1ff::/64" }, { "dst": "10.0.0.0/8", "gw": "10.1.2.1" }]);
    let network = network(json!({ "subnet": "10.1.2.0/24", "routes": routes }));
    assert_eq!(serde_json::to_value(network.routes).unwrap(), routes);
}

#[test]
fn what_host_local_refuses_is_refused() {
    for refused in [
        json!({ "type": "host-local" }),
        json!({ "ranges": [[]] }),
        json!({ "subnet": "10.1.2.4/24" }),
        json!({ "subnet": "10.1.2.0/24", "rangeStart": "10.2.2.2" }),
        json!({ "subnet": "10.1.2.0/24", "rangeEnd": "10.2.2.2" }),
        json!({ "subnet": "10.1.2.0/24", "rangeStart": "10.1.2.9", "rangeEnd": "10.1.2.8" }),
        json!({ "subnet": "10.1.2.0/24", "gateway": "10.1.2" }),
        json!({ "ranges": [[{ "subnet": "10.1.2.0/24" }, { "subnet": "2001:db8:1::/64" }]] }),
        json!({ "ranges": [[{ "subnet": "10.1.2.0/24" }, { "subnet": "10.1.0.0/16" }]] }),
        json!({ "ranges": [[{ "subnet": "10.1.2.0/24" }], [{ "subnet": "10.1.0.0/16" }]] }),
        json!({ "subnet": "10.1.2.0/24", "resolvConf": "/nonexistent/resolv.conf" }),
    ] {
        assert!(loaded(refused.clone()).network.is_err(), "{refused}");
    }
}

/// The ipam blocks that kube-ipam 0.2.0 documented.
#[test]
fn blocks_of_the_go_version_are_read_without_a_warning_and_choose_etcd() {
    let etcd = |more: &[(&str, &str)]| {
        let mut etcd =
            json!({ "etcdURL": "https://192.168.1.50:2379,https://192.168.1.58:2379,https://192.168.1.63:2379" });
        for (key, value) in more {
            etcd[*key] = Value::from(*value);
        }
        etcd
    };
    let tls = [
        ("etcdCertFile", "/etc/kubernetes/pki/etcd.pem"),
        ("etcdKeyFile", "/etc/kubernetes/pki/etcd-key.pem"),
        ("etcdTrustedCAFileFile", "/etc/kubernetes/pki/ca.pem"),
    ];
    let kube_config = ("kubeConfig", "/etc/kubernetes/pki/kubectl.kubeconfig");
    let dir = tempfile::Builder::new().prefix("kube-ipam-").tempdir().unwrap();
    let resolv_conf = dir.path().join("resolv.conf");
    std::fs::write(&resolv_conf, "nameserver 10.96.0.10\n").unwrap();
    let blocks = [
        json!({ "name": "kube-subnet", "type": "kube-ipam", "kubeConfig": kube_config.1, "etcdConfig": etcd(&tls),
                "subnet": "10.188.0.0/16", "fixedStart": "10.188.0.10", "fixedEnd": "10.188.0.255",
                "rangeStart": "10.188.1.0", "rangeEnd": "10.188.255.254", "gateway": "10.188.0.1",
                "routes": [{ "dst": "0.0.0.0/0" }], "resolvConf": resolv_conf }),
        json!({ "type": "kube-ipam", "etcdConfig": etcd(&[tls[0], tls[1], tls[2], kube_config]),
                "subnet": "172.188.0.0/16", "rangeStart": "172.188.0.10", "rangeEnd": "172.188.0.200",
                "gateway": "172.188.0.1", "routes": [{ "dst": "10.188.0.0/16" }] }),
        json!({ "type": "kube-ipam", "etcdConfig": etcd(&tls), "ranges": [[{ "subnet": "10.188.0.0/16" }]] }),
    ];
    for block in blocks {
        let loaded = load_with(&config(block.clone()), NO_DEFAULTS, true);
        assert!(loaded.network.is_ok(), "{block}: {}", loaded.network.unwrap_err());
        assert_eq!(loaded.warnings, []);
        let Ok(StoreConfig::Etcd(etcd)) = loaded.settings.store else { panic!("{block} chooses etcd") };
        assert_eq!(etcd.urls.len(), 3);
        assert_eq!(etcd.ca_file.unwrap().to_str(), Some("/etc/kubernetes/pki/ca.pem"));
    }
}
