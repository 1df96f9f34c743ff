//! What is planted on a healthy machine: credentials, containers of other boots, and deferred releases.

use std::fs;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rcgen::{CertificateParams, KeyPair, date_time_ymd};
use serde_json::{Value, json};

use crate::machine::Machine;

/// A kubeconfig with this user.
pub(crate) fn kubeconfig(machine: &Machine, user: &Value) {
    let content = json!({
        "current-context": "c",
        "contexts": [{ "name": "c", "context": { "cluster": "c", "user": "u" } }],
        "clusters": [{ "name": "c", "cluster": { "server": "http://192.0.2.1" } }],
        "users": [{ "name": "u", "user": user }],
    });
    machine.write("kubeconfig", &content.to_string());
    machine.set_mode("kubeconfig", 0o600);
}

/// The token of a service account that expires then, in seconds since 1970.
pub(crate) fn token(expires: i64) -> String {
    format!("header.{}.signature", URL_SAFE_NO_PAD.encode(json!({ "exp": expires }).to_string()))
}

/// A client certificate that was valid until 2020, and its key.
pub(crate) fn expired_certificate(machine: &Machine) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(["node".to_owned()]).unwrap();
    (params.not_before, params.not_after) = (date_time_ymd(2019, 1, 1), date_time_ymd(2020, 1, 1));
    machine.write("etcd/tls.crt", &params.self_signed(&key).unwrap().pem());
    machine.write("etcd/tls.key", &key.serialize_pem());
    machine.set_mode("etcd/tls.key", 0o600);
}

/// Node defaults with an etcd whose client has these files.
pub(crate) fn with_etcd(machine: &Machine) {
    let defaults = json!({
        "nodeName": "node-1", "stateDir": machine.path("records"), "annotations": false,
        "log": { "file": machine.path("kube-ipam.log") },
        "etcdConfig": {
            "etcdURL": "https://192.0.2.50:2379",
            "etcdCertFile": machine.path("etcd/tls.crt"), "etcdKeyFile": machine.path("etcd/tls.key"),
        },
    });
    machine.write("kube-ipam.json", &defaults.to_string());
    // The records of the healthy machine name its embedded store.
    fs::remove_dir_all(machine.path("records")).unwrap();
}

/// Adds a container in the boot with this ID, whose file is in the machine's folder.
pub(crate) fn add_in_boot(machine: &Machine, container: &str, boot: &str) {
    machine.write("boot", boot);
    machine.network().call("ADD", container).env("KUBE_IPAM_BOOT_ID_FILE", machine.path("boot")).run().ok();
}

/// Leaves a deferred release: its DEL found no store.
pub(crate) fn defer_release(machine: &Machine) {
    fs::rename(machine.path("addresses"), machine.path("away")).unwrap();
    machine.write("addresses", "not a folder");
    machine.network().del("c1").ok();
    fs::remove_file(machine.path("addresses")).unwrap();
    fs::rename(machine.path("away"), machine.path("addresses")).unwrap();
    machine.set_age("records/node-1/marked/c1:eth0:blue.json", 7);
}
