//! The metrics of a controller, in the text format of OpenMetrics. docs/reference-metrics.md explains each.

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;

use crate::ipam::recovery::Progress;
use crate::ipam::sweep::Target;
use crate::ipam::usage::Usage;
use crate::metrics;
use crate::ops::operator::sweep::{SweepOutcome, SweepPass};
use crate::store::Revision;

/// The most error labels that are counted separately. Anyone who may create events can put any label in one.
const MOST_ERRORS: usize = 32;

/// Counts since the process began, and the results of the last scans.
#[derive(Clone, Debug, Default)]
pub(super) struct ControllerMetrics {
    leads: bool,
    /// Sweeps as the leader, by result.
    sweeps: BTreeMap<&'static str, u64>,
    /// Addresses that were freed, by the kind of leak.
    freed: BTreeMap<&'static str, u64>,
    /// Leak candidates that are not freed, and when each was first seen.
    candidates: BTreeMap<Target, (Revision, Instant)>,
    oldest: Duration,
    /// Refusals that nodes reported in events, by the label of the error.
    refused: BTreeMap<String, u64>,
    taken_over: u64,
    took: Option<Duration>,
    succeeded: Option<Timestamp>,
    usage: Option<Usage>,
    /// The progress of a recovery of the store.
    recovery: Progress,
}

impl ControllerMetrics {
    /// Counts a sweep as the leader that ended with this result after this time.
    pub(super) fn ended(&mut self, word: &'static str, took: Duration) {
        *self.sweeps.entry(word).or_default() += 1;
        self.took = Some(took);
    }

    /// Takes in the result of a pass.
    pub(super) fn pass(&mut self, pass: SweepPass, now: Instant) {
        let addresses = pass.report.entries.iter().filter(|entry| matches!(entry.target, Target::Address { .. }));
        for leak in addresses.filter(|entry| entry.outcome == SweepOutcome::Freed).filter_map(|entry| entry.leak) {
            *self.freed.entry(leak).or_default() += 1;
        }
        let known = std::mem::take(&mut self.candidates);
        let since = |target: &Target, revision: Revision| {
            known.get(target).filter(|(known, _)| *known == revision).map_or(now, |(_, since)| *since)
        };
        let seen = |(target, revision)| {
            let since = since(&target, revision);
            (target, (revision, since))
        };
        self.candidates = pass.candidates.into_iter().map(seen).collect();
        self.usage = pass.usage.or(self.usage.take());
        self.recovery = pass.recovery;
    }

    /// Records the time of a successful sweep.
    pub(super) fn succeeded(&mut self, wall: Timestamp) {
        self.succeeded = Some(wall);
    }

    /// Counts a pod that a node refused an address.
    pub(super) fn refused(&mut self, error: &str) {
        let known = self.refused.contains_key(error) || self.refused.len() < MOST_ERRORS;
        let error = if known && !error.is_empty() { error } else { "other" };
        *self.refused.entry(error.to_owned()).or_default() += 1;
    }

    /// Counts a pod that took over an address.
    pub(super) fn taken_over(&mut self) {
        self.taken_over += 1;
    }

    /// Clears what is known about the store. A standby must not report it, or the sum over replicas would count it
    /// twice.
    pub(super) fn follow(&mut self) {
        (self.candidates, self.usage) = (BTreeMap::new(), None);
    }

    /// The metrics at this time.
    pub(super) fn at(&self, now: Instant, leads: bool) -> Self {
        let first = self.candidates.values().map(|(_, since)| since).min();
        let oldest = first.map(|since| now.saturating_duration_since(*since)).unwrap_or_default();
        Self { leads, oldest, ..self.clone() }
    }

    /// The metrics and the usage as text.
    pub(super) fn text(mut self) -> Result<String, fmt::Error> {
        let mut collectors: Vec<Box<dyn Collector>> = Vec::new();
        collectors.extend(self.usage.take().map(|usage| Box::new(usage) as _));
        collectors.push(Box::new(self));
        metrics::text(collectors)
    }
}

impl Collector for ControllerMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let help = "Whether this controller is the one that sweeps";
        let mut leader = encoder.encode_descriptor("kube_ipam_controller_leader", help, None, MetricType::Gauge)?;
        leader.encode_gauge(&i64::from(self.leads))?;

        let help = "Sweeps of this controller as the leader, by result";
        let mut sweeps = encoder.encode_descriptor("kube_ipam_sweeps", help, None, MetricType::Counter)?;
        for (result, count) in &self.sweeps {
            sweeps.encode_family(&[("result", *result)])?.encode_counter::<NoLabelSet, u64, u64>(count, None)?;
        }

        let help = "Addresses that this controller has freed, by what had leaked";
        let mut freed = encoder.encode_descriptor("kube_ipam_swept_addresses", help, None, MetricType::Counter)?;
        for (leak, count) in &self.freed {
            freed.encode_family(&[("leak", *leak)])?.encode_counter::<NoLabelSet, u64, u64>(count, None)?;
        }

        let help = "Events by which nodes have said that a pod was refused its address, as far as this controller led";
        let mut refused = encoder.encode_descriptor("kube_ipam_refusals", help, None, MetricType::Counter)?;
        for (error, count) in &self.refused {
            refused.encode_family(&[("error", error.as_str())])?.encode_counter::<NoLabelSet, u64, u64>(count, None)?;
        }

        let help = "Events by which nodes have said that a pod took an address over, as far as this controller led";
        let mut taken = encoder.encode_descriptor("kube_ipam_takeovers", help, None, MetricType::Counter)?;
        taken.encode_counter::<NoLabelSet, u64, u64>(&self.taken_over, None)?;
        if !self.leads {
            return Ok(());
        }

        let help = "Leases and entries that may have leaked and are not freed";
        let mut candidates = encoder.encode_descriptor("kube_ipam_suspects", help, None, MetricType::Gauge)?;
        candidates.encode_gauge(&u64::try_from(self.candidates.len()).unwrap_or(u64::MAX))?;

        let help = "How long this controller has known the oldest of them; 0 without any";
        let mut age =
            encoder.encode_descriptor("kube_ipam_oldest_suspect_age_seconds", help, None, MetricType::Gauge)?;
        age.encode_gauge(&self.oldest.as_secs_f64())?;

        let help = "Whether the store went back in time, and not all nodes have written back what runs on them";
        let mut recovery = encoder.encode_descriptor("kube_ipam_recovery", help, None, MetricType::Gauge)?;
        recovery.encode_gauge(&i64::from(self.recovery.current.is_some()))?;

        if let Some(last) = &self.recovery.last {
            let help = "When the last recovery of the store ended";
            let mut ended = encoder.encode_descriptor(
                "kube_ipam_last_recovery_end_timestamp_seconds",
                help,
                None,
                MetricType::Gauge,
            )?;
            ended.encode_gauge(&last.ended.as_second())?;
        }

        if let Some(took) = self.took {
            let help = "Duration of the last sweep, with its releases";
            let mut duration =
                encoder.encode_descriptor("kube_ipam_sweep_duration_seconds", help, None, MetricType::Gauge)?;
            duration.encode_gauge(&took.as_secs_f64())?;
        }
        if let Some(succeeded) = self.succeeded {
            let help = "Time of the last successful sweep";
            let mut when = encoder.encode_descriptor(
                "kube_ipam_sweep_last_success_timestamp_seconds",
                help,
                None,
                MetricType::Gauge,
            )?;
            when.encode_gauge(&succeeded.as_second())?;
        }
        Ok(())
    }
}
