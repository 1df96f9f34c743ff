//! Many pods at once.

use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, SystemTime};

use kube_ipam_e2e::Result;
use kube_ipam_e2e::kubernetes::{Cluster, eventually};
use serde_json::{Value, json};

use crate::shared::{Namespace, all_distinct, by_kube_ipam, held_is_what_pods_have, layered, nothing_held};
use crate::sweep;

const WAVES: usize = 5;
const OF_A_WAVE: usize = 40;

/// How many calls are killed at most. Each costs its pod a sandbox, which the kubelet recreates after a while.
const MOST_KILLS: usize = 80;

pub(crate) fn a_hundred(cluster: &Cluster, namespace: &Namespace) -> Result<()> {
    let pods: Vec<Value> = (0..100).map(|i| layered(cluster, &format!("pod-{i}"))).collect();
    cluster.apply(namespace, &pods)?;
    cluster.wait_ready(namespace, "--all")?;

    let pods = cluster.running(namespace)?;
    all_distinct(&pods, 100 * cluster.interfaces().len())?;
    for node in cluster.nodes() {
        assert!(pods.iter().any(|pod| pod.node == node.name), "no pod is on {}", node.name);
    }
    held_is_what_pods_have(cluster, namespace, by_kube_ipam(cluster))?;
    let holds = cluster.no_address_had_two_owners()?;
    assert!(holds.all >= 100 * by_kube_ipam(cluster).len(), "the logs tell of {holds:?} only");

    cluster.delete_pods(namespace, "--all")?;
    nothing_held(cluster, namespace)
}

/// Random numbers that are the same for one seed.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

/// Kills calls at random moments, until `end` is the end; says how many of each verb.
fn kill_at_random(cluster: &Cluster, mut random: Random, end: &Receiver<()>) -> Result<BTreeMap<String, usize>> {
    let mut killed: BTreeMap<String, usize> = BTreeMap::new();
    while killed.values().sum::<usize>() < MOST_KILLS {
        match end.recv_timeout(Duration::from_millis(random.below(800))) {
            Err(RecvTimeoutError::Timeout) => {}
            _ => break,
        }
        let which = random.below(1 << 16);
        let choose = |calls: usize| usize::try_from(which).unwrap_or_default() % calls;
        if let Some(verb) = cluster.kill_a_call(choose)? {
            *killed.entry(verb).or_default() += 1;
        }
    }
    Ok(killed)
}

fn wave(cluster: &Cluster, number: usize) -> Vec<Value> {
    let pod = |i: usize| {
        let mut pod = layered(cluster, &format!("wave-{number}-{i}"));
        pod["metadata"]["labels"] = json!({ "wave": number.to_string() });
        pod
    };
    (0..OF_A_WAVE).map(pod).collect()
}

/// Makes wave after wave, of which each sees the one before it go, wherever that has got by then. The last one stays.
fn waves(cluster: &Cluster, namespace: &Namespace) -> Result<()> {
    for number in 0..WAVES {
        cluster.apply(namespace, &wave(cluster, number))?;
        if let Some(before) = number.checked_sub(1) {
            cluster
                .kubectl(&format!("--namespace {} delete pods --wait=false --selector=wave={before}", &**namespace))?;
        }
        eventually("half a wave is ready", Duration::from_secs(120), Duration::from_millis(500), || {
            let pods = cluster.get(&format!("--namespace {} pods --selector=wave={number}", &**namespace))?;
            let is_ready = |pod: &&Value| {
                let mut conditions = pod["status"]["conditions"].as_array().into_iter().flatten();
                conditions.any(|condition| condition["type"] == "Ready" && condition["status"] == "True")
            };
            let ready = pods["items"].as_array().into_iter().flatten().filter(is_ready).count();
            Ok((ready >= OF_A_WAVE / 2).then_some(()))
        })?;
    }
    Ok(())
}

pub(crate) fn killed(cluster: &mut Cluster, namespace: &Namespace) -> Result<()> {
    let cluster = &*cluster;
    let seed = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_secs();
    println!("the seed of what is killed is {seed}");
    let (going_on, end) = channel::<()>();
    let (waves, killed) = thread::scope(|scope| {
        let killer = scope.spawn(move || kill_at_random(cluster, Random(seed), &end));
        let waves = waves(cluster, namespace);
        drop(going_on);
        (waves, killer.join())
    });
    waves?;
    let killed = killed.map_err(|_| "the killer panicked")??;
    println!("killed were {killed:?}");
    assert!(killed.contains_key("ADD") && killed.contains_key("DEL"), "{killed:?} were killed, with seed {seed}");

    let last = WAVES - 1;
    cluster.wait(namespace, "delete", &format!("pods --selector=wave!={last}"))?;
    cluster.wait_ready(namespace, "--all")?;
    // Of so few pods that remain, more may have leaked than a sweep frees without --max-share.
    println!("{}", sweep::done(cluster)?);
    all_distinct(&cluster.running(namespace)?, OF_A_WAVE * cluster.interfaces().len())?;
    held_is_what_pods_have(cluster, namespace, by_kube_ipam(cluster))?;
    let holds = cluster.no_address_had_two_owners()?;
    assert!(holds.all >= WAVES * OF_A_WAVE, "the logs tell of {holds:?} only");

    // The end of each hold is in the logs, or known to the killer.
    cluster.delete_pods(namespace, "--all")?;
    eventually("all holds have ended", Duration::from_secs(60), Duration::from_millis(500), || {
        Ok((cluster.no_address_had_two_owners()?.open == 0).then_some(()))
    })
}
