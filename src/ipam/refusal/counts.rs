//! The addresses of an exhausted range set, counted by their state.

use std::fmt;
use std::path::PathBuf;

/// The addresses of a range set without a free one, by their state.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Held, or not read.
    pub held: u128,
    /// In a strict cooldown.
    pub resting: u128,
    /// Reserved for their owners.
    pub reserved: u128,
    /// In use by hosts without a lease.
    pub foreign: u128,
    /// Held by host-local, according to its files on this node.
    pub host_local: Option<HostLocalFiles>,
    /// Never selected at random: `exclude`, gateways, the window of fixed addresses.
    pub excluded: u128,
}

/// Files of host-local that hold addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostLocalFiles {
    /// The number of files.
    pub count: u128,
    /// Their folder.
    pub folder: PathBuf,
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { held, resting, reserved, foreign, host_local, excluded } = self;
        let by_host_local = host_local.as_ref().map_or(0, |files| files.count);
        let size = [held, resting, reserved, foreign, &by_host_local]
            .into_iter()
            .fold(0, |sum: u128, n| sum.saturating_add(*n));
        write!(f, "{size} {}, {held} held", if size == 1 { "address" } else { "addresses" })?;
        for (count, what) in [(resting, "resting (cooldown is strict)"), (reserved, "reserved"), (foreign, "foreign")] {
            if *count > 0 {
                write!(f, ", {count} {what}")?;
            }
        }
        if let Some(HostLocalFiles { count, folder }) = host_local {
            write!(f, ", {count} held by host-local ({})", folder.display())?;
        }
        if *excluded > 0 {
            write!(f, ", {excluded} more excluded")?;
        }
        Ok(())
    }
}
