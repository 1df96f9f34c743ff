//! The thread that sweeps, when it leads; when it follows, it looks whether it could.

use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::Controller;
use super::schedule::{Ending, Schedule};
use super::shared::{Part, Shared, Turn};
use crate::cluster::ApiServer;
use crate::error::Error;
use crate::ops::operator::sweep::{ContinuousSweep, SweepOutcome, SweepPass, reach};

/// How long one answer of the API server is waited for.
const PATIENCE: Duration = Duration::from_secs(30);

/// Works until the process is to end.
pub fn run(controller: &Controller, shared: &Shared) {
    let mut schedule = Schedule::new(controller.interval, controller.settle, Instant::now());
    let (mut continuous, mut led) = (ContinuousSweep::default(), false);
    while let Turn::Look { leads } = shared.turn(&mut schedule, led) {
        if leads != led {
            // What was seen in an earlier term confirms nothing.
            (continuous, led) = (ContinuousSweep::default(), leads);
            shared.report(super::metrics::Report::follow);
        }
        let began = Instant::now();
        let looked = if leads { sweep(controller, shared, &mut continuous, began) } else { follow(controller) };
        let how = match looked {
            Ok(how) => {
                shared.is_wrong(Part::Look, None);
                how
            }
            Err(error) => {
                let error = error.full().to_string();
                tracing::warn!(leads, error, "a look failed, and is tried again");
                shared.is_wrong(Part::Look, Some(format!("the last look: {error}")));
                Ending::Failed
            }
        };
        schedule.ended(began, Instant::now(), how);
    }
    shared.end();
}

/// A look of the leader.
fn sweep(
    controller: &Controller,
    shared: &Shared,
    continuous: &mut ContinuousSweep,
    began: Instant,
) -> Result<Ending, Error> {
    let Controller { settings, store, max_share, .. } = controller;
    let looked = api(controller)
        .and_then(|api| continuous.next(settings, store, api.as_ref(), *max_share, &|| shared.may_continue()))
        .map(|pass| (word(&pass), pass));
    let (word, pass) = match looked {
        Ok((word, pass)) => (word, Ok(pass)),
        Err(error) => (error.label(), Err(error)),
    };
    shared.report(|report| report.ended(word, began.elapsed()));
    let pass = pass?;
    let (failure, to_confirm) = (pass.report.failure(), pass.to_confirm);
    let (held, freed, candidates) =
        (pass.report.tally.held, pass.report.count(SweepOutcome::Freed), pass.candidates.len());
    tracing::debug!(held, freed, candidates, result = word, "a look has ended");
    shared.report(|report| {
        report.pass(pass, Instant::now());
        if failure.is_none() {
            report.succeeded(Timestamp::now());
        }
    });
    match failure {
        // It has seen all that it wanted to see, and a person is to decide.
        Some(stopped @ Error::Stopped(_)) => {
            tracing::warn!(error = %stopped.full(), "nothing was freed by this scan");
            Ok(Ending::Calm)
        }
        Some(failure) => Err(failure),
        None if to_confirm => Ok(Ending::ToConfirm),
        None => Ok(Ending::Calm),
    }
}

/// How a look ended, in a word for metrics.
fn word(pass: &SweepPass) -> &'static str {
    match pass.report.failure() {
        Some(failure) => failure.label(),
        None if pass.report.count(SweepOutcome::WouldBeFreed) > 0 => "interrupted",
        None => "ok",
    }
}

/// A look of one who follows: whether it could lead.
fn follow(controller: &Controller) -> Result<Ending, Error> {
    let api = api(controller)?;
    reach(&controller.settings, &controller.store, api.as_ref())?;
    Ok(Ending::Calm)
}

fn api(controller: &Controller) -> Result<Option<ApiServer>, Error> {
    let access = controller.access.as_ref();
    Ok(access.map(|access| ApiServer::open_with_timeout(access, PATIENCE)).transpose()?)
}
