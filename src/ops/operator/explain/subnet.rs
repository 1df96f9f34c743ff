//! Surveys a subnet: counts its leases by state, and explains those that need attention. Memory does not grow with the
//! number of leases; with that of pods, by their UIDs.

use std::collections::BTreeMap;

use ipnet::IpNet;

use super::{Explainer, reading};
use crate::error::Error;
use crate::explain::{Explanation, SubnetSurvey};
use crate::ipam::address::Span;
use crate::ipam::keys;
use crate::ipam::lease::Stored;
use crate::ipam::name::Name;
use crate::ops::operator::list::vrfs;
use crate::ops::operator::{STORE_TIMEOUT, Work};
use crate::store::Entry;

/// Explains a subnet in each routing domain that has a lease in it.
pub(super) fn explain(explainer: &mut Explainer<'_>, net: IpNet) -> Result<Vec<Explanation>, Error> {
    (explainer.at_work)(reading("the list of pods", 0));
    let census = explainer.api.census();
    (explainer.at_work)(reading("leases", 0));
    let mut read = 0;
    let vrfs = match &explainer.options.vrf {
        Some(vrf) => vec![vrf.clone()],
        None => vrfs(&explainer.session)?,
    };
    let mut surveys: BTreeMap<Name, SubnetSurvey> = BTreeMap::new();
    for vrf in vrfs {
        let mut survey = SubnetSurvey::new(net, vrf.clone(), explainer.now);
        let mut is_empty = true;
        explainer.session.each(&keys::leases(&vrf, &Span::of_net(net)), STORE_TIMEOUT, |entry: &Entry| {
            read += 1;
            explainer.leases_read(read);
            if let Some((_, ip)) = keys::read_lease(&entry.key) {
                is_empty = false;
                let exists = |pod: &_, cluster: Option<&str>| census.as_ref().ok()?.has(pod, cluster);
                survey.note(ip, &Stored::read(&entry.value), exists);
            }
            Ok::<_, Error>(())
        })?;
        if !is_empty {
            surveys.insert(vrf, survey);
        }
    }
    if surveys.is_empty() {
        let vrf = explainer.options.vrf.as_ref().unwrap_or(&explainer.node.settings.vrf).clone();
        surveys.insert(vrf.clone(), SubnetSurvey::new(net, vrf, explainer.now));
    }
    let unknown = census.as_ref().err().map(String::as_str);
    surveys.into_iter().map(|(vrf, survey)| explain_in(explainer, vrf, survey, unknown)).collect()
}

fn explain_in(
    explainer: &mut Explainer<'_>,
    vrf: Name,
    survey: SubnetSurvey,
    unknown: Option<&str>,
) -> Result<Explanation, Error> {
    let mut parts = Vec::new();
    for (done, ip) in (0..).zip(survey.picked()) {
        let total = Some(survey.picked().len() as u64);
        (explainer.at_work)(Work { what: "addresses that need attention", done, total });
        // What was freed in the meantime needs no attention.
        if let Some((_, lease)) = explainer.leases(*ip)?.into_iter().find(|(of, _)| *of == vrf) {
            parts.push(explainer.address_in(vrf.clone(), *ip, Some(lease))?);
        }
    }
    Ok(survey.explain(parts, unknown))
}
