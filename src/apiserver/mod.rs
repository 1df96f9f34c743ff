//! A connection to a Kubernetes API server: credentials in, requests out, bytes back.
//!
//! ```text
//! kubeconfig file ─► kubeconfig ─► Access ─► Endpoint   one TLS connection; requests side by side
//! service account ─┘
//! ```
//!
//! What the bytes mean is known to those above: `cluster` for objects of Kubernetes, `store` for its own.

mod access;
mod endpoint;
mod error;
mod headers;
mod kubeconfig;
mod tls;

pub use self::access::Access;
pub use self::endpoint::Endpoint;
pub use self::error::ConnectionError;
pub use self::kubeconfig::KubeconfigProblem;
