//! Inspects the resources of a store for `kube-ipam doctor`. Only reads.
//!
//! ```text
//!  discovery, namespace, timed reads          one request each, sent once
//!  all objects of a resource, page by page ─► each by itself: its faults, and whether it is open
//! ```
//!
//! The store takes what can't be read for a key in use. Here, each object is judged by what kube-ipam would have written.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value as Json;
use tokio::runtime::{Builder, Runtime};

use super::answer::{Response, is_missing, message_of, other};
use super::client::{Client, ListError};
use super::lists::PAGE;
use super::manifest::{MIRROR, OPEN, STEM, listed, written};
use super::object::ObjectError;
use super::request::{self, ListPage};
use super::resource::{GROUP, Place, RESOURCES, Resource, Stretch, VERSION};
use crate::cause::Cause;
use crate::deadline::Deadline;
use crate::store::{Key, KubernetesConfig, StoreError};

/// Inspects the resources of one store.
pub struct KubernetesInspector {
    client: Client,
    runtime: Runtime,
}

/// A resource of the store.
#[derive(Clone, Copy, Debug)]
pub struct StoreResource(&'static Resource);

impl StoreResource {
    /// Its name in the plural, as in paths: `ipleases`.
    pub fn plural(self) -> &'static str {
        self.0.plural
    }
}

/// What the API server serves of the store's resources.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServedResources {
    /// Those that it does not serve in our version, with their group.
    pub missing: Vec<String>,
    /// The number of all that the store needs.
    pub needed: usize,
    /// The versions of the group that it serves instead, if it serves none of the resources in ours.
    pub other_versions: Vec<String>,
}

/// Whether a namespace exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NamespaceState {
    /// It exists.
    Active,
    /// It is being deleted, with everything in it.
    Terminating,
    /// There is none.
    Missing,
    /// The user may not read it. The server's words.
    Hidden(String),
}

/// How some reads of a key went, one after the other. None was repeated.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReadTimes {
    /// How long those took that were answered.
    pub answered: Vec<Duration>,
    /// How many the server refused because it is too busy (429).
    pub throttled: usize,
}

/// What all objects of a resource are like.
#[derive(Debug, Default)]
pub struct ResourceReport {
    /// How many there are.
    pub objects: u64,
    /// Those with a lock or without a value, which a transaction has left.
    pub open: Vec<OpenObject>,
    /// Those that are not as kube-ipam writes them.
    pub faulty: Vec<FaultyObject>,
}

/// An object, as kubectl takes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectName {
    /// Its resource with the group: `ipleases.kube-ipam.cloudnativer.io`.
    pub resource: String,
    /// Its name.
    pub name: String,
}

/// An object with a lock or without a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenObject {
    /// The object.
    pub object: ObjectName,
    /// When it was written last, by the clock of the API server; `None` if the object does not tell.
    pub written: Option<Timestamp>,
    /// Whether a transaction has locked it. If not, it is what remains of a key.
    pub is_locked: bool,
}

/// An object that is not as kube-ipam writes it.
#[derive(Debug)]
pub struct FaultyObject {
    /// The object.
    pub object: ObjectName,
    /// What is wrong.
    pub fault: ObjectFault,
    /// Whether no list of its resource can be read because of it.
    pub fails_lists: bool,
}

/// What can be wrong with an object.
#[derive(Debug)]
pub enum ObjectFault {
    /// Its `spec` can't be read.
    Unreadable(Cause),
    /// A newer program has locked it or committed on it.
    Newer(Cause),
    /// It has the key of another object: somebody has renamed or copied it.
    Misnamed {
        /// The key in its `spec`.
        key: Key,
        /// The object that the key belongs to.
        belongs_to: ObjectName,
        /// Whether that object exists.
        exists: bool,
    },
    /// Labels by which the store selects objects are not those of its key.
    Labels {
        /// The labels that it should have, in the words of `kubectl label`: `name=value`, or `name-` for none.
        corrections: Vec<String>,
    },
}

#[derive(Deserialize)]
struct ApiResources {
    resources: Vec<ApiResource>,
}

#[derive(Deserialize)]
struct ApiResource {
    name: String,
}

#[derive(Deserialize)]
struct ApiGroup {
    versions: Vec<GroupVersion>,
}

#[derive(Deserialize)]
struct GroupVersion {
    version: String,
}

#[derive(Deserialize)]
struct Namespace {
    #[serde(default)]
    status: NamespaceStatus,
}

#[derive(Default, Deserialize)]
struct NamespaceStatus {
    #[serde(default)]
    phase: String,
}

/// The metadata of an object whose `spec` may be anything.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Metadata {
    name: String,
    labels: serde_json::Map<String, Json>,
    creation_timestamp: Option<Timestamp>,
    managed_fields: Vec<ManagedFields>,
}

#[derive(Deserialize)]
struct ManagedFields {
    time: Option<Timestamp>,
    #[serde(default)]
    subresource: String,
}

#[derive(Deserialize)]
struct AnyObject {
    metadata: Metadata,
}

impl KubernetesInspector {
    /// An inspector of this store. It reads the credentials, and sends nothing yet.
    pub fn new(config: &KubernetesConfig) -> Result<Self, Cause> {
        let client = config.connect().map_err(Cause::new)?;
        let runtime = Builder::new_current_thread().enable_all().build().map_err(Cause::new)?;
        Ok(Self { client, runtime })
    }

    /// The API server's URL.
    pub fn url(&self) -> &str {
        self.client.url()
    }

    /// Which of the store's resources the API server serves. Every user that it knows may ask.
    pub fn served(&self, deadline: Deadline) -> Result<ServedResources, Cause> {
        let all = || RESOURCES.iter().map(|resource| resource.plural);
        let needed = all().count();
        let missing = |served: &[ApiResource]| {
            let lacks = |plural: &&str| !served.iter().any(|resource| resource.name == *plural);
            all().filter(lacks).map(|plural| format!("{plural}.{GROUP}")).collect()
        };
        if let Some(ApiResources { resources }) = self.find(&format!("/apis/{GROUP}/{VERSION}"), deadline)? {
            return Ok(ServedResources { missing: missing(&resources), needed, other_versions: Vec::new() });
        }
        let group: Option<ApiGroup> = self.find(&format!("/apis/{GROUP}"), deadline)?;
        let versions = group.into_iter().flat_map(|group| group.versions);
        let other_versions = versions.map(|entry| entry.version).collect();
        Ok(ServedResources { missing: missing(&[]), needed, other_versions })
    }

    /// Whether the namespace of the store exists.
    pub fn namespace(&self, deadline: Deadline) -> Result<NamespaceState, Cause> {
        let path = format!("/api/v1/namespaces/{}", self.client.namespace());
        let response = self.get(&path, deadline)?;
        match response.status {
            200 => {
                let Namespace { status } = serde_json::from_slice(&response.body).map_err(Cause::new)?;
                let is_ending = status.phase == "Terminating";
                Ok(if is_ending { NamespaceState::Terminating } else { NamespaceState::Active })
            }
            404 if is_missing(&response) => Ok(NamespaceState::Missing),
            403 => Ok(NamespaceState::Hidden(message_of(&response))),
            _ => Err(Cause::new(other(self.url(), "namespaces", &response))),
        }
    }

    /// Reads the object of a key several times. The server asks etcd each time.
    pub fn read_times(&self, key: &Key, reads: usize, deadline: Deadline) -> Result<ReadTimes, Cause> {
        let place = Place::of(key).ok_or_else(|| Cause::new(format!("no resource holds keys like {key}")))?;
        let path = request::path_of(self.client.namespace(), &place);
        let mut times = ReadTimes::default();
        for _ in 0..reads {
            let began = Instant::now();
            let response = self.get(&path, deadline)?;
            match response.status {
                429 => times.throttled += 1,
                200 => times.answered.push(began.elapsed()),
                404 if is_missing(&response) => times.answered.push(began.elapsed()),
                _ => return Err(Cause::new(other(self.url(), place.resource.plural, &response))),
            }
        }
        Ok(times)
    }

    /// The resources of the store.
    pub fn resources() -> impl Iterator<Item = StoreResource> {
        RESOURCES.iter().map(StoreResource)
    }

    /// Judges all objects of a resource, each by itself. `timeout` is the limit for each page. Says how many it has read.
    pub fn inspect(
        &self,
        StoreResource(resource): StoreResource,
        timeout: Duration,
        progress: &dyn Fn(u64),
    ) -> Result<ResourceReport, StoreError> {
        let stretch = Stretch::all(resource);
        let (mut report, mut continues) = (ResourceReport::default(), None::<String>);
        loop {
            let page = ListPage::fresh(&stretch, PAGE, continues.as_deref());
            let page = self.runtime.block_on(self.client.objects(&page, Deadline::after(timeout)));
            let page = match page {
                Ok(page) => page,
                Err(ListError::Expired) => {
                    (report, continues) = (ResourceReport::default(), None);
                    continue;
                }
                Err(ListError::Store(error)) => return Err(error),
            };
            for item in page.items {
                self.judge(resource, item, timeout, &mut report)?;
            }
            progress(report.objects);
            continues = page.continues;
            if continues.is_none() {
                return Ok(report);
            }
        }
    }

    fn judge(
        &self,
        resource: &'static Resource,
        item: Json,
        timeout: Duration,
        report: &mut ResourceReport,
    ) -> Result<(), StoreError> {
        report.objects += 1;
        let corrupt = |error| StoreError::Corrupt(Cause::new(error));
        let AnyObject { metadata } = AnyObject::deserialize(&item).map_err(corrupt)?;
        let object = ObjectName::of(resource, &metadata.name);
        let fault = match written(item.clone()) {
            Ok(stored) => {
                let key = &stored.object.key;
                let is_locked = stored.object.lock().is_some();
                let is_mirror = metadata.labels.contains_key(MIRROR) && !is_locked;
                if stored.object.is_open() && !is_mirror {
                    report.open.push(OpenObject { object: object.clone(), written: metadata.written(), is_locked });
                }
                match Place::of(key) {
                    // Its name may be right by chance.
                    Some(place) if place.resource != resource => self.misnamed(key.clone(), &place, timeout),
                    _ => metadata.wrong_labels(key, stored.object.is_open()),
                }
            }
            Err(ObjectError::OtherName { found, .. }) => match Place::of(&found) {
                Some(place) => self.misnamed(found, &place, timeout),
                None => Some(ObjectFault::Unreadable(Cause::new(format!("no resource holds keys like {found}")))),
            },
            Err(error @ ObjectError::UnknownVersion { .. }) => Some(ObjectFault::Newer(Cause::new(error))),
            Err(error) => Some(ObjectFault::Unreadable(Cause::new(error))),
        };
        let faulty = |fault| FaultyObject { object, fault, fails_lists: listed(resource, item).is_err() };
        report.faulty.extend(fault.map(faulty));
        Ok(())
    }

    fn misnamed(&self, key: Key, place: &Place, timeout: Duration) -> Option<ObjectFault> {
        let path = request::path_of(self.client.namespace(), place);
        let found = self.get(&path, Deadline::after(timeout));
        // If it is not certain that the original exists, the copy must not be deleted.
        let exists = found.is_ok_and(|response| response.status == 200);
        Some(ObjectFault::Misnamed { key, belongs_to: ObjectName::of(place.resource, &place.name), exists })
    }

    /// GETs a document; `None` if the server has no such path.
    fn find<T: for<'de> Deserialize<'de>>(&self, path: &str, deadline: Deadline) -> Result<Option<T>, Cause> {
        let response = self.get(path, deadline)?;
        match response.status {
            200 => serde_json::from_slice(&response.body).map(Some).map_err(Cause::new),
            404 if is_missing(&response) => Ok(None),
            _ => Err(Cause::new(other(self.url(), "the resources of the store", &response))),
        }
    }

    fn get(&self, path: &str, deadline: Deadline) -> Result<Response, Cause> {
        self.runtime.block_on(self.client.get_once(path, deadline))
    }
}

impl Metadata {
    /// When the object was written last. Each manager's entry has the time of its last change. A write of the status is
    /// none of the store's.
    fn written(&self) -> Option<Timestamp> {
        let of_object = self.managed_fields.iter().filter(|entry| entry.subresource.is_empty());
        let times = of_object.filter_map(|entry| entry.time);
        times.chain(self.creation_timestamp).max()
    }

    /// The labels that are not those of an object of this key.
    fn wrong_labels(&self, key: &Key, is_open: bool) -> Option<ObjectFault> {
        let right = [(STEM, Place::stem(key)), (OPEN, is_open.then(|| "true".to_owned()))];
        let is_wrong =
            |(name, value): &(&str, Option<String>)| self.labels.get(*name).and_then(Json::as_str) != value.as_deref();
        let correction = |(name, value): (&str, Option<String>)| match value {
            Some(value) => format!("{name}={value}"),
            None => format!("{name}-"),
        };
        let corrections: Vec<String> = right.into_iter().filter(is_wrong).map(correction).collect();
        (!corrections.is_empty()).then_some(ObjectFault::Labels { corrections })
    }
}

impl ObjectName {
    pub(super) fn of(resource: &Resource, name: &str) -> Self {
        Self { resource: format!("{}.{GROUP}", resource.plural), name: name.to_owned() }
    }
}
