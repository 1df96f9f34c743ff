//! What the checks share: the settings of this machine, its node, its store and its API server, each opened once.

use std::time::Duration;

use super::{DoctorOptions, Work};
use crate::cluster::{Access, ApiServer};
use crate::deadline::Deadline;
use crate::error::Error;
use crate::ops::cluster::kubeconfig;
use crate::ops::{Node, Session};

/// How long to wait for one response of the store or the API server. Somebody is waiting for the answer, and a store
/// that takes longer is a finding.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(5);

/// What a check can use.
pub(super) struct Context<'a> {
    /// The options of this run.
    pub(super) options: &'a DoctorOptions,
    /// This node: its settings and records, and the boot.
    pub(super) node: Node<'a>,
    /// The check that runs.
    pub(super) check: &'static str,
    api: Option<ApiServer>,
    at_work: &'a dyn Fn(Work),
}

impl<'a> Context<'a> {
    /// Opens nothing.
    pub(super) fn new(options: &'a DoctorOptions, at_work: &'a dyn Fn(Work)) -> Self {
        let node = Node::new(&options.settings, Deadline::after(RESPONSE_TIMEOUT));
        Self { options, node, check: "", api: None, at_work }
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

    /// Reports how far the running check is.
    pub(super) fn at_work(&self, done: u64, total: Option<u64>) {
        (self.at_work)(Work { check: self.check, done, total });
    }
}
