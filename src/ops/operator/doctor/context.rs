//! What the checks share: the settings of this machine, its node, its store and its API server, each opened once.

use std::time::Duration;

use super::super::Work;
use super::cached::Cached;
use super::{DoctorOptions, Outcome, Scope};
use crate::cluster::{Access, ApiServer};
use crate::config::ConfigWarning;
use crate::deadline::Deadline;
use crate::error::Error;
use crate::install::PROGRAM;
use crate::ops::cluster::kubeconfig;
use crate::ops::{Node, Session};
use crate::store::StoreConfig;

/// How long to wait for one response of the store or the API server. Somebody is waiting for the answer, and a store
/// that takes longer is a finding.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(5);

/// Whether the store can be read.
pub(super) enum ReadableStore<'a> {
    /// Its configuration is wrong, or it does not exist yet.
    Unknown,
    /// It does not answer.
    Silent(&'a StoreConfig),
    /// It answers.
    Answers(&'a StoreConfig),
}

impl<'a> ReadableStore<'a> {
    /// The store, if it answers. If it does not, its checks are skipped.
    pub(super) fn or_skip(self, report: &mut dyn FnMut(Outcome)) -> Option<&'a StoreConfig> {
        match self {
            Self::Answers(store) => return Some(store),
            Self::Silent(store) => report(Outcome::skipped(store.to_string(), format!("{store} does not answer"))),
            Self::Unknown => {}
        }
        None
    }
}

/// What a check can use.
pub(super) struct Context<'a> {
    /// The options of this run.
    pub(super) options: &'a DoctorOptions,
    /// Whether this machine is a node of kube-ipam, and not that of somebody who looks at a cluster from elsewhere.
    pub(super) is_node: bool,
    /// This node: its settings and records, and the boot.
    pub(super) node: Node<'a>,
    /// The check that runs.
    pub(super) check: &'static str,
    /// What one check has read for others.
    pub(super) cached: Cached,
    api: Option<ApiServer>,
    at_work: &'a dyn Fn(Work),
}

impl<'a> Context<'a> {
    /// Opens nothing.
    pub(super) fn new(options: &'a DoctorOptions, at_work: &'a dyn Fn(Work)) -> Self {
        let node = Node::new(&options.settings, Deadline::after(RESPONSE_TIMEOUT));
        let DoctorOptions { defaults, program_folder, .. } = options;
        // kube-ipam was installed on it, or was called on it.
        let is_node = defaults.exists() || program_folder.join(PROGRAM).exists() || node.records.folder().exists();
        Self { options, is_node, node, check: "", cached: Cached::default(), api: None, at_work }
    }

    /// The deadline of one request that is sent now.
    pub(super) fn deadline(&self) -> Deadline {
        Deadline::after(RESPONSE_TIMEOUT)
    }

    /// The session of the configured store. Fails if its configuration has a mistake, which the check of the node
    /// defaults reports.
    pub(super) fn session(&mut self) -> Result<&Session, Error> {
        let settings = self.node.settings;
        self.node.open(settings.store.as_ref().map_err(|mistakes| Error::Config(mistakes.clone()))?)
    }

    /// The API server of the first kubeconfig that exists; `None` without one. Each request has its own timeout.
    pub(super) fn api(&mut self) -> Result<Option<&ApiServer>, Error> {
        if self.api.is_none() {
            let Some(kubeconfig) = kubeconfig(self.node.settings) else { return Ok(None) };
            self.api = Some(ApiServer::open_with_timeout(&Access::Kubeconfig(kubeconfig), RESPONSE_TIMEOUT)?);
        }
        Ok(self.api.as_ref())
    }

    /// Whether the check of etcd's TLS reports this warning, because it is about a member of the store of this run.
    pub(super) fn is_of_transport(&self, warning: &ConfigWarning) -> bool {
        let ConfigWarning::PlainHttp { url, .. } = warning else { return false };
        let is_member = |store: &StoreConfig| matches!(store, StoreConfig::Etcd(etcd) if etcd.urls.contains(url));
        self.options.scope == Scope::Cluster && self.store().is_some_and(is_member)
    }

    /// The configured store; `None` if its configuration is wrong.
    pub(super) fn store(&self) -> Option<&'a StoreConfig> {
        self.node.settings.store.as_ref().ok()
    }

    /// Whether the store can be read. Its own check reports why not; every other one would wait in vain.
    pub(super) fn readable_store(&mut self) -> ReadableStore<'a> {
        let Some(store) = self.store() else { return ReadableStore::Unknown };
        // Opening an embedded store would create it.
        if matches!(store, StoreConfig::Embedded { data_dir } if !data_dir.is_dir()) {
            return ReadableStore::Unknown;
        }
        let answers = match self.cached.store_answers {
            Some(answers) => answers,
            None => {
                let deadline = self.deadline();
                self.session().and_then(|session| session.ping(deadline)).is_ok()
            }
        };
        self.cached.store_answers = Some(answers);
        if answers { ReadableStore::Answers(store) } else { ReadableStore::Silent(store) }
    }

    /// Reports how far the running check is, from where the context itself can't be used.
    pub(super) fn progress(&self) -> impl Fn(u64) + use<'a> {
        let (check, at_work) = (self.check, self.at_work);
        move |done| at_work(Work { what: check, done, total: None })
    }

    /// Reports how far the running check is.
    pub(super) fn at_work(&self, done: u64, total: Option<u64>) {
        (self.at_work)(Work { what: self.check, done, total });
    }
}
