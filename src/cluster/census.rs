//! The lists of pods and of nodes, whole or not at all.

use kube::core::Request;
use kube::core::params::ListParams;

use super::object::{Kind, Object};
use super::{ApiServer, ClusterError};
use crate::ipam::name::Name;
use crate::ipam::pod::Pod;

/// Pods to a page: 100,000 of them take 400 requests, and never more than one page is in memory.
pub(super) const PAGE: u32 = 250;

/// Pages that are read at most. Kubernetes is made for 150,000 pods; a server that goes on beyond this never ends.
const MOST_PAGES: usize = 8192;

/// The pods that have not run to their end. Those that have need no address, and the API server sends none of them.
pub(super) const UNFINISHED: &str = "status.phase!=Succeeded,status.phase!=Failed";

/// The nodes on which pods of Linux run.
const LINUX: &str = "kubernetes.io/os=linux";

impl ApiServer {
    /// Hands over every pod of the cluster that has not run to its end, as of one moment. If it fails, what was handed
    /// over is only a part, and says nothing of the rest.
    ///
    /// The first page names no resourceVersion, so that the server answers from what is committed; the others are of the
    /// same moment. When the server has forgotten that one meanwhile (410), it offers a list that goes on at another.
    /// That one would lack whoever moved between the two, and is not taken.
    pub fn unfinished_pods(&self, mut each: impl FnMut(Pod)) -> Result<(), ClusterError> {
        let object = Object::all(Kind::Pods);
        let mut list = ListParams::default().fields(UNFINISHED).limit(PAGE);
        for _ in 0..MOST_PAGES {
            let request = Request::new(object.path()).list_metadata(&list);
            let (pods, rest) = self.get(request, &object)?.pods(&object)?;
            pods.into_iter().for_each(&mut each);
            match rest {
                Some(rest) => list.continue_token = Some(rest),
                None => return Ok(()),
            }
        }
        Err(self.endless(object))
    }

    /// The names of all nodes on which the DaemonSet of examples/install runs: those of Linux.
    pub fn nodes(&self) -> Result<Vec<Name>, ClusterError> {
        let object = Object::all(Kind::Nodes);
        let mut list = ListParams::default().labels(LINUX).limit(PAGE);
        let mut all = Vec::new();
        for _ in 0..MOST_PAGES {
            let request = Request::new(object.path()).list_metadata(&list);
            let (nodes, rest) = self.get(request, &object)?.nodes(&object)?;
            all.extend(nodes);
            match rest {
                Some(rest) => list.continue_token = Some(rest),
                None => return Ok(all),
            }
        }
        Err(self.endless(object))
    }

    fn endless(&self, object: Object) -> ClusterError {
        let why = format!("it has more than {MOST_PAGES} pages");
        ClusterError::Strange { url: self.connection.url.clone(), object: Box::new(object), why }
    }
}
