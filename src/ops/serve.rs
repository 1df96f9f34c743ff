//! One call, from the runtime's input to the reply, the log line and the exit status.

use std::io::{self, IsTerminal, Read};
use std::process::ExitCode;
use std::time::Duration;

use ipnet::IpNet;

use super::add::AddOutput;
use super::release::{self, ReleaseTask};
use super::{Call, Node, add, check, claim, del, event, gc, recovery, status};
use crate::cni::reply::{ErrorDocument, Success, Versions};
use crate::cni::request::{self, Rejection};
use crate::cni::{CniVersion, Incoming, Operation, Request, gate};
use crate::config::{self, CallSettings, LoadedConfig, Network, Purpose};
use crate::deadline::Deadline;
use crate::error::Error;
use crate::ipam::decide::Allocation;
use crate::ipam::lease::{Began, PodRef, Written};
use crate::ipam::name::AttachmentId;
use crate::ipam::refusal::Refusal;
use crate::record::{ReadResult, Record, RecordState};
use crate::telemetry::{self, CallTimer, Phase};

/// How long a call may work on a recovery. The runtime waits for the process to exit.
const PART_TIME: Duration = Duration::from_secs(3);

/// Serves the call of this process.
pub fn serve() -> ExitCode {
    gate::install_panic_hook();
    // On a terminal, somebody is trying VERSION by hand. Reading would wait forever, because no end of file comes.
    let stdin = io::stdin().lock();
    let by_hand = stdin.is_terminal();
    let incoming = if by_hand { read_call(io::empty()) } else { read_call(stdin) };
    match incoming {
        Ok(Incoming::Version { asked }) => exit(gate::write(&Versions::new(asked))),
        Ok(Incoming::Call(request)) => {
            gate::set_reply_version(request.version);
            served(&request)
        }
        Err(Rejection { version, error }) => fail(version, &error.into(), String::new()),
    }
}

fn read_call(stdin: impl Read) -> Result<Incoming, Rejection> {
    request::read(|variable| std::env::var_os(variable), stdin)
}

fn served(request: &Request) -> ExitCode {
    let timer = CallTimer::start(request.operation.verb().as_str());
    let LoadedConfig { settings, network, warnings } = load_config(request);
    telemetry::init(&settings.log);
    for warning in warnings {
        tracing::warn!(network = request.network.as_str(), "{warning}");
    }
    let mut call = begin(request, &settings, timer);
    let done = dispatch(&mut call, request, network);
    if let Err(error) = &done {
        reply_failure(&call, error);
    }
    // The runtime has its reply now, and waits for the process to exit.
    catch_up(&mut call, &done);
    if let Operation::Add { target, .. } = &request.operation {
        report(&mut call, &target.pod, &done);
    }
    end(call, &done)
}

fn load_config(request: &Request) -> LoadedConfig {
    let pod = request.operation.target().map(|target| &target.pod);
    let purpose = Purpose {
        add: matches!(request.operation, Operation::Add { .. }),
        pod: pod.is_some_and(PodRef::is_in_a_cluster),
    };
    let env = |variable: &str| std::env::var(variable).ok();
    config::load(&request.config, &request.network, &env, purpose)
}

fn begin<'a>(request: &'a Request, settings: &'a CallSettings, timer: CallTimer) -> Call<'a> {
    let mut call = Call {
        node: Node::new(settings, Deadline::after(settings.timeout)),
        network: &request.network,
        version: request.version,
        claim: None,
        timer,
    };
    call.timer.network(&request.network);
    call.timer.vrf(&settings.vrf);
    if let Some(target) = request.operation.target() {
        let id = call.attachment(target);
        call.timer.attachment(&id, &target.pod);
    }
    call
}

/// Writes the error document. The error of a timeout also lists where the time went.
fn reply_failure(call: &Call<'_>, error: &Error) {
    let spent = if error.is_about_time() { call.timer.spent().to_string() } else { String::new() };
    fail(call.version, error, spent);
}

/// Replays releases that earlier calls on this node deferred, and does this node's part in a recovery.
fn catch_up(call: &mut Call<'_>, done: &Result<Option<Allocation>, Error>) {
    call.enter(Phase::Replay);
    release::replay_deferred(&mut call.node);
    take_part(call, done);
    // The exit closes files and connections. Closing the store in order takes longer, and changes nothing in it.
    std::mem::forget(call.node.session.take());
}

/// Reports the result of an ADD on the pod and its claim.
fn report(call: &mut Call<'_>, pod: &PodRef, done: &Result<Option<Allocation>, Error>) {
    if let Err(Error::Refused(refusal)) = done {
        claim::report_refusal(call, pod, refusal);
    }
    for event in event::event_for(done).into_iter().chain(event::event_for_foreign(done)) {
        event::publish(call, pod, event);
    }
}

/// Logs the call, and returns its exit status.
fn end(call: Call<'_>, done: &Result<Option<Allocation>, Error>) -> ExitCode {
    match done {
        Ok(_) => {
            call.timer.succeeded();
            ExitCode::SUCCESS
        }
        Err(error) => {
            call.timer.failed(error.code().number(), &error.full());
            ExitCode::FAILURE
        }
    }
}

/// Does this node's part in a recovery that the call has found.
fn take_part(call: &mut Call<'_>, done: &Result<Option<Allocation>, Error>) {
    let refused = matches!(done, Err(Error::Refused(Refusal::Recovering { .. })));
    if !refused && !call.node.saw_recovery {
        return;
    }
    let Ok(store) = call.node.settings.store.clone() else { return };
    let deadline = call.node.deadline.at_most(PART_TIME);
    if let Err(error) = recovery::take_part(&mut call.node, &store, deadline) {
        tracing::warn!(error = %error.full(), "this node's part in the recovery of the store is left for a later call");
    }
}

/// Performs the operation, and returns what an ADD assigned.
fn dispatch(
    call: &mut Call<'_>,
    request: &Request,
    network: Result<Network, config::ConfigErrors>,
) -> Result<Option<Allocation>, Error> {
    match &request.operation {
        Operation::Add { target, requested, annotations } => {
            let network = network.map_err(Error::Config)?;
            let output = add::add(call, &network, target, requested.as_ref(), annotations.as_ref())?;
            call.timer.addresses(output.allocation.attachment.addresses.iter().map(|assigned| assigned.address));
            if let Err(error) =
                claim::update_claim_status(call, &target.pod, &output).and_then(|()| reply(call, &network, &output))
            {
                give_back(call, &output);
                return Err(error);
            }
            return Ok(Some(output.allocation));
        }
        Operation::Del { target } => {
            let released = del::del(call, target)?;
            call.timer.addresses(released.freed.into_iter().map(IpNet::from));
        }
        Operation::Check { target, previous } => check::check(call, network.as_ref().ok(), target, previous)?,
        Operation::Gc { valid } => gc::gc(call, valid.as_deref()).map(drop)?,
        Operation::Status => status::status(call, network.as_ref().map_err(Clone::clone))?,
    }
    Ok(None)
}

/// Writes the result of an ADD to stdout.
fn reply(call: &Call<'_>, network: &Network, output: &AddOutput) -> Result<(), Error> {
    let addresses = &output.allocation.attachment.addresses;
    let (routes, dns) = network.routes_and_dns(addresses);
    gate::write(&Success::new(call.version, addresses, &routes, &dns)).map_err(Error::Reply)
}

/// Releases what an ADD assigned. The runtime has no result, so nothing will use it.
fn give_back(call: &mut Call<'_>, output: &AddOutput) {
    // A repeated ADD must not release what the first one assigned.
    if !output.allocation.repeated
        && let Some(holder) = &output.allocation.attachment.holder
        && let Err(error) = undo(call, &holder.id, &output.allocation)
    {
        tracing::error!(error = %error.full(), "the reply was lost, and its addresses could not be released");
    }
}

fn undo(call: &mut Call<'_>, id: &AttachmentId, allocation: &Allocation) -> Result<(), Error> {
    let deadline = call.node.deadline;
    let lock = call.node.records.lock(id, deadline)?;
    match call.node.records.read(&lock)? {
        ReadResult::Record(record) if is_of(&record, &call.node.began, allocation) => {
            release::release_and_clear(&mut call.node, Some(&lock), &ReleaseTask::from_record(*record), deadline)
                .map(drop)
        }
        // While the lock was free, another ADD of this attachment has confirmed the addresses, or its DEL has released
        // them.
        _ => Ok(()),
    }
}

/// Whether a record belongs to the ADD that began then. If that ADD could not complete it, the record has no addresses.
fn is_of(record: &Record, began: &Began, allocation: &Allocation) -> bool {
    let says_so = |held: &Written| held.revision == allocation.revision;
    record.began == *began && record.state != RecordState::Releasing && record.held.as_ref().is_none_or(says_so)
}

fn fail(version: CniVersion, error: &Error, spent: String) -> ExitCode {
    let mut details = error.details();
    if !spent.is_empty() {
        let separator = if details.is_empty() { "" } else { "; " };
        details.push_str(separator);
        details.push_str("time spent: ");
        details.push_str(&spent);
    }
    let failure = ErrorDocument::new(version, error.code(), &error.message().to_string(), &details);
    // If this fails, too, the exit status still reports the failure.
    let _ = gate::write(&failure);
    ExitCode::FAILURE
}

fn exit(written: io::Result<()>) -> ExitCode {
    if written.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
