//! One look of a sweep: the store, then the pods.

use jiff::Timestamp;

use super::{PATIENCE, SweepRun};
use crate::cluster::ApiServer;
use crate::config::Site;
use crate::error::Error;
use crate::ipam::cluster::ClusterIdentity;
use crate::ipam::keys;
use crate::ipam::name::Name;
use crate::ipam::sweep::{LeakReport, Observation, PodEntry, PodSnapshot, find_leaks, unnamed};
use crate::store::{Deadline, Entry, KeySpan};

impl SweepRun<'_> {
    /// A look at the whole store, and at the pods if there is somebody to ask. A list that is not complete ends the sweep.
    /// `also` is shown every lease and attachment by the way.
    pub(super) fn look_at_all(
        &mut self,
        api: Option<&ApiServer>,
        mut also: impl FnMut(&Entry),
    ) -> Result<LeakReport, Error> {
        let mut seen = Observation::new(Timestamp::now());
        for span in [keys::all_leases(), keys::all_attachments()] {
            self.each(&span, |entry| {
                seen.note(entry);
                also(entry);
            })?;
        }
        seen.pods = api.map(pods).transpose()?;
        self.unnamed = unnamed(&seen);
        Ok(find_leaks(&seen, &self.rules))
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
pub(super) fn named(site: &Site) -> ClusterIdentity {
    let identity = match &site.cluster {
        Some(named) => ClusterIdentity::known(named),
        None => ClusterIdentity::unknown("no API server was asked".to_owned()),
    };
    identity.formerly(&site.former_clusters)
}

/// The cluster of an API server, whose word is about its pods alone. Refuses one of another cluster, where `cluster` is what
/// `install` writes: the UID of the namespace kube-system. An identity of another form can't be compared, and is the
/// administrator's word.
pub(super) fn identify(api: &ApiServer, site: &Site) -> Result<ClusterIdentity, Error> {
    let found = api.namespace_uid("kube-system").map_err(Error::NoCensus)?;
    match site.cluster.as_deref() {
        Some(expected) if is_uid(expected) && expected != found => {
            Err(Error::OtherCluster { expected: expected.to_owned(), found })
        }
        Some(_) => Ok(named(site)),
        None => {
            let id = Name::new(found.as_str()).map_err(Error::ClusterName)?;
            Ok(ClusterIdentity::known(id.as_str()).formerly(&site.former_clusters))
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
fn pods(api: &ApiServer) -> Result<PodSnapshot, Error> {
    let mut listed = Vec::new();
    api.list_unfinished_pods(|pod| listed.push(PodEntry::from(pod))).map_err(Error::NoCensus)?;
    PodSnapshot::new(listed).ok_or(Error::NoPods)
}
