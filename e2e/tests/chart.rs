//! The Helm chart: its objects are those of the examples, and an API server accepts them.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test's verdict is a panic")]

use std::collections::BTreeMap;
use std::fs;

use kube_ipam::config::{self, Purpose};
use kube_ipam::ipam::name::Name;
use kube_ipam_e2e::api_server::ApiServer;
use kube_ipam_e2e::checkout::root;
use kube_ipam_e2e::manifests::{Helm, chart, kustomize};
use kube_ipam_e2e::node::Node;
use serde_json::{Value, json};

/// Objects by kind and name.
type Objects = BTreeMap<(String, String), Value>;

/// The objects, without what can be written in several ways: texts of JSON, and Helm's own annotation.
fn comparable(objects: Vec<Value>) -> Objects {
    let mut comparable = Objects::new();
    for mut object in objects {
        let [kind, name] = [&object["kind"], &object["metadata"]["name"]].map(|text| text.as_str().unwrap().to_owned());
        if kind == "CustomResourceDefinition" {
            object["metadata"].as_object_mut().unwrap().remove("annotations");
        }
        if let Some(Value::String(text)) = object.pointer_mut("/data/kube-ipam.json") {
            let defaults: Value = serde_json::from_str(text).unwrap();
            object["data"]["kube-ipam.json"] = defaults;
        }
        let is_new = comparable.insert((kind.clone(), name.clone()), object).is_none();
        assert!(is_new, "two objects of kind {kind} are called {name}");
    }
    comparable
}

/// The definitions of the store's resources.
fn definitions() -> Vec<Value> {
    let text = fs::read_to_string(root().join("examples/install/resources.yaml")).unwrap();
    serde_saphyr::from_multiple(&text).unwrap()
}

#[test]
fn with_each_store_its_objects_are_those_of_the_examples() {
    let Some(helm) = Helm::installed_or_skip("with_each_store_its_objects_are_those_of_the_examples") else { return };
    let defaults = fs::read_to_string(root().join("examples/install-etcd/kube-ipam.json")).unwrap();
    let defaults: Value = serde_json::from_str(&defaults).unwrap();
    let urls: Vec<&str> = defaults["etcdConfig"]["etcdURL"].as_str().unwrap().split(',').collect();
    let shown = json!({ "networkObjects": true });
    let of_networks = |object: &Value| object["spec"]["names"]["plural"] == "ipnetworks";
    let cases = [
        (json!({}), &["install", "install/controller"][..]),
        (json!({ "controller": shown }), &["install", "install/controller"]),
        (json!({ "store": "etcd", "etcd": { "urls": urls } }), &["install-etcd", "install/controller"]),
        (
            json!({ "store": "etcd", "etcd": { "urls": urls }, "controller": shown }),
            &["install-etcd", "install-etcd/network-objects"],
        ),
        // The controller is for a store that nodes share.
        (json!({ "store": "embedded" }), &["install-embedded"]),
    ];
    for (values, folders) in cases {
        let examples = folders.iter().flat_map(|folder| kustomize(&root().join("examples").join(folder)).unwrap());
        // Its definition is not in a folder of its own.
        let apart = values["store"] == "etcd" && values["controller"] == shown;
        let examples = examples.chain(definitions().into_iter().filter(|object| apart && of_networks(object)));
        // Helm creates it, or whoever installs the chart.
        let examples = comparable(examples.filter(|object| object["kind"] != "Namespace").collect());
        let release = comparable(helm.template("kube-ipam", &values).unwrap());
        assert_eq!(release.keys().collect::<Vec<_>>(), examples.keys().collect::<Vec<_>>(), "{values}");
        for (key, object) in &release {
            assert_eq!(object, &examples[key], "{values}: {key:?}");
        }
    }
}

#[test]
fn the_resources_of_the_store_stay_when_the_release_goes() {
    let Some(helm) = Helm::installed_or_skip("the_resources_of_the_store_stay_when_the_release_goes") else { return };
    let objects = helm.template("kube-ipam", &json!({})).unwrap();
    let definitions: Vec<&Value> = objects.iter().filter(|it| it["kind"] == "CustomResourceDefinition").collect();
    assert_eq!(definitions.len(), 7);
    assert!(definitions.iter().all(|it| it["metadata"]["annotations"] == json!({ "helm.sh/resource-policy": "keep" })));
}

#[test]
fn it_has_the_version_of_this_program_and_copies_of_the_examples() {
    let text = fs::read_to_string(chart().join("Chart.yaml")).unwrap();
    let metadata: Value = serde_saphyr::from_str(&text).unwrap();
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!((&metadata["version"], &metadata["appVersion"]), (&json!(version), &json!(version)));
    for (copy, original) in
        [("resources.yaml", "examples/install/resources.yaml"), ("alerts.yaml", "examples/prometheus/alerts.yaml")]
    {
        let copy = fs::read_to_string(chart().join("files").join(copy)).unwrap();
        assert_eq!(copy, fs::read_to_string(root().join(original)).unwrap(), "copy {original} into the chart");
    }
    if let Some(helm) = Helm::installed_or_skip("it_has_the_version_of_this_program_and_copies_of_the_examples") {
        helm.lint().unwrap();
    }
}

/// Values that use as much of the chart as possible.
fn all_values() -> Value {
    json!({
        "image": { "repository": "registry.example/kube-ipam", "tag": "1", "pullSecrets": [{ "name": "registry" }] },
        "defaults": { "locked": ["vrf"], "sticky": true },
        "nodes": { "preset": "openshift", "labels": "example.com/" },
        "apiServer": { "host": "192.0.2.10" },
        "controller": { "replicas": 1 },
        "networks": [
            {
                "name": "db-net", "annotations": { "k8s.v1.cni.cncf.io/resourceName": "example.com/nic" },
                "config": { "type": "macvlan", "master": "eth1", "ipam": { "subnet": "10.188.0.0/16" } },
            },
            {
                "name": "list-net",
                "config": { "plugins": [
                    { "type": "ptp", "ipam": { "type": "kube-ipam", "subnet": "10.50.0.0/16" } }, { "type": "tuning" },
                ] },
            },
        ],
    })
}

#[test]
fn an_api_server_accepts_all_objects() {
    let test = "an_api_server_accepts_all_objects";
    let (Some(helm), Some(server)) = (Helm::installed_or_skip(test), ApiServer::shared(test)) else { return };
    let tenant = server.tenant().unwrap();
    tenant.apply_file(&root().join("e2e/src/kubernetes/network-attachment-definition.yaml")).unwrap();
    let folder = tempfile::Builder::new().prefix("kube-ipam-").tempdir().unwrap();
    let file = folder.path().join("release.json");
    let of_etcd = |controller: Value| json!({ "store": "etcd", "etcd": { "urls": ["https://192.0.2.1:2379"] }, "controller": controller });
    for values in [json!({}), all_values(), of_etcd(json!({})), of_etcd(json!({ "networkObjects": true }))] {
        let items = helm.template(tenant.namespace(), &values).unwrap();
        let list = json!({ "apiVersion": "v1", "kind": "List", "items": items });
        fs::write(&file, list.to_string()).unwrap();
        let args =
            ["apply", "--server-side", "--dry-run=server", "--validate=strict", "--output", "name", "--filename"];
        let accepted = tenant.kubectl(&[&args[..], &[file.to_str().unwrap()]].concat()).unwrap();
        assert_eq!(accepted.lines().count(), items.len(), "{accepted}");
    }
}

#[test]
fn each_network_of_the_values_is_served_with_the_release_s_defaults() {
    let test = "each_network_of_the_values_is_served_with_the_release_s_defaults";
    let Some(helm) = Helm::installed_or_skip(test) else { return };
    let objects = helm.template("net", &all_values()).unwrap();
    let text = |object: &Value, pointer: &str| object.pointer(pointer).unwrap().as_str().unwrap().to_owned();
    let map = objects.iter().find(|object| object["kind"] == "ConfigMap").unwrap();
    let mut defaults: Value = serde_json::from_str(&text(map, "/data/kube-ipam.json")).unwrap();
    // The store is in the release's namespace.
    let store = json!({ "store": "kubernetes", "kubernetesConfig": { "namespace": "net" } });
    assert_eq!(defaults["kubernetesConfig"], store["kubernetesConfig"]);
    assert_eq!((&defaults["sticky"], &defaults["store"]), (&json!(true), &store["store"]));
    defaults["kubeConfig"] = json!("/etc/cni/net.d/kube-ipam.d/kubeconfig");
    let folder = tempfile::Builder::new().prefix("kube-ipam-").tempdir().unwrap();
    let file = folder.path().join("kube-ipam.json");
    fs::write(&file, defaults.to_string()).unwrap();
    let env = |variable: &str| (variable == "KUBE_IPAM_CONFIG").then(|| file.display().to_string());

    let networks: Vec<&Value> = objects.iter().filter(|it| it["kind"] == "NetworkAttachmentDefinition").collect();
    assert_eq!(networks.len(), 2);
    for network in networks {
        let config: Value = serde_json::from_str(&text(network, "/spec/config")).unwrap();
        assert_eq!((&config["name"], &config["cniVersion"]), (&network["metadata"]["name"], &json!("1.0.0")));
        let plugin = config.pointer("/plugins/0").unwrap_or(&config).as_object().unwrap();
        assert_eq!(plugin["ipam"]["type"], "kube-ipam");
        let name = Name::new(config["name"].as_str().unwrap()).unwrap();
        let loaded = config::load(plugin, &name, &env, Purpose { add: true, pod: true });
        assert!(loaded.network.is_ok() && loaded.warnings.is_empty(), "{config}: {:?}", loaded.network.err());
    }
}

#[test]
fn each_preset_mounts_the_folder_that_the_installer_writes_to() {
    let test = "each_preset_mounts_the_folder_that_the_installer_writes_to";
    let Some(helm) = Helm::installed_or_skip(test) else { return };
    for (preset, folder) in [
        ("", "/opt/cni/bin"),
        ("rke2", "/opt/cni/bin"),
        ("k3s", "/var/lib/rancher/k3s/data/cni"),
        ("microk8s", "/var/snap/microk8s/current/opt/cni/bin"),
        ("openshift", "/var/lib/cni/bin"),
    ] {
        let objects = helm.template("kube-ipam", &json!({ "nodes": { "preset": preset } })).unwrap();
        let daemon_set = objects.iter().find(|object| object["kind"] == "DaemonSet").unwrap();
        let pod = &daemon_set["spec"]["template"]["spec"];
        let container = &pod["containers"][0];
        let volume = |list: &Value| list.as_array().unwrap().iter().find(|it| it["name"] == "cni-bin").unwrap().clone();
        assert_eq!(volume(&pod["volumes"])["hostPath"]["path"], folder, "{preset}");
        assert_eq!(volume(&container["volumeMounts"])["mountPath"], folder, "{preset}");
        let option = json!(format!("--bin-dir={folder}"));
        let [args, probe] = [&container["args"], &container["readinessProbe"]["exec"]["command"]];
        for list in [args, probe] {
            let is_named = list.as_array().unwrap().contains(&option);
            assert_eq!(is_named, folder != "/opt/cni/bin", "{preset}: the installer's own default needs no option");
        }
    }
}

#[test]
fn the_installer_and_its_probe_have_the_same_options() {
    let Some(helm) = Helm::installed_or_skip("the_installer_and_its_probe_have_the_same_options") else { return };
    let values = json!({ "changeStore": true, "nodes": { "preset": "k3s", "labels": "" } });
    let objects = helm.template("kube-ipam", &values).unwrap();
    let daemon_set = objects.iter().find(|object| object["kind"] == "DaemonSet").unwrap();
    let container = &daemon_set["spec"]["template"]["spec"]["containers"][0];
    let texts = |list: &Value| serde_json::from_value::<Vec<String>>(list.clone()).unwrap();
    let args = texts(&container["args"]);
    let named = ["--change-store", "--node-labels=", "--bin-dir=/var/lib/rancher/k3s/data/cni"];
    assert!(named.iter().all(|option| args.iter().any(|arg| arg == option)), "{args:?}");
    let check = args.iter().map(|arg| if arg == "--watch" { "--check".to_owned() } else { arg.clone() });
    let probe = texts(&container["readinessProbe"]["exec"]["command"]);
    assert_eq!(probe, [vec!["/kube-ipam".to_owned()], check.collect()].concat());
}

#[test]
fn values_that_make_no_sense_are_refused_with_what_is_possible() {
    let test = "values_that_make_no_sense_are_refused_with_what_is_possible";
    let Some(helm) = Helm::installed_or_skip(test) else { return };
    for (values, why) in [
        (json!({ "store": "etdc" }), "'kubernetes', 'etcd', 'embedded'"),
        (json!({ "store": "etcd" }), "set the URLs of etcd's members"),
        (json!({ "nodes": { "presets": "k3s" } }), "'presets' not allowed"),
        (json!({ "networks": [{ "name": "a" }] }), "config"),
    ] {
        let refused = helm.template("kube-ipam", &values).unwrap_err().to_string();
        assert!(refused.contains(why), "{values}: {refused}");
    }
}

#[test]
fn its_notes_say_what_to_do_next() {
    let test = "its_notes_say_what_to_do_next";
    let (Some(helm), Some(server)) = (Helm::installed_or_skip(test), ApiServer::shared(test)) else { return };
    let tenant = server.tenant().unwrap();
    let notes = helm.notes(&tenant, &[]).unwrap();
    let elsewhere = format!("--store kubernetes://{}", tenant.namespace());
    for next in
        ["rollout status daemonset/kube-ipam", "/kube-ipam doctor", "get ipleases", "config multus --name", &elsewhere]
    {
        assert!(notes.contains(next), "{notes}");
    }
    let notes = helm.notes(&tenant, &["store=embedded"]).unwrap();
    assert!(!notes.contains("get ipleases") && !notes.contains(&elsewhere), "{notes}");
    assert!(notes.contains("kube-ipam sweep") && notes.contains("one node"), "{notes}");
}

#[test]
fn an_address_outlives_upgrades_and_the_release() {
    let test = "an_address_outlives_upgrades_and_the_release";
    let (Some(helm), Some(server)) = (Helm::installed_or_skip(test), ApiServer::start(test)) else { return };
    let tenant = server.tenant().unwrap();
    helm.upgrade(&tenant, &[]).unwrap();
    let established = ["wait", "--for=condition=Established", "--timeout=60s", "customresourcedefinitions", "--all"];
    tenant.kubectl(&established).unwrap();
    let node = Node::on_kubernetes(&tenant);
    let network = node.network(json!({ "subnet": "10.1.0.0/24" }));
    let address = network.call("ADD", "c-1").run().ok().address();
    let held = || {
        let leases = tenant.kubectl(&["get", "ipleases", "--no-headers"]).unwrap();
        leases.contains(address.split('/').next().unwrap())
    };
    assert!(held());
    helm.upgrade(&tenant, &["controller.enabled=false", "defaults.sticky=true"]).unwrap();
    assert!(held());
    let map = tenant.kubectl(&["get", "configmap", "kube-ipam", "--output", "yaml"]).unwrap();
    assert!(map.contains(r#""sticky": true"#), "{map}");
    helm.uninstall(&tenant).unwrap();
    assert!(held() && tenant.kubectl(&["get", "daemonsets,configmaps", "--output", "name"]).unwrap().is_empty());
    // It comes back to what is there.
    helm.upgrade(&tenant, &[]).unwrap();
    assert_eq!(network.call("ADD", "c-1").run().ok().address(), address);
}
