//! One hash for all states that differ only in how resource versions and UIDs are numbered.
//!
//! A resource version is remembered only to be compared with the object's. So all that matters is whether it is still
//! the object's: it never comes again. UIDs are compared with each other, and get numbers in the order in which they
//! appear.

use std::hash::Hasher;

use super::api::Api;

/// Hashes values of the protocol, whose versions come from the API in memory. The standard hasher takes most of the time
/// of an exploration that is not optimized.
pub(super) struct Fingerprint<'a> {
    hash: u64,
    api: &'a Api,
    uids: Vec<Vec<u8>>,
}

impl<'a> Fingerprint<'a> {
    pub(super) fn new(api: &'a Api) -> Self {
        Self { hash: 0, api, uids: Vec::new() }
    }

    fn is_current(&self, resource_version: &[u8]) -> bool {
        let mut stored = self.api.objects().values();
        stored.any(|stored| stored.version.resource_version.as_bytes() == resource_version)
    }

    fn mix(&mut self, word: u64) {
        let mixed = (self.hash ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.hash = (mixed ^ (mixed >> 29)).wrapping_add(0x2545_f491_4f6c_dd1d);
    }
}

impl Hasher for Fingerprint<'_> {
    fn finish(&self) -> u64 {
        self.hash
    }

    fn write(&mut self, bytes: &[u8]) {
        if bytes.starts_with(b"rv:") {
            let is_current = self.is_current(bytes);
            self.mix(u64::from(is_current));
        } else if bytes.starts_with(b"uid:") {
            let known = self.uids.iter().position(|uid| uid == bytes);
            self.mix(known.unwrap_or(self.uids.len()) as u64);
            if known.is_none() {
                self.uids.push(bytes.to_vec());
            }
        } else {
            for chunk in bytes.chunks(8) {
                let mut word = [0; 8];
                word[..chunk.len()].copy_from_slice(chunk);
                self.mix(u64::from_le_bytes(word));
            }
        }
    }

    fn write_u8(&mut self, number: u8) {
        self.mix(u64::from(number));
    }

    fn write_u32(&mut self, number: u32) {
        self.mix(u64::from(number));
    }

    fn write_u64(&mut self, number: u64) {
        self.mix(number);
    }

    fn write_usize(&mut self, number: usize) {
        self.mix(number as u64);
    }

    fn write_isize(&mut self, number: isize) {
        self.mix(number.cast_unsigned() as u64);
    }
}
