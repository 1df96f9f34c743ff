//! What callers need to know of a refusal besides its text: whether it may pass, and its label.

use super::Refusal;
use crate::ipam::claim::ClaimError;

impl Refusal {
    /// Whether the same call may succeed later without any change of its config or request.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Held { .. }
            | Self::InUse { .. }
            | Self::Unprobed { .. }
            | Self::Foreign { .. }
            | Self::StillAnswers { .. }
            | Self::ProbedByOther { .. }
            | Self::AnswersForAll { .. }
            | Self::NoSilentAddress { .. }
            | Self::NewUnprobed { .. }
            | Self::Reserved { .. }
            | Self::ReservedByHand { .. }
            | Self::OwnerHoldsOther { .. }
            | Self::OwnerUnproven { .. }
            | Self::ReservationUnreadable { .. }
            | Self::HeldByHostLocal { .. }
            | Self::Unreadable { .. }
            | Self::Exhausted { .. }
            | Self::NotYet { .. }
            | Self::Lost { .. }
            | Self::AlreadyHasOther { .. }
            | Self::AttachmentUnreadable { .. }
            | Self::Recovering { .. }
            | Self::Contended { .. } => true,
            Self::NotAnAddress { .. }
            | Self::OutsideSubnets { .. }
            | Self::OtherNodes { .. }
            | Self::NotOnNode { .. }
            | Self::NotAssignable { .. }
            | Self::OtherPrefix { .. }
            | Self::Annotation(_)
            | Self::Claim(_)
            | Self::OneAddressPerFamily { .. }
            | Self::Namespace { .. }
            | Self::NoOwner { .. }
            | Self::NothingDynamic { .. }
            | Self::TooManyAddresses { .. }
            | Self::TooLarge(_) => false,
        }
    }

    /// Whether this node is the reason: it may not use the requested range, or any range of a set.
    pub fn is_about_node(&self) -> bool {
        match self {
            Self::NotOnNode { .. } | Self::OtherNodes { .. } => true,
            Self::Claim(error) => {
                matches!(&**error, ClaimError::Status { refusal, .. } if refusal.is_about_node())
            }
            _ => false,
        }
    }

    /// The label for logs and metrics.
    pub fn label(&self) -> &'static str {
        match self {
            Self::NotAnAddress { .. } | Self::OtherPrefix { .. } | Self::NoOwner { .. } => "bad_request",
            Self::Annotation(_) => "annotation",
            Self::Claim(_) => "claim",
            Self::OutsideSubnets { .. } | Self::OtherNodes { .. } | Self::NotAssignable { .. } => "not_assignable",
            Self::NotOnNode { .. } => "node",
            Self::OneAddressPerFamily { .. } => "version",
            Self::Namespace { .. } => "namespace",
            Self::Held { .. }
            | Self::InUse { .. }
            | Self::Unprobed { .. }
            | Self::StillAnswers { .. }
            | Self::ProbedByOther { .. }
            | Self::NewUnprobed { .. }
            | Self::OwnerHoldsOther { .. }
            | Self::HeldByHostLocal { .. }
            | Self::Unreadable { .. } => "held",
            Self::Reserved { .. }
            | Self::ReservedByHand { .. }
            | Self::OwnerUnproven { .. }
            | Self::ReservationUnreadable { .. } => "reserved",
            Self::Foreign { .. } | Self::AnswersForAll { .. } | Self::NoSilentAddress { .. } => "foreign",
            Self::Exhausted { .. } | Self::NotYet { .. } | Self::NothingDynamic { .. } => "exhausted",
            Self::Lost { .. } | Self::AlreadyHasOther { .. } | Self::AttachmentUnreadable { .. } => "attachment",
            Self::Recovering { .. } => "recovering",
            Self::Contended { .. } => "contended",
            Self::TooManyAddresses { .. } | Self::TooLarge(_) => "too_large",
        }
    }
}
