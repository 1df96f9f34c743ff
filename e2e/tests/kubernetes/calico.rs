//! Calico's CNI plugin as the cluster network, in both ways of `examples/calico-primary`.

use std::net::IpAddr;

use kube_ipam_e2e::Result;
use kube_ipam_e2e::kubernetes::{Cluster, RunningPod, pod};

use crate::shared::{all_distinct, held_is_what_pods_have, nothing_held};
use crate::workloads::rolled_out;

/// Asserts that each pod answers its own node on eth0, as Calico has it: no route leads to the other one here.
fn answer_their_nodes(cluster: &Cluster, pods: &[RunningPod]) -> Result<()> {
    for pod in pods {
        let ping = format!("ping -n -q -c 1 -w 5 {}", pod.address("eth0")?);
        cluster.node(&pod.node)?.machine().run(&ping)?;
    }
    Ok(())
}

pub(crate) fn beside_its_own_ipam(cluster: &Cluster) -> Result<()> {
    let namespace = "calico-net1";
    cluster.apply_example("calico-primary/net1")?;
    for deployment in ["fixed", "any"] {
        cluster.wait(namespace, "condition=Available", &format!("deployment {deployment}"))?;
    }
    let pods = cluster.running(namespace)?;
    all_distinct(&pods, 3 * 2)?;
    let fixed = pods.iter().find(|pod| pod.name.starts_with("fixed-")).ok_or("no pod")?;
    assert_eq!(fixed.address("net1")?, "10.54.0.10".parse::<IpAddr>()?);
    for pod in &pods {
        assert!(pod.address("eth0")?.to_string().starts_with("10.245."), "{pod:?}");
        for other in pods.iter().filter(|other| other.name != pod.name) {
            cluster.ping(pod, other.address("net1")?)?;
        }
    }
    answer_their_nodes(cluster, &pods)?;
    held_is_what_pods_have(cluster, namespace, &["net1"])?;
    cluster.delete_example("calico-primary/net1")?;
    nothing_held(cluster, namespace)
}

pub(crate) fn with_kube_ipam(cluster: &Cluster) -> Result<()> {
    let (namespace, deployment) = ("calico-eth0", "deployment/fixed");
    cluster.apply_example("calico-primary/eth0")?;
    cluster.wait(namespace, "condition=Available", deployment)?;
    let fixed: IpAddr = "10.70.0.10".parse()?;
    let check = |pods: &[RunningPod]| -> Result<()> {
        let addresses = pods.iter().map(|pod| pod.address("eth0")).collect::<Result<Vec<_>>>()?;
        assert_eq!(addresses, [fixed]);
        answer_their_nodes(cluster, pods)?;
        held_is_what_pods_have(cluster, namespace, &["eth0"])
    };
    let first = rolled_out(cluster, namespace, deployment)?;
    check(&first)?;
    cluster.delete_pods(namespace, "--all")?;
    let second = rolled_out(cluster, namespace, deployment)?;
    check(&second)?;
    assert_ne!(first[0].name, second[0].name);

    // Others get any address of the network.
    cluster.apply(namespace, &["a", "b"].map(pod))?;
    cluster.wait_ready(namespace, "a b")?;
    let pods = cluster.running(namespace)?;
    all_distinct(&pods, 3)?;
    let random: IpAddr = "10.70.1.0".parse()?;
    for pod in pods.iter().filter(|pod| ["a", "b"].contains(&&*pod.name)) {
        assert!(pod.address("eth0")? >= random, "{pod:?}");
    }
    held_is_what_pods_have(cluster, namespace, &["eth0"])?;
    cluster.delete_example("calico-primary/eth0")?;
    nothing_held(cluster, namespace)
}
