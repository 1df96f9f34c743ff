//! The chart by the commands of its page: pods notice neither an upgrade, nor a rollback, nor the end of the release.

use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use kube_ipam_e2e::checkout::root;
use kube_ipam_e2e::kubernetes::{
    Cluster, Flavour, Node, RunningPod, Workstation, attachment, eventually, macvlan, on, pod, with_networks,
};
use kube_ipam_e2e::{Result, binary};
use serde_json::{Value, json};

use crate::examples::{INSTALLED, defaults};
use crate::shared::{all_distinct, by_kube_ipam, held_is_what_pods_have, nothing_held};
use crate::upgrade::installed_size;

const OFTEN: Duration = Duration::from_millis(200);
const LONG: Duration = Duration::from_secs(180);

const PAGE: &str = "charts/kube-ipam/README.md";

/// The namespace of the page's network.
const APPS: &str = "database";

const THIS: &str = env!("CARGO_PKG_VERSION");
const NEXT: &str = concat!(env!("CARGO_PKG_VERSION"), "-next");

/// The definition of Multus' networks, which is there before the chart.
const DEFINITION: &str = "e2e/src/kubernetes/network-attachment-definition.yaml";
const DEFINITIONS: &str = "network-attachment-definitions.k8s.cni.cncf.io";

/// The releases that a node has deferred.
const DEFERRED: &str = "/var/lib/kube-ipam/node/n2/marked";

/// The release, as whoever installs it handles it.
struct Release<'a> {
    cluster: &'a Cluster,
    workstation: Workstation,
    page: String,
    values: PathBuf,
}

impl<'a> Release<'a> {
    fn new(cluster: &'a Cluster, folder: &Path) -> Result<Self> {
        let page = fs::read_to_string(root().join(PAGE))?;
        let workstation = Workstation::new(cluster, folder)?;
        Ok(Self { cluster, workstation, page, values: folder.join("values.yaml") })
    }

    /// The page's values, with an interface that the nodes have. The history of the cluster is read from the log.
    fn values(&self) -> Result<Value> {
        let block = self.page.split("\n```yaml\n").nth(1).and_then(|rest| rest.split("```").next());
        let mut values: Value = serde_saphyr::from_str(block.ok_or("the page has no values")?)?;
        values["networks"][0]["config"]["master"] = json!("db0");
        values["defaults"] = json!({ "log": { "format": "json" } });
        Ok(values)
    }

    /// Runs the page's command with these values. Returns what it prints.
    fn helm(&self, verb: &str, values: &Value) -> Result<String> {
        let command = self.page.lines().find(|line| line.starts_with(&format!("helm {verb} ")));
        let command = command.ok_or_else(|| format!("{PAGE} has no helm {verb}"))?;
        fs::write(&self.values, values.to_string())?;
        self.run(&command.replace("values.yaml", &self.values.display().to_string()))
    }

    fn run(&self, command: &str) -> Result<String> {
        let output = self.workstation.run(&format!("{command} 2>&1"))?;
        let said = String::from_utf8(output.stdout)?;
        if output.status.success() { Ok(said) } else { Err(format!("{command}: {said}").into()) }
    }

    /// Does what the notes say.
    fn follow(&self, notes: &str) -> Result<()> {
        let commands: Vec<&str> = notes
            .lines()
            .filter_map(|line| line.strip_prefix("   "))
            .filter(|line| line.starts_with("kubectl "))
            .collect();
        assert!(commands.len() >= 4, "{notes}");
        commands.into_iter().try_for_each(|command| self.run(command).map(drop))
    }

    /// Waits until it runs on each node, and has both controllers.
    fn is_installed(&self) -> Result<()> {
        self.cluster.wait_installed()?;
        for node in self.cluster.nodes() {
            for (path, _) in INSTALLED {
                fs::metadata(node.machine().path(path)).map_err(|error| format!("{path} on {}: {error}", node.name))?;
            }
        }
        let rollout = "--namespace kube-ipam rollout status deployment/kube-ipam-controller --timeout=180s";
        self.cluster.kubectl(rollout).map(drop)
    }

    fn has_network(&self, name: &str) -> bool {
        self.cluster.get(&format!("--namespace {APPS} {DEFINITIONS} {name}")).is_ok()
    }
}

/// A pod on the network of the chart. Without Multus, the runtime attaches it to each network.
fn attached(cluster: &Cluster, name: &str, networks: &str) -> Value {
    match cluster.flavour() {
        Flavour::ConfDir => pod(name),
        Flavour::Multus => with_networks(pod(name), networks),
    }
}

/// The interface of a pod on the chart's network.
fn interface(cluster: &Cluster) -> &'static str {
    match cluster.flavour() {
        Flavour::ConfDir => "eth2",
        Flavour::Multus => "net1",
    }
}

/// Hands the chart's network to the runtime, as Multus would to the plugin.
fn hand_over(cluster: &Cluster) -> Result<()> {
    if cluster.flavour() == Flavour::Multus {
        return Ok(());
    }
    let network = cluster.get(&format!("--namespace {APPS} {DEFINITIONS} db-net"))?;
    let config = network["spec"]["config"].as_str().ok_or("a network without a config")?;
    cluster.nodes().iter().try_for_each(|node| node.write("/etc/cni/net.d/30-db.conf", config))
}

/// A pod that must not notice anything: it pings another one all the time.
struct Steady {
    pod: RunningPod,
    address: IpAddr,
    lease: Value,
}

/// Starts a pod on each node, of which one pings the other.
fn start_steady(cluster: &Cluster) -> Result<Vec<Steady>> {
    cluster.apply(APPS, &[on(attached(cluster, "pinged", "db-net"), "n1")])?;
    cluster.wait_ready(APPS, "pinged")?;
    let running = cluster.running(APPS)?;
    let pinged = running.first().ok_or("no pod")?.address(interface(cluster))?;
    let mut pinging = attached(cluster, "pinging", "db-net");
    pinging["spec"]["containers"][0]["command"] = json!(["ping", "-i", "0.2", pinged.to_string()]);
    cluster.apply(APPS, &[on(pinging, "n2")])?;
    cluster.wait_ready(APPS, "pinging")?;
    let steady = |pod: RunningPod| -> Result<Steady> {
        let address = pod.address(interface(cluster))?;
        Ok(Steady { lease: cluster.stored(address)?, address, pod })
    };
    cluster.running(APPS)?.into_iter().map(steady).collect()
}

/// Asserts that these pods have run on with their addresses, that the store has not changed for them, and that every ping
/// was answered.
fn noticed_nothing(cluster: &Cluster, steady: &[Steady]) -> Result<()> {
    let running = cluster.running(APPS)?;
    for Steady { pod, address, lease } in steady {
        let now = running.iter().find(|now| now.name == pod.name).ok_or_else(|| format!("{} is gone", pod.name))?;
        assert!(now.is_sandbox_of(pod) && now.addresses == pod.addresses, "{now:?} was {pod:?}");
        assert_eq!(&cluster.stored(*address)?, lease);
        let status = cluster.get(&format!("--namespace {APPS} pod {}", pod.name))?["status"].clone();
        assert_eq!(status["containerStatuses"][0]["restartCount"], json!(0), "{status}");
    }
    let number = |line: &str| line.split("seq=").nth(1)?.split(' ').next()?.parse::<usize>().ok();
    let log = cluster.kubectl(&format!("--namespace {APPS} logs pinging"))?;
    let answered: Vec<usize> = log.lines().filter_map(number).collect();
    assert!(answered.len() > 5, "{log}");
    assert!(answered.iter().enumerate().all(|(at, number)| at == *number), "a ping was not answered: {answered:?}");
    Ok(())
}

/// Starts a pod on each node while the nodes change.
fn start_meanwhile(cluster: &Cluster, name: &str) -> Result<()> {
    let pods = ["n1", "n2"].map(|node| on(attached(cluster, &format!("{name}-{node}"), "db-net"), node));
    cluster.apply(APPS, &pods)?;
    cluster.wait_ready(APPS, "--all")?;
    let running = cluster.running(APPS)?;
    all_distinct(&running, running.iter().flat_map(|pod| pod.addresses.values()).flatten().count())
}

/// Waits until each node has another program than before, and these defaults.
fn has_changed(cluster: &Cluster, before: &[u64], cooldown: &Value) -> Result<()> {
    let has =
        |(node, (now, before)): (&Node, (u64, &u64))| Ok(now != *before && defaults(node)?["cooldown"] == *cooldown);
    eventually("each node has the other revision", LONG, OFTEN, || {
        let sizes = installed_size(cluster)?.into_iter().zip(before);
        let have = cluster.nodes().iter().zip(sizes).map(has).collect::<Result<Vec<bool>>>()?;
        Ok(have.into_iter().all(|has| has).then_some(()))
    })
}

fn deferred(cluster: &Cluster) -> Result<usize> {
    Ok(fs::read_dir(cluster.node("n2")?.machine().path(DEFERRED)).map(Iterator::count).unwrap_or_default())
}

pub(crate) fn life(cluster: &Cluster) -> Result<()> {
    let folder = tempfile::Builder::new().prefix("kube-ipam-").tempdir()?;
    let release = Release::new(cluster, folder.path())?;
    for version in [THIS, NEXT] {
        cluster.import_kube_ipam(version, binary::kube_ipam())?;
    }
    cluster.create_namespace(APPS)?;
    cluster.apply_text(&fs::read_to_string(root().join(DEFINITION))?)?;
    cluster.kubectl(&format!("wait --for=condition=Established --timeout=60s crd/{DEFINITIONS}"))?;

    let first = release.values()?;
    let notes = release.helm("install", &first)?;
    hand_over(cluster)?;
    release.follow(&notes)?;
    release.is_installed()?;
    let of_first = installed_size(cluster)?;
    let steady = start_steady(cluster)?;

    let mut second = first.clone();
    second["image"]["tag"] = json!(NEXT);
    second["defaults"]["cooldown"] = json!("45s");
    let web = json!({ "type": "macvlan", "master": "web0", "ipam": { "subnet": "10.10.0.0/16" } });
    if let Some(networks) = second["networks"].as_array_mut() {
        networks.push(json!({ "name": "web-net", "namespace": APPS, "config": web }));
    }
    release.helm("upgrade", &second)?;
    start_meanwhile(cluster, "upgrade")?;
    release.is_installed()?;
    has_changed(cluster, &of_first, &json!("45s"))?;
    cluster.apply(APPS, &[attached(cluster, "both", "db-net,web-net")])?;
    cluster.wait_ready(APPS, "both")?;
    assert!(release.has_network("web-net"));
    noticed_nothing(cluster, &steady)?;

    let of_second = installed_size(cluster)?;
    release.helm("rollback", &first)?;
    start_meanwhile(cluster, "rollback")?;
    release.is_installed()?;
    has_changed(cluster, &of_second, &Value::Null)?;
    assert_eq!(installed_size(cluster)?, of_first);
    // Its network is gone, and it is not.
    assert!(!release.has_network("web-net") && release.has_network("db-net"));
    held_is_what_pods_have(cluster, APPS, by_kube_ipam(cluster))?;
    cluster.delete_pods(APPS, "both")?;
    held_is_what_pods_have(cluster, APPS, by_kube_ipam(cluster))?;
    noticed_nothing(cluster, &steady)?;

    without_release(&release, &steady)?;

    release.helm("install", &first)?;
    release.is_installed()?;
    cluster.wait_ready(APPS, "--all")?;
    eventually("what the node has deferred is released", LONG, OFTEN, || Ok((deferred(cluster)? == 0).then_some(())))?;
    start_meanwhile(cluster, "later")?;
    held_is_what_pods_have(cluster, APPS, by_kube_ipam(cluster))?;
    noticed_nothing(cluster, &steady)?;
    cluster.delete_pods(APPS, "--all")?;
    nothing_held(cluster, APPS)?;
    cluster.no_address_had_two_owners().map(drop)
}

/// Removes the release. What runs goes on and can end, and what would start waits.
fn without_release(release: &Release<'_>, steady: &[Steady]) -> Result<()> {
    let cluster = release.cluster;
    let said = release.helm("uninstall", &Value::Null)?;
    assert!(said.contains("ipleases.kube-ipam.cloudnativer.io"), "it says what it keeps: {said}");
    cluster.wait("kube-ipam", "delete", "pods --all")?;
    assert_eq!(cluster.kubectl("--namespace kube-ipam get daemonsets,deployments,roles --output=name")?, "");
    for node in cluster.nodes() {
        for (path, _) in INSTALLED {
            assert!(node.machine().path(path).exists(), "{path} on {}", node.name);
        }
    }
    let leaving = cluster.running(APPS)?.into_iter().find(|pod| pod.name == "rollback-n2").ok_or("no pod")?;
    let address = leaving.address(interface(cluster))?;
    let lease = cluster.stored(address)?;
    cluster.delete_pods(APPS, &leaving.name)?;
    assert!(deferred(cluster)? > 0, "the node has deferred nothing");
    assert_eq!(cluster.stored(address)?, lease);

    // A network of another's, since those of the release went with it.
    cluster.apply(APPS, &[attachment("own-net", &macvlan("own-net", "web0", &json!({ "subnet": "10.11.0.0/16" })))])?;
    cluster.apply(APPS, &[on(attached(cluster, "waits", "own-net"), "n1")])?;
    cluster.wait_event(APPS, "waits", "the API server https://")?;
    noticed_nothing(cluster, steady)
}
