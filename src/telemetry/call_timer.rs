//! Times the phases of one operation, and logs a line at its end.

use std::borrow::Cow;
use std::fmt;
use std::time::{Duration, Instant};

use ipnet::IpNet;

use crate::ipam::lease::PodRef;
use crate::ipam::name::{AttachmentId, Name};

/// The routing domain that a line leaves out.
pub const DEFAULT_VRF: &str = "default";

/// The phases of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Reading the request and its config.
    Config,
    /// Waiting for the API server.
    Api,
    /// Probing the link for hosts that use an address.
    Wire,
    /// Waiting for, reading and writing the node's record.
    Record,
    /// Waiting for the store.
    Store,
    /// Completing releases that earlier calls have deferred.
    Replay,
}

impl Phase {
    const ALL: [Self; 6] = [Self::Config, Self::Api, Self::Wire, Self::Record, Self::Store, Self::Replay];

    fn name(self) -> &'static str {
        match self {
            Self::Config => "config",
            Self::Api => "api",
            Self::Wire => "wire",
            Self::Record => "record",
            Self::Store => "store",
            Self::Replay => "replay",
        }
    }
}

/// The time in each phase so far: `config 1 ms, record 0 ms, store 9.9 s`. Omits phases that were not entered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PhaseTimes([Option<Duration>; Phase::ALL.len()]);

impl PhaseTimes {
    /// The time in one phase; `None` if it was not entered.
    pub fn on(&self, phase: Phase) -> Option<Duration> {
        self.0[phase as usize]
    }

    fn add(&mut self, phase: Phase, time: Duration) {
        let spent = &mut self.0[phase as usize];
        *spent = Some(spent.unwrap_or_default() + time);
    }
}

impl fmt::Display for PhaseTimes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let phases = Phase::ALL.into_iter().filter_map(|phase| Some((phase, self.on(phase)?)));
        for (i, (phase, time)) in phases.enumerate() {
            let comma = if i > 0 { ", " } else { "" };
            write!(f, "{comma}{} ", phase.name())?;
            // Whole milliseconds below a second, tenths of a second above. 999.9 ms is neither 1000 ms nor 1.0 s.
            match time.as_millis() {
                milliseconds @ 0..1000 => write!(f, "{milliseconds} ms")?,
                milliseconds => write!(f, "{}.{} s", milliseconds / 1000, milliseconds % 1000 / 100)?,
            }
        }
        Ok(())
    }
}

/// Times an operation. The clock always runs on one phase, so that the phases add up to the total time.
///
/// ```
/// # use kube_ipam::telemetry::{CallTimer, Phase};
/// let mut timer = CallTimer::start("STATUS"); // busy with Phase::Config
/// timer.enter(Phase::Store);
/// timer.enter(Phase::Record);
/// timer.succeeded();
/// ```
#[derive(Debug)]
#[must_use = "the log line is written when it ends"]
pub struct CallTimer {
    name: &'static str,
    began: Instant,
    phase: Phase,
    entered: Instant,
    spent: PhaseTimes,
    network: Option<Name>,
    vrf: Option<Name>,
    attachment: Option<AttachmentId>,
    pod: Option<String>,
    addresses: Vec<IpNet>,
    source: Option<Cow<'static, str>>,
}

impl CallTimer {
    /// Starts in the phase `Config`.
    pub fn start(name: &'static str) -> Self {
        let now = Instant::now();
        Self {
            name,
            began: now,
            phase: Phase::Config,
            entered: now,
            spent: PhaseTimes::default(),
            network: None,
            vrf: None,
            attachment: None,
            pod: None,
            addresses: Vec::new(),
            source: None,
        }
    }

    /// Ends the current phase and enters another. If that was entered before, the times add up.
    pub fn enter(&mut self, phase: Phase) {
        let now = Instant::now();
        self.spent.add(self.phase, now.duration_since(self.entered));
        (self.phase, self.entered) = (phase, now);
    }

    /// The time in each phase so far, for the text of an error.
    pub fn spent(&self) -> PhaseTimes {
        let mut spent = self.spent;
        spent.add(self.phase, self.entered.elapsed());
        spent
    }

    /// Sets the network of the log line.
    pub fn network(&mut self, network: &Name) {
        self.network = Some(network.clone());
    }

    /// Sets the routing domain of the log line.
    pub fn vrf(&mut self, vrf: &Name) {
        self.vrf = Some(vrf.clone()).filter(|vrf| vrf.as_str() != DEFAULT_VRF);
    }

    /// Sets the attachment of the log line, with its network.
    pub fn attachment(&mut self, id: &AttachmentId, pod: &PodRef) {
        self.network(&id.network);
        self.attachment = Some(id.clone());
        self.pod = pod.label();
    }

    /// Sets the addresses that were assigned, found or released.
    pub fn addresses(&mut self, addresses: impl IntoIterator<Item = IpNet>) {
        self.addresses = addresses.into_iter().collect();
    }

    /// Sets how these addresses were chosen.
    pub fn source(&mut self, source: impl Into<Cow<'static, str>>) {
        self.source = Some(source.into());
    }

    /// Ends a successful operation.
    pub fn succeeded(self) {
        self.log(None);
    }

    /// Ends a failed operation. `code` is the code of the CNI error, or the exit status.
    pub fn failed(self, code: u32, error: &dyn fmt::Display) {
        self.log(Some((code, error.to_string())));
    }

    fn log(&self, failure: Option<(u32, String)>) {
        let spent = self.spent();
        let addresses = self.addresses.iter().map(IpNet::to_string).collect::<Vec<_>>().join(",");
        // This is a macro because the level of an event is part of its type. Fields without a value are omitted.
        // External text is passed as a string, which is quoted, and not with `%`.
        macro_rules! event {
            ($level:expr) => {
                tracing::event!(
                    $level,
                    operation = self.name,
                    network = self.network.as_ref().map(Name::as_str),
                    vrf = self.vrf.as_ref().map(Name::as_str),
                    pod = self.pod.as_deref(),
                    container = self.attachment.as_ref().map(|id| id.container.as_str()),
                    interface = self.attachment.as_ref().map(|id| id.ifname.as_str()),
                    addresses = (!addresses.is_empty()).then_some(addresses.as_str()),
                    source = self.source.as_deref(),
                    code = failure.as_ref().map(|(code, _)| *code),
                    error = failure.as_ref().map(|(_, error)| error.as_str()),
                    config_ms = spent.on(Phase::Config).map(milliseconds),
                    api_ms = spent.on(Phase::Api).map(milliseconds),
                    wire_ms = spent.on(Phase::Wire).map(milliseconds),
                    record_ms = spent.on(Phase::Record).map(milliseconds),
                    store_ms = spent.on(Phase::Store).map(milliseconds),
                    replay_ms = spent.on(Phase::Replay).map(milliseconds),
                    total_ms = milliseconds(self.began.elapsed()),
                )
            };
        }
        match failure {
            None => event!(tracing::Level::INFO),
            Some(_) => event!(tracing::Level::ERROR),
        }
    }
}

/// Milliseconds with three decimals.
fn milliseconds(time: Duration) -> f64 {
    time.as_micros() as f64 / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_phases_make_up_the_whole_time() {
        let mut timer = CallTimer::start("ADD");
        for phase in [Phase::Record, Phase::Store, Phase::Record] {
            timer.enter(phase);
        }
        let in_all_phases: Duration = timer.spent().0.into_iter().flatten().sum();
        let whole = timer.entered.duration_since(timer.began);
        assert!(in_all_phases >= whole && in_all_phases <= whole + timer.entered.elapsed());
        assert_eq!(timer.spent().on(Phase::Replay), None);
    }

    #[test]
    fn what_was_spent_reads_as_in_an_error() {
        let mut spent = PhaseTimes::default();
        assert_eq!(spent.to_string(), "");
        spent.add(Phase::Store, Duration::from_micros(9_900_999));
        spent.add(Phase::Config, Duration::from_micros(1_999));
        spent.add(Phase::Record, Duration::from_micros(12));
        assert_eq!(spent.to_string(), "config 1 ms, record 0 ms, store 9.9 s");
        spent.add(Phase::Replay, Duration::from_micros(999_999));
        spent.add(Phase::Store, Duration::from_micros(99_001));
        assert_eq!(spent.to_string(), "config 1 ms, record 0 ms, store 10.0 s, replay 999 ms");
    }
}
