//! Drives a machine of the protocol: sends what it asks for, side by side, and passes on the answers.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt};
use futures_util::stream::{FuturesUnordered, StreamExt};
use ring::rand::{SecureRandom, SystemRandom};

use super::api::Answer;
use super::clean::Clean;
use super::client::Client;
use super::object::TxnId;
use super::rules::Rules;
use super::step::{Pause, Step};
use super::transaction::Transaction;
use crate::cause::Cause;
use crate::deadline::Deadline;
use crate::store::{Backoff, Key, Outcome, StoreError, Txn};

/// The least time that another transaction gets before it is ended.
const POLITENESS: Duration = Duration::from_millis(200);

/// As many round trips it gets at least.
const POLITE_ROUND_TRIPS: u32 = 4;

/// The first and the longest pause before another attempt.
const RETRIES: (Duration, Duration) = (Duration::from_millis(5), Duration::from_millis(200));

/// Runs a transaction. Without an outcome at the deadline, says what is known of it.
pub(super) async fn run(client: &Client, txn: Arc<Txn>, deadline: Deadline) -> Result<Outcome, StoreError> {
    let mut driver = Driver::new(client, deadline);
    let (mut machine, mut step) = Transaction::start(txn, Rules::default(), fresh_id()?);
    loop {
        step = match driver.carry_out(step).await {
            Some(Event::Answered(key, answer)) => machine.answer(&key, answer, fresh_id()?),
            Some(Event::Paused) => machine.resume(fresh_id()?),
            Some(Event::Over(())) => return machine.given_up(),
            None => return machine.given_up().map_err(|error| driver.with_last_failure(error)),
        };
    }
}

/// Resolves what a dead process has left on an object.
pub(super) async fn clean(client: &Client, key: Key, deadline: Deadline) -> Result<(), StoreError> {
    let mut driver = Driver::new(client, deadline);
    let (mut machine, mut step) = Clean::start(key, Rules::default());
    loop {
        step = match driver.carry_out(step).await {
            Some(Event::Answered(key, answer)) => machine.answer(&key, answer),
            Some(Event::Paused) => machine.resume(),
            Some(Event::Over(result)) => return result,
            None => return Err(StoreError::Unavailable(Cause::new("the deadline passed before it was cleaned up"))),
        };
    }
}

/// What a machine is told next.
enum Event<R> {
    Answered(Key, Answer),
    /// The pause is over.
    Paused,
    /// The machine has ended.
    Over(R),
}

/// The open requests of a machine.
struct Driver<'a> {
    client: &'a Client,
    deadline: Deadline,
    open: FuturesUnordered<BoxFuture<'a, (Key, Answer, Duration)>>,
    retries: Backoff,
    /// The longest so far.
    round_trip: Duration,
    /// Why the latest request failed that the machine may repeat.
    last_failure: Option<Cause>,
}

impl<'a> Driver<'a> {
    fn new(client: &'a Client, deadline: Deadline) -> Self {
        let retries = Backoff::new(RETRIES.0, RETRIES.1);
        let open = FuturesUnordered::new();
        Self { client, deadline, open, retries, round_trip: Duration::ZERO, last_failure: None }
    }

    /// An error at the deadline, with the reason why it was not earlier.
    fn with_last_failure(self, error: StoreError) -> StoreError {
        match (error, self.last_failure) {
            (StoreError::Unavailable(what), Some(why)) => StoreError::Unavailable(why.context(what.to_string())),
            (error, _) => error,
        }
    }

    /// Takes a step. `None` at the deadline.
    async fn carry_out<R>(&mut self, step: Step<R>) -> Option<Event<R>> {
        let (client, deadline) = (self.client, self.deadline);
        match step {
            Step::Done(result) => return Some(Event::Over(result)),
            Step::Pause(pause) => {
                let pause = match pause {
                    Pause::Politeness => self.politeness(),
                    Pause::Retry => self.retries.next(),
                };
                tokio::time::sleep(pause.min(deadline.remaining())).await;
                return (!deadline.has_passed()).then_some(Event::Paused);
            }
            Step::Send(requests) => {
                for request in requests {
                    let answered = async move {
                        let (answer, time) = client.answer(&request, deadline).await;
                        (request.key().clone(), answer, time)
                    };
                    self.open.push(answered.boxed());
                }
            }
            Step::Wait => {}
        }
        let answered = tokio::time::timeout_at(deadline.instant().into(), self.open.next()).await;
        let (key, answer, time) = answered.ok()??;
        self.round_trip = self.round_trip.max(time);
        if let Answer::Silence(why) | Answer::Failed(StoreError::Unavailable(why)) = &answer {
            self.last_failure = Some(why.clone());
        }
        Some(Event::Answered(key, answer))
    }

    /// How long to wait for another transaction: more than a living one needs, and up to twice as much, so that not all
    /// that wait end it at once.
    fn politeness(&self) -> Duration {
        let least = POLITENESS.max(self.round_trip * POLITE_ROUND_TRIPS);
        // A pause of the backoff lacks a random part of up to half.
        Backoff::new(least * 2, least * 2).next()
    }
}

/// A random id.
fn fresh_id() -> Result<TxnId, StoreError> {
    let mut bits = [0; 8];
    let filled = SystemRandom::new().fill(&mut bits);
    filled.map_err(|_| StoreError::Unavailable(Cause::new("the system has no random numbers")))?;
    Ok(TxnId::from_random(u64::from_be_bytes(bits)))
}
