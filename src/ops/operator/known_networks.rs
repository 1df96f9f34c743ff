//! The networks that are known here, and what they offer in a span of addresses.
//!
//! They are those of `explain`: the one of `--config`, those of the cluster's NetworkAttachmentDefinitions and of the
//! node's CNI folder, and those that ADDs have stored.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::PathBuf;

use serde_json::{Map, Value};

use super::explain::api::Api;
use super::explain::networks;
use crate::config::CallSettings;
use crate::error::Error;
use crate::explain::{NetworkView, OfferedSpan, offers};
use crate::host_local;
use crate::ipam::address::Span;
use crate::ipam::name::Name;
use crate::ops::Session;

/// Where networks are looked for, besides the cluster and the store.
#[derive(Clone, Debug, Default)]
pub struct NetworkSources {
    /// The configuration of a network, with its file. It wins over all others of its name.
    pub config: Option<(PathBuf, Map<String, Value>)>,
    /// The folder with the networks of this node's runtime.
    pub cni_folder: PathBuf,
}

/// The networks, as far as their definitions were found.
pub(super) struct KnownNetworks {
    networks: Vec<NetworkView>,
}

impl KnownNetworks {
    /// Finds them.
    pub(super) fn find(
        session: &Session,
        settings: &CallSettings,
        env: &dyn Fn(&str) -> Option<String>,
        sources: &NetworkSources,
    ) -> Result<Self, Error> {
        let mut api = Api::new(settings);
        let found = networks::find(session, &mut api, env, sources.config.as_ref(), &sources.cni_folder)?;
        Ok(Self { networks: found.views })
    }

    /// The routing domains in which a network has a subnet in this span.
    pub(super) fn vrfs(&self, span: &Span) -> BTreeSet<Name> {
        let has_part = |network: &&NetworkView| {
            let mut subnets = network.ranges.iter().map(|range| Span::of_net(range.range().subnet));
            subnets.any(|subnet| subnet.intersection(span).is_some())
        };
        self.networks.iter().filter(has_part).map(|network| network.vrf.clone()).collect()
    }

    /// What the networks of a routing domain offer in a span; only these networks if some are named.
    pub(super) fn offers(&self, vrf: &Name, span: Span, only: &BTreeSet<Name>) -> Vec<OfferedSpan> {
        offers(&self.of_vrf(vrf, only).collect::<Vec<_>>(), span)
    }

    /// The addresses of a span that host-local's files on this node hold on these networks. No ADD on this node assigns
    /// them. A folder that can't be read is left out; an ADD would be refused then.
    pub(super) fn held_by_host_local(&self, vrf: &Name, span: &Span) -> BTreeSet<IpAddr> {
        let folders: Vec<PathBuf> =
            self.of_vrf(vrf, &BTreeSet::new()).flat_map(|network| network.host_local.iter().cloned()).collect();
        let held = host_local::held(&folders).unwrap_or_default();
        held.into_keys().filter(|ip| span.contains(*ip)).collect()
    }

    fn of_vrf<'a>(&'a self, vrf: &'a Name, only: &'a BTreeSet<Name>) -> impl Iterator<Item = &'a NetworkView> {
        let is_asked_for = |name: &Name| only.is_empty() || only.contains(name);
        self.networks.iter().filter(move |network| network.vrf == *vrf && is_asked_for(&network.name))
    }
}
