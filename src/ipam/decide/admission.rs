//! Whether a requester is the one for whom an address is reserved by hand.

use super::AllocationPolicy;
use crate::ipam::lease::{BeneficiaryKind, Holder, ManualReservation};
use crate::ipam::reservation::{Owner, OwnerKind};

/// Whether a requester may have an address that is reserved by hand.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Admission {
    /// It is reserved for nobody, or for somebody else.
    Refused,
    /// It is reserved for the requester.
    Granted,
    /// It is, if the API server confirms that the pod belongs to this StatefulSet. The pod's author writes that.
    IfOwnedBy(Box<Owner>),
}

impl Admission {
    /// The admission of this holder under a reservation.
    pub(super) fn new(manual: &ManualReservation, own: &Holder, policy: &AllocationPolicy) -> Self {
        let Some(beneficiary) = &manual.beneficiary else { return Self::Refused };
        let is = |kind, namespace: &str, name: &str| beneficiary.is(kind, namespace, name, &policy.cluster);
        let pod = own.pod.namespace.as_deref().zip(own.pod.name.as_deref());
        if pod.is_some_and(|(namespace, name)| is(BeneficiaryKind::Pod, namespace, name)) {
            return Self::Granted;
        }
        // This call has read the claim.
        let claim = policy.sticky.as_ref().map(|sticky| &sticky.owner).filter(|it| it.kind == OwnerKind::IpamClaim);
        if claim.is_some_and(|it| is(BeneficiaryKind::IpamClaim, it.namespace.as_str(), it.name.as_str())) {
            return Self::Granted;
        }
        let set = Owner::stateful_set_of(own);
        match set.filter(|it| is(BeneficiaryKind::StatefulSet, it.namespace.as_str(), it.name.as_str())) {
            Some(owner) => Self::IfOwnedBy(Box::new(owner)),
            None => Self::Refused,
        }
    }
}
