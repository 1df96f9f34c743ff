//! The contenders: kube-ipam on each store, host-local, and the floor of each store.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use kube_ipam::apiserver::Access;
use kube_ipam::store::{EtcdConfig, KubernetesConfig, StoreConfig};
use kube_ipam_e2e::{Result, fill};
use serde_json::{Value, json};

use crate::pods::Pods;
use crate::process::Call;

pub(crate) struct Programs {
    pub kube_ipam: PathBuf,
    pub host_local: PathBuf,
    pub floor_sqlite: PathBuf,
    /// The floor of a whole call on the embedded store.
    pub floor_call: PathBuf,
    pub floor_etcd: PathBuf,
    /// `None` if it is left out.
    pub whereabouts: Option<PathBuf>,
}

impl Programs {
    /// Copies of them in a new folder. A file that a linker has written is in the page cache in smaller pieces than a
    /// copied one, and each piece is a page fault of a call.
    pub(crate) fn installed(&self, folder: &Path) -> Result<Self> {
        fs::create_dir(folder)?;
        let install = |program: &Path| -> Result<PathBuf> {
            let copy = folder.join(program.file_name().ok_or("a program without a name")?);
            fs::copy(program, &copy).map_err(|error| format!("{}: {error}", program.display()))?;
            Ok(copy)
        };
        Ok(Self {
            kube_ipam: install(&self.kube_ipam)?,
            host_local: install(&self.host_local)?,
            floor_sqlite: install(&self.floor_sqlite)?,
            floor_call: install(&self.floor_call)?,
            floor_etcd: install(&self.floor_etcd)?,
            whereabouts: self.whereabouts.as_deref().map(install).transpose()?,
        })
    }
}

/// What a process is called for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Verb {
    /// Assigns an address; for a floor, writes.
    Add,
    /// Releases that address; for a floor, deletes.
    Del,
}

impl Verb {
    /// The name in CNI.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Add => "ADD",
            Self::Del => "DEL",
        }
    }
}

/// How much of the /16 is held before a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Held {
    /// Nothing.
    Nothing,
    /// 5,000 addresses: as many as one object takes with some room. etcd limits an object to 1.5 MiB.
    OneObject,
    /// 60,000 addresses.
    Most,
    /// All but one.
    AllButOne,
}

impl Held {
    /// The levels of stores without such a limit.
    pub(crate) const ALL: [Self; 3] = [Self::Nothing, Self::Most, Self::AllButOne];

    pub(crate) fn count(self) -> u32 {
        match self {
            Self::Nothing => 0,
            Self::OneObject => 5_000,
            Self::Most => 60_000,
            Self::AllButOne => fill::SIZE - 1,
        }
    }

    /// The text in tables.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Nothing => "empty",
            Self::OneObject => "5,000 held",
            Self::Most => "60,000 held",
            Self::AllButOne => "one left",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Who {
    /// kube-ipam with its embedded store.
    Embedded,
    /// host-local, which never syncs.
    HostLocal,
    /// The least work of a process on the embedded store's database.
    FloorSqlite,
    /// The same, with everything else that a call has to do.
    FloorCall,
    /// kube-ipam with etcd.
    Etcd,
    /// The least work of a process on etcd.
    FloorEtcd,
    /// kube-ipam with custom resources.
    Kubernetes,
    /// whereabouts, which keeps a range in one custom resource.
    Whereabouts,
}

impl Who {
    /// The text in tables.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Embedded => "kube-ipam, embedded",
            Self::HostLocal => "host-local",
            Self::FloorSqlite => "floor: SQLite, two rows",
            Self::FloorCall => "floor: the same in a whole call",
            Self::Etcd => "kube-ipam, etcd",
            Self::FloorEtcd => "floor: etcd, one put",
            Self::Kubernetes => "kube-ipam, Kubernetes API",
            Self::Whereabouts => "whereabouts",
        }
    }
}

/// Makes the call of a verb for a container.
type Make = dyn Fn(Verb, &str) -> Call + Sync;

/// A contender with its files, ready to be called.
pub(crate) struct Contender {
    pub who: Who,
    pub held: Held,
    make: Box<Make>,
}

impl Contender {
    /// The call of a verb for a container.
    pub(crate) fn call(&self, verb: Verb, container: &str) -> Call {
        (self.make)(verb, container)
    }

    /// Calls it for pods: each container with a pod is that pod's.
    pub(crate) fn for_pods(self, pods: &Arc<Pods>) -> Self {
        let (make, pods) = (self.make, Arc::clone(pods));
        let make = move |verb: Verb, container: &str| {
            let call = make(verb, container);
            match pods.cni_args(container) {
                Some(args) => call.env("CNI_ARGS", args),
                None => call,
            }
        };
        Self { make: Box::new(make), ..self }
    }

    /// kube-ipam on this store, with the node's files in `folder`. With a kubeconfig, it reads the annotations of pods.
    pub(crate) fn kube_ipam(
        programs: &Programs,
        folder: &Path,
        held: Held,
        store: &StoreConfig,
        kubeconfig: Option<&Path>,
    ) -> Result<Self> {
        fs::create_dir_all(folder)?;
        let who = match store {
            StoreConfig::Embedded { .. } => Who::Embedded,
            StoreConfig::Etcd(_) => Who::Etcd,
            StoreConfig::Kubernetes(_) => Who::Kubernetes,
        };
        let mut defaults = defaults(folder, store);
        if let Some(kubeconfig) = kubeconfig {
            set(&mut defaults, &json!({ "kubeConfig": kubeconfig }));
        }
        if held == Held::AllButOne {
            // Otherwise, the only free address would be in cooldown after the first DEL, and every later ADD would
            // search for the one that was released first.
            set(&mut defaults, &json!({ "cooldown": "0s" }));
        }
        let file = folder.join(DEFAULTS);
        fs::write(&file, defaults.to_string())?;
        let config = config("kube-ipam", &json!({}));
        let program = programs.kube_ipam.clone();
        let make = move |verb: Verb, container: &str| {
            cni(&program, verb, container).env("KUBE_IPAM_CONFIG", &file).stdin(config.clone())
        };
        Ok(Self { who, held, make: Box::new(make) })
    }

    /// host-local with its addresses in `folder`.
    pub(crate) fn host_local(programs: &Programs, folder: &Path, held: Held) -> Result<Self> {
        fill::host_local(&folder.join(NETWORK), fill::addresses(held.count()))?;
        let config = config("host-local", &json!({ "dataDir": folder }));
        let program = programs.host_local.clone();
        let make = move |verb: Verb, container: &str| cni(&program, verb, container).stdin(config.clone());
        Ok(Self { who: Who::HostLocal, held, make: Box::new(make) })
    }

    /// whereabouts with its pools in the API server of a kubeconfig, and its other files in `folder`.
    pub(crate) fn whereabouts(program: &Path, folder: &Path, held: Held, kubeconfig: &Path) -> Result<Self> {
        fs::create_dir_all(folder)?;
        let defaults = folder.join("whereabouts.conf");
        let log = folder.join("whereabouts.log");
        let content = json!({ "kubernetes": { "kubeconfig": kubeconfig }, "log_file": log });
        fs::write(&defaults, content.to_string())?;
        let config = network(&json!({ "type": "whereabouts", "range": fill::SUBNET, "configuration_path": defaults }));
        let program = program.to_owned();
        let make = move |verb: Verb, container: &str| {
            // The calls' namespace is this program's own, which it otherwise refuses.
            cni(&program, verb, container).env("CNI_NETNS_OVERRIDE", "1").stdin(config.clone())
        };
        Ok(Self { who: Who::Whereabouts, held, make: Box::new(make) })
    }

    /// The floor on kube-ipam's database.
    pub(crate) fn floor_sqlite(programs: &Programs, database: &Path, held: Held) -> Self {
        let (program, database) = (programs.floor_sqlite.clone(), database.to_owned());
        let make = move |verb: Verb, container: &str| rows(Call::new(&program).arg(&database), verb, container);
        Self { who: Who::FloorSqlite, held, make: Box::new(make) }
    }

    /// The floor of a whole call, with the node's files in `folder`.
    pub(crate) fn floor_call(programs: &Programs, folder: &Path, database: &Path, held: Held) -> Result<Self> {
        let data_dir = database.parent().unwrap_or(folder).to_owned();
        fs::write(folder.join(DEFAULTS), defaults(folder, &StoreConfig::Embedded { data_dir }).to_string())?;
        let (program, folder, database) = (programs.floor_call.clone(), folder.to_owned(), database.to_owned());
        let config = config("kube-ipam", &json!({}));
        let make = move |verb: Verb, container: &str| {
            rows(Call::new(&program).arg(&folder).arg(&database), verb, container).stdin(config.clone())
        };
        Ok(Self { who: Who::FloorCall, held, make: Box::new(make) })
    }

    /// The floor on an etcd: one put for each verb.
    pub(crate) fn floor_etcd(programs: &Programs, url: &str, held: Held) -> Self {
        let (program, url) = (programs.floor_etcd.clone(), url.to_owned());
        let make = move |_: Verb, container: &str| Call::new(&program).arg(&url).arg(format!("/floor/{container}"));
        Self { who: Who::FloorEtcd, held, make: Box::new(make) }
    }
}

/// The two rows that a floor writes or deletes.
fn rows(call: Call, verb: Verb, container: &str) -> Call {
    let (lease, attachment) = (format!("ip/default/4/{container}"), format!("at/node-1/{container}/eth0/blue"));
    call.arg(if verb == Verb::Add { "put" } else { "delete" }).arg(lease).arg(attachment)
}

/// The name of the node defaults in the folder.
const DEFAULTS: &str = "kube-ipam.json";

fn defaults(folder: &Path, store: &StoreConfig) -> Value {
    let mut defaults = json!({
        "nodeName": "node-1",
        "stateDir": folder.join("node"),
        "log": folder.join("kube-ipam.log"),
    });
    let keys = match store {
        StoreConfig::Embedded { data_dir } => json!({ "store": "embedded", "dataDir": data_dir }),
        StoreConfig::Etcd(EtcdConfig { urls, prefix, .. }) => {
            json!({ "etcdConfig": { "etcdURL": urls.join(","), "prefix": prefix } })
        }
        StoreConfig::Kubernetes(KubernetesConfig { access, namespace }) => {
            let kubeconfig = access.iter().find_map(|access| match access {
                Access::Kubeconfig(file) => Some(file),
                Access::ServiceAccount { .. } => None,
            });
            json!({ "store": "kubernetes", "kubernetesConfig": { "namespace": namespace }, "kubeConfig": kubeconfig })
        }
    };
    set(&mut defaults, &keys);
    defaults
}

/// The network of all calls.
const NETWORK: &str = "blue";

fn config(plugin: &str, more: &Value) -> String {
    let mut ipam = json!({ "type": plugin, "subnet": fill::SUBNET });
    set(&mut ipam, more);
    network(&ipam)
}

fn network(ipam: &Value) -> String {
    json!({ "cniVersion": "1.0.0", "name": NETWORK, "type": "macvlan", "ipam": ipam }).to_string()
}

fn set(under: &mut Value, over: &Value) {
    for (key, value) in over.as_object().into_iter().flatten() {
        under[key] = value.clone();
    }
}

fn cni(program: &Path, verb: Verb, container: &str) -> Call {
    Call::new(program)
        .env("CNI_COMMAND", verb.name())
        .env("CNI_CONTAINERID", container)
        .env("CNI_IFNAME", "eth0")
        .env("CNI_NETNS", format!("/proc/{}/ns/net", std::process::id()))
        .env("CNI_PATH", program.parent().unwrap_or(Path::new("/")))
        .assigns(verb == Verb::Add)
}
