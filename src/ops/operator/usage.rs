//! Counts how full each range is, in one pass over the definitions and leases.

use super::STORE_TIMEOUT;
use crate::error::Error;
use crate::ipam::keys;
use crate::ipam::usage::Usage;
use crate::ops::Session;
use crate::store::StoreConfig;

/// Counts the addresses in use. Of each lease, it keeps only the group that the lease counts for.
pub fn usage(store: &StoreConfig) -> Result<Usage, Error> {
    let session = Session::open(store.clone(), None)?;
    let mut usage = Usage::default();
    for span in [keys::all_definitions(), keys::all_leases()] {
        session.each(&span, STORE_TIMEOUT, |entry| {
            usage.note(entry);
            Ok::<_, Error>(())
        })?;
    }
    Ok(usage)
}
