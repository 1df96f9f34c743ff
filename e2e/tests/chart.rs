//! The Helm chart: its objects are those of the examples, and an API server accepts them.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test's verdict is a panic")]

use std::collections::BTreeMap;
use std::{fs, slice};

use kube_ipam::config::{self, Purpose};
use kube_ipam::ipam::name::Name;
use kube_ipam_e2e::Result;
use kube_ipam_e2e::api_server::{ApiServer, Tenant};
use kube_ipam_e2e::checkout::root;
use kube_ipam_e2e::manifests::{Helm, chart, kustomize};
use kube_ipam_e2e::node::Node;
use serde_json::{Value, json};

/// Objects by kind and name.
type Objects = BTreeMap<(String, String), Value>;

/// The objects, without what can be written in several ways, and what only Helm needs: texts of JSON, Helm's own
/// annotation, and the checksum that restarts the controller.
fn comparable(objects: Vec<Value>) -> Objects {
    let mut comparable = Objects::new();
    for mut object in objects {
        let [kind, name] = [&object["kind"], &object["metadata"]["name"]].map(|text| text.as_str().unwrap().to_owned());
        if kind == "CustomResourceDefinition" {
            object["metadata"].as_object_mut().unwrap().remove("annotations");
        }
        if kind == "Deployment" {
            object["spec"]["template"]["metadata"].as_object_mut().unwrap().remove("annotations");
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

/// The names of these objects if an API server accepts all of them, and else its refusal. Creates nothing.
fn dry_run(tenant: &Tenant<'_>, items: &[Value]) -> Result<String> {
    let folder = tempfile::Builder::new().prefix("kube-ipam-").tempdir()?;
    let file = folder.path().join("release.json");
    fs::write(&file, json!({ "apiVersion": "v1", "kind": "List", "items": items }).to_string())?;
    let args = ["apply", "--server-side", "--dry-run=server", "--validate=strict", "--output", "name", "--filename"];
    tenant.kubectl(&[&args[..], &[&file.display().to_string()]].concat())
}

#[test]
fn an_api_server_accepts_all_objects() {
    let test = "an_api_server_accepts_all_objects";
    let (Some(helm), Some(server)) = (Helm::installed_or_skip(test), ApiServer::shared(test)) else { return };
    let tenant = server.tenant().unwrap();
    tenant.apply_file(&root().join("e2e/src/kubernetes/network-attachment-definition.yaml")).unwrap();
    let of_etcd = |controller: Value| json!({ "store": "etcd", "etcd": { "urls": ["https://192.0.2.1:2379"] }, "controller": controller });
    for values in [json!({}), all_values(), of_etcd(json!({})), of_etcd(json!({ "networkObjects": true }))] {
        let items = helm.template(tenant.namespace(), &values).unwrap();
        let accepted = dry_run(&tenant, &items).unwrap();
        assert_eq!(accepted.lines().count(), items.len(), "{accepted}");
    }
}

/// The object of this kind.
fn the<'a>(objects: &'a [Value], kind: &str) -> &'a Value {
    objects.iter().find(|object| object["kind"] == kind).unwrap_or_else(|| panic!("no {kind}"))
}

/// The values for the objects of the Prometheus operator.
fn monitored() -> Value {
    json!({ "metrics": {
        "serviceMonitor": { "enabled": true, "labels": { "release": "prometheus" }, "interval": "1m30s" },
        "prometheusRule": { "enabled": true, "labels": { "release": "prometheus" } },
    } })
}

#[test]
fn an_api_server_with_the_prometheus_operator_accepts_its_objects_and_no_mistake_in_them() {
    let test = "an_api_server_with_the_prometheus_operator_accepts_its_objects_and_no_mistake_in_them";
    let (Some(helm), Some(server)) = (Helm::installed_or_skip(test), ApiServer::shared(test)) else { return };
    let tenant = server.tenant().unwrap();
    tenant.apply_file(&root().join("e2e/src/api_server/prometheus-operator.yaml")).unwrap();
    let objects = helm.template(tenant.namespace(), &monitored()).unwrap();
    let [monitor, rules] = ["ServiceMonitor", "PrometheusRule"].map(|kind| the(&objects, kind).clone());
    for object in [&monitor, &rules] {
        assert_eq!(object["metadata"]["labels"], json!({ "release": "prometheus" }));
        dry_run(&tenant, slice::from_ref(object)).unwrap();
    }
    for (object, field, mistake) in [
        (&monitor, "/spec/endpoints/0/interval", json!("soon")),
        (&monitor, "/spec/endpoints/0", json!({ "port": "metrics", "honourLabels": true })),
        (&rules, "/spec/groups/0/rules/0/for", json!("soon")),
        (&rules, "/spec/groups/0/rules/0/labels/severity", json!(1)),
        (&rules, "/spec/groups/0/rules/0", json!({ "alert": "NoExpression" })),
    ] {
        let mut wrong = object.clone();
        *wrong.pointer_mut(field).unwrap() = mistake;
        assert!(dry_run(&tenant, &[wrong]).is_err(), "{field}");
    }
    // Nobody else's alerts name the namespace of this release.
    let text = rules["spec"].to_string();
    assert!(text.contains(&format!("kubectl -n {} get pods", tenant.namespace())) && !text.contains("-n kube-ipam "));
}

#[test]
fn the_monitor_reads_the_port_of_the_controller_and_keeps_the_namespaces_of_pods() {
    let test = "the_monitor_reads_the_port_of_the_controller_and_keeps_the_namespaces_of_pods";
    let Some(helm) = Helm::installed_or_skip(test) else { return };
    let objects = helm.template("kube-ipam", &monitored()).unwrap();
    let [monitor, service] = ["ServiceMonitor", "Service"].map(|kind| the(&objects, kind));
    assert_eq!(monitor["spec"]["selector"]["matchLabels"], service["metadata"]["labels"]);
    let endpoint = &monitor["spec"]["endpoints"][0];
    let port = &service["spec"]["ports"][0];
    assert_eq!(endpoint["port"], port["name"]);
    let template = &the(&objects, "Deployment")["spec"]["template"];
    assert_eq!(service["spec"]["selector"], template["metadata"]["labels"]);
    assert_eq!(port["targetPort"], template["spec"]["containers"][0]["ports"][0]["name"]);
    // A metric has a label of this name, and so has what Prometheus knows of its target.
    assert_eq!(endpoint["honorLabels"], json!(true));
}

#[test]
fn new_defaults_restart_the_controller_alone() {
    let Some(helm) = Helm::installed_or_skip("new_defaults_restart_the_controller_alone") else { return };
    let render = |values| helm.template("kube-ipam", &values).unwrap();
    let [before, after] = [json!({}), json!({ "defaults": { "cooldown": "45s" } })].map(render);
    let changed = before.iter().zip(&after).filter(|(before, after)| before != after);
    let kinds: Vec<&str> = changed.map(|(before, _)| before["kind"].as_str().unwrap()).collect();
    // The installer follows the ConfigMap, and the controller reads it when it starts.
    assert_eq!(kinds, ["ConfigMap", "Deployment"]);
}

#[test]
fn each_network_of_the_values_is_served_with_the_release_s_defaults() {
    let test = "each_network_of_the_values_is_served_with_the_release_s_defaults";
    let Some(helm) = Helm::installed_or_skip(test) else { return };
    let objects = helm.template("net", &all_values()).unwrap();
    let text = |object: &Value, pointer: &str| object.pointer(pointer).unwrap().as_str().unwrap().to_owned();
    let map = the(&objects, "ConfigMap");
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
        let daemon_set = the(&objects, "DaemonSet");
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
    let daemon_set = the(&objects, "DaemonSet");
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
        (json!({ "metrics": { "serviceMonitor": { "interval": "soon" } } }), "'soon' does not match pattern"),
    ] {
        let refused = helm.template("kube-ipam", &values).unwrap_err().to_string();
        assert!(refused.contains(why), "{values}: {refused}");
    }
}

#[test]
fn nothing_is_installed_if_the_namespace_of_a_network_is_missing() {
    let test = "nothing_is_installed_if_the_namespace_of_a_network_is_missing";
    let (Some(helm), Some(server)) = (Helm::installed_or_skip(test), ApiServer::shared(test)) else { return };
    let tenant = server.tenant().unwrap();
    tenant.apply_file(&root().join("e2e/src/kubernetes/network-attachment-definition.yaml")).unwrap();
    let network = |namespace: &str| {
        let settings = ["name=a", "config.type=macvlan", &format!("namespace={namespace}")];
        settings.map(|setting| format!("networks[0].{setting}")).join(",")
    };
    let refused = helm.notes(&tenant, &[&network("nowhere")]).unwrap_err().to_string();
    assert!(refused.contains("network a: namespace nowhere does not exist; create it, and try again"), "{refused}");
    for there in ["default", tenant.namespace()] {
        helm.notes(&tenant, &[&network(there)]).unwrap();
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

#[test]
fn what_was_there_from_the_manifests_becomes_the_release_s_if_asked() {
    let test = "what_was_there_from_the_manifests_becomes_the_release_s_if_asked";
    let (Some(helm), Some(server)) = (Helm::installed_or_skip(test), ApiServer::start(test)) else { return };
    let tenant = server.tenant().unwrap();
    // The same as those of the manifests, in the namespace of the tenant.
    let objects = helm.template(tenant.namespace(), &json!({})).unwrap();
    objects.iter().for_each(|object| drop(tenant.apply(object).unwrap()));
    let generation = || {
        let daemon_set = tenant.kubectl(&["get", "daemonset", "kube-ipam", "--output", "json"]).unwrap();
        serde_json::from_str::<Value>(&daemon_set).unwrap()["metadata"]["generation"].clone()
    };
    let before = generation();
    let refused = helm.upgrade(&tenant, &[]).unwrap_err().to_string();
    assert!(refused.contains("invalid ownership metadata"), "{refused}");
    helm.take_over(&tenant).unwrap();
    assert_eq!(generation(), before, "the installer's pods would restart");
    helm.upgrade(&tenant, &["defaults.sticky=true"]).unwrap();
    let map = tenant.kubectl(&["get", "configmap", "kube-ipam", "--output", "yaml"]).unwrap();
    assert!(map.contains(r#""sticky": true"#), "{map}");
}
