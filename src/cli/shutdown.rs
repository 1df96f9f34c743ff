//! Waits for the next round or a signal, in a verb without an async runtime.

use std::time::Duration;

use tokio::runtime::{Builder, Runtime};

use super::CliError;
use crate::controller::ShutdownSignal;

/// A [`ShutdownSignal`] for a blocking thread.
pub(super) struct BlockingShutdownSignal {
    runtime: Runtime,
    signal: ShutdownSignal,
}

impl BlockingShutdownSignal {
    /// Starts to listen.
    pub(super) fn listen() -> Result<Self, CliError> {
        let runtime = Builder::new_current_thread().enable_all().build().map_err(CliError::Signals)?;
        let signal = {
            let _inside = runtime.enter();
            ShutdownSignal::listen().map_err(CliError::Signals)?
        };
        Ok(Self { runtime, signal })
    }

    /// Runs a future until it is done; `None` if the signal comes first.
    pub(super) fn unless_received<T>(&mut self, work: impl Future<Output = T>) -> Option<T> {
        let Self { runtime, signal } = self;
        runtime.block_on(async {
            tokio::select! {
                biased;
                () = signal.recv() => None,
                done = work => Some(done),
            }
        })
    }

    /// Waits for the signal until the timeout. Returns whether it came.
    pub(super) fn recv_timeout(&mut self, timeout: Duration) -> bool {
        let Self { runtime, signal } = self;
        runtime.block_on(async { tokio::time::timeout(timeout, signal.recv()).await.is_ok() })
    }
}
