//! Pods as the API server tells them, and their claims.
//!
//! ```text
//! kubeconfig file ─► kubeconfig   server, authority, credentials; nothing of the environment
//! service account ─┘     │
//!                    Connection   for who waits for several things at once ─┬─ term    who leads, by a Lease
//!                        │                                                  └─ watch   that something was deleted
//!                    ApiServer    one GET an object, of pods that ask the metadata only, in a time of its own
//!                    │      │
//!               answer      event     the other way: what a pod's author is to know, in one POST
//!       status and body → the pod,
//!       or why nothing is known of it
//!               census                all pods in pages, their metadata only, or none of them
//!               claim                 an IPAMClaim, and its status in one PATCH
//!               machine               a virtual machine's active pods, and its migrations
//! ```
//!
//! A GET names no resourceVersion, so that the server answers from what is committed and not from a cache: only then a
//! pod that is not there is gone (invariant 4). It is sent once. The kubelet repeats a failed ADD by itself, and a
//! server that says 429 or 503 does not want to hear the same question of a hundred nodes again at once.

mod access;
mod answer;
mod census;
mod claim;
mod connection;
mod error;
mod event;
mod failure;
mod kubeconfig;
mod machine;
mod object;
mod term;
#[cfg(test)]
mod tests;
mod watch;

use std::io;
use std::path::Path;
use std::time::Duration;

use kube::core::Request;
use kube::core::params::GetParams;
use tokio::runtime::{Builder, Runtime};

pub use self::access::Access;
use self::answer::Answer;
pub use self::connection::Connection;
pub use self::error::ClusterError;
pub use self::event::{Event, Reason, Unsaid};
pub use self::kubeconfig::KubeconfigProblem;
pub use self::object::{Kind, Object};
pub use self::term::{Office, Standing, Term};
pub use self::watch::{Ended, Heard, Watch};
use crate::ipam::lease::PodRef;
use crate::ipam::pod::{Controller, Pod};
use crate::ipam::reservation::Owner;
use crate::ipam::takeover::Told;
use crate::store::Deadline;

/// All questions of one call share this part of the time that it has left. The store is asked afterwards, and has the rest.
const API_SHARE: u32 = 2;

/// The API server, as a kubeconfig names it.
pub struct ApiServer {
    connection: Connection,
    time: Time,
    /// There until it is dropped.
    runtime: Option<Runtime>,
}

/// How long is waited for answers.
enum Time {
    /// All questions together, until then.
    Call(Deadline),
    /// So long for each.
    Question(Duration),
}

impl ApiServer {
    /// Reads the file, and those that it names. Nothing is connected before the first question. The questions together
    /// take no longer than their share of what is left until the deadline.
    pub fn open(kubeconfig: &Path, until: Deadline) -> Result<Self, ClusterError> {
        let time = Time::Call(until.at_most(until.remaining() / API_SHARE));
        Self::with_time(&Access::Kubeconfig(kubeconfig.to_owned()), time)
    }

    /// The same for who has many questions, and so long for each.
    pub fn open_for_long(access: &Access, each: Duration) -> Result<Self, ClusterError> {
        Self::with_time(access, Time::Question(each))
    }

    fn with_time(access: &Access, time: Time) -> Result<Self, ClusterError> {
        let runtime = Builder::new_current_thread().enable_all().build().map_err(ClusterError::Runtime)?;
        let entered = runtime.enter();
        let connection = Connection::open(access)?;
        drop(entered);
        Ok(Self { connection, time, runtime: Some(runtime) })
    }

    /// The metadata of a pod, as it stands now. Where the runtime named a UID, a pod of another UID is not this one.
    pub fn pod(&self, pod: &PodRef) -> Result<Pod, ClusterError> {
        let object = of_pod(pod)?;
        let found = self.metadata(&object)?.pod(&object)?;
        match &pod.uid {
            Some(uid) if !found.has_sandbox_of(uid) => {
                Err(ClusterError::Replaced { pod: Box::new(object), sandbox: uid.clone(), api: found.uid })
            }
            _ => Ok(found),
        }
    }

    /// What there is of a pod now, also of one that has come after it: whether it is gone, has run to its end, or lives.
    pub fn told(&self, pod: &PodRef) -> Result<Told, ClusterError> {
        let object = of_pod(pod)?;
        self.whole(&object)?.told(&object)
    }

    /// The number from which a StatefulSet counts its pods: `spec.ordinals.start`, 0 if it says nothing.
    pub fn first_ordinal(&self, namespace: &str, stateful_set: &str) -> Result<u32, ClusterError> {
        let object = Object::new(Kind::StatefulSet, namespace, stateful_set)?;
        self.whole(&object)?.first_ordinal(&object)
    }

    /// What has made a running virtual machine and would make it again, if it still is the one that a pod is a part of.
    pub fn maker(&self, machine: &Owner) -> Result<Option<Controller>, ClusterError> {
        let object = of_owner(machine)?;
        let found = self.metadata(&object)?.pod(&object)?;
        match found.uid == machine.uid {
            true => Ok(found.controller),
            false => {
                let sandbox = machine.uid.clone();
                Err(ClusterError::Replaced { pod: Box::new(object), sandbox, api: found.uid })
            }
        }
    }

    /// Whether the object for which an address is kept exists, or one that was made anew in its place: that one's pods come
    /// for the address as well, unless it is a claim ([`Owner::is`]).
    pub fn exists(&self, owner: &Owner) -> Result<bool, ClusterError> {
        let uid = self.owner_uid(owner)?;
        Ok(uid.is_some_and(|uid| owner.kind.goes_by_name() || uid == owner.uid))
    }

    /// The UID of the object that has an owner's name now; none if there is no such object.
    pub fn owner_uid(&self, owner: &Owner) -> Result<Option<String>, ClusterError> {
        let object = of_owner(owner)?;
        match self.metadata(&object)?.uid(&object) {
            Ok(uid) => Ok(Some(uid)),
            Err(ClusterError::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The UID of a namespace. That of kube-system is as old as the cluster, and tells it from any other.
    pub fn namespace_uid(&self, namespace: &str) -> Result<String, ClusterError> {
        let object = Object::new(Kind::Namespace, "", namespace)?;
        self.metadata(&object)?.uid(&object)
    }

    /// The same, for who waits no longer than this.
    pub fn namespace_uid_within(&self, namespace: &str, patience: Duration) -> Result<String, ClusterError> {
        let object = Object::new(Kind::Namespace, "", namespace)?;
        let until = match self.time {
            Time::Call(until) => until.at_most(patience),
            Time::Question(time) => Deadline::after(time.min(patience)),
        };
        let request = Request::new(object.path()).get_metadata(&object.name, &GetParams::default());
        self.ask(request.map_err(|_| unnamed(&object))?, &object, until)?.uid(&object)
    }

    /// What tells this server from others: the digest of its URL and authority.
    pub fn fingerprint(&self) -> &str {
        self.connection.fingerprint()
    }

    /// Asks for an object with all that it has.
    fn whole(&self, object: &Object) -> Result<Answer<'_>, ClusterError> {
        self.get(Request::new(object.path()).get(&object.name, &GetParams::default()), object)
    }

    /// Asks for the metadata of an object.
    fn metadata(&self, object: &Object) -> Result<Answer<'_>, ClusterError> {
        self.get(Request::new(object.path()).get_metadata(&object.name, &GetParams::default()), object)
    }

    /// Asks for an object, as long as there is time for questions.
    fn get(
        &self,
        request: Result<http::Request<Vec<u8>>, kube::core::request::Error>,
        object: &Object,
    ) -> Result<Answer<'_>, ClusterError> {
        let request = request.map_err(|_| unnamed(object))?;
        let until = match self.time {
            Time::Call(until) => until,
            Time::Question(time) => Deadline::after(time),
        };
        self.ask(request, object, until)
    }

    /// Sends a request once, and waits for its answer until the deadline.
    fn ask(
        &self,
        request: http::Request<Vec<u8>>,
        object: &Object,
        until: Deadline,
    ) -> Result<Answer<'_>, ClusterError> {
        let ended = || ClusterError::Runtime(io::Error::other("it has ended"));
        let runtime = self.runtime.as_ref().ok_or_else(ended)?;
        runtime.block_on(self.connection.ask(request, object, until))
    }
}

/// The digest of the URL and the authority of an API server, without a connection to it.
pub fn fingerprint(access: &Access) -> Result<String, ClusterError> {
    Ok(connection::fingerprint(&access.read()?))
}

fn unnamed(object: &Object) -> ClusterError {
    ClusterError::Name { what: "name", text: object.name.clone() }
}

fn of_pod(pod: &PodRef) -> Result<Object, ClusterError> {
    let name = |part: &Option<String>| part.clone().unwrap_or_default();
    Object::new(Kind::Pod, &name(&pod.namespace), &name(&pod.name))
}

fn of_owner(owner: &Owner) -> Result<Object, ClusterError> {
    Object::new(owner.kind.into(), owner.namespace.as_str(), owner.name.as_str())
}

impl Drop for ApiServer {
    fn drop(&mut self) {
        // Looking a host name up can't be interrupted, and is not waited for.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
