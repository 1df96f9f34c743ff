//! How a process that goes on hears that it is to end.

use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::CliError;

/// SIGTERM and SIGINT from now on. The first process of a container has no default for them: unheard, they do nothing,
/// and each pod would take its whole grace period to end.
pub struct Ending {
    runtime: Runtime,
    terminate: Signal,
    interrupt: Signal,
}

impl Ending {
    /// Listens from now on.
    pub fn listen() -> Result<Self, CliError> {
        let runtime = Builder::new_current_thread().enable_all().build().map_err(CliError::Signals)?;
        let listen = |kind| {
            let _inside = runtime.enter();
            signal(kind).map_err(CliError::Signals)
        };
        let (terminate, interrupt) = (listen(SignalKind::terminate())?, listen(SignalKind::interrupt())?);
        Ok(Self { runtime, terminate, interrupt })
    }

    /// Waits so long, but at most until the process is to end; whether it is.
    pub fn comes_within(&mut self, time: Duration) -> bool {
        let Self { runtime, terminate, interrupt } = self;
        runtime.block_on(async {
            tokio::select! {
                _ = terminate.recv() => true,
                _ = interrupt.recv() => true,
                () = tokio::time::sleep(time) => false,
            }
        })
    }
}
