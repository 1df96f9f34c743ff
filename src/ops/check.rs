//! CHECK: verifies that the attachment still holds the addresses in its result.

use std::net::IpAddr;

use ipnet::IpNet;

use super::{Call, recovery};
use crate::cni::Target;
use crate::config::Network;
use crate::error::Error;
use crate::ipam::decide::Check;
use crate::ipam::refusal::Refusal;
use crate::record::ReadResult;
use crate::telemetry::Phase;

/// Serves a CHECK. Checks the addresses in `previous` that are in a subnet of this network, including those in a range
/// that now belongs to other nodes. Checks all of them if the config is invalid by now (`network` is `None`).
pub(super) fn check(
    call: &mut Call<'_>,
    network: Option<&Network>,
    target: &Target,
    previous: &[IpNet],
) -> Result<(), Error> {
    let id = call.attachment(target);
    call.enter(Phase::Record);
    let (id, found) = call.node.records.locate(&id, &call.node.began.boot)?;
    let store = match found {
        ReadResult::Record(record) => record.store,
        ReadResult::Missing | ReadResult::Unreadable { .. } => {
            call.node.settings.store.clone().map_err(Error::Config)?
        }
    };
    call.enter(Phase::Store);
    let deadline = call.node.deadline;
    let held = match call.node.open(&store)?.decide(&mut Check::new(id.clone()), deadline) {
        Err(error) if matches!(error, Error::Refused(Refusal::Lost { .. })) => {
            recovery::report_if_lost(&mut call.node, &id, &store, deadline);
            return Err(error);
        }
        held => held?,
    };
    let ours = |ip: &IpAddr| network.is_none_or(|network| network.has(*ip));
    let claimed = previous.iter().map(|net| net.addr().to_canonical());
    let missing: Vec<IpAddr> = claimed.filter(ours).filter(|ip| !held.0.contains(ip)).collect();
    if missing.is_empty() && !held.0.is_empty() {
        return Ok(());
    }
    if held.0.is_empty() {
        recovery::report_if_lost(&mut call.node, &id, &store, deadline);
    }
    Err(Error::NotHeld { attachment: Box::new(id), missing, held: held.0 })
}
