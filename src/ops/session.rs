//! A store that is open for one call, and the loop that runs a decision on it.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;

use crate::cluster::ApiServer;
use crate::deadline::Deadline;
use crate::error::Error;
use crate::ipam::decide::{Decide, Step};
use crate::ipam::keys;
use crate::ipam::refusal::Refusal;
use crate::ipam::summary::summarize;
#[cfg(test)]
use crate::store::MemoryStore;
use crate::store::{
    Backend, Backoff, Cursor, Entry, Key, KeyHistory, KeySpan, KubernetesConfig, KubernetesStore, MAX_OPERATIONS,
    ObjectStatus, Op, OpResponse, Outcome, Overlay, Page, Store, StoreConfig, StoreError, Txn,
};

/// The first and the longest pause of a decision after a request without a response. Without pauses, a request that
/// fails at once would be repeated as fast as the machine can.
const PAUSES: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(1));

/// An open store, and the runtime that its requests need. Only etcd needs one.
pub struct Session {
    config: StoreConfig,
    store: OpenStore,
    runtime: Option<Arc<tokio::runtime::Runtime>>,
}

/// Where the transactions of a session run.
enum OpenStore {
    Direct(Backend),
    /// Writes stay in memory.
    Overlay(Overlay<Backend>),
}

impl Store for OpenStore {
    async fn commit(&self, txn: &Txn, deadline: Deadline) -> Result<Outcome, StoreError> {
        match self {
            Self::Direct(backend) => backend.commit(txn, deadline).await,
            Self::Overlay(overlay) => overlay.commit(txn, deadline).await,
        }
    }

    async fn page(&self, span: &KeySpan, from: &Cursor, limit: u32, deadline: Deadline) -> Result<Page, StoreError> {
        match self {
            Self::Direct(backend) => backend.page(span, from, limit, deadline).await,
            Self::Overlay(overlay) => overlay.page(span, from, limit, deadline).await,
        }
    }

    async fn history(&self, key: &Key, limit: usize, deadline: Deadline) -> Result<KeyHistory, StoreError> {
        match self {
            Self::Direct(backend) => backend.history(key, limit, deadline).await,
            Self::Overlay(overlay) => overlay.history(key, limit, deadline).await,
        }
    }
}

impl Session {
    /// Opens a store without sending a request. In `folder`, the store may cache what makes the next call faster.
    pub fn open(config: StoreConfig, folder: Option<&Path>) -> Result<Self, Error> {
        let runtime = config.needs_tokio().then(runtime).transpose().map_err(Error::Runtime)?.map(Arc::new);
        let backend = config.open(folder).showing(summarize);
        backend.prepare();
        Ok(Self { config, store: OpenStore::Direct(backend), runtime })
    }

    /// Opens a store in the Kubernetes API over the connections of this client, if that has its credentials.
    pub fn open_over(config: &KubernetesConfig, api: &ApiServer) -> Option<Self> {
        let (endpoint, runtime) = api.shared(config.chosen()?)?;
        let store = KubernetesStore::with_endpoint(config.clone(), endpoint).showing(summarize);
        let store = OpenStore::Direct(Backend::Kubernetes(Box::new(store)));
        Some(Self { config: StoreConfig::Kubernetes(config.clone()), store, runtime: Some(runtime) })
    }

    /// A store in memory, in the place of the one with this configuration.
    #[cfg(test)]
    pub(super) fn in_memory(config: StoreConfig, store: MemoryStore) -> Self {
        Self { config, store: OpenStore::Direct(Backend::Memory(store)), runtime: None }
    }

    /// A session of the same store that writes nothing to it. Decisions run as usual, and see what earlier ones of this
    /// session have written; with the session, all of that is gone.
    #[must_use]
    pub fn into_overlay(self) -> Self {
        let store = match self.store {
            OpenStore::Direct(backend) => OpenStore::Overlay(Overlay::new(backend)),
            overlay @ OpenStore::Overlay(_) => overlay,
        };
        Self { store, ..self }
    }

    /// The configuration that the session was opened with.
    pub fn config(&self) -> &StoreConfig {
        &self.config
    }

    /// Runs a decision until it is done, or until the store stops responding before the deadline. Never repeats a
    /// request without a response: the decision continues with another one. If the store responds to none, the error is
    /// the store's.
    pub fn decide<D: Decide>(&self, machine: &mut D, deadline: Deadline) -> Result<D::Decision, Error> {
        let mut step = machine.start(Timestamp::now());
        let mut open = false;
        let mut pauses = Backoff::new(PAUSES.0, PAUSES.1);
        loop {
            step = match step {
                Step::Commit(txn) => match self.wait(self.store.commit(&txn, deadline)) {
                    Ok(outcome) => machine.next(&outcome, Timestamp::now()),
                    Err(error) if error.is_ambiguous() => {
                        let pause = pauses.next();
                        if deadline.remaining() <= pause {
                            return Err(error);
                        }
                        open = true;
                        std::thread::sleep(pause);
                        machine.unanswered(Timestamp::now())
                    }
                    Err(error) => return Err(if open { error.with_ambiguity() } else { error }),
                },
                Step::Done(decision) => return Ok(decision),
                Step::Refused(refusal) => return Err(refusal.into()),
            };
        }
    }

    /// Runs one transaction.
    pub fn commit(&self, txn: &Txn, deadline: Deadline) -> Result<(), Error> {
        self.wait(self.store.commit(txn, deadline)).map(drop)
    }

    /// Reads one key, to check that the store responds. It reads the key that guards every ADD. Any key would do, but a
    /// span would not: etcd counts all of its keys, even if a request reads only a few.
    pub fn ping(&self, deadline: Deadline) -> Result<(), Error> {
        self.get(keys::recovery(), deadline).map(drop)
    }

    /// Reads one key.
    pub fn get(&self, key: Key, deadline: Deadline) -> Result<Option<Entry>, Error> {
        let responses = self.read(vec![Op::Get(key)], deadline)?;
        Ok(responses.into_iter().find_map(OpResponse::into_entry))
    }

    /// The earlier values of a key ([`Store::history`]).
    pub fn history(&self, key: &Key, limit: usize, deadline: Deadline) -> Result<KeyHistory, Error> {
        self.wait(self.store.history(key, limit, deadline))
    }

    fn read(&self, operations: Vec<Op>, deadline: Deadline) -> Result<Vec<OpResponse>, Error> {
        let txn = Txn::read(operations).map_err(|error| Error::from(Refusal::from(error)))?;
        Ok(self.wait(self.store.commit(&txn, deadline))?.branch.responses)
    }

    /// Removes what transactions of dead processes have left ([`Store::collect_remains`]). A session that writes nothing
    /// removes nothing.
    pub fn collect_remains(&self, deadline: Deadline) -> Result<usize, Error> {
        match &self.store {
            OpenStore::Direct(backend) => self.wait(backend.collect_remains(deadline)),
            OpenStore::Overlay(_) => Ok(0),
        }
    }

    /// The status of each object of a span, if entries of the store have objects.
    pub fn statuses(&self, span: &KeySpan, deadline: Deadline) -> Result<Vec<ObjectStatus>, Error> {
        match &self.store {
            OpenStore::Direct(backend) => self.wait(backend.statuses(span, deadline)),
            OpenStore::Overlay(_) => Ok(Vec::new()),
        }
    }

    /// Writes fields of an object's status. `false` if the object has been changed or deleted since it was read.
    pub fn set_status(&self, of: &ObjectStatus, status: &Value, deadline: Deadline) -> Result<bool, Error> {
        match &self.store {
            OpenStore::Direct(backend) => self.wait(backend.set_status(of, status, deadline)),
            OpenStore::Overlay(_) => Ok(false),
        }
    }

    /// Reads one page.
    pub fn page(&self, span: &KeySpan, from: &Cursor, limit: u32, deadline: Deadline) -> Result<Page, Error> {
        self.wait(self.store.page(span, from, limit, deadline))
    }

    /// Passes on every entry of a span, one page in memory at a time. `timeout` is the limit for each page.
    pub fn each<E: From<Error>>(
        &self,
        span: &KeySpan,
        timeout: Duration,
        each: impl FnMut(&Entry) -> Result<(), E>,
    ) -> Result<(), E> {
        self.each_page(span, || Deadline::after(timeout), each)
    }

    /// The same with one limit for all pages. What was passed on before an error stays valid.
    pub fn each_before<E: From<Error>>(
        &self,
        span: &KeySpan,
        deadline: Deadline,
        each: impl FnMut(&Entry) -> Result<(), E>,
    ) -> Result<(), E> {
        self.each_page(span, || deadline, each)
    }

    fn each_page<E: From<Error>>(
        &self,
        span: &KeySpan,
        deadline: impl Fn() -> Deadline,
        mut each: impl FnMut(&Entry) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut next = Some(Cursor::default());
        while let Some(from) = next {
            let page = self.page(span, &from, self.config.page_size(), deadline())?;
            page.entries.iter().try_for_each(&mut each)?;
            next = page.next;
        }
        Ok(())
    }

    /// Passes on those of these keys that exist, in their order. Each request reads as many keys as a transaction
    /// allows.
    pub fn each_of<E: From<Error>>(
        &self,
        keys: impl IntoIterator<Item = Key>,
        timeout: Duration,
        mut each: impl FnMut(&Entry) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut keys = keys.into_iter();
        loop {
            let gets: Vec<Op> = keys.by_ref().take(MAX_OPERATIONS).map(Op::Get).collect();
            if gets.is_empty() {
                return Ok(());
            }
            let responses = self.read(gets, Deadline::after(timeout))?;
            responses.into_iter().filter_map(OpResponse::into_entry).try_for_each(|entry| each(&entry))?;
        }
    }

    fn wait<T>(&self, answer: impl Future<Output = Result<T, StoreError>>) -> Result<T, Error> {
        let answer = match &self.runtime {
            Some(runtime) => runtime.block_on(answer),
            None => pollster::block_on(answer),
        };
        answer.map_err(|error| Error::store(&self.config, error))
    }
}

fn runtime() -> io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}
