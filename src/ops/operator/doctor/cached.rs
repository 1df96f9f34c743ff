//! What one check has read and others judge as well.

use std::rc::Rc;

use super::cluster::definitions::Definitions;
use super::store::contents::Contents;
use super::store::custom_resources::Inspected as InspectedObjects;
use super::store::etcd::EtcdSurvey;
use super::store::kubernetes::KubernetesSurvey;
use super::store::sqlite::Inspected;
use crate::cluster::ServerVersion;

/// Each is read by the first check that needs it. `Err` holds why it could not be read.
#[derive(Default)]
pub(super) struct Cached {
    /// Whether the store has answered.
    pub(super) store_answers: Option<bool>,
    /// The members of etcd.
    pub(super) etcd: Option<Rc<Result<EtcdSurvey, String>>>,
    /// The resources of a store in the Kubernetes API.
    pub(super) kubernetes: Option<Rc<Result<KubernetesSurvey, String>>>,
    /// Their objects.
    pub(super) kubernetes_objects: Option<Rc<Vec<InspectedObjects>>>,
    /// The files of an embedded store.
    pub(super) sqlite: Option<Rc<Inspected>>,
    /// The entries of the store.
    pub(super) contents: Option<Rc<Result<Contents, String>>>,
    /// The API server's version and clock.
    pub(super) version: Option<Rc<Result<ServerVersion, String>>>,
    /// The definitions of networks in the cluster.
    pub(super) definitions: Option<Rc<Definitions>>,
}
