//! ADD: gives an attachment its addresses, all or none.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;

use super::Call;
use super::release::{Task, settle};
use crate::cni::{Requested, Target};
use crate::config::Network;
use crate::error::Error;
use crate::host_local;
use crate::ipam::ask;
use crate::ipam::decide::{Add, Granted, Terms};
use crate::ipam::lease::Holder;
use crate::record::{Action, Found, Held, Lock, Netns, Record, RecordError, State};
use crate::store::StoreError;
use crate::telemetry::Phase;

/// Serves an ADD.
pub fn add(
    call: &mut Call<'_>,
    network: &Network,
    target: &Target,
    requested: Option<&Requested>,
) -> Result<Granted, Error> {
    // All that can be refused without the store is refused before anything is written.
    let asks = ask::asks(network, requested, target.pod.namespace.as_deref(), call.version)?;
    let store = call.site.store.clone().map_err(Error::Config)?;
    let id = call.attachment(target);
    let holder = Holder {
        id: id.clone(),
        pod: target.pod.clone(),
        cluster: call.site.cluster.clone(),
        began: call.began.clone(),
    };
    let terms = Terms {
        vrf: call.site.vrf.clone(),
        cooldown: network.cooldown.seconds,
        strict: network.cooldown.strict,
        host_local: held_by_host_local(call)?,
    };
    let machine = Add::new(holder, terms, asks)?;

    call.enter(Phase::Record);
    // It gets ready while the record is written.
    call.open(&store)?;

    let lock = call.records.lock(&id, call.until)?;
    call.enter(Phase::Record);
    let earlier = earlier(call, &lock)?;
    let netns = target.netns.as_deref().and_then(Netns::of);
    let record = Record::asked(id, call.site.vrf.clone(), store.clone(), netns, call.began.clone());
    call.enter(Phase::Record);
    call.records.write(&lock, &record)?;

    call.enter(Phase::Store);
    let until = call.until;
    let granted = call.open(&store).and_then(|session| session.decide(machine, until));
    call.enter(Phase::Record);
    match granted {
        Ok(granted) => {
            let held = Held {
                revision: granted.revision,
                attachment: granted.attachment.clone(),
                leases: granted.leases.clone(),
            };
            // The addresses are held. A record that still says "asked" costs the DEL one request more, and nothing else.
            call.enter(Phase::Record);
            let written = call.records.write(&lock, &record.holding(held));
            if let Err(error) = written {
                tracing::warn!(%error, "the node's record could not be completed");
            }
            Ok(granted)
        }
        Err(error) => {
            if !may_have_happened(&error) {
                restore(call, &lock, earlier);
            }
            Err(error)
        }
    }
}

/// Whether the store may hold addresses for an ADD that failed so.
fn may_have_happened(error: &Error) -> bool {
    matches!(error, Error::Store { error: StoreError::Ambiguous(_) | StoreError::Corrupt(_), .. })
}

/// The record of an earlier ADD of this attachment. What an earlier DEL has left to do is done first.
fn earlier(call: &mut Call<'_>, lock: &Lock) -> Result<Option<Record>, Error> {
    match call.records.read(lock)? {
        Found::Nothing => Ok(None),
        Found::Record(record) if record.state == State::Releasing => {
            settle(call, Some(lock), &Task::of(*record), call.until)?;
            Ok(None)
        }
        Found::Record(record) => Ok(Some(*record)),
        Found::Unreadable { path, why } => {
            tracing::warn!(path = %path.display(), %why, "the node's record of this attachment is written anew");
            Ok(None)
        }
    }
}

/// Puts the record back to what it was before an ADD that certainly changed nothing.
fn restore(call: &Call<'_>, lock: &Lock, earlier: Option<Record>) {
    let restored = match &earlier {
        Some(record) => call.records.write(lock, record),
        None => call.records.remove(lock),
    };
    if let Err(error) = restored {
        // It says "asked", which makes the DEL write a fence that nobody needs.
        tracing::warn!(%error, "the node's record could not be put back");
    }
}

fn held_by_host_local(call: &Call<'_>) -> Result<BTreeMap<IpAddr, PathBuf>, Error> {
    host_local::held(&call.site.host_local).map_err(|source| {
        let path = call.site.host_local.first().cloned().unwrap_or_default();
        Error::Record(RecordError::Io { action: Action::List, path, source })
    })
}
