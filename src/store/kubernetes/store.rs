//! The store in custom resources of the Kubernetes API.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use tokio::sync::OnceCell;

use super::client::{Client, STORE_VERBS, without_summary};
use super::driver;
use super::pages;
use super::remains;
use super::resource::{GROUP, Place, RESOURCES};
use super::status::{self, ObjectStatus};
use super::watch::KubernetesWatch;
use crate::apiserver::{Access, Endpoint};
use crate::cause::Cause;
use crate::deadline::Deadline;
use crate::store::watch::Source;
use crate::store::{Cursor, Key, KeySpan, Outcome, Page, Position, Store, StoreError, Summarize, Txn, Watch};

/// How to reach the resources (`kubernetesConfig`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KubernetesConfig {
    /// Where the credentials may be. The first one that exists is used.
    pub access: Vec<Access>,
    /// The namespace of the resources (`namespace`).
    pub namespace: String,
}

/// A store in custom resources, which the whole cluster shares. Needs a tokio runtime.
pub struct KubernetesStore {
    config: KubernetesConfig,
    client: OnceCell<Client>,
    summarize: Summarize,
}

impl KubernetesStore {
    /// Reads the credentials and connects with the first request.
    pub fn new(config: KubernetesConfig) -> Self {
        Self { config, client: OnceCell::new(), summarize: without_summary }
    }

    /// The same over connections that exist already. All requests need their runtime.
    pub fn with_endpoint(config: KubernetesConfig, endpoint: Endpoint) -> Self {
        let client = OnceCell::new_with(Some(Client::new(endpoint, config.namespace.clone())));
        Self { config, client, summarize: without_summary }
    }

    /// Shows summaries beside the values that it writes.
    #[must_use]
    pub fn showing(mut self, summarize: Summarize) -> Self {
        self.summarize = summarize;
        self.client = OnceCell::new_with(self.client.into_inner().map(|client| client.showing(summarize)));
        self
    }

    /// The status of each object of a span.
    pub async fn statuses(&self, span: &KeySpan, deadline: Deadline) -> Result<Vec<ObjectStatus>, StoreError> {
        status::read(self.client().await?, span, deadline).await
    }

    /// Writes fields of an object's status. `false` if the object has been changed or deleted since it was read.
    pub async fn set_status(&self, of: &ObjectStatus, status: &Json, deadline: Deadline) -> Result<bool, StoreError> {
        status::write(self.client().await?, of, status, deadline).await
    }

    async fn client(&self) -> Result<&Client, StoreError> {
        self.client.get_or_try_init(async || Ok(self.config.connect()?.showing(self.summarize))).await
    }
}

impl KubernetesConfig {
    /// Reads the credentials. The client connects with its first request.
    pub(super) fn connect(&self) -> Result<Client, StoreError> {
        let access = self.chosen();
        let access = access.ok_or_else(|| StoreError::Denied(Cause::new("no kubeconfig is configured")))?;
        let endpoint = access.read().and_then(|config| Endpoint::open(access, config));
        let endpoint = endpoint.map_err(|error| StoreError::Denied(Cause::new(error)))?;
        Ok(Client::new(endpoint, self.namespace.clone()))
    }

    /// The credentials that are used: the first ones that exist, or else the first ones.
    pub fn chosen(&self) -> Option<&Access> {
        let existing = self.access.iter().find(|access| access.path().exists());
        existing.or(self.access.first())
    }

    /// The resource of a key with its group, and the name of its object, as kubectl takes them. `None` if no resource
    /// holds such keys.
    pub fn place_of(&self, key: &Key) -> Option<(String, String)> {
        let Place { resource, name } = Place::of(key)?;
        Some((format!("{}.{GROUP}", resource.plural), name))
    }

    /// The RBAC rule that a node needs for it, in the namespace: groups, resources and verbs.
    pub fn rule() -> (&'static str, Vec<&'static str>, [&'static str; 5]) {
        let resources = RESOURCES.iter().map(|resource| resource.plural).collect();
        (GROUP, resources, STORE_VERBS)
    }
}

impl fmt::Debug for KubernetesStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KubernetesStore").field("config", &self.config).finish_non_exhaustive()
    }
}

impl Store for KubernetesStore {
    async fn commit(&self, txn: &Txn, deadline: Deadline) -> Result<Outcome, StoreError> {
        driver::run(self.client().await?, Arc::new(txn.clone()), deadline).await
    }

    async fn collect_remains(&self, deadline: Deadline) -> Result<usize, StoreError> {
        remains::collect(self.client().await?, deadline).await
    }

    async fn page(&self, span: &KeySpan, from: &Cursor, limit: u32, deadline: Deadline) -> Result<Page, StoreError> {
        pages::read(self.client().await?, span, from, limit, deadline).await
    }

    fn changes(&self, span: &KeySpan, after: Option<Position>) -> Watch {
        let watch = KubernetesWatch::new(self.config.clone(), span.clone(), after);
        Watch::new(Source::Kubernetes(Box::new(watch)))
    }
}
