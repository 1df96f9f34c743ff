//! Random histories of reservations by hand, calls of pods and sweeps, compared with a simple model: for each address,
//! who holds it, and for whom it is reserved.

use std::collections::BTreeMap;
use std::net::IpAddr;

use proptest::collection::vec;
use proptest::prelude::*;

use super::super::world::{contradictions, held};
use super::*;
use crate::ipam::decide::{Decide, Release, Step};
use crate::ipam::name::AttachmentId;

/// The addresses that a history is about.
const ADDRESSES: [&str; 6] = ["10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4", "10.0.0.5", "10.0.0.6"];

/// Those for whom they are reserved: nobody, a pod by its name, a StatefulSet.
const OBJECTS: [&str; 4] = ["", "db/pod-0", "db/pod-1", "statefulset/db/pg"];

const PODS: u8 = 5;

#[derive(Clone, Debug)]
enum Action {
    /// The operator reserves these addresses, all or none, as they are.
    Reserve {
        first: usize,
        count: usize,
        object: usize,
        ttl: Option<u64>,
    },
    /// The operator ends what is reserved by hand and unused of these.
    End {
        first: usize,
        count: usize,
    },
    /// The operator moves a reservation to another address.
    Move {
        from: usize,
        to: usize,
    },
    /// The operator gives a reservation to somebody else.
    Restate {
        address: usize,
        object: usize,
    },
    /// The operator frees an address, whoever holds it.
    Evict {
        address: usize,
    },
    Add {
        pod: u8,
        asked: Asked,
    },
    Del {
        pod: u8,
        with_record: bool,
    },
    Wait(i64),
    /// A sweep that finds no pod gone.
    Sweep,
}

#[derive(Clone, Debug)]
enum Asked {
    Random,
    Fixed(usize),
    Pool(usize, usize),
    /// At random, with an identity that keeps its address.
    Sticky,
}

fn actions() -> impl Strategy<Value = Vec<Action>> {
    let address = || 0..ADDRESSES.len();
    let object = || 0..OBJECTS.len();
    let asked = prop_oneof![
        2 => Just(Asked::Random),
        4 => address().prop_map(Asked::Fixed),
        2 => (address(), address()).prop_map(|(a, b)| Asked::Pool(a.min(b), a.max(b))),
        2 => Just(Asked::Sticky),
    ];
    let ttl = proptest::option::weighted(0.4, 1..100_u64);
    let action = prop_oneof![
        4 => (address(), 1..4_usize, object(), ttl)
            .prop_map(|(first, count, object, ttl)| Action::Reserve { first, count, object, ttl }),
        2 => (address(), 1..4_usize).prop_map(|(first, count)| Action::End { first, count }),
        2 => (address(), address()).prop_map(|(from, to)| Action::Move { from, to }),
        1 => (address(), object()).prop_map(|(address, object)| Action::Restate { address, object }),
        1 => address().prop_map(|address| Action::Evict { address }),
        8 => (0..PODS, asked).prop_map(|(pod, asked)| Action::Add { pod, asked }),
        5 => (0..PODS, any::<bool>()).prop_map(|(pod, with_record)| Action::Del { pod, with_record }),
        2 => (1..60_i64).prop_map(Action::Wait),
        1 => Just(Action::Sweep),
    ];
    vec(action, 1..60)
}

#[derive(Default)]
struct Model {
    holders: BTreeMap<IpAddr, AttachmentId>,
    /// What is reserved by hand, in force or not, held or not.
    reserved: BTreeMap<IpAddr, ManualReservation>,
}

impl Model {
    /// The reservation of an address that is in force.
    fn in_force(&self, ip: IpAddr, world: &World) -> Option<&ManualReservation> {
        let is_over = |manual: &ManualReservation| {
            let age = world.now().duration_since(manual.at).as_secs();
            manual.ttl.is_some_and(|ttl| u64::try_from(age).is_ok_and(|age| age >= ttl))
        };
        self.reserved.get(&ip).filter(|manual| !is_over(manual))
    }

    /// Whether nothing but a cooldown or a reservation that is over is in the way of the operator.
    fn is_available(&self, ip: IpAddr, world: &World) -> bool {
        let is_owned = lease(world, &ip.to_string())
            .is_some_and(|lease| lease.owner.is_some() && lease.state() == LeaseState::Reserved);
        !self.holders.contains_key(&ip) && self.in_force(ip, world).is_none() && !is_owned
    }

    /// Whether this pod may have the address.
    fn admits(&self, ip: IpAddr, pod: u8, world: &World) -> bool {
        let Some(manual) = self.in_force(ip, world) else { return true };
        match manual.beneficiary.as_ref().map(ToString::to_string).as_deref() {
            Some("StatefulSet db/pg") => is_in_set(pod),
            Some(object) => object == format!("pod db/{}", pod_name(pod)),
            None => false,
        }
    }
}

fn is_in_set(pod: u8) -> bool {
    pod >= 3
}

fn pod_name(pod: u8) -> String {
    if is_in_set(pod) { format!("pg-{pod}") } else { format!("pod-{pod}") }
}

fn call(pod: u8, asked: &Asked) -> Call {
    let call = Call::of(&format!("c{pod}"), &subnet("10.0.0.0/29"));
    // 10.0.0.1 is the gateway by default.
    let mut network = call.network.clone();
    network.sets = super::super::world::network(vec![vec![crate::ipam::range::Range {
        gateway: None,
        ..super::super::world::range("10.0.0.0/29")
    }]])
    .sets;
    let call = Call { network, ..call }.of_pod(&pod_name(pod), &format!("u-{pod}"), 1);
    let call = if is_in_set(pod) { in_set(call) } else { call };
    match asked {
        Asked::Random => call,
        Asked::Fixed(address) => call.requesting(&[ADDRESSES[*address]]),
        Asked::Pool(a, b) => {
            call.annotated(&[("kube-ipam.eth0.pool", &format!("{}-{}", ADDRESSES[*a], ADDRESSES[*b]))])
        }
        Asked::Sticky if is_in_set(pod) => {
            let owner = super::super::sticky::owner(OwnerKind::StatefulSet, "pg", Some(&pod_name(pod)));
            sticky_call(call, owner)
        }
        Asked::Sticky => call,
    }
}

/// What the operator says now.
fn said_at(world: &World, object: usize, ttl: Option<u64>) -> ManualReservation {
    ManualReservation { at: world.now(), ttl, ..said(OBJECTS[object]) }
}

fn reserving(world: &World, address: IpAddr, manual: &ManualReservation) -> LeaseEdit {
    let seen = seen(world, &address.to_string());
    LeaseEdit::reserve(&name("default"), address, seen.as_ref().map(|(at, lease)| (*at, lease)), manual.clone())
}

fn commit(world: &mut World, edits: Vec<LeaseEdit>) {
    assert_eq!(world.decide(&mut EditLeases::new(name("default"), edits)), Edited::Written);
}

fn operate(world: &mut World, model: &mut Model, action: &Action) {
    let all = |first: usize, count: usize| ADDRESSES.iter().skip(first).take(count).map(|text| ip(text));
    match *action {
        Action::Reserve { first, count, object, ttl } => {
            let manual = said_at(world, object, ttl);
            if all(first, count).all(|ip| model.is_available(ip, world)) {
                let edits = all(first, count).map(|ip| reserving(world, ip, &manual)).collect();
                commit(world, edits);
                model.reserved.extend(all(first, count).map(|ip| (ip, manual.clone())));
            }
        }
        Action::End { first, count } => {
            let unused: Vec<IpAddr> = all(first, count)
                .filter(|ip| model.reserved.contains_key(ip) && !model.holders.contains_key(ip))
                .collect();
            let end = |ip: &IpAddr| LeaseEdit::end(*ip, seen(world, &ip.to_string()).unwrap().0);
            let edits: Vec<LeaseEdit> = unused.iter().map(end).collect();
            if !edits.is_empty() {
                commit(world, edits);
            }
            unused.iter().for_each(|ip| drop(model.reserved.remove(ip)));
        }
        Action::Move { from, to } => {
            let (from, to) = (ip(ADDRESSES[from]), ip(ADDRESSES[to]));
            let movable = !model.holders.contains_key(&from) && model.is_available(to, world);
            if let Some(manual) = model.in_force(from, world).cloned().filter(|_| movable) {
                let revision = seen(world, &from.to_string()).unwrap().0;
                let edits = vec![LeaseEdit::end(from, revision), reserving(world, to, &manual)];
                commit(world, edits);
                model.reserved.remove(&from);
                model.reserved.insert(to, manual);
            }
        }
        Action::Restate { address, object } => {
            let ip = ip(ADDRESSES[address]);
            if let Some(before) = model.in_force(ip, world).cloned() {
                let manual = ManualReservation { beneficiary: said(OBJECTS[object]).beneficiary, ..before };
                let edit = LeaseEdit::restate(ip, seen(world, &ip.to_string()).unwrap(), manual.clone());
                commit(world, vec![edit]);
                model.reserved.insert(ip, manual);
            }
        }
        Action::Evict { address } => {
            let ip = ip(ADDRESSES[address]);
            if let Some((revision, _)) = seen(world, ADDRESSES[address]) {
                world.decide(&mut Evict::new(name("default"), ip, revision));
                model.holders.remove(&ip);
                model.reserved.remove(&ip);
            }
        }
        _ => {}
    }
}

fn add(world: &mut World, model: &mut Model, pod: u8, asked: &Asked) -> Result<(), TestCaseError> {
    let mut call = call(pod, asked);
    // No pod of the history is ever gone.
    for other in 0..PODS {
        call = call.with_pod_check(&format!("u-{other}"), lives());
    }
    let before = World { state: world.state.clone(), ..*world };
    match world.add(&call) {
        Ok(allocation) if allocation.repeated => {
            let own: Vec<IpAddr> = addresses(&allocation);
            prop_assert!(own.iter().all(|ip| model.holders.get(ip) == Some(&call.id)));
        }
        Ok(allocation) => {
            for ip in addresses(&allocation) {
                prop_assert!(!model.holders.contains_key(&ip), "{ip} has a holder");
                prop_assert!(model.admits(ip, pod, &before), "{ip} is reserved for somebody else");
                let manual = allocation.leases.iter().find(|(of, _)| *of == ip).and_then(|(_, it)| it.manual.clone());
                prop_assert_eq!(manual.as_ref(), model.in_force(ip, &before), "{}", ip);
                if manual.is_none() {
                    model.reserved.remove(&ip);
                }
                model.holders.insert(ip, call.id.clone());
            }
        }
        Err(Refusal::ReservedByHand { ip, manual }) => {
            prop_assert_eq!(model.in_force(ip, &before), Some(&*manual));
            prop_assert!(!model.admits(ip, pod, &before) && !model.holders.contains_key(&ip));
        }
        Err(Refusal::Held { ip, holder, .. }) => prop_assert_eq!(model.holders.get(&ip), Some(&holder.id)),
        Err(
            Refusal::OwnerHoldsOther { .. }
            | Refusal::Reserved { .. }
            | Refusal::Lost { .. }
            | Refusal::AlreadyHasOther { .. },
        ) => {}
        Err(Refusal::Exhausted { .. }) => {
            // A random address, or one of a pool: each is held, or kept from this pod.
            let asked: Vec<IpAddr> = match asked {
                Asked::Pool(a, b) => ADDRESSES[*a..=*b].iter().map(|text| ip(text)).collect(),
                _ => ADDRESSES.iter().map(|text| ip(text)).collect(),
            };
            let is_random = !matches!(call.annotations.len(), 1..);
            for ip in asked {
                let kept = model.in_force(ip, &before).is_some() && (is_random || !model.admits(ip, pod, &before));
                let is_owned = lease(&before, &ip.to_string()).is_some_and(|lease| lease.owner.is_some());
                prop_assert!(model.holders.contains_key(&ip) || kept || is_owned, "{} was free", ip);
            }
        }
        Err(other) => prop_assert!(false, "{}", other),
    }
    Ok(())
}

/// Frees what was reserved by hand for a time that is over, as a sweep does.
fn sweep(world: &mut World, model: &mut Model) {
    for text in ADDRESSES {
        let Some((revision, lease)) = seen(world, text) else { continue };
        if lease.manual.is_some() && lease.is_over(world.now()) {
            world.decide(&mut Evict::new(name("default"), ip(text), revision));
            model.reserved.remove(&ip(text));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_the_operator_does_no_address_has_two_owners_and_none_is_lost(actions in actions()) {
        let (mut world, mut model) = (World::default(), Model::default());
        for action in actions {
            match &action {
                Action::Add { pod, asked } => add(&mut world, &mut model, *pod, asked)?,
                Action::Del { pod, with_record } => {
                    let id = call(*pod, &Asked::Random).id;
                    let written = with_record.then(|| written(&world, &id)).flatten();
                    let mut release = Release::new(id.clone(), name("default"), written, false);
                    run(&mut world, &mut release);
                    model.holders.retain(|_, holder| *holder != id);
                }
                Action::Wait(seconds) => world.wait(*seconds),
                Action::Sweep => sweep(&mut world, &mut model),
                operated => operate(&mut world, &mut model, operated),
            }
            prop_assert_eq!(contradictions(&world.state), Vec::<String>::new());
            let held: BTreeMap<IpAddr, AttachmentId> =
                held(&world.state).into_iter().map(|((_, ip), holder)| (ip, holder)).collect();
            prop_assert_eq!(&held, &model.holders);
            let reserved: BTreeMap<IpAddr, ManualReservation> = ADDRESSES
                .iter()
                .filter_map(|text| Some((ip(text), lease(&world, text)?.manual?)))
                .collect();
            prop_assert_eq!(&reserved, &model.reserved);
        }
        // The operator ends everything, and each pod ends: every address can be had again.
        for pod in 0..PODS {
            world.del(&call(pod, &Asked::Random).id);
        }
        for (address, text) in ADDRESSES.iter().enumerate() {
            operate(&mut world, &mut model, &Action::Evict { address });
            prop_assert_eq!(lease(&world, text), None);
        }
        prop_assert_eq!(all_of(&mut world, &call(0, &Asked::Random).network).len(), ADDRESSES.len());
    }
}

/// What the node's record has of an attachment, if all of it is as its ADD wrote it.
fn written(world: &World, id: &AttachmentId) -> Option<crate::ipam::lease::Written> {
    let key = keys::attachment(id);
    let entry = super::super::world::entries(&world.state, "at/").into_iter().find(|entry| entry.key == key)?;
    let attachment: crate::ipam::lease::Attachment = Stored::read(&entry.value).known()?;
    let leases = attachment.addresses.iter().map(|assigned| {
        let ip = assigned.address.addr();
        seen(world, &ip.to_string()).map(|(_, lease)| (ip, lease))
    });
    let leases = leases.collect::<Option<Vec<_>>>()?;
    Some(crate::ipam::lease::Written { revision: entry.revision, attachment, leases })
}

fn run<D: Decide>(world: &mut World, machine: &mut D) {
    let now = world.now();
    let mut step = machine.start(now);
    while let Step::Commit(txn) = step {
        step = machine.next(&world.state.commit(&txn), now);
    }
    assert!(matches!(step, Step::Done(_)));
}
