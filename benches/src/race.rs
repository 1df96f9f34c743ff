//! Runs contenders in turn, in an order that changes every round. So other load on the machine, and what one contender
//! leaves to the disk, affects all of them equally.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use kube_ipam::ipam::seed::SplitMix64;
use kube_ipam_e2e::Result;

use crate::contender::{Contender, Held, Verb, Who};

/// The number of calls in a burst.
pub(crate) const BURST: usize = 200;
/// How many of them run at the same time.
pub(crate) const AT_ONCE: usize = 16;

/// After this much time in one cell, a contender with enough calls skips the remaining rounds.
const PATIENCE: Duration = Duration::from_secs(8);
const OFTEN_ENOUGH: usize = 5;

/// Rounds that are not counted.
const WARM_UP: usize = 3;

/// What is compared: one verb at one fill level.
pub(crate) type Cell = (Held, Verb, Who);

/// The times of a cell, in ascending order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Times(Vec<Duration>);

impl Times {
    fn add(&mut self, time: Duration) {
        let place = self.0.partition_point(|other| *other < time);
        self.0.insert(place, time);
    }

    pub(crate) fn count(&self) -> usize {
        self.0.len()
    }

    /// The time that this percentage of them does not exceed.
    pub(crate) fn percentile(&self, percent: usize) -> Duration {
        self.0.get((self.0.len() * percent / 100).min(self.0.len().saturating_sub(1))).copied().unwrap_or_default()
    }

    pub(crate) fn median(&self) -> Duration {
        self.percentile(50)
    }
}

impl FromIterator<Duration> for Times {
    fn from_iter<T: IntoIterator<Item = Duration>>(times: T) -> Self {
        let mut all = Self::default();
        times.into_iter().for_each(|time| all.add(time));
        all
    }
}

/// Times ADD and DEL of each contender, round after round.
pub(crate) fn in_turn(contenders: &[Contender], rounds: usize) -> Result<BTreeMap<Cell, Times>> {
    let mut draws = SplitMix64::of("benches");
    let mut order: Vec<&Contender> = contenders.iter().collect();
    let mut spent = BTreeMap::<(Held, Who), Duration>::new();
    let mut times = BTreeMap::<Cell, Times>::new();
    for round in 0..rounds + WARM_UP {
        draws.shuffle(&mut order);
        let container = round_container(round);
        for contender in &order {
            let (held, who) = (contender.held, contender.who);
            let spent = spent.entry((held, who)).or_default();
            if *spent > PATIENCE && round >= WARM_UP + OFTEN_ENOUGH {
                continue;
            }
            for verb in [Verb::Add, Verb::Del] {
                let took = contender.call(verb, &container).time()?;
                *spent += took;
                if round >= WARM_UP {
                    times.entry((held, verb, who)).or_default().add(took);
                }
            }
        }
    }
    Ok(times)
}

/// The container of a round, with an ID as long as those of runtimes.
fn round_container(round: usize) -> String {
    format!("{round:064x}")
}

/// The containers of [`in_turn`] with this many rounds.
pub(crate) fn round_containers(rounds: usize) -> impl Iterator<Item = String> {
    (0..rounds + WARM_UP).map(round_container)
}

/// The containers of a burst, which no other one has: kube-ipam draws the same address for the same container, and that
/// one is in cooldown after the first burst.
pub(crate) fn burst_containers(burst: usize) -> impl Iterator<Item = String> {
    (0..BURST).map(move |i| format!("b{burst:031x}{i:032x}"))
}

/// Times [`BURST`] calls, [`AT_ONCE`] at a time, and then releases the addresses.
pub(crate) fn burst(contender: &Contender, number: usize) -> Result<Duration> {
    let adds = crowd(contender, Verb::Add, number, 0)?;
    crowd(contender, Verb::Del, number, 0)?;
    Ok(adds.took)
}

/// What a crowd of calls took.
pub(crate) struct Crowd {
    pub took: Duration,
    /// How many calls failed and were repeated.
    pub repeated: usize,
}

/// Calls a verb for each container of a burst, [`AT_ONCE`] at a time. A call that fails is repeated at once, this many
/// times.
pub(crate) fn crowd(contender: &Contender, verb: Verb, burst: usize, repeats: usize) -> Result<Crowd> {
    let containers: Vec<String> = burst_containers(burst).collect();
    let (next, repeated) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let calls = || -> Result<()> {
        while let Some(container) = containers.get(next.fetch_add(1, Ordering::Relaxed)) {
            let call = contender.call(verb, container);
            for attempt in 0.. {
                match call.time() {
                    Ok(_) => break,
                    Err(error) if attempt == repeats => return Err(error),
                    Err(_) => repeated.fetch_add(1, Ordering::Relaxed),
                };
            }
        }
        Ok(())
    };
    let began = Instant::now();
    thread::scope(|scope| -> Result<()> {
        let workers: Vec<_> = (0..AT_ONCE).map(|_| scope.spawn(calls)).collect();
        workers.into_iter().try_for_each(|worker| worker.join().map_err(|_| "a worker of the burst panicked")?)
    })?;
    Ok(Crowd { took: began.elapsed(), repeated: repeated.into_inner() })
}
