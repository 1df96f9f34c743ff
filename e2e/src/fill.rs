//! Fills a store or host-local's folder with many held addresses, without a call for each.

use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use jiff::Timestamp;
use kube_ipam::deadline::Deadline;
use kube_ipam::ipam::keys::{self, CooldownClass};
use kube_ipam::ipam::lease::{self, AllocationKind, Began, Holder, Lease, OnRelease, PodRef, Rest, RestEntry, Unknown};
use kube_ipam::ipam::name::{AttachmentId, IfName, Name};
use kube_ipam::ops::Session;
use kube_ipam::store::{Guard, Op, StoreConfig, Txn};

use crate::Result;

/// The /16 that is filled. Its first address is the gateway, which is never assigned.
pub const SUBNET: &str = "10.188.0.0/16";

/// The number of addresses that can be assigned: all except the network, broadcast and gateway addresses.
pub const SIZE: u32 = (1 << 16) - 3;

/// How many leases one transaction writes.
const AT_ONCE: usize = 100;

/// This many addresses of [`SUBNET`], spread evenly over it.
pub fn addresses(count: u32) -> impl Iterator<Item = Ipv4Addr> {
    // It has no common divisor with the size, so each address comes once.
    const STEP: u32 = 40_503;
    let first = u32::from(Ipv4Addr::new(10, 188, 0, 2));
    (0..count.min(SIZE)).map(move |i| Ipv4Addr::from_bits(first + i * STEP % SIZE))
}

/// Writes leases into a store, each for a container on another node. Omits the attachments, which no ADD or DEL of
/// another attachment reads.
pub fn store(config: &StoreConfig, held: impl IntoIterator<Item = Ipv4Addr>) -> Result<()> {
    let held: Vec<Ipv4Addr> = held.into_iter().collect();
    if let StoreConfig::Kubernetes(_) = config {
        return one_by_one(config, &held);
    }
    let session = Session::open(config.clone(), None)?;
    let vrf = Name::new("default")?;
    // An empty transaction creates the tables even if there are no leases.
    for some in std::iter::once(&held[..0]).chain(held.chunks(AT_ONCE)) {
        let puts = some.iter().map(|ip| {
            let ip = IpAddr::V4(*ip);
            Ok(Op::Put(keys::lease(&vrf, ip), lease::write(&lease_of(ip)?)))
        });
        let txn = Txn::new(Vec::new(), puts.collect::<Result<_>>()?, Vec::new())?;
        session.commit(&txn, Deadline::after(Duration::from_secs(30)))?;
    }
    Ok(())
}

/// The same in a store of objects, without the leases that it has already. A transaction that creates one object is one
/// request, and several connections send them side by side.
fn one_by_one(config: &StoreConfig, held: &[Ipv4Addr]) -> Result<()> {
    const CONNECTIONS: usize = 8;
    let vrf = Name::new("default")?;
    let next = AtomicUsize::new(0);
    let create = || -> Result<()> {
        let session = Session::open(config.clone(), None)?;
        while let Some(ip) = held.get(next.fetch_add(1, Ordering::Relaxed)) {
            let ip = IpAddr::V4(*ip);
            let key = keys::lease(&vrf, ip);
            let put = Op::Put(key.clone(), lease::write(&lease_of(ip)?));
            let txn = Txn::new(vec![Guard::Absent(key)], vec![put], Vec::new())?;
            session.commit(&txn, Deadline::after(Duration::from_secs(30)))?;
        }
        Ok(())
    };
    thread::scope(|scope| {
        let creators: Vec<_> = (0..CONNECTIONS).map(|_| scope.spawn(create)).collect();
        creators
            .into_iter()
            .try_for_each(|creator| creator.join().map_err(|_| "a thread that fills a store panicked")?)
    })
}

fn lease_of(ip: IpAddr) -> Result<Lease> {
    let id = AttachmentId {
        node: Name::new("node-2")?,
        container: Name::new(container(ip))?,
        ifname: IfName::new("eth0")?,
        network: Name::new("blue")?,
    };
    let began = Began { boot: "0bca6a5e-0e3e-4a2f-9c39-6f8f5f2f4c0e".to_owned(), boottime: 1_000 };
    let holder = Holder {
        id,
        pod: PodRef::default(),
        workload: None,
        controller: None,
        cluster: None,
        began,
        unknown: Unknown::new(),
    };
    Ok(Lease::new(AllocationKind::Dynamic, vec![holder], Timestamp::UNIX_EPOCH, OnRelease::Rest(30)))
}

/// Puts this many addresses of another network in cooldown. They were released long ago with a long cooldown.
pub fn rests(config: &StoreConfig, count: u32) -> Result<()> {
    let session = Session::open(config.clone(), None)?;
    let vrf = Name::new("default")?;
    let rest = Rest { released: Timestamp::from_second(1_000_000_000)?, seconds: u64::from(u32::MAX), last: false };
    let ips: Vec<IpAddr> = (0..count).map(|n| IpAddr::from(Ipv4Addr::from_bits(0xac10_0000 + n))).collect();
    for some in ips.chunks(AT_ONCE / 2) {
        let mut puts = Vec::new();
        for ip in some {
            let lease = Lease { rest: Some(rest.clone()), ..lease_of(*ip)? };
            let key = keys::rest(&vrf, CooldownClass::Normal, rest.released, *ip);
            puts.push(Op::Put(keys::lease(&vrf, *ip), lease::write(&lease)));
            puts.push(Op::Put(key, lease::write(&RestEntry { v: lease::VERSION, rest: rest.clone() })));
        }
        session.commit(&Txn::new(Vec::new(), puts, Vec::new())?, Deadline::after(Duration::from_secs(30)))?;
    }
    Ok(())
}

/// Writes addresses into host-local's folder for a network: one file per address, and the file with the last one.
pub fn host_local(folder: &Path, held: impl IntoIterator<Item = Ipv4Addr>) -> Result<()> {
    fs::create_dir_all(folder)?;
    let mut last = None;
    for ip in held {
        fs::write(folder.join(ip.to_string()), format!("{}\r\neth0", container(ip.into())))?;
        last = Some(ip);
    }
    if let Some(ip) = last {
        fs::write(folder.join("last_reserved_ip.0"), ip.to_string())?;
    }
    Ok(())
}

/// A container id as long as those of runtimes.
fn container(ip: IpAddr) -> String {
    format!("{:064x}", kube_ipam::ipam::address::number(ip))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_address_of_the_subnet_comes_once_and_the_gateway_never() {
        let all: BTreeSet<Ipv4Addr> = addresses(SIZE).collect();
        assert_eq!(all.len(), SIZE as usize);
        assert_eq!(all.first(), Some(&Ipv4Addr::new(10, 188, 0, 2)));
        assert_eq!(all.last(), Some(&Ipv4Addr::new(10, 188, 255, 254)));
    }
}
