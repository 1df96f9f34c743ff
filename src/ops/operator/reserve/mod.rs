//! Reserves addresses by hand, after the operator has seen and confirmed which.
//!
//! ```text
//!  ReserveOptions ─► survey ─► ReserveSurvey, which is shown ─► confirmed ─► reserve ─► BatchReport
//!                      └ leases, networks, whether the beneficiary exists      └ in batches, each in one commit
//! ```
//!
//! An address that is not as it was shown stops the work. What was written before stays, and the same command goes on
//! from there.

mod batches;
mod beneficiary;
mod survey;

use crate::config::CallSettings;
use crate::error::Error;
use crate::ipam::address::Span;
use crate::ipam::decide::LeaseEdit;
use crate::ipam::lease::{Beneficiary, ManualReservation};
use crate::ipam::name::Name;
use crate::ops::Session;
use crate::store::StoreConfig;

pub(super) use self::batches::commit;
pub use self::batches::{BatchEnd, BatchReport};
pub use self::beneficiary::{Existence, check};
pub use self::survey::{AddressFinding, MAX_ADDRESSES, SurveyedAddress};
pub(super) use self::survey::{Networks, survey_address, survey_span};

/// What to reserve.
#[derive(Clone, Debug, PartialEq)]
pub struct ReserveOptions {
    /// The routing domain of the addresses.
    pub vrf: Name,
    /// The addresses, at most [`MAX_ADDRESSES`].
    pub span: Span,
    /// What the operator says of them.
    pub manual: ManualReservation,
}

/// What was found of the addresses, and what can be done about them.
pub struct ReserveSurvey {
    session: Session,
    options: ReserveOptions,
    /// Each address, in their order.
    pub addresses: Vec<SurveyedAddress>,
    /// Whether the object exists for which they are to be reserved; `None` if they are for nobody.
    pub existence: Option<Existence>,
}

/// Looks at the addresses. Nothing is written.
pub fn survey(
    settings: &CallSettings,
    store: &StoreConfig,
    mut options: ReserveOptions,
) -> Result<ReserveSurvey, Error> {
    let session = Session::open(store.clone(), None)?;
    let existence =
        options.manual.beneficiary.as_mut().map(|beneficiary: &mut Beneficiary| check(settings, beneficiary));
    let addresses = survey_span(&session, &options.vrf, &options.span, &options.manual)?;
    Ok(ReserveSurvey { session, options, addresses, existence })
}

impl ReserveSurvey {
    /// What is to be reserved, as it will be stored.
    pub fn manual(&self) -> &ManualReservation {
        &self.options.manual
    }

    /// How many addresses can be reserved.
    pub fn count_available(&self) -> usize {
        self.addresses.iter().filter(|address| address.finding.is_available()).count()
    }

    /// Reserves what can be reserved. `may_continue` is asked before each batch.
    pub fn reserve(self, may_continue: impl FnMut() -> bool) -> BatchReport {
        let Self { session, options: ReserveOptions { vrf, span, manual }, addresses, .. } = self;
        let available = addresses.into_iter().filter(|address| address.finding.is_available());
        let edit = |address: SurveyedAddress| {
            let seen = address.lease.as_ref().map(|(revision, lease)| (*revision, lease));
            LeaseEdit::reserve(&vrf, address.ip, seen, manual.clone())
        };
        let edits = available.map(edit).collect();
        let report = commit(&session, &vrf, edits, may_continue);
        let (reason, object) = (manual.reason.as_str(), manual.beneficiary.as_ref().map(ToString::to_string));
        let (vrf, span) = (vrf.as_str(), span.to_string());
        tracing::info!(vrf, span, done = report.done, total = report.total, reason, object, "reserved by hand");
        report
    }
}
