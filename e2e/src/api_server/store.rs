//! The resources of the Kubernetes store in a shared server, and a tenant's store in them.

use std::sync::OnceLock;
use std::time::Duration;

use kube_ipam::apiserver::Access;
use kube_ipam::deadline::Deadline;
use kube_ipam::ops::Session;
use kube_ipam::store::{KubernetesConfig, StoreConfig};
use serde_json::{Value, json};

use super::{ApiServer, Tenant};
use crate::Result;
use crate::checkout;

/// The definitions, as users install them.
const RESOURCES: &str = "examples/install/resources.yaml";

/// The label of an object with a lock or without a value.
const OPEN: &str = "kube-ipam.cloudnativer.io/open";

/// How long a sweep may take to remove what dead processes have left.
const SWEEP: Duration = Duration::from_secs(60);

impl ApiServer {
    /// A tenant of the shared server with the resources of the Kubernetes store, those of the conformance suite among
    /// them; `None`, with the test reported as skipped, if no server is installed.
    ///
    /// # Panics
    /// If the server does not start, or refuses the resources.
    pub fn with_store(test: &str) -> Option<Tenant<'static>> {
        static INSTALLED: OnceLock<()> = OnceLock::new();
        let server = Self::shared(test)?;
        let tenant = server.tenant().unwrap_or_else(|error| panic!("a namespace: {error}"));
        INSTALLED.get_or_init(|| install(&tenant).unwrap_or_else(|error| panic!("{RESOURCES}: {error}")));
        Some(tenant)
    }

    /// The objects of a store that unfinished transactions have left, as resource and name.
    ///
    /// # Errors
    /// If the server does not list them.
    pub fn open_objects(&self, store: &KubernetesConfig) -> Result<Vec<String>> {
        let (group, resources, _) = KubernetesConfig::rule();
        let mut found = Vec::new();
        for resource in resources {
            let path = format!("/apis/{group}/v1alpha1/namespaces/{}/{resource}?labelSelector={OPEN}", store.namespace);
            let list = self.admin().get(&path)?;
            let names = list["items"].as_array().into_iter().flatten().map(|item| &item["metadata"]["name"]);
            found.extend(names.map(|name| format!("{resource} {name}")));
        }
        Ok(found)
    }

    /// Does what a sweep does: removes what dead processes have left. Then nothing of them is left, in any kind of store.
    ///
    /// # Panics
    /// If something is left, or the store fails.
    #[track_caller]
    pub fn sweep_leaves_nothing_open(store: StoreConfig) {
        let StoreConfig::Kubernetes(config) = store.clone() else { return };
        let server = Self::shared("sweep_leaves_nothing_open").unwrap_or_else(|| panic!("no API server"));
        let swept = Session::open(store, None).and_then(|it| it.collect_remains(Deadline::after(SWEEP)));
        swept.unwrap_or_else(|error| panic!("remains can't be removed: {error}"));
        let open = server.open_objects(&config).unwrap_or_else(|error| panic!("the open objects: {error}"));
        assert!(open.is_empty(), "left open: {open:?}");
    }
}

impl Tenant<'_> {
    /// The store in this namespace, as the owner of the namespace reaches it.
    pub fn store(&self) -> KubernetesConfig {
        let access = vec![Access::Kubeconfig(self.owner().kubeconfig.clone())];
        KubernetesConfig { access, namespace: self.namespace().to_owned() }
    }
}

/// Installs the resources with a tenant's rights.
///
/// # Errors
/// If the server refuses them.
pub fn install(tenant: &Tenant<'_>) -> Result<()> {
    let file = checkout::root().join(RESOURCES);
    let applied = tenant.apply_file(&file)?;
    // The conformance suite's keys have a resource of their own, which no cluster needs.
    let mut own = applied.last().cloned().ok_or("no definition is in the file")?;
    let spec = own["spec"].take();
    let mut spec = without_managed_fields(spec);
    spec["names"] = json!({
        "kind": "ConformanceEntry", "listKind": "ConformanceEntryList",
        "plural": "conformanceentries", "singular": "conformanceentry",
    });
    let group = spec["group"].as_str().unwrap_or_default().to_owned();
    tenant.apply(&json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": { "name": format!("conformanceentries.{group}") },
        "spec": spec,
    }))?;
    Ok(())
}

/// The `spec` of a definition as one writes it: without what the server has added.
fn without_managed_fields(mut spec: Value) -> Value {
    spec["conversion"].take();
    let fields = spec.as_object_mut();
    fields.into_iter().for_each(|fields| fields.retain(|_, value| !value.is_null()));
    spec
}
