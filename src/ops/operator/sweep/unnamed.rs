//! Adds the cluster to holders that name none: the scan has just found their pods in this one.

use super::SweepRun;
use super::scan::response_deadline;
use crate::error::Error;
use crate::ipam::decide::{Adopt, Adopted};
use crate::ipam::sweep::Unnamed;

impl SweepRun<'_> {
    /// Adds it to the holders that the last scan found; in a dry run, to none. Returns the number of addresses.
    pub(super) fn adopt_unnamed(&mut self) -> usize {
        let found = std::mem::take(&mut self.unnamed);
        let Some(cluster) = self.rules.cluster.id().map(str::to_owned) else { return 0 };
        if self.options.dry_run {
            return found.len();
        }
        let mut adopted = 0;
        for unnamed in found {
            if self.store_is_silent || !(self.may_continue)() {
                break;
            }
            match self.adopt(&unnamed, &cluster) {
                Ok(Adopted::Named) => adopted += 1,
                // It was released or taken over meanwhile.
                Ok(Adopted::Changed) => {}
                Err(error) => {
                    self.store_is_silent |= matches!(error, Error::Store { .. });
                    tracing::warn!(ip = %unnamed.ip, error = %error.full(), "its holder still names no cluster");
                }
            }
        }
        if adopted > 0 {
            tracing::info!(adopted, cluster, "added the cluster to holders that named none");
        }
        adopted
    }

    fn adopt(&mut self, unnamed: &Unnamed, cluster: &str) -> Result<Adopted, Error> {
        let Unnamed { vrf, ip, revision, holders } = unnamed.clone();
        let mut adopt = Adopt::new(vrf, ip, revision, holders, cluster.to_owned());
        self.session()?.decide(&mut adopt, response_deadline())
    }
}
