//! The tour without Multus: containerd attaches three networks to each pod.

use std::net::IpAddr;

use kube_ipam_e2e::Result;
use kube_ipam_e2e::kubernetes::{Cluster, on, pod};
use serde_json::json;

use crate::{table, tour};

const NAMESPACE: &str = "layers";

/// Shows as much of `examples/layered` as is possible without Multus: each pod is on both layers.
pub(crate) fn without_multus(cluster: &Cluster) -> Result<()> {
    println!(
        "Multus is not on PATH and not set in MULTUS. So each pod gets the same three interfaces, from containerd,"
    );
    println!("and examples/layered, which needs Multus, is skipped.");
    tour::install(cluster)?;

    table::heading("Pods with an interface in the web and in the database layer");
    cluster.create_namespace(NAMESPACE)?;
    let database = |name: &str, node: &str, ip: &str| {
        let mut pod = on(pod(name), node);
        pod["metadata"]["annotations"]["kube-ipam.eth2.ip"] = json!(ip);
        pod
    };
    let pods = [
        on(pod("web-1"), "n1"),
        on(pod("web-2"), "n2"),
        database("database-0", "n1", "10.188.0.218"),
        database("database-1", "n2", "10.188.0.219"),
    ];
    cluster.apply(NAMESPACE, &pods)?;
    cluster.wait_ready(NAMESPACE, "--all")?;
    table::pods(cluster)?;

    table::heading("What each pod requested, and has");
    table::interfaces(cluster, &[NAMESPACE], ["cluster", "web", "db"])?;

    table::heading("Between nodes: on eth0, both nodes are routers, so the ttl is 62");
    let running = cluster.running(NAMESPACE)?;
    let [first, second, web, other_web] = running.as_slice() else { return Err("expected four pods".into()) };
    table::ping(cluster, web, other_web, "eth0", true)?;
    table::ping(cluster, web, other_web, "eth1", true)?;
    table::ping(cluster, first, second, "eth2", true)?;

    table::heading("Another pod requests the address of database-0: it waits, and its event names the holder");
    let held: IpAddr = first.address("eth2")?;
    cluster.apply(NAMESPACE, &[database("copy", "n2", &held.to_string())])?;
    table::wrapped(&cluster.wait_event(NAMESPACE, "copy", "is held by")?);
    println!("   (kubectl -n {NAMESPACE} describe pod copy)");

    tour::holders(cluster)
}
