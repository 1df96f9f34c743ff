//! One operation, from its begin to the line that it leaves in the log.

use std::borrow::Cow;
use std::fmt;
use std::time::{Duration, Instant};

use ipnet::IpNet;

use crate::ipam::lease::PodRef;
use crate::ipam::name::{AttachmentId, Name};

/// What an operation is busy with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Reading the request and its config.
    Config,
    /// Waiting for the API server.
    Api,
    /// Listening on the wire for somebody who uses an address.
    Wire,
    /// Waiting for, reading and writing the node's record.
    Record,
    /// Waiting for the store.
    Store,
    /// Replaying what earlier calls have marked.
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

/// What an operation has spent its time on so far: `config 1 ms, record 0 ms, store 9.9 s`. Phases that it was never in
/// are left out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spent([Option<Duration>; Phase::ALL.len()]);

impl Spent {
    /// The time in one phase; `None` if it was never in it.
    pub fn on(&self, phase: Phase) -> Option<Duration> {
        self.0[phase as usize]
    }

    fn add(&mut self, phase: Phase, time: Duration) {
        let spent = &mut self.0[phase as usize];
        *spent = Some(spent.unwrap_or_default() + time);
    }
}

impl fmt::Display for Spent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let phases = Phase::ALL.into_iter().filter_map(|phase| Some((phase, self.on(phase)?)));
        for (i, (phase, time)) in phases.enumerate() {
            let comma = if i > 0 { ", " } else { "" };
            write!(f, "{comma}{} ", phase.name())?;
            // Whole milliseconds below a second, tenths of seconds above: 999.9 ms is neither 1000 ms nor 1.0 s.
            match time.as_millis() {
                milliseconds @ 0..1000 => write!(f, "{milliseconds} ms")?,
                milliseconds => write!(f, "{}.{} s", milliseconds / 1000, milliseconds % 1000 / 100)?,
            }
        }
        Ok(())
    }
}

/// An operation under way. Its clock always runs on one phase, so that the phases add up to all of its time.
///
/// ```
/// # use kube_ipam::telemetry::{Operation, Phase};
/// let mut operation = Operation::begin("STATUS"); // busy with Phase::Config
/// operation.enter(Phase::Store);
/// operation.enter(Phase::Record);
/// operation.succeeded();
/// ```
#[derive(Debug)]
#[must_use = "only its end leaves a line in the log"]
pub struct Operation {
    name: &'static str,
    began: Instant,
    phase: Phase,
    entered: Instant,
    spent: Spent,
    network: Option<Name>,
    attachment: Option<AttachmentId>,
    pod: Option<String>,
    addresses: Vec<IpNet>,
    source: Option<Cow<'static, str>>,
}

impl Operation {
    /// Starts the clock of an operation, which begins with its config.
    pub fn begin(name: &'static str) -> Self {
        let now = Instant::now();
        Self {
            name,
            began: now,
            phase: Phase::Config,
            entered: now,
            spent: Spent::default(),
            network: None,
            attachment: None,
            pod: None,
            addresses: Vec::new(),
            source: None,
        }
    }

    /// What it is busy with from now on. It may come back to a phase: times of one phase add up.
    pub fn enter(&mut self, phase: Phase) {
        let now = Instant::now();
        self.spent.add(self.phase, now.duration_since(self.entered));
        (self.phase, self.entered) = (phase, now);
    }

    /// What it has spent its time on until now, for the text of an error.
    pub fn spent(&self) -> Spent {
        let mut spent = self.spent;
        spent.add(self.phase, self.entered.elapsed());
        spent
    }

    /// The network that it is about.
    pub fn network(&mut self, network: &Name) {
        self.network = Some(network.clone());
    }

    /// The attachment that it is about, with its network.
    pub fn attachment(&mut self, id: &AttachmentId, pod: &PodRef) {
        self.network(&id.network);
        self.attachment = Some(id.clone());
        self.pod = pod.label();
    }

    /// The addresses that it gave, found or released.
    pub fn addresses(&mut self, addresses: impl IntoIterator<Item = IpNet>) {
        self.addresses = addresses.into_iter().collect();
    }

    /// Where the decision for these addresses came from.
    pub fn source(&mut self, source: impl Into<Cow<'static, str>>) {
        self.source = Some(source.into());
    }

    /// Ends it well.
    pub fn succeeded(self) {
        self.log(None);
    }

    /// Ends it with what the caller is told: a code of the CNI specification, or an exit status.
    pub fn failed(self, code: u32, error: &dyn fmt::Display) {
        self.log(Some((code, error.to_string())));
    }

    fn log(&self, failure: Option<(u32, String)>) {
        let spent = self.spent();
        let addresses = self.addresses.iter().map(IpNet::to_string).collect::<Vec<_>>().join(",");
        // A macro, since the level of an event is part of its type. Fields without a value are left out. What others have
        // written goes in as a text, which is quoted, and not by `%`.
        macro_rules! event {
            ($level:expr) => {
                tracing::event!(
                    $level,
                    operation = self.name,
                    network = self.network.as_ref().map(Name::as_str),
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

/// Milliseconds to the microsecond.
fn milliseconds(time: Duration) -> f64 {
    time.as_micros() as f64 / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_phases_make_up_the_whole_time() {
        let mut operation = Operation::begin("ADD");
        for phase in [Phase::Record, Phase::Store, Phase::Record] {
            operation.enter(phase);
        }
        let in_all_phases: Duration = operation.spent().0.into_iter().flatten().sum();
        let whole = operation.entered.duration_since(operation.began);
        assert!(in_all_phases >= whole && in_all_phases <= whole + operation.entered.elapsed());
        assert_eq!(operation.spent().on(Phase::Replay), None);
    }

    #[test]
    fn what_was_spent_reads_as_in_an_error() {
        let mut spent = Spent::default();
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
