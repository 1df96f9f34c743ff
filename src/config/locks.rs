//! Keys of an ipam block that the node defaults lock.
//!
//! Keys that choose the same thing are a [`Unit`] and are locked together. If `etcdConfig` were locked alone, a block
//! could still set `"store": "embedded"` and assign the same addresses again. A locked key is locked everywhere: in the
//! block, in its `etcdConfig`, in its `ranges` and `pools`, and in the ranges of `runtimeConfig`.

use std::path::Path;

use serde_json::{Map, Value};

use super::defaults::{DefaultsFile, Presence};
use super::diagnostics::{ConfigWarning, Diagnostics};
use super::document::{Document, IpamBlock, NodeOnly, PoolBlock, RangeBlock};
use super::keys::{below, find};
use super::problem::Problem;
use super::read::{Field, List, MAX_ENTRIES, is_absent, shortened};

/// Keys that are locked together.
pub(super) struct Unit {
    /// Its name in `blocksMaySet`, which is one of its keys.
    pub(super) name: &'static str,
    /// All keys that choose the same thing.
    pub(super) keys: &'static [&'static str],
    /// Whether it is locked as soon as node defaults exist.
    pub(super) by_default: bool,
}

/// All units. Any other key is locked alone.
pub(super) const UNITS: [Unit; 5] = [
    Unit { name: "store", keys: &["store", "dataDir", "etcdConfig", "kubernetesConfig"], by_default: true },
    Unit { name: "kubeConfig", keys: &["kubeConfig"], by_default: true },
    Unit { name: "log", keys: &["log", "resolvConf"], by_default: true },
    Unit { name: "vrf", keys: &["vrf"], by_default: false },
    Unit { name: "namespaces", keys: &["namespaces"], by_default: false },
];

/// Why a key is locked.
#[derive(Clone, Copy)]
enum Lock {
    /// `locked` names a key of its unit, or the key itself.
    Listed,
    /// The key belongs to this unit, which is locked by default.
    ByDefault(&'static str),
    /// The node defaults can't be read, so the key may be locked. The defaults are the mistake that is reported, not
    /// the key.
    Unknown,
}

/// The keys that blocks may not set, if these are the node defaults.
pub fn locked_keys(file: &Path, object: &Map<String, Value>) -> Vec<&'static str> {
    let mut diagnostics = Diagnostics::default();
    let found = DefaultsFile::from_object(file.to_owned(), object.clone(), &mut diagnostics);
    let mut keys: Vec<_> = Locks::new(&found, &mut diagnostics).locked.into_iter().map(|(key, _)| key).collect();
    keys.sort_unstable();
    keys.dedup();
    keys
}

/// The locks of the node defaults.
pub(super) struct Locks<'a> {
    found: &'a DefaultsFile,
    locked: Vec<(&'static str, Lock)>,
}

impl<'a> Locks<'a> {
    /// Reads `locked` and `blocksMaySet`, and reports entries that have no effect.
    pub(super) fn new(found: &'a DefaultsFile, diagnostics: &mut Diagnostics) -> Self {
        let keys = |unit: &'static Unit, lock: Lock| unit.keys.iter().map(move |key| (*key, lock));
        let mut locked: Vec<_> = match found.presence {
            Presence::Absent => Vec::new(),
            Presence::Unreadable => UNITS.iter().flat_map(|unit| keys(unit, Lock::Unknown)).collect(),
            Presence::Read => {
                let listed = listed(&found.defaults.node.locked, diagnostics);
                let open = opened(&found.defaults.node.blocks_may_set, &listed, diagnostics);
                let by_default = UNITS.iter().filter(|unit| unit.by_default && !open.contains(&unit.name));
                let by_default = by_default.flat_map(|unit| keys(unit, Lock::ByDefault(unit.name)));
                listed.into_iter().map(|key| (key, Lock::Listed)).chain(by_default).collect()
            }
        };
        locked.retain(|(key, _)| IpamBlock::KEYS.contains(key));
        Self { found, locked }
    }

    /// The block without its locked keys. Reports those.
    pub(super) fn permitted(
        &self,
        block: &Map<String, Value>,
        at: &str,
        diagnostics: &mut Diagnostics,
    ) -> Map<String, Value> {
        let mut permitted = Map::new();
        for (name, value) in block {
            let path = below(at, &shortened(name));
            let value = match known(name, NodeOnly::KEYS) {
                Some(_) if is_absent(value) => continue,
                Some(_) => {
                    diagnostics.mistake(path, Problem::OnlyInDefaults(self.found.file.clone()));
                    continue;
                }
                None => value,
            };
            match known(name, IpamBlock::KEYS) {
                Some("etcdConfig") => {
                    let value = self.without_kubeconfig(value, &path, diagnostics);
                    if self.allows("etcdConfig", &value, path, diagnostics) {
                        permitted.insert(name.clone(), value);
                    }
                }
                Some(key) if !self.allows(key, value, path.clone(), diagnostics) => {}
                known => {
                    match known {
                        Some("ranges") if !self.is_same("ranges", value) => {
                            self.check_sets(value, &path, diagnostics);
                        }
                        Some("pools") if !self.is_same("pools", value) => {
                            self.check_pools(value, &path, diagnostics);
                        }
                        _ => {}
                    }
                    permitted.insert(name.clone(), value.clone());
                }
            }
        }
        permitted
    }

    /// Reports locked keys in the ranges of `runtimeConfig`, which are locked together with `ranges`.
    pub(super) fn check_runtime_ranges(&self, sets: &Value, at: &str, diagnostics: &mut Diagnostics) {
        match self.lock_on("ranges") {
            Some(lock) if !is_absent(sets) => self.refuse(lock, at.to_owned(), diagnostics),
            _ => self.check_sets(sets, at, diagnostics),
        }
    }

    /// Whether a block may set this value. Reports the key if not.
    fn allows(&self, key: &'static str, value: &Value, at: String, diagnostics: &mut Diagnostics) -> bool {
        let Some(lock) = self.lock_on(key).filter(|_| !is_absent(value)) else { return true };
        if self.is_same(key, value) {
            diagnostics.warnings.push(ConfigWarning::LockedAndSame(at));
        } else {
            self.refuse(lock, at, diagnostics);
        }
        false
    }

    /// An `etcdConfig` without its `kubeConfig` if that is locked, because it has the same meaning as the block's.
    fn without_kubeconfig(&self, etcd: &Value, at: &str, diagnostics: &mut Diagnostics) -> Value {
        let (Some(object), Some(_)) = (etcd.as_object(), self.lock_on("kubeConfig")) else { return etcd.clone() };
        let mut rest = object.clone();
        rest.retain(|name, value| match known(name, &["kubeConfig"]) {
            Some(key) => self.allows(key, value, below(at, name), diagnostics),
            None => true,
        });
        Value::Object(rest)
    }

    /// Reports the locked keys in a list of range sets.
    fn check_sets(&self, sets: &Value, at: &str, diagnostics: &mut Diagnostics) {
        for (s, set) in elements(sets) {
            for (r, range) in elements(set) {
                self.check_keys(range, RangeBlock::KEYS, &format!("{at}[{s}][{r}]"), diagnostics);
            }
        }
    }

    /// Reports the locked keys in pools.
    fn check_pools(&self, pools: &Value, at: &str, diagnostics: &mut Diagnostics) {
        for (name, pool) in pools.as_object().into_iter().flatten().take(MAX_ENTRIES) {
            self.check_keys(pool, PoolBlock::KEYS, &below(at, &shortened(name)), diagnostics);
        }
    }

    /// Reports those of these keys that are locked in an object.
    fn check_keys(&self, object: &Value, keys: &[&'static str], at: &str, diagnostics: &mut Diagnostics) {
        for (name, value) in object.as_object().into_iter().flatten() {
            let lock = known(name, keys).and_then(|key| self.lock_on(key));
            if let Some(lock) = lock.filter(|_| !is_absent(value)) {
                self.refuse(lock, below(at, name), diagnostics);
            }
        }
    }

    fn lock_on(&self, key: &str) -> Option<Lock> {
        self.locked.iter().find(|(locked, _)| *locked == key).map(|(_, lock)| *lock)
    }

    fn refuse(&self, lock: Lock, at: String, diagnostics: &mut Diagnostics) {
        let file = self.found.file.clone();
        match lock {
            Lock::Listed => diagnostics.mistake(at, Problem::Locked(file)),
            Lock::ByDefault(unit) => diagnostics.mistake(at, Problem::LockedByDefault { file, unit }),
            Lock::Unknown => {}
        }
    }

    /// Whether the node defaults have the same value for a key.
    fn is_same(&self, key: &str, value: &Value) -> bool {
        let object = &self.found.object;
        let of = |object: &'a Map<String, Value>, key: &str| find(object, key).filter(|value| !is_absent(value));
        let etcd = || of(object, "etcdConfig").and_then(Value::as_object);
        match key {
            "kubeConfig" => of(object, key).or_else(|| of(etcd()?, key)).is_some_and(|theirs| same(value, theirs)),
            // The compared value has no kubeConfig if that is locked, so the defaults' must not have one either.
            "etcdConfig" if self.lock_on("kubeConfig").is_some() => etcd().is_some_and(|theirs| {
                let mut theirs = theirs.clone();
                theirs.retain(|name, _| known(name, &["kubeConfig"]).is_none());
                same(value, &Value::Object(theirs))
            }),
            _ => of(object, key).is_some_and(|theirs| same_of(key, value, theirs)),
        }
    }
}

/// The elements of a list, up to the limit of reading.
fn elements(list: &Value) -> impl Iterator<Item = (usize, &Value)> {
    list.as_array().into_iter().flatten().take(MAX_ENTRIES).enumerate()
}

/// Whether the path of a mistake ends in a key that chooses the store.
pub(super) fn is_of_the_store(path: &str) -> bool {
    path.rsplit('.').next().and_then(|name| known(name, &["store", "dataDir", "etcdConfig"])).is_some()
}

/// The keys that `locked` locks.
fn listed(field: &Field<List<String>>, diagnostics: &mut Diagnostics) -> Vec<&'static str> {
    let Some((at, list)) = field.located() else { return Vec::new() };
    let mut locked = Vec::new();
    for written in list.valid() {
        match known(written, IpamBlock::KEYS) {
            Some(key) => match UNITS.iter().find(|unit| unit.keys.contains(&key)) {
                Some(unit) => locked.extend(unit.keys),
                None => locked.push(key),
            },
            None => diagnostics.mistake(at, Problem::LocksNothing(shortened(written).into_owned())),
        }
    }
    locked
}

/// The units that `blocksMaySet` opens. Only names of units count: `dataDir` would open more than it says.
fn opened(field: &Field<List<String>>, listed: &[&'static str], diagnostics: &mut Diagnostics) -> Vec<&'static str> {
    let Some((at, list)) = field.located() else { return Vec::new() };
    let mut open = Vec::new();
    for written in list.valid() {
        match UNITS.iter().find(|unit| unit.by_default && unit.name.eq_ignore_ascii_case(written)) {
            Some(unit) if listed.contains(&unit.name) => diagnostics.mistake(at, Problem::LockedAndOpen(unit.name)),
            Some(unit) => open.push(unit.name),
            None => diagnostics.mistake(at, Problem::OpensNothing(shortened(written).into_owned())),
        }
    }
    open
}

/// The key that is written here, in any case.
fn known(written: &str, keys: &[&'static str]) -> Option<&'static str> {
    keys.iter().copied().find(|key| key.eq_ignore_ascii_case(written))
}

/// Whether two values of a key have the same meaning. A selector's labels are not keys of a config: case counts, and an
/// empty value is a value.
fn same_of(key: &str, one: &Value, other: &Value) -> bool {
    if known(key, &["nodeSelector"]).is_some() { one == other } else { same(one, other) }
}

/// Whether two values have the same meaning. The case of keys, empty values and spaces around a text don't count.
fn same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::String(one), Value::String(other)) => one.trim() == other.trim(),
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| same(one, other))
        }
        (Value::Object(one), Value::Object(other)) => holds(one, other) && holds(other, one),
        _ => one == other,
    }
}

/// Whether an object has every value of the other.
fn holds(object: &Map<String, Value>, other: &Map<String, Value>) -> bool {
    let mut said = other.iter().filter(|(_, value)| !is_absent(value));
    said.all(|(key, value)| find(object, key).is_some_and(|theirs| same_of(key, theirs, value)))
}
