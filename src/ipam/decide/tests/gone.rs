//! Random histories of a small range whose pods end with and without a DEL. The API server is sometimes wrong. A model
//! knows which pods are alive.

use std::collections::BTreeMap;
use std::net::IpAddr;

use proptest::collection::vec;
use proptest::prelude::*;

use super::world::{Call, World, addresses, contradictions, cooling, name, subnet};
use crate::ipam::keys;
use crate::ipam::lease::{Lease, Stored};
use crate::ipam::name::IfName;
use crate::ipam::refusal::Refusal;
use crate::ipam::takeover::{GoneReason, InUseReason, Mac, PhaseSince, ProbeResult};

const MIN_AGE: i64 = 300;
const BETWEEN: i64 = 30;

#[derive(Clone, Debug)]
enum Action {
    /// A new pod requests any address.
    Add,
    /// A pod ends, with a DEL or without.
    End { pod: u8, torn_down: bool },
    /// The late DEL of a pod that ended without one.
    LateDel { pod: u8 },
    /// The API server knows no pod, since it was restored from a backup, or knows them again.
    Forgets(bool),
    /// Time passes.
    Wait(i64),
}

fn actions() -> impl Strategy<Value = Vec<Action>> {
    let action = prop_oneof![
        6 => Just(Action::Add),
        3 => (any::<u8>(), proptest::bool::weighted(0.3)).prop_map(|(pod, torn_down)| Action::End { pod, torn_down }),
        1 => any::<u8>().prop_map(|pod| Action::LateDel { pod }),
        1 => any::<bool>().prop_map(Action::Forgets),
        3 => (0..400_i64).prop_map(Action::Wait),
    ];
    vec(action, 1..80)
}

#[derive(Default)]
struct Story {
    world: World,
    /// Every pod that got an address.
    pods: Vec<(String, IpAddr)>,
    /// Those that are alive.
    living: BTreeMap<String, IpAddr>,
    forgets: bool,
    attempts: u64,
}

impl Story {
    fn call(&mut self) -> Call {
        self.attempts += 1;
        let uid = format!("u-{}", self.attempts);
        let network = cooling(subnet("10.0.0.0/29"), 0, false);
        let mut call = Call::of(&uid, &network).of_pod(&uid, &uid, self.attempts);
        for (other, _) in &self.pods {
            let lives = self.living.contains_key(other) && !self.forgets;
            let running = || InUseReason::Running(PhaseSince { word: "Running".to_owned(), since: None });
            call = call.with_pod_check(other, if lives { Err(running()) } else { Ok(GoneReason::NotFound) });
        }
        for n in 1..7 {
            let address = format!("10.0.0.{n}");
            let answers = self.living.values().any(|ip| ip.to_string() == address);
            let mac = Mac([2, 0, 0, 0, 0, n]);
            let answer = || ProbeResult::Conflict { mac, ifname: IfName::new("net1").unwrap() };
            call = call.with_probe(&address, if answers { answer() } else { ProbeResult::NoReply });
        }
        call
    }

    fn lease(&self, ip: IpAddr) -> Option<Lease> {
        let text = self.world.text(&keys::lease(&name("default"), ip))?;
        Stored::<Lease>::read(text.as_bytes()).known()
    }

    fn add(&mut self) -> Result<bool, TestCaseError> {
        let call = self.call();
        let before: BTreeMap<IpAddr, Lease> =
            self.pods.iter().filter_map(|(_, ip)| Some((*ip, self.lease(*ip)?))).collect();
        let now = self.world.now();
        match self.world.add(&call) {
            Ok(allocation) => {
                let ip = addresses(&allocation)[0];
                prop_assert!(!self.living.values().any(|other| *other == ip), "{} is in use", ip);
                for taken in &allocation.taken_over {
                    let lease = &before[&taken.ip];
                    let uid = taken.victim.pod.uid.clone().unwrap();
                    let first = lease.seen_gone(&uid).unwrap();
                    prop_assert!(now.duration_since(first).as_secs() >= BETWEEN);
                    prop_assert!(now.duration_since(lease.since).as_secs() >= MIN_AGE);
                }
                let uid = call.id.container.to_string();
                self.pods.push((uid.clone(), ip));
                self.living.insert(uid, ip);
                Ok(true)
            }
            Err(Refusal::Exhausted { .. } | Refusal::NotYet { .. }) => Ok(false),
            Err(refusal) => {
                prop_assert!(false, "{}", refusal);
                Ok(false)
            }
        }
    }

    fn run(&mut self, action: &Action) -> Result<(), TestCaseError> {
        match action {
            Action::Add => drop(self.add()?),
            Action::End { pod, torn_down } => {
                let Some(uid) = self.living.keys().nth(*pod as usize % self.living.len().max(1)).cloned() else {
                    return Ok(());
                };
                self.living.remove(&uid);
                if *torn_down {
                    self.world.del(&super::world::attachment(&uid));
                }
            }
            Action::LateDel { pod } => {
                let ended = self.pods.iter().filter(|(uid, _)| !self.living.contains_key(uid));
                let ended: Vec<String> = ended.map(|(uid, _)| uid.clone()).collect();
                if let Some(uid) = ended.get(*pod as usize % ended.len().max(1)) {
                    self.world.del(&super::world::attachment(uid));
                }
            }
            Action::Forgets(forgets) => self.forgets = *forgets,
            Action::Wait(seconds) => self.world.wait(*seconds),
        }
        prop_assert_eq!(contradictions(&self.world.state), Vec::<String>::new());
        let held = self.world.held();
        for (uid, ip) in &self.living {
            let holder = held.get(&(name("default"), *ip)).map(|id| id.container.as_str());
            prop_assert_eq!(holder, Some(uid.as_str()), "{} lives", uid);
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_living_pod_of_a_full_range_loses_its_address_and_those_of_the_gone_are_given_again(actions in actions()) {
        let mut story = Story::default();
        for action in &actions {
            story.run(action)?;
        }
        // All unused addresses are assigned again, if pods request them for long enough.
        story.forgets = false;
        story.world.wait(MIN_AGE);
        let left = 5 - story.living.len();
        for _ in 0..40 {
            story.add()?;
            story.world.wait(BETWEEN);
        }
        prop_assert_eq!(story.living.len(), 5, "{} were left", left);
    }
}
