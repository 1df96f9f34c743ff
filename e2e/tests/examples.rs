//! The set-ups in examples/ and the definitions in network-attachments/ are what users apply: they must be right before
//! any cluster sees them.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test's verdict is a panic")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write as _;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use kube_ipam::config::{self, Network, Purpose};
use kube_ipam::ipam::address::Span;
use kube_ipam::ipam::name::Name;
use kube_ipam::ipam::range::globs_admit;
use kube_ipam::store::KubernetesConfig;
use kube_ipam_e2e::checkout::{files, root};
use serde_json::{Map, Value, json};

/// The documents of a YAML file.
fn documents(file: &Path) -> Vec<Value> {
    let text = fs::read_to_string(file).unwrap();
    serde_saphyr::from_multiple(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

/// All objects of the examples and definitions, each with its file.
fn objects() -> Vec<(PathBuf, Value)> {
    let files = ["examples", "network-attachments"].map(|folder| files(folder, ".yaml")).concat();
    let objects = |file: PathBuf| documents(&file).into_iter().map(move |object| (file.clone(), object));
    files.into_iter().flat_map(objects).collect()
}

/// The only object of this kind in a folder of the examples.
fn the_in(folder: &str, kind: &str) -> Value {
    let folder = root().join("examples").join(folder);
    let mut found =
        objects().into_iter().filter(|(file, object)| file.parent() == Some(&folder) && object["kind"] == kind);
    let (_, object) = found.next().unwrap_or_else(|| panic!("there is none of kind {kind}"));
    assert!(found.next().is_none(), "there are several of kind {kind}");
    object
}

/// The only object of this kind that the installer is made of.
fn the(kind: &str) -> Value {
    the_in("install", kind)
}

/// The only object of this kind that the controller is made of.
fn of_the_controller(kind: &str) -> Value {
    the_in("install/controller", kind)
}

/// The rules that a section of the operations page shows.
fn documented_rules(section: &str) -> Value {
    let page = fs::read_to_string(root().join("docs/operations.md")).unwrap();
    let section = page.split("\n## ").find(|text| text.starts_with(section)).unwrap();
    let block =
        section.split("```yaml\n").find(|block| block.starts_with("rules:")).unwrap().split("```").next().unwrap();
    let documented: Value = serde_saphyr::from_str(block).unwrap();
    documented["rules"].clone()
}

/// The ways to install kube-ipam, one for each store.
const INSTALLATIONS: [&str; 3] = ["install", "install-etcd", "install-embedded"];

/// The node defaults of an installation, completed as the installer completes them.
fn defaults(installation: &str) -> Value {
    let file = root().join("examples").join(installation).join("kube-ipam.json");
    let mut defaults: Value = serde_json::from_str(&fs::read_to_string(file).unwrap()).unwrap();
    defaults["nodeName"] = json!("worker-2");
    defaults["nodeLabels"] = json!({ "topology.kubernetes.io/zone": "eu-west-1a" });
    defaults["kubeConfig"] = json!("/etc/cni/net.d/kube-ipam.d/kubeconfig");
    defaults
}

/// The network of a main plugin's config, over those defaults, for a pod.
#[track_caller]
fn network(name: &str, config: &Map<String, Value>) -> Network {
    let folder = tempfile::Builder::new().prefix("kube-ipam-").tempdir().unwrap();
    let file = folder.path().join("kube-ipam.json");
    fs::write(&file, defaults("install").to_string()).unwrap();
    let env = |variable: &str| (variable == "KUBE_IPAM_CONFIG").then(|| file.display().to_string());
    let loaded = config::load(config, &Name::new(name).unwrap(), &env, Purpose { add: true, pod: true });
    assert_eq!(loaded.warnings, [], "{name}");
    let network = loaded.network.unwrap_or_else(|mistakes| panic!("{name}: {mistakes}"));
    assert_eq!(network.unplaced, [], "{name}");
    network
}

/// The networks of a config or of a list of them.
fn networks(config: &Value) -> Vec<Network> {
    let name = config["name"].as_str().unwrap();
    let plugins = config["plugins"].as_array().cloned().unwrap_or_else(|| vec![config.clone()]);
    let ours = plugins.iter().filter(|plugin| plugin["ipam"]["type"] == "kube-ipam");
    ours.map(|plugin| network(name, plugin.as_object().unwrap())).collect()
}

/// The networks of all definitions, by namespace and name.
fn definitions() -> BTreeMap<(String, String), Network> {
    let definition = |(file, object): (PathBuf, Value)| {
        let config: Value = serde_json::from_str(object["spec"]["config"].as_str().unwrap()).unwrap();
        let name = &object["metadata"]["name"];
        assert_eq!(config["name"], *name, "{}: Multus and a person should see one name", file.display());
        let mut networks = networks(&config);
        assert_eq!(networks.len(), 1, "{}", file.display());
        let namespace = object["metadata"]["namespace"].as_str().unwrap_or_default();
        ((namespace.to_owned(), name.as_str().unwrap().to_owned()), networks.remove(0))
    };
    let definitions = objects().into_iter().filter(|(_, object)| object["kind"] == "NetworkAttachmentDefinition");
    definitions.map(definition).collect()
}

/// The network that Calico's config in the examples makes of eth0.
fn eth0() -> Network {
    let file = root().join("examples/calico-primary/eth0/10-calico.conf");
    networks(&serde_json::from_str(&fs::read_to_string(file).unwrap()).unwrap()).remove(0)
}

#[test]
fn every_definition_is_served_with_the_defaults_that_the_installer_writes() {
    assert!(definitions().len() >= 10);
    assert_eq!(eth0().name.as_str(), "k8s-pod-network");
    for installation in INSTALLATIONS {
        let defaults = defaults(installation);
        let warnings = config::check_defaults(Path::new("kube-ipam.json"), defaults.as_object().unwrap()).unwrap();
        assert_eq!(warnings, [], "{installation}");
    }
}

#[test]
fn every_configuration_in_the_examples_is_json() {
    for file in files("examples", ".conf") {
        let config: Value = serde_json::from_str(&fs::read_to_string(&file).unwrap()).unwrap();
        assert!(config["name"].is_string() && config["type"].is_string(), "{}", file.display());
        // Multus 4.3 reduces what it reads from a list, and then no DEL works.
        if let Some(first) = config.get("clusterNetwork") {
            assert!(first.as_str().unwrap().ends_with(".conf"), "{}", file.display());
        }
    }
}

/// A pod template with an annotation of ours, in its workload.
struct Template {
    workload: Value,
    namespace: String,
    annotations: BTreeMap<String, String>,
}

impl Template {
    fn of(workload: Value) -> Option<Self> {
        let annotations = &workload["spec"]["template"]["metadata"]["annotations"];
        let annotations: BTreeMap<_, _> = serde_json::from_value(annotations.clone()).ok()?;
        let namespace = workload["metadata"]["namespace"].as_str().unwrap_or_default().to_owned();
        Some(Self { workload, namespace, annotations })
    }

    /// The network of one of its interfaces; Multus counts them from net1.
    fn network(&self, interface: &str) -> Network {
        if interface == "eth0" {
            return eth0();
        }
        let nth: usize = interface.strip_prefix("net").unwrap().parse().unwrap();
        let network = self.annotations["k8s.v1.cni.cncf.io/networks"].split(',').nth(nth - 1).unwrap().trim();
        definitions().remove(&(self.namespace.clone(), network.to_owned())).unwrap_or_else(|| panic!("no {network}"))
    }

    /// What it requests: the interface, the key, and the addresses.
    fn asks(&self) -> Vec<(String, String, Vec<IpAddr>)> {
        let scoped = self.annotations.iter().filter_map(|(key, value)| Some((key.strip_prefix("kube-ipam.")?, value)));
        let ask = |(key, value): (&str, &String)| {
            let (interface, what) = key.split_once('.').unwrap();
            let spans = value.split(',').map(|span| span.trim().parse::<Span>().unwrap());
            (interface.to_owned(), what.to_owned(), spans.flat_map(addresses).collect())
        };
        scoped.map(ask).collect()
    }
}

/// The addresses of a short span.
fn addresses(span: Span) -> Vec<IpAddr> {
    let number = |ip: IpAddr| match ip {
        IpAddr::V4(ip) => u32::from(ip),
        IpAddr::V6(ip) => panic!("{ip} is IPv6"),
    };
    (number(span.first())..=number(span.last())).map(|ip| IpAddr::from(ip.to_be_bytes())).collect()
}

#[test]
fn every_address_that_a_pod_requests_can_be_assigned_by_the_network_it_names() {
    let mut seen = 0;
    for (file, object) in objects() {
        let Some(template) = Template::of(object) else { continue };
        for (interface, what, ips) in template.asks() {
            let network = template.network(&interface);
            let at = format!("{}: {interface}", file.display());
            assert!(globs_admit(&network.namespaces, Some(&template.namespace)), "{at}: {:?}", network.namespaces);
            for ip in &ips {
                let range =
                    network.sets.iter().find_map(|set| set.range_of(*ip)).unwrap_or_else(|| panic!("{at}: {ip}"));
                range.assignable(*ip).unwrap_or_else(|why| panic!("{at}: {ip} is {why}"));
                seen += 1;
            }
            let replicas = template.workload["spec"]["replicas"].as_u64().unwrap();
            match what.as_str() {
                "ip" => {
                    assert_eq!(replicas, 1, "{at}: one address, and several pods");
                    assert_eq!(template.workload["spec"]["strategy"]["type"], "Recreate", "{at}");
                }
                "pool" => assert!(ips.len() as u64 >= replicas, "{at}: {replicas} pods, {} addresses", ips.len()),
                other => panic!("{at}: {other}"),
            }
        }
    }
    assert!(seen >= 9, "only {seen} addresses were found");
}

#[test]
fn the_routes_between_the_layers_lead_to_the_pod_in_the_middle() {
    let middle = objects().into_iter().find(|(_, object)| object["metadata"]["name"] == "middle").unwrap().1;
    let middle: Vec<IpAddr> = Template::of(middle).unwrap().asks().into_iter().flat_map(|(.., ips)| ips).collect();
    let definitions = definitions();
    for (name, other) in [("web-net", "db-net"), ("db-net", "web-net")] {
        let network = |name: &str| {
            definitions.iter().find(|((space, found), _)| space.starts_with("layered") && found == name).unwrap().1
        };
        let [route] = network(name).routes.as_slice() else { panic!("{name} has other routes") };
        let [range] = network(other).sets[0].ranges() else { panic!("{other} has other ranges") };
        assert_eq!(route.dst.to_string(), range.subnet.to_string());
        assert!(middle.contains(&route.gw.unwrap()), "{name}");
        // The pod in the middle must not have that route itself: it would lead to its own address.
        let edge = definitions
            .iter()
            .find(|((space, _), edge)| space == "layered-middle" && edge.sets[0].range_of(route.gw.unwrap()).is_some());
        assert!(edge.unwrap().1.routes.is_empty());
    }
}

#[test]
fn every_kustomization_names_the_files_beside_it_and_forgets_none() {
    for file in files("examples", "kustomization.yaml") {
        let folder = file.parent().unwrap();
        let kustomization = documents(&file).remove(0);
        let mut named: Vec<&str> = ["/resources", "/configMapGenerator/0/files"]
            .iter()
            .filter_map(|pointer| kustomization.pointer(pointer)?.as_array())
            .flat_map(|list| list.iter().map(|name| name.as_str().unwrap()))
            .chain(["kustomization.yaml"])
            .collect();
        named.retain(|name| name.ends_with(".yaml"));
        named.sort_unstable();
        let mut there: Vec<String> =
            fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        there.retain(|name| name.ends_with(".yaml"));
        there.sort_unstable();
        assert_eq!(named, there, "{}", file.display());
    }
    assert!(INSTALLATIONS.iter().all(|name| root().join("examples").join(name).join("kube-ipam.json").exists()));
}

#[test]
fn the_installers_rights_are_those_of_the_documentation_and_no_others() {
    let role = the("ClusterRole");
    assert_eq!(role["rules"], documented_rules("Installing it"));
    let expected = json!([
        { "apiGroups": [""], "resources": ["pods"], "verbs": ["get"] },
        { "apiGroups": ["apps"], "resources": ["statefulsets"], "verbs": ["get"] },
        {
            "apiGroups": ["kubevirt.io"], "resources": ["virtualmachineinstances", "virtualmachineinstancemigrations"],
            "verbs": ["get"],
        },
        { "apiGroups": ["k8s.cni.cncf.io"], "resources": ["ipamclaims"], "verbs": ["get"] },
        { "apiGroups": ["k8s.cni.cncf.io"], "resources": ["ipamclaims/status"], "verbs": ["patch"] },
        { "apiGroups": [""], "resources": ["nodes"], "verbs": ["get", "list"] },
        { "apiGroups": [""], "resources": ["namespaces"], "resourceNames": ["kube-system"], "verbs": ["get"] },
        { "apiGroups": [""], "resources": ["events"], "verbs": ["create"] },
    ]);
    assert_eq!(role["rules"], expected);
    let binding = the("ClusterRoleBinding");
    assert_eq!(binding["roleRef"]["name"], role["metadata"]["name"]);
    assert_eq!(binding["subjects"][0]["name"], the("ServiceAccount")["metadata"]["name"]);
}

#[test]
fn the_rights_on_the_store_are_what_it_needs_and_only_kube_ipam_has_them() {
    let (group, resources, verbs) = KubernetesConfig::rule();
    let objects = documents(&root().join("examples/install/store.yaml"));
    let of_store = json!([{ "apiGroups": [group], "resources": resources, "verbs": verbs }]);
    // Only the controller writes how full networks are.
    let of_status = json!([{ "apiGroups": [group], "resources": ["ipnetworks/status"], "verbs": ["patch"] }]);
    let (node, controller) = (the("ServiceAccount"), of_the_controller("ServiceAccount"));
    let (node, controller) = (&node["metadata"]["name"], &controller["metadata"]["name"]);
    let expected = [(of_store, vec![node, controller]), (of_status, vec![controller])];
    assert_eq!(objects.len(), 2 * expected.len());
    for (pair, (rules, accounts)) in objects.chunks(2).zip(expected) {
        let (role, binding) = (&pair[0], &pair[1]);
        assert_eq!((&role["kind"], &role["rules"]), (&json!("Role"), &rules));
        assert_eq!(
            (&binding["kind"], &binding["roleRef"]["kind"], &binding["roleRef"]["name"]),
            (&json!("RoleBinding"), &json!("Role"), &role["metadata"]["name"])
        );
        let subjects = binding["subjects"].as_array().unwrap();
        assert_eq!(subjects.iter().map(|subject| &subject["name"]).collect::<Vec<_>>(), accounts);
        let is_right = |subject: &Value| subject["kind"] == "ServiceAccount" && subject["namespace"] == "kube-ipam";
        assert!(subjects.iter().all(is_right));
    }
}

#[test]
fn each_resource_of_the_store_has_a_definition_that_refuses_no_value() {
    let (group, resources, _) = KubernetesConfig::rule();
    let definitions = documents(&root().join("examples/install/resources.yaml"));
    let names: BTreeSet<&str> = definitions.iter().map(|it| it["spec"]["names"]["plural"].as_str().unwrap()).collect();
    assert_eq!(names, BTreeSet::from_iter(resources));
    for definition in &definitions {
        let spec = &definition["spec"];
        let plural = spec["names"]["plural"].as_str().unwrap();
        assert_eq!(definition["metadata"]["name"], format!("{plural}.{group}"));
        assert_eq!((&spec["scope"], &spec["names"]["categories"]), (&json!("Namespaced"), &json!(["kube-ipam"])));
        let schema = &spec["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"];
        assert_eq!(schema["required"], json!(["key"]), "{plural}");
        for field in ["value", "lock", "commit"] {
            let field = &schema["properties"][field];
            assert_eq!(field["x-kubernetes-preserve-unknown-fields"], true, "{plural}");
            assert!(field.get("properties").is_none(), "{plural}: a later version may write another type");
        }
    }
}

#[test]
fn the_controllers_rights_are_those_of_the_documentation_and_its_lease() {
    let (role, lease) = (of_the_controller("ClusterRole"), of_the_controller("Role"));
    assert_eq!(role["rules"], documented_rules("The controller"));
    let verbs = role["rules"].as_array().unwrap().iter().flat_map(|rule| texts(&rule["verbs"]));
    assert!(verbs.into_iter().all(|verb| ["get", "list", "watch"].contains(&verb)), "it changes nothing else");
    let expected = json!([
        { "apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["create"] },
        {
            "apiGroups": ["coordination.k8s.io"], "resources": ["leases"],
            "resourceNames": ["kube-ipam-controller"], "verbs": ["get", "update"],
        },
    ]);
    assert_eq!(lease["rules"], expected);
    let account = &of_the_controller("ServiceAccount")["metadata"]["name"];
    for (kind, role) in [("ClusterRoleBinding", &role), ("RoleBinding", &lease)] {
        let binding = of_the_controller(kind);
        assert_eq!(
            (&binding["roleRef"]["name"], &binding["roleRef"]["kind"]),
            (&role["metadata"]["name"], &role["kind"])
        );
        assert_eq!(&binding["subjects"][0]["name"], account);
    }
    assert_eq!(&of_the_controller("Deployment")["spec"]["template"]["spec"]["serviceAccountName"], account);
}

#[test]
fn the_controllers_pods_are_found_by_all_that_select_them_and_run_without_rights_on_their_node() {
    let deployment = of_the_controller("Deployment");
    let pod = &deployment["spec"]["template"];
    let labels = &pod["metadata"]["labels"];
    assert_eq!(&deployment["spec"]["selector"]["matchLabels"], labels);
    assert_eq!(&of_the_controller("PodDisruptionBudget")["spec"]["selector"]["matchLabels"], labels);
    assert_eq!(&of_the_controller("Service")["spec"]["selector"], labels);
    let apart = &pod["spec"]["affinity"]["podAntiAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"][0];
    assert_eq!(&apart["labelSelector"]["matchLabels"], labels);

    let spec = &pod["spec"];
    assert_eq!(spec["securityContext"]["runAsNonRoot"], true);
    let (defaults, controller) = (&spec["initContainers"][0], &spec["containers"][0]);
    for container in [defaults, controller] {
        let context = &container["securityContext"];
        assert_eq!(
            (&context["readOnlyRootFilesystem"], &context["allowPrivilegeEscalation"]),
            (&json!(true), &json!(false))
        );
        assert_eq!(context["capabilities"]["drop"], json!(["ALL"]));
        assert!(container["resources"]["limits"]["memory"].is_string());
        for mount in container["volumeMounts"].as_array().unwrap() {
            assert!(
                spec["volumes"].as_array().unwrap().iter().any(|volume| volume["name"] == mount["name"]),
                "{mount}"
            );
        }
    }
    // What the one writes the other reads.
    let args = texts(&defaults["args"]);
    let checks: Vec<&str> = args.iter().map(|arg| if *arg == "--watch" { "--check" } else { arg }).collect();
    assert_eq!(texts(&defaults["startupProbe"]["exec"]["command"]), [&["/kube-ipam"], checks.as_slice()].concat());
    let folder = args.iter().find_map(|arg| arg.strip_prefix("--config-dir=")).unwrap();
    assert_eq!(
        controller["env"][0],
        json!({ "name": "KUBE_IPAM_CONFIG", "value": format!("{folder}/kube-ipam.json") })
    );
    // Its options are understood: what fails is that no store is there.
    let mut command = Command::new(kube_ipam_e2e::binary::kube_ipam());
    command.args(texts(&controller["args"])).env_clear().env("KUBE_IPAM_CONFIG", "/nonexistent").stdin(Stdio::null());
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stderr));
    let port = &controller["ports"][0];
    assert_eq!((&port["name"], &port["containerPort"]), (&json!("metrics"), &json!(9478)));
    for (probe, path) in [("livenessProbe", "/healthz"), ("readinessProbe", "/readyz")] {
        assert_eq!(
            (&controller[probe]["httpGet"]["path"], &controller[probe]["httpGet"]["port"]),
            (&json!(path), &port["name"])
        );
    }
    assert_eq!(of_the_controller("Service")["spec"]["ports"][0]["targetPort"], port["name"]);
}

/// The texts of a list.
fn texts(list: &Value) -> Vec<&str> {
    list.as_array().unwrap().iter().map(|text| text.as_str().unwrap()).collect()
}

#[test]
fn the_installers_pod_runs_and_checks_with_the_same_options() {
    let pod = &the("DaemonSet")["spec"]["template"]["spec"];
    let container = &pod["containers"][0];
    let args = texts(&container["args"]);
    let probe = texts(&container["readinessProbe"]["exec"]["command"]);
    let checks: Vec<&str> = args.iter().map(|arg| if *arg == "--watch" { "--check" } else { arg }).collect();
    assert_eq!(probe, [&["/kube-ipam"], checks.as_slice()].concat());
    // Without a mount of a service account it fails; what the program does not understand would be status 2.
    let mut check = Command::new(kube_ipam_e2e::binary::kube_ipam());
    let output = check.args(&checks).env_clear().stdin(Stdio::null()).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stderr));

    // What the options name is mounted, and each mount has its volume.
    let of_container = |container: &Value| container["volumeMounts"].as_array().unwrap().clone();
    let all: Vec<Value> = pod["containers"].as_array().unwrap().iter().flat_map(of_container).collect();
    let mounts: BTreeMap<&str, &str> =
        all.iter().map(|mount| (mount["mountPath"].as_str().unwrap(), mount["name"].as_str().unwrap())).collect();
    for arg in &args {
        let Some((_, path)) = arg.split_once('=') else { continue };
        assert!(mounts.keys().any(|mount| path.starts_with(mount)), "{path}");
    }
    for volume in pod["volumes"].as_array().unwrap() {
        let (mount, _) = mounts.iter().find(|(_, name)| volume["name"] == **name).unwrap();
        if let Some(path) = volume["hostPath"]["path"].as_str() {
            assert_eq!(path, *mount, "a folder of the node is mounted where it is on the node");
        }
    }
    // Network namespaces are in one folder of two names, of which a record has the one that the runtime calls it by.
    let netns = all.iter().filter(|mount| mount["name"] == "run-netns");
    let netns: Vec<&str> = netns.map(|mount| mount["mountPath"].as_str().unwrap()).collect();
    assert_eq!(netns, ["/run/netns", "/var/run/netns"]);
    assert_eq!(pod["volumes"].as_array().unwrap().len() + 1, mounts.len());
}

#[test]
fn beside_it_runs_what_a_node_does_by_itself_with_an_option_that_there_is_and_its_own_state() {
    let pod = &the("DaemonSet")["spec"]["template"]["spec"];
    let sweep = pod["containers"].as_array().unwrap().iter().find(|container| container["name"] == "sweep").unwrap();
    // It would go on; what the program does not understand is status 2 at once.
    let mut args = texts(&sweep["args"]);
    args.push("--help");
    let mut help = Command::new(kube_ipam_e2e::binary::kube_ipam());
    assert!(help.args(&args).env_clear().stdin(Stdio::null()).output().unwrap().status.success());
    let mounts = sweep["volumeMounts"].as_array().unwrap();
    let state = mounts.iter().find(|mount| mount["name"] == "state").unwrap()["mountPath"].as_str().unwrap();
    let page = fs::read_to_string(root().join("docs/reference-config.md")).unwrap();
    for default in ["/var/lib/kube-ipam/node", "/var/lib/kube-ipam/store"] {
        assert!(default.starts_with(state) && page.contains(default), "{default}");
    }
}

#[test]
fn the_image_of_the_examples_has_the_version_of_this_program() {
    let version = env!("CARGO_PKG_VERSION");
    let controller = of_the_controller("Deployment")["spec"]["template"]["spec"].clone();
    let installer = the("DaemonSet")["spec"]["template"]["spec"].clone();
    let of_installer = [&installer["containers"][0], &installer["containers"][1]];
    let of_controller = [&controller["containers"][0], &controller["initContainers"][0]];
    for container in [of_installer, of_controller].concat() {
        assert_eq!(container["image"], format!("kube-ipam:{version}"));
    }
    for file in ["README.md", "kustomization.yaml", "Containerfile", "controller/kustomization.yaml"] {
        let text = fs::read_to_string(root().join("examples/install").join(file)).unwrap();
        assert!(text.contains(version), "{file} has another version");
    }
}

/// The name that KubeVirt gives a pod's interface: `pod` and the first 11 digits of the hash of its network's name.
fn pod_interface(network: &str) -> String {
    let mut child = Command::new("sha256sum").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(network.as_bytes()).unwrap();
    let hash = String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap();
    format!("pod{}", &hash[..11])
}

#[test]
fn the_virtual_machine_of_the_examples_has_a_claim_on_a_network_that_keeps_its_addresses() {
    let machine = the_in("kubevirt", "VirtualMachine");
    let listed = &machine["spec"]["template"]["spec"]["networks"];
    let [network] = listed.as_array().unwrap().as_slice() else { panic!("{listed}") };
    let interfaces = &machine["spec"]["template"]["spec"]["domain"]["devices"]["interfaces"];
    assert_eq!(interfaces[0]["name"], network["name"]);
    let in_its_namespace = |(_, object): &(PathBuf, Value)| {
        object["kind"] == "NetworkAttachmentDefinition"
            && object["metadata"]["namespace"] == machine["metadata"]["namespace"]
            && object["metadata"]["name"] == network["multus"]["networkName"]
    };
    let (_, definition) = objects().into_iter().find(in_its_namespace).unwrap();
    let config: Value = serde_json::from_str(definition["spec"]["config"].as_str().unwrap()).unwrap();
    assert_eq!(config["allowPersistentIPs"], true);
    // The extension calls it so; its network is by the name in the configuration.
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let claim = format!("{}.{}", text(&machine["metadata"]["name"]), text(&network["name"]));
    let page = fs::read_to_string(root().join("examples/kubevirt/README.md")).unwrap();
    let selection = page.split_once("k8s.v1.cni.cncf.io/networks: ").unwrap().1.split_once("```").unwrap().0;
    let elements: Value = serde_json::from_str(selection).unwrap();
    let expected = json!([{
        "name": network["multus"]["networkName"],
        "namespace": machine["metadata"]["namespace"],
        "interface": pod_interface(network["name"].as_str().unwrap()),
        "ipam-claim-reference": claim,
    }]);
    assert_eq!(elements, expected);
    assert!(page.contains(&format!("network: {}", text(&config["name"]))));
    let network = networks(&config).remove(0);
    assert!(globs_admit(&network.namespaces, machine["metadata"]["namespace"].as_str()));
}
