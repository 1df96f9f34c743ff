//! The configured store, and one type for all backends.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use super::{
    Cursor, EtcdStore, Key, KeyHistory, KeySpan, KubernetesConfig, KubernetesStore, MemoryStore, ObjectStatus, Outcome,
    Page, Position, RevisionOrder, SqliteStore, Store, StoreError, Summarize, Txn, Watch,
};
use crate::apiserver::Access;
use crate::deadline::Deadline;

/// Where a store is: enough to open it again, without secrets, so that a node's record can include it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum StoreConfig {
    /// SQLite in a folder of this node.
    #[serde(rename_all = "camelCase")]
    Embedded {
        /// The folder (`dataDir`).
        data_dir: PathBuf,
    },
    /// etcd, shared by the cluster.
    Etcd(EtcdConfig),
    /// Custom resources of the Kubernetes API, shared by the cluster.
    Kubernetes(KubernetesConfig),
}

/// How to reach etcd (`etcdConfig`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EtcdConfig {
    /// The members' URLs, at least one (`etcdURL`).
    pub urls: Vec<String>,
    /// The client's certificate (`etcdCertFile`).
    pub cert_file: Option<PathBuf>,
    /// Its private key (`etcdKeyFile`).
    pub key_file: Option<PathBuf>,
    /// The CA certificates for the members (`etcdTrustedCAFile`).
    pub ca_file: Option<PathBuf>,
    /// The user (`username`).
    pub username: Option<String>,
    /// The file that holds the user's password (`passwordFile`).
    pub password_file: Option<PathBuf>,
    /// The prefix of every key, with a trailing slash (`prefix`).
    pub prefix: String,
}

/// What a search for a free key reads in case its first choice is taken, which usually saves the next transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lookahead {
    /// The keys of which a transaction writes the first free one.
    pub alternatives: usize,
    /// The other keys, drawn at random, that it reads if all of these are taken.
    pub draws: usize,
    /// How many more it then reads by themselves, before it counts the keys of stretches.
    pub draws_again: usize,
    /// The length of the stretch of keys that it reads besides.
    pub stretch: u32,
}

impl Lookahead {
    /// The part of one of several searches that share a transaction. Each has two alternatives at least.
    pub(crate) fn shared_by(self, searches: usize) -> Self {
        let share = |all: usize| all / searches.max(1);
        Self {
            alternatives: share(self.alternatives).max(2),
            draws: share(self.draws),
            draws_again: share(self.draws_again),
            ..self
        }
    }
}

impl StoreConfig {
    /// The configured store. It is not opened or connected before the first request.
    ///
    /// `node_folder` keeps notes for later calls (`stateDir`), such as which member of etcd replied last.
    pub fn open(&self, node_folder: Option<&Path>) -> Backend {
        match self {
            Self::Embedded { data_dir } => Backend::Sqlite(SqliteStore::new(data_dir)),
            Self::Etcd(config) => Backend::Etcd(Box::new(EtcdStore::new(config.clone(), node_folder))),
            Self::Kubernetes(config) => Backend::Kubernetes(Box::new(KubernetesStore::new(config.clone()))),
        }
    }

    /// Reading 160 more keys would take as long as the extra request that it saves for one ADD in ten.
    pub(crate) const EMBEDDED_LOOKAHEAD: Lookahead =
        Lookahead { alternatives: 2, draws: 0, draws_again: 0, stretch: 96 };

    /// Reading these takes a fraction of the time of another request.
    pub(crate) const ETCD_LOOKAHEAD: Lookahead = Lookahead { alternatives: 2, draws: 0, draws_again: 0, stretch: 256 };

    /// The server goes through all leases for any list or count, which takes seconds if they are many, but finds single
    /// ones by their names. It reads these side by side. With eleven of twelve addresses held, one ADD in 25 draws again,
    /// and one in 100,000 counts.
    pub(crate) const KUBERNETES_LOOKAHEAD: Lookahead =
        Lookahead { alternatives: 12, draws: 24, draws_again: 96, stretch: 0 };

    /// What a search for a free key reads ahead.
    pub fn lookahead(&self) -> Lookahead {
        match self {
            Self::Embedded { .. } => Self::EMBEDDED_LOOKAHEAD,
            Self::Etcd(_) => Self::ETCD_LOOKAHEAD,
            Self::Kubernetes(_) => Self::KUBERNETES_LOOKAHEAD,
        }
    }

    /// Pages are short, because a reader blocks writers.
    const EMBEDDED_PAGE: u32 = 500;

    /// etcd counts all keys behind a page before it replies, so more pages take more time for the same span. 5,000
    /// entries have about 5 MB, far below the limit of a response.
    const ETCD_PAGE: u32 = 5_000;

    /// As kubectl has it.
    const KUBERNETES_PAGE: u32 = 500;

    /// The page size for reads of long spans, in entries.
    pub fn page_size(&self) -> u32 {
        match self {
            Self::Embedded { .. } => Self::EMBEDDED_PAGE,
            Self::Etcd(_) => Self::ETCD_PAGE,
            Self::Kubernetes(_) => Self::KUBERNETES_PAGE,
        }
    }

    /// Whether each release also removes some expired cooldowns. If not, only sweeps do.
    pub fn clears_cooldowns_on_release(&self) -> bool {
        match self {
            Self::Embedded { .. } | Self::Etcd(_) => true,
            // Each of them has two keys, and each key costs two writes. Releases at the same time would wait for each
            // other's locks on the oldest ones.
            Self::Kubernetes(_) => false,
        }
    }

    /// Identifies the store. Configurations with the same place name the same store, even with other credentials.
    pub fn place(&self) -> String {
        match self {
            Self::Embedded { data_dir } => format!("embedded {}", data_dir.display()),
            Self::Etcd(config) => {
                let mut urls: Vec<&str> = config.urls.iter().map(String::as_str).collect();
                urls.sort_unstable();
                format!("etcd {} {}", urls.join(","), config.prefix)
            }
            // A node belongs to one cluster, whichever of its API servers it asks.
            Self::Kubernetes(config) => format!("kubernetes {}", config.namespace),
        }
    }

    /// Whether both name the same store. Configurations of etcd with one member in common do: its members change.
    pub fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Etcd(one), Self::Etcd(other)) => {
                one.prefix == other.prefix && one.urls.iter().any(|url| other.urls.contains(url))
            }
            (one, other) => one.place() == other.place(),
        }
    }

    /// What the numbers of its revisions mean.
    pub fn revision_order(&self) -> RevisionOrder {
        match self {
            Self::Embedded { .. } | Self::Etcd(_) => RevisionOrder::Counted,
            Self::Kubernetes(_) => RevisionOrder::Unordered,
        }
    }

    /// Reaches a store in the Kubernetes API by these credentials alone. Any other store stays as it is.
    pub fn reach_by(&mut self, access: Access) {
        if let Self::Kubernetes(config) = self {
            config.access = vec![access];
        }
    }

    /// Whether its requests need a tokio runtime with timers and I/O.
    pub fn needs_tokio(&self) -> bool {
        matches!(self, Self::Etcd(_) | Self::Kubernetes(_))
    }
}

impl fmt::Display for StoreConfig {
    /// As in error texts: `SQLite in /var/lib/kube-ipam/store`, `etcd at https://a:2379, https://b:2379`, `the Kubernetes
    /// API, namespace kube-ipam`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Embedded { data_dir } => write!(f, "SQLite in {}", data_dir.display()),
            Self::Etcd(config) => write!(f, "etcd at {}", config.urls.join(", ")),
            Self::Kubernetes(config) => write!(f, "the Kubernetes API, namespace {}", config.namespace),
        }
    }
}

/// The backends, behind one type.
#[derive(Debug)]
pub enum Backend {
    /// In this process only.
    Memory(MemoryStore),
    /// In a folder of this node.
    Sqlite(SqliteStore),
    /// In etcd.
    Etcd(Box<EtcdStore>),
    /// In the Kubernetes API.
    Kubernetes(Box<KubernetesStore>),
}

impl Backend {
    /// Shows summaries beside the values that are written from now on, if others can look into the store.
    #[must_use]
    pub fn showing(self, summarize: Summarize) -> Self {
        match self {
            Self::Kubernetes(store) => Self::Kubernetes(Box::new(store.showing(summarize))),
            other => other,
        }
    }

    /// The status of each object of a span. Only in the Kubernetes API do entries have objects.
    pub async fn statuses(&self, span: &KeySpan, deadline: Deadline) -> Result<Vec<ObjectStatus>, StoreError> {
        match self {
            Self::Kubernetes(store) => store.statuses(span, deadline).await,
            Self::Memory(_) | Self::Sqlite(_) | Self::Etcd(_) => Ok(Vec::new()),
        }
    }

    /// Writes fields of an object's status. `false` if there is no such object, or if it has been changed since it was
    /// read.
    pub async fn set_status(&self, of: &ObjectStatus, status: &Json, deadline: Deadline) -> Result<bool, StoreError> {
        match self {
            Self::Kubernetes(store) => store.set_status(of, status, deadline).await,
            Self::Memory(_) | Self::Sqlite(_) | Self::Etcd(_) => Ok(false),
        }
    }

    /// Opens the file of an embedded store in the background. Sends no request.
    pub fn prepare(&self) {
        if let Self::Sqlite(store) = self {
            store.prepare();
        }
    }
}

impl Store for Backend {
    async fn commit(&self, txn: &Txn, deadline: Deadline) -> Result<Outcome, StoreError> {
        match self {
            Self::Memory(store) => store.commit(txn, deadline).await,
            Self::Sqlite(store) => store.commit(txn, deadline).await,
            Self::Etcd(store) => store.commit(txn, deadline).await,
            Self::Kubernetes(store) => store.commit(txn, deadline).await,
        }
    }

    async fn collect_remains(&self, deadline: Deadline) -> Result<usize, StoreError> {
        match self {
            Self::Memory(store) => store.collect_remains(deadline).await,
            Self::Sqlite(store) => store.collect_remains(deadline).await,
            Self::Etcd(store) => store.collect_remains(deadline).await,
            Self::Kubernetes(store) => store.collect_remains(deadline).await,
        }
    }

    async fn page(&self, span: &KeySpan, from: &Cursor, limit: u32, deadline: Deadline) -> Result<Page, StoreError> {
        match self {
            Self::Memory(store) => store.page(span, from, limit, deadline).await,
            Self::Sqlite(store) => store.page(span, from, limit, deadline).await,
            Self::Etcd(store) => store.page(span, from, limit, deadline).await,
            Self::Kubernetes(store) => store.page(span, from, limit, deadline).await,
        }
    }

    async fn history(&self, key: &Key, limit: usize, deadline: Deadline) -> Result<KeyHistory, StoreError> {
        match self {
            Self::Memory(store) => store.history(key, limit, deadline).await,
            Self::Sqlite(store) => store.history(key, limit, deadline).await,
            Self::Etcd(store) => store.history(key, limit, deadline).await,
            Self::Kubernetes(store) => store.history(key, limit, deadline).await,
        }
    }

    fn changes(&self, span: &KeySpan, after: Option<Position>) -> Watch {
        match self {
            Self::Memory(store) => store.changes(span, after),
            Self::Sqlite(store) => store.changes(span, after),
            Self::Etcd(store) => store.changes(span, after),
            Self::Kubernetes(store) => store.changes(span, after),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_config_says_in_an_error_where_its_store_is() {
        let embedded = StoreConfig::Embedded { data_dir: PathBuf::from("/var/lib/kube-ipam/store") };
        assert_eq!(embedded.to_string(), "SQLite in /var/lib/kube-ipam/store");
        assert!(!embedded.needs_tokio());
        let etcd = StoreConfig::Etcd(EtcdConfig {
            urls: vec!["https://a:2379".to_owned(), "https://b:2379".to_owned()],
            cert_file: None,
            key_file: None,
            ca_file: None,
            username: None,
            password_file: None,
            prefix: "/kube-ipam/v1/".to_owned(),
        });
        assert_eq!(etcd.to_string(), "etcd at https://a:2379, https://b:2379");
        assert!(etcd.needs_tokio());
    }
}
