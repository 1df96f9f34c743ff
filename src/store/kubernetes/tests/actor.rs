//! Who sends requests: a client with one transaction, or a cleaner.

use std::collections::BTreeSet;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use super::scenario::{Client, Scenario};
use crate::store::kubernetes::api::{Answer, Request};
use crate::store::kubernetes::clean::Clean;
use crate::store::kubernetes::object::TxnId;
use crate::store::kubernetes::rules::Rules;
use crate::store::kubernetes::step::{Pause, Step};
use crate::store::kubernetes::transaction::Transaction;
use crate::store::{Branch, Guard, Key, Outcome, StoreError, Txn};

/// The most attempts that an id has room for.
const MAX_ATTEMPTS: u64 = 8;

/// What a client was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Report {
    Success,
    Nothing,
    Unknown,
}

/// A client.
#[derive(Clone)]
pub(super) struct ClientState {
    pub(super) txn: Arc<Txn>,
    pub(super) report: Option<Report>,
    /// What the store in memory said at the moment of its commit.
    pub(super) committed: Option<Outcome>,
    /// What the store in memory would have said at each moment since it began, if nothing was to be written.
    pub(super) readings: Vec<Branch>,
    /// The keys that have existed all the time since it began, of those that it may see at another moment.
    pub(super) lasting: BTreeSet<Key>,
    /// Its guards of no earlier change that held at some moment since it began.
    pub(super) held: Vec<Guard>,
    pub(super) has_begun: bool,
    machine: Option<Box<Transaction>>,
    new_ids: bool,
}

/// A client or a cleaner.
#[derive(Clone)]
pub(super) enum Role {
    Client(ClientState),
    Cleaner { machine: Option<Clean>, left: u8 },
}

/// A client or a cleaner, with its open requests.
#[derive(Clone)]
pub(super) struct Actor {
    pub(super) name: String,
    pub(super) role: Role,
    pub(super) open: Vec<Request>,
    index: u64,
    rules: Rules,
    max_attempts: usize,
}

impl Hash for Actor {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.open.hash(state);
        match &self.role {
            Role::Client(ClientState { report, committed, readings, lasting, held, machine, .. }) => {
                (report, committed.is_some(), lasting, held, machine).hash(state);
                // Of a client that was told something, only that matters.
                report.is_none().then_some((committed, readings)).hash(state);
            }
            Role::Cleaner { machine, left } => (machine, left).hash(state),
        }
    }
}

impl Actor {
    pub(super) fn client(index: usize, client: &Client, scenario: &Scenario, rules: Rules) -> Self {
        let state = ClientState {
            txn: Arc::new(client.txn.clone()),
            report: None,
            committed: None,
            readings: Vec::new(),
            lasting: BTreeSet::new(),
            held: Vec::new(),
            has_begun: false,
            machine: None,
            new_ids: scenario.new_ids,
        };
        Self {
            name: client.name.to_owned(),
            role: Role::Client(state),
            open: Vec::new(),
            index: index as u64,
            rules,
            max_attempts: scenario.attempts,
        }
    }

    pub(super) fn cleaner(looks: u8, rules: Rules) -> Self {
        let role = Role::Cleaner { machine: None, left: looks };
        Self { name: "cleaner".to_owned(), role, open: Vec::new(), index: 0, rules, max_attempts: 0 }
    }

    pub(super) fn as_client(&self) -> Option<&ClientState> {
        match &self.role {
            Role::Client(client) => Some(client),
            Role::Cleaner { .. } => None,
        }
    }

    pub(super) fn as_client_mut(&mut self) -> Option<&mut ClientState> {
        match &mut self.role {
            Role::Client(client) => Some(client),
            Role::Cleaner { .. } => None,
        }
    }

    /// Whether one of its attempts has this id.
    pub(super) fn has_id(&self, id: TxnId) -> bool {
        self.as_client().is_some() && (0..MAX_ATTEMPTS).any(|attempt| id_of(self.index, attempt) == id)
    }

    /// The id of its latest attempt.
    pub(super) fn id(&self) -> Option<TxnId> {
        let machine = self.as_client()?.machine.as_ref();
        Some(id_of(self.index, machine.map_or(0, |machine| machine.attempts().saturating_sub(1) as u64)))
    }

    /// The client sends its first requests.
    pub(super) fn begin(&mut self) -> Option<Outcome> {
        let (index, rules) = (self.index, self.rules);
        let client = self.as_client_mut()?;
        let (machine, step) = Transaction::start(Arc::clone(&client.txn), rules, id_of(index, 0));
        (client.machine, client.has_begun) = (Some(Box::new(machine)), true);
        self.take(step)
    }

    /// The cleaner looks at an object.
    pub(super) fn look_at(&mut self, key: Key) {
        let rules = self.rules;
        let Role::Cleaner { machine, left } = &mut self.role else { return };
        let (clean, step) = Clean::start(key, rules);
        (*machine, *left) = (Some(clean), *left - 1);
        if let Step::Send(requests) = step {
            self.open = requests;
        }
    }

    pub(super) fn looks_left(&self) -> bool {
        matches!(self.role, Role::Cleaner { machine: None, left: 1.. })
    }

    /// A request is answered. Returns the outcome, if the client reports it now.
    pub(super) fn answered(&mut self, key: &Key, answer: Answer) -> Option<Outcome> {
        self.open.retain(|request| request.key() != key);
        let fresh = self.fresh();
        match &mut self.role {
            Role::Client(client) => {
                let step = client.machine.as_mut()?.answer(key, answer, fresh);
                self.take(step)
            }
            Role::Cleaner { machine, .. } => {
                let mut step = machine.as_mut()?.answer(key, answer);
                if let (Step::Pause(_), Some(machine)) = (&step, &mut *machine) {
                    step = machine.resume();
                }
                match step {
                    Step::Send(requests) => self.open.extend(requests),
                    Step::Done(_) => *machine = None,
                    Step::Wait | Step::Pause(_) => {}
                }
                None
            }
        }
    }

    /// The client's process dies, or its deadline passes.
    pub(super) fn ends(&mut self) {
        self.open.clear();
        match &mut self.role {
            Role::Client(client) => client.end(),
            Role::Cleaner { machine, left } => (*machine, *left) = (None, 0),
        }
    }

    pub(super) fn is_over(&self) -> bool {
        match &self.role {
            Role::Client(client) => client.machine.is_none() && client.report.is_some(),
            Role::Cleaner { machine, left } => machine.is_none() && *left == 0,
        }
    }

    fn fresh(&self) -> TxnId {
        let attempts = self.as_client().filter(|client| client.new_ids).and_then(|client| client.machine.as_deref());
        id_of(self.index, attempts.map_or(0, |machine| machine.attempts() as u64))
    }

    fn take(&mut self, step: Step<()>) -> Option<Outcome> {
        let fresh = self.fresh();
        let max_attempts = self.max_attempts;
        let client = self.as_client_mut()?;
        let machine = client.machine.as_mut()?;
        let is_unreported = client.report.is_none();
        let outcome = machine.outcome().filter(|_| is_unreported).cloned();
        if let Some(outcome) = &outcome {
            client.report = Some(match outcome {
                Ok(_) => Report::Success,
                Err(StoreError::Ambiguous(_)) => Report::Unknown,
                Err(_) => Report::Nothing,
            });
        }
        match step {
            Step::Send(requests) => self.open.extend(requests),
            Step::Wait => {}
            Step::Pause(Pause::Retry) if machine.attempts() >= max_attempts => client.end(),
            Step::Pause(_) => {
                let step = machine.resume(fresh);
                return self.take(step);
            }
            Step::Done(()) => client.machine = None,
        }
        outcome?.ok()
    }
}

impl ClientState {
    fn end(&mut self) {
        let told = self.machine.take().map(|machine| machine.given_up());
        self.report = self.report.or(Some(match told {
            Some(Ok(_)) => Report::Success,
            Some(Err(StoreError::Ambiguous(_))) => Report::Unknown,
            Some(Err(_)) | None => Report::Nothing,
        }));
    }
}

/// The id of a client's attempt.
fn id_of(client: u64, attempt: u64) -> TxnId {
    TxnId::from_random((client * MAX_ATTEMPTS + attempt + 1) << 1)
}

/// The revision of a client's first attempt.
pub(super) fn first_id(client: usize) -> TxnId {
    id_of(client as u64, 0)
}
