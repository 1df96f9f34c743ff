//! One hash for all states that differ only in how their revisions are numbered.

use std::collections::HashMap;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};

use super::super::world::entries;
use super::{ModelState, Record, Running, Runtime};
use crate::ipam::lease::Written;
use crate::store::{Branch, Entry, Guard, Op, OpResponse, Revision, Txn};

/// A hash of the model state.
pub(super) fn fingerprint(model: &ModelState) -> u64 {
    let mut print = Print::default();
    for prefix in ["at/", "id/", "ip/", "net/", "rest/"] {
        entries(&model.state, prefix).iter().for_each(|entry| print.entry(entry));
    }
    model.runtimes.iter().for_each(|runtime| print.runtime(runtime));
    model.faults_left.hash(&mut print.hasher);
    print.hasher.finish()
}

/// A hash in which each revision is the number of its first appearance.
#[derive(Default)]
struct Print {
    hasher: DefaultHasher,
    revisions: HashMap<Revision, usize>,
}

impl Print {
    fn revision(&mut self, revision: Revision) {
        let next = self.revisions.len();
        self.revisions.entry(revision).or_insert(next).hash(&mut self.hasher);
    }

    fn entry(&mut self, entry: &Entry) {
        (&entry.key, &entry.value).hash(&mut self.hasher);
        self.revision(entry.revision);
    }

    fn runtime(&mut self, runtime: &Runtime) {
        (&runtime.live, runtime.adds_left, runtime.under_way.len()).hash(&mut self.hasher);
        for txn in &runtime.under_way {
            self.txn(txn);
        }
        for record in [&runtime.record, &runtime.earlier] {
            (record.is_some(), matches!(record, Some(Record::Held(_)))).hash(&mut self.hasher);
            if let Some(Record::Held(written)) = record {
                self.written(written);
            }
        }
        runtime.running.is_some().hash(&mut self.hasher);
        if let Some(Running { process, txn, told }) = &runtime.running {
            (std::mem::discriminant(process), told.len()).hash(&mut self.hasher);
            self.txn(txn);
            for outcome in told {
                self.branch(&outcome.branch);
            }
        }
    }

    fn written(&mut self, written: &Written) {
        self.revision(written.revision);
        written.leases.iter().for_each(|(ip, _)| ip.hash(&mut self.hasher));
    }

    fn txn(&mut self, txn: &Txn) {
        for guard in txn.when() {
            match guard {
                Guard::Absent(key) | Guard::WasAbsent(key) => (0, key).hash(&mut self.hasher),
                Guard::Unchanged(key, revision) | Guard::WasUnchanged(key, revision) => {
                    (1, key).hash(&mut self.hasher);
                    self.revision(*revision);
                }
            }
        }
        for op in txn.then().iter().chain(txn.otherwise()) {
            match op {
                Op::Put(key, value) => (2, key, value).hash(&mut self.hasher),
                Op::Delete(key) => (3, key).hash(&mut self.hasher),
                Op::Get(key) => (4, key).hash(&mut self.hasher),
                Op::Range { span, .. } => (5, &span.from, &span.to).hash(&mut self.hasher),
                Op::Count(span) => (6, &span.from, &span.to).hash(&mut self.hasher),
                Op::Txn(txn) => self.txn(txn),
            }
        }
    }

    fn branch(&mut self, branch: &Branch) {
        branch.succeeded.hash(&mut self.hasher);
        for answer in &branch.responses {
            match answer {
                OpResponse::Written => 0.hash(&mut self.hasher),
                OpResponse::Entry(entry) => entry.iter().for_each(|entry| self.entry(entry)),
                OpResponse::Entries(entries) => {
                    entries.len().hash(&mut self.hasher);
                    entries.iter().for_each(|entry| self.entry(entry));
                }
                OpResponse::Count(count) => count.hash(&mut self.hasher),
                OpResponse::Branch(branch) => self.branch(branch),
            }
        }
    }
}
