//! Counts how full each range is, in one pass over the definitions and leases, and draws maps of networks.

use std::collections::{BTreeMap, BTreeSet};

use ipnet::IpNet;
use jiff::Timestamp;

use super::known_networks::{KnownNetworks, NetworkSources};
use super::{STORE_TIMEOUT, usage_samples};
use crate::config::CallSettings;
use crate::error::Error;
use crate::explain::{NetworkView, OfferedSpan, offers};
use crate::ipam::address::Span;
use crate::ipam::address_map::{AddressMap, Ground};
use crate::ipam::keys;
use crate::ipam::lease::{Definition, Stored};
use crate::ipam::name::Name;
use crate::ipam::usage::{FreeRuns, RangeKey, RangeUsage, Trend, Usage};
use crate::ops::Session;
use crate::store::{Entry, StoreConfig};

/// How full each range is, and what is free of it.
#[derive(Clone, Debug)]
pub struct UsageReport {
    /// The counts.
    pub usage: Usage,
    /// The largest run of addresses without a lease in each range that has one.
    pub runs: BTreeMap<RangeKey, Span>,
    /// The addresses of each subnet that no pod gets.
    pub never: BTreeMap<SubnetKey, Vec<NeverAssigned>>,
    /// How each range fills.
    pub trends: BTreeMap<RangeKey, Trend>,
}

/// Routing domain, network and subnet.
pub type SubnetKey = (Name, Name, IpNet);

/// Addresses that no pod gets, neither at random nor on request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NeverAssigned {
    /// The addresses.
    pub span: Span,
    /// Why, as `explain` says it.
    pub why: String,
}

/// Counts the addresses in use. Of each lease, it keeps only the group that the lease counts for.
pub fn usage(store: &StoreConfig) -> Result<UsageReport, Error> {
    let session = Session::open(store.clone(), None)?;
    let mut usage = Usage::default();
    let mut views: BTreeMap<(Name, Name), Vec<NetworkView>> = BTreeMap::new();
    session.each(&keys::all_definitions(), STORE_TIMEOUT, |entry| {
        usage.note(entry);
        if let Some((vrf, network)) = keys::read_definition(&entry.key)
            && let Stored::Known(definition) = Stored::<Definition>::read(&entry.value)
        {
            let view = NetworkView::from_store(vrf.clone(), network.clone(), &definition);
            views.entry((vrf, network)).or_default().push(view);
        }
        Ok::<_, Error>(())
    })?;
    let mut runs = FreeRuns::new(&usage);
    session.each(&keys::all_leases(), STORE_TIMEOUT, |entry| {
        usage.note(entry);
        if let Some((vrf, ip)) = keys::read_lease(&entry.key) {
            runs.note(&vrf, ip);
        }
        Ok::<_, Error>(())
    })?;
    let never = views.into_iter().flat_map(|((vrf, network), views)| {
        let subnets: BTreeSet<IpNet> =
            views.iter().flat_map(|view| &view.ranges).map(|range| range.range().subnet).collect();
        let of_subnet = |subnet: IpNet| ((vrf.clone(), network.clone(), subnet), never_assigned(&views, subnet));
        subnets.into_iter().map(of_subnet).collect::<Vec<_>>()
    });
    let trends = trends(&session, &usage)?;
    Ok(UsageReport { runs: runs.end(), never: never.collect(), trends, usage })
}

/// How each range fills, by the samples that the controller has stored.
fn trends(session: &Session, usage: &Usage) -> Result<BTreeMap<RangeKey, Trend>, Error> {
    let (histories, now) = (usage_samples::read(session)?, Timestamp::now());
    let trend = |range: RangeUsage| {
        let history = histories.get(&(range.key.vrf.clone(), range.key.network.clone()));
        let trend = history.map_or(Trend::Unknown, |(_, history)| history.trend(&range, now));
        (range.key, trend)
    };
    Ok(usage.ranges().into_iter().map(trend).collect())
}

/// The addresses of a subnet that a network never assigns.
fn never_assigned(views: &[NetworkView], subnet: IpNet) -> Vec<NeverAssigned> {
    let offered = offers(&views.iter().collect::<Vec<_>>(), Span::of_net(subnet));
    let refused = offered.into_iter().filter(|span| !span.random() && !span.request());
    let why = |OfferedSpan { span, offers }: OfferedSpan| {
        let why = offers.into_iter().find_map(|offer| offer.refused)?;
        Some(NeverAssigned { span, why })
    };
    refused.filter_map(why).collect()
}

/// Which map is drawn.
#[derive(Clone, Debug)]
pub struct MapOptions {
    /// The network.
    pub net: IpNet,
    /// Routing domains; all that have a network or a lease there if none is named.
    pub vrfs: BTreeSet<Name>,
    /// Networks whose addresses are free in the map; all if none is named. Leases of others are in it, too.
    pub networks: BTreeSet<Name>,
    /// The most blocks.
    pub blocks: u32,
    /// Where networks are looked for.
    pub sources: NetworkSources,
}

/// Makes a map for each routing domain. Memory does not grow with the number of leases.
pub fn map(
    settings: &CallSettings,
    store: &StoreConfig,
    env: &dyn Fn(&str) -> Option<String>,
    options: &MapOptions,
) -> Result<BTreeMap<Name, AddressMap>, Error> {
    let session = Session::open(store.clone(), None)?;
    let known = KnownNetworks::find(&session, settings, env, &options.sources)?;
    let whole = Span::of_net(options.net);
    let mut vrfs = options.vrfs.clone();
    if vrfs.is_empty() {
        vrfs = known.vrfs(&whole);
        vrfs.extend(super::list::vrfs(&session)?);
    }
    let mut maps = BTreeMap::new();
    for vrf in vrfs {
        let ground = known.offers(&vrf, whole, &options.networks).into_iter().map(|span| (span.span, ground(&span)));
        let mut map = AddressMap::new(options.net, options.blocks, ground.collect());
        session.each(&keys::leases(&vrf, &whole), STORE_TIMEOUT, |entry: &Entry| {
            if let Some((_, ip)) = keys::read_lease(&entry.key) {
                map.note(ip, &Stored::read(&entry.value));
            }
            Ok::<_, Error>(())
        })?;
        if known.vrfs(&whole).contains(&vrf) || map.total().leases() > 0 || options.vrfs.contains(&vrf) {
            maps.insert(vrf, map);
        }
    }
    Ok(maps)
}

fn ground(offered: &OfferedSpan) -> Ground {
    match (offered.offers.is_empty(), offered.random(), offered.request()) {
        (true, _, _) => Ground::Unknown,
        (false, true, _) => Ground::Random,
        (false, false, true) => Ground::Request,
        (false, false, false) => Ground::Never,
    }
}
