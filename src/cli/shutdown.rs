//! How a verb without a runtime of its own waits for the next round, or for the signal to end.

use std::time::Duration;

use tokio::runtime::{Builder, Runtime};

use super::CliError;
use crate::controller::ShutdownSignal;

/// A [`ShutdownSignal`] for a thread that blocks.
pub(super) struct BlockingShutdownSignal {
    runtime: Runtime,
    signal: ShutdownSignal,
}

impl BlockingShutdownSignal {
    /// Listens from now on.
    pub(super) fn listen() -> Result<Self, CliError> {
        let runtime = Builder::new_current_thread().enable_all().build().map_err(CliError::Signals)?;
        let signal = {
            let _inside = runtime.enter();
            ShutdownSignal::listen().map_err(CliError::Signals)?
        };
        Ok(Self { runtime, signal })
    }

    /// Waits for the signal, but no longer than this; whether it came.
    pub(super) fn recv_timeout(&mut self, timeout: Duration) -> bool {
        let Self { runtime, signal } = self;
        runtime.block_on(async { tokio::time::timeout(timeout, signal.recv()).await.is_ok() })
    }
}
