//! Random calls on random networks, compared with a model of who holds what.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

use super::world::{CLUSTER, Call, World, addresses, contradictions, cooling, entries, name, network, range, reserved};
use crate::config::Network;
use crate::ipam::address::{Span, Spans};
use crate::ipam::decide::{Allocation, Decide, Evict, Release, Step, StickyPolicy};
use crate::ipam::keys;
use crate::ipam::lease::{Lease, Stored};
use crate::ipam::name::{AttachmentId, IfName, Name};
use crate::ipam::pool;
use crate::ipam::range::Range;
use crate::ipam::refusal::Refusal;
use crate::ipam::reservation::{Owner, OwnerKind, Reservation};

/// A range that is small enough to fill, with or without a fixed window and a hole.
fn ranges(subnets: &'static [&'static str]) -> impl Strategy<Value = Range> {
    let of = |subnet: &'static str| {
        let range = range(subnet);
        let part = (any::<Index>(), any::<Index>()).prop_map({
            let window = range.window;
            move |(a, b)| part_of(&window, &a, &b)
        });
        let parts = (proptest::option::of(part.clone()), proptest::option::of(part.clone()), part);
        parts.prop_map(move |(fixed, exclude, window)| Range {
            fixed,
            exclude: exclude.into_iter().collect(),
            window: if fixed.is_some() { range.window } else { window },
            ..range.clone()
        })
    };
    proptest::sample::select(subnets).prop_flat_map(of)
}

fn part_of(whole: &Span, a: &Index, b: &Index) -> Span {
    let (first, _) = whole.numbers();
    let [a, b] = [a, b].map(|index| first + index.index(whole.len() as usize) as u128);
    Span::of_numbers(whole.family(), a.min(b), a.max(b)).unwrap()
}

fn networks() -> impl Strategy<Value = Network> {
    let v4 = vec(ranges(&["10.0.0.0/29", "10.0.0.8/30", "10.0.0.0/28", "10.0.0.12/31"]), 1..=1);
    let v4 = (v4, proptest::option::of(ranges(&["10.0.1.0/29", "10.0.1.0/32"])));
    let v4 = v4.prop_map(|(first, second)| first.into_iter().chain(second).collect::<Vec<Range>>());
    let v6 = proptest::option::of(vec(ranges(&["fd00::/125", "fd00::/127"]), 1..=1));
    let cooldown = (prop_oneof![Just(0), Just(30)], any::<bool>());
    let named = proptest::option::of((any::<Index>(), any::<Index>()));
    (v4, v6, cooldown, named).prop_map(|(v4, v6, (seconds, strict), named)| {
        let gives = |set: &Vec<Range>| set.iter().any(|range| !range.dynamic().is_empty());
        let sets: Vec<Vec<Range>> = std::iter::once(v4).chain(v6).filter(gives).collect();
        let sets = if sets.is_empty() { vec![vec![range("10.0.0.0/30")]] } else { sets };
        let first = Span::of_net(sets[0][0].subnet);
        let named = named.map(|(a, b)| pool::tests::pool("named", &[&part_of(&first, &a, &b).to_string()], &[]));
        let pooled = pool::tests::with_pools(network(sets.clone()), named.into_iter().collect());
        // A pool of which nothing is left is a mistake of the config.
        let is_valid = pooled.pools.iter().all(|pool| !pooled.sets[0].share_of(&pool.name).is_empty());
        cooling(if is_valid { pooled } else { network(sets) }, seconds, strict)
    })
}

#[derive(Clone, Debug)]
enum Action {
    /// An ADD for a new attachment, or for one that has addresses already.
    Add { attachment: (u8, bool), network: Index, vrf: bool, asked: Asked, keeper: Option<u8> },
    /// A DEL with or without a record of the ADD, or with an ADD in doubt.
    Del { attachment: (u8, bool), record: u8 },
    /// Time passes, or the clock is set back.
    Wait(i64),
}

/// What an ADD requests from the network's first range.
#[derive(Clone, Debug)]
enum Asked {
    Nothing,
    Fixed(Index),
    /// An annotation without an interface.
    Unscoped(Index),
    Pool(Index, Index),
    /// The network's named pool, if it has one.
    Named,
}

impl Asked {
    /// The call with this request, for an address or a part of this span.
    fn of(&self, call: Call, span: &Span) -> Call {
        let one = |index: &Index| part_of(span, index, index).to_string();
        let from = |call: Call, pool: &str| {
            let key = format!("kube-ipam.{}.pool", call.id.ifname);
            call.annotated(&[(&key, pool)])
        };
        match self {
            Self::Nothing => call,
            Self::Named if call.network.pools.is_empty() => call,
            Self::Named => from(call, "named"),
            Self::Fixed(index) => call.requesting(&[&one(index)]),
            Self::Unscoped(index) => call.annotated(&[("kube-ipam.ip", &one(index))]),
            Self::Pool(a, b) => from(call, &part_of(span, a, b).to_string()),
        }
    }
}

/// The addresses of the pool that a call asks for.
fn asked_pool(call: &Call) -> Option<Spans> {
    let (_, pool) = call.annotations.iter().find(|(key, _)| key.ends_with(".pool"))?;
    let named = || call.network.pools.iter().flat_map(|pool| call.network.sets[0].share_of(&pool.name)).copied();
    Some(pool.parse().map_or_else(|_| named().collect(), Spans::of))
}

fn actions() -> impl Strategy<Value = Vec<Action>> {
    let attachment = || (0..16_u8, proptest::bool::weighted(0.2));
    let asked = prop_oneof![
        6 => Just(Asked::Nothing),
        2 => any::<Index>().prop_map(Asked::Fixed),
        1 => any::<Index>().prop_map(Asked::Unscoped),
        2 => (any::<Index>(), any::<Index>()).prop_map(|(a, b)| Asked::Pool(a, b)),
        2 => Just(Asked::Named),
    ];
    let keeper = proptest::option::weighted(0.4, 0..5_u8);
    let add = (attachment(), any::<Index>(), any::<bool>(), asked, keeper)
        .prop_map(|(attachment, network, vrf, asked, keeper)| Action::Add { attachment, network, vrf, asked, keeper });
    let del = (attachment(), 0..3_u8).prop_map(|(attachment, record)| Action::Del { attachment, record });
    let action = prop_oneof![5 => add, 3 => del, 1 => (-40..60_i64).prop_map(Action::Wait)];
    vec(action, 1..80)
}

/// Who holds what, and by which call.
#[derive(Default)]
struct Model {
    given: BTreeMap<AttachmentId, (Name, Allocation)>,
}

impl Model {
    fn held(&self) -> BTreeMap<(Name, IpAddr), AttachmentId> {
        let held = |(id, (vrf, allocation)): (&AttachmentId, &(Name, Allocation))| {
            addresses(allocation).into_iter().map(|ip| ((vrf.clone(), ip), id.clone())).collect::<Vec<_>>()
        };
        self.given.iter().flat_map(held).collect()
    }
}

fn of(network: &Network, (container, second): (u8, bool)) -> Call {
    let call = Call::of(&format!("c{container}"), network);
    let ifname = IfName::new(if second { "net1" } else { "eth0" }).unwrap();
    Call { id: AttachmentId { ifname, ..call.id.clone() }, ..call }
}

fn may_have(call: &Call, ip: IpAddr) -> bool {
    let mut ranges = call.network.sets.iter().flat_map(|set| set.ranges());
    let is_same_family = |pool: &Spans| pool.iter().all(|span| span.family() == Span::single(ip).family());
    if let Some(pool) = asked_pool(call).filter(is_same_family) {
        return pool.contains(ip) && ranges.any(|range| range.assignable(ip).is_ok());
    }
    let asked = call.ips.iter().chain(call.annotations.get("kube-ipam.ip"));
    let fixed = asked.into_iter().any(|asked| *asked == ip.to_string());
    let is_pooled = call.network.pools.iter().flat_map(|pool| &pool.addresses).any(|span| span.contains(ip));
    ranges.any(|range| if fixed { range.assignable(ip).is_ok() } else { range.dynamic().contains(ip) && !is_pooled })
}

/// The same call for one of a few sticky owners; the last of them is a claim.
fn sticky_call(call: Call, keeper: Option<u8>) -> Call {
    let owner = |number: u8| {
        let (kind, pod) = match number {
            4 => (OwnerKind::IpamClaim, None),
            number => (OwnerKind::StatefulSet, Some(name(&format!("pg-{number}")))),
        };
        Owner {
            kind,
            cluster: Some(CLUSTER.to_owned()),
            namespace: name("db"),
            name: name("pg"),
            uid: "o-1".to_owned(),
            pod,
        }
    };
    Call { sticky: keeper.map(|number| StickyPolicy { owner: owner(number), ttl: None }), ..call }
}

/// Addresses that are reserved for the owner of a call, and that it could get.
fn own_reserved(world: &World, call: &Call) -> Vec<IpAddr> {
    let Some(keep) = &call.sticky else { return Vec::new() };
    let key = keys::reservation(&call.vrf, &keep.owner, &call.id);
    let stored = entries(&world.state, "id/").into_iter().find(|entry| entry.key == key);
    let Some(Stored::Known(stored)) = stored.map(|entry| Stored::<Reservation>::read(&entry.value)) else {
        return Vec::new();
    };
    let is_own = |lease: &Lease| lease.owner.as_ref().is_some_and(|owner| owner.is(&keep.owner));
    let reserved = reserved(&world.state);
    let is_free = |ip: &IpAddr| reserved.get(&(call.vrf.clone(), *ip)).is_some_and(is_own);
    stored.addresses.into_iter().filter(is_free).collect()
}

/// Compares an ADD's result with the model.
fn check_add(
    world: &World,
    model: &Model,
    call: &Call,
    (before, end): (&World, &Result<Allocation, Refusal>),
) -> Result<(), TestCaseError> {
    let held = model.held();
    let (reserved, own) = (reserved(&before.state), own_reserved(before, call));
    let had = model.given.get(&call.id);
    match end {
        Ok(allocation) => {
            if let Some((_, before)) = had {
                prop_assert!(allocation.repeated);
                prop_assert_eq!(&allocation.attachment, &before.attachment);
                return Ok(());
            }
            prop_assert!(!allocation.repeated);
            for ip in addresses(allocation) {
                prop_assert!(!held.contains_key(&(call.vrf.clone(), ip)), "{} has an owner", ip);
                prop_assert!(may_have(call, ip), "{} is outside of what was configured", ip);
            }
            // A reserved address that nobody holds goes to its owner only, unless that requests another one.
            for ip in addresses(allocation) {
                let own = reserved.get(&(call.vrf.clone(), ip)).is_none_or(|lease| {
                    call.sticky.as_ref().zip(lease.owner.as_ref()).is_some_and(|(keep, owner)| keep.owner.is(owner))
                });
                prop_assert!(own, "{} is reserved for somebody else", ip);
            }
            if call.ips.is_empty() && call.annotations.is_empty() {
                for set in &call.network.sets {
                    let gives = |ip: &&IpAddr| set.ranges().iter().any(|range| range.dynamic().contains(**ip));
                    let gateway = |ip: &&IpAddr| {
                        !call
                            .network
                            .sets
                            .iter()
                            .flat_map(|set| set.ranges())
                            .any(|range| range.reserved().any(|hole| hole.contains(**ip)))
                    };
                    let kept = own.iter().filter(gives).find(gateway);
                    prop_assert!(kept.is_none_or(|ip| addresses(allocation).contains(ip)), "{:?} was kept", kept);
                }
            }
            prop_assert!(call.ips.iter().all(|asked| addresses(allocation).iter().any(|ip| ip.to_string() == *asked)));
        }
        Err(Refusal::Exhausted { set, counts, .. }) if set.contains("annotation") => {
            // All of the pool is held: cooldown does not apply to requests.
            let pool = asked_pool(call).unwrap();
            let taken = held.keys().chain(reserved.keys()).filter(|(vrf, ip)| *vrf == call.vrf && pool.contains(*ip));
            prop_assert_eq!((taken.count() as u128, counts.resting), (pool.len(), 0));
        }
        Err(Refusal::Exhausted { set, counts, .. }) => {
            // Nothing of that set is free: all of it is held, or in a strict cooldown.
            let set = call.network.sets.iter().find(|ranges| ranges.to_string() == *set).unwrap();
            let all = set.ranges().iter().flat_map(|range| range.dynamic().iter().copied().collect::<Vec<_>>());
            let size: u128 = all.clone().map(|span| span.len()).sum();
            let taken = held.keys().chain(reserved.keys());
            let taken = taken.filter(|(vrf, ip)| *vrf == call.vrf && all.clone().any(|span| span.contains(*ip)));
            prop_assert_eq!(taken.count() as u128 + counts.resting, size);
            prop_assert!(counts.resting == 0 || call.network.cooldown.strict);
        }
        Err(Refusal::Held { ip, holder, .. }) => {
            prop_assert_eq!(held.get(&(call.vrf.clone(), *ip)), Some(&holder.id));
            prop_assert!(holder.id != call.id);
            // An unscoped annotation is no conflict between two interfaces of a container, if the other one can get any
            // address.
            if call.annotations.contains_key("kube-ipam.ip") && holder.id.container == call.id.container {
                let set = call.network.sets.iter().find(|set| set.range_of(*ip).is_some()).unwrap();
                prop_assert!(set.ranges().iter().all(|range| range.dynamic().is_empty()));
            }
        }
        Err(Refusal::Reserved { ip, owner, .. }) => {
            let lease = &reserved[&(call.vrf.clone(), *ip)];
            prop_assert_eq!(lease.owner.as_ref(), Some(&**owner));
            prop_assert!(!call.sticky.as_ref().is_some_and(|keep| keep.owner.is(owner)));
        }
        Err(Refusal::OwnerHoldsOther { ip, owner, holder, .. }) => {
            prop_assert!(call.sticky.as_ref().is_some_and(|keep| keep.owner.is(owner)));
            prop_assert_eq!(held.get(&(call.vrf.clone(), *ip)), Some(&holder.id));
            prop_assert!(holder.id != call.id);
        }
        Err(Refusal::AlreadyHasOther { .. }) => prop_assert!(had.is_some()),
        Err(Refusal::NothingDynamic { .. } | Refusal::NotAssignable { .. }) => {}
        Err(other) => prop_assert!(false, "{}", other),
    }
    let most = if call.sticky.is_some() { 12 } else { 8 };
    prop_assert!(world.requests <= most, "{} requests", world.requests);
    Ok(())
}

fn release(world: &mut World, model: &mut Model, id: &AttachmentId, record: u8) -> Result<(), TestCaseError> {
    let known = model.given.remove(id);
    let vrf = known.as_ref().map_or(name("default"), |(vrf, _)| vrf.clone());
    let written = known.as_ref().filter(|_| record == 0).map(|(_, allocation)| allocation.written());
    let released = world.release(Release::new(id.clone(), vrf, written, record == 2));
    let had = known.map(|(_, allocation)| addresses(&allocation)).unwrap_or_default();
    prop_assert_eq!(released.freed, had);
    prop_assert_eq!(released.not_owned, []);
    if let Some(clear) = released.clear {
        world.state.commit(&clear);
    }
    Ok(())
}

/// The attachments that hold addresses of one owner on a network; except for claims, those of one interface.
fn owners_attachments(world: &World) -> BTreeMap<String, BTreeSet<AttachmentId>> {
    let mut of_owners: BTreeMap<String, BTreeSet<AttachmentId>> = BTreeMap::new();
    for entry in entries(&world.state, "ip/") {
        let Stored::Known(lease) = Stored::<Lease>::read(&entry.value) else { panic!("{}", entry.key) };
        let (vrf, _) = keys::read_lease(&entry.key).unwrap();
        for holder in lease.holders.iter().filter(|_| lease.is_held()) {
            let key = lease.owner.as_ref().map(|owner| keys::reservation(&vrf, owner, &holder.id).to_string());
            of_owners.entry(key.unwrap_or_default()).or_default().insert(holder.id.clone());
        }
    }
    of_owners.remove("");
    of_owners
}

/// The operator releases all reservations.
fn end_reservations(world: &mut World) {
    for (vrf, ip) in reserved(&world.state).into_keys() {
        let key = keys::lease(&vrf, ip);
        let entry = entries(&world.state, "ip/").into_iter().find(|entry| entry.key == key).unwrap();
        let mut evict = Evict::new(vrf, ip, entry.revision);
        let mut step = evict.start(world.now());
        while let Step::Commit(txn) = step {
            step = evict.next(&world.state.commit(&txn), world.now());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_called_no_address_has_two_owners_and_none_is_lost(networks in vec(networks(), 1..4), actions in actions()) {
        let (mut world, mut model) = (World::default(), Model::default());
        for action in actions {
            match action {
                Action::Add { attachment, network, vrf, asked, keeper } => {
                    let network = network.get(&networks);
                    let call = of(network, attachment).in_vrf(if vrf { "default" } else { "red" });
                    let call = sticky_call(call, keeper);
                    let call = asked.of(call, &Span::of_net(network.sets[0].ranges()[0].subnet));
                    let before = world.clone();
                    let end = world.add(&call);
                    check_add(&world, &model, &call, (&before, &end))?;
                    if let Ok(allocation) = end && !allocation.repeated {
                        model.given.insert(call.id, (call.vrf, allocation));
                    }
                }
                Action::Del { attachment, record } => {
                    let id = of(&networks[0], attachment).id;
                    release(&mut world, &mut model, &id, record)?;
                }
                Action::Wait(seconds) => world.wait(seconds),
            }
            prop_assert_eq!(contradictions(&world.state), Vec::<String>::new());
            prop_assert_eq!(world.held(), model.held());
            // None of these containers is ever gone.
            let several = owners_attachments(&world).into_iter().find(|(_, attachments)| attachments.len() > 1);
            prop_assert_eq!(several, None, "an owner has addresses in several places");
        }
        // Once everything is released and its cooldown over, each range is complete again.
        for id in model.given.keys().cloned().collect::<Vec<_>>() {
            release(&mut world, &mut model, &id, 0)?;
        }
        end_reservations(&mut world);
        world.wait(10_000);
        for (i, network) in networks.iter().enumerate() {
            let gives = |set: &crate::ipam::range::RangeSet| {
                set.ranges().iter().map(|range| range.dynamic().len()).sum::<u128>()
            };
            let smallest = network.sets.iter().map(gives).min().unwrap();
            let calls: Vec<Call> = (0..=smallest).map(|n| Call::of(&format!("again{i}-{n}"), network)).collect();
            for call in &calls[..smallest as usize] {
                prop_assert!(world.add(call).is_ok());
            }
            let last = world.add(&calls[smallest as usize]);
            let exhausted = match &last {
                Err(Refusal::Exhausted { counts, .. }) => counts.resting == 0,
                Err(Refusal::NothingDynamic { .. }) => smallest == 0,
                _ => false,
            };
            prop_assert!(exhausted, "{:?}", last);
            for call in &calls[..smallest as usize] {
                world.del(&call.id);
            }
            prop_assert_eq!(world.held().len(), 0);
            world.wait(10_000);
        }
    }
}
