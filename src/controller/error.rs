//! Why a controller can't run. What goes wrong while it runs ends nothing.

use std::io;

/// Why a controller can't run.
#[derive(Debug, thiserror::Error)]
pub enum ControllerError {
    /// The system has no room for a runtime or a thread.
    #[error("can't start the controller's threads")]
    Runtime(#[source] io::Error),
    /// Signals can't be heard.
    #[error("can't listen for signals")]
    Signals(#[source] io::Error),
    /// The socket can't be used.
    #[error("can't listen on {address}")]
    Listen {
        /// The address that was asked for.
        address: String,
        /// The system's words.
        #[source]
        error: io::Error,
    },
}
