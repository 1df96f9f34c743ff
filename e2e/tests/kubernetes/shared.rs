//! The clusters that trials share, and the namespace that each trial has in one.

use std::collections::BTreeSet;
use std::fmt::{self, Display, Formatter};
use std::net::IpAddr;
use std::ops::Deref;
use std::process::ExitCode;
use std::sync::{Arc, OnceLock, RwLock};
use std::time::Duration;

use kube_ipam_e2e::kubernetes::{
    Cluster, ClusterNetwork, Flavour, Options, RunningPod, Store, Tools, attachment, db, eventually, pod, web,
    with_networks,
};
use kube_ipam_e2e::manifests::Helm;
use kube_ipam_e2e::{Result, skip};
use libtest_mimic::{Arguments, Failed, Trial};
use serde_json::{Value, json};

use crate::turns::{Needs, Turns};

/// How long a release may take that nobody waits for.
const RELEASED: Duration = Duration::from_secs(60);

/// How long that may take where the runtime first has to end what is left of the pods.
const SETTLED: Duration = Duration::from_secs(120);

/// A trial that does something to its cluster.
type Disturbing = fn(&mut Cluster, &Namespace) -> Result<()>;

/// What became of a cluster whose trial failed.
const LEFT: &str = "an earlier trial has left the cluster as it was then";

/// Why a trial with Multus is skipped.
const NO_MULTUS: &str = "Multus is neither on PATH nor named by MULTUS";

/// How many trials run at a time, unless one says: more would only make each other wait for longer than they may.
const AT_A_TIME: usize = 3;

/// A cluster for several trials. It starts when the first one wants it, and ends with the last one.
struct Shared {
    /// Distinguishes it from the others.
    number: usize,
    options: Options,
    /// What is done to it before the first trial.
    equip: fn(&Cluster) -> Result<()>,
    /// A trial that does something to the cluster has it for itself.
    cluster: OnceLock<Result<RwLock<Cluster>, String>>,
}

impl Shared {
    fn new(number: usize, options: Options, equip: fn(&Cluster) -> Result<()>) -> Arc<Self> {
        Arc::new(Self { number, options, equip, cluster: OnceLock::new() })
    }

    fn cluster(&self, tools: &Tools) -> Result<&RwLock<Cluster>> {
        let start = || -> Result<RwLock<Cluster>> {
            let cluster = Cluster::start(tools, self.options.clone())?;
            (self.equip)(&cluster)?;
            Ok(RwLock::new(cluster))
        };
        let started = self.cluster.get_or_init(|| start().map_err(|error| error.to_string()));
        Ok(started.as_ref().map_err(String::clone)?)
    }
}

/// The clusters of a flavour.
struct Clusters {
    /// For trials that leave the cluster itself alone.
    shared: Arc<Shared>,
    /// For trials that do something to the cluster.
    disturbed: Arc<Shared>,
}

/// The trials, and what they share.
pub(crate) struct Trials {
    arguments: Arguments,
    tools: Result<Tools, String>,
    turns: Arc<Turns>,
    conf_dir: Clusters,
    multus: Clusters,
    /// kube-ipam came to it by `examples/install-etcd`.
    installed: Arc<Shared>,
    /// kube-ipam came to it by `examples/install`. Like that of `e2e/try`, it has Multus where there is one.
    in_the_api: Arc<Shared>,
    trials: Vec<Trial>,
}

impl Trials {
    pub(crate) fn new(arguments: Arguments) -> Self {
        let tools = Tools::find();
        let has_multus = tools.as_ref().is_ok_and(|tools| tools.multus().is_some());
        let of_flavour = |flavour: Flavour, number: usize| {
            let cluster = |number: usize| Shared::new(number, Options::new(flavour), |_| Ok(()));
            Clusters { shared: cluster(number), disturbed: cluster(number + 1) }
        };
        let installed = Options { installed: false, ..Options::new(Flavour::Multus) };
        let flavour = if has_multus { Flavour::Multus } else { Flavour::ConfDir };
        let in_the_api = Options { installed: false, store: Store::KubernetesApi, ..Options::new(flavour) };
        Self {
            tools,
            turns: Arc::new(Turns::new(arguments.test_threads.unwrap_or(AT_A_TIME))),
            conf_dir: of_flavour(Flavour::ConfDir, 0),
            multus: of_flavour(Flavour::Multus, 2),
            installed: Shared::new(4, installed, Cluster::install),
            in_the_api: Shared::new(5, in_the_api, |cluster| {
                // The history of the cluster is read from this log.
                cluster.install_with(|defaults| defaults["log"] = json!({ "format": "json" }))?;
                cluster.admit_sweeper()
            }),
            arguments,
            trials: Vec::new(),
        }
    }

    /// Adds a trial that leaves the cluster itself alone.
    pub(crate) fn add(&mut self, flavour: Flavour, name: &str, body: fn(&Cluster, &Namespace) -> Result<()>) {
        let cluster = Arc::clone(&self.of(flavour).shared);
        self.add_to(cluster, titled(flavour, name), body);
    }

    /// Adds a trial that does something to the cluster, and has it for itself.
    pub(crate) fn add_disturbing(&mut self, flavour: Flavour, name: &str, body: Disturbing) {
        let cluster = Arc::clone(&self.of(flavour).disturbed);
        self.add_disturbing_to(cluster, titled(flavour, name), body);
    }

    /// Adds a trial that leaves the cluster itself alone, which has the store in its API.
    pub(crate) fn add_in_the_api(&mut self, name: &str, body: fn(&Cluster, &Namespace) -> Result<()>) {
        self.add_to(Arc::clone(&self.in_the_api), in_the_api(name), body);
    }

    /// Adds a trial that does something to that cluster, or follows all that is in its store. It has it for itself.
    pub(crate) fn add_disturbing_in_the_api(&mut self, name: &str, body: Disturbing) {
        self.add_disturbing_to(Arc::clone(&self.in_the_api), in_the_api(name), body);
    }

    /// Adds a trial on a cluster with Multus to which kube-ipam came by `examples/install-etcd`, and that it has for
    /// itself.
    pub(crate) fn add_installed(&mut self, name: &str, body: Disturbing) {
        self.add_disturbing_to(Arc::clone(&self.installed), format!("installed::{name}"), body);
    }

    /// Adds a trial on a cluster of its own whose cluster network is Calico's.
    pub(crate) fn add_calico(&mut self, network: ClusterNetwork, name: &str, body: fn(&Cluster) -> Result<()>) {
        let title = format!("calico::{name}");
        self.add_with(Flavour::Multus, Needs { cluster: None, alone: true }, title.clone(), move |tools, _| {
            if tools.calico().is_none() {
                skip(&title, "CALICO_CNI names no CNI plugin of Calico");
                return Ok(());
            }
            let options = Options { cluster_network: network, ..Options::new(Flavour::Multus) };
            body(&Cluster::start(tools, options)?)
        });
    }

    fn of(&self, flavour: Flavour) -> &Clusters {
        match flavour {
            Flavour::ConfDir => &self.conf_dir,
            Flavour::Multus => &self.multus,
        }
    }

    fn add_to(&mut self, shared: Arc<Shared>, title: String, body: fn(&Cluster, &Namespace) -> Result<()>) {
        let needs = Needs { cluster: Some(shared.number), alone: false };
        self.add_with(shared.options.flavour, needs, title, move |tools, namespace| {
            let cluster = shared.cluster(tools)?.read().map_err(|_| LEFT)?;
            body(&cluster, &Namespace::create(&cluster, namespace)?)?;
            Namespace::end(&cluster, namespace)
        });
    }

    fn add_disturbing_to(&mut self, shared: Arc<Shared>, title: String, body: Disturbing) {
        let needs = Needs { cluster: Some(shared.number), alone: true };
        self.add_with(shared.options.flavour, needs, title, move |tools, namespace| {
            let mut cluster = shared.cluster(tools)?.write().map_err(|_| LEFT)?;
            let made = Namespace::create(&cluster, namespace)?;
            // What it did is not undone after a failure; the panic makes the others see that.
            body(&mut cluster, &made).unwrap_or_else(|error| panic!("{error}"));
            Namespace::end(&cluster, namespace)
        });
    }

    /// Adds a trial on a cluster of its own to which kube-ipam does not come by itself, with Helm to install the chart.
    pub(crate) fn add_chart(&mut self, name: &str, body: fn(&Cluster) -> Result<()>) {
        let (title, options) = (format!("chart::{name}"), self.in_the_api.options.clone());
        self.add_with(options.flavour, Needs { cluster: None, alone: true }, title.clone(), move |tools, _| {
            if Helm::installed_or_skip(&title).is_none() {
                return Ok(());
            }
            body(&Cluster::start(tools, options)?)
        });
    }

    fn add_with(
        &mut self,
        flavour: Flavour,
        needs: Needs,
        title: String,
        body: impl FnOnce(&Tools, &str) -> Result<()> + Send + 'static,
    ) {
        let (tools, turns, number) = (self.tools.clone(), Arc::clone(&self.turns), self.trials.len());
        self.trials.push(Trial::test(title.clone(), move || {
            let tools = match tools {
                Ok(tools) if flavour == Flavour::Multus && tools.multus().is_none() => {
                    skip(&title, NO_MULTUS);
                    return Ok(());
                }
                Ok(tools) => tools,
                Err(missing) => {
                    skip(&title, &missing);
                    return Ok(());
                }
            };
            let run = || body(&tools, &format!("trial-{number}"));
            turns.run(number, needs, &title, run).map_err(|error| Failed::from(error.to_string()))
        }));
    }

    /// Runs those that are asked for, and says which took long. Clusters end with the last of their trials, since nobody
    /// else keeps them.
    pub(crate) fn run(self) -> ExitCode {
        let Self { mut arguments, turns, trials, tools: _, conf_dir, multus, installed, in_the_api } = self;
        drop((conf_dir, multus, installed, in_the_api));
        // Each waits for its turn on a thread of its own.
        if arguments.test_threads != Some(1) {
            arguments.test_threads = Some(trials.len());
        }
        let conclusion = libtest_mimic::run(&arguments, trials);
        for (took, title) in turns.longest() {
            println!("{:4} s  {title}", took.as_secs());
        }
        conclusion.exit_code()
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

/// Whether a cluster has Multus. If not, reports the trial as skipped.
pub(crate) fn has_multus_or_skip(cluster: &Cluster, trial: &str) -> bool {
    let has_multus = cluster.flavour() == Flavour::Multus;
    if !has_multus {
        skip(trial, NO_MULTUS);
    }
    has_multus
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
