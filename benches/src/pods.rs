//! Pods for the containers of calls, in a namespace of an API server.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use kube_ipam_e2e::Result;
use kube_ipam_e2e::api_server::Tenant;
use serde_json::json;

/// How many pods are created side by side.
const AT_ONCE: usize = 4;

/// A namespace's pods, by their containers.
pub(crate) struct Pods {
    namespace: String,
    by_container: BTreeMap<String, Pod>,
}

struct Pod {
    name: String,
    uid: String,
}

impl Pods {
    /// Creates a pod for each container. They have annotations of others, as most pods have.
    pub(crate) fn create(tenant: &Tenant<'_>, containers: &[String]) -> Result<Self> {
        let next = AtomicUsize::new(0);
        let create = || -> Result<Vec<(String, Pod)>> {
            let mut created = Vec::new();
            loop {
                let i = next.fetch_add(1, Ordering::Relaxed);
                let Some(container) = containers.get(i) else { return Ok(created) };
                let name = format!("web-{i}");
                let pod = tenant.pod(&name, &json!({ "prometheus.io/scrape": "true" }), "node-1")?;
                let uid = pod["metadata"]["uid"].as_str().ok_or("a pod without a UID")?.to_owned();
                created.push((container.clone(), Pod { name, uid }));
            }
        };
        let created = thread::scope(|scope| {
            let creators: Vec<_> = (0..AT_ONCE).map(|_| scope.spawn(create)).collect();
            creators
                .into_iter()
                .map(|creator| creator.join().map_err(|_| "a thread that creates pods panicked")?)
                .collect::<Result<Vec<_>>>()
        })?;
        Ok(Self { namespace: tenant.namespace().to_owned(), by_container: created.into_iter().flatten().collect() })
    }

    /// The arguments of a runtime for this container; `None` if no pod has it.
    pub(crate) fn cni_args(&self, container: &str) -> Option<String> {
        let Pod { name, uid } = self.by_container.get(container)?;
        let namespace = &self.namespace;
        Some(format!(
            "IgnoreUnknown=1;K8S_POD_NAMESPACE={namespace};K8S_POD_NAME={name};\
             K8S_POD_INFRA_CONTAINER_ID={container};K8S_POD_UID={uid}"
        ))
    }
}
