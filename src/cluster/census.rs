//! Lists of pods and of nodes: complete, or an error.

use kube::core::Request;
use kube::core::params::ListParams;

use super::object::{ObjectRef, ResourceKind};
use super::{ApiServer, ClusterError, ResponseProblem};
use crate::ipam::name::Name;
use crate::ipam::pod::Pod;

/// Objects per page: 100,000 pods take 400 requests, and no more than one page is in memory.
pub(super) const PAGE: u32 = 250;

/// Far beyond the 150,000 pods that Kubernetes supports; it ends a list that a faulty server never ends.
const MAX_PAGES: usize = 8192;

/// Selects pods that have not finished. Finished ones need no address.
pub(super) const UNFINISHED: &str = "status.phase!=Succeeded,status.phase!=Failed";

/// Selects nodes that run Linux.
const LINUX: &str = "kubernetes.io/os=linux";

impl ApiServer {
    /// Calls `each` with every unfinished pod of the cluster, all as of one moment. After an error, what was seen is only a
    /// part and says nothing of the rest.
    ///
    /// The first page names no resourceVersion, so that the server responds from what is committed; the others are of the
    /// same moment. When the server has forgotten that one meanwhile (410), it offers a list that goes on at another.
    /// That one would lack whoever moved between the two, and is not taken.
    pub fn list_unfinished_pods(&self, each: impl FnMut(Pod)) -> Result<(), ClusterError> {
        self.list_pods(UNFINISHED, each)
    }

    /// The same of the pods of one node.
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

    fn too_many_pages(&self, object: ObjectRef) -> ClusterError {
        let (url, object) = (self.connection.url.clone(), Box::new(object));
        ClusterError::UnexpectedResponse { url, object, problem: ResponseProblem::TooManyPages(MAX_PAGES) }
    }
}
