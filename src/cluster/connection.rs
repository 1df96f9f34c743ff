//! The async client, for several requests at once. [`ApiServer`](super::ApiServer) blocks on one at a time.

use hyper::body::Incoming;
use kube::Config;

use super::object::{ObjectRef, ResourceKind};
use super::response::ApiResponse;
use super::{ClusterError, ResponseProblem};
use crate::apiserver::{Access, ConnectionError, Endpoint};
use crate::deadline::Deadline;
use crate::ipam::seed::fnv1a_128;

/// The size limit of a response body, in bytes. etcd accepts no object above 1.5 MiB.
pub(super) const MAX_BODY: usize = 2 << 20;

/// The size limit of a list page, in bytes: [`super::census::PAGE`] pods with up to 256 KiB of annotations each.
const MAX_PAGE_BODY: usize = 64 << 20;

/// An API server, with the credentials from when it was opened. Needs a tokio runtime.
pub struct Connection {
    pub(super) endpoint: Endpoint,
    fingerprint: String,
}

impl Connection {
    /// Reads the credentials. Connects with the first request.
    pub fn open(access: &Access) -> Result<Self, ClusterError> {
        let config = access.read()?;
        let fingerprint = fingerprint(&config);
        Ok(Self { endpoint: Endpoint::open(access, config)?, fingerprint })
    }

    pub(super) fn url(&self) -> &str {
        self.endpoint.url()
    }

    pub(super) fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// Sends a request once and reads the whole response within the deadline.
    pub(super) async fn request(
        &self,
        request: http::Request<Vec<u8>>,
        object: &ObjectRef,
        deadline: Deadline,
    ) -> Result<ApiResponse<'_>, ClusterError> {
        self.endpoint
            .within(deadline, async {
                let response = self.endpoint.send(request).await?;
                let date = response.headers().get(http::header::DATE).and_then(|date| date.to_str().ok());
                let (status, date) = (response.status().as_u16(), date.map(str::to_owned));
                let response = self.read_body(status, response.into_body(), object).await?;
                Ok(ApiResponse { date, ..response })
            })
            .await
    }

    pub(super) async fn read_body(
        &self,
        status: u16,
        body: Incoming,
        object: &ObjectRef,
    ) -> Result<ApiResponse<'_>, ClusterError> {
        let max_size = match object.kind {
            ResourceKind::Pods
            | ResourceKind::Nodes
            | ResourceKind::NetworkDefinitions
            | ResourceKind::DaemonSets
            | ResourceKind::Deployments
            | ResourceKind::ReplicaSets
            | ResourceKind::StatefulSets
            | ResourceKind::Jobs
            | ResourceKind::CronJobs => MAX_PAGE_BODY,
            _ => MAX_BODY,
        };
        let body = self.endpoint.read(body, max_size).await.map_err(|error| match error {
            ConnectionError::TooLarge { url, limit } => {
                let problem = ResponseProblem::TooLarge(limit);
                ClusterError::UnexpectedResponse { url, object: Box::new(object.clone()), problem }
            }
            error => error.into(),
        })?;
        Ok(ApiResponse { url: self.url(), credentials: self.endpoint.credentials(), status, date: None, body })
    }
}

/// Identifies an API server: a digest of its URL and its CA certificates.
pub(super) fn fingerprint(config: &Config) -> String {
    let mut text = config.cluster_url.to_string().into_bytes();
    for certificate in config.root_cert.iter().flatten() {
        // Without the length, two different lists of certificates could have the same concatenation.
        text.extend_from_slice(&certificate.len().to_be_bytes());
        text.extend_from_slice(certificate);
    }
    format!("{:032x}", fnv1a_128(&text))
}
