//! The clusters that trials share, and the namespace that each trial has in one.

use std::collections::BTreeSet;
use std::fmt::{self, Display, Formatter};
use std::net::IpAddr;
use std::ops::Deref;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, OnceLock, RwLock};
use std::time::Duration;

use kube_ipam_e2e::kubernetes::{
    Cluster, ClusterNetwork, Flavour, Options, RunningPod, Store, Tools, attachment, db, eventually, pod, web,
    with_networks,
};
use kube_ipam_e2e::{Result, skip};
use libtest_mimic::{Arguments, Failed, Trial};
use serde_json::{Value, json};

/// How long a release may take that nobody waits for.
const RELEASED: Duration = Duration::from_secs(60);

/// How long that may take where the runtime first has to end what is left of the pods.
const SETTLED: Duration = Duration::from_secs(120);

/// What became of a cluster whose trial failed.
const LEFT: &str = "an earlier trial has left the cluster as it was then";

/// How many trials run at a time, unless one says: more would only make each other wait for longer than they may.
const AT_A_TIME: usize = 3;

/// The clusters of a flavour; each starts when the first trial wants it.
#[derive(Default)]
struct Clusters {
    /// For trials that leave the cluster itself alone.
    shared: OnceLock<Result<Cluster, String>>,
    /// For trials that do something to the cluster: one has it at a time.
    disturbed: OnceLock<Result<Mutex<Cluster>, String>>,
    /// Like that one, but kube-ipam came to it by `examples/install-etcd`.
    installed: OnceLock<Result<Mutex<Cluster>, String>>,
    /// kube-ipam came to it by `examples/install`. A trial that does something to the cluster has it for itself.
    in_the_api: OnceLock<Result<RwLock<Cluster>, String>>,
}

impl Clusters {
    /// The cluster with the store in its API.
    fn in_the_api(&self, flavour: Flavour, start: &Start<'_>) -> Result<&RwLock<Cluster>> {
        let installed = || {
            let options = Options { installed: false, store: Store::KubernetesApi, ..Options::new(flavour) };
            let cluster = start(options)?;
            // The history of the cluster is read from this log.
            let log = |defaults: &mut Value| defaults["log"] = json!({ "format": "json" });
            cluster.install_with(log).and_then(|()| cluster.admit_sweeper()).map_err(|error| error.to_string())?;
            Ok(RwLock::new(cluster))
        };
        Ok(self.in_the_api.get_or_init(installed).as_ref().map_err(String::clone)?)
    }
}

/// How a trial comes to a cluster that is not there yet.
type Start<'tools> = dyn Fn(Options) -> Result<Cluster, String> + 'tools;

/// The trials, and what they share.
pub(crate) struct Trials {
    tools: Result<Tools, String>,
    conf_dir: Arc<Clusters>,
    multus: Arc<Clusters>,
    trials: Vec<Trial>,
}

impl Trials {
    pub(crate) fn new() -> Self {
        Self { tools: Tools::find(), conf_dir: Arc::default(), multus: Arc::default(), trials: Vec::new() }
    }

    /// Adds a trial that leaves the cluster itself alone.
    pub(crate) fn add(&mut self, flavour: Flavour, name: &str, body: fn(&Cluster, &Namespace) -> Result<()>) {
        self.add_with(flavour, titled(flavour, name), move |clusters, start, namespace| {
            let cluster = clusters.shared.get_or_init(|| start(Options::new(flavour)));
            let cluster = cluster.as_ref().map_err(String::clone)?;
            body(cluster, &Namespace::create(cluster, namespace)?)?;
            Namespace::end(cluster, namespace)
        });
    }

    /// Adds a trial that does something to the cluster, and has it for itself.
    pub(crate) fn add_disturbing(
        &mut self,
        flavour: Flavour,
        name: &str,
        body: fn(&mut Cluster, &Namespace) -> Result<()>,
    ) {
        self.add_with(flavour, titled(flavour, name), move |clusters, start, namespace| {
            let cluster = clusters.disturbed.get_or_init(|| start(Options::new(flavour)).map(Mutex::new));
            let cluster = cluster.as_ref().map_err(String::clone)?;
            let mut cluster = cluster.lock().map_err(|_| LEFT)?;
            let made = Namespace::create(&cluster, namespace)?;
            // What it did is not undone after a failure; the panic makes the others see that.
            body(&mut cluster, &made).unwrap_or_else(|error| panic!("{error}"));
            Namespace::end(&cluster, namespace)
        });
    }

    /// Adds a trial that leaves the cluster itself alone. kube-ipam came to it by `examples/install`, and has its store in
    /// the cluster's API. Like that of `e2e/try`, it has Multus where there is one.
    pub(crate) fn add_in_the_api(&mut self, name: &str, body: fn(&Cluster, &Namespace) -> Result<()>) {
        let flavour = self.flavour_in_the_api();
        self.add_with(flavour, in_the_api(name), move |clusters, start, namespace| {
            let cluster = clusters.in_the_api(flavour, start)?.read().map_err(|_| LEFT)?;
            body(&cluster, &Namespace::create(&cluster, namespace)?)?;
            Namespace::end(&cluster, namespace)
        });
    }

    fn flavour_in_the_api(&self) -> Flavour {
        let has_multus = self.tools.as_ref().is_ok_and(|tools| tools.multus().is_some());
        if has_multus { Flavour::Multus } else { Flavour::ConfDir }
    }

    /// Adds a trial that does something to that cluster, or follows all that is in its store. It has it for itself.
    pub(crate) fn add_disturbing_in_the_api(&mut self, name: &str, body: fn(&mut Cluster, &Namespace) -> Result<()>) {
        let flavour = self.flavour_in_the_api();
        self.add_with(flavour, in_the_api(name), move |clusters, start, namespace| {
            let mut cluster = clusters.in_the_api(flavour, start)?.write().map_err(|_| LEFT)?;
            let made = Namespace::create(&cluster, namespace)?;
            body(&mut cluster, &made).unwrap_or_else(|error| panic!("{error}"));
            Namespace::end(&cluster, namespace)
        });
    }

    /// Adds a trial on a cluster with Multus to which kube-ipam came by `examples/install-etcd`, and that it has for
    /// itself.
    pub(crate) fn add_installed(&mut self, name: &str, body: fn(&mut Cluster, &Namespace) -> Result<()>) {
        self.add_with(Flavour::Multus, format!("installed::{name}"), move |clusters, start, namespace| {
            let installed = || {
                let mut options = Options::new(Flavour::Multus);
                options.installed = false;
                let cluster = start(options)?;
                cluster.install().map_err(|error| error.to_string())?;
                Ok(Mutex::new(cluster))
            };
            let cluster = clusters.installed.get_or_init(installed).as_ref().map_err(String::clone)?;
            let mut cluster = cluster.lock().map_err(|_| LEFT)?;
            let made = Namespace::create(&cluster, namespace)?;
            body(&mut cluster, &made).unwrap_or_else(|error| panic!("{error}"));
            Namespace::end(&cluster, namespace)
        });
    }

    /// Adds a trial on a cluster of its own whose cluster network is Calico's.
    pub(crate) fn add_calico(&mut self, network: ClusterNetwork, name: &str, body: fn(&Cluster) -> Result<()>) {
        let title = format!("calico::{name}");
        self.add_with(Flavour::Multus, title.clone(), move |_, start, _| {
            if Tools::find().is_ok_and(|tools| tools.calico().is_none()) {
                skip(&title, "CALICO_CNI names no CNI plugin of Calico");
                return Ok(());
            }
            let mut options = Options::new(Flavour::Multus);
            options.cluster_network = network;
            body(&start(options)?)
        });
    }

    fn add_with(
        &mut self,
        flavour: Flavour,
        title: String,
        body: impl FnOnce(&Clusters, &Start<'_>, &str) -> Result<()> + Send + 'static,
    ) {
        let clusters = match flavour {
            Flavour::ConfDir => Arc::clone(&self.conf_dir),
            Flavour::Multus => Arc::clone(&self.multus),
        };
        let (tools, number) = (self.tools.clone(), self.trials.len());
        self.trials.push(Trial::test(title.clone(), move || {
            let tools = match tools {
                Ok(tools) if flavour == Flavour::Multus && tools.multus().is_none() => {
                    skip(&title, "Multus is neither on PATH nor named by MULTUS");
                    return Ok(());
                }
                Ok(tools) => tools,
                Err(missing) => {
                    skip(&title, &missing);
                    return Ok(());
                }
            };
            let start = |options| Cluster::start(&tools, options).map_err(|error| error.to_string());
            body(&clusters, &start, &format!("trial-{number}")).map_err(|error| Failed::from(error.to_string()))
        }));
    }

    /// Runs those that are asked for. Clusters end with the last trial of their flavour, since
    /// nobody else keeps them.
    pub(crate) fn run(self, mut arguments: Arguments) -> ExitCode {
        let Self { trials, conf_dir, multus, tools: _ } = self;
        drop((conf_dir, multus));
        arguments.test_threads.get_or_insert(AT_A_TIME);
        libtest_mimic::run(&arguments, trials).exit_code()
    }
}

/// What a trial of a flavour is called.
fn titled(flavour: Flavour, name: &str) -> String {
    match flavour {
        Flavour::ConfDir => format!("conf_dir::{name}"),
        Flavour::Multus => format!("multus::{name}"),
    }
}

fn in_the_api(name: &str) -> String {
    format!("in_the_api::{name}")
}

/// A trial's namespace.
pub(crate) struct Namespace {
    name: String,
}

impl Display for Namespace {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl Deref for Namespace {
    type Target = str;

    fn deref(&self) -> &str {
        &self.name
    }
}

impl Namespace {
    /// A namespace, with the networks web and db where those are objects.
    fn create(cluster: &Cluster, name: &str) -> Result<Self> {
        cluster.create_namespace(name)?;
        if cluster.flavour() == Flavour::Multus {
            cluster.apply(name, &[attachment("web", &web()), attachment("db", &db())])?;
        }
        Ok(Self { name: name.to_owned() })
    }

    /// Deletes what is in it, and waits until nothing is held for it. No address of the cluster has had two owners until
    /// then.
    fn end(cluster: &Cluster, name: &str) -> Result<()> {
        cluster.delete_pods(name, "--all")?;
        nothing_held(cluster, name)?;
        cluster.no_address_had_two_owners()?;
        cluster.kubectl(&format!("delete namespace {name} --wait=false")).map(drop)
    }
}

/// A pod with an interface on both layers beside its first one.
pub(crate) fn layered(cluster: &Cluster, name: &str) -> Value {
    match cluster.flavour() {
        Flavour::ConfDir => pod(name),
        Flavour::Multus => with_networks(pod(name), "web,db"),
    }
}

/// Asserts that no address is there twice, and that so many are there.
pub(crate) fn all_distinct(pods: &[RunningPod], expected: usize) -> Result<()> {
    let all: Vec<IpAddr> = pods.iter().flat_map(|pod| pod.addresses.values().flatten().copied()).collect();
    let distinct: BTreeSet<&IpAddr> = all.iter().collect();
    if all.len() != distinct.len() {
        return Err(format!("an address is there twice: {pods:#?}").into());
    }
    if all.len() != expected {
        return Err(format!("{} addresses instead of {expected}: {pods:#?}", all.len()).into());
    }
    Ok(())
}

/// Asserts that what kube-ipam holds for a namespace is what its pods have on these interfaces.
pub(crate) fn held_is_what_pods_have(cluster: &Cluster, namespace: &str, interfaces: &[&str]) -> Result<()> {
    let pods = cluster.running(namespace)?;
    let on = |pod: &RunningPod| -> Vec<IpAddr> {
        let addresses = interfaces.iter().filter_map(|interface| pod.addresses.get(*interface));
        addresses.flatten().copied().collect()
    };
    let have: BTreeSet<IpAddr> = pods.iter().flat_map(on).collect();
    let held: BTreeSet<IpAddr> = cluster.held(namespace)?.into_iter().map(|lease| lease.address).collect();
    if have == held {
        return Ok(());
    }
    let only = |a: &BTreeSet<IpAddr>, b: &BTreeSet<IpAddr>| a.difference(b).copied().collect::<Vec<_>>();
    Err(format!("pods have {:?}, which is not held; {:?} is held in vain", only(&have, &held), only(&held, &have))
        .into())
}

/// Waits until what is held is what the pods have: a pod or a sandbox that is gone may still be giving its addresses back.
pub(crate) fn settled(cluster: &Cluster, namespace: &Namespace) -> Result<()> {
    let settled = || Ok(held_is_what_pods_have(cluster, namespace, by_kube_ipam(cluster)).ok());
    eventually("what is held is what pods have", SETTLED, Duration::from_millis(200), settled)
        .or_else(|_| held_is_what_pods_have(cluster, namespace, by_kube_ipam(cluster)))
}

/// Waits until nothing is held for a namespace.
pub(crate) fn nothing_held(cluster: &Cluster, namespace: &str) -> Result<()> {
    let released = || Ok(cluster.held(namespace)?.is_empty().then_some(()));
    eventually(&format!("nothing is held for {namespace}"), RELEASED, Duration::from_millis(100), released)
        .map_err(|error| format!("{error}: {:?}", cluster.held(namespace)).into())
}

/// The interfaces whose addresses kube-ipam gives: with Multus, the cluster network is another's.
pub(crate) fn by_kube_ipam(cluster: &Cluster) -> &'static [&'static str] {
    match cluster.flavour() {
        Flavour::ConfDir => &["eth0", "eth1", "eth2"],
        Flavour::Multus => &["net1", "net2"],
    }
}
