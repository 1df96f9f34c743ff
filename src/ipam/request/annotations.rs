//! The annotations `kube-ipam.*` of a pod, read for one of its interfaces.
//!
//! ```text
//! kube-ipam.net1.ip   scoped: <ifname> and <field>, for that interface only
//! kube-ipam.ip        unscoped, from the Go kube-ipam: for the interface whose subnet has the address
//! ```
//!
//! No annotation is ignored silently. A mistake in a key of this interface is an error. A mistake in a key of another
//! interface is an error there, or a [`Note`] if the pod has no such interface.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::Value;

use super::annotation_error::AnnotationError;
use super::families::OnlyFamily;
use super::interfaces::{self, Interfaces};
use super::value::AnnotationValue;
use crate::ipam::name::{IfName, is_object_name};
use crate::ipam::near_miss::nearest;

/// The prefix of all keys of this program.
const PREFIX: &str = "kube-ipam.";
/// The fields of a scoped key, and those of an unscoped one.
pub(super) const FIELDS: [&str; 6] = ["ip", "netmask", "gateway", "pool", "families", "sticky"];
const UNSCOPED: [&str; 3] = ["ip", "netmask", "gateway"];

/// An annotation that has no effect here, maybe against the intent of the pod's author.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Note {
    /// A key that belongs to no interface and no known field.
    Unknown(Key),
    /// A key for an interface that the pod does not have.
    NoSuchInterface {
        /// The key.
        key: Key,
        /// The interfaces of the pod.
        interfaces: String,
    },
    /// An unscoped address of another network.
    Elsewhere {
        /// The address.
        ip: std::net::IpAddr,
    },
    /// A netmask or gateway without an address.
    WithoutAddress(Key),
    /// A sticky interface of a pod without a stable identity.
    Sticky(Key),
}

impl Note {
    /// Whether the pod's author probably made a mistake.
    pub fn is_suspect(&self) -> bool {
        !matches!(self, Self::Elsewhere { .. })
    }

    /// The key of the annotation.
    pub fn key(&self) -> Key {
        match self {
            Self::Unknown(key) | Self::NoSuchInterface { key, .. } | Self::WithoutAddress(key) | Self::Sticky(key) => {
                key.clone()
            }
            Self::Elsewhere { .. } => Key::of(None, "ip"),
        }
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

/// Splits a key of this program into interface and field: `kube-ipam.net1.ip`, or `kube-ipam.ip` without an interface.
pub fn parse_key(key: &str) -> Option<(Option<&str>, &str)> {
    // A prefix such as kube-ipam.example/ is another program's.
    let rest = key.strip_prefix(PREFIX).filter(|rest| !rest.contains('/'))?;
    Some(rest.rsplit_once('.').map_or((None, rest), |(ifname, field)| (Some(ifname), field)))
}

impl Key {
    /// The key of a field, of an interface or unscoped.
    pub fn of(ifname: Option<&IfName>, field: &str) -> Self {
        Self(match ifname {
            Some(ifname) => format!("{PREFIX}{ifname}.{field}"),
            None => format!("{PREFIX}{field}"),
        })
    }

    /// The key of Multus' network selection, which is not one of this program.
    pub(super) fn of_selection() -> Self {
        Self(interfaces::KEY.to_owned())
    }

    /// The key as written in the pod's metadata.
    pub fn as_str(&self) -> &str {
        &self.0
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

/// A key for another interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct OtherInterfaceKey {
    pub(super) key: Key,
    pub(super) ifname: String,
    pub(super) field: String,
    pub(super) value: String,
}

/// The annotations of a pod, read for one of its interfaces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Annotations {
    pub(super) ifname: IfName,
    /// The scoped annotations of the interface.
    pub(super) own: Fields,
    /// The unscoped annotations.
    pub(super) unscoped: Fields,
    /// The only family that the interface takes; `None` if it takes every family of the network.
    pub(super) only_family: Option<OnlyFamily>,
    /// Whether the interface is sticky; overrides the network's setting.
    pub(super) sticky: Option<bool>,
    /// The keys for other interfaces.
    pub(super) other_interfaces: Vec<OtherInterfaceKey>,
    /// The pod's known interfaces.
    pub(super) interfaces: Interfaces,
    /// The claim that the interface's network selection element names.
    claim: Option<String>,
    /// Keys that belong to no interface and no known field.
    pub(super) unknown: Vec<Key>,
}

/// The name of an interface's claim.
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
            match parse_key(key) {
                None => {}
                Some((None, field)) => read.unscoped(field, value)?,
                Some((Some(of), field)) if of == ifname.as_str() => read.own(field, value)?,
                Some((Some(of), field)) => read.other_interfaces.push(OtherInterfaceKey {
                    key: Key(key.clone()),
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

    /// Whether the interface requests a pool, for which the pod's position in its StatefulSet may count.
    pub fn has_pool(&self) -> bool {
        self.own.pool.is_some()
    }

    /// The name of the claim to which the interface's addresses belong.
    pub fn claim(&self) -> Option<&str> {
        self.claim.as_deref()
    }

    /// Whether the interface is sticky, given the network's setting.
    pub fn is_sticky(&self, network: bool) -> bool {
        self.sticky.unwrap_or(network)
    }

    /// A note for the author of a sticky pod without an owner.
    pub fn sticky_in_vain(&self) -> Option<Note> {
        self.sticky.filter(|sticky| *sticky).map(|_| Note::Sticky(Key::of(Some(&self.ifname), "sticky")))
    }

    /// Reads a scoped annotation of this interface.
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
                let meant = nearest(other, &FIELDS).map(|field| Key::of(Some(&self.ifname), field));
                return Err(AnnotationError::Unknown { key, meant });
            }
        };
        if is_empty {
            return Err(AnnotationError::Empty(key));
        }
        *field_value = Some(value);
        Ok(())
    }

    /// Reads an unscoped annotation. Empty ones are ignored, as by the Go kube-ipam.
    fn unscoped(&mut self, field: &str, value: &str) -> Result<(), AnnotationError> {
        let key = Key::of(None, field);
        let value = AnnotationValue::read(key.clone(), value)?;
        let field_value = match field {
            "ip" => &mut self.unscoped.ip,
            "netmask" => &mut self.unscoped.netmask,
            "gateway" => &mut self.unscoped.gateway,
            "pool" | "families" | "sticky" => {
                let instead = Key::of(Some(&self.ifname), field);
                return Err(AnnotationError::NeedsInterface { key, instead });
            }
            other => match nearest(other, &UNSCOPED) {
                Some(field) => {
                    let meant = Some(Key::of(None, field));
                    return Err(AnnotationError::Unknown { key, meant });
                }
                None => {
                    self.unknown.push(key);
                    return Ok(());
                }
            },
        };
        *field_value = Some(value).filter(|value| !value.text.is_empty());
        Ok(())
    }
}
