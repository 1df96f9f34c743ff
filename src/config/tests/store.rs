//! Which store is chosen.

use insta::{assert_debug_snapshot, assert_snapshot};
use serde_json::{Value, json};

use super::defaults::Defaults;
use super::{NO_DEFAULTS, config, load_with, loaded, table, with_subnet};
use crate::apiserver::Access;
use crate::config::{CallSettings, ConfigWarning};
use crate::store::{KubernetesConfig, StoreConfig};

/// The store of a pod's call with this block and these node defaults, which let the block choose.
fn of_pod(block: Value, mut defaults: Value) -> Result<StoreConfig, String> {
    defaults["blocksMaySet"] = json!(["store", "kubeConfig"]);
    let defaults = Defaults::with(&defaults);
    let CallSettings { store, .. } = load_with(&config(block), defaults.path(), true).settings;
    store.map_err(|mistakes| mistakes.to_string().replace(defaults.path(), "<defaults>"))
}

fn embedded(data_dir: &str) -> Result<StoreConfig, String> {
    Ok(StoreConfig::Embedded { data_dir: data_dir.into() })
}

fn urls(store: Result<StoreConfig, String>) -> Vec<String> {
    match store {
        Ok(StoreConfig::Etcd(etcd)) => etcd.urls,
        other => panic!("{other:?} is no etcd"),
    }
}

#[test]
fn a_pods_call_without_a_word_about_the_store_is_refused_and_names_the_defaults_file() {
    let loaded = load_with(&config(with_subnet(json!({}))), NO_DEFAULTS, true);
    let mistakes = loaded.settings.store.unwrap_err();
    assert_snapshot!(mistakes, @r#"ipam.etcdConfig: no store is set for this pod's address; set "store": "kubernetes" or "etcdConfig" (addresses shared by the cluster), or "store": "embedded" (addresses of this node alone) in the node defaults, /nonexistent/kube-ipam.json"#);
    assert_eq!(loaded.network.unwrap_err(), mistakes);
}

#[test]
fn a_call_that_is_not_for_a_pod_falls_back_on_the_embedded_store() {
    assert_eq!(loaded(json!({})).settings.store.unwrap(), embedded("/var/lib/kube-ipam/store").unwrap());
}

#[test]
fn the_embedded_store_is_chosen_by_its_name_or_its_folder() {
    assert_eq!(of_pod(json!({ "store": "embedded" }), json!({})), embedded("/var/lib/kube-ipam/store"));
    assert_eq!(of_pod(json!({ "dataDir": "/run/x" }), json!({})), embedded("/run/x"));
    assert_eq!(of_pod(json!({ "store": "embedded" }), json!({ "dataDir": "/run/x" })), embedded("/run/x"));
    assert_eq!(of_pod(json!({}), json!({ "store": "embedded" })), embedded("/var/lib/kube-ipam/store"));
}

fn kubernetes(namespace: &str, kubeconfig: &str) -> Result<StoreConfig, String> {
    let access = vec![Access::Kubeconfig(kubeconfig.into())];
    Ok(StoreConfig::Kubernetes(KubernetesConfig { access, namespace: namespace.to_owned() }))
}

#[test]
fn custom_resources_are_reached_by_the_kubeconfig_of_the_defaults_alone() {
    let ours = json!({ "kubeConfig": "/ours" });
    let cases = [
        (json!({ "store": "kubernetes" }), ours.clone(), "kube-ipam"),
        (json!({ "kubernetesConfig": { "namespace": "net-a" } }), ours.clone(), "net-a"),
        (json!({}), json!({ "kubeConfig": "/ours", "store": "kubernetes" }), "kube-ipam"),
        (json!({ "store": "kubernetes", "kubeConfig": "/tenants" }), ours.clone(), "kube-ipam"),
        // The folder is host-local's.
        (json!({ "store": "kubernetes", "dataDir": "/run/x" }), ours, "kube-ipam"),
    ];
    for (block, defaults, namespace) in cases {
        assert_eq!(of_pod(block.clone(), defaults), kubernetes(namespace, "/ours"), "{block}");
    }
    let Ok(StoreConfig::Kubernetes(found)) = of_pod(json!({ "store": "kubernetes" }), json!({})) else {
        panic!("custom resources were chosen")
    };
    assert_eq!(found.access.len(), 2, "beside the defaults, and where kube-ipam 0.2.0 had it: {found:?}");
}

#[test]
fn a_blocks_choice_goes_before_that_of_the_defaults() {
    let etcd = json!({ "etcdConfig": { "etcdURL": "https://192.0.2.1:2379", "username": "u", "passwordFile": "/p" } });
    assert_eq!(of_pod(json!({ "store": "embedded" }), etcd.clone()), embedded("/var/lib/kube-ipam/store"));
    assert_eq!(urls(of_pod(json!({}), etcd.clone())), ["https://192.0.2.1:2379"]);
    // etcdConfig comes whole from one layer: the defaults' password is never sent to a block's URL.
    let of_block = json!({ "etcdConfig": { "etcdURL": "https://203.0.113.9:2379" } });
    let Ok(StoreConfig::Etcd(chosen)) = of_pod(of_block.clone(), etcd) else { panic!("etcd was chosen") };
    assert_eq!(
        (chosen.urls, chosen.username, chosen.password_file),
        (vec!["https://203.0.113.9:2379".into()], None, None)
    );
    assert_eq!(urls(of_pod(of_block, json!({ "store": "embedded" }))), ["https://203.0.113.9:2379"]);
}

#[test]
fn a_block_whose_choice_is_broken_does_not_fall_back_on_the_defaults() {
    let defaults = json!({ "etcdConfig": { "etcdURL": "https://192.0.2.1:2379" } });
    assert_snapshot!(of_pod(json!({ "etcdConfig": { "etcdURL": 5 } }), defaults.clone()).unwrap_err(), @"ipam.etcdConfig.etcdURL: expected URLs separated by commas, found 5");
    assert_snapshot!(of_pod(json!({ "dataDir": "x" }), defaults.clone()).unwrap_err(), @r#"ipam.dataDir: "x" is not an absolute path; start it with '/'"#);
    // Mistakes in other keys, near misses and the other layer don't affect the choice.
    assert_eq!(urls(of_pod(json!({ "subnet": 5, "stor": "x", "timeout": "x" }), defaults)), ["https://192.0.2.1:2379"]);
    let block = json!({ "etcdConfig": { "etcdURL": "https://192.0.2.1:2379", "etcdURLs": "x" } });
    assert_eq!(urls(of_pod(block, json!({ "store": "x" }))), ["https://192.0.2.1:2379"]);
}

#[test]
fn an_etcd_config_of_the_go_version_is_read_with_all_its_keys() {
    let store = of_pod(
        json!({ "etcdConfig": {
            "etcdURL": "https://192.0.2.50:2379, https://192.0.2.58:2379/,",
            "etcdCertFile": "/etc/kubernetes/pki/etcd.pem", "etcdKeyFile": "/etc/kubernetes/pki/etcd-key.pem",
            "etcdTrustedCAFileFile": "/etc/kubernetes/pki/ca.pem",
            "kubeConfig": "/etc/kubernetes/pki/kubectl.kubeconfig",
        } }),
        json!({}),
    );
    assert_debug_snapshot!(store.unwrap(), @r#"
    Etcd(
        EtcdConfig {
            urls: [
                "https://192.0.2.50:2379",
                "https://192.0.2.58:2379",
            ],
            cert_file: Some(
                "/etc/kubernetes/pki/etcd.pem",
            ),
            key_file: Some(
                "/etc/kubernetes/pki/etcd-key.pem",
            ),
            ca_file: Some(
                "/etc/kubernetes/pki/ca.pem",
            ),
            username: None,
            password_file: None,
            prefix: "/kube-ipam/v1/",
        },
    )
    "#);
}

#[test]
fn members_are_a_list_or_a_text_with_or_without_scheme() {
    let etcd = |etcd: Value| urls(of_pod(json!({ "etcdConfig": etcd }), json!({})));
    assert_eq!(
        etcd(json!({ "etcdURL": ["http://a:1", "HTTP://a:1/", "b:2,c:3"] })),
        ["http://a:1", "http://b:2", "http://c:3"]
    );
    assert_eq!(etcd(json!({ "etcdURL": "[fd00::1]:2379", "etcdTrustedCAFile": "/ca" })), ["https://[fd00::1]:2379"]);
}

#[test]
fn a_prefix_ends_with_a_slash() {
    let prefix = |prefix: &str| {
        let etcd = json!({ "etcdConfig": { "etcdURL": "https://a:1", "prefix": prefix } });
        let Ok(StoreConfig::Etcd(etcd)) = of_pod(etcd, json!({})) else { panic!("etcd was chosen") };
        etcd.prefix
    };
    assert_eq!([prefix("/x"), prefix("/x/"), prefix("")], ["/x/", "/x/", "/kube-ipam/v1/"]);
}

#[test]
fn plain_http_works_with_a_warning() {
    let loaded = loaded(with_subnet(json!({ "etcdConfig": { "etcdURL": "http://192.0.2.1:2379" } })));
    assert!(loaded.network.is_ok());
    assert!(matches!(loaded.warnings.as_slice(), [ConfigWarning::PlainHttp { .. }]));
    assert_snapshot!(loaded.warnings[0], @"ipam.etcdConfig.etcdURL: http://192.0.2.1:2379 is reached without TLS; anyone on the network path can read and change addresses");
}

#[test]
fn with_etcd_the_data_dir_is_that_of_host_local_alone() {
    let settings = loaded(json!({ "dataDir": "/run/x", "etcdConfig": { "etcdURL": "https://a:1" } })).settings;
    assert!(matches!(settings.store, Ok(StoreConfig::Etcd(_))));
    assert_eq!(settings.host_local[0].to_str(), Some("/run/x/db-net"));
}

#[test]
fn what_is_wrong_with_a_store_is_said() {
    let etcd = |more: Value| {
        let mut etcd = json!({ "etcdURL": "https://a:1" });
        etcd.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        with_subnet(json!({ "etcdConfig": etcd }))
    };
    assert_snapshot!(table([
        with_subnet(json!({ "store": "etcd" })),
        with_subnet(json!({ "store": "embedded", "etcdConfig": { "etcdURL": "https://a:1" } })),
        with_subnet(json!({ "store": "kubernetes", "etcdConfig": { "etcdURL": "https://a:1" } })),
        with_subnet(json!({ "store": "embedded", "kubernetesConfig": {} })),
        with_subnet(json!({ "kubernetesConfig": {}, "etcdConfig": { "etcdURL": "https://a:1" } })),
        with_subnet(json!({ "kubernetesConfig": { "namespace": "Net_A" } })),
        with_subnet(json!({ "kubernetesConfig": { "namespace": 7 } })),
        with_subnet(json!({ "etcdConfig": {} })),
        with_subnet(json!({ "etcdConfig": "https://a:1" })),
        etcd(json!({ "etcdURL": " , " })),
        etcd(json!({ "etcdURL": "https://root:secret@a:1" })),
        etcd(json!({ "etcdURL": "ftp://a:1" })),
        etcd(json!({ "etcdURL": "https://a:1/v3" })),
        etcd(json!({ "etcdURL": "https://a:x" })),
        etcd(json!({ "etcdURL": ["https://[fd00]:1", "https://:1"] })),
        etcd(json!({ "etcdCertFile": "/c" })),
        etcd(json!({ "etcdKeyFile": "/k" })),
        etcd(json!({ "etcdKeyFile": "k", "etcdCertFile": "c" })),
        etcd(json!({ "username": "u" })),
        etcd(json!({ "passwordFile": "/p" })),
        etcd(json!({ "etcdTrustedCAFile": "/a", "etcdTrustedCAFileFile": "/b" })),
        etcd(json!({ "prefix": "/a b" })),
        etcd(json!({ "etcdCAFile": "/a", "etcdUrls": "x" })),
        etcd(json!({ "kubeConfig": "x" })),
    ]), @r#"
    ipam.store: expected "kubernetes" or "embedded" (etcd is chosen by etcdConfig), found "etcd"
    ipam.store: contradicts etcdConfig beside it; keep one of the two
    ipam.store: contradicts etcdConfig beside it; keep one of the two
    ipam.store: contradicts kubernetesConfig beside it; keep one of the two
    ipam.kubernetesConfig: contradicts etcdConfig beside it; keep one of the two
    ipam.kubernetesConfig.namespace: "Net_A" can't be the name of a namespace; use lower-case letters, digits and '-', at most 63 characters
    ipam.kubernetesConfig.namespace: expected a text, found 7
    ipam.etcdConfig.etcdURL: missing; name etcd's members, such as "https://192.0.2.50:2379,https://192.0.2.58:2379"
    ipam.etcdConfig: expected an object in braces, found "https://a:1"
    ipam.etcdConfig.etcdURL: missing; name etcd's members, such as "https://192.0.2.50:2379,https://192.0.2.58:2379"
    ipam.etcdConfig.etcdURL: a URL must not hold a user or password; use username and passwordFile
    ipam.etcdConfig.etcdURL: "ftp://a:1" is not the URL of an etcd member; it must look like "https://192.0.2.50:2379"
    ipam.etcdConfig.etcdURL: "https://a:1/v3" is not the URL of an etcd member; it must look like "https://192.0.2.50:2379"
    ipam.etcdConfig.etcdURL: "https://a:x" is not the URL of an etcd member; it must look like "https://192.0.2.50:2379"
    2 mistakes: (1) ipam.etcdConfig.etcdURL: "https://[fd00]:1" is not the URL of an etcd member; it must look like "https://192.0.2.50:2379"; (2) ipam.etcdConfig.etcdURL: "https://:1" is not the URL of an etcd member; it must look like "https://192.0.2.50:2379"
    ipam.etcdConfig.etcdCertFile: needs etcdKeyFile beside it
    ipam.etcdConfig.etcdKeyFile: needs etcdCertFile beside it
    2 mistakes: (1) ipam.etcdConfig.etcdCertFile: "c" is not an absolute path; start it with '/'; (2) ipam.etcdConfig.etcdKeyFile: "k" is not an absolute path; start it with '/'
    ipam.etcdConfig.username: needs passwordFile beside it
    ipam.etcdConfig.passwordFile: needs username beside it
    ipam.etcdConfig.etcdTrustedCAFileFile: differs from etcdTrustedCAFile, which means the same; keep one of the two
    ipam.etcdConfig.prefix: "/a b" can't come before keys; use letters, digits, '/', '-', '_' and '.', at most 128 characters
    ipam.etcdConfig.etcdUrls: unknown key; did you mean etcdURL?
    ipam.etcdConfig.kubeConfig: "x" is not an absolute path; start it with '/'
    "#);
}
