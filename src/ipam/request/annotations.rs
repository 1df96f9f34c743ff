//! The annotations `kube-ipam.*` of a pod, as one of its interfaces reads them.
//!
//! ```text
//! kube-ipam.net1.ip   scoped: <ifname> and <field>, for that interface alone
//! kube-ipam.ip        unscoped, as the Go kube-ipam spells it: for the interface whose subnet holds the address
//! ```
//!
//! What an author wrote and nobody would read is never passed over: a mistake in a key of this interface is an error, one
//! elsewhere is that interface's error or, where there is no such interface, a [`Note`].

use std::collections::BTreeMap;
use std::fmt;

use serde_json::Value;

use super::annotation_error::AnnotationError;
use super::families::OnlyFamily;
use super::interfaces::{self, Interfaces};
use super::value::AnnotationValue;
use crate::ipam::name::{IfName, is_object_name};
use crate::ipam::near_miss::nearest;

/// What every key of ours begins with.
const PREFIX: &str = "kube-ipam.";
/// The fields of an interface, and those that may stand without one.
pub(super) const FIELDS: [&str; 6] = ["ip", "netmask", "gateway", "pool", "families", "sticky"];
const UNSCOPED: [&str; 3] = ["ip", "netmask", "gateway"];

/// What works, but perhaps not as the pod's author meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Note {
    /// A key that is nobody's.
    Unknown(String),
    /// A key for an interface that the pod does not have.
    NoSuchInterface {
        /// The key.
        key: String,
        /// The interfaces of the pod.
        interfaces: String,
    },
    /// An unscoped address that is none of this network's.
    Elsewhere {
        /// The address.
        ip: std::net::IpAddr,
    },
    /// A netmask or gateway without the address that it would belong to.
    WithoutAddress(Key),
    /// An interface that is to keep its address, of a pod with no stable identity.
    Sticky(Key),
}

impl Note {
    /// Whether it is probably a mistake of the pod's author.
    pub fn is_suspect(&self) -> bool {
        !matches!(self, Self::Elsewhere { .. })
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown(key) => write!(f, "annotation {key} is unknown to kube-ipam, and has no effect"),
            Self::NoSuchInterface { key, interfaces } => {
                write!(f, "annotation {key} has no effect: the pod's interfaces are {interfaces}")
            }
            Self::Elsewhere { ip } => {
                write!(
                    f,
                    "annotation kube-ipam.ip: {ip} is in no subnet of this network, and so not for this interface"
                )
            }
            Self::Sticky(key) => {
                write!(f, "annotation {key} has no effect: the pod is of no StatefulSet and of no virtual machine")
            }
            Self::WithoutAddress(key) => write!(f, "annotation {key} has no effect without kube-ipam.ip"),
        }
    }
}

/// The key of an annotation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key(String);

impl Key {
    pub(super) fn of(ifname: Option<&IfName>, field: &str) -> Self {
        Self(match ifname {
            Some(ifname) => format!("{PREFIX}{ifname}.{field}"),
            None => format!("{PREFIX}{field}"),
        })
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The fields of an interface, or the unscoped ones.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Fields {
    pub(super) ip: Option<AnnotationValue>,
    pub(super) netmask: Option<AnnotationValue>,
    pub(super) gateway: Option<AnnotationValue>,
    pub(super) pool: Option<AnnotationValue>,
}

/// A key of ours that is not for this interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct OtherInterfaceKey {
    pub(super) key: String,
    pub(super) ifname: String,
    pub(super) field: String,
    pub(super) value: String,
}

/// What the annotations of a pod say, read for one of its interfaces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Annotations {
    pub(super) ifname: IfName,
    /// Those of the interface.
    pub(super) own: Fields,
    /// Those without an interface.
    pub(super) unscoped: Fields,
    /// The family that it takes alone; `None` if it takes every family of the network.
    pub(super) only_family: Option<OnlyFamily>,
    /// Whether the interface keeps its address, over the network's setting.
    pub(super) sticky: Option<bool>,
    /// The keys that name other interfaces.
    pub(super) other_interfaces: Vec<OtherInterfaceKey>,
    /// The pod's interfaces, as far as they are known.
    pub(super) interfaces: Interfaces,
    /// The claim that the interface's network selection element names.
    claim: Option<String>,
    /// Keys that are nobody's.
    pub(super) unknown: Vec<String>,
}

/// The name of the claim to which an interface's addresses belong.
fn claim(annotations: &BTreeMap<String, String>, ifname: &IfName) -> Result<Option<String>, AnnotationError> {
    match interfaces::claim(annotations, ifname) {
        None => Ok(None),
        Some(Value::String(name)) if is_object_name(&name) => Ok(Some(name)),
        Some(other) => Err(AnnotationError::Claim { ifname: ifname.clone(), value: other.to_string() }),
    }
}

impl Annotations {
    /// Reads the annotations of a pod for its interface `ifname`.
    pub fn read(annotations: &BTreeMap<String, String>, ifname: &IfName) -> Result<Self, AnnotationError> {
        let mut read = Self {
            ifname: ifname.clone(),
            own: Fields::default(),
            unscoped: Fields::default(),
            only_family: None,
            sticky: None,
            other_interfaces: Vec::new(),
            interfaces: Interfaces::read(annotations, ifname),
            claim: claim(annotations, ifname)?,
            unknown: Vec::new(),
        };
        for (key, value) in annotations {
            // A prefix such as kube-ipam.example/ belongs to somebody else.
            let Some(rest) = key.strip_prefix(PREFIX).filter(|rest| !rest.contains('/')) else { continue };
            match rest.rsplit_once('.') {
                None => read.unscoped(rest, value)?,
                Some((of, field)) if of == ifname.as_str() => read.own(field, value)?,
                Some((of, field)) => read.other_interfaces.push(OtherInterfaceKey {
                    key: key.clone(),
                    ifname: of.to_owned(),
                    field: field.to_owned(),
                    value: value.clone(),
                }),
            }
        }
        if let (Some(ip), Some(pool)) = (&read.own.ip, &read.own.pool) {
            return Err(AnnotationError::IpAndPool(ip.key.clone(), pool.key.clone()));
        }
        Ok(read)
    }

    /// Whether the interface takes an address of a list, for which the pod's place in its StatefulSet may count.
    pub fn has_pool(&self) -> bool {
        self.own.pool.is_some()
    }

    /// The name of the claim to which the interface's addresses belong.
    pub fn claim(&self) -> Option<&str> {
        self.claim.as_deref()
    }

    /// Whether the interface keeps its address, where the network says this of all.
    pub fn is_sticky(&self, network: bool) -> bool {
        self.sticky.unwrap_or(network)
    }

    /// What its author should know if nobody is there to keep the address for.
    pub fn sticky_in_vain(&self) -> Option<Note> {
        self.sticky.filter(|sticky| *sticky).map(|_| Note::Sticky(Key::of(Some(&self.ifname), "sticky")))
    }

    /// An annotation of this interface.
    fn own(&mut self, field: &str, value: &str) -> Result<(), AnnotationError> {
        let key = Key::of(Some(&self.ifname), field);
        let value = AnnotationValue::read(key.clone(), value)?;
        let is_empty = value.text.is_empty();
        let field_value = match field {
            "ip" => &mut self.own.ip,
            "netmask" => &mut self.own.netmask,
            "gateway" => &mut self.own.gateway,
            "pool" => &mut self.own.pool,
            "families" if !is_empty => {
                self.only_family = Some(OnlyFamily::read(value)?);
                return Ok(());
            }
            "families" => return Err(AnnotationError::Empty(key)),
            "sticky" => {
                self.sticky = Some(match value.text.as_str() {
                    "true" => true,
                    "false" => false,
                    other => return Err(value.wrong(other, "\"true\" or \"false\"")),
                });
                return Ok(());
            }
            other => {
                let meant = nearest(other, &FIELDS).map(|field| Key::of(Some(&self.ifname), field).0);
                return Err(AnnotationError::Unknown { key: key.0, meant });
            }
        };
        if is_empty {
            return Err(AnnotationError::Empty(key));
        }
        *field_value = Some(value);
        Ok(())
    }

    /// An annotation without an interface. Empty ones are none, as they were to the Go kube-ipam.
    fn unscoped(&mut self, field: &str, value: &str) -> Result<(), AnnotationError> {
        let key = Key::of(None, field);
        let value = AnnotationValue::read(key.clone(), value)?;
        let field_value = match field {
            "ip" => &mut self.unscoped.ip,
            "netmask" => &mut self.unscoped.netmask,
            "gateway" => &mut self.unscoped.gateway,
            "pool" | "families" | "sticky" => {
                let instead = Key::of(Some(&self.ifname), field).0;
                return Err(AnnotationError::NeedsInterface { key: key.0, instead });
            }
            other => match nearest(other, &UNSCOPED) {
                Some(field) => {
                    let meant = Some(Key::of(None, field).0);
                    return Err(AnnotationError::Unknown { key: key.0, meant });
                }
                None => {
                    self.unknown.push(key.0);
                    return Ok(());
                }
            },
        };
        *field_value = Some(value).filter(|value| !value.text.is_empty());
        Ok(())
    }
}
