//! Random histories of ADD, DEL, kills, take-overs and sweeps, compared with a model of the pods that are alive.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use proptest::collection::vec;
use proptest::prelude::*;

use super::{note, rules, scan};
use crate::config::Network;
use crate::ipam::decide::tests::world::{CLUSTER, Call, World, addresses, contradictions, entries, subnet};
use crate::ipam::decide::{Discard, Evict, StickyPolicy};
use crate::ipam::keys;
use crate::ipam::lease::{Lease, PodRef, Stored};
use crate::ipam::name::{AttachmentId, Name};
use crate::ipam::refusal::Refusal;
use crate::ipam::reservation::{Owner, OwnerKind};
use crate::ipam::sweep::{LeakReason, LeakReport, OwnerLookup, Plan, Target, Verdict};
use crate::ipam::takeover::{self, GoneReason, InUseReason, PendingCheck};
use crate::store::{Entry, MemoryMap};

/// The number of pod names, and of fixed addresses that are requested.
const NAMES: u8 = 6;

/// The most StatefulSets. Pod n belongs to set n, if that exists.
const SETS: u8 = 3;

#[derive(Clone, Debug)]
enum Action {
    /// A sandbox of this pod starts, or of a new pod if there is none. It requests a fixed address or any.
    Add { pod: u8, fixed: Option<u8> },
    /// The runtime repeats the latest ADD.
    Repeat { pod: u8 },
    /// The pod ends. Its sandboxes get a DEL, or not (killed, lost).
    End { pod: u8, torn_down: bool },
    /// A StatefulSet is deleted. Its pods may continue. The next of its pods recreates it.
    EndSet { set: u8 },
    /// A DEL of a former sandbox, with an ADD that may be in doubt or not.
    Del { sandbox: u8, fenced: bool },
    /// Time passes.
    Wait(i64),
    /// A sweep with its two scans, what happens between and after them, and whether it has a list of pods.
    Sweep { between: Vec<Action>, after: Vec<Action>, listed: (bool, bool) },
}

fn simple() -> impl Strategy<Value = Action> {
    prop_oneof![
        6 => (0..NAMES, proptest::option::of(0..NAMES)).prop_map(|(pod, fixed)| Action::Add { pod, fixed }),
        1 => (0..NAMES).prop_map(|pod| Action::Repeat { pod }),
        3 => (0..NAMES, any::<bool>()).prop_map(|(pod, torn_down)| Action::End { pod, torn_down }),
        1 => (0..SETS).prop_map(|set| Action::EndSet { set }),
        2 => (any::<u8>(), any::<bool>()).prop_map(|(sandbox, fenced)| Action::Del { sandbox, fenced }),
        2 => (0..4000_i64).prop_map(Action::Wait),
    ]
}

fn actions() -> impl Strategy<Value = Vec<Action>> {
    let listed = (proptest::bool::weighted(0.8), proptest::bool::weighted(0.8));
    let sweep = (vec(simple(), 0..4), vec(simple(), 0..4), listed).prop_map(|(between, after, listed)| Action::Sweep {
        between,
        after,
        listed,
    });
    vec(prop_oneof![4 => simple(), 1 => sweep], 1..60)
}

/// A living pod, with its latest sandbox and address.
#[derive(Clone)]
struct Living {
    pod: PodRef,
    sandbox: Option<(Call, Vec<IpAddr>)>,
}

#[derive(Default)]
struct Model {
    living: BTreeMap<u8, Living>,
    /// Every sandbox so far, in order.
    sandboxes: Vec<(AttachmentId, PodRef)>,
    /// The existing StatefulSets, with their UIDs.
    sets: BTreeMap<u8, u64>,
    /// The last random address of each set's pod, which it owns while the set exists.
    kept: BTreeMap<u8, IpAddr>,
    counter: u64,
}

impl Model {
    fn held(&self) -> BTreeMap<IpAddr, AttachmentId> {
        let of = |living: &Living| {
            living.sandbox.clone().map(|(call, ips)| ips.into_iter().map(move |ip| (ip, call.id.clone())))
        };
        self.living.values().filter_map(of).flatten().collect()
    }

    /// The sandboxes of living pods that have no later one.
    fn excused(&self) -> impl Iterator<Item = &AttachmentId> {
        let bare = |pod: &PodRef| self.living.values().any(|living| living.sandbox.is_none() && living.pod == *pod);
        self.sandboxes.iter().filter(move |(_, pod)| bare(pod)).map(|(id, _)| id)
    }

    fn lives(&self, pod: &PodRef) -> bool {
        self.living.values().any(|living| living.pod == *pod)
    }

    fn owner(&self, pod: u8) -> Option<Owner> {
        let [namespace, set, pod_name] =
            ["db", &format!("set-{pod}"), &format!("p-{pod}")].map(|text| Name::new(text).unwrap());
        let uid = format!("o-{}", self.sets.get(&pod)?);
        Some(Owner {
            kind: OwnerKind::StatefulSet,
            cluster: Some(CLUSTER.to_owned()),
            namespace,
            name: set,
            uid,
            pod: Some(pod_name),
        })
    }

    /// The API server's answer about an owner.
    fn lookup(&self, owner: &Owner) -> OwnerLookup {
        let is_there = self.sets.keys().any(|set| owner.name.as_str() == format!("set-{set}"));
        if is_there { OwnerLookup::Exists } else { OwnerLookup::NotFound }
    }

    /// The API server's answer about a pod.
    fn pod_check(&self, pod: &PodRef) -> Result<GoneReason, InUseReason> {
        match self.lives(pod) {
            true => Err(InUseReason::Running(takeover::PhaseSince { word: "Running".to_owned(), since: None })),
            false if self.living.values().any(|living| living.pod.name == pod.name) => Ok(GoneReason::Replaced),
            false => Ok(GoneReason::NotFound),
        }
    }
}

struct Story {
    world: World,
    model: Model,
    network: Network,
}

impl Story {
    fn run(&mut self, action: &Action) -> Result<(), TestCaseError> {
        match action {
            Action::Add { pod, fixed } => self.add(*pod, *fixed)?,
            Action::Repeat { pod } => {
                let Some((call, given)) = self.model.living.get(pod).and_then(|living| living.sandbox.clone()) else {
                    return Ok(());
                };
                let repeated = self.world.add(&call).map(|granted| addresses(&granted));
                prop_assert_eq!(repeated, Ok(given), "a living sandbox has lost something");
            }
            Action::End { pod, torn_down } => {
                let Some(living) = self.model.living.remove(pod) else { return Ok(()) };
                if let Some((call, _)) = living.sandbox.filter(|_| *torn_down) {
                    self.world.del(&call.id);
                }
            }
            Action::EndSet { set } => {
                self.model.sets.remove(set);
                self.model.kept.remove(set);
            }
            Action::Del { sandbox, fenced } => {
                let Some((id, _)) = self.model.sandboxes.get(usize::from(*sandbox)).cloned() else { return Ok(()) };
                if *fenced {
                    self.world.del_fenced(&id)
                } else {
                    self.world.del(&id)
                };
                for living in self.model.living.values_mut() {
                    living.sandbox.take_if(|(call, _)| call.id == id);
                }
            }
            Action::Wait(seconds) => self.world.wait(*seconds),
            Action::Sweep { between, after, listed } => self.sweep(between, after, *listed)?,
        }
        prop_assert_eq!(contradictions(&self.world.state), Vec::<String>::new());
        self.living_hold_what_they_were_given()?;
        self.sets_have_what_is_kept_for_them()
    }

    fn add(&mut self, pod: u8, fixed: Option<u8>) -> Result<(), TestCaseError> {
        self.model.counter += 1;
        let n = self.model.counter;
        let pod_ref =
            || PodRef { namespace: Some("db".to_owned()), name: Some(format!("p-{pod}")), uid: Some(format!("u-{n}")) };
        let living = self.model.living.entry(pod).or_insert_with(|| Living { pod: pod_ref(), sandbox: None });
        let mut call = Call::of(&format!("c{n}"), &self.network);
        call.pod = Some(living.pod.clone());
        call.began.boottime = n;
        if let Some(fixed) = fixed {
            call = call.requesting(&[&format!("10.0.0.{}", fixed + 2)]);
        }
        let own = living.pod.clone();
        // The kubelet has stopped the former sandbox. Its DEL may or may not have come.
        living.sandbox = None;
        self.model.sandboxes.push((call.id.clone(), own.clone()));
        if pod < SETS {
            self.model.sets.entry(pod).or_insert(n);
        }
        call.sticky = self.model.owner(pod).map(|owner| StickyPolicy { owner, ttl: None });
        let mut add = call.decision().unwrap();
        let granted = loop {
            match self.world.run_on(&mut add) {
                Ok(granted) => break granted,
                Err(refusal) => {
                    let Some(question) = add.pending_check() else {
                        let expected = matches!(
                            refusal,
                            Refusal::Held { .. } | Refusal::Reserved { .. } | Refusal::Exhausted { .. }
                        );
                        prop_assert!(expected, "{}", refusal);
                        return Ok(());
                    };
                    match question {
                        PendingCheck::Pod(pod) => {
                            let verdict = self.model.pod_check(&pod);
                            add.record_pod(pod, verdict);
                        }
                        PendingCheck::Owner(_) => add.record_owner(Ok(())),
                        question => prop_assert!(false, "{:?}", question),
                    }
                }
            }
        };
        let given = addresses(&granted);
        for (ip, holder) in self.model.held() {
            prop_assert!(!given.contains(&ip), "{} is held by {} of a living pod", ip, holder);
        }
        match (fixed, call.sticky.is_some()) {
            (Some(_), _) => {
                // It was requested, maybe from a holder that is gone, and its pod holds it now.
                self.model.kept.retain(|of, ip| *of != pod && !given.contains(ip));
            }
            (None, true) => {
                let before = self.model.kept.insert(pod, given[0]);
                prop_assert!(before.is_none_or(|before| before == given[0]), "{:?} was kept, not {:?}", before, given);
            }
            (None, false) => {}
        }
        for living in self.model.living.values_mut().filter(|living| living.pod == own) {
            living.sandbox = Some((call.clone(), given.clone()));
        }
        Ok(())
    }

    fn scan(&self, listed: bool) -> LeakReport {
        let text = |part: &Option<String>| part.clone().unwrap_or_default();
        let mut pods: Vec<(String, String)> =
            self.model.living.values().map(|living| (text(&living.pod.name), text(&living.pod.uid))).collect();
        pods.push(("other".to_owned(), "u-other".to_owned()));
        let pods: Vec<(&str, &str)> = pods.iter().map(|(name, uid)| (name.as_str(), uid.as_str())).collect();
        scan(&self.world, listed.then_some(pods.as_slice()), &rules())
    }

    fn sweep(&mut self, between: &[Action], after: &[Action], listed: (bool, bool)) -> Result<(), TestCaseError> {
        let first = self.scan(listed.0);
        for action in between {
            self.run(action)?;
        }
        let mut second = self.scan(listed.1);
        let notes = LeakReport { notes: std::mem::take(&mut second.notes), ..LeakReport::default() };
        let mut plan = first.confirm(second, 1.0);
        if !(listed.0 && listed.1) {
            let by_list =
                plan.confirmed.iter().any(|candidate| candidate.verdict == Verdict::Leaked(LeakReason::NotListed));
            prop_assert!(!by_list, "without a list no pod is missing");
        }
        plan.keep(1.0, |owner| self.model.lookup(owner));
        for action in after {
            self.run(action)?;
        }
        self.release(&plan)?;
        note(&mut self.world, &notes);
        self.living_hold_what_they_were_given()
    }

    fn release(&mut self, plan: &Plan) -> Result<(), TestCaseError> {
        for candidate in &plan.confirmed {
            if candidate.verdict == Verdict::Leaked(LeakReason::NotListed) {
                let holder = candidate.holder.as_ref().unwrap();
                if self.model.pod_check(&holder.pod).is_err() {
                    continue;
                }
            }
            match &candidate.target {
                Target::Address { vrf, ip } => {
                    let evict = Evict::new(vrf.clone(), *ip, candidate.revision);
                    let owner_is_gone = |owner: &Owner| self.model.lookup(owner) == OwnerLookup::NotFound;
                    let is_free = candidate.verdict == Verdict::Leaked(LeakReason::Reserved)
                        || candidate.owner.as_ref().is_some_and(owner_is_gone);
                    self.world.decide(&mut if is_free { evict } else { evict.keeping_reservation() });
                }
                Target::Share { .. } => prop_assert!(false, "nothing is shared here"),
                Target::Attachment(id) => {
                    self.world.decide(&mut Discard::new(id.clone(), candidate.revision));
                }
            }
            prop_assert_eq!(contradictions(&self.world.state), Vec::<String>::new());
            self.living_hold_what_they_were_given()?;
        }
        Ok(())
    }

    fn sets_have_what_is_kept_for_them(&self) -> Result<(), TestCaseError> {
        let kept: BTreeMap<IpAddr, Name> =
            leases(&self.world.state).into_iter().filter_map(|(ip, lease)| Some((ip, lease.owner?.pod?))).collect();
        for (pod, ip) in &self.model.kept {
            prop_assert_eq!(kept.get(ip).map(Name::as_str), Some(&*format!("p-{pod}")), "{} was freed", ip);
        }
        Ok(())
    }

    fn living_hold_what_they_were_given(&self) -> Result<(), TestCaseError> {
        let held = self.world.held();
        for (ip, id) in self.model.held() {
            let vrf = Name::new("default").unwrap();
            prop_assert_eq!(held.get(&(vrf, ip)), Some(&id), "{} was freed under a living pod", ip);
        }
        Ok(())
    }
}

/// All held and reserved addresses.
fn leases(state: &MemoryMap) -> BTreeMap<IpAddr, Lease> {
    let lease = |entry: Entry| Some((keys::read_lease(&entry.key)?.1, Stored::<Lease>::read(&entry.value).known()?));
    entries(state, "ip/").into_iter().filter_map(lease).filter(|(_, lease)| lease.rest.is_none()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happened_a_sweep_frees_nothing_of_the_living_and_leaves_nothing_of_the_dead(actions in actions()) {
        let mut story = Story { world: World::default(), model: Model::default(), network: subnet("10.0.0.0/27") };
        for action in &actions {
            story.run(action)?;
        }
        // Fences stay an hour after they were first seen, and remains a week. What takes two steps, an address and then
        // its entry, needs both.
        for _ in 0..3 {
            story.world.wait(7 * 24 * 3600);
            story.sweep(&[], &[], (true, true))?;
        }
        story.sets_have_what_is_kept_for_them()?;
        for (ip, lease) in leases(&story.world.state).into_iter().filter(|(_, lease)| lease.unused.is_some()) {
            let lookup = story.model.lookup(&lease.owner.unwrap());
            prop_assert_eq!(lookup, OwnerLookup::Exists, "{} is reserved for nobody", ip);
        }
        let entries: BTreeSet<String> = story.world.keys("at/").into_iter().collect();
        let live: BTreeSet<String> = story.model.held().values().map(|id| keys::attachment(id).to_string()).collect();
        // A living pod whose last ADD was refused may keep the address of an earlier sandbox, which nobody can identify
        // as such.
        let excused: BTreeSet<String> = story.model.excused().map(|id| keys::attachment(id).to_string()).collect();
        prop_assert!(entries.is_superset(&live), "{:?} {:?}", entries, live);
        prop_assert!(entries.difference(&live).all(|left| excused.contains(left)), "{:?} {:?}", entries, live);
    }
}
