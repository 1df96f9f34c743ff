//! Lists addresses with their leases, each as soon as it is read.
//!
//! ```text
//!  --ip      one lease in each vrf; the vrfs are found by skipping from one to the next
//!  --node    at/<node>/, and the leases that its attachments list
//!  --pool    net/, and the spans of ip/<vrf>/ that belong to pools of this name
//!  --vrf     ip/<vrf>/
//!  else      ip/
//! ```
//!
//! No key has the name of a pod or a network. Those options read everything in these spans, but parse only leases whose
//! text contains the name.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::STORE_TIMEOUT;
use crate::deadline::Deadline;
use crate::error::Error;
use crate::ipam::address::{Family, Spans};
use crate::ipam::keys;
use crate::ipam::lease::{Attachment, Holder, Lease, Stored};
use crate::ipam::name::Name;
use crate::ipam::usage::Usage;
use crate::ops::Session;
use crate::store::{Cursor, Entry, Key, StoreConfig};

/// Which addresses are listed: those that match all of these.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListOptions {
    /// Only this routing domain.
    pub vrf: Option<Name>,
    /// Only what holders or foreign hosts on this network have, or had last.
    pub network: Option<Name>,
    /// Only the addresses of pools of this name.
    pub pool: Option<String>,
    /// Only what this node's attachments hold.
    pub node: Option<Name>,
    /// Only what this pod holds or held last: `name` or `namespace/name`.
    pub pod: Option<String>,
    /// Only this address.
    pub ip: Option<IpAddr>,
}

/// One address that has a lease.
#[derive(Clone, Debug, PartialEq)]
pub struct AddressRow {
    /// Its routing domain.
    pub vrf: Name,
    /// The address.
    pub address: IpAddr,
    /// Its lease, as far as it can be parsed.
    pub lease: Stored<Lease>,
}

/// Passes on every address that matches, in the order of their keys. An error of `show` ends the listing.
pub fn list<E: From<Error>>(
    store: &StoreConfig,
    options: &ListOptions,
    mut show: impl FnMut(AddressRow) -> Result<(), E>,
) -> Result<(), E> {
    let session = Session::open(store.clone(), None)?;
    let pools = options.pool.as_deref().map(|pool| of_pool(&session, pool, options)).transpose()?;
    let filter = Filter::new(options, pools.as_ref());
    let mut show_entry = |entry: &Entry| match filter.read(entry) {
        Some(row) => show(row),
        None => Ok(()),
    };
    let by_key = match (options.ip, &options.node) {
        (Some(ip), _) => keys_of_address(&session, ip.to_canonical(), options.vrf.as_ref())?,
        (None, Some(node)) => of_node(&session, node)?,
        (None, None) => {
            if let Some(pools) = &pools {
                let spans = pools.iter().flat_map(|((vrf, _), spans)| spans.iter().map(|span| keys::leases(vrf, span)));
                return spans.into_iter().try_for_each(|span| session.each(&span, STORE_TIMEOUT, &mut show_entry));
            }
            let span = options.vrf.as_ref().map_or_else(keys::all_leases, keys::leases_of_vrf);
            return session.each(&span, STORE_TIMEOUT, show_entry);
        }
    };
    session.each_of(by_key, STORE_TIMEOUT, &mut show_entry)
}

/// The keys of an address: one in each vrf, or only in the requested one.
pub(super) fn keys_of_address(session: &Session, ip: IpAddr, vrf: Option<&Name>) -> Result<BTreeSet<Key>, Error> {
    let vrfs = vrf.map_or_else(|| vrfs(session), |vrf| Ok(vec![vrf.clone()]))?;
    Ok(vrfs.iter().map(|vrf| keys::lease(vrf, ip)).collect())
}

/// The vrfs that have a lease. They are found by skipping from one to the next.
pub(super) fn vrfs(session: &Session) -> Result<Vec<Name>, Error> {
    let mut found = Vec::new();
    let mut rest = keys::all_leases();
    loop {
        let page = session.page(&rest, &Cursor::default(), 1, Deadline::after(STORE_TIMEOUT))?;
        let Some(first) = page.entries.first() else { return Ok(found) };
        rest.from = match keys::read_lease(&first.key) {
            Some((vrf, _)) => {
                let after = keys::leases_of_vrf(&vrf).to;
                found.push(vrf);
                after
            }
            None => first.key.clone().successor(),
        };
    }
}

/// The keys of the leases that a node's attachments list.
fn of_node(session: &Session, node: &Name) -> Result<BTreeSet<Key>, Error> {
    let mut found = BTreeSet::new();
    session.each(&keys::attachments_of(node), STORE_TIMEOUT, |entry| {
        if let Stored::Known(Attachment { vrf, addresses, .. }) = Stored::read(&entry.value) {
            found.extend(addresses.iter().map(|assigned| keys::lease(&vrf, assigned.address.addr())));
        }
        Ok::<_, Error>(())
    })?;
    Ok(found)
}

/// The spans of the pools of one name in each vrf, in the order of keys.
type PoolSpans = BTreeMap<(Name, Family), Spans>;

fn of_pool(session: &Session, pool: &str, options: &ListOptions) -> Result<PoolSpans, Error> {
    let mut usage = Usage::default();
    session.each(&keys::all_definitions(), STORE_TIMEOUT, |entry| {
        usage.note(entry);
        Ok::<_, Error>(())
    })?;
    let mut found = PoolSpans::new();
    for (vrf, network, span) in usage.pool_spans(pool) {
        let is_asked_for = |asked: &Option<Name>, name| asked.as_ref().is_none_or(|asked| asked == name);
        if is_asked_for(&options.vrf, vrf) && is_asked_for(&options.network, network) {
            let spans = found.entry((vrf.clone(), span.family())).or_default();
            // Several networks may have a pool of this name, and share addresses.
            *spans = spans.iter().copied().chain([span]).collect();
        }
    }
    Ok(found)
}

/// The conditions that an entry must meet.
struct Filter<'a> {
    options: &'a ListOptions,
    /// The spans of the requested pools.
    pools: Option<&'a PoolSpans>,
    /// Texts that every matching lease contains, escaped as in JSON.
    texts: Vec<String>,
}

impl<'a> Filter<'a> {
    fn new(options: &'a ListOptions, pools: Option<&'a PoolSpans>) -> Self {
        let pod = options.pod.as_deref().map(|pod| pod.rsplit('/').next().unwrap_or(pod));
        let texts = pod.into_iter().chain(options.network.as_ref().map(Name::as_str));
        Self { options, pools, texts: texts.map(json_text).collect() }
    }

    fn read(&self, entry: &Entry) -> Option<AddressRow> {
        let (vrf, address) = keys::read_lease(&entry.key)?;
        let text = String::from_utf8_lossy(&entry.value);
        if !self.texts.iter().all(|wanted| text.contains(wanted)) {
            return None;
        }
        let row = AddressRow { vrf, address, lease: Stored::read(&entry.value) };
        self.fits(&row).then_some(row)
    }

    fn fits(&self, row: &AddressRow) -> bool {
        let ListOptions { vrf, network, node, pod, ip, pool: _ } = self.options;
        let in_pool = |pools: &PoolSpans| {
            let spans = pools.get(&(row.vrf.clone(), Family::of(row.address)));
            spans.is_some_and(|spans| spans.contains(row.address))
        };
        let holders = row.lease.as_known().into_iter().flat_map(|lease| &lease.holders);
        let any = |matches: &dyn Fn(&Holder) -> bool| holders.clone().any(matches);
        let is_held = || row.lease.as_known().is_some_and(Lease::is_held);
        vrf.as_ref().is_none_or(|vrf| row.vrf == *vrf)
            && ip.is_none_or(|ip| row.address == ip.to_canonical())
            && network
                .as_ref()
                .is_none_or(|network| any(&|holder| holder.id.network == *network) || is_foreign_on(row, network))
            && self.pools.is_none_or(in_pool)
            && node.as_ref().is_none_or(|node| is_held() && any(&|holder| holder.id.node == *node))
            && pod.as_ref().is_none_or(|pod| any(&|holder| is_pod(holder, pod)))
    }
}

/// Whether a host without a lease uses the address on this network.
fn is_foreign_on(row: &AddressRow, network: &Name) -> bool {
    let foreign = row.lease.as_known().and_then(Lease::foreign);
    foreign.is_some_and(|foreign| foreign.network == *network)
}

/// A text escaped as in JSON, without the quotes.
pub(super) fn json_text(text: &str) -> String {
    let quoted = serde_json::Value::from(text).to_string();
    quoted.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or_default().to_owned()
}

/// Whether the holder's pod has this name, with or without its namespace.
fn is_pod(holder: &Holder, wanted: &str) -> bool {
    holder.pod.name.as_deref() == Some(wanted) || holder.pod.label().as_deref() == Some(wanted)
}
