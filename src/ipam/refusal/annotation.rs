//! The annotation that a refusal is about.

use super::Refusal;
use crate::ipam::claim::ClaimError;
use crate::ipam::request::AnnotationPart;

impl Refusal {
    /// The annotation that it is about; `None` if it is about the network, the store, or what the runtime requests.
    pub fn annotation(&self) -> Option<AnnotationPart> {
        match self {
            Self::Annotation(error) => error.annotation(),
            Self::NotAnAddress { from, text, .. } => Some(AnnotationPart::text(from.key()?, text)),
            Self::OutsideSubnets { ip, from, .. }
            | Self::OtherNodes { ip, from, .. }
            | Self::NotAssignable { ip, from, .. } => Some(AnnotationPart::address(from.key()?, *ip)),
            Self::OtherPrefix { asked, from, .. } => Some(AnnotationPart::address(from.key()?, asked.addr())),
            Self::Namespace { key, .. } => key.as_ref().map(AnnotationPart::whole),
            Self::Claim(error) => match &**error {
                ClaimError::Status { refusal, .. } => refusal.annotation(),
                _ => None,
            },
            _ => None,
        }
    }
}
