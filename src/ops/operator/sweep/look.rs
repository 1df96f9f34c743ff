//! One look of a sweep: the store, then the pods.

use std::net::IpAddr;

use jiff::Timestamp;

use super::{PATIENCE, SweepRun};
use crate::cluster::ApiServer;
use crate::config::CallSettings;
use crate::error::Error;
use crate::ipam::cluster::ClusterIdentity;
use crate::ipam::keys;
use crate::ipam::lease::{Lease, Stored};
use crate::ipam::name::Name;
use crate::ipam::sweep::{LeakReport, LeaseScan, Nominations, PodEntry, PodList, PodSnapshot, ScanReport};
use crate::store::{Deadline, Entry, KeySpan};

impl SweepRun<'_> {
    /// Scans the whole store, and lists the pods if there is somebody to ask. A list that is not complete ends the sweep.
    /// `also` is shown every lease by the way.
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
        let ScanReport { leaks, unnamed } = self.judge(nominations)?;
        self.unnamed = unnamed;
        Ok(leaks)
    }

    /// Reads what was nominated again, and judges it.
    fn judge(&mut self, mut nominations: Nominations) -> Result<ScanReport, Error> {
        let mut report = ScanReport::new(&mut nominations);
        while let Some(mut batch) = nominations.next_batch() {
            loop {
                let wanted = batch.take_wanted();
                if wanted.is_empty() {
                    break;
                }
                self.session()?.each_of(wanted, PATIENCE, |entry| {
                    batch.note(entry, &nominations);
                    Ok::<_, Error>(())
                })?;
            }
            report.add(batch.find_leaks());
        }
        Ok(report)
    }

    /// Hands over all entries of a span.
    pub(super) fn each(&mut self, span: &KeySpan, mut each: impl FnMut(&Entry)) -> Result<(), Error> {
        self.session()?.each(span, PATIENCE, |entry| {
            each(entry);
            Ok(())
        })
    }
}

/// Until when one answer is waited for.
pub(super) fn patience() -> Deadline {
    Deadline::after(PATIENCE)
}

/// The cluster as the node defaults name it, before an API server was asked.
pub(super) fn named(settings: &CallSettings) -> ClusterIdentity {
    let identity = match &settings.cluster {
        Some(named) => ClusterIdentity::known(named),
        None => ClusterIdentity::unknown("no API server was asked".to_owned()),
    };
    identity.formerly(&settings.former_clusters)
}

/// The cluster of an API server, whose word is about its pods alone. Refuses one of another cluster, where `cluster` is what
/// `install` writes: the UID of the namespace kube-system. An identity of another form can't be compared, and is the
/// administrator's word.
pub(super) fn identify(api: &ApiServer, settings: &CallSettings) -> Result<ClusterIdentity, Error> {
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

/// Whether a text has the form of a UID of Kubernetes (RFC 9562, section 4).
fn is_uid(text: &str) -> bool {
    let groups: Vec<&str> = text.split('-').collect();
    let lengths: Vec<usize> = groups.iter().map(|group| group.len()).collect();
    lengths == [8, 4, 4, 4, 12] && groups.concat().bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// The pods that the API server lists, all of them.
fn list_pods(api: &ApiServer) -> Result<PodSnapshot, Error> {
    let mut pods = PodList::default();
    api.list_unfinished_pods(|pod| pods.add(&PodEntry::from(pod))).map_err(Error::NoCensus)?;
    pods.complete().ok_or(Error::NoPods)
}
