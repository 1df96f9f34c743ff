//! Why a controller can't start. Failures while it runs don't end it.

use std::io;

/// Why a controller can't start.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "its text says what a variant is and what its fields hold")]
pub enum ControllerError {
    /// The system can't create a runtime or a thread.
    #[error("can't start the controller's threads")]
    Runtime(#[source] io::Error),
    #[error("can't listen for signals")]
    Signals(#[source] io::Error),
    #[error("can't listen on {address}")]
    Listen {
        address: String,
        #[source]
        error: io::Error,
    },
}
