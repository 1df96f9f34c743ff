//! Scans of the whole store and all pods, or of some nodes and their pods. The store is read before the pods.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use jiff::Timestamp;

use super::node::leases_of;
use super::{RESPONSE_TIMEOUT, SweepRun};
use crate::cluster::ApiServer;
use crate::config::CallSettings;
use crate::deadline::Deadline;
use crate::error::Error;
use crate::ipam::cluster::ClusterIdentity;
use crate::ipam::keys;
use crate::ipam::lease::{Lease, Stored};
use crate::ipam::name::Name;
use crate::ipam::sweep::{
    LeakReport, LeaseScan, Observation, PodEntry, PodList, PodSnapshot, ScanReport, Target, find_leaks,
};
use crate::store::{Entry, Key, KeySpan};

impl SweepRun<'_> {
    /// Scans the whole store, and lists the pods if there is an API server. An incomplete list ends the sweep. `also`
    /// gets every lease.
    pub(super) fn scan_all(
        &mut self,
        api: Option<&ApiServer>,
        mut also: impl FnMut(Name, IpAddr, Stored<Lease>),
    ) -> Result<LeakReport, Error> {
        let mut leases = LeaseScan::new(Timestamp::now(), self.rules.clone());
        self.each(&keys::all_leases(), |entry| {
            if let Some((vrf, ip)) = keys::read_lease(&entry.key) {
                let lease = Stored::read(&entry.value);
                leases.note(&vrf, ip, entry.revision, &lease);
                also(vrf, ip, lease);
            }
        })?;
        let mut attachments = leases.into_attachments();
        self.each(&keys::all_attachments(), |entry| {
            if let Some(id) = keys::read_attachment(&entry.key) {
                attachments.note(id, entry.revision, &Stored::read(&entry.value));
            }
        })?;
        let nominations = attachments.into_nominations(api.map(list_pods).transpose()?);
        let session = self.session()?;
        let ScanReport { leaks, unnamed } = nominations.judge(|wanted, note| {
            session.each_of(wanted, RESPONSE_TIMEOUT, |entry| {
                note(entry);
                Ok::<_, Error>(())
            })
        })?;
        self.unnamed = unnamed;
        Ok(leaks)
    }

    /// Scans the attachments of some nodes, their leases, and their pods. A node without any listed pod is left to a
    /// full scan: the cluster may know it by another name.
    pub(super) fn scan_nodes(&mut self, api: &ApiServer, nodes: &BTreeSet<Name>) -> Result<LeakReport, Error> {
        let mut report = LeakReport::default();
        for node in nodes {
            let mut seen = Observation::new(Timestamp::now());
            self.each(&keys::attachments_of(node), |entry| seen.note(entry))?;
            let listed = seen.attachments.values().filter_map(|seen| seen.value.as_known());
            // No attachment may list an earlier pass's candidate any longer.
            let candidates = self.last.candidates.values().filter(|candidate| candidate.node() == Some(node));
            let candidates = candidates.filter_map(|candidate| match &candidate.target {
                Target::Address { vrf, ip } => Some(keys::lease(vrf, *ip)),
                Target::Share { .. } | Target::Attachment(_) => None,
            });
            let leases: BTreeSet<Key> = listed.flat_map(leases_of).chain(candidates).collect();
            self.session()?.each_of(leases, RESPONSE_TIMEOUT, |entry| {
                seen.note(entry);
                Ok::<_, Error>(())
            })?;
            seen.leave_to_others(node);
            let mut pods = PodList::default();
            api.list_unfinished_pods_of(node, |pod| pods.add(&PodEntry::from(pod))).map_err(Error::NoCensus)?;
            let Some(pods) = pods.complete() else { continue };
            seen.pods = Some(Arc::new(pods));
            let found = find_leaks(&seen, &self.rules);
            report.candidates.extend(found.candidates);
            report.notes.extend(found.notes);
        }
        Ok(report)
    }

    /// Passes on all entries of a span.
    pub(super) fn each(&mut self, span: &KeySpan, mut each: impl FnMut(&Entry)) -> Result<(), Error> {
        self.session()?.each(span, RESPONSE_TIMEOUT, |entry| {
            each(entry);
            Ok(())
        })
    }
}

/// The deadline for one response.
pub(super) fn response_deadline() -> Deadline {
    Deadline::after(RESPONSE_TIMEOUT)
}

/// The cluster's identity from the node defaults, without asking an API server.
pub(super) fn named(settings: &CallSettings) -> ClusterIdentity {
    let identity = match &settings.cluster {
        Some(named) => ClusterIdentity::known(named),
        None => ClusterIdentity::unknown("no API server was asked".to_owned()),
    };
    identity.formerly(&settings.former_clusters)
}

/// The identity of an API server's cluster. If `cluster` is what `install` writes, the UID of kube-system, an API
/// server of another cluster is refused. Any other identity can't be compared, and the administrator is trusted.
pub(in crate::ops) fn identify(api: &ApiServer, settings: &CallSettings) -> Result<ClusterIdentity, Error> {
    let found = api.namespace_uid("kube-system").map_err(Error::NoCensus)?;
    match settings.cluster.as_deref() {
        Some(expected) if is_uid(expected) && expected != found => {
            Err(Error::OtherCluster { expected: expected.to_owned(), found })
        }
        Some(_) => Ok(named(settings)),
        None => {
            let id = Name::new(found.as_str()).map_err(Error::ClusterName)?;
            Ok(ClusterIdentity::known(id.as_str()).formerly(&settings.former_clusters))
        }
    }
}

/// Whether a text has the form of a Kubernetes UID (RFC 9562, section 4).
fn is_uid(text: &str) -> bool {
    let groups: Vec<&str> = text.split('-').collect();
    let lengths: Vec<usize> = groups.iter().map(|group| group.len()).collect();
    lengths == [8, 4, 4, 4, 12] && groups.concat().bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Lists all unfinished pods.
fn list_pods(api: &ApiServer) -> Result<PodSnapshot, Error> {
    let mut pods = PodList::default();
    api.list_unfinished_pods(|pod| pods.add(&PodEntry::from(pod))).map_err(Error::NoCensus)?;
    pods.complete().ok_or(Error::NoPods)
}
