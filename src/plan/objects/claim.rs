//! IPAMClaims (k8s.cni.cncf.io/v1alpha1), as written in the files.

use super::Document;
use crate::ipam::claim::{Claim, ClaimStatus};
use crate::ipam::name::Name;
use crate::manifest::Node;
use crate::plan::cluster::{NamedKind, NamedObject};
use crate::plan::code;
use crate::plan::finding::Finding;
use crate::plan::source::Place;

/// A claim with its positions.
#[derive(Clone, Debug)]
pub(crate) struct PlannedClaim {
    pub claim: Claim,
    /// The position of its name.
    pub place: Place,
    /// The position of `spec.network`.
    pub network: Option<Place>,
    /// The position of `spec.interface`.
    pub interface: Option<Place>,
}

impl PlannedClaim {
    /// The claim as an object.
    pub(crate) fn object(&self) -> NamedObject {
        let Claim { namespace, name, .. } = &self.claim;
        NamedObject { kind: NamedKind::IpamClaim, namespace: namespace.to_string(), name: name.to_string() }
    }

    /// Reads a claim. A status in a file is what `kubectl patch --subresource=status` would write.
    pub(super) fn read(document: Document<'_>, namespace: &str, findings: &mut Vec<Finding>) -> Option<Self> {
        let (name, place) = document.name()?;
        let namespace = document.namespace(namespace);
        let status = match document.node.get("status") {
            Some(status) => match serde_json::from_value::<ClaimStatus>(status.to_json()) {
                Ok(status) => status,
                Err(error) => {
                    let message = format!("the status of IPAMClaim {namespace}/{name} can't be read: {error}");
                    findings.push(Finding::error(code::CLAIM, document.place(status), message));
                    return None;
                }
            },
            None => ClaimStatus::default(),
        };
        let field = |key| document.node.at(&["spec", key]);
        let text = |key| field(key).and_then(Node::text).unwrap_or_default().to_owned();
        Some(Self {
            claim: Claim {
                // The API server assigns it. Here, it only has to differ from those of other claims.
                uid: format!("{namespace}/{name}"),
                namespace: Name::new(namespace).ok()?,
                name: Name::new(name).ok()?,
                version: String::new(),
                generation: None,
                network: text("network"),
                interface: text("interface"),
                status,
            },
            place,
            network: field("network").map(|node| document.place(node)),
            interface: field("interface").map(|node| document.place(node)),
        })
    }
}
