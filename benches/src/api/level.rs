//! An API server at one fill level, with a pod for each container.

use std::path::PathBuf;
use std::sync::Arc;

use kube_ipam::store::{EtcdConfig, KubernetesConfig, StoreConfig};
use kube_ipam_e2e::api_server::{self, ApiServer};
use kube_ipam_e2e::etcd::Cluster;
use kube_ipam_e2e::{Result, fill};

use super::whereabouts;
use crate::contender::{Contender, Held, Programs};
use crate::medium::{Databases, Medium};
use crate::pods::Pods;

/// A running API server, whose etcd has its data on the medium.
pub(super) struct Level {
    held: Held,
    pub(super) server: ApiServer,
    store: KubernetesConfig,
    kubeconfig: PathBuf,
    pods: Arc<Pods>,
}

impl Level {
    /// Starts it, and creates a pod for each container.
    pub(super) fn start(medium: &Medium, held: Held, containers: &[String]) -> Result<Self> {
        eprintln!("an API server, /16 {} …", held.label());
        let server = ApiServer::measured(&medium.path(&format!("api-etcd-{}", held.count())))?;
        let tenant = server.tenant()?;
        api_server::store::install(&tenant)?;
        let (store, kubeconfig) = (tenant.store(), tenant.owner().kubeconfig.clone());
        let pods = Arc::new(Pods::create(&tenant, containers)?);
        Ok(Self { held, server, store, kubeconfig, pods })
    }

    /// kube-ipam on each store, and whereabouts if it is not left out. Each store has this level's addresses.
    pub(super) fn contenders(
        &self,
        medium: &Medium,
        programs: &Programs,
        databases: &Databases<'_>,
        etcd: &Cluster,
    ) -> Result<Vec<Contender>> {
        let count = self.held.count();
        let folder = |name: &str| medium.path(&format!("api-{name}-{count}"));
        let data_dir = folder("embedded").join("store");
        databases.copy(self.held, &data_dir)?;
        let etcd = EtcdConfig { prefix: format!("/kube-ipam/api/{count}/"), ..etcd.config() };
        let shared = [StoreConfig::Etcd(etcd), StoreConfig::Kubernetes(self.store.clone())];
        shared.iter().try_for_each(|store| fill::store(store, fill::addresses(count)))?;
        let [etcd, kubernetes] = shared;
        let mut contenders = Vec::new();
        for (name, store) in
            [("embedded", StoreConfig::Embedded { data_dir }), ("etcd", etcd), ("kubernetes", kubernetes)]
        {
            let kubeconfig = Some(self.kubeconfig.as_path());
            contenders.push(Contender::kube_ipam(programs, &folder(name), self.held, &store, kubeconfig)?);
        }
        if let Some(program) = &programs.whereabouts {
            let held = if self.held == Held::Nothing { Held::Nothing } else { Held::OneObject };
            whereabouts::install(&self.server.tenant()?, held)?;
            contenders.push(Contender::whereabouts(program, &folder("whereabouts"), held, &self.kubeconfig)?);
        }
        Ok(contenders.into_iter().map(|contender| contender.for_pods(&self.pods)).collect())
    }

    /// The CPU time that the API server has taken so far, in seconds.
    pub(super) fn cpu_seconds(&self) -> Result<f64> {
        let samples = self.server.samples("process_cpu_seconds_total")?;
        Ok(samples.first().ok_or("the API server does not report its CPU time")?.value)
    }
}
