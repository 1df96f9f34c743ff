//! Ends the reservations by hand of many addresses, and frees what else the operator asks for.

use std::net::IpAddr;

use super::log_freed;
use crate::deadline::Deadline;
use crate::error::Error;
use crate::ipam::address::Span;
use crate::ipam::decide::{Evict, Evicted, LeaseEdit};
use crate::ipam::keys;
use crate::ipam::lease::{Lease, LeaseState, Stored};
use crate::ipam::name::Name;
use crate::ops::Session;
use crate::ops::operator::STORE_TIMEOUT;
use crate::ops::operator::reserve::{BatchEnd, BatchReport, commit};
use crate::store::{Revision, StoreConfig};

/// The addresses to free.
#[derive(Clone, Debug, PartialEq)]
pub struct SpanOptions {
    /// Their routing domain.
    pub vrf: Name,
    /// The addresses.
    pub span: Span,
    /// Whether to free everything: also what is held, in cooldown, foreign, or reserved for an owner.
    pub all: bool,
}

/// The leases of a span.
pub struct SpanSurvey {
    session: Session,
    options: SpanOptions,
    /// What is to be freed.
    pub freed: Vec<LeasedAddress>,
    /// What stays as it is.
    pub left: Vec<LeasedAddress>,
}

/// An address with its lease.
#[derive(Clone, Debug, PartialEq)]
pub struct LeasedAddress {
    /// The address.
    pub ip: IpAddr,
    /// Its lease.
    pub lease: Stored<Lease>,
    revision: Revision,
}

impl LeasedAddress {
    /// Whether it is reserved by hand, and nobody holds it.
    fn is_only_reserved(&self) -> bool {
        let lease = self.lease.as_known();
        lease.is_some_and(|lease| lease.manual.is_some() && lease.state() == LeaseState::Reserved)
    }
}

/// Looks at the leases of a span. Nothing is written.
pub fn survey_span(store: &StoreConfig, options: SpanOptions) -> Result<SpanSurvey, Error> {
    let session = Session::open(store.clone(), None)?;
    let mut found = Vec::new();
    session.each(&keys::leases(&options.vrf, &options.span), STORE_TIMEOUT, |entry| {
        if let Some((_, ip)) = keys::read_lease(&entry.key) {
            found.push(LeasedAddress { ip, lease: Stored::read(&entry.value), revision: entry.revision });
        }
        Ok::<_, Error>(())
    })?;
    // A newer version can read what this one can't.
    let is_freed =
        |leased: &LeasedAddress| leased.is_only_reserved() || options.all && leased.lease.as_known().is_some();
    let (freed, left) = found.into_iter().partition(is_freed);
    Ok(SpanSurvey { session, options, freed, left })
}

impl SpanSurvey {
    /// Frees what is to be freed, as it was shown. `may_continue` is asked before each step.
    pub fn release(self, mut may_continue: impl FnMut() -> bool) -> BatchReport {
        let Self { session, options: SpanOptions { vrf, span, .. }, freed, .. } = self;
        let total = freed.len();
        let (reserved, others): (Vec<_>, Vec<_>) = freed.into_iter().partition(LeasedAddress::is_only_reserved);
        let edits = reserved.into_iter().map(|leased| LeaseEdit::end(leased.ip, leased.revision)).collect();
        let report = commit(&session, &vrf, edits, &mut may_continue);
        let mut done = report.done;
        tracing::info!(vrf = vrf.as_str(), span = span.to_string(), done, "reservations by hand ended");
        if !matches!(report.end, BatchEnd::Complete) {
            return BatchReport { total, ..report };
        }
        for LeasedAddress { ip, revision, .. } in others {
            if !may_continue() {
                return BatchReport { done, total, end: BatchEnd::Stopped };
            }
            let mut evict = Evict::new(vrf.clone(), ip, revision);
            match session.decide(&mut evict, Deadline::after(STORE_TIMEOUT)) {
                Ok(Evicted::Freed(lease)) => log_freed(&vrf, ip, &lease),
                Ok(Evicted::NotHeld | Evicted::Deleted(_)) => {}
                Ok(Evicted::Changed) => {
                    let end = BatchEnd::Stale { ips: vec![ip], in_doubt: false };
                    return BatchReport { done, total, end };
                }
                Err(error) => return BatchReport { done, total, end: BatchEnd::Failed(Box::new(error)) },
            }
            done += 1;
        }
        BatchReport { done, total, end: BatchEnd::Complete }
    }
}
