//! The async client, for several requests at once. [`ApiServer`](super::ApiServer) blocks on one at a time.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use http_body_util::{BodyExt, Limited};
use kube::client::Body;
use kube::{Client, Config};

use super::access::Access;
use super::object::{ObjectRef, ResourceKind};
use super::response::ApiResponse;
use super::{ClusterError, failure, kubeconfig};
use crate::deadline::Deadline;
use crate::ipam::seed::fnv1a_128;

/// The timeout for connecting. It allows one retransmission, which comes after a second.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_millis(1500);

/// The size limit of a response body, in bytes. etcd accepts no object above 1.5 MiB.
pub(super) const MAX_BODY: usize = 2 << 20;

/// The size limit of a list page, in bytes: [`super::census::PAGE`] pods with up to 256 KiB of annotations each.
const MAX_PAGE_BODY: usize = 64 << 20;

/// An API server, with the credentials from when it was opened. Needs a tokio runtime.
pub struct Connection {
    /// The file or folder of the credentials, for error texts.
    credentials: PathBuf,
    pub(super) url: String,
    fingerprint: String,
    client: Client,
}

impl Connection {
    /// Reads the credentials. Connects with the first request.
    pub fn open(access: &Access) -> Result<Self, ClusterError> {
        let mut config = access.read()?;
        config.connect_timeout = Some(CONNECT_TIMEOUT);
        config.default_retry = false;
        let (url, fingerprint) = (display_url(&config.cluster_url), fingerprint(&config));
        if config.accept_invalid_certs || config.cluster_url.scheme_str() == Some("http") {
            tracing::warn!(url, "its identity is not verified; anyone on the network path can pose as this API server");
        }
        // The client spawns a task.
        let client = Client::try_from(config).map_err(|e| access.unusable(kubeconfig::from_client_error(e)))?;
        Ok(Self { credentials: access.path().to_owned(), url, fingerprint, client })
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
        self.with_deadline(deadline, async {
            let response = self.respond(request).await?;
            let date = response.headers().get(http::header::DATE).and_then(|date| date.to_str().ok());
            let (status, date) = (response.status().as_u16(), date.map(str::to_owned));
            let response = self.read_body(status, response.into_body(), object).await?;
            Ok(ApiResponse { date, ..response })
        })
        .await
    }

    /// Sends a request once. Returns the status and the unread body.
    pub(super) async fn send(&self, request: http::Request<Vec<u8>>) -> Result<(u16, Body), ClusterError> {
        let response = self.respond(request).await?;
        Ok((response.status().as_u16(), response.into_body()))
    }

    async fn respond(&self, request: http::Request<Vec<u8>>) -> Result<http::Response<Body>, ClusterError> {
        let response = self.client.send(request.map(Body::from)).await;
        response.map_err(|e| failure::from_send_error(&self.url, e))
    }

    pub(super) async fn read_body(
        &self,
        status: u16,
        body: Body,
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
        let body = Limited::new(body, max_size).collect().await;
        let body = body.map_err(|e| failure::from_read_error(&self.url, object, max_size, e))?.to_bytes().into();
        Ok(ApiResponse { url: &self.url, credentials: &self.credentials, status, date: None, body })
    }

    pub(super) async fn with_deadline<T>(
        &self,
        deadline: Deadline,
        request: impl Future<Output = Result<T, ClusterError>>,
    ) -> Result<T, ClusterError> {
        let began = Instant::now();
        let response = tokio::time::timeout_at(deadline.instant().into(), request).await;
        response.unwrap_or_else(|_| Err(ClusterError::TimedOut { url: self.url.clone(), waited: began.elapsed() }))
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

/// A server's URL for error texts, without its query, which may contain a secret.
fn display_url(url: &http::Uri) -> String {
    let host = url.authority().map_or("", |authority| authority.as_str());
    format!("{}://{host}{}", url.scheme_str().unwrap_or_default(), url.path().trim_end_matches('/'))
}
