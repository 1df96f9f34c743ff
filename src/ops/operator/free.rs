//! Finds the free addresses of a span: those that a pod could get now, at random or on request.
//!
//! It reads the leases of the span, and holds one span of free addresses at a time.

use std::collections::BTreeSet;
use std::net::IpAddr;

use jiff::Timestamp;

use super::STORE_TIMEOUT;
use super::known_networks::{KnownNetworks, NetworkSources};
use crate::config::CallSettings;
use crate::error::Error;
use crate::explain::{FreeSpan, FreeSpans};
use crate::ipam::address::Span;
use crate::ipam::keys;
use crate::ipam::lease::{OpenTo, Stored};
use crate::ipam::name::Name;
use crate::ops::Session;
use crate::store::{Entry, StoreConfig};

/// Which free addresses are listed.
#[derive(Clone, Debug)]
pub struct FreeOptions {
    /// The addresses.
    pub span: Span,
    /// Routing domains; all in which a network has a part of the span if none is named.
    pub vrfs: BTreeSet<Name>,
    /// Networks; all if none is named.
    pub networks: BTreeSet<Name>,
    /// Where networks are looked for.
    pub sources: NetworkSources,
}

/// Why free addresses can't be listed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FreeError {
    /// No network is known that could assign one of the addresses.
    #[error("no known network has a subnet in {0}; name the network's configuration with --config")]
    NoNetwork(Span),
}

/// Passes on every span of free addresses, with its routing domain, in the order of keys.
pub fn free<E: From<Error> + From<FreeError>>(
    settings: &CallSettings,
    store: &StoreConfig,
    env: &dyn Fn(&str) -> Option<String>,
    options: &FreeOptions,
    mut show: impl FnMut(&Name, FreeSpan) -> Result<(), E>,
) -> Result<(), E> {
    let session = Session::open(store.clone(), None)?;
    let known = KnownNetworks::find(&session, settings, env, &options.sources)?;
    let with_networks = known.vrfs(&options.span);
    let is_asked_for = |vrf: &&Name| options.vrfs.is_empty() || options.vrfs.contains(*vrf);
    let vrfs: Vec<&Name> = with_networks.iter().filter(is_asked_for).collect();
    if vrfs.is_empty() {
        return Err(FreeError::NoNetwork(options.span).into());
    }
    vrfs.into_iter().try_for_each(|vrf| free_in(&session, &known, vrf, options, |span| show(vrf, span)))
}

/// The free addresses of one routing domain.
fn free_in<E: From<Error>>(
    session: &Session,
    known: &KnownNetworks,
    vrf: &Name,
    options: &FreeOptions,
    mut show: impl FnMut(FreeSpan) -> Result<(), E>,
) -> Result<(), E> {
    let now = Timestamp::now();
    let mut free = FreeSpans::new(known.offers(vrf, options.span, &options.networks));
    let mut of_host_local: BTreeSet<IpAddr> = known.held_by_host_local(vrf, &options.span);
    session.each(&keys::leases(vrf, &options.span), STORE_TIMEOUT, |entry: &Entry| {
        let Some((_, ip)) = keys::read_lease(&entry.key) else { return Ok(()) };
        let later = of_host_local.split_off(&ip);
        for held in std::mem::replace(&mut of_host_local, later) {
            free.note(held, OpenTo::Nobody).into_iter().try_for_each(&mut show)?;
        }
        let open_to = match of_host_local.remove(&ip) {
            true => OpenTo::Nobody,
            false => OpenTo::new(&Stored::read(&entry.value), now),
        };
        free.note(ip, open_to).into_iter().try_for_each(&mut show)
    })?;
    for held in of_host_local {
        free.note(held, OpenTo::Nobody).into_iter().try_for_each(&mut show)?;
    }
    free.end().into_iter().try_for_each(show)
}
