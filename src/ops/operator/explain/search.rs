//! Searches in the store for what no key names: the addresses of a pod, a claim or a host.

use super::{Explainer, Found};
use crate::error::Error;
use crate::explain::ObjectName;
use crate::ipam::keys;
use crate::ipam::lease::{Lease, Stored};
use crate::ipam::name::IfName;
use crate::ipam::pod::Pod;
use crate::ipam::request::{FIRST_INTERFACE, NETWORKS, selected};
use crate::ipam::reservation::OwnerKind;
use crate::ipam::takeover::Mac;
use crate::ops::operator::STORE_TIMEOUT;
use crate::ops::operator::list::json_text;
use crate::store::Entry;

/// The addresses that a pod holds, or held last.
pub(super) fn of_pod(explainer: &Explainer<'_>, pod: &ObjectName) -> Result<Vec<Found>, Error> {
    let is_of = |lease: &Lease| {
        lease.holders.iter().any(|holder| {
            holder.pod.name.as_ref() == Some(&pod.name)
                && (pod.namespace.is_none() || holder.pod.namespace == pod.namespace)
        })
    };
    search(explainer, &pod.name, is_of)
}

/// The addresses that belong to a claim.
pub(super) fn of_claim(explainer: &Explainer<'_>, claim: &ObjectName) -> Result<Vec<Found>, Error> {
    let is_of = |lease: &Lease| {
        lease.owner.as_ref().is_some_and(|owner| {
            owner.kind == OwnerKind::IpamClaim
                && owner.name.as_str() == claim.name
                && claim.namespace.as_ref().is_none_or(|namespace| owner.namespace.as_str() == namespace)
        })
    };
    search(explainer, &claim.name, is_of)
}

/// The addresses for which a host without a lease answered.
pub(super) fn of_host(explainer: &Explainer<'_>, mac: Mac) -> Result<Vec<Found>, Error> {
    let is_of = |lease: &Lease| lease.foreign().is_some_and(|foreign| foreign.mac == mac);
    search(explainer, &mac.to_string(), is_of)
}

/// The leases that contain a text and meet a condition. Only those that contain the text are parsed.
fn search(explainer: &Explainer<'_>, text: &str, is_wanted: impl Fn(&Lease) -> bool) -> Result<Vec<Found>, Error> {
    let span = explainer.options.vrf.as_ref().map_or_else(keys::all_leases, keys::leases_of_vrf);
    let text = json_text(text);
    let (mut found, mut read) = (Vec::new(), 0);
    explainer.session.each(&span, STORE_TIMEOUT, |entry: &Entry| {
        read += 1;
        explainer.leases_read(read);
        if String::from_utf8_lossy(&entry.value).contains(&text)
            && let Some((vrf, ip)) = keys::read_lease(&entry.key)
            && let lease = Stored::<Lease>::read(&entry.value)
            && lease.as_known().is_some_and(&is_wanted)
        {
            found.push(Found { vrf, ip, lease });
        }
        Ok::<_, Error>(())
    })?;
    Ok(found)
}

/// Namespace and name of the definition that a pod selects for an interface.
pub(super) fn definition_of(pod: &Pod, ifname: &str) -> Option<(String, String)> {
    let elements = pod.annotations.get(NETWORKS).and_then(|text| selected(text.trim()))?;
    let element = elements.iter().find(|element| element.interface() == Some(ifname))?;
    Some((element.namespace().unwrap_or(&pod.namespace).to_owned(), element.name()?.to_owned()))
}

/// The interfaces that a pod's annotations name, or only the one that is asked about. The first one is named only if
/// an annotation is about it, because in most clusters another plugin serves it.
pub(super) fn interfaces(pod: &Pod, only: Option<&IfName>) -> Vec<String> {
    let elements = pod.annotations.get(NETWORKS).and_then(|text| selected(text.trim())).unwrap_or_default();
    let first = format!("kube-ipam.{FIRST_INTERFACE}.");
    let has_first = pod.annotations.keys().any(|key| key.starts_with(&first));
    let first = has_first.then(|| FIRST_INTERFACE.to_owned());
    let named = elements.iter().filter_map(|element| element.interface()).map(str::to_owned);
    let all = first.into_iter().chain(named);
    all.filter(|ifname| only.is_none_or(|only| only.as_str() == ifname)).collect()
}
