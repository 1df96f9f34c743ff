//! STATUS: reports whether an ADD could be served.
//!
//! The main plugins forward STATUS, and a node whose STATUS fails is not ready. So STATUS fails for a config with which
//! every ADD would fail. It does not fail while the store is unreachable, unless `status` is `strict`: that would make
//! all nodes unready at once.

use super::Call;
use crate::config::{ConfigErrors, Network};
use crate::error::Error;
use crate::telemetry::Phase;

/// Serves a STATUS.
pub(super) fn status(call: &mut Call<'_>, network: Result<&Network, ConfigErrors>) -> Result<(), Error> {
    let valid = network.map_err(Error::Config).and_then(|network| {
        let ranges = network.ranges();
        ranges.check_node(ranges.unplaced).map_err(Error::Refused)
    });
    let served = valid.and_then(|()| if call.node.settings.status_strict { reach(call) } else { Ok(()) });
    served.map_err(|error| Error::Status(Box::new(error)))
}

/// Checks that the store responds.
fn reach(call: &mut Call<'_>) -> Result<(), Error> {
    let store = call.node.settings.store.clone().map_err(Error::Config)?;
    call.enter(Phase::Store);
    let deadline = call.node.deadline;
    call.node.open(&store)?.ping(deadline)
}
