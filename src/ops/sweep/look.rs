//! One look of a sweep: the store, then the pods.

use jiff::Timestamp;

use super::{PATIENCE, Sweeping};
use crate::cluster::ApiServer;
use crate::error::Error;
use crate::ipam::sweep::{Census, Judgement, Listed, Observation, judge};
use crate::store::{Cursor, Deadline, KeySpan, keys};

/// Entries read at once: short pages, so that no writer waits for a reader.
const PAGE: u32 = 500;

impl Sweeping<'_> {
    /// A look at the whole store, and at the pods if there is somebody to ask. A list that is not complete ends the sweep.
    pub(super) fn look_at_all(&mut self, api: Option<&ApiServer>) -> Result<Judgement, Error> {
        let mut seen = Observation::new(Timestamp::now());
        self.read(&keys::all_leases(), &mut seen)?;
        self.read(&keys::all_attachments(), &mut seen)?;
        seen.census = api.map(census).transpose()?;
        Ok(judge(&seen, &self.rules))
    }

    /// Notes all entries of a span.
    pub(super) fn read(&mut self, span: &KeySpan, seen: &mut Observation) -> Result<(), Error> {
        let session = self.session()?;
        let mut next = Some(Cursor::default());
        while let Some(from) = next {
            let page = session.page(span, &from, PAGE, patience())?;
            page.entries.iter().for_each(|entry| seen.note(entry));
            next = page.next;
        }
        Ok(())
    }
}

/// Until when one answer is waited for.
pub(super) fn patience() -> Deadline {
    Deadline::after(PATIENCE)
}

/// The pods that the API server lists, all of them.
fn census(api: &ApiServer) -> Result<Census, Error> {
    let mut listed = Vec::new();
    api.unfinished_pods(|pod| listed.push(Listed::from(pod))).map_err(Error::NoCensus)?;
    Census::of(listed).ok_or(Error::NoPods)
}
