//! Whether the object exists for which an address is reserved by hand. A reservation does not need it to.

use crate::config::CallSettings;
use crate::explain::ObjectName;
use crate::ipam::lease::{Beneficiary, BeneficiaryKind};
use crate::ipam::reservation::{Owner, OwnerKind};
use crate::ipam::takeover::PodLookup;
use crate::ops::cluster::kubeconfig;
use crate::ops::operator::explain::Api;

/// What the API server says of the object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Existence {
    /// It exists.
    Exists,
    /// It does not exist, or not yet.
    Missing,
    /// There is no kubeconfig, so nobody was asked.
    NotAsked,
    /// The API server did not answer, for this reason.
    Unknown(String),
}

/// Looks the object up, and notes the cluster in it if that is known. A store may be shared by several clusters.
pub fn check(settings: &CallSettings, beneficiary: &mut Beneficiary) -> Existence {
    beneficiary.cluster = settings.cluster.clone();
    if kubeconfig(settings).is_none() {
        return Existence::NotAsked;
    }
    let mut api = Api::new(settings);
    beneficiary.cluster = api.identity().id().map(str::to_owned);
    let (namespace, name) = (beneficiary.namespace.to_string(), beneficiary.name.to_string());
    let object = ObjectName { namespace: Some(namespace), name };
    let exists = match beneficiary.kind {
        BeneficiaryKind::Pod => api.pod(&object).0.map(|pod| matches!(pod, PodLookup::Found(_))),
        BeneficiaryKind::IpamClaim => api.claim(&object).map(|claim| claim.is_some()),
        BeneficiaryKind::StatefulSet => api.owner_exists(&Owner {
            kind: OwnerKind::StatefulSet,
            cluster: beneficiary.cluster.clone(),
            namespace: beneficiary.namespace.clone(),
            name: beneficiary.name.clone(),
            uid: String::new(),
            pod: None,
        }),
    };
    match exists {
        Ok(true) => Existence::Exists,
        Ok(false) => Existence::Missing,
        Err(why) => Existence::Unknown(why),
    }
}
