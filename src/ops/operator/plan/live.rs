//! A cluster in use, for a plan: its store and API server are read, and the ADDs of planned pods are rehearsed.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::super::STORE_TIMEOUT;
use super::super::sweep::identify;
use super::manifest;
use crate::config::CallSettings;
use crate::deadline::Deadline;
use crate::error::Error;
use crate::ipam::address::Span;
use crate::ipam::cluster::ClusterIdentity;
use crate::ipam::decide::{Add, Allocation, AllocationPolicy, StickyPolicy};
use crate::ipam::keys;
use crate::ipam::lease::{Beneficiary, BeneficiaryKind, Holder, Lease, Stored};
use crate::ipam::name::Name;
use crate::ipam::pod::Controller;
use crate::ipam::refusal::Refusal;
use crate::ipam::reservation::{Owner, OwnerKind};
use crate::ops::prepared;
use crate::ops::rehearsal::Rehearsal;
use crate::plan::{Cluster, ClusterAdd, Keeper, LookupError, NamedObject, Source};
use crate::store::StoreConfig;

/// A cluster that is only read.
pub(super) struct LiveCluster<'a> {
    rehearsal: Rehearsal<'a>,
    settings: &'a CallSettings,
    store: &'a StoreConfig,
    identity: ClusterIdentity,
    /// The UIDs of claims and StatefulSets in the API, by namespace and name.
    uids: BTreeMap<(OwnerKind, Name, Name), Option<String>>,
}

impl<'a> LiveCluster<'a> {
    /// Fails if the store does not respond, or if there is a kubeconfig and its API server does not.
    pub(super) fn open(settings: &'a CallSettings, store: &'a StoreConfig) -> Result<Self, Error> {
        let mut rehearsal = Rehearsal::new(settings, store, STORE_TIMEOUT)?;
        rehearsal.session().ping(Deadline::after(STORE_TIMEOUT))?;
        let identity = match rehearsal.opened_api()? {
            Some(api) => identify(api, settings).map_err(|error| match error {
                Error::NoCensus(cause) => Error::Cluster(cause),
                other => other,
            })?,
            None => ClusterIdentity::unknown("there is no kubeconfig".to_owned()),
        };
        Ok(Self { rehearsal, settings, store, identity, uids: BTreeMap::new() })
    }

    /// Whether an API server says which holders are gone.
    pub(super) fn asks_api_server(&mut self) -> Result<bool, Error> {
        Ok(self.rehearsal.opened_api()?.is_some())
    }

    /// For whom the pod's addresses are reserved. A claim or StatefulSet that the API does not have yet has no
    /// reservation that could be checked. A virtual machine is known by its name.
    fn sticky(&mut self, keeper: &Keeper<'_>, ttl: Option<u64>) -> Result<Option<StickyPolicy>, Error> {
        let Keeper { kind, namespace, name, pod } = *keeper;
        let [Ok(namespace), Ok(name)] = [namespace, name].map(Name::new) else { return Ok(None) };
        let Ok(pod) = pod.map(Name::new).transpose() else { return Ok(None) };
        let cluster = self.identity.id().map(str::to_owned);
        let owner = Owner { kind, cluster, namespace, name, uid: String::new(), pod };
        let uid = if kind.is_machine() { Some(String::new()) } else { self.uid(&owner)? };
        // A claim keeps its addresses until it is deleted.
        let ttl = ttl.filter(|_| kind != OwnerKind::IpamClaim);
        Ok(uid.map(|uid| StickyPolicy { owner: Owner { uid, ..owner }, ttl }))
    }

    /// The UID of an owner in the API. Asks once for each object.
    fn uid(&mut self, owner: &Owner) -> Result<Option<String>, Error> {
        let key = (owner.kind, owner.namespace.clone(), owner.name.clone());
        if let Some(uid) = self.uids.get(&key) {
            return Ok(uid.clone());
        }
        let uid = self.rehearsal.opened_api()?.map(|api| api.owner_uid(owner)).transpose()?.flatten();
        self.uids.insert(key, uid.clone());
        Ok(uid)
    }
}

impl Cluster for LiveCluster<'_> {
    type Error = Error;

    fn look_up(&mut self, object: &NamedObject) -> Result<Result<Source, LookupError>, Error> {
        let Some(api) = self.rehearsal.opened_api()? else { return Ok(Err(LookupError::NotAsked)) };
        Ok(manifest::look_up(api, object)?)
    }

    fn add(&mut self, add: ClusterAdd<'_>) -> Result<Result<Allocation, Refusal>, Error> {
        let ClusterAdd { network, vrf, holder, requests, keeper } = add;
        let sticky = match &keeper {
            Some(keeper) => self.sticky(keeper, network.sticky.ttl)?,
            None => None,
        };
        let rules = prepared::policy(self.settings, network, self.store, self.identity.clone(), sticky);
        let policy = AllocationPolicy { vrf: vrf.clone(), ..rules };
        let (pod, set) = (holder.pod.clone(), holder.controller.clone());
        let rehearse = |holder: Holder, this: &mut Self| {
            let mut machine = match Add::new(holder, policy.clone(), requests.clone()) {
                Ok(machine) => machine,
                Err(refusal) => return Ok(Err(refusal)),
            };
            match this.rehearsal.run(&pod, network, &mut machine) {
                Ok(rehearsed) => Ok(Ok(rehearsed.allocation)),
                Err(Error::Refused(refusal)) => Ok(Err(refusal)),
                Err(error) => Err(error),
            }
        };
        let refused = rehearse(Holder { controller: None, ..holder.clone() }, self)?;
        let (Err(Refusal::ReservedByHand { manual, .. }), Some(set)) = (&refused, set) else { return Ok(refused) };
        // Only now it matters whether the StatefulSet exists, and with which UID.
        let namespace = holder.pod.namespace.clone().unwrap_or_default();
        let is_it =
            |object: &Beneficiary| object.is(BeneficiaryKind::StatefulSet, &namespace, &set.name, &self.identity);
        let Some(object) = manual.beneficiary.as_ref().filter(|object| is_it(object)) else { return Ok(refused) };
        let owner = Owner {
            kind: OwnerKind::StatefulSet,
            cluster: self.identity.id().map(str::to_owned),
            namespace: object.namespace.clone(),
            name: object.name.clone(),
            uid: String::new(),
            pod: None,
        };
        let Some(uid) = self.uid(&owner)? else { return Ok(refused) };
        let workload = Some(format!("{} {}", set.kind, set.name));
        rehearse(Holder { controller: Some(Controller { uid, ..set }), workload, ..holder }, self)
    }

    fn each_lease(
        &mut self,
        vrf: &Name,
        span: &Span,
        each: &mut dyn FnMut(IpAddr, &Stored<Lease>),
    ) -> Result<(), Error> {
        self.rehearsal.session().each(&keys::leases(vrf, span), STORE_TIMEOUT, |entry| {
            if let Some((_, ip)) = keys::read_lease(&entry.key) {
                each(ip, &Stored::read(&entry.value));
            }
            Ok::<_, Error>(())
        })
    }
}
