//! Lists of pods and of nodes: complete, or an error.

use kube::core::Request;
use kube::core::params::ListParams;

use super::object::{ObjectRef, ResourceKind};
use super::{ApiServer, ClusterError, ResponseProblem};
use crate::ipam::name::Name;
use crate::ipam::pod::Pod;

/// Objects per page: 100,000 pods take 400 requests, and no more than one page is in memory.
pub(super) const PAGE: u32 = 250;

/// Far more than the 150,000 pods that Kubernetes supports. It stops a faulty server's endless list.
pub(super) const MAX_PAGES: usize = 8192;

/// Selects pods that have not finished. Finished ones need no address.
pub(super) const UNFINISHED: &str = "status.phase!=Succeeded,status.phase!=Failed";

/// Selects nodes that run Linux.
const LINUX: &str = "kubernetes.io/os=linux";

impl ApiServer {
    /// Calls `each` with every unfinished pod of the cluster, all at one resourceVersion. After an error, the pods seen
    /// so far are incomplete and must not be used.
    ///
    /// The first request names no resourceVersion, so the server responds with the latest committed state. The other
    /// pages have the same resourceVersion. If the server has compacted it meanwhile (410), it offers to continue at a
    /// newer one. That list could miss pods that changed in between, so it is not used.
    pub fn list_unfinished_pods(&self, each: impl FnMut(Pod)) -> Result<(), ClusterError> {
        self.list_pods(UNFINISHED, each)
    }

    /// The same for the pods of one node.
    pub fn list_unfinished_pods_of(&self, node: &Name, each: impl FnMut(Pod)) -> Result<(), ClusterError> {
        self.list_pods(&format!("spec.nodeName={node},{UNFINISHED}"), each)
    }

    fn list_pods(&self, selected: &str, mut each: impl FnMut(Pod)) -> Result<(), ClusterError> {
        let object = ObjectRef::all(ResourceKind::Pods);
        let mut list = ListParams::default().fields(selected).limit(PAGE);
        for _ in 0..MAX_PAGES {
            let request = Request::new(object.path()).list_metadata(&list);
            let (pods, next) = self.get(request, &object)?.pods(&object)?;
            pods.into_iter().for_each(&mut each);
            match next {
                Some(token) => list.continue_token = Some(token),
                None => return Ok(()),
            }
        }
        Err(self.too_many_pages(object))
    }

    /// The names of all Linux nodes: those on which the DaemonSet of examples/install runs.
    pub fn nodes(&self) -> Result<Vec<Name>, ClusterError> {
        let object = ObjectRef::all(ResourceKind::Nodes);
        let mut list = ListParams::default().labels(LINUX).limit(PAGE);
        let mut all = Vec::new();
        for _ in 0..MAX_PAGES {
            let request = Request::new(object.path()).list_metadata(&list);
            let (nodes, next) = self.get(request, &object)?.nodes(&object)?;
            all.extend(nodes);
            match next {
                Some(token) => list.continue_token = Some(token),
                None => return Ok(all),
            }
        }
        Err(self.too_many_pages(object))
    }

    pub(super) fn too_many_pages(&self, object: ObjectRef) -> ClusterError {
        let (url, object) = (self.connection.url().to_owned(), Box::new(object));
        ClusterError::UnexpectedResponse { url, object, problem: ResponseProblem::TooManyPages(MAX_PAGES) }
    }
}
