//! The steps of an exploration in words.

use std::fmt::Write as _;

use super::world::World;
use crate::store::kubernetes::api::{Change, Seen, Write};
use crate::store::kubernetes::object::{Mark, Object, TxnId};

impl World {
    pub(super) fn show_write(&self, write: &Write) -> String {
        let key = write.key();
        match write.change() {
            Change::Create(object) => format!("creates {key}: {}", self.show_object(object)),
            Change::Replace(object, _) => format!("replaces {key}: {}", self.show_object(object)),
            Change::Delete(_) => format!("deletes {key}"),
        }
    }

    pub(super) fn show(&self, seen: &Seen) -> String {
        seen.as_ref().map_or_else(|| "absent".to_owned(), |stored| self.show_object(&stored.object))
    }

    fn show_object(&self, object: &Object) -> String {
        let mut text = match &object.value {
            Some(value) => format!("value of {}", String::from_utf8_lossy(&value.value)),
            None => "no value".to_owned(),
        };
        let owner = |id: TxnId| self.actors.iter().find(|actor| actor.has_id(id)).map_or("?", |actor| &actor.name);
        // Writing to a string can't fail.
        let _ = match &object.mark {
            Some(Mark::Lock(lock)) => write!(text, ", lock of {} with primary {}", owner(lock.txn), lock.primary),
            Some(Mark::Commit(commit)) => write!(text, ", commit of {}", owner(commit.txn)),
            Some(Mark::Unreadable(why)) => write!(text, ", {why}"),
            None => Ok(()),
        };
        text
    }
}
