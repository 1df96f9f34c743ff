//! What a machine of the protocol does next.

use std::collections::BTreeSet;

use super::api::Request;
use crate::store::{Key, StoreError};

/// The next step of a machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step<R> {
    /// Sends these requests side by side, in addition to the open ones.
    Send(Vec<Request>),
    /// Waits for the answers to the open requests.
    Wait,
    /// Waits for a while. No request is open.
    Pause(Pause),
    /// It is over. No request is open.
    Done(R),
}

impl<T> Step<Finished<T>> {
    /// The step of the machine that this one is part of, unless this one is over.
    pub(super) fn without_result(self) -> Step<()> {
        match self {
            Self::Send(requests) => Step::Send(requests),
            Self::Wait | Self::Done(_) => Step::Wait,
            Self::Pause(pause) => Step::Pause(pause),
        }
    }
}

/// Why a machine waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Pause {
    /// Another transaction gets the time to finish before it is ended: four round trips. One whose process lives needs
    /// no more.
    Politeness,
    /// Another transaction was faster. A random part of the wait keeps both from meeting again.
    Retry,
}

/// A machine that others are made of, with its first step.
pub(super) type Started<M, R> = (M, Step<R>);

/// Reads that were sent side by side.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Reads {
    open: BTreeSet<Key>,
}

impl Reads {
    /// Sends reads of these keys.
    pub(super) fn send<R>(keys: impl IntoIterator<Item = Key>) -> (Self, Step<R>) {
        let open: BTreeSet<Key> = keys.into_iter().collect();
        let requests = open.iter().cloned().map(Request::Get).collect();
        (Self { open }, Step::Send(requests))
    }

    /// Records that one was answered. Returns whether it was the last.
    pub(super) fn answered(&mut self, key: &Key) -> bool {
        self.open.remove(key);
        self.open.is_empty()
    }
}

/// The outcome of a part of the protocol that can fail.
pub(super) type Finished<T> = Result<T, StoreError>;
