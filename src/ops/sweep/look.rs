//! One look of a sweep: the store, then the pods.

use jiff::Timestamp;

use super::{PATIENCE, Sweeping};
use crate::cluster::ApiServer;
use crate::error::Error;
use crate::ipam::sweep::{Census, Judgement, Listed, Observation, judge};
use crate::store::{Deadline, Entry, KeySpan, keys};

impl Sweeping<'_> {
    /// A look at the whole store, and at the pods if there is somebody to ask. A list that is not complete ends the sweep.
    /// `also` is shown every lease and attachment by the way.
    pub(super) fn look_at_all(
        &mut self,
        api: Option<&ApiServer>,
        mut also: impl FnMut(&Entry),
    ) -> Result<Judgement, Error> {
        let mut seen = Observation::new(Timestamp::now());
        for span in [keys::all_leases(), keys::all_attachments()] {
            self.each(&span, |entry| {
                seen.note(entry);
                also(entry);
            })?;
        }
        seen.census = api.map(census).transpose()?;
        Ok(judge(&seen, &self.rules))
    }

    /// Hands over all entries of a span.
    pub(super) fn each(&mut self, span: &KeySpan, each: impl FnMut(&Entry)) -> Result<(), Error> {
        self.session()?.each(span, PATIENCE, each)
    }
}

/// Until when one answer is waited for.
pub(super) fn patience() -> Deadline {
    Deadline::after(PATIENCE)
}

/// Refuses an API server that is that of another cluster, where `cluster` is what `install` writes: the UID of the namespace
/// kube-system. An identity of another form can't be compared, and nobody is asked.
pub(super) fn same_cluster(api: &ApiServer, cluster: Option<&str>) -> Result<(), Error> {
    let Some(expected) = cluster.filter(|cluster| is_uid(cluster)) else { return Ok(()) };
    is_expected(identity(api)?, expected)
}

/// The same of a server that is asked in any case, to see whether it answers.
pub(super) fn answers(api: &ApiServer, cluster: Option<&str>) -> Result<(), Error> {
    let found = identity(api)?;
    cluster.filter(|cluster| is_uid(cluster)).map_or(Ok(()), |expected| is_expected(found, expected))
}

/// What a cluster is known by.
fn identity(api: &ApiServer) -> Result<String, Error> {
    api.namespace_uid("kube-system").map_err(Error::NoCensus)
}

fn is_expected(found: String, expected: &str) -> Result<(), Error> {
    match found == expected {
        true => Ok(()),
        false => Err(Error::OtherCluster { expected: expected.to_owned(), found }),
    }
}

/// Whether a text has the form of a UID of Kubernetes (RFC 9562, section 4).
fn is_uid(text: &str) -> bool {
    let groups: Vec<&str> = text.split('-').collect();
    let lengths: Vec<usize> = groups.iter().map(|group| group.len()).collect();
    lengths == [8, 4, 4, 4, 12] && groups.concat().bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// The pods that the API server lists, all of them.
fn census(api: &ApiServer) -> Result<Census, Error> {
    let mut listed = Vec::new();
    api.unfinished_pods(|pod| listed.push(Listed::from(pod))).map_err(Error::NoCensus)?;
    Census::of(listed).ok_or(Error::NoPods)
}
