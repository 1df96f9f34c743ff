//! The thread that sweeps as the leader. In standby, it checks that it could.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::Controller;
use super::metrics::ControllerMetrics;
use super::schedule::{ScanResult, ScanScope, Schedule};
use super::shared::{Component, Shared, Wakeup};
use crate::cluster::ApiServer;
use crate::error::Error;
use crate::ipam::name::Name;
use crate::ops::operator::sweep::{ContinuousSweep, PassScope, SweepOutcome, SweepPass, reach};

/// How long to wait for one response of the API server.
const API_TIMEOUT: Duration = Duration::from_secs(30);

/// Runs until the process shuts down.
pub(super) fn run(controller: &Controller, shared: &Shared) {
    let mut schedule = Schedule::new(controller.interval, controller.settle, Instant::now());
    let first_sweep = || ContinuousSweep::default().showing_networks_in(controller.network_objects.clone());
    let mut sweeper = Sweeper { controller, shared, sweep: first_sweep(), unfinished: BTreeSet::new() };
    let mut led = false;
    while let Wakeup::Scan { leads, nodes } = shared.wait_for_work(&mut schedule, led) {
        if leads != led {
            // Candidates of an earlier term confirm nothing.
            (sweeper.sweep, sweeper.unfinished, led) = (first_sweep(), BTreeSet::new(), leads);
            shared.report(ControllerMetrics::follow);
        }
        let began = Instant::now();
        let scope = if leads && nodes.is_some() { ScanScope::Nodes } else { ScanScope::Store };
        let scanned = if leads { sweeper.scan(nodes, began) } else { sweeper.check() };
        let (scope, result) = match scanned {
            Ok(ended) => {
                shared.set_problem(Component::Sweep, None);
                ended
            }
            Err(error) => {
                let error = error.full().to_string();
                tracing::warn!(leads, error, "a scan failed, and is tried again");
                shared.set_problem(Component::Sweep, Some(format!("the last scan failed: {error}")));
                (scope, ScanResult::Failed)
            }
        };
        schedule.ended(began, Instant::now(), scope, result);
    }
    shared.end();
}

struct Sweeper<'a> {
    controller: &'a Controller,
    shared: &'a Shared,
    sweep: ContinuousSweep,
    /// Nodes whose scan failed, or whose candidates are not confirmed yet.
    unfinished: BTreeSet<Name>,
}

impl Sweeper<'_> {
    /// Scans as the leader. Returns the scope that was scanned in the end, and the result.
    fn scan(&mut self, nodes: Option<BTreeSet<Name>>, began: Instant) -> Result<(ScanScope, ScanResult), Error> {
        let Controller { settings, store, max_share, .. } = self.controller;
        let scope = match nodes {
            None => PassScope::Store,
            Some(nodes) => {
                self.unfinished.extend(nodes);
                PassScope::Nodes(self.unfinished.clone())
            }
        };
        let passed = self.api().and_then(|api| {
            self.sweep.next(settings, store, api.as_ref(), (scope, *max_share), &|| self.shared.may_continue())
        });
        let label = passed.as_ref().map_or_else(Error::label, label);
        self.shared.report(|report| report.ended(label, began.elapsed()));
        let pass = passed?;
        let (failure, to_confirm) = (pass.report.failure(), pass.to_confirm);
        let (held, freed) = (pass.report.tally.held, pass.report.count(SweepOutcome::Freed));
        let (nodes, candidates) = (nodes_of(&pass), pass.candidates.len());
        tracing::debug!(held, freed, candidates, nodes, result = label, "the sweep ended");
        let scope = if nodes.is_some() { ScanScope::Nodes } else { ScanScope::Store };
        self.shared.report(|report| {
            report.pass(pass, Instant::now());
            if failure.is_none() {
                report.succeeded(Timestamp::now());
            }
        });
        let result = match failure {
            // The scan was complete, and only a person can decide about its result.
            Some(stopped @ Error::Stopped(_)) => {
                tracing::warn!(error = %stopped.full(), "nothing was freed by this scan");
                ScanResult::Idle
            }
            Some(failure) => return Err(failure),
            None if to_confirm => ScanResult::NeedsConfirmation,
            None => ScanResult::Idle,
        };
        if scope == ScanScope::Store || result == ScanResult::Idle {
            self.unfinished.clear();
        }
        Ok((scope, result))
    }

    /// Checks in standby that this process could lead.
    fn check(&self) -> Result<(ScanScope, ScanResult), Error> {
        reach(&self.controller.settings, &self.controller.store, self.api()?.as_ref())?;
        Ok((ScanScope::Store, ScanResult::Idle))
    }

    fn api(&self) -> Result<Option<ApiServer>, Error> {
        let access = self.controller.access.as_ref();
        Ok(access.map(|access| ApiServer::open_with_timeout(access, API_TIMEOUT)).transpose()?)
    }
}

/// The number of nodes of a pass; `None` for the whole store.
fn nodes_of(pass: &SweepPass) -> Option<usize> {
    match &pass.scope {
        PassScope::Store => None,
        PassScope::Nodes(nodes) => Some(nodes.len()),
    }
}

/// The result of a pass, as a label for metrics.
fn label(pass: &SweepPass) -> &'static str {
    match pass.report.failure() {
        Some(failure) => failure.label(),
        None if pass.report.count(SweepOutcome::WouldBeFreed) > 0 => "interrupted",
        None => "ok",
    }
}
