//! What a test knows of who holds what, from the replies alone; it fails when an address is given twice.
//!
//! An attachment certainly holds an address from the reply of its ADD to the start of its DEL. What an ADD without a
//! reply has got, nobody knows, and nothing is claimed of it.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::cni::Reply;

/// The addresses that are certainly held, each with its holder.
#[derive(Default)]
pub struct History {
    held: Mutex<BTreeMap<String, String>>,
}

impl History {
    /// Nothing is held.
    pub fn new() -> Self {
        Self::default()
    }

    fn held_now(&self) -> MutexGuard<'_, BTreeMap<String, String>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes down the reply of an ADD that succeeded.
    ///
    /// # Panics
    /// If it gives nothing, another attachment's address, or others than this attachment has already.
    #[track_caller]
    pub fn given(&self, holder: &str, reply: &Reply) {
        let given = reply.addresses();
        assert!(reply.status.success() && !given.is_empty(), "nothing was given to {holder}: {}", reply.stdout);
        let mut held = self.held_now();
        let before = held.iter().filter(|(_, other)| *other == holder).map(|(ip, _)| ip).collect::<Vec<_>>();
        let same = before.iter().all(|ip| given.contains(ip));
        assert!(same, "{holder} has {before:?} and was given {given:?}");
        for ip in given {
            let other = held.insert(ip.clone(), holder.to_owned()).filter(|other| other != holder);
            assert!(other.is_none(), "{ip} was given to {holder} while {other:?} has it");
        }
    }

    /// Takes down that a DEL is about to begin.
    pub fn releasing(&self, holder: &str) {
        self.held_now().retain(|_, other| other != holder);
    }

    /// The addresses that are certainly held, without their prefix lengths, each with its holder.
    pub fn holders(&self) -> Vec<(String, String)> {
        let bare = |ip: &str| ip.split('/').next().unwrap_or_default().to_owned();
        self.held_now().iter().map(|(ip, holder)| (bare(ip), holder.clone())).collect()
    }
}
